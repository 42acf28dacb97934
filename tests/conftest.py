"""What all tests share.  Every random number is seeded; torch gets one thread, since tests run side by side."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import tests.support.types  # noqa: F401  before Ganvas is imported

# isort: split
from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from PIL import Image

from ganvas.cli import train as cli_train
from ganvas.cli.train import add_verdict
from ganvas.config import TrainConfig
from ganvas.data import Dataset, from_array
from ganvas.io.run_folder import RunFolder
from ganvas.training import fit, previews, rollback
from ganvas.training.distributed import is_main
from ganvas.training.report import write_end_report
from ganvas.viz.curves import draw_curves
from ganvas.viz.images import encode_animation, encode_previews, preview
from tests.support.browser import browser, open_page  # noqa: F401  fixtures
from tests.support.data import folder, image_collection  # noqa: F401  a fixture
from tests.support.float64 import float64_training  # noqa: F401  a fixture
from tests.support.rank_commands import ranks  # noqa: F401  a fixture

torch.set_num_threads(1)
settings.register_profile(
    "ganvas", derandomize=True, max_examples=50, deadline=None, suppress_health_check=list(HealthCheck)
)
settings.load_profile("ganvas")
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def cache_of_fixtures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What fixtures that several tests share keep is in a folder of the tests too, never in the user's own cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANVAS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests work in a folder of their own, with a cache of their own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def types_unchecked() -> Iterator[None]:
    """Types are not checked at run time, which `torch.compile` does not know; nothing compiled is kept."""
    from torch._dynamo.utils import counters  # few tests need what takes a second to import

    torch._dynamo.reset()
    counters.clear()
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
    torch._dynamo.reset()


@pytest.fixture(scope="session", autouse=True)
def blank_plots() -> Iterator[None]:
    """Curves, previews of vectors, animations and a run's page are blank: they take most of a small run's time."""

    def write_blank_page(run: Path, config: TrainConfig, bar: object) -> None:
        if config.report == "on" and is_main():
            RunFolder(run).report.write_text("<html></html>")

    blank, white = (Image.new("RGB", (2, 2), color) for color in ("black", "white"))
    animation = encode_animation([blank, white], 100, set(), ".webp")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "draw_curves", lambda lines: blank)
        patch.setattr(fit, "encode_previews", lambda parts: animation if len(parts) > 1 else b"")
        for module in (fit, rollback):
            patch.setattr(module, "write_end_report", write_blank_page)
        patch.setattr(cli_train, "add_verdict", lambda folder, quiet: None)
        patch.setattr(previews, "preview", lambda rows, *how: blank if rows.ndim == 3 else preview(rows, *how))
        yield


@pytest.fixture(scope="session", autouse=True)
def unsynced() -> Iterator[None]:
    """Nothing is forced onto the disk, which takes a fifth of a small run's time, but by processes of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture
def real_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs leave their real page in place of a blank one."""
    for module in (fit, rollback):
        monkeypatch.setattr(module, "write_end_report", write_end_report)
    monkeypatch.setattr(cli_train, "add_verdict", add_verdict)


@pytest.fixture(autouse=True)
def real_plots(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests marked `draws` have real ones: those in e2e draw what a run of every model draws."""
    if request.node.get_closest_marker("draws"):
        monkeypatch.setattr(fit, "draw_curves", draw_curves)
        monkeypatch.setattr(fit, "encode_previews", encode_previews)
        monkeypatch.setattr(previews, "preview", preview)


@pytest.fixture
def images() -> Dataset:
    """40 random RGB images of 12 x 10 pixels, in five classes."""
    return image_collection()


@pytest.fixture
def vectors() -> Dataset:
    """60 random vectors of three numbers."""
    return from_array(np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32), name="vectors")


@pytest.fixture
def shared() -> Path:
    """Real data beside the repository; the test skips where there are none."""
    if not SHARED.is_dir():
        pytest.skip("needs the real data sets in ../shared/data")
    return SHARED


@pytest.fixture
def labelled() -> Dataset:
    """Dark images of class "dark", bright ones of class "bright", and little else to learn."""
    y = np.arange(200) % 2
    x = (y[:, None, None] * 200 + np.random.default_rng(0).integers(0, 40, (200, 8, 8))).astype(np.uint8)
    return from_array(x, y, classes=("dark", "bright"), name="shades")
