"""The VAE family: what each option does, and does to nothing else."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import ganvas
from ganvas.data import Dataset
from ganvas.distributions.likelihoods import LikelihoodHead
from ganvas.distributions.posteriors import DiagonalGaussian, normal_log_prob
from ganvas.errors import UserError
from ganvas.inference.loading import load_preprocessed
from ganvas.model import Batch
from ganvas.models import IWAE, VAE, BetaTCVAE
from ganvas.models.betatcvae import decompose_kl
from ganvas.models.vae import Multiplier

SHAPE = (1, 9, 9)
BATCH = Batch((torch.rand(8, *SHAPE, generator=torch.Generator().manual_seed(0)) < 0.5).float())


def terms(model: Any, done: int = 0, batch: Batch = BATCH, nets: Any = None) -> dict[str, float]:
    """The terms of a step, always with the same weights and noise."""
    torch.manual_seed(1)
    nets = nets or model.networks(tuple(batch.x.shape[1:]), 3)
    torch.manual_seed(2)
    (move,) = model.step(iter([batch]), done, **nets)
    return {name: value.item() for name, value in move.terms.items()}


def kl_terms(model: VAE) -> Tensor:
    """The KL of the batch in its terms, b x d, with those weights and that noise."""
    torch.manual_seed(1)
    nets = model.networks(SHAPE)
    torch.manual_seed(2)
    q = nets["encoder"](BATCH.x)
    return q.kl(q.sample(model.latent_samples)).detach()


BASE = VAE(latent=4, width=4, likelihood="bernoulli")
every_posterior = pytest.mark.parametrize("posterior", ["diagonal", "full", "low-rank", "iaf"])


@every_posterior
@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli", "discretized-logistic"])
def test_beta_multiplies_the_kl_and_nothing_else(posterior: Any, likelihood: Any) -> None:
    vae = replace(BASE, posterior=posterior, likelihood=likelihood)
    one, three, none = (terms(replace(vae, beta=beta)) for beta in (1.0, 3.0, 0.0))
    assert one["kl"] == pytest.approx(kl_terms(vae).sum(1).mean().item(), rel=1e-5)
    assert three["kl"] == pytest.approx(3 * one["kl"])
    assert none["kl"] == 0
    assert one["reconstruction"] == three["reconstruction"] == none["reconstruction"]


def test_sigma_moves_the_reconstruction_and_nothing_else() -> None:
    narrow, wide = (terms(replace(BASE, likelihood="gaussian", sigma=sigma)) for sigma in (0.1, 1.0))
    assert narrow["reconstruction"] != wide["reconstruction"]
    assert narrow["kl"] == wide["kl"]


def test_the_warm_up_is_linear_and_then_over() -> None:
    plain, warm = terms(BASE), replace(BASE, warmup=10)
    for done, part in ((0, 0.0), (1, 0.1), (5, 0.5), (10, 1.0), (1000, 1.0)):
        assert terms(warm, done)["kl"] == pytest.approx(part * plain["kl"])
        assert terms(warm, done)["reconstruction"] == plain["reconstruction"]


def test_the_cyclical_warm_up_begins_again() -> None:
    cyclical = replace(BASE, warmup=10, warmup_cycle=20)
    weights = [cyclical.warmup_factor(done) for done in (0, 5, 10, 19, 20, 25, 39, 40)]
    assert weights == pytest.approx([0, 0.5, 1, 1, 0, 0.5, 1, 0])


def test_free_bits_are_given_to_each_dimension() -> None:
    per_dimension = kl_terms(BASE).mean(0)
    limit = per_dimension.sort().values[1].item() + 1e-4  # above two dimensions, below two
    expected = np.maximum(limit, per_dimension.numpy()).sum()
    assert terms(replace(BASE, free_bits=limit))["kl"] == pytest.approx(expected, rel=1e-5)
    assert terms(replace(BASE, free_bits=limit, beta=2.0))["kl"] == pytest.approx(2 * expected, rel=1e-5)


def test_free_bits_leave_dimensions_below_the_limit_without_a_gradient() -> None:
    nets = replace(BASE, free_bits=100.0).networks(SHAPE)
    (move,) = replace(BASE, free_bits=100.0).step(iter([BATCH]), 0, **nets)
    assert move.terms["kl"].item() == pytest.approx(400)
    gradient = torch.autograd.grad(move.terms["kl"], list(nets["encoder"].parameters()), allow_unused=True)
    assert all(g is None or not g.any() for g in gradient)


def test_a_capacity_is_a_distance_and_no_ceiling() -> None:
    """beta |KL - C|: a KL below C is pushed up; clamping it to at most C, as one library does, switches it off."""
    kl = terms(BASE)["kl"]
    for capacity in (0.0, kl / 2, kl + 3):
        found = terms(replace(BASE, capacity=capacity, beta=5.0))["kl"]
        assert found == pytest.approx(5 * abs(kl - capacity), rel=1e-4, abs=1e-5)
    half_way = terms(replace(BASE, capacity=2 * kl, warmup=10), done=5)["kl"]
    assert half_way == pytest.approx(0, abs=1e-5)


def test_geco_weighs_the_constraint_and_moves_its_multiplier() -> None:
    vae = replace(BASE, likelihood="gaussian", geco=0.1)
    assert vae.networks(SHAPE)["decoder"][-1].sigma == 0.1  # what an ELBO of it is computed with
    torch.manual_seed(1)
    nets = vae.networks(SHAPE)
    error = 81 * 0.25  # an untrained decoder is grey everywhere, up to a little
    first = terms(vae, nets=nets)
    assert first["constraint"] == pytest.approx(error / 0.01 - 81, rel=0.05)
    assert first["kl"] == pytest.approx(terms(replace(BASE, likelihood="gaussian"))["kl"])
    before = nets["multiplier"].value.item()
    terms(vae, nets=nets)
    assert nets["multiplier"].value.item() > before  # the constraint is violated
    rule, value, average = Multiplier(), 1.0, 0.0
    for excess in [-5.0] * 100 + [300.0] + [0.5] * 100:  # one outlier does not turn the average round
        found = rule(torch.tensor(excess)).item()
        assert found == pytest.approx(value * excess, rel=1e-4)
        average += 0.01 * (excess - average)
        value *= np.exp(0.01 * np.clip(average, -1, 1))
    assert rule.value.item() == pytest.approx(value, rel=1e-4)


def test_geco_holds_the_error_that_was_asked_for() -> None:
    x = torch.randn(2000, 6)
    trained = ganvas.train(
        VAE(latent=6, width=32, geco=0.1, lr=3e-3), x.numpy(), steps=1200, batch_size=100, ema_decay=0.9, quiet=True
    )
    codes = trained.encode_with(trained.model.sample_posterior, load_preprocessed(trained, x))
    error = (trained.decode(codes).x - x).square().mean().sqrt().item()
    assert error == pytest.approx(0.1, rel=0.25)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"free_bits": 0.1, "capacity": 3.0}, "free_bits and capacity are different rules"),
        ({"geco": 0.1, "beta": 2.0}, "geco finds the weight of the KL by itself"),
        ({"geco": 0.1, "beta": 1.0}, "geco finds the weight of the KL by itself"),
        ({"geco": 0.1, "sigma": 0.4}, "geco is the sigma of a gaussian"),
        ({"geco": 0.1, "sigma": "optimal"}, "geco is the sigma of a gaussian"),
        ({"geco": 0.1, "likelihood": "continuous-bernoulli"}, "geco is the sigma of a gaussian"),
        ({"posterior": "full", "latent": 60000}, "needs their square in numbers: use low-rank"),
        ({"free_bits": 0.1, "prior": "vamp"}, "free_bits needs the KL a dimension"),
        ({"warmup_cycle": 10}, "warmup_cycle=10 repeats a warm-up: give warmup"),
        ({"posterior": "iaf", "prior": "vamp"}, "prior=vamp does not go with posterior=iaf"),
        ({"net": "spatial", "posterior": "full"}, "too many for net=spatial"),
    ],
)
def test_options_that_do_not_go_together_are_refused(fields: Any, sentence: str, images: Dataset) -> None:
    with pytest.raises(UserError, match=sentence):
        ganvas.train(VAE(**({"latent": 2, "width": 4} | fields)), images, steps=1, batch_size=8, quiet=True)


def test_k_samples_mean_k_rows_for_the_decoder() -> None:
    for model in (replace(BASE, latent_samples=7), IWAE(latent=4, width=4, likelihood="bernoulli", latent_samples=7)):
        nets = model.networks(SHAPE)
        rows: list[int] = []
        nets["decoder"].register_forward_hook(lambda module, inputs, output, rows=rows: rows.append(len(inputs[0])))
        encoded: list[int] = []
        nets["encoder"].register_forward_hook(lambda module, inputs, output, to=encoded: to.append(len(inputs[0])))
        next(model.step(iter([BATCH]), 0, **nets))
        assert rows == [56]
        assert encoded == [8]  # each example is encoded once, not once a sample


def test_each_code_of_an_example_is_decoded_with_its_own_label() -> None:
    model = replace(BASE, latent_samples=3, conditional=True)
    nets = model.networks(SHAPE, 8)
    given: list[Tensor] = []
    nets["decoder"].register_forward_hook(lambda module, inputs, output: given.append(inputs[1]))
    next(model.step(iter([Batch(BATCH.x, torch.arange(8))]), 0, **nets))
    assert given[0].tolist() == [*range(8)] * 3  # as the codes are: all of the first draw first


def test_dynamic_bits_are_what_the_networks_see_in_training() -> None:
    model = replace(BASE, binarize="dynamic")
    nets = model.networks(SHAPE)
    seen: list[Tensor] = []
    nets["encoder"].register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    for _ in range(2):
        next(model.step(iter([Batch(torch.full((8, *SHAPE), 0.4))]), 0, **nets))
    assert all(set(x.unique().tolist()) == {0.0, 1.0} for x in seen)
    assert not torch.equal(*seen)


def test_samples_that_count_differently_have_no_optimal_sigma(images: Dataset) -> None:
    with pytest.raises(UserError, match="use sigma=learned"):
        ganvas.train(IWAE(latent=2, width=4, sigma="optimal"), images, steps=1, batch_size=8, quiet=True)


def log_weights(nets: Any, q: Any, z: Tensor, x: Tensor) -> np.ndarray:
    """log p(x|z) + log p(z) - log q(z|x) in float64, by NumPy, for a Bernoulli and a diagonal posterior; k x b."""
    mean, scale, codes = (t.detach().double().numpy() for t in (*q, z))
    logits = nets["decoder"](z.flatten(0, 1)).logits.detach().double().view(*z.shape[:2], -1).numpy()
    flat = x.flatten(1).double().numpy()
    log_p = -(flat * np.logaddexp(0, -logits) + (1 - flat) * np.logaddexp(0, logits)).sum(2)
    constant = 0.5 * np.log(2 * np.pi)
    log_prior = -(0.5 * codes**2 + constant).sum(2)
    log_q = -(0.5 * ((codes - mean) / scale) ** 2 + np.log(scale) + constant).sum(2)
    return log_p + log_prior - log_q


def iwae_step(gradient: Any) -> tuple[Any, Any, Any, np.ndarray]:
    model = IWAE(latent=4, width=4, likelihood="bernoulli", latent_samples=6, gradient_estimator=gradient)
    torch.manual_seed(1)
    nets = model.networks(SHAPE)
    torch.manual_seed(2)
    q = nets["encoder"](BATCH.x)
    z = q.sample(6).z
    reference = log_weights(nets, q, z, BATCH.x)
    torch.manual_seed(2)
    (move,) = model.step(iter([BATCH]), 0, **nets)
    return model, nets, move, reference


@pytest.mark.parametrize("gradient", ["reparameterized", "doubly-reparameterized"])
def test_the_importance_weighted_bound_is_that_of_numpy(gradient: str) -> None:
    """One sampled log-ratio a sample: no analytic KL, which would be the same for all k."""
    model, nets, move, log_w = iwae_step(gradient)
    torch.manual_seed(2)
    assert model.log_weights(BATCH.x, 6, **nets).detach().numpy() == pytest.approx(log_w, rel=1e-5)
    assert move.loss.item() == pytest.approx(-(np.logaddexp.reduce(log_w, 0) - np.log(6)).mean(), rel=1e-5)


def test_the_best_sample_has_the_largest_weight() -> None:
    """The gradient of the decoder is the sum of the samples' own, weighed by w_i / sum w, best first."""
    _, nets, move, log_w = iwae_step("reparameterized")
    parameters = list(nets["decoder"].parameters())
    found = torch.autograd.grad(move.loss, parameters)
    torch.manual_seed(2)
    z = nets["encoder"](BATCH.x).sample(6).z.detach()
    weights = torch.tensor(np.exp(log_w - np.logaddexp.reduce(log_w, 0))).float()
    assert (weights.argmax(0) == torch.tensor(log_w).argmax(0)).all()
    nll = nets["decoder"](z.flatten(0, 1)).nll(BATCH.x)
    expected = torch.autograd.grad((weights * nll).sum(0).mean(), parameters)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-6)


