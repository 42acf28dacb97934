"""Objectives: one function an equation.

Convention: likelihood and KL terms are in nats per example, summed over dimensions, one number an
example; adversarial terms are means over the batch.  Inputs are logits wherever a probability is meant.
"""

from .adversarial import (
    JENSEN_SHANNON_LOSSES,
    Loss,
    discriminator_terms,
    divergence_estimates,
    generator_loss,
    generator_losses,
    value_function,
)
from .kl import kl_between_diagonals, kl_diagonal, kl_full, kl_low_rank
from .penalties import gradient_penalty, squared_gradients
from .reconstruction import (
    bernoulli_nll,
    continuous_bernoulli_nll,
    discretized_logistic_nll,
    gaussian_nll,
    squared_error,
)
from .translation import Distance, absolute_error, feature_matching, reconstruction_distance

__all__ = [
    "JENSEN_SHANNON_LOSSES",
    "Distance",
    "Loss",
    "absolute_error",
    "bernoulli_nll",
    "continuous_bernoulli_nll",
    "discretized_logistic_nll",
    "discriminator_terms",
    "divergence_estimates",
    "feature_matching",
    "gaussian_nll",
    "generator_loss",
    "generator_losses",
    "gradient_penalty",
    "kl_between_diagonals",
    "kl_diagonal",
    "kl_full",
    "kl_low_rank",
    "reconstruction_distance",
    "squared_error",
    "squared_gradients",
    "value_function",
]
