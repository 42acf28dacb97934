"""How sure a number is: what each example contributes to it, and resamples of the examples from that.

Each function returns a `Score`: a number with its influence terms, those of the jackknife or its infinitesimal form
(Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapters 11 and 20).  A resample of the examples, with
weights w, has the number value + mean of w_i psi_i over either set, to first order.  So features, distances and
decompositions are computed once, whatever the number of resamples, which have none of the bias that repeated examples
bring to distances and nearest neighbours.  Source of the resamples: Efron, Bootstrap Methods, 1979.
"""

from collections.abc import Callable, Sequence
from math import sqrt
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64, Int64, Shaped
from torch import Tensor

from ..randomness import make_generator
from .classes import classifier_score
from .distances import (
    DIRECTIONS_PER_CHUNK,
    MAX_BLOCK_SIZE,
    ROWS_PER_CHUNK,
    block_size,
    check_features,
    extrapolation_weights,
    gaussian_frechet,
    moments,
    prefix_sizes,
)
from .modes import assign_modes, mode_coverage
from .neighbours import (
    COPY_QUANTILE,
    NeighbourIndex,
    copy_threshold,
    iterate_chunks,
    one_nn_accuracy,
    pairwise_distances,
)

RESAMPLES = 1000
RESAMPLES_PER_CHUNK = 50
"""resamples that are drawn at once"""
DENSITY_WINDOW = 0.5
"""how much more and less than `RARE` the share is between which a density at that quantile is estimated"""


class Score(NamedTuple):
    """A number, and how it changes with the weight of each example; the terms' means are 0."""

    value: float
    real_terms: Float64[Tensor, " m"]
    fake_terms: Float64[Tensor, " n"]


def centred_score(value: float, real_terms: Tensor, fake_terms: Tensor) -> Score:
    """A score whose terms are moved to mean 0."""
    return Score(value, *(t.double() - t.double().mean() for t in (real_terms, fake_terms)))


def bootstrap(scores: Sequence[Score], seed: int, *key: int | str) -> Float64[Tensor, "resamples scores"]:
    """The scores of resamples of the examples, of either set with replacement.

    The same seed gives the same resamples of the real ones, so that differences between two models measured on them
    are paired; those of generated examples also depend on the key.
    """
    if not scores:
        return torch.empty(RESAMPLES, 0, dtype=torch.float64)
    values = torch.tensor([s.value for s in scores], dtype=torch.float64)
    real, fake = (torch.stack([s[i] for s in scores], 1) for i in (1, 2))  # type: ignore[misc]
    return values + bootstrap_means(real, seed, "held out") + bootstrap_means(fake, seed, "made", *key)


def bootstrap_means(terms: Float64[Tensor, "n scores"], *key: int | str) -> Float64[Tensor, "resamples scores"]:
    """The means of n examples' terms over resamples of the examples."""
    random, n, chunks = make_generator(torch.device("cpu"), *key), len(terms), []
    for _ in range(0, RESAMPLES, RESAMPLES_PER_CHUNK):
        indices = (
            torch.randint(n, (RESAMPLES_PER_CHUNK, n), generator=random)
            + n * torch.arange(RESAMPLES_PER_CHUNK)[:, None]
        )
        counts = indices.flatten().bincount(minlength=RESAMPLES_PER_CHUNK * n).view(RESAMPLES_PER_CHUNK, n)
        chunks.append(counts.double() @ terms / n)
    return torch.cat(chunks)


def frechet_score(real: Float[Tensor, "m d"], fake: Float[Tensor, "n d"]) -> Score:
    """The Frechet distance.

    Its derivative by an example y of one set, from the mean mu, is 2 (mu - mu') y + y^T (I - T) y, where T is the
    optimal map between the Gaussians, from this one to the other: see `potential`.
    """
    check_features(real, fake, 2)
    a, b = moments(real.split(ROWS_PER_CHUNK)), moments(fake.split(ROWS_PER_CHUNK))
    u, _, vt = torch.linalg.svd(a.factor.mT @ b.factor)
    terms = []
    for x, own_moments, other_moments, p, q in ((real, a, b, u, vt.mT), (fake, b, a, vt.mT, u)):
        parts = [
            transport_potential(part.double() - own_moments.mean, own_moments.factor, other_moments.factor, p, q)
            for part in x.split(ROWS_PER_CHUNK)
        ]
        terms.append(torch.cat(parts) + 2 * (x.double() - own_moments.mean) @ (own_moments.mean - other_moments.mean))
    return centred_score(gaussian_frechet(a, b), *terms)


