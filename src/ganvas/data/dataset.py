"""A dataset: images as bytes or numbers, or vectors; and which of its examples are held out for tests."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from hashlib import blake2b, sha256
from math import ceil
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError, did_you_mean
from ..model import Shape, kind_of
from ..randomness import make_generator
from .depth import OPAQUE, ScaleName
from .memory import check_memory
from .options import COLOURS, DataOptions, MissingSplitError
from .quantization import NUMBERS_PER_CHUNK, Bounds

if TYPE_CHECKING:
    from .shards import StreamedDataset

T = TypeVar("T")
CHANNELS = {1: "L", 3: "RGB", 4: "RGBA"}  # channels of images, and Pillow's names of them
DEFAULT_SHARE, MIN_EXAMPLES = 0.1, 100  # share held out unless one is asked for; examples below which none is

LARGE_BYTES = 2**28  # of examples from which on it is asked whether memory has room for them


class InMemory:
    """What examples have in common that are in memory, where those that are streamed have a sample and failures."""

    @property
    def in_memory(self: T) -> T:
        """The examples that are in memory: itself."""
        return self

    @property
    def failure_notes(self) -> list[str]:
        """What of it could not be read since it was loaded: nothing."""
        return []


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset(InMemory):
    """Examples of one shape, with labels when there are any.

    `x` holds uint8 images n x c x h x w (c is 1, 3 or 4), or float32 vectors n x d; or deep images, of 1 to 16 channels
    of numbers in the units of the source, float32 or float64, which there have the type `source_dtype` (NumPy's name);
    or, with such numbers, signals n x c x length or volumes n x c x d x h x w.
    `labels`, if any, are n integers that index `classes`.  `notes` says what a reader should know.  `range` are the
    numbers of the source that became the bytes 0 and 255, or that models see as black and white, where they were asked
    for; else deep images have a `scale`.  `sampled_from` is how many examples the source has, where these are a sample
    of them since all do not fit in memory.  `files` names the file of each, where each has one.  `alpha` says whether
    the fourth channel of deep images is alpha, from 0 to 65535; of bytes it always is.
    """

    x: Tensor
    labels: Tensor | None = None
    classes: tuple[str, ...] = ()
    name: str = "array"
    notes: tuple[str, ...] = ()
    range: Bounds | None = None
    source_dtype: str = ""
    scale: ScaleName = "range"
    sampled_from: int | None = None
    files: tuple[str, ...] = ()
    alpha: bool = False

    def __len__(self) -> int:
        return len(self.x)

    @property
    def shape(self) -> Shape:
        return tuple(self.x.shape[1:])

    @property
    def parts(self) -> list[Tensor]:
        """The examples, and the labels if there are any."""
        return [self.x] if self.labels is None else [self.x, self.labels]

    @property
    def nbytes(self) -> int:
        """Bytes that they take."""
        return sum(part.nbytes for part in self.parts)

    @property
    def datasets(self) -> "tuple[Dataset, ...]":
        """The datasets that this consists of: itself, where a `DomainPair` has two."""
        return (self,)

    @property
    def has_images(self) -> bool:
        return self.x.ndim == 4

    @property
    def is_deep(self) -> bool:
        """Whether these are images, signals or volumes of numbers in the units of their source."""
        return self.x.ndim > 2 and self.x.is_floating_point()

    @property
    def kind(self) -> str:
        """What an example is: a vector, a signal, an image or a volume."""
        return kind_of(self.shape)

    @property
    def may_have_alpha(self) -> bool:
        """Whether a fourth channel of its images is alpha."""
        return self.alpha or not self.is_deep

    def encoded_by(self, scaling: Any) -> "Dataset":
        """The examples as numbers that can be compared: itself, where a `Table` has entries by a model's scaling."""
        return self

    def draw_order(self, generator: torch.Generator) -> Tensor | None:
        """The rows of an epoch where they are not each of them once: see `Table`."""
        return None

    def labels_of(self, index: Tensor) -> tuple[Tensor, Tensor | None]:
        """The rows that a batch's numbers mean, and their labels."""
        return index, None if self.labels is None else self.labels.index_select(0, index)

    def example_name(self, i: int) -> str | int:
        """The file of example i, or else its index."""
        return self.files[i] if self.files else i

    def with_notes(self, notes: Sequence[str]) -> "Dataset":
        return replace(self, notes=(*self.notes, *notes))

    def to(self, device: torch.device) -> "Dataset":
        """The dataset on a device: itself where it is there already."""
        x, labels = self.x.to(device), None if self.labels is None else self.labels.to(device)
        return self if x is self.x and labels is self.labels else replace(self, x=x, labels=labels)

    def fingerprint(self) -> str:
        """SHA-256 of shape, examples and labels: two datasets with the same one are the same data."""
        return self.content_hash

    @cached_property
    def content_hash(self) -> str:
        """The same, computed once."""
        digest = sha256(str((tuple(self.x.shape), str(self.x.dtype))).encode())
        for chunk in (chunk for part in self.parts for chunk in chunks(part)):
            digest.update(chunk.contiguous().cpu().numpy().data)
        return digest.hexdigest()

    def select(self, index: Any) -> "Dataset":
        """The examples at the indices, or in the slice; UserError where memory has no room for them."""
        if isinstance(index, Tensor) and self.x.is_cpu:  # or it is a view, or few
            n = int(index.count_nonzero()) if index.dtype == torch.bool else index.numel()
            if (size := n * self.x[:1].nbytes) >= LARGE_BYTES:
                check_memory(size, f"{n:,} examples of {self.name}", "ask for fewer by limit, or for a smaller size")
        return self.replace_examples(self.x[index], index)

    def replace_examples(self, x: Tensor, index: Any) -> "Dataset":
        """The dataset with x in place of its examples, and what else it knows of those at the indices."""
        labels = None if self.labels is None else self.labels[index]
        places = torch.arange(len(self.files))[index].tolist() if self.files else ()
        return replace(self, x=x, labels=labels, files=tuple(self.files[i] for i in places))

    def select_in_place(self, index: Tensor) -> "Dataset":
        """The examples at these indices, in ascending order, in the memory of all, which it takes over."""
        x = self.x[: len(index)]
        size = len(chunks(x)[0])
        for target, chunk_index in zip(x.split(size), index.split(size), strict=True):
            target.copy_(self.x[chunk_index])  # what was there is not needed any more
        return self.replace_examples(x, index)

    def example_hashes(self) -> Iterable[int] | np.ndarray:
        """A number of 64 bits of each example, by its content, computed as it is asked for."""
        rows = self.x.cpu().numpy()
        return (hash_number(blake2b(np.ascontiguousarray(row).data, digest_size=8).digest()) for row in rows)

    def sample(self, n: int, *key: int | str) -> "Dataset":
        """n of the examples, or all if they are fewer, in an order that the key chooses."""
        return self.select(torch.randperm(len(self), generator=make_generator(torch.device("cpu"), *key))[:n])

    def limit(self, n: int) -> "Dataset":
        """At most n of the examples, as `limit_indices` draws them."""
        index, notes = limit_indices(len(self), n)
        return self.select(index).with_notes(notes) if notes else self

    def filter_classes(self, names: Sequence[str]) -> "Dataset":
        """The examples of the classes called `names`, in that order of labels; UserError for an unknown one."""
        if self.labels is None:
            raise UserError(f"{self.name} has no classes to choose from: leave out classes={','.join(names)}")
        for name in names:
            if name not in self.classes:
                hint = did_you_mean(name, self.classes)
                raise UserError(f'{self.name} has no class "{name}".{hint} It has: {", ".join(self.classes[:40])}')
        if len(set(names)) < len(names):
            raise UserError(f"classes names one class twice: {','.join(names)}")
        label_map = torch.full((len(self.classes),), -1)
        label_map[[self.classes.index(name) for name in names]] = torch.arange(len(names))
        labels = label_map[self.labels]
        keep = labels >= 0
        if not keep.any():
            raise UserError(f"{self.name} has no example of the classes {', '.join(names)}")
        part = self if keep.all() else self.select(keep)
        return replace(part, labels=labels[keep], classes=tuple(names))


def chunks(x: Tensor) -> tuple[Tensor, ...]:
    """The examples in parts of about `NUMBERS_PER_CHUNK` numbers."""
    parts: tuple[Tensor, ...] = x.split(max(1, NUMBERS_PER_CHUNK // max(1, x[:1].numel())))
    return parts


def map_chunks(function: Callable[[Tensor], Tensor], images: Tensor, shape: Shape) -> Tensor:
    """The function of images, a part at a time, whose results have this shape each."""
    parts, output = chunks(images), images.new_empty((len(images), *shape))
    for part, target in zip(parts, output.split(len(parts[0])), strict=True):
        target.copy_(function(part))
    return output


def convert_channels(
    images: Tensor, channels: int, background: Sequence[int] = COLOURS["white"], alpha: bool = False
) -> Tensor:
    """Images with 1, 3 or 4 channels: alpha is laid on a colour, grey is ITU-R 601 luma.

    The fourth channel of deep ones is alpha only if that is said; it and white are then 65535.
    """
    current = images.shape[1]
    if current == channels:
        return images
    if len(chunks(images)) > 1:
        convert = partial(convert_channels, channels=channels, background=background, alpha=alpha)
        return map_chunks(convert, images, (channels, *images.shape[2:]))
    is_deep = images.is_floating_point()
    if is_deep and not alpha and {current, channels} != {1, 3}:
        what = f"images of numbers with {current} channels cannot be made such with {channels}"
        raise UserError(f"{what}: leave out channels, or round them to 256 levels by bits=8")
    x, opaque = (images, OPAQUE) if is_deep else (images.float(), 255)
    if current == 4:
        colour, share = x.new_tensor(background)[:, None, None] * (opaque // 255), x[:, 3:] / opaque
        x = x[:, :3] * share + colour - colour * share
    if channels == 1 and x.shape[1] == 3:
        x = (x * x.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    if channels > 1:
        x = x.expand(-1, 3, -1, -1)
    if channels == 4:
        x = torch.cat([x, torch.full_like(x[:, :1], opaque)], 1)
    return x.contiguous() if is_deep else x.round().clamp(0, 255).to(torch.uint8).contiguous()


def class_counts(dataset: "Dataset | StreamedDataset") -> dict[str, int]:
    """Examples of each class, by name."""
    if dataset.labels is None:
        return {}
    counts = dataset.labels.bincount(minlength=len(dataset.classes)).tolist()
    return dict(zip(dataset.classes, counts, strict=True))


def hash_number(digest: bytes | None) -> int:
    """The number by which an example is held out or not; the largest, by which none is, without a digest."""
    return 2**64 - 1 if digest is None else int.from_bytes(digest)


def split_indices(
    n: int, hashes: Iterable[int] | np.ndarray, options: DataOptions, name: str, by: str = "their content"
) -> tuple[Tensor, list[str]]:
    """Which of n examples are in the split that the options name, in ascending order, and notes.

    `hashes` are numbers of 64 bits, of the content of each or of what else they are told apart `by`; they are computed
    only where some are held out.  Doubles fall on the same side, and neither the order of examples nor more of them
    moves any to the other.
    """
    is_default, is_test_split = options.holdout in (None, "auto"), options.split == "test"
    share = (DEFAULT_SHARE if n >= MIN_EXAMPLES else 0.0) if is_default else float(options.holdout or 0)
    limit = np.uint64(ceil(share * 2**64))
    is_test = np.fromiter(hashes, np.uint64, n) < limit if share else np.zeros(n, bool)
    if is_default and is_test.all():  # all are doubles of one
        is_test[:] = False
    n_test = int(is_test.sum())
    few = f"fewer than {MIN_EXAMPLES} examples" if n < MIN_EXAMPLES else ""
    if is_test_split and not n_test:
        why = f"with {few}" if few else f"by {by}"
        why = why if is_default else f"with holdout={share:g} of {n} examples"
        how = "leave out split=test, or hold some out, e.g. holdout=0.2"
        raise MissingSplitError(f'{name} has no split "test", and none is held out {why}: {how}')
    if n_test == n:
        raise UserError(f"holdout={share:g} of the {n} examples of {name} leaves none to learn from: ask for less")
    notes = []
    if n_test:
        more = "" if is_test_split else ": --holdout 0 learns from all"
        notes = [f"{n_test} of {n} examples are held out for tests, chosen by {by}{more}"]
    elif is_default and n > 1:
        notes = [f"{few or 'all examples are alike'}: none is held out for tests, unless --holdout 0.1 asks for it"]
    return torch.from_numpy(np.flatnonzero(is_test == is_test_split)), notes


def limit_indices(n: int, limit: int) -> tuple[Tensor, list[str]]:
    """At most `limit` of n examples, drawn at random, in ascending order, the same ones in every run; and notes."""
    if n <= limit:
        return torch.arange(n), []
    index = torch.randperm(n, generator=make_generator(torch.device("cpu"), 0, "limit"))[:limit]
    return index.sort().values, [f"{limit:,} of {n:,} examples were drawn at random, by --limit"]


def split_dataset(
    dataset: Dataset, options: DataOptions, *, has_test_split: bool = False, reuse_memory: bool = True
) -> Dataset:
    """The examples of the split that the options name; `reuse_memory` writes them over the dataset, which is lost."""
    if has_test_split:
        if not options.holdout or options.holdout == "auto":
            return dataset
        note = f"{dataset.name} has a test part of its own: --holdout {options.holdout:g} is not used"
        return dataset.with_notes([note])
    index, notes = split_indices(len(dataset), dataset.example_hashes(), options, dataset.name)
    if len(index) < len(dataset):
        dataset = dataset.select_in_place(index) if reuse_memory else dataset.select(index)
    return dataset.with_notes(notes)
