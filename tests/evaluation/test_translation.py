"""Scores of translators, with and without pairs."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import ganvas
from ganvas.cli.evaluate import translator_lines
from ganvas.data import Dataset, from_array, load
from ganvas.errors import UserError
from ganvas.evaluation import translation
from ganvas.inference.trained import Trained
from ganvas.metrics.features import make_feature_space
from ganvas.models import CycleGAN, DiscoGAN
from tests.support.classifiers import KNOWS, shades
from tests.support.cli import said, told
from tests.support.data import image_collection
from tests.support.models import small
from tests.support.translators import GREY, RGB, negatives


def drawings(n: int = 60, seed: int = 0) -> Dataset:
    """Smooth images in three classes."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, n)
    coarse = random.integers(0, 256, (n, 4, 4, 3)) // 2 + 40 * labels[:, None, None, None]
    return from_array(np.kron(coarse, np.ones((1, 4, 4, 1))).astype(np.uint8), labels, name="drawings")


def negative(data: Dataset) -> Dataset:
    return Dataset(x=255 - data.x, labels=data.labels, classes=data.classes, name="negatives")


def measured(run: Trained, a: Dataset, b: Dataset, **options: Any) -> dict[str, Any]:
    return ganvas.evaluate(run, (a, b), **{"features": "random-conv-v2"} | options)


def of_size(run: Trained) -> Trained:
    return Trained(run.model, ((3, 16, 16), (3, 16, 16)), run.nets)


def test_a_perfect_translator_has_no_errors() -> None:
    a, b = drawings(), negative(drawings(60, 1))
    v = measured(of_size(negatives()), a, b, pairs=(a, negative(a)))
    assert (v["model"], v["split"], v["examples"]) == ("cyclegan", "custom", [60, 60])
    for way in ("to_a", "to_b"):
        assert v[way]["cycle_error"] == pytest.approx(0, abs=1e-6)
        assert (
            v[way]["sliced_wasserstein"] < 2 * v[way]["sliced_wasserstein:floor"] < v[way]["sliced_wasserstein:input"]
        )
        truth = v["pairs"][way]
        assert truth["l1"] == pytest.approx(0, abs=1e-6)
        assert truth["psnr_db"] > 100 or math.isinf(truth["psnr_db"])
        assert truth["ssim"] == pytest.approx(1)
        assert (truth["mean_rank"], truth["top1_accuracy"], truth["n"]) == (1, 1, 60)
        assert truth["label_agreement"] > 0.6
        assert truth["identity_baseline"]["l1"] > 0.1
        assert truth["identity_baseline"]["mean_rank"] > 10
        assert (truth["feature_mean_rank"], truth["feature_top1_accuracy"]) == (1, 1)
        assert truth["identity_baseline"]["feature_mean_rank"] > 5
    assert v["warnings"] == []


def test_a_translator_that_does_nothing_is_said_to() -> None:
    nets = nn.ModuleDict({"G": nn.Sequential(nn.Conv2d(3, 3, 1)), "F": nn.Sequential(nn.Conv2d(3, 3, 1))})
    for net in nets.values():
        nn.init.dirac_(net[0].weight)
        nn.init.zeros_(net[0].bias)
    a, b = drawings(), negative(drawings(60, 1))
    v = measured(Trained(small(CycleGAN), ((3, 16, 16), (3, 16, 16)), nets), a, b, pairs=(a, negative(a)))
    assert v["to_b"]["sliced_wasserstein"] == pytest.approx(v["to_b"]["sliced_wasserstein:input"], rel=1e-3)
    assert v["pairs"]["to_b"]["l1"] == pytest.approx(v["pairs"]["to_b"]["identity_baseline"]["l1"], rel=1e-4)
    assert [s.split(":")[0] for s in v["warnings"]] == [
        "the translator from A to B repeats its input", "the translator from B to A repeats its input"
    ]  # fmt: skip


def test_errors_are_what_numpy_says() -> None:
    a = drawings()
    truth = from_array(np.random.default_rng(5).integers(0, 256, (60, 16, 16, 3), np.uint8))
    v = measured(of_size(negatives()), a, truth, pairs=(a, truth))["pairs"]["to_b"]
    made, right = (255 - a.x).double().numpy() / 255, truth.x.double().numpy() / 255
    assert v["l1"] == pytest.approx(np.abs(made - right).mean(), rel=1e-5)
    assert v["psnr_db"] == pytest.approx(-10 * np.log10(((made - right) ** 2).mean()), rel=1e-5)
    far = ((made[:, None] - right[None]) ** 2).sum((2, 3, 4))
    assert v["mean_rank"] == pytest.approx((far <= far.diagonal()[:, None]).sum(1).mean())
    space = make_feature_space("random-conv-v2", (3, 16, 16))
    assert v["features"] == space.tag
    of_made, of_right = (space(x).double().numpy() for x in (255 - a.x, truth.x))
    far = ((of_made[:, None] - of_right[None]) ** 2).sum(2)
    assert v["feature_mean_rank"] == pytest.approx((far <= far.diagonal()[:, None]).sum(1).mean())
    assert v["feature_top1_accuracy"] == pytest.approx((far.argmin(1) == np.arange(60)).mean())


