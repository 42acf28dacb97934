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


def frechet_distance(a: Float[Tensor, "n d"], b: Float[Tensor, "m e"]) -> float:
    """|mu_a - mu_b|^2 + tr( S_a + S_b - 2 (S_a S_b)^{1/2} ), for the means and covariances of two sets of features.

    That is the squared Wasserstein-2 distance of the Gaussians with these moments, the FID if the features are those
    of Inception: Heusel et al., arXiv:1706.08500.  On few examples it is biased upwards.  With A^T A = S_a and
    B^T B = S_b, the last trace is the sum of the singular values of A B^T, which needs no square root of a matrix and
    takes singular covariances as they are; A is the triangular factor of the centred features.
    """
    if a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise UserError(
            f"features of {tuple(a.shape)} and {tuple(b.shape)}: give two or more of each, with as many numbers"
        )
    a, b = a.double().cpu(), b.double().cpu()
    offset = (a.mean(0) - b.mean(0)).square().sum()
    A, B = (torch.linalg.qr(x - x.mean(0), mode="r").R / (len(x) - 1) ** 0.5 for x in (a, b))
    spread = A.square().sum() + B.square().sum() - 2 * torch.linalg.svdvals(A @ B.T).sum()
    return max(0.0, float(offset + spread))
