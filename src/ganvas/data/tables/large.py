"""Tables larger than memory: read a part at a time into a file in the cache, which is mapped, so they are read once.

A file is read twice: first `survey.py` finds what its columns are, then each part becomes numbers.  In memory are one
part, the different values of each column, and 8 bytes a row.  Entries of the cache are those of `decoded.py`: `x` has
the rows of a split, and `labels` their hashes.
"""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from ...errors import UserError
from .. import decoded
from ..dataset import Dataset, split_indices
from ..listing import join_names
from ..memory import MAX_MEMORY_SHARE, available_memory, format_bytes
from ..options import DataOptions
from ..parquet import open_file, wrap_read_errors
from ..parquet_footer import read_row_groups
from ..shard_files import PARQUET
from . import text_files
from .columns import Column, FileFormat, column_from_json
from .frame import ROWS_AT_ONCE, kind_notes, read_choices, shown_value, value_numbers
from .kinds import BadValueError, Choice, choose
from .series import HASH_FACTOR, encode_series, hash_looks, hash_values, row_hashes
from .survey import ColumnReading, Parts, survey_columns
from .table import Table
from .text_files import BLOCK_BYTES, TEXT_SUFFIXES, empty_line_notes, examine, name_columns, text_parts
from .texts import DAY

FORMAT, PART_ROWS, MEMORY_COPIES = 2, 2**17, 3
"""one more whenever tables become other numbers; rows of Parquet that are read at once, of one row group; how often the
values of a table are in memory while all of it is read there"""


def is_large(path: Path, options: DataOptions) -> bool:
    """Whether a table is read a part at a time: as the options say, or else where memory has no room for it."""
    is_text = path.name.lower().endswith(TEXT_SUFFIXES)
    if not is_text and path.suffix.lower() != PARQUET:
        if options.stream == "always":
            raise UserError(f"{path} is read whole: save it as Parquet, or leave out stream=always")
        return False
    if options.stream != "auto":
        return options.stream == "always"
    need = text_files.memory_need(path) if is_text else parquet_need(path)
    return need > MAX_MEMORY_SHARE * available_memory()


def parquet_need(path: Path) -> int:
    """Bytes of memory that reading a whole Parquet file takes, about; 0 where it does not say it."""
    with suppress(OSError, ValueError):
        groups = read_row_groups(path)
        numbers = 8 * sum(group.rows * len(group.chunks) for group in groups)
        return MEMORY_COPIES * max(numbers, sum(group.n_bytes for group in groups))
    return 0


def load_large(path: Path, options: DataOptions, name: str) -> Table:
    """The rows of the split that the options name, mapped from the cache; UserError where it has no room for them."""
    place = entry_path(path, options)
    if (table := find_table(place)) is None:
        try:
            table = keep_table(path, options, name, place)
        except decoded.NotKeptError as error:
            what = f"{path} is read a part at a time into a file of the cache, which is not possible: {error}"
            raise UserError(f"{what}; stream=never reads it into memory") from error
    size = f"{len(table):,} rows of {table.name} take {format_bytes(table.x.nbytes)}"
    note = f"{size}, which are read from a file in the cache, {decoded.folder()}, as they are needed"
    return replace(table, notes=(*table.notes, note))


def entry_path(path: Path, options: DataOptions) -> Path:
    """Where the entry is for a file as it is now, and for these options."""
    status, versions = path.stat(), [pd.__version__, pa.__version__, np.__version__]
    choices = [options.column, options.drop, options.split, "auto" if options.holdout is None else options.holdout]
    values = ["table", FORMAT, versions, decoded.USER, str(path.resolve()), status.st_size, status.st_mtime_ns, choices]
    return decoded.folder() / f"{blake2b(json.dumps(values).encode(), digest_size=16).hexdigest()}{decoded.SUFFIX}"


def find_table(place: Path, fingerprint: str | None = None) -> Table | None:
    """The table of an entry, if there is one that is whole; all of it is read, unless its fingerprint is known."""
    try:
        dataset, facts = decoded.open_entry(place, fingerprint)
        columns = tuple(map(column_from_json, facts["columns"]))
        assert dataset.labels is not None
        table = Table(
            x=dataset.x,
            columns=columns,
            name=dataset.name,
            notes=dataset.notes,
            hashes=dataset.labels,
            is_mapped=True,
            file_format=FileFormat(*facts.get("file_format", ())),
        )
    except OSError:
        return None
    except Exception:  # damaged in any way: it is made anew
        with suppress(OSError):
            place.unlink()
        return None
    with suppress(OSError):
        os.utime(place)
    return table


