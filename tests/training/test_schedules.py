"""Schedules of a model: R3GAN's burn-in against closed forms, in training, in the log, resumed and within a budget."""

from math import cos, log, pi
from pathlib import Path
from typing import Any

import pytest
import torch

import ganvas
from ganvas.cli.app import main
from ganvas.config import TrainConfig
from ganvas.data import Dataset
from ganvas.model import Model, Schedule
from ganvas.models import R3GAN
from ganvas.training import budget
from ganvas.training.ema import current_ema, ema_decay_of, update_ema
from ganvas.training.loop import TrainState, initialize_state, train
from ganvas.training.run_records import read_log
from tests.support.models import every_model, small

SMALL: dict[str, Any] = {"width": 4, "latent": 3}
TRAIN = ["train", "r3gan", "digits", "--limit", "60", "--net", "conv", "--width", "4", "--latent", "3",
         "--batch-size", "4", "--checkpoint-every", "4", "--holdout", "0", "--quiet"]  # fmt: skip


def cosine(first: float, last: float, step: int, steps: int) -> float:
    """What goes from first to last in so many steps, and stays there."""
    return last + (first - last) * (1 + cos(pi * step / steps)) / 2 if step < steps else last


def run_state(run: str) -> bytes:
    return Path(run, "state.ckpt").read_bytes()


@every_model
def test_nothing_is_scheduled_unless_asked_for(cls: type[Model]) -> None:
    assert {small(cls).schedule(step) for step in (0, 1, 1000)} == {Schedule()}


@pytest.mark.parametrize("step", [0, 1, 250, 500, 999, 1000, 5000])
def test_r3gans_burn_in_is_its_papers(step: int) -> None:
    """Config E: 2e-4 to 5e-5, 0.9 to 0.99, gamma to a tenth, the half-life of the average from 0 to its last value."""
    model = R3GAN(lr=2e-4, r1=0.05, r2=0.05, burn_in=1000)
    schedule = model.schedule(step)
    assert model.lr * schedule.lr_factor == pytest.approx(cosine(2e-4, 5e-5, step, 1000))
    assert schedule.beta_2 == pytest.approx(cosine(0.9, 0.99, step, 1000))
    assert model.penalties(step) == pytest.approx({name: cosine(0.05, 0.005, step, 1000) for name in ("r1", "r2")})
    half_life = log(0.5) / log(0.999)
    decay: Any = ema_decay_of(model, TrainConfig(ema_decay=0.999))
    expected = 0.5 ** (1 / cosine(0, half_life, step, 1000)) if step else 0.0
    assert decay(step) == pytest.approx(expected)


def test_beta_2_never_falls() -> None:
    model = R3GAN(betas=(0.0, 0.8), burn_in=10)
    assert {model.schedule(step).beta_2 for step in range(20)} == {0.8}


def test_lazy_penalties_follow_the_schedule() -> None:
    model = R3GAN(r1=1.0, r2=0.0, penalty_interval=4, burn_in=8)
    assert [model.penalties(step).get("r1", 0.0) for step in range(12)] == pytest.approx(
        [4.0, 0, 0, 0, 4 * 0.55, 0, 0, 0, 0.4, 0, 0, 0]
    )


def test_both_players_learn_by_it(vectors: Dataset) -> None:
    model, config = R3GAN(**SMALL, lr=1e-3, lr_d=2e-3, burn_in=6), TrainConfig(steps=8, batch_size=4, lr_decay=0.5)
    state = initialize_state(model, vectors.shape, 0, torch.device("cpu"))
    for step in train(model, vectors, config, state):
        for name, lr in (("G", 1e-3), ("D", 2e-3)):
            group = state.optimizers[name].param_groups[0]
            decay = min(1.0, (8 - (step - 1)) / 4)
            assert group["lr"] == pytest.approx(cosine(lr, lr / 4, step - 1, 6) * decay)
            assert group["betas"] == pytest.approx((0.0, cosine(0.9, 0.99, step - 1, 6)))


