"""What the nearest neighbours of generated and of real examples tell, on features.

Distances are Euclidean, computed in blocks: memory does not grow with the number of pairs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from ..errors import UserError

ROWS_PER_CHUNK = 1000
"""examples whose distances to all others are held at once"""
MAX_DISTANCES = 2**25
"""distances that are held at once, at most"""
N_NEIGHBOURS = 5
"""neighbours that make an example's ball"""
COPY_QUANTILE = 0.01
"""share of real examples that are nearer to others, or to the training data, than what counts as a copy"""
DENSITY_WINDOW = 0.5
"""how much more and less than `COPY_QUANTILE` the share is between which a density at that quantile is estimated"""
SAME_TOLERANCE = 1e-5
"""distance, as a share of their size, at which two examples are one: networks' features have noise of 1e-6"""


def pairwise_distances(a: Float64[Tensor, "b d"], b: Float64[Tensor, "m d"]) -> Float64[Tensor, "b m"]:
    """Euclidean distances; by a matrix product, so two that are equal may be 1e-7 of their size apart."""
    return torch.cdist(a, b, compute_mode="use_mm_for_euclid_dist")


def rounding_tolerance(x: Float64[Tensor, "n d"]) -> Float64[Tensor, " n"]:
    """How far from each example others may be that are the same."""
    size: Tensor = x.norm(dim=1)
    return SAME_TOLERANCE * size


def zero_rounding(distances: Float64[Tensor, "n *k"], x: Float64[Tensor, "n d"]) -> Float64[Tensor, "n *k"]:
    """Distances from each of x, 0 where they are only rounding, so that examples that are the same are at 0."""
    tolerance = rounding_tolerance(x).view(-1, *(1,) * (distances.ndim - 1))
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

        All examples where they are no more than k, of which an example's own is the last, at infinity.
        """
        indices, distances = [], []
        for i, part in iterate_chunks(self.x, len(self.x)):
            pairwise = pairwise_distances(part, self.x)
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
        """The radii of balls that hold k others: of an example with k doubles, a ball that holds further doubles."""
        return torch.maximum(self.radii(self.k), rounding_tolerance(self.x) + torch.finfo(self.x.dtype).tiny)

    def sum_to_nearest(self, change: Float64[Tensor, " n"]) -> Float64[Tensor, " n"]:
        """For each example, the sum of what changes for those whose nearest one it is."""
        return torch.zeros_like(change).index_add_(0, self.nearest[0][:, 0], change)


def build_indexes(*sets: Float[Tensor, "_ d"], k: int = N_NEIGHBOURS) -> list[NeighbourIndex]:
    """The sets, moved together to where the first has its median, which keeps matrix products accurate.

    Few examples far from all others do not move it, so that all others would be equally far, and so the same.
    """
    origin = sets[0].double().median(0).values
    return [NeighbourIndex(x.double() - origin, k) for x in sets]


def iterate_chunks(x: Tensor, n_others: int) -> Iterator[tuple[int, Tensor]]:
    """Blocks of x, each with the number of its first example, whose distances to so many others are held at once."""
    size = max(1, min(ROWS_PER_CHUNK, MAX_DISTANCES // max(1, n_others)))
    return ((i, x[i : i + size]) for i in range(0, len(x), size))


def nearest_distances(
    a: Float64[Tensor, "n d"], b: Float64[Tensor, "m d"]
) -> tuple[Float64[Tensor, " n"], Float64[Tensor, " m"]]:
    """The distance from each example of `a` to the nearest of `b`, and from each of `b` to the nearest of `a`."""
    a_to_b, b_to_a = [], b.new_full((len(b),), torch.inf)
    for _, part in iterate_chunks(a, len(b)):
        pairwise = pairwise_distances(part, b)
        a_to_b.append(pairwise.amin(1))
        b_to_a = torch.minimum(b_to_a, pairwise.amin(0))
    return zero_rounding(torch.cat(a_to_b), a), zero_rounding(b_to_a, b)


def distances_to(x: Float[Tensor, "n d"], reference: Float[Tensor, "m d"]) -> Float64[Tensor, " n"]:
    """The distance from each of x to the nearest of the reference examples."""
    a, b = build_indexes(reference, x)
    return nearest_distances(b.x, a.x)[0]


def copy_threshold(real_distances: Float64[Tensor, " n"]) -> Float64[Tensor, ""]:
    """The distance below which lie 1% of those that are usual between examples that differ.

    Exact doubles, at distance 0, do not count: where they are 1% of the data or more, nothing would be below, and no
    copy would be noticed.  They are below the limit themselves, among real examples as among generated ones.
    """
    nonzero = real_distances[real_distances > 0]
    smallest = real_distances.new_tensor(torch.finfo(real_distances.dtype).tiny)
    return nonzero.quantile(COPY_QUANTILE) if len(nonzero) else smallest


def expected_copy_rate(real_distances: Float64[Tensor, " n"]) -> float:
    """The share of further real examples that are below `copy_threshold`: of doubles, and of those that differ.

    Of m distances the quantile lies between two in order, the (1 + 0.01 (m - 1))-th of them and the next if counted in
    fractions, and one more distance is equally likely to be in any of the m + 1 places.
    """
    duplicate_share, m = (real_distances == 0).double().mean().item(), int((real_distances > 0).sum())
    return duplicate_share + (1 - duplicate_share) * (1 + COPY_QUANTILE * (m - 1)) / (m + 1)


def copy_rate_slope(real_distances: Float64[Tensor, " m"], fake_distances: Float64[Tensor, " n"]) -> float:
    """How fast the share of fakes below a quantile of the real distances grows with the quantile's, at `COPY_QUANTILE`.

    Both are of distances between real examples that differ: see `copy_threshold`.
    """
    nonzero = real_distances[real_distances > 0]
    if not len(nonzero):
        return 0.0
    low, high = (nonzero.quantile(COPY_QUANTILE * (1 + d)) for d in (-DENSITY_WINDOW, DENSITY_WINDOW))
    share = ((fake_distances >= low) & (fake_distances < high)).double().mean() / (2 * DENSITY_WINDOW * COPY_QUANTILE)
    return (share * len(real_distances) / len(nonzero)).item()
