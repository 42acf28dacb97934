"""Damaged files of every kind: each is read, or refused in one sentence, within a second and a GiB."""

import json
import os
import resource
import shutil
import signal
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import ganvas
from ganvas.cli.inspect import doctor
from ganvas.data import DataOptions, load
from ganvas.errors import DivergenceError, UserError, WriteError
from ganvas.training import run_records

from .faults import in_child, on_writes
from .inputs import Input, data_inputs, own_header, picture, safetensors_parts, whole
from .runs import STEPS, Report, Subject, draw_blank

CPU_SECONDS, MEMORY = 1.0, 2**30
"""what reading one file may take: processor time, which other processes do not change, and bytes"""
BATCH = 40
"""files that one child process reads"""
OUR_ERRORS = (UserError, WriteError, DivergenceError)
MODELS_OF_RUNS = ("vae", "gan")
"""models whose runs' files are damaged"""


class TooSlow(BaseException):
    """It took longer than it may."""


@dataclass(frozen=True)
class Case:
    """A file to damage, what lies beside it, and what reads it."""

    input: Input
    read: Callable[[Path, Random], Any]
    beside: Path | None = None


def read_data(folder: Path, name: str, random: Random) -> None:
    """Read the file as data, or the folder that it is in."""
    options = DataOptions(pages=random.choice(("all", "first")), range=random.choice(("auto", None)))
    is_image_or_table = name.endswith((".png", ".tiff", ".gif", ".pgm", ".bmp", ".tga", ".jpg", ".webp"))
    is_image_or_table |= name.endswith((".csv", ".tsv", ".json", ".jsonl"))
    load(folder if is_image_or_table else folder / name, options)


def data_cases(folder: Path) -> list[Case]:
    """Every kind of data, and labels beside four images."""
    images = folder / "images"
    images.mkdir()
    for i in range(4):
        (images / f"{i}.png").write_bytes(picture("PNG"))
    return [
        Case(each, lambda path, random, name=each.name: read_data(path, name, random), images if is_table else None)
        for each in data_inputs()
        for is_table in [each.name.endswith((".csv", ".tsv", ".json", ".jsonl"))]
    ]


def run_cases(subject: Subject) -> list[Case]:
    """Every file of a run that is read again, and what reads it."""
    _, base = subject.undisturbed, subject.folder / f"{subject.name}-undisturbed"

    def use(path: Path, random: Random) -> None:
        ganvas.load(path).sample(2)

    def resume(path: Path, random: Random) -> None:
        ganvas.resume(path, subject.data, quiet=True)

    def look(path: Path, random: Random) -> None:
        run_records.summarize_run(path)
        random.choice((lambda: doctor(str(path)), lambda: ganvas.resume(path, subject.data, steps=STEPS, quiet=True)))()

    weights, state, config, log = (
        (base / name).read_bytes() for name in ("weights.safetensors", "state.ckpt", "config.json", "log.jsonl")
    )
    cases = [(each("weights.safetensors", weights), use) for each in (whole, safetensors_parts, own_header)]
    cases += [(each("state.ckpt", state), resume) for each in (whole, safetensors_parts, own_header)]
    cases += [(whole("config.json", config), use), (whole("config.json", config), look)]
    cases += [(whole("log.jsonl", log), look), (whole("log.jsonl", log), resume)]
    return [Case(each, read, base) for each, read in cases]


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


def all_cases(folder: Path, models: Sequence[str] = MODELS_OF_RUNS) -> list[Case]:
    return [case for name in models for case in run_cases(Subject(name, folder))] + data_cases(folder)


def write_damaged(case: Case, cases: Sequence[Case], random: Random, folder: Path) -> bytes:
    """Write a damaged file, with what lies beside it, into `folder`, made anew; its bytes."""
    content = case.input.damaged(random, b"".join(random.choice(cases).input.parts))
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(case.beside, folder) if case.beside else folder.mkdir()
    (folder / case.input.name).write_bytes(content)
    return content


def try_input(cases: Sequence[Case], seed: int, i: int, folder: Path, outside: list[str]) -> tuple[str, bytes, str]:
    """Read the damaged file number i in `folder`: its name, its bytes, and what is wrong with how that ended.

    `outside` is where another notes what is written elsewhere.
    """
    random, case = Random(f"{seed}/{i}"), cases[i % len(cases)]
    name, content = case.input.name, write_damaged(case, cases, random, folder)
    outside.clear()
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
    return name, content, f"writes {outside[:3]}" if outside else problem


def read_batch(cases: Sequence[Case], seed: int, first: int, count: int, folder: Path) -> Callable[[Any], None]:
    """Work for a child: it says the number of each file before it is read, and what was found."""

    def work(say: Callable[[str], None]) -> None:
        os.environ["GANVAS_CACHE"] = str(folder / "cache")
        limit_memory()
        outside: list[str] = []

        def note(event: str, paths: list[Path]) -> None:
            foreign = [path for path in paths if not path.absolute().is_relative_to(folder)]
            outside.extend(str(path) for path in foreign if str(path) != os.devnull)

        on_writes(note)
        for i in range(first, first + count):
            say(f"{i}\n")
            name, content, problem = try_input(cases, seed, i, folder / "target", outside)
            if problem:
                kept = folder / f"finding-{i}-{name}"
                kept.write_bytes(content)
                say(json.dumps({"i": i, "name": name, "problem": problem, "kept": str(kept)}) + "\n")

    return work


def fuzz(folder: Path, seed: int, count: int | None = None, models: Sequence[str] = MODELS_OF_RUNS) -> Iterator[Report]:
    """Read damaged files without end, or so many; yields after each batch."""
    draw_blank()
    folder = folder / "fuzz"
    folder.mkdir(exist_ok=True)
    cases = all_cases(folder, models)
    report, first, seen = Report(), 0, Counter[str]()
    report.counts["kinds"] = len(cases)
    while count is None or first < count:
        n = BATCH if count is None else min(BATCH, count - first)
        outcome = in_child(read_batch(cases, seed, first, n, folder))
        lines = outcome.said.splitlines()
        numbers = [int(line) for line in lines if line.isdecimal()]
        for line in lines:
            if line.startswith("{"):
                add_finding(report, seen, json.loads(line), seed)
        done = numbers[-1] + 1 - first if numbers else 0
        if outcome.code:  # a decoder has crashed, or does not end
            i = first + max(0, done - 1)
            name = cases[i % len(cases)].input.name
            problem = f"the process ended with {outcome.code}: {outcome.said.strip()[-300:]}"
            add_finding(report, seen, {"i": i, "name": name, "problem": problem, "kept": ""}, seed)
            done = max(1, done)
        report.counts["inputs"] += done
        first += done
        yield report


def read_again(seed: int, i: int, folder: Path) -> int:
    """Read one damaged file again in this process, without limits: an error is shown with its traceback."""
    draw_blank()
    random, cases = Random(f"{seed}/{i}"), all_cases(folder)
    case = cases[i % len(cases)]
    write_damaged(case, cases, random, target := folder / "target")
    print(f"{target / case.input.name}", flush=True)
    try:
        case.read(target, random)
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
