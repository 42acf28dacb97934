"""What the studio reads of run folders: quickly where there are hundreds, and never twice where nothing changed."""

import os
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from stat import S_ISREG
from typing import Any
from urllib.parse import quote

from ..errors import UserError, error_reason, first_line
from ..io.lock import is_training
from ..io.run_folder import RunFolder
from ..training.run_records import end_step, losses_of, parse_log_line, read_config, saved_step
from . import processes
from .pages import environment
from .settings import Settings

TAIL = 2**16
"""bytes from the end of a log in which its last lines are looked for"""
RECENT_LINES = 10
"""lines at the end of a log that tell how fast a run is"""
INTERVAL = 2.0
"""seconds for which what was read of all runs is new enough for open pages"""
Stamp = tuple[Any, ...]


class NoRunError(UserError):
    """A name that no run has: the answer is 404."""


@dataclass(frozen=True)
class RunCard:
    """What a gallery shows of a run."""

    name: str
    state: str
    """training, ended, stopped, diverged or damaged; of a process without a run folder starting or failed"""
    model: str = ""
    data: str = ""
    created_at: str = ""
    step: int = 0
    steps: int = 0
    seconds: float = 0.0
    seconds_left: float | None = None
    speed: float | None = None
    """examples a second"""
    losses: dict[str, float] = field(default_factory=dict)
    preview: int | None = None
    """the step of its newest preview"""
    best: dict[str, Any] | None = None
    """the measurement of its best samples: metric, value and step"""
    error: str = ""

    @property
    def address(self) -> str:
        """Of its page."""
        return f"/runs/{quote(self.name, safe='')}"

    @property
    def is_run(self) -> bool:
        """Whether it has a folder, with a page to open and to compare."""
        return self.state not in ("starting", "failed")

    def to_dict(self) -> dict[str, Any]:
        """The same for scripts."""
        return asdict(self) | {"address": self.address}


@dataclass(frozen=True)
class Entry:
    """A run as it was read last."""

    stamp: Stamp
    card: RunCard
    html: str
    version: int
    """grows with each change of any run, also over restarts of the server"""