def keep_table(path: Path, options: DataOptions, name: str, place: Path) -> Table:
    """Read a table into its entry; NotKeptError where the cache has no room for it."""
    parts, room = open_parts(path), list[str]()
    choices = read_choices(parts.to_frame(parts.empty), options, parts.name)
    readings, notes, n = survey_columns(parts, choices, options.drop)
    columns = [one.column for one in readings if not one.is_dropped]
    if not (width := sum(column.is_learnt for column in columns)):
        raise UserError(f"{path} has nothing to learn: {'; '.join(kind_notes(columns)) or 'all columns are dropped'}")
    file = decoded.ExampleFile(8 * n * width, room)
    try:
        columns, hashes, more = write_rows(parts, readings, file)
        notes = [*parts.notes, *notes, *kind_notes(columns), *more]
        index, split_notes = split_indices(n, hashes, options, name)
        keep_rows(file, index.numpy())
        x, kept = file.map(), torch.from_numpy(hashes.view(np.int64))[index]
        dataset = Dataset(x=x, labels=kept, name=name, notes=(*notes, *split_notes))
        facts = {"source": str(path.resolve()), "columns": [column.as_json() for column in columns],
                 "file_format": parts.file_format}  # fmt: skip
        fingerprint = file.finish(dataset, facts, place)
        del dataset, x  # and with them what maps the file
        file.rename(place)
    finally:
        file.discard()
    if (table := find_table(place, fingerprint)) is None:
        raise decoded.NotKeptError(f"{place} cannot be read back")
    return replace(table, notes=(*table.notes, *room))


def write_rows(
    parts: Parts, readings: Sequence[ColumnReading], file: decoded.ExampleFile
) -> tuple[list[Column], np.ndarray, list[str]]:
    """Write the numbers of all rows; the columns, of which some things are known only now, rows' hashes, and notes."""
    hashes, extents, n = list[np.ndarray](), [Extent() for _ in readings], 0
    for part in parts.read():
        frame, numbers = parts.to_frame(part), list[np.ndarray]()
        hashes.append(np.zeros(len(frame), np.uint64))
        for place, one in enumerate(readings):
            x, row_numbers = part_numbers(parts, one, frame.iloc[:, place], extents[place], n)
            hashes[-1] = hashes[-1] * HASH_FACTOR ^ row_numbers
            if x is not None:
                numbers.append(x)
        for start in range(0, len(frame), ROWS_AT_ONCE):  # which stay in the processor's cache
            file.write(np.stack([x[start : start + ROWS_AT_ONCE] for x in numbers], 1))
        n += len(frame)
    known = [(one, extent) for one, extent in zip(readings, extents, strict=True) if not one.is_dropped]
    columns = [extent.complete(one.column, n) if one.is_sample else one.column for one, extent in known]
    counted = [column.name for (one, extent), column in zip(known, columns, strict=True)
               if one.is_sample and extent.is_counted(column, n)]  # fmt: skip
    how = f"if they are identifiers, say --column '{counted[0]}:identifier'" if counted else ""
    notes = [f"numbers that count the rows are learnt: {join_names(counted)}; {how}"] if counted else []
    return columns, np.concatenate(hashes), notes


def part_numbers(
    parts: Parts, one: ColumnReading, series: pd.Series, extent: "Extent", offset: int
) -> tuple[np.ndarray | None, np.ndarray]:
    """The numbers of a column's part, None where it is not learnt, and a number for each row by its content.

    `offset` are the rows before it.  UserError for values that are not what the column has.
    """
    column, categories = one.column, None
    if one.is_unreadable:
        return None, hash_looks(series)
    if isinstance(series.dtype, pd.CategoricalDtype):
        categories, series = series.cat, series.astype(object)
    values, codes, hashes = encode_series(
        column.name, series, is_file=parts.is_file, missing=column.details.get("missing", ())
    )
    if one.times == "datetime" and values.details.get("times") == "date":  # all of this part are at midnight
        hashes = row_hashes(hash_values(values.uniques * float(DAY)), codes)
    if one.is_dropped:
        return None, hashes
    if one.is_sample and "last" in column.details and len(values.uniques):
        extent.see_identifiers(choose(values, Choice("identifier"))[0])
    if not column.is_learnt:
        return None, hashes
    try:
        if categories is not None:
            places = {category: i for i, category in enumerate(column.categories)}
            index = np.array([*(places[c] for c in categories.categories.tolist()), np.nan])
            return index[categories.codes.to_numpy()], hashes
        numbers = value_numbers(column, values)
        if column.kind == "integer" and (broken := np.flatnonzero(numbers != np.rint(numbers))).size:
            raise BadValueError(int(broken[0]), f"is no integer, as most are: say --column '{column.name}:real'")
    except BadValueError as error:
        where = parts.describe_row(offset + int(np.flatnonzero(codes == error.index)[0]))
        shown = shown_value(values, error.index)
        raise UserError(f"{parts.name}, {where}, column {column.name}: {shown} {error}") from None
    x = np.append(numbers, np.nan)[codes]
    extent.see_numbers(numbers, int((codes < 0).sum()))
    return x, hashes


