"""A test part for sources that have none: a share of the examples, chosen by a hash of each one's content.

Doubles fall on the same side, and neither the order of examples nor more of them moves any to the other.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import blake2b

import numpy as np
import torch

from ..errors import UserError
from .collection import Collection
from .view import NoSplit, View

SHARE, ENOUGH = 0.1, 100
"""share that is held out where nobody asks for one, and examples below which none are"""


def parted(n: int, digests: Callable[[], Sequence[bytes | None]], view: View, name: str) -> tuple[list[int], list[str]]:
    """Indices of those of n examples that are in the view's split, and notes.

    `digests` are the BLAKE2b hashes of their contents; an example without one is a training example.  Raises NoSplit
    where the test part is asked for and there is none, UserError where no training examples are left.
    """
    asked = None if view.holdout in (None, "auto") else float(view.holdout or 0)
    share = asked if asked is not None else SHARE if n >= ENOUGH else 0.0
    out = [digest is not None and is_held(digest, share) for digest in digests()] if share else [False] * n
    held = sum(out)
    if asked is None and held == n:  # all are doubles of one
        out, held = [False] * n, 0
    if view.split == "test" and not held:
        few = f"with fewer than {ENOUGH} examples" if n < ENOUGH else "by their content"
        why = few if asked is None else f"with holdout={asked:g} of {n} examples"
        raise NoSplit(f'{name} has no split "test", and none is held out {why}: leave out split=test, or ask for '
                      f"another holdout")  # fmt: skip
    if held == n:
        raise UserError(f"holdout={share:g} of the {n} examples of {name} leaves none to learn from: ask for less")
    kept = [i for i in range(n) if out[i] == (view.split == "test")]
    if held:
        of = f"{held} of {n} examples are held out for tests, chosen by their content"
        return kept, [f"{of}: --holdout 0 learns from all" if view.split == "train" else of]
    if asked is None and n > 1:
        few = f"fewer than {ENOUGH} examples" if n < ENOUGH else "all examples are alike"
        return kept, [f"{few}: none is held out for tests, unless --holdout 0.1 asks for it"]
    return kept, []


def is_held(digest: bytes, share: float) -> bool:
    """Whether the example with this hash is in the test part."""
    return int.from_bytes(digest[:8], "big") < share * 2**64


def rows_parted(collection: Collection, view: View, *, owned: bool = True) -> Collection:
    """The examples of a collection that are in the view's split; one that is `owned`, by nobody else, is used up."""

    def digests() -> list[bytes]:
        rows = np.ascontiguousarray(collection.x.cpu().numpy())
        return [blake2b(row.tobytes(), digest_size=8).digest() for row in rows]

    kept, notes = parted(len(collection), digests, view, collection.name)
    found = collection
    if len(kept) < len(collection):
        found = collection.keeping(kept) if owned else collection.at(torch.tensor(kept))
    return replace(found, notes=(*found.notes, *notes))


def with_test_part(collection: Collection, view: View) -> Collection:
    """A collection of a source that has a test part of its own: nothing is held out, even if that is asked for."""
    if not view.holdout or view.holdout == "auto":
        return collection
    note = f"{collection.name} has a test part of its own: --holdout {view.holdout:g} is not used"
    return replace(collection, notes=(*collection.notes, note))
