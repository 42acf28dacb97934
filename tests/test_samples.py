"""The numbers of samples: names, floors, what they see, and what is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import ganvas
from ganvas.artifact import Trained
from ganvas.data import Collection, load
from ganvas.errors import UserError
from ganvas.evaluation import evaluate
from ganvas.features.efficientnet import LITE0


@pytest.fixture(autouse=True)
def without_lite0(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether or not its weights are installed, which would take a second for 20 images."""
    monkeypatch.setattr(LITE0.__class__, "found", lambda self: None)


@pytest.fixture(scope="module")
def gan(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("gan") / "run"
    return ganvas.train(ganvas.DCGAN(width=4), "emoji", steps=3, batch=8, folder=folder, quiet=True)


def pretending(trained: Trained, data: Collection, monkeypatch: pytest.MonkeyPatch) -> Trained:
    """A model whose samples are these examples."""

    def decode(self: Trained, z: torch.Tensor, labels: torch.Tensor | None = None) -> Any:
        return replace(data, x=data.x[torch.arange(len(z)) % len(data)])

    monkeypatch.setattr(Trained, "decode", decode)
    return trained


def test_every_number_says_whose_features_it_was_taken_on_and_has_a_floor(gan: Trained) -> None:
    found = evaluate(gan, n=100, few=True)
    tag = found["features"]
    assert tag.startswith("random-conv-v1@")
    for name in ("fid", "kid", "precision", "recall", "density", "coverage", "two_sample", "memorised", "duplicates"):
        assert f"{name}:{tag}" in found
        assert f"{name}:{tag}:floor" in found
    assert found[f"kid:{tag}:error"] > 0
    said = "classes need features that classify, which random-conv-v1 do not, or a model that knows labels"
    assert found["left_out"] == {"classes": said}
    assert (found["samples"], found["split"], found["floor_from"]) == (100, "test", "train")
    assert "averaged weights" in found["protocol"]
    # three steps make no emoji
    assert found[f"fid:{tag}"] > 5 * found[f"fid:{tag}:floor"]
    assert found[f"precision:{tag}"] < found[f"precision:{tag}:floor"] / 2
    assert found[f"two_sample:{tag}"] > 0.9
    assert found["sliced_wasserstein"] > 2 * found["sliced_wasserstein:floor"]


def test_the_same_seed_gives_the_same_numbers(gan: Trained) -> None:
    first = evaluate(gan, n=50, metrics=("kid", "prdc", "sliced-wasserstein", "ms-ssim"))
    assert evaluate(gan, n=50, metrics=("kid", "prdc", "sliced-wasserstein", "ms-ssim")) == first
    other = evaluate(gan, n=50, metrics=("kid", "prdc", "sliced-wasserstein", "ms-ssim"), seed=1)
    assert other["sliced_wasserstein"] != first["sliced_wasserstein"]


def test_numbers_do_not_depend_on_how_much_is_computed_at_once(gan: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    first = evaluate(gan, n=60, metrics=("kid", "prdc"))
    for name, value in (("artifact.CHUNK", 7), ("features.base.BLOCK", 9), ("metrics.neighbours.ROWS", 11)):
        monkeypatch.setattr(f"ganvas.{name}", value)
    again = evaluate(gan, n=60, metrics=("kid", "prdc"))
    assert {k: v for k, v in again.items() if isinstance(v, float)} == pytest.approx(
        {k: v for k, v in first.items() if isinstance(v, float)}, rel=1e-3
    )


def test_real_examples_as_samples_are_as_good_as_the_floor(gan: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    rest = load("emoji").some(199, "not those of the floor")
    found = evaluate(pretending(gan, rest, monkeypatch), few=True)
    tag = found["features"]
    assert found[f"fid:{tag}"] == pytest.approx(found[f"fid:{tag}:floor"], rel=0.15)
    assert found[f"two_sample:{tag}"] == pytest.approx(found[f"two_sample:{tag}:floor"], abs=0.1)
    assert found[f"memorised:{tag}"] == 1, "they are the training examples"
    assert found[f"nearer_to_training:{tag}"] > 0.99


def test_copies_of_a_few_examples_are_duplicates(gan: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    found = evaluate(pretending(gan, load("emoji").at(slice(20)), monkeypatch), metrics=("duplicates", "prdc"))
    tag = found["features"]
    assert found[f"duplicates:{tag}"] == 1
    assert found[f"recall:{tag}"] < found[f"recall:{tag}:floor"] / 2


def test_given_data_are_halved_and_memorisation_is_left_out(gan: Trained) -> None:
    found = evaluate(gan, "emoji", few=True)
    assert (found["samples"], found["split"], found["floor_from"]) == (679, "given", "halves")
    assert list(found["left_out"]) == ["memorisation", "classes"]
    with pytest.raises(UserError, match="memorisation needs held-out examples besides the training data"):
        evaluate(gan, "emoji", metrics=("memorisation",))


def test_too_few_samples_for_a_frechet_distance(gan: Trained) -> None:
    sentence = "a Frechet distance of 100 examples on 448 features is mostly bias: use more"
    with pytest.raises(UserError, match=sentence):
        evaluate(gan, n=100, metrics=("fid",))
    assert evaluate(gan, n=100, metrics=("fid",), features="random-conv-v1", few=True)["samples"] == 100
    assert list(evaluate(gan, n=100)["left_out"]) == ["fid", "classes"]


def test_long_work_says_how_long_it_will_take(gan: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganvas.evaluation.samples.SILENT", 0)
    monkeypatch.setattr("ganvas.features.base.BLOCK", 40)
    said: list[str] = []
    evaluate(gan, n=100, metrics=("kid",), progress=said.append)
    assert said[0] == "100 samples and their features"
    assert [line.split(", ")[0] for line in said[1:-1]] == [
        f"random-conv-v1 of {name}: {done} of 100" for name in ("emoji", "emoji", "generated") for done in (40, 80)
    ]
    assert all(line.endswith(" s left") for line in said[1:-1])


def test_vectors_have_distances_of_their_own(tmp_path: Path) -> None:
    run = ganvas.train(ganvas.GAN(latent=2, width=16), "ring", steps=3, folder=tmp_path / "run", quiet=True)
    found = evaluate(run, n=500)
    for name in ("energy", "wasserstein", "correlations"):
        if f"{name}_missing" not in found:
            assert found[name] > 2 * found[f"{name}:floor"], name
    assert len(found["marginals"]) == 2
    assert found["fid:values"] > 10 * found["fid:values:floor"]
    with pytest.raises(UserError, match="ms-ssim cannot be measured of this gan"):
        evaluate(run, metrics=("ms-ssim",))


def test_a_vae_has_both_kinds_of_numbers(tmp_path: Path) -> None:
    vae = ganvas.VAE(latent=2, width=4)
    run = ganvas.train(vae, "emoji", steps=2, batch=8, size=8, folder=tmp_path / "run", quiet=True)
    found = evaluate(run, k=2, n=40)
    assert {"elbo", "bound", "active_units", "psnr_db", "sliced_wasserstein"} <= found.keys()
    assert found["examples"] == found["samples"] == 40
