"""Copies and duplicates where the data themselves have doubles: a letter that is there twice is no sign of copying.

Of glyphs as of fonts 3% are one and the same, an empty one, so that the usual distance's 1% quantile is 0.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

import ganvas
from ganvas import evaluation
from ganvas.data import Dataset, from_array, load
from ganvas.evaluation import compare
from ganvas.evaluation.held_out import EvaluationData
from ganvas.inference.trained import Trained
from ganvas.metrics import memorisation_test, one_nn_accuracy, precision_recall
from ganvas.metrics.copies import copy_threshold as limit
from ganvas.metrics.copies import expected_copy_rate
from ganvas.metrics.features import make_feature_space
from ganvas.metrics.neighbours import build_indexes, nearest_distances
from ganvas.training.validation import SampleEvaluator
from tests.support.neighbours import duplicates
from tests.support.scores import scores_of

FEATURES = ("pixels", "random-conv-v2")


def glyphs(n: int, seed: int, empty: float = 0.03) -> Dataset:
    """Smooth random images, every so many of them empty."""
    random = torch.Generator().manual_seed(seed)
    x = torch.nn.functional.interpolate(torch.rand(n, 1, 3, 3, generator=random) * 255, (16, 16), mode="bilinear")
    x[: round(empty * n)] = 255
    return from_array(x[torch.randperm(n, generator=random)].byte(), name="glyphs")


TRAIN, TEST = glyphs(400, 0), glyphs(300, 1)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Trained]:
    options: dict[str, Any] = {"steps": 1, "batch_size": 8, "quiet": True, "runs_dir": tmp_path_factory.mktemp("runs")}
    return [ganvas.train(ganvas.GAN(latent=n, width=4), TRAIN, **options) for n in (2, 3)]


@pytest.fixture
def run(runs: list[Trained]) -> Trained:
    return runs[0]


@pytest.fixture
def draws(monkeypatch: pytest.MonkeyPatch) -> Callable[[Dataset], None]:
    """Makes models draw these examples."""

    def patch(data: Dataset) -> None:
        part = torch.arange(10_000) % len(data)
        monkeypatch.setattr(Trained, "decode", lambda self, z, labels=None: data.select(part[: len(z)]))

    return patch


@pytest.fixture(autouse=True)
def split(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run's own data, with a test split."""
    on = EvaluationData(TEST, TRAIN, "test")
    for module in (compare, evaluation):
        monkeypatch.setattr(module, "load_evaluation_data", lambda *_: on)


def numbers(runs: list[Trained], space: str) -> dict[str, Any]:
    """Those of the first model, which `compare` finds too."""
    found = ganvas.evaluate(runs[0], metrics=("memorisation", "duplicates"), features=space)
    both = ganvas.compare(*runs, metrics=("memorisation", "duplicates"), features=space)
    for name, number in both["runs"][0]["numbers"].items():
        assert number["value"] == pytest.approx(found[name], abs=1e-6)
        assert both["floor"][name]["value"] == pytest.approx(found[f"{name}:floor"], abs=1e-6)
    return {name.replace(f":{found['features']}", ""): value for name, value in found.items()}


@pytest.mark.parametrize("space", FEATURES)
def test_a_model_that_copies_all_is_seen_to(space: str, runs: list[Trained], draws: Callable[[Dataset], None]) -> None:
    draws(TRAIN)
    found = numbers(runs, space)
    assert found["memorisation_rate"] == 1
    assert found["nearer_to_training"] > 0.97
    assert found["memorisation_rate:floor"] < 0.06


@pytest.mark.parametrize("space", FEATURES)
def test_a_model_with_a_single_sample_has_duplicates_only(
    space: str, runs: list[Trained], draws: Callable[[Dataset], None]
) -> None:
    draws(TRAIN.select(slice(1)))
    found = numbers(runs, space)
    assert found["duplicate_rate"] == 1
    assert found["duplicate_rate:floor"] < 0.08


@pytest.mark.parametrize("space", FEATURES)
def test_an_honest_model_is_at_the_floor(space: str, runs: list[Trained], draws: Callable[[Dataset], None]) -> None:
    """With as many empty glyphs as the data."""
    off = []
    for seed in range(5):
        draws(glyphs(300, seed + 2))
        found = numbers(runs, space)
        names = ("memorisation_rate", "duplicate_rate", "nearer_to_training")
        off.append([found[name] - found[f"{name}:floor"] for name in names])
    memorised, doubled, nearer = torch.tensor(off).mean(0).tolist()
    assert abs(memorised) < 0.01
    assert abs(doubled) < 0.02
    assert abs(nearer) < 0.03


