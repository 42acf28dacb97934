"""Multilayer perceptrons between examples of any shape and vectors."""

from itertools import pairwise
from math import prod
from typing import Literal

from torch import nn

from ..model import Shape

Activation = Literal["relu", "leaky-relu", "tanh", "silu"]


def mlp(sizes: list[int], *, norm: bool = False, activation: Activation = "relu") -> nn.Sequential:
    """Linear layers of these sizes, an activation after each but the last."""
    layers: list[nn.Module] = []
    for a, b in pairwise(sizes[:-1]):
        layers += [nn.Linear(a, b), *([nn.BatchNorm1d(b)] if norm else []), nonlinearity(activation)]
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))


def mlp_encoder(
    shape: Shape, out: int, width: int, depth: int, *, norm: bool = False, activation: Activation = "relu"
) -> nn.Sequential:
    """(b, *shape) -> (b, out) through `depth` hidden layers of `width` units."""
    return nn.Sequential(nn.Flatten(), *mlp([prod(shape), *[width] * depth, out], norm=norm, activation=activation))


def mlp_decoder(
    inputs: int, shape: Shape, width: int, depth: int, *, norm: bool = False, activation: Activation = "relu"
) -> nn.Sequential:
    """(b, inputs) -> (b, *shape) through `depth` hidden layers of `width` units."""
    layers = mlp([inputs, *[width] * depth, prod(shape)], norm=norm, activation=activation)
    return nn.Sequential(*layers, nn.Unflatten(1, shape))


def nonlinearity(name: Activation) -> nn.Module:
    """The activation of this name; rectifiers work in place, since their input is always a layer's own output."""
    match name:
        case "relu":
            return nn.ReLU(inplace=True)
        case "leaky-relu":
            return nn.LeakyReLU(0.2, inplace=True)
        case "tanh":
            return nn.Tanh()
        case "silu":
            return nn.SiLU()
