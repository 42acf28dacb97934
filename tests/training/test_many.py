"""Runs of a group, whose steps are stacked: each is what it would be alone."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ganvas
from ganvas.cli.app import main
from ganvas.config import TrainConfig
from ganvas.data import from_array
from ganvas.data.stream import Stream
from ganvas.errors import DivergenceError, UserError
from ganvas.model import Batch, Model
from ganvas.models import MODELS
from ganvas.training import many
from ganvas.training.batched import BatchedPlayer
from ganvas.training.loop import StepPlayer, ensure_scaling, initialize_state, open_stream, tensors

STEPS, MEMBERS = 6, 3
CPU = torch.device("cpu")
RANDOM = np.random.default_rng(0)
LABELS = RANDOM.integers(0, 3, 120)
VECTORS = from_array(RANDOM.normal(size=(120, 2)).astype(np.float32), labels=LABELS, name="vectors")
IMAGES = from_array(RANDOM.integers(0, 256, (120, 8, 8)).astype(np.uint8), labels=LABELS, name="images")
CONFIG = TrainConfig(steps=STEPS, batch_size=12, clip_grad_norm=5.0)
SPECIAL: dict[str, dict[str, Any]] = {
    "vae": {"likelihood": "bernoulli", "binarize": "dynamic", "prior": "vamp", "pseudo_inputs": 5},
    "gan": {"dropout": 0.3, "activation_d": "maxout", "r1": 1.0, "weight_clip": None, "gp": 2.0},
    "dcgan": {"augment": ("color", "translation", "cutout"), "top_k": 0.6},
    "iwae": {"sigma": "learned"}, "wgan": {"initial_critic_steps": 2},
}  # fmt: skip
"""options that draw in other ways than the defaults, or change more than weights"""


@pytest.fixture
def float64(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Batches in float64, in which a wrong sum shows beside rounding."""
    assemble = Stream.assemble

    def assemble_double(stream: Stream, *drawn: torch.Tensor) -> Batch:
        batch = assemble(stream, *drawn)
        return batch._replace(x=batch.x.double())

    monkeypatch.setattr(Stream, "assemble", assemble_double)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def players(model: Model, data: Any) -> list[StepPlayer]:
    result = []
    for seed in range(MEMBERS):
        config, state = replace(CONFIG, seed=seed), initialize_state(model, data.shape, seed, CPU, len(data.classes))
        state.nets.double(), state.ema_nets.double()
        ensure_scaling(state, model, data)
        result.append(StepPlayer(model, open_stream(model, data, config, state), config, state))
    return result


def cases() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, cls in MODELS.items():
        if cls.n_domains == 1:
            yield from [(name, {})] if name != "wgan" else []  # at first its critic has 100 updates a step
            yield from [(name, SPECIAL[name])] if name in SPECIAL else []


@pytest.mark.parametrize(("name", "options"), list(cases()), ids=str)
@pytest.mark.parametrize("data", [VECTORS, IMAGES], ids=lambda data: data.name)
@pytest.mark.usefixtures("float64")
def test_a_member_equals_the_run_of_its_seed(name: str, options: dict[str, Any], data: Any) -> None:
    vectors = data is VECTORS
    if vectors and (name == "dcgan" or "binarize" in options):
        pytest.skip("needs images")
    model: Any = MODELS[name](width=4, **options)
    model.validate_data(data)
    alone, together = players(model, data), players(model, data)
    stacked = BatchedPlayer(together)
    for _ in range(STEPS):
        for player in alone:
            player.play()
        stacked.play()
        for player in alone + together:
            player.state.step += 1
    for one, other in zip(alone, together, strict=True):
        one.state.meter.fetch()
        other.state.meter.fetch()
        assert one.state.meter.values.keys() == other.state.meter.values.keys()
        for key, values in one.state.meter.values.items():
            assert values == pytest.approx(other.state.meter.values[key], rel=1e-5, abs=1e-6)
        for nets in ("nets", "ema_nets"):
            pairs = zip(tensors(getattr(one.state, nets)), tensors(getattr(other.state, nets)), strict=True)
            for a, b in pairs:
                torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9)
        moments = [
            {name: o.state_dict()["state"] for name, o in player.state.optimizers.items()} for player in (one, other)
        ]
        torch.testing.assert_close(moments[0], moments[1], rtol=1e-6, atol=1e-9)
    first, second = (tensors(player.state.nets)[0] for player in together[:2])
    assert not torch.equal(first, second)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    np.save("points.npy", RANDOM.normal(size=(60, 2)).astype(np.float32))
    return tmp_path


