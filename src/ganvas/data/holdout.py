"""A test part for sources that have none: a share of the examples, chosen by a hash of each one's content.

Doubles fall on the same side, and neither the order of examples nor more of them moves any to the other.
"""

from collections.abc import Callable, Sequence
from hashlib import blake2b

import numpy as np
import torch

from ..errors import UserError
from .dataset import Dataset
from .options import DataOptions, MissingSplitError

DEFAULT_SHARE, MIN_EXAMPLES = 0.1, 100
"""share that is held out where nobody asks for one, and examples below which none are"""


def split_indices(
    n: int, digests: Callable[[], Sequence[bytes | None]], options: DataOptions, name: str
) -> tuple[list[int], list[str]]:
    """Indices of those of n examples that are in the split that the options name, and notes.

    `digests` returns the BLAKE2b hashes of their contents; an example without one is a training example.  Raises
    MissingSplitError where the test split is asked for and is empty, UserError where no training examples are left.
    """
    requested_share = None if options.holdout in (None, "auto") else float(options.holdout or 0)
    share = requested_share if requested_share is not None else DEFAULT_SHARE if n >= MIN_EXAMPLES else 0.0
    is_test = [digest is not None and is_test_example(digest, share) for digest in digests()] if share else [False] * n
    n_test = sum(is_test)
    if requested_share is None and n_test == n:  # all are doubles of one
        is_test, n_test = [False] * n, 0
    if options.split == "test" and not n_test:
        few = f"with fewer than {MIN_EXAMPLES} examples" if n < MIN_EXAMPLES else "by their content"
        why = few if requested_share is None else f"with holdout={requested_share:g} of {n} examples"
        raise MissingSplitError(
            f'{name} has no split "test", and none is held out {why}: leave out split=test, or ask for another holdout'
        )
    if n_test == n:
        raise UserError(f"holdout={share:g} of the {n} examples of {name} leaves none to learn from: ask for less")
    indices = [i for i in range(n) if is_test[i] == (options.split == "test")]
    if n_test:
        note = f"{n_test} of {n} examples are held out for tests, chosen by their content"
        return indices, [f"{note}: --holdout 0 learns from all" if options.split == "train" else note]
    if requested_share is None and n > 1:
        few = f"fewer than {MIN_EXAMPLES} examples" if n < MIN_EXAMPLES else "all examples are alike"
        return indices, [f"{few}: none is held out for tests, unless --holdout 0.1 asks for it"]
    return indices, []


def is_test_example(digest: bytes, share: float) -> bool:
    """Whether the example with this hash is in the test part."""
    return int.from_bytes(digest[:8], "big") < share * 2**64


def split_dataset(
    dataset: Dataset, options: DataOptions, *, has_test_split: bool = False, reuse_memory: bool = True
) -> Dataset:
    """The examples of the split that the options name, with notes.

    Nothing is held out of a source that has a test split of its own.  `reuse_memory` writes the examples over the
    dataset, which nobody else may hold then.
    """
    if has_test_split:
        if not options.holdout or options.holdout == "auto":
            return dataset
        return dataset.with_notes(
            [f"{dataset.name} has a test part of its own: --holdout {options.holdout:g} is not used"]
        )

    def digests() -> list[bytes]:
        rows = np.ascontiguousarray(dataset.x.cpu().numpy())
        return [blake2b(row.tobytes(), digest_size=8).digest() for row in rows]

    indices, notes = split_indices(len(dataset), digests, options, dataset.name)
    if len(indices) < len(dataset):
        dataset = dataset.select_in_place(indices) if reuse_memory else dataset.select(torch.tensor(indices))
    return dataset.with_notes(notes)
