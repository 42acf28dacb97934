"""Runs of a group, whose steps are stacked: each is what it would be alone."""

import json
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import ganvas
from ganvas.cli.app import main
from ganvas.config import TrainConfig
from ganvas.data import from_array
from ganvas.data.stream import Stream
from ganvas.errors import DivergenceError, UserError
from ganvas.io.safetensors import read_header
from ganvas.model import Batch, Model
from ganvas.models import MODELS
from ganvas.training import many
from ganvas.training.batched import BatchedPlayer
from ganvas.training.ema import tensors
from ganvas.training.loop import StepPlayer, ensure_scaling, initialize_state, open_stream

STEPS, MEMBERS = 4, 3
CPU = torch.device("cpu")
RANDOM = np.random.default_rng(0)
LABELS = RANDOM.integers(0, 3, 120)
VECTORS = from_array(RANDOM.normal(size=(120, 2)).astype(np.float32), labels=LABELS, name="vectors")
IMAGES = from_array(RANDOM.integers(0, 256, (120, 8, 8)).astype(np.uint8), labels=LABELS, name="images")
CONFIG = TrainConfig(steps=STEPS, batch_size=12, clip_grad_norm=5.0)
SPECIAL: dict[str, dict[str, Any]] = {
    "vae": {"likelihood": "bernoulli", "binarize": "dynamic", "prior": "vamp", "pseudo_inputs": 5},
    "gan": {"dropout": 0.3, "activation_d": "maxout", "r1": 1.0, "weight_clip": None, "gp": 2.0},
    "dcgan": {"augment": ("color", "translation", "cutout"), "augment_target": 0.1, "augment_span": 60, "top_k": 0.6},
    "iwae": {"sigma": "learned"}, "wgan": {"initial_critic_steps": 2},
    "r3gan": {"burn_in": 3, "penalty_interval": 2},
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
        if cls.n_domains == 1 and not cls.tables_only:
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
    monkeypatch.setattr(many, "trial", lambda runs: "")


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
    capsys.readouterr()
    assert main(["resume", "runs/g-seed3"]) == 0
    assert "trained at once with the runs of g, and goes on alone: the same up to rounding" in capsys.readouterr().err
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
    assert "--latent must be a whole number, not 'two'" in capsys.readouterr().err


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
    assert list(runs.divergences) == ["d-lr1e+30-seed0"]
    with pytest.raises(DivergenceError, match="all 2 runs diverged"):
        many.train_many(ganvas.VAE(width=8, lr=1e30), "points.npy", seeds=2, folder="runs/e", **TINY)


def test_a_command_whose_runs_diverged_says_which_and_fails(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = ["train", "vae", "points.npy", "--width", "8", "--steps", "4", "--batch-size", "8", "--quiet", "--folder"]
    assert main([*train, "runs/one", "--lr", "1e30"]) == 1
    assert main([*train, "runs/d", "--sweep", "lr=1e30,1e-3,1e31"]) == 1
    written = capsys.readouterr()
    assert written.out == "runs/d-lr0.001-seed0\n"
    assert read_header(place / "runs/d-lr0.001-seed0/state.ckpt")["step"] == 4
    one, some = written.err.splitlines()
    assert one.startswith("ganvas: a gradient was NaN or infinite in the last 3 of 4 steps: stopped; runs/one keeps")
    assert some.startswith("ganvas: 2 of 3 runs diverged, d-lr1e+30-seed0, d-lr1e+31-seed0; ")
    assert main(["resume", "runs/d", "--quiet", "--json"]) == 1
    written = capsys.readouterr()
    assert [run["step"] for run in json.loads(written.out)] == [4]
    assert written.err.startswith("ganvas: 2 of 3 runs diverged")


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
        ({"sweep": {"learnrate": [1.0]}}, "neither a vae nor training has an option 'learnrate'"),
        ({"seeds": 2, "precision": "auto"}, "precision=auto begins with a trial of one run"),
        ({"seeds": 2, "compile": "on"}, "compile=on begins with a trial of one run"),
        ({"sweep": {"size": [8, 16]}}, "size is an option of data, and all runs have the same"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=message):
            many.train_many(ganvas.VAE(width=8), "points.npy", **TINY, **options)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="no group of runs"):
        many.resume_many("nothing")
    with pytest.raises(UserError, match="compile=auto begins with a trial of one run"):
        many.resume_many("nothing", compile="auto")
    (place / "runs/half-seed1").mkdir(parents=True)
    (place / "runs/half-seed1/file").touch()
    with pytest.raises(UserError, match="half-seed1"):
        many.train_many(ganvas.VAE(width=8), "points.npy", seeds=2, folder="runs/half", **TINY)
    assert not (place / "runs/half-seed0").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["vae", "points.npy", "--sweep", ""], "give an option and its values, with commas between them"),
        (["vae", "points.npy", "--lr", "0.1", "--sweep", "lr=0.2,0.3"], "lr is given twice"),
        (["betatcvae", "points.npy", "--sweep", "flow-steps=1,2"], "flow_steps has no effect on a betatcvae"),
    ],
)
def test_a_sweep_that_would_do_nothing_is_refused(
    place: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *words]) == 2
    assert message in capsys.readouterr().err
    assert not (place / "runs").exists()


