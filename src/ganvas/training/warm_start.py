"""New runs that begin with the weights of an old one."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..data import Scaling, scaling
from ..errors import UserError
from ..inference.trained import WEIGHTS, Trained
from ..io.safetensors import read
from ..model import Model, a_name_of, filled, plain
from . import run_folder
from .loop import State

Weights = dict[str, Tensor]


def begin_with(
    start: Trained | str | Path, model: Model, state: State, notes: Callable[[Sequence[str]], None]
) -> dict[str, Any]:
    """Give the networks of a new run those of an old one, and return what config.json says of it.

    `start` is a run, whose last networks and averages are taken, those that only training needs among them, or a file
    of weights, or a trained model; these have no such networks, so the new run begins with random ones.  It sees
    examples as the old one did, since its weights mean something only so.  UserError where the networks do not fit.
    """
    said, nets, average, state.scaling = taken(start, model)
    own = state.nets.state_dict()
    there = {name.partition(".")[0] for name in nets}
    fresh = [name for name in state.nets if name not in there]
    if any(name not in model.scaffolding for name in fresh):
        raise UserError(
            f"{said['run']} has the networks {', '.join(sorted(there)) or '(none)'}, but {a_name_of(model)} has "
            f"{', '.join(state.nets)}: begin with a run of the same model"
        )
    wanted = {name: t for name, t in own.items() if name.partition(".")[0] not in fresh}
    given = {name: t for name, t in nets.items() if name.partition(".")[0] in state.nets}
    left = filled(dict(state.nets.items())) - given.keys()
    wanted = {name: t for name, t in wanted.items() if name not in left}
    for name in [*wanted, *given]:
        if shape_of(given.get(name)) != shape_of(wanted.get(name)):
            raise UserError(
                f"the networks of {said['run']} do not fit: {name} is {shape_of(given.get(name))} there, and "
                f"{shape_of(wanted.get(name))} here{differences(said['fields'], model)}"
            )
    load(state.nets, given)
    load(state.average, {name: t for name, t in average.items() if name.partition(".")[0] in state.average})
    if fresh:
        notes([f"{said['run']} does not hold {' and '.join(fresh)}: random weights, as in any new run"])
    return {name: said[name] for name in ("run", "step")}


def taken(start: Trained | str | Path, model: Model) -> tuple[dict[str, Any], Weights, Weights, tuple[Scaling, ...]]:
    """Run, step and fields of what is begun with, its networks, their averages, and how they see examples."""
    if isinstance(start, Trained):
        weights = start.nets.state_dict()
        run = "the trained model" if start.folder is None else str(start.folder.resolve())
        return (
            {"run": run, "step": start.about.get("step"), "fields": json.loads(json.dumps(plain(start.model)))},
            weights,
            weights,
            start.scaling or tuple(Scaling(model.span) for _ in range(model.domains)),
        )
    path = run_folder.find(str(start))
    if path.is_dir():
        path = path / (run_folder.STATE if (path / run_folder.STATE).exists() else WEIGHTS)
    header, tensors = read(path)
    seen = scaling.restored(tensors, header, model)  # takes what is no network's
    if not (path.parent / run_folder.CONFIG).exists() or "fields" in header:
        fields = header.get("fields", {})
    else:  # a checkpoint that was written before it said so itself
        fields = run_folder.read_config(path.parent)["fields"]
    said = {"run": str(path.resolve()), "step": header.get("step"), "fields": fields}
    if any(name.startswith("nets/") for name in tensors):
        said["run"] = str(path.parent.resolve())
        return said, part(tensors, "nets/"), part(tensors, "average/"), seen
    weights = {name: t for name, t in tensors.items() if not name.startswith("prior/")}
    return said, weights, weights, seen


def part(tensors: Weights, prefix: str) -> Weights:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def shape_of(tensor: Tensor | None) -> str:
    return "missing" if tensor is None else "x".join(map(str, tensor.shape)) or "a number"


def differences(fields: dict[str, Any], model: Model) -> str:
    """Which of the model's fields are otherwise, in a clause."""
    own = json.loads(json.dumps(plain(model)))
    other = [f"{name}={value}" for name, value in fields.items() if name in own and own[name] != value]
    return f"; it has {', '.join(other)}" if other else "; the examples have other shapes or classes"


@torch.no_grad()
def load(nets: nn.ModuleDict, weights: Weights) -> None:
    """Give the networks the weights that are theirs."""
    for name, net in nets.items():
        own = part(weights, f"{name}.")
        if own:
            net.load_state_dict(own)
