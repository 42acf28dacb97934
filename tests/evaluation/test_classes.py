"""The metric `classes`: what a classifier says of samples, and the numbers of each class."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import ganvas
from ganvas.cli.app import main
from ganvas.data import from_array, load
from ganvas.errors import UserError
from ganvas.evaluation import evaluate
from ganvas.inference.trained import Trained
from ganvas.metrics import kernel_distance
from ganvas.metrics.classes import classifier_labels, classifier_score, label_accuracy
from tests.support.classifiers import KNOWS, brightness, shades, verdict


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("cgan") / "run"
    return ganvas.train(
        ganvas.CGAN(latent=2, width=4), shades(400, 0), steps=2, batch_size=8, folder=folder, quiet=True
    )


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganvas.evaluation.samples.make_feature_space", lambda *_, **__: KNOWS)


def pretending(monkeypatch: pytest.MonkeyPatch, choose: Any) -> None:
    """Models that generate an example of class `choose(label)` where the label is asked for."""
    pool = shades(400, 1)
    assert pool.labels is not None
    places = [(pool.labels == c).nonzero()[:, 0] for c in range(3)]

    def decode(self: Trained, z: Tensor, labels: Tensor) -> Any:
        index = [places[choose(int(y))][i % len(places[choose(int(y))])] for i, y in enumerate(labels)]
        return replace(pool, x=pool.x[torch.stack(index)])

    monkeypatch.setattr(Trained, "decode", decode)


@pytest.mark.usefixtures("known")
def test_a_model_that_obeys_its_labels_is_at_the_floor(run: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    pretending(monkeypatch, lambda y: y)
    found = evaluate(run, shades(400, 2), metrics=("classes",))
    assert found["label_agreement:toy@00000000"] == found["label_agreement:toy@00000000:floor"] == 1
    assert found["label_agreement_by_class:toy@00000000"] == {"dark": 1.0, "grey": 1.0, "bright": 1.0}
    assert found["classifier_score:toy@00000000"] == pytest.approx(
        found["classifier_score:toy@00000000:floor"], rel=0.05
    )
    assert found["classifier_score:toy@00000000:error"] > 0
    far, floor = (found[f"kid_by_class:toy@00000000{suffix}"] for suffix in ("", ":floor"))
    assert list(far) == ["dark", "grey", "bright"]
    assert abs(far["grey"]) < 1e-2
    assert abs(floor["grey"]) < 1e-2
    assert far["bright"] is None, "20 of 400 are too few for two halves"


@pytest.mark.usefixtures("known")
def test_a_model_that_confuses_two_classes_is_seen_to(run: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    pretending(monkeypatch, lambda y: (1, 0, 2)[y])
    found = evaluate(run, shades(400, 2), metrics=("classes",))
    assert found["label_agreement_by_class:toy@00000000"] == {"dark": 0.0, "grey": 0.0, "bright": 1.0}
    assert found["label_agreement:toy@00000000"] == pytest.approx(0.1, abs=0.05)
    far, floor, error = (found[f"kid_by_class:toy@00000000{suffix}"] for suffix in ("", ":floor", ":error"))
    assert far["dark"] > 0.5 > 10 * abs(floor["dark"])
    assert 0 < error["dark"] < far["dark"]


@pytest.mark.usefixtures("known")
def test_numbers_are_those_of_their_parts(run: Trained) -> None:
    data = shades(400, 2)
    found = evaluate(run, data, metrics=("classes",))
    half, other = (
        data.sample(400, 0, "halves").select(part).sample(200, 0, key)
        for part, key in ((slice(200), "held out"), (slice(200, 400), "other"))
    )
    labels = data.sample(400, 0, "halves").select(slice(200, 400)).sample(200, 0, "labels").labels
    made = run.decode(run.sample_codes(200, 0, None), labels).x
    assert half.labels is not None
    assert labels is not None
    logits = verdict(brightness(made))
    assert found["label_agreement:toy@00000000"] == label_accuracy(logits, labels)
    assert found["classifier_score:toy@00000000"] == pytest.approx(classifier_score(logits).mean().item())
    real = classifier_score(verdict(brightness(half.x))).mean().item()
    assert found["classifier_score:toy@00000000:floor"] == pytest.approx(real), "of the held-out examples"
    assert other.labels is not None
    a, b, c = (brightness(x)[y == 1] for x, y in ((half.x, half.labels), (made, labels), (other.x, other.labels)))
    n = min(len(a), len(b))
    value = kernel_distance(a[:n], b[:n]).mean().item()
    assert found["kid_by_class:toy@00000000"]["grey"] == pytest.approx(value, rel=1e-5)
    n = min(len(a), len(c))
    floor = kernel_distance(a[:n], c[:n]).mean().item()
    assert found["kid_by_class:toy@00000000:floor"]["grey"] == pytest.approx(floor, rel=1e-5)


def test_labels_go_by_name_and_numbers_only_where_there_are_no_names() -> None:
    names = ("shirt", "shoe", "bag")
    data = from_array(torch.zeros(3, 4, 4, dtype=torch.uint8), [1, 0, 1], classes=("bag", "shoe"))
    found = classifier_labels(names, data)
    assert found is not None
    assert found.tolist() == [1, 2, 1]
    numbered = classifier_labels(names, from_array(torch.zeros(3, 4, 4, dtype=torch.uint8), [2, 0, 1]))
    assert numbered is not None
    assert numbered.tolist() == [2, 0, 1]
    digits = replace(data, classes=("7", "3"))
    assert classifier_labels(tuple("0123456789"), digits).tolist() == [3, 7, 3]  # type: ignore[union-attr]
    assert classifier_labels(names, replace(data, classes=("bag", "hat"))) is None
    assert classifier_labels(names, replace(data, labels=None)) is None
    assert classifier_labels((), data) is None


def test_without_a_classifier_a_conditional_model_has_distances_only(run: Trained) -> None:
    found = evaluate(run, shades(400, 2), metrics=("classes",), features="pixels")
    assert "classifier_score:pixels" not in found
    assert found["kid_by_class:pixels"]["grey"] > 10 * abs(found["kid_by_class:pixels:floor"]["grey"])


def test_without_either_there_is_nothing() -> None:
    gan = ganvas.train(ganvas.GAN(latent=2, width=4), shades(400, 0), steps=1, batch_size=8, quiet=True)
    sentence = "classes need features that classify, which pixels do not, or a model that knows labels"
    with pytest.raises(UserError, match=sentence):
        evaluate(gan, shades(400, 2), metrics=("classes",), features="pixels")


def test_lenet_scores_any_image_of_its_size(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """And knows whose labels are its own: emoji of 28 x 28 grey pixels are no digits."""
    gan = ganvas.CGAN(latent=2, width=4)
    ganvas.train(gan, "emoji", size="28", channels=1, steps=1, batch_size=8, folder=tmp_path / "run", quiet=True)
    assert main(["evaluate", str(tmp_path / "run"), "--features", "lenet-mnist-v1", "--metrics", "classes"]) == 0
    out = capsys.readouterr().out
    assert "features lenet-mnist-v1@" in out
    assert "\nclassifier_score  " in out
    assert "  animals" in out
    assert "none, floor none" in out, "classes with fewer than 20 held-out images"
    assert "label_agreement" not in out
    assert len(load("emoji", ganvas.data.DataOptions(split="test"))) == 199
