"""`ganvas.evaluate`: every number against an independent computation, whatever the sizes of batches."""

from dataclasses import replace
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ganvas
from ganvas.cli.evaluate import information_lines
from ganvas.data import Dataset, from_array
from ganvas.distributions.posteriors import DiagonalGaussian
from ganvas.errors import UserError
from ganvas.evaluation.codes import active_units, mutual_information_bounds
from ganvas.inference.bounds import bound_from_weights
from ganvas.metrics import likelihood
from ganvas.metrics.similarity import psnr, ssim
from ganvas.model import Batch
from tests.support.data import image_collection

BITS = from_array(np.random.default_rng(0).integers(0, 2, (70, 8, 8)).astype(bool), name="bits")
FIELDS: dict[str, Any] = {"latent": 4, "width": 8, "likelihood": "bernoulli"}


def trained(model: Any, data: Any = BITS, steps: int = 20) -> ganvas.Trained:
    return ganvas.train(model, data, steps=steps, batch_size=16, checkpoint_every=100, quiet=True)


@pytest.fixture(scope="module")
def vae(tmp_path_factory: pytest.TempPathFactory) -> ganvas.Trained:
    folder = tmp_path_factory.mktemp("runs") / "vae"
    return ganvas.train(ganvas.VAE(**FIELDS, beta=4.0), BITS, steps=100, batch_size=16, folder=folder, quiet=True)


def test_the_terms_are_those_of_the_model_summed_over_all_examples(vae: ganvas.Trained) -> None:
    """All 70 of them, each once: not the first batch only, not the mean of the means of unequal batches."""
    found = ganvas.evaluate(vae, BITS, metrics=("elbo",), draws=100)
    q = vae.nets["encoder"](vae.domain_scaling()(BITS.x))
    assert found["examples"] == 70
    assert found["kl_nats"] == pytest.approx(q.kl(q.sample()).sum(1).mean().item(), rel=1e-5)
    x = vae.domain_scaling()(BITS.x)
    nll = torch.stack([vae.model.elbo_terms(Batch(x), **vae.nets)[0] for _ in range(100)]).mean()
    assert found["reconstruction_nats"] == pytest.approx(nll.item(), rel=5e-3)
    assert found["elbo"] == pytest.approx(-found["reconstruction_nats"] - found["kl_nats"])
    assert found["elbo_bits_per_dimension"] == pytest.approx(-found["elbo"] / 64 / log(2))


def test_the_weight_of_the_objective_plays_no_part_in_the_evaluation(vae: ganvas.Trained) -> None:
    """The bound is the bound, whatever beta, warm-up or free bits the run was trained with."""
    other = replace(vae, model=replace(vae.model, beta=0.1, warmup=1000))
    first, second = (
        ganvas.evaluate(run, BITS, metrics=("elbo", "bound"), importance_samples=8) for run in (vae, other)
    )
    assert first == second


def test_the_bound_of_a_squared_error_is_that_of_its_gaussian() -> None:
    """|x - g(z)|^2 alone is D/2 log pi less, 37 nats at 8 x 8, and no log-likelihood."""
    run = trained(ganvas.VAE(latent=4, width=8, likelihood="squared-error"), image_collection())
    same = replace(run, model=replace(run.model, likelihood="gaussian", sigma=0.5**0.5))
    nets = same.model.networks(run.shape)
    for name, net in nets.items():
        net.load_state_dict(run.nets[name].state_dict())
    same = replace(same, nets=torch.nn.ModuleDict(nets).eval())
    a, b = (
        ganvas.evaluate(r, image_collection(), metrics=("elbo", "bound"), importance_samples=4) for r in (run, same)
    )
    assert a == pytest.approx(b)
    assert "density" in a["bits_note"]


