"""What is to be said of single columns: how they differ from real rows beyond what other real rows do."""

from dataclasses import dataclass
from math import pi, sqrt
from typing import Literal

import numpy as np

from ...data.tables.columns import Column
from ...data.tables.summary import percent, value_text
from .intervals import difference
from .marginals import QUANTILES, Comparison
from .measure import TableEvaluation

Level = Literal["good", "fair", "poor"]
LEVELS: tuple[Level, ...] = ("good", "fair", "poor")
SAME, FAIR = 0.02, 0.1
"""distance of two columns, beyond that of real rows, up to which one is as real ones are, and up to which it is fair:
the share of its rows that would have to be others"""
CERTAIN_KS = 1.36
"""the Kolmogorov-Smirnov distance that 5% of samples of one distribution exceed, times the root of their number"""
MISSING = 0.02
"""difference of shares of missing values, of a category or of a frequent number that is worth a word"""
SHIFT, STRETCH = 0.1, 1.25
"""difference of medians in units of the spread, and ratio of the spreads, that are worth a word"""
TAIL_RATIO, TAIL_ROWS, SCALE_ROWS = 3.0, 100, 50
"""ratio of the shares beyond the real 99% quantile that makes a tail short or long, and values that it takes to say
so, or something of middle and spread"""
RELATED, CHANGED, LOST = 0.1, 0.1, 0.25
"""Cramer's V from which a pair is related, and differences of it that are worth a word, and that are poor"""
MOST_FAULTS = 3


@dataclass(frozen=True)
class ColumnVerdict:
    """A column's verdict."""

    name: str
    level: Level
    sentence: str
    own_level: Level
    """of the column without its relations to others"""


def format_value(x: float, column: Column) -> str:
    """A number as a sentence has it, to three digits."""
    is_large = abs(x) >= 1000 and column.kind in ("integer", "real")
    return f"{x:,.0f}" if is_large else value_text(column, x, 3)


def judge_columns(e: TableEvaluation) -> tuple[ColumnVerdict, ...]:
    """A verdict for each column."""
    return tuple(judge_column(e, j) for j in range(len(e.columns)))


def judge_column(e: TableEvaluation, j: int) -> ColumnVerdict:
    """The worst that is found of a column, and words about it."""
    column, marginal = e.columns[j], e.marginals[j]
    n, m = e.rows["training"], e.rows["synthetic"]
    gap = 1 - e.quality.shapes[j] if not np.isnan(e.quality.shapes[j]) else 0.0
    own = gap_level(gap - allowed_gap(e, j))
    faults = missing_faults(marginal, n, m)
    faults += category_faults(marginal, n, m) if column.is_category else number_faults(marginal, column, n, m)
    worst = max((severity for severity, _ in faults), default=0)
    if own > worst:
        floor = "" if e.quality_floor is None else f", of real rows {e.quality_floor.shapes[j]:.2f}"
        faults.append((own, f"its values are spread otherwise (shape {e.quality.shapes[j]:.2f}{floor})"))
    own, relation = max(own, worst), relation_fault(e, j)
    faults += [relation] if relation else []
    level = max(own, relation[0] if relation else 0)
    if not faults:
        return ColumnVerdict(column.name, "good", "as real rows are", "good")
    faults = sorted(faults, key=lambda fault: -fault[0])[:MOST_FAULTS]
    return ColumnVerdict(column.name, LEVELS[level], "; ".join(text for _, text in faults), LEVELS[own])


def gap_level(excess: float) -> int:
    """0 is good, 1 fair, 2 poor."""
    return int(excess > SAME) + int(excess > FAIR)


def allowed_gap(e: TableEvaluation, j: int) -> float:
    """The distance that real rows have as well: held-out ones, or as many as there are by chance."""
    per_row = 1 / e.rows["training"] + 1 / e.rows["synthetic"]
    if e.columns[j].is_category:
        k = max(len(e.columns[j].categories), 2)
        by_chance = sqrt(k * per_row / (2 * pi))  # the mean total variation of k equally frequent categories
    else:
        by_chance = CERTAIN_KS * sqrt(per_row)
    floor = 0.0 if e.quality_floor is None else 1 - e.quality_floor.shapes[j]
    return max(by_chance, 0.0 if np.isnan(floor) else floor)


def differs(real: float, synthetic: float, n: int, m: int) -> int:
    """Whether two shares differ by more than is worth a word, and surely: 0, 1, or 2 where it is much."""
    low, high = difference(synthetic * m, m, real * n, n)
    least = max(low, -high, 0.0)  # the difference is at least this
    return int(least > 0 and abs(synthetic - real) > MISSING) + int(least > FAIR)


def missing_faults(marginal: Comparison, n: int, m: int) -> list[tuple[int, str]]:
    """Values that are missing too often or too seldom."""
    real, synthetic = marginal.spread.missing
    severity = differs(real, synthetic, n, m)
    return [(severity, f"missing in {percent(synthetic)} of rows, not {percent(real)}")] if severity else []


