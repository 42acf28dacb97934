"""What the columns of a table hold: how the values of each spread, in one or in several sets of rows."""

from collections.abc import Sequence
from itertools import pairwise
from math import ceil
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from ...io.text import format_number
from .columns import Column
from .encoding import TableEncoding

MAX_BARS, MAX_CATEGORIES = 30, 12
"""most bars of a column's numbers, and most categories with a bar of their own, the most frequent"""
TAIL = 0.005
"""share of the numbers at either end that the first and the last bar may take in"""
ROWS = 2000
"""rows that stand for all"""
Values = Float64[np.ndarray, " _"]
Bars = tuple[tuple[str, ...], tuple[float, ...], list[np.ndarray]]
"""labels, edges and, of each set, counts"""


class Marginal(NamedTuple):
    """How the values of a column spread, in one or several sets of rows."""

    column: Column
    labels: tuple[str, ...]
    """of bars: a category, a number, or numbers from one to another"""
    edges: tuple[float, ...]
    """of numbers where bars end, one more than bars; what lies beyond is in the first and in the last one"""
    counts: tuple[tuple[int, ...], ...]
    """of each set the rows in each bar"""
    missing_counts: tuple[int, ...]
    """of each set the rows without a value"""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Of each set all of its rows; 1 where it has none, so that they divide."""
        return tuple(max(1, sum(bars) + gone) for bars, gone in zip(self.counts, self.missing_counts, strict=True))

    @property
    def shares(self) -> tuple[tuple[float, ...], ...]:
        """Of each set the share of its rows in each bar."""
        return tuple(tuple(n / size for n in bars) for bars, size in zip(self.counts, self.sizes, strict=True))

    @property
    def missing(self) -> tuple[float, ...]:
        """Of each set the share of its rows without a value."""
        return tuple(gone / size for gone, size in zip(self.missing_counts, self.sizes, strict=True))


def marginals(columns: Sequence[Column], *sets: Float64[np.ndarray, "_ c"]) -> list[Marginal]:
    """How the values of columns that are learnt spread in sets of rows."""
    return [marginal(column, *(x[:, j] for x in sets)) for j, column in enumerate(columns)]


def marginal(column: Column, *sets: Values) -> Marginal:
    """How the values of a column spread in sets of rows, NaN where one is missing; the first set chooses the bars."""
    values = [x[~np.isnan(x)] for x in sets]
    labels, edges, counts = (category_bars if column.is_category else number_bars)(column, values)
    missing = tuple(len(x) - len(v) for x, v in zip(sets, values, strict=True))
    return Marginal(column, labels, edges, tuple(tuple(bars.tolist()) for bars in counts), missing)


def category_bars(column: Column, sets: Sequence[Values]) -> Bars:
    """The most frequent categories, in their order where they have one, and all others in a last bar."""
    size = max(len(column.categories), *(int(x.max(initial=-1)) + 1 for x in sets))
    counts = [np.bincount(x.astype(np.int64), minlength=size) for x in sets]
    own = np.argsort(-counts[0] - 1e-9 * sum(counts[1:]), kind="stable")
    own = own[:MAX_CATEGORIES] if size > MAX_CATEGORIES + 1 else own
    own = np.sort(own) if column.is_ordered else own
    labels = [str(column.categories[i]) if i < len(column.categories) else str(i) for i in own]
    bars = [n[own] for n in counts]
    if size > len(own):
        labels.append(f"{size - len(own)} others")
        bars = [np.append(b, n.sum() - b.sum()) for b, n in zip(bars, counts, strict=True)]
    return tuple(labels), (), bars


def number_bars(column: Column, sets: Sequence[Values]) -> Bars:
    """A bar a number where these are few, else bars of the same width; of whole numbers as many in each."""
    first = sets[0]
    if not len(first):
        return (), (), [np.zeros(0, np.int64) for _ in sets]
    (low, high), values = np.quantile(first, [TAIL, 1 - TAIL]), np.unique(first)
    if low == high:
        low, high = values[0], values[-1]
    if column.is_integral:
        if values[-1] - values[0] < MAX_BARS:
            low, high = values[0], values[-1]
        step = ceil((high - low + 1) / MAX_BARS)
        edges = np.floor(low) - 0.5 + step * np.arange(ceil((high - np.floor(low) + 1) / step) + 1)
        ends = [(a + 0.5, b - 0.5) for a, b in pairwise(edges.tolist())]
    elif len(values) <= MAX_BARS:
        middles = (values[1:] + values[:-1]) / 2
        edges = np.array([values[0] - 0.5, *middles, values[-1] + 0.5])
        ends = [(v, v) for v in values.tolist()]
    else:
        edges = np.linspace(low, high, MAX_BARS + 1)
        ends = list(pairwise(edges.tolist()))
    ends[0], ends[-1] = (float(values[0]), ends[0][1]), (ends[-1][0], float(values[-1]))
    texts = [(value_text(column, a), value_text(column, b)) for a, b in ends]
    labels = tuple(a if a == b else f"{a} to {b}" for a, b in texts)
    return labels, tuple(edges.tolist()), [np.histogram(np.clip(x, edges[0], edges[-1]), edges)[0] for x in sets]


def value_text(column: Column, number: float, digits: int = 5) -> str:
    """A number of a column for people: of dates and times as ISO 8601 writes them."""
    if column.kind == "date":
        return str(np.datetime64(round(number), "D"))
    if column.kind in ("datetime", "time"):
        text = str(np.datetime64(round(number), "s"))
        return text.replace("T", " ") if column.kind == "datetime" else text.partition("T")[2]
    return f"{round(number):d}" if number == round(number) and abs(number) < 1e15 else format_number(number, digits)


def percent(share: float) -> str:
    """A share as people read it: 12%, 1.2%, 0%, and less than 0.1% where it is not 0."""
    if 0 < share < 0.0005:
        return "less than 0.1%"
    digits = 0 if share >= 0.0995 or share == 0 else 1
    text = f"{100 * share:.{digits}f}%"
    return "more than 99.9%" if text == "100%" and share < 1 else text


def typical_rows(encoding: TableEncoding, n: int = ROWS) -> Float64[Tensor, "n c"]:
    """n rows whose columns spread as those that the encoding was made of, each column in ascending order of its own.

    They say nothing of how columns go together; where a constraint binds a column they have what is learnt of it.
    """
    u, columns = (torch.arange(n, dtype=torch.float64) + 0.5) / n, []
    for column, part in zip(encoding.columns, encoding.shape.entry_slices, strict=True):
        ends = encoding.shares[part].double().cumsum(0)
        ends /= ends[-1].clamp_min(1e-12)
        entry = torch.searchsorted(ends, u).clamp(max=len(ends) - 1)
        first = torch.cat([ends.new_zeros(1), ends])[entry]
        position = ((u - first) / (ends[entry] - first).clamp_min(1e-12)).clamp(0, 1)
        columns.append(column.decode(entry, position.float()))
    return torch.stack(columns, 1)
