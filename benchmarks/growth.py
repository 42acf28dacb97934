"""Images a second as batches, images and data sets grow: three tables and a figure.

    python3 dev.py run python benchmarks/growth.py [OUT] [--rounds 5] [--largest 1000000] [--threads 2]

A convolutional VAE of width 8 at batches of 1 to 1,024 images and at sizes of 16 to 128 pixels, and an MLP on 1,000 to
1,000,000 images of 16 x 16 grey pixels, bytes in memory.  Those of a table are measured in turns, in one process, as
`ganvas train` runs them.  The last table is flat if neither the order of an epoch nor the place of an image costs time.
"""

from collections.abc import Iterator
from pathlib import Path

import ganvas  # first: it sets how torch's threads wait

import matplotlib

matplotlib.use("Agg")

import torch
from matplotlib import pyplot as plt

from ganvas.config import TrainConfig
from ganvas.data import Dataset
from ganvas.model import Model
from ganvas.training.bench import start_training
from _support import parser, print_table, times_in_turns

CPU = torch.device("cpu")
BATCHES, SIZES, COUNTS = (1, 4, 16, 64, 256, 1024), (16, 32, 64, 128), (1_000, 10_000, 100_000, 1_000_000)
CONV, MLP = ganvas.VAE(net="conv", width=8, latent=16), ganvas.VAE(net="mlp", width=400, latent=16)
ROUND_IMAGES = 2048
"""images in a round, unless steps are so small that it has `MIN_STEPS`"""
MIN_STEPS = 2


def images(n: int, size: int) -> Dataset:
    """n images of noise."""
    random = torch.Generator().manual_seed(0)
    return Dataset(x=torch.randint(0, 256, (n, 1, size, size), dtype=torch.uint8, generator=random), name=f"noise-{n}")


def rounds_of(model: Model, data: Dataset, batch: int, n: int) -> Iterator[None]:
    """Rounds of about n images each."""
    state, steps = start_training(model, data, TrainConfig(batch_size=batch), CPU)
    while True:
        for _ in range(max(MIN_STEPS, n // batch)):
            next(steps)
        state.meter.pop_means()
        yield


def rates(jobs: dict[str, tuple[Model, Dataset, int]], n: int, rounds: int) -> dict[str, float]:
    """Images a second of each job, a model, its data and the batch, from the median over rounds of about n images."""
    times = times_in_turns({name: rounds_of(*job, n) for name, job in jobs.items()}, 1, rounds)
    return {name: max(MIN_STEPS, n // batch) * batch / times[name] for name, (_, _, batch) in jobs.items()}


def main() -> None:
    words = parser(__doc__, out="growth", rounds=5, largest=COUNTS[-1], threads=2).parse_args()
    torch.set_num_threads(words.threads)
    words.out.mkdir(parents=True, exist_ok=True)
    counts = [n for n in COUNTS if n <= words.largest]
    small, whole = images(max(BATCHES), 32), images(counts[-1], 16)
    tables = {
        "batch": rates({f"{b:,}": (CONV, small, b) for b in BATCHES}, ROUND_IMAGES // 4, words.rounds),
        "pixels": rates({f"{s}": (CONV, images(256, s), 64) for s in SIZES}, ROUND_IMAGES // 4, words.rounds),
        "images": rates({f"{n:,}": (MLP, whole.select(slice(n)), 64) for n in counts}, 8 * ROUND_IMAGES, words.rounds),
    }
    for title, table in tables.items():
        first = next(iter(table.values()))
        rows = [(name, f"{rate:,.0f}", f"{rate / first:.3f}") for name, rate in table.items()]
        print_table(title, ("images/s", "by the first"), rows)
    draw(tables, words.out / "growth.png")


def draw(tables: dict[str, dict[str, float]], path: Path) -> None:
    """A chart a table, on logarithmic axes."""
    figure, axes = plt.subplots(1, len(tables), figsize=(10, 3), layout="constrained")
    labels = {"batch": "images a batch", "pixels": "pixels a side", "images": "images in the data set"}
    for axis, (title, table) in zip(axes, tables.items(), strict=True):
        xs = [int(name.replace(",", "")) for name in table]
        axis.plot(xs, list(table.values()), "o-")
        axis.set(xscale="log", xlabel=labels[title], ylabel="images a second", ylim=(0, 1.15 * max(table.values())))
        axis.set_xticks(xs, list(table))
        axis.minorticks_off()
    figure.savefig(path, dpi=150)
    plt.close(figure)
    print(f"\n{path}")


if __name__ == "__main__":
    main()
