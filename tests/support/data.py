"""Small datasets and folders, and runs that are stopped."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ganvas.data import Dataset, DomainPair, from_array
from ganvas.model import Model
from ganvas.training import fit
from tests.support.tables import table_collection


def image_collection(n: int = 40, shape: tuple[int, int, int] = (12, 10, 3), seed: int = 0) -> Dataset:
    random = np.random.default_rng(seed)
    return from_array(random.integers(0, 256, (n, *shape), np.uint8), random.integers(0, 5, n), name="images")


NUMBER_SHAPES = {"signals": (2, 19), "volumes": (1, 5, 9, 8)}
"""shapes of small examples that are neither images nor vectors"""


def number_collection(kind: str, n: int = 40) -> Dataset:
    """Signals, or volumes, in a unit of their own."""
    random, shape = np.random.default_rng(0), NUMBER_SHAPES[kind]
    array = random.normal(1013, 9, (n, *shape)).astype(np.float32)
    return from_array(array, random.integers(0, 5, n), name=kind, kind=kind[:-1])  # type: ignore[arg-type]


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


def as_pair(data: Dataset) -> DomainPair:
    """The examples as domain A, and as domain B the negatives of fewer of them, in another order."""
    x = data.x.flip(0)[3:]
    x = 255 - x if data.has_images else 3 - 2 * x
    return DomainPair(data, replace(data, x=x, labels=None, classes=(), name="negatives"))


def learnt_by(cls: type[Model], data: Dataset) -> Dataset | DomainPair:
    """The examples as a model of this class learns from them; of a model of tables alone, a table in their place."""
    if cls.tables_only:
        table = table_collection()
        return cls().preprocess(table)
    return as_pair(data) if cls.n_domains == 2 else data


def sources(cls: type[Model], data: Dataset) -> Dataset | tuple[Dataset, ...]:
    """What `ganvas.train` is given for that."""
    if cls.tables_only:
        return table_collection()
    return as_pair(data).datasets if cls.n_domains == 2 else data


@contextmanager
def interrupted(at: int) -> Iterator[None]:
    """A context in which Ctrl-C is pressed after this step of a run."""
    real = fit.training

    def training(*arguments: Any) -> Iterator[int]:
        for step in real(*arguments):
            if step == at:
                signal.raise_signal(signal.SIGINT)
            yield step

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "training", training)
        yield
