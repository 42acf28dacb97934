"""The built-in data sets, by name."""

import json
from collections.abc import Callable
from hashlib import sha256
from importlib.resources import files
from math import pi
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..errors import UserError
from .arrays import from_array
from .dataset import Dataset
from .mnist import find_or_download

ASSETS = files("ganvas") / "assets"
TOY_SIZES = {"train": 100_000, "test": 10_000}
"""vectors in a split of a toy"""


def load_atlas(name: str, split: str, data_dir: str | None) -> Dataset:
    """A picture atlas of the package: images row by row, train before test, with a JSON file beside it.

    emoji: 1,358 + 199 Fluent emoji in 3-D, 32 x 32 RGB on white, in eight groups (MIT licence, in assets/); emoji-flat:
    the same things, in the same order, drawn flat.
    """
    metadata = json.loads((ASSETS / "emoji.json").read_text(encoding="utf-8"))
    with (ASSETS / f"{name}.webp").open("rb") as file, Image.open(file) as image:
        atlas = np.asarray(image.convert("RGB"))
    size, columns = metadata["size"], atlas.shape[1] // metadata["size"]
    tiles = atlas.reshape(-1, size, columns, size, 3).swapaxes(1, 2).reshape(-1, size, size, 3)
    n, labels = metadata["train"], np.array(metadata["labels"])
    x = tiles[: len(labels)]
    if sha256(x.tobytes()).hexdigest() != metadata["sha256"][name]:
        raise OSError(f"the package's file {name}.webp is damaged: install Ganvas again")
    part = slice(0, n) if split == "train" else slice(n, None)
    return from_array(x[part], labels[part], classes=metadata["classes"], name=name)


def digits(name: str, split: str, data_dir: str | None) -> Dataset:
    """scikit-learn's 1,797 handwritten digits, 8 x 8: its first 1,500 for training, the rest for testing."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        how = 'pip install "ganvas[digits]"'
        raise UserError(f"digits come with scikit-learn, which is not installed: {how}") from error
    bunch = load_digits()
    part = slice(0, 1500) if split == "train" else slice(1500, None)
    pixels = np.round(bunch.images[part] * (255 / 16)).astype(np.uint8)  # 17 levels, 0 to 16
    return from_array(pixels, bunch.target[part], name=name)


class Mixture(NamedTuple):
    """Equally likely Gaussians in the plane."""

    centres: np.ndarray
    """k x 2"""
    sigma: float
    """their deviation"""


ANGLES, AXIS = 2 * pi * np.arange(8) / 8, np.array([-4.0, -2, 0, 2, 4])
MIXTURES = {
    "ring": Mixture(np.stack([np.cos(ANGLES), np.sin(ANGLES)], 1), 0.01),
    "grid": Mixture(np.stack(np.meshgrid(AXIS, AXIS, indexing="ij"), -1).reshape(-1, 2), 0.05),
}
"""those of PacGAN, arXiv:1712.04086"""


def sample_mixture(name: str, split: str, data_dir: str | None) -> Dataset:
    """Points around a mixture's centres, labelled with their mode (PacGAN, arXiv:1712.04086).

    ring: eight Gaussians on a circle of radius 1, sigma 0.01; grid: 25 at {-4, -2, 0, 2, 4}^2, sigma 0.05.
    """
    random, n, (centres, sigma) = toy_generator(split), TOY_SIZES[split], MIXTURES[name]
    labels = random.integers(len(centres), size=n)
    return from_array(centres[labels] + sigma * random.standard_normal((n, 2)), labels, name=name)


def swiss_roll(name: str, split: str, data_dir: str | None) -> Dataset:
    """A spiral of one and a half turns with radii 2/3 to 2, sigma 0.02."""
    random, n = toy_generator(split), TOY_SIZES[split]
    t = 1.5 * pi * (1 + 2 * random.random((n, 1))) / (2 * pi)  # turns, 0.75 to 2.25
    points = t / 2.25 * 2 * np.concatenate([np.cos(2 * pi * t), np.sin(2 * pi * t)], 1)
    return from_array(points + 0.02 * random.standard_normal((n, 2)), name=name)


def toy_generator(split: str) -> np.random.Generator:
    return np.random.default_rng([2026, ("train", "test").index(split)])


BUILTIN: dict[str, Callable[[str, str, str | None], Dataset]] = {
    "emoji": load_atlas,
    "emoji-flat": load_atlas,
    "digits": digits,
    "mnist": find_or_download,
    "fashion-mnist": find_or_download,
    "ring": sample_mixture,
    "grid": sample_mixture,
    "swiss-roll": swiss_roll,
}
"""what reads each, of its name, the split and the folder to look in"""
