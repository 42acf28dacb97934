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

from ..randomness import generator
from .classes import classifier_score
from .distances import DIRECTIONS, ROWS, SUBSET, block, check, frechet, moments, prefix_sizes, to_infinity
from .modes import assigned, modes
from .neighbours import RARE, Points, distances, in_blocks, rare, told_apart

RESAMPLES = 1000
TOGETHER = 50
"""resamples that are drawn at once"""
NEAR = 0.5
"""how much more and less than `RARE` the share is between which a density at that quantile is estimated"""


class Score(NamedTuple):
    """A number, and how it changes with the weight of each example; the terms' means are 0."""

    value: float
    of_real: Float64[Tensor, " m"]
    of_made: Float64[Tensor, " n"]


def score(value: float, of_real: Tensor, of_made: Tensor) -> Score:
    """A score whose terms are moved to mean 0."""
    return Score(value, *(t.double() - t.double().mean() for t in (of_real, of_made)))


def resampled(scores: Sequence[Score], seed: int, *key: int | str) -> Float64[Tensor, "resamples scores"]:
    """The scores of resamples of the examples, of either set with replacement.

    The same seed gives the same resamples of the real ones, so that differences between two models measured on them
    are paired; those of generated examples also depend on the key.
    """
    if not scores:
        return torch.empty(RESAMPLES, 0, dtype=torch.float64)
    values = torch.tensor([s.value for s in scores], dtype=torch.float64)
    real, made = (torch.stack([s[i] for s in scores], 1) for i in (1, 2))  # type: ignore[misc]
    return values + means(real, seed, "held out") + means(made, seed, "made", *key)


def means(terms: Float64[Tensor, "n scores"], *key: int | str) -> Float64[Tensor, "resamples scores"]:
    """The means of n examples' terms over resamples of the examples."""
    random, n, found = generator(torch.device("cpu"), *key), len(terms), []
    for _ in range(0, RESAMPLES, TOGETHER):
        drawn = torch.randint(n, (TOGETHER, n), generator=random) + n * torch.arange(TOGETHER)[:, None]
        counts = drawn.flatten().bincount(minlength=TOGETHER * n).view(TOGETHER, n)
        found.append(counts.double() @ terms / n)
    return torch.cat(found)


def frechet_score(real: Float[Tensor, "m d"], made: Float[Tensor, "n d"]) -> Score:
    """The Frechet distance.

    Its derivative by an example y of one set, from the mean mu, is 2 (mu - mu') y + y^T (I - T) y, where T is the
    optimal map between the Gaussians, from this one to the other: see `potential`.
    """
    check(real, made, 2)
    a, b = moments(real.split(ROWS)), moments(made.split(ROWS))
    u, _, vt = torch.linalg.svd(a.factor.mT @ b.factor)
    terms = []
    for x, own, other, p, q in ((real, a, b, u, vt.mT), (made, b, a, vt.mT, u)):
        parts = [potential(part.double() - own.mean, own.factor, other.factor, p, q) for part in x.split(ROWS)]
        terms.append(torch.cat(parts) + 2 * (x.double() - own.mean) @ (own.mean - other.mean))
    return score(frechet(a, b), *terms)


def infinity_error(real: Float[Tensor, "n d"], made: Float[Tensor, "n d"]) -> float:
    """The standard error of `frechet_infinity`, by the delta method.

    Extrapolated is a weighted sum of the distances of the first half and more of the examples.  Each example changes
    those that it is part of by its term of the whole sets' distance, so that it counts with a weight of its own: the
    first ones, which are in all parts, with one near 1, and the last ones with a larger one.
    """
    n = len(real)
    sizes = prefix_sizes(n)
    counts = (torch.arange(n)[:, None] < torch.tensor(sizes)).double()
    weights = counts * n / torch.tensor(sizes) @ to_infinity(sizes)
    _, *terms = frechet_score(real, made)
    return sqrt(sum((weights * t).var().item() for t in terms) / n)


def potential(y: Tensor, A: Tensor, B: Tensor, p: Tensor, q: Tensor) -> Float64[Tensor, " n"]:
    """y^T (I - T) y for y of a Gaussian with covariance A A^T, A^T B = p s q^T: T = A^-T p q^T B^T.

    A is a matrix of eigenvectors times roots of eigenvalues, so A^-1 is its transpose divided by the eigenvalues; where
    these are 0, so are the coordinates of y.
    """
    values = A.square().sum(0)
    inverse = torch.where(values > values.max() * 1e-12, 1 / values, 0.0)
    return y.square().sum(1) - (((y @ A) * inverse @ p) * ((y @ B) @ q)).sum(1)


