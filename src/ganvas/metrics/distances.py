"""How far apart two sets of examples, or of their features, are."""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import accumulate
from math import nan, sqrt
from operator import add

import torch
from jaxtyping import Float, Float64, Shaped
from torch import Tensor

from ..errors import UserError
from ..randomness import make_generator

MAX_BLOCK_SIZE = 1000
"""examples in each block of the kernel distance, at most"""
MIN_BLOCKS = 10
"""blocks of it, at least"""
ROWS_PER_CHUNK = 2000
"""examples that are looked at together"""
DIRECTIONS_PER_CHUNK = 100
"""directions along which they are sorted together"""
PREFIX_SHARES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""parts of the examples from which the Frechet distance of infinitely many is extrapolated"""


def sliced_wasserstein(
    a: Shaped[Tensor, "n *shape"], b: Shaped[Tensor, "..."], *, n_directions: int = 1000, seed: int = 0
) -> float:
    """Mean over random unit directions of the Wasserstein-1 distance between the two sets' projections.

    `a` and `b` hold n examples each, of any shape; the distance is in their units.  On few examples it is biased
    upwards: compare it with the same number for two halves of the real data.  Source: Rabin et al., Wasserstein
    Barycenter and Its Application to Texture Mixing, 2011; in one dimension the optimal transport sorts.
    """
    if len(a) != len(b) or a.shape[1:] != b.shape[1:]:
        raise UserError(f"sets of {tuple(a.shape)} and {tuple(b.shape)}: give as many examples, of one shape, in both")
    projections = torch.randn(
        a[0].numel(), n_directions, generator=make_generator(torch.device("cpu"), seed, "directions")
    )
    projections /= projections.norm(dim=0)
    x, y = (
        torch.cat([part.flatten(1).float().cpu() @ projections for part in s.split(ROWS_PER_CHUNK)]) for s in (a, b)
    )
    distances = [
        (p.sort(0).values - q.sort(0).values).abs().mean(0)
        for p, q in zip(x.split(DIRECTIONS_PER_CHUNK, 1), y.split(DIRECTIONS_PER_CHUNK, 1), strict=True)
    ]
    return torch.cat(distances).mean().item()


@dataclass(frozen=True)
class Moments:
    """Number, mean and sum of squared deviations of features, in float64, of any number of blocks.

    Blocks are merged by Chan, Golub & LeVeque, Updating Formulae and a Pairwise Algorithm for Computing Sample
    Variances, 1979: nothing large is subtracted from something large, and only d^2 numbers are kept.
    """

    n: int
    mean: Float64[Tensor, " d"]
    scatter: Float64[Tensor, "d d"]

    @property
    def covariance(self) -> Float64[Tensor, "d d"]:
        return self.scatter / (self.n - 1)

    @cached_property
    def factor(self) -> Float64[Tensor, "d d"]:
        """A with A A^T = the covariance, whose eigenvalues below 0 are rounding."""
        values, vectors = torch.linalg.eigh(self.covariance)
        root: Tensor = vectors * values.clamp_min(0).sqrt()
        return root

    def __add__(self, other: "Moments") -> "Moments":
        n, offset = self.n + other.n, other.mean - self.mean
        between = torch.outer(offset, offset) * (self.n * other.n / n)
        return Moments(n, self.mean + offset * (other.n / n), self.scatter + other.scatter + between)


def moments(blocks: Iterable[Tensor]) -> Moments:
    """The moments of all rows of the blocks, each b x d, of which there is at least one."""
    return reduce(add, map(block_moments, blocks))


def block_moments(block: Float[Tensor, "b d"]) -> Moments:
    """The moments of the rows of one block, which may have none."""
    x = block.double().cpu()
    mean = x.sum(0) / max(1, len(x))
    return Moments(len(x), mean, (x - mean).mT @ (x - mean))


def prefix_sizes(n: int) -> list[int]:
    """How many of n examples the distances are of from which that of infinitely many is extrapolated."""
    return [round(n * share) for share in PREFIX_SHARES]


def extrapolation_weights(sizes: Sequence[int]) -> Float64[Tensor, " k"]:
    """With which weights k distances of so many examples make that of infinitely many: of the least squares' line."""
    design = torch.stack([torch.ones(len(sizes)), 1 / torch.tensor(sizes)], 1).double()
    weights: Tensor = torch.linalg.pinv(design)[0]
    return weights


