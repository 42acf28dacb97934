"""Maximum mean discrepancies, kernel distances of two sets: of features the KID, if they are those of Inception."""

from collections.abc import Callable
from math import inf
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ..errors import UserError
from .likelihood import mean_and_error
from .metric import Comparison, Entries, Number, Score, Terms, metric

MAX_BLOCK_SIZE = 1000
"""examples in each block, at most"""
MIN_BLOCKS = 10
MIN_EXAMPLES = 2 * MIN_BLOCKS  # of each set
ROWS_PER_CHUNK = 1000
"""examples whose kernel to all others is held at once"""
Kernel = Callable[[Tensor, Tensor], Tensor]
Rows = Float64[Tensor, "_ d"]
PerExample = Float64[Tensor, " _"]


class Discrepancy(NamedTuple):
    """An unbiased squared discrepancy, below 0 by chance, and the influence terms of either set's examples."""

    value: float
    a_terms: PerExample
    b_terms: PerExample


def mmd(a: Float[Tensor, "n d"], b: Float[Tensor, "m d"], kernel: Kernel) -> Discrepancy:
    """The unbiased estimate (Gretton et al., JMLR 13 (2012), equation 3); the terms are a U-statistic's."""
    a, b = a.double(), b.double()
    within_a, within_b = (kernel_sums(x, x, kernel, exclude_self=True)[0] / (len(x) - 1) for x in (a, b))
    sums_a, sums_b = kernel_sums(a, b, kernel)
    cross_a, cross_b = sums_a / len(b), sums_b / len(a)
    value = within_a.mean() + within_b.mean() - 2 * cross_a.mean()
    return Discrepancy(value.item(), 2 * (within_a - cross_a), 2 * (within_b - cross_b))


def kernel_sums(a: Rows, b: Rows, kernel: Kernel, *, exclude_self: bool = False) -> tuple[PerExample, PerExample]:
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


def kernel_distance(a: Float[Tensor, "n d"], b: Float[Tensor, "n d"]) -> Float64[Tensor, " blocks"]:
    """Unbiased squared maximum mean discrepancies with the kernel (x.y / d + 1)^3, of disjoint blocks of examples.

    Their mean is the KID if the features are those of Inception (Binkowski et al., arXiv:1801.01401, section 4), and
    as the blocks are independent, their deviation over the root of their number is its standard error.  A block has
    1,000 examples of each set, or a tenth of them where that is less.
    """
    return torch.tensor([block.value for block in block_discrepancies(a, b)], dtype=torch.float64)


def block_discrepancies(a: Float[Tensor, "n d"], b: Float[Tensor, "n d"]) -> list[Discrepancy]:
    """The discrepancy of each block; UserError where the sets do not fit, or are too small."""
    if a.shape[1] != b.shape[1]:
        raise UserError(f"features of {a.shape[1]} and of {b.shape[1]} numbers have no kernel distance: give as many")
    if len(a) != len(b):
        raise UserError(f"kid needs as many examples of one as of the other, and has {len(a)} and {len(b)}")
    if len(a) < MIN_EXAMPLES:
        raise UserError(f"kid needs at least {MIN_EXAMPLES} examples of each to be compared, and has {len(a)}")
    size = min(MAX_BLOCK_SIZE, len(a) // MIN_BLOCKS)
    n_used = len(a) // size * size
    return [mmd(x, y, polynomial_kernel) for x, y in zip(a[:n_used].split(size), b[:n_used].split(size), strict=True)]


def kernel_score(real: Float[Tensor, "n d"], fake: Float[Tensor, "n d"]) -> Score:
    """The mean over blocks, with its standard error."""
    blocks = block_discrepancies(real, fake)
    value, error = mean_and_error(torch.tensor([block.value for block in blocks], dtype=torch.float64))

    def influence() -> Terms:
        a, b = (torch.cat([t - t.mean() for t in terms]) for terms in tuple(zip(*blocks, strict=True))[1:])
        n, unused = len(real), a.new_zeros(len(real) - len(a))
        return torch.cat([a, unused]) * (n / len(a)), torch.cat([b, unused]) * (n / len(b))

    return Score(value, influence, error)


@metric("kid", {"kid": Number(higher_is_better=False, low=-inf)}, rank=2)
def compute(c: Comparison) -> Entries:
    return iter([("kid", kernel_score(c.real.features, c.fake.features))])
