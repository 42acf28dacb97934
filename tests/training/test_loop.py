"""The loop: order of updates, averages, divergence, determinism, exact continuation."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import ganvas
from ganvas.cli.app import main
from ganvas.config import TrainConfig  # fmt: skip
from ganvas.data import Dataset
from ganvas.errors import DivergenceError, TrainingStopped, UserError
from ganvas.model import Batch, Model, Move, Shape, minimize
from ganvas.models import MODELS
from ganvas.nn.device import resolve_device  # fmt: skip
from ganvas.training import checkpoint, fit
from ganvas.training.loop import (
    Meter,
    TrainState,
    apply_move,
    check_finite,
    flush_denormals,
    get_optimizer,
    initialize_state,
    train,
)
from ganvas.training.run_records import read_log
from tests.support.data import interrupted, learnt_by, sources
from tests.support.models import every_model, every_model_and_ctgan, small
from tests.support.training_state import CPU, trained_state


def same(a: TrainState, b: TrainState) -> bool:
    def parts(state: TrainState) -> dict[str, torch.Tensor]:
        held = state.nets.state_dict() | {f"ema/{k}": v for k, v in state.ema_nets.state_dict().items()}
        for name, optimizer in state.optimizers.items():
            held |= {f"{name}/{k}": v for k, v in checkpoint.split_optimizer_state(optimizer)[0].items()}
        return held

    x, y = parts(a), parts(b)
    return (
        x.keys() == y.keys()
        and all(torch.equal(x[k], y[k]) for k in x)
        and (a.step, a.position) == (b.step, b.position)
    )


@every_model_and_ctgan
def test_the_same_seed_gives_the_same_run_and_another_another(cls: type[Model], images: Dataset) -> None:
    a, b, c = (trained_state(small(cls), images, 4, seed) for seed in (0, 0, 1))
    assert same(a, b)
    assert not same(a, c)


@every_model_and_ctgan
def test_a_run_continued_from_its_checkpoint_equals_an_uninterrupted_one(
    cls: type[Model], images: Dataset, tmp_path: Path
) -> None:
    model, plan = small(cls), TrainConfig(steps=12, batch_size=8)
    whole = trained_state(model, images, 12)
    first = trained_state(model, images, 5)
    checkpoint.save(first, tmp_path / "state.ckpt", {})
    data = learnt_by(cls, images)
    second = initialize_state(model, data.shape, 99, CPU, len(data.classes))
    checkpoint.restore(second, tmp_path / "state.ckpt", model)
    assert same(first, second)
    for _ in train(model, data, plan, second):
        pass
    assert same(whole, second)


def test_training_leaves_the_callers_random_numbers_alone(images: Dataset) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    ganvas.train(small(MODELS["vae"]), images, steps=2, batch_size=8, quiet=True)
    assert torch.equal(torch.rand(3), expected)


def test_what_is_kept_is_averaged_with_its_batch_statistics(images: Dataset) -> None:
    state = trained_state(small(MODELS["dcgan"]), images, 5)
    assert set(state.ema_nets) == {"G"}
    norm = next(m for m in state.ema_nets["G"].modules() if isinstance(m, nn.BatchNorm2d))
    live = next(m for m in state.nets["G"].modules() if isinstance(m, nn.BatchNorm2d))
    assert norm.num_batches_tracked == live.num_batches_tracked
    assert norm.running_mean is not None
    assert norm.running_mean.abs().sum() > 0
    assert not state.ema_nets.training


def test_moments_that_no_weight_can_feel_do_not_linger_as_denormals() -> None:
    """An input that is 0 after its first step, as pixels at the border are."""
    data = torch.zeros(2000, 2)
    data[:, 0] = torch.randn(2000)
    net = nn.Linear(2, 1, bias=False)
    model = small(MODELS["autoencoder"])
    state = TrainState(nn.ModuleDict({"net": net}), nn.ModuleDict())
    plain = nn.Linear(2, 1, bias=False)
    plain.load_state_dict(net.state_dict())
    twin = model.optimizer(plain)
    for step in range(1200):
        x = torch.ones(1, 2) if step == 0 else data[step : step + 1]
        for network, optimizer in ((net, None), (plain, twin)):
            move = minimize(network, loss=network(x).square().mean())
            apply_move(move, optimizer or get_optimizer("net", model, state))
        if step % 100 == 0:
            flush_denormals(state)
    moment, left = (o.state_dict()["state"][0]["exp_avg"][0, 1] for o in (state.optimizers["net"], twin))
    assert moment == 0
    assert 0 < abs(left) < torch.finfo(torch.float32).tiny
    assert torch.equal(net.weight, plain.weight)


def test_a_step_of_adam_is_that_of_the_paper() -> None:
    """Algorithm 1 of arXiv:1412.6980, in NumPy."""
    net = nn.Linear(3, 1, bias=False)
    w = net.weight.detach().numpy().astype(np.float64).copy()
    model = small(MODELS["gan"])
    optimizer = model.optimizer(net)
    (b1, b2), m, v = model.betas, np.zeros_like(w), np.zeros_like(w)
    for t in range(1, 6):
        x = torch.full((1, 3), float(t))
        apply_move(minimize(net, loss=net(x).square().sum()), optimizer)
        gradient = 2 * (w @ x.numpy()[0]).item() * x.numpy()
        m, v = b1 * m + (1 - b1) * gradient, b2 * v + (1 - b2) * gradient**2
        w -= model.lr * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + 1e-8)
    np.testing.assert_allclose(net.weight.detach().numpy(), w, rtol=1e-4)


class Exploding(Model):
    """A model whose second loss term becomes what it is told at its seventh step."""

    at = itertools.count(1)
    value = float("nan")

    def networks(self, shape: Shape, classes: int = 0) -> dict[str, nn.Module]:
        return {"net": nn.Linear(3, 1)}

    def step(self, batches: Iterator[Batch], global_step: int, net: nn.Module) -> Iterator[Move]:
        x, *_ = next(batches)
        good = net(x).square().mean()
        yield minimize(net, good=good, bad=good * 0 + self.value if next(self.at) == 7 else good)

    def preview(self, batch: Batch) -> torch.Tensor:
        raise NotImplementedError


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_named_with_its_step(value: float, vectors: Dataset) -> None:
    class Doomed(Exploding):
        at = itertools.count(1)

    Doomed.value = value
    model = Doomed()
    state = initialize_state(model, vectors.shape, 0, CPU)
    for _ in train(model, vectors, TrainConfig(steps=10, batch_size=8), state):
        pass
    with pytest.raises(DivergenceError, match=rf"the loss term 'bad' became {value} at step 7"):
        state.meter.pop_means()


def test_a_run_that_diverges_keeps_its_last_good_checkpoint(
    vectors: Dataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """To go on from it repeats the steps, and so their end, which is said beforehand."""
    model = small(MODELS["autoencoder"])
    real, calls = fit.training, []

    def poisoned(*arguments: Any) -> Iterator[int]:
        for step in real(*arguments):
            calls.append(step)
            if step == 7:
                next(arguments[3].nets.parameters()).data.fill_(float("nan"))
            yield step

    monkeypatch.setattr(fit, "training", poisoned)
    options: dict[str, Any] = {"checkpoint_every": 5, "on_divergence": "stop", "folder": "run", "quiet": True}
    with pytest.raises(
        DivergenceError, match="encoder are no longer finite after step 7: stopped; .* keeps the checkpoint of step 5"
    ):
        ganvas.train(model, vectors, steps=20, batch_size=8, **options)
    assert ganvas.load("run").sample(2).x.isfinite().all()
    assert [line["step"] for line in read_log("run")] == [1, 2, 3, 4, 5, 6, 7]
    assert "NaN" not in Path("run", "log.jsonl").read_text()
    assert read_log("run")[-1]["diverged"] == "the weights of encoder are no longer finite after step 7"
    monkeypatch.setattr(fit, "training", real)
    capsys.readouterr()
    ganvas.resume("run", quiet=False, data=vectors)
    assert "diverged after step 7" in capsys.readouterr().err
    assert read_log("run")[-1]["step"] == 20


def test_weights_that_are_not_finite_are_never_saved(images: Dataset) -> None:
    state = trained_state(small(MODELS["gan"]), images, 1)
    check_finite(state)
    next(state.nets["D"].parameters()).data[0] = float("inf")
    with pytest.raises(DivergenceError, match="the weights of D are no longer finite after step 1"):
        check_finite(state)


def test_the_meter_averages_over_all_moves() -> None:
    meter = Meter()
    for step, value in ((1, 1.0), (1, 3.0), (2, 5.0)):
        meter.add(step, {"d": torch.tensor(value)})
    meter.add(2, {"g": torch.tensor(-1.0)})
    assert meter.pop_means() == {"d": 3.0, "g": -1.0}
    assert meter.pop_means() == {}
    meter.add(3, {"d": torch.tensor(4.0)})
    meter.fetch()
    meter.add(4, {"d": torch.tensor(8.0)})
    assert meter.pop_means() == {"d": 6.0}  # looking takes nothing away


def timeless(line: dict[str, Any]) -> dict[str, Any]:
    """A line of a log without what depends on the clock: seconds, also those that measuring samples took."""
    return {k: timeless(v) if isinstance(v, dict) else v for k, v in line.items() if k != "seconds"}


def test_a_run_that_was_stopped_between_two_lines_of_its_log_writes_the_same_log(images: Dataset) -> None:
    options = {"steps": 40, "batch_size": 8, "checkpoint_every": 100, "quiet": True}
    ganvas.train(small(MODELS["gan"]), images, folder="straight", **options)
    with (
        interrupted(15),
        pytest.raises(TrainingStopped, match="stopped at step 15 of 40; go on with: ganvas resume stopped"),
    ):
        ganvas.train(small(MODELS["gan"]), images, folder="stopped", **options)
    ganvas.resume("stopped", data=images, quiet=True)
    straight, stopped = ([timeless(line) for line in read_log(run)] for run in ("straight", "stopped"))
    assert straight == stopped
    assert [line["step"] for line in straight] == [10, 20, 30, 40]
    for name in ("weights.safetensors", "last.safetensors", "state.ckpt"):
        assert Path("straight", name).read_bytes() == Path("stopped", name).read_bytes()


def test_a_run_that_dies_while_it_saves_does_not_keep_old_weights(
    images: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoint says that a step is done, so it is written after the weights of that step."""
    model, options = small(MODELS["vae"]), {"steps": 4, "batch_size": 8, "checkpoint_every": 2, "quiet": True}
    real, calls = checkpoint.save, []

    def dying(state: TrainState, *arguments: Any) -> None:
        calls.append(state.step)
        if state.step == 4:
            raise OSError("the power fails")
        real(state, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", dying)
        with pytest.raises(OSError, match="the power fails"):
            ganvas.train(model, images, folder="run", **options)
    resumed = ganvas.resume("run", data=images, quiet=True)
    assert resumed.metadata["step"] == ganvas.load("run").metadata["step"] == 4
    whole = ganvas.train(model, images, folder="whole", **options)
    assert torch.equal(whole.sample(4).x, ganvas.load("run").sample(4).x)


def test_epochs_become_steps(images: Dataset) -> None:
    trained = ganvas.train(small(MODELS["vae"]), images, epochs=3, batch_size=16, quiet=True)
    assert trained.metadata["step"] == 3 * (40 // 16)


def test_a_device_that_is_not_here_is_refused() -> None:
    assert resolve_device("cpu").type == "cpu"
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="device=cuda is not available here: use auto or"):
            resolve_device("cuda")


@pytest.mark.gpu
@every_model
def test_models_train_on_an_accelerator(cls: type[Model], images: Dataset) -> None:
    device = resolve_device("auto")
    if device.type == "cpu":
        pytest.skip("needs an accelerator")
    trained = ganvas.train(small(cls), sources(cls, images), steps=5, batch_size=8, checkpoint_every=5, quiet=True)
    made = trained.sample(3).x if cls.n_domains == 1 else trained.translate(images.x[:3]).x
    assert made.shape == (3, 3, 12, 10)


def test_the_usual_batch_is_no_larger_than_the_data(vectors: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder of few images needs no options; a batch that is not the usual one is taken at its word."""
    model, few = small(MODELS["autoencoder"]), vectors.select(slice(20))
    ganvas.train(model, few, steps=2, folder="run")
    assert "has 20 examples, so batches have as many, and not 64" in capsys.readouterr().err
    assert json.loads(Path("run", "config.json").read_text())["train_config"]["batch_size"] == 20
    for batch in (21, 63, 64, 65):
        with pytest.raises(
            UserError, match=f"batch_size={batch} is larger than the data: vectors has 20; give 20 or less"
        ):
            ganvas.train(model, few, steps=2, batch_size=batch)
    assert ganvas.train(model, few, steps=2, batch_size=None, quiet=True).metadata["step"] == 2


def test_what_is_given_counts_and_not_what_differs_from_the_usual(
    images: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    """In Python, on the command line and in files; what a run stores is what it does."""
    np.save("x.npy", images.x.movedim(1, -1).numpy())
    said = {
        ("steps", "epochs"): "both say how long to train: give one", ("batch_size",): "is larger than the data",
    }  # fmt: skip
    values = {"steps": (TrainConfig.steps, 4000, 1), "epochs": (0.05, 1.0), "batch_size": (64, 65, 41)}
    for names, sentence in said.items():
        for given in itertools.product(*(values[name] for name in names)):
            options = dict(zip(names, given, strict=True))
            with pytest.raises(UserError, match=sentence):
                ganvas.train(small(MODELS["vae"]), "x.npy", quiet=True, **options)
            Path("run.yaml").write_text("".join(f"{name}: {value}\n" for name, value in options.items()))
            line = [text for name, value in options.items() for text in (f"--{name}", str(value))]
            for arguments in (line, ["--config", "run.yaml"]):
                assert main(["train", "vae", "x.npy", "--width", "4", *arguments]) == 2
                assert sentence in capsys.readouterr().err
    assert not Path("runs").exists()
    for name, epochs in (("a", ()), ("b", ("--epochs", "2"))):
        words = ["x.npy", "--net", "conv", "--width", "4", "--folder", name, *(epochs or ("--steps", "2"))]
        assert main(["train", "vae", *words]) == 0
        plan = json.loads(Path(name, "config.json").read_text())["train_config"]
        assert (plan["steps"], plan["batch_size"], plan["epochs"]) == (2, 40, None)
    assert "has 40 examples, so batches have as many, and not 64" in capsys.readouterr().err
