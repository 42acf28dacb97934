"""Arrays and tensors as collections: what their axes are, and which numbers are black and white."""

from collections.abc import Sequence
from math import isqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError
from .dataset import CHANNELS, Dataset
from .labels import add_labels, validate_labels
from .options import DataOptions
from .quantization import (
    AUTO,
    RANGE_HELP,
    Bounds,
    auto_bounds,
    drop_alpha,
    mapping_note,
    parse_bounds,
    quantize_pixels,
    range_applies,
    row_chunks,
    unmapped_note,
    value_stats,
)

OPAQUE_ALPHA = {"uint8": 255.0, "uint16": 65535.0, "float16": 1.0, "float32": 1.0, "float64": 1.0}
"""the alpha that is opaque, of images whose colours have a range"""
MAX_ASPECT_RATIO = 8
"""times that an image may be as long as wide and still be taken for one"""
MIN_PIXEL_COLUMNS = 16
"""columns of a table from which on they may be the pixels of small images"""


def from_array(
    x: Any,
    labels: Any = None,
    *,
    classes: Sequence[str] = (),
    name: str = "array",
    channels_last: bool | None = None,
    range: str | tuple[int | float, int | float] | None = None,
) -> Dataset:
    """A collection from an array or tensor: images n x h x w, n x h x w x c or n x c x h x w, or vectors n x d.

    Images are bytes 0..255, booleans, or floats in [0, 1], which are rounded to 256 levels (and a note says so); or
    numbers of any kind with a `range`, which is (black, white), or "auto" for the lowest and the highest.  `labels` are
    n integers from 0, names, or one-hot rows.  Where both the last and the second axis could be channels, tensors are
    read as n x c x h x w and arrays as n x h x w x c, unless `channels_last` says.  Raises UserError for any other type
    or shape, for NaN or infinity, and for labels that do not fit.
    """
    if channels_last is None and isinstance(x, Tensor) and x.ndim == 4 and x.shape[1] in CHANNELS:
        channels_last = False
    array = to_numpy(x) if isinstance(x, Tensor) else np.asarray(x)
    return build_dataset(array, labels, classes, name, channels_last, DataOptions(range=range).range)  # type: ignore[arg-type]


def to_numpy(x: Tensor) -> np.ndarray:
    """A tensor as an array; of bfloat16, which NumPy lacks, as float32."""
    return (x.float() if x.dtype == torch.bfloat16 else x).detach().cpu().numpy()


def build_dataset(
    array: np.ndarray,
    labels: Any = None,
    classes: Sequence[str] = (),
    name: str = "array",
    channels_last: bool | None = None,
    range: str | None = None,
    *,
    reuse_memory: bool = False,
) -> Dataset:
    """`from_array` of an array, with a range as `DataOptions` has it; `reuse_memory` writes over the array."""
    check_array(array, name)
    notes = shape_notes(array, name)
    bounds = None
    if array.ndim == 2:
        if range is not None:
            raise UserError(f"{name} holds vectors, which have no black and white: leave out range")
        with np.errstate(over="ignore", invalid="ignore"):
            tensor = torch.from_numpy(np.array(array, np.float32, copy=None if reuse_memory else True))
    else:
        axis = channel_axis(array, name, channels_last)
        bounds = resolve_bounds(array, axis, range, name)
        array, extra_notes = map_to_bytes(array, axis, bounds, name) if bounds else to_bytes(array, name)
        notes += extra_notes
        tensor = torch.from_numpy(to_nchw(array, axis, reuse_memory))
    return add_labels(Dataset(x=tensor, name=name, notes=notes, range=bounds), labels, classes)


def validate_dataset(dataset: Dataset) -> Dataset:
    """A dataset that somebody made: UserError for fields that do not fit; labels without classes get their numbers."""
    x, name = dataset.x, dataset.name
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
    return validate_labels(dataset)


def check_array(array: np.ndarray, name: str) -> None:
    """UserError where an array cannot be examples."""
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
    check_finite(array, name)


def check_finite(array: np.ndarray, name: str) -> None:
    """UserError that says where, for NaN and infinity, and in vectors for what float32 cannot hold."""
    if array.dtype.kind != "f":
        return
    for i in row_chunks(array):
        with np.errstate(over="ignore", invalid="ignore"):
            part = array[i].astype(np.float32) if array.ndim == 2 else array[i]
        if not np.isfinite(part).all():
            first = tuple(int(index[0]) for index in np.nonzero(~np.isfinite(part)))
            place = [first[0] + i.start, *first[1:]]
            raise UserError(f"{name} holds {part[first]} (as float32) at index {place}: remove, replace or rescale it")


