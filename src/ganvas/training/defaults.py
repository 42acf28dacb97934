"""Values of options that nobody gave, chosen for the data when a run begins."""

from collections.abc import Mapping, Set
from dataclasses import fields, replace
from typing import Any, NamedTuple

from ..config import TrainConfig
from ..data import Data
from ..errors import UserError
from ..fields import format_option
from ..model import Model, chooses_defaults, model_name_with_article, to_dict


class Defaults(NamedTuple):
    """What was chosen, and what is said of it."""

    values: dict[str, Any]
    """of the model's options and of training's"""
    training: dict[str, Any]
    """of training's alone"""
    notes: list[str]


def choose_defaults(
    model: Model, data: Data, options: Mapping[str, Any], own_fields: Set[str] | None = None
) -> tuple[Model, Defaults]:
    """The model with values for these data, see `Model.defaults_for`, and all that was chosen; `options` are given.

    Of a model that took over options of another run, `own_fields` are those that somebody gave for this one.
    """
    given = given_names(options) - (
        {"batch_size"} if options.get("batch_size") == "auto" else set()
    )  # the default first
    has_own = chooses_defaults(type(model)) and not model.own_networks
    chosen = model.defaults_for(data, given | (model.given if own_fields is None else own_fields)) if has_own else {}
    values = {name: value for name, value in chosen.items() if name not in given | model.given}
    names = {field.name for field in fields(model)}
    own = {name: value for name, value in values.items() if name in names}
    training = {name: value for name, value in values.items() if name not in names}
    notes = [f"for {data.name}: {' '.join(map(format_option, values.items()))}"] if values else []
    return (replace(model, **own) if own else model), Defaults(values, training, notes)


def given_names(options: Mapping[str, Any]) -> set[str]:
    """The names of the options that have a value: None stands for the default."""
    return {name for name, value in options.items() if value is not None}


def refuse_unused(model: Model, config: TrainConfig, given: Set[str], shape: Any = None) -> None:
    """UserError where an option is given that has no effect: on data of `shape` and beside others, else on the model.

    Those that have none on the model are for whoever typed them: in Python one call may train several models.
    """
    values = to_dict(model) | to_dict(config)
    for name, where in unused_options(model, config, given, shape).items():
        raise UserError(f"{name}={values[name]} has no effect {where}: leave it out")


def unused_options(model: Model, config: TrainConfig, given: Set[str], shape: Any = None) -> dict[str, str]:
    """Those of the given options that have no effect, as `refuse_unused` has it: each with where, in words.

    One that has its default does not count: a copy of a model, by `replace` or from a file, is given all of them.
    """
    values, standard = to_dict(model) | to_dict(config), to_dict(type(model)()) | to_dict(model.default_training)
    unused = ineffective_options(model, config, shape).items()
    return {name: where for name, where in unused if name in given and values[name] != standard[name]}


def ineffective_options(model: Model, config: TrainConfig, shape: Any = None) -> dict[str, str]:
    """The options that have no effect: on data of `shape` and beside others, else on the model, each with where."""
    without_milestones = {} if config.lr_milestones else {"lr_gamma": "without `lr_milestones`"}
    if shape is None:
        return without_milestones | dict.fromkeys(model.ignored_options, f"on {model_name_with_article(model)}")
    return without_milestones | model.unused_options(shape)
