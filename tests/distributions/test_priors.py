"""Priors fitted to codes: densities, samples, the choice between them, and how they are kept and used."""

import json
from dataclasses import replace
from math import e, log, pi
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.distributions import MultivariateNormal

import ganvas
from ganvas.cli.app import main
from ganvas.data import Dataset
from ganvas.distributions import priors
from ganvas.distributions.priors import PRIOR_TYPES, fit_flow, fit_gaussian, fit_mixture, fit_priors
from ganvas.errors import UserError
from ganvas.inference.trained import load_trained
from ganvas.io.run_folder import WEIGHTS_FILE
from ganvas.io.safetensors import read_safetensors
from ganvas.model import EncoderModel
from ganvas.randomness import make_generator
from tests.support.cli import TINY, said, told
from tests.support.failures import failing
from tests.support.models import MODELS, small
from tests.support.posteriors import covariance

every_kind = pytest.mark.parametrize("kind", list(PRIOR_TYPES))


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flows learn for less than a second."""
    monkeypatch.setattr(priors, "MAX_STEPS", 150)


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def banana(n: int = 2000) -> Tensor:
    a, b = torch.randn(n, 2).unbind(1)
    return torch.stack([2 * a, a.square() + 0.3 * b], 1)


def modes(n: int = 1000, d: int = 2) -> Tensor:
    """Four narrow clusters."""
    return 3 * torch.randn(4, d)[torch.arange(n) % 4] + 0.2 * torch.randn(n, d)


def test_the_gaussian_is_the_one_of_greatest_likelihood() -> None:
    z = torch.randn(500, 4) @ torch.randn(4, 4) + 5
    normal, flat, notes = fit_gaussian(z)
    centred = z - z.mean(0)
    expected = MultivariateNormal(z.mean(0), centred.T @ centred / 500)
    torch.testing.assert_close(normal.log_prob(z), expected.log_prob(z), rtol=1e-3, atol=1e-3)
    assert (len(flat), notes) == (0, ())


def test_the_mixture_is_that_of_scikit_learn() -> None:
    from sklearn.mixture import GaussianMixture

    z = modes()
    ours = fit_mixture(z, fit_gaussian(z)[0], 10, 0)
    theirs = GaussianMixture(len(ours.weight))
    theirs.weights_, theirs.means_ = ours.weight.double().numpy(), ours.mean.double().numpy()
    theirs.precisions_cholesky_ = torch.linalg.inv(ours.scale_tril.double()).mT.numpy()
    expected = torch.from_numpy(theirs.score_samples(z.double().numpy())).float()
    torch.testing.assert_close(ours.log_prob(z), expected, rtol=1e-3, atol=1e-3)
    best = GaussianMixture(4, random_state=0).fit(z.numpy()).score(z.numpy())
    assert ours.log_prob(z).mean() > best - 0.05


def test_a_mixture_has_as_many_components_as_make_held_out_codes_likelier(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = torch.cartesian_prod(torch.arange(8.0), torch.arange(8.0))
    codes = grid[torch.randint(64, (3000,))] + 0.1 * torch.randn(3000, 2)
    fitted = fit_priors(codes, kinds=["mixture"])
    assert len(fitted.priors["mixture"].weight) == 100
    log_density = -log(64) + 2 * log(10) - log(2 * pi * e)  # minus the entropy
    assert fitted.held_out["mixture"] == pytest.approx(log_density, abs=0.2)
    monkeypatch.setattr(priors, "MAX_WORK", 50 * 2700 * 4)
    assert len(fit_priors(codes, kinds=["mixture"]).priors["mixture"].weight) == 50


def test_few_codes_have_few_components_and_a_rare_cluster_its_share() -> None:
    """Thirty are learnt by heart; then N(0, I) was taken, from which a rare class hardly comes."""
    codes = torch.randn(1000, 9)
    codes[::50] = 2 + 0.3 * torch.randn(20, 9)
    fitted = fit_priors(codes, kinds=["mixture"])
    assert fitted.best == "mixture"
    assert len(fitted.priors["mixture"].weight) == 10
    random = make_generator(torch.device("cpu"), 0, "few")
    rare, normal = fitted.priors["mixture"].sample(10_000, random), torch.randn(10_000, 9)
    assert 0.015 < (rare.mean(1) > 1.5).float().mean().item() < 0.025
    assert not (normal.mean(1) > 1.5).any()
    assert len(fit_priors(normal[:1000], kinds=["mixture"]).priors["mixture"].weight) == 1


@every_kind
@pytest.mark.parametrize("codes", [banana, modes])
def test_densities_integrate_to_one(kind: str, codes: type) -> None:
    prior = fit_priors(codes(), kinds=[kind]).priors[kind]
    low, high, n = -20.0, 20.0, 500
    axis = torch.linspace(low, high, n)
    mass = prior.log_prob(torch.cartesian_prod(axis, axis)).double().exp().sum() * ((high - low) / (n - 1)) ** 2
    assert mass == pytest.approx(1, abs=0.01)


@every_kind
def test_samples_follow_the_density(kind: str) -> None:
    """As many lie in a box as the density says."""
    prior, n, cells = fit_priors(banana(), kinds=[kind]).priors[kind], 20_000, 400
    z = prior.sample(n, random())
    assert z.dtype == torch.float32
    for low, high in ((0.0, 2.0), (-3.0, 1.0)):
        axis = low + (high - low) * (torch.arange(cells) + 0.5) / cells
        mass = prior.log_prob(torch.cartesian_prod(axis, axis)).double().exp().mean().item() * (high - low) ** 2
        inside = ((z > low) & (z < high)).all(1).double().mean().item()
        assert inside == pytest.approx(mass, abs=5 * (mass / n) ** 0.5)


@every_kind
def test_samples_have_the_moments_of_the_codes(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a flow that has learnt for longer: before, its tails are still so heavy that single samples decide."""
    monkeypatch.setattr(priors, "MAX_STEPS", 500)
    codes = modes(1000, 3) if kind == "mixture" else banana()
    z = fit_priors(codes, kinds=[kind]).priors[kind].sample(20_000, random())
    size = codes.std()
    assert (z.mean(0) - codes.mean(0)).abs().max() < 0.15 * size
    assert (z.T.cov() - codes.T.cov()).abs().max() < 0.25 * size**2


