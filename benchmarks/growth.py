"""Images a second as batches, images and data sets grow, by one process and by two: three tables and a figure.

    python3 dev.py run python benchmarks/growth.py [OUT] [--rounds 5] [--largest 1000000] [--threads 2]

A convolutional VAE of width 8 at batches of 1 to 1,024 images and at sizes of 16 to 128 pixels, and an MLP on 1,000 to
1,000,000 images of 16 x 16 grey pixels, bytes in memory.  One process trains as `ganvas train` does, two of a thread
each as `ganvas train --devices 2`, each on half of the batch.  Those of a table are measured in turns.  The last table
is flat if neither the order of an epoch nor the place of an image costs time.  The floor is the least time in which one
process could do a step of the whole batch at the machine's best rates, as measured at each of the table's rows; its
share of the step stands beside the images a second.
"""

from collections.abc import Iterator
from functools import reduce
from pathlib import Path

import ganvas  # first: it sets how torch's threads wait

import matplotlib

matplotlib.use("Agg")

import torch
from matplotlib import pyplot as plt

from ganvas.training.bench import Rates
from _ranks import Job, Round, Trainer, TwoRanks
from _support import parser, print_table, times_in_turns, work_and_rates

BATCHES, SIZES, COUNTS = (1, 4, 16, 64, 256, 1024), (16, 32, 64, 128), (1_000, 10_000, 100_000, 1_000_000)
CONV, MLP = ganvas.VAE(net="conv", width=8, latent=16), ganvas.VAE(net="mlp", width=400, latent=16)
ROUND_IMAGES = 512
"""images in a round of convolutions, unless steps are so small that it has `MIN_STEPS`; an MLP has 32 times as many"""
MIN_STEPS = 2
LABELS = {"batch": "images a batch", "pixels": "pixels a side", "images": "images in the data set"}
WAYS = ("1 process", "2 processes")


def rounds_of(trainer: Trainer | TwoRanks, job: Job, steps: int) -> Iterator[Round]:
    """Rounds of a job, without end."""
    while True:
        yield trainer.run(job, steps)


def image_rates(jobs: dict[int, Job], two: TwoRanks, n: int, rounds: int) -> dict[str, dict[int, float]]:
    """Images a second of each job in either way, from medians over rounds of about n images, and at its floor."""
    one, works, images = Trainer(), dict[str, Iterator[Round]](), dict[int, int]()
    for x, job in jobs.items():
        steps = max(MIN_STEPS, n // job.batch)
        images[x] = steps * job.batch
        works[f"1 process {x}"] = rounds_of(one, job, steps)
        if job.batch > 1:
            works[f"2 processes {x}"] = rounds_of(two, job._replace(batch=job.batch // 2), steps)
    times = times_in_turns(works, 1, rounds)
    table = {way: {x: images[x] / times[f"{way} {x}"] for x in jobs if f"{way} {x}" in times} for way in WAYS}
    measured = {x: work_and_rates(job.model, job.data, job.batch) for x, job in jobs.items()}
    best = reduce(Rates.best, (rates for _, rates in measured.values()))
    return table | {"floor": {x: jobs[x].batch / work.floor(best) for x, (work, _) in measured.items()}}


def main() -> None:
    words = parser(__doc__, out="growth", rounds=5, largest=COUNTS[-1], threads=2).parse_args()
    torch.set_num_threads(words.threads)
    words.out.mkdir(parents=True, exist_ok=True)
    jobs = {
        "batch": {batch: Job(CONV, max(BATCHES), 32, batch) for batch in BATCHES},
        "pixels": {size: Job(CONV, 256, size, 64) for size in SIZES},
        "images": {n: Job(MLP, n, 16, 64) for n in COUNTS if n <= words.largest},
    }
    two, tables = TwoRanks(), {}
    for title, row_jobs in jobs.items():
        n = ROUND_IMAGES * (32 if title == "images" else 1)
        tables[title] = table = image_rates(row_jobs, two, n, words.rounds)
        rows = [(f"{x:,}", *(cell for way in WAYS for cell in cells(x, table[way], table["floor"]))) for x in row_jobs]
        print_table(title, [head for way in WAYS for head in (f"{way}, images/s", "by the first", "floor")], rows)
    two.close()
    draw(tables, words.out / "growth.png")


def cells(x: int, rates: dict[int, float], floors: dict[int, float]) -> tuple[str, str, str]:
    """Images a second, by those of the first row, and the share of the floor; dashes if there are none."""
    if x not in rates:
        return "-", "-", "-"
    return f"{rates[x]:,.0f}", f"{rates[x] / next(iter(rates.values())):.3f}", f"{rates[x] / floors[x]:.0%}"


def draw(tables: dict[str, dict[str, dict[int, float]]], path: Path) -> None:
    """A chart a table, on logarithmic axes."""
    figure, axes = plt.subplots(1, len(tables), figsize=(10, 3), layout="constrained")
    for axis, (title, table) in zip(axes, tables.items(), strict=True):
        for way, marker in zip(WAYS, ("o-", "s--"), strict=True):
            axis.plot(list(table[way]), list(table[way].values()), marker, label=way)
        xs, top = list(table["floor"]), 1.15 * max(rate for way in WAYS for rate in table[way].values())
        axis.set(xscale="log", xlabel=LABELS[title], ylabel="images a second", ylim=(0, top))
        axis.set_xticks(xs, [f"{x:,}" for x in xs])
        axis.minorticks_off()
    axes[0].legend(loc="upper left")
    figure.savefig(path, dpi=150)
    plt.close(figure)
    print(f"\n{path}")


if __name__ == "__main__":
    main()
