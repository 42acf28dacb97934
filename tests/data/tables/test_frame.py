"""Frames as numbers and back: every kind of column, in every type that a frame may have."""

import datetime as dt
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from ganvas.data import DataOptions, load
from ganvas.data.tables import frame as frame_module
from ganvas.data.tables.columns import Column, column_from_json
from ganvas.data.tables.frame import as_written, from_frame, to_frame, to_numbers
from ganvas.data.tables.stored import read_columns
from ganvas.data.tables.table import Table
from ganvas.errors import UserError
from tests.support.columns import DAYS, RANDOM, REALS, SERIES, WHOLE, N, with_gaps


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
    frame.loc[3, "code"] = None
    learnt_gaps = "identifiers, not learnt: id, code, hash; samples have new ones, and where code is missing is learnt"
    assert learnt_gaps in from_frame(frame).notes
    made = to_frame(table.columns, table.x.numpy()[:5], seed=3)
    assert made.id.tolist() == [61, 62, 63, 64, 65]
    assert made.code.tolist() == ["C-00060", "C-00061", "C-00062", "C-00063", "C-00064"]
    assert made.hash.str.fullmatch("[0-9a-f]{16}").all()
    assert not set(made.hash) & set(frame.hash)
    assert made.equals(to_frame(table.columns, table.x.numpy()[:5], seed=3))
    assert not made.equals(to_frame(table.columns, table.x.numpy()[:5], seed=4))


def test_identifiers_are_missing_where_the_model_says() -> None:
    """Whether one is missing is learnt, and so depends on other columns as it does in the source."""
    gone = np.arange(N) % 3 == 0
    texts = np.where(gone, None, [f"C-{i:05d}" for i in range(N)[::-1]])
    frame = pd.DataFrame({"code": texts, "guest": gone, "n": range(N)})
    table = load(frame, DataOptions(column=("code:identifier",)))
    assert isinstance(table, Table)
    assert [column.name for column in table.learnt_columns] == ["code", "guest"]
    assert table.encoding is not None
    columns = tuple(column_from_json(column.as_json()) for column in table.columns)
    made = to_frame(columns, table.encoding.decode(table.encoding.encode(table.x)))
    assert np.array_equal(made.code.isna(), made.guest)
    assert made.code.dropna().min() > max(filter(None, texts))
    for codes in (range(9), ["a", None, *"bcdefgh"], "x", [None, *"ab" * 4]):  # few rows look like other kinds
        few = load(pd.DataFrame({"guest": [False, True, False] * 3, "code": codes}))
        assert isinstance(few, Table)
        x = few.with_columns(columns, table.encoding).x
        assert np.array_equal(x[:, 0], np.where(pd.isna(pd.Series(codes, range(9))), np.nan, 0), equal_nan=True)


def test_where_identifiers_are_missing_is_not_learnt_by_models_of_earlier_versions() -> None:
    column = Column("code", "identifier", missing=0.25, details={"last": 7})
    assert not column.is_learnt
    made = to_frame([column, Column("n", "integer", low=0.0, high=9.0)], np.arange(1000)[:, None] % 10)
    assert abs(made.code.isna().mean() - 0.25) < 0.06
    assert made.code.dropna().is_unique


def test_what_a_frame_may_not_hold() -> None:
    for values, message in (
        ([{"a": 1}] * 3, "table: the column x has dictionaries, such as in row 1: make numbers or texts of them"),
        ([1, "a", 2], "table: the column x has integers and texts, such as in row 2: make"),
        ([1.0, np.inf, 2], "table: the column x has an infinite number in row 2"),
        (
            np.array([0, 1, 2**62], "datetime64[s]"),
            "table: the column x has a time that no calendar has: Out of bounds microsecond timestamp",
        ),
        ([1j, 2, 3], "table: the column x has complex numbers"),
        (pd.Series(pd.timedelta_range("1s", periods=3)), "table: the column x has values of the type timedelta64"),
    ):
        with pytest.raises(UserError, match=message.replace("[", r"\[")):
            load(pd.DataFrame({"x": values}))


def test_what_a_frame_may_not_hold_can_be_dropped() -> None:
    frame = pd.DataFrame({"json": [{"a": i} for i in range(60)], "n": np.arange(60) / 4})
    tables = [load(frame.iloc[k:], DataOptions(drop=("json",), split="test", holdout=0.3)) for k in (0, 1)]
    assert 0 < len(tables[0]) < 30
    assert set(tables[1].x.flatten().tolist()) == set(tables[0].x.flatten().tolist()) - {0.0}


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
    random = np.random.default_rng(0)  # of its own, or which rows are held out would depend on the tests before
    frame = pd.DataFrame({"a": random.integers(0, 9, 300), "b": random.normal(size=300).round(3)})
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


