"""Pictures of models for images: how good they are after how many minutes and images, beside what others would take.

    python3 dev.py run python benchmarks/pictures.py DATA... [--only dcgan] [--at 1,2,5] [--cpu] [--examples N]

DATA are names or paths, as of `ganvas train`; of an .npz whose array is not named (FILE.npz:ARRAY) the first of images.
Each model trains with its defaults for these data, and learning rates fall as they would in a run of the last of the
minutes; `conv` is dcgan with the networks and the values of its paper.
`tutorial` has the networks and the loop of PyTorch's DCGAN tutorial: batch 128, no averages of weights, samples in
training mode.  `fastgan` is as _fastgan.py has it, with an eighth of its maps.  All have the same threads, and only
training counts as time.  With --cpu that is processor time: N minutes of T threads are N times T minutes of one thread,
whatever else the machine does.  With --examples they train on N of the images, and are compared with all as before.

At the minutes in --at samples are compared with 1,000 examples of the data (or half of them): KID, precision and recall
on the features that `ganvas evaluate` would take, and on the last line of each table the same of other real examples
(the floor).  The figures are means over seeds; one table is in order of minutes, one of images seen, and a chart shows
both.  A strip has a row for each of these minutes, always of the same noise, and is to be looked at.

OUT (runs/pictures) keeps every run that has ended, by data and settings, and what was measured of real examples: a
benchmark that was interrupted goes on.  After a change of a model its runs are to be deleted there.
"""

import statistics
import time
from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain, count, islice, product, repeat
from pathlib import Path
from typing import Any, Literal, NamedTuple

import ganvas  # first: it sets how torch's threads wait

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ganvas.config import TrainConfig
from ganvas.data import DataOptions, Dataset, Scaling, load
from ganvas.data.array_files import split_key
from ganvas.errors import UserError
from ganvas.inference.trained import Trained
from ganvas.io.atomic import atomic_write
from ganvas.metrics import kernel_distance, precision_recall
from ganvas.metrics.features import FeatureSpace, make_feature_space
from ganvas.metrics.kid import MIN_EXAMPLES
from ganvas.model import Model
from ganvas.models._variational import Variational
from ganvas.randomness import make_generator
from ganvas.training.defaults import choose_defaults
from ganvas.training.ema import current_ema, ema_decay_of
from ganvas.training.loop import initialize_state, train
from ganvas.viz.plots import Chart, line_charts
from _fastgan import BATCH, LATENT, FastGAN, sides_of
from _support import collect, parser, paste, print_table, save, tutorial_gan_steps

CPU = torch.device("cpu")
N_SAMPLES, N_SHOWN, MINUTE = 1000, 16, 60.0
TRIAL_STEPS, TRIAL_SHARE = 20, 0.03
"""first steps, by which the number of those is found that then take about this share of the time, and are timed"""
COLUMNS = {
    "minutes": ("minutes", "g"), "steps": ("steps", ",.0f"), "images": ("images", ",.0f"), "ms": ("ms a step", ".1f"),
    "parameters": ("parameters", ",.0f"), "kid": ("KID", ".4f"), "precision": ("precision", ".3f"),
    "recall": ("recall", ".3f"),
}  # fmt: skip
"""of each figure its head and its format in tables"""


class Training(NamedTuple):
    """A model in training."""

    images: Iterator[int]
    """the images seen so far, after each step"""
    samples: Callable[[], Tensor]
    """draws bytes, n x c x h x w, always of the same noise"""
    nets: tuple[nn.Module, ...]


class Contender(NamedTuple):
    """A model, what its loop is told, and whose loop that is."""

    model: Model | None
    training: dict[str, Any] = {}  # noqa: RUF012
    loop: Literal["ganvas", "tutorial", "fastgan"] = "ganvas"


class Budget(NamedTuple):
    """How long a model trains, by which clock."""

    seconds: float
    clock: Callable[[], float]

    def measure(self, steps: Iterator[Any], n: int) -> float:
        """Do n steps; returns the seconds that they took."""
        start = self.clock()
        for _ in islice(steps, n):
            pass
        return self.clock() - start


def ganvas_training(contender: Contender, data: Dataset, seed: int, budget: Budget) -> Training:
    """Our loop, and the samples of the averaged weights."""
    assert contender.model is not None
    model, defaults = choose_defaults(contender.model, data, contender.training)
    config = TrainConfig(**defaults.training | {"steps": 10**9, "seed": seed} | contender.training)
    if config.lr_decay:
        trial = train(model, data, config, initialize_state(model, data.shape, seed, CPU))
        first = budget.measure(trial, TRIAL_STEPS)  # they are slower
        n = max(1, round(TRIAL_SHARE * budget.seconds * TRIAL_STEPS / first))
        config = replace(config, steps=max(1, round(budget.seconds * n / budget.measure(trial, n))))
    state = initialize_state(model, data.shape, seed, CPU)

    def samples() -> Tensor:
        nets = current_ema(state, ema_decay_of(model, config))
        trained = Trained(model, data.shape, nets, {}, scaling=state.scaling)
        if isinstance(model, Variational) and model.fits_prior(data):  # as at the end of a run
            trained = trained.fit_prior(data, kinds=["mixture"])
        return trained.sample(N_SAMPLES).x

    images = (state.position * config.examples_per_step for _ in train(model, data, config, state))
    return Training(images, samples, tuple(state.nets.values()))


