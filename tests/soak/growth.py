"""Long runs: does a process that trains grow, or hold more and more files open?"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ganvas
from ganvas.models import MODELS
from ganvas.training import fit
from tests.support.data import image_collection, sources
from tests.support.models import small

from .faults import in_child
from .runs import Report, draw_blank

STEPS, WARM_UP, LOOK_EVERY = 20_000, 4000, 500
SILENCE = 1800.0
"""seconds after which a run that says nothing hangs: on a busy machine so many steps take minutes"""
MOST_GROWTH = 20 * 2**20
"""bytes that a process may grow by after its warm-up"""


def memory() -> int:
    """The bytes of memory that this process holds, as Linux says them."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  a listing holds no Path for each


def train_and_look(name: str, folder: Path, steps: int) -> Callable[[Callable[[str], None]], None]:
    """Work for a child: it trains, and says memory and open files every so many steps.

    Curves are blank: when they are drawn depends on the clock, and what Matplotlib then takes is not collected at once.
    Nor are the examples vectors, of which previews are such drawings.
    """

    def work(say: Callable[[str], None]) -> None:
        draw_blank()
        real = fit.training

        def watched(*arguments: Any) -> Iterator[int]:
            for step in real(*arguments):
                if step % LOOK_EVERY == 0:
                    say(f"{step} {memory()} {open_files()}\n")
                yield step

        fit.training = watched
        options: dict[str, Any] = {"batch_size": 8, "checkpoint_every": LOOK_EVERY, "device": "cpu", "quiet": True}
        data = sources(MODELS[name], image_collection(40, (8, 8, 3)))
        ganvas.train(small(MODELS[name], width=4), data, folder=folder, steps=steps, **options)

    return work


def grow(names: list[str], folder: Path, steps: int = STEPS) -> Iterator[Report]:
    """Train one model after the other for a long time; yields after each.  Nothing where there is no /proc."""
    report = Report()
    for name in names if Path("/proc/self/statm").exists() else ():
        outcome = in_child(train_and_look(name, folder / f"long-{name}", steps), silence=SILENCE)
        if outcome.code:
            report.findings.append(f"{name}: {outcome.said.strip()[-600:]}")
            yield report
            continue
        looks = [tuple(map(int, line.split())) for line in outcome.said.splitlines()]
        later = [look for look in looks if look[0] >= min(WARM_UP, steps // 2)]
        growth = later[-1][1] - later[0][1]
        files = sorted({look[2] for look in later})
        report.counts["runs"] += 1
        report.counts["steps"] += steps
        report.counts[f"{name}: KiB"] = growth >> 10
        if growth > MOST_GROWTH:
            report.findings.append(f"{name} grew by {growth / 2**20:.1f} MiB in {later[-1][0] - later[0][0]} steps")
        if len(files) > 1:
            report.findings.append(f"{name} had {files} files open")
        yield report
