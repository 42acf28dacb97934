"""The lecture's pages in a browser."""

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from ganvas.lecture import CHAPTERS
from ganvas.lecture.page import MAX_BYTES, render_chapter, render_index, write_lecture
from tests.support.browser import NARROW, WIDE, OpenPage, accessibility_faults, overflows
from tests.support.lecture import check_command, small_chapter, small_page


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_is_one_file_that_asks_for_nothing(name: str, tmp_path: Path) -> None:
    text = small_page(name, tmp_path).read_text("utf-8")
    assert len(text.encode()) < MAX_BYTES
    assert not re.search(
        r"""(src|href)=["']?(https?:)?//|url\(["']?(?!data:)|<script [^>]*src|<link rel="(?!icon)|@import""", text
    )


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_can_be_read_by_all(name: str, tmp_path: Path, open_page: OpenPage) -> None:
    """On a phone and on a screen, with KaTeX's equations, and with a command that works."""
    page = open_page(small_page(name, tmp_path), WIDE)
    assert accessibility_faults(page) == []
    assert not overflows(page)
    assert page.locator(".tex:not(.typeset), .katex-error").count() == 0
    check_command(page.locator("#command").inner_text())
    answer = page.locator("#question input").first
    answer.check()
    assert page.locator("#question [role=status] p").is_visible()
    page.set_viewport_size(NARROW)
    page.wait_for_timeout(100)
    assert not overflows(page)


def test_the_list_of_chapters(tmp_path: Path, open_page: OpenPage) -> None:
    (path,) = write_lecture(tmp_path, {"index": render_index()})
    page = open_page(path, NARROW)
    assert page.locator("ol a").count() == len(CHAPTERS)
    assert accessibility_faults(page) == []
    assert not overflows(page)


@pytest.fixture
def algorithm(tmp_path: Path, open_page: OpenPage) -> Any:
    return open_page(small_page("algorithm", tmp_path), WIDE)


def here(page: Any) -> str:
    """The marked line's number, or nothing at the end of a step."""
    marked = page.locator("#source .here")
    return str(marked.get_attribute("data-line")) if marked.count() else ""


def test_the_marked_line_moves(algorithm: Any) -> None:
    """By line, by move and by step, there and back, by buttons and by keys."""
    first = here(algorithm)
    assert "for _ in range" in algorithm.locator("#source .here").inner_text()
    algorithm.get_by_role("button", name="Next line").click()
    second = here(algorithm)
    assert int(second) == int(first) + 1
    algorithm.get_by_role("button", name="Next move").click()
    assert "D descends" not in algorithm.locator("#now").inner_text()
    assert "clip_weights" in algorithm.locator("#source .here").inner_text()
    algorithm.get_by_role("button", name="Next step").click()
    assert "Step 2 of 12" in algorithm.locator("#now").inner_text()
    assert here(algorithm) == first
    algorithm.locator("#player").focus()
    algorithm.keyboard.press("ArrowRight")
    assert here(algorithm) == second
    algorithm.keyboard.press("ArrowLeft")
    assert here(algorithm) == first
    algorithm.keyboard.press("s")
    assert "Step 3 of 12" in algorithm.locator("#now").inner_text()
    algorithm.get_by_role("button", name="To the start").click()
    assert "Step 1 of 12" in algorithm.locator("#now").inner_text()


def test_it_plays_and_pauses(algorithm: Any) -> None:
    algorithm.locator("#pace").select_option("step")
    algorithm.locator("#player").focus()
    algorithm.keyboard.press(" ")
    assert algorithm.locator("#play").inner_text() == "Pause"
    algorithm.wait_for_function("document.getElementById('now').textContent.includes('Step 3 of')")
    algorithm.locator("#play").click()
    said = algorithm.locator("#now").inner_text()
    algorithm.wait_for_timeout(400)
    assert algorithm.locator("#now").inner_text() == said
    assert algorithm.locator("#play").inner_text() == "Play"


def test_both_runs_are_at_the_same_step(algorithm: Any) -> None:
    """Also where one has more moves of D in it; the command is that of both."""
    assert algorithm.locator("#command").inner_text().count("ganvas train gan ring") == 2
    algorithm.locator("#run-0").select_option(label="k = 2, minimax")
    algorithm.locator("#run-1").select_option(label="non-saturating")
    assert algorithm.locator("#command").inner_text().count("ganvas train gan ring") == 2
    before = algorithm.evaluate("document.getElementById('plane-1').toDataURL()")
    algorithm.get_by_role("button", name="Next step").click()
    assert algorithm.evaluate("document.getElementById('plane-1').toDataURL()") != before


def test_a_reader_runs_it_anew(tmp_path: Path, open_page: OpenPage) -> None:
    """On a server's page, here with an answer at hand: what was chosen is sent, and the answer is shown."""
    text = small_page("algorithm", tmp_path).read_text("utf-8")
    chapter, runs = small_chapter("algorithm"), page_data(text)["recordings"]
    (path,) = write_lecture(tmp_path / "live", {"algorithm": render_chapter(chapter, runs[:1], live=True)})
    page = open_page(path, WIDE)
    answer = json.dumps({name: value for name, value in runs[1].items() if name != "title"})
    page.evaluate("answer => { window.fetch = async (...a) => ((window.asked = a), new Response(answer)); }", answer)
    page.locator("#live summary").click()
    page.get_by_label("pack, points that D judges together").select_option("4")
    page.get_by_label("seed").fill("7")
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_text("Done: the page shows your run.").wait_for()
    address, request = page.evaluate("window.asked")
    assert (address, json.loads(request["body"])["pack"]) == ("algorithm/record", 4)
    assert json.loads(request["body"]) == asdict(chapter.parameters(pack=4, seed=7))
    assert page.locator("#run-1 option:checked").inner_text() == "Your own run"
    assert accessibility_faults(page) == []


def page_data(text: str) -> Any:
    """What a page has recorded."""
    (data,) = re.findall(r'id="data">(.*?)</script>', text, re.S)
    return json.loads(data)


def test_densities_are_dragged_and_their_values_follow(tmp_path: Path, open_page: OpenPage) -> None:
    page = open_page(small_page("game", tmp_path), WIDE)
    assert page.locator("#jsd").inner_text() == "0.3368"  # of N(-1, 1) and N(1, 1)
    page.locator("#presets button", has_text="the same").click()
    assert page.locator("#jsd").inner_text() == "0.0000"
    assert page.locator("#best").inner_text() == "−1.3863"
    box = page.locator("#densities").bounding_box()
    centre, peak = box["x"] + 46 + (box["width"] - 64) / 2, box["y"] + 10 + (box["height"] - 48) * (1 - 1 / 1.15)
    page.mouse.move(centre, peak)
    page.mouse.down()
    page.mouse.move(centre + 120, peak, steps=3)
    page.mouse.up()
    assert float(page.locator("#jsd").inner_text()) > 0.1
    slider = page.get_by_label("slope of your D")
    before = page.locator("#yours").inner_text()
    slider.focus()
    page.keyboard.press("ArrowLeft")
    assert page.locator("#yours").inner_text() != before
    assert "normal(" in page.locator("#command").inner_text()
