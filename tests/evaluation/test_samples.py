"""The numbers of samples: names, floors, what they see, and what is refused."""

from dataclasses import replace
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ganvas
from ganvas.cli.evaluate import sample_lines
from ganvas.data import DataOptions, Dataset, from_array, load
from ganvas.errors import UserError
from ganvas.evaluation import evaluate
from ganvas.inference.trained import Trained
from ganvas.metrics import kernel_distance
from ganvas.metrics.features import FeatureSpace, make_feature_space
from ganvas.metrics.features.efficientnet import LITE0
from ganvas.model import model_name_with_article


@pytest.fixture(autouse=True)
def without_lite0(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether or not its weights are installed, which would take a second for 20 images."""
    monkeypatch.setattr(LITE0.__class__, "find", lambda self: None)


@pytest.fixture(scope="module")
def gan(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("gan") / "run"
    return ganvas.train(ganvas.DCGAN(width=4), "emoji", steps=3, batch_size=8, folder=folder, quiet=True)


def pretending(trained: Trained, data: Dataset, monkeypatch: pytest.MonkeyPatch) -> Trained:
    """A model whose samples are these examples."""

    def decode(self: Trained, z: torch.Tensor, labels: torch.Tensor | None = None) -> Any:
        return replace(data, x=data.x[torch.arange(len(z)) % len(data)])

    monkeypatch.setattr(Trained, "decode", decode)
    return trained


def test_every_number_says_whose_features_it_was_taken_on_and_has_a_floor(gan: Trained) -> None:
    found = evaluate(gan, n=100, allow_few=True)
    tag = found["features"]
    assert tag.startswith("random-conv-v2@")
    for name in (
        "fid",
        "kid",
        "precision",
        "recall",
        "density",
        "coverage",
        "one_nn_accuracy",
        "memorisation_rate",
        "duplicate_rate",
    ):
        assert f"{name}:{tag}" in found
        assert f"{name}:{tag}:floor" in found
    assert found[f"kid:{tag}:error"] > 0
    said = "classes need features that classify, which random-conv-v2 do not, or a model that knows labels"
    assert (
        found["skip_reasons"]
        .pop("fid_infinity")
        .startswith("fid_infinity is extrapolated from half of the examples on")
    )
    assert found["skip_reasons"] == {"classes": said}
    assert (found["samples"], found["split"], found["floor_source"]) == (100, "test", "train")
    assert "averaged weights" in found["protocol"]
    # three steps make no emoji
    assert found[f"fid:{tag}"] > 5 * found[f"fid:{tag}:floor"]
    assert found[f"precision:{tag}"] < found[f"precision:{tag}:floor"] / 2
    assert found[f"one_nn_accuracy:{tag}"] > 0.9
    assert found["sliced_wasserstein"] > 2 * found["sliced_wasserstein:floor"]


def test_the_same_seed_gives_the_same_numbers(gan: Trained) -> None:
    first = evaluate(gan, n=50, allow_few=True)
    torch.manual_seed(5)
    again = evaluate(gan, n=50, allow_few=True)
    for name, value in first.items():  # decompositions depend on where in memory matrices lie, in the last digit
        assert again[name] == pytest.approx(value, rel=1e-9) if name.startswith("fid") else again[name] == value, name
    other = evaluate(gan, n=50, allow_few=True, seed=1)
    assert other["sliced_wasserstein"] != first["sliced_wasserstein"]


def test_numbers_do_not_depend_on_how_much_is_computed_at_once(gan: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of the generator, of features and of distances: but for rounding, all numbers are the same."""
    first = evaluate(gan, n=60, allow_few=True)
    for name, value in (
        ("inference.trained.MAX_EXAMPLES_PER_CHUNK", 7),
        ("metrics.features.base.MAX_BATCH_SIZE", 9),
        ("metrics.neighbours.ROWS_PER_CHUNK", 11),
    ):
        monkeypatch.setattr(f"ganvas.{name}", value)
    for name, value in (("fid.ROWS_PER_CHUNK", 13), ("distances.DIRECTIONS_PER_CHUNK", 17)):
        monkeypatch.setattr(f"ganvas.metrics.{name}", value)
    again = evaluate(gan, n=60, allow_few=True)
    assert {k: v for k, v in again.items() if isinstance(v, float)} == pytest.approx(
        {k: v for k, v in first.items() if isinstance(v, float)}, rel=1e-3
    )
    assert len([v for v in first.values() if isinstance(v, float)]) > 28


def test_examples_of_another_size_or_with_other_channels_are_refused(gan: Trained) -> None:
    for shape, said in (((9, 16, 16, 3), "3x16x16"), ((9, 32, 32, 1), "1x32x32"), ((9, 5), "5")):
        data = from_array(np.zeros(shape, np.uint8 if len(shape) == 4 else np.float32), name="others")
        with pytest.raises(UserError, match=f"others has examples of {said}, but this model was trained on 3x32x32"):
            evaluate(gan, data)
    with pytest.raises(UserError, match="n=0: give 1 or more"):
        evaluate(gan, n=0)


def test_real_examples_as_samples_are_as_good_as_the_floor(gan: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    rest = load("emoji").sample(199, "not those of the floor")
    found = evaluate(pretending(gan, rest, monkeypatch), allow_few=True)
    tag = found["features"]
    assert found[f"fid:{tag}"] == pytest.approx(found[f"fid:{tag}:floor"], rel=0.15)
    assert found[f"one_nn_accuracy:{tag}"] == pytest.approx(found[f"one_nn_accuracy:{tag}:floor"], abs=0.1)
    assert found[f"memorisation_rate:{tag}"] == 1, "they are the training examples"
    assert found[f"nearer_to_training:{tag}"] > 0.99


def test_a_floor_is_the_same_number_of_the_other_real_examples(gan: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a model that draws just these has it; and it does not depend on what is measured."""
    names = ("fid", "kid", "prdc", "one-nn", "duplicates", "sliced-wasserstein", "ms-ssim")
    apart = evaluate(gan, allow_few=True, metrics=names)
    other = load("emoji").sample(199, 0, "other")
    alike = evaluate(pretending(gan, other, monkeypatch), allow_few=True, metrics=names)
    floors = [name for name in alike if name.endswith(":floor")]
    assert len(floors) == 12
    for floor in floors:
        name = floor.removesuffix(":floor")
        assert alike[floor] == pytest.approx(alike[name], rel=1e-6), name
        assert apart[floor] == pytest.approx(alike[floor], rel=1e-6), name
        assert apart[name] != pytest.approx(apart[floor], rel=0.05), name
    kid = f"kid:{alike['features']}"
    real = load("emoji", DataOptions(split="test")).sample(199, 0, "held out")
    space = make_feature_space("random-conv-v2", (3, 32, 32))
    assert alike[f"{kid}:floor"] == pytest.approx(
        kernel_distance(space(real.x), space(other.x)).mean().item(), rel=1e-5
    )
    assert abs(alike[f"{kid}:floor"]) < 3 * alike[f"{kid}:error"]
    assert apart[kid] > 10 * apart[f"{kid}:error"]


def test_a_floor_of_vectors_is_too(monkeypatch: pytest.MonkeyPatch) -> None:
    run = ganvas.train(ganvas.GAN(latent=2, width=4), "ring", steps=1, batch_size=8, quiet=True)
    other = load("ring").sample(300, 0, "other")
    names = ("kid", "distances", "modes", "sliced-wasserstein")
    apart, alike = (
        evaluate(run, n=300, metrics=names),
        evaluate(pretending(run, other, monkeypatch), n=300, metrics=names),
    )
    floors = [name for name in alike if name.endswith(":floor")]
    assert len(floors) >= 10
    for floor in floors:
        assert alike[floor] == pytest.approx(alike[floor.removesuffix(":floor")], rel=1e-6), floor
        assert apart[floor] == pytest.approx(alike[floor], rel=1e-6), floor


def test_copies_of_a_few_examples_are_duplicates(gan: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    found = evaluate(pretending(gan, load("emoji").select(slice(20)), monkeypatch), metrics=("duplicates", "prdc"))
    tag = found["features"]
    assert found[f"duplicate_rate:{tag}"] == 1
    assert found[f"recall:{tag}"] < found[f"recall:{tag}:floor"] / 2


def test_given_data_are_halved_and_memorisation_is_left_out(gan: Trained) -> None:
    found = evaluate(gan, "emoji", allow_few=True)
    assert (found["samples"], found["split"], found["floor_source"]) == (679, "custom", "halves")
    assert list(found["skip_reasons"]) == ["fid_infinity", "memorisation", "classes"]
    with pytest.raises(UserError, match="memorisation needs held-out examples besides the training data"):
        evaluate(gan, "emoji", metrics=("memorisation",))


def test_fewer_samples_than_were_asked_for_are_told(gan: Trained) -> None:
    told: list[str] = []
    data = load("emoji").select(slice(24))
    evaluate(gan, data, n=30, metrics=("duplicates",), progress=told.append)
    why = "30 asked for, but the data allow 12: there are 12 examples to compare with, and 12 others for the floor"
    assert told[0] == f"12 samples and their features ({why})"
    told.clear()
    evaluate(gan, data, n=12, metrics=("duplicates",), progress=told.append)
    evaluate(gan, data, metrics=("duplicates",), progress=told.append)
    assert not any("asked for" in line for line in told)
    evaluate(gan, data, n=10_000, metrics=("duplicates",), progress=told.append)  # the default, asked for
    assert "(10000 asked for, but the data allow 12" in told[-2]


def test_too_few_samples_for_a_frechet_distance(gan: Trained) -> None:
    sentence = "a Frechet distance of 100 examples on 384 features is mostly bias: use more"
    with pytest.raises(UserError, match=sentence):
        evaluate(gan, n=100, metrics=("fid",))
    assert evaluate(gan, n=100, metrics=("fid",), features="random-conv-v2", allow_few=True)["samples"] == 100
    assert list(evaluate(gan, n=100)["skip_reasons"]) == ["fid", "classes"]


def test_infinitely_many_are_left_out_where_too_few_are_extrapolated(gan: Trained) -> None:
    """On 384 features they take 1,536 examples; the distance itself is there."""
    few = evaluate(gan, n=100, allow_few=True, metrics=("fid",))
    tag = few["features"]
    assert few[f"fid:{tag}"] > 0
    assert f"fid_infinity:{tag}" not in few
    assert "1536 examples at least, and here are 100" in few["skip_reasons"]["fid_infinity"]
    ring = ganvas.train(ganvas.GAN(latent=2, width=4), "ring", steps=1, batch_size=8, quiet=True)
    assert list(evaluate(ring, n=7, metrics=("fid",))["skip_reasons"]) == ["fid_infinity"]
    many = evaluate(ring, n=100, metrics=("fid",))
    assert many["skip_reasons"] == {}
    assert 0 < many["fid_infinity:values:error"] < many["fid_infinity:values"]


def test_no_image_is_compared_with_itself(gan: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    monkeypatch.setattr("ganvas.metrics.similarity.ms_ssim", lambda a, b: (seen.append((a, b)), torch.zeros(len(a)))[1])
    for n in (2, 3, 199):
        evaluate(pretending(gan, load("emoji").sample(199, 1), monkeypatch), n=n, metrics=("ms-ssim",))
    assert len(seen) == 6
    assert not any((a == b).flatten(1).all(1).any() for a, b in seen)
    first, second = ({tuple(x.flatten()[:99].tolist()) for x in side} for side in seen[-2])
    assert min(len(first), len(second)) > 100, "any two"


def test_what_would_fail_in_the_end_fails_before_anything_is_computed(
    gan: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vae = ganvas.train(
        ganvas.VAE(latent=2, width=4), "emoji", steps=1, batch_size=8, folder=tmp_path / "vae", quiet=True
    )
    vae = replace(vae, priors=None)

    def computed(*_: Any, **__: Any) -> None:
        raise AssertionError("something was computed")

    monkeypatch.setattr(FeatureSpace, "__call__", computed)
    monkeypatch.setattr(Trained, "decode", computed)
    monkeypatch.setattr("ganvas.evaluation.codes.measure", computed)
    for run in (gan, vae):
        with pytest.raises(UserError, match="no encoder to fit a prior" if run is gan else "no prior was fitted"):
            evaluate(run, fitted_prior="best")
        with pytest.raises(UserError, match="there is no prior 'bset'"):
            evaluate(run, fitted_prior="bset")
        with pytest.raises(UserError, match="there are no features 'inception'"):
            evaluate(run, features="inception")
        with pytest.raises(UserError, match="samples are compared with as many held-out examples, 2 at least"):
            evaluate(run, n=1)
        with pytest.raises(UserError, match="a Frechet distance of 100 examples on 384 features is mostly bias"):
            evaluate(run, n=100, metrics=("elbo", "fid") if run is vae else ("fid",))
        with pytest.raises(UserError, match="memorisation needs held-out examples"):
            evaluate(run, "emoji", metrics=("memorisation",))
    with pytest.raises(UserError, match="no prior was fitted to this vae"):
        ganvas.compare(gan, (vae, "best"))
    with pytest.raises(UserError, match="a Frechet distance of 100 examples"):
        ganvas.compare(gan, vae, n=100, metrics=("fid",))


def test_few_samples_of_any_model_have_the_numbers_that_they_can_have(gan: Trained, tmp_path: Path) -> None:
    """None of a few is an error; what needs more is left out, and says of how many."""
    options: dict[str, Any] = {"steps": 1, "batch_size": 8, "quiet": True}
    ring = ganvas.train(ganvas.GAN(latent=2, width=4), "ring", folder=tmp_path / "ring", **options)
    vae = ganvas.train(ganvas.VAE(latent=2, width=4), "emoji", folder=tmp_path / "vae", **options)
    for run in (gan, ring, vae):
        for n in (2, 5):
            found = evaluate(run, n=n, importance_samples=2, allow_few=True)
            assert found["samples"] == n
            assert {"kid", "prdc"} <= set(found["skip_reasons"])
            assert found["skip_reasons"]["kid"].startswith("kid needs at least 20 examples")
            assert found["sliced_wasserstein"] > 0
        for n, said in ((0, "n=0: give 1 or more"), (1, "2 at least, and here is 1: give more data, or a higher n")):
            with pytest.raises(UserError, match=said):
                evaluate(run, n=n)
    assert evaluate(vae, n=1, importance_samples=2, metrics=("elbo", "bound"))["elbo_error"] is None
    other = ganvas.train(ganvas.GAN(latent=3, width=4), "ring", folder=tmp_path / "other", **options)
    for n in (2, 5):
        assert "kid" in ganvas.compare(ring, other, n=n)["skip_reasons"]
    with pytest.raises(UserError, match="2 at least, and here is 1"):
        ganvas.compare(ring, other, n=1)


def test_long_work_says_how_long_it_will_take(gan: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganvas.metrics.features.base.REPORT_SECONDS", 0)
    monkeypatch.setattr("ganvas.metrics.features.base.MAX_BATCH_SIZE", 40)
    said: list[str] = []
    evaluate(gan, n=100, metrics=("kid",), progress=said.append)
    assert said[0] == "100 samples and their features"
    assert said[1] == "kid"
    assert sorted(line.split(", ")[0] for line in said[2:]) == [
        f"random-conv-v2 of {name}: {done} of 100"
        for name in ("emoji", "generated")
        for done in (40, 80)
        for _ in range(2 if name == "emoji" else 1)
    ]
    assert all(line.endswith(" s left") for line in said[2:])


def test_vectors_have_distances_of_their_own(tmp_path: Path) -> None:
    run = ganvas.train(ganvas.GAN(latent=2, width=16), "ring", steps=3, folder=tmp_path / "run", quiet=True)
    found = evaluate(run, n=500)
    for name in ("energy", "wasserstein", "correlations"):
        if name not in found["skip_reasons"]:
            assert found[name] > 2 * found[f"{name}:floor"], name
    assert len(found["marginals"]) == 2
    for name in ("marginal_wasserstein", "marginal_kolmogorov"):
        assert 0 < found[f"{name}:floor"] < found[name] / 2
    assert found["modes"] == found["modes_captured:floor"] == 8
    assert found["high_quality:floor"] > 0.97
    assert found["high_quality"] < 0.5
    assert found["reverse_kl:floor"] < 0.02
    assert found["fid:values"] > 10 * found["fid:values:floor"]
    with pytest.raises(UserError, match="ms-ssim cannot be measured of this gan"):
        evaluate(run, metrics=("ms-ssim",))


def test_a_vae_has_both_kinds_of_numbers(tmp_path: Path) -> None:
    vae = ganvas.VAE(latent=2, width=4)
    run = ganvas.train(vae, "emoji", steps=2, batch_size=8, size=8, folder=tmp_path / "run", quiet=True)
    found = evaluate(run, importance_samples=2, n=40)
    assert {"elbo", "bound", "active_units", "psnr_db", "sliced_wasserstein"} <= found.keys()
    assert found["examples"] == found["samples"] == 40


def test_modes_are_those_of_the_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the grid's modes, and one sample in five from between them."""
    run = ganvas.train(ganvas.GAN(latent=2, width=4), "grid", steps=1, folder=tmp_path / "run", quiet=True)
    grid = load("grid").sample(5000, "drawn")
    assert grid.labels is not None
    half = grid.select(grid.labels < 12).select(slice(1000))
    half = replace(half, x=torch.where(torch.arange(1000)[:, None] % 5 == 0, torch.ones(2), half.x))
    found = evaluate(pretending(run, half, monkeypatch), n=1000, metrics=("modes",))
    assert found["modes_captured"] == 12
    assert found["high_quality"] == pytest.approx(0.8 * 0.989, abs=0.01)
    assert found["reverse_kl"] == pytest.approx(log(25 / 12), abs=0.02)


def test_modes_are_known_of_mixtures_only(tmp_path: Path, vectors: Dataset) -> None:
    run = ganvas.train(ganvas.GAN(latent=2, width=4), "ring", steps=1, folder=tmp_path / "run", quiet=True)
    roll = replace(load("swiss-roll"), name="roll")
    with pytest.raises(UserError, match="modes are known of ring and grid only, and these are roll"):
        evaluate(run, roll, n=50, metrics=("modes",))
    assert "modes" in evaluate(run, roll, n=50)["skip_reasons"]
    with pytest.raises(UserError, match="ring is named like a mixture, but its points are not that one's"):
        evaluate(run, replace(roll, name="ring"), n=50, metrics=("modes",))


def test_the_text_says_features_once(gan: Trained, capsys: pytest.CaptureFixture[str]) -> None:
    from ganvas.cli.app import main

    assert main(["evaluate", str(gan.folder), "-n", "50", "--metrics", "kid,prdc", "--quiet"]) == 0
    out = capsys.readouterr().out
    assert out.count("@") == out.count("random-conv-v2") == 1
    assert "\nprecision  " in out


def test_examples_that_were_learnt_from_are_not_called_held_out() -> None:
    numbers = {"samples": 3, "floor_source": "halves", "features": "f", "protocol": "p", "skip_reasons": {}}
    assert sample_lines(numbers | {"split": "train"})[0].startswith("3 samples against as many training examples;")
    assert sample_lines(numbers | {"split": "test"})[0].startswith("3 samples against as many held-out examples;")


def test_names_of_models_have_their_articles() -> None:
    assert [model_name_with_article(model) for model in (ganvas.VAE(), ganvas.Autoencoder())] == [
        "a vae",
        "an autoencoder",
    ]
