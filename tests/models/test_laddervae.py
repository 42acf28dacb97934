"""The ladder VAE: its Gaussians against closed forms, its bounds against an exact log-likelihood, and its options."""

from dataclasses import replace
from itertools import pairwise
from math import log
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, Normal, kl_divergence

import ganvas
from ganvas.cli.app import main
from ganvas.data import Dataset
from ganvas.diagnostics import diagnose, latent_report
from ganvas.distributions.likelihoods import LikelihoodHead
from ganvas.distributions.posteriors import MIN_SCALE, UNIT_SCALE_BIAS, DiagonalGaussian, PosteriorHead
from ganvas.errors import UserError
from ganvas.model import Batch
from ganvas.models import VAE, LadderVAE
from ganvas.models.laddervae import BottomUp, Level, TopDown, combine
from ganvas.objectives.kl import kl_between_diagonals

SHAPE = (1, 9, 9)
BATCH = Batch((torch.rand(8, *SHAPE, generator=torch.Generator().manual_seed(0)) < 0.5).float())
BASE = LadderVAE(latents=(4, 3, 2), width=4, likelihood="bernoulli")


def gaussian(n: int = 5, d: int = 3) -> DiagonalGaussian:
    return DiagonalGaussian(torch.randn(n, d).double(), torch.rand(n, d).double() * 3 + 0.01)


def made(model: LadderVAE, shape: tuple[int, ...] = SHAPE) -> dict[str, Any]:
    """The model's networks, always the same."""
    torch.manual_seed(1)
    return model.networks(shape)


def terms(model: LadderVAE, done: int = 0) -> dict[str, float]:
    """The terms of a step, always with the same weights and noise."""
    nets = made(model)
    torch.manual_seed(2)
    (move,) = model.step(iter([BATCH]), done, **nets)
    return {name: value.item() for name, value in move.terms.items()}


def test_the_divergence_of_two_gaussians_is_that_of_torch() -> None:
    q, p = gaussian(), gaussian()
    torch.testing.assert_close(kl_between_diagonals(*q, *p), kl_divergence(Normal(*q), Normal(*p)))
    assert kl_between_diagonals(*q, *q).abs().max() == 0
    inputs = tuple(t.requires_grad_() for t in (*q, *p))
    assert torch.autograd.gradcheck(kl_between_diagonals, inputs)


def test_the_combination_is_the_product_of_the_two_gaussians() -> None:
    """In NumPy, in the paper's own form; and its density is proportional to the product of theirs."""
    a, b = gaussian(), gaussian()
    (mean_a, scale_a), (mean_b, scale_b) = ([t.numpy() for t in g] for g in (a, b))
    variance = 1 / (scale_a**-2 + scale_b**-2)
    mean = (mean_a * scale_a**-2 + mean_b * scale_b**-2) * variance
    found = combine(a, b)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(found.scale, variance**0.5, rtol=1e-10)
    z = torch.randn(50, 5, 3).double()
    constant = a.log_prob(z) + b.log_prob(z) - found.log_prob(z)
    torch.testing.assert_close(constant, constant[:1].expand_as(constant))


@pytest.mark.parametrize("scale", [MIN_SCALE, 1e-2, 1.0, 1e4])
def test_the_combination_is_finite_and_accurate_in_float32(scale: float) -> None:
    wide = DiagonalGaussian(torch.tensor([[3.0]]), torch.tensor([[scale]]).requires_grad_())
    narrow = DiagonalGaussian(torch.tensor([[-2.0]]), torch.tensor([[MIN_SCALE]]))
    for a, b in ((wide, narrow), (narrow, wide)):
        found, exact = combine(a, b), combine(*(DiagonalGaussian(*(t.double() for t in g)) for g in (a, b)))
        torch.testing.assert_close(found, DiagonalGaussian(*(t.float() for t in exact)), rtol=1e-5, atol=1e-6)
        (gradient,) = torch.autograd.grad(found.mean + found.scale, wide.scale)
        assert gradient.isfinite().all()


