"""A run's log as curves: what a page draws, from the beginning and as it grows."""

import os
from collections.abc import Sequence
from functools import lru_cache
from math import isfinite
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..io.run_folder import RunFolder
from ..training.run_records import losses_of, parse_log_line, read_log
from .runs import own_file

MAX_POINTS = 2000
"""most lines of a log that are drawn; of more every second, every third, ..."""
MAX_PIECE = 2**18
"""most bytes of a log that are sent to a page as they come; of more it reads the log anew"""
GROUPS = {"latent": "Codes", "adversarial": "Game", "schedule": "Schedule"}
"""names of groups of figures by their keys in a line"""
ESTIMATES = ("wasserstein", "jensen_shannon")
EVENTS = ("diverged", "rollback", "skipped")
KEPT_KEYS = {"samples", "diverged", "rollback"}
"""what lines have that are few, and are all drawn"""
NO_CURVES: dict[str, Any] = {"at": "0-0", "every": 1, "lines": [], "notes": []}
Place = tuple[int, int]
"""of a reader of a log: the file, by its inode, and the bytes that it has read"""


def flatten(line: dict[str, Any]) -> dict[str, Any]:
    """A line of the log as step, seconds, and finite numbers by group and name; what happened, in words."""
    samples = line.get("samples") or {}
    metric = str(samples.get("metric", "")).partition("@")[0]
    values = {
        "Losses": losses_of(line),
        "Samples": {metric: samples.get("value"), "memorised": samples.get("memorised")},
        "Estimates": {name: line.get(name) for name in ESTIMATES},
    } | {group: line.get(key, {}) for key, group in GROUPS.items()}
    groups = {group: numbers for group, figures in values.items() if (numbers := finite_numbers(figures))}
    events = [f"{n} updates skipped" if k == "skipped" else str(n) for k in EVENTS if (n := line.get(k))]
    return {"step": line["step"], "seconds": line["seconds"], "groups": groups} | ({"events": events} if events else {})


def finite_numbers(figures: dict[str, Any]) -> dict[str, float]:
    """The finite numbers of these, to five digits."""
    return {name: float(f"{value:.5g}") for name, value in figures.items() if is_finite(value)}


def is_finite(value: Any) -> bool:
    """Whether it is a number, and not NaN or infinite."""
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def log_place(folder: Path) -> Place:
    """Where a reader is that has read a whole log; (0, 0) where there is none."""
    try:
        about = RunFolder(folder).log.lstat()
    except OSError:
        return 0, 0
    return about.st_ino, about.st_size


def read_curves(folder: Path) -> dict[str, Any]:
    """The lines of a log, at most `MAX_POINTS`, the place of who has read them, and notes on what is damaged."""
    place = log_place(folder)
    return NO_CURVES if place == (0, 0) else read_curves_at(folder, place)


@lru_cache(16)
def read_curves_at(folder: Path, place: Place) -> dict[str, Any]:
    """The same up to a place, once for all pages that ask for it."""
    notes = list[str]()
    lines = read_log(own_file(RunFolder(folder).log).parent, notes.extend)
    return {"at": f"{place[0]}-{place[1]}", "notes": notes} | thin_out(lines)


def thin_out(lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Lines for a drawing: every one, or every k-th and those with measurements of samples or events."""
    every = max(1, -(-len(lines) // MAX_POINTS))
    last = len(lines) - 1
    points = [
        line for i, line in enumerate(lines)
        if every == 1 or (last - i) % every == 0 or KEPT_KEYS & line.keys()
    ]  # fmt: skip
    return {"every": every, "lines": [flatten(line) for line in points]}


def parse_place(text: str) -> Place:
    """The place that `read_curves` named; (0, 0) of anything else."""
    inode, _, size = text.partition("-")
    return (int(inode), int(size)) if inode.isdecimal() and size.isdecimal() and len(text) < 50 else (0, 0)


@lru_cache(16)
def read_since(path: Path, start: Place, now: Place) -> tuple[Place, list[dict[str, Any]] | None]:
    """The lines between two places of a log, and the place behind them; None where it has to be read anew.

    Pages of one run ask for the same lines at the same time, so they are read once.
    """
    (inode, begin), (new_inode, end) = start, now
    if inode != new_inode or end < begin or end - begin > MAX_PIECE:
        return now, None
    try:
        with own_file(path).open("rb") as file:
            if os.fstat(file.fileno()).st_ino != inode:
                return now, None
            file.seek(begin)
            content = file.read(end - begin)
    except (OSError, UserError):
        return now, None
    whole = content[: content.rfind(b"\n") + 1]  # the last line may still be written
    lines = (parse_log_line(text) for text in whole.decode("utf-8", "replace").split("\n"))
    return (inode, begin + len(whole)), [flatten(line) for line in lines if line is not None]
