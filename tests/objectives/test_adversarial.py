"""The six games against independent NumPy formulas, values and gradients, and against distances in closed form."""

from math import log
from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from ganvas.objectives.adversarial import (
    BORDERS,
    JENSEN_SHANNON_LOSSES,
    WON_LOGIT_GAP,
    Loss,
    discriminator_terms,
    divergence_estimates,
    generator_loss,
)

Array = np.ndarray
LOSSES: tuple[Loss, ...] = get_args(Loss)
every_loss = pytest.mark.parametrize("loss", LOSSES)
P, Q = np.array([4, 2, 1, 1, 0]), np.array([1, 1, 2, 2, 2])  # two distributions on five points, in eighths


def logits(seed: int = 0, n: int = 30) -> Array:
    """Random logits of usual size, and some at which an exponential or a logarithm would overflow."""
    random = np.random.default_rng(seed)
    return random.permutation(np.concatenate([random.normal(scale=4, size=n), [80.0, -80.0, 80.0, -80.0, 0.3]]))


def test_every_loss_says_where_its_logits_border_and_how_far_apart_they_are_when_d_has_won() -> None:
    assert set(BORDERS) == set(WON_LOGIT_GAP) == set(LOSSES)
    assert [loss for loss, gap in WON_LOGIT_GAP.items() if gap is None] == ["wasserstein"]


def softplus(d: Array) -> Array:
    return np.logaddexp(0, d)


def sigmoid(d: Array) -> Array:
    return np.exp(-np.logaddexp(0, -d))


def discriminators(loss: str, r: Array, f: Array) -> tuple[dict[str, float], Array, Array]:
    """D's terms, and the gradient of their sum by the logits of real and of fake examples."""
    n = len(r)
    if loss in ("minimax", "non-saturating"):
        return {"real": softplus(-r).mean(), "fake": softplus(f).mean()}, -sigmoid(-r) / n, sigmoid(f) / n
    if loss == "least-squares":
        return {"real": 0.5 * ((r - 1) ** 2).mean(), "fake": 0.5 * (f**2).mean()}, (r - 1) / n, f / n
    if loss == "hinge":
        terms = {"real": np.maximum(0, 1 - r).mean(), "fake": np.maximum(0, 1 + f).mean()}
        return terms, -(r < 1).astype(float) / n, (f > -1).astype(float) / n
    if loss == "wasserstein":
        return {"real": -r.mean(), "fake": f.mean()}, np.full(n, -1 / n), np.full(n, 1 / n)
    return {"pairs": softplus(f - r).mean()}, -sigmoid(f - r) / n, sigmoid(f - r) / n


def generators(loss: str, r: Array, f: Array) -> tuple[Array, Array]:
    """G's loss for each fake, and its gradient by that fake's logit."""
    return {
        "minimax": lambda: (-softplus(f), -sigmoid(f)),
        "non-saturating": lambda: (softplus(-f), -sigmoid(-f)),
        "least-squares": lambda: (0.5 * (f - 1) ** 2, f - 1),
        "hinge": lambda: (-f, -np.ones_like(f)),
        "wasserstein": lambda: (-f, -np.ones_like(f)),
        "relativistic": lambda: (softplus(r - f), -sigmoid(r - f)),
    }[loss]()


@every_loss
def test_what_the_discriminator_descends_is_what_numpy_says(loss: Loss) -> None:
    r, f = logits(0), logits(1)
    real, fake = (torch.tensor(d, requires_grad=True) for d in (r, f))
    terms = discriminator_terms(loss, real, fake)
    expected, by_real, by_fake = discriminators(loss, r, f)
    assert {name: t.item() for name, t in terms.items()} == pytest.approx(expected, rel=1e-12)
    sum(terms.values(), torch.zeros(())).backward()
    for d, gradient in ((real, by_real), (fake, by_fake)):
        assert d.grad is not None
        np.testing.assert_allclose(d.grad.numpy(), gradient, atol=1e-14)


