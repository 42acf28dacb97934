"""The Frechet distance of features: the FID, if they are those of Inception, and what infinitely many would have."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from itertools import accumulate, islice
from math import sqrt
from operator import add
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from ..errors import UserError
from .features import FeatureSpace
from .metric import Comparison, Entries, Number, Score, Terms, metric

ROWS_PER_CHUNK = 2000
"""examples whose moments are computed at once"""
PREFIX_SHARES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""shares of the examples from which the distance of infinitely many is extrapolated"""


class Gaussian(NamedTuple):
    """A Gaussian, as its Frechet distance from others needs it."""

    mean: Float64[Tensor, " d"]
    factor: Float64[Tensor, "d d"]
    """A with A A^T = the covariance: eigenvectors times the roots of eigenvalues"""


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

    @property
    def gaussian(self) -> Gaussian:
        """The Gaussian with these moments; eigenvalues of the covariance below 0 are rounding."""
        values, vectors = torch.linalg.eigh(self.covariance)
        return Gaussian(self.mean, vectors * values.clamp_min(0).sqrt())

    def __add__(self, other: "Moments") -> "Moments":
        n, offset = self.n + other.n, other.mean - self.mean
        between = torch.outer(offset, offset) * (self.n * other.n / n)
        return Moments(n, self.mean + offset * (other.n / n), self.scatter + other.scatter + between)


def moments(blocks: Iterable[Float[Tensor, "_ d"]]) -> Moments:
    """The moments of all rows of the blocks, of which there is at least one; a block may have no rows."""

    def of_block(block: Tensor) -> Moments:
        x = block.double().cpu()
        mean = x.sum(0) / max(1, len(x))
        return Moments(len(x), mean, (x - mean).mT @ (x - mean))

    return reduce(add, map(of_block, blocks))


def whole_gaussian(x: Float[Tensor, "n d"]) -> Gaussian:
    """The Gaussian fitted to all rows."""
    return moments(x.split(ROWS_PER_CHUNK)).gaussian


def prefix_moments(x: Float[Tensor, "n d"]) -> Iterator[Moments]:
    """The moments of the first `PREFIX_SHARES` of the rows, each from those before it and what is added."""
    *sizes, n = prefix_sizes(len(x)).tolist()
    return accumulate(moments(part.split(ROWS_PER_CHUNK)) for part in x[:n].tensor_split(sizes))


def partial_gaussians(x: Float[Tensor, "n d"]) -> list[Gaussian]:
    """The Gaussians of all of these but the last, which is that of all rows."""
    return [m.gaussian for m in islice(prefix_moments(x), len(PREFIX_SHARES) - 1)]


def prefix_sizes(n: int) -> Int64[Tensor, " k"]:
    """Of how many of n examples are the distances from which that of infinitely many is extrapolated."""
    return torch.tensor([round(n * share) for share in PREFIX_SHARES])


def extrapolation_weights(n: int) -> Float64[Tensor, " k"]:
    """The weights with which distances of the first `PREFIX_SHARES` of n examples sum to that of infinitely many.

    The bias is proportional to 1 / N (Chong & Forsyth, arXiv:1911.07023), for N well above d: the least squares' line
    through the distances of N examples of each set is followed to 1 / N = 0.  Sets must be mixed before.
    """
    sizes = prefix_sizes(n)
    weights: Tensor = torch.linalg.pinv(torch.stack([torch.ones(len(sizes)), 1 / sizes], 1).double())[0]
    return weights


def frechet_distance(a: Float[Tensor, "n d"], b: Float[Tensor, "m e"]) -> float:
    """The Frechet distance of two sets of features, the FID if the features are those of Inception.

    See `gaussian_frechet`; Heusel et al., arXiv:1706.08500.  On few examples it is biased upwards.
    """
    check_features(a, b)
    return gaussian_frechet(whole_gaussian(a), whole_gaussian(b))


def check_features(a: Tensor, b: Tensor) -> None:
    """UserError unless there are two features of each or more, with as many numbers."""
    if a.shape[1] != b.shape[1]:
        raise UserError(f"features of {a.shape[1]} and of {b.shape[1]} numbers have no Frechet distance: give as many")
    if min(len(a), len(b)) < 2:
        raise UserError(f"fid needs at least 2 examples of each, and has {len(a)} and {len(b)}: give more")


