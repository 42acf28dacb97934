"""Labels of any kind as integers that index the names of classes."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError
from .dataset import Dataset
from .listing import join_names

MAX_LABEL = 100_000
"""the largest label that is no name"""
MAX_NAMES = 10
"""classes without examples that a note names"""


def add_labels(dataset: Dataset, labels: Any, classes: Sequence[str] = ()) -> Dataset:
    """The dataset with labels and the names of their classes.

    Labels are integers from 0, whole floating-point numbers, booleans, names (text or bytes), or rows of which one
    number is 1 and the others 0.  Raises UserError for any other.
    """
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


def validate_labels(dataset: Dataset) -> Dataset:
    """A dataset that somebody made, with names of its classes; UserError unless each example has a class's number."""
    n, name, labels = len(dataset.x), dataset.name, dataset.labels
    if labels is None:
        return dataset
    if not isinstance(labels, Tensor) or labels.is_floating_point() or labels.shape != (n,):
        what = f"{tuple(labels.shape)} of {labels.dtype}" if isinstance(labels, Tensor) else type(labels).__name__
        raise UserError(f"{name} has {n} examples, but its labels are {what}: give a tensor with an integer for each")
    classes = class_names(int(labels.min()), int(labels.max()), dataset.classes, name)
    return replace(dataset, labels=labels.long(), classes=tuple(classes))


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
