"""Run folders: their names, and what is written in them."""

import json
import platform
import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import __version__
from ..config import Plan
from ..data import BUILTIN, Data, View
from ..errors import BadFile, UserError, cannot_write, did_you_mean
from ..inference.schema import LINE, OfState, check, check_run
from ..inference.trained import LAST, WEIGHTS, Trained, load_trained
from ..io import lock
from ..io.atomic import append, shortened, temporaries, unused, written
from ..io.lock import LOCK
from ..io.log import NO_LOSSES
from ..io.safetensors import header_of
from ..io.text import finite
from ..model import Model, name_of, plain
from ..nn.device import device_for

CONFIG, LOG, CURVES, STATE, PREVIEWS = "config.json", "log.jsonl", "curves.png", "state.ckpt", "previews"


def create(model: Model, data: Data, out: Path, folder: Path | None) -> Path:
    """A new folder: `folder`, which must be free (see `check_new`), or out/<date>-<model>-<data>."""
    given = folder
    if given is None:
        stem = f"{datetime.now():%Y-%m-%d}-{name_of(model)}-{data.name}"
        folder = unused(out / shortened("".join(c if c.isalnum() or c in "-_" else "-" for c in stem)))
    else:
        check_new(folder := given)
    try:
        folder.mkdir(parents=True, exist_ok=given is not None)
    except FileExistsError:  # another run that began at the same time has taken the name
        return create(model, data, out, given)
    except OSError as error:
        raise cannot_write(folder, error) from error
    return folder


def check_new(folder: Path) -> None:
    """UserError if the folder holds anything; one that is empty, as a run killed before it began leaves it, is free."""
    if folder.exists() and not is_left_over(folder):
        raise UserError(f"{folder} exists: choose another folder, or go on with its run: ganvas resume {folder}")


def is_left_over(folder: Path) -> bool:
    """Whether this is a folder without a run: nothing is in it, or what a run killed at its very beginning leaves."""
    return folder.is_dir() and {p.name for p in folder.iterdir()} <= {LOCK, *(p.name for p in left_over(folder))}


def left_over(folder: Path) -> list[Path]:
    """Temporary files of killed runs in a run folder."""
    names = "|".join(map(re.escape, (CONFIG, LOG, CURVES, STATE, WEIGHTS, LAST)))
    return temporaries(folder, names) + temporaries(folder / PREVIEWS, r"\d+\.png")


@contextmanager
def alone(folder: Path, notes: Callable[[Sequence[str]], None]) -> Iterator[None]:
    """A block in which this process alone trains in a run folder (`lock.alone`); what killed runs left is removed."""
    with lock.alone(folder, notes) as sure:
        for path in left_over(folder) if sure else ():
            path.unlink(missing_ok=True)
        yield


def write_config(
    folder: Path,
    model: Model,
    data: Data,
    plan: Plan,
    view: View,
    source: str | list[str],
    start: dict[str, Any] | None = None,
) -> None:
    """What was asked, of what, with what: enough to run it again.  `start`: whose weights it begins with, if any."""
    config = {
        "model": name_of(model),
        "fields": plain(model),
        "plan": plain(plan),
        "data": {
            "source": source, "view": plain(view) | {"data_dir": view.data_dir and absolute(view.data_dir)},
        } | facts(data),
        "versions": {
            "ganvas": __version__, "torch": torch.__version__, "numpy": np.__version__,
            "python": platform.python_version(), "system": platform.platform(),
        },
        "git": git_state(),
        "created": datetime.now().astimezone().isoformat(timespec="seconds"),
    }  # fmt: skip
    rewrite_config(folder, config | ({"from": start} if start else {}))


def facts(data: Data) -> dict[str, Any]:
    """What config.json says of the examples themselves, as plain values."""
    found = {
        "name": data.name, "fingerprint": data.fingerprint(),
        "examples": len(data) if len(data.parts) == 1 else [len(part) for part in data.parts],
        "shape": data.shape, "classes": data.classes,
    }  # fmt: skip
    plainly: dict[str, Any] = json.loads(json.dumps(found))
    return plainly


def rewrite_config(folder: Path, config: dict[str, Any]) -> None:
    with written(folder / CONFIG) as temporary:
        temporary.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def read_config(folder: Path) -> dict[str, Any]:
    """A run's config.json; UserError where the folder is no run."""
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        begun = f"; its run ended before it began: ganvas train MODEL DATA --folder {folder}"
        said = f"{folder} is no run folder: it has no {CONFIG}{begun if is_left_over(folder) else ''}"
        raise UserError(said) from error
    except OSError as error:
        raise UserError(f"{folder / CONFIG} cannot be read: {(error.strerror or str(error)).lower()}") from error
    except (ValueError, RecursionError) as error:
        raise BadFile(f"{folder / CONFIG} is damaged: {error}") from error
    if not isinstance(config, dict) or not {"model", "fields", "plan", "data"} <= config.keys():
        raise BadFile(f"{folder / CONFIG} is not that of a run: it does not say what was trained on what")
    check_run(config, folder / CONFIG)
    return config | {"plan": {"steps": Plan.steps} | config["plan"]}


def last_step(config: dict[str, Any]) -> int:
    """The step at which the run of this config.json ends, or has ended early."""
    return int(config.get("ended", config["plan"]["steps"]))


