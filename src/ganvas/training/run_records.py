"""What a run writes down of itself and how it is read again: config.json, the log, lists of runs."""

import json
import platform
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from glob import escape
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from .. import __version__
from ..config import TrainConfig
from ..data import Data, DataOptions
from ..errors import InvalidFileError, UserError, did_you_mean, error_reason, write_error
from ..inference.schema import CONFIG_VERSION, LogLine, check_run, parse_state
from ..inference.trained import Trained, load_trained
from ..inference.training_data import absolute_source, describe_data
from ..io.atomic import atomic_write, shorten
from ..io.run_folder import CHECKPOINT_FILE, CONFIG_FILE, LAST_WEIGHTS_FILE, NON_LOSS_KEYS, RunFolder
from ..io.safetensors import read_header
from ..model import Model, model_name, to_dict
from ..models import find_model_class
from ..models._own import model_source, source_file, source_notes
from ..nn.device import resolve_device
from ..ranks import world_size
from ..renamed import with_new_keys, with_new_names

GROUP_KEY = "group"
"""what config.json calls the group of a run, see `training.many`"""


def create_run_folder(model: Model, data: Data, runs_dir: Path, folder: Path | None) -> Path:
    """A new folder: `folder`, or else runs_dir/<date>-<model>-<data>."""
    path = folder or unused_name(runs_dir / run_name(model, data))
    try:
        path.mkdir(parents=True, exist_ok=folder is not None)
    except OSError as error:
        if folder is None and isinstance(error, FileExistsError):  # a run that began at the same time took the name
            return create_run_folder(model, data, runs_dir, folder)
        raise write_error(path, error) from error
    return path


def unused_name(path: Path, members: Sequence[str] = ()) -> Path:
    """The first of path, path-2, path-3, ... that no run or group has, nor a run of a group with these `members`."""
    stems = (path if i == 1 else path.with_name(f"{path.name}-{i}") for i in count(1))
    names = ((s, [s, *(s.with_name(f"{s.name}-{member}") for member in members)]) for s in stems)
    return next(s for s, paths in names if not any(p.exists() for p in paths) and not find_group(s, s.parent))


def refuse_group_name(folder: Path) -> None:
    """UserError where `folder` is the name of a group, which a run of that name would hide."""
    if find_group(folder, folder.parent):
        raise UserError(f"{folder} is the name of a group of runs: give another")


def find_group(name: str | Path, runs_dir: Path = Path("runs")) -> list[Path]:
    """The folders of the runs of a group, in order: of a path, or a name in `runs_dir`; empty where there is none."""
    path = Path(name).expanduser()
    for stem in (path, runs_dir / path.name):
        candidates = sorted(stem.parent.glob(f"{escape(stem.name)}-*"), key=lambda f: (len(f.name), f))
        folders = [f for f in candidates if RunFolder(f).is_run and read_group(f).get("name") == stem.name]
        if folders and not RunFolder(stem).is_run:
            return folders
    return []


def read_group(folder: Path) -> dict[str, Any]:
    """What config.json says of the group of a run; nothing where it is of none."""
    try:
        group = read_config(folder).get(GROUP_KEY)
    except UserError:  # a folder that cannot be read is no member
        return {}
    return group if isinstance(group, dict) else {}


def run_name(model: Model, data: Data) -> str:
    """The name of a run's folder, unless another run has it: <date>-<model>-<data>."""
    stem = f"{datetime.now():%Y-%m-%d}-{model_name(model)}-{data.name}"
    return shorten("".join(c if c.isalnum() or c in "-_" else "-" for c in stem))


def write_config(
    folder: Path, model: Model, data: Data, train_config: TrainConfig, data_options: DataOptions,
    source: str | list[str], entries: Mapping[str, Any] = MappingProxyType({}),
) -> None:  # fmt: skip
    """What was asked, of what, with what: enough to run it again; and those of further entries that are not empty."""
    data_dir = data_options.data_dir and absolute_source(data_options.data_dir)
    config = {
        "format": CONFIG_VERSION,
        "model": model_name(model), "fields": to_dict(model), "train_config": to_dict(train_config),
        "data": {"source": source, "options": to_dict(data_options) | {"data_dir": data_dir}} | describe_data(data),
        "versions": {
            "ganvas": __version__, "torch": torch.__version__, "numpy": np.__version__,
            "python": platform.python_version(), "system": platform.platform(),
        },
        "git": git_state(),
        "created_at": datetime.now().astimezone().isoformat(timespec="seconds"),
    } | describe_own(model) | ({"world_size": world_size()} if world_size() > 1 else {})  # fmt: skip
    if "model_source" in config and (file := source_file(type(model))):
        with atomic_write(RunFolder(folder).model_source) as temporary:
            temporary.write_bytes(file.read_bytes())
    RunFolder(folder).write_config(config | {name: entry for name, entry in entries.items() if entry})


