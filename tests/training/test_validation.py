"""Samples are measured while a run trains: what the number is, and which weights are kept by it."""

import json
import time
from collections.abc import Callable
from math import nan
from pathlib import Path
from typing import Any

import pytest
import torch

import ganvas
from ganvas.data import Dataset
from ganvas.errors import TrainingStopped, UserError
from ganvas.inference.trained import Trained
from ganvas.io.run_folder import LAST_WEIGHTS_FILE, WEIGHTS_FILE
from ganvas.io.safetensors import read_safetensors
from ganvas.metrics.features import CPU
from ganvas.models import GAN, VAE, Autoencoder
from ganvas.training import validation
from ganvas.training.loop import initialize_state
from ganvas.training.run_records import read_log
from ganvas.training.validation import SampleEvaluator
from tests.support.data import interrupted

OPTIONS: dict[str, Any] = {"batch_size": 8, "checkpoint_every": 2, "quiet": True}
TINY = GAN(width=4, latent=3)
NAMES = ["metric", "value", "error", "n", "memorised", "lowest_distance", "best_step", "seconds"]


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every checkpoint of a tiny run is measured, whatever it takes."""
    monkeypatch.setattr(validation, "INTERVAL", 1)


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch, often: None) -> Callable[..., None]:
    """Makes the distance of a run's samples a function of its step."""

    def patch(error: float = 0.0, **distances: float) -> None:
        def measure(self: SampleEvaluator, trained: Trained) -> dict[str, Any]:
            value = float(distances[f"at_{trained.metadata['step']}"])
            return {"metric": "kid", "value": validation.round_for_log(value), "error": error, "n": 40}

        monkeypatch.setattr(SampleEvaluator, "measure", measure)

    return patch


def steps_kept() -> tuple[int, int]:
    return tuple(read_safetensors(Path("run", name))[0]["step"] for name in (WEIGHTS_FILE, LAST_WEIGHTS_FILE))  # type: ignore[return-value]


def found(folder: str = "run", name: str = "value") -> list[Any]:
    return [line["samples"][name] for line in read_log(folder) if "samples" in line]


def test_the_time_of_a_line_includes_what_its_samples_took(monkeypatch: pytest.MonkeyPatch, images: Dataset) -> None:
    """Else the share of a short run that measuring takes, of which a note speaks, would be more than 100%."""

    def measure(self: SampleEvaluator, trained: Trained) -> dict[str, Any]:
        time.sleep(1.2)
        self.seconds += 1.2
        return {"metric": "kid", "value": 1.0, "error": 0.0, "n": 40}

    monkeypatch.setattr(SampleEvaluator, "measure", measure)
    ganvas.train(TINY, images, steps=2, folder="run", **OPTIONS)
    lines = read_log("run")
    assert lines[-1]["seconds"] >= lines[-1]["samples"]["seconds"] >= 1.2
    assert not validation.time_share_notes(lines)  # of the end alone, where a larger interval would not help
    (note,) = validation.time_share_notes(lines[-1:] * 2)
    assert int(note.removeprefix("measuring samples took ").partition("%")[0]) <= 200


def test_a_run_keeps_the_weights_of_the_lowest_distance_and_the_last(far: Callable[..., None], images: Dataset) -> None:
    far(at_2=-1, at_4=2, at_6=3)
    trained = ganvas.train(TINY, images, folder="run", steps=6, **OPTIONS)
    assert steps_kept() == (2, 6)
    about = read_safetensors(Path("run", WEIGHTS_FILE))[0]
    assert (about["samples"]["value"], about["step"]) == (-1, 2)
    assert trained.metadata == ganvas.load("run").metadata
    assert trained.metadata["step"] == 2
    two = ganvas.train(TINY, images, folder="two", steps=2, keep="last", **OPTIONS)
    assert torch.equal(trained.sample(5).x, two.sample(5).x)
    assert torch.equal(ganvas.load("run").sample(5).x, two.sample(5).x)
    assert not torch.equal(ganvas.load(Path("run", LAST_WEIGHTS_FILE)).sample(5).x, two.sample(5).x)
    assert (found(), found(name="lowest_distance"), found(name="best_step")) == ([-1, 2, 3], [-1, -1, -1], [2, 2, 2])


def test_among_equally_good_weights_the_later_are_kept(far: Callable[..., None], images: Dataset) -> None:
    """Within a standard error of the lowest; but within one of each other, again and again, is not."""
    far(error=0.05, at_2=0.01, at_4=0.05, at_6=0.09)
    ganvas.train(TINY, images, folder="run", steps=6, **OPTIONS)
    assert steps_kept() == (4, 6)
    assert found(name="lowest_distance") == [0.01, 0.01, 0.01]


