"""Conditional models are measured on labels of their own: real images as their samples are as far off as real images.

Each class is one image with a little noise, so that labels say nearly all.
"""

from dataclasses import replace
from statistics import mean
from typing import Any

import pytest
import torch
from torch import Tensor

import ganvas
from ganvas.data import Dataset, from_array
from ganvas.inference.trained import Trained
from ganvas.metrics.features import make_feature_space
from ganvas.training.validation import SampleEvaluator

SEEDS = range(8)
OPTIONS: dict[str, Any] = {"steps": 1, "batch_size": 8, "quiet": True}


def blocks(n: int, seed: int) -> Dataset:
    """Images of ten classes, in each of which another two of the sixteen pixels are bright."""
    random = torch.Generator().manual_seed(seed)
    y = torch.randint(10, (n,), generator=random)
    x = torch.randint(0, 20, (n, 1, 4, 4), generator=random)
    x.view(n, 16).scatter_(1, torch.stack([y, y + 5], 1), 240)
    return from_array(x.byte(), y, name="blocks")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Trained]:
    models: tuple[Any, ...] = (ganvas.CGAN(latent=2, width=4), ganvas.GAN(latent=2, width=4))
    folder = tmp_path_factory.mktemp("runs")
    return [ganvas.train(model, blocks(100, 0), runs_dir=folder, **OPTIONS) for model in models]


@pytest.fixture(autouse=True)
def perfect(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Makes models draw real examples, conditional ones of the labels asked for, which are returned."""
    asked: list[Tensor] = []
    pools = (blocks(3000, seed) for seed in range(100, 999))

    def decode(self: Trained, z: Tensor, labels: Tensor | None = None) -> Any:
        pool = next(pools)
        assert pool.labels is not None
        if labels is None or not self.model.is_conditional:
            return pool.select(slice(len(z)))
        asked.append(labels)
        places = [list(reversed((pool.labels == c).nonzero()[:, 0].tolist())) for c in range(10)]
        return replace(pool, x=pool.x[[places[c].pop() for c in labels.tolist()]])

    monkeypatch.setattr(Trained, "decode", decode)
    return asked


def test_a_perfect_conditional_model_is_as_far_from_the_data_as_other_real_examples(runs: list[Trained]) -> None:
    data = blocks(500, 1)
    for run in runs:
        found = [ganvas.evaluate(run, data, features="pixels", metrics=("kid",), seed=s) for s in SEEDS]
        off = [f["kid:pixels"] / f["kid:pixels:error"] for f in found]
        assert abs(mean(off)) < 3 / len(SEEDS) ** 0.5


def test_it_is_no_better_than_a_perfect_model_without_labels(runs: list[Trained]) -> None:
    data, best = blocks(500, 1), []
    for seed in SEEDS:
        best += ganvas.compare(
            *runs, data=data, features="pixels", metrics=("kid", "fid", "sliced-wasserstein"), seed=seed
        )["best"].values()
    assert sum(b is not None for b in best) <= 0.15 * len(best)


def test_while_it_trains_too(runs: list[Trained]) -> None:
    off = []
    for seed in SEEDS:
        data = blocks(2000, seed + 20)
        light = SampleEvaluator(data, make_feature_space("pixels", data.shape), seed, 1, 500)
        found = light.measure(runs[0])
        off.append(found["value"] / found["error"])
    assert abs(mean(off)) < 3 / len(SEEDS) ** 0.5


def test_labels_are_not_those_of_what_samples_are_compared_with(runs: list[Trained], perfect: list[Tensor]) -> None:
    """But as frequent as in other examples, drawn by the seed, in another order for each."""
    data = blocks(400, 2)
    for seed in (0, 0, 1):
        ganvas.evaluate(runs[0], data, features="pixels", metrics=("kid",), seed=seed)
    half, other = (data.sample(400, 0, "halves").select(part) for part in (slice(200), slice(200, 400)))
    assert half.labels is not None
    assert other.labels is not None
    assert torch.equal(perfect[0].sort().values, other.labels.sort().values)
    for labels in (half.labels, half.sample(200, 0, "held out").labels, other.sample(200, 0, "other").labels):
        assert labels is not None
        assert (perfect[0] == labels).double().mean() < 0.25
    assert torch.equal(perfect[0], perfect[1])
    assert not torch.equal(perfect[0], perfect[2])


@pytest.mark.usefixtures("perfect")
def test_numbers_of_each_class_are_of_samples_with_its_label(runs: list[Trained]) -> None:
    found = ganvas.evaluate(runs[0], blocks(1000, 3), features="pixels", metrics=("classes",))
    far, error = found["kid_by_class:pixels"], found["kid_by_class:pixels:error"]
    assert list(far) == [str(i) for i in range(10)]
    assert abs(mean(far[name] / error[name] for name in far)) < 1
