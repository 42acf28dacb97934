"""Arrays and tensors as datasets: what their axes are, which numbers are black and white, and what labels mean."""

from collections.abc import Sequence
from dataclasses import replace
from math import isqrt
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError
from . import depth as depths
from . import quantization
from .dataset import CHANNELS, Dataset
from .depth import MAX_CHANNELS, KindName, ScaleName
from .listing import join_names
from .memory import check_memory
from .options import DataOptions
from .quantization import RANGE_HELP, Bounds, row_chunks, value_stats
from .tables.table import Table

OPAQUE_ALPHA = {"uint8": 255.0, "uint16": 65535.0, "float16": 1.0, "float32": 1.0, "float64": 1.0}
"""the alpha that is opaque, of images whose colours have a range"""
MAX_ASPECT_RATIO = 8  # times that an image may be as long as wide and still be taken for one
MIN_PIXEL_COLUMNS = 16  # columns of a table from which on they may be the pixels of small images
AXES: dict[KindName, tuple[int, ...]] = {"auto": (2, 3, 4), "vector": (2,), "signal": (2, 3), "volume": (4, 5)}
"""axes of an array of examples, first the number without channels"""
LAYOUTS: dict[KindName, str] = {
    "auto": "images n x h x w, n x h x w x c or n x c x h x w, or vectors n x d (or say kind=signal or kind=volume)",
    "vector": "vectors n x d",
    "signal": "signals n x length or n x channels x length",
    "volume": "volumes n x depth x height x width or n x channels x depth x height x width",
}
"""what these axes are"""
MAX_LABEL, MAX_NAMES = 100_000, 10  # the largest label that is no name, and classes without examples that a note names


def from_array(
    x: Any,
    labels: Any = None,
    *,
    classes: Sequence[str] = (),
    name: str = "array",
    channels_last: bool | None = None,
    range: str | tuple[int | float, int | float] | None = None,
    bits: Literal["auto", "full", 8] = "auto",
    scale: ScaleName = "range",
    kind: KindName = "auto",
    reuse_memory: bool = False,
) -> Dataset:
    """A dataset from an array or tensor: images n x h x w, n x h x w x c or n x c x h x w, or vectors n x d.

    With kind="vector" vectors alone; with "signal" signals n x length or n x c x length, with "volume" volumes n x d x
    h x w or n x c x d x h x w, whose numbers stay as they are; with `channels_last` their last axis are the channels.

    Images of bytes 0..255, booleans, or floats that are bytes / 255, are bytes.  Other numbers stay as they are, in 1
    to 16 channels, none of them alpha; models see each by its `scale`, or all by a `range`, which is (black, white), or
    "auto" for the lowest and the highest.  `bits` 8 rounds them to 256 levels: floats in [0, 1], or numbers of any
    kind with a `range`; "full" keeps also those that bytes could hold.  `labels` are n integers from 0, names, or
    one-hot rows.  Where both the last and the second axis could be channels, tensors are read as n x c x h x w and
    arrays as n x h x w x c, unless `channels_last` says.  `reuse_memory` writes over `x`.  Raises UserError for any
    other type or shape, for NaN or infinity, and for labels that do not fit.
    """
    options = DataOptions(range=range, bits=bits, scale=scale, kind=kind)  # type: ignore[arg-type]
    array, bounds = to_numpy(x) if isinstance(x, Tensor) else np.asarray(x), options.bounds
    if kind not in ("auto", "vector"):
        check_array(array, name, kind)
        array, notes = with_channels(array, bool(channels_last), options, name)
        return add_labels(deep_dataset(array, options, name, notes), labels, classes)
    channels_last = has_last_channels(array, isinstance(x, Tensor)) if channels_last is None else channels_last
    notes = check_array(array, name, kind)
    if array.ndim == 2:
        if bounds is not None:
            raise UserError(f"{name} holds vectors, which have no black and white: leave out range")
        with np.errstate(over="ignore", invalid="ignore"):
            array = np.array(array, np.float32, copy=None if reuse_memory else True)
    else:
        images = array[:, None] if array.ndim == 3 else np.moveaxis(array, -1, 1) if channels_last else array
        if images.shape[1] > MAX_CHANNELS or (images.shape[1] not in CHANNELS and options.bits == 8):
            most = "1, 3 or 4 channels" if options.bits == 8 else f"1 to {MAX_CHANNELS} channels"
            raise UserError(f"{name} has shape {array.shape}: images need {most}, last or second")
        if keeps_numbers(images, options):
            return add_labels(deep_dataset(images, options, name, notes), labels, classes)
        if isinstance(bounds, str):
            bounds = quantization.auto_bounds(value_stats(images[:, :3]), name)
        images, byte_notes = map_to_bytes(images, bounds, name) if bounds else to_bytes(images, name)
        array, notes = make_contiguous(images, reuse_memory), notes + byte_notes
        array = array.ravel().reshape(array.shape)  # torch picks kernels by strides, also those of a single channel
    return add_labels(Dataset(x=torch.from_numpy(array), name=name, notes=notes, range=bounds), labels, classes)


