"""A test part for sources that have none: a share of the examples, chosen by a hash of each one's content.

Doubles fall on the same side, and neither the order of examples nor more of them moves any to the other.
"""

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
import torch

from ..errors import UserError
from .dataset import Dataset
from .options import DataOptions, MissingSplitError

DEFAULT_SHARE, MIN_EXAMPLES = 0.1, 100
"""share that is held out where nobody asks for one, and examples below which none are"""


def split_indices(
    n: int, digests: Iterable[bytes | None], options: DataOptions, name: str
) -> tuple[list[int], list[str]]:
    """Which of n examples are in the split that the options name, and notes; `digests` are hashes of them, or None."""
    is_default, is_test_split = options.holdout in (None, "auto"), options.split == "test"
    share = (DEFAULT_SHARE if n >= MIN_EXAMPLES else 0.0) if is_default else float(options.holdout or 0)
    limit = share * 2**64
    is_test = [d is not None and int.from_bytes(d[:8], "big") < limit for d in digests] if share else [False] * n
    if is_default and all(is_test):  # all are doubles of one
        is_test = [False] * n
    n_test = sum(is_test)
    few = f"fewer than {MIN_EXAMPLES} examples" if n < MIN_EXAMPLES else ""
    if is_test_split and not n_test:
        why = f"with {few}" if few else "by their content"
        why = why if is_default else f"with holdout={share:g} of {n} examples"
        how = "leave out split=test, or ask for another holdout"
        raise MissingSplitError(f'{name} has no split "test", and none is held out {why}: {how}')
    if n_test == n:
        raise UserError(f"holdout={share:g} of the {n} examples of {name} leaves none to learn from: ask for less")
    notes = []
    if n_test:
        more = "" if is_test_split else ": --holdout 0 learns from all"
        notes = [f"{n_test} of {n} examples are held out for tests, chosen by their content{more}"]
    elif is_default and n > 1:
        notes = [f"{few or 'all examples are alike'}: none is held out for tests, unless --holdout 0.1 asks for it"]
    return [i for i in range(n) if is_test[i] == is_test_split], notes


def split_dataset(
    dataset: Dataset, options: DataOptions, *, has_test_split: bool = False, reuse_memory: bool = True
) -> Dataset:
    """The examples of the split that the options name; `reuse_memory` writes them over the dataset, which is lost."""
    if has_test_split:
        if not options.holdout or options.holdout == "auto":
            return dataset
        note = f"{dataset.name} has a test part of its own: --holdout {options.holdout:g} is not used"
        return dataset.with_notes([note])
    rows = dataset.x.cpu().numpy()
    digests = (blake2b(np.ascontiguousarray(row).data, digest_size=8).digest() for row in rows)
    indices, notes = split_indices(len(dataset), digests, options, dataset.name)
    if len(indices) < len(dataset):
        dataset = dataset.select_in_place(indices) if reuse_memory else dataset.select(torch.tensor(indices))
    return dataset.with_notes(notes)
