"""Scores of examples: each against a closed form, or an independent computation."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

import ganvas
from ganvas.data import Dataset, Scaling, from_array
from ganvas.distributions.posteriors import MIN_SCALE, UNIT_SCALE_BIAS
from ganvas.errors import UserError
from ganvas.inference import scores
from ganvas.inference.trained import Trained
from ganvas.io.safetensors import read_safetensors, select_prefix
from tests.support.data import as_pair, image_collection

D, Z, SIGMA = 5, 2, 0.4
X = from_array(np.random.default_rng(0).normal(2, 3, (40, D)).astype(np.float32))
MEAN, STD = torch.linspace(-1, 1, D).double(), torch.linspace(1, 3, D).double()


def linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(*weight.shape[::-1])
    layer.weight.data, layer.bias.data = weight, bias
    return layer


def basis() -> Tensor:
    """Two orthogonal columns."""
    return torch.linalg.qr(torch.randn(D, Z)).Q * torch.tensor([1.5, 0.7])


def linear_vae() -> tuple[Trained, Tensor, Tensor]:
    """A VAE that is probabilistic PCA, x = W z + b + noise, with the exact posterior; and W, b."""
    w, b = basis(), torch.randn(D)
    variance = 1 / (1 + w.square().sum(0) / SIGMA**2)
    encode = variance[:, None] * w.T / SIGMA**2
    scale = variance.sqrt() - MIN_SCALE
    raw_scale = scale.expm1().log() - UNIT_SCALE_BIAS  # what the head makes this scale of
    f = linear(torch.cat([encode, torch.zeros(Z, D)]), torch.cat([-encode @ b, raw_scale]))
    model = ganvas.VAE(latent=Z, sigma=SIGMA, encoder=f, decoder=linear(w, b))
    return trained(model, (Scaling((0.0, 1.0), MEAN, STD),)), w, b


def trained(model: ganvas.Model, scaling: tuple[Scaling, ...] = (), shape: tuple[int, ...] = (D,)) -> Trained:
    nets = {name: net for name, net in model.networks(shape).items() if name not in model.training_only}
    return Trained(model, shape, nn.ModuleDict(nets).eval().requires_grad_(False), scaling=scaling)


@pytest.mark.parametrize("k", [1, 3])
def test_the_likelihood_is_exact_where_the_posterior_is(k: int) -> None:
    """Then every weight is p(x); in the data's own units."""
    run, w, b = linear_vae()
    covariance = w @ w.T + SIGMA**2 * torch.eye(D)
    own_covariance = covariance.double() * STD[:, None] * STD
    density = MultivariateNormal(MEAN + STD * b.double(), own_covariance)
    found = run.score(X, importance_samples=k)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, -density.log_prob(X.x.double()), rtol=1e-4, atol=1e-3)


def test_the_elbo_is_the_likelihood_where_the_posterior_is_exact() -> None:
    run, _, _ = linear_vae()
    exact, elbo = run.score(X), run.score(X, "elbo")
    assert (elbo - exact).mean().abs() < 0.15
    assert (elbo - exact).std() < 1.5
    assert run.score(X, "elbo", seed=1).ne(elbo).any()
    assert torch.equal(run.score(X, "elbo"), elbo)


def test_a_mean_of_scores_is_what_evaluate_says(images: Dataset) -> None:
    run = ganvas.train(ganvas.VAE(latent=3, width=4), images, steps=5, batch_size=8, quiet=True)
    found = ganvas.evaluate(run, images, importance_samples=7)
    assert -run.score(images, "likelihood", importance_samples=7).mean().item() == pytest.approx(found["bound"])
    assert -run.score(images, "elbo").mean().item() == pytest.approx(found["elbo"])
    assert run.score(images, "reconstruction").mean().item() == pytest.approx(found["reconstruction_mse"])


def test_the_number_of_samples_and_the_seed_count() -> None:
    run, _, _ = linear_vae()
    run.nets["encoder"][0].bias.data += 0.5  # no longer exact
    few, many = (run.score(X, importance_samples=k).mean() for k in (1, 200))
    assert many < few - 0.1
    assert not torch.equal(run.score(X), run.score(X, seed=1))
    assert torch.equal(run.score(X), run.score(X, importance_samples=scores.IMPORTANCE_SAMPLES))


