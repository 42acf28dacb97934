"""What networks for vectors begin or end with: the units of the data, and features in which fine detail shows."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Units(nn.Module):
    """The mean and the deviation of each number of a vector, over the data: 0 and 1 until `of` has seen them."""

    mean: Tensor
    std: Tensor

    def __init__(self, d: int, domain: int = 0) -> None:
        super().__init__()
        self.domain = domain  # which of the collections that the model learns from: a translator has two
        self.register_buffer("mean", torch.zeros(d))
        self.register_buffer("std", torch.ones(d))

    @torch.no_grad()
    def of(self, x: Float[Tensor, "n d"]) -> None:
        """Take the units of n examples; a number that never changes keeps its own."""
        std = x.std(0, correction=0)
        self.mean.copy_(x.mean(0))
        self.std.copy_(torch.where(std > 0, std, torch.ones_like(std)))


class Standardized(Units):
    """x in units of the data: mean 0, deviation 1."""

    def forward(self, x: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
        return (x - self.mean) / self.std


class Restored(Units):
    """The inverse of `Standardized`."""

    def forward(self, x: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
        return x * self.std + self.mean


class Fourier(nn.Module):
    """x, and the sine and cosine of n random projections of it.

    An MLP learns what varies slowly first, and what varies fast, such as a density with narrow modes, hardly at all;
    of these features it does.  Frequencies are N(0, scale^2), in radians a unit.  Tancik et al., Fourier Features Let
    Networks Learn High Frequency Functions in Low Dimensional Domains, arXiv:2006.10739, section 5.
    """

    frequencies: Tensor

    def __init__(self, d: int, n: int, scale: float) -> None:
        super().__init__()
        self.register_buffer("frequencies", scale * torch.randn(d, n))

    def forward(self, x: Float[Tensor, "b d"]) -> Float[Tensor, "b d_and_2n"]:
        with torch.autocast(x.device.type, enabled=False):  # a phase of several turns needs all its digits
            phase = x @ self.frequencies
        return torch.cat([x, phase.sin(), phase.cos()], 1)
