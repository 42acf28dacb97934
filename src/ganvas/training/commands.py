"""The command that trains as a run was trained, but for what a remedy of the doctor changes."""

from dataclasses import fields
from pathlib import Path
from shlex import join, quote
from typing import Any

from ..data import DataOptions
from ..fields import format_option
from ..inference.schema import parse_model, parse_train_config
from ..io.run_folder import RunFolder
from ..model import Model, chooses_defaults, to_dict
from ..models import MODELS
from ..models._own import is_own, source_file
from ..rules import Remedies, Remedy

LENGTHS = {"steps", "epochs", "budget"}
"""options that say how long to train, of which one is enough"""


def first_command(folder: Path, config: dict[str, Any], remedies: Remedies) -> str | None:
    """The first of these remedies that is a command, for the run in a folder, of which `config` is the config.json.

    None where none is, or where no command can name what was trained: arrays, or networks of the user's own.
    """
    first = next((remedy for remedy in remedies if remedy.options or remedy.command), None)
    return None if first is None else remedy_command(folder, config, first)


def remedy_command(folder: Path, config: dict[str, Any], remedy: Remedy) -> str | None:
    """The whole command of a remedy: `ganvas train MODEL DATA`, with the options that were given to the run."""
    if remedy.command == "fit-prior":
        return join(["ganvas", "fit-prior", str(folder)])
    model, source = parse_model(config, RunFolder(folder).config), config["data"]["source"]
    sources, name = [source] if isinstance(source, str) else source, command_name(type(model))
    if "array" in sources or config.get("own_networks") or name is None:
        return None
    options, given = read_options(config, model), given_options(config, model)
    if remedy.command:
        name = remedy.command.removeprefix("train ")
        given -= to_dict(model).keys() - shared_options(type(model), MODELS[name])
    given -= remedy.options.keys() | (LENGTHS if LENGTHS & remedy.options.keys() else set())
    words = ["ganvas", "train", *map(quote, [name, *sources[:: 1 if remedy.domains == "AB" else -1]])]
    words += map(format_option, [(k, v) for k, v in options.items() if k in given] + [*remedy.options.items()])
    if config.get("world_size", 1) > 1:
        words.append(f"--devices {config['world_size']}")
    if "init_from" in config and not remedy.command:
        words.append(f"--init-from {quote(config['init_from']['run'])}")
    return " ".join(words)


def command_name(cls: type[Model]) -> str | None:
    """What `ganvas train` calls a model: its name, or FILE.py:CLASS of the user's own; None where no file has that."""
    if not is_own(cls):
        return cls.__name__.lower()
    return f"{file}:{cls.__name__}" if (file := source_file(cls)) else None


def read_options(config: dict[str, Any], model: Model) -> dict[str, Any]:
    """All options of a run, of its model, of training and of data."""
    data_options = DataOptions(**config["data"]["options"])
    return to_dict(model) | to_dict(parse_train_config(config)) | to_dict(data_options)


def given_options(config: dict[str, Any], model: Model) -> set[str]:
    """The options that somebody gave, but for those that are the defaults anyway; steps in place of epochs.

    Of a run that was begun before they were written down, those that are neither defaults nor chosen for its data.
    """
    cls, options = type(model), read_options(config, model)
    defaults = to_dict(cls()) | to_dict(cls.default_training) | to_dict(DataOptions())
    unusual = {name for name, value in options.items() if value != defaults[name]}
    given = set(config.get("given", unusual - config.get("chosen", {}).keys()))
    given |= {name for change in config.get("changes", []) for name in change}
    given |= {"steps"} if "epochs" in given else set()
    return given & (unusual | (cls.chosen_options if chooses_defaults(cls) else set())) - {*cls.ignored_options}


def shared_options(cls: type[Model], other: type[Model]) -> set[str]:
    """The options that a model has in common with another, from what both are derived from."""
    base = next(base for base in cls.__mro__ if issubclass(other, base))
    return {field.name for field in fields(base)} - {*other.ignored_options}
