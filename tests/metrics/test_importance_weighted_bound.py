"""The importance-weighted bound against exact log-likelihoods and references in float64."""

from collections.abc import Iterator
from itertools import pairwise
from math import log, pi
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, kl_divergence

from ganvas.distributions.likelihoods import Bernoulli, LikelihoodHead
from ganvas.errors import UserError
from ganvas.metrics import fused, likelihood
from ganvas.metrics.likelihood import log_likelihood, mean_and_error
from ganvas.randomness import derive_seed

X, Z, SIGMA = 5, 3, 0.4
SHAPE, CODE = (1, 5, 7), 6


class Draw(NamedTuple):
    z: Tensor
    log_q: Tensor


class Posterior(NamedTuple):
    """N(mean, L L^T)."""

    mean: Tensor
    factor: Tensor

    def sample(self, k: int) -> Draw:
        noise = torch.randn(k, *self.mean.shape, dtype=self.mean.dtype)
        z = self.mean + torch.einsum("bij,kbj->kbi", self.factor, noise)
        return Draw(z, -0.5 * (noise.square() + log(2 * pi)) - self.factor.diagonal(dim1=1, dim2=2).log())


class Gaussian:
    def __init__(self, mean: Tensor) -> None:
        self.mean = mean

    def nll(self, x: Tensor) -> Tensor:
        offset = self.mean.reshape(-1, *x.shape) - x
        return (offset.square() / (2 * SIGMA**2) + log(SIGMA) + 0.5 * log(2 * pi)).flatten(2).sum(2)


class GaussianHead(nn.Module):
    def forward(self, raw: Tensor) -> Gaussian:
        return Gaussian(raw)


class Count(nn.Module):
    """Lets everything through and counts rows."""

    rows = 0

    def forward(self, x: Tensor) -> Tensor:
        self.rows += len(x)
        return x


class Encoder(nn.Module):
    """A posterior with a diagonal covariance."""

    def __init__(self) -> None:
        super().__init__()
        self.count = Count()
        self.net = nn.Sequential(nn.Flatten(), self.count, nn.LazyLinear(CODE))

    def forward(self, x: Tensor) -> Posterior:
        mean = self.net(x)
        return Posterior(mean, torch.eye(CODE, dtype=mean.dtype).mul(0.5).expand(len(x), -1, -1))


def log_prior(z: Tensor) -> Tensor:
    return -0.5 * (z.square() + log(2 * pi)).sum(2)


def bernoulli(*layers: nn.Module, shape: tuple[int, ...] = SHAPE) -> nn.Sequential:
    return nn.Sequential(*layers, nn.Unflatten(1, shape), LikelihoodHead("bernoulli"))


def perceptron() -> nn.Sequential:
    return bernoulli(nn.Linear(CODE, 12), nn.Tanh(), nn.Linear(12, 9), nn.ReLU(inplace=True), nn.Linear(9, 35))


def binary(n: int) -> Tensor:
    return (torch.rand(n, *SHAPE) < 0.3).float()


class Exact:
    """Probabilistic PCA (Tipping & Bishop, 1999): p(x|z) = N(W z + b, sigma^2 I), all else in closed form."""

    def __init__(self, n: int) -> None:
        linear = nn.Linear(Z, X).double().requires_grad_(False)
        self.decoder = nn.Sequential(linear, GaussianHead())
        marginal = linear.weight @ linear.weight.T + SIGMA**2 * torch.eye(X).double()
        p = MultivariateNormal(linear.bias, marginal)
        self.x = p.sample((n,))
        self.log_p = p.log_prob(self.x)
        self.covariance = torch.linalg.inv(linear.weight.T @ linear.weight / SIGMA**2 + torch.eye(Z).double())
        self.gain = self.covariance @ linear.weight.T / SIGMA**2
        self.bias = linear.bias

    def posterior(self, x: Tensor) -> Posterior:
        factor = torch.linalg.cholesky(self.covariance)
        return Posterior((x - self.bias) @ self.gain.T, factor.expand(len(x), -1, -1))

    def approximate(self, x: Tensor) -> Posterior:
        mean, factor = self.posterior(x)
        return Posterior(mean + 0.15, factor * 1.5)


