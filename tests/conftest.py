"""What all tests share.  Every random number is seeded; torch gets one thread, since tests run side by side."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ganvas.data import Dataset, DomainPair, from_array, make_pair
from ganvas.model import Model
from ganvas.training import run

torch.set_num_threads(1)
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests work in a folder of their own, with a cache of their own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def images() -> Dataset:
    """40 random RGB images of 12 x 10 pixels, in five classes."""
    return image_collection()


@pytest.fixture
def vectors() -> Dataset:
    """60 random vectors of three numbers."""
    return from_array(np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32), name="vectors")


def image_collection(n: int = 40, shape: tuple[int, int, int] = (12, 10, 3), seed: int = 0) -> Dataset:
    random = np.random.default_rng(seed)
    return from_array(random.integers(0, 256, (n, *shape), np.uint8), random.integers(0, 5, n), name="images")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of 12 PNGs of 9 x 8 pixels in the classes cat and dog."""
    return write_folder(tmp_path / "pets")


def write_folder(folder: Path, size: tuple[int, int] = (9, 8), mode: str = "RGB") -> Path:
    random = np.random.default_rng(0)
    for kind in ("cat", "dog"):
        (folder / kind).mkdir(parents=True)
        for i in range(6):
            pixels = random.integers(0, 256, (size[1], size[0], 4), np.uint8)
            picture = Image.fromarray(pixels)
            (picture.convert("RGB") if mode == "P" else picture).convert(mode).save(folder / kind / f"{i}.png")
    return folder


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


def as_pair(data: Dataset) -> DomainPair:
    """The examples as domain A, and as domain B the negatives of fewer of them, in another order."""
    x = data.x.flip(0)[3:]
    return make_pair([data, Dataset(x=255 - x if data.has_images else 3 - 2 * x, name="negatives")])


def learnt_by(cls: type[Model], data: Dataset) -> Dataset | DomainPair:
    """The examples as a model of this class learns from them."""
    return as_pair(data) if cls.n_domains == 2 else data


def sources(cls: type[Model], data: Dataset) -> Dataset | tuple[Dataset, ...]:
    """What `ganvas.train` is given for that."""
    return as_pair(data).datasets if cls.n_domains == 2 else data


@contextmanager
def interrupted(at: int) -> Iterator[None]:
    """A context in which Ctrl-C is pressed after this step of a run."""
    real = run.training

    def training(*arguments: Any) -> Iterator[int]:
        for step in real(*arguments):
            if step == at:
                signal.raise_signal(signal.SIGINT)
            yield step

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "training", training)
        yield