def category_faults(marginal: Comparison, n: int, m: int) -> list[tuple[int, str]]:
    """Categories that come too often or too seldom, the one that differs most first."""
    shares = list(zip(marginal.spread.labels, *marginal.spread.shares, strict=True))
    if len(shares) < 2:  # what is missing says it
        return []
    faults = []
    for name, real, synthetic in sorted(shares, key=lambda each: -abs(each[1] - each[2])):
        if severity := differs(real, synthetic, n, m):
            often = "never comes" if synthetic == 0 else f"comes in {percent(synthetic)} of rows"
            faults.append((severity, f"{name!r} {often}, not in {percent(real)}"))
    return faults[:2]


def number_faults(marginal: Comparison, column: Column, n: int, m: int) -> list[tuple[int, str]]:
    """Frequent numbers, the middle, the spread and the upper tail."""
    faults = []
    for atom, (real, synthetic) in marginal.atoms.items():
        if severity := differs(real, synthetic, n, m):
            text = f"{format_value(atom, column)} comes in {percent(synthetic)} of rows, not in {percent(real)}"
            faults.append((severity, text))
    atoms_are_right = bool(marginal.atoms) and not faults
    others = [*scale_faults(marginal, column), *tail_faults(marginal, column)]
    if others and atoms_are_right:
        first = format_value(next(iter(marginal.atoms)), column)
        apart = "" if marginal.apart is None else f"without {first} "
        others[0] = (others[0][0], f"{first} comes as often as it should, but {apart}{others[0][1]}")
    return faults + others


def scale_faults(marginal: Comparison, column: Column) -> list[tuple[int, str]]:
    """A middle that is shifted, and a spread that is too small or too large."""
    if min(marginal.counts) < SCALE_ROWS:
        return []
    real, synthetic = (dict(zip(QUANTILES, q, strict=True)) for q in marginal.quantiles)
    spread, other = (q[0.95] - q[0.05] for q in (real, synthetic))
    faults = []
    shift = abs(synthetic[0.5] - real[0.5]) / spread if spread else 0.0
    if shift > SHIFT:
        middle = f"its median is {format_value(synthetic[0.5], column)}, not {format_value(real[0.5], column)}"
        faults.append((1 + int(shift > 3 * SHIFT), middle))
    if spread and not spread / STRETCH <= other <= spread * STRETCH:
        ends = [f"{format_value(q[0.05], column)} to {format_value(q[0.95], column)}" for q in (synthetic, real)]
        word = "little" if other < spread else "much"
        is_poor = other < spread / STRETCH**3 or other > spread * STRETCH**3
        faults.append((1 + int(is_poor), f"it spreads too {word}: 90% of values from {ends[0]}, not from {ends[1]}"))
    return faults


def tail_faults(marginal: Comparison, column: Column) -> list[tuple[int, str]]:
    """An upper tail that is too short or too long."""
    (real, synthetic), (n, m) = marginal.beyond, marginal.counts
    low, high = difference(synthetic * m, m, real * n, n)
    if min(n, m) < TAIL_ROWS or not real or low <= 0 <= high or real / TAIL_RATIO <= synthetic <= real * TAIL_RATIO:
        return []
    ends = [format_value(q[-1], column) for q in marginal.quantiles]
    word = "short" if synthetic < real else "long"
    return [(1, f"its upper tail is too {word}: 1% of values are beyond {ends[1]}, not {ends[0]}")]


def relation_changes(e: TableEvaluation) -> np.ndarray:
    """How much Cramer's V of each pair differs from that of training rows, beyond what held-out rows do; c x c."""
    real, synthetic, *held_out = e.associations
    floor = np.abs(held_out[0] - real) if held_out else np.zeros_like(real)
    return np.asarray(np.maximum(np.abs(synthetic - real) - floor, 0.0))


def relation_fault(e: TableEvaluation, j: int) -> tuple[int, str] | None:
    """The relation to another column that differs most, where that is worth a word."""
    changes = relation_changes(e)[j].copy()
    changes[j] = 0.0
    k = int(changes.argmax())
    if changes[k] <= CHANGED:
        return None
    real, synthetic = e.associations[0][j, k], e.associations[1][j, k]
    word = "lost" if synthetic < real / 3 else "too weak" if synthetic < real else "too strong"
    text = f"its relation to {e.columns[k].name} is {word} (Cramer's V {synthetic:.2f}, not {real:.2f})"
    return 1 + int(changes[k] > LOST), text


def related_columns(e: TableEvaluation) -> tuple[int, int, str]:
    """How many of the related pairs are kept, how many there are, and the one that differs most."""
    upper = np.triu(np.ones_like(e.associations[0], bool), 1)
    related = upper & (np.maximum(e.associations[0], e.associations[1]) > RELATED)
    changes = np.where(related, relation_changes(e), 0.0)
    j, k = np.unravel_index(changes.argmax(), changes.shape)
    lost = f"{e.columns[j].name} and {e.columns[k].name}" if changes[j, k] > CHANGED else ""
    return int((related & (changes <= CHANGED)).sum()), int(related.sum()), lost
