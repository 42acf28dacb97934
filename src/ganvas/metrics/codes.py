"""How a variational autoencoder uses its latent space, measured on examples.

All in nats.  q(z) = E_x q(z|x) is the aggregate posterior.
"""

from math import log

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..posteriors import ACTIVE, Draw, Posterior

PAIRS = 2**22
"""numbers that are computed at once"""


def active_units(
    means: Float[Tensor, "n d"], kl: Float[Tensor, "n m"]
) -> tuple[Bool[Tensor, " d"], Bool[Tensor, " m"]]:
    """Which latent dimensions are used, by the two usual conventions.

    Var_x( E_q[z_j|x] ) > 0.01 (Burda et al., arXiv:1509.00519), and E_x KL_j > 0.01 nats.
    """
    return means.var(0, correction=0) > ACTIVE, kl.mean(0) > ACTIVE


def mutual_information(q: Posterior, draw: Draw) -> float:
    """I(x; z) under q(z|x), for n examples with one draw each: E log q(z|x) - E log q(z), in nats.

    q(z) is the mixture of the n posteriors.  The estimate is at most log n, and too large where the true value comes
    near to that.  Source: Hoffman & Johnson, ELBO Surgery, 2016.
    """
    z, own = draw.z[0], draw.log_q[0].sum(1)
    n, d = z.shape
    rows = max(1, PAIRS // (n * d))
    mixture = [q.log_prob(part[:, None].expand(-1, n, -1)).logsumexp(1) - log(n) for part in z.split(rows)]
    return (own - torch.cat(mixture)).mean().item()


def distance_from_prior(kl: float, information: float) -> float:
    """KL(q(z) || p(z)) = E_x KL(q(z|x) || p(z)) - I(x; z), in nats (Hoffman & Johnson, 2016)."""
    return kl - information
