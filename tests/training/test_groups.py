"""Folders of runs that are stacked: stopped and resumed, together and alone, beside those of single runs."""

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ganvas
from ganvas.cli.train import read_sweep
from ganvas.errors import TrainingStopped, UserError
from ganvas.io.run_folder import RunFolder
from ganvas.io.safetensors import read_header, read_safetensors
from ganvas.model import Model
from ganvas.models import DCGAN, GAN, VAE, WGANGP
from ganvas.training import many
from ganvas.training.fit import Run
from ganvas.training.run_records import find_group, read_log

OPTIONS: dict[str, Any] = {"steps": 7, "checkpoint_every": 3, "batch_size": 8, "holdout": 0.0, "quiet": True}
KL = VAE(width=8, latent=3, warmup=8)
DROPOUT, MAPS = GAN(width=8, latent=3, dropout=0.3), DCGAN(width=8, latent=3)
PENALTY = WGANGP(width=8, latent=3, n_critic=2)


def of(*models: Model) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("model", models, ids=lambda model: type(model).__name__.lower())


@pytest.fixture(autouse=True)
def stacked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are stacked, however fast that is."""
    np.save("images.npy", np.random.default_rng(0).integers(0, 256, (60, 12, 12, 3), np.uint8))
    monkeypatch.setattr(many, "trial", lambda runs: "")


def train_and_stop(model: Model, folder: str, step: int) -> None:
    """Two runs of a group, which somebody asks to stop while the second is at this step."""
    log_step = Run.log_step

    def ask_to_stop(run: Run, *args: Any) -> Any:
        if (run.config.seed, run.state.step) == (1, step - 1):
            signal.raise_signal(signal.SIGINT)
        return log_step(run, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "log_step", ask_to_stop)
        with pytest.raises(TrainingStopped):
            many.train_many(model, "images.npy", seeds=2, folder=folder, **OPTIONS)
    assert [read_header(Path(f"{folder}-seed{i}/state.ckpt"))["step"] for i in range(2)] == [step, step]


def timeless(folder: str) -> list[dict[str, Any]]:
    """A run's log without what the clock says."""
    lines = [{name: value for name, value in line.items() if name != "seconds"} for line in read_log(folder)]
    for line in lines:
        line.get("samples", {}).pop("seconds", None)
    return lines


def assert_close(a: Path, b: Path) -> None:
    """The files hold the same tensors, up to rounding."""
    torch.testing.assert_close(read_safetensors(a)[1], read_safetensors(b)[1], rtol=1e-4, atol=1e-5)


@of(KL, DROPOUT, MAPS, PENALTY)
def test_a_group_that_was_stopped_equals_one_that_was_not_bit_for_bit(model: Model) -> None:
    many.train_many(model, "images.npy", seeds=2, folder="whole", **OPTIONS)
    train_and_stop(model, "stopped", 5)
    many.resume_many("stopped", quiet=True)
    for seed in range(2):
        whole, stopped = (Path(f"{name}-seed{seed}") for name in ("whole", "stopped"))
        for file in ("state.ckpt", "weights.safetensors"):
            assert (whole / file).read_bytes() == (stopped / file).read_bytes()
        assert timeless(str(whole)) == timeless(str(stopped))


@of(KL, MAPS)
def test_a_member_goes_on_alone(model: Model) -> None:
    """Up to rounding as in its group, and the others stay as they are until they are resumed."""
    many.train_many(model, "images.npy", seeds=2, folder="whole", **OPTIONS)
    train_and_stop(model, "stopped", 5)
    other = Path("stopped-seed0/state.ckpt").read_bytes()
    ganvas.resume("stopped-seed1", quiet=True)
    assert_close(Path("stopped-seed1/state.ckpt"), Path("whole-seed1/state.ckpt"))
    assert Path("stopped-seed0/state.ckpt").read_bytes() == other
    many.resume_many("stopped", quiet=True)
    assert_close(Path("stopped-seed0/state.ckpt"), Path("whole-seed0/state.ckpt"))


@of(DROPOUT, PENALTY)
def test_a_members_folder_is_that_of_the_run_alone(model: Model) -> None:
    many.train_many(model, "images.npy", seeds=2, folder="group", **OPTIONS)
    ganvas.train(model, "images.npy", seed=1, folder="alone", **OPTIONS)
    member, alone = Path("group-seed1"), Path("alone")
    names = [sorted(str(file.relative_to(run)) for file in run.rglob("*")) for run in (member, alone)]
    assert names[0] == names[1]
    config, expected = (RunFolder(run).read_config() for run in (member, alone))
    assert config.pop("group") == {"name": "group", "batched": True}
    assert config | {"created_at": expected["created_at"]} == expected
    for name in ("state.ckpt", "weights.safetensors"):
        assert_close(member / name, alone / name)
        header, other = (read_header(run / name) for run in (member, alone))
        assert header.keys() == other.keys()
    for line, other in zip(timeless("group-seed1"), timeless("alone"), strict=True):
        assert line.keys() == other.keys()
        losses = {name: value for name, value in line.items() if isinstance(value, float)}
        assert losses == pytest.approx({name: other[name] for name in losses}, rel=1e-3, abs=1e-4)


