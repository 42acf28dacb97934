"""MNIST and Fashion-MNIST: from where they lie, or downloaded because the user named them."""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.request import urlopen

import numpy as np

from ..errors import UserError
from .dataset import Dataset
from .idx import find_idx, from_idx
from .npz import from_npz
from .options import DataOptions

FILES = {
    split: (f"{prefix}-images-idx3-ubyte.gz", f"{prefix}-labels-idx1-ubyte.gz")
    for split, prefix in (("train", "train"), ("test", "t10k"))
}


FASHION_CLASSES = (
    "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle-boot",
)  # fmt: skip


@dataclass(frozen=True)
class PublishedDataset:
    """Where a data set may lie, and what it must hold: SHA-256 of each split's pixels followed by its labels."""

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
}
"""MNIST: 60,000 + 10,000 handwritten digits, 28 x 28 (LeCun et al., 1998); Fashion-MNIST: as many pieces of clothing of
this size (Xiao et al., arXiv:1708.07747)"""


def cache_dir() -> Path:
    """Where downloads are kept: $GANVAS_CACHE, or .cache/ganvas in the home folder."""
    return Path(os.environ.get("GANVAS_CACHE") or Path.home() / ".cache" / "ganvas")


def find_or_download(name: str, split: str, data_dir: str | None) -> Dataset:
    """The data set from data_dir, the cache, or the system's packages; else downloaded into the cache.

    Raises UserError when data_dir has no such data, when a file of this name holds other data, and when the
    download fails.
    """
    source, cache = PUBLISHED[name], cache_dir() / name
    places = [Path(data_dir).expanduser()] if data_dir else [cache, cache.parent, *map(Path, source.system_folders)]
    options, mismatch = DataOptions(split="train" if split == "train" else "test"), None
    for path in (path for place in places for path in candidate_files(name, split, place)):
        dataset = from_npz(path, options) if path.suffix == ".npz" else from_idx(path)
        if checksum(dataset) == source.checksums[split]:
            return replace(dataset, name=name, classes=source.classes or dataset.classes)
        mismatch = mismatch or path
    if mismatch:
        how = "to train on it all the same, give its path instead of the name"
        raise UserError(f"{mismatch} does not hold the published {name} ({split}): {how}")
    if data_dir:
        how = "without `data_dir` it is looked for in the cache, then downloaded"
        raise UserError(f"{data_dir} has no {name}: looked for {name}.npz and {FILES[split][0]}; {how}")
    dataset = download(name, split, cache)
    return replace(dataset, name=name, classes=source.classes or dataset.classes)


def candidate_files(name: str, split: str, place: Path) -> Iterator[Path]:
    """Files in a folder that may hold the data set, in the forms and places in which it usually lies."""
    archives = dict.fromkeys(place / f"{stem}.npz" for stem in (name, name.replace("-", "_")))
    yield from (path for path in archives if path.is_file())
    folders = (place, place / name, place / "MNIST" / "raw", place / "FashionMNIST" / "raw")
    yield from filter(None, (find_idx(folder, split) for folder in folders))


def checksum(dataset: Dataset) -> str:
    digest = sha256(dataset.x.numpy().data.cast("B"))
    if dataset.labels is not None:
        digest.update(dataset.labels.numpy().astype(np.uint8).tobytes())
    return digest.hexdigest()


def download(name: str, split: str, folder: Path) -> Dataset:
    """Fetch a split from the first mirror that has it, and keep it only if it is what was published."""
    folder.mkdir(parents=True, exist_ok=True)
    failures = []
    for mirror in PUBLISHED[name].mirrors:
        with TemporaryDirectory(dir=folder) as temporary:
            files = [Path(temporary) / file for file in FILES[split]]
            try:
                for file in files:
                    print(f"downloading {mirror}{file.name}", file=sys.stderr)
                    with urlopen(mirror + file.name, timeout=30) as response:
                        file.write_bytes(response.read())
                dataset = from_idx(files[0])
            except (OSError, HTTPException, UserError) as error:  # URLError and HTTPError are OSErrors
                failures.append(f"{mirror}: {getattr(error, 'reason', error)}")
                continue
            if checksum(dataset) != PUBLISHED[name].checksums[split]:
                failures.append(f"{mirror}: wrong checksum")
                continue
            for file in files:
                file.replace(folder / file.name)
            return dataset
    raise UserError(
        f"{name} could not be downloaded ({'; '.join(failures)}): put {' and '.join(FILES[split])} into {folder}, or "
        "say where the data are with `data_dir`"
    )
