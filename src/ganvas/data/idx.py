"""IDX files, e.g. those of MNIST."""

import gzip
import re
import struct
import zlib
from math import prod
from pathlib import Path

import numpy as np

from ..errors import UserError
from .arrays import from_array
from .dataset import Dataset
from .holdout import split_dataset
from .layout import dataset_name
from .memory import check_memory
from .options import DataOptions, Progress

MAX_DEFLATE_RATIO = 1100
"""times that a compressed file may be as long as it is: deflate reaches 1,032"""
READ_BYTES = 2**24
"""bytes that are read at once"""
IDX_PATTERN = re.compile(r"(?P<split>train|t10k|test)-(images|labels)[-.]idx(?P<axes>\d)-ubyte(\.gz)?$")


def is_idx(path: Path) -> bool:
    """Whether a path is an IDX file, or a folder with one in it."""
    if path.is_dir():
        return any(find_idx(path, split) for split in ("train", "test"))
    return "ubyte" in path.name or path.suffix == ".idx"


def load_idx(path: Path, key: str | None, options: DataOptions, progress: Progress) -> Dataset:
    """A split of the IDX files in a folder; or a file, with the test file beside it as its test split."""
    is_folder = path.is_dir()
    folder = path if is_folder else path.parent
    train, test = find_idx(folder, "train"), find_idx(folder, "test")
    has_test_split = test is not None and (is_folder or path == train)
    file = test if has_test_split and options.split == "test" else train if is_folder else path
    if file is None:
        raise UserError(f"{path} has a test part only: ask for split=test, or give the file with the images")
    return split_dataset(from_idx(file, options.range), options, has_test_split=has_test_split)


def from_idx(path: Path, range: str | None = None) -> Dataset:
    """An IDX file of images, plain or gzipped, with the labels in the file beside it when that is there."""
    images = read_idx(path)
    plain = path.name.replace("images", "labels").replace("idx3", "idx1").removesuffix(".gz")
    candidates = (path.with_name(plain), path.with_name(f"{plain}.gz"))
    labels = next((read_idx(p) for p in candidates if p.is_file() and p != path), None)
    name = path.resolve().parent.name if IDX_PATTERN.search(path.name) else dataset_name(path)
    return from_array(images, labels, name=name, range=range, reuse_memory=True)


def find_idx(folder: Path, split: str) -> Path | None:
    """The IDX file with a split's images in a folder, if it is there."""
    prefixes = ("train",) if split == "train" else ("t10k", "test")
    for path in sorted(folder.glob("*-images*ubyte*")):
        match = IDX_PATTERN.search(path.name)
        if match and match["split"] in prefixes and match["axes"] == "3" and path.is_file():
            return path
    return None


def read_idx(path: Path) -> np.ndarray:
    """An IDX file: two zero bytes, a type (8: unsigned bytes), the number of axes, their sizes, the values."""
    is_gzip = path.suffix == ".gz"
    try:
        with gzip.open(path) if is_gzip else path.open("rb") as file:
            head = file.read(4)
            axes = head[3] if len(head) == 4 and head[:3] == b"\x00\x00\x08" else 0
            sizes = file.read(4 * axes)
            if not 0 < axes <= 4 or len(sizes) < 4 * axes:
                raise UserError(f"{path} is no IDX file of unsigned bytes")
            shape = struct.unpack(f">{axes}I", sizes)
            size, max_size = prod(shape), path.stat().st_size * (MAX_DEFLATE_RATIO if is_gzip else 1)
            damage = f"{path} is damaged: it says {shape}, but holds"
            if size > max_size:
                raise UserError(f"{damage} {max_size} bytes{' at most' * is_gzip}")
            check_memory(size, str(path), "give fewer examples")
            values, n_read = np.empty(size, np.uint8), 0
            while part := file.read(min(READ_BYTES, size - n_read)):
                values[n_read : n_read + len(part)] = np.frombuffer(part, np.uint8)
                n_read += len(part)
            if n_read < size or file.read(1):
                raise UserError(f"{damage} {'more' if n_read == size else n_read} bytes")
    except (FileNotFoundError, PermissionError):
        raise
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} is damaged: {error}") from error
    return values.reshape(shape)
