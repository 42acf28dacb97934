"""Pictures of models for images: how good they are after how many minutes, beside a tutorial's DCGAN and VAE.

    python3 dev.py run python benchmarks/pictures.py DATA... [--only dcgan] [--minutes 5] [--seeds 1] [--out OUT]

DATA are names or paths, as of `ganvas train`; of an .npz the first array of images.  Each model trains for so many
minutes with its defaults; `recipe` is what docs/models/dcgan.md advises for few pictures and little time.  The
tutorials' DCGAN has the networks and the loop of PyTorch's tutorial (batch 128, no averages of weights, samples in
training mode), its VAE those of PyTorch's examples.  All have the same threads; only training counts as time.

At every minute 1,000 samples are compared with as many examples of the data: KID, precision and recall on the features
that `ganvas evaluate` would take, and on the last line of each table the same of other real examples (the floor).  The
figures are means over seeds.  A strip has a row a minute, always of the same noise, and is to be looked at.  Results
are kept in OUT (runs/pictures).
"""

import statistics
import time
from collections.abc import Callable, Iterator
from itertools import chain, repeat
from pathlib import Path
from typing import Any, NamedTuple

import ganvas  # first: it sets how torch's threads wait

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ganvas.config import TrainConfig
from ganvas.data import Dataset, from_array, load
from ganvas.inference.trained import Trained
from ganvas.metrics import kernel_distance, precision_recall
from ganvas.metrics.features import FeatureSpace, default_features, make_feature_space
from ganvas.model import Model
from ganvas.randomness import make_generator
from ganvas.training.loop import current_ema, initialize_state, train
from _support import collect, parser, paste, print_table, save, tutorial_gan_steps

CPU = torch.device("cpu")
N_SAMPLES, N_SHOWN, MINUTE = 1000, 16, 60.0
Samples = Callable[[], Tensor]
"""what draws bytes, n x c x h x w, always of the same noise"""


class Contender(NamedTuple):
    """A model, and how it is trained."""

    model: Model
    training: dict[str, Any] = {}  # noqa: RUF012
    is_tutorial: bool = False


RECIPE = Contender(
    ganvas.DCGAN(
        net="resize", width=32, latent=64, noise_distribution="normal", norm_d="none", loss="relativistic", r1=0.2,
        penalty_interval=16, lr=2e-3, betas=(0.5, 0.99), augment=("flip", "shift"),
    ), {"batch_size": 32, "ema_decay": 0.998},
)  # fmt: skip
CONTENDERS = {
    "recipe": RECIPE, "dcgan": Contender(ganvas.DCGAN()), "r3gan": Contender(ganvas.R3GAN()),
    "wgangp": Contender(ganvas.WGANGP()), "vae": Contender(ganvas.VAE()),
    "tutorial": Contender(ganvas.DCGAN(noise_distribution="normal"), {"batch_size": 128}, is_tutorial=True),
}  # fmt: skip


def ganvas_steps(contender: Contender, data: Dataset, seed: int) -> tuple[Iterator[Any], Samples]:
    """Our loop, and the samples of the averaged weights."""
    model, config = contender.model, TrainConfig(steps=10**9, seed=seed, **contender.training)
    state = initialize_state(model, data.shape, seed, CPU)

    def samples() -> Tensor:
        nets = current_ema(state, config.ema_decay)
        trained = Trained(model, data.shape, nets, {}, scaling=state.scaling)
        return trained.decode(trained.sample_prior(N_SAMPLES, make_generator(CPU, 0, "pictures"))).x

    return train(model, data, config, state), samples