def frechet_infinity_error(real: Float[Tensor, "n d"], fake: Float[Tensor, "n d"]) -> float:
    """The standard error of `frechet_infinity`, by the delta method.

    Extrapolated is a weighted sum of the distances of the first half and more of the examples.  Each example changes
    those that it is part of by its term of the whole sets' distance, so that it counts with a weight of its own: the
    first ones, which are in all parts, with one near 1, and the last ones with a larger one.
    """
    n = len(real)
    sizes = prefix_sizes(n)
    counts = (torch.arange(n)[:, None] < torch.tensor(sizes)).double()
    weights = counts * n / torch.tensor(sizes) @ extrapolation_weights(sizes)
    _, *terms = frechet_score(real, fake)
    return sqrt(sum((weights * t).var().item() for t in terms) / n)


def transport_potential(y: Tensor, A: Tensor, B: Tensor, p: Tensor, q: Tensor) -> Float64[Tensor, " n"]:
    """y^T (I - T) y for y of a Gaussian with covariance A A^T, A^T B = p s q^T: T = A^-T p q^T B^T.

    A is a matrix of eigenvectors times roots of eigenvalues, so A^-1 is its transpose divided by the eigenvalues; where
    these are 0, so are the coordinates of y.
    """
    values = A.square().sum(0)
    inverse = torch.where(values > values.max() * 1e-12, 1 / values, 0.0)
    return y.square().sum(1) - (((y @ A) * inverse @ p) * ((y @ B) @ q)).sum(1)


def kernel_score(real: Float[Tensor, "n d"], fake: Float[Tensor, "n d"]) -> Score:
    """The kernel distance, in the blocks of `kernel_distance`."""

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.mT / x.shape[1] + 1).pow(3)

    n, size = len(real), block_size(real, fake)
    n_used = n // size * size
    pairs = zip(real[:n_used].split(size), fake[:n_used].split(size), strict=True)
    block_scores = [mmd_score(x, y, kernel) for x, y in pairs]
    padding = torch.zeros(n - n_used, dtype=torch.float64)
    real_terms, fake_terms = (
        torch.cat([*parts, padding]) * (n / n_used) for parts in list(zip(*block_scores, strict=True))[1:]
    )
    return centred_score(sum(s.value for s in block_scores) / len(block_scores), real_terms, fake_terms)


def energy_score(real: Float[Tensor, "n d"], fake: Float[Tensor, "m d"]) -> Score:
    """The square of the energy distance, which is a discrepancy with the kernel -|x - y|; below 0 by chance."""
    return mmd_score(real, fake, lambda x, y: -torch.cdist(x, y))


def mmd_score(a: Float[Tensor, "n d"], b: Float[Tensor, "m d"], kernel: Callable[[Tensor, Tensor], Tensor]) -> Score:
    """The unbiased squared discrepancy of `mmd` for any kernel; the terms are a U-statistic's."""
    a, b = a.double(), b.double()
    within_a, within_b = (kernel_sums(x, x, kernel, exclude_self=True) / (len(x) - 1) for x in (a, b))
    cross_a, cross_b = kernel_sums(a, b, kernel) / len(b), kernel_sums(b, a, kernel) / len(a)
    value = within_a.mean() + within_b.mean() - 2 * cross_a.mean()
    return centred_score(value.item(), 2 * (within_a - cross_a), 2 * (within_b - cross_b))


def kernel_sums(
    a: Float64[Tensor, "n d"],
    b: Float64[Tensor, "m d"],
    kernel: Callable[[Tensor, Tensor], Tensor],
    *,
    exclude_self: bool = False,
) -> Float64[Tensor, " n"]:
    """The sum of the kernel over b for each of a; with `others` the sets are one, and no example meets itself."""
    chunks = []
    for i in range(0, len(a), MAX_BLOCK_SIZE):
        values = kernel(a[i : i + MAX_BLOCK_SIZE], b)
        if exclude_self:
            values.diagonal(i).zero_()
        chunks.append(values.sum(1))
    return torch.cat(chunks)


