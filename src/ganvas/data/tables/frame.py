"""Frames of pandas as numbers that a model learns, and numbers as a frame that looks as the source did."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import torch

from ...errors import UserError, did_you_mean
from ...io.parallel import CORES, in_parallel
from ..listing import join_names
from ..options import DataOptions
from .columns import PLAIN_TEXT, Column
from .identifiers import new_identifiers
from .kinds import BadValueError, Choice, Values, infer, parse_choice
from .series import HASH_FACTOR, encode_series, hash_looks, is_text, without_arrow
from .table import Table
from .texts import (
    NumberFormat,
    TimeFormat,
    as_times,
    count_times,
    format_numbers,
    format_times,
    parse_numbers,
    parse_times,
)

ROWS_AT_ONCE, MAX_WORKERS = 8192, 4
"""rows of a part, and columns that are read side by side, each of which takes memory meanwhile"""
TYPE_NAMES = {"bool": bool, "int": int, "float": float}


def from_frame(
    frame: pd.DataFrame, options: DataOptions | None = None, *, name: str = "table", file: str = ""
) -> Table:
    """The table of a frame of pandas, which was read from a file, or from none.

    A frame that was read from texts has `attrs` that say so, as `read.py` sets them.  Raises UserError for columns that
    no model can learn, and for options that do not fit them.
    """
    options, where = options or DataOptions(), file or name
    choices = read_choices(frame, options, where)
    if not len(frame):
        raise UserError(f"{where} has no rows: give one or more")
    columns, notes, numbers = list[Column](), list[str](), list[np.ndarray]()
    hashes = np.zeros(len(frame), np.uint64)

    def read(place: int) -> tuple[Column | None, list[str], np.ndarray, np.ndarray]:
        column_name = str(frame.columns[place])
        series = without_arrow(frame.iloc[:, place])
        try:
            return read_column(column_name, series, choices.get(column_name), frame, where)
        except UserError:
            if column_name not in options.drop:
                raise
            return None, [], np.empty(0), hash_looks(series)

    parts = in_parallel(read, range(frame.shape[1]), workers=min(CORES, MAX_WORKERS))
    for label, (column, column_notes, x, row_hashes) in zip(frame.columns, parts, strict=True):
        hashes = hashes * HASH_FACTOR ^ row_hashes
        if column is None or str(label) in options.drop:
            continue
        more = {} if isinstance(label, str) else {"label": label}
        columns.append(replace(column, details=column.details | more))
        notes += column_notes
        if column.is_learnt:
            numbers.append(x)
    if not numbers:
        raise UserError(f"{where} has nothing to learn: {'; '.join(kind_notes(columns)) or 'all columns are dropped'}")
    x = np.empty((len(frame), len(numbers)))
    for start in range(0, len(x), ROWS_AT_ONCE):  # which stay in the cache
        np.stack([column[start : start + ROWS_AT_ONCE] for column in numbers], 1, x[start : start + ROWS_AT_ONCE])
    notes = [*frame.attrs.get("notes", ()), *notes, *kind_notes(columns)]
    return Table(
        x=torch.from_numpy(x), columns=tuple(columns), name=name, notes=tuple(notes),
        hashes=torch.from_numpy(hashes.view(np.int64)),
        file_format=frame.attrs["text_file"].format if "text_file" in frame.attrs else PLAIN_TEXT,
    )  # fmt: skip


def read_choices(frame: pd.DataFrame, options: DataOptions, name: str) -> dict[str, Choice]:
    """What the options say of columns; UserError where there is no such column, or it is named twice."""
    names = [str(label) for label in frame.columns]
    if doubled := [n for n in dict.fromkeys(names) if names.count(n) > 1] if len(set(names)) < len(names) else []:
        raise UserError(f"{name} has several columns called {join_names(doubled)}: give each a name of its own")
    pairs = [parse_choice(text) for text in options.column]
    for column_name in (*options.drop, *(column_name for column_name, _ in pairs)):
        if column_name not in names:
            hint = did_you_mean(column_name, names)
            raise UserError(f"{name} has no column {column_name!r}.{hint} It has: {join_names(names, 40)}")
    choices = dict(pairs)
    if len(choices) < len(pairs):
        raise UserError(f"column names one column twice: {', '.join(column_name for column_name, _ in pairs)}")
    if both := set(choices) & set(options.drop):
        raise UserError(f"{', '.join(sorted(both))}: named by column, which keeps it, and by drop: say one")
    return choices


def read_column(
    column_name: str, series: pd.Series, choice: Choice | None, frame: pd.DataFrame, name: str
) -> tuple[Column, list[str], np.ndarray, np.ndarray]:
    """The column, notes, its number for each row, and a number for each row by its content."""
    is_file, has_commas = frame.attrs.get("is_file", False), frame.attrs.get("has_commas", False)
    order = None
    if isinstance(series.dtype, pd.CategoricalDtype):
        order, details = series.cat, {"categorical": str(series.cat.categories.dtype)}
        series = series.astype(series.cat.categories.dtype if not series.hasnans else object)
        column, x, hashes = read_categorical(column_name, order, series, details)
        return column, [], x, hashes
    try:
        values, codes, hashes = encode_series(column_name, series, is_file=is_file, has_commas=has_commas)
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    try:
        column, notes = infer(values, choice)
        x = value_numbers(column, values) if column.is_learnt else np.empty(0)
    except BadValueError as error:
        row = int(np.flatnonzero(codes == error.index)[0])
        file = frame.attrs.get("text_file")
        where = f"line {file.line_of(row + frame.attrs['first_row'])}" if file else f"row {row + 1}"
        raise UserError(f"{name}, {where}, column {column_name}: {shown_value(values, error.index)} {error}") from None
    return column, notes, np.append(x, np.nan)[codes] if column.is_learnt else x, hashes


def shown_value(values: Values, index: int) -> str:
    """One of the different values, in messages."""
    value = values.uniques[index]
    return repr(value.as_py() if hasattr(value, "as_py") else value.item())


def read_categorical(
    name: str, categorical: Any, series: pd.Series, details: dict[str, Any]
) -> tuple[Column, np.ndarray, np.ndarray]:
    """The same of a column of pandas' categories, which says their order."""
    categories = categorical.categories.tolist()
    if not all(isinstance(category, str | int | float | bool) for category in categories):
        raise UserError(f"the column {name} has categories that are no texts or numbers: make texts of them")
    _, _, hashes = encode_series(name, series)
    codes = categorical.codes.to_numpy()
    counts = np.bincount(codes[codes >= 0], minlength=len(categories)).tolist()
    missing = float((codes < 0).mean()) if len(codes) else 0.0
    kind: Any = "category" if len(categories) > 1 or missing else "constant"
    column = Column(
        name, kind, "category", tuple(categories), categorical.ordered, missing=missing,
        details={**details, "counts": counts},
    )  # fmt: skip
    return column, np.where(codes < 0, np.nan, codes), hashes


