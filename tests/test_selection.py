"""The weights that a run of a GAN keeps: the best, which need not be the last."""

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import ganvas
from ganvas import runs, selection
from ganvas.artifact import LAST, WEIGHTS, Trained
from ganvas.checkpoint import read
from ganvas.data import Collection
from ganvas.errors import Stopped
from ganvas.folders import read_log
from ganvas.metrics import sliced_wasserstein
from ganvas.models import CGAN, DCGAN, GAN, VAE
from ganvas.randomness import generator

OPTIONS: dict[str, Any] = {"batch": 8, "every": 2, "quiet": True}
TINY = GAN(width=4, latent=3)


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes the distance of a run's samples a function of its step."""

    def patch(**distances: float) -> None:
        def distance(trained: Trained, *_: Any) -> float:
            return float(distances[f"at_{trained.about['step']}"])

        monkeypatch.setattr(runs, "distance", distance)

    return patch


def steps_kept() -> tuple[int, int]:
    return tuple(read(Path("run", name))[0]["step"] for name in (WEIGHTS, LAST))  # type: ignore[return-value]


def test_a_run_keeps_the_weights_of_the_lowest_distance_and_the_last(
    far: Callable[..., None], images: Collection
) -> None:
    far(at_0=5, at_2=1, at_4=2, at_6=3)
    trained = ganvas.train(TINY, images, folder="run", steps=6, **OPTIONS)
    assert steps_kept() == (2, 6)
    about = read(Path("run", WEIGHTS))[0]
    assert (about["distance"], about["step"]) == (1, 2)
    assert trained.about == ganvas.load("run").about
    assert trained.about["step"] == 2
    two = ganvas.train(TINY, images, folder="two", steps=2, keep="last", **OPTIONS)
    assert torch.equal(trained.sample(5).x, two.sample(5).x)
    assert torch.equal(ganvas.load("run").sample(5).x, two.sample(5).x)
    assert not torch.equal(ganvas.load(Path("run", LAST)).sample(5).x, two.sample(5).x)
    assert [line["distance"] for line in read_log("run") if "distance" in line] == [1, 2, 3]


def test_among_equally_good_weights_the_later_are_kept(far: Callable[..., None], images: Collection) -> None:
    """Within 5% of the lowest; but 5% of each other, again and again, is not."""
    far(at_0=5, at_2=1, at_4=1.04, at_6=1.08)
    ganvas.train(TINY, images, folder="run", steps=6, **OPTIONS)
    assert steps_kept() == (4, 6)
    assert selection.is_best(1.05, 1.0)
    assert not selection.is_best(1.06, 1.0)
    assert selection.is_best(9.0, None)


def test_a_run_can_be_told_to_keep_the_last(far: Callable[..., None], images: Collection) -> None:
    far()  # has no distance to tell, and is asked for none
    trained = ganvas.train(TINY, images, folder="run", steps=6, keep="last", **OPTIONS)
    assert not Path("run", LAST).exists()
    assert trained.about["step"] == read(Path("run", WEIGHTS))[0]["step"] == 6
    assert not any("distance" in line for line in read_log("run"))


def test_the_weights_of_other_models_are_the_last(far: Callable[..., None], images: Collection) -> None:
    far()
    trained = ganvas.train(VAE(width=4, latent=3), images, folder="run", steps=4, **OPTIONS)
    assert not Path("run", LAST).exists()
    assert trained.about["step"] == 4


@pytest.mark.parametrize("at", [3, 5])
def test_a_run_that_was_stopped_keeps_the_same_weights(
    at: int, far: Callable[..., None], images: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lowest distance is in the checkpoint: else the first after it would be the best again."""
    far(at_0=5, at_2=1, at_4=2, at_6=1.5, at_8=3)
    real = runs.training

    def interrupted(*arguments: Any) -> Iterator[int]:
        for step in real(*arguments):
            if step == at:
                signal.raise_signal(signal.SIGINT)
            yield step

    with monkeypatch.context() as patch:
        patch.setattr(runs, "training", interrupted)
        with pytest.raises(Stopped):
            ganvas.train(TINY, images, folder="run", steps=8, **OPTIONS)
    resumed = ganvas.resume("run", data=images, quiet=True)
    ganvas.train(TINY, images, folder="straight", steps=8, **OPTIONS)
    assert resumed.about["step"] == 2
    assert steps_kept() == (2, 8)
    for name in (WEIGHTS, LAST, "state.ckpt"):
        assert Path("run", name).read_bytes() == Path("straight", name).read_bytes()


def test_a_finished_run_that_goes_on_may_become_better(far: Callable[..., None], images: Collection) -> None:
    far(at_0=5, at_2=1, at_4=2, at_6=0.5)
    ganvas.train(TINY, images, folder="run", steps=4, **OPTIONS)
    assert steps_kept() == (2, 4)
    assert ganvas.resume("run", data=images, quiet=True).about["step"] == 2
    assert ganvas.resume("run", steps=6, data=images, quiet=True).about["step"] == 6
    assert steps_kept() == (6, 6)
    assert json.loads(Path("run", "config.json").read_text())["plan"]["keep"] == "best"


def test_the_distance_is_that_of_samples_with_the_examples_labels(images: Collection) -> None:
    for model in (DCGAN(width=4, latent=3), CGAN(width=4, latent=3)):
        trained = ganvas.train(model, images, steps=2, keep="last", **OPTIONS)
        some = images.some(1000, 7, "compared")
        z = trained.noise(len(some), generator(torch.device("cpu"), 7, "compared"))
        made = trained.decode(z, some.labels).x.float() / 255
        expected = sliced_wasserstein(some.x.float() / 255, made, directions=500, seed=7)
        torch.manual_seed(3)
        first = selection.distance(trained, images, 7)
        torch.manual_seed(4)
        assert first == selection.distance(trained, images, 7) == pytest.approx(expected)


def test_samples_like_the_data_have_a_lower_distance(vectors: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = ganvas.train(TINY, vectors, steps=1, keep="last", **OPTIONS)

    def distance_of(offset: float) -> float:
        def drawn(self: GAN, z: torch.Tensor, *_: Any, **kept: Any) -> torch.Tensor:
            return z + offset

        monkeypatch.setattr(GAN, "generate", drawn)
        return selection.distance(trained, vectors)

    assert distance_of(0.0) < distance_of(1.0) < distance_of(3.0)