def shuffled_batches(data: Dataset, scaling: Scaling, batch: int) -> Iterator[Tensor]:
    """Batches of the images as a model sees them, epoch after epoch, each in a new order and without a smaller last."""
    epochs = (torch.randperm(len(data))[: len(data) // batch * batch].split(batch) for _ in repeat(None))
    return (scaling(data.x[rows]) for rows in chain.from_iterable(epochs))


def other_training(contender: Contender, data: Dataset, seed: int, _: Budget) -> Training:
    """FastGAN's loop, or the tutorial's and the samples of its G as it is."""
    torch.manual_seed(seed)
    model: Any = contender.model
    scaling, batch = Scaling.fit(data.x), min(contender.training["batch_size"], len(data))
    batches = shuffled_batches(data, scaling, batch)
    if contender.loop == "fastgan":
        fastgan = FastGAN(data.shape, contender.training["width"])
        steps, draw, latent, nets = fastgan.steps(batches), fastgan.samples, LATENT, (fastgan.G, fastgan.D)
    else:
        networks = model.networks(data.shape)
        G, D = networks["G"], networks["D"]
        steps, latent, nets = tutorial_gan_steps(model, G, D, batches), model.latent, (G, D)

        @torch.no_grad()
        def draw(z: Tensor) -> Tensor:
            return torch.cat([G(part) for part in z.split(100)])

    def samples() -> Tensor:
        return scaling.inverse(draw(torch.randn(N_SAMPLES, latent, generator=make_generator(CPU, 0, "pictures"))))

    images = (n * batch for n, _ in zip(count(1), steps, strict=False))
    return Training(images, samples, nets)


CONTENDERS = {
    "dcgan": Contender(ganvas.DCGAN()), "conv": Contender(ganvas.DCGAN(net="conv")), "r3gan": Contender(ganvas.R3GAN()),
    "wgangp": Contender(ganvas.WGANGP()), "vae": Contender(ganvas.VAE()),
    "tutorial": Contender(ganvas.DCGAN(noise_distribution="normal"), {"batch_size": 128}, "tutorial"),
    "fastgan": Contender(None, {"batch_size": BATCH, "width": 0.125}, "fastgan"),
}  # fmt: skip


def measure(real: Tensor, x: Tensor, space: FeatureSpace) -> dict[str, float]:
    """KID, precision and recall of examples against the features of as many real ones."""
    fake = space(x[: len(real)])
    precision, recall, *_ = (term.double().mean().item() for term in precision_recall(real, fake))
    return {"kid": kernel_distance(real, fake).mean().item(), "precision": precision, "recall": recall}


def run(
    name: str, data: Dataset, seed: int, real: Tensor, space: FeatureSpace, options: Namespace, folder: Path
) -> dict[str, Any]:
    """A run's figures at the minutes that are asked for, and its strip in the folder."""
    contender = Contender(*CONTENDERS[name])
    torch.set_num_threads(1 if options.cpu else options.threads)
    clock, minute = (time.process_time, MINUTE * options.threads) if options.cpu else (time.monotonic, MINUTE)
    budget = Budget(options.at[-1] * minute, clock)
    training = (ganvas_training if contender.loop == "ganvas" else other_training)(contender, data, seed, budget)
    parameters = sum(weight.numel() for net in training.nets for weight in net.parameters())
    lines, rows, spent, steps, images = list[dict[str, float]](), [], 0.0, 0, 0
    for minutes in options.at:
        while spent < minutes * minute:
            start, before = clock(), images
            images = next(training.images, before)
            spent += clock() - start
            if images == before:  # faster than planned, it is done
                break
            steps += 1
        x, ms = training.samples(), 1000 * spent / steps
        seen = {"minutes": minutes, "steps": steps, "images": images, "ms": ms, "parameters": parameters}
        lines.append(seen | measure(real, x, space))
        rows.append([picture(example) for example in x[:N_SHOWN]])
    save(paste(rows), folder / f"{name}-{seed}.png")
    return {"lines": lines}


def picture(x: Tensor) -> Image.Image:
    """An example, c x h x w, on grey where it is transparent, at least 64 pixels high."""
    array = x.permute(1, 2, 0).numpy()
    image = Image.fromarray(array[..., 0] if array.shape[2] == 1 else array).convert("RGBA")
    ground = Image.alpha_composite(Image.new("RGBA", image.size, "#808080"), image).convert("RGB")
    scale = -(-64 // image.height)
    return ground.resize((scale * image.width, scale * image.height), Image.Resampling.NEAREST)


def load_images(name: str, size: int = 0) -> Dataset:
    """Images by name or path, of this height and width if it is given; of an .npz whose array is not named the first.

    Those of another array have its name besides the file's.  Raises UserError where there are no images.
    """
    options = DataOptions(size=str(size) if size else None)
    file, key = split_key(name)
    if not file.lower().endswith(".npz") or not Path(file).is_file():
        data = load(name, options)
    else:
        with np.load(file) as arrays:
            first = next((array for array in arrays if arrays[array].ndim >= 3), None)
        data = load(f"{file}:{key or first}" if key or first else file, options)
        data = replace(data, name=f"{data.name}-{key}") if key and key.partition(",")[0] != first else data
    if not data.has_images:
        raise UserError(f"{name} holds vectors, and this benchmark compares images")
    return data


def check(data: Dataset, names: list[str]) -> None:
    """UserError where data are too few to measure or a model cannot learn them: before another trains for hours."""
    if len(data) < 2 * MIN_EXAMPLES:
        raise UserError(f"{data.name} has {len(data)} images, and this benchmark needs {2 * MIN_EXAMPLES}")
    for contender in (Contender(*CONTENDERS[name]) for name in names):
        if contender.loop == "fastgan":
            sides_of(data.shape)


def real_features(path: Path, x: Tensor, space: FeatureSpace) -> Tensor:
    """The features of real examples, which the file keeps."""
    if not path.exists():
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            np.save(file, space(x).numpy())
    return torch.from_numpy(np.load(path))


def compare(data: Dataset, names: list[str], options: Namespace) -> None:
    """Train what has not been trained yet, then print both tables and draw the chart."""
    torch.set_num_threads(options.threads)
    space = make_feature_space("auto", data.shape, data_name=data.name)
    real, others = data.sample(2 * min(N_SAMPLES, len(data) // 2), 0, "pictures").x.chunk(2)
    out = options.out / f"{data.name}-{data.fingerprint()[:8]}-{len(real)}-{space.name}"
    minutes = "-".join(f"{minutes:g}" for minutes in options.at)
    folder = out / f"{'cpu' if options.cpu else 'wall'}-{options.threads}-at-{minutes}"
    learnt = data
    if options.examples and options.examples < len(data):
        folder, learnt = folder / f"{options.examples}-examples", data.sample(options.examples, 0, "learnt")
    features = real_features(out / "real.npy", real, space)
    floor = collect(measure, {"real": (features, others, space)}, out, 0)["real"]
    jobs = {
        f"{name}-{seed}": (name, learnt, seed, features, space, options, folder)
        for name, seed in product(names, range(options.seeds))
    }
    results, rows = collect(run, jobs, folder, 0), list[tuple[str, dict[str, float]]]()
    for name, i in product(names, range(len(options.at))):
        lines = [results[f"{name}-{seed}"]["lines"][i] for seed in range(options.seeds)]
        rows.append((name, {key: statistics.fmean(line[key] for line in lines) for key in COLUMNS}))
    charts = []
    for order in ("minutes", "images"):
        rows.sort(key=lambda row: row[1][order])
        heads = [head for head, _ in COLUMNS.values()]
        print_table(
            f"{len(learnt):,} of {data.name}, by {order}",
            heads,
            [(name, *cells(means)) for name, means in (*rows, ("real", floor))],
        )
        series = {name: [(means[order], means["kid"]) for other, means in rows if other == name] for name in names}
        series["real"] = [(rows[i][1][order], floor["kid"]) for i in (0, -1)]
        charts.append(Chart(f"KID, by {order}", series, (0.0,), x_name=""))
    save(line_charts(charts, scale=2), folder / "kid.png")


def cells(means: dict[str, float]) -> Iterator[str]:
    return (f"{means[key]:{form}}" if key in means else "-" for key, (_, form) in COLUMNS.items())


def ascending_minutes(text: str) -> tuple[float, ...]:
    """Minutes from "1,2,5"."""
    minutes = tuple(sorted({float(word) for word in text.split(",")}))
    if not 0 < minutes[0] <= minutes[-1] < float("inf"):
        raise ArgumentTypeError(f"minutes are positive numbers, such as 1,2,5, not {text}")
    return minutes


def main() -> None:
    words = parser(__doc__, seeds=1, threads=2)
    words.add_argument("data", nargs="+")
    words.add_argument("--only", default=",".join(CONTENDERS), help="models, such as dcgan,vae")
    words.add_argument("--at", type=ascending_minutes, default="1,2,5", help="minutes at which to measure: 1,2,5")
    words.add_argument("--cpu", action="store_true", help="measure processor time, with one thread")
    words.add_argument("--size", type=int, default=0, help="height and width to bring images to, unless 0")
    words.add_argument("--examples", type=int, default=0, help="images to learn from, of all that there are")
    words.add_argument("--out", type=Path, default=Path("runs/pictures"))
    options = words.parse_args()
    names = options.only.split(",")
    if unknown := set(names) - set(CONTENDERS):
        words.error(f"no {', '.join(sorted(unknown))} among {', '.join(CONTENDERS)}")
    try:
        collections = [load_images(name, options.size) for name in options.data]
        for data in collections:
            check(data, names)
        for data in collections:
            compare(data, names, options)
    except UserError as error:
        words.error(str(error))


if __name__ == "__main__":
    main()