def value_numbers(column: Column, values: Values) -> np.ndarray:
    """The number of each value of a learnt column; BadValueError for one that it cannot have."""
    uniques = values.uniques
    if column.kind == "identifier":
        return np.zeros(len(uniques))
    if column.is_category:
        return category_codes(column, uniques if isinstance(uniques, np.ndarray) else uniques.to_pylist())
    if isinstance(uniques, np.ndarray):
        if values.details.get("times") == "date" and column.kind == "datetime":
            return uniques * 86_400.0
        if values.details.get("times") == "datetime" and column.kind == "date":
            if (bad := np.flatnonzero(uniques % 86_400)).size:
                raise BadValueError(int(bad[0]), "has a time of day, and the column has dates")
            return uniques / 86_400.0
        return uniques.astype(np.float64)
    if column.format:
        numbers = parse_times(uniques, column.kind, column.format)
    elif column.kind in ("date", "datetime", "time"):
        times = pd.Series(pd.to_datetime(uniques.to_pylist(), errors="coerce", format="ISO8601"))
        numbers = count_times(times, column.kind)
    else:
        numbers = parse_numbers(uniques, NumberFormat.of(column.decimals, column.details))
    if (bad := np.flatnonzero(np.isnan(numbers))).size:
        what = f"of the format {column.format}" if column.format else ""
        raise BadValueError(int(bad[0]), f"is no {column.kind} {what}".rstrip())
    return numbers


