"""Posteriors: what an encoder's raw outputs become, their samples, densities and divergences."""

import pytest
import torch
from torch.autograd import gradcheck
from torch.distributions import MultivariateNormal

from ganvas.posteriors import POSTERIORS, Full

D = 3
both = pytest.mark.parametrize("name", list(POSTERIORS))


def raw(name: str, n: int = 4) -> torch.Tensor:
    return torch.randn(n, POSTERIORS[name].size(D))


@both
def test_the_density_is_that_of_torch(name: str) -> None:
    q = POSTERIORS[name].of(raw(name))
    z = torch.randn(4, D)
    expected = MultivariateNormal(q.mean, q.covariance).log_prob(z)
    torch.testing.assert_close(q.log_prob(z), expected, rtol=1e-4, atol=1e-4)


@both
def test_samples_have_the_posteriors_mean_and_covariance(name: str) -> None:
    n = 100_000
    one = raw(name, 1)
    q, exact = POSTERIORS[name].of(one.expand(n, -1)), POSTERIORS[name].of(one)
    z = q.sample()
    spread = exact.covariance[0].diagonal().max().item()
    assert (z.mean(0) - exact.mean[0]).abs().max() < 5 * (spread / n) ** 0.5
    assert (z.T.cov() - exact.covariance[0]).abs().max() < 10 * spread / n**0.5


@both
def test_kl_is_the_expected_log_ratio(name: str) -> None:
    one = raw(name, 1)
    q = POSTERIORS[name].of(one.expand(100_000, -1))
    z = q.sample()
    ratio = q.log_prob(z) - torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1)
    assert abs(ratio.mean() - q.kl()[0]) < 4 * ratio.std() / len(z) ** 0.5


@both
def test_samples_carry_gradients_to_every_output_of_the_encoder(name: str) -> None:
    outputs = raw(name).double().requires_grad_()
    POSTERIORS[name].of(outputs).sample().square().sum().backward()
    assert outputs.grad is not None
    assert (outputs.grad != 0).all()


def test_the_factor_is_lower_triangular_with_a_positive_diagonal() -> None:
    q = Full.of(raw("full"))
    assert torch.equal(q.scale_tril, q.scale_tril.tril())
    assert (q.scale_tril.diagonal(dim1=1, dim2=2) > 0).all()
    below = q.scale_tril[:, *torch.tril_indices(D, D, -1)]
    assert below.abs().min() > 0  # every entry below the diagonal is used


@pytest.mark.parametrize("d", [1, 2, 16, 64])
def test_sizes_fit(d: int) -> None:
    for name, outputs in (("diagonal", 2 * d), ("full", d + d * (d + 1) // 2)):
        assert POSTERIORS[name].size(d) == outputs
        assert POSTERIORS[name].of(torch.zeros(2, outputs)).covariance.shape == (2, d, d)


@both
def test_an_untrained_head_is_near_the_prior(name: str) -> None:
    q = POSTERIORS[name].of(torch.zeros(1, POSTERIORS[name].size(D)))
    torch.testing.assert_close(q.covariance[0], torch.eye(D), atol=1e-3, rtol=0)


@both
@pytest.mark.parametrize("extreme", [-1e4, 1e4])
def test_extreme_outputs_in_low_precision_stay_finite(name: str, extreme: float) -> None:
    outputs = torch.full((2, POSTERIORS[name].size(D)), extreme, dtype=torch.bfloat16, requires_grad=True)
    q = POSTERIORS[name].of(outputs)
    assert q.mean.dtype == torch.float32
    assert q.kl().isfinite().all()
    q.kl().sum().backward()
    assert outputs.grad is not None
    assert outputs.grad.isfinite().all()


def test_the_full_posteriors_gradients_agree_with_finite_differences() -> None:
    mean, below = torch.randn(2, D).double().requires_grad_(), torch.randn(2, D, D).double().requires_grad_()
    z = torch.randn(2, D).double()

    def density(m: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        factor = b.tril(-1) + (1 + b.diagonal(dim1=1, dim2=2) ** 2).diag_embed()
        return Full(m, factor).log_prob(z)

    assert gradcheck(density, (mean, below))
