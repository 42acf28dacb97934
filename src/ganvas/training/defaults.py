"""Values of options that nobody gave, chosen for the data when a run begins."""

from collections.abc import Mapping, Set
from dataclasses import fields, replace
from typing import Any, NamedTuple

from ..data import Data
from ..fields import format_option
from ..model import Model, chooses_defaults


class Defaults(NamedTuple):
    """What was chosen, and what is said of it."""

    values: dict[str, Any]
    """of the model's options and of training's"""
    training: dict[str, Any]
    """of training's alone"""
    notes: list[str]


def choose_defaults(
    model: Model, data: Data, options: Mapping[str, Any], asked: Set[str] | None = None
) -> tuple[Model, Defaults]:
    """The model with values for these data, see `Model.defaults_for`, and all that was chosen; `options` are given.

    Of a model that took over options of another run, `asked` are the fields that somebody gave for this one.
    """
    given = {name for name, value in options.items() if value is not None}
    has_own = chooses_defaults(type(model)) and not model.own_networks
    chosen = model.defaults_for(data, given | (model.given if asked is None else asked)) if has_own else {}
    values = {name: value for name, value in chosen.items() if name not in given | model.given}
    names = {field.name for field in fields(model)}
    own = {name: value for name, value in values.items() if name in names}
    training = {name: value for name, value in values.items() if name not in names}
    notes = [f"for {data.name}: {' '.join(map(format_option, values.items()))}"] if values else []
    return (replace(model, **own) if own else model), Defaults(values, training, notes)
