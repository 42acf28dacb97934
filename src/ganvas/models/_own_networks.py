"""Networks of the user's own in place of a model's, e.g. `VAE(encoder=MyEncoder())`.

A run begins with a copy of the module as it is: its weights are not initialised anew.  The copy is trained, averaged
and stored like any network; the module itself stays as it was.  A file holds weights and no code, so `ganvas.load` and
`ganvas.resume` are given the modules again.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import InitVar, replace
from typing import Any, ClassVar

import torch
from pydantic import InstanceOf
from torch import Tensor, nn

from ..data import Dataset
from ..errors import UserError
from ..model import Batch, Model, Shape, model_name

OwnNetwork = InitVar[InstanceOf[nn.Module] | None]


class EncoderDecoder(Model[Dataset, Batch, Shape]):
    """A model whose encoder and decoder may be networks of the user's own."""

    own_network_names: ClassVar[tuple[str, ...]] = ("encoder", "decoder")
    encoder: OwnNetwork = None
    decoder: OwnNetwork = None


def own_networks(model: Model) -> dict[str, nn.Module]:
    """The user's own networks of a model, by the arguments that gave them."""
    return {name: net for name in model.own_network_names if (net := getattr(model, name)) is not None}


def class_names(model: Model) -> dict[str, str]:
    """What a run records of them: the names of their classes."""
    return {name: type(net).__name__ for name, net in own_networks(model).items()}


def copy_own_network(model: Model, name: str, inputs: Shape, outputs: Shape, why: str) -> nn.Sequential | None:
    """A copy of the network that the user gave as the argument `name`; None where there is none.

    UserError unless it maps b x inputs to b x outputs (`why` says what these are), and has parameters of its own.
    """
    networks = own_networks(model)
    if name not in networks:
        return None
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


def with_own_networks(model: Model, recorded: Mapping[str, str], networks: Mapping[str, Any], where: object) -> Model:
    """The model of a file with the networks that the file's run had of the user's own; UserError for any other."""
    if missing := ", ".join(f"{name}={cls}(...)" for name, cls in recorded.items() if name not in networks):
        raise UserError(
            f"{where} was trained with networks of your own, whose code no file holds: give them again in Python, "
            f"ganvas.load({str(where)!r}, {missing}), and to resume likewise"
        )
    if unknown := [name for name in networks if name not in recorded]:
        raise UserError(f"{where} was not trained with a network of your own as {', '.join(unknown)}: leave it out")
    return replace(model, **networks)
