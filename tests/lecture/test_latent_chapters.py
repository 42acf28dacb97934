"""Chapters 1 to 4: what they record is what Ganvas computes, and what their pages do with it."""

from base64 import b64decode
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ganvas.distributions.posteriors import FullGaussian
from ganvas.inference.trained import load_trained
from ganvas.lecture import load_chapter
from ganvas.lecture.chapters import bound, covariance
from ganvas.lecture.latent import NETWORK, picture_colours, plane_of_codes, train_on_smileys
from ganvas.lecture.recordings import record
from ganvas.model import Batch
from ganvas.models import VAE
from tests.support.browser import NARROW, OpenPage
from tests.support.cli import said
from tests.support.lecture import FEWER, small_page

SIDE = int(FEWER["covariance"]["SIDE"])


@pytest.fixture(autouse=True)
def few_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chapter 3 with fewer places of the plane, to be quick; they are still closer than an untrained p(z|x) is wide."""
    for name, value in FEWER["covariance"].items():
        monkeypatch.setattr(covariance, name, value)
    assert pytest.approx(2 * covariance.REACH / (SIDE - 1)) == covariance.STEP


@cache
def short_run(name: str) -> dict[str, Any]:
    """The recording of a chapter's run of two steps."""
    chapter = load_chapter(name)
    return record(chapter, chapter.parameters(steps=2))


def unpack(array: dict[str, Any]) -> torch.Tensor:
    content = np.frombuffer(b64decode(array["base64"]), array["dtype"])
    return torch.from_numpy(content.reshape(array["shape"]).copy())


def test_the_same_seed_records_the_same() -> None:
    chapter = load_chapter("bound")
    assert record(chapter, chapter.parameters(steps=2)) == short_run("bound")


def test_a_chapters_command_trains_the_same_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained, _, command = train_on_smileys(VAE(latent=2, beta=4.0, **NETWORK), 2, seed=1)
    program, *words = command.split()
    assert program == "ganvas"
    said(capsys, *words, "--folder", str(tmp_path / "run"), "--device", "cpu", "--quiet")
    ours, theirs = trained.nets.state_dict(), load_trained(tmp_path / "run").nets.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_ganvas_loss_is_the_derivation_at_every_place() -> None:
    """KL(q || p(z|x)) - log p(x), by sums over z, against the loss that Ganvas estimates from samples."""
    run = short_run("bound")
    z = np.linspace(-bound.REACH, bound.REACH, bound.PLACES)
    step, s = z[1] - z[0], run["parameters"]["sigma"]
    axis = np.linspace(-bound.PLANE, bound.PLANE, bound.SIDE)
    curve, *values = (
        unpack(run[name]).double().numpy() for name in ("curve", "mean", "scale", "nll", "nll_error", "kl")
    )
    for i, j in ((0, 0), (16, 16), (30, 5)):
        mean, scale, nll, error, kl = (v[i * bound.SIDE + j] for v in values)
        log_prior = -0.5 * (z**2 + np.log(2 * np.pi))
        log_q = -0.5 * (((z - mean) / scale) ** 2 + np.log(2 * np.pi)) - np.log(scale)
        square = ((np.array([axis[i], axis[j]]) - curve) ** 2).sum(1)
        log_likelihood = -square / (2 * s**2) - np.log(2 * np.pi * s**2)
        log_evidence = np.log((np.exp(log_likelihood + log_prior) * step).sum())
        log_posterior = log_likelihood + log_prior - log_evidence
        divergence = (np.exp(log_q) * (log_q - log_posterior) * step).sum()
        assert abs(divergence - log_evidence - (nll + kl)) < 5 * error + 1e-4
        assert kl == pytest.approx((np.exp(log_q) * (log_q - log_prior) * step).sum(), abs=1e-5)


