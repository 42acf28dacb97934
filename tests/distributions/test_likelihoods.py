"""Likelihoods: values against NumPy in float64, gradients, extremes, what data each is for."""

from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

import ganvas
from ganvas.data import Dataset, from_array
from ganvas.distributions import likelihoods
from ganvas.distributions.likelihoods import (
    Bernoulli,
    ContinuousBernoulli,
    DiscretizedLogistic,
    Gaussian,
    OptimalGaussian,
)
from ganvas.errors import UserError
from ganvas.objectives.reconstruction import continuous_bernoulli_nll, discretized_logistic_nll, squared_error

LIKELIHOODS = get_args(likelihoods.LikelihoodName)
every_likelihood = pytest.mark.parametrize("name", LIKELIHOODS)
RNG = np.random.default_rng(0)


def head(name: Any, bounded: bool = True, sigma: Any = 0.4) -> likelihoods.LikelihoodHead:
    return likelihoods.LikelihoodHead(name, bounded, sigma)


def reference(name: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """-log p(x|z) in float64 for a decoder's raw outputs y, written down independently; pixels."""
    sigmoid = 1 / (1 + np.exp(-y))
    match name:
        case "bernoulli":
            return np.logaddexp(0, -y) * x + np.logaddexp(0, y) * (1 - x)
        case "continuous-bernoulli":
            p = sigmoid
            constant = np.where(np.abs(p - 0.5) < 1e-9, 2.0, 2 * np.arctanh(1 - 2 * p) / (1 - 2 * p))
            return -(x * np.log(p) + (1 - x) * np.log(1 - p) + np.log(constant))
        case "gaussian":
            return 0.5 * ((x - sigmoid) / 0.4) ** 2 + np.log(0.4 * np.sqrt(2 * np.pi))
        case "squared-error":
            return (x - sigmoid) ** 2
        case "discretized-logistic":
            mean, log_scale = np.split(y, 2, axis=1)
            mean, scale = mean + 0.5, np.exp(np.maximum(log_scale - 2.3, -7))

            def cdf(t: np.ndarray) -> np.ndarray:
                return 0.5 * (1 + np.tanh((t - mean) / scale / 2))

            low = np.where(x == 0, 0.0, cdf(x - 1 / 510))
            high = np.where(x == 1, 1.0, cdf(x + 1 / 510))
            return -np.log(high - low)
    raise AssertionError


@every_likelihood
def test_values_are_those_of_an_independent_reference(name: str) -> None:
    layer = head(name)
    x = RNG.integers(0, 256, (4, 1, 3, 2)) / 255
    x[0, 0, 0] = [0.0, 1.0]
    if name == "bernoulli":
        x = x.round()
    y = RNG.normal(size=(4, layer.n_outputs, 3, 2)) * (0.2 if layer.n_outputs == 2 else 1.5)
    expected = reference(name, x, y).sum((1, 2, 3))
    nll = layer(torch.tensor(y)).nll(torch.tensor(x))
    assert nll.shape == (1, 4)
    np.testing.assert_allclose(nll[0].numpy(), expected, rtol=1e-7)


@every_likelihood
def test_k_decodings_of_an_example_are_k_rows(name: str) -> None:
    """Outputs come all of the first draw before those of the second; x is never mixed up among them."""
    layer = head(name)
    x, y = (torch.rand(3, 1, 2, 2) < 0.5).float(), torch.randn(15, layer.n_outputs, 2, 2)
    together = layer(y).nll(x)
    assert together.shape == (5, 3)
    for i in range(5):
        for j in range(3):
            torch.testing.assert_close(together[i, j], layer(y[3 * i + j][None]).nll(x[j][None])[0, 0])


@every_likelihood
@pytest.mark.parametrize("size", [-1e4, -80.0, 80.0, 1e4])
def test_extreme_outputs_are_finite_and_have_finite_gradients(name: str, size: float) -> None:
    layer = head(name)
    y = torch.full((2, layer.n_outputs, 2, 2), size, requires_grad=True)
    x = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).expand(2, 1, 2, 2)
    nll = layer(y).nll(x)
    nll.sum().backward()
    assert nll.isfinite().all()
    assert y.grad is not None
    assert y.grad.isfinite().all()
    assert layer(y).mean.isfinite().all()


@every_likelihood
def test_gradients_agree_with_finite_differences(name: str) -> None:
    layer = head(name)
    x = (torch.rand(2, 1, 3, 1) < 0.5).double()
    y = torch.randn(4, layer.n_outputs, 3, 1).double().requires_grad_()
    assert gradcheck(lambda v: layer(v).nll(x), (y,))


@every_likelihood
def test_low_precision_outputs_are_scored_in_float32(name: str) -> None:
    layer = head(name)
    y, x = torch.randn(2, layer.n_outputs, 3, 3).bfloat16(), torch.zeros(2, 1, 3, 3)
    assert torch.equal(layer(y).nll(x), layer(y.float()).nll(x))
    assert torch.equal(layer(y).mean, layer(y.float()).mean)