def prdc_scores(real: NeighbourIndex, fake: NeighbourIndex) -> dict[str, Score]:
    """Precision, recall, density and coverage.

    Besides its own term, an example has one for each of the others that its ball alone holds, or that is alone in its
    ball.  That balls grow where one is left out makes up for a part of it, so intervals are rather too wide.
    """
    x, y, k = real.x, fake.x, real.k
    m, n, real_radii, fake_radii = len(x), len(y), real.ball_radii(k), fake.ball_radii(k)
    n_balls, holder_sums = torch.zeros(2, n, dtype=torch.float64)
    lost_recall, lost_coverage = torch.zeros(2, n, dtype=torch.float64)
    held_counts, hit_counts = [], []
    for i, part in iterate_chunks(x, n):
        pairwise = pairwise_distances(part, y)
        in_real_ball, in_fake_ball = (
            (pairwise < real_radii[i : i + len(part), None]).double(),
            (pairwise < fake_radii).double(),
        )
        n_balls += in_real_ball.sum(0)
        holder_sums += torch.arange(i, i + len(part), dtype=torch.float64) @ in_real_ball
        held_counts.append(in_real_ball.sum(1))
        hit_counts.append(in_fake_ball.sum(1))
        lost_coverage += in_real_ball[held_counts[-1] == 1].sum(0)
        lost_recall += in_fake_ball[hit_counts[-1] == 1].sum(0)
    n_held, n_hits = torch.cat(held_counts), torch.cat(hit_counts)
    lost_precision = holder_sums[n_balls == 1].long().bincount(minlength=m).double()
    density = n_balls.mean().item() / k
    return {
        "precision": centred_score((n_balls > 0).double().mean().item(), lost_precision * (m - 1) / n, n_balls > 0),
        "recall": centred_score((n_hits > 0).double().mean().item(), n_hits > 0, lost_recall * (n - 1) / m),
        "density": centred_score(density, n_held * m / (n * k), n_balls / k),
        "coverage": centred_score((n_held > 0).double().mean().item(), n_held > 0, lost_coverage * (n - 1) / m),
    }


def two_sample_score(real: NeighbourIndex, fake: NeighbourIndex) -> Score:
    """The accuracy of nearest neighbours; where an example is left out, those nearest to it have their second one."""
    pooled = NeighbourIndex(torch.cat([real.x, fake.x]))
    is_real = torch.arange(len(pooled.x)) < len(real.x)
    first, second = (is_real[pooled.two_nearest[0]] == is_real[:, None]).double().unbind(1)
    terms = first + sum_to_nearest(pooled.two_nearest[0][:, 0], first - second)
    real_terms, fake_terms = terms.split([len(real.x), len(fake.x)])
    return centred_score(sum(one_nn_accuracy(real, fake)) / 2, real_terms / 2, fake_terms / 2)


def sum_to_nearest(nearest_index: Int64[Tensor, " n"], change: Float64[Tensor, " n"]) -> Float64[Tensor, " n"]:
    """For each point, the sum of what changes for those whose nearest one it is."""
    return torch.zeros_like(change).index_add_(0, nearest_index, change)


def duplicates_score(real: NeighbourIndex, fake: NeighbourIndex) -> Score:
    """The share of generated examples with a double."""
    real_distances, fake_distances = (x.two_nearest[1][:, 0] for x in (real, fake))
    limit = copy_threshold(real_distances)
    real_influence, fake_influence = (neighbour_influence(x, limit) for x in (real, fake))
    # exact doubles have no part in the limit
    real_influence = torch.where(real_distances > 0, real_influence, 0.0)
    return centred_score(
        (fake_distances < limit).double().mean().item(),
        -copy_rate_slope(real_distances, fake_distances) * real_influence,
        fake_influence,
    )


def neighbour_influence(x: NeighbourIndex, limit: Tensor) -> Float64[Tensor, " n"]:
    """Whether each point has another one within the limit, and for how many it is the only one."""
    neighbours, neighbour_distances = x.two_nearest
    first, second = (neighbour_distances < limit).double().unbind(1)
    return first + sum_to_nearest(neighbours[:, 0], first - second)


def copy_rate_slope(real_distances: Float64[Tensor, " m"], fake_distances: Float64[Tensor, " n"]) -> float:
    """How fast the share of `found` below a quantile of `usual` grows with the quantile's share, at `RARE`.

    Both are of what is `usual` between examples that differ: see `rare`.
    """
    nonzero = real_distances[real_distances > 0]
    if not len(nonzero):
        return 0.0
    low, high = (nonzero.quantile(COPY_QUANTILE * (1 + d)) for d in (-DENSITY_WINDOW, DENSITY_WINDOW))
    share = ((fake_distances >= low) & (fake_distances < high)).double().mean() / (2 * DENSITY_WINDOW * COPY_QUANTILE)
    return (share * len(real_distances) / len(nonzero)).item()