@every_loss
def test_what_the_generator_descends_is_what_numpy_says(loss: Loss) -> None:
    r, f = logits(2), logits(3)
    fake, real = torch.tensor(f, requires_grad=True), torch.tensor(r)
    expected, gradient = generators(loss, r, f)
    each = [generator_loss(loss, *pair).item() for pair in zip(fake, real, strict=True)]
    np.testing.assert_allclose(each, expected, rtol=1e-9, atol=1e-12)
    mean = generator_loss(loss, fake, real)
    assert mean.item() == pytest.approx(expected.mean(), rel=1e-12)
    mean.backward()
    assert fake.grad is not None
    np.testing.assert_allclose(fake.grad.numpy(), gradient / len(f), atol=1e-14)


@every_loss
def test_losses_are_means_over_batches_of_any_shape(loss: Loss) -> None:
    """Logits come as b x 1 from a discriminator; a sum, or a mean that broadcasts pairs, would differ."""
    r, f = (torch.tensor(logits(seed)[:24]) for seed in (0, 1))
    flat = discriminator_terms(loss, r, f), generator_loss(loss, f, r)
    for shape in ((24, 1), (4, 6), (2, 3, 4)):
        terms = discriminator_terms(loss, r.view(shape), f.view(shape))
        assert all(torch.isclose(t, flat[0][name], rtol=1e-12) for name, t in terms.items())
        assert torch.isclose(generator_loss(loss, f.view(shape), r.view(shape)), flat[1], rtol=1e-12)
    twice = discriminator_terms(loss, r.repeat(2), f.repeat(2))
    assert all(torch.isclose(t, flat[0][name], rtol=1e-12) for name, t in twice.items())


@every_loss
def test_losses_of_half_precision_logits_are_float32(loss: Loss) -> None:
    """A mean of 4096 numbers near 1 taken in bfloat16 would be off by a percent."""
    random = torch.Generator().manual_seed(0)
    r, f = (1 + torch.randn(4096, 1, generator=random).bfloat16() / 50 for _ in range(2))
    found = [*discriminator_terms(loss, r, f).values(), generator_loss(loss, f, r)]
    exact = [*discriminator_terms(loss, r.double(), f.double()).values(), generator_loss(loss, f.double(), r.double())]
    assert {t.dtype for t in found} == {torch.float32}
    for a, b in zip(found, exact, strict=True):
        assert a.item() == pytest.approx(b.item(), rel=1e-4)


def test_the_relativistic_generator_needs_the_real_logits() -> None:
    with pytest.raises(AssertionError):
        generator_loss("relativistic", torch.zeros(3))


def of_points(d: Array) -> tuple[Tensor, Tensor]:
    """A discriminator's values at the points, as often as P and Q have them."""
    return torch.tensor(np.repeat(d, P)), torch.tensor(np.repeat(d, Q))


def lowest(loss: Loss, best: Array) -> float:
    """D's loss at its best value at each point, having checked that no step away from it is better."""

    def at(d: Array) -> float:
        return sum(t.item() for t in discriminator_terms(loss, *of_points(d)).values())

    least = at(best)
    random = np.random.default_rng(0)
    assert all(at(best + scale * random.normal(size=5)) >= least for scale in (0.01, 0.1, 1) for _ in range(20))
    return least


@pytest.mark.parametrize("loss", JENSEN_SHANNON_LOSSES)
def test_at_the_best_discriminator_the_value_is_twice_the_jensen_shannon_divergence(loss: Loss) -> None:
    p, q = P / 8, Q / 8
    m = (p + q) / 2
    jsd = sum(0.5 * (a[a > 0] * np.log(a[a > 0] / m[a > 0])).sum() for a in (p, q))
    best = np.where(P > 0, np.log(np.maximum(p, 1e-300) / q), -60)  # log p / q, as good as -infinity where p is 0
    least = lowest(loss, best)
    assert least == pytest.approx(log(4) - 2 * jsd)
    terms = {name: t.item() for name, t in discriminator_terms(loss, *of_points(best)).items()}
    assert sum(terms.values()) == pytest.approx(least)
    assert divergence_estimates(loss, terms) == pytest.approx({"jensen_shannon": jsd})
    apart = discriminator_terms(loss, torch.full((4,), 60.0), torch.full((4,), -60.0))
    assert divergence_estimates(loss, {k: t.item() for k, t in apart.items()}) == pytest.approx(
        {"jensen_shannon": log(2)}
    )