def test_the_log_ratio_of_a_level_is_that_of_torch() -> None:
    p, q, e = gaussian(), gaussian(), torch.randn(5, 3).double()
    z = q.mean + q.scale * e
    level = Level(p, q, e, z)
    torch.testing.assert_close(level.log_ratio, Normal(*p).log_prob(z) - Normal(*q).log_prob(z))
    torch.testing.assert_close(p.mean + p.scale * level.code, z)


# A hierarchy of linear Gaussians: z_2 ~ N(0, I), z_1 = A z_2 + a + S_1 noise, x = B z_1 + b + SIGMA noise.  B has
# orthogonal columns of one length and A orthogonal columns, so that all posteriors have diagonal covariances, and
# the ladder's combination of x's evidence, N(B^+ (x - b), SIGMA^2 / |B_j|^2), with p(z_1|z_2) is the exact posterior.
X, LEVELS, S_1, SIGMA, LENGTH = 6, (4, 2), 0.7, 0.5, 1.3


class Linear:
    """Such a hierarchy as a ladder VAE of linear layers, their weights set by hand."""

    def __init__(self) -> None:
        a = torch.linalg.qr(torch.randn(LEVELS[0], LEVELS[1]).double())[0] * torch.tensor([1.5, 0.8]).double()
        b = torch.linalg.qr(torch.randn(X, LEVELS[0]).double())[0] * LENGTH
        shift, offset = torch.randn(LEVELS[0]).double(), torch.randn(X).double()
        up = BottomUp([nn.Sequential(nn.Linear(X, 2 * d)) for d in LEVELS])
        prior = nn.Sequential(nn.Linear(LEVELS[1], 2 * LEVELS[0]), PosteriorHead(DiagonalGaussian.from_raw))
        down = TopDown(
            LEVELS, [prior], nn.Sequential(nn.Linear(LEVELS[0], X), LikelihoodHead("gaussian", False, SIGMA))
        )
        self.model = LadderVAE(latents=LEVELS)
        self.nets = {k: net.double().requires_grad_(False) for k, net in (("encoder", up), ("decoder", down))}
        noise = SIGMA / LENGTH  # of the evidence of z_1
        inverse = b.T / LENGTH**2
        fill(up.heads[0][0], inverse, -inverse @ offset, noise)
        precision = 1 + (a.square().sum(0)) / (S_1**2 + noise**2)  # of z_2 given x, a diagonal
        back = (a.T / (S_1**2 + noise**2)) / precision[:, None]
        fill(up.heads[1][0], back @ inverse, -back @ (inverse @ offset + shift), precision.rsqrt())
        fill(prior[0], a, shift, S_1)
        down.last[0].weight.copy_(b)
        down.last[0].bias.copy_(offset)
        covariance = b @ (a @ a.T + S_1**2 * torch.eye(LEVELS[0]).double()) @ b.T + SIGMA**2 * torch.eye(X).double()
        self.marginal = MultivariateNormal(b @ shift + offset, covariance)

    def spoilt(self) -> "Linear":
        """With another posterior at both levels: further off, and wider."""
        for level in self.nets["encoder"].heads:
            level[0].bias += 0.3
        return self


def fill(layer: nn.Linear, weight: Tensor, bias: Tensor, scale: float | Tensor) -> None:
    """Make a layer return the mean weight x + bias, and what a head turns into the scale."""
    d = len(weight)
    layer.weight.zero_()
    layer.weight[:d] = weight
    layer.bias[:d] = bias
    layer.bias[d:] = torch.expm1(torch.as_tensor(scale, dtype=torch.double) - MIN_SCALE).log() - UNIT_SCALE_BIAS


def test_the_bound_is_tight_where_the_posterior_is_exact() -> None:
    """Every weight is p(x), whatever the sample: the levels, their order and their densities are all right."""
    hierarchy, x = Linear(), torch.randn(7, X).double()
    log_w = hierarchy.model.log_weights(x, 20, **hierarchy.nets)
    torch.testing.assert_close(log_w, hierarchy.marginal.log_prob(x).expand(20, -1), rtol=0, atol=1e-9)
    nll, kl = hierarchy.model.elbo_terms(Batch(x[:1].expand(40_000, -1)), **hierarchy.nets)
    bound = -(nll + kl)
    assert (bound.mean() - hierarchy.marginal.log_prob(x[0])).abs() < 4 * bound.std() / 200
    assert bound.std() > 0.1  # analytic KLs leave noise where sampled ones have none


