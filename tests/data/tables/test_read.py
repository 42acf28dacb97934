"""Files of texts as tables: delimiters, encodings, numbers and dates as people write them, and names of columns."""

import gzip
import sqlite3
from pathlib import Path
from uuid import uuid4

import numpy as np
import pandas as pd
import pytest

from ganvas.data import DataOptions, load
from ganvas.data.tables.frame import as_written, to_frame
from ganvas.data.tables.sql import read_sql, typed_column
from ganvas.data.tables.table import Table
from ganvas.errors import UserError
from ganvas.inference.training_data import source_name


def read(path: Path, content: str | bytes, *column: str) -> Table:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    table = load(path, DataOptions(column=column))
    assert isinstance(table, Table)
    return table


def frame_of(table: Table) -> pd.DataFrame:
    return to_frame(table.columns, table.x.numpy())


def kinds(table: Table) -> dict[str, str]:
    return {column.name: column.kind for column in table.columns}


ROWS = [("a", "1.5", "x, y"), ("b", "-2", 'say "z"'), ("a", "3", "two\nlines"), ("b", "", "ü")]
WANTED = pd.DataFrame({"n": list("abab"), "v": [1.5, -2, 3, np.nan], "t": ["x, y", 'say "z"', "two\nlines", "ü"]})


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_delimiters_and_encodings_are_found(tmp_path: Path, delimiter: str, encoding: str, end: str) -> None:
    quoted = [["n", "v", "t"], *([a, b, '"' + c.replace('"', '""') + '"'] for a, b, c in ROWS)]
    text = end.join(delimiter.join(row) for row in quoted) + end
    table = read(tmp_path / "t.csv", text.encode(encoding))
    pd.testing.assert_frame_equal(frame_of(table), WANTED)
    note = "t.csv is not in UTF-8: it was read as cp1252, of Western Europe"
    assert (note in table.notes) == (encoding == "cp1252")


def test_zipped_and_tabbed_files(tmp_path: Path) -> None:
    text = "a\tb\n1\tx\n2\ty\n4\tx\n"
    for name, content in (
        ("t.tsv", text.encode()),
        ("t.tsv.gz", gzip.compress(text.encode())),
        ("t.csv.gz", gzip.compress(text.encode())),
        ("called.csv", gzip.compress(text.encode())),
    ):
        assert kinds(read(tmp_path / name, content)) == {"a": "integer", "b": "category"}


def test_numbers_as_people_write_them(tmp_path: Path) -> None:
    text = (
        "price;n;share;mass;zip;room\n1.234,50;1'000;5%;12 kg;01234;101\n"
        "99,90;20;10%;7,5 kg;99999;102\n0,05;3'000'000;7%;8 kg;00001;103\n"
    )
    table = read(tmp_path / "t.csv", text)
    assert table.x.T.tolist()[:5] == [[1234.5, 99.9, 0.05], [1000, 20, 3e6], [5, 10, 7], [12, 7.5, 8], [1, 2, 0]]
    assert kinds(table) == {
        "price": "real", "n": "integer", "share": "integer", "mass": "real", "zip": "category", "room": "integer",
    }  # fmt: skip
    frame = frame_of(table)
    assert (frame.price.tolist(), str(frame.n.dtype)) == ([1234.5, 99.9, 0.05], "int64")
    assert frame.share.tolist() == ["5%", "10%", "7%"]
    assert frame.mass.tolist() == ["12 kg", "7,5 kg", "8 kg"]
    assert frame.zip.tolist() == ["01234", "99999", "00001"]


def test_decimals_after_a_comma_and_thousands(tmp_path: Path) -> None:
    assert read(tmp_path / "a.csv", "v;w\n1,234;a\n2,5;b\n").x[:, 0].tolist() == [1.234, 2.5]
    assert read(tmp_path / "a.csv", "v;w\n1,234;a\n2,500;b\n").x[:, 0].tolist() == [1.234, 2.5]  # no comma separates
    assert read(tmp_path / "a.csv", 'v,w\n"1,234",a\n"2,500",b\n999,c\n').x[:, 0].tolist() == [1234, 2500, 999]
    assert read(tmp_path / "a.csv", 'v\n1 234\n"12 345 678,5"\n').x[:, 0].tolist() == [1234, 12345678.5]
    assert read(tmp_path / "a.csv", "v\n1e3\n2.5E-7\n").x[:, 0].tolist() == [1000, 2.5e-7]


DATES = {
    "2020-01-31": 18292, "31.01.2020": 18292, "1/31/2020": 18292, "31/01/2020": 18292, "31 Jan 2020": 18292,
    "January 31, 2020": 18292, "2020-01": 18262,
}  # fmt: skip


