"""Reconstruction terms L(x, g(z)): negative log-likelihoods in nats, summed over each example."""

from math import log, pi

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus


def squared_error(x: Float[Tensor, "b *shape"], mean: Float[Tensor, "b *shape"]) -> Float[Tensor, " b"]:
    """|x - g(z)|^2, summed over the dimensions of each example.

    Source: the autoencoder of Hinton & Salakhutdinov, Science 313 (2006).
    """
    return (x - mean).square().flatten(1).sum(1)


def bernoulli_nll(x: Float[Tensor, "b *shape"], logits: Float[Tensor, "b *shape"]) -> Float[Tensor, " b"]:
    """-log p(x|z)  =  -sum_i ( x_i log p_i + (1 - x_i) log(1 - p_i) )  with  p = sigmoid(logits).

    With l the logits that is  sum_i ( softplus(l_i) - x_i l_i ), which no logit makes infinite.  `x` lies in [0, 1];
    the value is a log-likelihood only where x is 0 or 1, and a cross-entropy otherwise.  Returns b numbers, in nats.
    Source: Kingma & Welling, arXiv:1312.6114, appendix C.1.
    """
    return torch.addcmul(softplus(logits), x, logits, value=-1).flatten(1).sum(1)


def gaussian_nll(x: Float[Tensor, "b *shape"], mean: Float[Tensor, "b *shape"], sigma: float) -> Float[Tensor, " b"]:
    """-log N(x; mean, sigma^2 I)  =  |x - mean|^2 / (2 sigma^2) + D log sigma + D/2 log(2 pi).

    `sigma` > 0 is one standard deviation for all D dimensions, in the units of x.  Returns b numbers,
    in nats.  Source: Kingma & Welling, arXiv:1312.6114, appendix C.2.
    """
    constant = x[0].numel() * (log(sigma) + 0.5 * log(2 * pi))
    return squared_error(x, mean) / (2 * sigma**2) + constant