def test_elsewhere_the_bounds_grow_with_k_towards_the_log_likelihood() -> None:
    hierarchy, x = Linear().spoilt(), torch.randn(1, X).double()
    nll, kl = hierarchy.model.elbo_terms(Batch(x.expand(40_000, -1)), **hierarchy.nets)
    found = [(-(nll + kl)).detach()]
    for k in (1, 5, 50):
        log_w = hierarchy.model.log_weights(x, 40_000, **hierarchy.nets).view(k, -1)
        found.append(log_w.logsumexp(0) - log(k))
    bounds = [(values.mean().item(), values.std().item() / len(values) ** 0.5) for values in found]
    (elbo, error), (first, other), *_ = bounds
    assert abs(elbo - first) < 4 * (error + other)  # the mean of the log-weights is the ELBO
    for (low, e), (high, f) in pairwise(bounds[1:]):
        assert low + 2 * (e + f) < high
    assert bounds[-1][0] < hierarchy.marginal.log_prob(x).item() + 4 * bounds[-1][1]
    assert bounds[-1][0] > hierarchy.marginal.log_prob(x).item() - 0.1


def test_samples_are_those_of_the_hierarchy() -> None:
    hierarchy = Linear()
    z = hierarchy.model.sample_prior(100_000, (X,), torch.Generator().manual_seed(0)).double()
    mean = hierarchy.model.generate(z, **hierarchy.nets)
    without_noise = hierarchy.marginal.covariance_matrix - SIGMA**2 * torch.eye(X)
    torch.testing.assert_close(mean.mean(0), hierarchy.marginal.mean, rtol=0, atol=0.05)
    torch.testing.assert_close(mean.T.cov(), without_noise, rtol=0, atol=0.1)


def test_drawn_codes_of_what_the_model_generates_are_standard_normal() -> None:
    """Where the posterior is exact, the aggregate posterior is the prior: in the codes of all levels, N(0, I)."""
    hierarchy = Linear()
    x = hierarchy.marginal.sample((50_000,))
    codes = hierarchy.model.sample_posterior(x, **hierarchy.nets)
    assert codes.mean(0).abs().max() < 0.03
    torch.testing.assert_close(codes.T.cov(), torch.eye(6).double(), rtol=0, atol=0.03)


@pytest.mark.parametrize(
    ("net", "shape"), [("conv", SHAPE), ("mlp", SHAPE), ("mlp", (5,)), ("auto", SHAPE), ("auto", (5,))]
)
def test_one_level_is_an_ordinary_vae(net: Any, shape: tuple[int, ...]) -> None:
    """At the top there is nothing to combine with: q(z|x) = N(mu^, sigma^^2), and the networks are the VAE's."""
    fields: dict[str, Any] = {"net": net, "width": 4, "depth": 2, "warmup": 10, "free_bits": 0.01}
    ladder, vae = LadderVAE(latents=(3,), **fields), VAE(latent=3, **fields)
    x = Batch(torch.rand(6, *shape))
    losses = []
    for model in (ladder, vae):
        torch.manual_seed(1)
        nets = model.networks(shape)
        torch.manual_seed(2)
        (move,) = model.step(iter([x]), 7, **nets)
        torch.manual_seed(2)
        losses.append((move.terms, model.elbo_terms(x, **nets), model.encode(x.x, **nets)))
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-5, atol=1e-6)


def test_the_means_of_a_code_lead_to_themselves() -> None:
    """What `encode` returns, `generate` decodes to the likelihood's mean at the posterior's means."""
    nets = made(BASE)
    hat = nets["encoder"](BATCH.x)
    above = None
    for level in (2, 1, 0):  # from the top, by hand
        mean, scale = (t.split(BASE.latents, 1)[level] for t in hat)
        if above is not None:
            p = nets["decoder"].priors[level](above)
            precision = scale**-2 + p.scale**-2
            mean = (mean * scale**-2 + p.mean * p.scale**-2) / precision
        above = mean
    code = BASE.encode(BATCH.x, **nets)
    assert code.shape == (8, 9)
    torch.testing.assert_close(BASE.generate(code, **nets), nets["decoder"].last(above).mean)
    torch.manual_seed(3)
    drawn = torch.stack([BASE.sample_posterior(BATCH.x, **nets) for _ in range(100)])
    near = (drawn.mean(0) - code).abs() < 5 * drawn.std(0) / 10
    assert near[:, 7:].all()  # the top level; those below follow samples of it


