"""Column shapes, pair trends and the quality score, as SDMetrics 0.32 (docs.sdv.dev/sdmetrics) defines them.

Of a column the shape is 1 - the Kolmogorov-Smirnov distance of numbers, 1 - the total variation distance of categories,
both of the values that are there; how often one is missing is a number of its own, 1 - the difference of the rates.
Of a pair the trend is 1 - |difference of Pearson's correlations| / 2 where both are numbers, else 1 - the total
variation distance of the joint table, in which numbers are in `BINS` equal bins from the lowest to the highest of their
own table, with its highest value and missing ones in one more; missing categories are a category.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float64

from ...data.tables.association import (
    STRONG_ASSOCIATION,
    STRONG_CORRELATION,
    Codes,
    Rows,
    correlations,
    cramers_v,
)
from ...data.tables.columns import Column

BINS = 10
MAX_CELLS = 2**20
"""cells of a joint table that are all counted; of a larger one only those that occur"""


@dataclass(frozen=True, eq=False)
class Quality:
    """How like the real rows some rows are: 1 is alike, and NaN is where a number is not defined."""

    shapes: Float64[np.ndarray, " c"]
    missing: Float64[np.ndarray, " c"]
    """NaN where no value is missing in either"""
    pairs: Float64[np.ndarray, "c c"]
    """symmetric; the diagonal is NaN"""
    is_strong: Bool[np.ndarray, "c c"]
    """whether real rows have the pair related"""

    @property
    def column_shapes(self) -> float:
        return mean_of(self.shapes)

    @property
    def pair_trends(self) -> float:
        """The mean of all pairs."""
        return mean_of(self.pairs)

    @property
    def strong_pair_trends(self) -> float:
        """The mean of those pairs that real rows have related."""
        return mean_of(self.pairs[self.is_strong])

    @property
    def score(self) -> float:
        """SDMetrics' quality score of all pairs: the mean of both parts, or the one that there is."""
        return mean_of(np.array([self.column_shapes, self.pair_trends]))

    @property
    def strong_score(self) -> float:
        """SDMetrics' quality score with its default thresholds, which leave out pairs that are hardly related."""
        return mean_of(np.array([self.column_shapes, self.strong_pair_trends]))


def mean_of(values: np.ndarray) -> float:
    """The mean of the numbers that are there; NaN of none."""
    there = values[~np.isnan(values)]
    return float(there.mean()) if there.size else np.nan


def measure_quality(real: Rows, others: Sequence[Rows], columns: Sequence[Column]) -> list[Quality]:
    """The quality of each of `others` against the real rows."""
    tables = [real, *others]
    related = [correlations(x) for x in tables]
    codes = [[bin_codes(x[:, j], column) for j, column in enumerate(columns)] for x in tables]
    pairs = np.full((len(others), len(columns), len(columns)), np.nan)
    is_strong = np.zeros((len(columns), len(columns)), bool)
    for i, j in combinations(range(len(columns)), 2):
        if columns[i].is_number and columns[j].is_number:
            first, *rest = (c[i, j] for c in related)
            trends, strong = [1 - abs(r - first) / 2 for r in rest], abs(first) > STRONG_CORRELATION
        else:
            first, *rest = joint_shares([(table[i], table[j]) for table in codes])
            trends = [1 - np.abs(share - first).sum() / 2 for share in rest]
            strong = cramers_v(codes[0][i], codes[0][j]) > STRONG_ASSOCIATION
        pairs[:, i, j] = pairs[:, j, i] = trends
        is_strong[i, j] = is_strong[j, i] = strong
    ks = [[column_shape(real[:, j], x[:, j], column) for j, column in enumerate(columns)] for x in others]
    rates = [np.isnan(x).mean(0) if len(x) else np.full(len(columns), np.nan) for x in tables]
    missing = [np.where(rates[0] + rate > 0, 1 - np.abs(rate - rates[0]), np.nan) for rate in rates[1:]]
    return [Quality(np.array(k), m, p, is_strong) for k, m, p in zip(ks, missing, pairs, strict=True)]


def column_shape(real: np.ndarray, other: np.ndarray, column: Column) -> float:
    """1 - the distance of two columns' values, of n and m rows; NaN where one has none."""
    real, other = (x[~np.isnan(x)] for x in (real, other))
    if not len(real) or not len(other):
        return np.nan
    if column.is_category:
        first, second = joint_shares([(x.astype(np.int64), np.zeros(len(x), np.int64)) for x in (real, other)])
        return float(1 - np.abs(first - second).sum() / 2)
    real, other = np.sort(real), np.sort(other)
    pooled = np.concatenate([real, other])
    below = [np.searchsorted(x, pooled, side="right") / len(x) for x in (real, other)]
    return float(1 - np.abs(below[0] - below[1]).max())


def bin_codes(x: Float64[np.ndarray, " n"], column: Column) -> Codes:
    """Categories by their index from 1, 0 where they are missing; numbers by their bin, missing ones as the highest."""
    is_there = ~np.isnan(x)
    if column.is_category:
        return np.where(is_there, x + 1, 0).astype(np.int64)
    if not is_there.any():
        return np.zeros(len(x), np.int64)
    return np.asarray(np.digitize(x, np.histogram_bin_edges(x[is_there], BINS)))


def joint_shares(pairs: Sequence[tuple[Codes, Codes]]) -> list[np.ndarray]:
    """The share of each cell of the joint tables of pairs of columns, as vectors over the same cells."""
    width = max(int(b.max(initial=0)) for _, b in pairs) + 1
    cells = [a * width + b for a, b in pairs]
    size = max(int(cell.max(initial=0)) for cell in cells) + 1
    if size > MAX_CELLS:
        different, places = np.unique(np.concatenate(cells), return_inverse=True)
        cells, size = np.split(places, np.cumsum([len(cell) for cell in cells])[:-1]), len(different)
    return [np.bincount(cell, minlength=size) / max(len(cell), 1) for cell in cells]
