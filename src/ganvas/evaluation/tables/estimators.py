"""Rows as scikit-learn's estimators take them, and the two that are used: gradient boosting and a linear model."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64

from ...data.tables.association import Rows
from ...data.tables.columns import Column
from ...errors import UserError

TREES = 100
"""rounds of boosting, as many as scikit-learn's default"""
MAX_CATEGORIES = 250
"""categories of a column, the most frequent, that are told apart: boosting takes 255 at most"""
MAX_ONE_HOT = 50
"""the same for a linear model, which has a weight for each"""
MOST_DEVIATIONS = 10.0
"""standard deviations beyond which a linear model sees no difference, so that one value does not rule it"""
Inputs = Float64[np.ndarray, "_ d"]
Encoder = Callable[[Rows], Inputs]


def require_scikit_learn() -> None:
    """UserError where scikit-learn, which judges tables, is missing."""
    try:
        import sklearn  # noqa: F401
    except ImportError as error:
        raise UserError('tables are judged by scikit-learn: pip install "ganvas[tables]"') from error


def category_ranks(x: Float64[np.ndarray, " n"], most: int) -> Float64[np.ndarray, " k"]:
    """For each category its rank by how often it is in `x`; all beyond the `most` frequent have one rank."""
    counts = np.bincount(x[~np.isnan(x)].astype(np.int64))
    ranks = np.empty(len(counts))
    ranks[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    return np.minimum(ranks, most)


def ranked(x: Float64[np.ndarray, " n"], ranks: Float64[np.ndarray, " k"], most: int) -> Float64[np.ndarray, " n"]:
    """Categories as ranks, those that were not seen as the last one; missing values stay NaN."""
    known = np.append(ranks, most)[np.where(np.isnan(x), 0, np.minimum(x, len(ranks))).astype(np.int64)]
    return np.asarray(np.where(np.isnan(x), np.nan, known))


def tree_encoder(reference: Rows, columns: Sequence[Column]) -> Encoder:
    """A function of rows: numbers as they are, categories as ranks among the reference rows, missing values as NaN."""
    ranks = {j: category_ranks(reference[:, j], MAX_CATEGORIES) for j, c in enumerate(columns) if c.is_category}

    def encode(x: Rows) -> Inputs:
        x = x.copy()
        for j, table in ranks.items():
            x[:, j] = ranked(x[:, j], table, MAX_CATEGORIES)
        return x

    return encode


def linear_encoder(reference: Rows, columns: Sequence[Column]) -> Encoder:
    """A function of rows: numbers in standard deviations, categories one-hot, and whether a value is missing."""
    parts: list[Callable[[Rows], np.ndarray]] = []
    for j, column in enumerate(columns):
        values = reference[:, j]
        there = values[~np.isnan(values)]
        if column.is_category:
            parts.append(one_hot_part(j, category_ranks(values, MAX_ONE_HOT)))
        elif len(there):
            parts.append(number_part(j, float(there.mean()), float(there.std()) or 1.0, len(there) < len(values)))
    return lambda x: np.concatenate([part(x) for part in parts] or [np.zeros((len(x), 1))], 1)


def one_hot_part(j: int, ranks: Float64[np.ndarray, " k"]) -> Callable[[Rows], np.ndarray]:
    width = int(ranks.max(initial=0)) + 2  # all that were not seen together; a missing value has none

    def encode(x: Rows) -> np.ndarray:
        codes = ranked(x[:, j], ranks, width - 1)
        return np.asarray(codes[:, None] == np.arange(width), np.float64)

    return encode


def number_part(j: int, mean: float, deviation: float, may_be_missing: bool) -> Callable[[Rows], np.ndarray]:
    def encode(x: Rows) -> np.ndarray:
        is_missing = np.isnan(x[:, j])
        scaled = np.clip((x[:, j] - mean) / deviation, -MOST_DEVIATIONS, MOST_DEVIATIONS)
        parts = [np.where(is_missing, 0.0, scaled), *([is_missing.astype(np.float64)] if may_be_missing else [])]
        return np.stack(parts, 1)

    return encode


def boosting(is_classifier: bool, columns: Sequence[Column], seed: int) -> Any:
    """Gradient boosting with scikit-learn's defaults, without a part set aside: how long it learns is fixed."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingClassifier if is_classifier else HistGradientBoostingRegressor
    categorical = [column.is_category for column in columns]
    return kind(max_iter=TREES, categorical_features=categorical, early_stopping=False, random_state=seed)


def linear(is_classifier: bool) -> Any:
    """Logistic or ridge regression."""
    from sklearn.linear_model import LogisticRegression, Ridge

    return LogisticRegression(max_iter=200) if is_classifier else Ridge()


def fill_empty(x: Inputs) -> Inputs:
    """The inputs to learn from, with 0 in columns that have no value at all, which boosting cannot bin."""
    return np.asarray(np.where(np.isnan(x).all(0), 0.0, x))


def sample_rows(x: Rows, n: int, seed: int) -> Rows:
    """`n` rows at random without repetition, or all in random order where there are fewer."""
    return x[np.random.default_rng(seed).permutation(len(x))[:n]]
