"""A run's state in one safetensors file, from which it goes on bit for bit.  No pickle, here or anywhere.

Of a run that is sharded over its ranks, the file names a folder in which the sharded tensors are: see `shard_files`.

Stored are the networks, their averages, the optimisers' moments, how examples are scaled, the counters `step` and
`position` (batches drawn), the best samples so far, and loss terms that are not logged yet.  No state of random numbers
is, see `training.loop`.
"""

import shutil
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from ..data import stored_scaling as scalings
from ..errors import UserError
from ..inference.schema import STATE_VERSION, check_networks, parse_state
from ..io.run_folder import RunFolder
from ..io.safetensors import read_header, read_safetensors, select_prefix, summarize_error, write_safetensors
from ..model import Model
from ..ranks import rank, world_size
from .distributed import is_main, is_sharded
from .loop import TrainState, get_optimizer

SELECTION_FIELDS = ("lowest_distance", "distance_error", "best_step", "evaluations_since_best", "metric")
"""counters of the state that tell how good samples were"""


def save(
    state: TrainState, path: Path, metadata: dict[str, Any], rank_state: Mapping[str, Tensor] | None = None
) -> None:
    """Write the state, atomically; `metadata` is plain values to keep beside it, `rank_state` what other ranks have.

    Rank 0 writes the file, every rank its shards: all must call it.
    """
    scaling_tensors, scaling_header = scalings.scaling_state(state.scaling)
    tensors: dict[str, Tensor] = {f"nets/{name}": tensor for name, tensor in state.nets.state_dict().items()}
    tensors |= {f"ema/{name}": tensor for name, tensor in state.ema_nets.state_dict().items()} | scaling_tensors
    tensors |= rank_state or {}
    scalars: dict[str, Any] = {}
    for name, optimizer in state.optimizers.items():
        optimizer_tensors, scalars[name] = split_optimizer_state(optimizer)
        tensors |= {f"optimizer/{name}/{key}": tensor for key, tensor in optimizer_tensors.items()}
    shards = {name: tensor for name, tensor in tensors.items() if is_sharded(tensor)}
    if shards:
        from .shard_files import write_shards

        metadata = metadata | {"shards": write_shards(shards, path.parent, state.step)}
    if not is_main():
        return
    counters = {
        "format": STATE_VERSION,
        "step": state.step, "position": state.position, "optimizers": scalars, "pending_terms": state.meter.values,
        "selection": selection(state), "rollbacks": state.rollbacks,
        "skipped": state.meter.skipped, "skipped_in_row": state.meter.skipped_in_row,
    }  # fmt: skip
    whole = {name: tensor for name, tensor in tensors.items() if name not in shards}
    write_safetensors(path, metadata | scaling_header | counters, whole)
    remove_shards(path.parent, metadata.get("shards"))


def remove_shards(run: Path, current: str | None) -> None:
    """Remove the shards of a run but those that its checkpoints name."""
    good = RunFolder(run).good_checkpoint
    in_use = {current, read_header(good).get("shards") if good.exists() else None}
    for folder in run.glob("shards-*"):
        if folder.name not in in_use:
            shutil.rmtree(folder, ignore_errors=True)  # what stays takes space, nothing more


def selection(state: TrainState) -> dict[str, Any]:
    """How good samples were."""
    return {name: getattr(state, name) for name in SELECTION_FIELDS}


def save_selection(state: TrainState, path: Path) -> None:
    """Write into a checkpoint how good samples were; all else stays as it is, whichever rank it is of."""
    header, tensors = read_safetensors(path)
    write_safetensors(path, header | {"selection": selection(state)}, tensors)


def check_checkpoint(path: Path, model: Model, shape: Any, classes: int) -> None:
    """UserError where a checkpoint is not of such a model, before networks are made that the memory may not hold."""
    header, tensors = read_safetensors(path)
    parse_state(header, path)
    tensors |= shard_shapes(header, path)
    message = f"{path} is the checkpoint of another model"
    try:
        scalings.scaling_from_state(tensors, header, model)
    except (KeyError, ValueError, RuntimeError) as error:
        raise UserError(f"{message}: {summarize_error(error)}") from error
    for group, has_training_only in (("nets/", True), ("ema/", False)):
        check_networks(model, shape, classes, select_prefix(tensors, group), has_training_only, message)


def shard_shapes(header: dict[str, Any], path: Path) -> dict[str, Tensor]:
    """The tensors that a checkpoint has in shards, without their numbers; UserError where they are damaged."""
    if header.get("shards") is None:
        return {}
    from . import shard_files

    return shard_files.shard_shapes(path.parent / header["shards"])


