"""Examples from Python's own containers: lists of images, PyTorch's data sets, frames of pandas and Polars."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import UserError, first_line
from .arrays import from_array, to_numpy
from .crop import background_note, crop_images, is_on_background, lay_on_background, tiles_note, too_small
from .dataset import CHANNELS, Dataset, convert_channels
from .decoder import smallest_mode
from .listing import IMAGE_SUFFIXES
from .options import DataOptions, number_options

IMAGE_TYPES = Tensor | np.ndarray | Image.Image
IMAGE_KEYS = ("image", "images", "img", "x", "pixel_values", "data", "input")
LABEL_KEYS = ("label", "labels", "y", "target", "class")
"""what an item that is a dictionary calls its image and its label"""


def from_object(source: Any, options: DataOptions) -> Dataset:
    """The dataset of an array or tensor, a list of images, a table, or anything with a length and items by number.

    An item is an image, (image, label), or a dictionary with these; an image is an array, a tensor, or Pillow's.
    Raises UserError, with what to do, for what has none of these.
    """
    name = type(source).__name__.lower()
    if isinstance(source, np.ndarray | Tensor):
        return from_array(source, kind=options.kind, **number_options(options))
    if is_frame(source) and options.kind == "auto":
        return load_frame(source, options)
    if hasattr(source, "dtypes") and hasattr(source, "to_numpy"):
        return from_array(table_to_array(source), name="table", kind=options.kind, **number_options(options))
    if isinstance(source, Image.Image):
        raise UserError("that is one image: give a list of images")
    if isinstance(source, Mapping):
        raise UserError(f"a {name} is no data source: give ganvas.from_array(images, labels)")
    if not (has_length(source) and hasattr(source, "__getitem__")):
        is_loader = getattr(source, "dataset", None) is not None
        if not is_loader and not isinstance(source, Iterable):
            if hasattr(source, "__getitem__"):
                raise UserError(f"a {name} has no length, so nothing says how many examples it has: give it __len__")
            raise UserError(f"a {name} is no data source: give a path, a name, an array, or a data set")
        how = "give its data set, LOADER.dataset" if is_loader else "give a list or an array of the examples"
        raise UserError(f"a {name} has no items by number, so nothing says which examples it has: {how}")
    if not len(source):
        raise UserError(f"that {name} is empty: give one example or more")
    return from_items(source, name, options)


def has_length(source: Any) -> bool:
    """Whether something has a finite length; whatever its own code raises, it has none."""
    with suppress(Exception):
        return len(source) >= 0
    return False


def from_items(source: Any, name: str, options: DataOptions) -> Dataset:
    """The dataset of the items of a container that has a length."""
    first, label = read_item(source, 0, name)
    inner = first[0] if isinstance(first, tuple | list) and first else first
    if isinstance(inner, Path) or (isinstance(inner, str) and Path(inner).suffix.lower() in IMAGE_SUFFIXES):
        how = "give their folder, or open them: [PIL.Image.open(path) for path in paths]"
        raise UserError(f"that {name} holds paths: {how}")
    if isinstance(source, list) and label is None and np.ndim(first) < 2 and not isinstance(first, Image.Image):
        try:
            rows = np.asarray(source)  # of a table, in lists
            return from_array(rows, kind=options.kind, **number_options(options))
        except ValueError as error:
            raise UserError(f"that list holds rows of different lengths, or no numbers: {error}") from error
    images, labels, what = [], [], "image" if options.kind == "auto" else options.kind
    for i in range(len(source)):
        image, label = read_item(source, i, name)
        images.append(image_to_array(image, i, name, is_image=options.kind == "auto"))
        labels.append(label)
    is_labelled = any(label is not None for label in labels)
    if is_labelled and None in labels:
        raise UserError(f"item {labels.index(None)} of that {name} has no label, though others have: give all, or none")
    if 0 < (n_floats := sum(image.dtype.kind == "f" for image in images)) < len(images) and images[0].ndim > 1:
        types = f"{n_floats} of floating-point numbers, {len(images) - n_floats} of integers"
        raise UserError(f"that {name} holds {what}s of two types ({types}): give all in one")
    notes, are_images = list[str](), options.kind == "auto" and all(image.ndim in (2, 3) for image in images)
    differ = are_images and len({image.shape for image in images}) > 1
    if fits := differ and bool(options.image_size or options.channels or options.background):
        images, labels, notes = fit_items(images, labels, name, options)
    shapes = Counter(image.shape for image in images)
    if len(shapes) > 1:
        common = ", ".join(f"{n} of {'x'.join(map(str, shape))}" for shape, n in shapes.most_common(3))
        how = "ask for one size, e.g. size=64, with crop=pad to cut nothing off, and channels=3 where these differ"
        how = how if options.kind == "auto" else "cut or pad them to one shape"
        raise UserError(f"that {name} holds {what}s of {len(shapes)} shapes ({common}): {how}")
    x, names = np.stack(images), getattr(source, "classes", ())
    has_names = isinstance(names, list | tuple) and not any(isinstance(label, str) for label in labels)
    if fits and x.dtype.kind in "iu" and x.dtype != np.uint8 and options.bits == "auto":
        options = replace(options, bits="full")  # though bytes may hold what a crop has left
    return from_array(
        x, np.asarray(labels) if is_labelled else None, classes=tuple(map(str, names)) if has_names else (), name=name,
        channels_last=False if x.ndim == 4 else None, kind=options.kind, **number_options(options),
    ).with_notes(notes)  # fmt: skip


def fit_items(
    images: Sequence[np.ndarray], labels: Sequence[Any], name: str, options: DataOptions
) -> tuple[list[np.ndarray], list[Any], list[str]]:
    """Images c x h x w laid on the background and cropped one by one, or their tiles, the label of each, and notes."""
    fitted, fitted_labels, counts, rests, n_on_background = list[np.ndarray](), list[Any](), [], [], 0
    examples, dtype = to_one_type(images, options, name), np.result_type(*images)
    has_channels = options.channels and all(x.shape[1] in CHANNELS for x in examples)
    for i, (example, label) in enumerate(zip(examples, labels, strict=True)):
        n_on_background += is_on_background(example, options)
        x = lay_on_background(example, options)
        x = convert_channels(x, options.channels) if has_channels and options.channels else x
        parts, (h, w) = crop_images(x, options), x.shape[2:]
        if options.image_size and not len(parts):
            raise UserError(f"item {i} of that {name}: {too_small(h, w, options.image_size)}")
        fitted.extend(parts.numpy() if parts.dtype == torch.uint8 else to_type(parts.numpy(), dtype))
        fitted_labels += [label] * len(parts)
        counts.append(len(parts))
        rests.append(h * w - len(parts) * parts[0, 0].numel())
    notes = [background_note(n_on_background, options)] if n_on_background else []
    if options.crop == "tiles" and options.image_size:
        notes.append(tiles_note(counts, rests, options.image_size))
    return fitted, fitted_labels, notes


def to_type(numbers: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Numbers in the type of the images that they were, which had them all: integers rounded."""
    dtype = np.dtype(np.uint8) if dtype.kind == "b" else dtype
    return (np.rint(numbers) if dtype.kind in "iu" else numbers).astype(dtype)


