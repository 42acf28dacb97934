"""The sliced Wasserstein distance of pixels or vectors."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from ..errors import UserError
from ..randomness import make_generator
from .metric import Comparison, Entries, Number, Score, Terms, metric

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
def compute(c: Comparison) -> Entries:
    """Of pixels in [0, 1], or of vectors in deviations of the held-out ones."""
    a, b, scale = c.real.values, c.fake.values, c.real.data.value_scale
    value = sliced_wasserstein(a, b, n_directions=c.n_directions, seed=c.seed) / scale

    def influence() -> Terms:
        real, fake = kantorovich_terms(*project(a, b, c.n_directions, c.seed))
        return real / scale, fake / scale

    return iter([("sliced_wasserstein", Score(value, influence))])