ARROW = pa.table({
    "age": pa.array([3, None, 7, 9] * 10, pa.int16()), "member": [True, None, False, True] * 10,
    "born": [dt.date(2020, 1, 1 + i % 20) for i in range(40)], "at": [dt.time(i % 24, 30) for i in range(40)],
    "cost": [Decimal(f"{i}.25") for i in range(40)], "town": pa.array(["Ulm", "Rom"] * 20).dictionary_encode(),
})  # fmt: skip


def test_frames_of_arrow_are_read_as_those_of_pandas() -> None:
    """All of its types, of which dates, decimals and dictionaries ended in an error."""
    frame = ARROW.to_pandas(types_mapper=pd.ArrowDtype)
    table = from_frame(frame)
    assert [c.kind for c in table.columns] == ["integer", "boolean", "date", "time", "real", "category"]
    back = to_frame(table.columns, table.x.numpy())
    for name in ("born", "at", "cost", "town"):
        assert back[name].tolist() == ARROW[name].to_pylist()


def test_a_frame_of_polars_keeps_whole_and_boolean_columns_of_which_values_are_missing() -> None:
    class DataFrame:
        """What is asked of a frame of Polars."""

        __module__ = "polars.dataframe.frame"

        def __len__(self) -> int:
            return len(ARROW)

        def to_arrow(self) -> pa.Table:
            return ARROW

    table = load(DataFrame(), DataOptions(holdout=0.0))
    assert isinstance(table, Table)
    back = to_frame(table.columns, table.x.numpy())
    assert pa.Table.from_pandas(back)["age"].type == pa.int16()
    for name in ("age", "member", "born", "at", "cost", "town"):
        assert pa.Table.from_pandas(back)[name].to_pylist() == ARROW[name].to_pylist()


def test_columns_are_read_side_by_side_and_of_several_errors_the_first_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    meet = threading.Barrier(2, timeout=30)  # which one thread alone would wait at in vain
    read, waited = frame_module.read_column, set[str]()

    def read_column(name: str, *rest: Any) -> Any:
        if name in ("a", "b"):
            waited.add(name)
            meet.wait()
        return read(name, *rest)

    monkeypatch.setattr(frame_module, "read_column", read_column)
    monkeypatch.setattr(frame_module, "CORES", 2)
    frame = pd.DataFrame({"a": range(9), "b": range(9), "c": [{}] * 9, "d": [[]] * 9})
    with pytest.raises(UserError, match="the column c has dictionaries"):
        from_frame(frame)
    assert waited == {"a", "b"}


def test_numbers_of_float32_are_those_that_are_written() -> None:
    """0.1 is no 0.10000000149: rows that are drawn with one decimal equal those of the data."""
    texts = [f"{i % 37 / 10}" for i in range(80)]
    frame = pd.DataFrame({"a": np.array(texts, np.float32), "b": np.arange(80.0) / 7})
    table = load(frame, DataOptions(holdout=0))
    assert table.x[:, 0].tolist() == [float(text) for text in texts]
    pd.testing.assert_frame_equal(to_frame(table.columns, table.x), frame)


def test_decimals_beyond_float64_stay_fractions() -> None:
    values = [Decimal(1) / Decimal(3), Decimal(2) / Decimal(3)] * 30
    table = load(pd.DataFrame({"a": values, "b": np.arange(60.0) / 7}), DataOptions(holdout=0))
    made = to_frame(table.columns, table.x).a
    assert all(isinstance(value, Decimal) for value in made)
    assert max(abs(a - b) for a, b in zip(made, values, strict=True)) < Decimal("1e-15")


def test_whole_numbers_of_files_stay_whole_beside_missing_ones(tmp_path: Path) -> None:
    lines = [f"{['0', '1', ''][i % 3]},{['1', '2', ''][i % 3]},{'' if i % 7 == 0 else 1000 + i}" for i in range(90)]
    (tmp_path / "t.csv").write_text("flag,grade,id\n" + "\n".join(lines) + "\n")
    table = load(tmp_path / "t.csv", DataOptions(holdout=0, column=("grade:category", "id:identifier")))
    written = as_written(table.columns, to_frame(table.columns, table.x))
    assert [*zip(written.flag, written.grade, strict=True)] == [tuple(line.split(",")[:2]) for line in lines]
    assert all(text == "" or text.isdigit() for text in written.id)


