"""Collapse is seen, said once, and with a remedy that applies."""

from typing import Any

import numpy as np
import pytest
import torch

import ganvas
from ganvas.cli.app import main
from ganvas.diagnostics import diagnose, latent_report
from ganvas.models import VAE
from ganvas.training.run_records import read_log


def seen(kl: list[float], variance: list[float], std: float = 1.0, mean: float = 0.0) -> dict[str, torch.Tensor]:
    d = len(kl)
    return {
        "kl": torch.tensor(kl), "mean_variance": torch.tensor(variance),
        "aggregate_mean": torch.full((d,), mean), "aggregate_std": torch.full((d,), std),
    }  # fmt: skip


def test_the_report_counts_active_dimensions_and_adds_up_the_kl() -> None:
    report = latent_report(seen([1.5, 0.5, 0.001], [0.5, 0.2, 0.001]))
    assert (report["active_units"], report["dimensions"]) == (2, 3)
    assert report["kl"] == pytest.approx(2.001)
    assert report["kl_per_dimension"] == [1.5, 0.5, 0.001]
    assert report["kl_from_prior"] == pytest.approx(0)
    assert latent_report({}) == {}


def test_a_wide_code_keeps_its_largest_dimensions_in_the_log() -> None:
    report = latent_report(seen([float(i) for i in range(1000)], [1.0] * 1000))
    assert len(report["kl_per_dimension"]) == 256
    assert report["kl_per_dimension"][0] == 999


def test_collapse_is_named_with_what_has_not_been_tried() -> None:
    report = latent_report(seen([0.0] * 8, [0.0] * 8))
    (said,) = diagnose(VAE(beta=4.0), {"latent": report}, 1000, 1000)
    assert said.startswith("posterior collapse: 0 of 8 latent dimensions are active")
    for remedy in ("--beta below 4", "--warmup", "--free-bits", "--sigma"):
        assert remedy in said
    (said,) = diagnose(VAE(warmup=10, free_bits=0.1, sigma="optimal"), {"latent": report}, 1000, 1000)
    assert not any(remedy in said for remedy in ("beta below", "--warmup", "--sigma", "--geco"))
    assert "--free-bits above 0.1" in said


@pytest.mark.parametrize(
    ("fields", "there"),
    [({"geco": 0.1}, "--geco below 0.1"), ({"capacity": 3.0}, "--capacity above 3"), ({"prior": "vamp"}, "--warmup")],
)
def test_no_remedy_is_offered_that_the_model_would_refuse(fields: Any, there: str) -> None:
    """geco and capacity go with neither free bits nor, for geco, warm-up, beta or sigma; vamp not with free bits."""
    report = latent_report(seen([0.0] * 8, [0.0] * 8))
    (said,) = diagnose(VAE(**fields), {"latent": report}, 1000, 1000)
    assert there in said
    assert "--free-bits" not in said
    if "geco" in fields:
        assert not any(remedy in said for remedy in ("--warmup", "--beta", "--sigma"))
    far = latent_report(seen([1.0] * 4, [1.0] * 4, std=3.0))
    said = " ".join(diagnose(VAE(**fields), {"latent": far}, 1000, 1000))
    assert ("--beta" in said) == (fields == {})
    assert ("--geco above 0.1" in said) == ("geco" in fields)


def test_nothing_is_said_early_or_during_the_warm_up() -> None:
    report = latent_report(seen([0.0] * 8, [0.0] * 8))
    assert diagnose(VAE(), {"latent": report}, 150, 5000) == []
    assert diagnose(VAE(warmup=800), {"latent": report}, 700, 5000) == []
    assert diagnose(VAE(warmup=800), {"latent": report}, 900, 5000) != []


def test_codes_far_from_the_prior_are_said_at_the_end() -> None:
    report = latent_report(seen([1.0] * 4, [1.0] * 4, std=3.0))
    assert diagnose(VAE(), {"latent": report}, 900, 1000) == []
    (said,) = diagnose(VAE(), {"latent": report}, 1000, 1000)
    assert "standard deviations go from 3 to 3" in said
    assert "ganvas fit-prior" in said
    assert diagnose(VAE(), {"latent": latent_report(seen([1.0] * 4, [1.0] * 4, std=1.2))}, 1000, 1000) == []
    assert diagnose(ganvas.GAN(), {}, 1000, 1000) == []


def noisy(n: int = 400) -> Any:
    return np.random.default_rng(0).normal(size=(n, 6)).astype(np.float32)


def test_a_run_that_collapses_says_so_and_its_log_shows_it(capsys: pytest.CaptureFixture[str]) -> None:
    np.save("noise.npy", noisy())
    words = ["train", "vae", "noise.npy", "--steps", "600", "--batch-size", "50", "--beta", "50", "--latent", "4"]
    assert main([*words, "--width", "16", "--checkpoint-every", "200", "--lr", "0.005"]) == 0
    said = capsys.readouterr().err
    assert said.count("warning: posterior collapse: 0 of 4") == 1
    assert "--beta below 50" in said
    assert "active 0/4" in said
    line = read_log(ganvas.training.run_records.list_runs(ganvas.training.run_records.Path("runs"))[-1])[-1]
    assert line["latent"]["active_units"] == 0
    assert len(line["latent"]["kl_per_dimension"]) == 4


def test_a_healthy_run_is_left_in_peace(capsys: pytest.CaptureFixture[str]) -> None:
    np.save("noise.npy", noisy())
    words = ["train", "vae", "noise.npy", "--steps", "600", "--batch-size", "50", "--latent", "4", "--width", "16"]
    assert main([*words, "--checkpoint-every", "200", "--lr", "0.005"]) == 0
    said = capsys.readouterr().err
    assert "warning" not in said
    assert "active 4/4" in said


def test_an_autoencoder_is_told_that_its_codes_are_no_noise(capsys: pytest.CaptureFixture[str]) -> None:
    np.save("wide.npy", 20 * noisy())
    words = [
        "train",
        "autoencoder",
        "wide.npy",
        "--steps",
        "600",
        "--batch-size",
        "50",
        "--latent",
        "4",
        "--width",
        "16",
    ]
    assert main([*words, "--checkpoint-every", "300", "--lr", "0.005"]) == 0
    assert "warning: the codes are far from N(0, I)" in capsys.readouterr().err


def test_observing_does_not_change_the_run(images: Any) -> None:
    a = ganvas.train(VAE(latent=3, width=4), images, steps=12, batch_size=8, checkpoint_every=10, quiet=True)
    b = ganvas.train(VAE(latent=3, width=4), images, steps=12, batch_size=8, checkpoint_every=120, quiet=True)
    assert all(torch.equal(v, b.nets.state_dict()[k]) for k, v in a.nets.state_dict().items())
