"""The folder of a run: the only module that knows the names of its files, but for the lock (`io.lock`)."""

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from errno import ENOENT
from pathlib import Path
from typing import Any

from ..errors import RunRemovedError, UserError
from ..renamed import with_new_keys
from .atomic import append_text, atomic_write, find_temporaries
from .lock import LOCK_FILE, STOP_FILE, held_folder, run_lock
from .text import replace_non_finite

CONFIG_FILE, LOG_FILE, CURVES_FILE, CHECKPOINT_FILE = "config.json", "log.jsonl", "curves.png", "state.ckpt"
WEIGHTS_FILE, LAST_WEIGHTS_FILE = "weights.safetensors", "last.safetensors"
"""the weights to use, and the last ones where the former are the best"""
GOOD_CHECKPOINT_FILE = "good.ckpt"
"""the checkpoint to which a run that diverges goes back, while the latest is none to go back to"""
PREVIEWS_FOLDER, ANIMATION_FILE, REPORT_FILE = "previews", "training.webp", "report.html"
MODEL_SOURCE_FILE = "model.py.txt"
"""a copy of the file of a user's own model, for the record: nothing runs it"""
FILES = (
    CONFIG_FILE, LOG_FILE, CURVES_FILE, CHECKPOINT_FILE, WEIGHTS_FILE, LAST_WEIGHTS_FILE, ANIMATION_FILE,
    MODEL_SOURCE_FILE, GOOD_CHECKPOINT_FILE, REPORT_FILE,
)  # fmt: skip
NON_LOSS_KEYS = (
    "latent", "adversarial", "samples", "wasserstein", "jensen_shannon", "diverged", "notes", "skipped", "rollback",
    "schedule",
)  # fmt: skip
"""what a line of the log holds besides step, seconds and losses"""


class RunFolder:
    """The files of a run in the folder `path`, which need not exist yet."""

    def __init__(self, path: str | Path) -> None:
        self.path: Path = Path(path)
        self.config: Path = self.path / CONFIG_FILE
        self.log: Path = self.path / LOG_FILE
        self.curves: Path = self.path / CURVES_FILE
        self.animation: Path = self.path / ANIMATION_FILE
        self.checkpoint: Path = self.path / CHECKPOINT_FILE
        self.good_checkpoint: Path = self.path / GOOD_CHECKPOINT_FILE
        self.weights: Path = self.path / WEIGHTS_FILE
        self.last_weights: Path = self.path / LAST_WEIGHTS_FILE
        self.model_source: Path = self.path / MODEL_SOURCE_FILE
        self.report: Path = self.path / REPORT_FILE

    @property
    def is_run(self) -> bool:
        """Whether a run was begun in it."""
        return self.config.exists()

    @property
    def is_free(self) -> bool:
        """Whether it has no run: it is empty, or holds what a run that was killed at its very beginning leaves."""
        if not self.path.is_dir():
            return False
        left = {LOCK_FILE, STOP_FILE, MODEL_SOURCE_FILE, *(path.name for path in self.temporaries())}
        return {path.name for path in self.path.iterdir()} <= left

    def check_new(self) -> None:
        """UserError if it exists and is not free."""
        if self.path.exists() and not self.is_free:
            advice = f"choose another folder, or go on with its run: ganvas resume {self.path}"
            raise UserError(f"{self.path} exists: {advice}")

    def preview(self, step: int) -> Path:
        """The picture of a step."""
        return self.path / PREVIEWS_FOLDER / f"{step:07d}.png"

    def previews(self) -> list[Path]:
        """All pictures of steps, oldest first."""
        paths = (path for path in (self.path / PREVIEWS_FOLDER).glob("*.png") if path.stem.isdecimal())
        return sorted(paths, key=lambda path: int(path.stem))

    def temporaries(self) -> list[Path]:
        """Temporary files of killed runs."""
        previews = find_temporaries(self.path / PREVIEWS_FOLDER, r"\d+\.png")
        return find_temporaries(self.path, "|".join(map(re.escape, FILES))) + previews

    @contextmanager
    def lock(self, report: Callable[[Sequence[str]], None]) -> Iterator[None]:
        """A block in which this process alone writes here (`run_lock`); what killed runs left is removed."""
        with run_lock(self.path, report) as is_certain:
            for path in self.temporaries() if is_certain else ():
                path.unlink(missing_ok=True)
            yield

    def read_config(self) -> dict[str, Any]:
        """What config.json says; OSError, ValueError or RecursionError where it cannot be read."""
        config = json.loads(self.config.read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError("it holds no values by name")
        return with_new_keys(config, "config")

    def write_config(self, config: dict[str, Any]) -> None:
        """Write config.json."""
        with atomic_write(self.config) as temporary:
            temporary.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")

    def append_log(self, line: dict[str, Any]) -> None:
        """Append a line to log.jsonl; what is no finite number is null there."""
        if held_folder(self.log) and not self.is_run:  # it may have been removed in part, or made anew
            raise RunRemovedError(ENOENT, os.strerror(ENOENT), str(self.path))
        append_text(self.log, json.dumps(replace_non_finite(line), allow_nan=False) + "\n")

    def write_log(self, lines: Sequence[dict[str, Any]]) -> None:
        """Write log.jsonl anew."""
        with atomic_write(self.log) as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def find_weights(path: str | Path) -> tuple[Path, RunFolder, dict[str, Any]]:
    """The weights to use of a run folder, or a file itself; the folder that it is in, and what its config.json says.

    Of a folder that is no run, or whose config.json cannot be read, it says nothing.
    """
    path, config = Path(path), {}
    folder = RunFolder(path if path.is_dir() else path.parent)
    with suppress(OSError, ValueError, RecursionError):
        config = folder.read_config()
    return folder.weights if path.is_dir() else path, folder, config
