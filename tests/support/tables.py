"""Small tables as numbers, whose columns depend on each other."""

import numpy as np

from ganvas.data.tables.columns import Column

MIXED = (
    Column("height", "real"),
    Column("weight", "real"),
    Column("colour", "category", categories=("red", "green", "blue")),
    Column("tall", "category", categories=("no", "yes")),
    Column("day", "date"),
    Column("member", "boolean", categories=(False, True)),
)


def mixed_rows(n: int, shift: float = 0.0, seed: int = 0) -> np.ndarray:
    """Rows of `MIXED`, some values of which are missing; `shift` moves what single columns have."""
    random = np.random.default_rng(seed)
    height = random.normal(shift, 1, n)
    weight = height * 0.5 + random.normal(0, 1, n)
    weight[random.random(n) < 0.2] = np.nan
    colour = random.choice(3, n, p=[0.5, 0.3 - shift / 5, 0.2 + shift / 5]).astype(float)
    colour[random.random(n) < 0.1 + shift / 5] = np.nan
    day = 18262.0 + random.gamma(2, 50 + 50 * shift, n).astype(int)
    return np.stack([height, weight, colour, height > 0, day, random.integers(0, 2, n)], 1)


def shuffle_columns(x: np.ndarray, seed: int = 0) -> np.ndarray:
    """The rows, each column of them shuffled by itself."""
    random = np.random.default_rng(seed)
    return np.stack([random.permutation(column) for column in x.T], 1)
