"""The dimensions of the latent space: how codes use them, traversals, a plane of two, where codes lie in it."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..data import DataOptions, Dataset, Source
from ..data.memory import check_examples_fit
from ..errors import UserError, check_positive
from ..inference.loading import load_preprocessed
from ..inference.trained import MAX_EXAMPLES_PER_CHUNK, NO_NOISE, Trained
from ..model import Batch, EncoderModel, GenerativeModel, model_name, to_dict
from ..randomness import make_generator, reseed
from ..training.run_records import load_run
from ..viz.images import Examples

TRAVERSAL_RANGE = 3.0
"""standard deviations to which a traversal goes on both sides"""
BACKGROUND_SIZE = 2000
"""vectors that a plot shows in grey, and codes that it shows by class"""


class LatentUsage(NamedTuple):
    """How the codes of a dataset use the latent dimensions."""

    weight: Float[Tensor, " d"]
    """what the dimensions are sorted by"""
    weight_name: str
    """what the weight is: KL or variance"""
    centre: Float[Tensor, " d"]
    """where codes lie in the middle: 0 where N(0, I) is the prior, else their mean"""
    scale: Float[Tensor, " d"]
    """how far they spread: 1 where N(0, I) is the prior, else their standard deviation"""

    @property
    def order(self) -> list[int]:
        """The dimensions, that with the largest weight first."""
        return [int(j) for j in self.weight.argsort(descending=True, stable=True)]

    def label(self, j: int) -> str:
        """A dimension as a picture names it."""
        return f"z[{j}] ({self.weight_name} {self.weight[j]:.2f})" if self.weight_name else f"z[{j}]"

    def record(self, j: int) -> dict[str, int | float]:
        """A dimension as JSON: its number, from 0, and what it was sorted by."""
        return {"dimension": j} | ({self.weight_name.lower(): self.weight[j].item()} if self.weight_name else {})


def traverse(
    trained: Trained | str | Path,
    data: Source | None = None,
    options: DataOptions | None = None,
    *,
    rows: int = 10,
    columns: int = 11,
    example: int = 0,
) -> Examples:
    """One row a latent dimension: it goes from -3 to 3, all others stay as they are in the code of one example.

    The dimensions with the largest KL(q(z|x) || N(0, I)), averaged over some hundred examples, come first, `rows` of
    them at most.  The unit is the prior's standard deviation.  An autoencoder, which has neither posterior nor prior,
    is sorted by the variance of its codes, and the unit is their standard deviation around their mean; so is the
    unit with a vamp prior.  Without `data`, the examples are those that the run was trained on; where nothing says
    what these were, the walk is around 0, the dimensions in their own order.
    """
    trained = load_run(trained)
    check_positive(rows, "rows")
    if columns < 2:
        raise UserError(f"columns={columns}: a traversal has at least its two ends")
    trained.require(GenerativeModel, "has no decoder")
    trained.require(EncoderModel, "has no encoder, so nothing says which latent dimensions matter: interpolate instead")
    check_examples_fit(columns, trained.shape, f"columns={columns}")
    dataset = load_examples(trained, data, options)
    usage = measure_usage(trained, dataset)
    if dataset is None:
        code, labels, origin = usage.centre[None], trained.class_labels(1, None), "0"
    else:
        if not 0 <= example < len(dataset):
            raise UserError(f"example={example}: {dataset.name} has the examples 0 to {len(dataset) - 1}")
        part = dataset.select(slice(example, example + 1))
        code, labels, origin = trained.encode(part), part.labels, f"example {example} of {dataset.name}"
    dimensions, steps = usage.order[:rows], torch.linspace(-TRAVERSAL_RANGE, TRAVERSAL_RANGE, columns)
    z = code.repeat(len(dimensions), columns, 1)
    for row, j in enumerate(dimensions):
        z[row, :, j] = usage.centre[j] + steps * usage.scale[j]
    labels = None if labels is None else labels.expand(len(dimensions) * columns)
    return replace(
        trained.decode(z.flatten(0, 1), labels), columns=columns,
        title=f"one latent dimension a row, around {origin}",
        row_labels=tuple(usage.label(j) for j in dimensions),
        column_labels=tuple(f"{t:+.2g}" if abs(t) > 1e-6 else "0" for t in steps.tolist()),
        background=background_vectors(trained, dataset),
        metadata={"dimensions": [usage.record(j) for j in dimensions]},
    )  # fmt: skip


def manifold(
    trained: Trained | str | Path,
    data: Source | None = None,
    options: DataOptions | None = None,
    *,
    side: int = 20,
    label: str | int | None = None,
) -> Examples:
    """`side` x `side` examples decoded from a plane of codes (Kingma & Welling, arXiv:1312.6114, figure 4).

    The coordinates are the quantiles of the prior, N(0, 1) or uniform, at (i + 1/2) / side.  The plane is that of the
    two latent dimensions with the largest KL (see `traverse`), the first two where nothing is known of it; all others
    are 0.  For an autoencoder, or a vamp prior, the quantiles are those of a Gaussian with the codes' mean and standard
    deviation, and all others are at their mean.  A conditional model shows the class `label`, or else its first.
    """
    trained = load_run(trained)
    check_positive(side, "side")
    trained.require(GenerativeModel, NO_NOISE)
    check_examples_fit(side * side, trained.shape, f"side={side}")
    dataset = load_examples(trained, data, options) if isinstance(trained.model, EncoderModel) else None
    usage, (horizontal, vertical) = select_plane(trained, dataset)
    coordinates = normal_quantiles(side)
    z = usage.centre.repeat(side, side, 1)
    z[:, :, horizontal] += coordinates * usage.scale[horizontal]
    z[:, :, vertical] += coordinates.flip(0)[:, None] * usage.scale[vertical]
    z, quantiles = (trained.model.from_normal(t) for t in (z, coordinates))
    first_class = trained.metadata["classes"][0] if trained.model.is_conditional else None
    labels = trained.class_labels(side * side, first_class if label is None else label)
    title = f"{usage.label(horizontal)} across, {usage.label(vertical)} up"
    if n_other := len(usage.centre) - 2:
        title += f", the other {n_other} at {'their mean' if usage.centre.any() else 0}"
    if labels is not None:
        title += f", class {trained.metadata['classes'][labels[0]]}"
    metadata = {"across": usage.record(horizontal), "up": usage.record(vertical), "quantiles": quantiles.tolist()}
    decoded, background = trained.decode(z.flatten(0, 1), labels), background_vectors(trained, dataset)
    return replace(decoded, columns=side, title=title, background=background, metadata=metadata)


def latent_scatter(trained: Trained, data: Source | None = None, options: DataOptions | None = None) -> Examples:
    """Codes of 2000 examples, or their posteriors' means, in the plane of `manifold`, in the colours of any classes."""
    trained.require(EncoderModel, "has no encoder, so there are no codes of examples")
    dataset = load_examples(trained, data, options)
    if dataset is None:
        raise UserError("nothing says which data this model was trained on: give some whose codes are to be shown")
    usage, (horizontal, vertical) = select_plane(trained, dataset)
    subset = dataset.sample(BACKGROUND_SIZE, 0, "codes")
    return Examples(
        trained.encode(subset)[:, [horizontal, vertical]], row_labels=subset.classes, labels=subset.labels,
        title=f"codes of {dataset.name}: {usage.label(horizontal)} across, {usage.label(vertical)} up",
        metadata={"across": usage.record(horizontal), "up": usage.record(vertical)},
    )  # fmt: skip


