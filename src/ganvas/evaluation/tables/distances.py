"""Distances between rows, after Gower (1971, Biometrics 27, 857-871), and the nearest rows, a block at a time.

Of a number the distance is the difference in units of the spread of the training rows, 1 at most; of a category 0 where
it is the same, else 1; a missing value is at 0 from a missing one and at 1 from all others.  The distance of two rows
is the sum over columns.  Numbers are whole steps of 1 / `STEPS`, so that sums are exact and rows at one distance are
known as such.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from ...data.tables.association import Rows
from ...data.tables.columns import Column

STEPS = 4096.0
"""steps of a distance of 1; sums of 4,096 columns are exact in float32"""
FAR, MISSING = 1000.0, 2000.0
"""where numbers end, in units of the spread, and where missing ones are"""
SPREAD = (0.05, 0.95)
"""quantiles between which the spread is measured: one outlier would make all others alike"""
BLOCK = 2**16
"""distances that are held at once: few enough for a processor's cache"""
Places = Float32[Tensor, "c _"]
"""rows as columns of places, between which distances are"""
Encoder = Callable[[Rows], Places]


def spread_of(x: np.ndarray) -> float:
    """How far numbers spread: between quantiles; of a column that mostly is one number, from lowest to highest."""
    there = x[~np.isnan(x)]
    if not len(there):
        return 1.0
    low, high = np.quantile(there, SPREAD)
    return float(high - low) or float(there.max() - there.min()) or 1.0


def place_encoder(train: Rows, columns: Sequence[Column]) -> Encoder:
    """A function of rows that places them for distances in units of the training rows."""
    spreads = np.array([1.0 if c.is_category else spread_of(train[:, j]) for j, c in enumerate(columns)])
    numbers = np.array([not c.is_category for c in columns])
    is_there = ~np.isnan(train)
    origin = np.where(is_there, train, 0.0).sum(0) / np.maximum(is_there.sum(0), 1) * numbers

    def encode(x: Rows) -> Places:
        scaled = (x - origin) / spreads
        scaled = np.where(numbers, np.clip(scaled, -FAR, FAR), scaled + MISSING + 1)  # categories by their index
        places = np.where(np.isnan(x), MISSING, scaled) * STEPS
        return torch.from_numpy(np.round(places).T.astype(np.float32))

    return encode


def column_distances(a: Tensor, b: Tensor) -> Tensor:
    """Distances in one column of n places from m others, n x m, in steps."""
    return (a[:, None] - b).abs_().clamp_(max=STEPS)


def distance_blocks(a: Places, b: Places) -> Iterator[tuple[slice, Tensor]]:
    """The distances of n rows from m others in steps, a block of the n at a time, with which of them these are."""
    size = max(1, BLOCK // max(b.shape[1], 1))
    for i in range(0, a.shape[1], size):
        rows = slice(i, min(i + size, a.shape[1]))
        total = torch.zeros(rows.stop - rows.start, b.shape[1])
        for places, others in zip(a[:, rows], b, strict=True):
            total += column_distances(places, others)
        yield rows, total


def nearest(a: Places, b: Places) -> tuple[np.ndarray, np.ndarray]:
    """How far the nearest of m >= 1 rows is from each of n, as a mean over columns from 0 to 1, and which it is."""
    found = [block.min(1) for _, block in distance_blocks(a, b)]
    if not found:
        return np.zeros(0), np.zeros(0, np.int64)
    distances = torch.cat([each.values for each in found]).double() / (STEPS * max(len(a), 1))
    return distances.numpy(), torch.cat([each.indices for each in found]).numpy()


def guess_errors(a: Places, b: Places) -> np.ndarray:
    """How wrong each column of n rows is guessed by the nearest of m others in all other columns: c x n, 0 to 1."""
    errors = torch.zeros(a.shape)
    for rows, total in distance_blocks(a, b):
        for places, others, wrong in zip(a[:, rows], b, errors[:, rows], strict=True):
            own = column_distances(places, others)
            choice = (total - own).argmin(1, keepdim=True)
            wrong.copy_(own.gather(1, choice)[:, 0] / STEPS)
    return errors.numpy()


def row_hashes(x: Rows) -> np.ndarray:
    """A number of 64 bits for each row, equal for equal rows; of 40 million others two are so once in 20,000."""
    bits = np.where(np.isnan(x), np.nan, x + 0.0).view(np.uint64)  # one kind of NaN, and no -0
    total = np.zeros(len(x), np.uint64)
    for column in bits.T:
        total = (total ^ column) + np.uint64(0x9E3779B97F4A7C15)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):  # SplitMix64, Steele et al., 2014
            total = (total ^ (total >> np.uint64(shift))) * np.uint64(factor)
        total ^= total >> np.uint64(31)
    return total
