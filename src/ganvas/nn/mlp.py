"""Multilayer perceptrons between vectors, and features in which fine detail of vectors shows."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

Activation = Literal["relu", "leaky-relu", "tanh", "silu"]
AnyActivation = Activation | Literal["maxout"]
Norm = Literal["batch", "layer", "none"]
DecoderNorm = Norm | Literal["modulated"]
"""modulated is batch norm by the decoder's own input: see modulation.py"""
PIECES = 5
"""linear pieces of a maxout unit"""


def mlp(
    sizes: list[int], *, norm: Norm = "none", activation: AnyActivation = "relu", dropout: float = 0.0
) -> nn.Sequential:
    """Linear layers of these sizes; after each but the last normalisation, activation and dropout."""
    layers: list[nn.Module] = []
    pieces = PIECES if activation == "maxout" else 1
    for a, b in pairwise(sizes[:-1]):
        layers += [nn.Linear(a, b * pieces), *norm_activation(norm, activation, b * pieces, nn.BatchNorm1d)]
        layers += [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))


class Maxout(nn.Module):
    """The largest of five linear functions, for each unit.  Goodfellow et al., arXiv:1302.4389."""

    def forward(self, x: Float[Tensor, "b d_by_pieces"]) -> Float[Tensor, "b d"]:
        return torch.amax(x.unflatten(1, (-1, PIECES)), 2)


ACTIVATIONS: dict[AnyActivation, Callable[[], nn.Module]] = {
    "relu": partial(nn.ReLU, inplace=True), "leaky-relu": partial(nn.LeakyReLU, 0.2, inplace=True), "tanh": nn.Tanh,
    "silu": nn.SiLU, "maxout": Maxout,
}  # fmt: skip
"""rectifiers work in place, since their input is always a layer's own output"""


def norm_activation(norm: Norm, activation: AnyActivation, n: int, batch_norm: type[nn.Module]) -> list[nn.Module]:
    """What follows a layer with n features (channels); group norm of one group is a map's layer norm."""
    layers = [] if norm == "none" else [batch_norm(n) if norm == "batch" else nn.GroupNorm(1, n)]
    return [*layers, ACTIVATIONS[activation]()]


class FourierFeatures(nn.Module):
    """x, and the sine and cosine of n random projections of it.

    An MLP learns what varies slowly first, and hardly learns what varies fast, e.g. a density with narrow modes; from
    these features it does.  Frequencies are N(0, scale^2), in radians a unit.  Tancik et al., Fourier Features Let
    Networks Learn High Frequency Functions in Low Dimensional Domains, arXiv:2006.10739, section 5.
    """

    frequencies: Tensor

    def __init__(self, d: int, n: int, scale: float) -> None:
        super().__init__()
        self.register_buffer("frequencies", scale * torch.randn(d, n))

    def forward(self, x: Float[Tensor, "b d"]) -> Float[Tensor, "b d_and_2n"]:
        with torch.autocast(x.device.type, enabled=False):  # a phase of several turns needs all its digits
            phase = x.to(self.frequencies.dtype) @ self.frequencies
        return torch.cat([x, phase.sin(), phase.cos()], 1)
