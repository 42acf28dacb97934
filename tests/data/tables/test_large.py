"""Tables that are read a part at a time into the cache: the same as those in memory."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from ganvas.data import DataOptions, decoded, fit_scaling, load, load_or_stream, make_stream, resolve_stream
from ganvas.data.tables import counts, large, survey
from ganvas.data.tables import table as table_module
from ganvas.data.tables.table import Table
from ganvas.errors import UserError
from ganvas.models.vae import VAE
from tests.support.columns import REALS, SERIES

RANDOM = np.random.default_rng(1)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(large, "PART_ROWS", 16)
    monkeypatch.setattr(large, "BLOCK_BYTES", 1000)


def load_both(path: Path, **options: Any) -> tuple[Table, Table]:
    """A table in memory, and the same from the cache."""
    tables = [load(path, DataOptions(stream=stream, **options)) for stream in ("never", "always")]  # type: ignore[arg-type]
    a, b = tables
    assert isinstance(a, Table)
    assert isinstance(b, Table)
    assert (a.is_mapped, b.is_mapped) == (False, True)
    return a, b


def check_same(a: Table, b: Table) -> None:
    assert a.columns == b.columns
    assert a.x.shape == b.x.shape
    assert np.array_equal(a.x, b.x, equal_nan=True)
    assert torch.equal(a.hashes, b.hashes)  # type: ignore[arg-type]
    assert a.fingerprint() == b.fingerprint()
    more = [note for note in b.notes if note not in a.notes]
    assert len(more) == 1
    assert "which are read from a file in the cache" in more[0]


def make_frame(n: int = 300) -> pd.DataFrame:
    days = pd.date_range("2020-01-01", periods=n).strftime("%d.%m.%Y")
    return pd.DataFrame({
        "id": range(n), "price": RANDOM.normal(size=n).round(2),
        "n": np.where(np.arange(n) % 7, RANDOM.integers(0, 99, n), np.nan),
        "kind": np.array(["a,b", "ü", "xyz"])[RANDOM.integers(0, 3, n)], "day": days,
    })  # fmt: skip


@pytest.mark.parametrize("name", SERIES)
def test_every_type_of_parquet_is_the_same_in_parts(name: str, tmp_path: Path) -> None:
    series, _ = SERIES[name]
    path = tmp_path / "t.parquet"
    pd.DataFrame({name: series, "beside": REALS}).to_parquet(path, row_group_size=20)
    check_same(*load_both(path))


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "parquet"])
def test_split_and_batches_are_the_same(suffix: str, tmp_path: Path) -> None:
    path, frame = tmp_path / f"t.{suffix}", make_frame()
    frame.to_parquet(path) if suffix == "parquet" else frame.to_csv(path, index=False)
    for options in ({"holdout": "auto"}, {"split": "test", "holdout": 0.3}, {"limit": 40}, {"drop": ("n",)}):
        check_same(*load_both(path, **options))
    streams = [make_stream(table, fit_scaling(table, VAE()), batch=32, seed=3) for table in load_both(path)]
    for _ in range(12):
        a, b = (next(stream).x for stream in streams)
        assert torch.equal(a, b)


def test_what_no_model_can_learn_may_be_dropped(tmp_path: Path) -> None:
    frame, path = make_frame(), tmp_path / "t.parquet"
    frame["ratio"] = np.where(np.arange(300) % 50, frame.price, np.inf)
    frame["list"] = [[i, i + 1] for i in range(300)]
    frame["complex"] = [{"a": i} for i in range(300)]
    frame.to_parquet(path)
    check_same(*load_both(path, drop=("ratio", "list", "complex")))
    for name, part in (("ratio", "an infinite number in row 1"), ("list", "arrays"), ("complex", "dictionaries")):
        others = tuple({"ratio", "list", "complex"} - {name})
        with pytest.raises(UserError, match=f"column {name} has {part}"):
            load(path, DataOptions(stream="always", drop=others))


def test_missing_identifiers_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = np.where(np.arange(300) % 9, [f"C-{i:05d}" for i in range(300)[::-1]], None)
    frame = pd.DataFrame({"code": code, "kind": np.arange(300) % 7})
    frame.to_csv(tmp_path / "t.csv", index=False)
    check_same(*load_both(tmp_path / "t.csv"))
    monkeypatch.setattr(survey, "MAX_DIFFERENT", 32)
    monkeypatch.setattr(survey, "HEAVY_SHARE", 0.01)
    frame.to_parquet(tmp_path / "t.parquet")
    check_same(*load_both(tmp_path / "t.parquet", column=("code:identifier",)))


def test_a_table_larger_than_half_of_the_memory_is_read_from_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / "t.parquet", tmp_path / "t.csv"]
    make_frame().to_parquet(paths[0])
    make_frame().to_csv(paths[1], index=False)
    for path in paths:
        table = load_or_stream(path)
        assert not table.is_mapped
    monkeypatch.setattr(large, "available_memory", lambda: 20_000)
    for path in paths:
        table = load_or_stream(path)
        assert table.is_mapped
        assert resolve_stream(path, DataOptions(), table).stream == "always"


def test_the_second_start_reads_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.csv"
    make_frame().to_csv(path, index=False)
    _, first = load_both(path)
    monkeypatch.setattr(large, "write_rows", None)
    assert first.fingerprint() == load_both(path)[1].fingerprint()
    assert decoded.describe(decoded.entries()[0])["shape"] == [4]


def test_a_category_that_only_the_last_part_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "MAX_ROWS", 50)
    monkeypatch.setattr(counts, "PART_ROWS", 64)
    frame = make_frame()
    frame.loc[299, "kind"] = "last"
    frame.to_csv(tmp_path / "t.csv", index=False)
    a, b = load_both(tmp_path / "t.csv", holdout=0)
    check_same(a, b)
    assert b.columns[3].categories == ("a,b", "last", "xyz", "ü")
    assert b.encoding is not None
    assert torch.equal(b.encoding.decode(b.encoding.encode(b.x))[:, 2], b.x[:, 2])


def test_rows_are_measured_by_a_sample_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    data = load(make_frame())
    assert (len(data.encoded_by(None)), data.encoded_by(None).sampled_from) == (300, None)
    monkeypatch.setattr(table_module, "MAX_ENCODED_BYTES", 100 * 4 * data.shape[0])
    part = data.encoded_by(None)
    assert (len(part), part.sampled_from) == (100, 300)
    assert part.fingerprint() == data.encoded_by(None).fingerprint()


def test_the_same_columns_leave_the_rows_where_they_are(tmp_path: Path) -> None:
    make_frame().to_csv(tmp_path / "t.csv", index=False)
    _, data = load_both(tmp_path / "t.csv")
    assert data.encoding is not None
    assert data.with_columns(data.columns, data.encoding).x is data.x


def test_what_no_column_can_be_is_said_with_its_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = make_frame().assign(price=RANDOM.normal(size=300).round(6)).astype({"price": str})
    frame.loc[290, "price"] = "twelve"
    frame.to_csv(tmp_path / "t.csv", index=False)
    for stream in ("never", "always"):
        with pytest.raises(UserError, match="line 292, column price: 'twelve' is no number"):
            load(tmp_path / "t.csv", DataOptions(stream=stream))  # type: ignore[arg-type]
        with pytest.raises(UserError, match="line 292, column price: 'twelve' is no number"):
            load(tmp_path / "t.csv", DataOptions(stream=stream, column=("price:real",)))  # type: ignore[arg-type]
    monkeypatch.setattr(survey, "MAX_DIFFERENT", 20)
    monkeypatch.setattr(survey, "HEAVY_SHARE", 0.03)
    for word in ("twelve", "ten", "x1", "none of them"):  # of which some are in the sample
        frame.loc[290, "price"] = word
        frame.to_csv(tmp_path / "t.csv", index=False)
        with pytest.raises(UserError, match=f"line 292, column price: '{word}' is no"):
            load(tmp_path / "t.csv", DataOptions(stream="always", drop=("id", "day")))
    assert not list((tmp_path / "cache" / "decoded").glob("*"))


def test_more_different_values_than_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "MAX_DIFFERENT", 60)
    monkeypatch.setattr(survey, "HEAVY_SHARE", 0.03)
    frame = make_frame()
    frame["name"] = [f"C-{i:05d}" for i in RANDOM.permutation(300)]
    frame["zeros"] = np.where(RANDOM.random(300) < 0.6, 0, RANDOM.normal(size=300).round(3))
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_csv(tmp_path / "t.csv", index=False)
    for path in (tmp_path / "t.parquet", tmp_path / "t.csv"):
        a, b = load_both(path)
        assert np.array_equal(a.x, b.x, equal_nan=True)
        assert torch.equal(a.hashes, b.hashes)  # type: ignore[arg-type]
        for mine, other in zip(a.columns, b.columns, strict=True):
            assert (mine.kind, mine.low, mine.high, mine.atoms) == (other.kind, other.low, other.high, other.atoms)
            assert mine.missing == pytest.approx(other.missing)
            assert mine.details.get("last") == other.details.get("last")
    texts = pd.DataFrame({"word": [f"w{i % 100}x{i % 100}" for i in range(900)], "y": range(900)})
    texts.to_csv(tmp_path / "w.csv", index=False)
    with pytest.raises(UserError, match="column word has more than 60 categories: leave it out by --drop"):
        load(tmp_path / "w.csv", DataOptions(stream="always"))


def test_times_of_which_parts_are_at_midnight(tmp_path: Path) -> None:
    times = pd.Series(pd.date_range("2020-01-01", periods=60, freq="D"))
    times[50] += pd.Timedelta("3h")
    pd.DataFrame({"at": times, "y": REALS}).to_parquet(tmp_path / "t.parquet")
    check_same(*load_both(tmp_path / "t.parquet"))


def test_nothing_is_left_of_what_was_not_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, folder = tmp_path / "t.csv", tmp_path / "cache" / "decoded"
    make_frame().to_csv(path, index=False)

    def stop(*_: object) -> None:
        assert len(list(folder.glob("*.tmp")) + list(folder.glob(".*.tmp"))) > 0
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(large, "keep_rows", stop)
        with pytest.raises(KeyboardInterrupt):
            load(path, DataOptions(stream="always"))
    assert not list(folder.iterdir())
    table = load(path, DataOptions(stream="always"))
    entry = next(folder.iterdir())
    content = bytearray(entry.read_bytes())
    content[2000] ^= 1
    entry.write_bytes(content)
    check_same(load(path, DataOptions(stream="never")), load(path, DataOptions(stream="always")))  # type: ignore[arg-type]
    del table


def test_no_room_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_frame().to_csv(tmp_path / "t.csv", index=False)
    monkeypatch.setenv("GANVAS_CACHE_LIMIT", "0")
    with pytest.raises(UserError, match="GANVAS_CACHE_LIMIT is 0 GiB; stream=never reads it into memory"):
        load(tmp_path / "t.csv", DataOptions(stream="always"))
    make_frame().to_feather(tmp_path / "t.feather")
    with pytest.raises(UserError, match="is read whole: save it as Parquet"):
        load(tmp_path / "t.feather", DataOptions(stream="always"))