def category_codes(column: Column, values: Any) -> np.ndarray:
    """The index of each value among the categories, as they are or as texts."""
    exact = {category: i for i, category in enumerate(column.categories)}
    by_text = {category_text(category): i for i, category in enumerate(column.categories)}
    codes = np.empty(len(values))
    for i, value in enumerate(values.tolist() if isinstance(values, np.ndarray) else values):
        code = exact.get(value, by_text.get(category_text(value)))
        if code is None and value in column.details.get("missing", ()):
            codes[i] = np.nan
        elif code is None:
            hint = did_you_mean(str(value), map(str, column.categories))
            raise BadValueError(i, f"is none of its {len(column.categories)} categories.{hint}".rstrip("."))
        else:
            codes[i] = code
    return codes


def category_text(value: Any) -> str:
    """A category as a text: 1.0 and 1 are one, and so are true and True."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value)
    return text.lower() if text.lower() in ("false", "true") else text


def kind_notes(columns: Sequence[Column]) -> list[str]:
    """What to say of columns that are not learnt, and of missing values."""
    notes = []
    identifiers = [column for column in columns if column.kind == "identifier"]
    if names := [column.name for column in identifiers]:
        what = f"identifiers, not learnt: {join_names(names)}; samples have new ones"
        gaps = [column.name for column in identifiers if column.is_learnt]
        notes.append(what + (f", and where {join_names(gaps)} is missing is learnt" if gaps else ""))
    if names := [column.name for column in columns if column.kind == "constant"]:
        notes.append(f"constant, not learnt: {join_names(names)}")
    tokens: dict[str, list[str]] = {}
    for column in columns:
        for token in column.details.get("missing", ()):
            if token:
                tokens.setdefault(token, []).append(column.name)
    notes += [f"taken as missing: {token} in {join_names(names)}" for token, names in tokens.items()]
    return notes


def to_numbers(frame: pd.DataFrame, columns: Sequence[Column]) -> tuple[np.ndarray, list[str]]:
    """The numbers n x c of a frame with the learnt ones of these columns, NaN where a value is missing; and notes.

    Its values may be texts, as those of a file are.  Raises UserError for a column that it lacks and for a value that
    is not of the column's kind, such as an unknown category.
    """
    learnt, names = [column for column in columns if column.is_learnt], [str(label) for label in frame.columns]
    x, known = np.empty((len(frame), len(learnt))), {column.name for column in columns}
    for i, column in enumerate(learnt):
        if column.name not in names:
            raise UserError(f"the table has no column {column.name!r}.{did_you_mean(column.name, names)}")
        series = without_arrow(frame.iloc[:, names.index(column.name)])
        if isinstance(series.dtype, pd.CategoricalDtype):
            series = pd.Series(series.to_numpy())
        is_parsed = is_text(series.dtype) and (column.is_number or bool(frame.attrs.get("is_file")))
        values, codes, _ = encode_series(column.name, series, is_file=is_parsed)
        try:
            numbers = value_numbers(column, values)
        except BadValueError as error:
            row, shown = int(np.flatnonzero(codes == error.index)[0]) + 1, shown_value(values, error.index)
            raise UserError(f"column {column.name}, row {row}: {shown} {error}") from None
        x[:, i] = np.append(numbers, np.nan)[codes]
    others = [name for name in names if name not in known]
    return x, [f"columns that are not used: {join_names(others)}"] if others else []


def to_frame(columns: Sequence[Column], x: Any, *, seed: int = 0) -> pd.DataFrame:
    """A frame of rows x, n x c numbers of the learnt ones of these columns, as the source has its own.

    Numbers are rounded and clipped to what the column has; NaN is a missing value; constants are filled in, and
    identifiers are new ones, which the seed chooses.
    """
    x = np.asarray(x, np.float64)
    numbers, series = iter(x.T), {}
    for place, column in enumerate(columns):
        random = np.random.default_rng((seed, place))
        label = column.details.get("label", column.name)
        series[label] = column_series(column, next(numbers) if column.is_learnt else None, len(x), random)
    return pd.DataFrame(series, index=pd.RangeIndex(len(x)), columns=list(series))


def as_written(columns: Sequence[Column], frame: pd.DataFrame) -> pd.DataFrame:
    """A frame of texts, as a file of texts has them: with the decimals and the words of the source's own."""
    return pd.DataFrame({
        label: column_texts(column, frame[label])
        for column in columns
        if (label := column.details.get("label", column.name)) in frame
    })  # fmt: skip


