"""What a lecture records: real runs, each made once."""

import json
import os
import time
from math import log
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
from torch import nn

import ganvas
from ganvas.errors import UserError
from ganvas.lecture import recordings as recording
from ganvas.lecture.chapter import Chapter, Equation, Parameters, Question
from ganvas.lecture.chapters import algorithm, game
from ganvas.lecture.chapters.algorithm import Game, StepRecorder
from ganvas.lecture.runs import let_others_draw, open_run
from ganvas.models import GAN
from ganvas.objectives.adversarial import discriminator_terms, divergence_estimates, generator_loss
from ganvas.randomness import generators
from ganvas.training.run_records import read_log
from tests.support.lecture import check_command

STEPS = 6


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    """A run of the algorithm whose every step was traced."""
    return algorithm.record(Game(steps=STEPS, n_critic=2, pack=2, gp=0.5))


def test_a_traced_run_is_that_of_its_command(recorded: dict[str, Any], tmp_path: Path) -> None:
    """Watching each line, and what G and D do at it, changes no loss; and the command says all that was chosen."""
    model = GAN(latent=2, width=64, n_critic=2, pack=2, gp=0.5, lr=1e-3, lr_d=1e-3)
    options: dict[str, Any] = {"steps": STEPS, "batch_size": 128, "seed": 0, "checkpoint_every": 10}
    ganvas.train(model, "ring", folder=tmp_path / "run", quiet=True, device="cpu", **options)
    lines = [line for line in read_log(tmp_path / "run") if "fool" in line]
    assert [line["step"] for line in lines] == recorded["curves"]["step"]
    for name in ("real", "fake", "gp", "fool"):
        assert [line[name] for line in lines] == pytest.approx(recorded["curves"][name], abs=0)
    check_command(recorded["command"])
    for option in ("gan ring", "--n-critic 2", "--pack 2", "--gp 0.5", "--lr-d 0.001", "--steps 6", "--width 64"):
        assert option in recorded["command"]


def test_each_line_of_the_step_is_recorded_as_it_runs(recorded: dict[str, Any]) -> None:
    source = recorded["source"]
    assert source["file"] == "models/gan.py"
    texts = dict(enumerate(source["lines"], source["first"]))
    step = [event for event in recorded["events"] if event[0] == 2 and event[1]]
    said = [texts[event[1]].split("#")[0].strip() for event in step]
    discriminator, generator = (next(text for text in said if f"yield self.{who}" in text) for who in ("disc", "gen"))
    assert said[:3] == ["for _ in range(self.n_critic):", "batch = next(batches)", said[2]]
    assert [text for text in said if "yield" in text] == [discriminator] * 4 + [generator] * 2
    moves = [event[5] for event in step if event[5]]
    assert [move["network"] for move in moves] == ["D", "D", "G"]
    assert [set(move["terms"]) for move in moves] == [{"real", "fake", "gp"}] * 2 + [{"fool"}]


def test_what_moves_is_recorded_when_it_has_moved(recorded: dict[str, Any]) -> None:
    """Of each step D's field after each of its moves, and G's points after its own."""
    moves = STEPS * 2, STEPS
    assert recorded["fields"].shape == (1 + moves[0], 32, 32)
    assert recorded["points"].shape == (1 + moves[1], 128, 2)
    assert recorded["pulls"].shape == (1 + sum(moves), 128, 2)
    assert (recorded["points"][1:] != recorded["points"][:-1]).flatten(1).any(1).all()
    assert recorded["events"][-1][1:] == [0, moves[0], moves[1], sum(moves), None]


class Slope(nn.Module):
    """A D whose logit is eight times the second number, or of a pair the fourth."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 8 * x[:, 1:2]


def test_fields_have_their_top_row_first_and_pulls_lower_the_loss() -> None:
    run = open_run(GAN(latent=2, width=8), "ring", steps=1, batch_size=8)
    recorder = StepRecorder(run, 1.6)
    run.state.nets["D"] = Slope()
    recorder.nets = run.state.nets
    field = recorder.field()
    assert (field[0] == 255).all()
    assert (field[-1] == 0).all()
    assert field[15].float().mean() > 127.5 > field[16].float().mean()
    d = 8 * recorder.generate()[:128, 1]
    pull = run.scale(recorder.pull()) - run.scale(torch.zeros(1, 2))
    assert torch.allclose(pull[:, 1], 8 * torch.sigmoid(-d), atol=1e-5)  # minus the derivative of softplus(-d) by x
    assert torch.allclose(pull[:, 0], torch.zeros(128), atol=1e-6)
    assert generator_loss("non-saturating", d + 0.1) < generator_loss("non-saturating", d)


def test_the_best_discriminator_has_the_value_that_the_chapter_says() -> None:
    """V(D*) = 2 JSD - log 4 by Ganvas's own objective, for D* = p / (p + q) of two Gaussians."""
    x = torch.linspace(-16, 16, 20_001, dtype=torch.float64)
    p, q = (torch.distributions.Normal(mean, std) for mean, std in ((-1.0, 0.5), (1.0, 1.5)))
    log_p, log_q = p.log_prob(x), q.log_prob(x)
    middle = torch.logaddexp(log_p, log_q) - log(2)
    dx = (x[1] - x[0]).item()
    jsd = dx * (log_p.exp() * (log_p - middle) + log_q.exp() * (log_q - middle)).sum().item() / 2
    shares = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000
    at_p, at_q = p.icdf(shares), q.icdf(shares)
    terms = discriminator_terms(
        "minimax", p.log_prob(at_p) - q.log_prob(at_p), p.log_prob(at_q) - q.log_prob(at_q)
    )  # fmt: skip
    assert -sum(terms.values()).item() == pytest.approx(2 * jsd - log(4), abs=1e-5)
    estimate = divergence_estimates("minimax", {name: term.item() for name, term in terms.items()})
    assert estimate["jensen_shannon"] == pytest.approx(jsd, abs=1e-5)