def test_an_autoencoders_error_in_numpy() -> None:
    w, b = basis(), torch.randn(D)
    model = ganvas.Autoencoder(latent=Z, encoder=linear(w.T, torch.zeros(Z)), decoder=linear(w, b))
    run = trained(model, (Scaling((0.0, 1.0), MEAN, STD),))
    u = (X.x.numpy() - MEAN.numpy()) / STD.numpy()
    rebuilt = u @ w.numpy() @ w.numpy().T + b.numpy()
    np.testing.assert_allclose(run.score(X).numpy(), ((u - rebuilt) ** 2).mean(1), rtol=1e-5)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_errors_of_images_are_of_what_is_seen(channels: int) -> None:
    """Of pixels in [0, 1]; with alpha on black and on white."""
    data = image_collection(9, (8, 8, channels))
    run = ganvas.train(ganvas.Autoencoder(latent=3, width=4), data, steps=3, batch_size=8, quiet=True)
    a, b = (np.moveaxis(t.double().numpy() / 255, 1, -1) for t in (data.x, run.reconstruct(data).x))
    if channels == 4:
        a, b = (np.concatenate([t[..., :3] * t[..., 3:] + ground * (1 - t[..., 3:]) for ground in (0, 1)], -1)
                for t in (a, b))  # fmt: skip
    np.testing.assert_allclose(run.score(data).numpy(), ((a - b) ** 2).mean((1, 2, 3)), rtol=2e-2)


def test_the_density_of_a_code_is_that_of_the_fitted_gaussian() -> None:
    data = from_array(np.random.default_rng(1).normal(size=(300, D)).astype(np.float32))
    w = basis()
    model = ganvas.Autoencoder(latent=Z, encoder=linear(w.T, torch.zeros(Z)), decoder=linear(w, torch.zeros(D)))
    run = trained(model).fit_prior(data, kinds=["gaussian"])
    assert run.priors is not None
    (prior,) = run.priors.priors.values()
    z = data.x.double() @ w.double()
    density = MultivariateNormal(prior.mean[0].double(), scale_tril=prior.scale_tril[0].double())
    own = MultivariateNormal(torch.zeros(Z, dtype=torch.float64), torch.eye(Z, dtype=torch.float64))
    expected = density if run.priors.best == "gaussian" else own
    torch.testing.assert_close(run.score(data, "code"), -expected.log_prob(z), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("model", "is_image", "before", "after"),
    [
        (ganvas.Autoencoder(latent=2, width=4), True, "reconstruction", "code"),
        (ganvas.Autoencoder(latent=2, width=4), False, "reconstruction", "code"),
        (ganvas.VAE(latent=2, width=4), True, "likelihood", "code"),
        (ganvas.VAE(latent=2, width=4), False, "likelihood", "likelihood"),
    ],
)
def test_a_models_own_score(model: ganvas.Model, is_image: bool, before: str, after: str) -> None:
    data = image_collection(30) if is_image else X
    run = replace(ganvas.train(model, data, steps=1, batch_size=8, quiet=True), priors=None)
    assert torch.equal(run.score(data), run.score(data, before))
    run = run.fit_prior(data, kinds=["gaussian"])
    assert torch.equal(run.score(data), run.score(data, after))


def test_inversion_finds_the_nearest_that_a_linear_generator_makes() -> None:
    w, b = basis(), torch.randn(D)
    run = trained(ganvas.GAN(latent=Z, generator=linear(w, b)))
    data = X.x / 3
    x = data.numpy() - b.numpy()
    residual = x - x @ np.linalg.pinv(w.numpy()).T @ w.numpy().T
    np.testing.assert_allclose(run.score(data).numpy(), (residual**2).mean(1), rtol=1e-3)
    torch.testing.assert_close(run.score(data[:3]), run.score(data)[:3], rtol=1e-4, atol=1e-5)


