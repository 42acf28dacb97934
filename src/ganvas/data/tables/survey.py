"""What the columns of a table are that is read a part at a time: by the different values that all of its rows have.

Of a column the different values are kept with how often each occurs, so `kinds.py` sees what it sees of a frame.  Where
they are more than MAX_DIFFERENT, those are kept that many rows have and a sample of the others by their hashes, which
depends on the values alone; their counts are exact.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ...errors import UserError
from .columns import PLAIN_TEXT, Column, FileFormat
from .frame import read_categorical, shown_value
from .kinds import BadValueError, Choice, infer
from .series import encode_series, hash_values

MAX_DIFFERENT, HEAVY_SHARE = 2**18, 1e-3
"""different values of a column that are kept, and the share of all rows from which on one is kept in any case"""


class Parts(NamedTuple):
    """A table that is read a part at a time, as often as needed."""

    name: str
    empty: pa.Table
    """a part without rows"""
    read: Callable[[], Iterator[pa.Table]]
    to_frame: Callable[[pa.Table], pd.DataFrame]
    describe_row: Callable[[int], str]
    """how a row is named in messages, 0 for the first"""
    is_file: bool = False
    has_commas: bool = False
    notes: tuple[str, ...] = ()
    file_format: FileFormat = PLAIN_TEXT


@dataclass
class Survey:
    """The different values of a column, and how many rows have each."""

    values: list[Any] = field(default_factory=list)
    counts: list[np.ndarray] = field(default_factory=list)
    categories: dict[Any, None] = field(default_factory=dict)
    """of Arrow's dictionaries what they have, in their order"""
    n: int = 0
    missing: int = 0
    is_sample: bool = False

    def add(self, column: pa.ChunkedArray) -> None:
        """Count the rows of a part."""
        if pa.types.is_dictionary(column.type):
            for chunk in column.chunks:
                self.categories |= dict.fromkeys(chunk.dictionary.to_pylist())
            column = column.cast(column.type.value_type)
        self.n, self.missing = self.n + len(column), self.missing + column.null_count
        counted = pc.value_counts(column.drop_null().combine_chunks())
        self.values.append(counted.field("values"))
        self.counts.append(counted.field("counts").to_numpy())
        if sum(map(len, self.values)) > 2 * MAX_DIFFERENT:
            self.merge()

    def merge(self) -> None:
        """Count each value once, and drop what are too many."""
        encoded = pa.concat_arrays(self.values).dictionary_encode()
        counts = np.bincount(encoded.indices.to_numpy(), np.concatenate(self.counts), len(encoded.dictionary))
        values, counts = encoded.dictionary, counts.astype(np.int64)
        if len(values) > MAX_DIFFERENT:
            self.is_sample = True
            is_kept = counts >= HEAVY_SHARE * self.n
            is_kept[np.argpartition(hash_values(np.asarray(values.to_pandas())), MAX_DIFFERENT)[:MAX_DIFFERENT]] = True
            values, counts = values.filter(pa.array(is_kept)), counts[is_kept]
        self.values, self.counts = [values], [counts]

    def finish(self) -> tuple[pa.Array, np.ndarray]:
        """The different values, a missing one at last where there is any, and how many rows have each.

        Of a sample those are as many as if all of its rows were a sample.
        """
        self.merge()
        (values,), (counts,), missing = self.values, self.counts, self.missing
        if self.is_sample:
            is_heavy = counts >= HEAVY_SHARE * self.n
            others = self.n - missing - counts[is_heavy].sum()
            share = counts[~is_heavy].sum() / max(1, others)
            counts[is_heavy] = np.ceil(counts[is_heavy] * share)
            missing = int(np.ceil(missing * share))
            few = int(HEAVY_SHARE * (counts.sum() + missing))  # one of the others must not look as if many had it
            counts[~is_heavy] = np.minimum(counts[~is_heavy], max(1, few))
        if missing:
            values = pa.concat_arrays([values, pa.nulls(1, values.type)])
            counts = np.append(counts, missing)
        return values, counts


@dataclass(frozen=True)
class ColumnReading:
    """A column of a table, and what reading its parts takes to know."""

    column: Column
    is_dropped: bool = False
    is_sample: bool = False
    times: str = ""
    """of times of Arrow or Python, as which kind all of them are counted"""
    is_unreadable: bool = False
    """no kind of column has such values, which one that is dropped may hold"""


