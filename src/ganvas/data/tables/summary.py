"""What the columns of a table hold: how the values of each spread, and how strongly two go together."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from .association import cramers_v
from .columns import Column
from .encoding import TableEncoding

MAX_BARS, MAX_CATEGORIES, ASSOCIATION_BARS = 20, 8, 8
"""most bars of a column's numbers, and of its categories; bars of a column where two are compared"""
TAIL = 0.01
"""share of the numbers at either end that the first and the last bar take in"""
ROWS = 2000
"""rows that stand for all"""


class Bars(NamedTuple):
    """Into which parts the values of a column fall."""

    labels: tuple[str, ...]
    edges: Float64[Tensor, " b"]
    """of categories those with a bar of their own; of numbers where a bar ends and the next begins"""
    is_category: bool

    def places(self, x: Float64[Tensor, " n"]) -> Int64[Tensor, " n"]:
        """The bar of each value; after the last bar that of what is missing."""
        if self.is_category:
            is_own = x[:, None] == self.edges
            place = torch.where(is_own.any(1), is_own.long().argmax(1), len(self.labels) - 1)
        else:
            place = torch.bucketize(x.contiguous(), self.edges, right=True)
        return place.masked_fill(x.isnan(), len(self.labels))


class Marginal(NamedTuple):
    """How the values of a column spread, in one or several sets of rows."""

    column: Column
    labels: tuple[str, ...]
    """of bars: a category, a number, or numbers from one to another"""
    shares: tuple[tuple[float, ...], ...]
    """of each set the share of its rows in each bar"""
    missing: tuple[float, ...]
    """of each set the share of its rows without a value"""


def marginals(columns: Sequence[Column], *sets: Float64[Tensor, "_ c"]) -> list[Marginal]:
    """How the values of columns that are learnt spread in sets of rows; the first set chooses the bars."""
    found = []
    for j, column in enumerate(columns):
        bars = choose_bars(column, sets[0][:, j])
        counts = [bars.places(x[:, j]).bincount(minlength=len(bars.labels) + 1).double() / max(1, len(x)) for x in sets]
        parts = [part.tolist() for part in counts]
        found.append(Marginal(column, bars.labels, tuple(tuple(p[:-1]) for p in parts), tuple(p[-1] for p in parts)))
    return found


def choose_bars(column: Column, x: Float64[Tensor, " n"], most: int = MAX_BARS) -> Bars:
    """The bars of a column: its values or its most frequent categories, else numbers in steps of the same width."""
    x = x[~x.isnan()]
    values, counts = x.unique(return_counts=True)
    if column.is_category:
        most = min(most, MAX_CATEGORIES)
        others = len(column.categories) - most if len(column.categories) > most + 1 else 0
        if not others:
            return Bars(tuple(map(str, column.categories)), torch.arange(len(column.categories)).double(), True)
        own = values[counts.argsort(descending=True, stable=True)[:most]].sort().values
        names = [str(column.categories[int(i)]) for i in own]
        return Bars((*names, f"{len(column.categories) - len(names)} others"), own, True)
    if len(values) <= most:
        return Bars(tuple(value_texts(column, values)), (values[1:] + values[:-1]) / 2, False)
    low, high = x.quantile(TAIL).item(), x.quantile(1 - TAIL).item()
    if low == high:
        low, high = values[0].item(), values[-1].item()
    n = min(most, int(high - low) + 1) if column.is_integral else most
    edges = torch.linspace(low, high, max(2, n) + 1, dtype=torch.float64)
    ends = value_texts(column, torch.cat([values[:1], edges[1:-1], values[-1:]]))
    return Bars(tuple(f"{a} to {b}" for a, b in pairwise(ends)), edges[1:-1], False)


def value_texts(column: Column, x: Float64[Tensor, " n"]) -> list[str]:
    """Numbers of a column as its source has them; floats in four digits."""
    from .frame import to_frame

    values = to_frame([column], x[:, None].numpy()).iloc[:, 0]
    return [f"{value:.4g}" if isinstance(value, float) else str(value) for value in values]


def associations(columns: Sequence[Column], x: Float64[Tensor, "n c"]) -> list[list[float]]:
    """How strongly each two columns go together, from 0 to 1: c x c.

    Cramer's V between their bars, of which what is missing is one, without its bias (Bergsma, Journal of the Korean
    Statistical Society 42, 2013).
    """
    places = []
    for j, column in enumerate(columns):
        bars = choose_quantiles(x[:, j]) if column.is_number else choose_bars(column, x[:, j], ASSOCIATION_BARS)
        places.append(bars.places(x[:, j]).numpy())
    n = len(places)
    known = {(i, j): cramers_v(places[i], places[j], corrected=True) for i in range(n) for j in range(i)}
    return [[1.0 if i == j else known[max(i, j), min(i, j)] for j in range(n)] for i in range(n)]


def choose_quantiles(x: Float64[Tensor, " n"]) -> Bars:
    """Bars of numbers with as many rows each."""
    x = x[~x.isnan()]
    shares = torch.arange(1, ASSOCIATION_BARS, dtype=torch.float64) / ASSOCIATION_BARS
    edges = x.quantile(shares).unique() if len(x) else x
    return Bars(("",) * (len(edges) + 1), edges, False)


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
