"""Posteriors: what an encoder's raw outputs become, their samples, densities and divergences."""

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from ganvas.distributions.posteriors import (
    IAF,
    MADE,
    DiagonalGaussian,
    FullGaussian,
    LowRankGaussian,
    Posterior,
    detach,
    posterior_head,
)
from tests.support.posteriors import covariance

D, RANK = 3, 2
FAMILIES = ("diagonal", "full", "low-rank", "iaf")
every_family = pytest.mark.parametrize("name", FAMILIES)
every_gaussian = pytest.mark.parametrize("name", FAMILIES[:3])


def random_head(name: Any, d: int = D) -> tuple[int, nn.Module]:
    size, layer = posterior_head(name, d, RANK, 2, 16)
    for parameter in layer.parameters():  # a flow that does something
        nn.init.normal_(parameter, 0, 0.4)
    return size, layer


def posterior(name: str, n: int = 4, copies: int = 1, d: int = D) -> Any:
    """q for n random outputs of an encoder, each `copies` times."""
    size, layer = random_head(name, d)
    return layer(torch.randn(n, size).repeat_interleave(copies, 0))


@every_gaussian
def test_the_density_is_that_of_torch(name: str) -> None:
    q = posterior(name)
    z = torch.randn(5, 4, D)
    expected = MultivariateNormal(q.mean, covariance(q)).log_prob(z)
    torch.testing.assert_close(q.log_prob(z), expected, rtol=1e-4, atol=1e-4)


@every_family
def test_a_draw_knows_its_own_density(name: str) -> None:
    q = posterior(name)
    z, log_q = q.sample(7)
    assert z.shape == log_q.shape == (7, 4, D)
    torch.testing.assert_close(log_q.sum(2), q.log_prob(z), rtol=1e-4, atol=2e-4)


@every_family
def test_k_samples_are_k_different_samples(name: str) -> None:
    z = posterior(name).sample(6).z
    assert len({tuple(row.tolist()) for row in z[:, 0].detach()}) == 6


@every_gaussian
def test_samples_have_the_posteriors_mean_and_covariance(name: str) -> None:
    n = 100_000
    q = posterior(name, 1)
    z = q.sample(n).z[:, 0]
    sigma = covariance(q)[0]
    spread = sigma.diagonal().max().item()
    assert (z.mean(0) - q.mean[0]).abs().max() < 5 * (spread / n) ** 0.5
    assert (z.T.cov() - sigma).abs().max() < 10 * spread / n**0.5


@every_gaussian
def test_the_divergence_is_that_of_torch(name: str) -> None:
    q = posterior(name)
    expected = kl_divergence(
        MultivariateNormal(q.mean, covariance(q)), MultivariateNormal(torch.zeros(D), torch.eye(D))
    )
    torch.testing.assert_close(q.kl(q.sample()).sum(1), expected, rtol=1e-4, atol=1e-5)


@every_family
def test_the_divergence_is_the_expected_log_ratio(name: str) -> None:
    q = posterior(name, 1)
    draw = q.sample(100_000)
    ratio = (q.log_prob(draw.z) - Normal(0.0, 1.0).log_prob(draw.z).sum(2))[:, 0]
    assert abs(ratio.mean() - q.kl(draw).sum()) < 4 * ratio.std() / len(ratio) ** 0.5


def test_the_terms_of_a_full_divergence_are_those_of_the_chain_rule() -> None:
    q = posterior("full", 1)
    first = FullGaussian(q.mean[:, :2], q.scale_tril[:, :2, :2])
    terms = q.kl(q.sample())
    torch.testing.assert_close(terms[:, :2].sum(1), first.kl(first.sample()).sum(1))


@every_family
def test_samples_carry_gradients_to_every_output_of_the_encoder(name: str) -> None:
    size, layer = random_head(name)
    outputs = torch.randn(4, size).double().requires_grad_()
    layer.double()(outputs).sample(3).z.square().sum().backward()
    assert outputs.grad is not None
    assert (outputs.grad != 0).float().mean() > 0.9  # of a flow, an unlucky unit may be dead


def test_the_factor_is_lower_triangular_with_a_positive_diagonal() -> None:
    q = posterior("full")
    assert torch.equal(q.scale_tril, q.scale_tril.tril())
    assert (q.scale_tril.diagonal(dim1=1, dim2=2) > 0).all()
    below = q.scale_tril[:, *torch.tril_indices(D, D, -1)]
    assert below.abs().min() > 0  # every entry below the diagonal is used


