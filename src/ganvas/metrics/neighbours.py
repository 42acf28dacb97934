"""What the nearest neighbours of generated and of real examples tell, on features.

Distances are Euclidean, computed in blocks: memory does not grow with the number of pairs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from ..errors import UserError

ROWS = 1000
"""examples whose distances to all others are held at once"""
NUMBERS = 2**25
"""distances that are held at once, at most"""
K = 5
"""neighbours that make an example's ball"""
RARE = 0.01
"""share of real examples that are nearer to others, or to the training data, than what counts as a copy"""


def distances(a: Float64[Tensor, "b d"], b: Float64[Tensor, "m d"]) -> Float64[Tensor, "b m"]:
    """Euclidean distances; by a matrix product, so two that are equal may be 1e-7 of their size apart."""
    return torch.cdist(a, b, compute_mode="use_mm_for_euclid_dist")


@dataclass(frozen=True, eq=False)
class Points:
    """Examples in float64, with what is found out about them once."""

    x: Float64[Tensor, "n d"]
    k: int = K
    """how many neighbours are looked for"""

    @cached_property
    def own(self) -> Float64[Tensor, "n k"]:
        """The distances from each example to its k nearest others, or to all where they are fewer, in order."""
        found = []
        k = min(self.k, len(self.x) - 1)
        for i, part in in_blocks(self.x, len(self.x)):
            far = distances(part, self.x)
            rows = torch.arange(len(far))
            far[rows, i + rows] = -1  # itself, first for certain
            found.append(far.topk(k + 1, largest=False).values[:, 1:])
        return torch.cat(found)

    def radii(self, k: int) -> Float64[Tensor, " n"]:
        """The distance from each example to its k-th nearest other."""
        if len(self.x) <= k:
            raise UserError(f"{len(self.x)} examples have no {k} neighbours each: give more")
        return self.own[:, k - 1]


def points(*sets: Float[Tensor, "_ d"], k: int = K) -> list[Points]:
    """The sets, moved together to where the first has its mean, which keeps matrix products accurate."""
    origin = sets[0].double().mean(0)
    return [Points(x.double() - origin, k) for x in sets]


def in_blocks(x: Tensor, others: int) -> Iterator[tuple[int, Tensor]]:
    """Blocks of x, each with the number of its first example, whose distances to so many others are held at once."""
    size = max(1, min(ROWS, NUMBERS // max(1, others)))
    return ((i, x[i : i + size]) for i in range(0, len(x), size))


def nearest(
    a: Float64[Tensor, "n d"], b: Float64[Tensor, "m d"]
) -> tuple[Float64[Tensor, " n"], Float64[Tensor, " m"]]:
    """The distance from each example of `a` to the nearest of `b`, and from each of `b` to the nearest of `a`."""
    of_a, of_b = [], b.new_full((len(b),), torch.inf)
    for _, part in in_blocks(a, len(b)):
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
    return coverage(*points(real, made, k=k))


def coverage(real: Points, made: Points) -> Coverage:
    """The terms of precision, recall, density and coverage."""
    x, y, k = real.x, made.x, real.k
    of_real, of_made = real.radii(k), made.radii(k)
    inside = torch.zeros(len(y), dtype=torch.float64)
    recalled, covered = [], []
    for i, part in in_blocks(x, len(y)):
        far = distances(part, y)
        holds = far < of_real[i : i + len(part), None]
        inside += holds.sum(0)
        recalled.append((far < of_made).any(1))
        covered.append(holds.any(1))
    return Coverage(inside > 0, torch.cat(recalled), inside / k, torch.cat(covered))


def two_sample_accuracy(real: Float[Tensor, "n d"], made: Float[Tensor, "n d"]) -> tuple[float, float]:
    """Share of the real, and of the generated examples, whose nearest other example is of their own set.

    The leave-one-out 1-nearest-neighbour classifier of Lopez-Paz & Oquab, arXiv:1610.06545: 0.5 both where the sets
    cannot be told apart, 1 where they can; higher for generated than for real ones where samples vary less than data.
    """
    return told_apart(*points(real, made, k=1))


def told_apart(real: Points, made: Points) -> tuple[float, float]:
    """The two shares of `two_sample_accuracy`."""
    to_made, to_real = nearest(real.x, made.x)
    return (real.radii(1) < to_made).double().mean().item(), (made.radii(1) < to_real).double().mean().item()


class Copying(NamedTuple):
    """How near generated examples are to the training data, compared with held-out real ones."""

    nearer: float
    """probability that a generated example is nearer to them than a held-out one: 0.5 if they are alike"""
    memorised: float
    """share that is nearer to them than 99% of the held-out examples: 0.01 if they are alike"""


def copying(train: Float[Tensor, "n d"], held_out: Float[Tensor, "m d"], made: Float[Tensor, "k d"]) -> Copying:
    """Whether samples copy the training data, by the test of Meehan et al., arXiv:2004.05675, section 3."""
    reference, real, fake = (part.x for part in points(train, held_out, made))
    usual, found = nearest(real, reference)[0].sort().values, nearest(fake, reference)[0]
    below, upto = (torch.searchsorted(usual, found, right=side) / len(usual) for side in (False, True))
    return Copying(1 - ((below + upto) / 2).mean().item(), (found < usual.quantile(RARE)).double().mean().item())


def duplicates(real: Float[Tensor, "n d"], made: Float[Tensor, "m d"]) -> float:
    """Share of the generated examples with another one nearer than real ones have in 99% of cases: 0.01 if alike."""
    return doubles(*points(real, made, k=1))


def doubles(real: Points, made: Points) -> float:
    """The share of `duplicates`."""
    return (made.radii(1) < real.radii(1).quantile(RARE)).double().mean().item()