def git_state() -> dict[str, Any] | None:
    """Commit of the tree in which the user works, and whether it has changes; None outside of one."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain", "-uno"))}
    except (OSError, subprocess.SubprocessError):
        return None


def log(folder: Path, line: dict[str, Any]) -> None:
    """Append a line to log.jsonl; what is no finite number is null there."""
    append(folder / LOG, json.dumps(finite(line), allow_nan=False) + "\n")


def read_log(folder: str | Path) -> list[dict[str, Any]]:
    """The lines of a run's log that can be read: step, seconds, and means of loss terms since the line before."""
    return [line for line in lines_of(Path(folder)) if line is not None]


def unread(folder: Path) -> list[str]:
    """That lines of the log are left out which cannot be read; one that is not finished, the last, is none of them."""
    numbers = [str(i) for i, line in enumerate(lines_of(folder), 1) if line is None]
    if not numbers:
        return []
    several = f"lines {', '.join(numbers[:5])}{' and others' if len(numbers) > 5 else ''}"
    what = f"line {numbers[0]} is damaged" if len(numbers) == 1 else f"{several} are damaged"
    return [f"{folder / LOG}: {what}, and left out"]


def lines_of(folder: Path) -> list[dict[str, Any] | None]:
    """The lines of the log, None in place of those that are damaged."""
    try:
        *lines, rest = (folder / LOG).read_text(encoding="utf-8", errors="replace").split("\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"{folder / LOG} cannot be read: {(error.strerror or str(error)).lower()}") from error
    last = line_in(rest)
    return [line_in(line) for line in lines] + ([last] if last else [])


def line_in(text: str) -> dict[str, Any] | None:
    try:
        line: dict[str, Any] = json.loads(text)
        LINE.validate_python(line)
    except (ValueError, RecursionError):
        return None
    figures = {name: numbers(line[name]) for name in ("codes", "game") if name in line}
    return numbers(line) | figures


def numbers(line: dict[str, Any]) -> dict[str, Any]:
    """The figures that are there: null, or a list with one, stands where there was no finite number."""
    return {k: v for k, v in line.items() if v is not None and not (isinstance(v, list) and None in v)}


def cut_log(folder: Path, step: int) -> None:
    """Drop what was logged after `step`: a run that was killed goes on from its checkpoint."""
    lines = [line for line in read_log(folder) if line["step"] <= step]
    with written(folder / LOG) as temporary:
        temporary.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def seconds_logged(folder: Path) -> float:
    """Seconds of training that the log accounts for."""
    lines = read_log(folder)
    return float(lines[-1]["seconds"]) if lines else 0.0


def saved_step(folder: Path) -> int:
    """The step of the run's checkpoint."""
    header = header_of(folder / STATE)
    check(OfState, header, folder / STATE)
    return int(header["step"])


def of_weights(trained: Trained) -> list[str]:
    """Which weights of a run these are, unless they are those of its last step, which goes without saying."""
    step = trained.about.get("step")
    if trained.folder is None or step is None:
        return []
    try:
        steps, done = last_step(read_config(trained.folder)), saved_step(trained.folder)
    except UserError:  # the weights are all that there is
        return []
    if step == done:
        return [] if step == steps else [f"weights of step {step} of {steps}: the run can go on"]
    best = f", whose samples are the best{' so far' if done < steps else ''}" if "samples" in trained.about else ""
    return [f"weights of step {step} of {steps}{best}; {LAST if best else STATE} has those of step {done}"]


def absolute(source: str) -> str:
    """A path made absolute, so that the run can be resumed from elsewhere; a name as it is."""
    if source in BUILTIN:
        return source
    file, mark, key = source.partition(".npz:")
    return str(Path(file + mark[:4]).expanduser().resolve()) + mark[4:] + key


def find(name: str, out: Path = Path("runs")) -> Path:
    """The run that a user means: a path, the name of a folder in `out`, or "last" for the newest there."""
    path = Path(name).expanduser()
    if path.exists():
        return path
    runs = all_runs(out)
    if name == "last" and runs:
        return runs[-1]
    if (out / name).exists():
        return out / name
    known = [r.name for r in runs]
    there = f"{out} holds {', '.join(known[-5:])}" if known else f"there are no runs in {out} yet"
    raise UserError(f"no run {name!r}: neither a path nor a run; {there}.{did_you_mean(name, known)}")


def opened(run: Trained | str | Path) -> Trained:
    """A trained model, or that of a run: of a path, a name in runs/, or "last"; UserError for anything else."""
    if isinstance(run, str | Path):
        return load_trained(find(str(run)), device_for("auto"))
    if not isinstance(run, Trained):
        raise UserError(f"give a trained model, or a run's folder or name, not a {type(run).__name__}")
    return run


def all_runs(out: Path) -> list[Path]:
    """Run folders in `out`, oldest first."""
    if not out.is_dir():
        return []
    return sorted((p.parent for p in out.glob(f"*/{CONFIG}")), key=lambda p: (created(p), p.stat().st_mtime))


def created(folder: Path) -> str:
    try:
        return str(read_config(folder).get("created", ""))
    except UserError:
        return ""


def summary(folder: Path) -> dict[str, Any]:
    """What a list of runs says of one: its name, what it trains, how far it is, and its last losses."""
    try:
        config = read_config(folder)
    except UserError as error:
        return {"run": str(folder), "error": str(error)}
    try:
        lines = read_log(folder)
    except UserError as error:
        return {"run": str(folder), "error": str(error)}
    last = dict(lines[-1]) if lines else {"step": 0, "seconds": 0.0}
    for name in NO_LOSSES:
        last.pop(name, None)
    return {
        "run": str(folder), "model": config["model"], "data": config["data"]["name"],
        "step": last.pop("step"), "steps": config["plan"]["steps"], "ended": "ended" in config,
        "seconds": last.pop("seconds"), "losses": last,
    }  # fmt: skip
