"""New runs that begin with the weights of an old one."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..data import Scaling, scaling
from ..errors import UserError
from ..inference.trained import Trained
from ..io.run_folder import RunFolder
from ..io.safetensors import read_safetensors
from ..model import Model, model_name_with_article, optional_state_keys, to_dict
from . import run_records
from .loop import TrainState

Weights = dict[str, Tensor]


def initialize_from(
    init_from: Trained | str | Path, model: Model, state: TrainState, report: Callable[[Sequence[str]], None]
) -> dict[str, Any]:
    """Give the networks of a new run those of an old one, and return what config.json says of it.

    `init_from` is a run, whose last networks and averages are taken, those that only training needs among them, or a
    file of weights, or a trained model; these have no such networks, so the new run begins with random ones.  It sees
    examples as the old one did, since its weights mean something only so.  UserError where the networks do not fit.
    """
    origin, nets, ema_weights, state.scaling = read_initial_weights(init_from, model)
    own_state = state.nets.state_dict()
    network_names = {name.partition(".")[0] for name in nets}
    missing_networks = [name for name in state.nets if name not in network_names]
    if any(name not in model.training_only for name in missing_networks):
        raise UserError(
            f"{origin['run']} has the networks {', '.join(sorted(network_names)) or '(none)'}, but "
            f"{model_name_with_article(model)} has "
            f"{', '.join(state.nets)}: begin with a run of the same model"
        )
    expected = {name: t for name, t in own_state.items() if name.partition(".")[0] not in missing_networks}
    weights = {name: t for name, t in nets.items() if name.partition(".")[0] in state.nets}
    optional_keys = optional_state_keys(dict(state.nets.items())) - weights.keys()
    expected = {name: t for name, t in expected.items() if name not in optional_keys}
    for name in [*expected, *weights]:
        if format_shape(weights.get(name)) != format_shape(expected.get(name)):
            raise UserError(
                f"the networks of {origin['run']} do not fit: {name} is {format_shape(weights.get(name))} there, and "
                f"{format_shape(expected.get(name))} here{describe_differences(origin['fields'], model)}"
            )
    load_weights(state.nets, weights)
    load_weights(
        state.ema_nets, {name: t for name, t in ema_weights.items() if name.partition(".")[0] in state.ema_nets}
    )
    if missing_networks:
        report([f"{origin['run']} does not hold {' and '.join(missing_networks)}: random weights, as in any new run"])
    return {name: origin[name] for name in ("run", "step")}


def read_initial_weights(
    init_from: Trained | str | Path, model: Model
) -> tuple[dict[str, Any], Weights, Weights, tuple[Scaling, ...]]:
    """Run, step and fields of what is begun with, its networks, their averages, and how they see examples."""
    if isinstance(init_from, Trained):
        weights = init_from.nets.state_dict()
        run = "the trained model" if init_from.folder is None else str(init_from.folder.resolve())
        return (
            {
                "run": run,
                "step": init_from.metadata.get("step"),
                "fields": json.loads(json.dumps(to_dict(init_from.model))),
            },
            weights,
            weights,
            init_from.scaling or tuple(Scaling(model.pixel_range) for _ in range(model.n_domains)),
        )
    path = run_records.find_run(str(init_from))
    if path.is_dir():
        files = RunFolder(path)
        path = files.checkpoint if files.checkpoint.exists() else files.weights
    header, tensors = read_safetensors(path)
    scalings = scaling.scaling_from_state(tensors, header, model)  # takes what is no network's
    if not RunFolder(path.parent).is_run or "fields" in header:
        fields = header.get("fields", {})
    else:  # a checkpoint that was written before it said so itself
        fields = run_records.read_config(path.parent)["fields"]
    origin = {"run": str(path.resolve()), "step": header.get("step"), "fields": fields}
    if any(name.startswith("nets/") for name in tensors):
        origin["run"] = str(path.parent.resolve())
        return origin, select_prefix(tensors, "nets/"), select_prefix(tensors, "ema/"), scalings
    weights = {name: t for name, t in tensors.items() if not name.startswith("prior/")}
    return origin, weights, weights, scalings


def select_prefix(tensors: Weights, prefix: str) -> Weights:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def format_shape(tensor: Tensor | None) -> str:
    return "missing" if tensor is None else "x".join(map(str, tensor.shape)) or "a number"


def describe_differences(fields: dict[str, Any], model: Model) -> str:
    """Which of the model's fields are otherwise, in a clause."""
    own_fields = json.loads(json.dumps(to_dict(model)))
    changes = [f"{name}={value}" for name, value in fields.items() if name in own_fields and own_fields[name] != value]
    return f"; it has {', '.join(changes)}" if changes else "; the examples have other shapes or classes"


@torch.no_grad()
def load_weights(nets: nn.ModuleDict, weights: Weights) -> None:
    """Give the networks the weights that are theirs."""
    for name, net in nets.items():
        own_weights = select_prefix(weights, f"{name}.")
        if own_weights:
            net.load_state_dict(own_weights)
