"""Intervals of shares, of differences of shares, and of areas under the curve."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
import torch

from ...metrics.copies import midranks

Z = 2.576
"""half the width of an interval in standard errors: 99%, since several tests are looked at and one finding is enough"""


@dataclass(frozen=True)
class Estimate:
    """A number, its interval of 99%, and what it is where nothing is the matter."""

    value: float
    low: float
    high: float
    expected: float

    @property
    def is_above(self) -> bool:
        """Whether it is surely more than expected."""
        return self.low > self.expected


def wilson(count: int | float, n: int, z: float = Z) -> tuple[float, float]:
    """The interval of a share, `count` of n (Wilson, 1927, J. Am. Stat. Assoc. 22, 209-212); 0 to 1 of none."""
    if n == 0:
        return 0.0, 1.0
    share = count / n
    centre, spread = share + z**2 / (2 * n), z * sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    low, high = (centre - spread) / (1 + z**2 / n), (centre + spread) / (1 + z**2 / n)
    return min(low, share), max(high, share)  # which rounding keeps from 0 of none, and from 1 of all


def difference(a: int | float, n: int, b: int | float, m: int, z: float = Z) -> tuple[float, float]:
    """The interval of a/n - b/m of independent counts (Newcombe, 1998, Statistics in Medicine 17, method 10)."""
    (low_a, high_a), (low_b, high_b) = wilson(a, n, z), wilson(b, m, z)
    p, q = a / max(n, 1), b / max(m, 1)
    below = sqrt((p - low_a) ** 2 + (high_b - q) ** 2)
    above = sqrt((high_a - p) ** 2 + (q - low_b) ** 2)
    return p - q - below, p - q + above


def area_under_curve(nearer: np.ndarray, farther: np.ndarray) -> Estimate:
    """The probability that one of n distances is less than one of m others, equal ones counted half.

    The interval is by the variance of the placements (DeLong et al., 1988, Biometrics 44, 837-845), and no narrower
    than if one more distance had been on either side: of few that are all apart the variance is 0.
    """
    a, b = (torch.from_numpy(np.ascontiguousarray(x, np.float64)) for x in (nearer, farther))
    placements = (1 - midranks(a, b)).numpy(), midranks(b, a).numpy()
    value = float(placements[0].mean())
    error = sqrt(sum(p.var(ddof=1) / len(p) if len(p) > 1 else 1.0 for p in placements))
    spread = max(Z * error, Z**2 / (Z**2 + min(len(a), len(b))) / 2)
    return Estimate(value, max(value - spread, 0.0), min(value + spread, 1.0), 0.5)


def clustered(scores: np.ndarray, clusters: np.ndarray) -> tuple[float, float]:
    """The mean of n scores, and its standard error if the sign of all scores of one cluster were tossed together."""
    if not len(scores):
        return 0.0, 0.0
    sums = np.bincount(np.unique(clusters, return_inverse=True)[1], weights=scores)
    return float(scores.mean()), float(np.sqrt((sums**2).sum()) / len(scores))


def worst(estimates: Sequence[Estimate]) -> int:
    """The index of the estimate that is the farthest above what is expected, by its lower end."""
    return int(np.argmax([each.low - each.expected for each in estimates]))
