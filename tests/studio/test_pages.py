"""The pages of runs in a browser: a real run is watched, stopped and resumed; wide and narrow, by keyboard."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ganvas.io.lock import run_lock
from ganvas.studio import processes
from ganvas.studio.settings import Settings
from tests.support.browser import NARROW, WIDE, OpenPage, accessibility_faults, overflows
from tests.support.studio import log_line, serving_studio, write_run

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    runs = tmp_path / "runs"
    write_run(runs / "first")
    write_run(runs / "second", 40, fields={"latent": 5, "width": 4})
    write_run(runs / HOSTILE.replace("/", ""), 3)
    (write_run(runs / "damaged") / "config.json").write_text("{")
    with serving_studio(runs) as address:
        yield address


@pytest.fixture(autouse=True)
def no_process_stays() -> Iterator[None]:
    """A test that fails leaves no run behind."""
    yield
    for child in [*processes.children.values()]:
        child.kill()


def check(page: Any) -> None:
    """That a page fits its window, and that axe-core finds nothing serious."""
    assert not overflows(page)
    assert accessibility_faults(page) == []


def test_the_gallery_is_searched_sorted_and_chosen_from(address: str, open_page: OpenPage) -> None:
    for viewport in (WIDE, NARROW):
        page = open_page(f"{address}/runs", viewport)
        page.get_by_text("4 runs", exact=True).wait_for()
        check(page)
    shown = page.locator(".card:visible .name")
    page.get_by_label("Search").fill("second vae")
    assert shown.all_inner_texts() == ["second"]
    page.get_by_label("Search").fill("")
    page.get_by_label("State").select_option("damaged")
    assert shown.all_inner_texts() == ["damaged"]
    page.get_by_label("State").select_option("")
    page.get_by_label("Sort by").select_option("best number")
    assert shown.all_inner_texts()[:2] == ["second", "first"]
    for name in ("first", "second"):
        page.get_by_label(f"Select {name} to compare").focus()
        page.keyboard.press("Space")
    page.get_by_role("button", name="Compare").click()
    page.get_by_role("heading", name="Compare 2 runs").wait_for()
    page.get_by_text("Losses: reconstruction").last.wait_for()
    row = page.get_by_role("row", name="--latent")
    assert row.get_by_role("cell").all_inner_texts() == ["3", "5"]
    page.get_by_label("Previews up to step").press("Home")
    assert page.locator("#compared img").first.get_attribute("src") == "/runs/first/previews/0.png"
    check(page)


def test_a_run_is_looked_through_by_keyboard(address: str, tmp_path: Path, open_page: OpenPage) -> None:
    page = open_page(f"{address}/runs/first", NARROW)
    page.locator("#doctor p").first.wait_for()
    slider = page.get_by_label("Preview of step")
    assert page.locator("#preview").get_attribute("alt") == "Preview of step 200"
    slider.press("ArrowLeft")
    assert page.locator("#preview").get_attribute("src") == "/runs/first/previews/100.png"
    assert slider.get_attribute("aria-valuetext") == "step 100"
    curves = page.get_by_role("group", name="Curves of the run")
    curves.press("Home")
    assert page.locator(".readout").inner_text() == "step 10"
    assert "reconstruction 90, kl 2.8" in curves.get_attribute("aria-description")
    curves.press("ArrowRight")
    assert page.locator(".readout").inner_text() == "step 20"
    page.get_by_role("button", name=re.compile("^kl")).first.press("Enter")
    assert page.locator(":focus").get_attribute("aria-pressed") == "false"
    with (tmp_path / "runs" / "first" / "log.jsonl").open("a") as file:  # the run goes on, and leaves all where it is
        file.write(json.dumps(log_line(210)) + "\n")
    page.get_by_text("step 210 of 400").wait_for()
    assert page.locator(":focus").get_attribute("aria-pressed") == "false"
    assert page.locator(".readout").inner_text() == "step 20"
    page.get_by_label("log").first.check()
    page.get_by_label("Axis").select_option("seconds")
    curves.press("End")
    assert page.locator(".readout").inner_text() == "second 4.2"
    check(page)


def test_strange_runs_and_missing_pages_have_pages(address: str, open_page: OpenPage) -> None:
    page = open_page(f"{address}/runs/damaged")
    page.get_by_text("is damaged").first.wait_for()
    page.locator(".panel").first.wait_for()
    page.get_by_role("button", name="Check whether they are whole").click()
    page.get_by_text("config.json: damaged").wait_for()
    check(page)
    page = open_page(f"{address}/runs")
    page.get_by_role("link", name=HOSTILE.replace("/", "")).click()
    page.get_by_role("heading", name=HOSTILE.replace("/", "")).wait_for()
    page = open_page(f"{address}/runs/none")
    page.get_by_text("there is no run 'none'").wait_for()
    check(page)
    open_page.faults.clear()  # type: ignore[attr-defined]  # 404


def test_a_report_of_a_stranger_cannot_drive_the_studio(address: str, tmp_path: Path, open_page: OpenPage) -> None:
    page = (
        "<h1>Mine</h1><script>fetch('/starts/x/forget', {method: 'POST', headers: {'x-ganvas-studio': '1'}})</script>"
    )
    (tmp_path / "runs" / "first" / "report.html").write_text(page)
    opened = open_page(f"{address}/runs/first")
    opened.get_by_role("link", name="Report", exact=True).click()
    opened.get_by_role("heading", name="Mine").wait_for()
    assert "Blocked script execution" in open_page.faults.pop()  # type: ignore[attr-defined]


def test_a_real_run_is_watched_stopped_and_resumed(tmp_path: Path, open_page: OpenPage) -> None:
    settings = Settings(tmp_path / "runs")
    np.save("x.npy", np.random.default_rng(0).integers(0, 255, (16, 8, 8), dtype=np.uint8))
    with serving_studio(settings.runs_dir) as address:
        page = open_page(f"{address}/runs")
        page.get_by_text("No runs yet").wait_for()
        options = "--steps 1000000 --width 4 --latent 3 --batch-size 4 --checkpoint-every 2000"
        name = processes.start(settings, ["vae", "x.npy", *options.split()])
        page.get_by_role("link", name=name).click()  # the page hears of the start
        page.get_by_role("button", name="Stop").click(timeout=60_000)
        page.locator("#state", has_text="stopped").wait_for(timeout=60_000)
        page.get_by_role("button", name="Resume").click()
        page.locator("#state", has_text="training").wait_for(timeout=60_000)
        page.goto("about:blank")
        child = processes.children[name]
    assert child.poll() is None  # the server has ended, and the run goes on
    processes.stop(settings.runs_dir / name)
    assert child.wait(60) == 128 + 15
    until = time.monotonic() + 10
    while name in processes.children:
        assert time.monotonic() < until
        time.sleep(0.02)
    assert "go on with: ganvas resume" in processes.exit_sentence(processes.read_output(settings, name))
    with run_lock(settings.runs_dir / name, print):
        pass