def add_trials(folder: Path, trials: dict[str, dict[str, Any]]) -> None:
    """Write down which switches were measured, and the times that decided; nothing where none was."""
    if trials:
        files = RunFolder(folder)
        config = files.read_config()
        files.write_config(config | {"trials": config.get("trials", {}) | trials})


def describe_own(model: Model) -> dict[str, Any]:
    """What a run records of the user's own model and networks; nothing where there are none."""
    classes = {name: type(net).__name__ for name, net in model.own_networks.items()}
    entries = {"model_source": model_source(type(model)), "own_networks": classes}
    return {name: entry for name, entry in entries.items() if entry}


def read_config(folder: Path) -> dict[str, Any]:
    """A run's config.json; UserError where the folder is no run."""
    files, file = RunFolder(folder), RunFolder(folder).config
    try:
        config = files.read_config()
    except (FileNotFoundError, NotADirectoryError) as error:
        hint = f"; its run ended before it began: ganvas train MODEL DATA --folder {folder}" if files.is_free else ""
        raise UserError(f"{folder} is no run folder: it has no {CONFIG_FILE}{hint}") from error
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error_reason(error)}") from error
    except (ValueError, RecursionError) as error:
        raise InvalidFileError(f"{file} is damaged: {error}") from error
    if not {"model", "fields", "train_config", "data"} <= config.keys():
        raise InvalidFileError(f"{file} is not that of a run: it does not say what was trained on what")
    check_run(config, file)
    cls = find_model_class(config["model"])  # None of a user's own model that this process does not know
    return config | {
        "fields": with_new_names(config["fields"], cls) if cls else config["fields"],
        "train_config": {"steps": TrainConfig.steps} | with_new_names(config["train_config"], TrainConfig),
    }


def end_step(config: dict[str, Any]) -> int:
    """The step at which the run of this config.json ends, or has ended early."""
    return int(config.get("end_step", config["train_config"]["steps"]))


def git_state() -> dict[str, Any] | None:
    """Commit of the tree in which the user works, and whether it has changes; None outside of one."""
    commands = ("git", "rev-parse", "HEAD"), ("git", "status", "--porcelain", "-uno")
    run = partial(subprocess.run, capture_output=True, text=True, check=True, timeout=10)
    try:
        commit, changes = (run(command).stdout.strip() for command in commands)
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit, "dirty": bool(changes)}


