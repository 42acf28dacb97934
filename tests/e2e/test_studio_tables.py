"""A table in the studio, in a browser: sent, described, learnt and explored."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("pandas")
import pandas as pd

from tests.support.browser import NARROW, WIDE, OpenPage, accessibility_faults, overflows
from tests.support.studio import serving_studio
from tests.support.tables import write_table


def test_a_table_is_sent_learnt_and_explored(tmp_path: Path, open_page: OpenPage) -> None:
    source = write_table(tmp_path / "t.csv")
    with serving_studio(tmp_path / "runs") as address:
        page = open_page(f"{address}/new", NARROW)
        page.set_default_timeout(60_000)
        order_run(page, source)
        page.locator("#state", has_text="ended").wait_for()
        page.goto(page.url.replace("/runs/", "/explore/"))
        explore_rows(page, tmp_path)
        explore_columns(page)
        explore_codes(page)
        for size in (NARROW, WIDE):
            page.set_viewport_size(size)
            assert not overflows(page)
        assert accessibility_faults(page) == []


def order_run(page: Any, source: str) -> None:
    """Send a table, read the report on its columns, and start a run on it."""
    page.set_input_files("#files-A", source)
    page.locator("#report .marginals").wait_for()
    assert page.locator("#report .marginals figure").count() == 4  # the identifier too, which is not learnt
    for text in ("<b>kind</b>", "not learnt: samples have new ones"):
        assert text in page.locator("#report").inner_text()
    page.locator("input[value=cyclegan]").locator("xpath=..").get_by_text("Not for tables").wait_for()
    page.locator("input[value=vae]").check()
    page.get_by_label("--constraint").fill("amount >= 0")
    for name, value in {"--steps": "4", "--latent": "2", "--width": "4"}.items():
        page.get_by_label(name, exact=True).fill(value)
    page.locator("#command", has_text="--width 4").wait_for()
    page.locator("#start:enabled").wait_for()
    assert "--constraint 'amount >= 0'" in page.locator("#command").inner_text()
    assert not overflows(page)
    assert accessibility_faults(page) == []
    page.get_by_role("button", name="Start training").click()
    page.wait_for_url("**/runs/*")


def explore_rows(page: Any, folder: Path) -> None:
    """Draw rows that have a value, and download as many."""
    page.locator("#rows table").wait_for()
    page.get_by_text("Values that all rows have").click()
    page.get_by_label("<b>kind</b>").select_option("b&c")
    page.get_by_role("button", name="Draw rows").click()
    page.locator("#rows", has_text="effective sample size").wait_for()
    assert "--where '<b>kind</b>=b&c'" in page.locator("#rows").inner_text()
    page.get_by_label("Rows of the file").fill("7")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download as CSV").click()
    download.value.save_as(folder / "samples.csv")
    frame = pd.read_csv(folder / "samples.csv")
    assert (len(frame), set(frame["<b>kind</b>"])) == (7, {"b&c"})


def explore_columns(page: Any) -> None:
    """Draw how columns spread, of real rows and of new ones."""
    page.get_by_role("button", name="Draw marginals").click()
    page.locator("#columns .associations").wait_for()
    assert page.locator("#columns .marginals figure").count() == 3


def explore_codes(page: Any) -> None:
    """Turn a slider by a key: the row follows; and rebuild rows of the data."""
    page.locator("#row").get_by_text("amount").wait_for()
    slider = page.locator(".slider input").first
    slider.focus()
    with page.expect_response("**/row?seed=0&z=*%3A-3") as answer:
        page.keyboard.press("Home")
    assert answer.value.ok
    assert page.locator(".slider output").first.inner_text() == "-3.00"
    page.get_by_role("button", name="Rebuild some from their codes").click()
    page.locator("#real table").wait_for()
