"""Reconstruction terms L(x, g(z)): negative log-likelihoods in nats, summed over the D dimensions of an example.

Examples and a decoder's outputs are flat, D numbers each; leading axes are broadcast, so that k decodings of an
example need no k copies of it.
"""

from math import log, pi

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

Values = Float[Tensor, "*#b D"]
PerExample = Float[Tensor, "*b"]
LEVELS = 256
"""grey levels of a byte"""


def squared_error(x: Values, mean: Values) -> PerExample:
    """|x - g(z)|^2.  Source: the autoencoder of Hinton & Salakhutdinov, Science 313 (2006)."""
    return (x - mean).square().sum(-1)


def bernoulli_nll(x: Values, logits: Values) -> PerExample:
    """-log p(x|z)  =  -sum_i ( x_i log p_i + (1 - x_i) log(1 - p_i) )  with  p = sigmoid(logits).

    With l the logits that is  sum_i ( softplus(l_i) - x_i l_i ), which no logit makes infinite.  `x` is 0 or 1: for
    numbers between, the value is a cross-entropy and no likelihood.
    Source: Kingma & Welling, arXiv:1312.6114, appendix C.1.
    """
    return torch.addcmul(softplus(logits), x, logits, value=-1).sum(-1)


def continuous_bernoulli_nll(x: Values, logits: Values) -> PerExample:
    """-log p(x|z) of the density on [0, 1] that is proportional to p^x (1 - p)^(1 - x),  p = sigmoid(logits).

    With l the logits it is  sum_i ( A(l_i) - x_i l_i )  with  A(l) = log int_0^1 e^(l t) dt = log( (e^l - 1) / l ),
    the logarithm of the normaliser.  A(l) - l / 2 is even: written with |l|, and as a series near 0, it neither
    overflows nor divides by 0.
    Source: Loaiza-Ganem & Cunningham, The continuous Bernoulli, arXiv:1907.06845.
    """
    magnitude = logits.abs()
    near_zero = magnitude < 0.1
    safe = torch.where(near_zero, 1.0, magnitude)  # keeps the gradient finite where the series is taken
    series = magnitude.square() / 24 - magnitude.pow(4) / 2880
    even_part = torch.where(near_zero, series, safe / 2 + (-torch.expm1(-safe) / safe).log())
    return torch.addcmul(logits / 2 + even_part, x, logits, value=-1).sum(-1)


def gaussian_nll(x: Values, mean: Values, sigma: float | Float[Tensor, ""]) -> PerExample:
    """-log N(x; mean, sigma^2 I)  =  |x - mean|^2 / (2 sigma^2) + D log sigma + D/2 log(2 pi).

    `sigma` > 0 is one standard deviation for all D dimensions, in the units of x.
    Source: Kingma & Welling, arXiv:1312.6114, appendix C.2.
    """
    log_sigma = sigma.log() if isinstance(sigma, Tensor) else log(sigma)
    return squared_error(x, mean) / (2 * sigma**2) + x.shape[-1] * (log_sigma + 0.5 * log(2 * pi))


def discretized_logistic_nll(x: Values, mean: Values, log_scale: Values) -> PerExample:
    """-log P(x|z) of pixels with 256 levels, x = level / 255: the mass that a logistic distribution gives the level.

    P = F(x + 1/510) - F(x - 1/510) with F(t) = sigmoid((t - mean) / e^log_scale); levels 0 and 255 take the tails.
    Computed as log sigmoid(a) + log sigmoid(-b) + log(1 - e^(b - a)), which no a > b makes infinite.
    Source: Kingma et al., arXiv:1606.04934; Salimans et al., arXiv:1701.05517, section 2.1.
    """
    half = 0.5 / (LEVELS - 1)
    inverse = (-log_scale).exp()
    above, below = (x - mean + half) * inverse, (x - mean - half) * inverse
    upper, lower = logsigmoid(above), logsigmoid(-below)
    inside = upper + lower + torch.log(-torch.expm1(-2 * half * inverse))
    mass = torch.where(x < half, upper, torch.where(x > 1 - half, lower, inside))
    return -mass.sum(-1)
