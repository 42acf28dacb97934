"""The bound against exact log-likelihoods, on a linear-Gaussian model (probabilistic PCA).

p(z) = N(0, I), p(x|z) = N(W z + b, sigma^2 I), so that p(x) = N(b, W W^T + sigma^2 I) and
p(z|x) = N(M^-1 W^T (x - b), sigma^2 M^-1) with M = W^T W + sigma^2 I  (Tipping & Bishop, 1999).
"""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, kl_divergence
from torch.nn.functional import softplus

from ganvas.models import VAE
from ganvas.posteriors import FLOOR, UNIT

X, Z, SIGMA, DRAWS = 5, 3, 0.4, 40_000
both = pytest.mark.parametrize("covariance", ["diagonal", "full"])


class Constant(nn.Module):
    """An encoder that returns the same raw outputs for any input."""

    def __init__(self, raw: Tensor) -> None:
        super().__init__()
        self.raw = raw

    def forward(self, x: Tensor) -> Tensor:
        return self.raw.expand(len(x), -1)


def raw_outputs(covariance: str, mean: Tensor, factor: Tensor) -> Tensor:
    """What an encoder has to return for N(mean, factor factor^T)."""
    diagonal = factor.diagonal()
    inverse_softplus = (diagonal - FLOOR).expm1().log() - UNIT
    assert torch.allclose(softplus(inverse_softplus + UNIT) + FLOOR, diagonal)
    below = factor[*torch.tril_indices(Z, Z, -1)] if covariance == "full" else factor.new_empty(0)
    return torch.cat([mean, inverse_softplus, below])[None]


@pytest.fixture
def model() -> tuple[nn.Linear, Tensor, MultivariateNormal]:
    """A linear decoder, an example, and the exact posterior of its code."""
    decoder = nn.Linear(Z, X).double().requires_grad_(False)
    return decoder, torch.randn(X).double(), exact_posterior(decoder, torch.randn(X).double())


def exact_posterior(decoder: nn.Linear, x: Tensor) -> MultivariateNormal:
    precision = decoder.weight.T @ decoder.weight / SIGMA**2 + torch.eye(Z).double()
    covariance = torch.linalg.inv(precision)
    return MultivariateNormal(covariance @ decoder.weight.T @ (x - decoder.bias) / SIGMA**2, covariance)


def log_likelihood(decoder: nn.Linear, x: Tensor) -> Tensor:
    marginal = decoder.weight @ decoder.weight.T + SIGMA**2 * torch.eye(X).double()
    return MultivariateNormal(decoder.bias, marginal).log_prob(x)


def elbo(covariance: str, q: MultivariateNormal, decoder: nn.Linear, x: Tensor) -> tuple[float, float]:
    """The VAE's own bound for the posterior q, with its standard error."""
    vae = VAE(latent=Z, covariance=covariance, sigma=SIGMA)
    encoder = Constant(raw_outputs(covariance, q.mean, q.scale_tril))
    reconstruction, kl = vae.elbo_terms(x.expand(DRAWS, -1), encoder, decoder)
    bound = -(reconstruction + kl)
    return bound.mean().item(), bound.std().item() / DRAWS**0.5


def orthogonal(decoder: nn.Linear) -> nn.Linear:
    """The same decoder with orthogonal columns: its exact posterior has a diagonal covariance."""
    decoder.weight.copy_(torch.linalg.qr(decoder.weight)[0] * torch.tensor([1.5, 1.0, 0.5]))
    return decoder


@both
def test_the_bound_is_tight_at_the_exact_posterior(covariance: str, model: tuple) -> None:
    decoder, x, _ = model
    if covariance == "diagonal":
        decoder = orthogonal(decoder)
    bound, error = elbo(covariance, exact_posterior(decoder, x), decoder, x)
    assert abs(bound - log_likelihood(decoder, x).item()) < 4 * error