def test_an_inverted_code_stays_within_a_uniform_prior() -> None:
    """Nothing farther than the corner of [-1, 1]^2 is found."""
    w = torch.eye(D)[:, :Z]
    run = trained(ganvas.GAN(latent=Z, generator=linear(w, torch.zeros(D)), noise_distribution="uniform"))
    x = np.zeros((1, D), np.float32)
    x[0, :Z] = 3
    assert run.score(x).item() == pytest.approx(2 * 2**2 / D, rel=0.05)


def test_a_conditional_generator_is_inverted_with_the_label() -> None:
    """Of class 0 it makes one point, of class 1 another."""
    generator = linear(torch.cat([torch.zeros(D, Z), torch.ones(D, 1), 3 * torch.ones(D, 1)], 1), torch.zeros(D))
    model = ganvas.CGAN(latent=Z, generator=generator)
    nets = nn.ModuleDict({"G": model.networks((D,), 2)["G"]}).eval().requires_grad_(False)
    run = Trained(model, (D,), nets, {"classes": ["a", "b"]})
    x = torch.tensor([1.0, 3.0, 3.0, 1.0])[:, None].expand(-1, D)
    data = from_array(x.numpy(), np.array([0, 0, 1, 1]), classes=("a", "b"))
    torch.testing.assert_close(run.score(data), torch.tensor([0.0, 4.0, 0.0, 4.0], dtype=torch.float64))


def test_a_translators_error_is_that_of_the_way_there_and_back(vectors: Dataset) -> None:
    pair = as_pair(vectors)
    run = ganvas.train(ganvas.CycleGAN(width=8), pair.datasets, steps=3, batch_size=8, quiet=True)
    for to, back, data, scaling in (("B", "A", pair.a, run.scaling[0]), ("A", "B", pair.b, run.scaling[1])):
        there_and_back = run.translate(run.translate(data, to).x, back).x
        expected = (scaling(data.x) - scaling(there_and_back)).square().mean(1).double()
        torch.testing.assert_close(run.score(data, to=to), expected, rtol=1e-3, atol=1e-5)


def test_a_translator_of_images_is_scored_in_pixels(images: Dataset) -> None:
    pair = as_pair(images)
    run = ganvas.train(ganvas.CycleGAN(width=4, blocks=1), pair.datasets, steps=1, batch_size=8, quiet=True)
    back = run.translate(run.translate(images).x, "A").x
    expected = ((images.x.double() - back.double()) / 255).square().mean((1, 2, 3))
    torch.testing.assert_close(run.score(images), expected, rtol=2e-2, atol=1e-4)


def test_scores_that_a_model_lacks_are_refused(images: Dataset, vectors: Dataset, tmp_path: Path) -> None:
    options = {"steps": 1, "batch_size": 8, "quiet": True}
    ae = ganvas.train(ganvas.Autoencoder(latent=3, width=4), images, **options)
    with pytest.raises(UserError, match=r"this autoencoder has no score 'elbo'. It has: reconstruction, code$"):
        ae.score(images, "elbo")
    with pytest.raises(UserError, match=r'no score .reconstuction.\. Did you mean "reconstruction"\? It has'):
        ae.score(images, "reconstuction")
    with pytest.raises(UserError, match="no prior was fitted to this autoencoder's codes: run ganvas fit-prior"):
        ae.score(images, "code")
    with pytest.raises(UserError, match="`importance_samples` is of the score likelihood, and this is reconstruction"):
        ae.score(images, importance_samples=3)
    with pytest.raises(UserError, match="has examples of 3, but this model was trained on 3x12x10"):
        ae.score(vectors)
    vae = ganvas.train(ganvas.VAE(latent=3, width=4), images, **options)
    with pytest.raises(UserError, match="importance_samples=0: give 1 or more"):
        vae.score(images, importance_samples=0)
    gan = ganvas.train(ganvas.GAN(latent=3, width=4), images, **options)
    with pytest.raises(UserError, match=r"this gan has no score 'reconstruction'\. It has: inversion, discriminator$"):
        gan.score(images, "reconstruction")
    pair = as_pair(vectors)
    disco = ganvas.train(ganvas.DiscoGAN(width=4), pair.datasets, **options)
    with pytest.raises(UserError, match="has examples of 3x12x10, but this model translates those of 3 to B"):
        disco.score(images)