def log_interval(config: TrainConfig) -> int:
    """Steps between two lines of the log, as `TrainConfig.checkpoint_every` says."""
    return max(1, config.checkpoint_every // 10)


def read_log(folder: str | Path, report: Callable[[Sequence[str]], None] = lambda notes: None) -> list[dict[str, Any]]:
    """The lines of a run's log that can be read: step, seconds, and means of loss terms since the line before.

    `report` is told of damaged lines, which are left out; the last is none of them, since it may be unfinished.
    """
    file = RunFolder(folder).log
    try:
        texts = file.read_text(encoding="utf-8", errors="replace").split("\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error_reason(error)}") from error
    lines = [parse_log_line(text) for text in texts]
    if numbers := [str(i) for i, line in enumerate(lines[:-1], 1) if line is None]:
        others = " and others" if len(numbers) > 5 else ""
        places = f"line {numbers[0]} is" if len(numbers) == 1 else f"lines {', '.join(numbers[:5])}{others} are"
        report([f"{file}: {places} damaged, and left out"])
    return [line for line in lines if line is not None]


def parse_log_line(text: str) -> dict[str, Any] | None:
    """A line of the log; None where it is damaged."""
    try:
        values = json.loads(text)
        line = with_new_keys(values, "log") if isinstance(values, dict) else {}
        LogLine.model_validate(line)
    except (ValueError, RecursionError):
        return None
    nested_values = {name: finite_values(line[name]) for name in ("latent", "adversarial") if name in line}
    return finite_values(line) | nested_values


def finite_values(line: dict[str, Any]) -> dict[str, Any]:
    """The figures that are there: null, or a list with one, stands where there was no finite number."""
    return {k: v for k, v in line.items() if v is not None and not (isinstance(v, list) and None in v)}


def checkpoint_step(folder: Path) -> int:
    """The step of the run's checkpoint."""
    header = read_header(RunFolder(folder).checkpoint)
    parse_state(header, RunFolder(folder).checkpoint)
    return int(header["step"])


def saved_step(folder: Path) -> int:
    """The same, 0 where there is none that can be read: a run that was stopped has gone on since its last log line."""
    try:
        return checkpoint_step(folder)
    except (UserError, OSError):
        return 0


def weights_notes(trained: Trained) -> list[str]:
    """Which weights of a run these are, unless they are those of its last step, which goes without saying."""
    step, notes = trained.metadata.get("step"), source_notes(trained.model, trained.metadata.get("model_source"))
    if trained.folder is None or step is None:
        return notes
    try:
        steps, last_step = end_step(read_config(trained.folder)), checkpoint_step(trained.folder)
    except UserError:  # the weights are all that there is
        return notes
    if step == last_step:
        return notes + ([] if step == steps else [f"weights of step {step} of {steps}: the run can go on"])
    so_far = " so far" if last_step < steps else ""
    clause = f", whose samples are the best{so_far}" if "samples" in trained.metadata else ""
    file = LAST_WEIGHTS_FILE if clause else CHECKPOINT_FILE
    return [*notes, f"weights of step {step} of {steps}{clause}; {file} has those of step {last_step}"]


def find_run(name: str, runs_dir: Path = Path("runs")) -> Path:
    """The run that a user means: a path, the name of a folder in `runs_dir`, or "last" for the newest there."""
    path = Path(name).expanduser()
    if path.exists():
        return path
    runs = list_runs(runs_dir)
    if name == "last" and runs:
        return runs[-1]
    if (runs_dir / name).exists():
        return runs_dir / name
    names = [r.name for r in runs]
    hint = f"{runs_dir} holds {', '.join(names[-5:])}" if names else f"there are no runs in {runs_dir} yet"
    raise UserError(f"no run {name!r}: neither a path nor a run; {hint}.{did_you_mean(name, names)}")


def load_run(run: Trained | str | Path) -> Trained:
    """A trained model, or that of a run: of a path, a name in runs/, or "last"; UserError for anything else."""
    if isinstance(run, str | Path):
        return load_trained(find_run(str(run)), resolve_device("auto"))
    if not isinstance(run, Trained):
        raise UserError(f"give a trained model, or a run's folder or name, not a {type(run).__name__}")
    return run


def list_runs(runs_dir: Path) -> list[Path]:
    """Run folders in `runs_dir`, oldest first; before them those whose config.json cannot be read."""
    ages = {}
    for folder in (file.parent for file in runs_dir.glob(f"*/{CONFIG_FILE}")):
        created_at = ""
        with suppress(UserError):
            created_at = str(read_config(folder).get("created_at", ""))
        ages[folder] = created_at, folder.stat().st_mtime
    return sorted(ages, key=lambda folder: ages[folder])


def summarize_run(folder: Path, report: Callable[[Sequence[str]], None] = lambda notes: None) -> dict[str, Any]:
    """What a list of runs says of one: its name, what it trains, how far it is, and its last losses."""
    try:
        config, lines = read_config(folder), read_log(folder, report)
    except UserError as error:
        return {"run": str(folder), "error": str(error)}
    line = lines[-1] if lines else {"step": 0, "seconds": 0.0}
    return {
        "run": str(folder), "model": config["model"], "data": config["data"]["name"],
        "step": max(line["step"], saved_step(folder)), "steps": config["train_config"]["steps"],
        "ended": "end_step" in config, "seconds": line["seconds"], "losses": losses_of(line),
    }  # fmt: skip


def losses_of(line: Mapping[str, Any]) -> dict[str, Any]:
    """The losses in a line of the log."""
    return {name: value for name, value in line.items() if name not in ("step", "seconds", *NON_LOSS_KEYS)}
