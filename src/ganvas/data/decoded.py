"""Decoded images, kept so that they are decoded once: entries in `$GANVAS_CACHE/decoded`, least recently used go first.

An entry is a safetensors file: `x` and `labels` of a dataset, and `facts`, JSON of all else that it knows.  It is
mapped into memory: data may be larger than that, and processes share what they read.  Its name is a hash of what was
decoded and how; its header has one of all that is in it, which is checked whenever it is opened: what is damaged is
made anew.  Whoever has an entry open holds a shared lock, and nobody removes it then.
"""

import json
import mmap
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from hashlib import blake2b, sha256
from importlib import import_module
from itertools import product
from math import prod
from pathlib import Path
from shutil import disk_usage
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np
import torch
from PIL import features
from torch import Tensor

from ..errors import UserError, error_reason
from ..io.atomic import replace_file
from ..io.download import cache_dir
from ..io.lock import lock_file, share_file
from .dataset import Dataset
from .depth import SCALE_WORDS, ScaleName
from .listing import register_heic
from .memory import TooLargeError, format_bytes
from .options import DataOptions
from .quantization import AUTO

FORMAT = 3  # one more whenever files become other pixels or other notes than before
LIMIT_VARIABLE, DEFAULT_LIMIT = "GANVAS_CACHE_LIMIT", 20.0  # GiB that all entries have together, at most
MIN_IMAGES, MIN_BYTES = 2000, 2**24
"""images, or bytes of their files, from which on they are kept: below, decoding takes less than half a second"""
NOT_KEPT = "decoded images are not kept, so each start decodes them anew"
HEADER_BYTES, BUFFER_BYTES, ALIGNMENT = 1024, 2**20, 8
USER = getattr(os, "getuid", int)()  # entries are for their user's eyes only, also in a folder that users share
SUFFIX, PARTS, STALE_SECONDS = ".safetensors", ".*.tmp", 60  # after which what nobody has locked is left over
DECODERS = ("jpg", "libjpeg_turbo", "jpg_2000", "libtiff", "webp", "avif")  # as Pillow calls them
DTYPES = {"U8": np.uint8, "F32": np.float32, "F64": np.float64}
NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)
"""Linux: pages count only once they are written to, so more can be mapped than there is memory; named by Python 3.13"""
FACTS = ("classes", "name", "notes", "range", "source_dtype", "scale", "alpha", "files")
Read = Callable[["Callable[[int], ExampleFile] | None"], Dataset]
"""reads a dataset, with its images in a file that such a function opens for so many bytes, or in memory"""


class NotKeptError(Exception):
    """Why decoded images are not kept."""


@dataclass(frozen=True)
class Entry:
    """A file of decoded images, or one that is being written."""

    path: Path
    size: int
    used: float  # seconds since 1970

    def remove(self) -> bool:
        """Remove it, unless a process has it open."""
        with suppress(OSError):
            if os.name != "nt":  # where an open file cannot be removed in any case
                with self.path.open("rb") as file:
                    lock_file(file.fileno())
                    self.path.unlink()
            else:
                self.path.unlink()
            return True
        return False


def folder() -> Path:
    """Where entries are."""
    return cache_dir() / "decoded"


def limit() -> int:
    """Bytes that all entries may have together; UserError where the variable is no number."""
    text = os.environ.get(LIMIT_VARIABLE, "").strip() or str(DEFAULT_LIMIT)
    try:
        return int(max(0.0, float(text)) * 2**30)
    except (ValueError, OverflowError) as error:
        raise UserError(f"{LIMIT_VARIABLE}={text} is no number of GiB: give e.g. 50, or 0 to keep nothing") from error


def limit_text() -> str:
    return f"{LIMIT_VARIABLE} is {limit() / 2**30:g} GiB"


def entries(pattern: str = f"[!.]*{SUFFIX}") -> list[Entry]:
    """The entries, the least recently used first."""
    result = list[Entry]()
    for path in folder().glob(pattern):
        with suppress(OSError):
            status = path.stat()
            result.append(Entry(path, status.st_size, status.st_mtime))
    return sorted(result, key=lambda entry: entry.used)


