"""Kullback-Leibler divergences from a Gaussian posterior to its prior, mostly N(0, I), in closed form.

Each is returned in d terms that sum to it, one a dimension, in nats: free bits act on the terms, and a reader sees
which dimensions are used.  An inverse autoregressive flow has no closed form: see `distributions.posteriors.IAF.kl`.
"""

from jaxtyping import Float
from torch import Tensor

Terms = Float[Tensor, "b d"]


def kl_diagonal(mean: Terms, scale: Terms) -> Terms:
    """KL( N(mu, diag(sigma^2)) || N(0, I) ), term j  =  1/2 ( mu_j^2 + sigma_j^2 - 1 ) - log sigma_j.

    `mean` is mu and `scale` is sigma > 0, both b x d.
    Source: Kingma & Welling, arXiv:1312.6114, appendix B.
    """
    return 0.5 * (mean.square() + scale.square() - 1) - scale.log()


def kl_between_diagonals(mean: Terms, scale: Terms, prior_mean: Terms, prior_scale: Terms) -> Terms:
    """KL( N(m, diag(s^2)) || N(mu, diag(sigma^2)) ): that of `kl_diagonal` in units of the prior, (m - mu) / sigma.

    `mean` is m, `scale` is s > 0, `prior_mean` is mu and `prior_scale` is sigma > 0, all b x d.
    Source: as for `kl_full`.
    """
    return kl_diagonal((mean - prior_mean) / prior_scale, scale / prior_scale)


def kl_full(mean: Terms, scale_tril: Float[Tensor, "b d d"]) -> Terms:
    """KL( N(mu, L L^T) || N(0, I) ), term j  =  1/2 ( mu_j^2 + sum_k L_jk^2 - 1 ) - log L_jj.

    `mean` is mu, b x d; `scale_tril` is L, b x d x d, lower triangular with a positive diagonal, so that
    tr(Sigma) = |L|_F^2 and log det(Sigma) = 2 sum_j log L_jj.  Term j is the divergence of q(z_j | z_1 ... z_(j-1)),
    averaged over what comes before: the chain rule.
    Source: the KL of two Gaussians, e.g. Kingma & Welling, arXiv:1906.02691, section 2.5.1.
    """
    variance = scale_tril.square().sum(2)
    return 0.5 * (mean.square() + variance - 1) - scale_tril.diagonal(dim1=1, dim2=2).log()


def kl_low_rank(mean: Terms, scale: Terms, factor: Float[Tensor, "b d r"], log_det: Float[Tensor, " b"]) -> Terms:
    """KL( N(mu, diag(sigma^2) + U U^T) || N(0, I) ), with the logarithm of the covariance's determinant given.

    `mean` is mu and `scale` is sigma, b x d; `factor` is U, b x d x r.  Term j is the divergence of the marginal
    q(z_j) plus an equal share of the total correlation, KL(q || prod_j q(z_j)) >= 0.
    Source: as for `kl_full`.
    """
    variance = scale.square() + factor.square().sum(2)
    marginal = 0.5 * (mean.square() + variance - 1 - variance.log())
    correlation = 0.5 * (variance.log().sum(1) - log_det)
    return marginal + correlation[:, None] / mean.shape[1]
