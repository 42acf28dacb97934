"""CIFAR-10 and CIFAR-100 in their binary versions: records of labels and of 32 x 32 pixels, channel by channel.

The layouts: www.cs.toronto.edu/~kriz/cifar.html.  The Python versions are pickles, which are never loaded.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import UserError
from .arrays import from_array
from .dataset import Dataset, split_dataset
from .layout import dataset_name
from .listing import READ_ERRORS, File, Listing, join_names
from .options import DataOptions, number_options

SHAPE, PIXEL_BYTES = (3, 32, 32), 3072
MAX_RECORDS, MAX_TEXT_BYTES = 50_000, 2**16  # most records of a file, and bytes of the names of classes
BINARY = "cifar-10-binary.tar.gz"
OTHER_VERSIONS = ({"data_batch_1"}, {"test_batch"}, {"train", "test", "meta"}, {"data_batch_1.mat"})
"""files of the Python and MATLAB versions"""


@dataclass(frozen=True)
class Version:
    """The files of a binary version, and its records: labels, of which the last is read, before the pixels."""

    training: tuple[str, ...]
    test: str
    class_names: str  # the file with a class a line
    label_bytes: int
    classes: int


CIFAR10 = Version(tuple(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin", "batches.meta.txt", 1, 10)
CIFAR100 = Version(("train.bin",), "test.bin", "fine_label_names.txt", 2, 100)


def is_cifar(listing: Listing) -> bool:
    """Whether files without an image are CIFAR's, in whatever version; UserError for those that are no binary one."""
    names = {file.name for file in listing.others}
    if listing.images or find_version(names):
        return not listing.images
    if any(files <= names for files in OTHER_VERSIONS):
        what = "CIFAR in its Python or MATLAB version, whose pickles Ganvas never loads"
        raise UserError(f"{listing.root} holds {what}: take the binary version, such as {BINARY}")
    return False


def find_version(names: set[str]) -> Version | None:
    """The version of which files with these names are; `train.bin` alone may be anything."""
    if names & {*CIFAR10.training, CIFAR10.test}:
        return CIFAR10
    return CIFAR100 if CIFAR100.class_names in names and names & {*CIFAR100.training, CIFAR100.test} else None


def load_cifar(listing: Listing, options: DataOptions) -> Dataset:
    """A split of CIFAR's binary files in a folder or an archive, with fine labels; the test file is the test split."""
    root, folders = listing.root, dict[tuple[str, ...], dict[str, File]]()
    for file in listing.others:
        folders.setdefault(file.parts[:-1], {})[file.name] = file
    folders = {folder: files for folder, files in folders.items() if find_version(set(files))}
    if len(folders) > 1:
        where = join_names("/".join(folder) or "its root" for folder in folders)
        raise UserError(f"{root} holds CIFAR several times, in {where}: give one of them")
    (files,) = folders.values()
    version = find_version(set(files))
    assert version
    has_test_split = version.test in files
    names = [version.test] if has_test_split and options.split == "test" else version.training
    present = [files[name] for name in names if name in files]
    if not present:
        raise UserError(f"{root} has a test part only, {version.test}: ask for split=test")
    missing = [name for name in names if name not in files]
    notes = [f"files missing: {join_names(missing)}"] if missing else []
    x, labels = read_records(present, version, listing)
    classes = read_classes(files[version.class_names], version, listing) if version.class_names in files else []
    options_of_numbers = number_options(options)
    dataset = from_array(x, labels, classes=classes, name=dataset_name(root), channels_last=False, **options_of_numbers)
    return split_dataset(dataset.with_notes(notes), options, has_test_split=has_test_split)


def read_records(files: Sequence[File], version: Version, listing: Listing) -> tuple[np.ndarray, np.ndarray]:
    """The images n x 3 x 32 x 32 and the labels of files; UserError where one is damaged."""
    record, parts = version.label_bytes + PIXEL_BYTES, []
    for file in files:
        raw = read_file(file, MAX_RECORDS * record, listing)
        if not raw or len(raw) % record:
            what = f"its {len(raw):,} bytes are no records of {record:,}, CIFAR's {version.classes} classes have"
            raise UserError(f"{listing.root}: {file} is damaged, for {what}")
        parts.append(np.frombuffer(raw, np.uint8).reshape(-1, record))
        if (label := int(parts[-1][:, version.label_bytes - 1].max())) >= version.classes:
            raise UserError(f"{listing.root}: {file} is damaged: label {label} of {version.classes} classes")
    records = np.concatenate(parts)
    x = records[:, version.label_bytes :].reshape(-1, *SHAPE)
    return x, records[:, version.label_bytes - 1]


def read_classes(file: File, version: Version, listing: Listing) -> list[str]:
    """The names of the classes, a line each; UserError where they are not as many as there are classes."""
    names = read_file(file, MAX_TEXT_BYTES, listing).decode("utf-8", "replace").split()
    if len(names) != version.classes:
        raise UserError(f"{listing.root}: {file} names {len(names)} classes, not {version.classes}: get it anew")
    return names


def read_file(file: File, max_bytes: int, listing: Listing) -> bytes:
    """The bytes of a file; UserError where it cannot be read, or has more."""
    try:
        content = file.read(max_bytes + 1)
    except READ_ERRORS as error:
        raise UserError(f"{listing.root}: {file} cannot be read: {error}") from error
    if len(content) > max_bytes:
        raise UserError(f"{listing.root}: {file} has more than the {max_bytes:,} bytes of CIFAR's files")
    return content