def linear_gradients(gradient: Any, exact: bool, draws: int = 3000) -> tuple[Tensor, Tensor]:
    """Gradients of the posterior's mean and scale, one row a draw, and of the decoder, on p(x|z) = N(z, s^2 I)."""
    s2 = 0.25
    mean = torch.full((draws, 1), 0.8 / (1 + s2) if exact else 0.2, dtype=torch.double, requires_grad=True)
    scale = torch.full((draws, 1), (s2 / (1 + s2)) ** 0.5 if exact else 0.9, dtype=torch.double, requires_grad=True)
    weight = nn.Linear(1, 1, bias=False).double()
    weight.weight.data.fill_(1.0)

    class Encoder(nn.Module):
        def forward(self, x: Tensor) -> DiagonalGaussian:
            return DiagonalGaussian(mean, scale)

    nets = {"encoder": Encoder(), "decoder": nn.Sequential(weight, LikelihoodHead("gaussian", False, s2**0.5))}
    model, batch = IWAE(latent=1, latent_samples=4, gradient_estimator=gradient), Batch(torch.full_like(mean, 0.8))
    torch.manual_seed(0)
    (move,) = model.step(iter([batch]), 0, **nets)
    *encoder, decoder = torch.autograd.grad(move.loss * draws, [mean, scale, weight.weight])  # the loss is a mean
    return torch.cat(encoder, 1), decoder


