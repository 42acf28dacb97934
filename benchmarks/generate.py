"""Can an autoencoder generate?  Fréchet distance of samples from N(0, I), and from priors fitted to its codes.

    python3 dev.py run python benchmarks/generate.py ../shared/data/mnist.npz [OUT]

An autoencoder and a VAE with the same convolutional networks (latent 16) learn MNIST; priors are fitted to the codes of
20,000 of the training images.  Distance: Fréchet, between 10,000 samples and the 10,000 test images, on the 84 features
before the last layer of a LeNet that this script trains on the 60,000 training images; it is comparable with other
numbers of this script alone.  Runs are kept in OUT (runs/generate) and taken from there the next time; samples.png goes
there as well.  Five minutes on one core.
"""

import sys
import time
from pathlib import Path

import ganvas  # first: it sets how torch's threads wait

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from ganvas.data import Dataset, DataOptions, load
from ganvas.metrics import frechet_distance
from ganvas.viz.images import Examples
from lenet import accuracy, classifier, forward

MODELS = {"autoencoder": ganvas.Autoencoder(latent=16), "VAE": ganvas.VAE(latent=16)}
STEPS, EPOCHS, N, SHOWN = 4000, 3, 10_000, 64
Row = tuple[str, Tensor, float | None]
"""what it is, images, and the held-out log-density of codes under the prior that they come from"""


def main(file: str, out: Path = Path("runs/generate")) -> None:
    torch.set_num_threads(1)
    train, test = load(file), load(file, DataOptions(split="test"))
    lenet = classifier(train, EPOCHS)
    right = accuracy(lenet, test)
    print(f"LeNet: {right:.2%} of the test images right after {EPOCHS} epochs; models: {STEPS} steps of 64 images")
    rows: list[Row] = [("training images", train.x[:N], None)]
    for name, model in MODELS.items():
        rows += samples(name, trained_in(out / name.lower(), model, file), train)
    reference = forward(lenet[:-1], test.x)
    print(f"\n{'':<42}{'Fréchet distance':>17}{'nats per held-out code':>24}")
    for label, x, nats in rows:
        distance = frechet_distance(forward(lenet[:-1], x), reference)
        print(f"{label:<42}{distance:>17.2f}{'' if nats is None else f'{nats:.2f}':>24}")
    sheet([("test images", test.x, None), *rows]).save(out / "samples.png")
    print(f"\n{out / 'samples.png'}")


def trained_in(folder: Path, model: ganvas.Autoencoder | ganvas.VAE, file: str) -> ganvas.Trained:
    """The run in the folder, or a new one."""
    if folder.exists():
        return ganvas.load(folder)
    began = time.monotonic()
    trained = ganvas.train(model, file, steps=STEPS, checkpoint_every=STEPS, folder=folder, quiet=True)
    print(f"{folder}: trained in {time.monotonic() - began:.0f} s", flush=True)
    return trained


def samples(name: str, trained: ganvas.Trained, train: Dataset) -> list[Row]:
    """Images from N(0, I), from each fitted prior, and from codes of training images, as a perfect prior would draw."""
    began = time.monotonic()
    fitted = trained.fit_prior(train)
    assert fitted.priors is not None
    print(f"{name}: priors fitted in {time.monotonic() - began:.0f} s, best is {fitted.priors.best}", flush=True)
    rows: list[Row] = [
        (f"{name}, {'N(0, I)' if kind == 'standard' else kind}", fitted.sample(N, fitted_prior=kind).x, nats)
        for kind, nats in fitted.priors.held_out.items()
    ]
    return [
        *rows,
        (
            f"{name}, codes of training images",
            fitted.decode(fitted.sample_posterior(train.select(torch.arange(N)))).x,
            None,
        ),
    ]


def sheet(rows: list[Row]) -> Image.Image:
    """The first images of each row as a grid with its name, four grids side by side."""
    pictures = [Examples(x[:SHOWN], 8).render().convert("L") for _, x, _ in rows]
    w, h = pictures[0].width + 16, pictures[0].height + 32
    canvas = Image.new("L", (4 * w, -(-len(rows) // 4) * h), 255)
    draw = ImageDraw.Draw(canvas)
    for i, ((label, _, _), picture) in enumerate(zip(rows, pictures, strict=True)):
        at = (i % 4 * w + 8, i // 4 * h + 4)
        draw.text(at, label, fill=0, font_size=18)
        canvas.paste(picture, (at[0], at[1] + 24))
    return canvas


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:]))