def test_label_agreement_is_not_judged_by_the_answer_itself() -> None:
    """With the right answer among the examples, a perfect translator would agree whatever the labels are."""
    a = image_collection(80, (16, 16, 3))
    b = Dataset(x=255 - a.x, labels=a.labels, classes=a.classes)
    v = measured(of_size(negatives()), a, b, pairs=(a, b))
    assert v["pairs"]["to_b"]["label_agreement"] < 0.45  # five classes of noise


def test_labels_are_judged_by_a_classifier_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 20 shades 12 are grey, which negatives of them are, too; dark ones become bright and bright ones dark."""
    monkeypatch.setattr(translation, "make_feature_space", lambda *_, **__: KNOWS)
    a = shades(100, 0)
    run = Trained(small(CycleGAN), ((1, 4, 4), (1, 4, 4)), negatives(GREY, GREY).nets)
    truth = measured(run, a, a, pairs=(a, a))["pairs"]["to_b"]
    assert truth["label_agreement"] == pytest.approx(0.6)
    assert truth["label_source"] == "toy@00000000"


def test_a_runs_own_domains_are_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = ganvas.train(
        small(DiscoGAN), ("emoji", "emoji-flat"), steps=2, batch_size=4, quiet=True, folder=tmp_path / "run"
    )
    v = ganvas.evaluate(run, n=40, features="random-conv-v2")
    assert (v["split"], v["examples"]) == ("test", [40, 40])
    assert set(v["to_b"]) >= {
        "cycle_error",
        "sliced_wasserstein",
        "sliced_wasserstein:floor",
        "sliced_wasserstein:input",
        "n",
    }
    some = ("--features", "random-conv-v2", "-n", "40", "--pairs", "emoji", "emoji-flat")
    report = told(capsys, "evaluate", str(tmp_path / "run"), *some)
    assert report["to_b"]["sliced_wasserstein"] == pytest.approx(v["to_b"]["sliced_wasserstein"], rel=1e-4)
    assert report["pairs"]["examples"] == 199  # of the test split, as the rest
    text = said(capsys, "evaluate", str(tmp_path / "run"), "emoji", "emoji-flat", "--split", "test", *some)
    for words in (
        "on 40 and 40 given examples", "translations to A:", "cycle error", "mean_rank (pairs)",
        "feature_top1_accuracy (pairs)",
        "unchanged",
    ):  # fmt: skip
        assert words in text, words


def test_vectors_are_measured_too() -> None:
    a, b = load("ring").select(slice(300)), load("grid").select(slice(200))
    run = ganvas.train(DiscoGAN(width=8, reconstruct="none"), (a, b), steps=2, batch_size=20, quiet=True)
    v = ganvas.evaluate(run, (a, b), pairs=(a.select(slice(50)), b.select(slice(50))))
    assert "to_a" not in v
    assert "cycle_error" not in v["to_b"]
    assert "psnr_db" not in v["pairs"]["to_b"]


def test_few_examples_have_the_numbers_that_they_can_have() -> None:
    run, (a, b) = of_size(negatives()), (drawings(12), negative(drawings(12, 1)))
    for n in (2, 5, 12, None):
        v = measured(run, a, b, n=n, pairs=(a, negative(a)), features="pixels")
        assert v["to_b"]["skip_reasons"]["kid"].startswith("kid needs at least 20 examples of each")
        assert v["to_b"]["cycle_error"] == pytest.approx(0, abs=1e-6)
        assert v["pairs"]["to_b"]["mean_rank"] == 1
    assert "  kid                      left out: kid needs at least 20" in "\n".join(translator_lines(v))
    for n, words in ((0, "n=0: give 1 or more"), (1, "give 2 examples of each domain or more")):
        with pytest.raises(UserError, match=words):
            measured(run, a, b, n=n)
    with pytest.raises(UserError, match="give 2 examples of each domain or more"):
        measured(run, a.select(slice(1)), b)


def test_metrics_are_those_asked_for() -> None:
    run, (a, b) = of_size(negatives()), (drawings(), negative(drawings(60, 1)))
    v = measured(run, a, b, metrics=("prdc", "fid"), allow_few=True, features="random-conv-v2")
    names = {name.split(":")[0] for name in v["to_b"]}
    assert {"precision", "coverage", "fid", "sliced_wasserstein"} <= names
    assert list(v["to_b"]["skip_reasons"]) == ["fid_infinity"]
    assert "kid" not in names
    assert "  precision:random-conv-v2@" in "\n".join(translator_lines(v))
    for options, words in (
        ({"metrics": ("elbo",)}, "elbo cannot be measured of this cyclegan: it has kid, fid"),
        ({"fitted_prior": "best"}, "this cyclegan translates, and has no use for fitted_prior: leave out fitted_prior"),
        ({"importance_samples": 500, "draws": 3}, "no use for importance_samples and draws"),
        ({"allow_few": True}, "allow_few is about the Frechet distance, which is not measured"),
        ({"metrics": ("kid",), "n": 12}, "kid needs at least 20 examples of each"),
    ):
        with pytest.raises(UserError, match=words):
            measured(run, a, b, features="pixels", **options)


def test_long_work_says_how_long_it_will_take(monkeypatch: pytest.MonkeyPatch) -> None:
    """Translations, and features of each side, of the domains as of pairs."""
    monkeypatch.setattr("ganvas.metrics.features.base.REPORT_SECONDS", -1)
    monkeypatch.setattr("ganvas.metrics.features.base.MAX_BATCH_SIZE", 20)
    said: list[str] = []
    run, (a, b) = of_size(negatives()), (drawings(), negative(drawings(60, 1)))
    ganvas.evaluate(run, (a, b), pairs=(a, negative(a)), features="random-conv-v1", progress=said.append)
    assert all(line.endswith(" s left") for line in said if " of 60" in line)
    paired = said[said.index("errors of translations to B") : said.index("errors of translations to A")]
    assert [line.split(",")[0] for line in paired[1:]] == [
        "translations to B: 32 of 60",
        *(f"random-conv-v1 of {name}: {done} of 60" for name in ("translations", "negatives", "drawings")
          for done in (20, 40)),
    ]  # fmt: skip
    ways = said[said.index("translations to B") : said.index("translations to A")]
    assert {line.split(":")[0] for line in ways[1:]} == {
        "translations to B", "translations to A", "random-conv-v1 of negatives", "random-conv-v1 of translations",
    }  # fmt: skip


def test_what_would_fail_in_the_end_fails_before_anything_is_translated(monkeypatch: pytest.MonkeyPatch) -> None:
    def translated(*_: Any) -> None:
        raise AssertionError("something was translated")

    monkeypatch.setattr(Trained, "translate_batch", translated)
    run, (a, b) = of_size(negatives()), (drawings(), negative(drawings(60, 1)))
    for options, words in (
        ({"features": "inception"}, "there are no features 'inception'"),
        ({"metrics": ("fid",), "features": "pixels"}, "a Frechet distance of 30 examples on 768 features"),
        ({"pairs": (a, b.select(slice(50)))}, "pairs need as many examples in both domains"),
    ):
        with pytest.raises(UserError, match=words):
            measured(run, a, b, **options)


def bars(degrees: np.ndarray, seed: int) -> Dataset:
    """Noisy images of a bar that is turned by so many degrees, which its class is named after."""
    down, right = np.mgrid[-7.5:8:1, -7.5:8:1]
    angle = degrees[:, None, None] * np.pi / 180
    near = np.exp(-((right * np.sin(angle) - down * np.cos(angle)) ** 2) / 4)
    x = near * 200 + np.random.default_rng(seed).integers(0, 50, near.shape)
    return from_array(np.repeat(x[..., None], 3, 3).astype(np.uint8), np.array([f"{d}deg" for d in degrees]))


def test_angles_of_translations_are_read_off_and_have_a_floor() -> None:
    degrees = np.random.default_rng(0).integers(-8, 9, 80) * 10
    a, run = bars(degrees, 0), of_size(negatives())
    right = measured(run, a, negative(a), pairs=(a, negative(a)), features="pixels")
    truth = right["pairs"]["to_b"]
    assert truth["angle_rmse"] == pytest.approx(truth["angle_rmse:floor"])
    assert truth["angle_rmse:floor"] < 5
    assert truth["angle_correlation"] > 0.7
    assert "  angle_rmse (pairs)  " in "\n".join(translator_lines(right))
    turned = bars(-degrees, 1)  # the translator should mirror the bars, and does not
    wrong = measured(run, a, negative(a), pairs=(a, negative(turned)), features="pixels")["pairs"]["to_b"]
    off = np.remainder(2 * degrees + 180, 360) - 180
    assert wrong["angle_rmse"] == pytest.approx(np.sqrt((off**2).mean()), rel=0.05)
    assert wrong["angle_correlation"] < -0.7
    assert wrong["angle_rmse:floor"] < 5
    plain = Dataset(x=a.x, labels=a.labels, classes=tuple(name.removesuffix("deg") for name in a.classes))
    assert "angle_rmse" not in measured(run, a, a, pairs=(a, plain), features="pixels")["pairs"]["to_b"]


def test_what_does_not_fit_is_refused() -> None:
    run = of_size(negatives())
    a, b = drawings(), drawings(50, 1)
    with pytest.raises(UserError, match="pairs need as many examples in both domains.*drawings has 60, drawings 50"):
        measured(run, a, b, pairs=(a, b))
    with pytest.raises(UserError, match="has two domains: give both, A and B"):
        ganvas.evaluate(run, a)
    with pytest.raises(UserError, match="weights file does not say where the model's data are: give both domains"):
        ganvas.evaluate(run)
    with pytest.raises(UserError, match="but this model was trained on"):
        measured(negatives(), a, b)
    vae = ganvas.train(ganvas.VAE(latent=2, width=4), a, steps=1, batch_size=4, quiet=True)
    with pytest.raises(UserError, match="vae learns from one dataset"):
        ganvas.evaluate(vae, a, pairs=(a, b))
    assert run.model.translate(torch.zeros(1, *RGB), "B", **run.nets).shape == (1, *RGB)