def can_extrapolate(n: int, d: int) -> bool:
    """Whether n examples suffice for that: where half of them are fewer than 2 d, the bias is not as 1 / N."""
    return n // 2 >= 2 * d


def prefix_moments(x: Float[Tensor, "n d"]) -> Iterator[Moments]:
    """The moments of the first `SHARES` of the rows, each from those before it and what is added."""
    sizes = prefix_sizes(len(x))
    parts = x[: sizes[-1]].tensor_split(sizes[:-1])
    return accumulate(moments(part.split(ROWS_PER_CHUNK)) for part in parts)


def frechet_distance(a: Float[Tensor, "n d"], b: Float[Tensor, "m e"]) -> float:
    """The Frechet distance of two sets of features, the FID if the features are those of Inception.

    See `frechet`; Heusel et al., arXiv:1706.08500.  On few examples it is biased upwards.
    """
    check_features(a, b, 2)
    return gaussian_frechet(moments(a.split(ROWS_PER_CHUNK)), moments(b.split(ROWS_PER_CHUNK)))


def check_features(a: Tensor, b: Tensor, min_examples: int) -> None:
    """UserError unless there are so many features of each, with as many numbers."""
    if a.shape[1] != b.shape[1]:
        raise UserError(f"features of {a.shape[1]} and of {b.shape[1]} numbers have no Frechet distance: give as many")
    if min(len(a), len(b)) < min_examples:
        raise UserError(f"fid needs at least {min_examples} examples of each, and has {len(a)} and {len(b)}: give more")


def gaussian_frechet(a: Moments, b: Moments) -> float:
    """|mu_a - mu_b|^2 + tr( S_a + S_b - 2 (S_a S_b)^{1/2} ): the squared Wasserstein-2 distance of two Gaussians.

    With A A^T = S_a and B B^T = S_b, the last trace is the sum of the singular values of A^T B, which needs no square
    root of a product and takes singular covariances as they are.
    """
    offset, A, B = (a.mean - b.mean).square().sum(), a.factor, b.factor
    spread = A.square().sum() + B.square().sum() - 2 * torch.linalg.svdvals(A.mT @ B).sum()
    return max(0.0, float(offset + spread))


def frechet_infinity(a: Float[Tensor, "n d"], b: Float[Tensor, "n d"]) -> float:
    """The Frechet distance that infinitely many examples would have, extrapolated from n of each: see `frechets`.

    UserError where half of the examples are fewer than 2 d.
    """
    check_features(a, b, 2)
    if not can_extrapolate(len(a), a.shape[1]):
        raise UserError(too_few_message(len(a), a.shape[1]))
    return frechet_distances(a, b)[0][1]


def too_few_message(n: int, d: int) -> str:
    """Why the distance of infinitely many is not there."""
    return (
        f"fid_infinity is extrapolated from half of the examples on, of which there have to be twice as many as "
        f"features: {4 * d} examples at least, and here are {n}"
    )


