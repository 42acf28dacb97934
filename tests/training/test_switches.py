"""Switches change how a step is computed, and not what: every model, with each of them and without.

CUDA graphs are in test_cuda_graph, stacked runs in test_many, ranks in tests/e2e/test_ranks, networks that are compiled
by stand-ins in tests/nn/test_compilation, streamed runs from the command line in test_streamed_run.
"""

import json
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._dynamo.utils import counters

import ganvas
from ganvas.cli.app import main
from ganvas.config import TrainConfig
from ganvas.data import Data, DataOptions, Dataset, load_or_stream
from ganvas.errors import TrainingStopped
from ganvas.io.safetensors import read_safetensors
from ganvas.model import Model
from ganvas.models import MODELS, VAE
from ganvas.nn.compilation import missing_compiler
from ganvas.nn.conv import set_memory_format
from ganvas.nn.translators import pad_to_multiple
from ganvas.training import checkpoint
from ganvas.training.loop import TrainState, initialize_state, train
from tests.support.data import image_collection, interrupted, learnt_by, sources
from tests.support.graphs import contents, recorded_steps, trained
from tests.support.models import every_generator, every_model, small, small_critic
from tests.support.shards import write_shards

CPU = torch.device("cpu")
CONFIG = TrainConfig(steps=4, batch_size=8, ema_decay=0.9, lr_decay=0.5, clip_grad_norm=5.0)
RECORDED = replace(CONFIG, steps=12)
"""enough steps for some to be recorded in the first part and in the last of three"""
ROUNDING = 2**-8
"""that of a number in bfloat16, as a share of it"""
LAST, FIRST = torch.channels_last, torch.contiguous_format


def assert_equal(actual: TrainState, expected: TrainState) -> None:
    """All that the states hold is the same, bit for bit."""
    a, b = contents(actual), contents(expected)
    assert a.keys() == b.keys()
    assert [name for name in b if not torch.equal(a[name], b[name])] == []


def assert_close(actual: TrainState, expected: TrainState, tolerance: float) -> None:
    """Loss terms and weights differ by this share of the largest at most, or by this where that is below 1."""
    a, b = contents(actual), contents(expected)
    assert a.keys() == b.keys()
    for name in b:
        if not name.startswith("gradient/"):
            assert (a[name] - b[name]).abs().max() <= tolerance * b[name].abs().max().clamp_min(1), name


def train_until(state: TrainState, last: int, model: Model, data: Data, config: TrainConfig = CONFIG) -> None:
    """Do the steps up to this one, of those of the configuration."""
    for step in train(model, data, config, state):
        if step == last:
            break


def save(state: TrainState, file: Path) -> None:
    """Write a checkpoint, as a run does."""
    state.meter.fetch()
    checkpoint.save(state, file, {})


def losses(state: TrainState) -> dict[str, Tensor]:
    """The terms of each move, less those that count examples."""
    state.meter.fetch()
    return {name: torch.tensor(v) for name, v in state.meter.values.items() if not name.startswith("accuracy")}


@cache
def usual(cls: type[Model]) -> TrainState:
    """The small model after its steps without any switch."""
    return trained(small_critic(cls), learnt_by(cls, image_collection()), CONFIG)


@every_model
def test_bfloat16_changes_losses_by_its_rounding_and_stores_float32(
    cls: type[Model], images: Dataset, tmp_path: Path
) -> None:
    model, data = small_critic(cls), learnt_by(cls, images)
    rounded = trained(model, data, replace(CONFIG, precision="bfloat16"))
    a, b = losses(rounded), losses(usual(cls))
    assert a.keys() == b.keys()
    differences = {name: (a[name] - b[name]).abs() / b[name].abs().max().clamp_min(1) for name in b}
    assert max(d[0].item() for d in differences.values()) < ROUNDING
    assert max(d.max().item() for d in differences.values()) < 5 * ROUNDING
    assert any(d.max() > 1e-6 for d in differences.values())  # it does round
    save(rounded, tmp_path / "state.ckpt")
    types = {name: t.dtype for name, t in read_safetensors(tmp_path / "state.ckpt")[1].items() if t.is_floating_point()}
    assert set(types.values()) == {torch.float32}