def test_a_run_whose_loss_is_not_a_number_leaves_the_others_as_they_are() -> None:
    sweep = {"lr": [1e-3, 1e30]}
    many.train_many(VAE(width=8, latent=3), "images.npy", sweep=sweep, folder="group", **OPTIONS)
    ganvas.train(VAE(width=8, latent=3, lr=1e-3), "images.npy", folder="alone", **OPTIONS)
    diverged = Path("group-lr1e+30-seed0")
    assert "diverged" in read_log(diverged)[-1]
    assert all(t.isfinite().all() for t in read_safetensors(diverged / "state.ckpt")[1].values())
    assert_close(Path("group-lr0.001-seed0/state.ckpt"), Path("alone/state.ckpt"))
    assert RunFolder(diverged).read_config()["group"]["batched"]


def test_two_groups_are_never_one_by_their_name() -> None:
    """One of seeds and one of values, of the same model and data on the same day: what is resumed is one of them."""
    model = GAN(width=8, latent=3)
    ganvas.train(model, "images.npy", **OPTIONS | {"steps": 1})
    seeds = many.train_many(model, "images.npy", seeds=2, **OPTIONS | {"steps": 1})
    values = many.train_many(model, "images.npy", sweep={"lr": [1e-3, 1e-4]}, **OPTIONS | {"steps": 1})
    groups = [{run.folder for run in runs} for runs in (seeds, values)]
    names = [RunFolder(runs[0].folder or Path()).read_config()["group"]["name"] for runs in (seeds, values)]
    assert len(set(names)) == 2
    assert [set(find_group(name)) for name in names] == groups
    alone = ganvas.train(model, "images.npy", **OPTIONS | {"steps": 1})
    assert alone.folder is not None
    assert alone.folder.name not in names
    assert [set(find_group(name)) for name in names] == groups, "a single run takes no group's name"
    for train, options in ((many.train_many, {"seeds": 2}), (ganvas.train, {})):
        with pytest.raises(UserError, match="is the name of a group of runs: give another"):
            train(model, "images.npy", folder=Path("runs", names[1]), **OPTIONS, **options)


def test_members_ignore_what_the_sweep_leaves_without_effect(capsys: pytest.CaptureFixture[str]) -> None:
    """Said once; an option that has no effect on any member is refused as in a single run."""
    options, sweep = OPTIONS | {"steps": 1, "quiet": False}, many.parse_sweep("posterior=diagonal,low-rank")
    model: Any = VAE(width=8, latent=3, rank=2)
    runs = many.train_many(model, "images.npy", sweep=sweep, seeds=2, **options)
    assert [run.model.posterior for run in runs] == ["diagonal"] * 2 + ["low-rank"] * 2  # type: ignore[attr-defined]
    said = [line for line in capsys.readouterr().err.splitlines() if "no effect" in line]
    assert said == ["note: rank has no effect without posterior=low-rank, on 2 of 4 runs"]
    sweeps: dict[str, Any] = {"posterior": ["diagonal", "full"], "beta": [1.0, 2.0], "rank": [3, 4]}
    for name, values in sweeps.items():
        model = VAE(width=8, latent=3) if name == "rank" else VAE(width=8, latent=3, rank=2)
        with pytest.raises(UserError, match="rank=. has no effect without posterior=low-rank: leave it out"):
            many.train_many(model, "images.npy", sweep={name: values}, **options)


def test_a_sweep_may_have_no_value_among_others() -> None:
    """Where `none` is no value of the option's own, as it is of norms."""
    assert read_sweep("norm-d=none,batch", DCGAN) == {"norm_d": ["none", "batch"]}
    assert read_sweep("lr-d=none,1e-3", DCGAN) == {"lr_d": [None, 1e-3]}
    sweep = read_sweep("clip-grad-norm=none,1", VAE)
    members = many.expand(VAE(), {}, 1, sweep)
    assert [(name, options["clip_grad_norm"]) for name, _, options in members] == [
        ("clip_grad_normnone-seed0", None), ("clip_grad_norm1-seed0", 1),
    ]  # fmt: skip
