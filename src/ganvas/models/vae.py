"""Variational autoencoder.  Kingma & Welling, Auto-Encoding Variational Bayes, arXiv:1312.6114.

    min_{q, p}  E_x [ E_{z ~ q(z|x)} L(x, g(z))  +  beta KL( q(z|x) || N(0, I) ) ],      q(z|x) = N(mu(x), Sigma(x))

The encoder returns the mean mu and the covariance Sigma, a diagonal or, as Sigma = C C^T with the Cholesky
factor C, a full one.  L(x, g(z)) = -log p(x|z), a Bernoulli or a Gaussian likelihood, in nats.  With beta = 1 the
objective is minus the evidence lower bound (ELBO); beta is the lecture's lambda, and the beta of the beta-VAE
(Higgins et al., ICLR 2017).
"""

from collections.abc import Iterator
from typing import Annotated, Literal, final

import torch
from jaxtyping import Float
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from ..data import Collection
from ..errors import UserError
from ..model import STRICT, Batch, Move, Shape, minimize
from ..nets import decoder, encoder
from ..objectives import bernoulli_nll, gaussian_nll
from ..posteriors import POSTERIORS, Diagonal, Full
from .latent import LatentModel


@final
@dataclass(frozen=True, kw_only=True, config=STRICT)
class VAE(LatentModel):
    """Learn a latent space from which N(0, I) decodes to new examples, by maximising a bound on log p(x)."""

    span = (0.0, 1.0)
    kept = ("encoder", "decoder")

    covariance: Literal["diagonal", "full"] = "diagonal"
    """covariance of the posterior q(z|x)"""
    likelihood: Literal["gaussian", "bernoulli"] = "gaussian"
    """p(x|z)"""
    sigma: Annotated[float, Field(gt=0)] = 0.4
    """standard deviation of a gaussian p(x|z); pixels lie in [0, 1]"""
    beta: Annotated[float, Field(ge=0)] = 1.0
    """weight of the KL term: the lecture's lambda"""

    def check(self, data: Collection) -> None:
        if self.likelihood == "bernoulli" and not data.are_images and not 0 <= data.x.min() <= data.x.max() <= 1:
            raise UserError(
                f"likelihood=bernoulli needs numbers from 0 to 1, but {data.name} has {data.x.min():g} to "
                f"{data.x.max():g}: use likelihood=gaussian, or scale them"
            )

    def networks(self, shape: Shape) -> dict[str, nn.Module]:
        outputs = POSTERIORS[self.covariance].size(self.latent)
        return {
            "encoder": encoder(self.net, shape, outputs, self.width, self.depth),
            "decoder": decoder(self.net, self.latent, shape, self.width, self.depth),
        }

    def step(self, batches: Iterator[Batch], encoder: nn.Module, decoder: nn.Module) -> Iterator[Move]:
        x, _ = next(batches)
        reconstruction, kl = self.elbo_terms(x, encoder, decoder)
        yield minimize(encoder, decoder, reconstruction=reconstruction.mean(), kl=self.beta * kl.mean())

    def elbo_terms(
        self, x: Float[Tensor, "n *shape"], encoder: nn.Module, decoder: nn.Module
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
        """-log p(x|z) for one sample z ~ q(z|x), and KL(q(z|x) || N(0, I)), each n numbers in nats.

        ELBO = -(sum of the two): equations 7 and 10 of the paper.
        """
        q = self.posterior(x, encoder)
        return self.nll(x, decoder(q.sample())), q.kl()

    def posterior(self, x: Float[Tensor, "n *shape"], encoder: nn.Module) -> Diagonal | Full:
        """q(z|x), with its `mean` (n x d) and `covariance` (n x d x d)."""
        raw: Tensor = encoder(x)
        return POSTERIORS[self.covariance].of(raw)

    def nll(self, x: Float[Tensor, "n *shape"], y: Float[Tensor, "n *shape"]) -> Float[Tensor, " n"]:
        """L(x, g(z)) = -log p(x|z) in nats, for the decoder's outputs y."""
        return bernoulli_nll(x, y) if self.likelihood == "bernoulli" else gaussian_nll(x, self.mean(y), self.sigma)

    def mean(self, y: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *shape"]:
        """E[x|z] for the decoder's outputs y: in [0, 1] for a Bernoulli and for pixels, anywhere for vectors."""
        return y if self.likelihood == "gaussian" and y.ndim == 2 else y.sigmoid()

    def encode(self, x: Float[Tensor, "n *shape"], encoder: nn.Module, **_: nn.Module) -> Float[Tensor, "n d"]:
        """The posterior's mean mu(x)."""
        return self.posterior(x, encoder).mean

    def draw_codes(self, x: Float[Tensor, "n *shape"], encoder: nn.Module, **_: nn.Module) -> Float[Tensor, "n d"]:
        """z ~ q(z|x), one code an example."""
        return self.posterior(x, encoder).sample()

    def generate(self, z: Float[Tensor, "n d"], decoder: nn.Module, **_: nn.Module) -> Float[Tensor, "n *shape"]:
        """E[x|z]."""
        return self.mean(decoder(z))

    def preview(self, batch: Batch, encoder: nn.Module, decoder: nn.Module) -> Float[Tensor, "rows n *shape"]:
        """Rows: examples, their reconstructions from the posterior's mean, samples from the prior."""
        codes = self.encode(batch.x, encoder)
        z = torch.cat([codes, torch.randn_like(codes)])
        return torch.stack([batch.x, *self.generate(z, decoder).chunk(2)])
