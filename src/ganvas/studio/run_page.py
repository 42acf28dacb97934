"""What the page of a run, and that of several, says beside curves and pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..fields import flag
from ..inference.schema import parse_model
from ..io.run_folder import FILES, RunFolder
from ..training.commands import given_options, read_options, train_command
from ..training.run_records import read_config
from .runs import own_file

SHOWN_VERSIONS = 12
MAX_VALUE_LENGTH = 300
"""most characters of a value that are shown"""

Rows = list[tuple[str, list[str]]]
"""names, each with its value in each run"""


@dataclass(frozen=True)
class Option:
    """An option of a run."""

    name: str
    value: str
    origin: str
    """given, chosen (for the data) or default"""


def read_run_options(folder: Path) -> list[Option]:
    """All options of a run: given ones, then those chosen for its data, then defaults; UserError where unreadable."""
    own_file(RunFolder(folder).config)
    config = read_config(folder)
    model, of_data = parse_model(config, RunFolder(folder).config), config.get("chosen", {})
    options, of_user = read_options(config, model), given_options(config, model, takes_over=True)
    of_user |= {*config.get("given", [])}  # also what is as it would be anyway
    origins = {name: "given" if name in of_user else "chosen" if name in of_data else "default" for name in options}
    rows = [Option(flag(name), format_value(value), origins[name]) for name, value in options.items()]
    return sorted(rows, key=lambda option: ("given", "chosen", "default").index(option.origin))


def format_value(value: Any) -> str:
    """An option's value, for people."""
    words = {"None": "none", "True": "yes", "False": "no"}
    text = ", ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
    text = words.get(text, text or "none")
    return text if len(text) <= MAX_VALUE_LENGTH else f"{text[:MAX_VALUE_LENGTH]} ..."


def read_environment(folder: Path) -> list[tuple[str, str]]:
    """On what, with what and when a run was begun; UserError where its config.json cannot be read."""
    own_file(RunFolder(folder).config)
    config = read_config(folder)
    data, git = config["data"], config.get("git")
    facts = [("data", data["name"]), ("examples", data.get("examples")), ("shape of an example", data.get("shape"))]
    classes = data.get("classes") or []
    facts += [("classes", f"{len(classes)}: {format_value(classes)}" if classes else None)]
    facts += [("source", data["source"]), ("begun", config.get("created_at")), ("processes", config.get("world_size"))]
    facts += [*config.get("versions", {}).items()][:SHOWN_VERSIONS]
    if isinstance(git, dict):
        facts.append(("commit", f"{git.get('commit')}{' with changes' if git.get('dirty') else ''}"))
    facts += [("begins with", init.get("run")) for init in [config.get("init_from")] if isinstance(init, dict)]
    facts += [("group", group.get("name")) for group in [config.get("group")] if isinstance(group, dict)]
    return [(name, format_value(value)) for name, value in facts if value not in (None, "")]


def reproduce_command(folder: Path) -> str | None:
    """The command that trains the same again; None where no command can name what was trained."""
    return train_command(folder, read_config(folder))


def list_files(folder: Path) -> list[tuple[str, int]]:
    """The files of a run that are there, with their bytes."""
    files = []
    for name in FILES:
        try:
            files.append((name, own_file(folder / name).stat().st_size))
        except (UserError, OSError):
            continue
    return files


def read_values(folder: Path) -> dict[str, str]:
    """The model of a run and its options, by name; UserError where its config.json cannot be read."""
    return {option.name: option.value for option in read_run_options(folder)} | {"model": read_config(folder)["model"]}


def differing_options(runs: Sequence[dict[str, str]]) -> tuple[Rows, Rows]:
    """The options in which runs differ that all have, and those that only some have, with the value of each or "".

    A run of which nothing is known, {}, differs in none.
    """
    readable = [run for run in runs if run]
    names = {name: None for run in readable for name in ("model", *run)}
    common, others = Rows(), Rows()
    for name in names:
        if len({run.get(name, "") for run in readable}) > 1:
            rows = common if all(name in run for run in readable) else others
            rows.append((name, [run.get(name, "") for run in runs]))
    return common, others
