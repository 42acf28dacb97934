"""Multilayer perceptrons between examples of any shape and vectors."""

from itertools import pairwise
from math import prod
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from ..model import Shape

Activation = Literal["relu", "leaky-relu", "tanh", "silu"]
Norm = Literal["batch", "layer", "none"]
PIECES = 5
"""linear pieces of a maxout unit"""


def mlp(
    sizes: list[int], *, norm: Norm = "none", activation: Activation | Literal["maxout"] = "relu", dropout: float = 0.0
) -> nn.Sequential:
    """Linear layers of these sizes; after each but the last normalisation, activation and dropout."""
    layers: list[nn.Module] = []
    pieces = PIECES if activation == "maxout" else 1
    for a, b in pairwise(sizes[:-1]):
        layers += [
            nn.Linear(a, b * pieces),
            *norm_layers(norm, b * pieces, nn.BatchNorm1d),
            activation_layer(activation),
        ]
        layers += [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))


def mlp_encoder(
    shape: Shape,
    out: int,
    width: int,
    depth: int,
    *,
    norm: Norm = "none",
    activation: Activation | Literal["maxout"] = "relu",
    dropout: float = 0.0,
) -> nn.Sequential:
    """(b, *shape) -> (b, out) through `depth` hidden layers of `width` units."""
    sizes = [prod(shape), *[width] * depth, out]
    return nn.Sequential(nn.Flatten(), *mlp(sizes, norm=norm, activation=activation, dropout=dropout))


def mlp_decoder(
    inputs: int, shape: Shape, width: int, depth: int, *, norm: Norm = "none", activation: Activation = "relu"
) -> nn.Sequential:
    """(b, inputs) -> (b, *shape) through `depth` hidden layers of `width` units."""
    layers = mlp([inputs, *[width] * depth, prod(shape)], norm=norm, activation=activation)
    return nn.Sequential(*layers, nn.Unflatten(1, shape))


def norm_layers(norm: Norm, features: int, batch_norm: type[nn.Module]) -> list[nn.Module]:
    """The normalisation of a layer with so many features (channels); group norm of one group is a map's layer norm."""
    match norm:
        case "none":
            return []
        case "batch":
            return [batch_norm(features)]
        case "layer":
            return [nn.GroupNorm(1, features)]


def activation_layer(name: Activation | Literal["maxout"]) -> nn.Module:
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
        case "maxout":
            return Maxout()


class Maxout(nn.Module):
    """The largest of five linear functions, for each unit.  Goodfellow et al., arXiv:1302.4389."""

    def forward(self, x: Float[Tensor, "b d_by_pieces"]) -> Float[Tensor, "b d"]:
        maximum: Tensor = x.unflatten(1, (-1, PIECES)).amax(2)
        return maximum