def kernel_score(real: Float[Tensor, "n d"], made: Float[Tensor, "n d"]) -> Score:
    """The kernel distance, in the blocks of `kernel_distance`."""

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.mT / x.shape[1] + 1).pow(3)

    n, size = len(real), block(real, made)
    whole = n // size * size
    pairs = zip(real[:whole].split(size), made[:whole].split(size), strict=True)
    found = [discrepancy(x, y, kernel) for x, y in pairs]
    rest = torch.zeros(n - whole, dtype=torch.float64)
    of_real, of_made = (torch.cat([*parts, rest]) * (n / whole) for parts in list(zip(*found, strict=True))[1:])
    return score(sum(s.value for s in found) / len(found), of_real, of_made)


def energy_score(real: Float[Tensor, "n d"], made: Float[Tensor, "m d"]) -> Score:
    """The square of the energy distance, which is a discrepancy with the kernel -|x - y|; below 0 by chance."""
    return discrepancy(real, made, lambda x, y: -torch.cdist(x, y))


def discrepancy(a: Float[Tensor, "n d"], b: Float[Tensor, "m d"], kernel: Callable[[Tensor, Tensor], Tensor]) -> Score:
    """The unbiased squared discrepancy of `mmd` for any kernel; the terms are a U-statistic's."""
    a, b = a.double(), b.double()
    of_a, of_b = (sums(x, x, kernel, others=True) / (len(x) - 1) for x in (a, b))
    to_b, to_a = sums(a, b, kernel) / len(b), sums(b, a, kernel) / len(a)
    value = of_a.mean() + of_b.mean() - 2 * to_b.mean()
    return score(value.item(), 2 * (of_a - to_b), 2 * (of_b - to_a))


def sums(
    a: Float64[Tensor, "n d"],
    b: Float64[Tensor, "m d"],
    kernel: Callable[[Tensor, Tensor], Tensor],
    *,
    others: bool = False,
) -> Float64[Tensor, " n"]:
    """The sum of the kernel over b for each of a; with `others` the sets are one, and no example meets itself."""
    found = []
    for i in range(0, len(a), SUBSET):
        values = kernel(a[i : i + SUBSET], b)
        if others:
            values.diagonal(i).zero_()
        found.append(values.sum(1))
    return torch.cat(found)


def coverage_scores(real: Points, made: Points) -> dict[str, Score]:
    """Precision, recall, density and coverage.

    Besides its own term, an example has one for each of the others that its ball alone holds, or that is alone in its
    ball.  That balls grow where one is left out makes up for a part of it, so intervals are rather too wide.
    """
    x, y, k = real.x, made.x, real.k
    m, n, of_real, of_made = len(x), len(y), real.balls(k), made.balls(k)
    inside, holder = torch.zeros(2, n, dtype=torch.float64)
    lost_recall, lost_coverage = torch.zeros(2, n, dtype=torch.float64)
    held, hits = [], []
    for i, part in in_blocks(x, n):
        far = distances(part, y)
        holds, hit = (far < of_real[i : i + len(part), None]).double(), (far < of_made).double()
        inside += holds.sum(0)
        holder += torch.arange(i, i + len(part), dtype=torch.float64) @ holds
        held.append(holds.sum(1))
        hits.append(hit.sum(1))
        lost_coverage += holds[held[-1] == 1].sum(0)
        lost_recall += hit[hits[-1] == 1].sum(0)
    in_ball, hit_by = torch.cat(held), torch.cat(hits)
    lost_precision = holder[inside == 1].long().bincount(minlength=m).double()
    density = inside.mean().item() / k
    return {
        "precision": score((inside > 0).double().mean().item(), lost_precision * (m - 1) / n, inside > 0),
        "recall": score((hit_by > 0).double().mean().item(), hit_by > 0, lost_recall * (n - 1) / m),
        "density": score(density, in_ball * m / (n * k), inside / k),
        "coverage": score((in_ball > 0).double().mean().item(), in_ball > 0, lost_coverage * (n - 1) / m),
    }


def two_sample_score(real: Points, made: Points) -> Score:
    """The accuracy of nearest neighbours; where an example is left out, those nearest to it have their second one."""
    both = Points(torch.cat([real.x, made.x]))
    own = torch.arange(len(both.x)) < len(real.x)
    first, second = (own[both.two[0]] == own[:, None]).double().unbind(1)
    terms = first + passed_on(both.two[0][:, 0], first - second)
    of_real, of_made = terms.split([len(real.x), len(made.x)])
    return score(sum(told_apart(real, made)) / 2, of_real / 2, of_made / 2)


def passed_on(nearest_one: Int64[Tensor, " n"], change: Float64[Tensor, " n"]) -> Float64[Tensor, " n"]:
    """For each point, the sum of what changes for those whose nearest one it is."""
    return torch.zeros_like(change).index_add_(0, nearest_one, change)


def duplicates_score(real: Points, made: Points) -> Score:
    """The share of generated examples with a double."""
    usual, found = (x.two[1][:, 0] for x in (real, made))
    limit = rare(usual)
    near, double = (own_and_passed_on(x, limit) for x in (real, made))
    # exact doubles have no part in the limit
    near = torch.where(usual > 0, near, 0.0)
    return score((found < limit).double().mean().item(), -slope(usual, found) * near, double)


