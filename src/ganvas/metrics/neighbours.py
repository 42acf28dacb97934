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
SAME_TOLERANCE = 1e-5
"""distance, as a share of their size, at which two examples are one: networks' features have noise of 1e-6"""


def distance_chunks(a: Float64[Tensor, "n d"], b: Float64[Tensor, "m d"]) -> Iterator[tuple[int, Tensor]]:
    """Euclidean distances of `a` from all of `b` in blocks of rows, each with the number of its first one."""
    # by matrix products: two that are equal may be 1e-7 of their size apart
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
        """Which k others are nearest to each example, in order, and how far: of fewer all, and itself at infinity."""
        parts = []
        for i, pairwise in distance_chunks(self.x, self.x):
            pairwise.diagonal(i).fill_(torch.inf)
            parts.append(pairwise.topk(min(self.k, len(self.x)), largest=False))
        distances, indices = (torch.cat(part) for part in zip(*parts, strict=True))
        return indices, zero_rounding(distances, self.x)

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
    """The sets, moved so that the first has its median at 0, which keeps matrix products accurate."""
    # unlike the mean, the median stays if a few examples are far away, next to which all others would be the same
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