def to_one_type(images: Sequence[np.ndarray], options: DataOptions, name: str) -> list[Tensor]:
    """Images as 1 x c x h x w each: bytes where all can be, or else their own numbers."""
    batches = [np.ascontiguousarray(image[None] if image.ndim == 3 else image[None, None]) for image in images]
    convert = partial(from_array, name=name, channels_last=False)
    bits = "full" if options.range is not None else options.bits  # their own numbers are mapped by the range later
    parts = [torch.tensor(x) if x.dtype == np.uint8 else convert(x, bits=bits).x for x in batches]
    return parts if len({x.dtype for x in parts}) == 1 else [convert(x, bits="full").x for x in batches]


def read_item(source: Any, i: int, name: str) -> tuple[Any, Any]:
    """The image of an item, and its label as a number, a text or a list, or None."""
    try:
        entry = source[i]
    except IndexError as error:
        what = f"that {name} has a length of {len(source)}, but no item {i} ({type(error).__name__})"
        raise UserError(f"{what}: examples are read by their numbers, from 0") from error
    except Exception as error:  # whatever the data set's own code raises
        raise UserError(f"item {i} of that {name} raises {type(error).__name__}: {first_line(error)}") from error
    image, label, item = entry, None, f"item {i} of that {name}"
    if isinstance(entry, Mapping):
        image, label = (next((entry[k] for k in keys if k in entry), None) for keys in (IMAGE_KEYS, LABEL_KEYS))
        if image is None:
            raise UserError(f"{item} has {', '.join(map(str, entry))}: call the image image")
    elif isinstance(entry, tuple | list) and len(entry) in (1, 2) and isinstance(entry[0], IMAGE_TYPES):
        image, label = (*entry, None)[:2]
    elif isinstance(entry, tuple) and not (entry and isinstance(entry[0], str | Path)):
        raise UserError(f"{item} is a tuple of {len(entry)}: give (image, label), or images alone")
    if isinstance(label, Tensor | np.ndarray) and np.prod(label.shape) == 1:
        label = label.item()
    elif isinstance(label, Tensor | np.ndarray) and label.ndim == 1 and len(label):
        label = np.asarray(label).tolist()
    if label is None or isinstance(label, int | float | str | np.number | np.bool_ | list):
        return image, label
    raise UserError(f"{item} has a label that is a {type(label).__name__}: give a number or a name")


