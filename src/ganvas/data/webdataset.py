"""WebDataset's shards: plain tar files in which NAME.png (.jpg, .webp, ...) is an image, and NAME.cls its class.

NAME.json may say the class too, as "label" or "class".  A tar keeps its members in plain sight, so an index of offsets
lets any example be read alone.  It is made once, from the headers, and kept in the cache.
(The format: github.com/webdataset/webdataset; a name ends at the first dot after its folders.)
"""

import json
import tarfile
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b, sha256
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np

from ..errors import UserError
from ..io.atomic import atomic_write
from ..io.download import cache_dir
from .label_tables import parse_class
from .listing import IMAGE_SUFFIXES, TarMember, is_ignored, pluralize
from .options import Progress, no_progress
from .shards import NO_LABEL, Shards, check_shards, merge_labels, shard_error
from .tars import BLOCK, tar_members

CLASS_SUFFIX, JSON_SUFFIX, JSON_KEYS = "cls", "json", ("label", "class")
MAX_LABEL_BYTES = 2**20  # bytes of a label, or of a JSON with one, at most
INDEX_VERSION = 3
WINDOW = 16_384
"""examples that are shuffled together; no more of a tar are in memory than a few batches"""


@dataclass(frozen=True)
class Member(TarMember):
    """An image in a shard."""

    @property
    def name(self) -> str:
        """What its header, the block before it, calls it."""
        with suppress(OSError, tarfile.TarError), self.path.open("rb") as file:
            file.seek(self.offset - BLOCK)
            return tarfile.TarInfo.frombuf(file.read(BLOCK), "utf-8", "surrogateescape").name
        return f"what begins at byte {self.offset}"

    def __str__(self) -> str:
        return f"{self.path.name}, {self.name}"


class TarIndex(NamedTuple):
    """Where the images of a tar are, and their labels."""

    offsets: np.ndarray  # int64
    sizes: np.ndarray  # int64, bytes
    hashes: np.ndarray  # uint64, of their names
    labels: np.ndarray  # int32, which of `texts`, or NO_LABEL
    texts: np.ndarray  # of str, the labels in the tar
    other_suffixes: np.ndarray  # of str, the suffixes of members that are neither image nor label


@dataclass(frozen=True, kw_only=True, eq=False)
class TarShards(Shards):
    """The images in tar files."""

    offsets: np.ndarray  # int64, of every example
    bytes: np.ndarray  # int64, of every example

    def image(self, i: int) -> Member:
        file, offset = self.file_of(i), int(self.offsets[i])
        return Member((file.name, str(offset)), str(file), offset=offset, size=int(self.bytes[i]))

    def describe(self, i: int) -> str:
        return str(self.image(i))


