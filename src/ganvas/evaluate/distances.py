"""How far apart two sets of examples are."""

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import UserError
from ..randomness import generator


def sliced_wasserstein(
    a: Float[Tensor, "n *shape"], b: Float[Tensor, "..."], *, directions: int = 1000, seed: int = 0
) -> float:
    """Mean over random unit directions of the Wasserstein-1 distance between the two sets' projections.

    `a` and `b` hold n examples each, of any shape; the distance is in their units.  On few examples it is biased
    upwards: compare it with the same number for two halves of the real data.  Source: Rabin et al., Wasserstein
    Barycenter and Its Application to Texture Mixing, 2011; in one dimension the optimal transport sorts.
    """
    if len(a) != len(b) or a.shape[1:] != b.shape[1:]:
        raise UserError(f"sets of {tuple(a.shape)} and {tuple(b.shape)}: give as many examples, of one shape, in both")
    a, b = a.flatten(1).float().cpu(), b.flatten(1).float().cpu()
    direction = torch.randn(a.shape[1], directions, generator=generator(a.device, seed, "directions"))
    direction /= direction.norm(dim=0)
    return ((a @ direction).sort(0).values - (b @ direction).sort(0).values).abs().mean().item()