@every_family
@pytest.mark.parametrize("d", [1, 2, 16, 64])
def test_a_head_has_as_many_outputs_as_its_posterior_needs(name: Any, d: int) -> None:
    size, layer = posterior_head(name, d, RANK, 2, 16)
    expected = {"diagonal": 2 * d, "full": d + d * (d + 1) // 2, "low-rank": 2 * d + RANK * d, "iaf": 3 * d}
    assert size == expected[name]
    q = layer(torch.randn(2, size))
    assert q.mean.shape == (2, d)
    assert q.sample(3).z.shape == (3, 2, d)
    assert q.kl(q.sample()).shape == (2, d)


@every_gaussian
def test_an_untrained_head_is_near_the_prior(name: str) -> None:
    size, layer = random_head(name)
    torch.testing.assert_close(covariance(layer(torch.zeros(1, size)))[0], torch.eye(D), atol=1e-3, rtol=0)


@every_family
@pytest.mark.parametrize("extreme", [-1e4, 1e4])
def test_extreme_outputs_in_low_precision_stay_finite(name: str, extreme: float) -> None:
    size, layer = random_head(name)
    outputs = torch.full((2, size), extreme, dtype=torch.bfloat16, requires_grad=True)
    q = layer(outputs)
    draw = q.sample()
    assert draw.z.dtype == draw.log_q.dtype == torch.float32
    assert draw.log_q.isfinite().all()
    divergence = q.kl(draw)
    assert divergence.isfinite().all()
    divergence.sum().backward()
    assert outputs.grad is not None
    assert outputs.grad.isfinite().all()


@every_family
def test_autocast_does_not_reach_into_a_posterior(name: str) -> None:
    size, layer = random_head(name, 16)
    raw, z = torch.randn(4, size), torch.randn(2, 4, 16)

    def values() -> tuple[Tensor, ...]:
        torch.manual_seed(2)
        q: Posterior = layer(raw)
        draw = q.sample(2)
        return (*draw, q.log_prob(z), q.kl(draw))

    exact = values()
    with torch.autocast("cpu", torch.bfloat16):
        low = values()
    assert all(torch.equal(a, b) for a, b in zip(exact, low, strict=True))


@every_gaussian
def test_densities_gradients_agree_with_finite_differences(name: str) -> None:
    size, layer = random_head(name)
    raw, z = torch.randn(2, size).double().requires_grad_(), torch.randn(3, 2, D).double().requires_grad_()
    assert gradcheck(lambda r, v: layer(r).log_prob(v), (raw, z))
    assert gradcheck(lambda r: layer(r).kl(layer(r).sample()), (raw,))


def test_a_low_rank_density_keeps_its_digits_where_sigma_is_small() -> None:
    """Woodbury's difference would lose them all: w^T w is 10^8 where the distance is about d."""
    factor = torch.randn(1, 40, 4)
    q = LowRankGaussian(torch.zeros(1, 40), torch.full((1, 40), 1e-4), factor)
    z = q.sample(50).z
    sigma = covariance(LowRankGaussian(*(t.double() for t in q)))[0]
    exact = MultivariateNormal(torch.zeros(40).double(), sigma).log_prob(z[:, 0].double())
    torch.testing.assert_close(q.log_prob(z)[:, 0].double(), exact, rtol=0, atol=0.5)
    assert (q.log_prob(z)[:, 0] - exact).abs().mean() < 0.1


@every_gaussian
def test_a_detached_posterior_is_the_same_one_without_gradient(name: str) -> None:
    size, layer = random_head(name)
    raw, z = torch.randn(2, size, requires_grad=True), torch.randn(1, 2, D)
    q = layer(raw)
    assert torch.equal(detach(q).log_prob(z), q.log_prob(z))
    assert not detach(q).log_prob(z).requires_grad


def test_the_masked_network_is_autoregressive() -> None:
    net = MADE(5, 4, 200).double()
    h = torch.randn(1, 4).double()
    jacobian = torch.autograd.functional.jacobian(lambda z: torch.stack(net(z, h)), torch.randn(1, 5).double())
    shift, gate = jacobian[0, 0, :, 0], jacobian[1, 0, :, 0]
    for part in (shift, gate):
        assert torch.equal(part.triu(), torch.zeros(5, 5).double())
        assert (part.tril(-1).abs() > 0).sum() == 10  # every earlier input is used
    assert not torch.equal(net(torch.zeros(1, 5).double(), h)[0], net(torch.zeros(1, 5).double(), 2 * h)[0])


@pytest.mark.parametrize(("d", "width"), [(1, 4), (2, 1), (5, 3), (5, 40)])
def test_every_output_of_made_sees_the_example(d: int, width: int) -> None:
    """The first too, of which no input is seen: else the first dimension of every step has the same gate for all x."""
    net = MADE(d, 4, width)
    for p in net.parameters():
        nn.init.uniform_(p, 0.1, 1.0)
    jacobian = torch.autograd.functional.jacobian(lambda h: torch.cat(net(torch.zeros(1, d), h), 1), torch.ones(1, 4))
    assert (jacobian[0, :, 0] > 0).all()


def test_weights_of_a_flow_from_before_hidden_units_had_degrees_mean_what_they_did() -> None:
    old, new = MADE(5, 4, 30), MADE(5, 4, 30)
    old.degrees.copy_(torch.arange(30) % 4 + 1)
    old.set_masks()
    state = {name: t for name, t in old.state_dict().items() if name != "degrees"}
    new.load_state_dict(state)
    z, h = torch.randn(7, 5), torch.randn(7, 4)
    assert torch.equal(new(z, h)[0], old(z, h)[0])
    assert not torch.equal(new(z, h)[0], MADE(5, 4, 30)(z, h)[0])
    again = deepcopy(MADE(5, 4, 30))
    again.load_state_dict(new.state_dict())
    assert torch.equal(again(z, h)[1], new(z, h)[1])


def test_a_flows_density_is_the_bases_over_the_jacobian() -> None:
    _, layer = random_head("iaf")
    q: IAF = layer.double()(torch.randn(1, 9).double())
    epsilon = torch.randn(D).double()

    def onward(e: Tensor) -> Tensor:
        return q.transform((q.base_mean + q.base_scale * e)[None])[0][0, 0]

    log_det = torch.linalg.slogdet(torch.autograd.functional.jacobian(onward, epsilon)).logabsdet
    expected = Normal(0.0, 1.0).log_prob(epsilon).sum() - log_det
    torch.testing.assert_close(q.log_prob(onward(epsilon)[None, None])[0, 0], expected)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_terms_of_a_flow_are_of_the_dimensions_in_which_they_end(steps: int) -> None:
    """Each step turns the order round: with all gates open, each term is the density of its own z_j."""
    layer = posterior_head("iaf", 3, 0, steps, 8)[1]
    for net in layer.steps:
        for p in net.last.parameters():
            nn.init.zeros_(p)
        nn.init.constant_(net.last.bias[3:], 60.0)
    q = layer(torch.tensor([[1.0, 2.0, 3.0, 0.1, 1.0, -2.0, 0.0, 0.0, 0.0]]))
    mean, scale = (t.flip(1) if steps % 2 else t for t in (q.base_mean, q.base_scale))
    z, log_q = q.sample(5)
    torch.testing.assert_close(log_q, Normal(mean, scale).log_prob(z).detach(), rtol=1e-4, atol=1e-4)
    net = layer.steps[0]
    nn.init.constant_(
        net.last.bias[3:4], 0.0
    )  # the first gate half closed: its logarithm belongs to the last dimension
    open_, closed = (
        logs.detach()[0, 0] for logs in (log_q, layer(torch.zeros(1, 9)).transform(torch.zeros(1, 1, 3))[1])
    )
    assert open_.shape == closed.shape == (3,)
    where = 2 if steps % 2 else 0
    assert closed[where] < -0.1
    assert closed[[j for j in range(3) if j != where]].abs().max() < 1e-6


def test_a_flow_can_be_what_no_gaussian_is() -> None:
    layer = posterior_head("iaf", 2, 0, 2, 32)[1]
    for parameter in layer.parameters():
        nn.init.normal_(parameter, 0, 0.6)
    z = layer(torch.zeros(1, 6)).sample(100_000).z[:, 0].detach()
    w = torch.linalg.solve_triangular(torch.linalg.cholesky(z.T.cov()), (z - z.mean(0)).T, upper=False)
    assert (w.pow(4).mean(1) - 3).abs().max() > 0.1  # a Gaussian's fourth moment is 3


def test_a_diagonal_posterior_is_written_as_in_the_paper() -> None:
    q = DiagonalGaussian(torch.tensor([[1.0, -2.0]]), torch.tensor([[0.5, 3.0]]))
    torch.manual_seed(4)
    epsilon = torch.randn(2)
    torch.manual_seed(4)
    torch.testing.assert_close(q.sample().z[0, 0], torch.tensor([1.0, -2.0]) + torch.tensor([0.5, 3.0]) * epsilon)
