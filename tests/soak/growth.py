"""Long runs: does a process that trains grow, or hold more and more files open?"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import ganvas
from ganvas.data import Dataset, from_array
from ganvas.models import MODELS
from ganvas.training import fit
from tests.support.data import image_collection, sources
from tests.support.frozen import IMAGES
from tests.support.models import small

from .faults import in_child
from .runs import Report

STEPS, WARM_UP, LOOK_EVERY = 20_000, 1000, 500
SILENCE = 1800.0
"""seconds after which a run that says nothing hangs: on a busy machine so many steps take minutes"""
MOST_GROWTH = 20e6
"""bytes that a process may grow by after its warm-up"""


def memory() -> int:
    """The bytes of memory that this process holds, as Linux says them."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  a listing holds no Path for each


def examples(kind: str) -> Dataset:
    """A few images, or vectors, whose previews are scatter plots."""
    vectors = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
    return image_collection(40, (8, 8, 3)) if kind == "images" else from_array(vectors, np.arange(40) % 5)


def train_and_look(name: str, kind: str, folder: Path, steps: int) -> Callable[[Callable[[str], None]], None]:
    """Work for a child: it trains, and says memory and open files every so many steps."""

    def work(say: Callable[[str], None]) -> None:
        real = fit.training

        def watched(*arguments: Any) -> Iterator[int]:
            for step in real(*arguments):
                if step % LOOK_EVERY == 0:
                    say(f"{step} {memory()} {open_files()}\n")
                yield step

        fit.training = watched
        fit.FIRST_SAVE_SECONDS = 0.0  # curves are drawn at the first checkpoint, for which Matplotlib is imported
        options: dict[str, Any] = {"batch_size": 8, "checkpoint_every": LOOK_EVERY, "device": "cpu", "quiet": True}
        cls, data = MODELS[name], sources(MODELS[name], examples(kind))
        has_mlps = cls.n_domains == 2 and kind == "vectors"  # without an option of `small` for other networks
        ganvas.train(cls(width=4) if has_mlps else small(cls, width=4), data, folder=folder, steps=steps, **options)

    return work


def grow(names: list[str], folder: Path, steps: int = STEPS) -> Iterator[Report]:
    """Train each model for a long time, on images and on vectors; yields after each.  Nothing without /proc."""
    report = Report()
    runs = [(name, kind) for name in names for kind in ("images", "vectors")[: 1 if name in IMAGES else 2]]
    for name, kind in runs if Path("/proc/self/statm").exists() else ():
        run = f"{name} on {kind}"
        outcome = in_child(train_and_look(name, kind, folder / f"long-{name}-{kind}", steps), silence=SILENCE)
        if outcome.code:
            report.findings.append(f"{run}: {outcome.said.strip()[-600:]}")
            yield report
            continue
        looks = [tuple(map(int, line.split())) for line in outcome.said.splitlines()]
        later = [look for look in looks if look[0] >= min(WARM_UP, steps // 2)]
        growth = max(look[1] for look in later) - later[0][1]
        files = sorted({look[2] for look in later})
        report.counts["runs"] += 1
        report.counts["steps"] += steps
        report.counts[f"{run}: KiB"] = growth >> 10
        if growth > MOST_GROWTH:
            report.findings.append(f"{run} grew by {growth / 1e6:.1f} MB in {later[-1][0] - later[0][0]} steps")
        if len(files) > 1:
            report.findings.append(f"{run} had {files} files open")
        yield report
