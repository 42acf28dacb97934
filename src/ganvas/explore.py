"""Walks through the latent space."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from .artifact import Trained, at_least_one
from .data import Source, View
from .errors import UserError
from .model import Encodes, Samples
from .pictures import Examples
from .randomness import generator


def interpolate(
    trained: Trained,
    rows: int = 8,
    columns: int = 10,
    *,
    seed: int = 0,
    data: Source | None = None,
    view: View | None = None,
) -> Examples:
    """`rows` walks of `columns` examples each.

    Without data, each goes along the sphere between two draws of the model's noise; with data, along the line
    between the codes of two examples, the ends being their reconstructions.
    """
    at_least_one(rows, "rows")
    if columns < 2:
        raise UserError(f"columns={columns}: a walk has at least its two ends")
    random = generator(torch.device("cpu"), seed, "interpolate")
    trained.needs(Samples, "draws no examples from noise")
    if data is None:
        ends = trained.noise(2 * rows, random)
        z = slerp(ends[:rows], ends[rows:], columns)
    else:
        trained.needs(Encodes, "has no encoder: interpolate without data")
        collection = trained.fitting(data, view)
        if len(collection) < 2 * rows:
            raise UserError(f"{collection.name} has {len(collection)} examples, but {rows} rows need {2 * rows}")
        picked = torch.randperm(len(collection), generator=random)[: 2 * rows]
        codes = trained.encode(replace(collection, x=collection.x[picked], labels=None))
        z = lerp(codes[:rows], codes[rows:], columns)
    return Examples(trained.decode(z.flatten(0, 1)).x, columns)


def lerp(a: Float[Tensor, "r d"], b: Float[Tensor, "r d"], columns: int) -> Float[Tensor, "r columns d"]:
    """Straight lines from a to b."""
    return torch.lerp(a[:, None], b[:, None], torch.linspace(0, 1, columns)[:, None])


def slerp(a: Float[Tensor, "r d"], b: Float[Tensor, "r d"], columns: int) -> Float[Tensor, "r columns d"]:
    """Great-circle arcs from a to b (Shoemake, 1985; White, arXiv:1609.04468): codes keep the norm of noise."""
    cosine = torch.cosine_similarity(a, b, dim=1).clamp(-1 + 1e-6, 1 - 1e-6)
    angle = cosine.arccos()[:, None, None]
    t = torch.linspace(0, 1, columns)[:, None]
    return (((1 - t) * angle).sin() * a[:, None] + (t * angle).sin() * b[:, None]) / angle.sin()
