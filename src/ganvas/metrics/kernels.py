"""Maximum mean discrepancies: kernel distances of two sets of examples."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor

ROWS_PER_CHUNK = 1000
"""examples whose kernel to all others is held at once"""
Kernel = Callable[[Tensor, Tensor], Tensor]


class Discrepancy(NamedTuple):
    """An unbiased squared discrepancy, below 0 by chance, and the influence terms of either set's examples."""

    value: float
    a_terms: Float64[Tensor, " n"]
    b_terms: Float64[Tensor, " m"]


def mmd(a: Float[Tensor, "n d"], b: Float[Tensor, "m d"], kernel: Kernel) -> Discrepancy:
    """The unbiased estimate (Gretton et al., JMLR 13 (2012), equation 3); the terms are a U-statistic's."""
    a, b = a.double(), b.double()
    within_a, within_b = (kernel_sums(x, x, kernel, exclude_self=True)[0] / (len(x) - 1) for x in (a, b))
    sums_a, sums_b = kernel_sums(a, b, kernel)
    cross_a, cross_b = sums_a / len(b), sums_b / len(a)
    value = within_a.mean() + within_b.mean() - 2 * cross_a.mean()
    return Discrepancy(value.item(), 2 * (within_a - cross_a), 2 * (within_b - cross_b))


def kernel_sums(
    a: Float64[Tensor, "n d"], b: Float64[Tensor, "m d"], kernel: Kernel, *, exclude_self: bool = False
) -> tuple[Float64[Tensor, " n"], Float64[Tensor, " m"]]:
    """The kernel's sum over b for each of a, and over a for each of b; `exclude_self` if both are one set."""
    a_sums, b_sums = [], b.new_zeros(len(b))
    for i in range(0, len(a), ROWS_PER_CHUNK):
        values = kernel(a[i : i + ROWS_PER_CHUNK], b)
        if exclude_self:
            values.diagonal(i).zero_()
        a_sums.append(values.sum(1))
        b_sums += values.sum(0)
    return torch.cat(a_sums), b_sums


def polynomial_kernel(x: Tensor, y: Tensor) -> Tensor:
    """(x.y / d + 1)^3."""
    return (x @ y.mT / x.shape[1] + 1).pow(3)


def energy_kernel(x: Tensor, y: Tensor) -> Tensor:
    """-|x - y|, whose discrepancy is the square of the energy distance."""
    return -torch.cdist(x, y)