@every_likelihood
def test_an_example_is_likelier_under_its_own_reconstruction(name: str) -> None:
    layer = head(name)
    x = torch.tensor([[[[0.0, 1.0]]], [[[1.0, 0.0]]]])
    logits = torch.cat([x * 4 - 2, torch.zeros_like(x)], 1)[:, : layer.n_outputs] / (4 if layer.n_outputs == 2 else 1)
    nll = layer(logits.repeat(1, 1, 1, 1)).nll(x)
    assert (nll < layer(logits.flip(0)).nll(x)).all()


def test_the_continuous_bernoulli_is_a_density() -> None:
    t = torch.linspace(0, 1, 20_001).double()[:, None]
    for logit in (-30.0, -3.0, -0.11, -0.09, 0.0, 1e-6, 0.05, 0.1, 2.0, 40.0):
        density = (-continuous_bernoulli_nll(t, torch.tensor([[logit]]).double())).exp()
        assert torch.trapezoid(density, dx=1 / 20_000).item() == pytest.approx(1, abs=1e-5)
        mean = torch.trapezoid(density * t[:, 0], dx=1 / 20_000).item()
        p = ContinuousBernoulli(torch.tensor([[logit]]).double())
        assert p.mean.item() == pytest.approx(mean, abs=1e-5)


def test_the_continuous_bernoulli_has_a_gradient_at_zero() -> None:
    logits = torch.zeros(1, 1, requires_grad=True)
    continuous_bernoulli_nll(torch.tensor([[1.0]]), logits).sum().backward()
    assert logits.grad is not None
    assert logits.grad.item() == pytest.approx(-0.5)


def test_a_discretized_logistic_gives_256_levels_probabilities_that_sum_to_1() -> None:
    levels = (torch.arange(256).double() / 255)[:, None]
    for mean, log_scale in ((0.5, -2.0), (-0.4, -1.0), (1.0, -7.0), (0.2, 2.0)):
        nll = discretized_logistic_nll(levels, torch.tensor([[mean]]).double(), torch.tensor([[log_scale]]).double())
        assert (-nll).exp().sum().item() == pytest.approx(1, abs=1e-9)


def test_a_level_in_a_tail_keeps_a_finite_probability() -> None:
    """Where the difference of two sigmoids would be 0, and its logarithm -infinity."""
    nll = discretized_logistic_nll(torch.tensor([[128 / 255]]), torch.tensor([[0.0]]), torch.tensor([[-6.0]]))
    assert nll.item() == pytest.approx(128 / 255 * np.exp(6.0), rel=0.05)


def test_squared_error_is_the_lectures() -> None:
    x, y = RNG.random((5, 7)), RNG.normal(size=(5, 7))
    nll = head("squared-error", bounded=False)(torch.tensor(y)).nll(torch.tensor(x))[0]
    np.testing.assert_allclose(nll.numpy(), np.linalg.norm(x - y, axis=1) ** 2, rtol=1e-12)
    np.testing.assert_allclose(squared_error(torch.tensor(x), torch.tensor(y)).numpy(), nll.numpy())


@pytest.mark.parametrize("sigma", [0.4, "learned", "optimal"])
@every_likelihood
def test_all_probability_is_1_where_likelihoods_are_measured(name: str, sigma: Any) -> None:
    """Else there is no bound on log p(x), and there are no bits: sums over levels, integrals over numbers."""
    layer = head(name, False, sigma).eval()
    y = torch.tensor([[[[0.3]], [[1.9]]]], dtype=torch.float64)[:, : layer.n_outputs]
    exact = {"bernoulli": torch.arange(2), "discretized-logistic": torch.arange(256) / 255}
    unit = torch.linspace(0, 1, 100_001)
    x = exact.get(name, unit if name == "continuous-bernoulli" else 40 * unit - 20).double()
    mass = layer(y.expand(len(x), -1, -1, -1)).nll(x.view(-1, 1, 1, 1))[0].neg().exp()
    total = mass.sum() if name in exact else torch.trapezoid(mass, x)
    assert total.item() == pytest.approx(1.0, abs=1e-4)


def test_the_optimal_sigma_is_that_of_maximum_likelihood() -> None:
    layer = head("gaussian", False, "optimal").train()
    x, y = torch.randn(50, 4), torch.randn(50, 4)
    p = layer(y)
    assert isinstance(p, OptimalGaussian)
    best = (x - y).square().mean().sqrt().item()
    nll = p.nll(x).mean().item()
    assert nll == pytest.approx(Gaussian(y, best).nll(x).mean().item(), rel=1e-5)
    for other in (0.9 * best, 1.1 * best):
        assert Gaussian(y, other).nll(x).mean().item() > nll


def test_the_optimal_sigma_is_remembered_for_use() -> None:
    layer = head("gaussian", False, "optimal").train()
    for _ in range(300):
        layer(torch.zeros(20, 4)).nll(0.3 * torch.randn(20, 4))
    p = layer.eval()(torch.zeros(2, 4))
    assert isinstance(p, Gaussian)
    assert float(p.sigma) == pytest.approx(0.3, rel=0.1)
    before = layer.state_dict()["variance"].clone()
    p.nll(torch.ones(2, 4))
    assert torch.equal(before, layer.state_dict()["variance"])  # evaluation changes nothing


