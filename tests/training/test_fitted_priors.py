"""The prior that a run fits to its codes: at its end a mixture, before that a Gaussian."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import ganvas
from ganvas.data import Dataset
from ganvas.diagnostics import examine
from ganvas.distributions import priors
from ganvas.distributions.priors import Mixture, fit_priors
from ganvas.inference.trained import Trained, load_trained
from ganvas.io.run_folder import WEIGHTS_FILE
from ganvas.metrics import sliced_wasserstein
from ganvas.nn.augment import augment
from ganvas.randomness import reseed
from ganvas.training import previews
from ganvas.training.fit import Run
from ganvas.training.run_records import read_log
from ganvas.viz.images import preview


def clusters(n: int = 400) -> ganvas.Dataset:
    """Vectors whose codes are far from N(0, I) where the KL weighs little."""
    x = 3 * torch.randn(4, 3)[torch.arange(n) % 4] + 0.2 * torch.randn(n, 3)
    return ganvas.from_array(x.numpy())


NEAR_AUTOENCODER = ganvas.VAE(latent=2, width=16, beta=0.01, lr=0.01)


def test_a_run_ends_with_a_prior_that_is_likelier(capsys: pytest.CaptureFixture[str]) -> None:
    run = ganvas.train(NEAR_AUTOENCODER, clusters(), steps=60, folder="run")
    assert "samples come from a mixture fitted to the codes" in capsys.readouterr().err
    assert run.priors is not None
    assert run.default_prior == run.priors.best == "mixture"
    assert run.priors.counts == (360, 40)
    again, own = load_trained("run"), run.sample(5, fitted_prior="standard").x
    assert torch.equal(run.sample(5).x, again.sample(5).x)
    assert torch.equal(run.sample(5).x, run.sample(5, fitted_prior="mixture").x)
    assert not torch.equal(run.sample(5).x, own)
    assert torch.equal(own, replace(run, priors=None).sample(5).x)
    assert (
        "codes from the prior mixture" in ganvas.evaluate(again, clusters(), metrics=["sliced-wasserstein"])["protocol"]
    )


def test_samples_under_way_come_from_a_gaussian_fitted_to_codes() -> None:
    """What is looked at, measured and saved before the end: N(0, I) is far from the codes there."""
    data = clusters(1000)
    run = ganvas.train(NEAR_AUTOENCODER, data, steps=300, checkpoint_every=300, folder="run", quiet=True)
    (line,) = (entry for entry in read_log(Path("run")) if "samples" in entry)
    words = {"metrics": ["sliced-wasserstein"], "fitted_prior": "standard"}
    standard = ganvas.evaluate(run, data, **words)["sliced_wasserstein"]
    assert line["samples"]["value"] < 0.8 * standard
    assert line["latent"]["fits_prior"]
    assert "codes far from N(0, I)" not in [d.condition for d in examine(NEAR_AUTOENCODER, 300, [line])]
    line["latent"].pop("fits_prior")
    assert "codes far from N(0, I)" in [d.condition for d in examine(NEAR_AUTOENCODER, 300, [line])]


def test_it_is_fitted_once_a_step_though_samples_are_measured_and_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[Any] = []
    fit_prior = Trained.fit_prior

    def noted(self: Trained, *arguments: Any, **options: Any) -> Trained:
        steps.append((self.metadata["step"], *options["kinds"]))
        return fit_prior(self, *arguments, **options)

    monkeypatch.setattr(Trained, "fit_prior", noted)
    ganvas.train(NEAR_AUTOENCODER, clusters(), steps=2, checkpoint_every=1, folder="run", quiet=True)
    assert "samples" in read_log(Path("run"))[-1]
    assert steps == [(1, "gaussian"), (2, "gaussian"), (2, "mixture")]


def test_the_weights_of_a_run_that_was_killed_have_that_gaussian(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Run, "fit_prior", lambda *_: pytest.fail("the end"))
    with pytest.raises(pytest.fail.Exception, match="the end"):
        ganvas.train(NEAR_AUTOENCODER, clusters(), steps=20, checkpoint_every=10, folder="run", quiet=True)
    assert load_trained("run").default_prior == "gaussian"


def test_previews_show_what_samples_are(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Tensor] = []
    monkeypatch.setattr(previews, "preview", lambda rows, _: (shown.append(rows), preview(rows, _))[1])
    distances = []
    for sampling_model in (Run.sampling_model, Run.current_model):
        monkeypatch.setattr(Run, "sampling_model", sampling_model)
        ganvas.train(NEAR_AUTOENCODER, clusters(), steps=300, checkpoint_every=300, quiet=True)
        examples, _, samples = shown[-1]
        distances.append(sliced_wasserstein(samples, examples))
    assert distances[0] < 0.8 * distances[1]


def test_the_prior_of_a_resumed_run_is_that_of_one_that_was_not_stopped() -> None:
    data = clusters()
    for folder, steps in (("whole", 20), ("parts", 10)):
        ganvas.train(NEAR_AUTOENCODER, data, steps=steps, folder=folder, quiet=True)
    resumed = ganvas.resume("parts", data, steps=20, quiet=True)
    assert Path("parts", WEIGHTS_FILE).read_bytes() == Path("whole", WEIGHTS_FILE).read_bytes()
    assert resumed.default_prior == ganvas.resume("parts", data, quiet=True).default_prior == "mixture"


@pytest.mark.parametrize(
    ("model", "n"),
    [(ganvas.VAE(latent=2, width=8, prior="vamp", pseudo_inputs=4), 400), (ganvas.VAE(latent=5, width=8), 49)],
)
def test_where_a_run_fits_no_prior(model: ganvas.Model, n: int) -> None:
    assert ganvas.train(model, clusters(n), steps=1, batch_size=8, quiet=True).priors is None


def test_a_run_keeps_no_prior_that_is_less_likely(monkeypatch: pytest.MonkeyPatch) -> None:
    far = Mixture(torch.ones(1), torch.full((1, 8), 9.0), torch.eye(8)[None])
    monkeypatch.setattr(priors, "fit_best_mixture", lambda *_: far)
    model = ganvas.VAE(latent=8, width=8, beta=100.0, lr=0.01)
    assert ganvas.train(model, clusters(), steps=100, quiet=True).default_prior == "standard"


def test_changed_examples_give_more_codes_and_none_held_out(images: Dataset) -> None:
    counts = []
    for kinds, copies in ((("shift",), 4), (("shift",), 1), ((), 4)):
        model = ganvas.VAE(latent=2, width=4, augment=kinds)
        run = ganvas.train(model, images, steps=2, batch_size=8, quiet=True)
        fitted = run.fit_prior(images, kinds=["gaussian"], copies=copies).priors
        assert fitted is not None
        counts.append(fitted.counts)
    assert counts == [(4 * 36, 4), (36, 4), (36, 4)]


def test_changed_copies_are_what_augment_makes_one_after_the_other(images: Dataset) -> None:
    copies = ganvas.VAE(augment=("shift",)).changed_copies(images, 3, 5)
    reseed(torch.device("cpu"), 5, "changes")
    changed = [augment(images.x.float(), ("shift",)).to(torch.uint8) for _ in range(2)]
    assert copies.x.equal(torch.cat([images.x, *changed]))
    assert copies.labels is not None
    assert images.labels is not None
    assert copies.labels.equal(images.labels.repeat(3))


def test_held_out_codes_are_of_examples_that_no_copy_is_fitted_to() -> None:
    """Copies of an example lie close together: were some held out, the mixture would know where they are."""
    codes = torch.arange(40.0)[:, None] * torch.tensor([10.0, 0.0]) + 0.01 * torch.randn(4, 40, 2)
    seen: list[Tensor] = []
    fit_priors(codes.flatten(0, 1), kinds=["gaussian"], copies=4, log_prior=lambda z: (seen.append(z), z.sum(1))[1])
    held_out = set((seen[0][:, 0] / 10).round().int().tolist())
    assert len(held_out) == 4
