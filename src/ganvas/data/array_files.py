"""Arrays from files: NumPy's .npy and .npz, and IDX, e.g. MNIST's.

Nothing is ever unpickled, and no size is believed that the file lacks.
"""

import gzip
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from io import BufferedIOBase
from math import prod
from pathlib import Path
from typing import IO
from warnings import catch_warnings
from zipfile import ZipFile

import numpy as np
from numpy.lib import format as npy_format

from ..errors import UserError
from .arrays import add_labels, decode_name, from_array
from .dataset import Dataset, split_dataset
from .layout import SPLIT_NAMES, dataset_name
from .listing import is_ignored
from .memory import TooLargeError, check_memory
from .options import DataOptions, MissingSplitError, Progress, number_options

OpenFile = Callable[[Path], AbstractContextManager[tuple[Callable[[str], np.ndarray], list[str]]]]
"""what opens a file with arrays by names, and gives what reads one, and the names"""
EXAMPLE_KEYS = ("x", "images", "image", "imgs", "img", "data", "arr0", "features", "inputs", "samples")
LABEL_KEYS = ("y", "labels", "label", "targets", "target", "class", "classid")
CLASS_KEYS = ("classes", "classnames", "names")
MAX_HEADER_BYTES, READ_BYTES = 2**16, 2**24  # most bytes of an array's header; bytes of an IDX file read at once
MAX_DEFLATE_RATIO = 1100  # times that a compressed file may be as long as it is: deflate reaches 1,032
IDX_PATTERN = re.compile(r"(?P<split>train|t10k|test)-(images|labels)[-.]idx(?P<axes>\d)-ubyte(\.gz)?$", re.I)


def split_key(source: str) -> tuple[str, str | None]:
    """A path, and the key of PATH.npz:KEY, or of HDF5's or Zarr's, if there is one."""
    match = re.fullmatch(r"(.*?\.(?:npz|h5|hdf5|he5|nc4?|zarr(?:\.zip)?)):(.+)", source, re.IGNORECASE | re.DOTALL)
    return (match[1], match[2]) if match else (source, None)


def load_npy(path: Path, key: str | None, options: DataOptions, progress: Progress) -> Dataset:
    """A split of one array, without labels."""
    with wrap_read_errors(path), path.open("rb") as file:
        array = read_npy(file, path.stat().st_size, str(path))
    return split_dataset(
        from_array(array, name=dataset_name(path), reuse_memory=True, kind=options.kind, **number_options(options)),
        options,
    )


def load_npz(
    path: Path, key: str | None, options: DataOptions, progress: Progress, open_file: OpenFile | None = None
) -> Dataset:
    """A split of an archive, held out where it has no test arrays, or none that go with those of `key`."""
    open_file = open_file or open_archive
    with open_file(path) as (_, names):
        arrays = set(map(parse_array_name, names))
    if key is None:
        has_test_split = any(stem in EXAMPLE_KEYS and part in ("test", "validation") for stem, part in arrays)
    else:
        stem, part = parse_array_name(key if key in names else key.partition(",")[0])
        has_test_split = part == "train" and (stem, "test") in arrays
    split_options = options if has_test_split else replace(options, split="train")
    dataset = from_npz(path, split_options, key, open_file)
    return split_dataset(dataset, options, has_test_split=has_test_split)


def from_npz(path: Path, options: DataOptions, key: str | None = None, open_file: OpenFile | None = None) -> Dataset:
    """The examples of a split in an archive, with their labels: by their names, or by `key`, IMAGES or IMAGES,LABELS.

    Known names are `EXAMPLE_KEYS` and `LABEL_KEYS`, in small letters or capitals, before or after a split's: x_train,
    train_images, X, data.  An archive of one array needs none.
    """
    with (open_file or open_archive)(path) as (read, names):
        images, labels, notes = choose_arrays(names, options.split, key, path)
        x = read(images)
        y = read(labels) if labels else None
        class_arrays = [name for name in names if parse_array_name(name)[0] in CLASS_KEYS and labels]
        classes = [decode_name(c) for name in class_arrays[:1] for c in read(name).ravel()]
    numbers = number_options(options)
    dataset = from_array(x, name=dataset_name(path), reuse_memory=True, kind=options.kind, **numbers)
    try:
        return add_labels(dataset, y, classes).with_notes(notes)
    except UserError as error:
        if key is not None and "," in key:
            raise
        raise UserError(f"{error}; or leave out {labels}: {path.name}:{images},") from error