@both
def test_the_bound_is_below_by_the_divergence_from_the_exact_posterior(covariance: str, model: tuple) -> None:
    decoder, x, _ = model
    exact = exact_posterior(decoder, x)
    scale = exact.scale_tril * 1.4
    if covariance == "diagonal":
        scale = scale.diagonal().diag_embed()
    q = MultivariateNormal(exact.mean + 0.2, scale_tril=scale)
    bound, error = elbo(covariance, q, decoder, x)
    gap = kl_divergence(q, exact).item()
    assert gap > 0.05
    assert abs(log_likelihood(decoder, x).item() - bound - gap) < 4 * error


def test_a_diagonal_posterior_cannot_be_tight_where_a_full_one_is(model: tuple) -> None:
    decoder, x, _ = model
    exact = exact_posterior(decoder, x)
    best = MultivariateNormal(exact.mean, exact.precision_matrix.diagonal().rsqrt().diag_embed())
    diagonal, error = elbo("diagonal", best, decoder, x)
    assert diagonal < log_likelihood(decoder, x).item() - 10 * error


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_beta_multiplies_the_kl_term_and_nothing_else(likelihood: str) -> None:
    x = (torch.rand(8, 1, 9, 9) < 0.5).float()
    vae = VAE(latent=2, width=4, likelihood=likelihood)
    nets = vae.networks((1, 9, 9))

    def terms(beta: float) -> dict[str, float]:
        torch.manual_seed(1)
        from ganvas.model import Batch

        (move,) = replace(vae, beta=beta).step(iter([Batch(x, None)]), **nets)
        return {name: value.item() for name, value in move.terms.items()}

    one, three, none = terms(1.0), terms(3.0), terms(0.0)
    assert one["kl"] > 0
    assert three["kl"] == pytest.approx(3 * one["kl"])
    assert none["kl"] == 0
    assert one["reconstruction"] == three["reconstruction"] == none["reconstruction"]


def test_sigma_moves_the_reconstruction_and_nothing_else() -> None:
    x = torch.rand(8, 6)
    narrow, wide = VAE(latent=2, sigma=0.1, width=4), VAE(latent=2, sigma=1.0, width=4)
    nets = narrow.networks((6,))
    results = []
    for vae in (narrow, wide):
        torch.manual_seed(1)
        results.append([t.mean().item() for t in vae.elbo_terms(x, nets["encoder"], nets["decoder"])])
    (narrow_nll, narrow_kl), (wide_nll, wide_kl) = results
    assert narrow_nll != wide_nll
    assert narrow_kl == wide_kl


@both
def test_the_elbos_gradient_agrees_with_finite_differences(covariance: str) -> None:
    vae = VAE(latent=2, covariance=covariance, net="mlp", width=3)
    nets = {name: net.double() for name, net in vae.networks((4,)).items()}
    x = torch.rand(3, 4).double()
    weight = nets["encoder"][1].weight

    def loss() -> Tensor:
        torch.manual_seed(3)  # the same noise every time
        reconstruction, kl = vae.elbo_terms(x, nets["encoder"], nets["decoder"])
        return (reconstruction + kl).mean()

    (gradient,) = torch.autograd.grad(loss(), weight)
    for i, j in ((0, 0), (1, 2), (2, 3)):
        with torch.no_grad():
            weight[i, j] += 1e-6
            above = loss()
            weight[i, j] -= 2e-6
            below = loss()
            weight[i, j] += 1e-6
        assert gradient[i, j].item() == pytest.approx((above - below).item() / 2e-6, rel=1e-4, abs=1e-6)


def test_a_bernoulli_on_numbers_outside_of_0_and_1_is_refused() -> None:
    import ganvas
    from ganvas.errors import UserError

    with pytest.raises(UserError, match="likelihood=bernoulli needs numbers from 0 to 1"):
        ganvas.train(ganvas.VAE(likelihood="bernoulli"), "ring", steps=1)