def image_to_array(image: Any, i: int, name: str, *, is_image: bool) -> np.ndarray:
    """An image as an array h x w or c x h x w; where both ends could be channels, those of tensors are the first.

    What `is_image` denies, a signal or a volume, keeps its axes.
    """
    if isinstance(image, Image.Image):
        is_deep = image.mode in ("I", "F") or image.mode.startswith("I;")
        image = np.asarray(image if is_deep else image.convert(smallest_mode(image)))
    array = to_numpy(image) if isinstance(image, Tensor) else np.asarray(image)
    if array.dtype.kind not in "buif":
        raise UserError(f"item {i} of that {name} is no image but a {type(image).__name__}: give arrays, or a folder")
    is_first = isinstance(image, Tensor) and array.ndim == 3 and len(array) in CHANNELS
    is_last = is_image and array.ndim == 3 and array.shape[2] in CHANNELS and not is_first
    return np.moveaxis(array, -1, 0) if is_last else array


def table_to_array(table: Any) -> np.ndarray:
    """The numbers of a pandas table; UserError that names the columns that have none."""
    array = np.asarray(table.to_numpy())
    if array.dtype.kind in "buif":
        return array
    columns = list(getattr(table, "columns", [getattr(table, "name", "it")]))
    kinds = [getattr(kind, "kind", "O") for kind in np.atleast_1d(np.asarray(table.dtypes, object))]
    text = [str(column) for column, kind in zip(columns, kinds, strict=False) if kind not in "buif"]
    if text:
        raise UserError(f"the columns {', '.join(text[:10])} hold no numbers: leave them out, or give numbers for them")
    return array.astype(np.float64)


def is_frame(source: Any) -> bool:
    """Whether a value is a frame of pandas or Polars."""
    kind = type(source)
    return kind.__name__ == "DataFrame" and kind.__module__.split(".")[0] in ("pandas", "polars")


def load_frame(source: Any, options: DataOptions) -> Dataset:
    """All rows of a frame of pandas or Polars."""
    from .tables.frame import from_frame
    from .tables.series import from_arrow

    return from_frame(from_arrow(source.to_arrow()) if hasattr(source, "to_arrow") else source, options)