def survey_columns(
    parts: Parts, choices: dict[str, Choice], drop: tuple[str, ...]
) -> tuple[list[ColumnReading], list[str], int]:
    """All columns, by all rows, notes, and how many rows there are; UserError for what no model can learn."""
    labels = {str(label): label for label in parts.to_frame(parts.empty).columns}
    surveys, n = {name: Survey() for name in labels}, 0
    for part in parts.read():
        n += len(part)
        for name, survey in list(surveys.items()):
            try:
                survey.add(part.column(name))
            except (pa.ArrowNotImplementedError, pa.ArrowTypeError):  # of types that no column may have: it says so
                if name not in drop:
                    encode_series(name, parts.to_frame(part.select([name])).iloc[:, 0])
                    raise
                del surveys[name]
    if not n:
        raise UserError(f"{parts.name} has no rows: give one or more")
    readings, notes = list[ColumnReading](), list[str]()
    for name, label in labels.items():
        if name in surveys:
            one, more = find_column(parts, name, surveys[name], parts.empty.schema, choices.get(name), name in drop)
        else:
            one, more = unreadable_column(name), []
        if not isinstance(label, str):
            one = replace(one, column=replace(one.column, details={**one.column.details, "label": label}))
        readings.append(one)
        notes += [] if one.is_dropped else more
    return readings, notes, n


def unreadable_column(name: str) -> ColumnReading:
    """A column that is dropped, and has values that no model can learn."""
    return ColumnReading(Column(name, "constant"), is_dropped=True, is_unreadable=True)


def find_column(
    parts: Parts, name: str, survey: Survey, schema: pa.Schema, choice: Choice | None, is_dropped: bool
) -> tuple[ColumnReading, list[str]]:
    """A column, by the different values that it has, and notes."""
    uniques, weights = survey.finish()
    plain = pa.schema([schema.field(name).with_type(uniques.type)], schema.metadata)
    series = parts.to_frame(pa.Table.from_arrays([uniques], schema=plain)).iloc[:, 0]
    if survey.categories:
        return ColumnReading(find_categorical(name, series, weights, survey, schema.field(name).type), is_dropped), []
    if pa.types.is_floating(uniques.type) and (infinite := uniques.filter(pc.is_inf(uniques))):
        if is_dropped:
            return unreadable_column(name), []
        where = find_row(parts, name, infinite[0])
        raise UserError(f"{parts.name}: the column {name} has an infinite number in {where}: put a number there")
    try:
        values, codes, _ = encode_series(
            name, series, is_file=parts.is_file, has_commas=parts.has_commas, weights=weights
        )
    except UserError:
        if is_dropped:
            return unreadable_column(name), []
        raise
    times = str(values.details.get("times", ""))
    if is_dropped:
        return ColumnReading(Column(name, "constant"), True, survey.is_sample, times), []
    try:
        column, notes = infer(values, choice)
    except BadValueError as error:
        where = find_row(parts, name, uniques[int(np.flatnonzero(codes == error.index)[0])])
        shown = shown_value(values, error.index)
        raise UserError(f"{parts.name}, {where}, column {name}: {shown} {error}") from None
    if survey.is_sample and column.is_category:
        what = f"{parts.name}: column {name} has more than {MAX_DIFFERENT:,} categories"
        raise UserError(f"{what}: leave it out by --drop, or say --column '{name}:identifier'")
    return ColumnReading(column, False, survey.is_sample, times), notes


def find_categorical(name: str, series: pd.Series, weights: np.ndarray, survey: Survey, kind: Any) -> Column:
    """A column of Arrow's dictionaries, which say what its categories are."""
    values = pd.Series(pd.Categorical(series, [*survey.categories], ordered=kind.ordered))
    column, _, _ = read_categorical(name, values.cat, series.astype(object), {"categorical": category_type(values)})
    codes = values.cat.codes.to_numpy()
    counts = np.bincount(codes[codes >= 0], weights[codes >= 0], len(survey.categories)).astype(int).tolist()
    missing = survey.missing / survey.n
    return replace(column, missing=missing, details={**column.details, "counts": counts})


def category_type(series: pd.Series) -> str:
    """The type of a series' categories."""
    return str(series.cat.categories.dtype)


def find_row(parts: Parts, name: str, value: pa.Scalar) -> str:
    """How the first row is named that has a value."""
    offset = 0
    for part in parts.read():
        if (row := pc.index(part.column(name), value).as_py()) >= 0:
            return parts.describe_row(offset + row)
        offset += len(part)
    raise AssertionError("some row has it")