@every_kind
def test_fits_and_samples_depend_on_the_seed_alone(kind: str) -> None:
    codes = banana(400)
    a = fit_priors(codes, kinds=[kind], seed=3)
    torch.randn(7)  # whatever else was drawn
    with torch.no_grad():
        b = fit_priors(codes, kinds=[kind], seed=3)
    assert a.held_out == b.held_out
    one, two = (fitted.priors[kind].sample(9, random(1)) for fitted in (a, b))
    assert torch.equal(one, two)
    assert not torch.equal(one, a.priors[kind].sample(9, random(2)))
    assert fit_priors(codes, kinds=[kind], seed=4).held_out != a.held_out


def test_the_flow_is_invertible() -> None:
    codes = banana()
    flow = fit_flow(codes, fit_gaussian(codes)[0], 0)
    u = torch.randn(50, 2, generator=random())
    z = flow.sample(50, random())
    back = priors.whiten(z, flow.mean, flow.scale_tril)
    for layer in flow.layers():
        s, t = priors.coupling(back, *layer)
        back = back * s.exp() + t
    torch.testing.assert_close(back, u, rtol=1e-3, atol=1e-3)


def test_the_likeliest_is_chosen() -> None:
    fitted = fit_priors(modes())
    assert fitted.best == "mixture"
    assert fitted.counts == (900, 100)
    assert list(fitted.held_out) == ["standard", *PRIOR_TYPES]
    bent = fit_priors(banana()).held_out
    assert bent["flow"] > bent["gaussian"] + 0.5
    angle = 2 * pi * torch.rand(2000)
    ring = fit_priors(torch.stack([angle.cos(), angle.sin()], 1) + 0.1 * torch.randn(2000, 2)).held_out
    assert ring["flow"] > ring["gaussian"] + 0.3


def test_nothing_is_lost_where_the_gaussian_is_right() -> None:
    fitted = fit_priors(torch.randn(2000, 3) @ torch.randn(3, 3) + 2)
    assert fitted.held_out[fitted.best] >= fitted.held_out["gaussian"] > fitted.held_out["standard"]
    assert fitted.held_out["flow"] > fitted.held_out["gaussian"] - 0.05


def test_the_best_may_be_the_standard_normal() -> None:
    assert fit_priors(torch.randn(20, 8)).best == "standard"


HARD = {
    "three": lambda: torch.randn(3, 4),
    "fewer than dimensions": lambda: torch.randn(8, 30),
    "one dimension": lambda: torch.randn(200, 1),
    "all the same": lambda: torch.full((60, 4), 7.0),
    "all zero": lambda: torch.zeros(300, 2),
    "in a plane": lambda: torch.randn(400, 2) @ torch.randn(2, 5),
    "on another scale": lambda: 1e4 + 1e3 * torch.randn(200, 3),
    "one of two values": lambda: (torch.arange(300) % 2).float()[:, None].expand(-1, 3),
}


@pytest.mark.parametrize("name", list(HARD))
def test_hard_cases_are_finite(name: str) -> None:
    codes = HARD[name]()
    fitted = fit_priors(codes)
    assert all(abs(value) < 1e6 for kind, value in fitted.held_out.items() if kind != "standard")
    for prior in fitted.priors.values():
        z = prior.sample(100, random())
        assert z.isfinite().all()
        assert (z - codes.mean(0)).abs().max() < 10 * codes.std(0).max() + 0.01
        assert prior.log_prob(z).isfinite().all()


