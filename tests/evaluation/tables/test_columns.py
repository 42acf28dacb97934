"""What is said of single columns, each by rows with one fault."""

import numpy as np
import pytest

from ganvas.data.tables.association import associations
from ganvas.data.tables.columns import Column
from ganvas.data.tables.summary import percent
from ganvas.evaluation.tables.columns import format_value, judge_columns
from ganvas.evaluation.tables.marginals import compare_column
from ganvas.evaluation.tables.measure import TableEvaluation
from ganvas.evaluation.tables.quality import measure_quality

N = 2000


def sentence(real: np.ndarray, synthetic: np.ndarray, column: Column) -> str:
    """The verdict on a column, beside no others and without held-out rows."""
    tables = [np.asarray(x, np.float64)[:, None] for x in (real, synthetic)]
    (quality,) = measure_quality(tables[0], tables[1:], [column])
    evaluation = TableEvaluation(
        columns=(column,), left_out=(), rows={"training": len(real), "held_out": 0, "synthetic": len(synthetic)},
        quality=quality, quality_as_many=None, quality_floor=None, quality_shuffled=quality,
        detection=None, detection_floor=None,
        usefulness=None, privacy=None, repeated=(0.0, 0.0),
        marginals=(compare_column(tables[0][:, 0], tables[1][:, 0], column),),
        associations=tuple(associations([column], *tables)),
    )  # fmt: skip
    return judge_columns(evaluation)[0].sentence


def gains(zeros: float, scale: float, n: int = N, seed: int = 0) -> np.ndarray:
    """A column that mostly is 0."""
    random = np.random.default_rng(seed)
    return np.where(random.random(n) < zeros, 0.0, np.round(random.exponential(scale, n)))


REAL = Column("a", "real")
NAMES = Column("a", "category", categories=("red", "green", "blue"))


def test_numbers() -> None:
    x, y = np.random.default_rng(0).normal(50, 10, (2, N))
    assert sentence(x, y, REAL) == "as real rows are"
    assert "its median is 59.7, not 49.7" in sentence(x, y + 10, REAL)
    assert "it spreads too little" in sentence(x, 50 + (y - 50) / 2, REAL)
    assert "it spreads too much" in sentence(x, 50 + (y - 50) * 2, REAL)
    flipped = np.sign(y - 50) * np.sqrt(abs(y - 50)) * 4 + 50
    assert "its values are spread otherwise (shape 0.8" in sentence(x, flipped, REAL)


def test_frequent_numbers_and_tails() -> None:
    x = gains(0.9, 5000)
    assert sentence(x, gains(0.9, 5000, seed=1), REAL) == "as real rows are"
    assert sentence(x, gains(0.7, 5000, seed=1), REAL).startswith("0 comes in 7")
    many = gains(0.6, 5000, 6000)
    short = np.minimum(gains(0.6, 5000, 6000, 1), 17_000)
    start = "0 comes as often as it should, but without 0 its upper tail is too short: 1% of values are beyond 17,000"
    assert sentence(many, short, REAL).startswith(start)
    long = np.where(np.arange(N) % 100 == 0, 90_000, gains(0.91, 5000, seed=1))
    assert "its upper tail is too long: 1% of values are beyond 90,000" in sentence(x, long, REAL)


def test_categories() -> None:
    random = np.random.default_rng(0)
    x, y = random.choice(3, (2, N), p=[0.6, 0.3, 0.1])
    assert sentence(x, y, NAMES) == "as real rows are"
    assert sentence(x, np.where(y == 2, 0, y), NAMES).startswith("'blue' never comes, not in ")
    assert "'red' comes in 100% of rows" in sentence(x, np.zeros(N), NAMES)


def test_missing_values() -> None:
    x, y = np.random.default_rng(0).normal(size=(2, N))
    gone = np.where(np.arange(N) % 4 == 0, np.nan, y)
    assert sentence(x, gone, REAL) == "missing in 25% of rows, not 0%"
    assert sentence(gone, np.full(N, np.nan), REAL) == "missing in 100% of rows, not 25%"
    codes = (np.arange(N) % 3).astype(float)
    assert sentence(codes, np.where(np.arange(N) % 4 == 0, np.nan, codes), NAMES).startswith("missing in 25%")


def test_few_rows_prove_little() -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        x, y = random.normal(size=(2, 30))
        assert sentence(x, y, Column("a", "integer")) != "", "a sentence is always there"
    x, y = random.choice(3, (2, 30))
    assert sentence(x, y, NAMES) == "as real rows are"


@pytest.mark.parametrize(
    ("x", "column", "text"),
    [
        (18262.0, Column("a", "date"), "2020-01-01"),
        (86461.0, Column("a", "datetime"), "1970-01-02 00:01:01"),
        (3661.0, Column("a", "time"), "01:01:01"),
        (1234567.0, REAL, "1,234,567"),
        (0.12345, REAL, "0.123"),
    ],
)
def test_values_are_written_as_the_column_means_them(x: float, column: Column, text: str) -> None:
    assert format_value(x, column) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0%"), (1e-5, "less than 0.1%"), (0.012, "1.2%"), (0.42, "42%"), (0.9999, "more than 99.9%"), (1.0, "100%")],
)
def test_percent(share: float, text: str) -> None:
    assert percent(share) == text
