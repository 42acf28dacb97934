"""NaN and infinity in training: updates that are skipped, runs that go back to a checkpoint, and those that end."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import ganvas
from ganvas import Autoencoder
from ganvas.cli.app import main
from ganvas.diagnostics import examine
from ganvas.errors import DivergenceError, TrainingStopped
from ganvas.io.safetensors import read_header, read_safetensors
from ganvas.model import Batch, Move, minimize
from ganvas.training import many, rollback
from ganvas.training.loop import MAX_SKIPPED_STEPS, Meter, apply_move
from ganvas.training.nonfinite import nonfinite, nonfinite_gradient, step_unless
from ganvas.training.run_records import read_log
from tests.support.data import interrupted

DATA = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
OPTIONS: dict[str, Any] = {"steps": 30, "batch_size": 8, "checkpoint_every": 10, "folder": "run", "quiet": True}


class Flawed(Autoencoder):
    """An autoencoder with a gradient that is infinite, or a loss that is NaN, in the steps from one to another."""

    begin: int = 0
    end: int = 0
    kind: str = "gradient"
    times: ClassVar[int] = 10**9
    """in how many steps at most, of all that are done"""

    def step(self, batches: Iterator[Batch], global_step: int, **networks: nn.Module) -> Iterator[Move]:
        for move in super().step(batches, global_step, **networks):
            total = next(move.networks[0].parameters()).sum()
            is_bad = self.begin < global_step + 1 <= self.end and type(self).times > 0
            type(self).times -= is_bad
            if self.kind == "loss":
                yield move._replace(terms=move.terms | {"own": total * (float("nan") if is_bad else 0.0)})
            else:
                root = (total - total.detach() + (not is_bad)).sqrt()  # of 0: its derivative is infinite
                yield move._replace(terms=move.terms | {"own": root})


def flawed(begin: int, end: int, kind: str = "gradient", times: int = 10**9) -> Flawed:
    Flawed.times = times
    return Flawed(width=4, latent=2, begin=begin, end=end, kind=kind)


def tensors(run: str) -> dict[str, Tensor]:
    found: dict[str, Tensor] = read_safetensors(Path(run, "state.ckpt"))[1]
    return found


def timeless(run: str) -> list[dict[str, Any]]:
    lines = [{k: v for k, v in line.items() if k != "seconds"} for line in read_log(run)]
    for line in lines:
        line.get("samples", {}).pop("seconds", None)
    return lines


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_one_number_among_many_is_found(value: float) -> None:
    parts = [torch.ones(3), torch.ones(2, 2, dtype=torch.float64), torch.empty(0)]
    assert nonfinite([]) == nonfinite(parts) == 0
    parts[1][1, 0] = value
    assert nonfinite(parts) == 1
    embedding = nn.Embedding(4, 2, sparse=True)
    (embedding(torch.tensor([1])).sum() * value).backward()
    assert nonfinite_gradient(list(embedding.parameters())) == 1


@pytest.mark.parametrize("limit", [0, 10**9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_gradients_of_any_size_are_looked_at_and_kept(
    limit: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ganvas.training.nonfinite.SMALL", limit)
    parameters = [nn.Parameter(torch.zeros(n, dtype=dtype)) for n in (1, 40)]
    for p in parameters:
        p.grad = torch.randn(len(p)).to(dtype)
    before = [p.grad.clone() for p in parameters if p.grad is not None]
    assert nonfinite_gradient(parameters) == 0
    assert all(torch.equal(old, p.grad) for old, p in zip(before, parameters, strict=True) if p.grad is not None)
    for value in (torch.inf, -torch.inf, torch.nan):
        assert parameters[1].grad is not None
        parameters[1].grad[7] = value
        assert nonfinite_gradient(parameters) == 1
    assert nonfinite_gradient([nn.Parameter(torch.zeros(2))]) == 0


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.RMSprop, torch.optim.Adam])
def test_a_skipped_update_leaves_weights_and_moments(kind: type[torch.optim.Optimizer]) -> None:
    net, seen = nn.Linear(3, 1), []
    optimizer = kind(net.parameters(), lr=0.1)  # type: ignore[call-arg]
    for factor in (1.0, float("inf"), 1.0):
        found = apply_move(minimize(net, loss=net(torch.ones(1, 3)).sum() * factor), optimizer, 0.1, 1.0, skips=True)
        state = [t.clone() for moments in optimizer.state.values() for t in moments.values() if isinstance(t, Tensor)]
        seen.append((found, [p.detach().clone() for p in net.parameters()] + state))
    (a, first), (b, second), (c, third) = seen
    assert [a, b, c] == [0, 1, 0]
    assert all(map(torch.equal, first, second))
    assert not torch.equal(second[0], third[0])


def test_what_a_gpu_is_given_skips_as_well() -> None:
    """`found_inf` of fused optimisers, whose kernels for processors know it too."""
    net = nn.Linear(3, 1)
    optimizer = torch.optim.Adam(net.parameters(), fused=True)
    other = torch.optim.Adam(net.parameters(), fused=True)
    net(torch.ones(1, 3)).sum().backward()
    before = [p.detach().clone() for p in net.parameters()]

    class OnDevice(torch.Tensor):
        device = torch.device("meta")

    for value in (1.0, 0.0):
        step_unless(torch.tensor(value).as_subclass(OnDevice), optimizer)
        is_same = all(map(torch.equal, before, [p.detach() for p in net.parameters()]))
        assert is_same == bool(value)
        assert next(iter(optimizer.state.values()))["step"] == 1 - value
    with torch.no_grad():
        for p, old in zip(net.parameters(), before, strict=True):
            p.copy_(old)
    skipped = [p.detach().clone() for p in net.parameters()]
    other.step()
    assert not any(map(torch.equal, skipped, [p.detach() for p in net.parameters()]))


def test_the_meter_counts_skips_and_leaves_out_their_terms() -> None:
    meter, nan = Meter(), torch.tensor(float("nan"))
    for step, is_skipped in enumerate([0.0, 1.0, 1.0, 0.0], 1):
        meter.add(
            step, {"a": nan if is_skipped else torch.tensor(float(step)), "skipped update": torch.tensor(is_skipped)}
        )
    assert meter.pop_means() == {"a": 2.5}
    assert (meter.pop_skipped(), meter.pop_skipped(), meter.skipped_in_row) == ([2, 3], [], 0)
    meter.add(5, {"a": nan, "skipped update": torch.tensor(0.0)})
    with pytest.raises(DivergenceError, match="'a' became nan at step 5"):
        meter.fetch()
    meter = Meter()
    for step in range(1, MAX_SKIPPED_STEPS + 1):
        meter.add(step, {"a": nan, "skipped update": torch.tensor(1.0)})
    with pytest.raises(DivergenceError, match="in 10 steps one after the other, to step 10"):
        meter.fetch()


@pytest.mark.parametrize("kind", ["gradient", "loss"])
def test_a_step_that_is_not_finite_is_skipped_and_said(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    model = flawed(13, 15, kind)
    ganvas.train(model, DATA, **OPTIONS | {"quiet": False})
    assert all(t.isfinite().all() for t in tensors("run").values())
    assert [line["step"] for line in read_log("run") if "skipped" in line] == [14, 15]
    steps = {int(t) for name, t in tensors("run").items() if name.endswith("/step")}
    assert steps == {28}, "Adam's own count"
    said = capsys.readouterr().err
    assert "warning: skipped updates: a gradient was NaN or infinite in 1 step, the last before the line of" in said
    assert "rollback" not in said
    (found,) = [each for each in examine(model, 30, read_log("run")) if each.name == "skipped updates"]
    assert found.value == 2


def test_a_run_that_diverges_goes_back_with_half_the_rate(capsys: pytest.CaptureFixture[str]) -> None:
    model = flawed(14, 30, times=12)
    ganvas.train(model, DATA, **OPTIONS | {"quiet": False})
    (event,) = [line for line in read_log("run") if "rollback" in line]
    what = "a gradient was NaN or infinite in 10 steps one after the other, to step 24: back to step 10"
    assert event["rollback"] == f"{what}, on with 0.5 times the learning rate (rollback 1 of 3)"
    assert event["rollback"] in capsys.readouterr().err
    assert [line["step"] for line in read_log("run")] == [*range(1, 11), *range(10, 31)]
    assert read_header(Path("run/state.ckpt"))["rollbacks"] == 1
    assert not Path("run/good.ckpt").exists()
    assert main(["doctor", "run"]) == 0
    assert event["rollback"] in capsys.readouterr().out
    again = [line for line in timeless("run") if line["step"] == 11]
    ganvas.train(flawed(0, 0), DATA, **OPTIONS | {"folder": "whole"})
    (whole,) = [line for line in timeless("whole") if line["step"] == 11]
    assert again[0]["reconstruction"] == whole["reconstruction"], "the same batch and the same weights"


def test_the_rate_is_halved_from_there_on() -> None:
    ganvas.train(flawed(14, 30, times=10), DATA, **OPTIONS | {"steps": 24})
    model = flawed(0, 0)
    ganvas.train(model, DATA, **OPTIONS | {"steps": 24, "folder": "slow"})
    with suppress(TrainingStopped), interrupted(10):
        ganvas.train(model, DATA, **OPTIONS | {"steps": 24, "folder": "slower"})
    ganvas.resume("slower", data=DATA, lr=model.lr / 2, quiet=True)
    weights = [{k: t for k, t in tensors(run).items() if k.startswith("nets/")} for run in ("run", "slow", "slower")]
    assert all(torch.equal(t, weights[2][k]) for k, t in weights[0].items())
    assert not all(torch.equal(t, weights[1][k]) for k, t in weights[0].items())


def test_a_run_that_is_stopped_equals_one_that_is_not() -> None:
    """In the middle of skips, and after it went back."""
    ganvas.train(flawed(14, 30, times=12), DATA, **OPTIONS | {"folder": "straight"})
    model = flawed(14, 30, times=12)
    with pytest.raises(TrainingStopped), interrupted(17):
        ganvas.train(model, DATA, **OPTIONS)
    assert read_header(Path("run/state.ckpt"))["skipped_in_row"] == 3
    assert read_header(Path("run/good.ckpt"))["step"] == 10
    with pytest.raises(TrainingStopped), interrupted(26):
        ganvas.resume("run", data=DATA, quiet=True)
    assert read_header(Path("run/state.ckpt"))["rollbacks"] == 1
    ganvas.resume("run", data=DATA, quiet=True)
    assert Path("run/state.ckpt").read_bytes() == Path("straight/state.ckpt").read_bytes()
    assert timeless("run") == timeless("straight")
    assert not Path("run/good.ckpt").exists()


@pytest.mark.parametrize(
    ("words", "rollbacks", "sentence"),
    [
        (["--on-divergence", "skip"], 0, "in 10 steps one after the other, to step 24: stopped; run keeps"),
        (
            ["--on-divergence", "stop"],
            0,
            "no longer finite after step 15: stopped; run keeps the checkpoint of step 10",
        ),
        (["--steps", "16"], 3, "in the last 2 of 16 steps: stopped; run keeps the checkpoint of step 10"),
    ],
)
def test_a_policy_from_the_command_line(
    words: list[str], rollbacks: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save("data.npy", DATA)
    steps = [] if "--steps" in words else ["--steps", "30"]
    options = ["--begin", "14", "--end", "30", "--batch-size", "8", "--checkpoint-every", "10", "--folder", "run"]
    network = ["--width", "4", "--latent", "2"]
    assert main(["train", f"{__file__}:Flawed", "data.npy", *network, *options, *steps, *words]) == 1
    said = capsys.readouterr().err
    assert sentence in said.splitlines()[-1]
    assert sum("(rollback " in line for line in said.splitlines() if not line.startswith("warning")) == rollbacks
    assert sentence.partition(":")[0] in read_log("run")[-1]["diverged"]
    assert read_header(Path("run/state.ckpt"))["step"] == 10
    assert read_header(Path("run/state.ckpt"))["rollbacks"] == rollbacks
    assert all(t.isfinite().all() for t in tensors("run").values())
    assert json.loads(Path("run/config.json").read_text())["train_config"]["on_divergence"] == (
        words[1] if "--on-divergence" in words else "rollback"
    )


def test_a_member_of_a_stacked_group_goes_back_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many, "trial", lambda _: "")
    real, left = rollback.check, [1]

    def check(run: Any) -> None:
        if run.folder.name.endswith("seed1") and run.state.step == 15 and left.pop() if left else False:
            raise DivergenceError("it diverged")
        real(run)

    monkeypatch.setattr(rollback, "check", check)
    model = ganvas.Autoencoder(width=4, latent=2)
    many.train_many(model, DATA, seeds=2, **OPTIONS)
    assert [read_header(Path(f"run-seed{i}/state.ckpt"))["rollbacks"] for i in (0, 1)] == [0, 1]
    assert json.loads(Path("run-seed1/config.json").read_text())["group"]["batched"]
    assert [read_log(f"run-seed{i}")[-1]["step"] for i in (0, 1)] == [30, 30]
    left.append(1)
    ganvas.train(model, DATA, seed=1, **OPTIONS | {"folder": "alone-seed1"})
    for name, tensor in tensors("alone-seed1").items():
        torch.testing.assert_close(tensors("run-seed1")[name], tensor, rtol=1e-3, atol=1e-4)
