"""`ganvas.compare`: what is the best for certain, what is not, and what cannot be compared."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ganvas
from ganvas.data import Dataset, from_array, load
from ganvas.errors import UserError
from ganvas.evaluation import samples
from ganvas.evaluation.compare import confidence_interval
from ganvas.inference.trained import Trained
from ganvas.metrics import NUMBERS
from ganvas.metrics.features.efficientnet import LITE0

RING = load("ring").sample(4000, "pool")
MODELS: tuple[Any, ...] = (ganvas.VAE(latent=2, width=8), ganvas.GAN(latent=2, width=8))


@pytest.fixture(autouse=True)
def without_lite0(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LITE0.__class__, "find", lambda self: None)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Trained]:
    folder = tmp_path_factory.mktemp("runs")
    models = (*MODELS, ganvas.Autoencoder(latent=2, width=8))
    options: dict[str, Any] = {"steps": 30, "batch_size": 32, "quiet": True}
    return [ganvas.train(m, "ring", folder=folder / type(m).__name__.lower(), **options) for m in models]


def pretending(runs: list[Trained], samples: list[torch.Tensor], monkeypatch: pytest.MonkeyPatch) -> list[Trained]:
    """Models whose samples are these, the first of them."""
    by_run = {id(run): x for run, x in zip(runs, samples, strict=True)}
    monkeypatch.setattr(Trained, "decode", lambda self, z, labels=None: Dataset(x=by_run[id(self)][: len(z)]))
    return runs


def short(found: dict[str, Any]) -> dict[str, Any]:
    """By the numbers' names without those of features."""
    return {name.split(":")[0]: value for name, value in found.items()}


def test_runs_of_different_kinds_are_compared(runs: list[Trained]) -> None:
    fitted = runs[2].fit_prior("ring", kinds=("gaussian",))
    found = ganvas.compare(runs[0], runs[1], runs[2], (fitted, "gaussian"), n=300)
    assert [r["run"] for r in found["runs"]] == ["vae", "gan", "autoencoder", "autoencoder@gaussian"]
    assert found["runs"][0]["step"] == 30
    vae, gan = found["runs"][:2]
    assert vae["parameters"] == sum(p.numel() for p in runs[0].nets["decoder"].parameters())
    assert gan["parameters"] == sum(p.numel() for p in runs[1].nets["G"].parameters())
    assert vae["seconds"] > 0
    assert (found["data"], found["split"], found["samples"], found["floor_source"]) == ("ring", "test", 300, "train")
    for each in (*(r["numbers"] for r in found["runs"]), found["floor"]):
        assert set(short(each)) == set(NUMBERS) - {"classifier_score"}
        for name, number in short(each).items():
            if number["low"] is not None:
                assert number["low"] <= number["value"] + 1e-9, name
                assert number["value"] <= number["high"] + 1e-9, name
    floor = {"value": pytest.approx((1 + 0.01 * 299) / 301), "low": None, "high": None}
    assert short(found["floor"])["memorisation_rate"] == floor
    assert found["skip_reasons"]["classes"].startswith("classes need features that classify")
    bad, floor = short(vae["numbers"]), short(found["floor"])
    for name in ("fid", "energy", "sliced_wasserstein", "one_nn_accuracy"):
        assert bad[name]["low"] > floor[name]["high"], name


def test_numbers_are_those_of_evaluate(runs: list[Trained]) -> None:
    compared, alone = ganvas.compare(*runs[:2], n=300), ganvas.evaluate(runs[0], n=300, allow_few=True)
    for name, number in compared["runs"][0]["numbers"].items():
        if alone[name] is not None:
            assert number["value"] == pytest.approx(alone[name], rel=1e-4, abs=1e-7), name
    for name, number in compared["floor"].items():
        assert number["value"] == pytest.approx(alone[f"{name}:floor"], rel=1e-4, abs=1e-6), name


def test_the_same_seed_gives_the_same_table(runs: list[Trained]) -> None:
    tables = [ganvas.compare(*runs[:2], n=200, metrics=("kid", "prdc", "distances"), seed=seed) for seed in (3, 3, 4)]
    assert tables[0] == tables[1]
    assert tables[0]["runs"][0]["numbers"] != tables[2]["runs"][0]["numbers"]