def test_the_floor_of_memorised_is_what_alike_examples_have() -> None:
    """Of m held-out ones (1 + 0.01 (m - 1)) / (m + 1), for whichever distribution: the quantile is estimated."""
    assert expected_copy_rate(torch.arange(1.0, 10_001).double()) == pytest.approx(0.0101, abs=1e-4)
    random = torch.Generator().manual_seed(0)
    for m in (5, 20, 100):
        usual, new = (torch.rand(600, k, dtype=torch.float64, generator=random) for k in (m, 300))
        share = torch.stack([(b < limit(a)).double().mean() for a, b in zip(usual, new, strict=True)])
        assert expected_copy_rate(usual[0]) == (1 + 0.01 * (m - 1)) / (m + 1)
        assert share.mean().item() == pytest.approx(expected_copy_rate(usual[0]), rel=0.15)
    usual = torch.tensor([0.0] * 30 + [1.0 + i for i in range(70)], dtype=torch.float64)
    assert expected_copy_rate(usual) == pytest.approx(0.3 + 0.7 * (1 + 0.01 * 69) / 71)


def test_equal_features_are_the_same_whatever_the_rounding() -> None:
    """Features of networks differ in the last digits with the block that an example is computed in."""
    random = torch.Generator().manual_seed(0)
    real = torch.randn(200, 30, generator=random) + 3
    noisy = real * (1 + 1e-6 * torch.randn(real.shape, generator=random))
    fresh = torch.randn(200, 30, generator=random) + 3
    data = torch.cat([real, noisy[:20]])  # a tenth of it has doubles
    assert duplicates(data, real[:1].expand(50, -1) + 1e-6) == 1
    assert memorisation_test(real, torch.cat([fresh, noisy[:20]]), noisy).memorised.value == 1
    assert memorisation_test(real, torch.cat([fresh, noisy[:20]]), fresh[:100]).memorised.value <= 0.02


def test_few_examples_far_away_do_not_make_others_the_same() -> None:
    random = torch.Generator().manual_seed(0)
    train, held_out, fresh = torch.randn(3, 500, 3, generator=random).double()
    train[0] = 1e9
    assert memorisation_test(train, held_out, fresh).memorised.value < 0.03
    assert memorisation_test(train, held_out, train).memorised.value == 1


def test_data_of_few_values_are_as_near_to_themselves_as_any() -> None:
    """Each of eight points is there a hundred times over: balls have radius 0, and nearest neighbours are the same."""
    random = torch.Generator().manual_seed(0)
    a, b = (torch.randint(2, (800, 3), generator=random).float() for _ in range(2))
    assert one_nn_accuracy(a, b) == (0.5, 0.5)
    assert all(precision_recall(a, b).precision)
    assert all(precision_recall(a, b).recall)
    assert precision_recall(a, b + 5).precision.double().mean() == 0
    assert memorisation_test(a, b, a).memorised.value == memorisation_test(a, b, a).expected == 1
    assert memorisation_test(a, b, a + 0.3).memorised.value == 0
    found = {name: score.value for name, score in scores_of(a, b, train=a).items()}
    for name, terms in precision_recall(a, b)._asdict().items():
        assert found[name] == pytest.approx(terms.double().mean().item())
    assert (found["one_nn_accuracy"], found["duplicate_rate"]) == (0.5, 1)
    assert (found["memorisation_rate"], found["nearer_to_training"]) == (1, 0.5)


@pytest.mark.parametrize("space", FEATURES)
def test_while_a_run_trains_copies_are_seen_too(space: str, run: Trained, draws: Callable[[Dataset], None]) -> None:
    twice = replace(TRAIN, x=torch.cat([TRAIN.x, TRAIN.x]))
    for data, least in ((TRAIN, 0.95), (twice, 0.95), (glyphs(400, 5, 0.3), 0.65)):
        light = SampleEvaluator(data, make_feature_space(space, data.shape), 0, 1, 300)
        draws(data.sample(len(data), 0))
        assert light.measure(run)["memorised"] >= least
        draws(replace(data, x=glyphs(300, 9, 0.3).x))
        assert light.measure(run)["memorised"] < 0.04
    alike = replace(TRAIN, x=TRAIN.x[:1].repeat(100, 1, 1, 1))
    assert "memorised" not in SampleEvaluator(alike, make_feature_space(space, data.shape), 0, 1, 90).measure(run)


def test_emoji_have_no_doubles_and_the_usual_floor() -> None:
    x = make_feature_space("random-conv-v2", (3, 32, 32))(load("emoji").x[:200])
    assert expected_copy_rate(nearest_distances(*(p.x for p in build_indexes(x[:100], x[100:])))[0]) == (1 + 0.99) / 101