def shape_notes(array: np.ndarray, name: str) -> tuple[str, ...]:
    """Notes on shapes that may be read otherwise than they were meant; UserError for what is one image, most likely."""
    *_, last = array.shape
    if array.ndim == 3 and (last in (3, 4) or len(array) in CHANNELS):
        n, h, w = array.shape
        if last in (3, 4) and max(n, h) <= MAX_ASPECT_RATIO * min(n, h) and min(n, h) > 4:
            raise UserError(
                f"{name} has shape {array.shape}: if that is one image h x w x {last}, give it as x[None]; if these "
                f"are {n} grey images {last} pixels wide, give them as x[..., None]"
            )
        return (f"{name}, of shape {array.shape}, was read as {n} grey images of {h} x {w} pixels (height x width)",)
    if array.ndim == 2 and last >= MIN_PIXEL_COLUMNS and has_byte_values(array):
        sides = {c: isqrt(last // c) for c in (1, 3) if last % c == 0 and isqrt(last // c) ** 2 * c == last}
        shapes = [f"n x {side} x {side}" + (f" x {c}" if c > 1 else "") for c, side in sides.items()]
        if shapes:
            return (
                f"{name} holds rows of {last} bytes, read as vectors: if these are images, reshape them to "
                f"{' or '.join(shapes)}",
            )
    return ()


def has_byte_values(array: np.ndarray) -> bool:
    """Whether all the numbers of a table could be bytes."""
    if array.dtype == np.uint8:
        return True
    return array.dtype.kind in "iu" and array.min() >= 0 and array.max() <= 255


def resolve_bounds(array: np.ndarray, axis: int | None, text: str | None, name: str) -> Bounds | None:
    """The numbers that are black and white, where a range was asked for."""
    bounds = parse_bounds(text)
    return auto_bounds(value_stats(drop_alpha(to_nhwc(array, axis))), name) if bounds == AUTO else bounds


def to_nhwc(array: np.ndarray, axis: int | None) -> np.ndarray:
    """A view of images as n x h x w x c."""
    return array[..., None] if axis is None else np.moveaxis(array, axis, -1)


def map_to_bytes(array: np.ndarray, axis: int | None, bounds: Bounds, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Pixels as bytes, black and white where `bounds` are, with the note of that."""
    if not range_applies(array.dtype, bounds):
        return array, (unmapped_note(len(array)),)
    pixels, opaque = to_nhwc(array, axis), OPAQUE_ALPHA.get(array.dtype.name)
    if pixels.shape[-1] == 4 and (opaque is None or pixels[..., 3].max() > opaque):
        raise UserError(f"{name} has an alpha of {array.dtype}: with a range, give it as uint8, uint16 or up to 1.0")
    note = mapping_note(value_stats(drop_alpha(pixels), bounds), bounds)
    levels = quantize_pixels(pixels, bounds, opaque or 1.0)
    return levels[..., 0] if axis is None else np.moveaxis(levels, -1, axis), (note,)


def to_bytes(array: np.ndarray, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Pixels as uint8, with a note where that loses something."""
    if array.dtype.kind == "b":
        return array.astype(np.uint8) * 255, ()
    low, high = array.min(), array.max()
    if array.dtype.kind in "ui" and high == 1 and low == 0:
        return array.astype(np.uint8) * 255, (f"{name} holds nothing but 0 and 1: read as black and white",)
    if array.dtype == np.uint8:
        return array, ()
    if array.dtype.kind in "ui":
        if low < 0 or high > 255:
            how = f"scale them to bytes, 0 to 255 (uint8), or say what is black and white: {RANGE_HELP}"
            raise UserError(f"{name} holds pixels from {low} to {high}: {how}")
        return array.astype(np.uint8), ()
    if low < 0 or high > 1:
        raise UserError(
            f"{name} holds {array.dtype} pixels from {low:g} to {high:g}: scale them to [0, 1], or to bytes (uint8), "
            f"or say what is black and white: {RANGE_HELP}"
        )
    levels, exact = np.empty(array.shape, np.uint8), True
    for i in row_chunks(array):
        levels[i] = np.round(array[i] * 255)
        exact = exact and np.allclose(levels[i] / 255, array[i], atol=1e-4)
    return levels, () if exact else ("floating-point pixels were rounded to 256 levels",)


def channel_axis(array: np.ndarray, name: str, channels_last: bool | None) -> int | None:
    """The axis of images' channels; None where they are grey and have none."""
    if array.ndim == 3:
        return None
    if channels_last is None:
        channels_last = array.shape[-1] in CHANNELS
    axis = -1 if channels_last else 1
    if array.shape[axis] not in CHANNELS:
        raise UserError(f"{name} has shape {array.shape}: images need 1, 3 or 4 channels, last or second")
    return axis


def to_nchw(array: np.ndarray, axis: int | None, reuse_memory: bool) -> np.ndarray:
    """Images as n x c x h x w; `reuse_memory` puts them in the place of the array itself."""
    if not array.flags.writeable:
        array, reuse_memory = array.copy(), True
    if axis is None:
        return np.ascontiguousarray(array[:, None])
    channels_first = np.moveaxis(array, axis, 1)
    if not (reuse_memory and array.flags.c_contiguous and array.flags.writeable):
        return np.ascontiguousarray(channels_first)
    flat = array.reshape(len(array), -1)
    for i in row_chunks(array):
        flat[i] = channels_first[i].reshape(len(flat[i]), -1)  # a copy, where the order is another
    return flat.reshape(channels_first.shape)
