"""What the nearest neighbours of generated and of real examples tell, on features.

Distances are Euclidean, computed in blocks: memory does not grow with the number of pairs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float64, Int64
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
SAME = 1e-5
"""distance, as a share of their size, at which two examples are one: networks' features have noise of 1e-6"""


def distances(a: Float64[Tensor, "b d"], b: Float64[Tensor, "m d"]) -> Float64[Tensor, "b m"]:
    """Euclidean distances; by a matrix product, so two that are equal may be 1e-7 of their size apart."""
    return torch.cdist(a, b, compute_mode="use_mm_for_euclid_dist")


def rounding(x: Float64[Tensor, "n d"]) -> Float64[Tensor, " n"]:
    """How far from each example others may be that are the same."""
    size: Tensor = x.norm(dim=1)
    return SAME * size


def settled(far: Float64[Tensor, "n *k"], x: Float64[Tensor, "n d"]) -> Float64[Tensor, "n *k"]:
    """Distances from each of x, 0 where they are but rounding: so two that are the same are found to be that."""
    near = rounding(x).view(-1, *(1,) * (far.ndim - 1))
    return torch.where(far <= near, 0.0, far)


def rare(usual: Float64[Tensor, " n"]) -> Float64[Tensor, ""]:
    """The distance below which lie 1% of those that are usual between examples that differ.

    Exact doubles, at distance 0, do not count: where they are 1% of the data or more, nothing would be below, and no
    copy would be seen.  They are below the limit themselves, among real examples as among generated ones.
    """
    apart = usual[usual > 0]
    return apart.quantile(RARE) if len(apart) else usual.new_tensor(torch.finfo(usual.dtype).tiny)


def expected(usual: Float64[Tensor, " n"]) -> float:
    """The share of further real examples that are below the limit of `rare`: of doubles, and of those that differ.

    Of m distances the quantile lies between two in order, the (1 + 0.01 (m - 1))-th of them and the next if counted in
    fractions, and one more distance is equally likely to be in any of the m + 1 places.
    """
    doubles, m = (usual == 0).double().mean().item(), int((usual > 0).sum())
    return doubles + (1 - doubles) * (1 + RARE * (m - 1)) / (m + 1)


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
            found.append(settled(far.topk(k + 1, largest=False).values[:, 1:], part))
        return torch.cat(found)

    @cached_property
    def two(self) -> tuple[Int64[Tensor, "n 2"], Float64[Tensor, "n 2"]]:
        """Which two others are nearest to each example, and how far they are."""
        found = []
        for i, part in in_blocks(self.x, len(self.x)):
            far = distances(part, self.x)
            far.diagonal(i).fill_(torch.inf)
            found.append(far.topk(2, largest=False))
        return torch.cat([f.indices for f in found]), settled(torch.cat([f.values for f in found]), self.x)

    def radii(self, k: int) -> Float64[Tensor, " n"]:
        """The distance from each example to its k-th nearest other."""
        if len(self.x) <= k:
            raise UserError(f"{len(self.x)} examples have no {k} neighbours each: give more")
        return self.own[:, k - 1]

    def balls(self, k: int) -> Float64[Tensor, " n"]:
        """The radii of balls that hold k others: of an example with k doubles, a ball that holds further doubles."""
        return torch.maximum(self.radii(k), rounding(self.x) + torch.finfo(self.x.dtype).tiny)


def points(*sets: Float[Tensor, "_ d"], k: int = K) -> list[Points]:
    """The sets, moved together to where the first has its median, which keeps matrix products accurate.

    Few examples far from all others do not move it, so that all others would be equally far, and so the same.
    """
    origin = sets[0].double().median(0).values
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
    return settled(torch.cat(of_a), a), settled(of_b, b)


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
    of_real, of_made = real.balls(k), made.balls(k)
    inside = torch.zeros(len(y), dtype=torch.float64)
    recalled, covered = [], []
    for i, part in in_blocks(x, len(y)):
        far = distances(part, y)
        holds = far < of_real[i : i + len(part), None]
        inside += holds.sum(0)
        recalled.append((far < of_made).any(1))
        covered.append(holds.any(1))
    return Coverage(inside > 0, torch.cat(recalled), inside / k, torch.cat(covered))


def two_sample_accuracy(real: Float[Tensor, "m d"], made: Float[Tensor, "n d"]) -> tuple[float, float]:
    """Share of the real, and of the generated examples, whose nearest other example is of their own set.

    The leave-one-out 1-nearest-neighbour classifier of Lopez-Paz & Oquab, arXiv:1610.06545: 0.5 both where the sets
    cannot be told apart, 1 where they can; higher for generated than for real ones where samples vary less than data.
    Where the nearest ones of either set are as near, as doubles in both are, that counts half.
    """
    return told_apart(*points(real, made, k=1))


def told_apart(real: Points, made: Points) -> tuple[float, float]:
    """The two shares of `two_sample_accuracy`."""
    to_made, to_real = nearest(real.x, made.x)
    return less(real.radii(1), to_made), less(made.radii(1), to_real)


def less(a: Float64[Tensor, " n"], b: Float64[Tensor, " n"]) -> float:
    """How often a is less than b; where they are equal, half."""
    return ((a < b).double() + (a <= b).double()).mean().item() / 2


class Copying(NamedTuple):
    """How near generated examples are to the training data, compared with held-out real ones."""

    nearer: float
    """probability that a generated example is nearer to them than a held-out one: 0.5 if they are alike"""
    memorised: float
    """share that is nearer to them than 99% of the held-out examples that are not among them"""
    expected: float
    """what `memorised` is if they are alike: 0.01, or more where held-out examples are few, or among them"""


def copying(train: Float[Tensor, "n d"], held_out: Float[Tensor, "m d"], made: Float[Tensor, "k d"]) -> Copying:
    """Whether samples copy the training data, by the test of Meehan et al., arXiv:2004.05675, section 3."""
    reference, real, fake = (part.x for part in points(train, held_out, made))
    usual, found = nearest(real, reference)[0].sort().values, nearest(fake, reference)[0]
    below, upto = (torch.searchsorted(usual, found, right=side) / len(usual) for side in (False, True))
    memorised = (found < rare(usual)).double().mean().item()
    return Copying(1 - ((below + upto) / 2).mean().item(), memorised, expected(usual))


def duplicates(real: Float[Tensor, "n d"], made: Float[Tensor, "m d"]) -> float:
    """Share of the generated examples with another one nearer than 99% of the real ones that have no double have one.

    0.01 if they are alike, and more where real examples are few, or have doubles.
    """
    return doubles(*points(real, made, k=1))


def doubles(real: Points, made: Points) -> float:
    """The share of `duplicates`."""
    return (made.radii(1) < rare(real.radii(1))).double().mean().item()