def test_zero_has_no_sign() -> None:
    table = load(pd.DataFrame({"a": np.arange(-30, 30) / 10}), DataOptions(holdout=0))
    made = to_frame(table.columns, torch.tensor([[-0.04], [-0.0]]))
    assert not np.signbit(made.a).any()


def test_numbers_with_a_unit_are_no_identifiers(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("share,x\n" + "\n".join(f"{i}%,{i * i % 7}" for i in range(60)))
    table = load(tmp_path / "t.csv", DataOptions(holdout=0))
    assert table.columns[0].kind == "integer"
    assert as_written(table.columns, to_frame(table.columns, table.x)).share.tolist() == [f"{i}%" for i in range(60)]


def test_identifiers_may_have_64_bits() -> None:
    hashes = np.arange(60, dtype=np.uint64) * np.uint64(2**57 + 1) + np.uint64(2**63)
    table = load(pd.DataFrame({"hash": hashes, "x": np.arange(60.0) / 7}), DataOptions(holdout=0))
    assert read_columns([column.as_json() for column in table.columns]) == table.columns


@pytest.mark.parametrize("value", [
    pd.Timestamp("2020-05-01"), pd.Timestamp("2020-05-01 10:30"), dt.date(2020, 5, 1), dt.time(10, 30), Decimal("2.50"),
], ids=repr)  # fmt: skip
@pytest.mark.parametrize("kind", ["constant", "with gaps", "category"])
def test_a_single_date_comes_back(value: Any, kind: str) -> None:
    values = [value, value if kind == "constant" else None] * 30
    frame = pd.DataFrame({"a": values, "b": np.arange(60.0) / 7})
    table = load(frame, DataOptions(holdout=0, column=("a:category",) if kind == "category" else ()))
    columns = tuple(column_from_json(column.as_json()) for column in table.columns)
    made = to_frame(columns, table.x).a
    assert [x for x in made if not pd.isna(x)] == [x for x in values if x is not None]
    assert made.isna().tolist() == frame.a.isna().tolist()


def test_dates_of_other_rows_are_read_in_the_units_of_the_model() -> None:
    days = pd.date_range("2024-01-01", periods=60)
    date, moment = (load(pd.DataFrame({"t": t}), DataOptions(holdout=0)) for t in (days, days + pd.Timedelta("1h")))
    assert [table.columns[0].kind for table in (date, moment)] == ["date", "datetime"]
    assert torch.equal(date.with_columns(moment.columns, moment.encoding).x, date.x * 86_400)
    with pytest.raises(UserError, match="holds datetime values, but the model has learnt it as date"):
        moment.with_columns(date.columns, date.encoding)
    with pytest.raises(UserError, match="row 1: .* has a time of day, and the column has dates"):
        to_numbers(pd.DataFrame({"t": days + pd.Timedelta("1h")}), date.columns)
    assert np.array_equal(to_numbers(pd.DataFrame({"t": days}), date.columns)[0], date.x)


def test_what_the_model_has_not_seen_is_no_other_value_unsaid() -> None:
    names = ["low"] * 10 + ["mid"] * 30 + ["zz"] * 20
    model = load(pd.DataFrame({"c": names, "y": np.arange(60.0) / 7}), DataOptions(holdout=0))
    rows = pd.DataFrame({"c": ["low", None, "new"], "y": [None, 0.5, 1.0]})
    new = load(rows, DataOptions(holdout=0, column=("c:category", "y:real")))
    seen = new.with_columns(model.columns, model.encoding)
    assert seen.x.tolist() == [[0.0, 0.5], [1.0, 0.5], [1.0, 1.0]]
    assert [note for note in seen.notes if note.startswith("the model")] == [
        'the model does not know these of column "c", missing to it: new',
        'the model knows no missing value of the column "c": it has its most frequent value, mid, in 2 of 3 rows',
        'the model knows no missing value of the column "y": it has the median in 1 of 3 rows',
    ]


@pytest.mark.parametrize("hours", [[2], [2, 5]], ids=str)
def test_times_of_python_keep_their_offset(hours: list[int]) -> None:
    zones = [dt.timezone(dt.timedelta(hours=hours[i % len(hours)])) for i in range(60)]
    times = [dt.datetime(2020, 5, 1, 0, i, tzinfo=zone) for i, zone in enumerate(zones)]
    frame = pd.DataFrame({"t": np.array(times, object), "x": np.arange(60.0) / 7})
    table = load(frame, DataOptions(holdout=0))
    made = to_frame(tuple(column_from_json(column.as_json()) for column in table.columns), table.x).t.tolist()
    assert made == times
    assert {time.utcoffset() for time in made} == {dt.timedelta(hours=2) if len(hours) == 1 else dt.timedelta(0)}
