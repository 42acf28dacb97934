"""What the nearest neighbours of generated and of real examples tell, on features.

Distances are Euclidean, computed in blocks: memory does not grow with the number of pairs.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from ..errors import UserError

ROWS = 1000
"""examples whose distances to all others are held at once"""
K = 5
"""neighbours that make an example's ball"""
RARE = 0.01
"""share of real examples that are nearer to others, or to the training data, than what counts as a copy"""


def distances(a: Float64[Tensor, "b d"], b: Float64[Tensor, "m d"]) -> Float64[Tensor, "b m"]:
    """Euclidean distances; by a matrix product, so two that are equal may be 1e-7 of their size apart."""
    return torch.cdist(a, b, compute_mode="use_mm_for_euclid_dist")


def prepared(*sets: Float[Tensor, "_ d"]) -> list[Float64[Tensor, "_ d"]]:
    """The sets in float64, moved together to where the first has its mean, which keeps matrix products accurate."""
    origin = sets[0].double().mean(0)
    return [x.double() - origin for x in sets]


def ball_radii(x: Float64[Tensor, "n d"], k: int) -> Float64[Tensor, " n"]:
    """The distance from each example to its k-th nearest other."""
    if len(x) <= k:
        raise UserError(f"{len(x)} examples have no {k} neighbours each: give more")
    found = []
    for i in range(0, len(x), ROWS):
        far = distances(x[i : i + ROWS], x)
        rows = torch.arange(len(far))
        far[rows, i + rows] = -1  # itself, first for certain
        found.append(far.kthvalue(k + 1, dim=1).values)
    return torch.cat(found)


def nearest(
    a: Float64[Tensor, "n d"], b: Float64[Tensor, "m d"]
) -> tuple[Float64[Tensor, " n"], Float64[Tensor, " m"]]:
    """The distance from each example of `a` to the nearest of `b`, and from each of `b` to the nearest of `a`."""
    of_a, of_b = [], b.new_full((len(b),), torch.inf)
    for part in a.split(ROWS):
        far = distances(part, b)
        of_a.append(far.amin(1))
        of_b = torch.minimum(of_b, far.amin(0))
    return torch.cat(of_a), of_b


class Coverage(NamedTuple):
    """Terms whose means are the four numbers: one for each generated example, or for each real one."""

    precision: Bool[Tensor, " n"]
    """whether each generated example lies in the ball of a real one"""
    recall: Bool[Tensor, " m"]
    """whether each real example lies in the ball of a generated one"""
    density: Float64[Tensor, " n"]
    """in how many balls of real examples each generated one lies, divided by k"""
    coverage: Bool[Tensor, " m"]
    """whether the ball of each real example holds a generated one"""


def precision_recall(real: Float[Tensor, "m d"], made: Float[Tensor, "n d"], k: int = K) -> Coverage:
    """Improved precision and recall, density and coverage; a ball reaches to the k-th nearest of its own set.

    Kynkaanniemi et al., arXiv:1904.06991, equations 1 and 2; Naeem et al., arXiv:2002.09797, equations 4 and 5.
    """
    x, y = prepared(real, made)
    of_real, of_made = ball_radii(x, k), ball_radii(y, k)
    inside = torch.zeros(len(y), dtype=torch.float64)
    recalled, covered = [], []
    for i, part in zip(range(0, len(x), ROWS), x.split(ROWS), strict=True):
        far = distances(part, y)
        holds = far < of_real[i : i + ROWS, None]
        inside += holds.sum(0)
        recalled.append((far < of_made).any(1))
        covered.append(holds.any(1))
    return Coverage(inside > 0, torch.cat(recalled), inside / k, torch.cat(covered))


def two_sample_accuracy(real: Float[Tensor, "n d"], made: Float[Tensor, "n d"]) -> tuple[float, float]:
    """Share of the real, and of the generated examples, whose nearest other example is of their own set.

    The leave-one-out 1-nearest-neighbour classifier of Lopez-Paz & Oquab, arXiv:1610.06545: 0.5 both where the sets
    cannot be told apart, 1 where they can; higher for generated than for real ones where samples vary less than data.
    """
    x, y = prepared(real, made)
    to_y, to_x = nearest(x, y)
    return (ball_radii(x, 1) < to_y).double().mean().item(), (ball_radii(y, 1) < to_x).double().mean().item()


class Copying(NamedTuple):
    """How near generated examples are to the training data, compared with held-out real ones."""

    nearer: float
    """probability that a generated example is nearer to them than a held-out one: 0.5 if they are alike"""
    memorised: float
    """share that is nearer to them than 99% of the held-out examples: 0.01 if they are alike"""


def copying(train: Float[Tensor, "n d"], held_out: Float[Tensor, "m d"], made: Float[Tensor, "k d"]) -> Copying:
    """Whether samples copy the training data, by the test of Meehan et al., arXiv:2004.05675, section 3."""
    reference, real, fake = prepared(train, held_out, made)
    usual, found = nearest(real, reference)[0].sort().values, nearest(fake, reference)[0]
    below, upto = (torch.searchsorted(usual, found, right=side) / len(usual) for side in (False, True))
    return Copying(1 - ((below + upto) / 2).mean().item(), (found < usual.quantile(RARE)).double().mean().item())


def duplicates(real: Float[Tensor, "n d"], made: Float[Tensor, "m d"]) -> float:
    """Share of the generated examples with another one nearer than real ones have in 99% of cases: 0.01 if alike."""
    x, y = prepared(real, made)
    return (ball_radii(y, 1) < ball_radii(x, 1).quantile(RARE)).double().mean().item()
