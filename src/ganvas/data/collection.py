"""A collection of examples: images as bytes, or vectors as floats."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ..errors import UserError, did_you_mean
from ..model import Shape
from ..randomness import generator

CHANNELS = {1: "L", 3: "RGB", 4: "RGBA"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Collection:
    """Examples of one shape, with labels when there are any.

    `x` holds uint8 images n x c x h x w (c is 1, 3 or 4), or float32 vectors n x d.  `labels`, if any, are n
    integers that index `classes`.  `notes` says what a reader should know.
    """

    x: Tensor
    labels: Tensor | None = None
    classes: tuple[str, ...] = ()
    name: str = "array"
    notes: tuple[str, ...] = ()

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

    def to(self, device: torch.device) -> "Collection":
        labels = self.labels if self.labels is None else self.labels.to(device)
        return replace(self, x=self.x.to(device), labels=labels)

    def fingerprint(self) -> str:
        """SHA-256 of shape, examples and labels: two collections with the same one are the same data."""
        digest = sha256(str((tuple(self.x.shape), str(self.x.dtype))).encode())
        for part in (self.x, self.labels):
            if part is not None:
                digest.update(part.cpu().numpy().tobytes())
        return digest.hexdigest()

    def at(self, index: Any) -> "Collection":
        """The examples at the indices, or in the slice."""
        return replace(self, x=self.x[index], labels=None if self.labels is None else self.labels[index])

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


def from_array(
    x: Any,
    labels: Any = None,
    *,
    classes: Sequence[str] = (),
    name: str = "array",
    channels_last: bool | None = None,
) -> Collection:
    """A collection from an array or tensor: images n x h x w, n x h x w x c or n x c x h x w, or vectors n x d.

    Images are bytes 0..255, booleans, or floats in [0, 1], which are rounded to 256 levels (and a note says so).
    Where both the last and the second axis could be channels, tensors are read as n x c x h x w and arrays as
    n x h x w x c, unless `channels_last` says.  Raises UserError for any other type or shape, for NaN or infinity,
    and for labels that do not fit.
    """
    if channels_last is None and isinstance(x, Tensor) and x.ndim == 4 and x.shape[1] in CHANNELS:
        channels_last = False
    array = x.detach().cpu().numpy() if isinstance(x, Tensor) else np.asarray(x)
    if array.dtype.kind not in "buif":
        raise UserError(
            f"{name} holds {array.dtype} values: give bytes (uint8) for images, or floating-point numbers for vectors"
        )
    if array.ndim not in (2, 3, 4):
        raise UserError(
            f"{name} has shape {array.shape}: give images n x h x w, n x h x w x c or n x c x h x w, or vectors n x d"
        )
    if 0 in array.shape:
        raise UserError(f"{name} is empty: its shape is {array.shape}")
    if array.ndim == 2:
        with np.errstate(over="ignore"):  # what float32 cannot hold is reported below, as an infinity
            array = array.astype(np.float32)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        first = tuple(int(i[0]) for i in np.nonzero(~np.isfinite(array)))
        raise UserError(
            f"{name} holds {array[first]} (as float32) at index {list(first)}: remove, replace or rescale it"
        )
    notes: tuple[str, ...] = ()
    if array.ndim == 2:
        tensor = torch.from_numpy(array)
    else:
        array, notes = as_bytes(array, name)
        tensor = torch.from_numpy(planes_first(array, name, channels_last))
    numbers, names = as_labels(labels, len(tensor), classes, name)
    return Collection(x=tensor, labels=numbers, classes=names, name=name, notes=notes)


def as_bytes(array: np.ndarray, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Pixels as uint8, with a note where that loses something."""
    if array.dtype.kind in "ui" and array.max() == 1 and array.min() == 0:
        return array.astype(np.uint8) * 255, (f"{name} holds nothing but 0 and 1: read as black and white",)
    if array.dtype == np.uint8:
        return array, ()
    if array.dtype.kind == "b":
        return array.astype(np.uint8) * 255, ()
    low, high = array.min(), array.max()
    if array.dtype.kind in "ui":
        if low < 0 or high > 255:
            raise UserError(f"{name} holds pixels from {low} to {high}: scale them to bytes, 0 to 255 (uint8)")
        return array.astype(np.uint8), ()
    if low < 0 or high > 1:
        raise UserError(
            f"{name} holds {array.dtype} pixels from {low:g} to {high:g}: scale them to [0, 1], or to bytes (uint8)"
        )
    rounded = np.round(array * 255).astype(np.uint8)
    exact = np.allclose(rounded / 255, array, atol=1e-4)
    return rounded, () if exact else ("floating-point pixels were rounded to 256 levels",)


def planes_first(array: np.ndarray, name: str, channels_last: bool | None) -> np.ndarray:
    """Images as n x c x h x w."""
    if array.ndim == 3:
        return np.ascontiguousarray(array[:, None])
    if channels_last is None:
        channels_last = array.shape[-1] in CHANNELS
    axis = -1 if channels_last else 1
    if array.shape[axis] not in CHANNELS:
        raise UserError(f"{name} has shape {array.shape}: images need 1, 3 or 4 channels, last or second")
    return np.ascontiguousarray(np.moveaxis(array, axis, 1))


def as_labels(labels: Any, n: int, classes: Sequence[str], name: str) -> tuple[Tensor | None, tuple[str, ...]]:
    """Labels as integers that index the classes' names."""
    if labels is None:
        return None, ()
    array = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if array.shape == (n, 1):
        array = array[:, 0]
    if array.shape != (n,):
        raise UserError(f"{name} has {n} examples, but labels of shape {array.shape}: give one label an example")
    if array.dtype.kind == "U":
        names, array = np.unique(array, return_inverse=True)
        classes = [str(c) for c in names]
    elif array.dtype.kind not in "iu":
        raise UserError(f"{name} has labels of type {array.dtype}: give integers from 0, or names")
    if array.min() < 0 or (classes and array.max() >= len(classes)):
        bound = f"0 to {len(classes) - 1}" if classes else "0 or more"
        raise UserError(f"{name} has labels from {array.min()} to {array.max()}: they must be {bound}")
    if not classes:
        if array.max() > 100_000:
            raise UserError(f"{name} has a label {array.max()}: number the classes from 0")
        classes = [str(i) for i in range(int(array.max()) + 1)]
    return torch.from_numpy(array.astype(np.int64)), tuple(classes)


def fitted(images: Tensor, size: tuple[int, int]) -> Tensor:
    """uint8 images n x c x h x w, resized (antialiased bicubic) and centre-cropped to `size` = (height, width).

    Alpha is respected: the colours of transparent pixels do not bleed into others.
    """
    h, w = images.shape[2:]
    if (h, w) == size:
        return images
    scale = max(size[0] / h, size[1] / w)
    inner = (max(size[0], round(h * scale)), max(size[1], round(w * scale)))
    x = images.float() / 255
    if x.shape[1] == 4:
        x[:, :3] *= x[:, 3:]
    x = interpolate(x, inner, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
    if x.shape[1] == 4:
        x[:, :3] = (x[:, :3] / x[:, 3:].clamp_min(1e-6)).clamp(0, 1)
    top, left = (inner[0] - size[0]) // 2, (inner[1] - size[1]) // 2
    return (x[:, :, top : top + size[0], left : left + size[1]] * 255).round().to(torch.uint8)


def with_channels(images: Tensor, channels: int) -> Tensor:
    """uint8 images with 1, 3 or 4 channels: alpha is laid on white, grey is ITU-R 601 luma."""
    have = images.shape[1]
    if have == channels:
        return images
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