def test_a_learned_sigma_finds_the_same() -> None:
    layer = head("gaussian", False, "learned")
    x, optimizer = 0.3 * torch.randn(1000, 4), torch.optim.Adam(layer.parameters(), 0.02)
    for _ in range(400):
        optimizer.zero_grad()
        layer(torch.zeros(1000, 4)).nll(x).mean().backward()
        optimizer.step()
    assert float(layer(torch.zeros(1, 4)).sigma.detach()) == pytest.approx(x.square().mean().sqrt().item(), rel=1e-2)


GREY = from_array(RNG.integers(0, 256, (30, 6, 6), np.uint8), name="grey")
BITS = from_array(RNG.integers(0, 2, (30, 6, 6)).astype(bool), name="bits")
WIDE = from_array(RNG.normal(size=(30, 6)).astype(np.float32) * 3, name="wide")
UNIT = from_array(RNG.random((30, 6)).astype(np.float32), name="unit")


@pytest.mark.parametrize(
    ("data", "fields", "sentence"),
    [
        (GREY, {"likelihood": "bernoulli"}, "describes bits, but grey has values between"),
        (UNIT, {"likelihood": "bernoulli"}, "describes bits, but unit has values between"),
        (WIDE, {"likelihood": "bernoulli"}, "needs numbers from 0 to 1, but wide has"),
        (WIDE, {"likelihood": "continuous-bernoulli"}, "needs numbers from 0 to 1, but wide has"),
        (WIDE, {"likelihood": "bernoulli", "binarize": "dynamic"}, "needs numbers from 0 to 1"),
        (UNIT, {"likelihood": "discretized-logistic"}, "is for pixels with 256 levels, but unit holds vectors"),
        (GREY, {"binarize": "static"}, "binarize makes bits, which likelihood=gaussian does not describe"),
    ],
)
def test_data_that_do_not_fit_are_refused(data: Dataset, fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        ganvas.train(ganvas.VAE(latent=2, width=8, **fields), data, steps=1, batch_size=8, quiet=True)


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        (BITS, {"likelihood": "bernoulli"}),
        (GREY, {"likelihood": "bernoulli", "binarize": "dynamic"}),
        (GREY, {"likelihood": "bernoulli", "binarize": "static"}),
        (GREY, {"likelihood": "continuous-bernoulli"}),
        (UNIT, {"likelihood": "continuous-bernoulli"}),
        (GREY, {"likelihood": "discretized-logistic"}),
        (WIDE, {"likelihood": "squared-error"}),
        (GREY, {"sigma": "optimal"}),
        (GREY, {"sigma": "learned"}),
        (WIDE, {"sigma": "optimal"}),
    ],
)
def test_data_that_fit_are_learnt_and_used(data: Dataset, fields: dict[str, Any]) -> None:
    model = ganvas.VAE(latent=2, width=8, **fields)
    run = ganvas.train(model, data, steps=3, batch_size=8, checkpoint_every=1, quiet=True)
    again = ganvas.load(run.folder)
    assert torch.equal(again.sample(4).x, run.sample(4).x)
    assert again.reconstruct(data).x.shape == data.x.shape


def test_static_bits_are_the_same_every_time_and_dynamic_ones_are_not() -> None:
    static = ganvas.VAE(likelihood="bernoulli", binarize="static")
    bits = static.preprocess(GREY)
    assert torch.equal(bits.x, static.preprocess(GREY).x)
    assert set(bits.x.unique().tolist()) == {0, 255}
    dynamic = ganvas.VAE(likelihood="bernoulli", binarize="dynamic")
    assert dynamic.preprocess(GREY) is GREY
    x = torch.full((1000, 4), 0.3)
    a, b = dynamic.binarize_batch(x), dynamic.binarize_batch(x)
    assert not torch.equal(a, b)
    assert a.mean().item() == pytest.approx(0.3, abs=0.03)


def test_means_are_in_the_datas_range() -> None:
    y = 5 * torch.randn(3, 2, 4, 4)
    for name in LIKELIHOODS:
        mean: Tensor = head(name)(y).mean
        assert mean.min() >= 0, name
        assert mean.max() <= 1, name
    assert Bernoulli(torch.zeros(1, 2)).mean.tolist() == [[0.5, 0.5]]


@pytest.mark.parametrize("log_scale", [-7.0, -5.5, -4.0, -2.3, 0.0, 5.0])
def test_the_mean_of_a_discretized_logistic_is_that_of_its_levels(log_scale: float) -> None:
    """At location 0 half of the mass lies on black, and the rest above it: the mean is not black."""
    levels, scale = torch.arange(256).double()[:, None] / 255, torch.tensor([[log_scale]])
    for location in (-0.3, 0.0, 0.25, 0.501, 1.0, 1.2):
        p = DiscretizedLogistic(torch.tensor([[location]]), scale)
        mass = (-discretized_logistic_nll(levels, p.location.double(), scale.double())).exp()
        expected = (mass * levels[:, 0]).sum().item()
        assert p.mean.item() == pytest.approx(expected, abs=0.1 / 255)
