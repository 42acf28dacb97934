"""The test split of data, where they have one."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from ..data import DataOptions, MissingSplitError
from ..errors import UserError

T = TypeVar("T")
UNREADABLE = "cannot read the test split of what the run was trained on"


def load_split(load: Callable[[DataOptions], T], options: DataOptions) -> T | None:
    """What is loaded with these options; None where the source answers that it has no such split."""
    try:
        return load(options)
    except MissingSplitError:
        return None


def load_test_split(load: Callable[[DataOptions], T], training: DataOptions) -> T | None:
    """The test split beside the training data of a run; None where the source has none, or the run has learnt from it.

    UserError where there is one that cannot be read: the training data are never measured in its place.
    """
    if training.split == "test":
        return None
    try:
        return load_split(load, replace(training, split="test"))
    except UserError as error:
        raise UserError(f"{UNREADABLE}: {str(error).rstrip('.')}; or give other data") from error
