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
from .arrays import taken
from .collection import Collection
from .layout import named_after
from .memory import check_room
from .view import NoSplit

DEFLATED = 1100
"""times that a compressed file may be as long as it is: deflate reaches 1,032"""
IDX = re.compile(r"(?P<split>train|t10k|test)-(images|labels)[-.]idx(?P<axes>\d)-ubyte(\.gz)?$")


@runtime_checkable
class Readable(Protocol):
    """A file, or a member of an archive."""

    def read(self, size: int = -1, /) -> bytes:
        """At most so many bytes, none at the end."""


def from_idx(path: Path, range: str | None = None) -> Collection:
    """An IDX file of images, plain or gzipped, with the labels in the file beside it when that is there."""
    images = read_idx(path)
    labels = next((p for p in (path.with_name(n) for n in label_names(path.name)) if p.is_file() and p != path), None)
    name = path.resolve().parent.name if IDX.search(path.name) else named_after(path)
    return taken(images, read_idx(labels) if labels else None, name=name, range=range, owned=True)


def idx_in(folder: Path, split: str) -> Path | None:
    """The IDX file with a split's images in a folder, if it is there."""
    wanted = ("train",) if split == "train" else ("t10k", "test")
    for path in sorted(folder.glob("*-images*ubyte*")):
        match = IDX.search(path.name)
        if match and match["split"] in wanted and match["axes"] == "3" and path.is_file():
            return path
    return None


def label_names(name: str) -> list[str]:
    """What the file with the labels of these images may be called."""
    plain = name.replace("images", "labels").replace("idx3", "idx1").removesuffix(".gz")
    return [plain, f"{plain}.gz"]


def read_idx(path: Path) -> np.ndarray:
    """An IDX file: two zero bytes, a type (8: unsigned bytes), the number of axes, their sizes, the values."""
    packed = path.suffix == ".gz"
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            head = file.read(4)
            axes = head[3] if len(head) == 4 and head[:3] == b"\x00\x00\x08" else 0
            sizes = file.read(4 * axes)
            if not 0 < axes <= 4 or len(sizes) < 4 * axes:
                raise UserError(f"{path} is no IDX file of unsigned bytes")
            shape = struct.unpack(f">{axes}I", sizes)
            claimed, most = prod(shape), path.stat().st_size * (DEFLATED if packed else 1)
            if claimed > most:
                raise UserError(f"{path} is damaged: it says {shape}, but holds {most} bytes{' at most' * packed}")
            check_room(claimed, str(path), "give fewer examples")
            values = np.empty(claimed, np.uint8)
            held = fill(file, values)
            if held < claimed or file.read(1):
                raise UserError(
                    f"{path} is damaged: it says {shape}, but holds {'more' if held == claimed else held} bytes"
                )
    except (OSError, EOFError, zlib.error, struct.error) as error:
        if isinstance(error, FileNotFoundError | PermissionError):
            raise
        raise UserError(f"{path} is damaged: {error}") from error
    return values.reshape(shape)


def fill(file: Readable, values: np.ndarray) -> int:
    """Read as many bytes as there is room for; returns how many there were."""
    buffer, done = memoryview(values.data), 0
    while done < len(buffer) and (part := file.read(min(2**24, len(buffer) - done))):
        buffer[done : done + len(part)] = part
        done += len(part)
    return done


def only_train(path: Path, split: str) -> None:
    """UserError for any split but train of a source that has no others."""
    if split != "train":
        raise NoSplit(f'{path} has no split "{split}": leave out split={split}')
