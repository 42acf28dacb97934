"""Rows are written as their source is."""

from pathlib import Path

import pytest

pytest.importorskip("pandas")
pytest.importorskip("pyarrow")
import ganvas
from ganvas.data import DataOptions, fit_scaling, load
from ganvas.data.tables.scaling import TableScaling, table_from_state, table_state
from ganvas.data.tables.table import Table
from ganvas.viz.images import Examples


@pytest.mark.parametrize("stream", ["never", "always"])
@pytest.mark.parametrize(
    ("delimiter", "encoding"), [(";", "cp1252"), ("|", "utf-8-sig"), ("\t", "utf-8"), (",", "utf-8")]
)
def test_delimiter_decimal_mark_and_encoding_come_back(
    tmp_path: Path, delimiter: str, encoding: str, stream: str
) -> None:
    mark = "." if delimiter == "," else ","
    rows = [f"{('Müller', 'Meier', 'Søren')[i % 3]}{delimiter}{i}{mark}{i % 2}5" for i in range(40)]
    content = "\n".join([f"name{delimiter}price", *rows, ""]).encode(encoding)
    path, new = tmp_path / "t.csv", tmp_path / "new.csv"
    path.write_bytes(content)
    table = load(path, DataOptions(holdout=0.0, stream=stream))
    assert isinstance(table, Table)
    (scaling,) = fit_scaling(table.with_own_encoding(), ganvas.VAE())
    assert isinstance(scaling, TableScaling)
    known = table_from_state(*table_state(scaling), (-1.0, 1.0))
    examples = Examples(table.x, scaling=known)
    examples.save(new)
    assert new.read_bytes() == content
    examples.save(tmp_path / "new.tsv")
    assert (tmp_path / "new.tsv").read_text(encoding).splitlines()[1] == f"Müller\t0{mark}05"


def test_tabs_of_a_tsv_file_are_those_of_its_suffix(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text("a\tb\n" + "x\t1\ny\t2\n" * 20)
    table = load(tmp_path / "t.tsv", DataOptions(holdout=0.0))
    assert isinstance(table, Table)
    assert table.file_format == (",", "utf-8")
