"""New runs that begin with an old one: with its weights, its options and its way to see examples."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from ..data import Data, Scaling
from ..data.stored_scaling import scaling_from_state
from ..errors import UserError
from ..fields import format_option
from ..inference.schema import describe_tensor, parse_model
from ..inference.trained import Trained
from ..io.run_folder import RunFolder
from ..io.safetensors import select_prefix
from ..model import Model, model_name, model_name_with_article, optional_state_keys, rank_state_keys, to_dict
from ..nn.skeleton import make_skeleton
from . import run_records
from .checkpoint import read_networks
from .loop import TrainState

RUN_STATE_SUFFIX = ".augment_p"
"""end of the name of what follows the course of a run, and so begins anew"""
Report = Callable[[Sequence[str]], None]


class Origin(NamedTuple):
    """What a run begins with."""

    run: str
    step: int | None
    model: Model | None  # None where it is of another kind than the new run's
    nets: dict[str, Tensor]
    ema: dict[str, Tensor]
    scaling: tuple[Scaling, ...]
    data_defaults: frozenset[str] = frozenset()
    """the options for which values were chosen, see `defaults`"""


def read_origin(init_from: Trained | str | Path, model: Model, runs_dir: Path) -> Origin:
    """What a run of this model begins with: a run's last networks, with D, and averages, or else weights without D."""
    if isinstance(init_from, Trained):
        run = "the trained model" if init_from.folder is None else str(init_from.folder.resolve())
        scalings = init_from.scaling or (Scaling(model.pixel_range),) * model.n_domains
        weights, D = init_from.nets.state_dict(), init_from.discriminator
        nets = weights | {f"D.{name}": t for name, t in (D.state_dict().items() if D else ())}
        same, data_defaults = type(init_from.model) is type(model), data_defaults_of(init_from.folder)
        old, step = init_from.model if same else None, init_from.metadata.get("step")
        return Origin(run, step, old, nets, weights, scalings, data_defaults)
    path = run_records.find_run(str(init_from), runs_dir)
    if path.is_dir():
        files = RunFolder(path)
        path = files.checkpoint if files.checkpoint.exists() else files.weights
    header, tensors = read_networks(path)
    scalings, step = scaling_from_state(tensors, header, model), header.get("step")  # takes what is theirs
    if RunFolder(path.parent).is_run and "fields" not in header:  # a checkpoint that was written before it said so
        header = run_records.read_config(path.parent)
    data_defaults = data_defaults_of(path.parent)
    old = parse_model(header, path) if header.get("model") == model_name(model) else None
    if any(name.startswith("nets/") for name in tensors):
        nets, ema = select_prefix(tensors, "nets/"), select_prefix(tensors, "ema/")
        return Origin(str(path.parent.resolve()), step, old, nets, ema, scalings, data_defaults)
    weights = {name: t for name, t in tensors.items() if not name.startswith("prior/")}
    return Origin(str(path.resolve()), step, old, weights, weights, scalings, data_defaults)


def data_defaults_of(folder: Path | None) -> frozenset[str]:
    """The options for which the run in a folder chose values; none where it is no run."""
    if folder is None or not RunFolder(folder).is_run:
        return frozenset()
    return frozenset(run_records.read_config(folder).get("chosen", {}))


def adopt_options(model: Model, origin: Origin | None, say: Report) -> Model:
    """The model, whose options that nobody gave are those of the old run, of the same kind; they count as given."""
    if origin is None or origin.model is None:
        return model
    own = model.given | {name for name, others in model.replacements.items() if others & model.given}
    options = {name: value for name, value in to_dict(origin.model).items() if name not in own}
    standard = to_dict(type(model)())
    if unusual := [(name, value) for name, value in options.items() if value not in (None, standard[name])]:
        say([f"as in {origin.run}: {' '.join(map(format_option, unusual))}"])
    return replace(model, **options)


