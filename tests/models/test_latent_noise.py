"""Noise: for one seed the first n samples are the same whatever n is, and walks stay where the prior is."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ganvas
from ganvas.data import Dataset
from ganvas.distributions import priors
from ganvas.distributions.priors import fit_priors
from ganvas.explore import interpolate, normal_quantiles
from ganvas.inference.trained import Trained
from ganvas.model import Model
from ganvas.models import DCGAN, GAN, VAE
from ganvas.randomness import make_generator
from tests.support.models import IMAGE_MODELS, every_generator, small

CPU = torch.device("cpu")
VARIANTS: dict[str, Model] = {
    f"{name}, latent {latent}": small(cls, latent=latent, latents=(latent,))
    for name, cls in IMAGE_MODELS.items() if cls.n_domains == 1 for latent in (1, 7, 16, 100)
} | {
    "uniform": GAN(width=4, latent=5, noise_distribution="uniform"), "spatial": VAE(width=4, latent=3, net="spatial"),
    "levels": ganvas.LadderVAE(width=4, latents=(5, 3, 2)),
} | {
    f"vamp, {family}": VAE(width=4, latent=3, prior="vamp", pseudo_inputs=5, posterior=family)
    for family in ("diagonal", "full", "low-rank")
}  # fmt: skip


def untrained(model: Model, shape: tuple[int, ...] = (3, 12, 10), classes: int = 5) -> Trained:
    torch.manual_seed(0)
    nets = {name: net for name, net in model.networks(shape, classes).items() if name not in model.training_only}
    return Trained(model, shape, nn.ModuleDict(nets).eval(), {"classes": [str(c) for c in range(classes)]})


@pytest.mark.parametrize("model", VARIANTS.values(), ids=list(VARIANTS))
def test_fewer_codes_of_noise_are_the_first_of_more(model: Model) -> None:
    trained = untrained(model)
    many = trained.sample_prior(64, make_generator(CPU, 3))
    assert len(many.unique(dim=0)) == 64
    for n in (1, 2, 5, 13, 15, 16, 17, 30, 48, 63):
        assert torch.equal(trained.sample_prior(n, make_generator(CPU, 3)), many[:n])


@pytest.mark.parametrize("d", [1, 3, 16])
@pytest.mark.parametrize("kind", ["gaussian", "mixture", "flow"])
def test_fewer_codes_of_a_fitted_prior_are_the_first_of_more(
    kind: str, d: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(priors, "MAX_STEPS", 10)
    fitted = fit_priors(torch.randn(200, d) + (torch.arange(200) % 2 * 8)[:, None], kinds=[kind])
    trained = replace(untrained(VAE(width=4, latent=d)), priors=fitted)
    many = trained.sample_codes(64, 3, kind)
    assert len(many.unique(dim=0)) == 64
    for n in (1, 2, 5, 15, 17, 63):
        assert torch.equal(trained.sample_codes(n, 3, kind), many[:n])


@every_generator
def test_fewer_samples_are_the_first_of_more(cls: type[Model]) -> None:
    trained = untrained(small(cls))
    many = trained.sample(64, seed=1).x.int()
    for n in (1, 5, 13):
        assert (trained.sample(n, seed=1).x.int() - many[:n]).abs().max() <= 1


@pytest.mark.parametrize("model", [small(ganvas.CGAN), small(VAE, conditional=True)], ids=["cgan", "vae"])
def test_fewer_samples_of_every_class_are_the_first_of_more(model: Any) -> None:
    trained = untrained(model)
    wide, all_classes = (
        t.x.int().unflatten(0, (-1, k)) for t, k in ((trained.sample(per_class=9), 9), (trained.sample(45), 5))
    )
    for k in (1, 4, 8):
        row = trained.sample(per_class=k).x.int().unflatten(0, (5, k))
        assert (row - wide[:, :k]).abs().max() <= 1
    assert (wide.transpose(0, 1) - all_classes).abs().max() <= 1  # as those that go through the classes in turn
    alone = [trained.sample(n, label="3").x.int() for n in (3, 11)]
    assert (alone[0] - alone[1][:3]).abs().max() <= 1


def test_a_walk_is_the_same_whatever_others_there_are(images: Dataset) -> None:
    trained = untrained(small(VAE))
    for data in (None, images):
        one, three = (interpolate(trained, data, rows=rows, columns=4).x.int() for rows in (1, 3))
        assert (one - three[:4]).abs().max() <= 1


class Same(nn.Module):
    """x = z."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, z: Tensor) -> Tensor:
        return z


def test_an_arc_between_draws_of_a_uniform_prior_stays_in_its_cube() -> None:
    """And its coordinates are as far from 0 all the way as those of the ends: a mean square of 1/3."""
    trained = Trained(GAN(latent=200, noise_distribution="uniform"), (200,), nn.ModuleDict({"G": Same()}))
    walks = interpolate(trained, rows=8, columns=9).x.unflatten(0, (8, 9))
    assert walks.abs().max() <= 1
    torch.testing.assert_close(walks.square().mean((0, 2)), torch.full((9,), 1 / 3), rtol=0.1, atol=0.0)
    noise = trained.sample_prior(16, make_generator(CPU, 0, "interpolate"))
    torch.testing.assert_close(walks[:, 0], noise[0::2])
    torch.testing.assert_close(walks[:, -1], noise[1::2])
    straight = interpolate(trained, rows=8, columns=9, interpolation="linear").x.unflatten(0, (8, 9))
    torch.testing.assert_close(straight[:, 4], (noise[0::2] + noise[1::2]) / 2)


def test_quantiles_of_a_uniform_prior_are_evenly_spaced() -> None:
    trained = Trained(GAN(latent=3, noise_distribution="uniform"), (3,), nn.ModuleDict({"G": Same()}))
    sheet = ganvas.manifold(trained, side=5)
    even = torch.tensor([-0.8, -0.4, 0.0, 0.4, 0.8])
    torch.testing.assert_close(sheet.x.unflatten(0, (5, 5))[0, :, 0], even)
    torch.testing.assert_close(sheet.x.unflatten(0, (5, 5))[:, 0, 1], even.flip(0))
    assert sheet.metadata["quantiles"] == pytest.approx(even.tolist(), abs=1e-6)
    normal = replace(trained, model=GAN(latent=3))
    torch.testing.assert_close(ganvas.manifold(normal, side=5).x[:5, 0], normal_quantiles(5))


def test_a_default_dcgan_has_a_plane(images: Dataset) -> None:
    trained = untrained(DCGAN(width=4))
    assert ganvas.manifold(trained, side=3).x.shape == (9, 3, 12, 10)