def test_the_doubly_reparameterized_gradient_has_the_same_mean_and_less_noise() -> None:
    plain, decoder = linear_gradients("reparameterized", exact=False)
    double, same = linear_gradients("doubly-reparameterized", exact=False)
    error = (plain.var(0) + double.var(0)).sqrt() / len(plain) ** 0.5
    assert ((plain.mean(0) - double.mean(0)).abs() < 4 * error).all()
    assert (double.var(0) < plain.var(0)).all()
    torch.testing.assert_close(decoder, same)  # the decoder's gradient is the same, also of one draw
    one, other = (
        linear_gradients(name, exact=False, draws=1)[1] for name in ("reparameterized", "doubly-reparameterized")
    )
    torch.testing.assert_close(one, other)


def test_the_doubly_reparameterized_gradient_vanishes_at_the_exact_posterior() -> None:
    encoder, _ = linear_gradients("doubly-reparameterized", exact=True, draws=20)
    assert encoder.abs().max() < 1e-6
    assert linear_gradients("reparameterized", exact=True, draws=20)[0].abs().max() > 1e-3


def test_the_decomposition_of_the_kl_sums_to_it_and_is_that_of_numpy() -> None:
    q = DiagonalGaussian(torch.randn(6, 3).double(), torch.rand(6, 3).double() + 0.3)
    z = q.sample().z[0]
    information, correlation, dimensions = (t.item() for t in decompose_kl(q, z, 100))
    mean, scale, codes = (t.numpy() for t in (*q, z))
    pairs = -0.5 * ((codes[:, None] - mean) / scale) ** 2 - np.log(scale) - 0.5 * np.log(2 * np.pi)
    norm = np.log(100 * 6)
    joint = np.log(np.exp(pairs.sum(2)).sum(1)) - norm
    marginals = (np.log(np.exp(pairs).sum(1)) - norm).sum(1)
    own = np.array([pairs[i, i].sum() for i in range(6)])
    prior = (-0.5 * codes**2 - 0.5 * np.log(2 * np.pi)).sum(1)
    assert information == pytest.approx((own - joint).mean())
    assert correlation == pytest.approx((joint - marginals).mean())
    assert dimensions == pytest.approx((marginals - prior).mean())
    total = (q.log_prob(z[None])[0] - normal_log_prob(z).sum(1)).mean().item()
    assert information + correlation + dimensions == pytest.approx(total)


