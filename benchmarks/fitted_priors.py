"""Can an autoencoder generate?  Fréchet distance of samples from N(0, I), and from priors fitted to its codes.

    python3 dev.py run python benchmarks/fitted_priors.py ../shared/data/mnist.npz [OUT]

An autoencoder and a VAE with the same convolutional networks (latent 16) learn MNIST; priors are fitted to the codes of
20,000 of the training images.  Distance: Fréchet, between 10,000 samples and the 10,000 test images, on the 84 features
before the last layer of a LeNet that this script trains on the 60,000 training images; it is comparable with other
numbers of this script alone.  Runs are kept in OUT (runs/fitted-priors) and taken from there the next time; samples.png
goes there as well.  Five minutes on one core.
"""

import time

import ganvas  # first: it sets how torch's threads wait

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from ganvas.data import Dataset, DataOptions, load
from ganvas.metrics import frechet_distance
from ganvas.viz.images import Examples
from _lenet import accuracy, forward, load_lenet
from _support import parser, paste, print_table, save, train_once

MODELS = {"autoencoder": ganvas.Autoencoder(latent=16), "VAE": ganvas.VAE(net="conv", latent=16)}
STEPS, EPOCHS, N, SHOWN = 4000, 3, 10_000, 64
Row = tuple[str, Tensor, float | None]
"""what it is, images, and the held-out log-density of codes under the prior that they come from"""


def samples(name: str, trained: ganvas.Trained, train: Dataset) -> list[Row]:
    """Images from N(0, I), from each fitted prior, and from codes of training images, as a perfect prior would draw."""
    start = time.monotonic()
    fitted = trained.fit_prior(train)
    assert fitted.priors is not None
    print(f"{name}: priors fitted in {time.monotonic() - start:.0f} s, best is {fitted.priors.best}", flush=True)
    rows: list[Row] = [
        (f"{name}, {'N(0, I)' if kind == 'standard' else kind}", fitted.sample(N, fitted_prior=kind).x, nats)
        for kind, nats in fitted.priors.held_out.items()
    ]
    codes = fitted.sample_posterior(train.select(slice(N)))
    return [*rows, (f"{name}, codes of training images", fitted.decode(codes).x, None)]


def sheet(rows: list[Row]) -> Image.Image:
    """The first images of each row as a grid with its name, four grids side by side."""
    panels = []
    for label, x, _ in rows:
        picture = Examples(x[:SHOWN], 8).render()
        panel = Image.new("RGB", (picture.width + 16, picture.height + 32), "white")
        ImageDraw.Draw(panel).text((8, 4), label, fill="black", font_size=18)
        panel.paste(picture, (8, 28))
        panels.append(panel)
    return paste([panels[i : i + 4] for i in range(0, len(panels), 4)]).convert("L")


def main() -> None:
    words = parser(__doc__, data="mnist.npz", out="fitted-priors").parse_args()
    torch.set_num_threads(1)
    train, test = load(str(words.data)), load(str(words.data), DataOptions(split="test"))
    lenet = load_lenet(words.out, train, EPOCHS)
    right = accuracy(lenet, test)
    print(f"LeNet: {right:.2%} of the test images right after {EPOCHS} epochs; models: {STEPS} steps of 64 images")
    rows: list[Row] = [("training images", train.x[:N], None)]
    for name, model in MODELS.items():
        folder = words.out / name.lower()
        rows += samples(name, train_once(model, train, folder, steps=STEPS, checkpoint_every=STEPS), train)
    reference = forward(lenet[:-1], test.x)
    distances = [frechet_distance(forward(lenet[:-1], x), reference) for _, x, _ in rows]
    print_table("samples", ("Fréchet distance", "nats per held-out code"), [
        (label, f"{distance:.2f}", "" if nats is None else f"{nats:.2f}")
        for (label, _, nats), distance in zip(rows, distances, strict=True)
    ])  # fmt: skip
    save(sheet([("test images", test.x, None), *rows]), words.out / "samples.png")


if __name__ == "__main__":
    main()