def test_only_the_discriminator_of_the_game_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    """G stands still though its weights could move; D comes nearer to the best one."""
    monkeypatch.setattr(game, "STEPS", 20)
    recorded = game.record(game.Densities())
    x = recorded["grid"].double()
    best = 2 * -x  # log p - log q of N(-1, 1) and N(1, 1)
    errors = [((logits - best).abs() * (x.abs() < 2)).sum().item() for logits in recorded["logits"]]
    assert recorded["steps"] == [0, 1, 2, 5, 10, 20]
    assert errors[-1] < errors[0] / 3


def counted(calls: list[Parameters]) -> Chapter:
    def record(parameters: Parameters) -> dict[str, Any]:
        calls.append(parameters)
        return {"command": "ganvas train gan ring", "noise": torch.rand(2)}

    question = Question("Which?", ("a", "b"), 0, "a")
    return Chapter(
        name="counted", title="Counted", summary="", question=question, equations={},
        recordings={"one": Game(), "two": Game(seed=1)}, record=record,
    )  # fmt: skip


def test_runs_are_recorded_once_for_each_version_of_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Parameters] = []
    chapter = counted(calls)
    assert recording.missing_recordings(chapter) == 2
    first = recording.recordings(chapter)
    assert recording.recordings(chapter) == first
    assert [run["title"] for run in first] == ["one", "two"]
    assert [run["parameters"]["seed"] for run in first] == [0, 1]
    assert calls == [Game(), Game(seed=1)]
    monkeypatch.setattr(recording, "code_version", lambda: "another")
    assert recording.missing_recordings(chapter) == 2
    recording.recordings(chapter)
    assert len(calls) == 4
    recording.remove_old_recordings()
    assert recording.missing_recordings(chapter) == 0
    monkeypatch.undo()


def test_recordings_of_another_version_stay_while_it_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two versions may be installed, and each have a server."""
    chapter, day = counted([]), 86_400
    recording.recordings(chapter)
    other = recording.recording_file(chapter, Game()).parent
    with monkeypatch.context() as patch:
        patch.setattr(recording, "code_version", lambda: "another")
        recording.remove_old_recordings()
    assert recording.missing_recordings(chapter) == 0
    os.utime(other, (time.time() - 8 * day,) * 2)
    recording.remove_old_recordings()  # it is in use again
    with monkeypatch.context() as patch:
        patch.setattr(recording, "code_version", lambda: "another")
        recording.remove_old_recordings()
        assert other.exists()
        os.utime(other, (time.time() - 8 * day,) * 2)
        recording.remove_old_recordings()
    assert not other.exists()


def test_the_callers_random_numbers_go_on_as_if_nothing_were_recorded() -> None:
    chapter = counted([])
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    recording.record(chapter, Game())
    assert torch.equal(torch.rand(2), expected)


@pytest.mark.parametrize("values", [{"steps": 10**6}, {"n_critic": 0}, {"loss": "none"}, {"width": 4}])
def test_parameters_out_of_bounds_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        Game(**values)


def test_an_equation_whose_line_is_gone_is_an_error() -> None:
    with pytest.raises(ValueError, match="0 times"):
        Equation("x", "objectives/kl.py", "no such line").locate()
    with pytest.raises(ValueError, match="times"):
        Equation("x", "objectives/kl.py", "import").locate()
    assert json.dumps(Equation("x", "objectives/adversarial.py", "JENSEN_SHANNON_LOSSES: ").locate())


def test_models_are_used_while_a_chapter_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Explore waits for a few steps; the run is bit for bit the one that nobody interrupts."""
    monkeypatch.setattr("ganvas.lecture.runs.TURN_SECONDS", 0.0)
    alone, interrupted = (open_run(GAN(latent=2, width=8), "ring", steps=60, batch_size=16) for _ in range(2))
    list(alone.steps())

    def train() -> None:
        with generators:
            noise.extend(torch.rand(2) for _ in interrupted.steps())

    noise, thread = list[torch.Tensor](), Thread(target=train)
    thread.start()
    while not interrupted.state.step:
        time.sleep(0.001)
    with generators:
        reached = interrupted.state.step
        torch.manual_seed(5)
    thread.join()
    assert reached < 60
    for name, value in alone.state.nets.state_dict().items():
        assert torch.equal(value, interrupted.state.nets.state_dict()[name])


def test_draws_go_on_after_those_of_others() -> None:
    with generators:
        torch.manual_seed(1)
        expected = torch.rand(2)
        torch.manual_seed(1)
        other = Thread(target=lambda: generators.acquire() and (torch.manual_seed(7), generators.release()))
        other.start()
        while other.is_alive():
            let_others_draw()
        assert torch.equal(torch.rand(2), expected)
    let_others_draw()  # who does not have them leaves them
    assert generators.acquire(timeout=1)
    generators.release()