def test_what_was_done_about_hard_cases_is_said() -> None:
    few = fit_priors(torch.randn(8, 30)).notes
    assert "7 codes are few for 30 dimensions: their covariance was shrunk by" in few[0]
    assert "7 codes are too few for a mixture in 30 dimensions" in few[1]
    assert "do not vary in 3 of 5 directions" in fit_priors(HARD["in a plane"](), kinds=["gaussian"]).notes[0]
    assert fit_priors(modes()).notes == ()


def test_few_codes_are_shrunk_as_by_scikit_learn() -> None:
    """Which leaves out the terms in 2 / d of the authors' formula."""
    from sklearn.covariance import OAS

    z = torch.randn(40, 20) @ torch.randn(20, 20)
    normal, _, _ = fit_gaussian(z)
    covariance = normal.scale_tril[0] @ normal.scale_tril[0].T
    expected = torch.from_numpy(OAS().fit(z.double().numpy()).covariance_).float()
    torch.testing.assert_close(covariance, expected, rtol=0.1, atol=0.1)


def test_codes_must_be_usable() -> None:
    with pytest.raises(UserError, match="2 examples are too few to fit a prior"):
        fit_priors(torch.zeros(2, 4))
    with pytest.raises(UserError, match="not finite"):
        fit_priors(torch.full((9, 2), torch.nan))
    with pytest.raises(UserError, match="no prior 'flaw': fit gaussian, mixture, flow. Did you mean \"flow\""):
        fit_priors(banana(), kinds=["flaw"])


@pytest.fixture
def autoencoder(images: Dataset) -> ganvas.Trained:
    return ganvas.train(small(MODELS["autoencoder"]), images, steps=3, batch_size=8, folder="run", quiet=True)


def test_priors_are_kept_with_the_weights(autoencoder: ganvas.Trained, images: Dataset) -> None:
    plain = Path("run", WEIGHTS_FILE).read_bytes()
    fitted = autoencoder.fit_prior(images)
    assert autoencoder.priors is None
    assert fitted.priors is not None
    assert fitted.priors.counts == (36, 4)
    fitted.save(Path("run", WEIGHTS_FILE))
    again = load_trained("run")
    assert again.priors is not None
    assert (again.priors.held_out, again.priors.counts) == (fitted.priors.held_out, fitted.priors.counts)
    assert (again.priors.notes, again.priors.data) == (fitted.priors.notes, "images")
    assert again.metadata == load_trained("run").metadata
    for kind, prior in fitted.priors.priors.items():
        for a, b in zip(prior, again.priors.priors[kind], strict=True):
            assert torch.equal(a, b)
        assert torch.equal(fitted.sample(5, fitted_prior=kind).x, again.sample(5, fitted_prior=kind).x)
        assert not torch.equal(again.sample(5, fitted_prior=kind).x, again.sample(5, fitted_prior="standard").x)
    assert torch.equal(again.sample(5, fitted_prior="best").x, again.sample(5, fitted_prior=again.priors.best).x)
    assert torch.equal(again.sample(5).x, again.sample(5, fitted_prior="best").x)
    assert torch.equal(again.sample(5, fitted_prior="standard").x, autoencoder.sample(5).x)
    replace(again, priors=None).save(Path("run", WEIGHTS_FILE))
    assert Path("run", WEIGHTS_FILE).read_bytes() == plain  # nothing else was touched


def test_codes_of_a_vae_are_drawn_from_its_posteriors(images: Dataset) -> None:
    vae = ganvas.train(small(MODELS["vae"]), images, steps=3, batch_size=8, quiet=True)
    assert isinstance(vae.model, EncoderModel)
    before = torch.get_rng_state()
    codes = torch.stack([vae.sample_posterior(images, seed) for seed in range(200)])
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(codes[3], vae.sample_posterior(images, 3))
    q = vae.nets["encoder"](vae.domain_scaling()(images.x))
    assert (codes.mean(0) - q.mean).abs().max() < 5 * covariance(q).amax() ** 0.5 / 200**0.5
    assert codes.var(0).mean() == pytest.approx(covariance(q).diagonal(dim1=1, dim2=2).mean().item(), rel=0.05)


def test_an_autoencoders_codes_are_its_encodings(autoencoder: ganvas.Trained, images: Dataset) -> None:
    assert torch.equal(autoencoder.sample_posterior(images), autoencoder.encode(images))


