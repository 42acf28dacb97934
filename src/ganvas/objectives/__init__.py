"""Objectives: one function an equation.

Convention: likelihood and KL terms are in nats per example, summed over dimensions, one number an
example; adversarial terms are means over the batch.  Inputs are logits wherever a probability is meant.
"""

from .adversarial import discriminator_loss, minimax_loss, nonsaturating_loss, value
from .kl import kl_diagonal, kl_diagonals, kl_full, kl_low_rank
from .reconstruction import (
    bernoulli_nll,
    continuous_bernoulli_nll,
    discretized_logistic_nll,
    gaussian_nll,
    squared_error,
)

__all__ = [
    "bernoulli_nll",
    "continuous_bernoulli_nll",
    "discretized_logistic_nll",
    "discriminator_loss",
    "gaussian_nll",
    "kl_diagonal",
    "kl_diagonals",
    "kl_full",
    "kl_low_rank",
    "minimax_loss",
    "nonsaturating_loss",
    "squared_error",
    "value",
]
