"""The built-in data sets, by name; what is not in the package is read from where it lies, or else downloaded."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import file_digest, sha256
from importlib.resources import files
from math import pi
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..errors import UserError
from ..io.download import cache_dir, download
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
    """Where a data set may lie, and what it must hold."""

    mirrors: tuple[str, ...]
    files: dict[str, str]  # SHA-256 of each file that is downloaded
    checksums: dict[str, str] = field(default_factory=dict)  # of each split's pixels followed by its labels
    system_folders: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()


PUBLISHED = {
    "mnist": PublishedDataset(
        ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
        {
            "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        },
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
            "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        },
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
        dataset = from_idx(fetch(name, FILES[split]))
    return replace(dataset, name=name, classes=source.classes or dataset.classes)


def find_cifar10(name: str, split: str, data_dir: str | None) -> Dataset:
    """CIFAR-10 from the archive of its binary version in data_dir or the cache; else downloaded into the cache."""
    cache, digest = cache_dir(), PUBLISHED[name].files[cifar.BINARY]
    places = [Path(data_dir).expanduser()] if data_dir else [cache / name, cache]
    paths = (folder / cifar.BINARY for place in places for folder in (place, place / name))
    path = next(filter(Path.is_file, paths), None)
    if path:
        with path.open("rb") as file:
            if file_digest(file, "sha256").hexdigest() != digest:
                how = "to train on it all the same, give its path instead of the name"
                raise UserError(f"{path} does not hold the published {name} (wrong checksum): {how}")
    elif data_dir:
        how = "give the path of an unpacked folder instead of the name, or leave out `data_dir` to have it downloaded"
        raise UserError(f"{data_dir} has no {name}: looked for {cifar.BINARY}; {how}")
    options = DataOptions(split="train" if split == "train" else "test")
    return replace(cifar.load_cifar(list_files(path or fetch(name, [cifar.BINARY])), options), name=name)


def checksum(dataset: Dataset) -> str:
    digest = sha256(dataset.x.numpy().data.cast("B"))
    if dataset.labels is not None:
        digest.update(dataset.labels.numpy().astype(np.uint8).tobytes())
    return digest.hexdigest()


def fetch(name: str, files: Sequence[str]) -> Path:
    """The first of these files of a published data set, in the cache; those not there are downloaded.

    The first comes last, since who finds it needs the others.  UserError where one cannot be had.
    """
    source, folder = PUBLISHED[name], cache_dir() / name
    how = f"put {' and '.join(files)} into {folder}, or say where the data are with `data_dir`"
    for file in reversed(files):
        download(folder / file, source.files[file], [mirror + file for mirror in source.mirrors], name, how)
    return folder / files[0]


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