def parse_array_name(name: str) -> tuple[str, str | None]:
    """What an array's name says: itself in small letters without its split, and the split, if any."""
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    for split, words in SPLIT_NAMES.items():
        for word in words:
            for stem in (plain.removeprefix(word), plain.removesuffix(word)):
                if stem != plain and stem in (*EXAMPLE_KEYS, *LABEL_KEYS, *CLASS_KEYS):
                    return stem, split
    return plain, None


def choose_arrays(names: list[str], split: str, key: str | None, path: Path) -> tuple[str, str, list[str]]:
    """The names of examples and labels ("" for none), and notes; a `key` of training arrays has test arrays beside."""
    images, comma, labels = (key or "", "", "") if key is None or key in names else key.partition(",")
    how = f"choose one as {path.name}:NAME, or with labels as {path.name}:IMAGES,LABELS"
    available = f"only {', '.join(names)}: {how}" if names else "for it holds no arrays"
    for name in (images, labels):
        if name and name not in names:
            raise UserError(f'{path} has no array "{name}", {available}')
    notes: list[str] = []
    if not images:
        images = find_array(names, EXAMPLE_KEYS, split, path)
        if not images and split == "test" and (images := find_array(names, EXAMPLE_KEYS, "validation", path)):
            notes.append(f"no test split, so the validation split was read: {images}")
        if names and not images and split == "test":
            raise MissingSplitError(f'{path} has no split "test": leave out split=test')
        images = images or find_array(names, EXAMPLE_KEYS, None, path) or (names[0] if len(names) == 1 else "")
        if not images:
            raise UserError(f"{path} has no array named x_train or train_images or x or images or data, {available}")
    elif split == "test" and parse_array_name(images)[1] != "test":
        tests = {parse_array_name(name): name for name in reversed(names)}
        for name in filter(None, (images, labels)):
            stem, part = parse_array_name(name)
            if not part or (stem, "test") not in tests:
                raise MissingSplitError(f'{path}:{name} has no split "test": leave out split=test')
        images, labels = (name and tests[parse_array_name(name)[0], "test"] for name in (images, labels))
    stem, image_split = parse_array_name(images)
    if not comma and stem in EXAMPLE_KEYS:
        labels = find_array(names, LABEL_KEYS, image_split, path, images)
    rest = {name: parse_array_name(name) for name in names if name not in (images, labels)}
    splits = (None, image_split, "validation")
    if unused := [name for name, (stem, part) in rest.items() if stem not in CLASS_KEYS and part in splits]:
        notes.append(f"arrays left out: {', '.join(unused)}; choose others as {path.name}:IMAGES,LABELS")
    return images, labels, notes


def find_array(names: Sequence[str], stems: Sequence[str], split: str | None, path: Path, images: str = "") -> str:
    """The array of a split with one of these stems, or "": examples, or labels of `images`; UserError for several."""
    matches = [name for name in names if parse_array_name(name) in {(stem, split) for stem in stems}]
    if len(matches) > 1:
        what = f"may be {'the labels' if images else 'the examples'}, {' and '.join(matches)}"
        raise UserError(f"{path} has several arrays that {what}: choose as {path.name}:{images or 'IMAGES'},LABELS")
    return matches[0] if matches else ""