def tutorial_steps(contender: Contender, data: Dataset, seed: int) -> tuple[Iterator[Any], Samples]:
    """The tutorial's loop, and the samples of its G as it is."""
    torch.manual_seed(seed)
    model: Any = contender.model
    nets = model.networks(data.shape)
    x, batch = data.x / 127.5 - 1, contender.training["batch_size"]
    epochs = (x[torch.randperm(len(x))][: len(x) // batch * batch].split(batch) for _ in repeat(None))

    def samples() -> Tensor:
        with torch.no_grad():
            z = torch.randn(N_SAMPLES, model.latent, generator=make_generator(CPU, 0, "pictures"))
            return torch.cat([nets["G"](part) for part in z.split(100)]).add(1).mul(127.5).round().byte()

    return tutorial_gan_steps(model, nets["G"], nets["D"], chain.from_iterable(epochs)), samples


def measure(real: Tensor, samples: Tensor, space: FeatureSpace) -> dict[str, float]:
    """KID, precision and recall of samples, or of other examples, against the features of real ones."""
    fake = space(samples)
    precision, recall, *_ = (term.double().mean().item() for term in precision_recall(real, fake))
    return {"kid": kernel_distance(real, fake).mean().item(), "precision": precision, "recall": recall}


def run(name: str, data: Dataset, seed: int, minutes: int, threads: int, out: str) -> dict[str, Any]:
    """A run's figures at every minute, and its strip in OUT."""
    torch.set_num_threads(threads)
    contender = Contender(*CONTENDERS[name])
    steps, samples = (tutorial_steps if contender.is_tutorial else ganvas_steps)(contender, data, seed)
    space = make_feature_space(default_features(data.shape, data.name), data.shape)
    real, lines, rows, n = space(data.sample(N_SAMPLES, 0, "pictures").x), [], [], 0
    for _ in range(minutes):
        deadline = time.monotonic() + MINUTE
        while time.monotonic() < deadline:
            next(steps)
            n += 1
        x = samples()
        lines.append({"steps": n} | measure(real, x, space))
        rows.append([picture(example) for example in x[:N_SHOWN]])
    save(paste(rows), Path(out) / f"{data.name}-{name}-{seed}.png")
    return {"lines": lines}


def picture(x: Tensor) -> Image.Image:
    """An example, c x h x w, on grey where it is transparent, at least 64 pixels high."""
    array = x.permute(1, 2, 0).numpy()
    image = Image.fromarray(array[..., 0] if array.shape[2] == 1 else array).convert("RGBA")
    ground = Image.alpha_composite(Image.new("RGBA", image.size, "#808080"), image).convert("RGB")
    scale = max(1, 64 // image.height)
    return ground.resize((scale * image.width, scale * image.height), Image.Resampling.NEAREST)


def load_images(name: str) -> Dataset:
    """A data set by name or path; of an .npz with several arrays the first of images."""
    if not name.endswith(".npz"):
        return load(name)
    with np.load(name) as file:
        return from_array(next(file[key] for key in file if file[key].ndim >= 3), name=Path(name).stem)


def main() -> None:
    words = parser(__doc__, minutes=5, seeds=1, threads=2)
    words.add_argument("data", nargs="+")
    words.add_argument("--only", default=",".join(CONTENDERS))
    words.add_argument("--out", type=Path, default=Path("runs/pictures"))
    options = words.parse_args()
    names = options.only.split(",")
    for data in map(load_images, options.data):
        seeds = range(options.seeds)
        jobs = {
            f"{data.name}-{name}-{seed}": (name, data, seed, options.minutes, options.threads, str(options.out))
            for name in names for seed in seeds
        }  # fmt: skip
        results = collect(run, jobs, options.out, 0)
        rows = []
        for name in names:
            ends = [results[f"{data.name}-{name}-{seed}"]["lines"] for seed in seeds]
            for minute in range(options.minutes):
                means = {key: statistics.mean(lines[minute][key] for lines in ends) for key in ends[0][minute]}
                rows.append((f"{name}, {minute + 1} min", *cells(means)))
        space = make_feature_space(default_features(data.shape, data.name), data.shape)
        order = torch.randperm(len(data), generator=make_generator(CPU, 0, "floor"))
        halves = [data.x[part[:N_SAMPLES]] for part in order.chunk(2)]
        rows.append(("real", *cells({"steps": 0} | measure(space(halves[0]), halves[1], space))))
        print_table(f"{data.name}, {len(data)}", ("steps", "KID", "precision", "recall"), rows)


def cells(means: dict[str, float]) -> tuple[str, ...]:
    return (f"{means['steps']:,.0f}", f"{means['kid']:.4f}", f"{means['precision']:.3f}", f"{means['recall']:.3f}")


if __name__ == "__main__":
    main()