def always_stacked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the clock have no say in how small runs are trained."""
    monkeypatch.setattr(many, "play_twice", lambda plays, players: 0.0 if len(plays) == 1 else 1.0)
    monkeypatch.setattr(many, "are_close", lambda a, b: True)


TINY: dict[str, Any] = {"steps": 8, "checkpoint_every": 4, "batch_size": 8, "holdout": 0.0, "quiet": True}
WORDS = ["--steps", "8", "--checkpoint-every", "4", "--batch-size", "8", "--width", "8", "--holdout", "0"]


def last_line(folder: Path) -> dict[str, Any]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 9))
    line: dict[str, Any] = lines[-1]
    return line


def test_command_trains_seeds(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    always_stacked(monkeypatch)
    assert (
        main(["train", "gan", "points.npy", *WORDS, "--seeds", "2", "--seed", "3", "--folder", "runs/g", "--json"]) == 0
    )
    out, err = capsys.readouterr()
    assert [run["run"] for run in json.loads(out)] == ["runs/g-seed3", "runs/g-seed4"]
    assert "2 runs are trained at once, their networks stacked" in err
    assert main(["train", "gan", "points.npy", *WORDS, "--seed", "4", "--folder", "runs/alone"]) == 0
    member, alone = (last_line(place / "runs" / name) for name in ("g-seed4", "alone"))
    assert {k: member[k] for k in ("real", "fake", "fool")} == pytest.approx(
        {k: alone[k] for k in ("real", "fake", "fool")}, rel=1e-5
    )
    config = json.loads((place / "runs/g-seed4/config.json").read_text())
    assert config["group"] == {"name": "g", "batched": True}
    assert config["train_config"]["seed"] == 4
    assert main(["sample", "runs/g-seed4"]) == 0
    assert main(["resume", "g", "--steps", "12"]) == 0
    for name in ("g-seed3", "g-seed4"):
        assert '"step": 12' in (place / "runs" / name / "log.jsonl").read_text()


def test_command_trains_a_sweep(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "vae", "points.npy", *WORDS, "--sweep", "latent=2,3", "--folder", "runs/s"]) == 0
    out, err = capsys.readouterr()
    assert out.split() == ["runs/s-latent2-seed0", "runs/s-latent3-seed0"]
    assert "one after the other within a step: they differ in latent" in err
    configs = [json.loads((place / name / "config.json").read_text()) for name in out.split()]
    assert [config["fields"]["latent"] for config in configs] == [2, 3]
    capsys.readouterr()
    assert main(["train", "vae", "points.npy", "--sweep", "latent=two"]) == 2
    assert "sweep of latent: 'two' has to be numbers, with commas between them" in capsys.readouterr().err


def test_rates_may_differ_in_a_stack(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    always_stacked(monkeypatch)
    model = ganvas.GAN(width=8)
    many.train_many(model, "points.npy", sweep={"lr_d": [1e-4, 1e-2]}, folder="runs/r", **TINY)
    ganvas.train(replace(model, lr_d=1e-2), "points.npy", folder="runs/alone", **TINY)
    assert json.loads((place / "runs/r-lr_d0.01-seed0/config.json").read_text())["group"]["batched"]
    member, alone = (last_line(place / "runs" / name) for name in ("r-lr_d0.01-seed0", "alone"))
    assert member["fool"] == pytest.approx(alone["fool"], rel=1e-5)


def test_a_run_that_diverges_ends_alone(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    always_stacked(monkeypatch)
    runs = many.train_many(ganvas.VAE(width=8), "points.npy", sweep={"lr": [1e-3, 1e30]}, folder="runs/d", **TINY)
    assert [run.folder.name for run in runs if run.folder] == ["d-lr0.001-seed0"]
    assert last_line(place / "runs/d-lr0.001-seed0")["step"] == 8
    assert "diverged" in (place / "runs/d-lr1e+30-seed0/log.jsonl").read_text()
    with pytest.raises(DivergenceError, match="all 2 runs diverged"):
        many.train_many(ganvas.VAE(width=8, lr=1e30), "points.npy", seeds=2, folder="runs/e", **TINY)


def test_what_cannot_be_stacked_is_said_and_trained(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    many.train_many(ganvas.GAN(width=8, spectral_norm=True), "points.npy", seeds=2, folder="runs/n",
                    **TINY | {"quiet": False})  # fmt: skip
    assert "one after the other within a step: gan cannot be stacked" in capsys.readouterr().err
    ganvas.train(ganvas.GAN(width=8, spectral_norm=True), "points.npy", folder="runs/alone", seed=1, **TINY)
    member, alone = (last_line(place / "runs" / name) for name in ("n-seed1", "alone"))
    assert member["fool"] == alone["fool"]


def test_mistakes_are_named(place: Path) -> None:
    for options, message in (
        ({"seeds": 0}, "seeds=0"), ({"sweep": {"lr": [1e-3], "latent": [2]}}, "one option at a time"),
        ({"sweep": {"lr": [1e-3, 1e-3]}}, "different values"),
        ({"sweep": {"learnrate": [1.0]}}, "no option 'learnrate'"),
        ({"seeds": 2, "precision": "auto"}, "precision=auto is measured for one run"),
        ({"seeds": 2, "compile": "on"}, "compile=on is measured for one run"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=message):
            many.train_many(ganvas.VAE(width=8), "points.npy", **TINY, **options)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="no group of runs"):
        many.resume_many("nothing")


def test_a_group_is_trained_by_one_process(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "vae", "points.npy", "--devices", "0"]) == 2
    assert "--devices 0: give 1 or more" in capsys.readouterr().err
    assert main(["train", "vae", "points.npy", "--seeds", "2", "--init-from", "run"]) == 2
    assert "--init-from is for one run: leave out --seeds and --sweep" in capsys.readouterr().err
    assert main(["train", "vae", "points.npy", "--seeds", "2", "--devices", "2"]) == 2
    assert "trained by one process: leave out --devices 2" in capsys.readouterr().err
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    for work in (lambda: many.train_many(ganvas.VAE(), "points.npy", seeds=2), lambda: many.resume_many("g")):
        with pytest.raises(UserError, match="leave out devices, and torchrun"):
            work()
