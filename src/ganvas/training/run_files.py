"""Which files of a run are whole, and what is lost with those that are not.  Nothing is written.

Weights and states have checksums, and so have the chunks of PNGs.  The log and config.json have none: what no longer is
JSON, or does not fit the weights, is found, but not one digit in place of another.  Of shards the headers and sizes are
checked, and an animation is decoded.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

from PIL import Image, ImageSequence

from ..data.tables.scaling import table_from_state
from ..data.unreadable import lift_pixel_limit
from ..errors import UserError, first_line
from ..inference.schema import (
    DEEP_FORMAT_VERSION,
    WeightsHeader,
    check_fields,
    check_format,
    parse,
    parse_state,
    parse_weights,
)
from ..io.lock import LOCK_FILE, STOP_FILE
from ..io.run_folder import FILES, LAST_WEIGHTS_FILE, WEIGHTS_FILE, RunFolder
from ..io.safetensors import read_header, read_safetensors
from ..models import find_model_class
from . import checkpoint, run_records

WHOLE, DAMAGED, MISSING, LEFT_OVER, FOREIGN = "whole", "damaged", "missing", "left over", "no file of the run"
LOSSES = (DAMAGED, MISSING)
"""what a file is with which something is lost"""
PNG_END, PAGE_END = b"IEND\xaeB`\x82", b"</html>"
MAX_NAMES = 5
"""most files that a line names"""


@dataclass(frozen=True)
class FileReport:
    """A file of a run's folder: what is wrong with it, what is lost, and what to do."""

    file: str
    state: str
    why: str = ""
    lost: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class RunFiles:
    """The folder of a run, each of whose files is to be read."""

    folder: Path

    @property
    def files(self) -> RunFolder:
        return RunFolder(self.folder)

    @cached_property
    def config(self) -> dict[str, Any]:
        """What config.json says; nothing where it cannot be read."""
        with suppress(UserError):
            return run_records.read_config(self.folder)
        return {}

    @cached_property
    def headers(self) -> dict[Path, dict[str, Any]]:
        """The headers of weights and state that can be read."""
        headers = {}
        files = self.files
        for file in (files.weights, files.last_weights, files.checkpoint, files.good_checkpoint):
            with suppress(UserError):
                headers[file] = read_header(file)
        return headers

    def step_of(self, file: Path) -> int:
        """The step of weights or of the state; 0 where the file does not say it."""
        step = self.headers.get(file, {}).get("step")
        return step if isinstance(step, int) else 0

    def checks(self) -> Iterator[tuple[Path, Callable[[Path], object]]]:
        """The files that should be there by what the others say, or are there and ours, and how each is checked."""
        files, config, step = self.files, self.config, self.step_of(self.files.checkpoint)
        yield files.config, self.check_config
        is_begun = any(path.exists() for path in (files.weights, files.last_weights, files.log, *files.previews()))
        if is_begun or files.checkpoint.exists():
            yield files.weights, check_weights
            yield files.checkpoint, check_state
        if files.good_checkpoint.exists():
            yield files.good_checkpoint, check_state
        cls = find_model_class(config["model"]) if config else None
        keeps_best = (
            cls is not None and cls.keep_best_checkpoint and config["train_config"].get("keep", "best") == "best"
        )
        if files.last_weights.exists() or (keeps_best and is_begun):
            yield files.last_weights, check_weights
        if files.log.exists() or step >= self.log_interval:
            yield files.log, self.check_log
        has_ended = bool(config) and step >= run_records.end_step(config) > 0
        if files.curves.exists() or has_ended:
            yield files.curves, check_picture
        if files.animation.exists() or (has_ended and len(files.previews()) > 1):
            yield files.animation, check_animation
        if files.report.exists() or (has_ended and config["train_config"].get("report", "off") == "on"):
            yield files.report, check_page
        every = config["train_config"].get("checkpoint_every", 0) if self.has_one_interval else 0
        due = {files.preview(i) for i in range(0, step + 1, every)} if every else set()
        for path in sorted(due | set(files.previews())):
            yield path, check_picture
        if files.model_source.exists():
            yield files.model_source, Path.read_bytes

    @property
    def has_one_interval(self) -> bool:
        """Whether checkpoints were always as far apart as config.json says."""
        changes = self.config.get("changes", [])
        return bool(self.config) and not any({"checkpoint_every", "every"} & change.keys() for change in changes)

    @property
    def log_interval(self) -> int:
        """Steps between two lines of the log."""
        every = self.config["train_config"].get("checkpoint_every", 1000) if self.config else 1000
        return max(1, every // 10)

    def check_config(self, path: Path) -> None:
        config = run_records.read_config(path.parent)
        if find_model_class(config["model"]):
            for file, header in self.headers.items():
                check = check_state if file.suffix == self.files.checkpoint.suffix else check_weights
                if self.examine(file, check)[0] == WHOLE:
                    check_fields(file, header, config)

    def check_log(self, path: Path) -> None:
        notes: list[str] = []
        lines = run_records.read_log(path.parent, notes.extend)
        if notes:
            raise ValueError(notes[0].removeprefix(f"{path}: "))
        step, every = self.step_of(self.files.checkpoint), self.log_interval
        last = lines[-1]["step"] if lines else 0
        if self.has_one_interval and last < step // every * every:
            raise ValueError(f"it ends at step {last}, and the state is of step {step}")

    def report(self) -> list[FileReport]:
        """All files of the folder, and those that are missing."""
        reports = {}
        for path, check in self.checks():
            state, why = self.examine(path, check)
            lost, remedy = ("", "") if state == WHOLE else self.consequences(path)
            reports[path] = FileReport(self.name(path), state, why, lost, remedy)
        states = self.files.checkpoint, self.files.good_checkpoint
        ours = {str(self.headers.get(file, {}).get("shards")) for file in states}
        temporaries = set(self.files.temporaries())
        for path in sorted(p for p in self.folder.rglob("*") if not p.is_dir() and p not in reports):
            part = self.name(path).split("/")[0]
            if path in temporaries or (part.startswith("shards-") and part not in ours):
                remedy = f"ganvas resume {self.folder} removes it, unless it is of a run that is being trained"
                reports[path] = FileReport(self.name(path), LEFT_OVER, remedy=remedy)
            elif path.name not in (LOCK_FILE, STOP_FILE):
                reports[path] = FileReport(self.name(path), WHOLE if part in ours else FOREIGN)
        return list(reports.values())

    def name(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()

    def examine(self, path: Path, check: Callable[[Path], object]) -> tuple[str, str]:
        """Whether the file is whole, damaged or missing, and why; each is read once."""
        if path not in self.examined:
            self.examined[path] = examine_file(path, check)
        return self.examined[path]

    @cached_property
    def examined(self) -> dict[Path, tuple[str, str]]:
        """What `examine` found."""
        return {}

    def consequences(self, path: Path) -> tuple[str, str]:
        """What is lost with a file that is not whole, and what to do."""
        files, folder = self.files, self.folder
        resume, copy = f"ganvas resume {folder}", "put a copy of it back"
        has_state = self.examine(files.checkpoint, check_state)[0] == WHOLE
        has_weights = self.examine(files.weights, check_weights)[0] == WHOLE
        step = self.step_of(files.checkpoint)
        if path == files.config:
            sample = f"; {WEIGHTS_FILE} still samples" if has_weights else ""
            return f"the run cannot be resumed{sample}", copy
        if path == files.checkpoint:
            samples = f"; samples come from the weights of step {self.step_of(files.weights)}" if has_weights else ""
            begin = f", or begin with its weights: ganvas train MODEL DATA --init-from {folder}" if has_weights else ""
            return f"the run cannot be resumed{samples}", copy + begin
        if path == files.weights:
            others = f"the weights of step {step} take its place" if has_state else "no other file has the weights"
            remedy = f", or remove it: {resume}" if path.exists() else f", or {resume}"
            last = f"; {LAST_WEIGHTS_FILE} samples" if files.last_weights.exists() else ""
            return f"the run cannot be sampled; {others}", f"{copy}{remedy if has_state else ''}{last}"
        if path == files.good_checkpoint:
            return "nothing, unless the run diverges: it cannot go back to it then", f"remove it, then {resume}"
        if path == files.last_weights:
            return f"nothing that {WEIGHTS_FILE} and the state lack", f"{resume} writes it again"
        if path == files.log:
            return "curves and the doctor lack these lines", f"{copy}; damaged lines are left out"
        if path == files.report:
            return "the page", f"ganvas report {folder} writes it again"
        what = "the picture" if path.suffix == ".png" else "the animation of the previews"
        again = "" if path.parent != folder else f"{resume}, with more --steps, draws it again"
        return what, again


def examine_file(path: Path, check: Callable[[Path], object]) -> tuple[str, str]:
    """Whether the file is whole, damaged or missing, and why."""
    if not path.exists():
        return MISSING, ""
    try:
        check(path)
    except (UserError, OSError, ValueError, SyntaxError, RecursionError, EOFError) as error:
        return DAMAGED, re.sub(
            rf"^{re.escape(str(path))} is damaged( or no safetensors file)?: ", "", first_line(error)
        )
    return WHOLE, ""


def check_weights(path: Path) -> None:
    """Raises what tells why these are no whole weights."""
    header, tensors = read_safetensors(path, check_header=True)
    check_format(header, DEEP_FORMAT_VERSION, path)
    parse(WeightsHeader, header, header, path)
    if find_model_class(header["model"]):  # else a user's own, whose code is not here
        parse_weights(header, path)
    table_from_state(tensors, header, (0.0, 1.0))


def check_state(path: Path) -> None:
    """Raises what tells why this is no whole checkpoint."""
    header, tensors = read_safetensors(path, check_header=True)
    parse_state(header, path)
    table_from_state(tensors, header, (0.0, 1.0))
    checkpoint.shard_shapes(header, path)


def check_picture(path: Path) -> None:
    with lift_pixel_limit(), Image.open(path) as picture:
        picture.verify()
    if not path.read_bytes().endswith(PNG_END):
        raise ValueError("its end is missing")


def check_animation_length(path: Path) -> None:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8)[4:], "little") + 8
    if path.stat().st_size != length:
        raise ValueError("its length is not what its header says")