@contextmanager
def open_archive(path: Path) -> Iterator[tuple[Callable[[str], np.ndarray], list[str]]]:
    """What reads an array of an archive, and the names of these."""
    with wrap_read_errors(path), ZipFile(path) as archive:
        yield (
            lambda name: read_member(archive, name, path),
            [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")],
        )


@contextmanager
def wrap_read_errors(path: Path, damage: str = "damaged or no NumPy file") -> Iterator[None]:
    """UserError for whatever reading a damaged file raises; NumPy's warning of files of Python 2 is not shown."""
    try:
        with catch_warnings(action="ignore", category=UserWarning):
            yield
    except (UserError, FileNotFoundError, PermissionError):
        raise
    except MemoryError as error:
        what = f"{path} would take more memory than is free, or is {damage}"
        raise TooLargeError(f"{what}: give fewer examples") from error
    except Exception as error:  # zipfile alone raises ten kinds
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{path} is {damage}: {why}") from error


def read_member(archive: ZipFile, name: str, path: Path) -> np.ndarray:
    """An array of an archive; ValueError where it is longer than its compressed bytes can be."""
    info = archive.getinfo(f"{name}.npy")
    if info.file_size > MAX_DEFLATE_RATIO * (info.compress_size + 1):
        raise ValueError(f"{name} claims {info.file_size} bytes of {info.compress_size}")
    with archive.open(info) as file:
        return read_npy(file, info.file_size, f"{path}, {name},")


def read_npy(file: IO[bytes] | BufferedIOBase, size: int, name: str) -> np.ndarray:
    """The array in a file of so many bytes; ValueError where it is damaged, UserError for Python objects."""
    version = npy_format.read_magic(file)
    if version > (3, 0):
        what = f"{name} is of version {version[0]}.{version[1]} of NumPy's format, newer than 3.0"
        raise UserError(f"{what}: save it by numpy.save as numbers of a common type")
    start, width = file.tell(), 2 if version == (1, 0) else 4
    if (length := int.from_bytes(file.read(width), "little")) > size:  # NumPy would make room for all of it
        raise ValueError(f"its header claims {length} bytes of {size}")
    file.seek(start)
    read_header = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
    try:
        shape, _, dtype = read_header(file, MAX_HEADER_BYTES)
    except MemoryError as error:  # of Python's parser, not of so few bytes
        raise ValueError("its header is nested too deep") from error
    if dtype.hasobject:
        raise UserError(f"{name} holds Python objects, which Ganvas never unpickles: save plain number arrays")
    n_bytes, available = prod(shape) * dtype.itemsize, size - file.tell()
    if n_bytes > available or min(shape, default=0) < 0:
        raise ValueError(f"it says {'x'.join(map(str, shape))} of {dtype}, {n_bytes} bytes, but holds {available}")
    check_memory(n_bytes, name, "give fewer examples, or smaller ones")
    file.seek(0)
    return npy_format.read_array(file, allow_pickle=False, max_header_size=MAX_HEADER_BYTES)


def is_idx(path: Path) -> bool:
    """Whether a path is an IDX file, or a folder with one in it."""
    if path.is_dir():
        return any(find_idx(path, split) for split in ("train", "test"))
    return "ubyte" in path.name or path.suffix.lower() == ".idx"


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
    plain = (
        (path.stem if path.suffix.lower() == ".gz" else path.name).replace("images", "labels").replace("idx3", "idx1")
    )
    candidates = [path.with_name(plain + suffix) for suffix in ("", ".gz", ".GZ")]
    labels = next((read_idx(p) for p in candidates if p.is_file() and not p.samefile(path)), None)
    name = path.resolve().parent.name if IDX_PATTERN.search(path.name) else dataset_name(path)
    return from_array(images, labels, name=name, range=range, reuse_memory=True)


def find_idx(folder: Path, split: str) -> Path | None:
    """The IDX file with a split's images in a folder, if it is there."""
    prefixes = ("train",) if split == "train" else ("t10k", "test")
    for path in sorted(folder.glob("*-images*ubyte*")):
        match = None if is_ignored(path.name) else IDX_PATTERN.search(path.name)
        if match and match["split"] in prefixes and match["axes"] == "3" and path.is_file():
            return path
    return None


def read_idx(path: Path) -> np.ndarray:
    """An IDX file: two zero bytes, a type (8: unsigned bytes), the number of axes, their sizes, the values."""
    is_gzip = path.suffix.lower() == ".gz"
    with wrap_read_errors(path, "damaged"), gzip.open(path) if is_gzip else path.open("rb") as file:
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
    return values.reshape(shape)
