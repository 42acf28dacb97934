"""The command that trains as a run was trained, but for what a remedy of the doctor changes."""

from collections.abc import Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from shlex import join, quote
from typing import Any

from torch import nn

from ..data import DataOptions
from ..data.options import stored_options
from ..diagnostics import examine, is_early, latest_statistics
from ..fields import format_option
from ..inference.schema import parse_model, parse_train_config
from ..io.run_folder import RunFolder
from ..model import Model, chooses_defaults, to_dict
from ..models import MODELS
from ..models._own import is_own, source_file
from ..nn.skeleton import make_skeleton
from ..rules import Remedies, Remedy
from .defaults import unused_options
from .run_records import end_step

LENGTHS = {"steps", "epochs", "budget"}
"""options that say how long to train, of which one is enough"""


def diagnose(
    folder: Path, config: dict[str, Any], log: Sequence[dict[str, Any]]
) -> tuple[list[dict[str, Any]], str, dict[str, float]]:
    """What is wrong with a run by its log, each with a command; else that nothing is; and the figures looked at."""
    steps, step = end_step(config), log[-1]["step"]
    diagnoses = examine(parse_model(config, RunFolder(folder).config), steps, log, parse_train_config(config))
    early = "the run was too short to tell" if step >= steps else "too early to tell"
    verdict = "" if diagnoses else early if is_early(step, steps) else "nothing found"
    found = [d.to_dict() | {"command": first_command(folder, config, d.remedies)} for d in diagnoses]
    return found, verdict, latest_statistics(log)


def train_command(folder: Path, config: dict[str, Any]) -> str | None:
    """The command that trains as the run in a folder was trained; None as `first_command` has it.

    Of a run with a budget it has the steps, of which there would be others on another day.
    """
    values = config["train_config"]
    lengths = {name: values[name] for name in ("steps", "checkpoint_every")} if values.get("budget") else {}
    return remedy_command(folder, config, Remedy("the same again", lengths))


def first_command(folder: Path, config: dict[str, Any], remedies: Remedies) -> str | None:
    """The first of these remedies that is a command, for the run in a folder, of which `config` is the config.json.

    None where none is, or where no command can name what was trained: arrays, networks of the user's own, or weights
    to begin with that are gone.
    """
    first = next((remedy for remedy in remedies if remedy.options or remedy.command), None)
    return None if first is None else remedy_command(folder, config, first)


def remedy_command(folder: Path, config: dict[str, Any], remedy: Remedy) -> str | None:
    """The whole command of a remedy: `ganvas train MODEL DATA`, with the options that were given to the run."""
    if remedy.command == "fit-prior":
        return join(["ganvas", "fit-prior", str(folder)])
    model, source = parse_model(config, RunFolder(folder).config), config["data"]["source"]
    sources, name = [source] if isinstance(source, str) else source, command_name(type(model))
    start = config.get("init_from", {}).get("run")
    if "array" in sources or config.get("own_networks") or name is None or (start and not Path(start).exists()):
        return None
    options, of_model = read_options(config, model), {*to_dict(model)}
    if remedy.command:
        name = remedy.command.removeprefix("train ")
        of_model = of_model & shared_options(type(model), MODELS[name])
        changed = MODELS[name](**{k: v for k, v in options.items() if k in of_model})
    else:
        changed = replace(model, **{k: v for k, v in remedy.options.items() if k in of_model})
    begins_with = start if start and have_same_networks(model, changed, config) else None
    given = given_options(config, model, takes_over=begins_with == start) - (to_dict(model).keys() - of_model)
    given -= remedy.options.keys() | (LENGTHS if LENGTHS & remedy.options.keys() else set())
    given -= unused_options(changed, parse_train_config(config), given, data_shape(config)).keys()
    words = ["ganvas", "train", *map(quote, [name, *sources[:: 1 if remedy.domains == "AB" else -1]])]
    words += map(format_option, [(k, v) for k, v in options.items() if k in given] + [*remedy.options.items()])
    if config.get("world_size", 1) > 1:
        words.append(f"--devices {config['world_size']}")
    return " ".join([*words, *([f"--init-from {quote(begins_with)}"] if begins_with else [])])


def command_name(cls: type[Model]) -> str | None:
    """What `ganvas train` calls a model: its name, or FILE.py:CLASS of the user's own; None where no file has that."""
    if not is_own(cls):
        return cls.__name__.lower()
    return f"{file}:{cls.__name__}" if (file := source_file(cls)) else None


def have_same_networks(model: Model, other: Model, config: dict[str, Any]) -> bool:
    """Whether both have networks of the same layers for the data of a run, so that both can begin with one's weights.

    Models of the user's own, whose code need not run without memory, have where they have the same options but lr.
    """
    if type(model) is not type(other) or is_own(type(model)):
        return replace(model, lr=1.0) == replace(other, lr=1.0)
    data = data_shape(config), len(config["data"]["classes"])
    states = (nn.ModuleDict(make_skeleton(partial(one.networks, *data))).state_dict() for one in (model, other))
    one, another = ({name: tensor.shape for name, tensor in state.items()} for state in states)
    return one == another


def data_shape(config: dict[str, Any]) -> Any:
    """The shape of a run's examples, of a translator those of its domains."""
    return tuple(tuple(part) if isinstance(part, list) else part for part in config["data"]["shape"])


def read_options(config: dict[str, Any], model: Model) -> dict[str, Any]:
    """All options of a run, of its model, of training and of data."""
    data_options = DataOptions(**unwritten_options(config["data"]) | config["data"]["options"])
    return to_dict(model) | to_dict(parse_train_config(config)) | to_dict(data_options)


def unwritten_options(data_config: dict[str, Any]) -> dict[str, Any]:
    """What a run does about options of data that there were none of when it began: today's defaults may be others."""
    shape = data_config["shape"]
    has_images = 3 in (len(shape), *(len(part) for part in shape if isinstance(part, list)))
    values = {k: v for k, v in stored_options(data_config).items() if k not in data_config["options"]}
    return {name: value for name, value in values.items() if has_images or name != "bits"}


def given_options(config: dict[str, Any], model: Model, takes_over: bool) -> set[str]:
    """The options that somebody gave, but for those that are the defaults anyway; steps in place of epochs.

    Of a run that was begun before they were written down, those that are neither defaults nor chosen for its data.
    All of the model's, unless it `takes_over` those of the run that it begins with, or begins with none.
    """
    cls, options = type(model), read_options(config, model)
    defaults = to_dict(cls()) | to_dict(cls.default_training) | to_dict(DataOptions())
    unusual = {name for name, value in options.items() if value != defaults[name]}
    given = set(config.get("given", unusual - config.get("chosen", {}).keys()))
    given |= {name for change in config.get("changes", []) for name in change}
    given |= {"steps"} if "epochs" in given else set()
    given |= unwritten_options(config["data"]).keys() | (set() if takes_over else to_dict(model).keys())
    return given & (unusual | (cls.chosen_options if chooses_defaults(cls) else set())) - {*cls.ignored_options}


def shared_options(cls: type[Model], other: type[Model]) -> set[str]:
    """The options that a model has in common with another, from what both are derived from."""
    base = next(base for base in cls.__mro__ if issubclass(other, base))
    return {field.name for field in fields(base)} - {*other.ignored_options}
