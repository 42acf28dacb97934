"""Gaussian posteriors q(z|x) = N(mu, Sigma), from the raw outputs of an encoder.

Heads compute in float32 whatever the precision of the network; a standard deviation is a softplus with a
floor, so that neither its logarithm nor its inverse overflows.
"""

from math import log, pi
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from .objectives import kl_diagonal, kl_full

FLOOR = 1e-4
"""smallest standard deviation, in units of the prior's"""
UNIT = 0.5413248546129181
"""softplus(UNIT) = 1: an untrained head starts near the prior's own scale"""


class Diagonal(NamedTuple):
    """N(mu, diag(sigma^2))."""

    mean: Float[Tensor, "b d"]
    scale: Float[Tensor, "b d"]

    @staticmethod
    def size(d: int) -> int:
        """Numbers an encoder returns for d dimensions of z: mu and sigma."""
        return 2 * d

    @classmethod
    def of(cls, raw: Float[Tensor, "b n"]) -> "Diagonal":
        """The posterior for the raw outputs of an encoder, n = 2 d."""
        mean, scale = precise(raw).chunk(2, dim=1)
        return cls(mean, softplus(scale + UNIT) + FLOOR)

    def sample(self) -> Float[Tensor, "b d"]:
        """z = mu + sigma * epsilon: the reparameterised sample (arXiv:1312.6114, section 2.4)."""
        return torch.addcmul(self.mean, self.scale, torch.randn_like(self.mean))

    def log_prob(self, z: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
        """log q(z|x), in nats."""
        epsilon = (z - self.mean) / self.scale
        return standard_normal_log_prob(epsilon) - self.scale.log().sum(1)

    def kl(self) -> Float[Tensor, " b"]:
        """KL(q || N(0, I)), in nats."""
        return kl_diagonal(self.mean, self.scale)

    @property
    def covariance(self) -> Float[Tensor, "b d d"]:
        return self.scale.square().diag_embed()


class Full(NamedTuple):
    """N(mu, L L^T), with L the Cholesky factor of the covariance."""

    mean: Float[Tensor, "b d"]
    scale_tril: Float[Tensor, "b d d"]

    @staticmethod
    def size(d: int) -> int:
        """Numbers an encoder returns for d dimensions of z: mu and the lower triangle of L."""
        return d + d * (d + 1) // 2

    @classmethod
    def of(cls, raw: Float[Tensor, "b n"]) -> "Full":
        """The posterior for the raw outputs of an encoder, n = d + d (d + 1) / 2."""
        d = int(((9 + 8 * raw.shape[1]) ** 0.5 - 3) / 2 + 0.5)  # the root of n = d + d (d + 1) / 2
        mean, diagonal, below = precise(raw).split([d, d, d * (d - 1) // 2], dim=1)
        factor = (softplus(diagonal + UNIT) + FLOOR).diag_embed()
        row, column = torch.tril_indices(d, d, -1, device=raw.device)
        # out of place: the factor is differentiated through both of its parts
        return cls(mean, factor.index_put((torch.arange(len(raw), device=raw.device)[:, None], row, column), below))

    def sample(self) -> Float[Tensor, "b d"]:
        """z = mu + L epsilon."""
        epsilon = torch.randn_like(self.mean)
        return self.mean + (self.scale_tril @ epsilon[:, :, None])[:, :, 0]

    def log_prob(self, z: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
        """log q(z|x), in nats."""
        offset = (z - self.mean)[:, :, None]
        epsilon = torch.linalg.solve_triangular(self.scale_tril, offset, upper=False)[:, :, 0]
        return standard_normal_log_prob(epsilon) - self.scale_tril.diagonal(dim1=1, dim2=2).log().sum(1)

    def kl(self) -> Float[Tensor, " b"]:
        """KL(q || N(0, I)), in nats."""
        return kl_full(self.mean, self.scale_tril)

    @property
    def covariance(self) -> Float[Tensor, "b d d"]:
        return self.scale_tril @ self.scale_tril.mT


POSTERIORS: dict[str, type[Diagonal] | type[Full]] = {"diagonal": Diagonal, "full": Full}


def precise(raw: Tensor) -> Tensor:
    """In float32 at least."""
    return raw.to(torch.promote_types(raw.dtype, torch.float32))


def standard_normal_log_prob(z: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
    """log N(z; 0, I), in nats."""
    return -0.5 * (z.square().sum(1) + z.shape[1] * log(2 * pi))