def test_the_decomposition_counts_the_examples_of_the_collection() -> None:
    model = BetaTCVAE(latent=4, width=4, alpha=1, beta=1, gamma=1)
    few, many = (terms(model, batch=Batch(BATCH.x, None, total)) for total in (8, 800))
    assert many["information"] - few["information"] == pytest.approx(np.log(100), rel=1e-4)
    assert many["correlation"] - few["correlation"] == pytest.approx(3 * np.log(100), rel=1e-4)
    assert many["dimensions"] - few["dimensions"] == pytest.approx(-4 * np.log(100), rel=1e-4)


def test_each_weight_of_the_decomposition_moves_its_own_term() -> None:
    base = terms(BetaTCVAE(latent=4, width=4, alpha=1, beta=1, gamma=1))
    for field, name in (("alpha", "information"), ("beta", "correlation"), ("gamma", "dimensions")):
        weights = {"alpha": 1.0, "beta": 1.0, "gamma": 1.0} | {field: 7.0}
        changed = terms(BetaTCVAE(latent=4, width=4, **weights))
        assert changed.pop(name) == pytest.approx(7 * base[name])
        assert changed == {k: v for k, v in base.items() if k != name}


def test_a_vamp_prior_is_the_mixture_of_its_pseudo_inputs_posteriors() -> None:
    vae = VAE(latent=3, width=4, prior="vamp", pseudo_inputs=5)
    nets = vae.networks(SHAPE)
    z = torch.randn(2, 4, 3)
    found = vae.log_prior(**nets)(z)
    mean, scale = (t.detach().numpy() for t in nets["encoder"](nets["prior"]()))
    for i in range(2):
        for j in range(4):
            each = -(0.5 * ((z[i, j].numpy() - mean) / scale) ** 2 + np.log(scale) + 0.5 * np.log(2 * np.pi)).sum(1)
            assert found[i, j].item() == pytest.approx(np.logaddexp.reduce(each) - np.log(5), rel=1e-5)
    torch.testing.assert_close(VAE().log_prior()(z), normal_log_prob(z).sum(2))