def test_the_bounds_of_a_nonlinear_ladder_agree() -> None:
    nets = made(BASE)
    with torch.no_grad():
        log_w = BASE.log_weights(BATCH.x, 2000, **nets)
        values = [-sum(BASE.elbo_terms(BATCH, **nets)) for _ in range(100)]
    elbo = torch.stack(values)
    error = (log_w.var(0) / 2000 + elbo.var(0) / 100).sqrt()
    assert log_w.shape == (2000, 8)
    assert ((log_w.mean(0) - elbo.mean(0)).abs() < 4 * error).all()


def test_the_samples_of_an_example_lie_in_their_own_column() -> None:
    nets = made(BASE)
    torch.manual_seed(3)
    log_w = BASE.log_weights(BATCH.x, 30, **nets)
    alone = BASE.log_weights(BATCH.x[2:3], 3000, **nets)
    assert (log_w[:, 2].mean() - alone.mean()).abs() < 5 * log_w[:, 2].std() / 30**0.5


def test_the_warm_up_moves_the_kl_and_nothing_else() -> None:
    plain, warm = terms(BASE), replace(BASE, warmup=10)
    for done, part in ((0, 0.0), (1, 0.1), (5, 0.5), (10, 1.0), (1000, 1.0)):
        assert terms(warm, done)["kl"] == pytest.approx(part * plain["kl"])
        assert terms(warm, done)["reconstruction"] == plain["reconstruction"]


def test_free_bits_are_given_to_each_dimension_of_each_level() -> None:
    nets = made(BASE)
    torch.manual_seed(2)
    _, kl = next(BASE.elbo_draws(BATCH, **nets))
    each = kl.mean(0).detach()
    assert each.shape == (9,)
    assert terms(BASE)["kl"] == pytest.approx(each.sum().item(), rel=1e-5)
    limit = each.median().item() + 1e-5
    given = terms(replace(BASE, free_bits=limit))
    assert given["kl"] == pytest.approx(np.maximum(limit, each.numpy()).sum(), rel=1e-5)
    assert given["reconstruction"] == terms(BASE)["reconstruction"]
    half = terms(replace(BASE, free_bits=limit, warmup=10), done=5)
    assert half["kl"] == pytest.approx(0.5 * given["kl"])


def test_sigma_moves_the_reconstruction_and_nothing_else() -> None:
    narrow, wide = (terms(replace(BASE, likelihood="gaussian", sigma=sigma)) for sigma in (0.1, 1.0))
    assert narrow["reconstruction"] != wide["reconstruction"]
    assert narrow["kl"] == wide["kl"]


@pytest.mark.parametrize("levels", [(5,), (3, 2), (2, 4, 1, 3)])
@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize(
    "fields",
    [
        {"likelihood": "gaussian", "sigma": "learned"}, {"likelihood": "gaussian", "sigma": "optimal"},
        {"likelihood": "bernoulli", "binarize": "dynamic"}, {"likelihood": "bernoulli", "binarize": "static"},
        {"likelihood": "discretized-logistic", "net": "mlp"}, {"likelihood": "continuous-bernoulli"},
        {"likelihood": "squared-error", "activation": "silu"},
    ],
    ids=lambda fields: "-".join(map(str, fields.values())),
)  # fmt: skip
def test_every_option_trains_and_comes_back(levels: Any, depth: int, fields: Any, images: Dataset) -> None:
    model = LadderVAE(latents=levels, depth=depth, width=4, **fields)
    trained = ganvas.train(model, images, steps=2, batch_size=8, quiet=True, folder="run")
    codes = trained.encode(images)
    assert codes.shape == (40, sum(levels))
    assert codes.isfinite().all()
    assert torch.equal(trained.decode(codes).x, trained.reconstruct(images).x)
    assert torch.equal(ganvas.load("run").sample(3).x, trained.sample(3).x)
    assert ganvas.interpolate(trained, rows=2, columns=3).x.shape == (6, 3, 12, 10)