def initialize_from(origin: Origin | None, model: Model, data: Any, state: TrainState, say: Report) -> dict[str, Any]:
    """Give the networks of a new run on `data` those of an old one, and return what config.json says of it.

    It sees examples as the old one did, since its weights mean something only so, but for deep images that the old
    scale would clip.  Where they have another shape or other classes, layers that do not fit stay random.  UserError
    where networks do not fit otherwise.
    """
    if origin is None:
        return {}
    names = {name.partition(".")[0] for name in origin.nets}
    missing = [name for name in state.nets if name not in names]
    if any(name not in model.training_only for name in missing):
        raise UserError(
            f"{origin.run} has the networks {', '.join(sorted(names)) or '(none)'}, but "
            f"{model_name_with_article(model)} has {', '.join(state.nets)}: begin with a run of the same model"
        )
    shared = [name for name in state.nets if name in names]
    nets = {name: state.nets[name] for name in shared}
    here, there = (shared_tensors(nets, tensors, origin) for tensors in (state.nets.state_dict(), origin.nets))
    differences = {
        name: f"{name} is {a} there, and {b} here" for name in [*here, *there]
        if (a := describe_tensor(there.get(name))) != (b := describe_tensor(here.get(name)))
    }  # fmt: skip
    if differences and (why := other_options(origin, model, data, here)):
        raise UserError(f"the networks of {origin.run} do not fit: {next(iter(differences.values()))}; {why}")
    random_layers = set(map(layer_of, differences))
    common = {name for name in here if layer_of(name) not in random_layers}
    for networks, source in ((state.nets, origin.nets), (state.ema_nets, origin.ema)):
        for name in networks.keys() & names:
            own = select_prefix({key: t for key, t in source.items() if key in common}, f"{name}.")
            networks[name].load_state_dict(own, strict=False)
    pairs = list(zip(origin.scaling, data.in_memory.datasets, strict=True))
    is_same = not differences or all(s.mean is not None and s.mean.shape == part.shape for s, part in pairs)
    if is_same and all(s.holds(part) for s, part in pairs):
        state.scaling = origin.scaling
    notes = [f"begins with {' and '.join(shared)} of {origin.run}, of step {origin.step}"]
    notes += [check_fit(name, model, here, common, differences) for name in shared]
    if missing:
        notes.append(f"{origin.run} does not hold {' and '.join(missing)}: random weights, as in any new run")
    say([note for note in notes if note])
    return {"run": origin.run, "step": origin.step}


def shared_tensors(nets: dict[str, nn.Module], tensors: dict[str, Tensor], origin: Origin) -> dict[str, Tensor]:
    """The tensors of these networks that a new run can take over: not what a rank has of its own."""
    left_out = rank_state_keys(nets) | (optional_state_keys(nets) - origin.nets.keys())
    own = {name: t for name, t in tensors.items() if name.partition(".")[0] in nets and name not in left_out}
    return {name: t for name, t in own.items() if not name.endswith(RUN_STATE_SUFFIX)}


def other_options(origin: Origin, model: Model, data: Data, here: dict[str, Tensor]) -> str:
    """What of the old run's options makes other networks for the data; nothing where they make the same."""
    if origin.model is None:
        return f"it is no run of {model_name(model)}"
    old, new = to_dict(origin.model), to_dict(model)
    nets = make_skeleton(partial(replace(model, **old).networks, data.shape, len(data.classes)))
    nets = {name: net for name, net in nets.items() if any(key.startswith(f"{name}.") for key in here)}
    shapes = {name: t.shape for name, t in shared_tensors(nets, nn.ModuleDict(nets).state_dict(), origin).items()}
    if shapes == {name: t.shape for name, t in here.items()}:
        return ""
    return f"it has {', '.join(f'{name}={value}' for name, value in old.items() if new[name] != value)}"


def check_fit(network: str, model: Model, here: dict[str, Tensor], common: set[str], unequal: dict[str, str]) -> str:
    """How many layers of a network carry over, where not all do; UserError where none does and the network is kept."""
    own = [name for name in here if name.startswith(f"{network}.")]
    layers, common_layers = set(map(layer_of, own)), {layer_of(name) for name in own if name in common}
    texts = [text for name, text in unequal.items() if name.startswith(f"{network}.")]
    if network not in model.training_only and not any(here[name].ndim > 1 for name in own if name in common):
        advice = "give the `size` and `channels` of that run, or leave out `init_from`"
        raise UserError(f"the networks do not fit: no layer of {network} does, {texts[0]}; {advice}")
    what = f"of {network} {len(common_layers)} of {len(layers)} layers carry over, the others are random"
    return f"{what}: {texts[0]}" if texts else ""


def layer_of(name: str) -> str:
    """The layer that a tensor of this name belongs to."""
    return name.rpartition(".")[0]
