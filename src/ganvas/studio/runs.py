"""What the studio reads of run folders: quickly where there are hundreds, and never twice where nothing changed."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..io.lock import lock_owner
from ..io.run_folder import NON_LOSS_KEYS, RunFolder
from ..training.run_records import list_runs, parse_log_line, read_config

TAIL = 2**16
"""bytes from the end of a log in which its last lines are looked for"""


@dataclass(frozen=True)
class RunCard:
    """What a gallery shows of a run."""

    name: str
    state: str
    """training, ended, stopped, diverged or damaged"""
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


def find_folder(runs_dir: Path, name: str) -> Path:
    """The folder of a run by its name; UserError where there is none, or it lies elsewhere."""
    folder = next((f for f in run_folders(runs_dir) if f.name == name), None)
    if folder is None or not folder.resolve().is_relative_to(runs_dir.resolve()):
        raise UserError(f"there is no run {name!r} in {runs_dir}")
    return folder


def run_folders(runs_dir: Path) -> list[Path]:
    """The run folders of a folder, in no order."""
    return [folder for folder in runs_dir.iterdir() if RunFolder(folder).is_run] if runs_dir.is_dir() else []


def list_cards(runs_dir: Path) -> list[RunCard]:
    """The runs of a folder, newest first."""
    return [read_card(folder) for folder in reversed(list_runs(runs_dir))]


def read_card(folder: Path) -> RunCard:
    """What a gallery shows of a run in a folder."""
    try:
        config = read_config(folder)
    except UserError as error:
        return RunCard(folder.name, "damaged", error=str(error))
    lines = last_lines(folder)
    line = lines[-1] if lines else {}
    step, steps = int(line.get("step", 0)), int(config.get("end_step", config["train_config"]["steps"]))
    seconds = float(line.get("seconds", 0.0))
    speed = recent_speed(lines, config["train_config"].get("batch_size", 0))
    previews = RunFolder(folder).previews()
    is_training = lock_owner(folder) is not None
    state = "training" if is_training else "ended" if step >= steps else "diverged" if "diverged" in line else "stopped"
    measured = [(line["samples"], line["step"]) for line in lines if isinstance(line.get("samples"), dict)]
    return RunCard(
        folder.name, state, config["model"], config["data"]["name"], str(config.get("created_at", "")), step, steps,
        seconds, left(lines, steps) if is_training else None, speed,
        {name: value for name, value in line.items() if name not in (*NON_LOSS_KEYS, "step", "seconds")},
        int(previews[-1].stem) if previews else None, best_of(measured),
    )  # fmt: skip


def last_lines(folder: Path) -> list[dict[str, Any]]:
    """The last lines of a log that can be read, at most those of its last 64 KiB."""
    try:
        with RunFolder(folder).log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL))
            texts = file.read().decode("utf-8", "replace").split("\n")
    except OSError:
        return []
    return [line for text in texts[size > TAIL :] if text and (line := parse_log_line(text)) is not None]


def recent_speed(lines: list[dict[str, Any]], batch_size: int) -> float | None:
    """Examples a second between the last lines of a log; None where they do not say."""
    if (per_step := seconds_per_step(lines)) is None:
        return None
    return batch_size / per_step


def seconds_per_step(lines: list[dict[str, Any]]) -> float | None:
    """Between the last lines of a log, ten at most; None of fewer than two, or where the run went back."""
    first, last = (lines[-10:][0], lines[-1]) if len(lines) > 1 else ({}, {})
    steps, seconds = last.get("step", 0) - first.get("step", 0), last.get("seconds", 0.0) - first.get("seconds", 0.0)
    return seconds / steps if steps > 0 and seconds > 0 else None


def left(lines: list[dict[str, Any]], steps: int) -> float | None:
    """Seconds to the end of a run, by its last lines."""
    per_step = seconds_per_step(lines)
    return None if per_step is None else max(0.0, (steps - lines[-1]["step"]) * per_step)


def best_of(measured: list[tuple[dict[str, Any], int]]) -> dict[str, Any] | None:
    """The measurement with the smallest value."""
    values = [m | {"step": step} for m, step in measured if isinstance(m.get("value"), int | float)]
    return min(values, key=lambda m: m["value"], default=None)