@dataclass
class Extent:
    """What a sample of a column's values does not say: the lowest and the highest number, and how many are missing."""

    low: float = np.inf
    high: float = -np.inf
    missing: int = 0
    last: int | None = None

    def see_numbers(self, numbers: np.ndarray, missing: int) -> None:
        """Take in the numbers of a part."""
        self.low, self.high = min(self.low, numbers.min(initial=np.inf)), max(self.high, numbers.max(initial=-np.inf))
        self.missing += missing

    def see_identifiers(self, part: Column) -> None:
        """Take in the identifiers of a part, the greatest of which is the last."""
        if "last" in part.details:
            self.last = max(part.details["last"], part.details["last"] if self.last is None else self.last)

    def complete(self, column: Column, n: int) -> Column:
        """The column, of n rows, as all of them say it is."""
        if column.kind == "identifier":
            details = column.details if self.last is None else {**column.details, "last": self.last}
            return replace(column, details=details, missing=self.missing / n)
        return replace(column, low=float(self.low), high=float(self.high), missing=self.missing / n)

    def is_counted(self, column: Column, n: int) -> bool:
        """Whether integers most likely count the rows."""
        return column.kind == "integer" and bool(self.high - self.low == n - 1) and self.low in (0, 1)


def keep_rows(file: decoded.ExampleFile, index: np.ndarray) -> None:
    """Leave only the rows with these indices, ascending, in a file."""
    file.file.flush()
    if len(index) < file.n:
        rows = np.memmap(file.path, np.float64, "r+", decoded.HEADER_BYTES, (file.n, *file.shape))
        for i in range(0, len(index), PART_ROWS):
            part = index[i : i + PART_ROWS]
            rows[i : i + len(part)] = rows[part]
        rows.flush()
        del rows
        file.n = len(index)
        file.file.truncate(decoded.HEADER_BYTES + 8 * file.n * file.shape[0])
    file.file.seek(0, os.SEEK_END)


def open_parts(path: Path) -> Parts:
    """What reads a file a part at a time; UserError where it is damaged."""
    if path.name.lower().endswith(TEXT_SUFFIXES):
        return open_texts(path)
    with wrap_read_errors(path), open_file(path) as file:
        empty = file.schema_arrow.empty_table()

    def read() -> Iterator[pa.Table]:
        with wrap_read_errors(path), open_file(path) as file:
            for batch in file.iter_batches(PART_ROWS):
                batch.validate(full=True)  # or else a damaged text would be what lies beside it in memory
                yield pa.Table.from_batches([batch], file.schema_arrow)

    def to_frame(part: pa.Table) -> pd.DataFrame:
        with wrap_read_errors(path):  # of what pandas has written into it
            return part.to_pandas()

    return Parts(str(path), empty, read, to_frame, lambda row: f"row {row + 1:,}")


def open_texts(path: Path) -> Parts:
    """The same of a file of texts."""
    file, _ = examine(path, is_whole=False)
    notes = list[str]()
    try:
        first = next(text_parts(file, BLOCK_BYTES))
    except UnicodeDecodeError:
        file = file._replace(encoding="latin-1")
        first, notes = next(text_parts(file, BLOCK_BYTES)), [f"{path.name} is not in UTF-8: it was read as latin-1"]
    names, has_names, more = name_columns([column[0].as_py() for column in first.columns])

    def read() -> Iterator[pa.Table]:
        skipped = int(has_names)
        for part in text_parts(file, BLOCK_BYTES):
            yield part.slice(skipped).rename_columns(names)
            skipped = 0

    def to_frame(part: pa.Table) -> pd.DataFrame:
        return part.to_pandas(types_mapper=pd.ArrowDtype)

    def describe_row(row: int) -> str:
        return f"line {file.line_of(row + has_names):,}"

    empty = first.slice(0, 0).rename_columns(names)
    commas = file.delimiter != ","
    notes += [*more, *empty_line_notes(file, len(names))]
    return Parts(str(path), empty, read, to_frame, describe_row, True, commas, tuple(notes), file.format)