def test_the_bound_grows_with_k_from_the_elbo_to_the_log_likelihood() -> None:
    exact = Exact(3000)
    q, p = (f(exact.x[:1]) for f in (exact.approximate, exact.posterior))
    gap = kl_divergence(*(MultivariateNormal(d.mean[0], scale_tril=d.factor[0]) for d in (q, p)))
    bounds = [log_likelihood(exact.x, exact.approximate, exact.decoder, log_prior, k) for k in (1, 5, 25, 500)]
    gaps = [mean_and_error(exact.log_p - bound) for bound in bounds]
    assert gap > 0.3
    assert abs(gaps[0][0] - gap) < 4 * gaps[0][1]
    for (looser, e), (tighter, f) in pairwise(gaps):
        assert looser - tighter > 4 * (e**2 + f**2) ** 0.5
    assert abs(gaps[-1][0]) < 4 * gaps[-1][1] + 1e-3
    assert gaps[-2][0] > -4 * gaps[-2][1]


@pytest.mark.parametrize("k", [1, 7, 300])
def test_the_weights_do_not_vary_at_the_exact_posterior(k: int) -> None:
    exact = Exact(10)
    bound = log_likelihood(exact.x, exact.posterior, exact.decoder, log_prior, k)
    assert torch.allclose(bound, exact.log_p, rtol=0, atol=1e-10)


@pytest.mark.parametrize("k", [1, 7, 64, 200])
@pytest.mark.parametrize("rows", [None, 3, 50])
def test_k_samples_are_k_decoder_rows_an_image_and_one_of_the_encoder(k: int, rows: int | None) -> None:
    count = Count()
    decoder, encoder, x = bernoulli(count, nn.Linear(CODE, 35)), Encoder(), binary(20)
    encoder(x)
    encoder.count.rows = 0
    assert log_likelihood(x, encoder, decoder, log_prior, k, max_rows=rows).shape == (20,)
    assert count.rows == 20 * k
    assert encoder.count.rows == 20


@pytest.fixture
def threads() -> Iterator[None]:
    yield
    torch.set_num_threads(1)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("k", [3, 150])