def frechet_distances(real: Float[Tensor, "n d"], *others: Float[Tensor, "n d"]) -> list[tuple[float, float]]:
    """The Frechet distance of each of the others from the real examples, and that of infinitely many.

    Its bias is proportional to 1 / N (Chong & Forsyth, arXiv:1911.07023): a line through the distances of N examples
    of each set, N from n / 2 to n, is followed to 1 / N = 0.  That holds for N well above d only, so that of infinitely
    many is NaN where n / 2 < 2 d.  Sets are taken in their order, so mix them before.  Of the real ones, moments and
    eigenvectors are computed once for each N.
    """
    for x in others:
        check_features(real, x, 2)
    if not can_extrapolate(len(real), real.shape[1]):
        real_moments = moments(real.split(ROWS_PER_CHUNK))
        return [(gaussian_frechet(real_moments, moments(x.split(ROWS_PER_CHUNK))), nan) for x in others]
    by_size = [
        [gaussian_frechet(a, b) for b in rest] for a, *rest in zip(*map(prefix_moments, (real, *others)), strict=True)
    ]
    distances = torch.tensor(by_size, dtype=torch.float64)
    extrapolated_distances = extrapolation_weights(prefix_sizes(len(real))) @ distances
    return list(zip(distances[-1].tolist(), extrapolated_distances.tolist(), strict=True))


def kernel_distance(a: Float[Tensor, "n d"], b: Float[Tensor, "n d"]) -> Float64[Tensor, " blocks"]:
    """Unbiased squared maximum mean discrepancies with the kernel (x.y / d + 1)^3, of disjoint blocks of examples.

    Their mean is the KID if the features are those of Inception (Binkowski et al., arXiv:1801.01401, section 4), and
    as the blocks are independent, their deviation over the root of their number is its standard error.  A block has
    1,000 examples of each set, or a tenth of them where that is less.
    """
    size = block_size(a, b)
    n_used = len(a) // size * size
    pairs = zip(a[:n_used].split(size), b[:n_used].split(size), strict=True)
    return torch.stack([mmd(x.double(), y.double()) for x, y in pairs])


def block_size(a: Float[Tensor, "n d"], b: Float[Tensor, "m e"]) -> int:
    """How many examples of each a block of the kernel distance has; UserError where they are too few for it."""
    if a.shape[1] != b.shape[1]:
        raise UserError(f"features of {a.shape[1]} and of {b.shape[1]} numbers have no kernel distance: give as many")
    if len(a) != len(b):
        raise UserError(f"kid needs as many examples of one as of the other, and has {len(a)} and {len(b)}")
    if len(a) < 2 * MIN_BLOCKS:
        raise UserError(f"kid needs at least {2 * MIN_BLOCKS} examples of each to be compared, and has {len(a)}")
    return min(MAX_BLOCK_SIZE, len(a) // MIN_BLOCKS)


def mmd(a: Float64[Tensor, "n d"], b: Float64[Tensor, "n d"]) -> Float64[Tensor, ""]:
    """The unbiased estimate of the squared discrepancy (Gretton et al., JMLR 13 (2012), equation 3)."""

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.mT / x.shape[1] + 1).pow(3)

    n, aa, bb = len(a), kernel(a, a), kernel(b, b)
    within = (aa.sum() - aa.diagonal().sum() + bb.sum() - bb.diagonal().sum()) / (n * (n - 1))
    between = kernel(a, b).mean()
    return within - 2 * between


def energy_distance(a: Float[Tensor, "n d"], b: Float[Tensor, "m d"]) -> float:
    """(2 E|x - y| - E|x - x'| - E|y - y'|)^{1/2}, without bias under the root; 0 where that is negative.

    Szekely & Rizzo, Energy Statistics, 2013; in the units of the data.
    """

    def total(x: Tensor, y: Tensor) -> float:
        return sum(torch.cdist(part, y).sum().item() for part in x.split(1000))

    a, b = a.double(), b.double()
    n, m = len(a), len(b)
    squared = 2 * total(a, b) / (n * m) - total(a, a) / (n * (n - 1)) - total(b, b) / (m * (m - 1))
    return sqrt(max(0.0, squared))


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


def marginal_distances(
    a: Float[Tensor, "n d"], b: Float[Tensor, "n d"]
) -> tuple[Float64[Tensor, " d"], Float64[Tensor, " d"]]:
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