def open_tars(files: Sequence[Path], training: Sequence[Path] = (), progress: Progress = no_progress) -> TarShards:
    """The shards in these files; their classes are first those of the `training` shards.

    `progress` is called with the examples of the shards that have an index, and how many all may have.
    Raises UserError where one is damaged or cut off, and where some examples have a label and others none.
    """
    indexes, n = list[TarIndex](), 0
    for file in files:
        indexes.append(index := read_index(file))
        n += len(index.offsets)
        progress(n, n * len(files) // len(indexes))
    parts, training_parts = (
        [(index.labels, index.texts.tolist()) for index in part] for part in (indexes, map(read_index, training))
    )
    labels, classes, notes = merge_labels(parts, training_parts)
    digest, others, file_bytes = sha256(), Counter[str](), tuple(file.stat().st_size for file in files)
    for file, size, index in zip(files, file_bytes, indexes, strict=True):
        digest.update(str((file.name, size, index.texts.tolist())).encode())
        for part in (index.offsets, index.sizes, index.labels):
            digest.update(np.ascontiguousarray(part).data)
        others.update(index.other_suffixes.tolist())
    what = ", ".join(f"{n} {suffix}" for suffix, n in others.most_common(10))
    notes += [f"{pluralize(others.total(), 'member')} left out: {what}"] if others else []
    sizes = np.concatenate([index.sizes for index in indexes])
    shards = TarShards(
        files=tuple(files), file_bytes=file_bytes,
        counts=np.array([len(index.offsets) for index in indexes]), file_numbers=np.arange(len(files)),
        hashes=np.concatenate([index.hashes for index in indexes]), labels=labels, classes=classes,
        digest=digest.hexdigest(), notes=tuple(notes), window=WINDOW,
        offsets=np.concatenate([index.offsets for index in indexes]),
        bytes=sizes, mean_bytes=int(sizes.mean()) if len(sizes) else 0,
    )  # fmt: skip
    none = f"holds no images NAME.png, .jpg or .webp{': ' * bool(what)}{what}"
    none += "; give arrays as one file, .npy or .npz" * (".npy" in others)
    check_shards(shards, none, "give every NAME a .cls, or none")
    return shards


def read_index(path: Path) -> TarIndex:
    """The index of a tar: from the cache where the file is as it was, or else made and, where possible, kept."""
    try:
        status = path.stat()
        stamp = np.array([INDEX_VERSION, status.st_size, status.st_mtime_ns])
        name = blake2b(str(path.resolve()).encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
        cache_file = cache_dir() / "shards" / f"{name}.npz"
        try:
            with cache_file.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                if np.array_equal(arrays["stamp"], stamp):
                    return TarIndex(*(arrays[field] for field in TarIndex._fields))
        except (OSError, ValueError, KeyError, EOFError, BadZipFile):  # none, or a damaged one
            pass
        with path.open("rb") as file:
            index = make_index(path, file)
    except OSError as error:
        raise shard_error(path, error) from error
    try:
        with atomic_write(cache_file) as temporary, temporary.open("wb") as output:
            np.savez(output, stamp=stamp, **index._asdict())
    except (OSError, UserError):  # made anew the next time
        pass
    return index


def make_index(path: Path, file: BufferedReader) -> TarIndex:
    """The index of an open tar; UserError where it is damaged or cut off."""
    images, labels, others = dict[str, tuple[int, int]](), dict[str, str](), Counter[str]()
    for tar, member in tar_members(path, file):
        add_member(path, tar, member, images, labels, others)
    if n_alone := len(labels.keys() - images.keys()):
        others["label without image"] += n_alone
    labels = {key: labels[key] for key in images if key in labels}
    texts = sorted(set(labels.values()))
    number = {text: i for i, text in enumerate(texts)}
    hashes = [
        blake2b(f"{path.name}/{key}".encode("utf-8", "surrogateescape"), digest_size=8).digest() for key in images
    ]
    return TarIndex(
        np.array([offset for offset, _ in images.values()], np.int64),
        np.array([n for _, n in images.values()], np.int64),
        np.frombuffer(b"".join(hashes), ">u8").astype(np.uint64),
        np.array([number[labels[key]] if key in labels else NO_LABEL for key in images], np.int32),
        np.array(texts, np.str_), np.array(list(others.elements()), np.str_),
    )  # fmt: skip


def add_member(
    path: Path, tar: tarfile.TarFile, member: tarfile.TarInfo,
    images: dict[str, tuple[int, int]], labels: dict[str, str], others: Counter[str],
) -> None:  # fmt: skip
    """Note what a member is: the image or the label of an example, or nothing of the kind."""
    folder, _, name = member.name.rpartition("/")
    if member.isdir():
        return
    stem, _, suffix = name.partition(".")
    key, suffix = f"{folder}/{stem}", suffix.lower()
    parts = Path(member.name).parts
    if ".." in parts:
        others["under ../"] += 1
    elif any(map(is_ignored, parts)):
        return
    elif not member.isreg() or member.issparse():
        others["link or the like"] += 1
    elif f".{suffix}" in IMAGE_SUFFIXES:
        if key in images:
            raise UserError(f"{path}, {member.name} is the second image of that name: give each a name of its own")
        images[key] = member.offset_data, member.size
    elif suffix in (CLASS_SUFFIX, JSON_SUFFIX):
        content = tar.extractfile(member)
        try:
            label = parse_label(b"" if content is None else content.read(MAX_LABEL_BYTES + 1), suffix)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}, {member.name} is no label: {error}") from error
        if label is not None and (suffix == CLASS_SUFFIX or key not in labels):
            labels[key] = label
    else:
        others[f".{suffix}" if suffix else "without suffix"] += 1


def parse_label(content: bytes, suffix: str) -> str | None:
    """The class that a .cls or .json says, if any; ValueError where it is damaged, or says no single class."""
    if len(content) > MAX_LABEL_BYTES:
        raise ValueError(f"it has more than {MAX_LABEL_BYTES:,} bytes")
    text = content.decode("utf-8-sig").strip()
    if suffix == CLASS_SUFFIX:
        return str(int(text)) if text.removeprefix("-").isdecimal() else text or None
    values = json.loads(text)
    labels = [values.get(key) for key in JSON_KEYS] if isinstance(values, dict) else []
    return next(filter(None, map(parse_class, labels)), None)
