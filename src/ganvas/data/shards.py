"""Data that may be larger than memory: shards, with an index that says where each example is.

What fits into half of the memory that is free is read whole and is a `Dataset` like any other.  Only what does not is a
`StreamedDataset`: its examples are read as they are needed (`shard_stream`), and whatever needs a look at all of them,
such as the deviations of columns, previews and the measurement of samples, has a sample of them in memory.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from hashlib import sha256
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError, error_reason
from ..model import Shape
from ..randomness import make_generator
from .dataset import Dataset, convert_channels, limit_indices, split_indices
from .decoded import Decoded, stamp
from .folder import MixedSizesError, image_notes, majority_channels
from .hub import is_hub_name
from .images import OpenFile, Page, ReadResult, read_images, read_page
from .label_tables import MAX_CLASS_SHARE, MIN_LABELS, sort_classes
from .listing import File, file_stamp, join_names, pluralize
from .memory import MAX_MEMORY_SHARE, available_memory, format_bytes
from .options import DataOptions, Progress, no_progress
from .quantization import AUTO, Bounds
from .shard_files import ShardFiles

NO_LABEL = -1
FEW_EXAMPLES = 16  # examples from which the bytes of all are estimated
MAX_READ_BYTES = 2**28  # bytes of a row group, at most, in a set that is streamed
SAMPLE_EXAMPLES, SAMPLE_BYTES = 10_000, 2**30
"""examples of a streamed set that are in memory, at most, and their bytes"""


@dataclass(frozen=True, kw_only=True, eq=False)
class Shards(ABC):
    """An index of examples in files, shard by shard: a shard is a tar, or a row group of a Parquet file."""

    files: tuple[Path, ...]
    file_bytes: tuple[int, ...]  # sizes of the files when the index was made
    counts: np.ndarray  # examples of each shard
    file_numbers: np.ndarray  # which of the files each shard is in
    hashes: np.ndarray  # uint64, of the name of each example
    labels: np.ndarray | None
    classes: tuple[str, ...]
    digest: str  # of all that the index says
    notes: tuple[str, ...] = ()
    window: int  # examples that are shuffled together
    mean_bytes: int  # of an example, as it is stored
    read_bytes: int = 0  # bytes that are read at once for one example, where they are more than its own
    has_images: bool = True
    max_sample_shards: int | None = None  # from how many shards a sample is taken, at most

    def __len__(self) -> int:
        return int(self.counts.sum())

    @cached_property
    def ends(self) -> np.ndarray:
        """The number of the first example after each shard."""
        return self.counts.cumsum()

    def shard_of(self, i: Any) -> Any:
        """The number of the shard that example i is in; of an array of examples, an array."""
        return np.searchsorted(self.ends, i, side="right")

    def file_of(self, i: int) -> Path:
        """The file that example i is in."""
        return self.files[int(self.file_numbers[self.shard_of(i)])]

    @abstractmethod
    def image(self, i: int) -> File:
        """The image of example i, as a file that can be read."""

    @abstractmethod
    def describe(self, i: int) -> str:
        """What example i is called, with its file."""

    def vectors(self, indices: np.ndarray) -> np.ndarray:
        """Examples that are vectors, n x d, float32."""
        raise NotImplementedError

    def check_file(self, i: int) -> None:
        """UserError where the file of example i is gone, or has another size than the index says."""
        path = self.file_of(i)
        try:
            size = path.stat().st_size
            with path.open("rb"):
                pass
        except OSError as error:
            raise shard_error(path, error) from error
        if size != (expected := self.file_bytes[self.files.index(path)]):
            raise UserError(f"{path} has changed while it was read, {size:,} bytes, not {expected:,}: start anew")


def shard_error(path: Path, error: OSError) -> UserError:
    return UserError(f"the shard {path} cannot be read ({error_reason(error)}): bring it back; a run can then go on")


def check_shards(shards: Shards, what: str, advice: str) -> None:
    """UserError where there is no example, `what` was looked for, or where some have a label and others none."""
    if not len(shards):
        raise UserError(f"{join_names(file.name for file in shards.files)} {what}")
    if shards.labels is not None and (shards.labels == NO_LABEL).any():
        i = int((shards.labels == NO_LABEL).argmax())
        raise UserError(f"{shards.describe(i)} has no label, though others have: {advice}")


FileLabels = tuple[np.ndarray, Sequence[str | None]]  # labels of a file, or NO_LABEL, and the texts that they index


def label_texts(parts: Sequence[FileLabels]) -> set[str]:
    return {text for _, texts in parts for text in texts if text is not None}


def merge_labels(
    parts: Sequence[FileLabels], training: Sequence[FileLabels], names: Sequence[str] = ()
) -> tuple[np.ndarray | None, tuple[str, ...], list[str]]:
    """The labels of all examples, where any has one, their classes, and notes, from those of each file.

    The classes are `names`, where the files have an order of their own, then those of the `training` files, then
    others: numbers by size, words by the alphabet.
    """
    texts, first_texts = label_texts(parts), label_texts(training).difference(names)
    classes = (*names, *sort_classes(first_texts), *sort_classes(texts.difference(names, first_texts)))
    if not texts:
        return None, (), []
    n, n_texts = sum(len(labels) for labels, _ in training or parts), len(label_texts(training or parts))
    if not names and n > MIN_LABELS and n_texts > MAX_CLASS_SHARE * n:
        return None, (), [f"labels are not used: {n_texts} different ones of {n} examples are no classes"]
    index: dict[str | None, int] = {text: i for i, text in enumerate(classes)}
    # NO_LABEL is the last
    tables = [np.array([*(index.get(text, NO_LABEL) for text in own_texts), NO_LABEL]) for _, own_texts in parts]
    labels = np.concatenate([table[numbers] for table, (numbers, _) in zip(tables, parts, strict=True)])
    return labels, classes, []


@dataclass(frozen=True, kw_only=True, eq=False)
class StreamedDataset:
    """Examples of one shape that are read as they are needed; the interface is that of a `Dataset`, without `x`."""

    shards: Shards
    index: Tensor  # int64, ascending: which of the shards' examples belong to it
    labels: Tensor | None
    classes: tuple[str, ...]
    name: str
    in_memory: Dataset
    """a sample of the examples"""
    options: DataOptions
    notes: tuple[str, ...] = ()
    failures: dict[str, str] = field(default_factory=dict)
    """images that could not be read so far, and why"""
    rounded: set[int] = field(default_factory=set)
    """images with more than 8 bits a channel, of which 8 were read so far"""

    def __len__(self) -> int:
        return len(self.index)

    @property
    def datasets(self) -> "tuple[StreamedDataset, ...]":
        return (self,)

    @property
    def shape(self) -> Shape:
        return self.in_memory.shape

    @property
    def has_images(self) -> bool:
        return self.in_memory.has_images

    @property
    def range(self) -> Bounds | None:
        return self.in_memory.range

    def fingerprint(self) -> str:
        """SHA-256 of the index, and of the sample's content: the other examples are not read for it."""
        digest = sha256(self.shards.digest.encode())
        for part in (self.index,) if self.labels is None else (self.index, self.labels):
            digest.update(part.numpy().data)
        digest.update(self.in_memory.fingerprint().encode())
        return digest.hexdigest()

    @cached_property
    def read_page(self) -> Callable[[Page], ReadResult]:
        options, bounds = self.options, None if self.options.bounds == AUTO else self.options.bounds
        return partial(read_page, options=options, bounds=bounds)

    def read_image(self, i: int) -> Tensor | None:
        """The i-th image of the shards, c x h x w bytes; None, and an entry in `failures`, where it is damaged.

        UserError where its shard is gone, and where it has another size than the others.
        """
        result = self.read_page(Page(self.shards.image(i)))
        if isinstance(result, str):
            self.shards.check_file(i)
            self.failures[self.shards.describe(i)] = result
            return None
        x, info = torch.from_numpy(result[0][0]), result[1]
        channels, h, w = self.shape
        if info.has_more_bits or (info.stats and self.options.range is None):
            self.rounded.add(i)
        if x.shape[1:] != (h, w):
            differs = f"{self.shards.describe(i)} has {x.shape[2]} x {x.shape[1]} pixels, and others {w} x {h}"
            raise UserError(f"{differs}: begin a run with one size for all, e.g. size={h if h == w else f'{h}x{w}'}")
        return x if len(x) == channels else convert_channels(x[None], channels)[0]

    def read_vectors(self, rows: Tensor) -> Tensor:
        """The vectors of rows of the index, n x d."""
        return torch.from_numpy(self.shards.vectors(self.index[rows].numpy()))

    @property
    def failure_notes(self) -> list[str]:
        """How many images could not be read so far, or not wholly; each begins alike until they are twice as many."""
        notes = []
        if n := len(self.failures):
            page, why = list(self.failures.items())[-1]
            begins = f"damaged images of {self.name}, {at_least(n)}"
            notes.append(f"{begins}: each is replaced by the next; {n} so far, the last {page} ({why})")
        if n := len(self.rounded):
            begins = f"images of {self.name} with more than 8 bits a channel, {at_least(n)}"
            notes.append(f"{begins}: 8 bits are read; {n} so far")
        return notes


