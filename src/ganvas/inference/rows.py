"""Rows of a table from a trained model."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..models._latent import LatentModel
from ..randomness import draw_rows, make_generator
from ..table_shape import TableShape

if TYPE_CHECKING:
    from .trained import Trained


def draw_noise(shape: Any, n: int, seed: int) -> Tensor | None:
    """Uniform numbers by which n rows of a table are drawn, given their codes; None for examples of another shape."""
    if not isinstance(shape, TableShape):
        return None
    random, size = make_generator(torch.device("cpu"), seed, "rows"), shape.noise_size
    return draw_rows(n, lambda m: (torch.rand(m, size, generator=random),))[0]


def draw_rows_of(trained: "Trained", z: Tensor, noise: Tensor, *labels: Tensor) -> Tensor:
    """The rows for latent codes z, n x d, n x c numbers, whose entries are drawn by this noise."""
    model, shape = trained.model, trained.shape
    assert isinstance(model, LatentModel)
    assert isinstance(shape, TableShape)
    return trained.domain_scaling().inverse(model.draw(z, shape, noise, *labels, **trained.nets))