def make_room(size: int) -> list[str]:
    """Remove what was not used for longest until so many bytes may be added; notes.  NotKeptError where they may not.

    What is left over of processes that were killed goes in any case.
    """
    most, parts = limit(), entries(PARTS)
    if size > most:
        raise NotKeptError(f"they take {format_bytes(size)}, and {limit_text()}")
    parts = [part for part in parts if part.used > time.time() - STALE_SECONDS or not part.remove()]
    whole, removals = entries(), list[Entry]()
    total = size + sum(entry.size for entry in (*parts, *whole))
    for entry in whole:
        if total > most and entry.remove():
            removals.append(entry)
            total -= entry.size
    if total > most:
        raise NotKeptError(f"entries that are in use fill the cache, and {limit_text()}")
    if size > (free := disk_usage(folder()).free):
        raise NotKeptError(f"they take {format_bytes(size)}, and the disk of {folder()} has {format_bytes(free)} free")
    if not removals:
        return []
    what = f"{format_bytes(sum(entry.size for entry in removals))} of decoded images, least recently used, were removed"
    return [f"{what} from {folder()}: {limit_text()}"]


class ExampleFile:
    """Examples of one shape that are written to a new file one after the other, then mapped; raises NotKeptError."""

    def __init__(self, size: int, notes: list[str]) -> None:
        self.shape: tuple[int, ...] = ()
        self.dtype: np.dtype[Any] = np.dtype(np.uint8)
        self.n: int = 0
        self.is_as_read: bool = False  # whether all images have the channels that they had in their files
        self.is_complete: bool = True  # whether another start would not read more of them
        with refusals():
            folder().mkdir(parents=True, exist_ok=True)
            notes += make_room(size)
            where: dict[str, Any] = {"dir": folder(), "prefix": ".", "suffix": ".tmp", "delete": False}
            self.file: Any = NamedTemporaryFile("wb", BUFFER_BYTES, **where)  # noqa: SIM115
            self.path: Path = Path(self.file.name)
            share_file(self.file.fileno())
            self.file.write(bytes(HEADER_BYTES))
        self.most: int = limit()

    def write(self, x: np.ndarray) -> None:
        """Add examples."""
        self.shape, self.dtype, self.n = x.shape[1:], x.dtype, self.n + len(x)
        if self.n * x[:1].nbytes > self.most:
            raise NotKeptError(f"they take {format_bytes(self.n * x[:1].nbytes)} or more, and {limit_text()}")
        try:  # a context would take longer than to write a small image
            self.file.write(np.ascontiguousarray(x).data)
        except OSError as error:
            raise refusal(error) from error

    def map(self) -> Tensor:
        """All that was written."""
        with refusals():
            self.file.flush()
            return torch.from_numpy(map_examples(map_file(self.path), (self.n, *self.shape), self.dtype))

    def finish(self, dataset: Dataset, facts: dict[str, Any], path: Path) -> str:
        """Write all else that the entry of a dataset has, which is to be at this path; its fingerprint."""
        content = json.dumps({name: getattr(dataset, name) for name in FACTS} | facts).encode()
        content += b" " * (-(HEADER_BYTES + dataset.x.nbytes + len(content)) % ALIGNMENT)
        head = make_header(dataset.x, len(content), dataset.labels, content_hash(dataset.fingerprint(), content, path))
        with refusals():
            self.file.write(content)
            if dataset.labels is not None:
                self.file.write(dataset.labels.numpy().data)
            self.file.seek(0)
            self.file.write(head)
            self.file.close()
        return dataset.fingerprint()

    def rename(self, path: Path) -> None:
        """Make it the entry; nothing may map it any more, or Windows refuses."""
        with refusals():
            replace_file(self.path, path)

    def discard(self) -> None:
        with suppress(OSError):
            self.file.close()
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


@contextmanager
def refusals() -> Iterator[None]:
    """NotKeptError in place of the system's errors."""
    try:
        yield
    except OSError as error:
        raise refusal(error) from error


def refusal(error: OSError) -> NotKeptError:
    return NotKeptError(f"{folder()} cannot be written to ({error_reason(error)})")


def make_header(x: Tensor, n_facts: int, labels: Tensor | None, digest: str) -> bytes:
    """The beginning of an entry: the length of what follows, and JSON, padded by spaces."""
    name = next(name for name, dtype in DTYPES.items() if torch.from_numpy(np.empty(0, dtype)).dtype == x.dtype)
    parts = [("x", name, list(x.shape), x.nbytes), ("facts", "U8", [n_facts], n_facts)]
    parts += [] if labels is None else [("labels", "I64", [len(labels)], labels.nbytes)]
    header, start = dict[str, Any](__metadata__={"sha256": digest}), 0
    for key, dtype, shape, size in parts:
        header[key] = {"dtype": dtype, "shape": shape, "data_offsets": [start, start + size]}
        start += size
    length = HEADER_BYTES - 8
    return length.to_bytes(8, "little") + json.dumps(header).encode().ljust(length)


