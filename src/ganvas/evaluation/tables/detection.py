"""Can a classifier tell synthetic rows from real ones?  A two-sample test (Lopez-Paz and Oquab, arXiv:1610.06545).

Gradient boosting learns to tell one from the other on a part of the rows; on the others, its area under the curve is
0.5 where they are alike, and 1 where each row gives itself away.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from ...data.tables.association import Rows
from ...data.tables.columns import Column
from .estimators import boosting, fill_empty, sample_rows, tree_encoder

MAX_ROWS, MIN_ROWS = 5000, 20
"""rows of each side, at most and at least"""
FOLDS = 3
MAX_PERMUTED = 1000
"""rows of each side on which columns are shuffled to see which of them give rows away"""


@dataclass(frozen=True)
class Detection:
    """How well real and other rows are told apart."""

    auc: float
    error: float
    """its standard error, by Hanley and McNeil (1982), of the rows alone"""
    rows: int
    """of each side"""
    importance: tuple[float, ...]
    """for each column, how much of the AUC is lost where its values are shuffled; not additive"""


def detect(
    real: Rows, other: Rows, columns: Sequence[Column], seed: int = 0, with_importance: bool = True
) -> Detection | None:
    """The cross-validated test on as many rows of each; None where either has fewer than `MIN_ROWS`."""
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold

    n = min(len(real), len(other), MAX_ROWS)
    if n < MIN_ROWS or not columns:
        return None
    x = np.concatenate([sample_rows(real, n, seed), sample_rows(other, n, seed + 1)])
    x, y = tree_encoder(x, columns)(x), np.repeat([0, 1], n)
    aucs, importance = [], (0.0,) * len(columns)
    for train, test in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(x, y):
        model = boosting(True, columns, seed).fit(fill_empty(x[train]), y[train])
        aucs.append(roc_auc_score(y[test], model.predict_proba(x[test])[:, 1]))
        if with_importance and len(aucs) == 1:
            importance = permutation_importance(model, x[test], y[test], seed)
    auc = float(np.mean(aucs))
    return Detection(auc, auc_error(auc, n, n), n, importance)


def permutation_importance(model: object, x: np.ndarray, y: np.ndarray, seed: int) -> tuple[float, ...]:
    """How much of the AUC is lost where a column is shuffled, for each."""
    from sklearn.metrics import roc_auc_score

    random = np.random.default_rng(seed)
    chosen = random.permutation(len(x))[: 2 * MAX_PERMUTED]
    x, y = x[chosen], y[chosen]

    def auc(x: np.ndarray) -> float:
        return float(roc_auc_score(y, model.predict_proba(x)[:, 1]))  # type: ignore[attr-defined]

    whole, losses = auc(x), []
    for j in range(x.shape[1]):
        shuffled = x.copy()
        shuffled[:, j] = random.permutation(x[:, j])
        losses.append(whole - auc(shuffled))
    return tuple(losses)


def auc_error(auc: float, n: int, m: int) -> float:
    """The standard error of an area under the curve of n and m rows (Hanley and McNeil, 1982, Radiology 143, 29-36)."""
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = auc * (1 - auc) + (n - 1) * (q1 - auc**2) + (m - 1) * (q2 - auc**2)
    return sqrt(max(variance, 0.0) / (n * m))
