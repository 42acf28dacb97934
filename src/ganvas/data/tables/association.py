"""How strongly two columns go together."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from jaxtyping import Float64, Int64

from .columns import Column

LEVELS, MAX_LEVELS = 10, 50
"""groups of equally many rows that numbers are in, and categories, the most frequent, that are told apart"""
STRONG_CORRELATION, STRONG_ASSOCIATION = 0.5, 0.3
"""Pearson's correlation, and Cramer's V, above which SDMetrics counts a pair unless it is told to count all"""
Codes = Int64[np.ndarray, " _"]
"""a small whole number for each row"""
Rows = Float64[np.ndarray, "_ c"]
"""rows of a table as numbers, as `columns.py` says; NaN where a value is missing"""
Matrix = Float64[np.ndarray, "c c"]


def cramers_v(a: Codes, b: Codes, corrected: bool = False) -> float:
    """Cramer's V of two columns of n rows; 0 where one has a single value.

    `corrected` takes away what independent columns have on average (Bergsma, 2013, J. Korean Stat. Soc. 42).
    """
    (_, a), (_, b) = (np.unique(x, return_inverse=True) for x in (a, b))
    rows, width, n = int(a.max(initial=0)) + 1, int(b.max(initial=0)) + 1, len(a)
    if min(rows, width) < 2:
        return 0.0
    cells, counts = np.unique(a * width + b, return_counts=True)
    expected = np.bincount(a)[cells // width] * np.bincount(b)[cells % width]
    phi2, smaller = float((counts * (counts / expected)).sum() - 1), float(min(rows, width) - 1)
    if corrected and n > 1:
        phi2 = max(0.0, phi2 - (rows - 1) * (width - 1) / (n - 1))
        smaller = min(k - (k - 1) ** 2 / (n - 1) for k in (rows, width)) - 1
    return float(np.sqrt(min(max(phi2, 0.0) / smaller, 1.0))) if smaller > 0 else 0.0


def associations(columns: Sequence[Column], *sets: Rows) -> list[Matrix]:
    """Cramer's V of each pair of columns in each set of rows: 0 is unrelated, 1 determined.

    Numbers are in `LEVELS` groups, of equally many rows of the first set; a missing value is a group; V is corrected
    for its bias.
    """
    codes, results = [level_codes(column, [x[:, j] for x in sets]) for j, column in enumerate(columns)], []
    for k in range(len(sets)):
        matrix = np.eye(len(columns))
        for i, j in combinations(range(len(columns)), 2):
            matrix[i, j] = matrix[j, i] = cramers_v(codes[i][k], codes[j][k], corrected=True)
        results.append(matrix)
    return results


def signed_associations(columns: Sequence[Column], x: Rows) -> Matrix:
    """Of two columns of numbers Pearson's correlation, from -1 to 1; of others Cramer's V as above, from 0 to 1."""
    (matrix,), are_numbers = associations(columns, x), np.array([column.is_number for column in columns], bool)
    matrix = np.where(np.outer(are_numbers, are_numbers), np.nan_to_num(correlations(x)), matrix)
    np.fill_diagonal(matrix, 1)
    return matrix


def level_codes(column: Column, sets: Sequence[Float64[np.ndarray, " _"]]) -> list[Codes]:
    """The group of each value of a column in several sets of rows, -1 where it is missing; the first has the groups."""
    values = sets[0][~np.isnan(sets[0])]
    if column.is_category:
        counts = np.bincount(values.astype(np.int64))
        own = np.sort(np.argsort(-counts, kind="stable")[:MAX_LEVELS]).astype(np.float64)
        codes = [np.where(np.isin(x, own), x, np.where(np.isnan(x), -1, len(counts))) for x in sets]
    else:
        edges = np.unique(np.quantile(values, np.arange(1, LEVELS) / LEVELS)) if len(values) else np.zeros(0)
        codes = [np.where(np.isnan(x), -1, np.searchsorted(edges, x)) for x in sets]
    return [code.astype(np.int64) for code in codes]


def correlations(x: Rows) -> Matrix:
    """Pearson's correlation of each pair of columns over the rows that have both; NaN where one is constant there."""
    is_there = ~np.isnan(x)
    n = np.maximum(is_there.sum(0), 1)
    centred = np.where(is_there, x, 0.0)
    centred = np.where(is_there, centred - centred.sum(0) / n, 0.0)  # keeps the sums of squares accurate
    scale = np.sqrt((centred**2).sum(0) / n)
    centred, there = centred / np.where(scale > 0, scale, 1.0), is_there.astype(np.float64)
    count = np.maximum(there.T @ there, 1.0)
    sums, squares = centred.T @ there, (centred**2).T @ there  # [i, j]: of column i, where j is there
    covariance = centred.T @ centred - sums * sums.T / count
    variance = squares - sums**2 / count
    variance[variance < 1e-12 * count] = np.nan
    return np.asarray(covariance / np.sqrt(variance * variance.T))