def at_least(n: int) -> str:
    """The power of two that n has reached."""
    return f"at least {1 << (n.bit_length() - 1)}"


def build_dataset(
    source: str, files: ShardFiles, shards: Shards, options: DataOptions, progress: Progress
) -> Dataset | StreamedDataset:
    """The examples of a split of the shards: in memory where they fit, unless the options say otherwise."""
    part, notes = select_examples(source, files, shards, options)
    may_keep = shards.has_images and options.stream != "always"
    place = source if is_hub_name(source) else str(Path(source).expanduser().absolute())
    decoded = Decoded(place, stamp_shards(shards, part), options) if may_keep else None
    if decoded and (dataset := decoded.find()):
        return dataset
    free = available_memory()
    check_row_groups(source, shards, int(MAX_MEMORY_SHARE * free / 2))  # two are in memory at once
    size = len(part) * example_bytes(source, shards, part, options)
    if options.stream == "never" or (options.stream == "auto" and size <= MAX_MEMORY_SHARE * free):
        read = partial(read_examples, source, shards, part, options, progress)
        if decoded is None:
            return read().with_notes(notes)
        how = len(part), len(part) * shards.mean_bytes
        return decoded.keep(lambda open_file: read(open_file=open_file).with_notes(notes), *how)
    check_streamable(source, shards, options)
    n = min(len(part), SAMPLE_EXAMPLES, max(1, SAMPLE_BYTES * len(part) // size))
    sample = read_examples(source, shards, select_sample(shards, part, n, shards.max_sample_shards), options, progress)
    if sample.is_deep:
        what = f"{source} has images of {sample.source_dtype}, which are streamed with 8 bits only"
        raise UserError(f"{what}: say bits=8, or stream=never where all fit in memory")
    why = "as asked for"
    if options.stream == "auto":
        why = f"since they take {format_bytes(size)} of memory, more than {MAX_MEMORY_SHARE:.0%} of what is free"
    note = f"{len(part):,} examples of {pluralize(len(shards.counts), 'shard')} are streamed, {why}"
    subset = "all of them" if n == len(part) else f"a sample of {len(sample):,}"
    note += f"; what needs a look at all, e.g. to measure samples, has {subset} in memory"
    notes = [*sample.notes, *notes, note]
    if n < len(part):
        sample = replace(sample, sampled_from=len(part))
        sample = sample.with_notes([f"a sample of the {len(part):,} examples of {part.name}, which are streamed"])
    return StreamedDataset(
        shards=shards, index=part.x, labels=part.labels, classes=part.classes, name=part.name, options=options,
        notes=tuple(notes), in_memory=sample,
    )  # fmt: skip


def stamp_shards(shards: Shards, part: Dataset) -> str:
    """What the files were when they were changed last, and which of their examples are meant."""
    rows = sha256(part.x.numpy().data).hexdigest()
    return stamp([shards.digest, part.classes, rows, [file_stamp(file.stat()) for file in shards.files]])


def select_examples(source: str, files: ShardFiles, shards: Shards, options: DataOptions) -> tuple[Dataset, list[str]]:
    """Which examples the options mean, as a dataset of their numbers, and notes."""
    notes, index = [*files.notes, *shards.notes], torch.arange(len(shards))
    if not files.has_test_split:
        index, split_notes = split_indices(len(shards), shards.hashes, options, source, by="their names")
        notes += split_notes
    elif options.holdout and options.holdout != "auto":
        notes.append(f"{files.name} has a test part of its own: --holdout {options.holdout:g} is not used")
    if shards.labels is not None and len(shards.labels) != len(shards):
        counts = f"{len(shards.labels):,} labels of {len(shards):,} examples"
        raise UserError(f"{source} is damaged: it has {counts}; make it anew")
    labels = None if shards.labels is None else torch.from_numpy(shards.labels)[index]
    part = Dataset(x=index, labels=labels, classes=shards.classes, name=files.name)
    part = part.filter_classes(options.classes) if options.classes else part
    if options.limit and options.pages == "first":  # or a file may be several examples
        index, limit_notes = limit_indices(len(part), options.limit)
        part, notes = part.select(index), [*notes, *limit_notes]
    return part, notes


def example_bytes(source: str, shards: Shards, part: Dataset, options: DataOptions) -> int:
    """Bytes of an example in memory, by some of them: from all over, or from one row group, which is read whole."""
    options = replace(options, range="0,1") if options.range == AUTO else options  # which of all is not known yet
    some = select_sample(shards, part, FEW_EXAMPLES, max_shards=None if shards.max_sample_shards is None else 1)
    few = read_examples(source, shards, some, options, no_progress, sizes_differ=True)
    return prod(few.shape) * few.x.element_size()


def check_streamable(source: str, shards: Shards, options: DataOptions) -> None:
    """UserError for options that need a look at all examples before the first is used."""
    if options.range == AUTO:
        raise UserError(f"{source} is streamed, so nobody knows its lowest and highest number: say range=LOW,HIGH")
    if options.pages == "all":
        raise UserError(f"{source} is streamed, an example a member: leave out pages=all")
    check_row_groups(source, shards, MAX_READ_BYTES)


def check_row_groups(source: str, shards: Shards, most: int) -> None:
    """UserError where the largest row group has more bytes than are to be read at once."""
    if shards.read_bytes > most:
        size = f"{format_bytes(shards.read_bytes)}, and {format_bytes(most)} are the most that is read at once"
        how = "write it with smaller ones, e.g. pyarrow.parquet.write_table(table, file, row_group_size=1000)"
        raise UserError(f"{source} has row groups of {size}: {how}")


def select_sample(shards: Shards, part: Dataset, n: int, max_shards: int | None) -> Dataset:
    """n of the examples, or all if they are fewer, always the same, in their order; of so many shards at most."""
    if n >= len(part):
        return part
    generator, rows = make_generator(torch.device("cpu"), 0, "sample"), torch.arange(len(part))
    if max_shards is not None:
        places = shards.shard_of(part.x.numpy())
        numbers = torch.from_numpy(np.unique(places))
        numbers = numbers[torch.randperm(len(numbers), generator=generator)[:max_shards]]
        rows = rows[np.isin(places, numbers.numpy())]
    return part.select(rows[torch.randperm(len(rows), generator=generator)[:n]].sort().values)


def read_examples(
    source: str, shards: Shards, part: Dataset, options: DataOptions, progress: Progress, *, sizes_differ: bool = False,
    open_file: OpenFile | None = None,
) -> Dataset:  # fmt: skip
    """The examples that `part` has the numbers of; UserError where none can be read, or `sizes_differ` unasked."""
    if not shards.has_images:
        x = torch.from_numpy(shards.vectors(part.x.numpy()))
        return replace(part, x=x)
    files = [shards.image(i) for i in part.x.tolist()]
    images = read_images(files, options, source, progress, open_file)
    if not images.infos:
        page, why = next(iter(images.failures.items()))
        raise UserError(f"{source}: none of {len(files)} images can be read; the first, {page}: {why}")
    if len(images.sizes) > 1 and not sizes_differ:
        raise MixedSizesError(source, images)
    channels = options.channels or majority_channels(images)
    if len(images.sizes) > 1:
        w, h = max(images.sizes, key=prod)
        dtype = torch.float32 if images.is_deep else torch.uint8
        return replace(part, x=torch.empty(1, channels, h, w, dtype=dtype), labels=None)
    row_of = {file: row for row, file in enumerate(files)}
    rows = torch.tensor([row_of[page.file] for page in images.infos])
    return replace(
        part.select(rows), x=images.stack(channels), notes=tuple(image_notes(images, options, channels)),
        range=images.bounds, source_dtype=images.dtype, scale=options.scale,
        alpha=images.is_deep and channels == 4,
    )  # fmt: skip
