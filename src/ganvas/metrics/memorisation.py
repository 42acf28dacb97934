"""Whether samples copy the training data."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ..errors import UserError
from .metric import Comparison, Entries, Number, Score, Terms, metric
from .neighbours import COPY_QUANTILE, Distances, copy_rate_slope, copy_threshold, distances_to, expected_copy_rate

RATE = Number(higher_is_better=None, high=1.0)
Features = Float[Tensor, "_ d"]
NO_TRAIN = "memorisation needs held-out examples besides the training data: train on data with a test split"


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
def compute(c: Comparison) -> Entries:
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
