"""Damaged files of every kind: each is read, or refused in one sentence, within a second and a GiB."""

import json
import os
import resource
import shutil
import signal
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any

from ganvas.data import folder as folder_reader
from ganvas.data import images
from ganvas.errors import DivergenceError, UserError, WriteError

from .cases import Case, all_cases
from .faults import in_child, on_writes
from .runs import Report, draw_blank

CPU_SECONDS, MEMORY = 1.0, 2**30
"""what reading one file may take: processor time, which other processes do not change, and bytes"""
BATCH = 1000
"""files that one child process reads"""
OUR_ERRORS = (UserError, WriteError, DivergenceError)
LIBRARIES = ("pandas", "pyarrow.parquet", "sqlalchemy.dialects.sqlite", "h5py", "nibabel", "pydicom", "zarr")
"""what readers import where they need it: that takes as long as reading hundreds of files, so no child does it anew"""
MODELS_OF_RUNS = ("vae", "gan", "ctgan")
"""models whose runs' files are damaged"""


class TooSlow(BaseException):
    """It took longer than it may."""


@contextmanager
def limits() -> Iterator[None]:
    """A block that ends with TooSlow after so much processor time."""

    def stop(number: int, frame: Any) -> None:
        raise TooSlow(f"more than {CPU_SECONDS:g} s of processor time")

    signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def limit_memory() -> None:
    """Let this process take so many more bytes than it has, where the system says how many that are."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        size = 1024 * int(lines["VmSize"].split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))


class Target:
    """A folder for each case, in which the damaged file is; made anew after something else was written there."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clean = folder, set[Path]()
        self.written: list[Path] = []
        """by this process since the last damaged file"""

    def note_write(self, event: str, paths: list[Path]) -> None:
        self.written += [path.absolute() for path in paths]

    def write(self, case: Case, cases: Sequence[Case], random: Random, i: int) -> tuple[Path, bytes]:
        """Write the damaged file number i: its folder, and its bytes."""
        content = case.input.damaged(random, b"".join(random.choice(cases).input.parts))
        folder = self.folder / f"{cases.index(case)}"
        if folder not in self.clean:
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(case.beside, folder) if case.beside else folder.mkdir(parents=True)
            self.clean.add(folder)
        (folder / case.input.name).write_bytes(content)
        os.utime(folder / case.input.name, ns=(i, i))  # what is cached by name and time is of another file
        self.written.clear()
        return folder, content

    def outside(self, folder: Path) -> list[Path]:
        """What the reader of a folder has written elsewhere."""
        if any(path.is_relative_to(folder) for path in self.written):
            self.clean.discard(folder)
        allowed = self.folder.parent
        return [p for p in self.written if not p.is_relative_to(allowed) and str(p) != os.devnull]


def try_input(cases: Sequence[Case], seed: int, i: int, target: Target) -> tuple[str, bytes, str]:
    """Read the damaged file number i: its name, its bytes, and what is wrong with how that ended."""
    random, case = Random(f"{seed}/{i}"), cases[i % len(cases)]
    folder, content = target.write(case, cases, random, i)
    try:
        with limits(), warnings.catch_warnings():
            warnings.simplefilter("error")
            case.read(folder, random)
    except OUR_ERRORS as error:
        said = str(error)
        problem = f"no sentence: {said!r}" if "\n" in said or not said.strip() else ""
    except BaseException as error:
        frames = [f"{Path(f.filename).name}:{f.lineno}" for f in traceback.extract_tb(error.__traceback__)]
        problem = f"{type(error).__name__}: {str(error)[:200]} ({' '.join(frames[-6:])})"
    else:
        problem = ""
    outside = target.outside(folder)
    return case.input.name, content, f"writes {[str(path) for path in outside[:3]]}" if outside else problem


def in_turn(
    function: Callable[[Any], Any], items: Iterable[Any], workers: int = 1, group: int = 1
) -> Generator[Any, None, None]:
    """`in_parallel` without threads, which take most of the time of small images."""
    yield from map(function, items)


def read_batch(cases: Sequence[Case], seed: int, first: int, count: int, folder: Path) -> Callable[[Any], None]:
    """Work for a child: it says the number of each file before it is read, what was found, and the seconds it took."""

    def work(say: Callable[[str], None]) -> None:
        os.environ["GANVAS_CACHE"] = str(folder / "cache")
        images.in_parallel = folder_reader.in_parallel = in_turn
        limit_memory()
        target, seconds = Target(folder / "target"), Counter[str]()
        on_writes(target.note_write)
        for i in range(first, first + count):
            say(f"{i}\n")
            start_time = time.process_time()
            name, content, problem = try_input(cases, seed, i, target)
            seconds[cases[i % len(cases)].kind] += time.process_time() - start_time
            if problem:
                kept = folder / f"finding-{i}-{name}"
                kept.write_bytes(content)
                say(json.dumps({"i": i, "name": name, "problem": problem, "kept": str(kept)}) + "\n")
        say(json.dumps({"seconds": seconds}) + "\n")

    return work


def fuzz(folder: Path, seed: int, count: int | None = None, models: Sequence[str] = MODELS_OF_RUNS) -> Iterator[Report]:
    """Read damaged files without end, or so many; yields after each batch."""
    draw_blank()
    for library in LIBRARIES:
        with suppress(ImportError):
            import_module(library)
    folder = folder / "fuzz"
    folder.mkdir(exist_ok=True)
    cases = all_cases(folder, models)
    report, first, seen = Report(), 0, Counter[str]()
    report.counts["files"] = len(set(map(id, cases)))
    while count is None or first < count:
        n = BATCH if count is None else min(BATCH, count - first)
        outcome = in_child(read_batch(cases, seed, first, n, folder))
        lines = outcome.said.splitlines()
        numbers = [int(line) for line in lines if line.isdecimal()]
        for found in (json.loads(line) for line in lines if line.startswith("{")):
            if "seconds" in found:
                report.seconds.update(found["seconds"])
            else:
                add_finding(report, seen, found, seed)
        done = numbers[-1] + 1 - first if numbers else 0
        if outcome.code:  # a decoder has crashed, or does not end
            i = first + max(0, done - 1)
            name = cases[i % len(cases)].input.name
            problem = f"the process ended with {outcome.code}: {outcome.said.strip()[-300:]}"
            add_finding(report, seen, {"i": i, "name": name, "problem": problem, "kept": ""}, seed)
            done = max(1, done)
        report.counts["inputs"] += done
        report.readers.update(cases[i % len(cases)].kind for i in range(first, first + done))
        first += done
        yield report


def read_again(seed: int, i: int, folder: Path) -> int:
    """Read one damaged file again in this process, without limits: an error is shown with its traceback."""
    draw_blank()
    random, cases = Random(f"{seed}/{i}"), all_cases(folder, MODELS_OF_RUNS)
    case = cases[i % len(cases)]
    place, _ = Target(folder / "target").write(case, cases, random, i)
    print(f"{place / case.input.name}", flush=True)
    try:
        case.read(place, random)
    except OUR_ERRORS as error:
        print(f"{type(error).__name__}: {error}")
    return 0


def add_finding(report: Report, seen: Counter[str], found: dict[str, Any], seed: int) -> None:
    """Report it, unless one like it was."""
    report.counts["findings"] += 1
    kind = found["name"] + found["problem"].partition("(")[2]
    seen[kind] += 1
    if seen[kind] == 1:
        again = f"python -m tests.soak --seed {seed} --input {found['i']}"
        report.findings.append(f"{found['name']}: {found['problem']}; {again}; {found['kept']}")
