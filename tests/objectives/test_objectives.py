"""Each objective against torch.distributions, NumPy, Monte Carlo or a closed form, and its gradient."""

from math import log

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck
from torch.distributions import Bernoulli, MultivariateNormal, Normal, kl_divergence

from ganvas.objectives.adversarial import (
    JENSEN_SHANNON_LOSSES,
    Loss,
    discriminator_terms,
    generator_loss,
)
from ganvas.objectives.kl import kl_diagonal, kl_full, kl_low_rank
from ganvas.objectives.reconstruction import bernoulli_nll, gaussian_nll, squared_error

D = 4


def value_function(real: Tensor, fake: Tensor) -> Tensor:
    """V(D, G), equation 1 of arXiv:1406.2661, which D ascends."""
    real_term, fake_term = discriminator_terms("minimax", real, fake).values()
    return -(real_term + fake_term)


def gaussians(n: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    """Means, standard deviations and Cholesky factors, in float64."""
    mean, scale = torch.randn(n, D).double(), torch.rand(n, D).double() + 0.2
    below = torch.randn(n, D, D).double().tril(-1)
    return mean, scale, below + scale.diag_embed()


def test_kl_diagonal_is_that_of_torch() -> None:
    mean, scale, _ = gaussians()
    prior = Normal(torch.zeros(D).double(), torch.ones(D).double())
    expected = kl_divergence(Normal(mean, scale), prior).sum(1)
    torch.testing.assert_close(kl_diagonal(mean, scale).sum(1), expected)


def test_kl_full_is_that_of_torch() -> None:
    mean, _, factor = gaussians()
    prior = MultivariateNormal(torch.zeros(D).double(), torch.eye(D).double())
    expected = kl_divergence(MultivariateNormal(mean, scale_tril=factor), prior)
    torch.testing.assert_close(kl_full(mean, factor).sum(1), expected)


def test_the_two_kls_agree_where_the_covariance_is_diagonal() -> None:
    mean, scale, _ = gaussians()
    torch.testing.assert_close(kl_full(mean, scale.diag_embed()), kl_diagonal(mean, scale))
    log_det = 2 * scale.log().sum(1)
    low_rank = kl_low_rank(mean, scale, torch.zeros(5, D, 2).double(), log_det)
    torch.testing.assert_close(low_rank, kl_diagonal(mean, scale))


def test_the_terms_of_a_low_rank_kl_are_marginals_and_a_share_of_the_total_correlation() -> None:
    mean, scale, _ = gaussians()
    factor = torch.randn(5, D, 2).double()
    covariance = scale.square().diag_embed() + factor @ factor.mT
    terms = kl_low_rank(mean, scale, factor, torch.logdet(covariance))
    prior = MultivariateNormal(torch.zeros(D).double(), torch.eye(D).double())
    torch.testing.assert_close(terms.sum(1), kl_divergence(MultivariateNormal(mean, covariance), prior))
    marginal = kl_diagonal(mean, covariance.diagonal(dim1=1, dim2=2).sqrt())
    assert (terms >= marginal).all()


def test_kl_is_zero_for_the_prior_itself() -> None:
    zero, one = torch.zeros(3, D).double(), torch.ones(3, D).double()
    assert kl_diagonal(zero, one).abs().max() == 0
    assert kl_full(zero, one.diag_embed()).abs().max() == 0


@pytest.mark.parametrize("full", [False, True])
def test_kl_agrees_with_monte_carlo(full: bool) -> None:
    mean, scale, factor = (t[0] for t in gaussians())
    q = MultivariateNormal(mean, scale_tril=factor if full else scale.diag())
    z = q.sample((200_000,))
    difference = q.log_prob(z) - Normal(0.0, 1.0).log_prob(z).sum(1)
    standard_error = difference.std() / len(z) ** 0.5
    kl = kl_full(mean[None], factor[None]) if full else kl_diagonal(mean[None], scale[None])
    assert abs(kl.sum().item() - difference.mean().item()) < 4 * standard_error


def test_bernoulli_is_a_log_likelihood_on_bits() -> None:
    x, logits = (torch.rand(3, 8) < 0.5).double(), 3 * torch.randn(3, 8).double()
    expected = -Bernoulli(logits=logits).log_prob(x).sum(1)
    torch.testing.assert_close(bernoulli_nll(x, logits), expected)


def test_bernoulli_survives_extreme_logits() -> None:
    x = torch.tensor([[0.0, 1.0, 0.0, 1.0]])
    assert bernoulli_nll(x, torch.tensor([[80.0, -80.0, -80.0, 80.0]])).item() == pytest.approx(160)


def test_gaussian_is_the_normal_density() -> None:
    x, mean = torch.randn(3, 8).double(), torch.randn(3, 8).double()
    expected = -Normal(mean, 0.3).log_prob(x).sum(1)
    torch.testing.assert_close(gaussian_nll(x, mean, 0.3), expected)


def test_squared_error_is_the_norm_of_the_difference() -> None:
    x, y = np.random.default_rng(0).normal(size=(2, 5, 6))
    expected = torch.tensor([np.linalg.norm(a - b) ** 2 for a, b in zip(x, y, strict=True)])
    torch.testing.assert_close(squared_error(torch.tensor(x), torch.tensor(y)), expected)


LOGITS = np.concatenate([np.random.default_rng(1).normal(scale=4, size=20), [80.0, -80.0, 0.0]])


def log_sigmoid(d: np.ndarray) -> np.ndarray:
    """log(1 / (1 + e^-d)) in float64, without overflow: an independent reference."""
    return -np.logaddexp(0, -d)


def test_the_value_function_and_its_losses_are_those_of_numpy() -> None:
    real, fake = LOGITS, LOGITS[::-1] + 0.5
    r, f = torch.tensor(real), torch.tensor(fake.copy())
    log_d, log_not_d = log_sigmoid(real).mean(), log_sigmoid(-fake).mean()
    assert value_function(r, f).item() == pytest.approx(log_d + log_not_d)
    for loss in JENSEN_SHANNON_LOSSES:
        terms = {name: t.item() for name, t in discriminator_terms(loss, r, f).items()}
        assert terms == pytest.approx({"real": -log_d, "fake": -log_not_d})
    assert generator_loss("minimax", f).item() == pytest.approx(log_not_d)
    assert generator_loss("non-saturating", f).item() == pytest.approx(-log_sigmoid(fake).mean())


def test_the_generators_gradients_are_those_of_the_paper() -> None:
    """d/dd log(1 - s(d)) = -s(d), which vanishes where D is sure; d/dd -log s(d) = -(1 - s(d)), which does not."""
    sigmoid = np.exp(log_sigmoid(LOGITS))
    expectations: tuple[tuple[Loss, np.ndarray], ...] = (
        ("minimax", -sigmoid),
        ("non-saturating", sigmoid - 1),
    )
    for loss, expected in expectations:
        d = torch.tensor(LOGITS, requires_grad=True)
        generator_loss(loss, d).backward()
        assert d.grad is not None
        np.testing.assert_allclose(d.grad.numpy(), expected / len(LOGITS), atol=1e-12)


def test_with_the_best_discriminator_the_value_is_2_jsd_minus_log_4() -> None:
    p, q = np.array([4, 2, 1, 1]), np.array([1, 1, 2, 4])  # eighths
    best = np.log(p / q)  # the logit of D* = p / (p + q), proposition 1
    real, fake = (torch.tensor(np.repeat(best, counts)) for counts in (p, q))
    p, q = p / 8, q / 8
    m = (p + q) / 2
    jsd = 0.5 * (p * np.log(p / m)).sum() + 0.5 * (q * np.log(q / m)).sum()
    assert value_function(real, fake).item() == pytest.approx(2 * jsd - log(4))
    worse = value_function(real + 0.3, fake + 0.3).item()
    assert worse < 2 * jsd - log(4)


def test_gradients_agree_with_finite_differences() -> None:
    mean, scale, factor = (t.requires_grad_() for t in gaussians(2))
    x, y = torch.rand(2, 3).double(), torch.randn(2, 3).double().requires_grad_()
    d = torch.randn(6).double().requires_grad_()
    assert gradcheck(kl_diagonal, (mean, scale))
    assert gradcheck(lambda m, f: kl_full(m, f.tril()), (mean, factor))
    assert gradcheck(lambda y: bernoulli_nll(x, y), (y,))
    assert gradcheck(lambda y: gaussian_nll(x, y, 0.3), (y,))
    assert gradcheck(lambda y: squared_error(x, y), (y,))
    assert gradcheck(value_function, (d, d))
