"""Metrics of given examples."""

from typing import Any

from torch import Tensor

from ganvas.data import Dataset
from ganvas.metrics import METRICS, Comparison, Examples, Score
from ganvas.metrics.features import FeatureSpace, make_feature_space


def scores_of(real: Tensor, made: Tensor, *names: str, train: Tensor | None = None) -> dict[str, Score]:
    """The scores of two sets of vectors, their own features; of these metrics, or all but those of a classifier."""
    space = make_feature_space("values", (real.shape[1],))
    held_out = Examples(Dataset(x=real), space)
    known = () if train is None else (Examples(Dataset(x=train), space),)
    c = Comparison(held_out, Examples(Dataset(x=made), space, held_out, known), allow_few=True, n_directions=50)
    found = {}
    for name in names or ("fid", "kid", "prdc", "one-nn", "memorisation", "duplicates", "sliced-wasserstein",
                          "distances"):  # fmt: skip
        metric = METRICS[name]
        for number, (name_of_it, score) in zip(metric.numbers, metric.compute(c), strict=False):
            assert number == name_of_it, "the numbers that are compared come first, in their order"
            assert isinstance(score, Score)
            found[number] = score
    return found


def all_entries(real: Tensor, made: Tensor, name: str) -> dict[str, Any]:
    """All that a metric says, of two sets of vectors."""
    space = make_feature_space("values", (real.shape[1],))
    c = Comparison(Examples(Dataset(x=real), space), Examples(Dataset(x=made), space), allow_few=True)
    return dict(METRICS[name].compute(c))


def values_of(real: Dataset, made: Dataset, space: FeatureSpace, *names: str) -> dict[str, Any]:
    """The values of these metrics of examples, on features."""
    c = Comparison(Examples(real, space), Examples(made, space), allow_few=True)
    entries = [entry for name in names for entry in METRICS[name].compute(c)]
    return {name: entry.value if isinstance(entry, Score) else entry for name, entry in entries}
