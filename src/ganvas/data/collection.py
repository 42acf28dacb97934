"""A collection of examples: images as bytes, or vectors as floats."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ..errors import UserError, did_you_mean
from ..model import Shape
from ..randomness import generator
from .levels import Bounds

CHUNK = 2**20
"""numbers that are computed with at once: as float32 they take four times the memory of bytes"""
CHANNELS = {1: "L", 3: "RGB", 4: "RGBA"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Collection:
    """Examples of one shape, with labels when there are any.

    `x` holds uint8 images n x c x h x w (c is 1, 3 or 4), or float32 vectors n x d.  `labels`, if any, are n
    integers that index `classes`.  `notes` says what a reader should know.  `range` are the numbers of the source that
    became the bytes 0 and 255, where they were asked for.
    """

    x: Tensor
    labels: Tensor | None = None
    classes: tuple[str, ...] = ()
    name: str = "array"
    notes: tuple[str, ...] = ()
    range: Bounds | None = None

    def __len__(self) -> int:
        return len(self.x)

    @property
    def shape(self) -> Shape:
        """Shape of one example."""
        return tuple(self.x.shape[1:])

    @property
    def parts(self) -> "tuple[Collection, ...]":
        """The collections that this consists of: itself, where a `Pair` has two."""
        return (self,)

    @property
    def are_images(self) -> bool:
        return self.x.dtype == torch.uint8

    @property
    def unit(self) -> float:
        """What numbers are divided by to be compared: pixels count from 0 to 1, vectors in their own units."""
        return 255.0 if self.are_images else 1.0

    def noting(self, notes: Sequence[str]) -> "Collection":
        """The same with more notes."""
        return replace(self, notes=(*self.notes, *notes))

    def to(self, device: torch.device) -> "Collection":
        labels = self.labels if self.labels is None else self.labels.to(device)
        return replace(self, x=self.x.to(device), labels=labels)

    def fingerprint(self) -> str:
        """SHA-256 of shape, examples and labels: two collections with the same one are the same data."""
        digest = sha256(str((tuple(self.x.shape), str(self.x.dtype))).encode())
        for part in (self.x, self.labels):
            if part is not None:
                for some in chunks(part):
                    digest.update(some.contiguous().cpu().numpy().data)
        return digest.hexdigest()

    def at(self, index: Any) -> "Collection":
        """The examples at the indices, or in the slice."""
        return replace(self, x=self.x[index], labels=None if self.labels is None else self.labels[index])

    def keeping(self, kept: Sequence[int]) -> "Collection":
        """The examples at these indices, in ascending order, in the memory of all, which it takes over."""
        index, done = torch.tensor(kept), 0
        for part in chunks(self.x)[: len(kept)]:
            some = index[done : done + len(part)]
            self.x[done : done + len(some)] = self.x[some]  # none of these is needed any more
            done += len(some)
        return replace(self, x=self.x[:done], labels=None if self.labels is None else self.labels[index])

    def some(self, n: int, *key: int | str) -> "Collection":
        """n of the examples, or all if they are fewer, in an order that the key chooses."""
        return self.at(torch.randperm(len(self), generator=generator(torch.device("cpu"), *key))[:n])

    def only(self, names: Sequence[str]) -> "Collection":
        """The examples of the classes called `names`, in that order of labels; UserError for an unknown one."""
        if self.labels is None:
            raise UserError(f"{self.name} has no classes to choose from: leave out classes={','.join(names)}")
        for name in names:
            if name not in self.classes:
                hint = did_you_mean(name, self.classes)
                raise UserError(f'{self.name} has no class "{name}".{hint} It has: {", ".join(self.classes[:40])}')
        if len(set(names)) < len(names):
            raise UserError(f"classes names one class twice: {','.join(names)}")
        new = torch.full((len(self.classes),), -1)
        new[[self.classes.index(name) for name in names]] = torch.arange(len(names))
        labels = new[self.labels]
        keep = labels >= 0
        if not keep.any():
            raise UserError(f"{self.name} has no example of the classes {', '.join(names)}")
        return replace(self, x=self.x[keep], labels=labels[keep], classes=tuple(names))


def checked(collection: Collection) -> Collection:
    """A collection that somebody made: UserError for fields that do not fit; labels without classes get their numbers.

    It is checked where it is used, since what Ganvas makes of it fits.
    """
    x, name = collection.x, collection.name
    how = "give ganvas.from_array(x, labels), which takes arrays of any kind"
    if not isinstance(x, Tensor):
        raise UserError(f"a collection's x is a tensor, not a {type(x).__name__}: {how}")
    shape = "x".join(map(str, x.shape))
    if not (x.dtype == torch.float32 and x.ndim == 2) and not (
        x.dtype == torch.uint8 and x.ndim == 4 and x.shape[1] in CHANNELS
    ):
        raise UserError(
            "a collection's x has uint8 images n x c x h x w (c is 1, 3 or 4) or float32 vectors n x d, not "
            f"{shape} of {str(x.dtype).removeprefix('torch.')}: {how}"
        )
    if 0 in x.shape:
        raise UserError(f"{name} is empty: its shape is {shape}")
    if collection.labels is None:
        return collection
    return with_classes(collection, collection.labels)


def with_classes(collection: Collection, labels: Tensor) -> Collection:
    """The collection, with names of its classes; UserError unless each example has a label that is a class's number."""
    n, name, classes = len(collection.x), collection.name, collection.classes
    if not isinstance(labels, Tensor) or labels.is_floating_point() or labels.shape != (n,):
        what = f"{tuple(labels.shape)} of {labels.dtype}" if isinstance(labels, Tensor) else type(labels).__name__
        raise UserError(f"{name} has {n} examples, but its labels are {what}: give a tensor with an integer for each")
    least, most = int(labels.min()), int(labels.max())
    if least < 0 or (classes and most >= len(classes)):
        bound = f"0 to {len(classes) - 1}" if classes else "0 or more"
        raise UserError(f"{name} has labels from {least} to {most}: they must be {bound}")
    return replace(collection, labels=labels.long(), classes=tuple(classes) or tuple(map(str, range(most + 1))))


