"""A table as a dataset: a row is an example."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from math import prod
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from ...errors import UserError
from ...model import Shape
from ..dataset import Dataset
from .columns import PLAIN_TEXT, Column, FileFormat, learnt_columns
from .constraints import parse_constraints
from .encoding import Resolution, TableEncoding

MAX_ENCODED_BYTES = 2**27
"""of rows as a model sees them that are in memory at once, where samples are measured"""


@dataclass(frozen=True, kw_only=True, eq=False)
class Table(Dataset):
    """Rows of a table.

    `columns` are all of its columns, in the source's order.  `x`, n x c, float64, has a number of each row for those
    that are learnt (`learnt_columns`), as `columns.py` says; NaN where a value is missing.  `encoding` is how models
    see them, and `shape` the shape of a row then; without one it is (c,).  `hashes`, int64, is a number for each row by
    the content of all of its columns as the source has them, by which it is held out or not.
    """

    columns: tuple[Column, ...] = ()
    encoding: TableEncoding | None = None
    has_own_encoding: bool = False
    """whether the encoding was made of these rows, and not taken from a model"""
    by_conditions: bool = False
    """whether an epoch draws rows by conditions, as CTGAN learns, and a batch's labels are these"""
    hashes: Tensor | None = None
    file_format: FileFormat = PLAIN_TEXT
    """how the source is written, if it is a file of texts"""
    is_mapped: bool = False
    """whether `x` is read from a file in the cache, as it is needed"""

    def __post_init__(self) -> None:
        assert self.x.dtype == torch.float64
        assert self.x.shape[1] == len(self.learnt_columns)

    @property
    def learnt_columns(self) -> tuple[Column, ...]:
        """The columns that `x` has."""
        return learnt_columns(self.columns)

    @property
    def shape(self) -> Shape:
        return super().shape if self.encoding is None else self.encoding.shape

    @property
    def kind(self) -> str:
        return "vector"

    def encoded_by(self, scaling: Any) -> Dataset:
        """The rows as a model sees them, as vectors; by their own encoding where the scaling is of no table.

        Of rows that would take more than `MAX_ENCODED_BYTES` a sample, always the same one.
        """
        encoding = getattr(scaling, "encoding", None) or self.encoding
        assert encoding is not None
        most = max(1, MAX_ENCODED_BYTES // (4 * prod(encoding.shape)))
        part, n = (self, None) if len(self) <= most else (self.sample(most, "encoded"), len(self))
        x = encoding.encode(part.x)
        return Dataset(x=x, name=self.name, notes=self.notes, files=part.files, sampled_from=n)

    def draw_order(self, generator: torch.Generator) -> Int64[Tensor, " n"] | None:
        """With `by_conditions` n rows by training-by-sampling: a column, each as likely; an entry of it, as likely as
        the logarithm of its rows is large; and one of these rows.  Xu et al., arXiv:1907.00503, section 4.3.

        Of row r and the place p of the entry the number is r + n p.
        """
        if not self.by_conditions:
            return None
        assert self.encoding is not None
        shape, n = self.encoding.shape, len(self)
        which = torch.randint(len(shape.condition_columns), (n,), generator=generator)
        order = torch.empty(n, dtype=torch.int64)
        for i, j in enumerate(shape.condition_columns):
            counts, by_entry = self.rows_by_condition[i]
            wanted = (which == i).nonzero()[:, 0]
            if not len(wanted):
                continue
            drawn = torch.multinomial(counts.double().log1p(), len(wanted), replacement=True, generator=generator)
            first = counts.cumsum(0) - counts
            rank = (torch.rand(len(wanted), generator=generator, dtype=torch.float64) * counts[drawn]).long()
            order[wanted] = by_entry[first[drawn] + rank].long() + n * (drawn + shape.starts[j])
        return order

    @cached_property
    def rows_by_condition(self) -> list[tuple[Int64[Tensor, " e"], Tensor]]:
        """Of each column of conditions how many rows have each entry, and the rows, int32, in the order of these."""
        assert self.encoding is not None
        shape, pairs = self.encoding.shape, []
        for j in shape.condition_columns:
            entry, _ = self.encoding.columns[j].encode(self.x[:, j].cpu())
            pairs.append((entry.bincount(minlength=shape.blocks[j].entries), entry.argsort(stable=True).int()))
        return pairs

    def labels_of(self, index: Int64[Tensor, " b"]) -> tuple[Tensor, Tensor | None]:
        return (index % len(self), index // len(self)) if self.by_conditions else super().labels_of(index)

    def by_condition(self) -> "Table":
        """The table whose epochs draw rows by conditions."""
        return replace(self, by_conditions=True)

    def with_resolution(self, resolution: Resolution) -> "Table":
        """The table with numbers told apart as finely as this, unless its encoding is that of a model."""
        assert self.encoding is not None
        if not self.has_own_encoding:
            return self
        encoding = TableEncoding.fit(self.x, self.learnt_columns, self.encoding.constraints, resolution)
        return replace(self, encoding=encoding)

    def with_own_encoding(self, constraints: Sequence[str] = ()) -> "Table":
        """The table with the encoding that its own rows suggest; UserError where it has no column to learn.

        `constraints` are texts, of what holds in every row: UserError where they cannot be read, or a row breaks one.
        """
        if not self.learnt_columns:
            kinds = ", ".join(f"{c.name} is {'an' if c.kind == 'identifier' else 'a'} {c.kind}" for c in self.columns)
            raise UserError(
                f"{self.name} has no column to learn ({kinds}): give more rows, or say --column NAME:category"
            )
        columns = self.learnt_columns
        parsed = parse_constraints(constraints, columns, self.x, self.name)
        encoding = TableEncoding.fit(self.x, columns, parsed)
        # what is computed from other columns may lie beyond what the rows have
        free = {columns[parsed.items[i].places[-1]].name for i in parsed.kept}
        stored = tuple(replace(c, low=None, high=None) if c.name in free else c for c in self.columns)
        return replace(self, columns=stored, encoding=encoding, has_own_encoding=True)

    def with_columns(self, columns: Sequence[Column], encoding: TableEncoding) -> "Table":
        """The table with the columns and the encoding of a model; UserError where it has others.

        Categories that the model does not know are missing values to it, and where it knows of none the most frequent
        value, which notes say.  Of identifiers it wants to know which are missing, whatever these rows have.
        """
        names_of_all = [c.name for c in self.columns]
        own, known = {c.name: c for c in self.learnt_columns}, [c for c in columns if c.is_learnt]
        parts, notes, is_same = [], [], [c.name for c in known] == [*own]
        for column in known:
            if column.kind == "identifier" and column.name in names_of_all:
                is_same &= column.name in own and own[column.name].categories == column.categories
                parts.append(self.presence(column.name))
                continue
            if column.name not in own:
                has = ", ".join(own) or "none"
                raise UserError(f'{self.name} has no column "{column.name}" that the model has learnt; it has: {has}')
            mine = own[column.name]
            x = self.x[:, self.learnt_columns.index(mine)]
            kinds_of_both = mine.kind, column.kind
            if kinds_of_both == ("date", "datetime"):
                is_same, x = False, x * 86_400
            elif kinds_of_both == ("datetime", "date") and bool((x.nan_to_num(0) % 86_400 == 0).all()):
                is_same, x = False, x / 86_400
            elif mine.is_category != column.is_category or unit_of(mine) != unit_of(column):
                kinds = f"holds {mine.kind} values, but the model has learnt it as {column.kind}"
                raise UserError(
                    f'{self.name}: column "{column.name}" {kinds}: say --column {column.name}:{column.kind}'
                )
            if column.is_category:
                places = {str(value): i for i, value in enumerate(column.categories)}
                names = [str(value) for value in mine.categories]
                codes = torch.tensor([float(places.get(name, torch.nan)) for name in names], dtype=torch.float64)
                unknown = [name for name in names if name not in places]
                if unknown:
                    what = f'the model does not know these of column "{column.name}", missing to it'
                    notes.append(f"{what}: {', '.join(unknown[:5])}")
                if not torch.equal(codes, torch.arange(len(names), dtype=torch.float64)):
                    is_same, x = False, torch.where(x.isnan(), x, codes[x.nan_to_num(0).long()])
            if not encoding.columns[len(parts)].has_missing and x.isnan().any():
                is_same, x, note = False, *fill_gaps(x, column)
                notes.append(note)
            parts.append(x)
        x = self.x if is_same else torch.stack(parts, 1)
        table = replace(self, x=x, columns=tuple(columns), encoding=encoding, has_own_encoding=False)
        return table.with_notes(notes) if notes else table  # type: ignore[return-value]

    def presence(self, name: str) -> Float64[Tensor, " n"]:
        """0 for each row that has a value in a column, and NaN for those that have none."""
        names = [column.name for column in self.learnt_columns]
        x = self.x[:, names.index(name)] if name in names else self.x.new_zeros(len(self))
        return torch.where(x.isnan(), x, 0.0)

    def example_hashes(self) -> Iterable[int] | np.ndarray:
        return super().example_hashes() if self.hashes is None else self.hashes.numpy().view("uint64")

    def replace_examples(self, x: Tensor, index: Any) -> "Dataset":
        part = super().replace_examples(x, index)
        assert isinstance(part, Table)
        return part if self.hashes is None else replace(part, hashes=self.hashes[index])

    @cached_property
    def content_hash(self) -> str:
        columns = str([(c.name, c.kind, c.dtype, c.categories) for c in self.columns])
        return sha256((columns + super().content_hash).encode()).hexdigest()


def unit_of(column: Column) -> str:
    """The unit of a column's numbers, where it has one of its own: that of dates or of times."""
    return column.kind if column.kind in ("date", "datetime", "time") else ""


def fill_gaps(x: Float64[Tensor, " n"], column: Column) -> tuple[Float64[Tensor, " n"], str]:
    """A column's numbers with its most frequent category or their median in place of missing ones, and a note."""
    gone, counts = x.isnan(), column.details.get("counts", ())
    if column.is_category:
        place = int(np.argmax(counts)) if len(counts) else 0
        typical, shown = float(place), f"its most frequent value, {column.categories[place]},"
    else:
        typical, shown = float(x[~gone].median()) if not gone.all() else column.low or 0.0, "the median"
    what = f'the model knows no missing value of the column "{column.name}": it has {shown} in'
    return torch.where(gone, typical, x), f"{what} {int(gone.sum()):,} of {len(x):,} rows"