def test_the_true_posterior_is_bayes_rule() -> None:
    """Its gap to q is what the loss lacks of -log p(x), and log p(x) is that of samples of the prior."""
    for model in short_run("covariance")["models"]:
        gap, evidence, nll, kl = (unpack(model[name]) for name in ("gap", "log_evidence", "nll", "kl"))
        assert (gap > -1e-3).all()
        assert (gap - evidence).mean().item() == pytest.approx((nll + kl.sum(1)).mean().item(), rel=0.05)
    torch.manual_seed(0)
    model = VAE(latent=2, width=16, sigma=0.5, posterior="full")
    nets, x = model.networks((2,)), torch.tensor([[0.3, -1.0], [1.0, 1.0]])
    with torch.no_grad():
        log_p, log_evidence = covariance.true_posterior(nets["decoder"], x, 0.5)
        samples = -nets["decoder"](torch.randn(20_000, 2)).nll(x[:1])[:, 0]
        z, q = plane_of_codes(covariance.REACH, SIDE)[700], nets["encoder"](x)
        joint = -nets["decoder"](z[None]).nll(x[:1])[0, 0] - 0.5 * (z.square() + np.log(2 * np.pi)).sum()
    assert log_evidence[0].item() == pytest.approx((samples.logsumexp(0) - np.log(len(samples))).item(), abs=0.05)
    assert (log_p[0, 700] + log_evidence[0]).item() == pytest.approx(joint.item(), abs=1e-4)
    assert isinstance(q, FullGaussian)
    sigma = (q.scale_tril @ q.scale_tril.mT)[0].flatten()
    assert covariance.covariance(q)[0].tolist() == pytest.approx(sigma[[0, 1, 3]].tolist())


def test_the_losses_terms_are_those_of_a_step() -> None:
    """What chapter 2 calls Ganvas's own loss is what a training step descends."""
    model = VAE(latent=1, width=8)
    nets, x = model.networks((2,)), torch.tensor([[0.3, -1.0]])
    with torch.no_grad():
        nll, kl = bound.loss_terms(model, x, nets)
    (move,) = model.step(iter([Batch(x.expand(20_000, 2))]), 0, **nets)
    assert move.terms["kl"].item() == pytest.approx(kl.item(), rel=1e-4)
    assert move.terms["reconstruction"].item() == pytest.approx(nll.mean().item(), abs=6 * nll.std().item() / 16)


def test_places_of_a_plane_are_in_the_order_of_a_picture() -> None:
    assert plane_of_codes(1.0, 2).tolist() == [[-1, 1], [1, 1], [-1, -1], [1, -1]]


def test_white_does_not_count_in_a_pictures_colour() -> None:
    x = torch.full((1, 3, 2, 2), 255, dtype=torch.uint8)
    x[0, :, 0, 0] = torch.tensor([200, 100, 0], dtype=torch.uint8)
    assert picture_colours(x).tolist() == [[200, 100, 0]]


def test_the_correlation_is_that_of_the_density() -> None:
    covariance_matrix = torch.tensor([[0.5, 0.3], [0.3, 0.8]])
    normal = torch.distributions.MultivariateNormal(torch.tensor([0.4, -0.2]), covariance_matrix)
    log_p = normal.log_prob(plane_of_codes(covariance.REACH, SIDE))
    assert covariance.correlation(log_p[None]).item() == pytest.approx(0.3 / (0.5 * 0.8) ** 0.5, abs=1e-3)


@pytest.mark.parametrize("name", ["autoencoder", "bound", "covariance", "weight"])
def test_keys_alone_move_what_is_shown(name: str, tmp_path: Path, open_page: OpenPage) -> None:
    page = open_page(small_page(name, tmp_path), NARROW)
    slider, text = page.locator("main section input[type=range]").first, page.locator("body")
    before = text.inner_text()
    slider.press("ArrowRight")
    assert text.inner_text() != before
    for button in ("encoder", "best", "again") if name == "bound" else ():
        page.locator(f"#{button}").press("Enter")
        assert page.locator("#verdict").inner_text().startswith("All five lines agree")
    if name == "autoencoder":
        page.locator("#draw").press("Enter")
        codes = page.locator(".map output").all_inner_texts()
        assert codes[:2] == codes[2:] != ["0", "0"]
    if name == "weight":
        assert "--beta 100.0" in page.locator("#command").inner_text()