def has_last_channels(array: np.ndarray, is_tensor: bool) -> bool:
    """Whether the last axis of images, not the second, are channels: 1, 3 or 4, or else few beside square images."""
    if array.ndim != 4:
        return False
    _, second, third, last = map(int, array.shape)
    if {second, last} & CHANNELS.keys():
        return last in CHANNELS and not (is_tensor and second in CHANNELS)
    if second > MAX_CHANNELS or last > MAX_CHANNELS or second == last:
        return last < second or (second == last and not is_tensor)
    is_first, is_last = third == last, second == third  # which of the two makes images square
    return bool(is_last if is_first != is_last else last < second)


def keeps_numbers(images: np.ndarray, options: DataOptions) -> bool:
    """Whether images n x c x h x w keep their numbers; colours with alpha, which are floats in [0, 1], become bytes."""
    channels, dtype = images.shape[1], images.dtype
    if options.bits == 8 or (channels in CHANNELS and dtype.kind == "b"):
        return False
    if channels not in CHANNELS:
        return True
    if dtype == np.uint8 or options.bits == "full" or options.range is not None:
        return bool(dtype != np.uint8)
    has_alpha = channels == 4 and dtype.kind == "f" and images.min() >= 0 and images.max() <= 1
    return not has_alpha and not depths.are_bytes(images)


