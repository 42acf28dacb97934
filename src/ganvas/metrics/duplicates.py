"""Whether samples repeat each other."""

from collections.abc import Iterator

import torch
from jaxtyping import Float64
from torch import Tensor

from .metric import Comparison, Entry, Metric, Number, Score, Terms
from .neighbours import NeighbourIndex, copy_rate_slope, copy_threshold


def duplicate_rate(real: NeighbourIndex, fake: NeighbourIndex) -> float:
    """Share of the generated examples with another one nearer than 99% of the real ones that have no double have one.

    0.01 if they are alike, and more where real examples are few, or have doubles.
    """
    return (fake.radii(1) < copy_threshold(real.radii(1))).double().mean().item()


def influence(real: NeighbourIndex, fake: NeighbourIndex) -> Terms:
    """What an example's own double counts, and how many others have it as their only one."""
    real_distances, fake_distances = real.radii(1), fake.radii(1)
    limit = copy_threshold(real_distances)
    real_terms = torch.where(real_distances > 0, double_terms(real, limit), 0.0)  # doubles have no part in the limit
    return -copy_rate_slope(real_distances, fake_distances) * real_terms, double_terms(fake, limit)


def double_terms(x: NeighbourIndex, limit: Tensor) -> Float64[Tensor, " n"]:
    """Whether each point has another one within the limit, and for how many it is the only one."""
    first, second = (x.nearest[1][:, :2] < limit).double().unbind(1)
    return first + x.sum_to_nearest(first - second)


def compute(c: Comparison) -> Iterator[tuple[str, Entry]]:
    """The share of samples that have another just like them."""
    real, fake = c.real.index, c.fake.index
    yield "duplicate_rate", Score(duplicate_rate(real, fake), lambda: influence(real, fake))


DUPLICATES = Metric("duplicates", {"duplicate_rate": Number(higher_is_better=None, high=1.0)}, compute, rank=6)