@pytest.mark.parametrize("cls", [MODELS["vae"], MODELS["cyclegan"]])
def test_a_run_in_bfloat16_goes_on_as_it_began_and_is_used_in_float32(cls: type[Model], images: Dataset) -> None:
    model, data = small(cls), sources(cls, images)
    options = {"batch_size": 8, "checkpoint_every": 2, "quiet": True, "precision": "bfloat16"}
    ganvas.train(model, data, steps=6, folder="whole", **options)
    with interrupted(3), pytest.raises(TrainingStopped):
        ganvas.train(model, data, steps=6, folder="run", **options)
    resumed = ganvas.resume("run", data, quiet=True)
    assert Path("run/weights.safetensors").read_bytes() == Path("whole/weights.safetensors").read_bytes()
    assert Path("run/state.ckpt").read_bytes() == Path("whole/state.ckpt").read_bytes()
    loaded = ganvas.load("run")
    for name, net in resumed.nets.items():
        state = loaded.nets[name].state_dict()
        assert all(torch.equal(state[key], t) and t.dtype != torch.bfloat16 for key, t in net.state_dict().items())
    assert not torch.is_autocast_enabled("cpu")


def test_a_run_may_change_its_precision_and_says_from_which_step(
    vectors: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    """From there on it is the run that its state would have had."""
    model = small(VAE)
    options = {"batch_size": 8, "checkpoint_every": 2}
    ganvas.train(model, vectors, steps=4, folder="run", **options)
    ganvas.resume("run", vectors, steps=8, precision="bfloat16")
    note = "from step 4 on with precision bfloat16 in place of float32: not the run that was begun"
    assert note in capsys.readouterr().err
    config = json.loads(Path("run/config.json").read_text())
    assert config["train_config"]["precision"] == "bfloat16"
    assert config["changes"] == [{"step": 4, "steps": [4, 8], "precision": ["float32", "bfloat16"]}]
    data = model.preprocess(vectors)
    state = initialize_state(model, data.shape, 0, CPU)
    for steps, precision in ((4, "float32"), (8, "bfloat16")):
        for _ in train(model, data, TrainConfig(steps=steps, batch_size=8, precision=precision), state):  # type: ignore[arg-type]
            pass
    saved = read_safetensors(Path("run/state.ckpt"))[1]
    assert all(torch.equal(saved[f"nets/{name}"], t) for name, t in state.nets.state_dict().items())


@every_model
@pytest.mark.usefixtures("float64_training")
def test_the_order_of_memory_changes_rounding_alone(cls: type[Model]) -> None:
    states = [trained_in_order(cls, order) for order in (LAST, FIRST)]
    maps = [p for state in states for p in state.nets.parameters() if p.ndim == 4 and min(p.shape) > 1]
    assert {p.is_contiguous() for p in maps} == ({False, True} if maps else set())
    assert_close(*states, 1e-9)


def in_order(model: Model, data: Data, order: torch.memory_format) -> TrainState:
    """Fresh networks with their weights in this order of memory."""
    state = initialize_state(model, data.shape, 0, CPU, len(data.classes))
    set_memory_format(state.nets, order)
    return state


@cache
def trained_in_order(cls: type[Model], order: torch.memory_format) -> TrainState:
    """The small model after its steps, in float64."""
    model, data = small_critic(cls), learnt_by(cls, image_collection())
    state = in_order(model, data, order)
    train_until(state, CONFIG.steps, model, data)
    return state


@every_model
@pytest.mark.parametrize("order", [LAST, FIRST], ids=["into channels last", "into channels first"])
@pytest.mark.usefixtures("float64_training")
def test_a_checkpoint_goes_on_in_another_order_of_memory(
    cls: type[Model], order: torch.memory_format, images: Dataset, tmp_path: Path
) -> None:
    model, data, file = small_critic(cls), learnt_by(cls, images), tmp_path / "state.ckpt"
    first = in_order(model, data, FIRST if order == LAST else LAST)
    train_until(first, 2, model, data)
    save(first, file)
    second = in_order(model, data, order)
    checkpoint.restore(second, file, model)
    for name, optimizer in second.optimizers.items():
        moments, restored = (checkpoint.split_optimizer_state(o)[0] for o in (first.optimizers[name], optimizer))
        assert moments.keys() == restored.keys()
        assert all(torch.equal(moment, restored[key]) for key, moment in moments.items())
        for parameter, own in optimizer.state.items():
            assert {moment.stride() for moment in own.values() if moment.ndim} <= {parameter.stride()}
    train_until(second, CONFIG.steps, model, data)
    assert_close(second, trained_in_order(cls, order), 1e-9)


@every_model
@pytest.mark.usefixtures("float64_training")
def test_threads_change_rounding_alone(cls: type[Model], images: Dataset) -> None:
    model, data, threads = small_critic(cls), learnt_by(cls, images), torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        several = trained(model, data, CONFIG)
    finally:
        torch.set_num_threads(threads)
    assert_close(several, trained_in_order(cls, FIRST), 1e-9)


@pytest.fixture
def fresh_memory_is_nan() -> Iterator[None]:
    """PyTorch fills memory that it has not yet written with NaN, or with the largest whole number."""
    torch.use_deterministic_algorithms(True)
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)