@pytest.mark.parametrize("text", DATES)
def test_dates_as_people_write_them(tmp_path: Path, text: str) -> None:
    later = text.replace("2020", "2021")
    table = read(tmp_path / "t.csv", f'd,v\n"{text}",1\n"{later}",2\n,4\n')
    assert table.columns[0].kind == "date"
    assert table.x[0, 0] == DATES[text]
    assert frame_of(table).d.tolist()[:2] == [text, later]


def test_days_and_months_in_doubt_are_said(tmp_path: Path) -> None:
    text = "d,v\n01/02/2020,1\n03/04/2020,2\n"
    table = read(tmp_path / "t.csv", text)
    assert "d could have the day or the month first: taken as %m/%d/%Y; --column 'd:date=FORMAT' says it otherwise" in (
        table.notes
    )
    assert read(tmp_path / "t.csv", text, "d:date=%d/%m/%Y").x[0, 0] == 18293


def test_names_of_columns(tmp_path: Path) -> None:
    table = read(tmp_path / "t.csv", "1,2\n3,4\n5,7\n")
    assert [column.name for column in table.columns] == ["column_1", "column_2"]
    assert "the first line has numbers only, so it is a row: the columns are called column_1 to column_2" in table.notes
    assert len(table) == 3
    table = read(tmp_path / "t.csv", ", v \n0,1\n1,2\n2,5\n")  # as pandas writes the names of rows
    assert [column.name for column in table.columns] == ["Unnamed: 0", "v"]


def test_what_was_taken_as_missing_is_said(tmp_path: Path) -> None:
    table = read(tmp_path / "t.csv", "a,b,c\n1,x,-\n?,NA,2\nnull,-,3\n7, y ,4\n")
    assert "taken as missing: ? in a" in table.notes
    assert "taken as missing: NA in b" in table.notes
    assert "taken as missing: - in c" in table.notes
    assert table.columns[1].categories == ("-", "x", "y")
    assert [round(column.missing, 2) for column in table.columns] == [0.5, 0.25, 0.25]


def test_kinds_that_are_chosen(tmp_path: Path) -> None:
    text = "size,zip,n,born\nM,123,1,5.1.20\nS,456,2,6.1.20\nL,123,3,7.1.20\nM,789,9,8.2.20\n"
    table = read(tmp_path / "t.csv", text, "size:ordered=S<M<L", "zip:category", "n:real", "born:date=%d.%m.%y")
    size, code, n, born = table.columns
    assert (size.categories, size.is_ordered, code.categories) == (("S", "M", "L"), True, (123, 456, 789))
    assert (n.kind, born.kind) == ("real", "date")
    assert table.x[:, 0].tolist() == [1, 0, 2, 1]
    pd.testing.assert_frame_equal(frame_of(table), pd.read_csv(tmp_path / "t.csv"))
    for column, message in (
        ("n:boolean", "t.csv, line 4, column n: '3' is a third value, and a boolean has two"),
        ("size:integer", "t.csv, line 2, column size: 'M' is no number"),
        ("size:ordered=S<M", "t.csv, line 4, column size: 'L' is none of the ordered categories S, M"),
        ("born:date=%Y-%m-%d", "t.csv, line 2, column born: '5.1.20' is no date of the format %Y-%m-%d"),
        ("n:constant", "line 3, column n: '2' is another value than the first"),
        ("n:number", "column=n:number: give NAME:KIND, where the kind is one of integer, real"),
        ("size:ordered", "name the categories from low to high"),
        ("m:real", "has no column 'm'"),
    ):
        with pytest.raises(UserError, match=message):
            read(tmp_path / "t.csv", text, column)


def test_wide_long_and_sparse_tables(tmp_path: Path) -> None:
    rows = [["1" if (i + j) % 20 == 0 else "" for j in range(9)] for i in range(60)]
    table = read(
        tmp_path / "t.csv",
        "\n".join([",".join("abcdefghi"), *(",".join([*r[:8], str(i % 7)]) for i, r in enumerate(rows))]),
    )
    assert table.columns[0].missing == pytest.approx(0.95)
    text = "word,v\n" + "\n".join(f"w{i % 300},{i}" for i in range(900))
    assert len(read(tmp_path / "t.csv", text).columns[0].categories) == 300
    text = "word,v\n" + f"{'x' * 20_000_000},1\ny,2\n"
    assert len(read(tmp_path / "t.csv", text)) == 2
    assert read(tmp_path / "t.csv", "v\n1\n2\n").x.tolist() == [[1], [2]]