def test_a_vamp_priors_samples_are_those_of_the_mixture(images: Dataset) -> None:
    trained = ganvas.train(
        VAE(latent=2, width=4, prior="vamp", pseudo_inputs=3), images, steps=2, batch_size=8, quiet=True
    )
    z = trained.sample_prior(20_000, torch.Generator().manual_seed(0))
    with torch.no_grad():
        q = trained.nets["encoder"](trained.nets["prior"]())
    assert (z.mean(0) - q.mean.mean(0)).abs().max() < 0.05
    expected = (q.scale.square() + q.mean.square()).mean(0) - q.mean.mean(0).square()
    torch.testing.assert_close(z.var(0), expected, rtol=0.05, atol=0.01)
    assert torch.equal(trained.sample(5).x, ganvas.load(trained.folder).sample(5).x)


@pytest.mark.parametrize("net", ["conv", "mlp", "spatial"])
def test_a_conditional_model_generates_the_class_that_it_is_asked_for(net: Any, labelled: Dataset) -> None:
    model = VAE(latent=2, width=8, net=net, conditional=True, lr=3e-3, beta=20.0)
    trained = ganvas.load(ganvas.train(model, labelled, steps=150, batch_size=20, ema_decay=0.9, quiet=True).folder)
    for label, low, high in (("dark", 0, 90), ("bright", 140, 255), (0, 0, 90), ("1", 140, 255)):
        shade = trained.sample(10, label=label).x.float().mean((1, 2, 3))
        assert (shade > low).all(), label
        assert (shade < high).all(), label
    turns = trained.sample(6).x.float().mean((1, 2, 3))
    assert (turns[1::2] > turns[0::2] + 70).all()
    rebuilt = trained.reconstruct(labelled).x.float()
    assert (rebuilt - labelled.x.float()).abs().mean() < 40