class Gallery:
    """All runs of a studio, of which only what has changed is read anew; pages of any number share it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.entries: dict[str, Entry] = {}
        self.removals: dict[str, int] = {}
        """the versions with which runs went away"""
        self.version: int = 0
        self.next_refresh: float = 0.0
        self.lock: threading.Lock = threading.Lock()

    def is_due(self) -> bool:
        """Whether somebody should call `refresh`; of all who ask at a time, one is told so."""
        if (now := time.monotonic()) < self.next_refresh:
            return False
        self.next_refresh = now + INTERVAL
        return True

    def refresh(self) -> None:
        """Read what has changed; OSError where the folder of runs cannot be listed."""
        with self.lock:
            names, version = set[str](), max(self.version + 1, time.time_ns())
            for name, stamp, read in self.sources():
                names.add(name)
                entry = self.entries.get(name)
                if entry is None or entry.stamp != stamp:
                    card = read()
                    html = environment().get_template("card.html").render(run=card)
                    self.entries[name], self.version = Entry(stamp, card, html, version), version
                    self.removals.pop(name, None)
            for name in self.entries.keys() - names:
                del self.entries[name]
                self.removals[name] = self.version = version

    def sources(self) -> Iterator[tuple[str, Stamp, Any]]:
        """Names of runs and starts, what tells that they have changed, and a function that reads them."""
        for folder in run_folders(self.settings.runs_dir):
            yield shown_name(folder), stamp(folder), lambda folder=folder: read_any_card(folder)
        for name, lives in processes.list_starts(self.settings).items():
            lines = processes.read_output(self.settings, name)
            card = RunCard(name, "starting" if lives else "failed", error=processes.exit_sentence(lines))
            yield name, (lives, len(lines)), lambda card=card: card

    def cards(self) -> list[RunCard]:
        """The runs as they are now, newest first, without starts that have no folder yet."""
        self.refresh()
        return [entry.card for entry in self.newest_first() if entry.card.is_run]

    def newest_first(self) -> list[Entry]:
        """All runs."""
        return sorted([*self.entries.values()], key=lambda e: (not e.card.is_run, e.card.created_at), reverse=True)

    def changes(self, since: int) -> dict[str, Any]:
        """The cards that are newer than a version, and the names of runs that went away."""
        cards = {entry.card.name: entry.html for entry in self.newest_first() if entry.version > since}
        return {"cards": cards, "removed": [name for name, version in [*self.removals.items()] if version > since]}


def shown_name(folder: Path) -> str:
    """The name of a folder as text: bytes that are no text are replaced."""
    return os.fsencode(folder.name).decode("utf-8", "replace")


def find_folder(runs_dir: Path, name: str) -> Path:
    """The folder of a run by its name; NoRunError where there is none, or it lies elsewhere."""
    folder = next((f for f in run_folders(runs_dir) if shown_name(f) == name), None)
    if folder is None:
        raise NoRunError(f"there is no run {name!r} in {runs_dir}")
    return folder


def run_folders(runs_dir: Path) -> Iterator[Path]:
    """The run folders in a folder, in no order; links that lead out of it are none."""
    if not runs_dir.is_dir():
        return
    with os.scandir(runs_dir) as entries:
        for entry in entries:
            folder = Path(entry.path)
            if not entry.is_dir() or not os.path.lexists(RunFolder(folder).config):
                continue
            if not entry.is_symlink() or folder.resolve().is_relative_to(runs_dir.resolve()):
                yield folder


def own_file(path: Path) -> Path:
    """The path, where it is a file and no link, so that it leads nowhere else; UserError for anything else."""
    try:
        mode = path.lstat().st_mode
    except OSError as error:
        raise UserError(f"{path}: {error_reason(error)}") from error
    if not S_ISREG(mode) or path.parent.is_symlink():
        raise UserError(f"{path} is a link or no file: the studio reads none")
    return path


def stamp(folder: Path) -> Stamp:
    """What is another once the card of a run is."""
    files = RunFolder(folder)
    times = []
    for path in (files.config, files.log, files.preview(0).parent):
        try:
            about = path.lstat()
            times.append((about.st_ino, about.st_mtime_ns, about.st_size))
        except OSError:
            times.append((0, 0, 0))
    return (*times, is_training(folder))


def read_any_card(folder: Path) -> RunCard:
    """What a gallery shows of a run, whatever is in its folder."""
    try:
        return read_card(folder)
    except UserError as error:
        reason = str(error)
    except OSError as error:
        reason = error_reason(error)
    except Exception as error:  # one folder, which others may have written, does not take the others' page away
        reason = f"it cannot be read: {first_line(error)}"
    previews = newest_preview(folder)
    return RunCard(shown_name(folder), "damaged", preview=previews, error=reason)


def read_card(folder: Path) -> RunCard:
    """What a gallery shows of a run in a folder; UserError where its config.json is damaged."""
    own_file(RunFolder(folder).config)
    config = read_config(folder)
    texts = last_texts(folder)
    line, steps = newest(reversed(texts)) or {"step": 0, "seconds": 0.0}, end_step(config)
    per_step = seconds_per_step(newest(texts[-RECENT_LINES:]) or line, line)
    examples = config["train_config"].get("batch_size", 0) * config.get("world_size", 1)
    in_training = is_training(folder)
    line = line if in_training else line | {"step": max(line["step"], own_step(folder))}
    state = "training" if in_training else "ended" if line["step"] >= steps else "stopped"
    samples = (newest(text for text in reversed(texts) if '"samples"' in text) or {}).get("samples")
    return RunCard(
        shown_name(folder), "diverged" if "diverged" in line and not in_training else state, config["model"],
        config["data"]["name"], str(config.get("created_at", "")), line["step"], steps, line["seconds"],
        None if per_step is None or not in_training else max(0.0, (steps - line["step"]) * per_step),
        None if per_step is None else examples / per_step,
        {name: value for name, value in losses_of(line).items() if isinstance(value, int | float)},
        newest_preview(folder), best_of(samples or {}),
    )  # fmt: skip


def own_step(folder: Path) -> int:
    """The step of the checkpoint of a run, if that is a file of its own."""
    try:
        return saved_step(own_file(RunFolder(folder).checkpoint).parent)
    except (UserError, OSError):
        return 0


def newest_preview(folder: Path) -> int | None:
    """The step of the newest preview of a run."""
    previews = RunFolder(folder).previews()
    return int(previews[-1].stem) if previews else None


def last_texts(folder: Path) -> list[str]:
    """The lines of text at the end of a log, at most those of its last 64 KiB."""
    try:
        with own_file(RunFolder(folder).log).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL))
            texts = file.read().decode("utf-8", "replace").split("\n")
    except (OSError, UserError):
        return []
    return [text for text in texts[size > TAIL :] if text]


def newest(texts: Iterable[str]) -> dict[str, Any] | None:
    """The first line of a log that can be read; None where there is none among a few."""
    return next((line for text in islice(texts, 20) if (line := parse_log_line(text)) is not None), None)


def seconds_per_step(first: dict[str, Any], last: dict[str, Any]) -> float | None:
    """Between two lines of a log; None where they are the same, or the run went back."""
    steps, seconds = last["step"] - first["step"], last["seconds"] - first["seconds"]
    return seconds / steps if steps > 0 and seconds > 0 else None


def best_of(samples: dict[str, Any]) -> dict[str, Any] | None:
    """The best measurement up to one; None where there is none."""
    value, step = samples.get("lowest_distance", samples.get("value")), samples.get("best_step")
    metric = str(samples.get("metric", "")).partition(":")[0]
    return None if value is None else {"metric": metric, "value": value, "step": step}
