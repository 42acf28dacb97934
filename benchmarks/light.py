"""How much of a run's time measuring its samples takes: at most 3% is the goal.

    python3 dev.py run python benchmarks/light.py [RUN ...] [--out OUT] [--fashion FILE] [--copies]

RUN is MODEL,DATA,STEPS, with the model's defaults and one thread.  The share is of the time that as many training steps
take as lie between two measurements; writing checkpoints, previews and curves counts as neither.  The first measurement
has what is done once: the data's features.  Runs are kept in OUT (runs/light).

With --copies, instead, the share of samples that copy an example: of a GAN of 40 digits, and of the same with 1,500.
"""

import argparse
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import ganvas  # first: it sets how torch's threads wait

import torch

from ganvas.training import run, validation
from ganvas.data import Dataset, load
from ganvas.training.run_folder import read_log
from ganvas.models import MODELS

USUAL = (
    "gan,fashion-mnist,1000", "dcgan,fashion-mnist,100", "wgangp,fashion-mnist,60", "vae,fashion-mnist,1000",
    "gan,emoji,1000", "dcgan,emoji,60", "wgangp,emoji,40", "vae,emoji,1000", "r3gan,grid,1000",
)  # fmt: skip


def timed(model: str, data: str | Dataset, steps: int, folder: Path) -> dict[str, Any]:
    """Train, and say how long that took, and how long each measurement."""
    save, begin, seen, written = run.save, validation.make_evaluator, [], 0.0

    def watched(*arguments: Any) -> None:
        nonlocal written
        began = time.perf_counter()
        save(*arguments)
        written += time.perf_counter() - began

    def noted(*arguments: Any) -> Any:
        seen.append(begin(*arguments))
        return seen[-1]

    run.save, validation.make_evaluator = watched, noted
    began = time.perf_counter()
    try:
        ganvas.train(MODELS[model](), data, folder=folder, steps=steps, device="cpu", quiet=True)
    finally:
        run.save, validation.make_evaluator = save, begin
    total = time.perf_counter() - began - written
    found = [line["samples"] for line in read_log(folder) if "samples" in line]
    each = [samples["seconds"] for samples in found]
    training = (total - sum(each)) / steps * seen[0].interval
    return {"found": found[-1], "interval": seen[0].interval, "training": training, "each": each}


def copies(out: Path) -> None:
    """Train a GAN on few digits and on all, and print the share of copies at each measurement."""
    digits = load("digits")
    for name, data, steps in (("40 digits", digits.select(slice(40)), 6000), ("1,500 digits", digits, 1500)):
        folder = out / name
        shutil.rmtree(folder, ignore_errors=True)
        model = ganvas.GAN(width=256, latent=16, lr=1e-3, norm="batch", r1=0.1)
        ganvas.train(
            model,
            data,
            folder=folder,
            steps=steps,
            batch_size=32,
            ema_decay=0.99,
            keep="last",
            device="cpu",
            quiet=True,
        )
        found = [(line["step"], line["samples"]["memorised"]) for line in read_log(folder) if "samples" in line]
        print(name, ", ".join(f"{share:.1%} at {step}" for step, share in found), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", nargs="*", default=USUAL)
    parser.add_argument("--out", type=Path, default=Path("runs/light"))
    parser.add_argument("--fashion", help="a file with the images, in place of the data set's own files")
    parser.add_argument("--copies", action="store_true", help="look for copies instead")
    words = parser.parse_args()
    torch.set_num_threads(1)
    if words.copies:
        copies(words.out)
        return
    print(f"{'':<25}{'metric':<34}{'n':>5}{'every':>7}{'training':>11}{'first':>9}{'later':>9}{'share':>8}{'later':>7}")
    for name in words.runs:
        model, data, steps = name.split(",")
        folder = words.out / name
        shutil.rmtree(folder, ignore_errors=True)
        file = words.fashion if data == "fashion-mnist" else None
        t = timed(model, replace(load(file), name=data) if file else data, int(steps), folder)
        training, first, later = t["training"], t["each"][0], t["each"][1:]
        mean = sum(later) / len(later) if later else None
        rest = "" if mean is None else f"{mean:>7.2f} s{first / training:>8.1%}{mean / training:>7.1%}"
        said = rest or f"{'':>9}{first / training:>8.1%}"
        found = t["found"]
        print(
            f"{name:<25}{found['metric']:<34}{found['n']:>5}{t['interval']:>7}{training:>9.1f} s{first:>7.2f} s{said}",
            flush=True,
        )


if __name__ == "__main__":
    main()
