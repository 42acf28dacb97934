"""A headless Chromium of the machine, and what its pages must not do: ask other hosts, or write errors.

Tests take the fixture `open_page`; they skip where there is no Chromium (Debian: apt-get install chromium).
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-background-networking"]
FLAGS += ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]  # a camera, which may be used
OWN_HOSTS = ("127.0.0.1", "localhost", "", None)
WIDE, NARROW = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
OpenPage = Callable[..., Any]


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[OpenPage]:
    """A function that opens an address, or a file, in a page of this size; afterwards every page was well-behaved."""
    faults, stack = list[str](), ExitStack()

    def open_address(address: str | Path, viewport: dict[str, int] = WIDE, **options: Any) -> Any:
        page = stack.enter_context(browser.new_context(viewport=viewport, **options)).new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda request: faults.append(f"asks {request.url}") if is_foreign(request.url) else None)
        page.goto(address.as_uri() if isinstance(address, Path) else address)
        return page

    open_address.faults = faults  # type: ignore[attr-defined]  # where a test expects one, it takes it away
    with stack:
        yield open_address
    assert faults == []


def is_foreign(address: str) -> bool:
    """Whether a request of this address leaves the machine."""
    parts = urlsplit(address)
    return parts.scheme in ("http", "https", "ws", "wss") and parts.hostname not in OWN_HOSTS


def accessibility_faults(page: Any) -> list[str]:
    """The serious findings of axe-core on a page, a line each."""
    from axe_playwright_python.sync_playwright import Axe

    violations = Axe().run(page).response["violations"]
    return [
        f"{v['id']}: {v['help']}: {v['nodes'][0]['html'][:200]}" for v in violations
        if v["impact"] in ("serious", "critical")
    ]  # fmt: skip


def overflows(page: Any) -> bool:
    """Whether the page is wider than the window, so that one has to scroll sideways."""
    return bool(page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth + 1"))
