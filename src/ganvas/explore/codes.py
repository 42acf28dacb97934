"""Which examples are looked at, and how the model uses the dimensions of their codes."""

from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..data import DataOptions, Dataset, Source
from ..errors import UserError
from ..inference.loading import load_preprocessed
from ..inference.trained import MAX_EXAMPLES_PER_CHUNK, Trained
from ..model import Batch, EncoderModel, device_of, model_name, to_dict
from ..randomness import make_generator, reseed

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


def load_examples(trained: Trained, data: Source | None, options: DataOptions | None) -> Dataset | None:
    """The examples of a source, or else those that the run was trained on; None where nothing says what these are."""
    if data is not None:
        return load_preprocessed(trained, data, options)
    if (training_data := trained.training_data) is None:
        return None
    changes = {k: v for k, v in to_dict(options or DataOptions()).items() if v != getattr(DataOptions, k)}
    return training_data.load(partial(load_preprocessed, trained), **changes)


def measure_usage(trained: Trained, dataset: Dataset) -> LatentUsage:
    """How the model uses its latent dimensions, from some hundred examples.

    The weight of a dimension is its KL(q(z|x) || N(0, I)), averaged over x, in nats.  An autoencoder has no q(z|x):
    there it is the variance of the codes.
    """
    trained.require(EncoderModel, "has no encoder, so nothing says which latent dimensions matter")
    if len(dataset) < 2:
        raise UserError(f"{dataset.name} has one example, but how codes spread takes two or more")
    part, device = dataset.sample(MAX_EXAMPLES_PER_CHUNK, 0, "usage"), device_of(trained.nets)
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


def resolve_usage(trained: Trained, dataset: Dataset | None) -> LatentUsage:
    """How the dimensions are used; without examples, where the prior is, in units of N(0, I)."""
    if dataset is not None:
        return measure_usage(trained, dataset)
    if not trained.model.has_normal_prior and isinstance(trained.model, EncoderModel):
        name = model_name(trained.model)
        raise UserError(f"where the codes of this {name} lie can only be seen from examples: give some data")
    d = trained.sample_prior(1, make_generator(torch.device("cpu"), 0)).shape[1]
    return LatentUsage(torch.zeros(d), "", torch.zeros(d), torch.ones(d))


def background_vectors(trained: Trained, dataset: Dataset | None, seed: int = 0) -> Tensor | None:
    """Vectors of the data, to be seen behind what is decoded."""
    return None if dataset is None or len(trained.shape) == 3 else dataset.sample(BACKGROUND_SIZE, seed, "ground").x
