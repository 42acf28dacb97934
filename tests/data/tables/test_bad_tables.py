"""What is wrong with a table is said in one sentence, with its file, line and column, and exit code 2."""

import gzip
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from ganvas.cli.app import main
from ganvas.data import DataOptions, load
from ganvas.errors import UserError

Content = str | bytes | pd.DataFrame | Callable[[Path], object]
PLAIN = "size,n\n" + "".join(f"{'SML'[i % 3]},{i % 7}\n" for i in range(60))
MIXED = "v,n\n" + "".join(f"{i}.5,{i % 7}\n" for i in range(90))


def database(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE orders (n INTEGER)")
        connection.execute("CREATE TABLE people (n INTEGER)")
    connection.close()


CASES: dict[str, tuple[str, Content, list[str], str]] = {
    "empty": ("t.csv", "", [], "t.csv is empty: give a table, with names of columns in its first line"),
    "blank": ("t.csv", " \n\n", [], "t.csv is empty"),
    "header only": ("t.csv", "a,b\n", [], "t.csv has names of columns, but no rows: give one or more"),
    "one row": ("t.csv", "a,b\n1,x\n", [], "t.csv has nothing to learn: constant, not learnt: a, b"),
    "all rows alike": ("t.csv", "a,b\n" + "1,x\n" * 30, [], "t.csv has nothing to learn"),
    "identifiers only": (
        "t.csv",
        "id\n" + "\n".join(map(str, range(30))),
        [],
        "t.csv has nothing to learn: identifiers",
    ),
    "nothing in it": ("t.csv", "a,b\n,\n,\n", [], "t.csv has nothing to learn"),
    "all dropped": ("t.csv", PLAIN, ["--drop", "size,n"], "t.csv has nothing to learn: all columns are dropped"),
    "binary": ("t.csv", b"\x93NUM\0\1\2" * 9, [], "t.csv is no table of texts, but binary: save it as .csv in UTF-8"),
    "UTF-16 without a mark": ("t.csv", PLAIN.encode("utf-16-le"), [], "t.csv is no table of texts, but binary"),
    "Excel": ("t.csv", b"PK\3\4" + b"x" * 99, [], "it is a zip, as Excel's .xlsx are: save the sheet as .csv"),
    "old Excel": ("t.csv", b"\xd0\xcf\x11\xe0" + b"x" * 99, [], "it is an Excel file: save the sheet as .csv"),
    "Excel by name": ("t.xlsx", b"PK\3\4", [], "it is a spreadsheet: save its sheet as .csv"),
    "Parquet renamed": ("t.csv", b"PAR1" + b"x" * 99, [], "it is a Parquet file: end its name in .parquet"),
    "a database renamed": ("t.csv", database, [], "it is a database of SQLite: give sqlite:///FILE#TABLE"),
    "a web page": ("t.csv", "<!DOCTYPE html>\n<table>", [], "it is a web page: download the table itself"),
    "no gzip": ("t.csv.gz", gzip.compress(PLAIN.encode())[:40], [], "t.csv.gz is damaged: "),
    "no Parquet": ("t.parquet", "PAR1", [], "t.parquet is damaged or no Parquet file"),
    "no Feather": ("t.feather", "ARROW1", [], "t.feather is damaged or no Feather file"),
    "a row too long": (
        "t.csv",
        PLAIN + "S,1,2\n",
        [],
        "t.csv, line 62 has 3 fields, but the first line 2: give each row",
    ),
    "a row too short": ("t.csv", PLAIN + "S\n", [], "t.csv, line 62 has 1 field, but the first line 2: give each row"),
    "a row too short, after quotes": (
        "t.csv",
        'a,b\n"1\n2",3\n4\n',
        [],
        "t.csv, line 4 has 1 field, but the first line 2",
    ),
    "a quote that is open": ("t.csv", 'a,b\n1,"2\n3,4\n', [], "t.csv, line 2: a quote that opens here is not closed"),
    "a quote that is open, and a row too long": (
        "t.csv",
        'a,b\n1,"2\n3,4\n5,"6"\n7,8,9\n',
        [],
        "t.csv, line 5 has 3 fields, but the first line 2",
    ),
    "doubled names": (
        "t.csv",
        "a,b,a\n1,2,3\n2,5,7\n",
        [],
        "t.csv has several columns called a: give each a name of its own",
    ),
    "10,000 columns": (
        "t.csv",
        ",".join(f"c{i}" for i in range(10_000)) + "\n",
        [],
        "t.csv has 10,000 columns, and tables have",
    ),
    "texts among numbers": (
        "t.csv",
        MIXED + "abc,1\n",
        [],
        "t.csv, line 92, column v: 'abc' is no number, as 90 of 91 values are",
    ),
    "a number too large": ("t.csv", "v,n\n1,2\n" + "9" * 400 + ",3\n5,6\n", [], "line 3, column v: '999"),
    "a number too large for a real": ("t.csv", "v,n\n1,2\n1e999,3\n", ["--column", "v:real"], "is too large a number"),
    "two units": (
        "t.csv",
        "w,n\n" + "".join(f"{i} {'kg' if i % 9 else 'lb'},{i % 7}\n" for i in range(90)),
        [],
        "t.csv, line 2, column w: '0 lb' has another unit than most, which have 'kg': mend it, or take all as names by",
    ),
    "dates in three formats": (
        "t.csv",
        "d,n\n"
        + "".join(
            f"{d},{i % 7}\n"
            for i in range(28)
            for d in (f"2020-01-{i + 1:02d}", f"{i + 1:02d}.02.2020", f"{i + 1:02d}/03/2021")
        ),
        [],
        r"t.csv, line 3, column d: '01.02.2020' is a date written in another way than most, %Y-%m-%d",
    ),
    "a column of dictionaries": (
        "t.parquet",
        pd.DataFrame({"x": [{"a": 1}, {"a": 2}], "n": [1, 2]}),
        [],
        "the column x has dictionaries",
    ),
    "a column of lists": ("t.feather", pd.DataFrame({"x": [["a"], ["b"]], "n": [1, 2]}), [], "the column x has arrays"),
    "infinity": (
        "t.parquet",
        pd.DataFrame({"x": [1.0, np.inf], "n": [1, 2]}),
        [],
        "the column x has an infinite number in row 2",
    ),
    "an unknown column": (
        "t.csv",
        PLAIN,
        ["--column", "sise:category"],
        "no column 'sise'. Did you mean \"size\"? It has: size, n",
    ),
    "an unknown column to drop": ("t.csv", PLAIN, ["--drop", "m"], "t.csv has no column 'm'. It has: size, n"),
    "an unknown kind": (
        "t.csv",
        PLAIN,
        ["--column", "size:text"],
        "--column size:text: give NAME:KIND, where the kind is one of",
    ),
    "a column named twice": (
        "t.csv",
        PLAIN,
        ["--column", "n:real", "--column", "n:integer"],
        "column names one column twice: n, n",
    ),
    "kept and dropped": (
        "t.csv",
        PLAIN,
        ["--column", "n:real", "--drop", "n"],
        "n: named by column, which keeps it, and by drop",
    ),
    "no integer": ("t.csv", MIXED, ["--column", "v:integer"], "t.csv, line 2, column v: '0.5' is no integer"),
    "no boolean": ("t.csv", PLAIN, ["--column", "size:boolean"], "t.csv, line 4, column size: 'L' is a third value"),
    "no date": (
        "t.csv",
        PLAIN,
        ["--column", "size:date"],
        "column size: 'S' is no date of a format that all have: say its format",
    ),
    "another format": (
        "t.csv",
        "d,n\n1.2.20,1\n2.3.20,2\n",
        ["--column", "d:date=%Y"],
        "t.csv, line 2, column d: '1.2.20' is no date",
    ),
    "an unknown category": (
        "t.csv",
        PLAIN,
        ["--column", "size:ordered=S<L"],
        "line 3, column size: 'M' is none of the ordered",
    ),
    "options of images": (
        "t.csv",
        PLAIN,
        ["--size", "8"],
        "t holds vectors, which have no size to change: leave out size",
    ),
    "classes": ("t.csv", PLAIN, ["--classes", "S"], "t has no classes to choose from: leave out --classes S"),
    "a database without the table": ("t.db", database, ["#order"], "has no table 'order'. Did you mean \"orders\""),
    "a database of several tables": (
        "t.db",
        database,
        [""],
        "has several tables: orders, people: say which, e.g. #orders",
    ),
    "a query that is wrong": ("t.db", database, ["#SELECT m FROM orders"], "cannot be read: no such column: m"),
    "a query that writes": (
        "t.db",
        database,
        ["#WITH a AS (SELECT 1) DELETE FROM orders"],
        "cannot be read: attempt to write a readonly",
    ),
    "a database that is none": ("t.db", "hello" * 200, ["#orders"], "cannot be read: file is not a database"),
}


@pytest.mark.parametrize("case", CASES)
def test_one_sentence(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name, content, words, message = CASES[case]
    path = tmp_path / name
    if isinstance(content, pd.DataFrame):
        (content.to_parquet if path.suffix == ".parquet" else content.to_feather)(path)
    elif callable(content):
        content(path)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    source = [f"sqlite:///{path}{words[0]}"] if path.suffix == ".db" else [str(path), *words]
    assert main(["train", "vae", *source, "--steps", "1", "--quiet"]) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("ganvas: ")
    assert "\n" not in said
    assert message in said
    assert not Path("runs").exists()


def test_passwords_are_refused_and_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    for url in ("postgresql://me:secret@host/shop#orders", "mysql://host/shop?password=secret#orders"):
        assert main(["data", url]) == 2
        said = capsys.readouterr().err
        assert "has a password, which would be stored with the run: leave it out, and set the environment" in said
        assert url.startswith("mysql") or "secret" not in said


def test_damaged_texts_are_not_what_lies_beside_them_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "t.feather"
    pd.DataFrame({"word": ["abc", "def"] * 40, "n": range(80)}).to_feather(path, compression="uncompressed")
    content = path.read_bytes()
    place = content.index(b"abcdef")
    for ends in (np.arange(0, 243, 3, np.int32), np.arange(0, 243, 3, np.int64)):
        if (i := content.rfind(ends.tobytes()[:40], 0, place)) >= 0:
            path.write_bytes(content[: i + 8] + b"\xff\xff\xff\x7f" + content[i + 12 :])
            with pytest.raises(UserError, match="t.feather is damaged or no Feather file"):
                load(path)
            return
    raise AssertionError("no offsets of texts")


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Path("t.csv").write_text(PLAIN)
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert main(["data", "t.csv"]) == 2
    assert 't.csv is a table, read by pandas: pip install "ganvas[tables]"' in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "pandas", pd)
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    assert main(["data", "sqlite:///shop.db#orders"]) == 2
    assert 'sqlite:///shop.db#orders is read by sqlalchemy: pip install "ganvas[sql]"' in capsys.readouterr().err


def test_texts_that_are_no_utf_8_are_damage(tmp_path: Path) -> None:
    """In the schema of a database, and in what pandas has written of itself into a Parquet file."""
    pytest.importorskip("sqlalchemy")
    database(tmp_path / "x.db")
    content = (tmp_path / "x.db").read_bytes()
    (tmp_path / "x.db").write_bytes(content.replace(b"CREATE TABLE", b"CREATE TABL\xb0"))
    with pytest.raises(UserError, match="x.db cannot be read: "):
        load(f"sqlite:///{tmp_path / 'x.db'}")
    table = pa.table({"a": [1.0, 2.0]}).replace_schema_metadata({"pandas": b"\xa2"})
    parquet.write_table(table, tmp_path / "x.parquet")
    for stream in ("never", "always"):
        with pytest.raises(UserError, match="x.parquet is damaged or no Parquet file: 'utf-8' codec can't decode"):
            load(tmp_path / "x.parquet", DataOptions(stream=stream))


@pytest.mark.parametrize("stream", ["never", "always"])
def test_zeros_after_the_end_of_gzip_are_no_damage(tmp_path: Path, stream: Literal["never", "always"]) -> None:
    options, path, plain = DataOptions(stream=stream, holdout=0), tmp_path / "x.csv.gz", tmp_path / "x.csv"
    plain.write_text(PLAIN)
    path.write_bytes(gzip.compress(PLAIN.encode()) + bytes(3000))
    assert load(path, options).fingerprint() == load(plain, options).fingerprint()
    path.write_bytes(gzip.compress(PLAIN.encode()) + b"more")
    with pytest.raises(UserError, match="x.csv.gz is damaged: Not a gzipped file"):
        load(path, options)
