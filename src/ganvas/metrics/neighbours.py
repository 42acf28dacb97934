"""Nearest neighbours of examples on features, by Euclidean distances, of which memory holds one block at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from ..errors import UserError

Distances = Float64[Tensor, " _"]
ROWS_PER_CHUNK = 1000
"""examples whose distances to all others are held at once"""
MAX_DISTANCES = 2**25
"""distances that are held at once, at most"""
N_NEIGHBOURS = 5
"""neighbours that define an example's ball"""
COPY_QUANTILE = 0.01
"""share of real examples that are nearer to others, or to the training data, than what counts as a copy"""
DENSITY_WINDOW = 0.5
"""how much more and less than `COPY_QUANTILE` the share is between which a density at that quantile is estimated"""
SAME_TOLERANCE = 1e-5
"""distance, as a share of their size, at which two examples are one: networks' features have noise of 1e-6"""


def distance_chunks(a: Float64[Tensor, "n d"], b: Float64[Tensor, "m d"]) -> Iterator[tuple[int, Tensor]]:
    """Euclidean distances of `a` from all of `b` in blocks of rows, each with the number of its first one.

    By a matrix product, so two that are equal may be 1e-7 of their size apart.
    """
    size = max(1, min(ROWS_PER_CHUNK, MAX_DISTANCES // max(1, len(b))))
    for i in range(0, len(a), size):
        yield i, torch.cdist(a[i : i + size], b, compute_mode="use_mm_for_euclid_dist")


def zero_rounding(distances: Float64[Tensor, "n *k"], x: Float64[Tensor, "n d"]) -> Float64[Tensor, "n *k"]:
    """Distances from each of x, 0 where they are only rounding, so that examples that are the same are at 0."""
    tolerance = SAME_TOLERANCE * x.norm(dim=1).view(-1, *(1,) * (distances.ndim - 1))
    return torch.where(distances <= tolerance, 0.0, distances)


@dataclass(frozen=True, eq=False)
class NeighbourIndex:
    """Examples in float64, and the nearest neighbours of each, which are computed once."""

    x: Float64[Tensor, "n d"]
    k: int = N_NEIGHBOURS
    """how many neighbours are looked for"""

    @cached_property
    def nearest(self) -> tuple[Int64[Tensor, "n k"], Float64[Tensor, "n k"]]:
        """Which k others are nearest to each example, and how far they are, in order.

        Of k examples or fewer all, the last of them the example itself, at infinity.
        """
        indices, distances = [], []
        for i, pairwise in distance_chunks(self.x, self.x):
            pairwise.diagonal(i).fill_(torch.inf)
            nearest = pairwise.topk(min(self.k, len(self.x)), largest=False)
            indices.append(nearest.indices)
            distances.append(nearest.values)
        return torch.cat(indices), zero_rounding(torch.cat(distances), self.x)

    def radii(self, k: int) -> Float64[Tensor, " n"]:
        """The distance from each example to its k-th nearest other."""
        if len(self.x) <= k:
            raise UserError(f"{len(self.x)} examples have no {k} neighbours each: give more")
        return self.nearest[1][:, k - 1]

    def ball_radii(self) -> Float64[Tensor, " n"]:
        """The radii of balls that hold k others: of an example with k duplicates, a ball that holds further ones."""
        return torch.maximum(self.radii(self.k), SAME_TOLERANCE * self.x.norm(dim=1) + torch.finfo(self.x.dtype).tiny)

    def sum_to_nearest(self, change: Float64[Tensor, " n"]) -> Float64[Tensor, " n"]:
        """For each example, the sum of what changes for those whose nearest one it is."""
        return torch.zeros_like(change).index_add_(0, self.nearest[0][:, 0], change)


def build_indexes(*sets: Float[Tensor, "_ d"], k: int = N_NEIGHBOURS) -> list[NeighbourIndex]:
    """The sets, moved so that the first has its median at 0, which keeps matrix products accurate.

    Unlike the mean, it stays where it is if a few examples are far away, next to which all others would be the same.
    """
    origin = sets[0].double().median(0).values
    return [NeighbourIndex(x.double() - origin, k) for x in sets]


def nearest_distances(a: Float64[Tensor, "n d"], b: Float64[Tensor, "m d"]) -> tuple[Distances, Distances]:
    """The distance from each example of `a` to the nearest of `b`, and from each of `b` to the nearest of `a`."""
    a_to_b, b_to_a = [], b.new_full((len(b),), torch.inf)
    for _, pairwise in distance_chunks(a, b):
        a_to_b.append(pairwise.amin(1))
        b_to_a = torch.minimum(b_to_a, pairwise.amin(0))
    return zero_rounding(torch.cat(a_to_b), a), zero_rounding(b_to_a, b)


def distances_to(x: Float[Tensor, "n d"], reference: Float[Tensor, "m d"]) -> Float64[Tensor, " n"]:
    """The distance from each of x to the nearest of the reference examples."""
    a, b = build_indexes(reference, x)
    return nearest_distances(b.x, a.x)[0]


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
