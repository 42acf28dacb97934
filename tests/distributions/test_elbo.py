"""The bounds against exact log-likelihoods, on a linear-Gaussian model (probabilistic PCA).

p(z) = N(0, I), p(x|z) = N(W z + b, sigma^2 I), so that p(x) = N(b, W W^T + sigma^2 I) and
p(z|x) = N(M^-1 W^T (x - b), sigma^2 M^-1) with M = W^T W + sigma^2 I  (Tipping & Bishop, 1999).  The bounds are read
off the losses of the models' own training steps.
"""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, kl_divergence

from ganvas.distributions.likelihoods import LikelihoodHead
from ganvas.distributions.posteriors import (
    IAF,
    DiagonalGaussian,
    FullGaussian,
    LowRankGaussian,
    Posterior,
    posterior_head,
)
from ganvas.model import Batch
from ganvas.models import IWAE, VAE, BetaTCVAE, LadderVAE

X, Z, SIGMA, DRAWS = 5, 3, 0.4, 40_000
FAMILIES = ("diagonal", "full", "low-rank", "iaf")
every_family = pytest.mark.parametrize("family", FAMILIES)


class Constant(nn.Module):
    """An encoder that returns the same posterior for every example."""

    def __init__(self, of: Any) -> None:
        super().__init__()
        self.of = of
        self.unused = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Posterior:
        q: Posterior = self.of(len(x))
        return q


def posterior(family: str, mean: Tensor, covariance: Tensor) -> Constant:
    """The encoder whose posterior is N(mean, covariance), where the family has it, as diagonal and iaf may not."""
    values, vectors = torch.linalg.eigh(covariance)
    scale = covariance.diagonal().sqrt()

    def of(n: int) -> Posterior:
        m = mean.expand(n, -1)
        if family == "diagonal":
            return DiagonalGaussian(m, scale.expand(n, -1))
        if family == "full":
            return FullGaussian(m, torch.linalg.cholesky(covariance).expand(n, -1, -1))
        if family == "low-rank":  # the least eigenvalue in all directions, more in two of the three
            factor = vectors[:, 1:] * (values[1:] - values[0]).sqrt()
            return LowRankGaussian(m, values[0].sqrt().expand(n, Z), factor.expand(n, -1, -1))
        layer = posterior_head("iaf", Z, 0, 2, 8)[1].double()
        for net in layer.steps:  # two open gates: the flow is N(mean, scale^2), turned round twice
            for p in net.last.parameters():
                nn.init.zeros_(p)
            nn.init.constant_(net.last.bias[Z:], 60.0)
        return IAF(m, scale.expand(n, -1), m, layer.steps)

    return Constant(of)


@pytest.fixture
def decoder() -> nn.Linear:
    return nn.Linear(Z, X).double().requires_grad_(False)


def orthogonal(decoder: nn.Linear) -> nn.Linear:
    """The same decoder with orthogonal columns: its exact posterior has a diagonal covariance."""
    decoder.weight.copy_(torch.linalg.qr(decoder.weight)[0] * torch.tensor([1.5, 1.0, 0.5]))
    return decoder


def suited(family: str, decoder: nn.Linear) -> nn.Linear:
    """A decoder whose exact posterior the family has."""
    return orthogonal(decoder) if family in ("diagonal", "iaf") else decoder


def exact_posterior(decoder: nn.Linear, x: Tensor) -> MultivariateNormal:
    precision = decoder.weight.T @ decoder.weight / SIGMA**2 + torch.eye(Z).double()
    covariance = torch.linalg.inv(precision)
    return MultivariateNormal(covariance @ decoder.weight.T @ (x - decoder.bias) / SIGMA**2, covariance)


def log_likelihood(decoder: nn.Linear, x: Tensor) -> float:
    marginal = decoder.weight @ decoder.weight.T + SIGMA**2 * torch.eye(X).double()
    return MultivariateNormal(decoder.bias, marginal).log_prob(x).item()


def losses(model: Any, encoder: nn.Module, decoder: nn.Linear, x: Tensor, n: int) -> Tensor:
    """The loss of a training step on n copies of x, for each of 20 steps."""
    nets = {"encoder": encoder, "decoder": nn.Sequential(decoder, LikelihoodHead("gaussian", False, SIGMA))}
    batches = iter([Batch(x.expand(n, -1))] * 20)
    return torch.stack([next(model.step(batches, 0, **nets)).loss.detach() for _ in range(20)])