def chunks(x: Tensor) -> tuple[Tensor, ...]:
    """The examples in parts of about `CHUNK` numbers."""
    parts: tuple[Tensor, ...] = x.split(max(1, CHUNK // max(1, x[:1].numel())))
    return parts


def fitted(images: Tensor, size: tuple[int, int]) -> Tensor:
    """uint8 images n x c x h x w, resized (antialiased bicubic) and centre-cropped to `size` = (height, width).

    Alpha is respected: the colours of transparent pixels do not bleed into others.
    """
    if tuple(images.shape[2:]) == size:
        return images
    if len(chunks(images)) > 1:
        return by_chunks(lambda part: fitted(part, size), images, (images.shape[1], *size))
    h, w = images.shape[2:]
    scale = max(size[0] / h, size[1] / w)
    inner = (max(size[0], round(h * scale)), max(size[1], round(w * scale)))
    x = images.float().div_(255)
    if x.shape[1] == 4:
        x[:, :3] *= x[:, 3:]
    x = interpolate(x, inner, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
    if x.shape[1] == 4:
        x[:, :3] = (x[:, :3] / x[:, 3:].clamp_min(1e-6)).clamp(0, 1)
    top, left = (inner[0] - size[0]) // 2, (inner[1] - size[1]) // 2
    return (x[:, :, top : top + size[0], left : left + size[1]] * 255).round().to(torch.uint8)


def by_chunks(function: Callable[[Tensor], Tensor], images: Tensor, shape: Shape) -> Tensor:
    """The function of images, a part at a time, whose results have this shape each."""
    made, done = images.new_empty((len(images), *shape)), 0
    for part in chunks(images):
        made[done : done + len(part)] = function(part)
        done += len(part)
    return made


def with_channels(images: Tensor, channels: int) -> Tensor:
    """uint8 images with 1, 3 or 4 channels: alpha is laid on white, grey is ITU-R 601 luma."""
    have = images.shape[1]
    if have == channels:
        return images
    if len(chunks(images)) > 1:
        return by_chunks(lambda part: with_channels(part, channels), images, (channels, *images.shape[2:]))
    x = images.float()
    alpha = x[:, 3:] if have == 4 else torch.full_like(x[:, :1], 255)
    if have == 4:
        x = x[:, :3] * (alpha / 255) + 255 - alpha
        alpha = torch.full_like(alpha, 255)
    if channels == 1 and x.shape[1] == 3:
        x = (x * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    if channels > 1:
        x = x.expand(-1, 3, -1, -1)
    if channels == 4:
        x = torch.cat([x, alpha], 1)
    return x.round().clamp(0, 255).to(torch.uint8).contiguous()


def counts(collection: Collection) -> dict[str, int]:
    """Examples of each class, by name."""
    if collection.labels is None:
        return {}
    found = Counter(collection.labels.tolist())
    return {name: found[i] for i, name in enumerate(collection.classes)}
