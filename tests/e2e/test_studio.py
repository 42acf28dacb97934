"""The studio in a browser, with a server and runs of its own."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
import pytest
from PIL import Image

import ganvas
from tests.support.browser import NARROW, WIDE, OpenPage, accessibility_faults, overflows

pytest.importorskip("fastapi")


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a studio over two runs of few steps: a VAE and a CycleGAN."""
    place = tmp_path_factory.mktemp("studio")
    values = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 3), dtype=np.uint8)
    np.savez(place / "x.npz", x=values)
    tiny: dict[str, Any] = {"steps": 2, "quiet": True}
    x = str(place / "x.npz")
    ganvas.train(ganvas.VAE(latent=4, width=4), x, folder=place / "runs/vae", batch_size=4, **tiny)
    ganvas.train(ganvas.CycleGAN(width=4), (x, x), folder=place / "runs/cycle", batch_size=1, **tiny)
    with socket.create_server(("127.0.0.1", 0)) as opened:
        port = opened.getsockname()[1]
    command = [sys.executable, "-m", "ganvas", "studio", "--port", str(port)]
    with subprocess.Popen(command, cwd=place, stderr=subprocess.PIPE) as process:
        address = f"http://127.0.0.1:{port}"
        for _ in range(600):
            try:
                with urlopen(address + "/static/studio.css"):
                    break
            except URLError:
                assert process.poll() is None
                time.sleep(0.1)
        yield address
        process.terminate()


def fill(page: Any, **options: str) -> None:
    """Give options their values in the form."""
    for name, value in options.items():
        page.fill(f"#option-{name}", value)


@pytest.mark.parametrize("viewport", [WIDE, NARROW], ids=["wide", "narrow"])
def test_a_new_run_can_be_ordered(studio: str, open_page: OpenPage, viewport: dict[str, int]) -> None:
    page = open_page(f"{studio}/new", viewport)
    assert page.is_disabled("#start")
    page.fill("#source-A", "emoji")
    page.check("input[value=vae]")
    fill(page, latent="-3")
    page.wait_for_selector("#problem:not(:empty)")
    assert page.text_content("#problem") == "--latent must be greater than 0, not '-3'"
    fill(page, latent="4", width="4", steps="5")
    page.wait_for_selector("#start:enabled")
    assert page.text_content("#command") == "ganvas train vae emoji --latent 4 --width 4 --steps 5"
    page.fill("#find", "seed")
    assert page.is_visible("#option-seed")
    assert page.is_hidden("#option-steps")
    assert not overflows(page)
    assert accessibility_faults(page) == []


def test_a_translator_takes_two_sources(studio: str, open_page: OpenPage) -> None:
    page = open_page(f"{studio}/new")
    assert page.is_hidden("#source-B")
    page.check("input[value=cyclegan]")
    page.fill("#source-A", "emoji")
    page.fill("#source-B", "emoji-flat")
    page.wait_for_selector("#start:enabled")
    assert page.text_content("#command") == "ganvas train cyclegan emoji emoji-flat"


def test_pictures_are_sent_and_a_run_begins(studio: str, open_page: OpenPage, tmp_path: Path) -> None:
    for i in range(12):
        path = tmp_path / "pets" / ("cat", "dog")[i % 2] / f"{i // 2}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (20 * i, 0, 100)).save(path)
    (tmp_path / "pets" / "notes.txt").write_text("no picture, so it is not sent")
    page = open_page(f"{studio}/new")
    (tmp_path / "notes.exe").write_bytes(b"no image")
    page.set_input_files("#files-A", tmp_path / "notes.exe")
    page.wait_for_selector(".source .error:not([hidden])")
    assert "send images" in page.text_content(".source .error")
    open_page.faults.clear()  # type: ignore[attr-defined]  # what the browser says of the refusal
    page.set_input_files("#folder-A", tmp_path / "pets")
    page.wait_for_selector("#report table", timeout=60_000)
    for text in ("3 x 8 x 8", "cat: 6", "dog: 6"):
        assert text in page.text_content("#report")
    page.check("input[value=autoencoder]")
    fill(page, latent="2", width="4", steps="4", batch_size="4")
    page.wait_for_selector("#start:enabled")
    page.click("#start")
    page.wait_for_url("**/runs/*")
    open_page.faults.clear()  # type: ignore[attr-defined]
    page.goto(f"{studio}/runs")
    for _ in range(120):
        if page.locator(".card:has-text('autoencoder') img").count():
            break
        page.wait_for_timeout(500)
        page.reload()
    assert "autoencoder" in page.text_content("#runs")
    assert accessibility_faults(page) == []


def picture_of(page: Any) -> str:
    """The address of the picture that the sliders show, once it is drawn."""
    page.wait_for_selector("#picture[src]")
    return str(page.get_attribute("#picture", "src"))


