"""What is the user's own: model classes, in a file or defined by the program, and networks, `VAE(encoder=MyEncoder())`.

A run of such a model records the file, its SHA-256 and the class, and keeps a copy of the file.  Nothing runs the copy:
code runs only if the user names its file.

A run with such a network begins with a copy of the module as it is: its weights are not initialised anew.  The copy is
trained, averaged and stored like any network; the module itself stays as it was.  A file holds weights and no code, so
`ganvas.load` and `ganvas.resume` are given the modules again.
"""

import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import MISSING, InitVar, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import InstanceOf
from torch import Tensor, nn

from ..data import Dataset
from ..errors import UserError
from ..fields import as_dataclass
from ..model import Batch, Model, Shape, model_name

OwnNetwork = InitVar[InstanceOf[nn.Module] | None]


class EncoderDecoder(Model[Dataset, Batch, Shape]):
    """A model whose encoder and decoder may be networks of the user's own."""

    own_network_names: ClassVar[tuple[str, ...]] = ("encoder", "decoder")
    encoder: OwnNetwork = None
    decoder: OwnNetwork = None


def own_model_classes() -> Iterator[type[Model]]:
    """Models that the user has defined in this process, the latest first."""

    def subclasses(cls: type[Model]) -> Iterator[type[Model]]:
        for sub in reversed(cls.__subclasses__()):
            yield from subclasses(sub)
            yield sub

    return (as_dataclass(cls) for cls in subclasses(Model) if is_own(cls))


def is_own(cls: type[Model]) -> bool:
    """Whether a model is the user's own, and not one of ours."""
    return cls.__module__.partition(".")[0] != "ganvas"


def load_model_class(reference: str) -> type[Model]:
    """The model class that "my_file.py:MyGAN" names.  This runs the file, so only ever pass what the user has typed."""
    file, _, name = reference.rpartition(":") if ".py:" in reference else (reference, "", "")
    path = Path(file).expanduser()
    if not path.is_file():
        raise UserError(f"{file}: no such file: name a file of yours and a model in it, e.g. my_model.py:MyModel")
    spec = importlib.util.spec_from_file_location(f"_own_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UserError(f"{file} is no Python file: its name has to end in .py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.resolve().parent))  # as for `python my_file.py`: it may import its neighbours
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UserError(f"{file} cannot be imported: {type(error).__name__}: {error}") from error
    members = vars(module).items()
    classes = {n: c for n, c in members if inspect.isclass(c) and issubclass(c, Model) and c.__module__ == spec.name}
    if name not in classes:
        known = ", ".join(f"{file}:{n}" for n in classes) or "no subclass of ganvas.Model"
        raise UserError(f"{reference} names no model: {file} has {known}")
    cls = as_dataclass(classes[name])
    if inspect.isabstract(cls):
        raise UserError(f"{reference} is not finished: it lacks {', '.join(sorted(cls.__abstractmethods__))}")
    if bare := [f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING]:
        raise UserError(f"{reference}: every option needs a default value, but {', '.join(bare)} has none")
    return cls


@cache
def model_source(cls: type[Model]) -> dict[str, str | None] | None:
    """Where a user's own model comes from, for the record: its file's name, SHA-256, and class; None for ours."""
    if not is_own(cls):
        return None
    path = source_file(cls)
    digest = None if path is None else hashlib.sha256(path.read_bytes()).hexdigest()
    return {"file": None if path is None else path.name, "class": cls.__name__, "sha256": digest}


def source_file(cls: type[Model]) -> Path | None:
    """The file that defines a class; None where it was typed at a prompt."""
    try:
        path = Path(inspect.getfile(cls))
    except (OSError, TypeError):
        return None
    return path if path.is_file() else None


def source_notes(model: Model, source: Mapping[str, Any] | None) -> list[str]:
    """That the file of a user's own model has changed since it was recorded as this source."""
    current = model_source(type(model))
    if not source or not current or source.get("sha256") == current["sha256"]:
        return []
    return [f"the file of {model_name(model)} has changed since this run was written: {current['file']}"]


def copy_own_network(model: Model, name: str, inputs: Shape, outputs: Shape, why: str) -> nn.Sequential:
    """A copy of the network that the user gave as the argument `name`.

    UserError unless it maps b x inputs to b x outputs (`why` says what these are), and has parameters of its own.
    """
    networks = model.own_networks
    title, examples = f"{model_name(model)}: {name}={type(networks[name]).__name__}", format_shape((2, *inputs))
    parameters = [p for net in networks.values() for _, p in net.named_parameters(remove_duplicate=False)]
    if len(parameters) != len(set(parameters)):  # which a file could not hold
        raise UserError(f"{model_name(model)}: {' and '.join(networks)} use a weight twice: give each its own")
    try:
        net = deepcopy(networks[name])
        device = next((p.device for p in net.parameters()), torch.device("cpu"))
        modes = [module.training for module in net.modules()]
        with torch.no_grad(), torch.random.fork_rng(devices=[]), device:
            result = net.eval()(torch.zeros(2, *inputs))
        for module, mode in zip(net.modules(), modes, strict=True):
            module.training = mode
    except Exception as error:  # whatever the user's code raises
        raise UserError(f"{title} fails on {examples}: {error}") from error
    shape = format_shape(result.shape) if isinstance(result, Tensor) else f"a {type(result).__name__}"
    if shape != (needed := format_shape((2, *outputs))):
        raise UserError(f"{title} returns {shape} for {examples}, but {needed} is needed: {why}")
    if not any(p.requires_grad for p in net.parameters()):
        raise UserError(f"{title} has no parameters that training could change")
    return nn.Sequential(net)


def format_shape(shape: Shape) -> str:
    return "x".join(map(str, shape))


def with_own_networks(model: Model, classes: Mapping[str, str], networks: Mapping[str, Any], where: object) -> Model:
    """The model of a file with the networks that the file's run had of the user's own; UserError for any other."""
    if missing := ", ".join(f"{name}={cls}(...)" for name, cls in classes.items() if name not in networks):
        raise UserError(
            f"{where} was trained with networks of your own, whose code no file holds: give them again in Python, "
            f"ganvas.load({str(where)!r}, {missing}), and to resume likewise"
        )
    if unknown := [name for name in networks if name not in classes]:
        raise UserError(f"{where} was not trained with a network of your own as {', '.join(unknown)}: leave it out")
    return replace(model, **networks)
