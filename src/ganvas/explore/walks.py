"""Walks through the latent space: from one code to another, and along the difference between two classes."""

from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ..data import DataOptions, Dataset, Source
from ..data.memory import check_examples_fit
from ..errors import UserError, check_positive
from ..inference.loading import load_preprocessed
from ..inference.sampling import sample_examples
from ..inference.trained import NO_NOISE, Trained
from ..model import EncoderModel, GenerativeModel, Model
from ..randomness import make_generator
from ..training.run_records import load_run
from ..viz.images import ANIMATION_SUFFIXES, Examples
from .dimensions import BACKGROUND_SIZE, background_vectors

InterpolationPath = Literal["linear", "spherical"]
EXAMPLES_PER_CLASS = 1000
"""examples at most from which the mean code of a class is taken"""


def interpolate(
    trained: Trained | str | Path,
    data: Source | None = None,
    options: DataOptions | None = None,
    *,
    rows: int = 8,
    columns: int = 10,
    interpolation: InterpolationPath | None = None,
    seed: int = 0,
    label: str | int | None = None,
    fitted_prior: str | None = None,
) -> Examples:
    """`rows` walks of `columns` examples each.

    Without data, each goes between two draws of the model's noise, or from a `fitted_prior`, as in `Trained.sample`; of
    a conditional model in the class `label` or else through the classes in turn.  With data it goes between the codes
    of two examples, the ends being their reconstructions.  The `interpolation` is a line or an arc of a great circle:
    by default spherical between noise, linear between codes and between draws from a fitted prior.  Of a uniform prior
    the arc is that of Gaussian codes at the same quantiles, so that it stays where the prior is.  A conditional model
    takes the label of the nearer end, and CTGAN holds the condition of the first.  Saved as .gif or .webp, images move.
    """
    trained = load_run(trained)
    check_positive(rows, "rows")
    if columns < 2:
        raise UserError(f"columns={columns}: a walk has at least its two ends")
    if interpolation not in (None, "linear", "spherical"):
        raise UserError(f"interpolation={interpolation!r}: a walk is linear or spherical")
    random = make_generator(torch.device("cpu"), seed, "interpolate")
    trained.require(GenerativeModel, NO_NOISE)
    check_examples_fit(rows * columns, trained.shape, f"rows={rows} and columns={columns}")
    if data is None:
        is_noise = trained.get_fitted_prior(fitted_prior) is None
        endpoints = even_then_odd(trained.draw_codes(2 * rows, random, fitted_prior))
        labels = trained.class_labels(rows, label)
        labels = labels if labels is None else labels.repeat(2)
        background = None
        if len(trained.shape) == 1:
            background = sample_examples(trained, BACKGROUND_SIZE, seed=seed, label=label, fitted_prior=fitted_prior).x
    else:
        trained.require(EncoderModel, "has no encoder: interpolate without data")
        if label is not None:
            raise UserError(f"label={label}: the examples' own labels are used, so leave it out")
        if fitted_prior is not None:
            raise UserError(f"fitted_prior={fitted_prior}: walks are between examples, so leave it out")
        is_noise = False
        dataset = load_preprocessed(trained, data, options)
        if len(dataset) < 2 * rows:
            raise UserError(f"{dataset.name} has {len(dataset)} examples, but {rows} rows need {2 * rows}")
        endpoint_examples = dataset.select(even_then_odd(torch.randperm(len(dataset), generator=random)[: 2 * rows]))
        endpoints, labels = trained.encode(endpoint_examples), endpoint_examples.labels
        background = background_vectors(trained, dataset, seed)
    is_linear = (interpolation or ("spherical" if is_noise else "linear")) == "linear"
    z = walk_between(trained.model, endpoints, columns, is_linear)
    if labels is not None:
        first_label, last_label = labels[:, None].chunk(2)
        labels = torch.where(torch.linspace(0, 1, columns) < 0.5, first_label, last_label).flatten()
    decoded = trained.decode(z.flatten(0, 1), labels)
    return replace(decoded, columns=columns, background=background, is_walk=len(trained.shape) > 1)


def walk_between(
    model: Model, endpoints: Float[Tensor, "both d"], columns: int, is_linear: bool
) -> Float[Tensor, "r columns d"]:
    """Walks from the codes of the first half to those of the second; a condition at their end is held."""
    noise, condition = endpoints.tensor_split([endpoints.shape[1] - model.condition_numbers], 1)
    first, last = (noise if is_linear else model.to_normal(noise)).chunk(2)
    z = lerp(first, last, columns) if is_linear else model.from_normal(slerp(first, last, columns))
    return torch.cat([z, condition[: len(z), None].expand(-1, columns, -1)], 2)


def default_columns(trained: Trained, out: Path | None) -> int:
    """Examples of a walk that is written there: as many as make an animation smooth, or few enough for a picture."""
    return 60 if len(trained.shape) > 1 and out is not None and out.suffix.lower() in ANIMATION_SUFFIXES else 10


def even_then_odd(x: Tensor) -> Tensor:
    """Every second row, then the others: first and last ends, so that a walk is the same whatever `rows` is."""
    return torch.cat([x[0::2], x[1::2]])


def lerp(a: Float[Tensor, "r d"], b: Float[Tensor, "r d"], columns: int) -> Float[Tensor, "r columns d"]:
    """Straight lines from a to b."""
    return torch.lerp(a[:, None], b[:, None], torch.linspace(0, 1, columns)[:, None])


def slerp(a: Float[Tensor, "r d"], b: Float[Tensor, "r d"], columns: int) -> Float[Tensor, "r columns d"]:
    """Great-circle arcs from a to b (Shoemake, 1985; White, arXiv:1609.04468): codes keep the norm of noise."""
    cosine = torch.cosine_similarity(a, b, dim=1).clamp(-1 + 1e-6, 1 - 1e-6)
    angle = cosine.arccos()[:, None, None]
    t = torch.linspace(0, 1, columns)[:, None]
    return (((1 - t) * angle).sin() * a[:, None] + (t * angle).sin() * b[:, None]) / angle.sin()


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
    on = subtract if on is None else on
    sources = select_class(dataset, on).select(slice(rows))
    strengths = torch.linspace(0, strength, columns + 1)
    z = trained.encode(sources)[:, None] + strengths[:, None] * difference
    labels = None if sources.labels is None else sources.labels.repeat_interleave(columns + 1)
    decoded = trained.decode(z.flatten(0, 1), labels)
    title = f"{on} + s (mean code of {add} - mean code of {subtract})"
    metadata = {"strengths": strengths.tolist(), "length": difference.norm().item()}
    if len(trained.shape) == 1:
        background = background_vectors(trained, dataset)
        return replace(decoded, columns=columns + 1, title=title, background=background, metadata=metadata)
    x = torch.cat([sources.x[:, None], decoded.x.unflatten(0, (len(sources), columns + 1))], 1).flatten(0, 1)
    heads = ("example", *(f"s = {s:.3g}" for s in strengths.tolist()))
    return replace(decoded, x=x, columns=columns + 2, title=title, column_labels=heads, metadata=metadata)


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
