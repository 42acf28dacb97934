"""Columns of a table as models see them: one-hot entries, and where in an interval a number lies; and back.

A number that many rows have is an entry of its own, an atom.  The other numbers are divided at their quantiles into
intervals that as many rows have, and a number's position in its interval is that of its rank: so positions are uniform,
whatever the distribution, and heavy tails take no more room than the rest.  (CTGAN and TVAE have modes of a Gaussian
mixture in the place of intervals: Xu et al., arXiv:1907.00503, section 4.2.)  A category is an atom; rare ones share an
interval in which their order by frequency is the position, so that they come back under their own names and at their
own rates.  A missing value is an entry in either.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from ...table_shape import Block, TableShape
from .columns import Column
from .constraints import NO_CONSTRAINTS, Constraints
from .counts import ValueCounts, count_columns, count_values

ROWS_PER_INTERVAL, ROWS_PER_ATOM, MAX_KNOTS = 50, 5, 2048
"""least rows for each interval, and on average for each number where all are atoms; most points of a column's quantiles
that are kept"""
MIN_CATEGORY_ROWS, MAX_CATEGORIES = 5, 256
"""rows below which a category is rare, and most categories of a column that are not"""


class Resolution(NamedTuple):
    """How finely numbers are told apart."""

    intervals: int
    """most intervals of a column"""
    atoms: int
    """most numbers that are all atoms, beside those that many rows have"""


FINE, COARSE = Resolution(64, 128), Resolution(10, 16)
"""for a distribution of each column, and for networks that judge rows whole (CTGAN has up to ten modes)"""


@dataclass(frozen=True, eq=False)
class ColumnEncoding:
    """The entries of a column.

    `atoms` are its values with an entry each; `knots`, ascending, and their `ranks` from 0 to 1 the quantiles of the
    others, which `intervals` divide equally.  Values between two knots of numbers have ranks between theirs; a rare
    category has those from its own to the next.
    """

    atoms: Float64[Tensor, " a"]
    knots: Float64[Tensor, " k"]
    ranks: Float64[Tensor, " k_or_more"]
    intervals: int
    has_missing: bool
    is_category: bool
    decimals: int | None = None
    """to how many decimals numbers are rounded; None leaves them as they are"""

    @property
    def block(self) -> Block:
        return Block(len(self.atoms), self.intervals, self.has_missing, self.is_category)

    @cached_property
    def sorted_atoms(self) -> tuple[Float64[Tensor, " a"], Int64[Tensor, " a"]]:
        """The atoms in ascending order, and where each is among them."""
        atoms, order = self.atoms.sort()
        return atoms, order

    def encode(self, x: Float64[Tensor, " n"]) -> tuple[Int64[Tensor, " n"], Float[Tensor, " n"]]:
        """The entry of each value, and its position in an interval, 0.5 where the entry is none."""
        entry = torch.full(x.shape, len(self.atoms), device=x.device)
        position = torch.full(x.shape, 0.5, dtype=torch.float64, device=x.device)
        if self.intervals:
            scaled = (self.rank(x) * self.intervals).nan_to_num(0)
            interval = scaled.floor().clamp(0, self.intervals - 1)
            entry, position = entry + interval.long(), (scaled - interval).clamp(0, 1)
        if len(self.atoms):
            atoms, order = (t.to(x.device) for t in self.sorted_atoms)
            place = torch.searchsorted(atoms, x.contiguous()).clamp_(max=len(atoms) - 1)
            if not self.intervals and len(atoms) > 1:  # the nearest: no value is between two
                before = (place - 1).clamp_(min=0)
                place = torch.where((x - atoms[before]).abs() < (x - atoms[place]).abs(), before, place)
            is_atom = (atoms[place] == x) if self.intervals else ~x.isnan()
            entry, position = torch.where(is_atom, order[place], entry), position.masked_fill(is_atom, 0.5)
        is_missing = x.isnan()
        last = self.block.entries - 1
        return entry.masked_fill(is_missing, last), position.masked_fill(is_missing, 0.5).float()

    def decode(self, entry: Int64[Tensor, " n"], position: Float[Tensor, " n"] | None) -> Float64[Tensor, " n"]:
        """The value of each entry, and its position in an interval."""
        x = torch.full(entry.shape, torch.nan, dtype=torch.float64, device=entry.device)
        a = len(self.atoms)
        if a:
            x = torch.where(entry < a, self.atoms.to(entry.device)[entry.clamp(max=a - 1)], x)
        if self.intervals and position is not None:
            interval = (entry - a).clamp(0, self.intervals - 1)
            rank = (interval + position.double().clamp(0, 1)) / self.intervals
            value = self.quantile(rank) if self.decimals is None else self.quantile(rank).round(decimals=self.decimals)
            x = torch.where((entry >= a) & (entry < a + self.intervals), value, x)
        return x

    def rank(self, x: Float64[Tensor, " n"]) -> Float64[Tensor, " n"]:
        """The share of the values below each, from 0 to 1; of a rare category the middle of its own."""
        if self.is_category:
            index = torch.full((int(self.knots.max()) + 1,), -1, device=x.device)
            index[self.knots.long()] = torch.arange(len(self.knots), device=x.device)
            place = index[x.nan_to_num(-1).long().clamp(0, len(index) - 1)].clamp(min=0)
            ranks = self.ranks.to(x.device)
            return (ranks[place] + ranks[place + 1]) / 2
        return interpolate(x, self.knots.to(x.device), self.ranks.to(x.device))

    def quantile(self, rank: Float64[Tensor, " n"]) -> Float64[Tensor, " n"]:
        """The inverse of `rank`."""
        knots, ranks = self.knots.to(rank.device), self.ranks.to(rank.device)
        if self.is_category:
            place = torch.searchsorted(ranks, rank.contiguous(), right=True) - 1
            return knots[place.clamp(0, len(knots) - 1)]
        return interpolate(rank, ranks, knots)


def interpolate(x: Tensor, xs: Float64[Tensor, " k"], ys: Float64[Tensor, " k"]) -> Tensor:
    """The piecewise linear function through points, constant beyond them."""
    if len(xs) == 1:
        return torch.where(x.isnan(), x, ys[0])
    place = torch.searchsorted(xs, x.contiguous(), right=True).clamp_(1, len(xs) - 1)
    x0, x1, y0, y1 = xs[place - 1], xs[place], ys[place - 1], ys[place]
    return torch.lerp(y0, y1, ((x - x0) / (x1 - x0)).clamp(0, 1))


def fit_column(x: Float64[Tensor, " n"], column: Column, resolution: Resolution = FINE) -> ColumnEncoding:
    """The entries of a column with these values."""
    return fit_counts(count_values(x), column, resolution)


def fit_counts(value_counts: ValueCounts, column: Column, resolution: Resolution) -> ColumnEncoding:
    """The same of different values, and how many rows have each."""
    different, counts, has_missing = value_counts.values, value_counts.counts, bool(value_counts.missing)
    if column.is_category:
        return fit_category(different, counts, has_missing)
    n_rows = int(counts.sum())
    intervals = int(np.clip(n_rows // ROWS_PER_INTERVAL, 1, resolution.intervals))
    is_atom = (counts > n_rows / intervals) | np.isin(different, column.atoms)
    others, n = different[~is_atom], counts[~is_atom]
    if len(others) <= resolution.atoms and n.sum() >= ROWS_PER_ATOM * len(others):
        return make_encoding(different, has_missing=has_missing)
    middles = (np.cumsum(n) - n / 2) / n.sum()
    span = middles[-1] - middles[0]
    ranks = (middles - middles[0]) / span if span else np.zeros(1)
    keep = np.unique(np.searchsorted(ranks, np.linspace(0, 1, MAX_KNOTS)).clip(0, len(ranks) - 1))
    intervals = min(intervals, max(1, int(n.sum()) // ROWS_PER_INTERVAL))
    decimals = 0 if column.is_integral else column.decimals
    return make_encoding(different[is_atom], others[keep], ranks[keep], intervals, has_missing, decimals=decimals)


def fit_category(codes: np.ndarray, counts: np.ndarray, has_missing: bool) -> ColumnEncoding:
    """The entries of categories with these codes, each in so many rows."""
    order = np.argsort(-counts, kind="stable")
    n = int(np.clip((counts >= MIN_CATEGORY_ROWS).sum(), 1, MAX_CATEGORIES)) if len(codes) else 0
    if len(codes) - n <= 1:
        return make_encoding(codes, has_missing=has_missing, is_category=True)
    rare, rare_counts = codes[order[n:]], counts[order[n:]]
    ranks = np.concatenate([[0.0], np.cumsum(rare_counts) / rare_counts.sum()])
    return make_encoding(np.sort(codes[order[:n]]), rare, ranks, 1, has_missing, is_category=True)


def make_encoding(
    atoms: np.ndarray, knots: Sequence[float] | np.ndarray = (), ranks: Sequence[float] | np.ndarray = (),
    intervals: int = 0, has_missing: bool = False, is_category: bool = False, decimals: int | None = None,
) -> ColumnEncoding:  # fmt: skip
    """The entries with these atoms, and quantiles of the others."""
    a, k, r = (torch.tensor(np.asarray(part), dtype=torch.float64) for part in (atoms, knots, ranks))
    return ColumnEncoding(a, k, r, intervals, has_missing, is_category, decimals)


def entry_shares(value_counts: ValueCounts, encoding: ColumnEncoding) -> Float[Tensor, " w"]:
    """The share of the rows with these values that have each entry; 0 at the position."""
    entry, _ = encoding.encode(torch.from_numpy(value_counts.values))
    entries = torch.bincount(entry, torch.from_numpy(value_counts.counts), encoding.block.width).long()
    entries[encoding.block.entries - 1] += value_counts.missing
    return entries / entries.sum()


@dataclass(frozen=True, eq=False)
class TableEncoding:
    """The entries of all columns that are learnt, in their order."""

    columns: tuple[ColumnEncoding, ...]
    shares: Float[Tensor, " d"]
    """the share of the rows that have each entry; 0 at positions"""
    constraints: Constraints = NO_CONSTRAINTS
    """what holds in every row"""

    @cached_property
    def shape(self) -> TableShape:
        """That of a row as models see it."""
        return TableShape([column.block for column in self.columns], self.shares)

    @classmethod
    def fit(
        cls, x: Float64[Tensor, "n c"], columns: Sequence[Column], constraints: Constraints = NO_CONSTRAINTS,
        resolution: Resolution = FINE,
    ) -> "TableEncoding":  # fmt: skip
        """That of rows with these columns and constraints."""
        columns = constraints.learnt_columns(columns)
        value_counts = count_columns(x, constraints.learnt, [column.is_category for column in columns])
        encodings = tuple(fit_counts(*pair, resolution) for pair in zip(value_counts, columns, strict=True))
        parts = [entry_shares(*pair) for pair in zip(value_counts, encodings, strict=True)]
        return cls(encodings, torch.cat(parts) if parts else torch.zeros(0), constraints)

    def encode(self, x: Float64[Tensor, "n c"]) -> Float[Tensor, "n d"]:
        """Rows as models see them."""
        shape, x = self.shape, self.constraints.learnt(x)
        y = x.new_zeros(len(x), *shape, dtype=torch.float32)
        for j, (column, start) in enumerate(zip(self.columns, shape.starts, strict=True)):
            entry, position = column.encode(x[:, j])
            y.scatter_(1, (entry + start)[:, None], 1.0)
            if column.intervals:
                y[:, start + column.block.entries] = position
        return y

    def decode(self, y: Float[Tensor, "n d"]) -> Float64[Tensor, "n c"]:
        """The rows of the likeliest entries."""
        return self.constraints.restore(self.decode_learnt(y))

    def decode_learnt(self, y: Float[Tensor, "n d"]) -> Float64[Tensor, "n c"]:
        """The same, with what is learnt in place of columns that constraints bind."""
        shape, parts = self.shape, []
        for column, part in zip(self.columns, shape.entry_slices, strict=True):
            position = y[:, part.stop] if column.intervals else None
            parts.append(column.decode(y[:, part].argmax(1), position))
        return torch.stack(parts, 1)

    def state(self) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
        """Tensors by name, and what else is stored of each column."""
        tensors = {
            name: torch.cat([getattr(column, name) for column in self.columns]) for name in ("atoms", "knots", "ranks")
        }
        return tensors | {"shares": self.shares}, [
            {
                "sizes": [len(c.atoms), len(c.knots), len(c.ranks)], "intervals": c.intervals,
                "has_missing": c.has_missing, "is_category": c.is_category, "decimals": c.decimals,
            }
            for c in self.columns
        ]  # fmt: skip

    @classmethod
    def from_state(
        cls, tensors: dict[str, Tensor], columns: Sequence[dict[str, Any]], constraints: Constraints = NO_CONSTRAINTS
    ) -> "TableEncoding":
        """The inverse of `state`; ValueError where they do not go together."""
        sizes = [[int(c["sizes"][i]) for c in columns] for i in range(3)]
        names = ("atoms", "knots", "ranks")
        if any(tensors[name].shape != (sum(n),) for name, n in zip(names, sizes, strict=True)):
            raise ValueError("the entries of a table's columns are not as many as its header says")
        split = zip(*(tensors[name].double().split(n) for name, n in zip(names, sizes, strict=True)), strict=True)
        encodings = tuple(
            ColumnEncoding(a, k, r, int(c["intervals"]), bool(c["has_missing"]), bool(c["is_category"]), c["decimals"])
            for (a, k, r), c in zip(split, columns, strict=True)
        )
        shares = tensors["shares"].float()
        if tuple(shares.shape) != tuple(TableShape([encoding.block for encoding in encodings])):
            raise ValueError("the shares of a table's entries are not as many as its entries")
        return cls(encodings, shares, constraints)

    def to(self, device: torch.device) -> "TableEncoding":
        """The same on a device."""
        moved = (
            replace(c, atoms=c.atoms.to(device), knots=c.knots.to(device), ranks=c.ranks.to(device))
            for c in self.columns
        )
        return replace(self, columns=tuple(moved))
