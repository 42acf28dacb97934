"""What single columns look like, and how strongly pairs are related: for pictures, and for words about them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float64

from ...data.tables.association import Codes, cramers_v
from ...data.tables.columns import Column
from .estimators import sample_rows
from .quality import Rows

BINS, MAX_BARS = 30, 12
"""bars of a picture of numbers, and categories of one, the most frequent"""
OUTSIDE = 0.005
"""share of the real numbers on either side that the picture of a column may leave to its first and last bar"""
ATOM_SHARE, MAX_ATOMS = 0.05, 3
"""a number that this share of the rows has, be it 0, is looked at for itself"""
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
LEVELS = 10
"""groups of equally many rows that numbers are in where relations are measured"""
MAX_LEVELS = 50
"""categories of which relations are measured, the most frequent"""
MAX_ROWS = 5000
"""rows on which relations are measured, at most"""


@dataclass(frozen=True)
class Marginal:
    """A column of real and of synthetic rows.  Shares are of all rows, missing values among them."""

    names: tuple[str, ...]
    """of a category, of each bar; none of numbers"""
    edges: tuple[float, ...]
    """of numbers, one more than bars; what is beyond is in the first and in the last bar"""
    real: tuple[float, ...]
    synthetic: tuple[float, ...]
    missing: tuple[float, float]
    """of real and of synthetic rows, as below"""
    atoms: dict[float, tuple[float, float]]
    quantiles: tuple[tuple[float, ...], tuple[float, ...]]
    """of the values at `QUANTILES`; empty of categories, and where no value is there"""
    counts: tuple[int, int]
    """how many values these are of"""
    apart: float | None
    """the number that more than half of the rows have, where quantiles are of the other values; None without one"""
    beyond: tuple[float, float]
    """share of those numbers that are there which are more than the last of the real quantiles"""


def describe_column(real: Float64[np.ndarray, " n"], synthetic: Float64[np.ndarray, " m"], column: Column) -> Marginal:
    """The bars of both, and of numbers what else words need."""
    missing = float(np.isnan(real).mean()), float(np.isnan(synthetic).mean())
    there = [x[~np.isnan(x)] for x in (real, synthetic)]
    if column.is_category:
        names, bars = category_bars(there, column)
        first, second = bar_shares(bars, real, synthetic)
        return Marginal(names, (), first, second, missing, {}, ((), ()), (0, 0), None, (0.0, 0.0))
    edges, bars = number_bars(there)
    first, second = bar_shares(bars, real, synthetic)
    atoms = {a: (float((real == a).mean()), float((synthetic == a).mean())) for a in find_atoms(there)}
    apart = next((atom for atom in atoms if (there[0] == atom).mean() > 0.5), None)
    rest = there if apart is None else [x[x != apart] for x in there]
    low, high = (tuple(np.quantile(x, QUANTILES).tolist()) if len(x) else () for x in rest)
    a, b = (float((x > low[-1]).mean()) if len(x) and low else 0.0 for x in rest)
    counts = len(rest[0]), len(rest[1])
    return Marginal((), edges, first, second, missing, atoms, (low, high), counts, apart, (a, b))


def bar_shares(bars: Sequence[np.ndarray], *tables: np.ndarray) -> list[tuple[float, ...]]:
    """Counts of bars as shares of all rows of each table."""
    return [tuple((b / max(len(x), 1)).tolist()) for b, x in zip(bars, tables, strict=True)]


def category_bars(there: Sequence[np.ndarray], column: Column) -> tuple[tuple[str, ...], list[np.ndarray]]:
    """Names and counts of the most frequent categories, in their order where they have one, and of all others."""
    size = max(len(column.categories), *(int(x.max(initial=-1)) + 1 for x in there))
    counts = [np.bincount(x.astype(np.int64), minlength=size) for x in there]
    shown = np.argsort(-counts[0] - 1e-9 * counts[1], kind="stable")[:MAX_BARS]
    shown = np.sort(shown) if column.is_ordered else shown
    names = [str(column.categories[i]) if i < len(column.categories) else str(i) for i in shown]
    bars = [c[shown] for c in counts]
    if size > len(shown):
        names.append(f"{size - len(shown)} others")
        bars = [np.append(b, c.sum() - b.sum()) for b, c in zip(bars, counts, strict=True)]
    return tuple(names), bars


def number_bars(there: Sequence[np.ndarray]) -> tuple[tuple[float, ...], list[np.ndarray]]:
    """Edges and counts of bars over all but the outermost numbers; a bar a number where these are few and whole."""
    if not len(there[0]):
        return (), [np.zeros(0) for _ in there]
    low, high = np.quantile(there[0], [OUTSIDE, 1 - OUTSIDE])
    if low == high:
        low, high = there[0].min(), there[0].max()
    is_whole = bool((there[0] % 1 == 0).all())
    if is_whole and high - low < BINS:
        edges = np.arange(np.floor(low), np.ceil(high) + 2) - 0.5
    else:
        edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    return tuple(edges.tolist()), [np.histogram(np.clip(x, edges[0], edges[-1]), edges)[0] for x in there]


def find_atoms(there: Sequence[np.ndarray]) -> list[float]:
    """Numbers that many real rows have exactly, the most frequent first; none where there are few other numbers."""
    values, counts = np.unique(there[0], return_counts=True)
    frequent = np.argsort(-counts, kind="stable")[:MAX_ATOMS]
    atoms = [float(values[i]) for i in frequent if counts[i] > ATOM_SHARE * counts.sum()]
    return atoms if len(values) > LEVELS else []


def measure_associations(
    real: Rows, others: Sequence[Rows], columns: Sequence[Column], seed: int = 0
) -> list[Float64[np.ndarray, "c c"]]:
    """Cramer's V of each pair of columns of the real rows and of each of the others: 0 is unrelated, 1 determined.

    Numbers are in `LEVELS` groups of as many real rows each, a missing value is a group; V is corrected for its bias.
    """
    tables, results = [sample_rows(x, MAX_ROWS, seed) for x in (real, *others)], []
    levels = [level_codes(real[:, j], [x[:, j] for x in tables], column) for j, column in enumerate(columns)]
    for k in range(len(tables)):
        association = np.eye(len(columns))
        for i, j in combinations(range(len(columns)), 2):
            association[i, j] = association[j, i] = cramers_v(levels[i][k], levels[j][k], corrected=True)
        results.append(association)
    return results


def level_codes(real: np.ndarray, parts: Sequence[np.ndarray], column: Column) -> list[Codes]:
    """Groups of a column of several tables, missing values as -1."""
    there = real[~np.isnan(real)]
    if column.is_category:
        counts = np.bincount(there.astype(np.int64))
        kept = np.sort(np.argsort(-counts, kind="stable")[:MAX_LEVELS]).astype(np.float64)
        codes = [np.where(np.isin(x, kept), x, np.where(np.isnan(x), -1, len(counts))) for x in parts]
    else:
        edges = np.unique(np.quantile(there, np.arange(1, LEVELS) / LEVELS)) if len(there) else np.zeros(0)
        codes = [np.where(np.isnan(x), -1, np.searchsorted(edges, x)) for x in parts]
    return [code.astype(np.int64) for code in codes]
