"""Whether samples repeat each other."""

import torch
from jaxtyping import Float64
from torch import Tensor

from .metric import Comparison, Entries, Number, Score, Terms, metric
from .neighbours import NeighbourIndex, copy_rate_slope, copy_threshold


def duplicate_rate(real: NeighbourIndex, fake: NeighbourIndex) -> float:
    """Share of the generated examples with another one nearer than 99% of the real ones without duplicates have one.

    0.01 if they are alike, and more where real examples are few, or have duplicates.
    """
    return (fake.radii(1) < copy_threshold(real.radii(1))).double().mean().item()


def influence(real: NeighbourIndex, fake: NeighbourIndex) -> Terms:
    """Whether an example has a duplicate, and how many others have only it."""
    distances, fake_distances = real.radii(1), fake.radii(1)
    limit = copy_threshold(distances)
    terms = torch.where(distances > 0, duplicate_terms(real, limit), 0.0)  # duplicates have no part in the limit
    return -copy_rate_slope(distances, fake_distances) * terms, duplicate_terms(fake, limit)


def duplicate_terms(x: NeighbourIndex, limit: Tensor) -> Float64[Tensor, " n"]:
    """Whether each point has another one within the limit, and for how many it is the only one."""
    first, second = (x.nearest[1][:, :2] < limit).double().unbind(1)
    return first + x.sum_to_nearest(first - second)


@metric("duplicates", {"duplicate_rate": Number(higher_is_better=None, high=1.0)}, rank=6)
def compute(c: Comparison) -> Entries:
    real, fake = c.real.index, c.fake.index
    return iter([("duplicate_rate", Score(duplicate_rate(real, fake), lambda: influence(real, fake)))])