def test_only_what_is_better_for_certain_is_the_best(runs: list[Trained], monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of one generator, whatever their seeds, are hardly ever told apart; one far better always is."""
    marked = total = 0
    for i in range(4):
        samples = [RING.sample(300, i, j).x for j in range(2)]
        found = ganvas.compare(
            *pretending(runs[:2], samples, monkeypatch),
            n=300,
            metrics=("fid", "kid", "prdc", "distances", "sliced-wasserstein", "one-nn", "modes"),
        )
        marked += sum(best is not None for best in found["best"].values())
        total += len(found["best"])
    assert marked <= 0.1 * total
    noisy = RING.sample(300, 8).x
    noisy = noisy + 0.4 + 0.3 * torch.randn(noisy.shape)
    better = ganvas.compare(*pretending(runs, [noisy, RING.sample(300, 9).x, noisy * 1.1], monkeypatch), n=300)
    best = short(better["best"])
    for name in ("fid", "kid", "precision", "density", "coverage", "one_nn_accuracy", "energy", "high_quality"):
        assert best[name] == 1, name
    assert best["memorisation_rate"] is best["duplicate_rate"] is None


def test_copies_of_training_points_are_memorised(runs: list[Trained], monkeypatch: pytest.MonkeyPatch) -> None:
    convert, sizes = samples.as_measured, list[int]()
    monkeypatch.setattr(
        samples, "as_measured", lambda data, scaling: (sizes.append(len(data)), convert(data, scaling))[1]
    )
    found = ganvas.compare(
        *pretending(runs[:2], [load("ring").x[:200], RING.sample(200, 1).x + 0.02], monkeypatch), n=200,
        metrics=("memorisation",),
    )  # fmt: skip
    copied = short(found["runs"][0]["numbers"])["memorisation_rate"]
    assert copied["value"] == 1
    assert sizes.count(len(load("ring"))) == 2  # for the floor, and once for both runs
    assert copied["low"] == pytest.approx(1 - 3 / 200), "by the rule of three"


def test_what_cannot_be_compared(runs: list[Trained], tmp_path: Path, images: Dataset) -> None:
    with pytest.raises(UserError, match="one run has nothing to be compared with"):
        ganvas.compare(runs[0])
    other = ganvas.train(MODELS[1], "grid", steps=1, folder=tmp_path / "grid", quiet=True)
    with pytest.raises(UserError, match="vae and grid have different held-out examples, of ring and grid: give the"):
        ganvas.compare(runs[0], other)
    assert ganvas.compare(runs[0], other, data="ring", n=100, metrics=("kid",))["split"] == "custom"
    small = ganvas.train(ganvas.GAN(latent=2, width=4), images, steps=1, batch_size=8, quiet=True)
    with pytest.raises(
        UserError, match=r"different shapes, 3x12x10 \(.*-gan-images\), 2 \(vae\): compare runs of one shape"
    ):
        ganvas.compare(runs[0], small)
    with pytest.raises(UserError, match="ms-ssim is not compared: there are fid, kid"):
        ganvas.compare(*runs, metrics=("ms-ssim",))
    with pytest.raises(UserError, match='two-sample is not compared: there are fid.* It is called "one-nn" now'):
        ganvas.compare(*runs, metrics=("two-sample",))
    with pytest.raises(UserError, match='there is no metric .two-sample.. It is called "one-nn" now. There are: elbo'):
        ganvas.evaluate(runs[0], metrics=("two-sample",))
    with pytest.raises(UserError, match="a Frechet distance of 2 examples on 2 features is mostly bias"):
        ganvas.compare(*runs, metrics=("fid",), n=2)
    with pytest.raises(UserError, match="no prior was fitted to this autoencoder's codes"):
        ganvas.compare(runs[0], f"{runs[2].folder}@best", n=50)
    pair = ganvas.train(ganvas.DiscoGAN(width=8), (RING, replace(RING, x=-RING.x)), steps=1, batch_size=8, quiet=True)
    with pytest.raises(UserError, match="is a discogan, which draws no samples: use ganvas evaluate"):
        ganvas.compare(runs[0], pair)


def test_runs_of_one_name_are_told_apart(runs: list[Trained], tmp_path: Path) -> None:
    others = [
        ganvas.train(
            MODELS[0], "ring", steps=30, batch_size=32, seed=seed, folder=tmp_path / f"{seed}" / "vae", quiet=True
        )
        for seed in (1, 2)
    ]
    found = ganvas.compare(runs[0], others[0], others[1].folder, n=100, metrics=("distances",))
    assert [r["run"] for r in found["runs"]] == ["vae", "vae (2)", "vae (3)"]


def test_a_run_is_not_compared_with_itself(runs: list[Trained]) -> None:
    for again, name in (
        (runs[0], r"vae \(2\)"),
        (runs[0].folder, r"vae \(2\)"),
        ((runs[0], runs[0].default_prior), f"vae@{runs[0].default_prior}"),
    ):
        with pytest.raises(
            UserError, match=f"vae and {name} have the same weights, so all their numbers are equal: name"
        ):
            ganvas.compare(runs[0], runs[1], again)  # type: ignore[arg-type]
    assert runs[2].folder is not None
    fitted = runs[2].fit_prior("ring", kinds=("gaussian",))
    assert len(ganvas.compare(runs[2], (fitted, "gaussian"), n=50, metrics=("kid",))["runs"]) == 2
    assert len(ganvas.compare(fitted, (fitted, "standard"), n=50, metrics=("kid",))["runs"]) == 2


def test_images_with_a_classifier(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (120, 28, 28), np.uint8)
    data = from_array(x, name="mnist")
    pair = [
        ganvas.train(m, data, steps=1, batch_size=8, quiet=True)
        for m in (ganvas.VAE(latent=2, width=4), ganvas.GAN(latent=2, width=4))
    ]
    found = ganvas.compare(*pair, data=data, allow_few=True)
    assert found["features"].startswith("lenet-mnist-v1@")
    assert set(short(found["floor"])) >= {"classifier_score", "fid", "sliced_wasserstein"}
    assert "memorisation_rate" not in short(found["floor"]), "what they have learnt is not known"


def test_intervals_stay_where_numbers_can_be() -> None:
    resamples = torch.linspace(-0.2, 0.5, 1000, dtype=torch.float64)
    assert confidence_interval(NUMBERS["fid"], 0.1, resamples, 100)["low"] == 0
    assert confidence_interval(NUMBERS["kid"], 0.1, resamples, 100)["low"] < -0.1
    assert confidence_interval(NUMBERS["precision"], 0.9, resamples + 0.8, 100)["high"] == 1
    zero = torch.zeros(1000, dtype=torch.float64)
    assert confidence_interval(NUMBERS["recall"], 0.0, zero, 100) == {"value": 0.0, "low": 0.0, "high": 0.03}
    assert confidence_interval(NUMBERS["reverse_kl"], float("inf"), zero, 100)["value"] is None
