"""What a seed decides, one by one: first weights, the noise of every step, fitted priors, walks."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ganvas
from ganvas.config import TrainConfig
from ganvas.data import Dataset
from ganvas.distributions.priors import Mixture, fit_priors
from ganvas.explore import interpolate
from ganvas.inference.trained import Trained
from ganvas.model import Model
from ganvas.training import loop
from ganvas.training.loop import initialize_state, train
from tests.support.data import learnt_by
from tests.support.models import every_model_and_ctgan, small

CPU = torch.device("cpu")
QUIET = ("autoencoder", "discogan")
"""models whose steps draw nothing at random but their batches"""


def first_weights(model: Model, data: Any, seed: int) -> list[Tensor]:
    nets = initialize_state(model, data.shape, seed, CPU, len(data.classes)).nets
    return [p for p in nets.parameters() if p.ndim > 1]


@every_model_and_ctgan
def test_the_first_weights_follow_from_the_seed_alone(cls: type[Model], images: Dataset) -> None:
    """Else runs of several seeds are less different than they seem, and every error bar is too small."""
    model, data = small(cls), learnt_by(cls, images)
    one = first_weights(model, data, 0)
    torch.randn(5)
    again, other = (first_weights(model, data, seed) for seed in (0, 1))
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def losses(model: Model, data: Any, seed: int) -> list[tuple[float, ...]]:
    """The terms of four steps in which no weight moves; whatever the seed, the first weights are the same."""
    state = initialize_state(model, data.shape, 0, CPU, len(data.classes))
    each: list[tuple[float, ...]] = []
    for _ in train(model, data, TrainConfig(steps=4, batch_size=8, seed=seed), state):
        terms = state.meter.pop_means()
        each.append(tuple(value for name, value in sorted(terms.items()) if name not in model.logged_statistics))
    return each


@every_model_and_ctgan
def test_every_step_of_every_seed_has_noise_of_its_own(
    cls: type[Model], images: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All examples are alike and no weight moves: what still differs between two steps is their noise."""
    monkeypatch.setattr(loop, "apply_move", lambda *_, **__: None)
    one = Dataset(x=images.x[:1].repeat(40, 1, 1, 1), labels=torch.zeros(40, dtype=torch.long), classes=("a", "b"))
    model, data = small(cls, penalty_interval=1), learnt_by(cls, one)
    first, again, other = (losses(model, data, seed) for seed in (0, 0, 1))
    assert first == again
    drawn = first + other
    assert len(set(drawn)) == (1 if cls.__name__.lower() in QUIET else 8)


@pytest.mark.parametrize("kind", ["gaussian", "mixture", "flow"])
def test_codes_of_a_fitted_prior_covary_as_those_it_was_fitted_to(kind: str) -> None:
    """A factor that is transposed has the right determinant, and the covariance of other codes."""
    factor = torch.tensor([[1.0, 0.0, 0.0], [2.0, 0.5, 0.0], [-3.0, 1.0, 0.3]])
    codes = torch.randn(3000, 3) @ factor.T
    expected, weight = factor @ factor.T, factor.T @ factor
    found = fit_priors(codes, kinds=[kind]).priors[kind].sample(20_000, torch.Generator().manual_seed(0)).T.cov()
    assert (found - expected).norm() < 0.15 * expected.norm()
    assert (found - weight).norm() > 0.5 * expected.norm()


def test_components_of_a_mixture_have_the_covariance_of_their_factors() -> None:
    factor = torch.tensor([[[1.0, 0.0], [2.0, 0.5]], [[0.2, 0.0], [-0.6, 0.1]]])
    mixture = Mixture(torch.tensor([0.5, 0.5]), torch.tensor([[50.0, 0.0], [-50.0, 0.0]]), factor)
    z = mixture.sample(20_000, torch.Generator().manual_seed(0))
    for k, part in enumerate((z[z[:, 0] > 0], z[z[:, 0] < 0])):
        torch.testing.assert_close(part.T.cov(), factor[k] @ factor[k].T, rtol=0.1, atol=1e-3)
        exact = torch.distributions.MultivariateNormal(mixture.mean[k], scale_tril=factor[k])
        torch.testing.assert_close(mixture.log_prob(part[:9]), exact.log_prob(part[:9]) + torch.tensor(0.5).log())


def test_walks_follow_their_seed(images: Dataset) -> None:
    model = small(ganvas.VAE)
    trained = Trained(model, images.shape, nn.ModuleDict(model.networks(images.shape)).eval())
    for data in (None, images):
        one, again, other = (interpolate(trained, data, rows=2, columns=3, seed=seed).x for seed in (0, 0, 1))
        assert torch.equal(one, again)
        assert not torch.equal(one, other)
