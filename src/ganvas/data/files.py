"""Arrays from files: .npy, .npz and IDX.  Nothing is ever unpickled."""

import gzip
import re
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np

from ..errors import UserError
from .collection import Collection, from_array
from .layout import named_after
from .view import NoSplit

EXAMPLES = ("x", "images", "data", "arr_0")
LABELS = ("y", "labels", "label")
IDX = re.compile(r"(?P<split>train|t10k|test)-(images|labels)[-.]idx(?P<axes>\d)-ubyte(\.gz)?$")


def from_npy(path: Path, split: str) -> Collection:
    """One array, without labels."""
    only_train(path, split)
    return from_array(read_numpy(path), name=named_after(path))


def from_npz(path: Path, split: str, key: str | None = None) -> Collection:
    """The array `key` of an archive, or else x_train / x_test, x, images, data, or the only one, with its labels."""
    archive = read_numpy(path)
    names = list(archive)
    wanted = [f"{e}_{split}" for e in EXAMPLES] + (list(EXAMPLES) if split == "train" else [])
    if key is None:
        key = next((k for k in wanted if k in names), names[0] if len(names) == 1 and split == "train" else None)
    elif split != "train":
        key = of_test(key, names, path)
    if key is None and split != "train" and names:
        only_train(path, split)
    if key is None or key not in names:
        missing = f'no array "{key}"' if key else f"no array named {' or '.join(wanted)}"
        raise UserError(f"{path} has {missing}, only {', '.join(names)}: choose one as {path.name}:NAME")
    stem = re.sub(rf"_?{split}$", "", key)
    pair = f"_{split}" if key.endswith(f"_{split}") else ""
    label = next((x + pair for x in LABELS if stem in EXAMPLES and x + pair in names), None)
    classes = [str(c) for c in archive["classes"]] if "classes" in names else []
    return from_array(archive[key], archive[label] if label else None, classes=classes, name=named_after(path))


def of_test(key: str, names: list[str], path: Path) -> str:
    """The array of the test split that goes with one that was named; NoSplit where there is none."""
    other = key.replace("train", "test")
    if other == key or other not in names:
        only_train(Path(f"{path}:{key}"), "test")
    return other


def has_test(path: Path, key: str | None) -> bool:
    """Whether an archive has a test part for its training part, or for the array `key`, by the names of its arrays."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.removesuffix(".npy") for name in archive.namelist()}
    except (OSError, zipfile.BadZipFile):
        return False
    if key is None:
        return any(f"{name}_test" in names for name in EXAMPLES)
    return "train" in key and key.replace("train", "test") in names


def read_numpy(path: Path) -> "np.ndarray | dict[str, np.ndarray]":
    """What a .npy or .npz file holds; UserError where it is damaged or would have to be unpickled."""
    with path.open("rb") as file:  # NumPy itself takes whatever else a file begins with for a pickle
        if not file.read(6).startswith((b"\x93NUMPY", b"PK\x03\x04", b"PK\x05\x06")):  # .npy, .npz, an empty .npz
            raise UserError(f"{path} is damaged or no NumPy file")
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            return loaded if isinstance(loaded, np.ndarray) else {k: loaded[k] for k in loaded.files}
    except ValueError as error:
        if "allow_pickle" in str(error):
            raise UserError(
                f"{path} holds Python objects, which Ganvas never unpickles: save plain number arrays"
            ) from error
        raise UserError(f"{path} is damaged or no NumPy file: {error}") from error
    except (EOFError, zipfile.BadZipFile, zlib.error, KeyError) as error:
        raise UserError(f"{path} is damaged or no NumPy file: {error}") from error


def from_idx(path: Path, split: str | None = None) -> Collection:
    """An IDX file of images, plain or gzipped, with the labels in the file beside it when that is there."""
    images = read_idx(path)
    labels = next((p for p in (path.with_name(n) for n in label_names(path.name)) if p.exists() and p != path), None)
    name = path.resolve().parent.name if IDX.search(path.name) else named_after(path)
    return from_array(images, read_idx(labels) if labels else None, name=name)


def idx_in(folder: Path, split: str) -> Path | None:
    """The IDX file with a split's images in a folder, if it is there."""
    wanted = ("train",) if split == "train" else ("t10k", "test")
    for path in sorted(folder.glob("*-images*ubyte*")):
        match = IDX.search(path.name)
        if match and match["split"] in wanted and match["axes"] == "3":
            return path
    return None


def label_names(name: str) -> list[str]:
    """What the file with the labels of these images may be called."""
    plain = name.replace("images", "labels").replace("idx3", "idx1").removesuffix(".gz")
    return [plain, f"{plain}.gz"]


def read_idx(path: Path) -> np.ndarray:
    """An IDX file: two zero bytes, a type (8: unsigned bytes), the number of axes, their sizes, the values."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            raw = file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} is damaged: {error}") from error
    if len(raw) < 4 or raw[:3] != b"\x00\x00\x08" or len(raw) < 4 + 4 * raw[3]:
        raise UserError(f"{path} is no IDX file of unsigned bytes")
    sizes = struct.unpack(f">{raw[3]}I", raw[4 : 4 + 4 * raw[3]])
    values = np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3])
    if len(values) != int(np.prod(sizes, dtype=np.int64)):
        raise UserError(f"{path} is damaged: it says {sizes}, but holds {len(values)} bytes")
    return values.reshape(sizes).copy()


def only_train(path: Path, split: str) -> None:
    """NoSplit for any split but train of a source that has no others."""
    if split != "train":
        raise NoSplit(f'{path} has no split "{split}": leave out split={split}')
