"""Arrays from NumPy's files, .npy and .npz.  Nothing is ever unpickled, and no size is believed that the file lacks."""

import ast
import re
import struct
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from ..errors import UserError
from .arrays import taken
from .collection import Collection
from .files import DEFLATED, Readable, fill, only_train
from .layout import named_after
from .memory import check_room
from .view import View

EXAMPLES = ("x", "images", "image", "imgs", "img", "data", "arr0", "features", "inputs", "samples")
LABELS = ("y", "labels", "label", "targets", "target", "class", "classid")
CLASSES = ("classes", "classnames", "names")
SPLITS = {"train": ("training", "train"), "val": ("validation", "valid", "val"), "test": ("testing", "test", "t10k")}
MAGIC = b"\x93NUMPY"
HEADER = 2**16
"""most bytes of an array's header"""


class Array(NamedTuple):
    """What the name of an array in an archive says."""

    stem: str
    """the name in small letters, without its split"""
    split: str | None
    """the split that it names, if any"""


def from_npy(path: Path, view: View) -> Collection:
    """One array, without labels."""
    with damaged(path), path.open("rb") as file:
        array = read_npy(file, path.stat().st_size, str(path))
    return taken(array, name=named_after(path), range=view.range, owned=True)


def from_npz(path: Path, view: View, key: str | None = None) -> Collection:
    """The examples of a split in an archive, with their labels: by their names, or by `key`, IMAGES or IMAGES,LABELS.

    Known names are those of `EXAMPLES` and `LABELS`, in small letters or capitals, before or after a split's: x_train,
    train_images, X, data.  An archive of one array needs none.
    """
    with damaged(path), zipfile.ZipFile(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        images, labels, notes = chosen(names, view.split, key, path)
        x = member(archive, images, path)
        y = None if labels is None else member(archive, labels, path)
        named = [name for name in names if meaning(name).stem in CLASSES]
        classes = [as_text(c) for c in member(archive, named[0], path).ravel()] if named and labels else []
    asked = key is not None and "," in key
    try:
        found = taken(x, y, classes, named_after(path), range=view.range, owned=True)
    except UserError as error:
        if labels is None or asked or "label" not in str(error):
            raise
        raise UserError(f"{error}; or leave out {labels}: {path.name}:{images},") from error
    return found.noting(notes)


def as_text(name: object) -> str:
    """The name of a class."""
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)


def meaning(name: str) -> Array:
    """The stem and the split of an array's name."""
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    for split, words in SPLITS.items():
        for word in words:
            for stem in (plain.removeprefix(word), plain.removesuffix(word)):
                if stem != plain and stem in (*EXAMPLES, *LABELS, *CLASSES):
                    return Array(stem, split)
    return Array(plain, None)


def chosen(names: list[str], split: str, key: str | None, path: Path) -> tuple[str, str | None, list[str]]:
    """The names of examples and labels, and notes on what is left out; UserError where it is unclear what they are."""
    images, comma, labels = key.partition(",") if key is not None and key not in names else (key, "", "")
    for asked in (images, labels):
        if asked and asked not in names:
            raise UserError(f'{path} has no array "{asked}", {only(names, path)}')
    notes: list[str] = []
    if images and split == "test" and meaning(images).split != "test":
        images, labels = (of_test(name, names, path) if name else "" for name in (images, labels))
    if not images:
        images, notes = examples_in(names, split, path)
    own = meaning(images)
    if not comma and own.stem in EXAMPLES:
        labels = one_of([name for name in names if meaning(name).stem in LABELS and meaning(name).split == own.split],
                        "the labels", f"{path.name}:{images},LABELS", path)  # fmt: skip
    left = [name for name in names if name not in (images, labels) and is_left_out(name, own.split)]
    if left:
        notes.append(f"arrays left out: {', '.join(left)}; choose others as {path.name}:IMAGES,LABELS")
    return images, labels or None, notes