def memorisation_scores(
    real_distances: Float64[Tensor, " m"], fake_distances: Float64[Tensor, " n"]
) -> dict[str, Score]:
    """The two numbers of `copying`, from the distances of held-out and of generated examples to the training data."""
    nearer_shares = 1 - midranks(fake_distances, real_distances)
    limit = copy_threshold(real_distances)
    is_copy, real_influence = (
        (fake_distances < limit).double(),
        ((real_distances > 0) & (real_distances < limit)).double() - COPY_QUANTILE * (real_distances > 0),
    )
    return {
        "nearer_to_training": centred_score(
            nearer_shares.mean().item(), midranks(real_distances, fake_distances), nearer_shares
        ),
        "memorised": centred_score(
            is_copy.mean().item(), -copy_rate_slope(real_distances, fake_distances) * real_influence, is_copy
        ),
    }


def midranks(a: Float64[Tensor, " n"], reference: Float64[Tensor, " m"]) -> Float64[Tensor, " n"]:
    """The share of `among` that is less than each of `a`, those that are equal counted half."""
    sorted_reference = reference.sort().values
    below, upto = (torch.searchsorted(sorted_reference, a, right=side) for side in (False, True))
    return (below + upto).double() / (2 * len(reference))


def sliced_score(a: Shaped[Tensor, "n *shape"], b: Shaped[Tensor, "n *shape"], n_directions: int, seed: int) -> Score:
    """The sliced Wasserstein distance: each example's term is the mean over directions of its Kantorovich potential.

    In one dimension the distance is the integral of |F - G|, whose derivative by F is sign(F - G), so that the
    potential of x is the integral of that from x on.
    """
    x, y = (s.flatten(1).float() for s in (a, b))
    projections = torch.randn(
        x.shape[1], n_directions, generator=make_generator(torch.device("cpu"), seed, "directions")
    )
    projections /= projections.norm(dim=0)
    n, value, terms = len(x), 0.0, torch.zeros(2 * len(x), dtype=torch.float64)
    for projection_chunk in projections.split(DIRECTIONS_PER_CHUNK, 1):
        sorted_values, order = torch.cat([x @ projection_chunk, y @ projection_chunk]).double().sort(0)
        cdf_differences = torch.where(order < n, 1, -1).cumsum(0)[:-1]  # n (F - G) between a point and the next
        gaps = sorted_values.diff(dim=0)
        value += (cdf_differences.abs() * gaps).sum().item() / n
        potentials = torch.cat(
            [torch.zeros(1, projection_chunk.shape[1], dtype=torch.float64), (cdf_differences.sign() * gaps).cumsum(0)]
        )
        terms.index_add_(0, order.flatten(), potentials.flatten())
    return centred_score(value / n_directions, -terms[:n] / n_directions, terms[n:] / n_directions)


def classifier_scores(logits: Float[Tensor, "n classes"], n_real: int) -> Score:
    """The classifier's score, on which the `real` held-out examples have no influence.

    Nor has the marginal, to first order: its terms sum to 0.
    """
    value = classifier_score(logits).mean().item()
    log_p = logits.double().log_softmax(1)
    divergence = (log_p.exp() * (log_p - log_p.exp().mean(0).log())).sum(1)
    return centred_score(value, torch.zeros(n_real), value * divergence)


def mode_scores(
    samples: Float[Tensor, "n d"], centres: Float[Tensor, "k d"], sigma: float, n_real: int
) -> dict[str, Score]:
    """Modes captured, share of high quality and reverse KL; the `real` held-out examples have no influence."""
    n, k, (mode, is_high_quality) = len(samples), len(centres), assign_modes(samples, centres, sigma)
    counts, result = mode[is_high_quality].bincount(minlength=k).double(), mode_coverage(samples, centres, sigma)
    is_only_sample = is_high_quality & (counts[mode] == 1)  # without it, a mode less
    kl_terms = (
        (counts / max(1.0, counts.sum().item()) * k)[mode].clamp_min(1e-300).log() - result.reverse_kl
    ) * is_high_quality
    terms = (is_only_sample * (n - 1.0), is_high_quality, kl_terms * (n / max(1.0, counts.sum().item())))
    return {f"modes_{name}" if name == "captured" else name: centred_score(float(value), torch.zeros(n_real), t)
            for (name, value), t in zip(result._asdict().items(), terms, strict=True)}  # fmt: skip
