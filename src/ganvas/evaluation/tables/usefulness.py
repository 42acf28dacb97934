"""Is it of use?  Models that learn from synthetic rows, tested on real ones, beside the same that learn from real rows.

Train on synthetic, test on real: Esteban et al., arXiv:1706.02633, section 4.3.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...data.tables.association import Rows
from ...data.tables.columns import Column
from ...errors import UserError, did_you_mean
from .estimators import boosting, fill_empty, linear, linear_encoder, sample_rows, tree_encoder

MAX_TRAIN, MAX_TEST = 20_000, 20_000
"""rows that models learn from, and are tested on, at most"""
MIN_ROWS = 20
MAX_TARGET_CATEGORIES = 10
"""categories of a column that is chosen as the target, at most"""
Scores = dict[str, float]


@dataclass(frozen=True)
class Usefulness:
    """What models predict of held-out rows, by what they have learnt from."""

    target: str
    chosen: str
    """why this is the target, where nobody said so"""
    is_classification: bool
    positive: str
    """of a classification the category that `f1` is of: the rarest of the training rows"""
    scores: dict[str, dict[str, Scores]]
    """by model, boosting or linear; by what it learnt from, real, synthetic or shuffled rows; by the number's name"""

    @property
    def number(self) -> str:
        """The number that is looked at first."""
        return "f1_macro" if self.is_classification else "r2"

    def score(self, source: str) -> float:
        """That number where rows are of this source, by the model that learns best from real rows; NaN without any."""
        best = max(self.scores.values(), key=lambda scores: scores["real"][self.number])
        return best[source].get(self.number, np.nan)


def choose_target(columns: Sequence[Column], name: str | None) -> tuple[int, str]:
    """The index of the target and why it is that: by its name, else the last column of few categories, or the last.

    Raises UserError where no column has that name.
    """
    names = [column.name for column in columns]
    if name is not None:
        if name not in names:
            raise UserError(f"there is no column {name!r} to predict.{did_you_mean(name, names)}")
        return names.index(name), ""
    few = [j for j, c in enumerate(columns) if c.is_category and 2 <= len(c.categories) <= MAX_TARGET_CATEGORIES]
    if few:
        return few[-1], f"the last column of 2 to {MAX_TARGET_CATEGORIES} categories"
    return len(columns) - 1, "the last column"


def measure_usefulness(
    sources: dict[str, Rows], held_out: Rows, columns: Sequence[Column], target: str | None = None, seed: int = 0
) -> Usefulness | None:
    """The scores on held-out rows of models that learnt from each of the sources, of which "real" is one.

    None where there is nothing to predict from, or too few rows with a target; UserError where there is no such target.
    """
    j, chosen = choose_target(columns, target)
    column, inputs = columns[j], [i for i in range(len(columns)) if i != j]
    tables = {name: x[~np.isnan(x[:, j])] for name, x in {**sources, "test": held_out}.items()}
    tables = {
        name: sample_rows(x, MAX_TEST if name == "test" else MAX_TRAIN, seed)
        for name, x in tables.items()
    }  # fmt: skip
    if not inputs or min(len(tables["real"]), len(tables["test"])) < MIN_ROWS:
        return None
    classes, counts = np.unique(tables["real"][:, j], return_counts=True)
    if len(classes) < 2:
        return None
    positive = float(classes[counts.argmin()])
    test = tables.pop("test")
    kept = [columns[i] for i in inputs]
    models: dict[str, tuple[Any, Callable[[], Any]]] = {
        "boosting": (tree_encoder, lambda: boosting(column.is_category, kept, seed)),
        "linear": (linear_encoder, lambda: linear(column.is_category)),
    }
    scores: dict[str, dict[str, Scores]] = {}
    for model, (make_encoder, make) in models.items():
        scores[model] = {}
        for name, x in tables.items():
            encode = make_encoder(x[:, inputs], kept)
            fitted = fit(make(), encode(x[:, inputs]), x[:, j])
            predicted = predict(fitted, encode(test[:, inputs]), column.is_category, classes)
            if predicted is None:
                scores[model][name] = {}
            elif column.is_category:
                scores[model][name] = classification_scores(test[:, j], predicted, classes, positive)
            else:
                scores[model][name] = regression_scores(test[:, j], predicted)
    category = str(column.categories[int(positive)]) if column.is_category and column.categories else str(positive)
    return Usefulness(column.name, chosen, column.is_category, category if column.is_category else "", scores)


def fit(model: Any, x: np.ndarray, y: np.ndarray) -> Any:
    """The model that has learnt; one that says always the same of rows with one target; None of no rows."""
    from sklearn.dummy import DummyClassifier
    from sklearn.exceptions import ConvergenceWarning

    if not len(y):
        return None
    if hasattr(model, "predict_proba") and len(np.unique(y)) < 2:
        model = DummyClassifier(strategy="most_frequent")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a linear model that is almost there serves as well
        return model.fit(fill_empty(x), y)


def predict(model: Any, x: np.ndarray, is_classification: bool, classes: np.ndarray) -> np.ndarray | None:
    """Numbers, or the probability of each class of the real rows, 0 of those that the model has never seen."""
    if model is None:
        return None
    if not is_classification:
        return np.asarray(model.predict(x))
    shares, found = np.zeros((len(x), len(classes))), np.searchsorted(classes, model.classes_)
    known = (found < len(classes)) & (classes[np.minimum(found, len(classes) - 1)] == model.classes_)
    shares[:, found[known]] = model.predict_proba(x)[:, known]
    return shares


def classification_scores(y: np.ndarray, shares: np.ndarray, classes: np.ndarray, positive: float) -> Scores:
    """F1, macro and of the positive class, accuracy, and the AUC, of several classes the mean over each."""
    from sklearn.metrics import f1_score, roc_auc_score

    guess = classes[shares.argmax(1)]
    there = np.unique(y)
    chosen = [positive] if len(classes) == 2 else [c for c in classes if c in there]
    aucs = [roc_auc_score(y == c, shares[:, classes == c][:, 0]) for c in chosen if 0 < (y == c).sum() < len(y)]
    return {
        "f1_macro": float(f1_score(y, guess, labels=there, average="macro", zero_division=0.0)),
        "f1": float(f1_score(y == positive, guess == positive, zero_division=0.0)),
        "auc": float(np.mean(aucs)) if aucs else np.nan,
        "accuracy": float((y == guess).mean()),
    }


def regression_scores(y: np.ndarray, guess: np.ndarray) -> Scores:
    """R2, and the root mean square error in the target's units."""
    residual, total = float(((y - guess) ** 2).sum()), float(((y - y.mean()) ** 2).sum())
    return {"r2": 1 - residual / total if total else np.nan, "rmse": float(np.sqrt(residual / len(y)))}
