"""Frames as numbers and back: every kind of column, in every type that a frame may have."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ganvas.data import DataOptions, load
from ganvas.data.tables.columns import column_from_json
from ganvas.data.tables.frame import from_frame, to_frame, to_numbers
from ganvas.data.tables.table import Table
from ganvas.errors import UserError

N = 60
RANDOM = np.random.default_rng(0)
REALS = np.round(RANDOM.normal(size=N) * 100, 2)
WHOLE = RANDOM.integers(-5, 300, N)
GAPS = np.arange(N) % 7 == 3
DAYS = pd.Series(pd.date_range("2019-12-30", periods=N, freq="D"))
MOMENTS = pd.Series(pd.date_range("2020-03-28 22:30:15.123456", periods=N, freq="7h"))


def with_gaps(values: Any, dtype: Any = None) -> Any:
    series = pd.Series(values, dtype=dtype)
    return series.mask(pd.Series(GAPS)) if dtype is None else series.where(~pd.Series(GAPS))


SERIES = {
    "reals": (pd.Series(REALS), "real"),
    "many decimals": (pd.Series(RANDOM.normal(size=N)), "real"),
    "huge": (pd.Series(RANDOM.normal(size=N) * 1e300), "real"),
    "reals with gaps": (with_gaps(REALS), "real"),
    "float32": (pd.Series(REALS.astype(np.float32)), "real"),
    "Float64": (with_gaps(REALS, "Float64"), "real"),
    "double[pyarrow]": (with_gaps(REALS, pd.ArrowDtype(pa.float64())), "real"),
    "decimal": (pd.Series([Decimal(f"{x:.2f}") for x in REALS], dtype=object), "real"),
    "float objects": (pd.Series([None if GAPS[i] else float(x) for i, x in enumerate(REALS)], dtype=object), "real"),
    "whole": (pd.Series(WHOLE), "integer"),
    "int8": (pd.Series((WHOLE % 100).astype(np.int8)), "integer"),
    "uint64": (pd.Series((WHOLE + 5).astype(np.uint64)), "integer"),
    "Int64": (with_gaps(WHOLE, "Int64"), "integer"),
    "int64[pyarrow]": (with_gaps(WHOLE, pd.ArrowDtype(pa.int64())), "integer"),
    "whole floats": (with_gaps(WHOLE.astype(float)), "integer"),
    "int objects": (pd.Series([None if GAPS[i] else int(x) for i, x in enumerate(WHOLE)], dtype=object), "integer"),
    "units": (pd.Series([f"{x} kg" for x in WHOLE]), "integer"),
    "prices": (pd.Series([f"${x:,.2f}" for x in np.abs(REALS) * 10.3]), "real"),
    "two units": (pd.Series(["3 kg", "4 lb", "5 kg"] * 20), "category"),
    "bool": (pd.Series(WHOLE > 100), "boolean"),
    "boolean": (with_gaps(WHOLE > 100, "boolean"), "boolean"),
    "bool objects": (pd.Series(np.select([GAPS, WHOLE > 9], [None, True], False), dtype=object), "boolean"),
    "0 and 1": (pd.Series((WHOLE > 100).astype(int)), "boolean"),
    "yes and no": (pd.Series(np.where(WHOLE > 100, "Yes", "No")), "boolean"),
    "words": (with_gaps(np.array(["a", "Bb", "ü"])[WHOLE % 3]), "category"),
    "words as objects": (pd.Series([None if GAPS[i] else "xyz"[i % 3] for i in range(N)], dtype=object), "category"),
    "ordered": (pd.Series(pd.Categorical(with_gaps(list("SML" * 20)), [*"SML", "XL"], ordered=True)), "category"),
    "categories of numbers": (pd.Series(pd.Categorical(WHOLE % 4)), "category"),
    "question marks": (pd.Series(["?", "NA", "x"] * 20), "category"),
    "numbers as names": (pd.Series(["007", "12"] * 30), "category"),
    "days": (with_gaps(DAYS), "date"),
    "moments": (with_gaps(MOMENTS), "datetime"),
    "moments in a zone": (with_gaps(MOMENTS.dt.tz_localize("UTC").dt.tz_convert("Europe/Berlin")), "datetime"),
    "date objects": (pd.Series([None if GAPS[i] else day.date() for i, day in enumerate(DAYS)], dtype=object), "date"),
    "time objects": (pd.Series([moment.time() for moment in MOMENTS], dtype=object), "time"),
    "ISO": (pd.Series(DAYS.dt.strftime("%Y-%m-%d")), "date"),
    "German": (pd.Series(DAYS.dt.strftime("%d.%m.%Y")), "date"),
    "American": (pd.Series([f"{day.month}/{day.day}/{day.year}" for day in DAYS]), "date"),
    "British": (pd.Series(DAYS.dt.strftime("%d %b %Y")), "date"),
    "ISO with time": (pd.Series([str(m)[:23].replace(" ", "T") + "Z" for m in MOMENTS]), "datetime"),
    "clock": (pd.Series(MOMENTS.dt.strftime("%H:%M")), "time"),
    "constant": (pd.Series(["same"] * N), "constant"),
    "constant number": (pd.Series([7] * N, dtype=np.int16), "constant"),
    "nothing": (pd.Series([np.nan] * N), "constant"),
    "no objects": (pd.Series([None] * N, dtype=object), "constant"),
}  # fmt: skip


@pytest.mark.parametrize("name", SERIES)
def test_numbers_and_back_is_the_same_frame(name: str) -> None:
    series, kind = SERIES[name]
    frame = pd.DataFrame({name: series, "beside": REALS})
    table = from_frame(frame)
    columns = tuple(column_from_json(column.as_json()) for column in table.columns)
    assert columns[0].kind == kind
    assert columns[0].missing == pytest.approx(series.isna().mean())
    pd.testing.assert_frame_equal(to_frame(columns, table.x.numpy()), frame, check_exact=True)
    x, notes = to_numbers(frame, columns)
    assert np.array_equal(x, table.x.numpy(), equal_nan=True)
    assert notes == []


def test_samples_are_within_what_the_source_has() -> None:
    frame = pd.DataFrame({"price": REALS, "n": WHOLE, "word": list("abc" * 20), "day": DAYS})
    table = from_frame(frame)
    x = table.x.numpy() + RANDOM.normal(size=table.x.shape) * [1000, 100, 5, 0.4]
    made = to_frame(table.columns, x)
    assert made.dtypes.equals(frame.dtypes)
    assert (made.price == made.price.round(2)).all()
    for name in ("price", "n", "word"):
        assert frame[name].min() <= made[name].min() <= made[name].max() <= frame[name].max()


def test_identifiers_are_new() -> None:
    texts = [f"C-{i:05d}" for i in RANDOM.permutation(N)]
    frame = pd.DataFrame({"id": np.arange(1, N + 1), "code": texts, "word": ["ab"[i % 2] for i in range(N)]})
    frame["hash"] = [RANDOM.bytes(8).hex() for _ in range(N)]
    table = from_frame(frame)
    assert [column.kind for column in table.columns] == ["identifier", "identifier", "category", "identifier"]
    assert "identifiers, not learnt: id, code, hash; samples have new ones" in table.notes
    made = to_frame(table.columns, table.x.numpy()[:5], seed=3)
    assert made.id.tolist() == [61, 62, 63, 64, 65]
    assert made.code.tolist() == ["C-00060", "C-00061", "C-00062", "C-00063", "C-00064"]
    assert made.hash.str.fullmatch("[0-9a-f]{16}").all()
    assert not set(made.hash) & set(frame.hash)
    assert made.equals(to_frame(table.columns, table.x.numpy()[:5], seed=3))
    assert not made.equals(to_frame(table.columns, table.x.numpy()[:5], seed=4))


def test_what_a_frame_may_not_hold() -> None:
    for values, message in (
        ([{"a": 1}] * 3, "table: the column x has dictionaries, such as in row 1: make numbers or texts of them"),
        ([1, "a", 2], "table: the column x has integers and texts, such as in row 2: make"),
        ([1.0, np.inf, 2], "table: the column x has an infinite number in row 2"),
        ([1j, 2, 3], "table: the column x has complex numbers"),
        (pd.Series(pd.timedelta_range("1s", periods=3)), "table: the column x has values of the type timedelta64"),
    ):
        with pytest.raises(UserError, match=message.replace("[", r"\[")):
            load(pd.DataFrame({"x": values}))


def test_values_that_a_column_cannot_have() -> None:
    table = from_frame(pd.DataFrame({"size": ["small", "large"] * 5, "n": range(10)}))
    with pytest.raises(UserError, match="size, row 2: 'smal' is none of its 2 categories. Did you mean .small"):
        to_numbers(pd.DataFrame({"size": ["large", "smal"], "n": [1, 2]}), table.columns)
    with pytest.raises(UserError, match="the table has no column 'size'. Did you mean \"Size\""):
        to_numbers(pd.DataFrame({"Size": ["large"], "n": [1]}), table.columns)
    x, notes = to_numbers(pd.DataFrame({"n": ["3", ""], "more": 1, "size": ["large", "small"]}), table.columns)
    assert np.array_equal(x, [[0, 3], [1, np.nan]], equal_nan=True)
    assert notes == ["columns that are not used: more"]


def test_a_file_is_read_as_pandas_reads_it(tmp_path: Path) -> None:
    frame = pd.DataFrame({
        "id": range(N), "price": REALS, "n": with_gaps(WHOLE.astype(float)), "day": DAYS.dt.strftime("%d.%m.%Y"),
        "open": WHOLE > 9, "kind": with_gaps(np.array(["a,b", 'say "x"', "ü"])[WHOLE % 3]), "same": "x",
    })  # fmt: skip
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_feather(tmp_path / "t.feather")
    for suffix in ("csv", "parquet", "feather"):
        table = load(tmp_path / f"t.{suffix}")
        assert isinstance(table, Table)
        kinds = ["identifier", "real", "integer", "date", "boolean", "category", "constant"]
        assert [column.kind for column in table.columns] == kinds
        made = to_frame(table.columns, table.x.numpy())
        pd.testing.assert_frame_equal(made.drop(columns="id"), frame.drop(columns="id"))
        assert made.id.tolist() == list(range(N, 2 * N))


def test_the_same_rows_are_held_out_when_others_come(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": RANDOM.integers(0, 9, 300), "b": RANDOM.normal(size=300).round(3)})
    kept = []
    for rows, column in ((300, ()), (250, ()), (300, "a:category")):
        frame[:rows].to_csv(tmp_path / "t.csv", index=False)
        table = load(tmp_path / "t.csv", DataOptions(split="test", holdout=0.2, column=column))
        kept.append(set(table.x[:, 1].tolist()) & set(frame.b[:250]))
    assert 30 < len(kept[0]) < 70
    assert kept[0] == kept[1] == kept[2]


def test_a_table_is_a_dataset() -> None:
    frame = pd.DataFrame({"a": WHOLE, "b": REALS})
    table = load(frame, DataOptions(limit=50))
    assert isinstance(table, Table)
    assert (len(table), table.kind, table.x.shape, table.x.dtype.itemsize) == (50, "vector", (50, 2), 8)
    assert len(table.select(slice(5)).hashes) == 5
    assert table.fingerprint() != load(frame.assign(a=frame.a.astype(float)), DataOptions(limit=50)).fingerprint()
    assert load(frame, DataOptions(kind="vector")).x.tolist() == frame.astype(np.float32).to_numpy().tolist()
