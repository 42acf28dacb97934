"""Importance weighted autoencoder.  Burda, Grosse & Salakhutdinov, arXiv:1509.00519.

    max_{q, p}  E_x E_{z_1 ... z_k ~ q(z|x)} [ log 1/k sum_i w_i ],      w_i = p(x|z_i) p(z_i) / q(z_i|x)

(equation 8).  With k = 1 it is the ELBO; it grows with k towards log p(x).  Its gradient weighs the samples by
w~_i = w_i / sum_j w_j.  The encoder's part of it gets worse as k grows; with
gradient_estimator="doubly-reparameterized" it is that of Tucker et al., arXiv:1810.04152: unbiased, and better as k
grows.
"""

from math import log
from typing import Any, Literal

from torch import nn

from ..data import Dataset
from ..distributions.likelihoods import Likelihood
from ..distributions.posteriors import detach
from ..errors import UserError
from ..fields import Size
from ..model import Batches, Moves, minimize
from ._variational import Variational


class IWAE(Variational):
    """A VAE trained on a tighter bound: k samples an example, weighed by how well each explains it."""

    latent_samples: Size = 5
    """samples z per example"""
    gradient_estimator: Literal["reparameterized", "doubly-reparameterized"] = "reparameterized"
    """estimator of the encoder's gradient"""

    def validate_data(self, data: Dataset) -> None:
        super().validate_data(data)
        if self.sigma == "optimal":
            raise UserError("sigma=optimal is best for samples that count alike, which these do not: use sigma=learned")
        if self.gradient_estimator != "reparameterized" and self.posterior == "iaf":
            raise UserError("gradient_estimator=doubly-reparameterized needs a Gaussian posterior, not posterior=iaf")

    def step(self, batches: Batches, global_step: int, encoder: nn.Module, decoder: nn.Module, **others: Any) -> Moves:
        x, q, (z, log_q), condition = self.encode_batch(self.training_batch(batches), encoder, self.latent_samples)
        is_doubly_reparameterized = self.gradient_estimator == "doubly-reparameterized"
        log_density = detach(q).log_prob(z) if is_doubly_reparameterized else log_q.sum(2)
        p: Likelihood = decoder(z.flatten(0, 1), *condition)
        log_w = self.log_prior(encoder=encoder, **others)(z) - p.nll(x) - log_density
        if is_doubly_reparameterized:  # the samples' own gradients get the weight squared, all others the weight
            weight = log_w.detach().softmax(0)
            z.register_hook(lambda gradient: weight[:, :, None] * gradient)
        bound = log_w.logsumexp(0) - log(self.latent_samples)
        yield minimize(encoder, decoder, *others.values(), bound=-bound.mean())
