"""Confidence intervals: resamples of the examples, from how much each of them contributes to a number.

A resample of the examples, with weights w, has the number value + mean of w_i psi_i over either set, to first order,
psi the influence terms of a `Score`.  So features, distances and decompositions are computed once, whatever the number
of resamples, which have none of the bias that repeated examples bring to distances and nearest neighbours.  Source of
the resamples: Efron, Bootstrap Methods, 1979.
"""

from collections.abc import Mapping
from math import isfinite

import torch
from jaxtyping import Float64
from torch import Tensor

from ..randomness import make_generator
from .metric import Number, Score

RESAMPLES = 1000
RESAMPLES_PER_CHUNK = 50
"""resamples that are drawn at once"""
RULE_OF_THREE = 3.0
"""a share of n examples none of which has a property may be so many n-ths: at 95%, e^-3 = 0.05"""
LEVEL = 0.95
"""probability that an interval is to have"""


def bootstrap(scores: Mapping[str, Score], seed: int, *key: int | str) -> dict[str, Float64[Tensor, " resamples"]]:
    """The scores of resamples of the examples, of either set with replacement; of those that have influence terms.

    The same seed gives the same resamples of the real ones, so that differences between two models measured on them
    are paired; those of generated examples also depend on the key.
    """
    with_terms = {name: s for name, s in scores.items() if s.influence is not None}
    if not with_terms:
        return {}
    values = torch.tensor([s.value for s in with_terms.values()], dtype=torch.float64)
    real, fake = (torch.stack([s.terms[i] for s in with_terms.values()], 1) for i in (0, 1))
    resamples = values + bootstrap_means(real, seed, "held out") + bootstrap_means(fake, seed, "made", *key)
    return dict(zip(with_terms, resamples.unbind(1), strict=True))


def bootstrap_means(terms: Float64[Tensor, "n scores"], *key: int | str) -> Float64[Tensor, "resamples scores"]:
    """The means of n examples' terms over resamples of the examples."""
    random, n, rows, means = make_generator(torch.device("cpu"), *key), len(terms), RESAMPLES_PER_CHUNK, []
    for _ in range(0, RESAMPLES, rows):
        indices = torch.randint(n, (rows, n), generator=random) + n * torch.arange(rows)[:, None]
        counts = indices.flatten().bincount(minlength=rows * n).view(rows, n)
        means.append(counts.double() @ terms / n)
    return torch.cat(means)


def confidence_interval(number: Number, value: float, resamples: Tensor | None, n: int) -> dict[str, float | None]:
    """A number of n samples with the interval of the middle 95% of its b resamples, cut to what the number can be."""
    if not isfinite(value) or resamples is None:
        return {"value": number.show(value) if isfinite(value) else None, "low": None, "high": None}
    low, high = resamples.quantile(torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2]).double()).tolist()
    if (number.low, number.high) == (0.0, 1.0):  # of a share resamples say nothing where all examples are alike
        high = max(high, RULE_OF_THREE / n) if value == 0 else high
        low = min(low, 1 - RULE_OF_THREE / n) if value == 1 else low
    low, high = (min(max(number.show(x), number.low), number.high) for x in (low, high))
    return {"value": number.show(value), "low": low, "high": high}