def has_test(path: Path, key: str | None) -> bool:
    """Whether an archive has a test part, or one for the arrays of `key`, by the names of its arrays."""
    with damaged(path), zipfile.ZipFile(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    if key is None:
        return any(meaning(name).stem in EXAMPLES and meaning(name).split in ("test", "val") for name in names)
    stem, split = meaning(key if key in names else key.partition(",")[0])
    return split == "train" and any(meaning(name) == (stem, "test") for name in names)


def of_test(key: str, names: list[str], path: Path) -> str:
    """The array of the test split that goes with one that was named; NoSplit where there is none."""
    stem, split = meaning(key)
    there = [name for name in names if split and meaning(name) == (stem, "test")]
    if not there:
        only_train(Path(f"{path}:{key}"), "test")
    return there[0]


def is_left_out(name: str, split: str | None) -> bool:
    """Whether an array is neither a list of classes nor part of a split that may be asked for."""
    found = meaning(name)
    return found.stem not in CLASSES and found.split in (None, split, "val")


def examples_in(names: list[str], split: str, path: Path) -> tuple[str, list[str]]:
    """The array that holds the examples of a split, by its name, and notes."""
    for wanted in (split, "val") if split == "test" else (split, None):
        there = [name for name in names if meaning(name).stem in EXAMPLES and meaning(name).split == wanted]
        if there:
            found = one_of(there, "the examples", f"{path.name}:IMAGES,LABELS", path)
            return found, [f"no test split, so the validation split was read: {found}"] if wanted == "val" else []
    if len(names) == 1 and split == "train":
        return names[0], []
    if names:
        only_train(path, split)
    raise UserError(f"{path} has no array named x_train or train_images or x or images or data, {only(names, path)}")


def one_of(there: list[str], what: str, how: str, path: Path) -> str:
    """The only name, or "" of none; UserError for several."""
    if len(there) > 1:
        raise UserError(f"{path} has several arrays that may be {what}, {' and '.join(there)}: choose as {how}")
    return there[0] if there else ""


def only(names: Sequence[str], path: Path) -> str:
    if not names:
        return "for it holds no arrays"
    return f"only {', '.join(names)}: choose one as {path.name}:NAME, or with labels as {path.name}:IMAGES,LABELS"


@contextmanager
def damaged(path: Path) -> Iterator[None]:
    """UserError for whatever reading a damaged file raises."""
    try:
        yield
    except (UserError, FileNotFoundError, PermissionError):
        raise
    except Exception as error:  # zipfile alone raises ten kinds
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{path} is damaged or no NumPy file: {why}") from error


def member(archive: zipfile.ZipFile, name: str, path: Path) -> np.ndarray:
    """An array of an archive."""
    info = archive.getinfo(f"{name}.npy")
    if info.file_size > DEFLATED * (info.compress_size + 1):
        raise ValueError(f"{name} claims {info.file_size} bytes of {info.compress_size}")
    with archive.open(info) as file:
        return read_npy(file, info.file_size, f"{path}, {name},")


def read_npy(file: Readable, size: int, name: str) -> np.ndarray:
    """The array in a file of so many bytes; ValueError where it is damaged, UserError for Python objects.

    Format: numpy.org/doc/stable/reference/generated/numpy.lib.format.html
    """
    magic = file.read(8)
    if magic[:6] != MAGIC or len(magic) < 8:
        raise ValueError("it does not begin as one")
    wide = magic[6] > 1
    (length,) = struct.unpack("<I" if wide else "<H", file.read(4 if wide else 2))
    if length > HEADER:
        raise ValueError(f"its header claims {length} bytes")
    dtype, order, shape = header_of(file.read(length).decode("utf-8" if magic[6] > 2 else "latin1"))
    if dtype.hasobject:
        raise UserError(f"{name} holds Python objects, which Ganvas never unpickles: save plain number arrays")
    claimed, there = prod(shape) * dtype.itemsize, size - 8 - (4 if wide else 2) - length
    if claimed > there:
        raise ValueError(f"it says {'x'.join(map(str, shape))} of {dtype}, {claimed} bytes, but holds {there}")
    check_room(claimed, name, "give fewer examples, or smaller ones")
    array = np.empty(prod(shape), dtype)
    if claimed and (held := fill(file, array.view(np.uint8))) < claimed:
        raise ValueError(f"it ends after {held} of {claimed} bytes")
    return array.reshape(shape, order=order)


def header_of(text: str) -> tuple[np.dtype, Literal["C", "F"], tuple[int, ...]]:
    """Type, order and shape of an array, as its header has them."""
    header = ast.literal_eval(text.strip())
    if not isinstance(header, dict) or header.keys() != {"descr", "fortran_order", "shape"}:
        raise ValueError("its header is none")
    shape = header["shape"]
    if not isinstance(shape, tuple) or not all(type(n) is int and 0 <= n < 2**62 for n in shape) or len(shape) > 32:
        raise ValueError(f"its shape is {shape!r}")
    return np.lib.format.descr_to_dtype(header["descr"]), "F" if header["fortran_order"] else "C", shape