def column_texts(column: Column, series: pd.Series) -> pd.Series:
    """A column's values as texts."""
    present = ~pd.isna(series).to_numpy()
    texts, values = np.full(len(series), next(iter(column.details.get("missing", [""]))), object), series[present]
    if column.kind in ("integer", "real") and pd.api.types.is_numeric_dtype(series.dtype):
        texts[present] = format_numbers(values.to_numpy(np.float64), NumberFormat.of(column.decimals, column.details))
    elif words := column.details.get("words"):
        texts[present] = [words[column.categories.index(value)] for value in values]
    elif pd.api.types.is_float_dtype(series.dtype):  # of categories and identifiers of which values are missing
        texts[present] = [str(int(value)) if value.is_integer() else str(value) for value in values.tolist()]
    else:
        texts[present] = values.astype(str)
    return pd.Series(texts, dtype=object)


def column_series(column: Column, numbers: np.ndarray | None, n: int, random: np.random.Generator) -> pd.Series:
    """A column's values, of its own type."""
    if numbers is not None:
        present = ~np.isnan(numbers)
    else:
        present = np.ones(n, bool) if not column.missing else random.random(n) >= column.missing
    if column.kind == "identifier":
        return as_series(column, new_identifiers(column, int(present.sum()), random), present)
    if column.kind == "constant":
        present &= bool(column.categories)
        return as_series(column, category_objects(column, np.zeros(int(present.sum()), int)), present)
    assert numbers is not None
    if column.is_category:
        codes = round_numbers(column, numbers[present]).astype(int)
        if column.details.get("categorical"):
            whole = np.full(n, -1)
            whole[present] = codes
            index = pd.Index(column.categories, dtype=column.details["categorical"])
            return pd.Series(pd.Categorical.from_codes(whole, index, ordered=column.is_ordered))
        return as_series(column, category_objects(column, codes), present)
    return as_series(column, number_values(column, round_numbers(column, numbers[present])), present)


def category_objects(column: Column, codes: np.ndarray) -> Any:
    """The categories of codes as the source has them: dates, times and Decimals are stored as numbers."""
    times, categories = column.details.get("times"), np.array([*column.categories, None], object)[:-1]
    if (times or column.details.get("objects") == "decimal") and len(categories):
        kind = replace(column, kind=times or "real", decimals=column.details.get("written"))
        return number_values(kind, categories.astype(np.float64)[codes])
    return categories[codes]