def test_what_cannot_be_sampled_from(autoencoder: ganvas.Trained, images: Dataset) -> None:
    with pytest.raises(UserError, match="no prior was fitted to this autoencoder's codes: run ganvas fit-prior run"):
        autoencoder.sample(3, fitted_prior="best")
    with pytest.raises(UserError, match="no prior 'flaw': give standard, best, gaussian, mixture, flow"):
        autoencoder.sample(3, fitted_prior="flaw")
    fitted = autoencoder.fit_prior(images, kinds=["gaussian"])
    with pytest.raises(UserError, match="no fitted flow, only gaussian: run ganvas fit-prior run"):
        fitted.sample(3, fitted_prior="flow")
    gan = ganvas.train(small(MODELS["gan"]), images, steps=2, batch_size=8, quiet=True)
    with pytest.raises(UserError, match="gan has no encoder"):
        gan.fit_prior(images)


def test_files_that_do_not_fit(autoencoder: ganvas.Trained, images: Dataset) -> None:
    autoencoder.fit_prior(images, kinds=["gaussian"]).save(Path("a.safetensors"))
    header, tensors = read_safetensors(Path("a.safetensors"))

    def write(tensors: dict[str, Tensor], header: dict[str, object]) -> Path:
        save_file(tensors, "b.safetensors", {"ganvas": json.dumps(header)})
        return Path("b.safetensors")

    with pytest.raises(UserError, match="b.safetensors holds a prior 'spline', which this Ganvas does not know"):
        load_trained(write(tensors | {"prior/spline/mean": torch.zeros(1)}, header))
    with pytest.raises(UserError, match="priors do not fit its own header"):
        load_trained(write({k: v for k, v in tensors.items() if k != "prior/gaussian/mean"}, header))
    with pytest.raises(UserError, match="priors do not fit its own header"):
        load_trained(write(tensors, {k: v for k, v in header.items() if k != "priors"}))


def test_many_examples_are_thinned_out(images: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganvas.inference.trained.MAX_PRIOR_CODES", 20)
    model = ganvas.train(small(MODELS["autoencoder"]), images, steps=1, batch_size=8, quiet=True)
    lines: list[str] = []
    fitted = model.fit_prior(images, kinds=["gaussian"], progress=lines.append)
    assert fitted.priors is not None
    assert fitted.priors.counts == (18, 2)
    assert lines == ["encoding 20 of 40 examples", "fitting gaussian to 18 codes of 6 dimensions"]


@pytest.mark.parametrize("model", ["autoencoder", "vae"])
def test_from_a_folder_to_samples_from_the_prior(model: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = said(capsys, "train", model, str(folder), *TINY, "--size", "8", "--quiet")
    before = load_file(Path(run, WEIGHTS_FILE))
    assert main(["fit-prior", "last"]) == 0
    out, err = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines()] == ["prior", "standard", *PRIOR_TYPES]
    assert out.count("best") == 1
    assert "fitting flow" in err
    assert "ganvas sample last draws from the best" in err
    after = load_file(Path(run, WEIGHTS_FILE))
    assert all(torch.equal(before[name], after[name]) for name in before)
    value = told(capsys, "fit-prior", run, str(folder), "--size", "8", "--kinds", "gaussian,flow", "--quiet")
    assert list(value["held_out"]) == ["standard", "gaussian", "flow"]
    assert value["best"] in value["held_out"]
    assert (value["codes"], value["codes_held_out"], value["data"]) == (11, 1, "pets")
    assert value["weights"] == str(Path(run, WEIGHTS_FILE))
    for prior in ("best", "flow", "standard"):
        assert Path(said(capsys, "sample", "last", "--fitted-prior", prior, "-n", "4")).exists()
    said(capsys, "resume", run, "--steps", "7", "--quiet")
    failing(capsys, ["sample", "last", "--fitted-prior", "best"], 2, "no prior was fitted .* run ganvas fit-prior")


def test_mistakes_on_the_command_line(
    folder: Path, autoencoder: ganvas.Trained, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(capsys, ["fit-prior", "run"], 2, "does not say where its data are: give them, ganvas fit-prior run DATA")
    failing(capsys, ["fit-prior", "run", str(folder)], 2, "has examples of 3x8x9, but this model was trained on")
    for words in (["--size", "8"], ["--split", "train"]):  # the latter is the default
        failing(capsys, ["fit-prior", "run", *words], 2, "options of data need data")
    failing(capsys, ["fit-prior", "nothing"], 2, "no run 'nothing'")
    failing(capsys, ["fit-prior", "run", str(folder), "--kinds", "flaw", "--size", "12x10"], 2, "no prior 'flaw'")
    autoencoder.save(Path("alone.safetensors"))
    failing(capsys, ["fit-prior", "alone.safetensors"], 2, "does not say where its data are")
    said(capsys, "fit-prior", "alone.safetensors", str(folder), "--size", "12x10", "--kinds", "gaussian")
    assert load_trained("alone.safetensors").priors is not None
    run = said(capsys, "train", "gan", str(folder), *TINY, "--quiet")
    failing(capsys, ["fit-prior", run], 2, "gan has no encoder")
