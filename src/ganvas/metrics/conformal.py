"""Conformal p-values: how rare a score as large as an example's is among ordinary examples.

    p(x)  =  (1 + #{i: s_i >= s(x)}) / (n + 1)

s_1 ... s_n are the scores of n held-out examples, which the model has not learnt from.  If x comes from where they come
from, all n + 1 scores are exchangeable, and P(p <= a) <= a for every a: whoever calls x an anomaly where p <= a raises
at most a share a of false alarms, whatever the model, the score and the data.  Equal scores make p larger.

Vovk, Gammerman & Shafer, Algorithmic Learning in a Random World, 2005; Bates et al., Testing for Outliers with
Conformal p-values, arXiv:2104.08279.
"""

import torch
from jaxtyping import Float64
from torch import Tensor


def conformal_p_values(scores: Float64[Tensor, " n"], held_out_scores: Float64[Tensor, " m"]) -> Float64[Tensor, " n"]:
    """p of each score, from 1/(m + 1) to 1: larger scores are stranger."""
    m = len(held_out_scores)
    n_smaller = torch.searchsorted(held_out_scores.sort().values, scores)
    return (1.0 + m - n_smaller.double()) / (m + 1)