def select_plane(trained: Trained, dataset: Dataset | None) -> tuple[LatentUsage, list[int]]:
    """How the latent dimensions are used, and which two are shown, in their own order."""
    usage = measure_usage(trained, dataset)
    if len(usage.centre) < 2:
        raise UserError("a plane needs two latent dimensions, but this model has one: use traverse or interpolate")
    return usage, sorted(usage.order[:2])


def normal_quantiles(n: int) -> Float[Tensor, " n"]:
    """The quantiles of N(0, 1) at (i + 1/2) / n: the inverse of its distribution function."""
    values: Tensor = torch.special.ndtri((torch.arange(n, dtype=torch.float64) + 0.5) / n)
    return values.float()


def load_examples(trained: Trained, data: Source | None, options: DataOptions | None) -> Dataset | None:
    """The examples of a source, or else those that the run was trained on; None where nothing says what these are."""
    if data is not None:
        return load_preprocessed(trained, data, options)
    if (training_data := trained.training_data) is None:
        return None
    changes = {k: v for k, v in to_dict(options or DataOptions()).items() if v != getattr(DataOptions, k)}
    return training_data.load(partial(load_preprocessed, trained), **changes)


def measure_usage(trained: Trained, dataset: Dataset | None) -> LatentUsage:
    """How the model uses its latent dimensions, from some hundred examples; without any, as the prior does.

    The weight of a dimension is its KL(q(z|x) || N(0, I)), averaged over x, in nats.  An autoencoder has no q(z|x):
    there it is the variance of the codes.
    """
    if dataset is None and (trained.model.has_normal_prior or not isinstance(trained.model, EncoderModel)):
        d = trained.sample_prior(1, make_generator(torch.device("cpu"), 0)).shape[1]
        return LatentUsage(torch.zeros(d), "", torch.zeros(d), torch.ones(d))
    if dataset is None:
        name = model_name(trained.model)
        raise UserError(f"where the codes of this {name} lie can only be seen from examples: give some data")
    trained.require(EncoderModel, "has no encoder, so nothing says which latent dimensions matter")
    if len(dataset) < 2:
        raise UserError(f"{dataset.name} has one example, but how codes spread takes two or more")
    part, device = dataset.sample(MAX_EXAMPLES_PER_CHUNK, 0, "usage"), trained.device
    batch = Batch(trained.domain_scaling()(part.x), part.labels).to(device)
    with torch.no_grad(), torch.random.fork_rng(devices=[] if device.type == "cpu" else [device]):
        reseed(device, 0, "usage")
        statistics = {k: v.float().cpu() for k, v in trained.model.monitor(batch, **trained.nets).items()}
    mean, std = statistics["aggregate_mean"], statistics["aggregate_std"]
    if trained.model.has_normal_prior:
        mean, std = torch.zeros_like(mean), torch.ones_like(std)
    if "kl" in statistics and len(statistics["kl"]) == len(std):
        return LatentUsage(statistics["kl"], "KL", mean, std)
    return LatentUsage(std.square(), "variance", mean, std)


def background_vectors(trained: Trained, dataset: Dataset | None, seed: int = 0) -> Tensor | None:
    """Vectors of the data, to be seen behind what is decoded."""
    return None if dataset is None or len(trained.shape) > 1 else dataset.sample(BACKGROUND_SIZE, seed, "ground").x
