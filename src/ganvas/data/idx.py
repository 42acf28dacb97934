"""Arrays from IDX files, as those of MNIST."""

import gzip
import re
import struct
import zlib
from math import prod
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from ..errors import UserError
from .arrays import build_dataset
from .dataset import Dataset
from .layout import dataset_name
from .memory import check_memory
from .options import MissingSplitError

MAX_DEFLATE_RATIO = 1100
"""times that a compressed file may be as long as it is: deflate reaches 1,032"""
IDX_PATTERN = re.compile(r"(?P<split>train|t10k|test)-(images|labels)[-.]idx(?P<axes>\d)-ubyte(\.gz)?$")


@runtime_checkable
class Readable(Protocol):
    """A file, or a member of an archive."""

    def read(self, size: int = -1, /) -> bytes:
        """At most so many bytes, none at the end."""


def from_idx(path: Path, range: str | None = None) -> Dataset:
    """An IDX file of images, plain or gzipped, with the labels in the file beside it when that is there."""
    images = read_idx(path)
    labels = next(
        (p for p in (path.with_name(n) for n in label_file_names(path.name)) if p.is_file() and p != path), None
    )
    name = path.resolve().parent.name if IDX_PATTERN.search(path.name) else dataset_name(path)
    return build_dataset(images, read_idx(labels) if labels else None, name=name, range=range, reuse_memory=True)


def find_idx(folder: Path, split: str) -> Path | None:
    """The IDX file with a split's images in a folder, if it is there."""
    prefixes = ("train",) if split == "train" else ("t10k", "test")
    for path in sorted(folder.glob("*-images*ubyte*")):
        match = IDX_PATTERN.search(path.name)
        if match and match["split"] in prefixes and match["axes"] == "3" and path.is_file():
            return path
    return None


def label_file_names(name: str) -> list[str]:
    """What the file with the labels of these images may be called."""
    plain = name.replace("images", "labels").replace("idx3", "idx1").removesuffix(".gz")
    return [plain, f"{plain}.gz"]


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
            expected_size, max_size = prod(shape), path.stat().st_size * (MAX_DEFLATE_RATIO if is_gzip else 1)
            if expected_size > max_size:
                raise UserError(f"{path} is damaged: it says {shape}, but holds {max_size} bytes{' at most' * is_gzip}")
            check_memory(expected_size, str(path), "give fewer examples")
            values = np.empty(expected_size, np.uint8)
            n_read = read_into(file, values)
            if n_read < expected_size or file.read(1):
                raise UserError(
                    f"{path} is damaged: it says {shape}, but holds "
                    f"{'more' if n_read == expected_size else n_read} bytes"
                )
    except (OSError, EOFError, zlib.error, struct.error) as error:
        if isinstance(error, FileNotFoundError | PermissionError):
            raise
        raise UserError(f"{path} is damaged: {error}") from error
    return values.reshape(shape)


def read_into(file: Readable, values: np.ndarray) -> int:
    """Read as many bytes as there is room for; returns how many there were."""
    buffer, done = memoryview(values.data), 0
    while done < len(buffer) and (part := file.read(min(2**24, len(buffer) - done))):
        buffer[done : done + len(part)] = part
        done += len(part)
    return done


def require_train_split(path: Path, split: str) -> None:
    """UserError for any split but train of a source that has no others."""
    if split != "train":
        raise MissingSplitError(f'{path} has no split "{split}": leave out split={split}')
