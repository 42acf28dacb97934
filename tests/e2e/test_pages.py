"""The pages that commands write, seen in a browser."""

from pathlib import Path

import pytest

from ganvas.cli import main
from tests.support.browser import NARROW, WIDE, OpenPage, accessibility_faults, overflows


@pytest.mark.parametrize("viewport", [WIDE, NARROW], ids=["wide", "narrow"])
def test_the_page_on_data(tmp_path: Path, open_page: OpenPage, viewport: dict[str, int]) -> None:
    assert main(["data", "emoji", "--limit", "40", "--out", "report.html"]) == 0
    page = open_page(tmp_path / "report.html", viewport)
    assert page.title() == "Data: emoji"
    assert not overflows(page)
    assert accessibility_faults(page) == []
