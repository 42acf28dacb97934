"""Distances of vectors: energy, optimal transport, of each column, and of correlations."""

import warnings
from math import sqrt

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ..data import Scaling
from ..errors import UserError
from .kid import mmd
from .metric import Comparison, Entries, Number, Score, metric

# the score is the square of the number, which can be below 0 by chance
ENERGY = Number(higher_is_better=False, show=lambda square: max(0.0, square) ** 0.5)
PerColumn = Float64[Tensor, " d"]
MAX_TRANSPORTED = 2000
"""examples between which optimal transport is computed, at most"""


def energy_kernel(x: Tensor, y: Tensor) -> Tensor:
    """-|x - y|, whose discrepancy is the square of the energy distance."""
    return -torch.cdist(x, y)


def energy_distance(a: Float[Tensor, "n d"], b: Float[Tensor, "m d"]) -> float:
    """(2 E|x - y| - E|x - x'| - E|y - y'|)^{1/2}, without bias under the root; 0 where that is negative.

    Szekely & Rizzo, Energy Statistics, 2013; in the units of the data.
    """
    return sqrt(max(0.0, mmd(a, b, energy_kernel).value))


def wasserstein(a: Float[Tensor, "n d"], b: Float[Tensor, "m d"]) -> float:
    """The Wasserstein-1 distance under |x - y|, by POT's network simplex; UserError where POT is not installed."""
    try:
        with warnings.catch_warnings():  # of the compiler, of escapes in docstrings, the first time it is imported
            warnings.simplefilter("ignore")
            import ot
    except ImportError as error:
        raise UserError('the Wasserstein distance is computed by POT: pip install "ganvas[transport]"') from error
    cost = torch.cdist(a.double(), b.double()).numpy()
    return float(ot.emd2([], [], cost, numItermax=10_000_000))


def marginal_distances(a: Float[Tensor, "n d"], b: Float[Tensor, "n d"]) -> tuple[PerColumn, PerColumn]:
    """For each column the Wasserstein-1 distance, in its units, and the Kolmogorov distance, from 0 to 1.

    The area between the two distribution functions, and their largest difference (Kolmogorov, 1933).
    """
    x, y = (s.double().T.contiguous().sort(1).values for s in (a, b))
    pooled = torch.cat([x, y], 1)
    F, G = (torch.searchsorted(s, pooled, right=True).double() / s.shape[1] for s in (x, y))
    return (x - y).abs().mean(1), (F - G).abs().amax(1)


def correlation_difference(a: Float[Tensor, "n d"], b: Float[Tensor, "m d"]) -> float:
    """The largest difference of two columns' correlation coefficients; that of a constant column counts as 0."""
    x, y = (torch.corrcoef(s.double().T).nan_to_num(0.0) for s in (a, b))
    return (x - y).abs().max().item()


@metric("distances", {"energy": ENERGY}, needs="vectors", on_features=False, rank=10)
def compute(c: Comparison) -> Entries:
    """All in deviations of the held-out examples, but for `marginals`, which are in the units of each column."""
    a, b = c.real.values, c.fake.values
    energy = mmd(a, b, energy_kernel)
    yield "energy", Score(energy.value, lambda: (energy.a_terms, energy.b_terms))
    try:
        yield "wasserstein", Score(wasserstein(a[:MAX_TRANSPORTED], b[:MAX_TRANSPORTED]))
        yield "wasserstein_n", min(len(a), MAX_TRANSPORTED)
    except UserError as error:  # POT is not installed
        yield "wasserstein", str(error)
    areas, steps = marginal_distances(a, b)
    yield "marginals", [Score(x) for x in (areas * Scaling.fit(c.real.data.x).scale).tolist()]
    yield "marginal_wasserstein", Score(areas.max().item())
    yield "marginal_kolmogorov", Score(steps.max().item())
    if a.shape[1] > 1:
        yield "correlations", Score(correlation_difference(a, b))