def content_hash(fingerprint: str, facts: bytes, path: Path) -> str:
    """SHA-256 of all that an entry says, and of its name."""
    return sha256(f"{path.name} {fingerprint} ".encode() + facts).hexdigest()


def map_file(path: Path) -> np.ndarray:
    """The bytes of a file, mapped, with a shared lock as long as they are there; what is written stays in memory."""
    with path.open("rb") as file:
        share_file(file.fileno())  # of what is open, of which the mapping has a copy
        if os.name == "nt":
            return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY), np.uint8)
        flags, access = mmap.MAP_PRIVATE | NORESERVE, mmap.PROT_READ | mmap.PROT_WRITE
        return np.frombuffer(mmap.mmap(file.fileno(), 0, flags=flags, prot=access), np.uint8)


def map_examples(content: np.ndarray, shape: Sequence[int], dtype: Any) -> np.ndarray:
    n = prod(shape) * np.dtype(dtype).itemsize
    examples: np.ndarray = content[HEADER_BYTES : HEADER_BYTES + n].view(dtype).reshape(shape)
    return examples


def read_entry(path: Path) -> tuple[Dataset, dict[str, Any], bytes, bytes]:
    """What an entry says: a dataset, facts, the text that these are, and its header, of which nothing is checked.

    ValueError or the like where it is damaged, OSError where there is none.
    """
    content = map_file(path)
    header = json.loads(bytes(content[8:HEADER_BYTES]))
    shape, n_facts = list(map(int, header["x"]["shape"])), int(header["facts"]["shape"][0])
    if len(shape) not in (2, 4) or min(*shape, n_facts) < 0:
        raise ValueError("it holds neither images nor rows")
    dtype = DTYPES[header["x"]["dtype"]]
    end = HEADER_BYTES + prod(shape) * np.dtype(dtype).itemsize
    labels = content[end + n_facts :] if "labels" in header else None
    if len(content) != end + n_facts + 8 * shape[0] * (labels is not None):
        raise ValueError("it is cut off")
    text = bytes(content[end : end + n_facts])
    facts = json.loads(text)
    values: dict[str, Any] = {name: tuple(v) if isinstance(v := facts.pop(name), list) else v for name in FACTS}
    y = None if labels is None else torch.from_numpy(labels.view(np.int64).copy())
    x = torch.from_numpy(map_examples(content, shape, dtype))
    return Dataset(x=x, labels=y, **values), facts, text, bytes(content[:HEADER_BYTES])


def open_entry(path: Path, fingerprint: str | None = None) -> tuple[Dataset, dict[str, Any]]:
    """The dataset of an entry and its facts; raises as `read_entry`.  All is read, unless its fingerprint is known."""
    dataset, facts, text, header = read_entry(path)
    digest = content_hash(fingerprint or dataset.fingerprint(), text, path)
    if header != make_header(dataset.x, len(text), dataset.labels, digest):
        raise ValueError("its content has another hash")
    return dataset, facts


def read_back(path: Path, fingerprint: str) -> Dataset:
    """The dataset of an entry that was just written; NotKeptError where that has failed, or another has removed it."""
    try:
        return open_entry(path, fingerprint)[0]  # which is of what was mapped from the file already
    except (OSError, ValueError) as error:
        raise NotKeptError(f"{path} cannot be read back ({error})") from error


def reader_versions() -> list[Any]:
    """Versions of all that makes pixels of files, None of what is not installed."""
    heif = import_module("pillow_heif").__version__ if register_heic() else None
    return [FORMAT, features.version("pil"), torch.__version__, np.__version__, heif, *map(features.version, DECODERS)]


