"""The kinds of files that are damaged, and what reads each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import ganvas
from ganvas.cli.arguments import read_options
from ganvas.cli.inspect import diagnose_run, doctor
from ganvas.data import DataOptions, load
from ganvas.data.duplicates import find_duplicates
from ganvas.data.tables.frame import as_written, to_frame
from ganvas.data.tables.report import describe_table
from ganvas.data.tables.table import Table
from ganvas.training import run_records
from ganvas.training.checkpoint import check_checkpoint

from .damage import Input, whole
from .inputs import (
    archives,
    array_inputs,
    cifar,
    image_inputs,
    options_file,
    own_header,
    picture,
    safetensors_parts,
    tables,
)
from .runs import STEPS, Subject
from .science_inputs import library_inputs

SELDOM = 0.05
"""how often a command reads a run's file that else a function of the package does, which takes a tenth of the time"""
SHARES = {
    "npy": 6, "npz": 4, "IDX": 4, "HDF5": 6, "NIfTI": 4, "options": 6, "weights": 3, "config.json": 3, "images": 2,
    "DICOM": 2, "CIFAR": 2,
}  # fmt: skip
"""how many files of a kind are read for one of another: of those that take little time more"""


@dataclass(frozen=True)
class Case:
    """A file to damage, the kind that it is of, what reads it in its folder, and the folder of what lies beside it."""

    kind: str
    input: Input
    read: Callable[[Path, Random], Any]
    beside: Path | None = None


def read_data(name: str, folder: Path, random: Random) -> None:
    """Read the file as data, or the folder, without a name."""
    options = {"pages": random.choice(("all", "first")), "range": random.choice(("auto", None))}
    load(folder / name, DataOptions(**options, limit=random.choice((None, None, 2))))


def read_rows(name: str, folder: Path, random: Random) -> None:
    """Read the file as a table, in memory or a part at a time, describe it, and write rows as it has them."""
    source = f"sqlite:///{folder / name}#rows" if name.endswith(".db") else folder / name
    table = load(source, DataOptions(stream=random.choice(("auto", "never", "always")), holdout=0))
    if isinstance(table, Table):
        describe_table(table, find_duplicates(table))
        as_written(table.columns, to_frame(table.columns, table.x))


def data_cases(folder: Path) -> list[Case]:
    """Every kind of data: a file by itself, or in a folder with others."""
    images, batches = folder / "images", folder / "cifar"
    for beside in (images, batches):
        beside.mkdir()
    for i in range(4):
        (images / f"{i}.png").write_bytes(picture("PNG"))
    *records, archive = cifar()
    for each in records:
        (batches / each.name).write_bytes(each.parts[0])
    kinds = {"images": image_inputs(), "archives": archives(), "CIFAR": [archive], **array_inputs(), **library_inputs()}
    readers = {"rows": read_rows}
    cases = [
        Case(kind, each, partial(readers.get(kind, read_data), each.name))
        for kind, some in kinds.items()
        for each in some
    ]
    by_folder = (("images", image_inputs()[:3], images), ("tables", tables(), images), ("CIFAR", records, batches))
    cases += [Case(kind, each, partial(read_data, ""), beside) for kind, some, beside in by_folder for each in some]
    return [*cases, Case("options", options_file(), lambda path, random: read_options(str(path / "run.yaml")))]


def run_cases(subject: Subject) -> list[Case]:
    """Every file of a run that is read again, and what reads it."""
    _, base = subject.undisturbed, subject.folder / f"{subject.name}-undisturbed"
    one = subject.data[0] if isinstance(subject.data, tuple) else subject.data

    def resume(path: Path, steps: int | None = None) -> None:
        ganvas.resume(path, subject.data, steps=steps, quiet=True)

    def use(path: Path, random: Random) -> None:
        ganvas.load(path).sample(2)

    def restore(path: Path, random: Random) -> None:
        check_checkpoint(path / "state.ckpt", subject.model, one.shape, len(one.classes))
        if random.random() < SELDOM:
            resume(path)

    def look(path: Path, random: Random) -> None:
        run_records.summarize_run(path)
        diagnose_run(path)
        if random.random() < SELDOM:
            random.choice((lambda: doctor(str(path)), lambda: resume(path), lambda: resume(path, STEPS)))()

    readers: dict[str, list[Callable[[Path, Random], None]]]
    readers = {"weights.safetensors": [use], "state.ckpt": [restore], "config.json": [use, look], "log.jsonl": [look]}
    makers: dict[bool, tuple[Callable[[str, bytes], Input], ...]]
    makers = {True: (whole, safetensors_parts, own_header), False: (whole,)}
    return [
        Case(name.removesuffix(".safetensors"), make(name, (base / name).read_bytes()), read, base)
        for name, some in readers.items()
        for read in some
        for make in makers[name in ("weights.safetensors", "state.ckpt")]
    ]


def all_cases(folder: Path, models: Sequence[str]) -> list[Case]:
    """Every case, as often as its kind's share says."""
    cases = [case for name in models for case in run_cases(Subject(name, folder))] + data_cases(folder)
    return [case for case in cases for _ in range(SHARES.get(case.kind, 1))]
