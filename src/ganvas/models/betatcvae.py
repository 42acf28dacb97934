"""Beta-TC-VAE.  Chen et al., Isolating Sources of Disentanglement in VAEs, arXiv:1802.04942.

    E_x KL( q(z|x) || p(z) )  =  I(x; z)  +  KL( q(z) || prod_j q(z_j) )  +  sum_j KL( q(z_j) || p(z_j) )

mutual information, total correlation, and the divergence of each dimension; the objective weighs the
three by alpha, beta and gamma.  q(z) = E_x q(z|x) is estimated from the batch, by minibatch weighted
sampling: log q(z_i) = log 1/(N M) sum_j q(z_i|x_j) over a batch of M out of N examples.
"""

from math import log
from typing import ClassVar, Literal

from torch import nn

from ..distributions.likelihoods import Likelihood
from ..distributions.posteriors import DiagonalGaussian, normal_log_prob
from ..fields import Weight
from ..model import Batches, Moves, minimize
from ..objectives.adversarial import Scalar
from ..ranks import gather_batch, rank
from ._latent import Codes
from ._variational import Variational


class BetaTCVAE(Variational):
    """A VAE that makes its latent dimensions independent: it penalises their total correlation."""

    ignored_options: ClassVar[tuple[str, ...]] = ("keep", "rank", "flow_steps", "flow_width", "pseudo_inputs")

    posterior: Literal["diagonal"] = "diagonal"  # dimensions must be independent
    prior: Literal["standard"] = "standard"
    alpha: Weight = 1.0
    """weight of the mutual information"""
    beta: Weight = 6.0
    """weight of the total correlation"""
    gamma: Weight = 1.0
    """weight of the divergence of each dimension"""

    def step(self, batches: Batches, global_step: int, encoder: nn.Module, decoder: nn.Module) -> Moves:
        batch = self.training_batch(batches)
        x, q, samples, condition = self.encode_batch(batch, encoder)
        p: Likelihood = decoder(samples.z[0], *condition)
        assert isinstance(q, DiagonalGaussian)
        information, correlation, dimensions = decompose_kl(q, samples.z[0], batch.dataset_size or len(x))
        kl = {"information": self.alpha * information, "correlation": self.beta * correlation}
        yield minimize(encoder, decoder, reconstruction=p.nll(x).mean(), **kl, dimensions=self.gamma * dimensions)


def decompose_kl(q: DiagonalGaussian, z: Codes, dataset_size: int) -> tuple[Scalar, Scalar, Scalar]:
    """Estimates, in nats, of I(x; z), KL(q(z) || prod_j q(z_j)) and sum_j KL(q(z_j) || p(z_j)).

    `z` are samples of the b posteriors q, drawn from a data set of `dataset_size` examples.  They sum to the mean of
    log q(z|x) - log p(z).  Of several ranks each takes its own samples under the posteriors of all.
    """
    q = DiagonalGaussian(*map(gather_batch, q))
    pairs = normal_log_prob((z[:, None] - q.mean) / q.scale) - q.scale.log()  # b samples x M posteriors x d
    norm = log(dataset_size * len(q.mean))
    log_posterior = pairs.diagonal(rank() * len(z)).sum()  # b samples, each under its own posterior
    joint = (pairs.sum(2).logsumexp(1) - norm).sum()
    marginals = (pairs.logsumexp(1) - norm).sum()
    prior = normal_log_prob(z).sum()
    return (log_posterior - joint) / len(z), (joint - marginals) / len(z), (marginals - prior) / len(z)