def round_numbers(column: Column, numbers: np.ndarray) -> np.ndarray:
    """Numbers within the column's range, with its decimals, or multiples of its step; of categories their codes."""
    if column.is_category:
        return np.asarray(np.clip(np.rint(numbers), 0, max(len(column.categories) - 1, 0)))
    numbers = np.asarray(np.clip(numbers, column.low, column.high))
    if step := column.details.get("step"):
        return np.rint(numbers / step) * step if step >= 1 else np.round(numbers, 3 if step == 1e-3 else 6)
    if column.is_integral:
        numbers = np.rint(numbers)
    rounded: np.ndarray = numbers if column.decimals is None else np.round(numbers, column.decimals)
    return rounded + 0.0  # for -0


def round_rows(columns: Sequence[Column], x: np.ndarray) -> np.ndarray:
    """Rows x, n x c numbers of learnt columns, as the source has them: rounded, and in the ranges of their columns."""
    parts = [round_numbers(column, part) for column, part in zip(columns, x.T, strict=True)]
    return np.stack(parts, 1)


def number_values(column: Column, numbers: np.ndarray) -> Any:
    """Numbers as the source has them: numbers, texts, times, or Python's objects."""
    details, objects = column.details, column.details.get("objects")
    if column.format:
        return format_times(numbers, time_format(column))
    if column.kind in ("date", "datetime", "time"):
        if objects == "time":
            return [(pd.Timestamp(0) + timedelta(seconds=s)).time() for s in numbers.tolist()]
        if objects == "date":
            return [date(1970, 1, 1) + timedelta(days=int(d)) for d in numbers]
        times = as_times(numbers, column.kind)
        if "offset" in details:
            return times.tz_localize(UTC).tz_convert(timezone(timedelta(seconds=details["offset"]))).to_pydatetime()
        return times.to_pydatetime() if objects == "datetime" else times
    if column.dtype in ("str", "string", "object", "string[pyarrow]", "large_string[pyarrow]") and not objects:
        return format_numbers(numbers, NumberFormat.of(column.decimals, details))
    if objects == "decimal":
        return [Decimal(repr(x) if column.decimals is None else f"{x:.{column.decimals}f}") for x in numbers.tolist()]
    return [TYPE_NAMES[objects](x) for x in numbers] if objects else numbers


def time_format(column: Column) -> TimeFormat:
    """How the dates or times of a column are written."""
    kind: Any = column.kind
    details = column.details
    return TimeFormat(kind, column.format, False, details.get("fraction", 0), details.get("padded", True))


def as_series(column: Column, values: Any, present: np.ndarray) -> pd.Series:
    """A series of the column's type, with these values where there are some."""
    dtype, n = column.dtype, len(present)
    if isinstance(values, pd.DatetimeIndex):
        whole = pd.Series(pd.NaT, index=range(n), dtype="datetime64[us]")
        whole[present] = values
        zone = getattr(pd.api.types.pandas_dtype(dtype), "tz", None)
        return (whole.dt.tz_localize(UTC).dt.tz_convert(zone) if zone else whole).astype(dtype)
    if isinstance(values, np.ndarray) and values.dtype.kind == "f" and not dtype.startswith(("bool", "object")):
        whole = np.full(n, np.nan)
        whole[present] = values
        if pd.api.types.pandas_dtype(dtype).kind in "iu" and isinstance(pd.api.types.pandas_dtype(dtype), np.dtype):
            return pd.Series(whole).astype(dtype if present.all() else "float64")
        return pd.Series(whole).astype(dtype)
    objects = np.full(n, None if column.details.get("none") else np.nan, object)
    objects[present] = pd.Series(list(values), dtype=object).to_numpy()
    if dtype == "str" and int(pd.__version__.split(".")[0]) < 3:
        dtype = "object"
    kind = np.dtype(dtype).kind if dtype in np.sctypeDict else ""
    if kind and kind in "iub" and not present.all():
        dtype = "object" if kind == "b" else "float64"
    return pd.Series(objects, dtype="object").astype(dtype) if dtype != "object" else pd.Series(objects, dtype="object")