def test_the_best_least_squares_discriminator_is_p_over_p_plus_q() -> None:
    """Then D's loss is half the sum of pq / (p + q), at most 1/4, where p = q."""
    p, q = P / 8, Q / 8
    assert lowest("least-squares", p / (p + q)) == pytest.approx((p * q / (p + q)).sum() / 2)
    same = discriminator_terms("least-squares", torch.tensor([0.5]), torch.tensor([0.5]))
    assert sum(t.item() for t in same.values()) == pytest.approx(1 / 4)


def test_the_best_hinge_discriminator_sees_the_total_variation() -> None:
    """D = sign(p - q): each point then costs 2 min(p, q), in all 2 - 2 TV, with TV half the sum of |p - q|."""
    p, q = P / 8, Q / 8
    assert lowest("hinge", np.sign(P - Q).astype(float)) == pytest.approx(2 - np.abs(p - q).sum())


def test_the_best_critic_of_slope_1_sees_the_earth_movers_distance() -> None:
    """On the line it is the area between the two distribution functions: the critic goes down where P's is above."""
    points = np.array([0.0, 0.5, 2.0, 2.5, 4.0])
    above = np.cumsum(P - Q)[:-1] / 8
    distance = (np.abs(above) * np.diff(points)).sum()
    best = -np.concatenate([[0], np.cumsum(np.sign(above) * np.diff(points))])
    real, fake = of_points(best)
    terms = {name: t.item() for name, t in discriminator_terms("wasserstein", real, fake).items()}
    assert divergence_estimates("wasserstein", terms) == pytest.approx({"wasserstein": distance})
    slope = np.abs(np.diff(best) / np.diff(points))
    assert slope.max() == 1
    for signs in np.ndindex(2, 2, 2, 2):  # the linear program's vertices: all critics of slope 1 or -1
        other = np.concatenate([[0], np.cumsum((2 * np.array(signs) - 1) * np.diff(points))])
        real, fake = of_points(other)
        assert -sum(t.item() for t in discriminator_terms("wasserstein", real, fake).values()) <= distance + 1e-12
    assert generator_loss("wasserstein", fake).item() == pytest.approx(-fake.mean().item())


def test_where_the_distributions_agree_the_relativistic_game_rests() -> None:
    """A constant D costs log 2, and no direction in which D's values at the points could go lowers it."""
    points = torch.full((5,), 0.7, dtype=torch.double, requires_grad=True)
    weights = torch.tensor(P / 8)
    index = torch.cartesian_prod(torch.arange(5), torch.arange(5))
    pairs = weights[index[:, 0]] * weights[index[:, 1]] * 64
    repeated = index.repeat_interleave(pairs.long(), 0)
    real, fake = points[repeated[:, 0]], points[repeated[:, 1]]
    loss = discriminator_terms("relativistic", real, fake)["pairs"]
    (gradient,) = torch.autograd.grad(loss, points)
    assert loss.item() == pytest.approx(log(2))
    assert gradient.abs().max() < 1e-15
    assert generator_loss("relativistic", fake, real).item() == pytest.approx(log(2))


def test_only_losses_that_estimate_a_distance_say_one() -> None:
    terms = {"real": 0.4, "fake": 0.3}
    for loss in LOSSES:
        names = set(divergence_estimates(loss, terms | {"gp": 3.0, "fool": 1.0}))
        expected = (
            {"wasserstein"} if loss == "wasserstein" else {"jensen_shannon"} if loss in JENSEN_SHANNON_LOSSES else set()
        )
        assert names == expected
        assert divergence_estimates(loss, {"fool": 1.0}) == {}
    assert divergence_estimates("wasserstein", terms) == {"wasserstein": pytest.approx(-0.7)}