def test_the_error_that_counts_is_that_of_the_lowest(images: Dataset) -> None:
    state = initialize_state(TINY, images.shape, 0, CPU)
    for step, value, error, best in ((1, 5.0, 9.0, 1), (2, -0.1, 0.2, 2), (3, 0.2, 9.0, 2), (4, 0.05, 9.0, 4)):
        state.step = step
        assert validation.update_best(state, value, error) == (best == step)
        assert state.best_step == best
    assert (state.lowest_distance, state.distance_error, state.evaluations_since_best) == (-0.1, 0.2, 2)


def test_a_distance_that_is_no_number_is_never_the_best(far: Callable[..., None], images: Dataset) -> None:
    far(at_2=nan, at_4=7, at_6=nan)
    ganvas.train(TINY, images, folder="run", steps=6, **OPTIONS)
    assert steps_kept() == (4, 6)
    assert found() == [None, 7, None]
    assert "NaN" not in Path("run", "log.jsonl").read_text()


def test_before_the_first_measurement_the_latest_weights_are_those_to_use(images: Dataset) -> None:
    """In a tiny run there is time for one, at its end."""
    with interrupted(3), pytest.raises(TrainingStopped):
        ganvas.train(TINY, images, folder="run", steps=6, **OPTIONS)
    assert steps_kept() == (3, 3)
    ganvas.resume("run", data=images, quiet=True)
    assert steps_kept() == (6, 6)
    assert len(found()) == 1


def test_a_run_can_be_told_to_keep_the_last(far: Callable[..., None], images: Dataset) -> None:
    far(at_2=1, at_4=2, at_6=3)
    trained = ganvas.train(TINY, images, folder="run", steps=6, keep="last", **OPTIONS)
    assert not Path("run", LAST_WEIGHTS_FILE).exists()
    assert trained.metadata["step"] == read_safetensors(Path("run", WEIGHTS_FILE))[0]["step"] == 6
    assert found(name="best_step") == [2, 2, 2], "what would have been the best is said all the same"


def test_the_weights_of_other_models_are_the_last(far: Callable[..., None], images: Dataset) -> None:
    far(at_2=1, at_4=2)
    trained = ganvas.train(VAE(width=4, latent=3), images, folder="run", steps=4, **OPTIONS)
    assert not Path("run", LAST_WEIGHTS_FILE).exists()
    assert trained.metadata["step"] == 4
    assert found() == [1, 2]


@pytest.mark.parametrize("at", [3, 5])
def test_a_run_that_was_stopped_keeps_the_same_weights(at: int, far: Callable[..., None], images: Dataset) -> None:
    """The lowest distance is in the checkpoint, and how long ago it was: else the first after it would be the best.

    What is measured at the stop is said, and changes nothing.
    """
    far(error=0.1, at_2=1, at_3=0.5, at_4=2, at_5=7, at_6=1.5, at_8=3)
    options = OPTIONS | {"steps": 20, "patience": 3}
    kept = f"weights kept: step 2, whose samples are the best; those of step {at} are in {LAST_WEIGHTS_FILE}"
    with interrupted(at), pytest.raises(TrainingStopped) as stopped:
        ganvas.train(TINY, images, folder="run", **options)
    assert str(stopped.value).endswith(f"({kept}; kid {({3: '0.5', 5: '7'})[at]} now, 1 of those kept)")
    resumed = ganvas.resume("run", data=images, quiet=True)
    ganvas.train(TINY, images, folder="straight", **options)
    assert resumed.metadata["step"] == 2
    assert steps_kept() == (2, 8)
    for name in (WEIGHTS_FILE, LAST_WEIGHTS_FILE, "state.ckpt"):
        assert Path("run", name).read_bytes() == Path("straight", name).read_bytes()


def test_a_measured_run_that_was_stopped_is_the_same(often: None, images: Dataset) -> None:
    ganvas.train(TINY, images, folder="straight", steps=6, **OPTIONS)
    ganvas.train(TINY, images, folder="run", steps=4, **OPTIONS)
    ganvas.resume("run", steps=6, data=images, quiet=True)
    for name in (WEIGHTS_FILE, LAST_WEIGHTS_FILE, "state.ckpt"):
        assert Path("run", name).read_bytes() == Path("straight", name).read_bytes()
    assert found() == found("straight")
    assert len(set(found())) == 3