def test_a_group_says_what_a_run_alone_says(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where steps are stacked; and each note once."""
    words = ["--steps", "2", "--width", "8", "--holdout", "0", "--seeds", "2", "--graph", "on", "--tf32"]
    for name in ("alone", "stacked"):
        monkeypatch.setattr(many, "trial", lambda runs, name=name: "" if name == "stacked" else "so it is")
        assert main(["train", "vae", "points.npy", *words, "--folder", f"runs/{name}"]) == 0
        err = capsys.readouterr().err
        for note in (
            "graph=on has no effect here: CUDA graphs need device=cuda", "tf32 has no effect here",
            "points has 60 examples, so batches have as many, and not 64",
        ):  # fmt: skip
            assert (
                err.splitlines().count(next(line for line in err.splitlines() if line.startswith(f"note: {note}"))) == 1
            )


def test_the_line_of_a_group_counts_all_runs(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["vae", "points.npy", "--width", "8", "--batch-size", "8", "--checkpoint-every", "2", "--holdout", "0"]
    assert main(["train", *words, "--sweep", "steps=2,4", "--folder", "runs/s"]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("step ")]
    assert [line.split()[1] for line in lines] == ["2/4"]
    assert [run.metadata["step"] for run in many.resume_many("runs/s", quiet=True)] == [2, 4]


def test_names_of_members_tell_close_values_apart(place: Path) -> None:
    sweep = {"lr": [0.1234567, 0.12345671]}
    runs = many.train_many(ganvas.VAE(width=8), "points.npy", sweep=sweep, folder="runs/c", **TINY)
    assert [run.folder.name for run in runs if run.folder] == ["c-lr0.1234567-seed0", "c-lr0.12345671-seed0"]


def test_a_run_that_has_ended_is_left_as_it_is(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its samples get no better after its first measurements, and the others go on."""
    always_stacked(monkeypatch)
    sizes: list[int] = []
    play = BatchedPlayer.play
    monkeypatch.setattr(BatchedPlayer, "play", lambda self: (sizes.append(len(self.players)), play(self))[1])
    monkeypatch.setattr(TrainConfig, "is_out_of_patience", lambda self, n: self.seed == 0 and n is not None and ended)
    ended = False
    log_step = many.Run.log_step

    def end_the_first(run: many.Run, *args: Any) -> dict[str, Any]:
        nonlocal ended
        ended = ended or (run.config.seed == 0 and run.state.step == 4)
        return log_step(run, *args)

    monkeypatch.setattr(many.Run, "log_step", end_the_first)
    runs = many.train_many(ganvas.GAN(width=8), "points.npy", seeds=2, folder="runs/p", **TINY, keep="last")
    assert [run.metadata["step"] for run in runs] == [4, 8]
    kept = ganvas.load("runs/p-seed0")
    for name, net in runs[0].nets.items():
        for a, b in zip(tensors(net), tensors(kept.nets[name]), strict=True):
            assert torch.equal(a, b)
    assert sizes == [2] * 4 + [1] * 4
    sizes.clear()
    many.resume_many("runs/p", steps=10, quiet=True)
    assert sizes == []  # one run is left, which goes on as any other


def test_runs_of_a_group_that_was_killed_catch_up_first(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that were saved before the others had more steps then."""
    always_stacked(monkeypatch)
    model = ganvas.VAE(width=8, latent=2, warmup=12)
    short, options = TINY | {"steps": 4}, {"ema_decay": 0.9}
    for folder in ("whole", "killed"):
        many.train_many(model, "points.npy", seeds=2, folder=f"runs/{folder}", **short, **options)
    ganvas.resume("runs/killed-seed1", steps=8, quiet=True)
    many.resume_many("runs/whole", steps=8, quiet=True)
    many.resume_many("runs/whole", steps=12, quiet=True)
    assert [run.metadata["step"] for run in many.resume_many("runs/killed", steps=12, quiet=True)] == [12, 12]
    for seed in range(2):
        pairs = [[(place / f"runs/{name}-seed{seed}/{file}") for name in ("whole", "killed")]
                 for file in ("weights.safetensors", "state.ckpt")]  # fmt: skip
        for whole, killed in pairs:
            tensors_of = [load_file(file) for file in (whole, killed)]
            torch.testing.assert_close(*tensors_of, rtol=1e-4, atol=1e-6)


def test_all_runs_stop_after_the_same_step(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where the request comes while the second of them writes its log."""
    always_stacked(monkeypatch)
    log_step = many.Run.log_step

    def stop(run: many.Run, *args: Any) -> dict[str, Any]:
        if run.config.seed == 1 and run.state.step == 5:
            signal.raise_signal(signal.SIGTERM)
        return log_step(run, *args)

    monkeypatch.setattr(many.Run, "log_step", stop)
    words = ["vae", "points.npy", *WORDS, "--seeds", "3", "--folder", "runs/t"]
    assert main(["train", *words]) == 128 + signal.SIGTERM
    assert "3 runs stopped at step 6 of 8; go on with: ganvas resume runs/t" in capsys.readouterr().err
    assert {read_header(place / f"runs/t-seed{i}/state.ckpt")["step"] for i in range(3)} == {6}
    assert main(["resume", "t", "points.npy", "--quiet"]) == 0
    assert main(["resume", "t", "--devices", "2", "--steps", "9"]) == 2
    assert "trained by one process: leave out --devices 2" in capsys.readouterr().err


def test_a_second_ctrl_c_ends_a_group_at_once(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    always_stacked(monkeypatch)
    play = BatchedPlayer.play

    def interrupt(self: BatchedPlayer) -> None:
        if self.players[0].state.step == 5:
            raise KeyboardInterrupt
        play(self)

    monkeypatch.setattr(BatchedPlayer, "play", interrupt)
    assert main(["train", "vae", "points.npy", *WORDS, "--seeds", "2", "--folder", "runs/i"]) == 130
    assert "ended at once; the runs keep their checkpoints; go on with: ganvas resume runs/i" in capsys.readouterr().err


def test_changes_that_cannot_be_stacked_end_the_stack(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    always_stacked(monkeypatch)
    many.train_many(ganvas.VAE(width=8), "points.npy", seeds=2, folder="runs/x", **TINY)
    many.resume_many("runs/x", steps=10, precision="bfloat16")
    assert "one after the other within a step: precision=bfloat16 is not stacked" in capsys.readouterr().err
    many.resume_many("runs/x", steps=12, precision="float32")
    assert "one after the other within a step: as before" in capsys.readouterr().err


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
