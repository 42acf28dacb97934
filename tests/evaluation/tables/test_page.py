"""The page is one file without script, whatever columns and categories are called, and fits a narrow window."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ganvas.data.tables.columns import Column
from ganvas.evaluation.tables import TableEvaluation, evaluate_table
from ganvas.evaluation.tables.page import page_values, write_table_page
from tests.support.browser import NARROW, OpenPage, overflows
from tests.support.tables import MIXED, mixed_rows, shuffle_columns

pytest.importorskip("sklearn")
pytestmark = pytest.mark.usefixtures("few_trees")


@pytest.fixture(scope="module")
def evaluation(few_trees: None) -> TableEvaluation:
    columns = (replace(MIXED[0], name="<b>height</b>"), *MIXED[1:], Column("id", "identifier"))
    x = mixed_rows(120)
    return evaluate_table(x[:60], x[60:], shuffle_columns(x[:60]), columns)


def test_page(evaluation: TableEvaluation, tmp_path: Path) -> None:
    path = tmp_path / "table.html"
    write_table_page(path, "Rows", evaluation)
    text = path.read_text()
    assert "<script" not in text
    assert "<b>height" not in text
    assert "&lt;b&gt;height" in text
    assert text.count('role="img"') == 6 + 3  # a chart a column, and three matrices
    assert text.count("<rect") >= 3 * 36
    assert "Not learnt, and not looked at: id." in text


def test_a_bar_that_towers_is_cut_off_and_says_so(evaluation: TableEvaluation) -> None:
    columns = [Column("gain", "integer")]
    x = np.where(np.arange(100) % 10 == 0, np.arange(100) * 20, 0)[:, None].astype(np.float64)
    chart = page_values(evaluate_table(x, x[:0], x, columns))["marginals"][0]
    assert chart["bars"][0]["height"] == max(bar["height"] for bar in chart["bars"])
    assert any(text == "real 90%, synthetic 90%" or text.startswith("real 9") for *_, text in chart["texts"])
    assert page_values(evaluation)["marginals"][0]["bars"]


def test_page_in_a_narrow_window(evaluation: TableEvaluation, tmp_path: Path, open_page: OpenPage) -> None:
    path = tmp_path / "table.html"
    write_table_page(path, "Rows", evaluation)
    page = open_page(path, NARROW)
    assert page.locator("h1").inner_text() == "Rows"
    assert not overflows(page)
