"""Labels of any kind as integers that index the names of classes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError

MAX_LABEL = 100_000
"""the largest label that is no name"""
MAX_NAMES = 10
"""classes without examples that a note names"""


def parse_labels(
    labels: Any, n: int, classes: Sequence[str], name: str
) -> tuple[Tensor | None, tuple[str, ...], tuple[str, ...]]:
    """Labels as n integers, the classes' names, and notes.

    They are integers from 0, whole floating-point numbers, truths, names (text or bytes), or rows of which one number
    is 1 and the others 0.  Raises UserError for any other.
    """
    if labels is None:
        return None, (), ()
    array = to_array(labels)
    array = flatten_labels(array, n, name)
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
    if array.min() < 0 or (classes and array.max() >= len(classes)):
        bound = f"0 to {len(classes) - 1}" if classes else "0 or more"
        raise UserError(f"{name} has labels from {array.min()} to {array.max()}: they must be {bound}")
    if not classes:
        if array.max() > MAX_LABEL:
            raise UserError(f"{name} has a label {array.max()}: number the classes from 0")
        classes = [str(i) for i in range(int(array.max()) + 1)]
    numbers = torch.from_numpy(array.astype(np.int64))
    return numbers, tuple(classes), empty_class_notes(numbers, classes)


def to_array(labels: Any) -> np.ndarray:
    """Labels as an array of numbers or of text."""
    array = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if array.dtype.kind == "O" and all(isinstance(label, str | bytes) for label in array.flat):
        array = np.array([decode_name(label) for label in array.flat]).reshape(array.shape)
    if array.dtype.kind == "S":
        array = np.array([decode_name(label) for label in array.flat]).reshape(array.shape)
    return array


def decode_name(label: str | bytes) -> str:
    return label if isinstance(label, str) else label.decode("utf-8", "replace")


def flatten_labels(array: np.ndarray, n: int, name: str) -> np.ndarray:
    """One label an example, of such in a column of their own, or of rows that mark one class with 1."""
    if array.shape == (n, 1):
        return array[:, 0]
    if array.ndim == 2 and len(array) == n and array.dtype.kind in "buif":
        if not (np.isin(array, (0, 1)).all() and (array.sum(1) == 1).all()):
            raise UserError(
                f"{name} has {array.shape[1]} labels an example: give one class each, as a number, or as a row in "
                "which its place is 1 and all others are 0"
            )
        return np.asarray(array.argmax(1))
    return array


def empty_class_notes(labels: Tensor, classes: Sequence[str]) -> tuple[str, ...]:
    """The note on classes that no example has."""
    present = set(labels.unique().tolist())
    absent = [name for i, name in enumerate(classes) if i not in present]
    if not absent:
        return ()
    names_text = ", ".join(absent[:MAX_NAMES]) + (
        f" and {len(absent) - MAX_NAMES} more" if len(absent) > MAX_NAMES else ""
    )
    return (
        f"no example is of class {names_text}" if len(absent) == 1 else f"no example is of the classes {names_text}",
    )
