"""A column of a frame as its different values and which of them each row has; of any type that a frame may have."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ...errors import UserError
from .kinds import MISSING, NARROW, NUMBER_MISSING, Values
from .texts import count_times, matches

OBJECTS = {
    "boolean": "bool", "integer": "int", "floating": "float", "mixed-integer-float": "float", "decimal": "decimal",
    "date": "date", "time": "time", "datetime": "datetime",
}  # fmt: skip
"""what pandas says of Python's objects in a column, and what they are called in `Column.details`"""
REMEDY = "make numbers or texts of them, or leave it out by --drop"
HASH_FACTOR = np.uint64(0x100000001B3)
"""by which a row's number is multiplied before that of its next column comes in"""


def from_arrow(table: pa.Table) -> pd.DataFrame:
    """A frame of Arrow's columns, in which whole and Boolean ones of which values are missing stay what they are."""
    frame = table.to_pandas()
    for i, column in enumerate(table.columns):
        if column.null_count and (pa.types.is_integer(column.type) or pa.types.is_boolean(column.type)):
            name = str(column.type).replace("i", "I").replace("u", "U").replace("bool", "boolean")
            frame.isetitem(i, pd.array(column.to_pylist(), dtype=name))
    return frame


def without_arrow(series: pd.Series) -> pd.Series:
    """The column with dates, times, decimals and categories as pandas has them, where they are Arrow's."""
    if not isinstance(series.dtype, pd.ArrowDtype):
        return series
    kind = series.dtype.pyarrow_dtype
    tests = (pa.types.is_date, pa.types.is_time, pa.types.is_decimal, pa.types.is_dictionary)
    return pd.Series(pa.array(series).to_pandas(), name=series.name) if any(f(kind) for f in tests) else series


def encode_series(
    name: str, series: pd.Series, *, is_file: bool = False, has_commas: bool = False, weights: np.ndarray | None = None,
    missing: Sequence[str] | None = None,
) -> tuple[Values, np.ndarray, np.ndarray]:  # fmt: skip
    """The values of a column; their indices for each row, -1 without one; a number for each row by its content.

    `weights` are how many rows each value stands for, one if they are not given; `missing` the texts that stand for
    missing values, where they are known.  Raises UserError for values that are no numbers, texts, dates or times.
    """
    kind = series.dtype.kind if isinstance(series.dtype, np.dtype) else str(series.dtype)
    details: dict[str, Any] = {}
    if is_text(series.dtype):
        return encode_texts(name, series, is_file, has_commas, details, weights, missing)
    if kind == "O":
        type_name = pd.api.types.infer_dtype(series, skipna=True)
        if type_name == "string":
            details = {"none": True} if any(value is None for value in series) else {}
            return encode_texts(name, series, is_file, has_commas, details, weights, missing)
        if type_name not in OBJECTS and type_name != "empty":
            raise UserError(f"the column {name} has {describe_objects(series)}: {REMEDY}")
        details = {"objects": OBJECTS[type_name]} if type_name in OBJECTS else {}
        details |= {"none": True} if any(value is None for value in series) else {}
        kind = OBJECTS.get(type_name, "empty")
    numbers, more = to_floats(name, series, kind)
    is_missing = np.isnan(numbers) if numbers.dtype.kind == "f" else np.zeros(len(numbers), bool)
    if np.isinf(numbers).any():
        row = int(np.flatnonzero(np.isinf(numbers))[0]) + 1
        raise UserError(f"the column {name} has an infinite number in row {row}: put a number there, or leave it empty")
    codes, uniques = pd.factorize(numbers, use_na_sentinel=True)
    if is_missing.any() and len(uniques) and np.isnan(uniques).any():
        uniques = uniques[~np.isnan(uniques)]
    counts = count_rows(codes, weights, len(uniques))
    hashes, n = hash_values(uniques.astype(np.float64)), len(series) if weights is None else int(weights.sum())
    if narrow := NARROW.get(str(series.dtype)):  # 0.1 as it is written, not the 0.10000000149 next to it in float32
        uniques = uniques.astype(narrow).astype(str).astype(np.float64)
    values = Values(name, uniques, counts, n, str(series.dtype), is_file, details | more, has_commas)
    return values, codes, row_hashes(hashes, codes)


def count_rows(codes: np.ndarray, weights: np.ndarray | None, n: int) -> np.ndarray:
    """How many rows have each of n values."""
    present = codes >= 0
    return np.bincount(codes[present], None if weights is None else weights[present], n).astype(np.int64)


def is_text(dtype: Any) -> bool:
    """Whether all values of a type are texts."""
    if isinstance(dtype, pd.ArrowDtype):
        return bool(pa.types.is_string(dtype.pyarrow_dtype) or pa.types.is_large_string(dtype.pyarrow_dtype))
    return isinstance(dtype, pd.StringDtype)


def to_floats(name: str, series: pd.Series, kind: str) -> tuple[np.ndarray, dict[str, Any]]:
    """The numbers of a column, int64 where all are whole and none is missing, else float64; and details."""
    dtype = series.dtype
    if kind in ("date", "datetime", "time", "decimal", "bool", "int", "float", "empty"):
        return object_numbers(series, kind)
    if pd.api.types.is_datetime64_any_dtype(dtype):
        seconds = count_times(series, "datetime")
        is_date = getattr(dtype, "tz", None) is None and np.nanmax(np.mod(seconds, 86_400), initial=0) == 0
        return (seconds / 86_400, {"times": "date"}) if is_date else (seconds, {"times": "datetime"})
    if pd.api.types.is_bool_dtype(dtype) or pd.api.types.is_numeric_dtype(dtype):
        if pd.api.types.is_complex_dtype(dtype):
            raise UserError(f"the column {name} has complex numbers: give their parts as two columns")
        if isinstance(dtype, np.dtype) and dtype.kind in "iu":
            return series.to_numpy(), {}
        return series.to_numpy(dtype=np.float64, na_value=np.nan), {}
    raise UserError(f"the column {name} has values of the type {dtype}: {REMEDY}")


