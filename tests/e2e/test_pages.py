"""The pages that commands write, seen in a browser."""

from pathlib import Path
from typing import Any

import pytest

import ganvas
from ganvas.cli import main
from tests.support.browser import NARROW, WIDE, OpenPage, accessibility_faults, overflows
from tests.support.data import image_collection


@pytest.mark.parametrize("viewport", [WIDE, NARROW], ids=["wide", "narrow"])
def test_the_page_on_data(tmp_path: Path, open_page: OpenPage, viewport: dict[str, int]) -> None:
    assert main(["data", "emoji", "--limit", "40", "--out", "report.html"]) == 0
    page = open_page(tmp_path / "report.html", viewport)
    assert page.title() == "Data: emoji"
    assert not overflows(page)
    assert accessibility_faults(page) == []


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two small runs on images, of a VAE and a GAN."""
    folder = tmp_path_factory.mktemp("runs")
    options: dict[str, Any] = {"steps": 4, "checkpoint_every": 2, "batch_size": 8, "quiet": True}
    for model in (ganvas.VAE(width=4, latent=2), ganvas.GAN(width=4, latent=2)):
        ganvas.train(model, image_collection(), folder=folder / f"{type(model).__name__}<b>", **options)
    return sorted(map(str, folder.iterdir()))


@pytest.mark.parametrize("n", [1, 2])
def test_the_page_on_runs(n: int, runs: list[str], tmp_path: Path, open_page: OpenPage) -> None:
    assert main(["report", *runs[:n], "--out", "page.html"]) == 0
    page = open_page(tmp_path / "page.html", WIDE, color_scheme="dark" if n == 2 else "light")
    assert page.title() == ("GAN on images" if n == 1 else "2 runs")
    assert page.locator("figure.chart polyline").count() > 6
    assert page.locator("b", has_text="losses" if n == 1 else "real").count() >= 1
    assert not overflows(page)
    page.set_viewport_size(NARROW)
    assert not overflows(page)
    assert accessibility_faults(page) == []
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.querySelector('h1')).color") == "rgb(28, 30, 33)"
