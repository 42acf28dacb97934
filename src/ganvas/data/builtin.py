"""The built-in data sets, by name; what is not in the package is read from where it lies, or else downloaded."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import file_digest, sha256
from http.client import HTTPException
from importlib.resources import files
from math import pi
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryDirectory
from typing import NamedTuple
from urllib.request import urlopen

import numpy as np
from PIL import Image

from ..errors import UserError
from . import cifar
from .array_files import find_idx, from_idx, from_npz
from .arrays import from_array
from .dataset import Dataset
from .listing import list_files
from .options import DataOptions

ASSETS = files("ganvas") / "assets"
TOY_SIZES = {"train": 100_000, "test": 10_000}  # vectors in a split of a toy


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
        raise UserError('digits come with scikit-learn, which is missing: pip install "ganvas[digits]"') from error
    bunch = load_digits()
    part = slice(0, 1500) if split == "train" else slice(1500, None)
    pixels = np.round(bunch.images[part] * (255 / 16)).astype(np.uint8)  # 17 levels, 0 to 16
    return from_array(pixels, bunch.target[part], name=name)


class Mixture(NamedTuple):
    """Equally likely Gaussians in the plane."""

    centres: np.ndarray  # k x 2
    sigma: float  # their deviation


ANGLES, AXIS = 2 * pi * np.arange(8) / 8, np.array([-4.0, -2, 0, 2, 4])
MIXTURES = {
    "ring": Mixture(np.stack([np.cos(ANGLES), np.sin(ANGLES)], 1), 0.01),
    "grid": Mixture(np.stack(np.meshgrid(AXIS, AXIS, indexing="ij"), -1).reshape(-1, 2), 0.05),
}
"""those of PacGAN, arXiv:1712.04086: eight Gaussians on a circle of radius 1, and 25 on a grid"""


def sample_mixture(name: str, split: str, data_dir: str | None) -> Dataset:
    """Points around a mixture's centres, labelled with their mode."""
    random, n = np.random.default_rng([2026, list(TOY_SIZES).index(split)]), TOY_SIZES[split]
    centres, sigma = MIXTURES[name]
    labels = random.integers(len(centres), size=n)
    return from_array(centres[labels] + sigma * random.standard_normal((n, 2)), labels, name=name)


def swiss_roll(name: str, split: str, data_dir: str | None) -> Dataset:
    """A spiral of one and a half turns with radii 2/3 to 2, sigma 0.02."""
    random, n = np.random.default_rng([2026, list(TOY_SIZES).index(split)]), TOY_SIZES[split]
    t = 1.5 * pi * (1 + 2 * random.random((n, 1))) / (2 * pi)  # turns, 0.75 to 2.25
    points = t / 2.25 * 2 * np.concatenate([np.cos(2 * pi * t), np.sin(2 * pi * t)], 1)
    return from_array(points + 0.02 * random.standard_normal((n, 2)), name=name)


FILES = {
    split: (f"{prefix}-images-idx3-ubyte.gz", f"{prefix}-labels-idx1-ubyte.gz")
    for split, prefix in (("train", "train"), ("test", "t10k"))
}
FASHION_CLASSES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle-boot")


@dataclass(frozen=True)
class PublishedDataset:
    """Where a data set may lie, and what it must hold.

    `checksums` are SHA-256 of each split's pixels followed by its labels, or of an archive that holds both splits.
    """

    mirrors: tuple[str, ...]
    checksums: dict[str, str]
    system_folders: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()


PUBLISHED = {
    "mnist": PublishedDataset(
        ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
        {
            "train": "edc0d1098aa497be14ace79ddd5171e5a3dcf9c4d196c015389203eb3ba1f59b",
            "test": "c3f9adf9c66efb572b1f9326c3a511b45910c7173b97be66ceceeeeaef6b802b",
        },
    ),
    "fashion-mnist": PublishedDataset(
        (
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        ),
        {
            "train": "16d82e2b505296aa2b78bd5ea0992634f30419a4c97def7c907d154a35ac6157",
            "test": "9f1ec356a747bfe4ebab3cfb722d3694c9ca737e2570f6f90cf31d7b6fd689d4",
        },
        ("/usr/share/datasets/fashion-mnist", "/usr/local/share/datasets/fashion-mnist"),  # Debian's package
        FASHION_CLASSES,
    ),
    "cifar10": PublishedDataset(
        ("https://www.cs.toronto.edu/~kriz/",),
        {cifar.BINARY: "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"},
    ),
}
"""MNIST: 60,000 + 10,000 handwritten digits, 28 x 28 (LeCun et al., 1998); Fashion-MNIST: as many pieces of clothing of
this size (Xiao et al., arXiv:1708.07747); CIFAR-10: 50,000 + 10,000 photographs, 32 x 32 RGB (Krizhevsky, 2009)"""


def cache_dir() -> Path:
    """Where downloads are kept: $GANVAS_CACHE, or .cache/ganvas in the home folder."""
    return Path(os.environ.get("GANVAS_CACHE") or Path.home() / ".cache" / "ganvas")