@every_model
def test_what_memory_held_before_changes_nothing(
    cls: type[Model], images: Dataset, request: pytest.FixtureRequest
) -> None:
    """The memory that a step frees stays with the process, with what is in it, and serves the next step."""
    model, data = small_critic(cls), learnt_by(cls, images)
    expected = usual(cls)
    request.getfixturevalue("fresh_memory_is_nan")
    assert_equal(trained(model, data, CONFIG), expected)


@every_generator
def test_streamed_data_are_those_in_memory(cls: type[Model], tmp_path: Path) -> None:
    model, source = small_critic(cls), str(write_shards(tmp_path / "shards"))
    stays, streams = (load_or_stream(source, DataOptions(stream=stream)) for stream in ("never", "always"))  # type: ignore[arg-type]
    assert (stays.in_memory is stays, streams.in_memory is streams) == (True, False)
    assert_equal(trained(model, streams, CONFIG), trained(model, stays, CONFIG))


@every_model
def test_a_run_goes_on_with_recorded_steps_or_without(cls: type[Model], images: Dataset, tmp_path: Path) -> None:
    """With them, then without, then with them again, each time from a checkpoint."""
    model, data, file = small_critic(cls), learnt_by(cls, images), tmp_path / "state.ckpt"
    parts = ((5, recorded_steps), (7, nullcontext), (RECORDED.steps, recorded_steps))
    for seed, (last, context) in enumerate(parts):
        state = initialize_state(model, data.shape, seed, CPU, len(data.classes))
        if seed:
            checkpoint.restore(state, file, model)
        with context() as recorded:
            train_until(state, last, model, data, RECORDED)
        assert context is nullcontext or recorded
        save(state, file)
    assert_equal(state, trained(model, data, RECORDED))


@pytest.mark.skipif(missing_compiler(CPU) is not None, reason="needs a compiler of C++")
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")  # torch's own, as it compiles
@pytest.mark.usefixtures("types_unchecked")
def test_a_run_is_compiled_from_the_command_line_and_goes_on_without(capsys: pytest.CaptureFixture[str]) -> None:
    """Code is built, where test_compilation has stand-ins; it changes rounding alone."""
    np.save("vectors.npy", np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32))
    words = ["--steps", "4", "--batch-size", "8", "--width", "8", "--latent", "2", "--folder"]
    assert main(["train", "autoencoder", "vectors.npy", *words, "compiled", "--compile", "on"]) == 0
    assert "compiled in " in capsys.readouterr().err
    assert counters["stats"]["unique_graphs"] > 0
    assert main(["resume", "compiled", "--steps", "8", "--compile", "off"]) == 0
    assert "from step 4 on with compile off in place of on: not the run that was begun" in capsys.readouterr().err
    assert main(["train", "autoencoder", "vectors.npy", *words, "plain"]) == 0
    assert main(["resume", "plain", "--steps", "8"]) == 0
    changes = [json.loads(Path(run, "config.json").read_text())["changes"] for run in ("compiled", "plain")]
    assert changes == [[{"step": 4, "steps": [4, 8], "compile": ["on", "off"]}], [{"step": 4, "steps": [4, 8]}]]
    compiled, plain = (read_safetensors(Path(run, "state.ckpt"))[1] for run in ("compiled", "plain"))
    torch.testing.assert_close(compiled, plain, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(missing_compiler(CPU) is not None, reason="needs a compiler of C++")
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")  # torch's own, as it compiles
@pytest.mark.usefixtures("types_unchecked")
def test_padded_images_are_differentiated_in_compiled_code() -> None:
    """PyTorch takes the derivative to be in channels first."""
    x = torch.randn(2, 3, 6, 5).to(memory_format=LAST).requires_grad_()
    compiled = torch.compile(pad_to_multiple, dynamic=False)
    gradients = [torch.autograd.grad((f(x, 4, 8) ** 3).sum(), x)[0] for f in (compiled, pad_to_multiple)]
    torch.testing.assert_close(*gradients)
