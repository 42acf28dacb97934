"""Whether samples copy the training data, or each other."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ..errors import UserError
from .metric import Comparison, Entries, Number, Score, Terms, metric
from .neighbours import Distances, NeighbourIndex, distances_to

COPY_QUANTILE = 0.01
"""share of real examples that are nearer to others, or to the training data, than what counts as a copy"""
DENSITY_WINDOW = 0.5
"""how much more and less than `COPY_QUANTILE` the share is between which a density at that quantile is estimated"""
RATE = Number(higher_is_better=None, high=1.0)
Features = Float[Tensor, "_ d"]
NO_TRAIN = "memorisation needs held-out examples besides the training data: train on data with a test split"


def copy_threshold(real: Distances) -> Float64[Tensor, ""]:
    """The distance below which lie 1% of those between real examples that differ.

    Duplicates, at distance 0, do not count: where they are 1% of the data or more, nothing would be below, and no copy
    would be noticed.  They are below the threshold themselves, real ones and generated ones.
    """
    nonzero = real[real > 0]
    return nonzero.quantile(COPY_QUANTILE) if len(nonzero) else real.new_tensor(torch.finfo(real.dtype).tiny)


def expected_copy_rate(real: Distances) -> float:
    """The share of further real examples that are below `copy_threshold`: of duplicates, and of those that differ.

    The quantile of m distances is the (1 + 0.01 (m - 1))-th of them in order, counted in fractions, and one more
    distance is equally likely to be in any of the m + 1 places.
    """
    duplicate_share, m = (real == 0).double().mean().item(), int((real > 0).sum())
    return duplicate_share + (1 - duplicate_share) * (1 + COPY_QUANTILE * (m - 1)) / (m + 1)


def copy_rate_slope(real: Distances, fake: Distances) -> float:
    """How fast the share of fakes below a quantile of nonzero real distances grows with it, at `COPY_QUANTILE`."""
    nonzero = real[real > 0]
    if not len(nonzero):
        return 0.0
    low, high = (nonzero.quantile(COPY_QUANTILE * (1 + d)) for d in (-DENSITY_WINDOW, DENSITY_WINDOW))
    share = ((fake >= low) & (fake < high)).double().mean() / (2 * DENSITY_WINDOW * COPY_QUANTILE)
    return (share * len(real) / len(nonzero)).item()


class MemorisationTest(NamedTuple):
    """How near generated examples are to the training data, compared with held-out real ones."""

    nearer: Score
    """probability that a generated example is nearer to them than a held-out one: 0.5 if they are alike"""
    memorised: Score
    """share that is nearer to them than 99% of the held-out examples that are not among them"""
    expected: float
    """what `memorised` is if they are alike: 0.01, or more where held-out examples are few, or among them"""


def memorisation_test(train: Features, held_out: Features, generated: Features) -> MemorisationTest:
    """Whether samples copy the training data, by the test of Meehan et al., arXiv:2004.05675, section 3."""
    return copy_scores(distances_to(held_out, train), distances_to(generated, train))


def copy_scores(real: Distances, fake: Distances) -> MemorisationTest:
    """The test, from the distances of held-out and of generated examples to the training data."""
    nearer, limit = 1 - midranks(fake, real), copy_threshold(real)
    is_copy = (fake < limit).double()

    def influence() -> Terms:
        below = ((real > 0) & (real < limit)).double() - COPY_QUANTILE * (real > 0)
        return -copy_rate_slope(real, fake) * below, is_copy

    score = Score(nearer.mean().item(), lambda: (midranks(real, fake), nearer))
    return MemorisationTest(score, Score(is_copy.mean().item(), influence), expected_copy_rate(real))


def midranks(a: Float64[Tensor, " n"], reference: Float64[Tensor, " m"]) -> Float64[Tensor, " n"]:
    """The share of `reference` that is less than each of `a`, those that are equal counted half."""
    ordered = reference.sort().values
    below, upto = (torch.searchsorted(ordered, a, right=side) for side in (False, True))
    return (below + upto).double() / (2 * len(reference))


@metric("memorisation", {"nearer_to_training": RATE, "memorisation_rate": RATE}, needs="training", rank=5)
def measure_memorisation(c: Comparison) -> Entries:
    """The noise floor follows from the definition; of models with different training data it is the largest."""
    if not c.fake.training:
        raise UserError(NO_TRAIN)
    real = [c.real.derive(distances_to, train) for train in c.fake.training]
    if c.fake.is_floor:
        nearer, memorised = Score(0.5), Score(max(map(expected_copy_rate, real)))
    else:
        (train,), (distances,) = c.fake.training, real
        nearer, memorised, _ = copy_scores(distances, c.fake.derive(distances_to, train))
    return iter([("nearer_to_training", nearer), ("memorisation_rate", memorised)])


def duplicate_rate(real: NeighbourIndex, fake: NeighbourIndex) -> float:
    """Share of the generated examples with another one nearer than 99% of the real ones without duplicates have one.

    0.01 if they are alike, and more where real examples are few, or have duplicates.
    """
    return (fake.radii(1) < copy_threshold(real.radii(1))).double().mean().item()


def duplicate_terms(x: NeighbourIndex, limit: Tensor) -> Float64[Tensor, " n"]:
    """Whether each point has another one within the limit, and for how many it is the only one."""
    first, second = (x.nearest[1][:, :2] < limit).double().unbind(1)
    return first + x.sum_to_nearest(first - second)


@metric("duplicates", {"duplicate_rate": RATE}, rank=6)
def measure_duplicates(c: Comparison) -> Entries:
    real, fake = c.real.index, c.fake.index

    def influence() -> Terms:
        """Whether an example has a duplicate, and how many others have only it."""
        distances, limit = real.radii(1), copy_threshold(real.radii(1))
        terms = torch.where(distances > 0, duplicate_terms(real, limit), 0.0)  # duplicates have no part in the limit
        return -copy_rate_slope(distances, fake.radii(1)) * terms, duplicate_terms(fake, limit)

    return iter([("duplicate_rate", Score(duplicate_rate(real, fake), influence))])