def check_page(path: Path) -> None:
    if not path.read_bytes().rstrip().endswith(PAGE_END):
        raise ValueError("its end is missing")


def check_animation(path: Path) -> None:
    check_animation_length(path)
    with Image.open(path) as picture:
        for frame in ImageSequence.Iterator(picture):
            frame.load()


def check_files(folder: Path) -> list[FileReport]:
    """All files in a run's folder, each read wholly, and those that are missing; none of a folder that has no run."""
    return RunFiles(folder).report() if any((folder / name).exists() for name in FILES) else []


def describe_files(reports: list[FileReport]) -> list[str]:
    """The same in lines: each file with which something is lost, else that all are whole; then what else is there."""
    lines, whole = [], sum(report.state == WHOLE for report in reports)
    bad = sorted((r for r in reports if r.state in LOSSES), key=lambda r: (r.state, r.lost, r.remedy, r.why))
    for (state, lost, remedy, why), group in groupby(bad, lambda r: (r.state, r.lost, r.remedy, r.why)):
        rows = {"evidence": why, "lost": lost, "remedies": remedy}
        lines += [name_files(group, state), *(f"  {name:<9} {text}" for name, text in rows.items() if text)]
    if not bad:
        lines = [f"all {whole} files are whole"]
    for state in (LEFT_OVER, FOREIGN):
        if others := [report for report in reports if report.state == state]:
            lines.append(f"{name_files(others, state)}: {others[0].remedy or 'left alone'}")
    return lines


def name_files(reports: Iterable[FileReport], state: str) -> str:
    """What several files are, in words."""
    names = [report.file for report in reports]
    others = f" and {len(names) - MAX_NAMES} others" if len(names) > MAX_NAMES else ""
    return f"{', '.join(names[:MAX_NAMES])}{others}: {state}"


def files_to_dict(reports: list[FileReport]) -> dict[str, Any]:
    """The same for programs."""
    others = [asdict(report) for report in reports if report.state != WHOLE]
    return {"whole": [report.file for report in reports if report.state == WHOLE], "others": others}
