"""What `ganvas data` says of a table: its columns, associations, duplicates, and the page."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ganvas.cli.app import main
from ganvas.data import load
from ganvas.data.tables.association import signed_associations
from ganvas.data.tables.table import Table
from tests.support.cli import said, told

N = 400
RANDOM = np.random.default_rng(0)


@pytest.fixture
def file(tmp_path: Path) -> str:
    a = RANDOM.normal(size=N)
    word = RANDOM.integers(0, 3, N)
    frame = pd.DataFrame({
        "id": np.arange(N), "a": a.round(2), "b": (2 * a + 0.01 * RANDOM.normal(size=N)).round(2),
        "word": np.array(["low", "mid", "top"])[word], "copy": np.array(["x", "y", "z"])[word],
        "level": (word + 0.1 * RANDOM.normal(size=N)).round(2), "noise": RANDOM.normal(size=N).round(2),
        "gain": np.where(np.arange(N) % 10, 0, RANDOM.integers(1, 99, N)),
        "day": pd.date_range("2020-01-01", periods=N).strftime("%d.%m.%Y"), "same": 1,
        "rare": np.where(np.arange(N) % 4, "", "v" + pd.Series(np.arange(N) % 8).astype(str)),
    })  # fmt: skip
    frame = pd.concat([frame, frame[:20].assign(id=N + np.arange(20))])  # whose other columns repeat
    frame.to_csv(tmp_path / "t.csv", index=False)
    return str(tmp_path / "t.csv")


def test_a_line_for_each_column(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, "data", file, "--holdout", "0").splitlines()
    columns = [" ".join(line.split()[1:]) for line in lines if line.startswith("column ")]
    assert columns[0] == "id identifier not learnt: samples have new ones"
    assert columns[3].startswith("word category 3: ")
    assert columns[7].startswith("gain integer 0 to 97, mean ")
    assert columns[7].endswith("0 in 90%")
    assert columns[8].startswith("day date 2020-01-01 to 2021-02-03, mean 2020-")
    assert columns[9] == "same constant always 1"
    assert columns[10].endswith("75.0% missing")
    assert any(line.startswith("associations     word and copy 1; a and b 1") for line in lines)
    assert any("exact duplicates 20 (400 and 0; 401 and 1;" in line for line in lines)
    assert "advice           mostly missing: rare; --drop leaves out what is of no use" in lines


def test_json_and_the_page(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    report = told(capsys, "data", file, "--out", "report.html")
    assert report["rows"] + report["test rows"] == N + 20
    assert [column["kind"] for column in report["columns"]][:4] == ["identifier", "real", "real", "category"]
    assert sum(report["columns"][1]["histogram"]) == report["rows"]
    page = Path("report.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 9 + 1
    assert "How gain spreads" in page
    assert page.count('class="cell plus"') + page.count('class="cell minus"') == 9 * 9
    assert "identifier, not learnt: samples have new ones" in page
    assert main(["data", file, "--out", "sheet.png"]) == 2
    assert "a table has no contact sheet" in capsys.readouterr().err
    assert not list(Path().glob("*.png"))


def test_associations_are_those_of_the_textbooks(file: str) -> None:
    table = load(file)
    assert isinstance(table, Table)
    names = [column.name for column in table.learnt_columns]
    matrix = pd.DataFrame(signed_associations(table.learnt_columns, table.x.numpy()), names, names)
    assert matrix.loc["a", "b"] == pytest.approx(np.corrcoef(table.x[:, 0], table.x[:, 1])[0, 1])
    assert matrix.loc["word", "copy"] == pytest.approx(1)
    assert matrix.loc["word", "level"] == pytest.approx(0.93, abs=0.02), "of ten groups two have rows of two words"
    assert abs(matrix.loc["noise"].drop(["noise", "rare"])).max() < 0.2
    assert np.array_equal(matrix, matrix.T)