@pytest.mark.parametrize(("chunk", "memory"), [(1, 2**12), (32, 2**16)])
def test_numbers_do_not_depend_on_the_sizes_of_batches(
    chunk: int, memory: int, vae: ganvas.Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = ganvas.evaluate(vae, BITS, importance_samples=64)
    monkeypatch.setattr("ganvas.inference.trained.MAX_EXAMPLES_PER_CHUNK", chunk)
    monkeypatch.setitem(likelihood.DECODER_MEMORY, "cpu", memory)
    monkeypatch.setattr("ganvas.evaluation.codes.MAX_DENSITIES", memory)
    after = ganvas.evaluate(vae, BITS, importance_samples=64)
    assert after.keys() == before.keys()
    for name, value in before.items():
        assert after[name] == pytest.approx(value, rel=1e-5) if isinstance(value, float) else after[name] == value, name


def test_numbers_are_means_over_examples_and_not_of_the_means_of_blocks(vae: ganvas.Trained) -> None:
    """70 examples are a block of 64 and one of 6, here quite unlike the others."""
    x = BITS.x.clone()
    x[64:] = 255
    odd = replace(BITS, x=x)
    found = ganvas.evaluate(vae, odd, importance_samples=8, draws=30)
    q = vae.nets["encoder"](vae.domain_scaling()(x))
    assert found["kl_nats"] == pytest.approx(q.kl(q.sample()).sum(1).mean().item(), rel=1e-5)
    nll = torch.stack([vae.model.elbo_terms(Batch(vae.domain_scaling()(x)), **vae.nets)[0] for _ in range(30)]).mean()
    assert found["reconstruction_nats"] == pytest.approx(nll.item(), rel=5e-3)
    assert found["reconstruction_mse"] == pytest.approx(
        (vae.domain_scaling()(x) - vae.nets["decoder"](q.mean).mean).square().mean().item(), rel=1e-5
    )
    alone = [ganvas.evaluate(vae, replace(odd, x=part), importance_samples=8)["bound"] for part in (x[:64], x[64:])]
    assert found["bound"] == pytest.approx((64 * alone[0] + 6 * alone[1]) / 70, rel=0.02)


def test_a_vamp_prior_is_what_its_model_is_measured_against() -> None:
    run = trained(ganvas.VAE(**FIELDS, prior="vamp", pseudo_inputs=5), steps=60)
    found = ganvas.evaluate(run, BITS, importance_samples=200, draws=50)
    q = run.nets["encoder"](run.domain_scaling()(BITS.x))
    draw = q.sample(500)
    kl = (draw.log_q.sum(2) - run.model.log_prior(**run.nets)(draw.z)).mean().item()
    assert found["kl_nats"] == pytest.approx(kl, rel=0.1)
    assert found["kl_aggregate_prior"] == pytest.approx(kl - found["mutual_information"], rel=0.2, abs=0.1)
    assert found["kl_per_dimension"] is None
    assert found["elbo"] < found["bound"] < found["elbo"] + 5


def test_data_that_do_not_fit_the_likelihood_are_refused_here_too(vae: ganvas.Trained) -> None:
    grey = image_collection(30, (8, 8, 1))
    with pytest.raises(UserError, match="describes bits, but images has values between"):
        ganvas.evaluate(vae, grey)


def test_loaded_networks_are_in_evaluation_mode(vae: ganvas.Trained) -> None:
    assert not any(module.training for module in ganvas.load(vae.folder).nets.modules())


def test_a_hierarchys_bounds_are_in_order() -> None:
    run = trained(ganvas.LadderVAE(latents=(4, 2), width=8, likelihood="bernoulli"), steps=60)
    found = {k: ganvas.evaluate(run, BITS, metrics=("bound", "elbo"), importance_samples=k, draws=40) for k in (1, 300)}
    assert found[1]["bound"] == pytest.approx(found[1]["elbo"], abs=0.6)
    assert found[300]["bound"] > found[1]["elbo"]


def test_the_same_seed_gives_the_same_numbers(vae: ganvas.Trained) -> None:
    torch.manual_seed(1)
    a = ganvas.evaluate(vae, BITS, importance_samples=8)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    b = ganvas.evaluate(vae, BITS, importance_samples=8)
    assert a == b
    assert torch.equal(torch.get_rng_state(), state)
    assert ganvas.evaluate(vae, BITS, importance_samples=8, seed=1)["bound"] != a["bound"]


@pytest.mark.parametrize("posterior", ["diagonal", "full", "low-rank", "iaf"])
def test_bounds_are_in_order_for_every_posterior(posterior: Any) -> None:
    run = trained(ganvas.VAE(**FIELDS, posterior=posterior), steps=60)
    found = [ganvas.evaluate(run, BITS, metrics=("bound",), importance_samples=k) for k in (1, 20, 400)]
    elbo = ganvas.evaluate(run, BITS, metrics=("elbo",), draws=50)
    values = [f["bound"] for f in found]
    assert values[0] == pytest.approx(elbo["elbo"], abs=0.6)
    assert values[0] < values[1] < values[2] + 0.01
    assert values[1] > elbo["elbo"]


def test_errors_are_those_of_means_over_examples(vae: ganvas.Trained) -> None:
    few, many = (ganvas.evaluate(vae, BITS, n=n, metrics=("bound",), importance_samples=4) for n in (20, 70))
    assert few["examples"] == 20
    assert many["bound_error"] < few["bound_error"]


def test_the_limit_is_one_of_variances() -> None:
    means = torch.zeros(100, 2)
    means[:, 0], means[:, 1] = torch.linspace(-1, 1, 100) * 0.12, torch.linspace(-1, 1, 100) * 0.2  # 0.005 and 0.0136
    assert active_units(means, torch.ones(100, 2))[0].tolist() == [False, True]


def test_active_units_by_both_conventions() -> None:
    means, kl = torch.zeros(100, 3), torch.zeros(100, 3)
    means[:, 0] = torch.linspace(-1, 1, 100)
    kl[:, 0], kl[:, 1] = 1.0, 0.5  # the second is off the prior, but says nothing of x
    by_mean, by_kl = active_units(means, kl)
    assert by_mean.tolist() == [True, False, False]
    assert by_kl.tolist() == [True, True, False]


def test_mutual_information_of_codes_that_say_all_and_nothing() -> None:
    n = 200
    apart = DiagonalGaussian(torch.arange(n)[:, None] * 10.0, torch.full((n, 1), 0.1))
    assert mutual_information_bounds(apart, apart.sample())[0] == pytest.approx(log(n), rel=1e-4)
    same = DiagonalGaussian(torch.ones(n, 2), torch.full((n, 2), 0.5))
    assert mutual_information_bounds(same, same.sample())[0] == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize(("d", "sigma"), [(1, 0.5), (5, 0.5), (10, 0.5), (10, 0.35), (10, 0.05)])
def test_mutual_information_lies_between_its_bounds(d: int, sigma: float) -> None:
    """I = d/2 log(1 + 1 / s^2), up to 30 nats, where 1,000 examples can show 6.9 for certain."""
    x = torch.randn(1000, d)
    q = DiagonalGaussian(x, torch.full((1000, d), sigma))
    least, most = mutual_information_bounds(q, q.sample())
    true = d / 2 * log(1 + 1 / sigma**2)
    assert least - 0.05 < true < most + 0.05
    assert least <= log(1000) + 1e-6
    assert (most - least < 0.1) == (d == 1)


def test_bounds_are_told_as_such(vae: ganvas.Trained) -> None:
    sharp = trained(ganvas.VAE(**FIELDS | {"beta": 1e-4, "latent": 8}), steps=100)
    found = ganvas.evaluate(sharp, BITS, metrics=("codes",))
    assert found["mutual_information_is_bound"] is True
    assert found["mutual_information_limit"] == log(70)
    assert found["mutual_information"] + 0.1 < found["mutual_information_upper"]
    kl = sum(found["kl_per_dimension"])
    assert found["kl_aggregate_prior"] == pytest.approx(kl - found["mutual_information"], rel=0.05)
    assert found["kl_aggregate_prior_lower"] == pytest.approx(max(0, kl - found["mutual_information_upper"]), abs=1.0)
    said = information_lines(found)
    assert said[0].split()[:4] == ["mutual", "information", "at", "least"]
    assert "at most" in said[1]
    alone = information_lines(found | {"mutual_information_upper": None, "kl_aggregate_prior_lower": None})
    assert "at most" not in alone[0]
    assert information_lines(found | {"mutual_information_is_bound": False})[0].endswith("nats, on 70 examples")
    blind = trained(ganvas.VAE(**FIELDS | {"beta": 100.0}), steps=100)
    assert ganvas.evaluate(blind, BITS, metrics=("codes",))["mutual_information_is_bound"] is False


def test_mutual_information_of_a_gaussian_channel() -> None:
    """x ~ N(0, 1), z = x + s e: I = 1/2 log(1 + 1 / s^2)."""
    x = torch.randn(3000, 1)
    q = DiagonalGaussian(x, torch.full((3000, 1), 0.5))
    assert mutual_information_bounds(q, q.sample())[0] == pytest.approx(0.5 * log(5), abs=0.04)


def test_the_aggregate_posteriors_distance_is_what_the_kl_has_beyond_the_information(vae: ganvas.Trained) -> None:
    found = ganvas.evaluate(vae, BITS, metrics=("codes", "elbo"))
    assert found["kl_aggregate_prior"] == pytest.approx(found["kl_nats"] - found["mutual_information"], rel=1e-4)
    assert sum(found["kl_per_dimension"]) == pytest.approx(found["kl_nats"], rel=1e-4)
    assert len(found["aggregate_std"]) == found["dimensions"] == 4


def test_psnr_and_ssim_are_those_of_numpy() -> None:
    random = np.random.default_rng(0)
    x, y = random.random((2, 3, 2, 14, 13))
    expected = 10 * np.log10(1 / ((x - y) ** 2).mean((1, 2, 3)))
    np.testing.assert_allclose(psnr(torch.tensor(x), torch.tensor(y)).numpy(), expected, rtol=1e-6)
    at = np.arange(11) - 5
    g = np.exp(-(at**2) / 4.5)
    kernel = np.outer(g, g) / g.sum() ** 2
    values = []
    for a, b in zip(x.reshape(-1, 14, 13), y.reshape(-1, 14, 13), strict=True):
        for i in range(4):
            for j in range(3):
                p, q = a[i : i + 11, j : j + 11], b[i : i + 11, j : j + 11]
                mp, mq = (kernel * p).sum(), (kernel * q).sum()
                vp, vq = (kernel * (p - mp) ** 2).sum(), (kernel * (q - mq) ** 2).sum()
                c = (kernel * (p - mp) * (q - mq)).sum()
                values.append((2 * mp * mq + 1e-4) * (2 * c + 9e-4) / ((mp**2 + mq**2 + 1e-4) * (vp + vq + 9e-4)))
    expected = np.array(values).reshape(3, -1).mean(1)
    np.testing.assert_allclose(ssim(torch.tensor(x), torch.tensor(y)).numpy(), expected, rtol=1e-9)
    same = torch.rand(2, 1, 6, 5)
    torch.testing.assert_close(ssim(same, same), torch.ones(2))
    assert psnr(same, same).isinf().all()


def test_a_conditional_models_bound_is_given_the_labels(labelled: Dataset) -> None:
    run = trained(ganvas.VAE(latent=2, width=8, conditional=True, lr=3e-3, beta=5.0), labelled, steps=150)
    assert labelled.labels is not None
    right = ganvas.evaluate(run, labelled, metrics=("bound", "elbo"), importance_samples=16)
    wrong = ganvas.evaluate(
        run, replace(labelled, labels=1 - labelled.labels), metrics=("bound",), importance_samples=16
    )
    assert right["bound"] > wrong["bound"] + 1
    assert right["bound"] > right["elbo"] - 0.5
    x = run.domain_scaling()(labelled.x)
    with torch.no_grad():  # the other path, which hierarchies take, gives the labels as well
        values = bound_from_weights(run.model, run.nets, x, labelled.labels, 16, 0)
    assert values.mean().item() == pytest.approx(right["bound"], abs=0.5)


def test_dynamic_bits_are_drawn_once_for_all_numbers() -> None:
    grey = image_collection(30, (8, 8, 1))
    run = trained(ganvas.VAE(**FIELDS, binarize="dynamic"), grey)
    a, b = (ganvas.evaluate(run, grey, metrics=("elbo", "bound"), importance_samples=4) for _ in range(2))
    assert a == b


def test_an_autoencoder_has_reconstructions_only(images: Dataset) -> None:
    run = ganvas.train(ganvas.Autoencoder(latent=4, width=4), images, steps=5, batch_size=8, quiet=True)
    found = ganvas.evaluate(run, images)
    error = (run.reconstruct(images).x.float() - images.x.float()).square().mean().item() / 255**2
    assert found["reconstruction_mse"] == pytest.approx(error, rel=2e-2)
    assert "elbo" not in found


def test_what_cannot_be_evaluated(vae: ganvas.Trained, images: Dataset) -> None:
    with pytest.raises(UserError, match=r"no metric 'elb'\. Did you mean \"elbo\""):
        ganvas.evaluate(vae, BITS, metrics=("elb",))
    with pytest.raises(UserError, match="importance_samples=0: give 1 or more"):
        ganvas.evaluate(vae, BITS, importance_samples=0)
    with pytest.raises(UserError, match="has examples of 3x12x10"):
        ganvas.evaluate(vae, images)
    gan = ganvas.train(ganvas.GAN(latent=4, width=4), images, steps=1, batch_size=8, quiet=True)
    with pytest.raises(UserError, match="elbo cannot be measured of this gan: it has fid, kid, "):
        ganvas.evaluate(gan, images, metrics=("elbo",))


LIKELIHOODS: tuple[dict[str, Any], ...] = (
    {"likelihood": "bernoulli", "binarize": "static"}, {"likelihood": "continuous-bernoulli"},
    {"likelihood": "gaussian"}, {"likelihood": "gaussian", "sigma": "optimal"},
    {"likelihood": "gaussian", "sigma": "learned"}, {"likelihood": "discretized-logistic"},
    {"likelihood": "squared-error"},
)  # fmt: skip


@pytest.mark.parametrize(
    ("posterior", "fields"),
    [*(("diagonal", fields) for fields in LIKELIHOODS), *((p, LIKELIHOODS[0]) for p in ("full", "low-rank", "iaf"))],
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, value.values())),
)
def test_bfloat16_hardly_changes_the_bound(posterior: Any, fields: dict[str, Any]) -> None:
    """Less than 0.1%: posteriors, likelihoods and sums are float32 always."""
    digits = ganvas.data.load("digits")
    flow = {"flow_width": 16} if posterior == "iaf" else {}
    model = ganvas.VAE(latent=4, net="mlp", width=32, posterior=posterior, lr=3e-3, **flow, **fields)
    run = ganvas.train(model, digits, steps=120, batch_size=50, checkpoint_every=1000, ema_decay=0.9, quiet=True)
    exact = ganvas.evaluate(run, digits, metrics=("elbo",), n=512, draws=4)
    with torch.autocast("cpu", torch.bfloat16):
        low = ganvas.evaluate(run, digits, metrics=("elbo",), n=512, draws=4)
    assert low["elbo"] != exact["elbo"]
    assert abs(low["elbo"] - exact["elbo"]) < 1e-3 * abs(exact["elbo"])


def test_the_command_says_what_the_function_returns(vae: ganvas.Trained, capsys: pytest.CaptureFixture[str]) -> None:
    import json

    from ganvas.cli.app import main

    np.save("bits.npy", BITS.numpy() if hasattr(BITS, "numpy") else BITS.x[:, 0].numpy())
    assert main(["evaluate", str(vae.folder), "bits.npy", "-k", "8", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["bound"] == pytest.approx(ganvas.evaluate(vae, BITS, importance_samples=8)["bound"])
    assert main(["evaluate", str(vae.folder), "bits.npy", "-k", "8", "-n", "20"]) == 0
    out = capsys.readouterr().out
    assert "L_8" in out
    assert "20 given examples of" in out
    assert main(["evaluate", str(vae.folder)]) == 2
    assert "does not say where the model's data are: give held-out ones" in capsys.readouterr().err
    assert (
        main(["train", "vae", "emoji", "--limit", "60", "--steps", "2", "--batch-size", "8", "--width", "4", "--quiet"])
        == 0
    )
    assert main(["evaluate", "last", "-n", "16", "-k", "2", "--metrics", "elbo,bound"]) == 0
    assert "16 test examples of emoji" in capsys.readouterr().out
    assert Path("runs").is_dir()