def test_scores_do_not_depend_on_what_is_compared_at_once(images: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {"steps": 1, "batch_size": 8, "quiet": True}
    runs = [
        ganvas.train(ganvas.Autoencoder(latent=3, width=4), images, **options),
        ganvas.train(ganvas.CycleGAN(width=4, blocks=1), as_pair(images).datasets, **options),
        ganvas.train(ganvas.DCGAN(latent=3, width=4), images, **options),
    ]
    monkeypatch.setattr(scores, "INVERSION_STEPS", 20)
    whole = [run.score(images) for run in runs]
    monkeypatch.setattr(scores, "COMPARED_AT_ONCE", 7)
    monkeypatch.setattr(scores, "INVERTED_AT_ONCE", 3)
    for run, expected in zip(runs, whole, strict=True):
        torch.testing.assert_close(run.score(images), expected, rtol=1e-3, atol=1e-6)


def test_one_that_translates_one_way_has_no_score(images: Dataset) -> None:
    run = ganvas.train(ganvas.CUT(width=4, blocks=1), as_pair(images).datasets, steps=1, batch_size=4, quiet=True)
    with pytest.raises(UserError, match="a cut has no score: it translates one way only"):
        run.score(images)


def test_a_model_that_has_diverged_gives_no_scores(images: Dataset) -> None:
    run = ganvas.train(ganvas.Autoencoder(latent=3, width=4), images, steps=1, batch_size=8, quiet=True)
    next(run.nets["decoder"].parameters()).data[:] = torch.nan
    with pytest.raises(UserError, match="the score reconstruction of an example is no number"):
        run.score(images)


@pytest.mark.parametrize(("cls", "options"), [
    (ganvas.DCGAN, {"spectral_norm": True}), (ganvas.WGANGP, {"n_critic": 1}), (ganvas.CGAN, {}),
    (ganvas.DCGAN, {"pack": 2, "augment": ("flip",), "augment_target": 0.5}),
], ids=["spectral norm", "critic", "classes", "pairs"])  # fmt: skip
def test_a_discriminator_judges_each_example_alone_and_is_not_in_training(
    cls: type[ganvas.Model], options: dict[str, Any], images: Dataset, tmp_path: Path
) -> None:
    """Its running moments and its checkpoint's weights, no augmentation, and minus the logit: larger is stranger."""
    models = [cls(latent=3, width=4, keep_discriminator=keep, **options) for keep in (False, True)]  # type: ignore[call-arg]
    runs = [ganvas.train(m, images, steps=2, batch_size=8, keep="last", quiet=True, folder=tmp_path / str(i))
            for i, m in enumerate(models)]  # fmt: skip
    model = runs[0].model
    _, tensors = read_safetensors(tmp_path / "0" / "state.ckpt")
    D = model.networks(images.shape, len(images.classes))["D"]
    D.load_state_dict(select_prefix(tensors, "nets/D."))
    x, labels = images.x.float() / 127.5 - 1, [images.labels] if model.is_conditional else []
    pack = getattr(model, "pack", 1)
    expected = -D.eval()(torch.cat([x] * pack, 1), *labels)[:, 0].detach().double()
    (tmp_path / "1" / "state.ckpt").unlink()
    (tmp_path / "weights.safetensors").write_bytes((tmp_path / "1" / "weights.safetensors").read_bytes())
    for run in (*runs, *(ganvas.load(tmp_path / name) for name in ("0", "1", "weights.safetensors"))):
        torch.testing.assert_close(run.score(images, "discriminator"), expected, rtol=1e-4, atol=1e-5)
    (tmp_path / "0" / "state.ckpt").unlink()
    with pytest.raises(UserError, match=r"state.ckpt is not in .*: train with keep_discriminator=true"):
        ganvas.load(tmp_path / "0").score(images, "discriminator")
