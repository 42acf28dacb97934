"""What a classifier of real examples says of generated ones."""

from math import log

import torch
from jaxtyping import Float, Int64
from torch import Tensor


def classifier_score(logits: Float[Tensor, "n classes"], splits: int = 10) -> Float[Tensor, " splits"]:
    """exp E_x KL( p(y|x) || p(y) ), of each split of the examples: from 1 to the number of classes.

    The Inception score if the classifier is Inception (Salimans et al., arXiv:1606.03498, section 4), whose protocol
    gives mean and deviation over ten splits.
    """
    log_p = logits.double().log_softmax(1)
    size = max(1, len(log_p) // splits)
    scores = []
    for chunk in log_p[: size * splits].split(size):
        log_marginal = chunk.logsumexp(0) - log(len(chunk))
        scores.append((chunk.exp() * (chunk - log_marginal)).sum(1).mean().exp())
    return torch.stack(scores).float()


def label_accuracy(logits: Float[Tensor, "n classes"], labels: Int64[Tensor, " n"]) -> float:
    """Share of the examples that the classifier takes for what their labels say."""
    return (logits.argmax(1) == labels).double().mean().item()
