"""Small tables: with a column of every kind that a model sees otherwise, and with columns that depend on each other."""

from pathlib import Path

import numpy as np
import torch

from ganvas.data.tables.columns import Column
from ganvas.data.tables.table import Table

COLUMNS = (
    Column("income", "real", "float64", decimals=2, low=0.0, high=9e9, missing=0.1),
    Column("children", "integer", "int64", low=0.0, high=3.0),
    Column("town", "category", categories=("Ulm", "Rome", "Oslo", "Bonn"), missing=0.05),
    Column("member", "boolean", "bool", categories=(False, True)),
    Column("country", "constant", categories=("EU",)),
)
"""of 120 rows the incomes are all different, so they have intervals; one lives in Bonn"""


def table_collection(n: int = 120, seed: int = 0) -> Table:
    """Rows of people; missing values are NaN."""
    random = np.random.default_rng(seed)
    member = random.integers(0, 2, n)
    income = np.exp(random.normal(7 + member, 1)).round(2)
    town = random.choice(3, n, p=(0.6, 0.3, 0.1)).astype(float)
    town[n // 2] = 3
    income[random.random(n) < 0.1], town[::20] = np.nan, np.nan
    x = np.stack([income, random.integers(0, 4, n), town, member], 1)
    return Table(x=torch.from_numpy(x), columns=COLUMNS, name="people").with_own_encoding()


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


def write_table(path: Path) -> str:
    """Write 60 rows with an identifier, a name that is code and missing values; returns the path."""
    rows = [f"{1000 + 7 * i},{'<i>' if i % 3 else 'b&c'},{'' if i % 5 == 0 else i / 4},{i % 2}" for i in range(60)]
    path.write_text("id,<b>kind</b>,amount,flag\n" + "\n".join(rows) + "\n")
    return str(path)