def candidate_files(name: str, split: str, place: Path) -> Iterator[Path]:
    """Files in a folder that may hold the data set, in the forms and places in which it usually lies."""
    yield from filter(Path.is_file, (place / f"{stem}.npz" for stem in dict.fromkeys((name, name.replace("-", "_")))))
    folders = (place, place / name, place / "MNIST" / "raw", place / "FashionMNIST" / "raw")
    yield from filter(None, (find_idx(folder, split) for folder in folders))


def find_or_download(name: str, split: str, data_dir: str | None) -> Dataset:
    """The data set from data_dir, the cache, or the system's packages; else downloaded into the cache."""
    source, cache, mismatch = PUBLISHED[name], cache_dir() / name, None
    places = [Path(data_dir).expanduser()] if data_dir else [cache, cache.parent, *map(Path, source.system_folders)]
    for path in (path for place in places for path in candidate_files(name, split, place)):
        options = DataOptions(split="train" if split == "train" else "test")
        dataset = from_npz(path, options) if path.suffix == ".npz" else from_idx(path)
        if checksum(dataset) == source.checksums[split]:
            break
        mismatch = mismatch or path
    else:
        if mismatch:
            how = "to train on it all the same, give its path instead of the name"
            raise UserError(f"{mismatch} does not hold the published {name} ({split}): {how}")
        if data_dir:
            how = "without `data_dir` it is looked for in the cache, then downloaded"
            raise UserError(f"{data_dir} has no {name}: looked for {name}.npz and {FILES[split][0]}; {how}")
        dataset = download(name, FILES[split], cache, lambda files: read_published(name, split, files[0]))
    return replace(dataset, name=name, classes=source.classes or dataset.classes)


def read_published(name: str, split: str, path: Path) -> Dataset:
    """The data set in IDX files; UserError where it is not what was published."""
    dataset = from_idx(path)
    if checksum(dataset) != PUBLISHED[name].checksums[split]:
        raise UserError("wrong checksum")
    return dataset


def find_cifar10(name: str, split: str, data_dir: str | None) -> Dataset:
    """CIFAR-10 from the archive of its binary version in data_dir or the cache; else downloaded into the cache."""

    def read(files: Sequence[Path]) -> Dataset:
        with files[0].open("rb") as file:
            if file_digest(file, "sha256").hexdigest() != PUBLISHED[name].checksums[cifar.BINARY]:
                raise UserError("wrong checksum")
        options = DataOptions(split="train" if split == "train" else "test")
        return replace(cifar.load_cifar(list_files(files[0]), options), name=name)

    cache = cache_dir() / name
    places = [Path(data_dir).expanduser()] if data_dir else [cache, cache.parent]
    for path in (folder / cifar.BINARY for place in places for folder in (place, place / name)):
        if path.is_file():
            try:
                return read([path])
            except UserError as error:
                how = "to train on it all the same, give its path instead of the name"
                raise UserError(f"{path} does not hold the published {name} ({error}): {how}") from error
    if data_dir:
        how = "give the path of an unpacked folder instead of the name, or leave out `data_dir` to have it downloaded"
        raise UserError(f"{data_dir} has no {name}: looked for {cifar.BINARY}; {how}")
    return download(name, [cifar.BINARY], cache, read)


def checksum(dataset: Dataset) -> str:
    digest = sha256(dataset.x.numpy().data.cast("B"))
    if dataset.labels is not None:
        digest.update(dataset.labels.numpy().astype(np.uint8).tobytes())
    return digest.hexdigest()


def download(name: str, files: Sequence[str], folder: Path, read: Callable[[Sequence[Path]], Dataset]) -> Dataset:
    """Fetch files from the first mirror that has them, and keep them only if `read` finds what was published."""
    folder.mkdir(parents=True, exist_ok=True)
    failures = []
    for mirror in PUBLISHED[name].mirrors:
        with TemporaryDirectory(dir=folder) as temporary:
            parts = [Path(temporary) / file for file in files]
            try:
                for part in parts:
                    print(f"downloading {mirror}{part.name}", file=sys.stderr)
                    with urlopen(mirror + part.name, timeout=30) as response, part.open("wb") as output:
                        copyfileobj(response, output)
                dataset = read(parts)
            except (OSError, HTTPException, UserError) as error:  # URLError and HTTPError are OSErrors
                failures.append(f"{mirror}: {getattr(error, 'reason', error)}")
                continue
            for part in parts:
                part.replace(folder / part.name)
            return dataset
    how = f"put {' and '.join(files)} into {folder}, or say where the data are with `data_dir`"
    raise UserError(f"{name} could not be downloaded ({'; '.join(failures)}): {how}")


BUILTIN: dict[str, Callable[[str, str, str | None], Dataset]] = {
    "emoji": load_atlas,
    "emoji-flat": load_atlas,
    "digits": digits,
    "mnist": find_or_download,
    "fashion-mnist": find_or_download,
    "cifar10": find_cifar10,
    "ring": sample_mixture,
    "grid": sample_mixture,
    "swiss-roll": swiss_roll,
}
"""what reads each, of its name, the split and the folder to look in"""