@pytest.mark.parametrize("viewport", [WIDE, NARROW], ids=["wide", "narrow"])
def test_the_latent_map_is_walked(studio: str, open_page: OpenPage, viewport: dict[str, int]) -> None:
    page = open_page(f"{studio}/explore/vae", viewport)
    before = picture_of(page)
    page.focus("#map")
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowUp")
    page.wait_for_selector("#picture[src*='A0.5'][src*='A0.25']")
    assert picture_of(page) != before
    across = page.locator(f".slider input[data-j='{page.input_value('#across')}']")
    assert float(across.input_value()) == 0.5
    across.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#picture[src*='A0.55']")
    assert not overflows(page)
    assert accessibility_faults(page) == []


def test_samples_leave_the_code_as_it_is(studio: str, open_page: OpenPage) -> None:
    page = open_page(f"{studio}/explore/vae")
    picture_of(page)
    for _ in range(2):
        page.click("button >> text=New samples")
        page.wait_for_selector("#samples:not([hidden])")
    page.focus(".slider input")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#picture[src*='0.05']")
    assert "seed=0&" in picture_of(page)


def test_the_page_of_a_run_draws_samples(studio: str, open_page: OpenPage) -> None:
    page = open_page(f"{studio}/runs/vae")
    with page.expect_response("**/explore/vae/samples.png?seed=7") as answer:
        page.fill("#sample [name=seed]", "7")
        page.click("#sample button")
    assert answer.value.status == 200
    page.wait_for_selector("#samples img[alt='Samples of vae, latent seed 7']")


def test_what_cannot_be_drawn_gets_a_sentence(studio: str, open_page: OpenPage) -> None:
    page = open_page(f"{studio}/explore/vae")
    picture_of(page)
    page.fill("#first", "-1")
    page.click("#walk")
    page.wait_for_function("() => document.querySelector('#status').textContent.includes('is no picture')")
    assert page.is_hidden("#strip")
    open_page.faults.clear()  # type: ignore[attr-defined]  # what the browser says of the refusal


def test_a_picture_is_encoded_and_walked_to(studio: str, open_page: OpenPage, tmp_path: Path) -> None:
    Image.new("RGB", (40, 30), "orange").save(tmp_path / "mine.png")
    page = open_page(f"{studio}/explore/vae")
    page.set_input_files("#upload", tmp_path / "mine.png")
    page.click("#uploads button >> text=Walk to it")
    page.click("#walk")
    page.wait_for_selector("#strip:not([hidden])")
    with page.expect_response("**/walk.webp*") as answer:
        page.evaluate("() => fetch(document.querySelector('#walk-webp').href)")
    assert answer.value.status == 200


def test_an_upload_is_translated(studio: str, open_page: OpenPage, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), "orange").save(tmp_path / "mine.png")
    (tmp_path / "text.png").write_text("no picture")
    page = open_page(f"{studio}/explore/cycle")
    page.set_input_files("#translated", tmp_path / "mine.png")
    page.wait_for_selector("#after:not([hidden])")
    assert accessibility_faults(page) == []
    page.set_input_files("#translated", tmp_path / "text.png")
    page.wait_for_selector("#translate-error:not([hidden])")
    assert page.text_content("#translate-error") == "this is no picture: send a PNG, JPEG or WebP"
    with (tmp_path / "large.png").open("wb") as file:
        file.truncate(200 * 2**20)
    page.set_input_files("#translated", tmp_path / "large.png")
    page.wait_for_selector("#translate-error:has-text('large.png is larger than 100 MB')")
    open_page.faults.clear()  # type: ignore[attr-defined]  # what the browser says of the refusal


def test_what_the_camera_sees_is_translated(studio: str, open_page: OpenPage) -> None:
    page = open_page(f"{studio}/explore/cycle")
    page.click("#camera")
    first = page.wait_for_selector("#after[src^='blob:']").get_attribute("src")
    page.wait_for_function("first => document.querySelector('#after').src !== first", arg=first)
    assert page.get_attribute("#before", "src").startswith("data:image/png")
    page.click("#camera[aria-pressed=true]")
    page.wait_for_selector("#camera[aria-pressed=false]")
    page.evaluate("() => { navigator.mediaDevices.getUserMedia = () => Promise.reject(); }")
    page.click("#camera")
    page.wait_for_selector("#translate-error:has-text('There is no camera')")


def test_what_there_is_not_gets_a_sentence(studio: str, open_page: OpenPage) -> None:
    page = open_page(f"{studio}/explore/nothing")
    assert "there is no run 'nothing'" in page.text_content("main")
    open_page.faults.clear()  # type: ignore[attr-defined]
