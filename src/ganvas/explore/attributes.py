"""Attribute arithmetic: the difference between two classes, as a direction in the latent space."""

from math import isfinite
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from ..data import DataOptions, Dataset, Source
from ..data.memory import check_examples_fit
from ..errors import UserError, check_positive
from ..inference.loading import load_preprocessed
from ..inference.trained import Trained
from ..model import EncoderModel, GenerativeModel
from ..training.run_records import load_run
from ..viz.images import Examples
from .codes import background_vectors

EXAMPLES_PER_CLASS = 1000
"""examples at most from which the mean code of a class is taken"""


def arithmetic(
    trained: Trained | str | Path,
    data: Source,
    add: str,
    subtract: str,
    *,
    on: str | None = None,
    rows: int = 8,
    columns: int = 8,
    strength: float = 2.0,
    options: DataOptions | None = None,
) -> Examples:
    """Examples with the difference of two classes added: z(x) + s (mean code of `add` - mean code of `subtract`).

    A row has an example of the class `on` (by default `subtract`), its reconstruction, and `columns` strengths s up
    to `strength`; at 1, the mean of the class `subtract` would become that of `add`.  (Larsen et al.,
    arXiv:1512.09300, section 3.2.)  A conditional model keeps the examples' own labels.
    """
    trained = load_run(trained)
    check_positive(rows, "rows")
    check_positive(columns, "columns")
    if not isfinite(strength):
        raise UserError(f"strength={strength}: give a number, e.g. 2")
    trained.require(GenerativeModel, "has no decoder")
    trained.require(EncoderModel, "has no encoder, so classes have no mean code")
    check_examples_fit(rows * columns, trained.shape, f"rows={rows} and columns={columns}")
    dataset = load_preprocessed(trained, data, options)
    difference = attribute_direction(trained, dataset, add, subtract)
    sources = select_class(dataset, subtract if on is None else on).select(slice(rows))
    strengths = torch.linspace(0, strength, columns + 1)
    z = trained.encode(sources)[:, None] + strengths[:, None] * difference
    labels = None if sources.labels is None else sources.labels.repeat_interleave(columns + 1)
    decoded = trained.decode(z.flatten(0, 1), labels).x.unflatten(0, (len(sources), columns + 1))
    title = f"{subtract if on is None else on} + s (mean code of {add} - mean code of {subtract})"
    metadata = {"strengths": strengths.tolist(), "length": difference.norm().item()}
    if len(trained.shape) == 1:
        background = background_vectors(trained, dataset)
        return Examples(decoded.flatten(0, 1), columns + 1, title, background=background, metadata=metadata)
    x = torch.cat([sources.x[:, None], decoded], 1).flatten(0, 1)
    heads = ("example", *(f"s = {s:.3g}" for s in strengths.tolist()))
    return Examples(x, columns + 2, title, column_labels=heads, metadata=metadata)


def attribute_direction(trained: Trained, dataset: Dataset, add: str, subtract: str) -> Float[Tensor, " d"]:
    """The mean code of the class `add` minus that of the class `subtract`, each of 1000 examples at most."""
    if dataset.labels is None:
        raise UserError(f"{dataset.name} has no labels to take classes from: put the images into one folder a class")
    if add == subtract:
        raise UserError(f"add and subtract are both {add}: name two classes")
    parts = (select_class(dataset, name).sample(EXAMPLES_PER_CLASS, 0, "arithmetic") for name in (add, subtract))
    mean_added, mean_subtracted = (trained.encode(part).double().mean(0) for part in parts)
    return (mean_added - mean_subtracted).float()


def select_class(dataset: Dataset, name: str) -> Dataset:
    """The examples of one class, with the labels that they had; UserError where there are none."""
    dataset.filter_classes((name,))
    return dataset.select(dataset.labels == dataset.classes.index(name))