def test_labels_that_are_missing_or_unknown_are_refused(labelled: Dataset, vectors: Dataset) -> None:
    model = VAE(latent=2, width=8, conditional=True)
    with pytest.raises(UserError, match="vectors has no labels, and conditional=true tells"):
        ganvas.train(model, vectors, steps=1, batch_size=8, quiet=True)
    trained = ganvas.train(model, labelled, steps=1, batch_size=8, quiet=True)
    with pytest.raises(UserError, match="there is no class 'grey': this model knows dark, bright"):
        trained.sample(3, label="grey")
    with pytest.raises(UserError, match="was trained on dark, bright"):
        trained.reconstruct(replace(labelled, classes=("a", "b")))
    with pytest.raises(UserError, match="is conditional: give the labels"):
        trained.decode(torch.zeros(3, 2))
    plain = ganvas.train(VAE(latent=2, width=8), labelled, steps=1, batch_size=8, quiet=True)
    with pytest.raises(UserError, match="was trained without labels"):
        plain.sample(3, label="dark")


@pytest.mark.parametrize("size", [(64, 64), (65, 70), (128, 40), (20, 20)])
def test_spatial_codes_fit_images_of_any_size(size: tuple[int, int]) -> None:
    vae = VAE(latent=2, width=2, net="spatial")
    nets = vae.networks((3, *size))
    x = torch.rand(2, 3, *size)
    q = nets["encoder"](x)
    assert nets["decoder"](q.mean).mean.shape == x.shape
    d = vae.code_size((3, *size))
    assert q.mean.shape == (2, d)
    assert 2 * 5 * 8 <= d <= 2 * 15 * 15
    assert vae.sample_prior(3, (3, *size), torch.Generator()).shape == (3, d)


def test_a_place_of_a_spatial_code_decodes_to_its_own_part_of_the_image() -> None:
    vae = VAE(latent=1, width=2, net="spatial")
    decoder = vae.networks((1, 64, 64))["decoder"]
    z = torch.zeros(2, 64)
    z[1, 0] = 5.0  # the upper left of 8 x 8 places
    a, b = decoder(z).mean.detach()
    changed = ((a - b).abs() > 1e-6)[0].nonzero()
    assert len(changed) > 0
    assert changed.max() < 32
