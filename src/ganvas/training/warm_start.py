"""New runs that begin with the weights of an old one."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from ..data import Scaling, scaling
from ..errors import UserError
from ..inference.trained import Trained
from ..io.run_folder import RunFolder
from ..io.safetensors import select_prefix
from ..model import Model, model_name_with_article, optional_state_keys, to_dict
from . import run_records
from .checkpoint import read_networks
from .loop import TrainState


def initialize_from(
    init_from: Trained | str | Path, model: Model, state: TrainState, report: Callable[[Sequence[str]], None]
) -> dict[str, Any]:
    """Give the networks of a new run those of an old one, and return what config.json says of it.

    `init_from` is a run, whose last networks and averages are taken, those that only training needs among them, or a
    file of weights, or a trained model; these have no such networks, so the new run begins with random ones.  It sees
    examples as the old one did, since its weights mean something only so.  UserError where the networks do not fit.
    """
    origin, nets, ema_weights, state.scaling = read_initial_weights(init_from, model)
    network_names = {name.partition(".")[0] for name in nets}
    missing_networks = [name for name in state.nets if name not in network_names]
    if any(name not in model.training_only for name in missing_networks):
        raise UserError(
            f"{origin['run']} has the networks {', '.join(sorted(network_names)) or '(none)'}, but "
            f"{model_name_with_article(model)} has {', '.join(state.nets)}: begin with a run of the same model"
        )
    weights = {name: t for name, t in nets.items() if name.partition(".")[0] in state.nets}
    optional_keys = optional_state_keys(dict(state.nets.items())) - weights.keys()
    expected = {
        name: t for name, t in state.nets.state_dict().items()
        if name.partition(".")[0] in network_names and name not in optional_keys
    }  # fmt: skip
    for name in [*expected, *weights]:
        there, here = format_shape(weights.get(name)), format_shape(expected.get(name))
        if there != here:
            old, new = origin["fields"], json.loads(json.dumps(to_dict(model)))
            fields = ", ".join(f"{field}={value}" for field, value in old.items() if new.get(field, value) != value)
            why = f"it has {fields}" if fields else "the examples have other shapes or classes"
            message = f"{name} is {there} there, and {here} here; {why}"
            raise UserError(f"the networks of {origin['run']} do not fit: {message}")
    for networks, source in ((state.nets, weights), (state.ema_nets, ema_weights)):
        for name, net in networks.items():
            if own_weights := select_prefix(source, f"{name}."):
                net.load_state_dict(own_weights)
    if missing_networks:
        report([f"{origin['run']} does not hold {' and '.join(missing_networks)}: random weights, as in any new run"])
    return {name: origin[name] for name in ("run", "step")}


def read_initial_weights(
    init_from: Trained | str | Path, model: Model
) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Tensor], tuple[Scaling, ...]]:
    """Run, step and fields of what is begun with, its networks, their averages, and how they see examples."""
    if isinstance(init_from, Trained):
        weights = init_from.nets.state_dict()
        run = "the trained model" if init_from.folder is None else str(init_from.folder.resolve())
        fields = json.loads(json.dumps(to_dict(init_from.model)))
        origin = {"run": run, "step": init_from.metadata.get("step"), "fields": fields}
        return origin, weights, weights, init_from.scaling or (Scaling(model.pixel_range),) * model.n_domains
    path = run_records.find_run(str(init_from))
    if path.is_dir():
        files = RunFolder(path)
        path = files.checkpoint if files.checkpoint.exists() else files.weights
    header, tensors = read_networks(path)
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


def format_shape(tensor: Tensor | None) -> str:
    return "missing" if tensor is None else "x".join(map(str, tensor.shape)) or "a number"
