"""Multilayer perceptrons between examples of any shape and vectors."""

from itertools import pairwise
from math import prod

from torch import nn

from ..model import Shape


def mlp(sizes: list[int], *, norm: bool = False, leak: float = 0.0) -> nn.Sequential:
    """Linear layers of these sizes, a rectifier after each but the last."""
    layers: list[nn.Module] = []
    for a, b in pairwise(sizes[:-1]):
        layers += [nn.Linear(a, b), *([nn.BatchNorm1d(b)] if norm else []), rectifier(leak)]
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))


def mlp_encoder(
    shape: Shape, out: int, width: int, depth: int, *, norm: bool = False, leak: float = 0.0
) -> nn.Sequential:
    """(b, *shape) -> (b, out) through `depth` hidden layers of `width` units."""
    return nn.Sequential(nn.Flatten(), *mlp([prod(shape), *[width] * depth, out], norm=norm, leak=leak))


def mlp_decoder(
    inputs: int, shape: Shape, width: int, depth: int, *, norm: bool = False, leak: float = 0.0
) -> nn.Sequential:
    """(b, inputs) -> (b, *shape) through `depth` hidden layers of `width` units."""
    layers = mlp([inputs, *[width] * depth, prod(shape)], norm=norm, leak=leak)
    return nn.Sequential(*layers, nn.Unflatten(1, shape))


def rectifier(leak: float) -> nn.Module:
    """max(x, leak x), in place: its input is always a layer's own output."""
    return nn.LeakyReLU(leak, inplace=True) if leak else nn.ReLU(inplace=True)
