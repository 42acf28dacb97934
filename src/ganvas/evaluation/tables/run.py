"""Rows of a trained model, as it writes them, measured against its own data."""

from functools import partial

import torch

from ...data import DataOptions, Dataset, Source
from ...data.tables.association import Rows
from ...data.tables.scaling import TableScaling
from ...errors import UserError
from ...inference.loading import load_matching
from ...inference.sampling import sample_examples
from ...inference.trained import Trained
from ...metrics.features.base import Progress, say_nothing
from ..held_out import EvaluationData, load_evaluation_data
from .estimators import sample_rows
from .measure import TableEvaluation, evaluate_table

MAX_SYNTHETIC = 100_000
"""rows that are drawn, at most, unless n says otherwise: else as many as were learnt from"""


def learns_table(trained: Trained) -> bool:
    """Whether the model draws rows of a table."""
    return trained.model.n_domains == 1 and isinstance(trained.domain_scaling(), TableScaling)


def evaluate_run(
    trained: Trained, data: Source | None = None, options: DataOptions | None = None, *, target: str | None = None,
    n: int | None = None, most: int | None = None, fitted_prior: str | None = None, seed: int = 0,
    progress: Progress = say_nothing,
) -> TableEvaluation:  # fmt: skip
    """Measure n rows of a model of tables, by default as many as it learnt from, on its own test split or on `data`.
    With `most`, real rows are a sample of no more.

    Where the run held out no rows, or its training rows cannot be read, nothing is said of what is given away.
    Raises UserError for data that do not fit, a target that there is not, and models that draw no rows.
    """
    scaling = trained.domain_scaling()
    assert isinstance(scaling, TableScaling)
    real, held_out = real_rows(trained, load_evaluation_data(trained, data, options, True))
    if most is not None:
        real, held_out = (sample_rows(rows, most, seed) for rows in (real, held_out))
    n = n or min(len(real), MAX_SYNTHETIC)
    progress(f"{n:,} rows of the model")
    x = sample_examples(trained, n, seed, fitted_prior).x.numpy()
    from ...data.tables.frame import round_rows  # needs pandas

    synthetic = round_rows(scaling.learnt_columns, x)
    return evaluate_table(real, held_out, synthetic, scaling.columns, target=target, seed=seed, progress=progress)


def real_rows(trained: Trained, on: EvaluationData) -> tuple[Rows, Rows]:
    """What was learnt from and what was not; the latter is empty where it is not known which is which."""
    train: Dataset | None = on.train
    if on.split == "custom" and (known := trained.training_data) and not known.has_arrays:
        try:
            train = known.load(partial(load_matching, trained))
        except UserError:  # the data have moved: what is given can still be compared with
            train = None
    x = on.held_out.in_memory.x.numpy()
    if train is None or torch.equal(train.in_memory.x.nan_to_num(), on.held_out.in_memory.x.nan_to_num()):
        return x, x[:0]
    return train.in_memory.x.numpy(), x