def own_and_passed_on(x: Points, limit: Tensor) -> Float64[Tensor, " n"]:
    """Whether each point has another one within the limit, and for how many it is the only one."""
    where, far = x.two
    first, second = (far < limit).double().unbind(1)
    return first + passed_on(where[:, 0], first - second)


def slope(usual: Float64[Tensor, " m"], found: Float64[Tensor, " n"]) -> float:
    """How fast the share of `found` below a quantile of `usual` grows with the quantile's share, at `RARE`.

    Both are of what is `usual` between examples that differ: see `rare`.
    """
    apart = usual[usual > 0]
    if not len(apart):
        return 0.0
    low, high = (apart.quantile(RARE * (1 + d)) for d in (-NEAR, NEAR))
    share = ((found >= low) & (found < high)).double().mean() / (2 * NEAR * RARE)
    return (share * len(usual) / len(apart)).item()


def copying_scores(usual: Float64[Tensor, " m"], found: Float64[Tensor, " n"]) -> dict[str, Score]:
    """The two numbers of `copying`, from the distances of held-out and of generated examples to the training data."""
    nearer = 1 - ranks(found, usual)
    limit = rare(usual)
    copied, near = (found < limit).double(), ((usual > 0) & (usual < limit)).double() - RARE * (usual > 0)
    return {
        "nearer_to_training": score(nearer.mean().item(), ranks(usual, found), nearer),
        "memorised": score(copied.mean().item(), -slope(usual, found) * near, copied),
    }


def ranks(a: Float64[Tensor, " n"], among: Float64[Tensor, " m"]) -> Float64[Tensor, " n"]:
    """The share of `among` that is less than each of `a`, those that are equal counted half."""
    ordered = among.sort().values
    below, upto = (torch.searchsorted(ordered, a, right=side) for side in (False, True))
    return (below + upto).double() / (2 * len(among))


def sliced_score(a: Shaped[Tensor, "n *shape"], b: Shaped[Tensor, "n *shape"], directions: int, seed: int) -> Score:
    """The sliced Wasserstein distance: each example's term is the mean over directions of its Kantorovich potential.

    In one dimension the distance is the integral of |F - G|, whose derivative by F is sign(F - G), so that the
    potential of x is the integral of that from x on.
    """
    x, y = (s.flatten(1).float() for s in (a, b))
    direction = torch.randn(x.shape[1], directions, generator=generator(torch.device("cpu"), seed, "directions"))
    direction /= direction.norm(dim=0)
    n, value, terms = len(x), 0.0, torch.zeros(2 * len(x), dtype=torch.float64)
    for some in direction.split(DIRECTIONS, 1):
        ordered, order = torch.cat([x @ some, y @ some]).double().sort(0)
        steps = torch.where(order < n, 1, -1).cumsum(0)[:-1]  # n (F - G) between a point and the next
        gaps = ordered.diff(dim=0)
        value += (steps.abs() * gaps).sum().item() / n
        rising = torch.cat([torch.zeros(1, some.shape[1], dtype=torch.float64), (steps.sign() * gaps).cumsum(0)])
        terms.index_add_(0, order.flatten(), rising.flatten())
    return score(value / directions, -terms[:n] / directions, terms[n:] / directions)


def classifier_scores(logits: Float[Tensor, "n classes"], real: int) -> Score:
    """The classifier's score, on which the `real` held-out examples have no influence.

    Nor has the marginal, to first order: its terms sum to 0.
    """
    value = classifier_score(logits).mean().item()
    log_p = logits.double().log_softmax(1)
    divergence = (log_p.exp() * (log_p - log_p.exp().mean(0).log())).sum(1)
    return score(value, torch.zeros(real), value * divergence)


def mode_scores(
    samples: Float[Tensor, "n d"], centres: Float[Tensor, "k d"], sigma: float, real: int
) -> dict[str, Score]:
    """Modes captured, share of high quality and reverse KL; the `real` held-out examples have no influence."""
    n, k, (mode, good) = len(samples), len(centres), assigned(samples, centres, sigma)
    counts, found = mode[good].bincount(minlength=k).double(), modes(samples, centres, sigma)
    alone = good & (counts[mode] == 1)  # without it, a mode less
    surplus = ((counts / max(1.0, counts.sum().item()) * k)[mode].clamp_min(1e-300).log() - found.reverse_kl) * good
    terms = (alone * (n - 1.0), good, surplus * (n / max(1.0, counts.sum().item())))
    return {f"modes_{name}" if name == "captured" else name: score(float(value), torch.zeros(real), t)
            for (name, value), t in zip(found._asdict().items(), terms, strict=True)}  # fmt: skip
