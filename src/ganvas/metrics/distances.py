"""The sliced Wasserstein distance of pixels or vectors; of vectors also energy, transport, columns, correlations."""

import warnings
from math import sqrt

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from ..errors import UserError
from ..randomness import make_generator
from .kid import mmd
from .metric import Comparison, Entries, Number, Score, Terms, metric

# the score is the square of the number, which can be below 0 by chance
ENERGY = Number(higher_is_better=False, show=lambda square: max(0.0, square) ** 0.5)
MAX_TRANSPORTED, MAX_CORRELATED = 2000, 4096
"""examples between which optimal transport is computed, and columns whose correlations are, at most"""
Projected = Float[Tensor, "n k"]
ROWS_PER_CHUNK = 2000
"""examples that are projected together"""
DIRECTIONS_PER_CHUNK = 100
"""directions along which they are sorted together"""


def project(a: Shaped[Tensor, "n *shape"], b: Tensor, n_directions: int, seed: int) -> tuple[Projected, Projected]:
    """Both sets along the same random unit directions; UserError unless they are equally large, and of one shape."""
    if len(a) != len(b) or a.shape[1:] != b.shape[1:]:
        raise UserError(f"sets of {tuple(a.shape)} and {tuple(b.shape)}: give as many examples, of one shape, in both")
    generator = make_generator(torch.device("cpu"), seed, "directions")
    directions = torch.randn(a[0].numel(), n_directions, generator=generator)
    directions /= directions.norm(dim=0)
    x, y = (torch.cat([part.flatten(1).float().cpu() @ directions for part in s.split(ROWS_PER_CHUNK)]) for s in (a, b))
    return x, y


def sliced_wasserstein(
    a: Shaped[Tensor, "n *shape"], b: Shaped[Tensor, "..."], *, n_directions: int = 1000, seed: int = 0
) -> float:
    """Mean over random unit directions of the Wasserstein-1 distance between the two sets' projections.

    `a` and `b` hold n examples each, of any shape; the distance is in their units.  On few examples it is biased
    upwards: compare it with the same number for two halves of the real data.  Source: Rabin et al., Wasserstein
    Barycenter and Its Application to Texture Mixing, 2011; in one dimension the optimal transport sorts.
    """
    chunks = (x.split(DIRECTIONS_PER_CHUNK, 1) for x in project(a, b, n_directions, seed))
    distances = [(p.sort(0).values - q.sort(0).values).abs().mean(0) for p, q in zip(*chunks, strict=True)]
    return torch.cat(distances).mean().item()


def kantorovich_terms(x: Projected, y: Projected) -> Terms:
    """The mean over directions of each example's Kantorovich potential.

    In one dimension the distance is the integral of |F - G|, whose derivative by F is sign(F - G), so that the
    potential of x is the integral of that from x on.
    """
    n, terms = len(x), torch.zeros(2 * len(x), dtype=torch.float64)
    for both in torch.cat([x, y]).split(DIRECTIONS_PER_CHUNK, 1):
        sorted_values, order = both.double().sort(0)
        cdf_differences = torch.where(order < n, 1, -1).cumsum(0)[:-1]  # n (F - G) between a point and the next
        slopes = cdf_differences.sign() * sorted_values.diff(dim=0)
        potentials = torch.cat([torch.zeros(1, both.shape[1], dtype=torch.float64), slopes.cumsum(0)])
        terms.index_add_(0, order.flatten(), potentials.flatten())
    terms /= x.shape[1]
    return -terms[:n], terms[n:]


@metric("sliced-wasserstein", {"sliced_wasserstein": Number(higher_is_better=False)}, on_features=False, rank=7)
def measure_sliced(c: Comparison) -> Entries:
    """Of pixels in [0, 1], or of vectors in deviations of the held-out ones."""
    a, b, scale = c.real.values, c.fake.values, 255.0 if c.real.data.has_images else 1.0
    value = sliced_wasserstein(a, b, n_directions=c.n_directions, seed=c.seed) / scale

    def influence() -> Terms:
        real, fake = kantorovich_terms(*project(a, b, c.n_directions, c.seed))
        return real / scale, fake / scale

    return iter([("sliced_wasserstein", Score(value, influence))])


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
    return float(ot.emd2([], [], torch.cdist(a.double(), b.double()).numpy(), numItermax=10_000_000))


def marginal_distances(a: Float[Tensor, "n d"], b: Float[Tensor, "n d"]) -> tuple[Tensor, Tensor]:
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
def measure_vectors(c: Comparison) -> Entries:
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
    yield "marginals", [Score(x) for x in marginal_distances(c.real.data.x, c.fake.data.x)[0].tolist()]
    yield "marginal_wasserstein", Score(areas.max().item())
    yield "marginal_kolmogorov", Score(steps.max().item())
    if (d := a.shape[1]) > MAX_CORRELATED:
        yield "correlations", f"too many pairs of {d:,} columns: {MAX_CORRELATED:,} columns are the most"
    elif d > 1:
        yield "correlations", Score(correlation_difference(a, b))