def test_posteriors_are_float32_where_networks_are_bfloat16() -> None:
    nets = made(BASE)
    with torch.autocast("cpu", torch.bfloat16):
        hat = nets["encoder"](BATCH.x)
        levels = nets["decoder"].descend(torch.randn_like(hat.mean), hat)
        log_w = BASE.log_weights(BATCH.x, 2, **nets)
    assert {t.dtype for level in levels for g in (level.p, level.q) for t in g} == {torch.float32}
    assert log_w.dtype == torch.float32
    assert log_w.isfinite().all()


@pytest.mark.parametrize("size", [1e4, 1e8])
def test_extreme_outputs_of_the_networks_leave_the_loss_and_its_gradient_finite(size: float) -> None:
    model = replace(BASE, likelihood="gaussian")
    nets = made(model)
    for layer in [head[0] for head in nets["encoder"].heads] + [net[-2] for net in nets["decoder"].priors]:
        with torch.no_grad():
            layer.bias.copy_(torch.tensor([size, -size]).repeat(len(layer.bias))[: len(layer.bias)])
    (move,) = model.step(iter([BATCH]), 0, **nets)
    move.loss.backward()
    assert move.loss.isfinite()
    assert all(p.grad.isfinite().all() for net in nets.values() for p in net.parameters())


def test_the_log_shows_a_level_that_has_collapsed() -> None:
    """The second of three levels says nothing of x; its z_2 still follows z_3, but its code does not."""
    nets = made(BASE)
    with torch.no_grad():
        for level, head in enumerate(nets["encoder"].heads):
            head[0].weight.mul_(0.0 if level == 1 else 30.0)
            head[0].bias[len(head[0].bias) // 2 :] = 60.0 if level == 1 else -1.0
        for prior in nets["decoder"].priors:
            prior[-2].weight.mul_(5.0)
        hat = nets["encoder"](BATCH.x)
        levels = nets["decoder"].descend(torch.zeros_like(hat.mean), hat)
        seen = BASE.monitor(BATCH, **nets)
    assert levels[1].z.var(0).max() > 0.01
    assert {name: len(value) for name, value in seen.items()} == dict.fromkeys(seen, 9)
    report = latent_report(seen)
    assert report["dimensions"] == len(report["kl_per_dimension"]) == 9
    assert max(report["kl_per_dimension"][4:7]) < 0.01
    assert min(sum(report["kl_per_dimension"][:4]), sum(report["kl_per_dimension"][7:])) > 1
    active = [int((part > 0.01).sum()) for part in seen["mean_variance"].split(BASE.latents)]
    assert active[1] == 0
    assert min(active[0], active[2]) > 0
    report["active_units"] = 0
    (sentence,) = diagnose(BASE, {"latent": report}, 1000, 1000)
    assert "--warmup" in sentence
    assert "--free-bits" in sentence


def test_mistakes_are_refused(images: Dataset) -> None:
    for levels in ((), (0,), (3, -1)):
        with pytest.raises(ValueError, match="latents"):
            LadderVAE(latents=levels)
    with pytest.raises(UserError, match="net=conv needs images"):
        ganvas.train(LadderVAE(net="conv"), "ring", steps=1, quiet=True)
    with pytest.raises(UserError, match="add binarize=dynamic"):
        ganvas.train(LadderVAE(likelihood="bernoulli"), images, steps=1, batch_size=8, quiet=True)


def test_the_command_line_takes_levels(capsys: pytest.CaptureFixture[str]) -> None:
    words = "train laddervae ring --latents 3 --latents 2 --width 8 --steps 3 --batch-size 20 --warmup 2"
    assert main([*words.split(), "--quiet", "--folder", "run"]) == 0
    assert ganvas.load("run").model.latents == (3, 2)
    assert main(["sample", "run", "-n", "4", "--out", "grid.npz"]) == 0
    assert main(["train", "laddervae", "ring", "--latents", "0"]) == 2
    assert "--latents" in capsys.readouterr().err
