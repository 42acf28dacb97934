"""Runs of every model that are killed, or whose disk is full, and go on: are they the run that nothing disturbed?"""

import json
import os
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from math import inf
from pathlib import Path
from random import Random
from typing import Any

import ganvas
from ganvas.io.run_folder import RunFolder
from ganvas.models import MODELS
from ganvas.training import fit
from tests.support.data import image_collection, sources
from tests.support.models import small

from .faults import KILLED, REFUSED, Kind, in_child, install

STEPS = 6
OPTIONS: dict[str, Any] = {"batch_size": 4, "steps": STEPS, "checkpoint_every": 2, "device": "cpu", "seed": 3}
CLOCK = ("created_at", "seconds")
"""what the clock says in config.json and in a line of the log, or in its part `samples`"""
PICTURES = ("curves.png", "training.webp", "report.html")
"""files that show the log's seconds, or every preview: these are compared themselves"""
MOST_KILLS_OF_A_RUN = 3


@dataclass
class Report:
    """What happened to runs: counts by name, and a line for each that did not become what it should."""

    counts: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    readers: Counter[str] = field(default_factory=Counter)
    """files that were read, by their kind"""
    seconds: Counter[str] = field(default_factory=Counter)
    """processor time that each kind took"""


class Subject:
    """A small run of a model, which can be done again with a fault; what it is undisturbed."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.model = small(MODELS[name], width=4)
        self.data = sources(MODELS[name], image_collection(12, (8, 8, 3)))

    def go(self, folder: Path) -> None:
        """Begin the run in the folder, or go on with what is there."""
        if RunFolder(folder).is_run:
            ganvas.resume(folder, self.data, quiet=True)
        else:
            ganvas.train(self.model, self.data, folder=folder, quiet=True, **OPTIONS)

    @cached_property
    def undisturbed(self) -> dict[str, Any]:
        """What it leaves where nothing happens; it is done in this process, whose forks then have all imported."""
        folder = self.folder / f"{self.name}-undisturbed"
        self.go(folder)
        return contents(folder)

    @cached_property
    def writes(self) -> tuple[list[tuple[str, bool]], float]:
        """The kinds of files that it writes, each with whether that takes room, and the seconds that it takes."""
        folder = self.folder / f"{self.name}-counted"

        def count(say: Callable[[str], None]) -> None:
            writes = install("none", 0, folder)
            self.go(folder)
            names = ("its folder" if path == folder.absolute() else kind_of_file(path) for path, _ in writes)
            say(json.dumps([(name, takes_room) for name, (_, takes_room) in zip(names, writes, strict=True)]))

        start_time = time.monotonic()
        outcome = in_child(count)
        assert outcome.code == 0, outcome.said
        shutil.rmtree(folder)
        return json.loads(outcome.said), time.monotonic() - start_time

    def with_fault(self, folder: Path, kind: Kind, at: int, kill_after: float | None = None) -> Any:
        def work(say: Callable[[str], None]) -> None:
            install(kind, at, folder)
            self.go(folder)

        return in_child(work, kill_after)

    def check(self, folder: Path, how: str, report: Report) -> None:
        """Let the run go on to its end, and report what then is not as in the undisturbed run; remove it if all is."""
        outcome = self.with_fault(folder, "none", 0)
        if outcome.code:
            report.counts["unreadable"] += 1
            report.findings.append(f"{how}: the run does not go on: {outcome.said.strip()[-600:]}")
            return
        try:
            found = contents(folder)
        except (OSError, ValueError) as error:
            report.counts["unreadable"] += 1
            report.findings.append(f"{how}: {error}")
            return
        expected = self.undisturbed
        if different := [name for name in expected | found if expected.get(name) != found.get(name)]:
            report.counts["different"] += 1
            report.findings.append(f"{how}: not as in the undisturbed run: {', '.join(different)}")
            return
        shutil.rmtree(folder)


def kind_of_file(path: Path) -> str:
    """A file's name without numbers, and as it will be called: that of a picture is N.png."""
    return re.sub(r"\d+", "N", re.sub(r"^\.(.*?)(\.\d+\.tmp)$", r"\1", path.name))