def test_measuring_changes_nothing_in_training(images: Dataset, often: None) -> None:
    for model in (TINY, VAE(width=4, latent=3)):
        seen = ganvas.train(model, images, steps=6, keep="last", **OPTIONS)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(validation, "unsupported_reason", lambda *_: "not now")
            unseen = ganvas.train(model, images, steps=6, keep="last", **OPTIONS)
        pairs = zip(seen.nets.state_dict().values(), unseen.nets.state_dict().values(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


def test_a_finished_run_that_goes_on_may_become_better(far: Callable[..., None], images: Dataset) -> None:
    far(at_2=1, at_4=2, at_6=0.5)
    ganvas.train(TINY, images, folder="run", steps=4, **OPTIONS)
    assert steps_kept() == (2, 4)
    assert ganvas.resume("run", data=images, quiet=True).metadata["step"] == 2
    assert ganvas.resume("run", steps=6, data=images, quiet=True).metadata["step"] == 6
    assert steps_kept() == (6, 6)
    assert json.loads(Path("run", "config.json").read_text())["train_config"]["keep"] == "best"


def test_the_log_has_all_of_it_and_the_runs_losses_stay_losses(often: None, images: Dataset) -> None:
    ganvas.train(TINY, images, folder="run", steps=4, **OPTIONS)
    (first, last) = (line for line in read_log("run") if "samples" in line)
    assert list(last["samples"]) == NAMES
    assert first["samples"]["seconds"] > 0
    assert (first["step"], last["step"]) == (2, 4)
    assert "samples" not in ganvas.training.run_records.summarize_run(Path("run"))["losses"]


def test_a_run_stops_where_its_samples_come_no_nearer(
    far: Callable[..., None], images: Dataset, capfd: pytest.CaptureFixture[str]
) -> None:
    far(error=9.0, at_2=1, at_4=2, at_6=0.5, at_8=0.6, at_10=0.5, at_12=0.1, at_20=0.1)
    options = OPTIONS | {"quiet": False}
    ganvas.train(TINY, images, folder="run", steps=20, patience=2, **options)
    told = capfd.readouterr().err
    assert "samples are measured every 2 steps, 10 times in all: --patience 2" in told
    assert "ended at step 10 of 20, after 2 measurements of samples without improvement" in told
    assert "weights kept: step 10" in told
    assert read_log("run")[-1]["step"] == ganvas.training.run_records.checkpoint_step(Path("run")) == 10
    assert steps_kept() == (10, 10)
    summary = ganvas.training.run_records.summarize_run(Path("run"))
    assert (summary["step"], summary["steps"], summary["ended"]) == (10, 20, True)
    ganvas.resume("run", data=images)
    assert "ended at step 10 of 20, its patience" in capfd.readouterr().err
    assert read_log("run")[-1]["step"] == 10


def test_a_run_that_has_stopped_goes_on_when_told_to_and_waits_again(far: Callable[..., None], images: Dataset) -> None:
    steps = {f"at_{step}": float(step) for step in range(2, 30, 2)}
    far(**steps)
    ganvas.train(VAE(width=4, latent=3), images, folder="run", steps=20, patience=2, **OPTIONS)
    assert read_log("run")[-1]["step"] == 6
    ganvas.resume("run", steps=8, data=images, quiet=True)
    assert read_log("run")[-1]["step"] == 8
    assert json.loads(Path("run", "config.json").read_text())["train_config"]["steps"] == 8
    ganvas.resume("run", steps=20, data=images, quiet=True)
    assert read_log("run")[-1]["step"] == 10, "after two without a new lowest since it goes on: at 8 and 10"
    assert ganvas.training.run_records.summarize_run(Path("run"))["ended"]


def test_waiting_for_what_is_not_measured_is_refused(images: Dataset) -> None:
    sentence = "patience=3 waits for better samples, but they are not measured: "
    for model, data, reason in (
        (Autoencoder(width=4), images, "an autoencoder has no distribution of codes to draw samples from"),
        (ganvas.CycleGAN(width=4, blocks=1), (images, images), "a cyclegan makes nothing from noise"),
        (TINY, images.select(slice(19)), "images has 19 examples, and 20 are needed"),
    ):
        with pytest.raises(UserError, match=sentence + reason.replace("a auto", "an? auto")):
            ganvas.train(model, data, folder="run", steps=2, patience=3, **OPTIONS)
        assert not Path("run").exists()
    with pytest.raises(ValueError, match="greater than 0"):
        ganvas.train(TINY, images, folder="run", steps=2, patience=0, **OPTIONS)


def test_what_cannot_be_measured_keeps_the_last_weights(images: Dataset) -> None:
    few = images.select(slice(19))
    ganvas.train(TINY, few, folder="run", steps=2, **OPTIONS)
    ganvas.train(Autoencoder(width=4), images, folder="rebuilds", steps=2, **OPTIONS)
    assert steps_kept() == (2, 2)
    for folder in ("run", "rebuilds"):
        assert found(folder) == []
        assert ganvas.load(folder).metadata["step"] == 2
