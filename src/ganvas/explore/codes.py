"""Which examples are looked at, and how the model uses the dimensions of their codes."""

from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..data import Collection, Source, View
from ..errors import UserError
from ..inference.trained import CHUNK, Trained
from ..model import Batch, Encodes, device_of, name_of, plain
from ..randomness import generator, reseed

GROUND = 2000
"""vectors that a plot shows in grey, and codes that it shows by class"""


class Usage(NamedTuple):
    """How the codes of a collection use the latent dimensions."""

    weight: Float[Tensor, " d"]
    """what the dimensions are sorted by"""
    measure: str
    """what the weight is: KL or variance"""
    centre: Float[Tensor, " d"]
    """where codes lie in the middle: 0 where N(0, I) is the prior, else their mean"""
    unit: Float[Tensor, " d"]
    """how far they spread: 1 where N(0, I) is the prior, else their standard deviation"""

    @property
    def order(self) -> list[int]:
        """The dimensions, that with the largest weight first."""
        return [int(j) for j in self.weight.argsort(descending=True, stable=True)]


def examples_of(trained: Trained, data: Source | None, view: View | None) -> Collection | None:
    """The examples of a source, or else those that the run was trained on; None where nothing says what these are."""
    if data is not None:
        return trained.fitting(data, view)
    origin = trained.origin()
    if origin is None:
        return None
    source, own = origin
    asked = {name: value for name, value in plain(view or View()).items() if value != getattr(View, name)}
    try:
        return trained.fitting(source, replace(own, **asked))
    except UserError as error:
        said = str(error).rstrip(".")
        raise UserError(f"cannot read again what the run was trained on: {said}; or give other data") from error


def usage(trained: Trained, collection: Collection) -> Usage:
    """How the model uses its latent dimensions, from some hundred examples.

    The weight of a dimension is its KL(q(z|x) || N(0, I)), averaged over x, in nats.  An autoencoder has no q(z|x):
    there it is the variance of the codes.
    """
    trained.needs(Encodes, "has no encoder, so nothing says which latent dimensions matter")
    if len(collection) < 2:
        raise UserError(f"{collection.name} has one example, but how codes spread takes two or more")
    part, device = collection.some(CHUNK, 0, "usage"), device_of(trained.nets)
    batch = Batch(trained.inputs(part.x), part.labels).to(device)
    with torch.no_grad(), torch.random.fork_rng(devices=[] if device.type == "cpu" else [device]):
        reseed(device, 0, "usage")
        seen = {k: v.float().cpu() for k, v in trained.model.observe(batch, **trained.nets).items()}
    mean, std = seen["aggregate_mean"], seen["aggregate_std"]
    if trained.model.normal:
        mean, std = torch.zeros_like(mean), torch.ones_like(std)
    if "kl" in seen and len(seen["kl"]) == len(std):
        return Usage(seen["kl"], "KL", mean, std)
    return Usage(std.square(), "variance", mean, std)


def without_data(trained: Trained) -> Usage | None:
    """What is known of the codes without any example: where the prior is, in units of N(0, I); of others nothing."""
    if not trained.model.normal and isinstance(trained.model, Encodes):
        return None
    d = trained.noise(1, generator(torch.device("cpu"), 0)).shape[1]
    return Usage(torch.zeros(d), "", torch.zeros(d), torch.ones(d))


def usage_of(trained: Trained, collection: Collection | None) -> Usage:
    """How the dimensions are used, or what is known of that without examples; UserError where that is nothing."""
    known = without_data(trained) if collection is None else usage(trained, collection)
    if known is None:
        raise UserError(
            f"where the codes of this {name_of(trained.model)} lie can only be seen from examples: give some data"
        )
    return known