def contents(folder: Path) -> dict[str, Any]:
    """What a run has written, by file: bytes, and of config.json and the log what is not the clock's."""
    files: dict[str, Any] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        files[name] = None if name in PICTURES else path.read_bytes()
    files["config.json"] = without_clock(json.loads(files["config.json"]))
    files["log.jsonl"] = [without_clock(json.loads(line)) for line in files["log.jsonl"].splitlines()]
    return files


def without_clock(values: dict[str, Any]) -> dict[str, Any]:
    """The values, and those of `samples`, but for the clock's."""
    rest = {name: value for name, value in values.items() if name not in CLOCK}
    return rest | ({"samples": without_clock(rest["samples"])} if "samples" in rest else {})


def draw_blank() -> None:
    """Let this process draw no curves and no animation, most of a small run's time; files are written as ever.

    Nor does it save by the clock: a run on a busy machine would have previews that another has not.  Nor does it wait
    for the disk, which only a machine without power would need: a killed process has written what the system has.
    """
    from PIL import Image

    fit.FIRST_SAVE_SECONDS = fit.SAVE_INTERVAL_SECONDS = inf
    fit.draw_curves = lambda lines: Image.new("RGB", (2, 2))
    fit.encode_previews = lambda previews: b"an animation"
    os.fsync = lambda descriptor: None


def kill_runs(names: list[str], folder: Path, seed: int) -> Iterator[Report]:
    """Kill runs of these models in turns, at a write or at any moment, once or several times; yields after each run."""
    draw_blank()
    report, subjects = Report(), [Subject(name, folder) for name in names]
    for subject in subjects:
        _ = subject.undisturbed
    i = 0
    while True:
        subject, random = subjects[i % len(subjects)], Random(f"{seed}/{i}")
        run, story = folder / f"killed-{i}", []
        writes, seconds = subject.writes
        for _ in range(random.randint(1, MOST_KILLS_OF_A_RUN)):
            kind: Any = random.choice(("before", "half", "half", "moment"))
            at, moment = random.randint(1, len(writes)), random.uniform(0.0, seconds)
            if kind == "moment":
                outcome, place = subject.with_fault(run, "none", 0, moment), f"{moment:.3f} s"
            else:
                outcome, place = subject.with_fault(run, kind, at), f"write {at}"
            if outcome.code == KILLED:
                report.counts["kills"] += 1
                report.counts[kind] += 1
                story.append(f"{kind} {place}")
            elif outcome.code:
                report.findings.append(f"{subject.name} {run.name}, {story}: {outcome.said.strip()[-600:]}")
        report.counts["runs"] += 1
        if not run.exists():  # killed before its folder was there
            report.counts["not begun"] += 1
        subject.check(run, f"{subject.name} {run.name}, killed {', '.join(story)}", report)
        i += 1
        yield report


def fill_disk(names: list[str], folder: Path, seed: int) -> Iterator[Report]:
    """Fill the disk at each write that takes room, of runs of these models; yields after each run.

    A full disk refuses no others, such as to rename.  The order is drawn at random, but for one write of each kind of
    file in each way, which come first.
    """
    draw_blank()
    report, subjects = Report(), [Subject(name, folder) for name in names]
    places: list[tuple[str, Kind, Subject, int]] = []
    for subject in subjects:
        _ = subject.undisturbed
        for at, (file, takes_room) in enumerate(subject.writes[0], 1):
            places += [(file, kind, subject, at) for kind in ("full", "short") if takes_room]
    Random(seed).shuffle(places)
    first = list({place[:2]: place for place in places}.values())
    chosen = set(first)
    report.counts["places"] = len(places)
    report.counts["kinds of files"] = len({file for file, *_ in places})
    for file, kind, subject, at in [*first, *(place for place in places if place not in chosen)]:
        run = folder / f"full-{subject.name}-{kind}-{at}"
        outcome = subject.with_fault(run, kind, at)
        report.counts["runs"] += 1
        report.counts["refused"] += outcome.code == REFUSED
        if outcome.code not in (0, REFUSED) or "\n" in outcome.said:
            report.findings.append(f"{run.name}, {file}: {outcome.said.strip()[-600:] or outcome.code}")
        subject.check(run, run.name, report)
        yield report