def test_the_average_is_one_whose_half_life_grows() -> None:
    """Beside one taken after every step; the first steps have less than a tenth of a run as well."""
    nets, ema_nets = (torch.nn.ModuleDict({"w": torch.nn.Linear(1, 1, bias=False)}) for _ in range(2))
    state = TrainState(nets, ema_nets)
    w, average = (part["w"].double().requires_grad_(False).weight.zero_() for part in (nets, ema_nets))
    decay: Any = ema_decay_of(R3GAN(burn_in=1500), TrainConfig(ema_decay=0.995))
    exact, half_life = 0.0, log(0.5) / log(0.995)
    for step in range(2000):
        w.fill_(step + 1)
        update_ema([(average, w)], step, decay)
        share = 1 - 0.5 ** (1 / cosine(0, half_life, step, 1500)) if step else 1.0
        exact += (step + 1 - exact) * max(share, 9 / (10 + step))
        if step in (3, 100, 700, 1999):
            state.step = step + 1
            assert step + 1 - current_ema(state, decay)["w"].weight.item() == pytest.approx(step + 1 - exact, rel=0.05)


def test_steps_of_the_burn_in_are_like_no_others() -> None:
    """Their numbers would be written into a CUDA graph."""
    model = R3GAN(burn_in=5, penalty_interval=2)
    assert [model.step_key(step, 4, 100) for step in range(5)] == [None] * 5
    assert model.step_key(6, 4, 100) == model.step_key(8, 4, 100) != model.step_key(7, 4, 100)


def test_a_run_resumes_within_its_burn_in_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, steps in (("whole", "12"), ("half", "4")):
        assert main([*TRAIN, "--burn-in", "10", "--steps", steps, "--folder", name]) == 0
    assert main(["resume", "half", "--steps", "12", "--quiet"]) == 0
    assert run_state("whole") == run_state("half")
    assert main([*TRAIN, "--steps", "12", "--folder", "plain"]) == 0
    assert run_state("plain") != run_state("whole")


def test_the_log_says_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*TRAIN, "--burn-in", "4", "--steps", "8", "--folder", "run"]) == 0
    assert main([*TRAIN, "--steps", "8", "--folder", "plain"]) == 0
    lines, others = (read_log(Path(run)) for run in ("run", "plain"))
    for line in lines:
        schedule = R3GAN(burn_in=4).schedule(line["step"] - 1)
        assert line["schedule"] == pytest.approx(schedule._asdict())
    assert lines[-1]["schedule"] == {"lr_factor": 0.25, "beta_2": 0.99, "ema_share": 1.0, "penalty_factor": 0.1}
    assert not any("schedule" in line for line in others)
    assert main(["doctor", "run"]) in (0, 1)


def test_a_burn_in_longer_than_the_run_is_said(vectors: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    for burn_in, is_said in ((5, True), (4, False), (0, False)):
        ganvas.train(R3GAN(**SMALL, burn_in=burn_in), vectors, steps=4, batch_size=4)
        said = "the schedule of r3gan goes on after the last of 4 steps: give more, or less --burn-in\n"
        assert (said in capsys.readouterr().err) is is_said


@pytest.mark.parametrize(("burn_in", "first"), [(0, budget.FIRST_STEP), (20, 0), (10**6, 0)])
def test_a_budget_is_planned_by_the_slowest_steps(
    burn_in: int, first: int, vectors: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, measured = list[int](), budget.measure_costs

    def measure_costs(run: Any, seconds: float) -> Any:
        steps.append(run.state.step)
        return measured(run, seconds)

    monkeypatch.setattr(budget, "measure_costs", measure_costs)
    ganvas.train(R3GAN(**SMALL, burn_in=burn_in), vectors, budget=2, batch_size=4, quiet=True)
    assert steps == [first]