def object_numbers(series: pd.Series, kind: str) -> tuple[np.ndarray, dict[str, Any]]:
    """The numbers of Python's objects of one type, and details."""
    present = ~pd.isna(series).to_numpy()
    numbers, values = np.full(len(series), np.nan), series.to_numpy()[present]
    if kind == "time":
        numbers[present] = [(v.hour * 60 + v.minute) * 60 + v.second + v.microsecond / 1e6 for v in values]
    elif kind == "date":
        numbers[present] = [v.toordinal() for v in values]
        numbers -= 719_163  # of 1970-01-01
    elif kind == "datetime":
        offsets = {value.utcoffset() for value in values}
        is_aware = None not in offsets
        numbers[present] = count_times(pd.Series(pd.to_datetime(values, utc=is_aware)), "datetime")
    else:
        numbers[present] = [float(v) for v in values]
    is_time = kind in ("date", "datetime", "time")
    digits = max((max(0, -v.as_tuple().exponent) for v in values), default=0) if kind == "decimal" else 0
    details: dict[str, Any] = {"times": kind} if is_time else {"written": digits} if digits else {}
    if kind == "datetime" and is_aware:  # in UTC where they have several
        details["offset"] = offsets.pop().total_seconds() if len(offsets) == 1 else 0.0
    return numbers, details


def describe_objects(series: pd.Series) -> str:
    """What the values of a column are whose types differ, or are no values."""
    types = list(dict.fromkeys(type(value).__name__ for value in series[~pd.isna(series).to_numpy()][:10_000]))
    names = {"dict": "dictionaries", "list": "lists", "ndarray": "arrays", "str": "texts", "int": "integers"}
    named = [names.get(kind, kind if kind.endswith("s") else f"{kind}s") for kind in types]
    row = next(i for i, value in enumerate(series, 1) if type(value).__name__ == types[-1])
    return " and ".join(named[:3]) + f", such as in row {row}"


def encode_texts(
    name: str, series: pd.Series, is_file: bool, has_commas: bool, details: dict[str, Any],
    weights: np.ndarray | None = None, missing: Sequence[str] | None = None,
) -> tuple[Values, np.ndarray, np.ndarray]:  # fmt: skip
    """The same of texts; in those of files some stand for missing values, and spaces around them are no part."""
    array = pa.array(series, from_pandas=True)
    encoded = pc.dictionary_encode(array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array)
    texts = encoded.dictionary
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    hashes = row_hashes(hash_values(texts.to_numpy(zero_copy_only=False)), codes)
    if is_file:
        details = dict(details)
        if not (trimmed := pc.utf8_trim_whitespace(texts)).equals(texts):
            texts, codes = keep(trimmed, codes)
        known = MISSING if missing is None else missing
        token = pc.is_in(texts, pa.array(known, texts.type)).to_numpy(zero_copy_only=False)
        also = pc.is_in(texts, pa.array(NUMBER_MISSING, texts.type)).to_numpy(zero_copy_only=False) & ~token
        rest = texts.filter(pa.array(~(token | also)))
        is_asked = missing is None and also.any() and len(rest)
        if is_asked and matches(rest, r"\d").all() and not matches(rest, "[A-Za-z]{2}").any():
            token |= also
        if token.any():
            counts = count_rows(codes, weights, len(texts)) * token
            tokens = sorted(np.flatnonzero(token).tolist(), key=lambda i: -counts[i])
            details["missing"] = [texts[i].as_py() for i in tokens]
            index = np.where(token, -1, np.cumsum(~token) - 1)
            codes = np.where(codes < 0, -1, index[codes])
            texts = texts.filter(pa.array(~token))
    counts = count_rows(codes, weights, len(texts))
    n = len(series) if weights is None else int(weights.sum())
    return Values(name, texts, counts, n, str(series.dtype), is_file, details, has_commas), codes, hashes


def keep(texts: Any, codes: np.ndarray) -> tuple[Any, np.ndarray]:
    """Texts each once, and the indices of the rows among them."""
    encoded = pc.dictionary_encode(texts)
    if len(encoded.dictionary) == len(texts):
        return texts, codes
    index = encoded.indices.to_numpy(zero_copy_only=False)
    return encoded.dictionary, np.where(codes < 0, -1, index[codes])


def hash_values(values: np.ndarray) -> np.ndarray:
    """A number of 64 bits for each value, by its content alone."""
    return np.asarray(pd.util.hash_array(values, categorize=False), np.uint64)


def hash_looks(series: pd.Series) -> np.ndarray:
    """A hash of each row of a column that no model can learn, by how its values look in Python."""
    return hash_values(np.array([repr(value) for value in series], object))


def row_hashes(hashes: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """The number of the value of each row, of those without one a number of their own."""
    return np.asarray(np.append(hashes, np.uint64(0x9E3779B97F4A7C15))[codes])