def bound(model: Any, encoder: nn.Module, decoder: nn.Linear, x: Tensor) -> tuple[float, float]:
    """The model's bound on log p(x), with its standard error."""
    values = -losses(model, encoder, decoder, x, DRAWS // 20 // model.latent_samples)
    return values.mean().item(), values.std().item() / 20**0.5


@every_family
@pytest.mark.parametrize(
    "model", [VAE(latent=Z), IWAE(latent=Z, latent_samples=1), IWAE(latent=Z, latent_samples=5)], ids=["vae", "1", "5"]
)
def test_the_bound_is_tight_at_the_exact_posterior(family: str, model: Any, decoder: nn.Linear) -> None:
    decoder, x = suited(family, decoder), torch.randn(X).double()
    exact = exact_posterior(decoder, x)
    value, error = bound(model, posterior(family, exact.mean, exact.covariance_matrix), decoder, x)
    assert abs(value - log_likelihood(decoder, x)) < 4 * error + 1e-9
    if isinstance(model, IWAE):  # every weight is p(x): nothing is random any more
        assert error < 1e-9


@every_family
def test_the_elbo_is_below_by_the_divergence_from_the_exact_posterior(family: str, decoder: nn.Linear) -> None:
    decoder, x = suited(family, decoder), torch.randn(X).double()
    exact = exact_posterior(decoder, x)
    q = MultivariateNormal(exact.mean + 0.2, 1.96 * exact.covariance_matrix)
    value, error = bound(VAE(latent=Z), posterior(family, q.mean, q.covariance_matrix), decoder, x)
    gap = kl_divergence(q, exact).item()
    assert gap > 0.05
    assert abs(log_likelihood(decoder, x) - value - gap) < 4 * error


@every_family
def test_the_importance_weighted_bound_grows_with_k_towards_the_log_likelihood(family: str, decoder: nn.Linear) -> None:
    decoder, x = suited(family, decoder), torch.randn(X).double()
    exact = exact_posterior(decoder, x)
    encoder = posterior(family, exact.mean + 0.3, 2 * exact.covariance_matrix)
    elbo, _ = bound(VAE(latent=Z), encoder, decoder, x)
    value = [bound(IWAE(latent=Z, latent_samples=k), encoder, decoder, x) for k in (1, 5, 50)]
    log_p = log_likelihood(decoder, x)
    assert value[0][0] == pytest.approx(elbo, abs=4 * value[0][1] + 0.02)
    for (low, e), (high, f) in pairwise(value):
        assert low + 2 * (e + f) < high
    assert log_p - 0.1 < value[2][0] < log_p + 4 * value[2][1]


def test_a_diagonal_posterior_cannot_be_tight_where_a_full_one_is(decoder: nn.Linear) -> None:
    x = torch.randn(X).double()
    exact = exact_posterior(decoder, x)
    best = posterior("diagonal", exact.mean, exact.precision_matrix.diagonal().reciprocal().diag())
    value, error = bound(VAE(latent=Z), best, decoder, x)
    assert value < log_likelihood(decoder, x) - 10 * error


CASES: tuple[tuple[Any, dict[str, Any]], ...] = (
    (VAE, {}), (VAE, {"latent_samples": 3, "beta": 2.0}), (VAE, {"free_bits": 0.01}), (VAE,
    {"capacity": 1.0, "warmup": 9}),
    (VAE, {"sigma": "optimal"}), (VAE, {"sigma": "learned"}), (VAE, {"likelihood": "continuous-bernoulli"}),
    (VAE, {"geco": 0.3}), (VAE, {"prior": "vamp", "pseudo_inputs": 3}), (IWAE, {"latent_samples": 4}),
    (IWAE, {"latent_samples": 3, "prior": "vamp", "pseudo_inputs": 3}), (BetaTCVAE, {}), (LadderVAE,
    {"latents": (2, 2)}),
)  # fmt: skip


def goes_together(family: str, model_class: Any, fields: dict[str, Any]) -> bool:
    """Whether the model takes this posterior: the last two have their own, a VampPrior takes no flow."""
    if model_class in (BetaTCVAE, LadderVAE):
        return family == "diagonal"
    return family != "iaf" or "prior" not in fields


@pytest.mark.parametrize(
    ("family", "model_class", "fields"),
    [(family, *case) for family in FAMILIES for case in CASES if goes_together(family, *case)],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, dict) else getattr(value, "__name__", str(value)),
)
def test_the_objectives_gradient_agrees_with_finite_differences(
    family: str, model_class: Any, fields: dict[str, Any]
) -> None:
    """In float64, with the same noise every time: weights of the first and the last layer, of all networks."""
    torch.manual_seed(0)
    posterior = {} if model_class is LadderVAE else {"posterior": family, "latent": 2}
    model = model_class(net="mlp", width=3, **posterior, **fields)
    nets = {name: net.double() for name, net in model.networks((4,)).items()}
    x = torch.rand(3, 4).double()
    buffers = {name: {k: v.clone() for k, v in net.named_buffers()} for name, net in nets.items()}

    def loss() -> Tensor:
        torch.manual_seed(3)
        for name, net in nets.items():  # a multiplier or an optimal sigma moves with each step
            for k, buffer in net.named_buffers():
                buffer.copy_(buffers[name][k])
        return next(model.step(iter([Batch(x, None, 9)]), 5, **nets)).loss

    parameters = [list(net.parameters()) for net in nets.values() if list(net.parameters())]
    weights = [p for several in parameters for p in (several[0], several[-1])]
    for weight, gradient in zip(weights, torch.autograd.grad(loss(), weights), strict=True):
        for i in (0, weight.numel() - 1):
            flat = weight.data.view(-1)
            flat[i] += 1e-6
            above = loss().item()
            flat[i] -= 2e-6
            below = loss().item()
            flat[i] += 1e-6
            assert gradient.view(-1)[i].item() == pytest.approx((above - below) / 2e-6, rel=2e-4, abs=2e-6)


@pytest.mark.parametrize("fields", [{}, {"posterior": "iaf"}, {"prior": "vamp"}, {"binarize": "dynamic"}], ids=str)
def test_the_elbo_of_several_draws_is_their_mean_and_encodes_once(fields: Any) -> None:
    vae = VAE(net="mlp", width=4, latent=2, likelihood="bernoulli", **fields)
    batch, calls = Batch(torch.rand(8, X).round()), []
    nets: dict[str, Any] = vae.networks((X,))
    nets["encoder"].register_forward_hook(lambda *_: calls.append(1))
    torch.manual_seed(2)
    drawn = vae.elbo_terms(batch, 3, **nets)
    assert len(calls) == (4 if vae.prior == "vamp" else 1)  # the prior's components follow from pseudo-inputs
    torch.manual_seed(2)
    single = [torch.stack(vae.elbo_terms(batch, **nets)) for _ in range(3)]
    torch.testing.assert_close(torch.stack(drawn), torch.stack(single).mean(0))
