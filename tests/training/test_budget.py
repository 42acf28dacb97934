"""Training for an amount of time, by a clock of the test's own: what is planned, said and stored, and when it ends."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ganvas
from ganvas.cli.app import main
from ganvas.data import Dataset
from ganvas.data.shard_stream import ShardStream
from ganvas.errors import DivergenceError
from ganvas.inference.trained import Trained
from ganvas.training.budget import Costs
from ganvas.training.commands import train_command
from ganvas.training.fit import Run
from ganvas.training.loop import StepPlayer
from ganvas.training.validation import SampleEvaluator
from tests.support.shards import write_shards

TINY = ["--batch-size", "8", "--width", "4", "--latent", "3", "--holdout", "0"]


class Clock:
    """A clock that stands still but for what is told to take time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now: float = 0.0
        self.monkeypatch: pytest.MonkeyPatch = monkeypatch
        for name in ("monotonic", "perf_counter"):
            monkeypatch.setattr(time, name, lambda: self.now)

    def spend(self, owner: type, name: str, seconds: float) -> None:
        """A method takes so many seconds from now on."""
        method: Callable[..., Any] = getattr(owner, name)

        def timed(*arguments: Any, **options: Any) -> Any:
            self.now += seconds
            return method(*arguments, **options)

        self.monkeypatch.setattr(owner, name, timed)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A line of the log takes 0.01 s, a checkpoint 0.2 s, a measurement of samples 3 s."""
    clock = Clock(monkeypatch)
    for owner, name, seconds in ((Run, "log_step", 0.01), (Run, "save", 0.2), (SampleEvaluator, "measure", 3.0)):
        clock.spend(owner, name, seconds)
    return clock


@pytest.fixture
def data() -> str:
    np.savez("data.npz", x=np.random.default_rng(0).integers(0, 256, (24, 12, 12, 1), np.uint8))
    return "data.npz"


def config(run: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(run, "config.json").read_text())["train_config"]
    return found


def files(run: str) -> list[bytes]:
    return [Path(run, name).read_bytes() for name in ("weights.safetensors", "state.ckpt")]


@pytest.mark.parametrize(("step", "budget", "seconds"), [(4.0, "5m", 300), (0.5, "60", 60), (10.0, "0.25h", 900)])
def test_a_run_ends_within_its_budget(
    step: float, budget: str, seconds: float, data: str, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    """And uses most of it; what is said beforehand is done, and stored."""
    clock.spend(StepPlayer, "play", step)
    assert main(["train", "vae", data, *TINY, "--budget", budget, "--folder", "run"]) == 0
    assert 0.8 * seconds < clock.now <= seconds
    stored, log = config("run"), Path("run/log.jsonl").read_text().splitlines()
    steps, every = stored["steps"], stored["checkpoint_every"]
    assert (stored["budget"], json.loads(log[-1])["step"]) == (seconds, steps)
    assert every == steps // 10
    duration, text = f"{seconds // 60} min {seconds % 60:02} s", {4.0: "4 s", 0.5: "500 ms", 10.0: "10 s"}[step]
    said = f"budget {duration}: {text} a step, so {steps} steps with a checkpoint every {every}"
    assert said in capsys.readouterr().err.splitlines()


def test_priors_fitted_at_checkpoints_count(clock: Clock, vectors: Dataset) -> None:
    clock.spend(StepPlayer, "play", 1.0)
    clock.spend(Trained, "fit_prior", 20.0)
    ganvas.train(ganvas.VAE(latent=2, width=4), vectors, batch_size=8, budget="10m", folder="run", quiet=True)
    assert config("run")["steps"] < 400
    assert 0.8 * 600 < clock.now <= 600


def test_twice_as_fast_a_step_is_done_twice_as_often() -> None:
    steps = [Costs(step, 0.0, 0.0, 0.0, 0.0).plan(950.0, None)[0] for step in (0.05, 0.025, 0.0125)]
    assert steps == [19_000, 38_000, 76_000]


def test_what_takes_long_is_done_less_often() -> None:
    """There are ten checkpoints, but fewer where they and the log would take most of the time."""
    assert Costs(1.0, 0.0, 0.1, 0.0, 0.0).plan(1000.0, None) == (990, 99)
    assert Costs(1.0, 1.0, 10.0, 0.0, 0.0).plan(1000.0, None) == (860, 430)
    assert Costs(1.0, 1.0, 100.0, 0.0, 0.0).plan(1000.0, 50) == (200, 50)  # what the user has said stays


def test_a_run_is_that_of_its_steps(data: str, clock: Clock) -> None:
    """The trial moves nothing, and what depends on steps, as a decay of learning rates, on those planned."""
    clock.spend(StepPlayer, "play", 1.0)
    options = ["train", "vae", data, *TINY, "--lr-decay", "0.5", "--patience", "4", "--quiet"]
    assert main([*options, "--budget", "100s", "--folder", "timed"]) == 0
    steps, every = config("timed")["steps"], config("timed")["checkpoint_every"]
    assert steps > 50
    assert main([*options, "--steps", str(steps), "--checkpoint-every", str(every), "--folder", "counted"]) == 0
    assert files("timed") == files("counted")
    command = train_command(Path("timed"), json.loads(Path("timed/config.json").read_text()))
    assert command is not None
    assert command.endswith(f" --steps {steps} --checkpoint-every {every}")
    assert "--budget" not in command  # which would be another number of steps on another day
    timed, counted = (Path(run, "log.jsonl").read_text().splitlines() for run in ("timed", "counted"))
    assert [json.loads(line)["step"] for line in timed] == [json.loads(line)["step"] for line in counted]


def test_a_stopped_run_goes_on_to_its_steps(data: str, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    clock.spend(StepPlayer, "play", 1.0)
    save = Run.save

    def interrupted(self: Run, **options: Any) -> None:
        save(self, **options)
        if self.folder.name == "run" and self.state.step:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Run, "save", interrupted)
        assert main(["train", "vae", data, *TINY, "--budget", "100s", "--folder", "run", "--quiet"]) == 130
    stored, now = config("run"), clock.now
    assert main(["resume", "run", "--quiet"]) == 0
    assert ganvas.load("run").metadata["step"] == stored["steps"]
    assert config("run") == stored
    assert clock.now > now + 30  # it is not planned anew


def test_too_small_a_budget_is_one_step(data: str, clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    clock.spend(StepPlayer, "play", 1.0)
    assert main(["train", "vae", data, *TINY, "--budget", "2s", "--folder", "run"]) == 0
    assert config("run")["steps"] == 1
    assert "1 s a step, so 1 step with a checkpoint every 1\nnote: the budget is too small: " in capsys.readouterr().err


def test_reading_streamed_data_counts(tmp_path: Path, clock: Clock) -> None:
    """Its steps are those of the stream, not of the sample in memory."""
    clock.spend(ShardStream, "draw", 1.0)
    words = ["--batch-size", "4", "--width", "4", "--latent", "3", "--stream", "always", "--budget", "100s"]
    assert main(["train", "autoencoder", str(write_shards(tmp_path / "x")), *words, "--folder", "run", "--quiet"]) == 0
    assert 50 < config("run")["steps"] < clock.now <= 100


def test_checkpoints_are_where_the_user_wants_them(data: str, clock: Clock) -> None:
    clock.spend(StepPlayer, "play", 1.0)
    words = ["--budget", "60s", "--checkpoint-every", "7", "--folder", "run", "--quiet"]
    assert main(["train", "autoencoder", data, *TINY, *words]) == 0
    assert config("run")["checkpoint_every"] == 7
    assert clock.now <= 60


def test_only_the_run_itself_diverges(data: str, clock: Clock) -> None:
    """As one of so many steps does: it has a folder, and says so."""
    clock.spend(StepPlayer, "play", 1.0)
    with pytest.raises(DivergenceError, match=r"run keeps the checkpoint of step \d+"):
        ganvas.train(ganvas.VAE(latent=3, width=4, lr=1e9), data, batch_size=8, budget="1m", folder="run", quiet=True)


@pytest.mark.parametrize("budget", [1.5, "1.5", "1.5s", "0.025m"])
def test_a_budget_in_python(budget: Any) -> None:
    assert ganvas.TrainConfig(budget=budget).budget == 1.5