def read_networks(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and tensors of a checkpoint, or of any file of ours; shards of networks and averages as whole tensors."""
    header, tensors = read_safetensors(path)
    if header.get("shards") is None:
        return header, tensors
    from .shard_files import read_shards

    parse_state(header, path)
    shapes = {k: t for k, t in shard_shapes(header, path).items() if k.startswith(("nets/", "ema/"))}
    whole = {name: torch.empty(t.shape, dtype=t.dtype) for name, t in shapes.items()}
    read_shards(path.parent / header["shards"], whole)
    return header, tensors | whole


def restore_networks(state: TrainState, path: Path) -> None:
    """Read networks and averages into a state in which they are whole."""
    header, tensors = read_networks(path)
    state.nets.load_state_dict(select_prefix(tensors, "nets/"))
    state.ema_nets.load_state_dict(select_prefix(tensors, "ema/"))
    state.step = header["step"]


def place_shards(
    header: dict[str, Any], tensors: dict[str, Tensor], state: TrainState, model: Model, path: Path
) -> dict[str, Tensor]:
    """A checkpoint's tensors, and those in its shards, each sharded or whole as its place in the state is."""
    if header.get("shards") is None and not any(is_sharded(p) for p in state.nets.parameters()):
        return tensors
    from .shard_files import distribute_like, read_shards

    shapes = shard_shapes(header, path)
    places = {f"nets/{name}": t for name, t in state.nets.state_dict().items()}
    places |= {f"ema/{name}": t for name, t in state.ema_nets.state_dict().items()}
    for name in header["optimizers"]:
        keys = {key.rpartition("/")[2] for key in shapes | tensors if key.startswith(f"optimizer/{name}/")}
        parameters = chain(*(group["params"] for group in get_optimizer(name, model, state).param_groups))
        places |= {f"optimizer/{name}/{i}/{key}": p for i, p in enumerate(parameters) for key in keys}
    targets = {name: torch.empty_like(places[name]) for name in shapes}
    if targets:
        read_shards(path.parent / header["shards"], targets)
    return {name: distribute_like(places.get(name), t) for name, t in tensors.items()} | targets


def restore(state: TrainState, path: Path, model: Model) -> dict[str, Any]:
    """Read what `save` wrote into a state of the same model, and return its header.

    Raises UserError where file and model do not fit.
    """
    header, tensors = read_safetensors(path)
    parse_state(header, path)
    try:
        state.scaling = scalings.scaling_from_state(tensors, header, model)
        tensors = place_shards(header, tensors, state, model, path)
        # a rank that the run did not have takes what it had of another
        own = select_prefix(tensors, f"ranks/{rank() % header.get('world_size', 1)}/")
        state.nets.load_state_dict(select_prefix(tensors, "nets/") | own)
        state.ema_nets.load_state_dict(select_prefix(tensors, "ema/"))
        for name, settings in header["optimizers"].items():
            optimizer, moments = get_optimizer(name, model, state), select_prefix(tensors, f"optimizer/{name}/")
            load_optimizer_state(optimizer, moments, settings.get("plain", {}))
        state.step, state.position = header["step"], header["position"]
        for name in SELECTION_FIELDS:
            setattr(state, name, (header.get("selection") or {}).get(name, getattr(state, name)))
        state.meter.values, state.rollbacks = header.get("pending_terms", {}), header.get("rollbacks", 0)
        state.meter.skipped, state.meter.skipped_in_row = header.get("skipped", []), header.get("skipped_in_row", 0)
        return header
    except (KeyError, RuntimeError, ValueError, AttributeError) as error:
        raise UserError(f"{path} is the checkpoint of another model: {summarize_error(error)}") from error


def restore_for_batches(state: TrainState, path: Path, model: Model, n: int, batch: int) -> None:
    """The same, to go on with batches of so many of n examples, which need not be as large as they were."""
    header = restore(state, path, model)
    old_batch = (header.get("batch_size") or batch) * header.get("world_size", 1)
    state.position = convert_position(state.position, n, old_batch, batch * world_size())


def convert_position(position: int, n: int, old_batch: int, batch: int) -> int:
    """Where a run of n examples goes on with batches of another size: in the same epoch, behind what it has seen there.

    No example comes twice in an epoch.  Up to a batch of them is left out where the sizes do not divide each other.
    """
    epoch, i = divmod(position, max(1, n // old_batch))  # of changed data there may be fewer
    return epoch * (n // batch) + min(-(-i * old_batch // batch), n // batch)


def split_optimizer_state(optimizer: Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimiser's state, as tensors by name and plain values."""
    state = optimizer.state_dict()
    values = {f"{index}/{key}": value for index, entry in state["state"].items() for key, value in entry.items()}
    tensors = {name: value for name, value in values.items() if isinstance(value, Tensor)}
    return tensors, {"plain": {name: value for name, value in values.items() if name not in tensors}}


def load_optimizer_state(optimizer: Optimizer, tensors: dict[str, Tensor], scalars: dict[str, Any]) -> None:
    """The inverse of `split_optimizer_state`; ValueError where the state is not that of such an optimiser."""
    state: dict[int, dict[str, Any]] = {}
    for name, value in (tensors | scalars).items():
        index, _, key = name.partition("/")
        state.setdefault(int(index), {})[key] = value
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for i, values in state.items():
        if not 0 <= i < len(parameters) or values.keys() != next(iter(state.values())).keys():
            raise ValueError(f"no state of an optimiser: {i}/{', '.join(values)}")
        for key, value in values.items():
            if isinstance(value, Tensor) and value.shape not in (parameters[i].shape, ()):
                raise ValueError(f"{i}/{key} has the shape {tuple(value.shape)}, and not {tuple(parameters[i].shape)}")
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    for parameter, moments in optimizer.state.items():
        for name, moment in moments.items():
            if isinstance(moment, Tensor) and moment.shape == parameter.shape:  # fused kernels want one memory layout
                moments[name] = torch.empty_like(parameter).copy_(moment)