def test_neither_chunks_nor_threads_change_the_result(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, decoder, x = Encoder(), perceptron(), binary(9)
    expected = log_likelihood(x, encoder, decoder, log_prior, k)
    for rows, pixels, n in ((1, 16, 1), (4, 32, 3), (1000, 64, 2)):
        monkeypatch.setattr(fused, "CODES_PER_CHUNK", rows)
        monkeypatch.setattr(fused, "PIXELS_PER_CHUNK", pixels)
        torch.set_num_threads(n)
        for samples in (likelihood.MIN_FUSED_SAMPLES, 10**6):
            with monkeypatch.context() as patch:
                patch.setattr(likelihood, "MIN_FUSED_SAMPLES", samples)
                got = log_likelihood(x, encoder, decoder, log_prior, k, max_rows=rows)
        assert torch.allclose(got, expected, rtol=1e-5, atol=0)
        assert torch.get_num_threads() == n


def test_the_result_is_a_function_of_the_seed() -> None:
    encoder, decoder, x = Encoder(), perceptron(), binary(1).expand(4, -1, -1, -1)
    state = torch.random.get_rng_state()
    a, b, c = (log_likelihood(x, encoder, decoder, log_prior, 10, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.isclose(a, c).any()
    assert len(a.unique()) == 4, "every image has noise of its own"
    assert torch.equal(torch.random.get_rng_state(), state)


DECODERS = {
    "one layer": lambda: bernoulli(nn.Linear(CODE, 35)),
    "no bias": lambda: bernoulli(nn.Linear(CODE, 8, bias=False), nn.Tanh(), nn.Linear(8, 35, bias=False)),
    "activations": lambda: bernoulli(
        nn.Linear(CODE, 8), nn.ReLU(), nn.Linear(8, 8), nn.LeakyReLU(0.2, inplace=True), nn.Linear(8, 35)
    ),
    "other modules": lambda: bernoulli(
        nn.Linear(CODE, 8), nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 35)
    ),
    "linear after linear": lambda: bernoulli(nn.Tanh(), nn.Linear(CODE, 8), nn.Linear(8, 35)),
}


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("pixels", ["binary", "real"])
def test_the_fused_path_gives_what_the_decoder_gives(name: str, pixels: str) -> None:
    decoder, z = DECODERS[name](), torch.randn(700, 3, CODE)
    x = binary(3) if pixels == "binary" else torch.rand(3, *SHAPE)
    columns = fused.split_decoder(decoder)
    assert columns is not None
    with torch.inference_mode():
        got = fused.fused_nll(columns, x, z)
        assert torch.allclose(got, likelihood.batched_nll(decoder, x, z, 50), rtol=1e-5, atol=0)


@pytest.mark.parametrize("wrong", [0, 20, 784])
def test_the_fused_path_agrees_with_float64_for_large_logits(wrong: int) -> None:
    """Logits up to 80 and over, of which all agree with the pixels but a few, or none do."""
    x = (torch.rand(2, 28, 28) < 0.5).float()
    last = nn.Linear(20, 784).requires_grad_(False)
    last.weight /= 4
    last.bias.copy_((2 * x[0].flatten() - 1) * torch.linspace(0, 80, 784))
    x[:] = x[0]
    x[:].flatten(1)[:, torch.randperm(784)[:wrong]] -= 1
    x.abs_()
    decoder, z = bernoulli(last, shape=(28, 28)), torch.randn(300, 2, 20)
    with torch.inference_mode():
        got = fused.fused_nll(fused.split_decoder(decoder), x, z)
        logits = last.double()(z.double().flatten(0, 1)).unflatten(1, (28, 28))
        reference = Bernoulli(logits).nll(x.double())
    assert reference.max() > (30_000 if wrong == 784 else 0)
    assert (got - reference).abs().max() < 1e-4 + 2e-7 * reference.max()


def test_a_float64_reference_of_the_whole() -> None:
    encoder, decoder, x = Encoder(), perceptron(), binary(6)
    got = log_likelihood(x, encoder, decoder, log_prior, 500)
    reference = log_likelihood(x.double(), encoder.double(), decoder.double(), log_prior, 500)
    assert fused.split_decoder(decoder) is None
    assert (got.mean() - reference.mean()).abs() < 0.1, "other noise, the same quantity"

    with torch.inference_mode():
        q = encoder.float()(x)
        torch.manual_seed(derive_seed("likelihood", 0, 500, 0, 0))
        z, log_q = (t.double() for t in q.sample(500))
        nll = decoder.double()(z.flatten(0, 1)).nll(x.double())
        expected = (log_prior(z) - log_q.sum(2) - nll).logsumexp(0) - log(500)
    assert torch.allclose(got, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "decoder",
    [
        nn.Sequential(nn.Linear(CODE, 35), nn.Unflatten(1, SHAPE), GaussianHead()),
        nn.Sequential(nn.Linear(CODE, 35), nn.Tanh(), nn.Unflatten(1, SHAPE), LikelihoodHead("bernoulli")),
        perceptron().double(),
        nn.Linear(CODE, 35),
    ],
    ids=["gaussian", "no linear layer last", "float64", "no sequence"],
)
def test_what_the_fused_path_does_not_cover(decoder: nn.Module) -> None:
    assert fused.split_decoder(decoder) is None


@pytest.mark.usefixtures("threads")
def test_an_error_in_a_thread_is_raised() -> None:
    torch.set_num_threads(2)
    encoder = Encoder()
    encoder(binary(1))  # its lazy layer gets its shape before there are threads
    with pytest.raises(RuntimeError):
        log_likelihood(binary(300), encoder, bernoulli(nn.Linear(CODE + 1, 35)), log_prior, 10)
    assert torch.get_num_threads() == 2


def test_no_samples_are_refused_and_no_images_are_none() -> None:
    with pytest.raises(UserError, match="importance_samples=0: give 1 sample an image or more"):
        log_likelihood(binary(2), Encoder(), perceptron(), log_prior, 0)
    assert log_likelihood(binary(0), Encoder(), perceptron(), log_prior, 5, max_rows=5).shape == (0,)


def test_mean_and_error() -> None:
    mean, error = mean_and_error(torch.tensor([1.0, 2.0, 3.0, 6.0]))
    assert mean == 3
    assert error == pytest.approx((14 / 3 / 4) ** 0.5)
    assert mean_and_error(torch.ones(1))[1] != mean_and_error(torch.ones(1))[1], "one image has no standard error"