def gaussian_frechet(a: Gaussian, b: Gaussian) -> float:
    """|mu_a - mu_b|^2 + tr( S_a + S_b - 2 (S_a S_b)^{1/2} ): the squared Wasserstein-2 distance of two Gaussians.

    With A A^T = S_a and B B^T = S_b, the last trace is the sum of the singular values of A^T B, which needs no square
    root of a product and takes singular covariances as they are.
    """
    offset, A, B = (a.mean - b.mean).square().sum(), a.factor, b.factor
    spread = A.square().sum() + B.square().sum() - 2 * torch.linalg.svdvals(A.mT @ B).sum()
    return max(0.0, float(offset + spread))


def frechet_influence(real: Float[Tensor, "m d"], fake: Float[Tensor, "n d"], a: Gaussian, b: Gaussian) -> Terms:
    """The influence of each example on the distance of the Gaussians `a` and `b` fitted to both sets.

    Its derivative by an example y of one set, from the mean mu, is 2 (mu - mu') y + y^T (I - T) y, where T is the
    optimal map between the Gaussians, from this one to the other.  For covariances A A^T and B B^T, A^T B = p s q^T, it
    is A^-T p q^T B^T.  A is a matrix of eigenvectors times roots of eigenvalues, so A^-1 is its transpose divided by
    the eigenvalues; where these are 0, so are the coordinates of y.
    """
    u, _, vt = torch.linalg.svd(a.factor.mT @ b.factor)

    def terms(x: Tensor, own: Gaussian, other: Gaussian, p: Tensor, q: Tensor) -> Tensor:
        A, B, values = own.factor, other.factor, own.factor.square().sum(0)
        inverse = torch.where(values > values.max() * 1e-12, 1 / values, 0.0)
        blocks = (part.double() - own.mean for part in x.split(ROWS_PER_CHUNK))
        potentials = [y.square().sum(1) - (((y @ A) * inverse @ p) * ((y @ B) @ q)).sum(1) for y in blocks]
        return torch.cat(potentials) + 2 * (x.double() - own.mean) @ (own.mean - other.mean)

    return terms(real, a, b, u, vt.mT), terms(fake, b, a, vt.mT, u)


def check_sample_size(n: int, space: FeatureSpace, allow_few: bool) -> None:
    """UserError where there are fewer examples than features, and nobody asked for the number all the same."""
    if n <= space.n_features and not allow_few:
        advice = "use more examples, the metric kid, or allow_few=true to report it all the same"
        raise UserError(f"a Frechet distance of {n} examples on {space.n_features} features is mostly bias: {advice}")


@metric("fid", {"fid": Number(higher_is_better=False)}, rank=1)
def compute(c: Comparison) -> Entries:
    """The distance, and what infinitely many examples would have."""
    real, fake = c.real.features, c.fake.features
    n, d = fake.shape
    check_sample_size(n, c.real.space, c.allow_few)
    check_features(real, fake)
    a, b = c.real.derive(whole_gaussian), whole_gaussian(fake)
    score = Score(gaussian_frechet(a, b), lambda: frechet_influence(real, fake, a, b))
    yield "fid", score
    if n // 2 < 2 * d:  # of fewer the bias is not as 1 / N
        needed = f"of which there have to be twice as many as features: {4 * d} examples at least, and here are {n}"
        yield "fid_infinity", f"fid_infinity is extrapolated from half of the examples on, {needed}"
        return

    def error() -> float:
        """By the delta method: an example changes the distance of each part that it is in by its term of the whole's.

        So its weight is a sum over parts: near 1 for the first examples, which are in all, and larger for the last.
        """
        sizes = prefix_sizes(n)
        weights = (torch.arange(n)[:, None] < sizes).double() * n / sizes @ extrapolation_weights(n)
        return sqrt(sum((weights * t).var().item() for t in score.terms) / n)

    parts = zip(c.real.derive(partial_gaussians), partial_gaussians(fake), strict=True)
    distances = torch.tensor([*(gaussian_frechet(x, y) for x, y in parts), score.value], dtype=torch.float64)
    yield "fid_infinity", Score(float(extrapolation_weights(n) @ distances), error=error)