def test_tables_of_a_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sqlalchemy")
    path = tmp_path / "shop.db"
    frame = pd.DataFrame({"n": range(9), "word": list("abc" * 3), "v": [1.5, None, 2] * 3})
    with sqlite3.connect(path) as connection:
        frame.to_sql("orders", connection, index=False)
    connection.close()
    before = path.read_bytes()
    monkeypatch.chdir(tmp_path)
    for source in ("sqlite:///shop.db#orders", "sqlite:///shop.db", "sqlite:///shop.db#SELECT * FROM orders"):
        table = load(source)
        assert isinstance(table, Table)
        pd.testing.assert_frame_equal(frame_of(table), frame)
    assert len(load("sqlite:///shop.db#SELECT * FROM orders WHERE n > 4")) == 4
    few = "CASE WHEN n > 2 THEN n END AS few, CASE WHEN n > 2 THEN n / 2.0 END AS half, NULL AS none"
    types, _ = read_sql(f"sqlite:///shop.db#SELECT n, {few} FROM orders")
    assert [str(kind) for kind in types.dtypes] == ["int64", "Int64", "float64", "object"]
    assert path.read_bytes() == before
    assert source_name("sqlite:///shop.db#SELECT 'a/b'") == f"sqlite:///{path}#SELECT 'a/b'"
    assert source_name("postgresql://me@host/shop#orders") == "postgresql://me@host/shop#orders"


def test_a_database_that_claims_more_memory_than_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sqlalchemy = pytest.importorskip("sqlalchemy")
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        pd.DataFrame({"n": range(9)}).to_sql("orders", connection, index=False)
    connection.close()

    def fetch(result: object) -> list[object]:
        raise MemoryError  # as SQLite does of a damaged row

    monkeypatch.setattr(sqlalchemy.engine.CursorResult, "fetchall", fetch)
    with pytest.raises(UserError, match="shop.db cannot be read: its rows need more memory than there is"):
        load(f"sqlite:///{tmp_path}/shop.db")


def test_queries_have_colons_and_rows_uuids(tmp_path: Path) -> None:
    pytest.importorskip("sqlalchemy")
    sqlite3.connect(tmp_path / "x.db").close()
    frame, name = read_sql(f"sqlite:///{tmp_path / 'x.db'}#SELECT 'a:b' AS x, ':c' AS y, '::d' AS z")
    assert (frame.values.tolist(), name) == ([["a:b", ":c", "::d"]], "query")
    ids = pd.Series([uuid4(), None, uuid4()], dtype=object)
    assert typed_column(ids).tolist()[::2] == [str(value) for value in ids[::2]]


def test_texts_are_written_as_the_source_has_them(tmp_path: Path) -> None:
    text = (
        "price;n;share;age;sold;day;word\n1.234,50;5;5%;22.0;true;31.01.2020;a\n99,90;?;10%;0.42;false;?;?\n"
        "0,05;7;7%;3.5;true;02.02.2020;b\n"
    )
    table = read(tmp_path / "t.csv", text)
    written = as_written(table.columns, frame_of(table))
    assert written.to_csv(index=False, sep=";") == text


def column_texts_of(path: Path) -> tuple[Table, list[str]]:
    table = load(path, DataOptions(holdout=0))
    assert isinstance(table, Table)
    return table, as_written(table.columns, to_frame(table.columns, table.x)).iloc[:, 0].tolist()


def test_times_keep_the_offset_that_all_of_them_have(tmp_path: Path) -> None:
    texts = [f"2020-01-{1 + i % 28:02d}T23:{i % 60:02d}:00.{'0' if i < 250 else '125'}+02:00" for i in range(300)]
    texts = [text.replace(".0+", ".000+") for text in texts]
    (tmp_path / "t.csv").write_text("t,x\n" + "\n".join(f"{text},{i * i % 7}" for i, text in enumerate(texts)))
    table, written = column_texts_of(tmp_path / "t.csv")
    assert table.columns[0].kind == "datetime"
    assert written == texts
    mixed = "\n".join(f"{text.replace('+02', '+01') if i % 2 else text},{i}" for i, text in enumerate(texts))
    (tmp_path / "m.csv").write_text("t,x\n" + mixed)
    assert "t has times of several offsets: samples have UTC's" in load(tmp_path / "m.csv").notes


def test_a_fraction_that_could_be_a_thousand_is_said(tmp_path: Path) -> None:
    for name, texts in (("t.tsv", ["950", "1,234", "12,500"] * 20), ("s.csv", ["950", "1.234", "12.500"] * 20)):
        separator = "\t" if name == "t.tsv" else ";"
        lines = [f"{text}{separator}{i * i % 7}" for i, text in enumerate(texts)]
        (tmp_path / name).write_text(f"n{separator}x\n" + "\n".join(lines))
        notes = load(tmp_path / name).notes
        assert any(note.startswith(f"n has {texts[1]!r}: taken as a fraction; if it is a thousand") for note in notes)


def test_empty_lines_of_a_single_column_are_said(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("n\n" + "".join("\n" if i % 4 == 0 else f"{i * i % 17}\n" for i in range(60)))
    for stream in ("never", "always"):
        notes = load(tmp_path / "t.csv", DataOptions(stream=stream)).notes  # type: ignore[arg-type]
        assert '15 empty lines of t.csv left out: write a missing value of one column as ""' in notes