def with_channels(
    array: np.ndarray, channels_last: bool, options: DataOptions, name: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Signals n x c x length or volumes n x c x d x h x w; a note where the channels are likely to be another axis."""
    if options.bits == 8:
        raise UserError(f"bits=8 rounds images to 256 levels, but {name} holds {options.kind}s: leave it out")
    if array.ndim == AXES[options.kind][0]:
        return array[:, None], ()
    array = np.moveaxis(array, -1, 1) if channels_last else array
    _, channels, *size = map(int, array.shape)
    how = "if the channels are the last axis, move it: np.moveaxis(x, -1, 1)"
    note = f"{name} was read as {options.kind}s with {channels} channels of {' x '.join(map(str, size))}: {how}"
    return array, (note,) if channels > max(size) else ()


def deep_dataset(images: np.ndarray, options: DataOptions, name: str, notes: tuple[str, ...]) -> Dataset:
    """Images n x c x h x w, signals or volumes whose numbers are kept, with a note that says how.

    UserError where memory is too short.
    """
    bounds = options.bounds
    check_memory(4 * images.size, f"{name}, as float32,", "give fewer examples, or smaller ones")
    images = images.astype(np.uint8) if images.dtype.kind == "b" else images
    x = depths.to_float(images, name)
    bounds = quantization.auto_bounds(value_stats(x), name) if isinstance(bounds, str) else bounds
    dtype = images.dtype.name
    notes += depths.depth_notes(dtype, x.shape[1:], value_stats(x, bounds), options.scale, bounds)
    return Dataset(x=torch.from_numpy(x), name=name, notes=notes, range=bounds, source_dtype=dtype, scale=options.scale)


def to_numpy(x: Tensor) -> np.ndarray:
    """A tensor as an array; of bfloat16, which NumPy lacks, as float32."""
    return (x.float() if x.dtype == torch.bfloat16 else x).detach().cpu().numpy()


def validate_dataset(dataset: Dataset) -> Dataset:
    """A dataset that somebody made: UserError for fields that do not fit; labels without classes get their numbers."""
    x, name = dataset.x, dataset.name
    how = "give ganvas.from_array(x, labels), which takes arrays of any kind"
    if not isinstance(x, Tensor):
        raise UserError(f"a Dataset's x is a tensor, not a {type(x).__name__}: {how}")
    shape = "x".join(map(str, x.shape))
    is_valid = x.dtype == torch.uint8 and x.ndim == 4 and x.shape[1] in CHANNELS
    if dataset.is_deep and dataset.source_dtype in depths.DTYPES and x.ndim <= 5:
        has_channels = not dataset.has_images or x.shape[1] <= MAX_CHANNELS
        is_valid = x.dtype in (torch.float32, torch.float64) and has_channels
    if dataset.alpha and not (dataset.is_deep and dataset.has_images and x.shape[1] == 4):
        raise UserError(f"{name} has alpha=True, which is for deep images of 4 channels: leave it out")
    is_vector = x.ndim == 2 and x.dtype == (torch.float64 if isinstance(dataset, Table) else torch.float32)
    if not is_valid and not is_vector:
        kinds = "uint8 images n x c x h x w (c is 1, 3 or 4) or float32 vectors n x d"
        raise UserError(f"a Dataset's x has {kinds}, not {shape} of {str(x.dtype).removeprefix('torch.')}: {how}")
    if 0 in x.shape:
        raise UserError(f"{name} is empty: its shape is {shape}")
    n, labels = len(x), dataset.labels
    if labels is None:
        return dataset
    if not isinstance(labels, Tensor) or labels.is_floating_point() or labels.shape != (n,):
        what = f"{tuple(labels.shape)} of {labels.dtype}" if isinstance(labels, Tensor) else type(labels).__name__
        raise UserError(f"{name} has {n} examples, but its labels are {what}: give a tensor with an integer for each")
    classes = class_names(int(labels.min()), int(labels.max()), dataset.classes, name)
    return replace(dataset, labels=labels.long(), classes=tuple(classes))


def check_array(array: np.ndarray, name: str, kind: KindName = "auto") -> tuple[str, ...]:
    """UserError where an array cannot be examples, or is one image, most likely; notes on shapes with two meanings."""
    if array.dtype.kind not in "buif":
        kinds = "bytes (uint8) for images, or floating-point numbers for vectors"
        raise UserError(f"{name} holds {array.dtype} values: give {kinds}")
    if array.ndim not in AXES[kind]:
        raise UserError(f"{name} has shape {array.shape}: give {LAYOUTS[kind]}")
    if 0 in array.shape:
        raise UserError(f"{name} is empty: its shape is {array.shape}")
    for i in row_chunks(array) if array.dtype.kind == "f" else ():
        with np.errstate(over="ignore", invalid="ignore"):
            part = array[i].astype(np.float32) if array.ndim == 2 and kind in ("auto", "vector") else array[i]
        if not np.isfinite(part).all():
            row, *index = np.argwhere(~np.isfinite(part))[0].tolist()
            value, place = part[row, *index], [row + i.start, *index]
            raise UserError(f"{name} holds {value} (as float32) at index {place}: remove, replace or rescale it")
    if kind != "auto":
        return ()
    *_, last = array.shape
    if array.ndim == 3 and (last in (3, 4) or len(array) in CHANNELS):
        n, h, w = array.shape
        if last in (3, 4) and max(n, h) <= MAX_ASPECT_RATIO * min(n, h) and min(n, h) > 4:
            one = f"if that is one image h x w x {last}, give it as x[None]"
            several = f"if these are {n} grey images {last} pixels wide, give them as x[..., None]"
            raise UserError(f"{name} has shape {array.shape}: {one}; {several}")
        return (f"{name}, of shape {array.shape}, was read as {n} grey images of {h} x {w} pixels (height x width)",)
    if array.ndim == 3 and max(array.shape[1:]) > MAX_ASPECT_RATIO * min(array.shape[1:]):
        what = f"{len(array)} grey images of {array.shape[1]} x {last} pixels"
        return (f"{name} was read as {what}: if these are signals, n x channels x length, say kind=signal",)
    is_table = array.ndim == 2 and array.dtype.kind in "iu"
    if is_table and last >= MIN_PIXEL_COLUMNS and array.min() >= 0 and array.max() <= 255:
        sides = {c: isqrt(last // c) for c in (1, 3) if isqrt(last // c) ** 2 * c == last}
        if shapes := [f"n x {side} x {side}" + " x 3" * (c == 3) for c, side in sides.items()]:
            how = f"if these are images, reshape them to {' or '.join(shapes)}"
            return (f"{name} holds rows of {last} bytes, read as vectors: {how}",)
    return rounding_notes(max(int(array.max()), -int(array.min())), name) if is_table else ()


def rounding_notes(largest: int, name: str) -> tuple[str, ...]:
    """The note on integers up to this one in vectors, which are float32: that holds every integer up to 2^24."""
    note = f"{name} has integers up to {largest:,}: those beyond {2**24:,} were rounded, since vectors are float32"
    return (note,) if largest > 2**24 else ()


def map_to_bytes(images: np.ndarray, bounds: Bounds, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Pixels n x c x h x w as bytes, black and white where `bounds` are, with the note of that."""
    if not quantization.range_applies(images.dtype, bounds):
        return images, (quantization.unmapped_note(len(images)),)
    opaque = OPAQUE_ALPHA.get(images.dtype.name)
    if images.shape[1] == 4 and (opaque is None or images[:, 3].max() > opaque):
        raise UserError(f"{name} has an alpha of {images.dtype}: with a range, give it as uint8, uint16 or up to 1.0")
    note = quantization.mapping_note(value_stats(images[:, :3], bounds), bounds)
    levels = quantization.quantize_pixels(np.moveaxis(images, 1, -1), bounds, opaque or 1.0)
    return np.moveaxis(levels, -1, 1), (note,)


def to_bytes(array: np.ndarray, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Pixels as uint8, with a note where that loses something."""
    low, high = array.min(), array.max()
    if array.dtype.kind == "b":
        return array.astype(np.uint8) * 255, ()
    if array.dtype.kind in "ui" and high == 1 and low == 0:
        return array.astype(np.uint8) * 255, (f"{name} holds nothing but 0 and 1: read as black and white",)
    if array.dtype.kind in "ui" and low >= 0 and high <= 255:
        return array.astype(np.uint8, copy=False), ()
    how = f"say what is black and white: {RANGE_HELP}"
    if array.dtype.kind in "ui":
        raise UserError(f"{name} holds pixels from {low} to {high}: scale them to bytes, 0 to 255 (uint8), or {how}")
    if low < 0 or high > 1:
        scale = "scale them to [0, 1], or to bytes (uint8)"
        raise UserError(f"{name} holds {array.dtype} pixels from {low:g} to {high:g}: {scale}, or {how}")
    levels, is_exact = np.empty(array.shape, np.uint8), True
    for i in row_chunks(array):
        levels[i] = np.round(array[i] * 255)
        is_exact = is_exact and np.allclose(levels[i] / 255, array[i], atol=1e-4)
    return levels, () if is_exact else ("floating-point pixels were rounded to 256 levels",)


def make_contiguous(images: np.ndarray, reuse_memory: bool) -> np.ndarray:
    """Images n x c x h x w in this order; `reuse_memory` puts them in the place of the array that they view."""
    array = np.moveaxis(images, 1, -1)
    if images.flags.c_contiguous or not (reuse_memory and array.flags.c_contiguous and array.flags.writeable):
        return np.require(images, requirements=["C", "W"])
    flat = array.reshape(len(array), -1)
    for i in row_chunks(array):
        flat[i] = images[i].reshape(len(flat[i]), -1)  # a copy, where the order is another
    return flat.reshape(images.shape)


def add_labels(dataset: Dataset, labels: Any, classes: Sequence[str] = ()) -> Dataset:
    """The dataset with labels of any kind that `from_array` takes, and the names of their classes."""
    if labels is None:
        return dataset
    n, name = len(dataset), dataset.name
    array = to_array(labels, n, name)
    if array.shape != (n,):
        raise UserError(f"{name} has {n} examples, but labels of shape {array.shape}: give one label an example")
    if array.dtype.kind == "U":
        names, array = np.unique(array, return_inverse=True)
        classes = [str(c) for c in names]
    elif array.dtype.kind == "b":
        array, classes = array.astype(np.int64), list(classes) or ["False", "True"]
    elif array.dtype.kind == "f" and np.isfinite(array).all() and (array == np.round(array)).all():
        array = array.clip(-1, 2.0**62).astype(np.int64)
    elif array.dtype.kind not in "iu":
        raise UserError(f"{name} has labels of type {array.dtype}: give integers from 0, or names")
    classes = class_names(int(array.min()), int(array.max()), classes, name)
    numbers = torch.from_numpy(array.astype(np.int64))
    dataset, present = replace(dataset, labels=numbers, classes=tuple(classes)), set(numbers.unique().tolist())
    absent = [class_name for i, class_name in enumerate(classes) if i not in present]
    what = "class" if len(absent) == 1 else "the classes"
    return dataset.with_notes([f"no example is of {what} {join_names(absent, MAX_NAMES)}"] if absent else [])


def class_names(low: int, high: int, classes: Sequence[str], name: str) -> Sequence[str]:
    """The names of classes, or else their numbers; UserError where labels from `low` to `high` do not index them."""
    if low < 0 or (classes and high >= len(classes)):
        bound = f"0 to {len(classes) - 1}" if classes else "0 or more"
        raise UserError(f"{name} has labels from {low} to {high}: they must be {bound}")
    if not classes and high > MAX_LABEL:
        raise UserError(f"{name} has a label {high}: number the classes from 0")
    return classes or [str(i) for i in range(high + 1)]


def to_array(labels: Any, n: int, name: str) -> np.ndarray:
    """Labels as numbers or text, one an example: also of a column, and of rows that mark one class with 1."""
    array = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    is_text = array.dtype.kind == "O" and all(isinstance(label, str | bytes) for label in array.flat)
    if array.dtype.kind == "S" or is_text:
        array = np.array([decode_name(label) for label in array.flat]).reshape(array.shape)
    if array.shape == (n, 1):
        return array[:, 0]
    if array.ndim != 2 or len(array) != n or array.dtype.kind not in "buif":
        return array
    if not (np.isin(array, (0, 1)).all() and (array.sum(1) == 1).all()):
        how = "as a number, or as a row in which its place is 1 and all others are 0"
        raise UserError(f"{name} has {array.shape[1]} labels an example: give one class each, {how}")
    return np.asarray(array.argmax(1))


def decode_name(name: object) -> str:
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
