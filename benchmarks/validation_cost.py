"""How much of a run's time measuring its samples takes: at most 3% is the goal.

    python3 dev.py run python benchmarks/validation_cost.py [RUN ...] [--out OUT] [--fashion FILE]

RUN is MODEL,DATA,STEPS, with the model's defaults and one thread.  The share is of the time that as many training steps
take as lie between two measurements; writing checkpoints, previews and curves counts as neither.  The first measurement
has what is done once: the data's features.  Runs are kept in OUT (runs/validation-cost).
"""

import argparse
import shutil
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import ganvas  # first: it sets how torch's threads wait

import torch

from ganvas.data import Dataset, load
from ganvas.models import MODELS
from ganvas.training import validation
from ganvas.training.fit import Run
from ganvas.training.run_records import read_log
from _support import print_table

RUNS = (
    "gan,fashion-mnist,1000", "dcgan,fashion-mnist,100", "wgangp,fashion-mnist,60", "vae,fashion-mnist,1000",
    "gan,emoji,1000", "dcgan,emoji,60", "wgangp,emoji,40", "vae,emoji,1000", "r3gan,grid,1000",
)  # fmt: skip


def measure_run(model: str, data: str | Dataset, steps: int, folder: Path) -> tuple[str, ...]:
    """Train, and say how long that took, and how long each measurement."""
    save, make_evaluator, evaluators, saving = Run.save, validation.make_evaluator, [], 0.0

    def timed_save(*arguments: Any, **options: Any) -> None:
        nonlocal saving
        start = time.perf_counter()
        save(*arguments, **options)
        saving += time.perf_counter() - start

    def remember_evaluator(*arguments: Any) -> Any:
        evaluators.append(make_evaluator(*arguments))
        return evaluators[-1]

    Run.save, validation.make_evaluator = timed_save, remember_evaluator  # type: ignore[method-assign]
    start = time.perf_counter()
    try:
        ganvas.train(MODELS[model](), data, folder=folder, steps=steps, device="cpu", quiet=True)
    finally:
        Run.save, validation.make_evaluator = save, make_evaluator  # type: ignore[method-assign]
    total, interval = time.perf_counter() - start - saving, evaluators[0].interval
    samples = [line["samples"] for line in read_log(folder) if "samples" in line]
    first, *later = [sample["seconds"] for sample in samples]
    training = (total - first - sum(later)) / steps * interval
    mean = statistics.mean(later) if later else None
    return (
        samples[-1]["metric"], str(samples[-1]["n"]), str(interval), f"{training:.1f} s", f"{first:.2f} s",
        f"{first / training:.1%}", "-" if mean is None else f"{mean:.2f} s",
        "-" if mean is None else f"{mean / training:.1%}",
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="*", default=RUNS)
    parser.add_argument("--out", type=Path, default=Path("runs/validation-cost"))
    parser.add_argument("--fashion", help="a file with the images, in place of the data set's own files")
    words = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name in words.runs:
        model, data, steps = name.split(",")
        folder = words.out / name
        shutil.rmtree(folder, ignore_errors=True)
        file = words.fashion if data == "fashion-mnist" else None
        rows.append((name, *measure_run(model, replace(load(file), name=data) if file else data, int(steps), folder)))
        print(*rows[-1], flush=True)
    print_table("run", ("metric", "n", "every", "training", "first", "share", "later", "share"), rows)


if __name__ == "__main__":
    main()
