"""How a variational autoencoder uses its latent space, measured on examples.

All in nats.  q(z) = E_x q(z|x) is the aggregate posterior, whose KL(q(z) || p(z)) = E_x KL(q(z|x) || p(z)) - I(x; z)
(Hoffman & Johnson, ELBO Surgery, 2016) has an upper bound where I, the information, has a lower one, and vice versa.
"""

from math import log
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..distributions.posteriors import ACTIVE_THRESHOLD, Posterior, PosteriorSamples

Used = Bool[Tensor, " _"]
MAX_DENSITIES = 2**22
"""numbers that are computed at once"""


def active_units(means: Float[Tensor, "n d"], kl: Float[Tensor, "n m"]) -> tuple[Used, Used]:
    """Which dimensions are used: Var_x( E_q[z_j|x] ) > 0.01 (arXiv:1509.00519), and E_x KL_j > 0.01 nats."""
    return means.var(0, correction=0) > ACTIVE_THRESHOLD, kl.mean(0) > ACTIVE_THRESHOLD


class MutualInformationBounds(NamedTuple):
    """Bounds on the mutual information of examples and codes, in nats: the truth lies between their expectations."""

    lower: float
    """never above log n, and so far too small where the truth is near log n or above"""
    upper: float
    """far too large where codes of different examples hardly overlap"""


def mutual_information_bounds(q: Posterior, samples: PosteriorSamples) -> MutualInformationBounds:
    """I(x; z) under q(z|x) = E log q(z|x) - E log q(z), between two bounds, for n >= 2 examples with one draw each.

    In place of q(z) is the mixture of all n posteriors, in which the example's own makes it too large and I too small;
    or that of the n - 1 others, too small, so that I is too large.  Both are near the truth where n is much larger than
    exp(I).  Source: Poole et al., On Variational Bounds of Mutual Information, arXiv:1905.06922.
    """
    z, log_posterior = samples.z[0], samples.log_q[0].sum(1)
    n, d = z.shape
    rows, mixture, others = max(1, MAX_DENSITIES // (n * d)), [], []
    for i in range(0, n, rows):
        log_q = q.log_prob(z[i : i + rows, None].expand(-1, n, -1)).double()
        mixture.append(log_q.logsumexp(1) - log(n))
        log_q.diagonal(i).fill_(-torch.inf)
        others.append(log_q.logsumexp(1) - log(max(1, n - 1)))
    lower, upper = ((log_posterior - torch.cat(log_mixture)).mean().item() for log_mixture in (mixture, others))
    return MutualInformationBounds(lower, upper)
