"""The values that the columns of a table have, and how many rows have each: what encodings are made of.

Of many rows a sample is looked at, always the same one, but for what a sample would miss: all categories, all values of
columns that have few, the lowest and the highest number, and whether any is missing.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from ..dataset import limit_indices

MAX_ROWS, FEW_VALUES, PART_ROWS = 200_000, 4096, 2**17
"""rows up to which all are looked at, or a sample of as many; different values in it of which all rows are counted; and
rows of a part"""


class ValueCounts(NamedTuple):
    """Different values, ascending, how many rows have each, and how many have none."""

    values: np.ndarray
    counts: np.ndarray
    missing: int


def count_values(x: Float64[Tensor, " n"]) -> ValueCounts:
    """Those of numbers, of which NaN is none."""
    values: np.ndarray = x.cpu().numpy()
    present = values[~np.isnan(values)]
    return ValueCounts(*np.unique(present, return_counts=True), len(values) - len(present))


def merge(a: ValueCounts, b: ValueCounts) -> ValueCounts:
    """Those of the rows of both."""
    values, group = np.unique(np.concatenate([a.values, b.values]), return_inverse=True)
    counts = np.bincount(group, np.concatenate([a.counts, b.counts]), len(values))
    return ValueCounts(values, counts.astype(np.int64), a.missing + b.missing)


def with_ends(sample: ValueCounts, ends: np.ndarray, missing: int) -> ValueCounts:
    """A sample, with what other rows must not lack: their lowest and highest value, and a missing one."""
    more = np.setdiff1d(ends[np.isfinite(ends)], sample.values)
    return merge(sample, ValueCounts(more, np.ones(len(more)), int(bool(missing and not sample.missing))))


def count_columns(
    x: Float64[Tensor, "n c"], change: Callable[[Tensor], Tensor], are_categories: Sequence[bool]
) -> list[ValueCounts]:
    """The values of each column of rows that are changed so, a part of them at a time where they are many."""
    index, _ = limit_indices(len(x), MAX_ROWS)
    rows = change(x if len(index) == len(x) else x[index])
    per_column = [count_values(rows[:, j]) for j in range(len(are_categories))]
    if len(index) == len(x) or not per_column:
        return per_column
    few = [j for j, one in enumerate(per_column) if are_categories[j] or len(one.values) <= FEW_VALUES]
    whole = {j: ValueCounts(np.empty(0), np.empty(0), 0) for j in few}
    lowest, highest, missing = [], [], torch.zeros(len(per_column), dtype=torch.int64)
    for part in (change(rows).cpu() for rows in x.split(PART_ROWS)):
        lowest.append(part.nan_to_num(torch.inf).amin(0))
        highest.append(part.nan_to_num(-torch.inf).amax(0))
        missing += part.isnan().sum(0)
        for j in few:
            whole[j] = merge(whole[j], count_values(part[:, j]))
    ends = torch.stack([torch.stack(lowest).amin(0), torch.stack(highest).amax(0)], 1).numpy()
    return [whole[j] if j in whole else with_ends(one, ends[j], int(missing[j])) for j, one in enumerate(per_column)]
