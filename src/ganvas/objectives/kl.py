"""Kullback-Leibler divergences from a Gaussian posterior to the prior N(0, I), in closed form."""

from jaxtyping import Float
from torch import Tensor


def kl_diagonal(mean: Float[Tensor, "b d"], scale: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
    """KL( N(mu, diag(sigma^2)) || N(0, I) )  =  1/2 sum_j ( mu_j^2 + sigma_j^2 - 1 - 2 log sigma_j ).

    `mean` is mu and `scale` is sigma > 0, both b x d.  Returns b numbers, in nats.
    Source: Kingma & Welling, arXiv:1312.6114, appendix B.
    """
    return 0.5 * (mean.square() + scale.square() - 1 - 2 * scale.log()).sum(1)


def kl_full(mean: Float[Tensor, "b d"], scale_tril: Float[Tensor, "b d d"]) -> Float[Tensor, " b"]:
    """KL( N(mu, L L^T) || N(0, I) )  =  1/2 ( |mu|^2 + |L|_F^2 - d ) - sum_j log L_jj.

    `mean` is mu, b x d; `scale_tril` is L, b x d x d, lower triangular with a positive diagonal, so
    that tr(Sigma) = |L|_F^2 and log det(Sigma) = 2 sum_j log L_jj.  Returns b numbers, in nats.
    Source: the KL of two Gaussians, e.g. Kingma & Welling, arXiv:1906.02691, section 2.5.1.
    """
    log_det = scale_tril.diagonal(dim1=1, dim2=2).log().sum(1)
    d = mean.shape[1]
    return 0.5 * (mean.square().sum(1) + scale_tril.square().sum((1, 2)) - d) - log_det