@dataclass
class Decoded:
    """The entry of images from files, whether it is there or not."""

    source: str
    stamp: str  # of the files: what, where, how large, and when they changed
    options: DataOptions
    files: list[ExampleFile] = field(default_factory=list)

    def path(self, options: DataOptions) -> Path:
        """Where the entry for these options is."""
        values = asdict(options) | dict.fromkeys(("classes", "stream", "data_dir", "scale"))  # which change no pixel
        values |= {"limit": options.file_limit, "size": options.image_size, "crop": options.crop or "center"}
        values["bits"] = 8 if options.bits == 8 else "auto"  # as full, for files
        values["holdout"] = "auto" if options.holdout is None else options.holdout
        text = json.dumps([reader_versions(), USER, self.source, self.stamp, values])
        return folder() / f"{blake2b(text.encode(), digest_size=16).hexdigest()}{SUFFIX}"

    def find(self) -> Dataset | None:
        """The dataset as it was decoded before, if it was; also with options that make no difference to it.

        A run remembers the channels, the bits and the range that it came to, where nobody had said any.
        """
        if not limit():
            return None
        asked, pairs = self.options, [("channels", None), ("bits", "auto"), ("range", self.options.range and AUTO)]
        for values in product(*(dict.fromkeys((getattr(asked, name), default)) for name, default in pairs)):
            options = replace(asked, **dict(zip(("channels", "bits", "range"), values, strict=True)))
            path = self.path(options)
            try:
                dataset, facts = open_entry(path)
            except OSError:
                continue
            except Exception:  # damaged in any way: it is made anew
                with suppress(OSError):
                    path.unlink()
                continue
            if (
                (options.channels == asked.channels or facts["channels"] == asked.channels)
                and (asked.bits != 8 or options.bits == 8 or not dataset.is_deep)
                and (options.range == asked.range or dataset.range == asked.bounds)
            ):
                with suppress(OSError):
                    os.utime(path)
                return with_scale(dataset, asked.scale)
        return None

    def keep(self, read: Read, n: int, n_bytes: int) -> Dataset:
        """The dataset of n files of so many bytes, read and kept; if it cannot be, read again without, with a note."""
        notes, path = list[str](), self.path(self.options)

        def open_file(size: int) -> ExampleFile:
            self.files.append(ExampleFile(size, notes))
            return self.files[-1]

        if n < MIN_IMAGES and n_bytes < MIN_BYTES:
            return read(None)
        try:
            if not limit():
                raise NotKeptError(limit_text())
            dataset = read(open_file)
            if not self.files[-1].is_complete:
                return dataset.with_notes([*notes, f"{NOT_KEPT}: some could not be read this time"])
            facts = {"source": self.source, "channels": dataset.shape[0] if self.files[-1].is_as_read else None}
            fingerprint = self.files[-1].finish(dataset, facts, path)
            del dataset  # and with it what maps the file
            self.files[-1].rename(path)
            with suppress(NotKeptError):  # of tiles nobody knew how many there would be
                notes += make_room(0)
            return read_back(path, fingerprint).with_notes(notes)
        except NotKeptError as error:
            try:
                return read(None).with_notes([*notes, f"{NOT_KEPT}: {error}"] if limit() else [])
            except TooLargeError as too_large:
                raise TooLargeError(f"{too_large}; nor can the cache hold them: {error}") from too_large
        finally:
            for file in self.files:
                file.discard()


def with_scale(dataset: Dataset, scale: ScaleName) -> Dataset:
    """The dataset, which models are to see in another way."""
    if dataset.scale == scale:
        return dataset
    old, new = SCALE_WORDS[dataset.scale], SCALE_WORDS[scale]
    return replace(dataset, scale=scale, notes=tuple(note.replace(old, new) for note in dataset.notes))


def stamp(files: Any) -> str:
    """A hash of files, of each its name, its size, and when it was changed: tuples and lists of text and numbers."""
    return blake2b(repr(files).encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


def clear() -> list[Entry]:
    """Remove all entries, and return them; those stay that are in use, or another user's."""
    return [entry for entry in (*entries(PARTS), *entries()) if entry.remove()]


def describe(entry: Entry) -> dict[str, Any]:
    """A line of the list of entries."""
    n, shape, source = 0, list[int](), "being written"
    try:
        if entry.path.suffix == SUFFIX:
            dataset, facts, _, _ = read_entry(entry.path)
            n, shape, source = len(dataset), list(dataset.shape), facts["source"]
    except OSError:
        source = "not readable"
    except Exception:  # in any way
        source = "damaged"
    row = {"used": entry.used, "bytes": entry.size, "examples": n, "shape": shape, "source": source}
    return row | {"file": entry.path.name}
