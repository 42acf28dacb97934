"""Steps as CUDA graphs: on the CPU all but the recording itself, for which a stand-in plays the recorded step again."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ganvas
from ganvas.cli.app import main
from ganvas.config import TrainConfig
from ganvas.data import Dataset, make_stream
from ganvas.errors import UserError
from ganvas.model import Batch, Model, Move, Shape, minimize
from ganvas.models import MODELS
from ganvas.nn.device import float32_products, resolve_device
from ganvas.training import cuda_graph, loop
from ganvas.training.cuda_graph import GraphPlayer, reason_against
from ganvas.training.loop import initialize_state, train
from ganvas.training.run_records import read_log
from tests.support.cuda import FakeCuda, FakeStream
from tests.support.data import image_collection, learnt_by, sources
from tests.support.graphs import contents, recorded_steps, trained
from tests.support.models import every_model_and_ctgan, small, small_critic

CONFIG = TrainConfig(steps=11, batch_size=8, clip_grad_norm=0.5, lr_decay=0.5, ema_decay=0.9)
"""learning rates and the weight of the average differ from step to step"""


def recorded_as(
    expected: dict[str, Tensor], model: Model, data: Any, config: TrainConfig = CONFIG, steps_per_launch: int = 1
) -> list[int]:
    """Train with recorded steps: all is as expected, bit for bit.  Returns the steps that were recorded."""
    with recorded_steps(steps_per_launch) as recorded:
        actual = contents(trained(model, data, config))
    assert actual.keys() == expected.keys()
    different = [name for name in expected if not torch.equal(actual[name], expected[name])]
    assert not different
    return recorded


def assert_equal_states(model: Model, data: Any, config: TrainConfig, steps_per_launch: int = 1) -> list[int]:
    """The same of training without recorded steps."""
    return recorded_as(contents(trained(model, data, config)), model, data, config, steps_per_launch)


@cache
def usual(cls: type[Model]) -> dict[str, Tensor]:
    """All that the small model holds after its steps, of which none was recorded."""
    return contents(trained(small_critic(cls), learnt_by(cls, image_collection()), CONFIG))


@every_model_and_ctgan
def test_recorded_steps_equal_others_bit_for_bit(cls: type[Model], images: Dataset) -> None:
    recorded = recorded_as(usual(cls), small_critic(cls), learnt_by(cls, images))
    assert recorded == [3]  # the first three warm up what PyTorch makes at first use; one graph plays the rest


@every_model_and_ctgan
def test_data_that_stay_on_the_host_change_nothing(
    cls: type[Model], images: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "device_data_limit", lambda device: 100)
    assert recorded_as(usual(cls), small_critic(cls), learnt_by(cls, images)) == [3]


def test_a_run_says_that_its_data_stay_on_the_host(
    vectors: Dataset, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "device_data_limit", lambda device: 100)
    ganvas.train(small(MODELS["vae"]), vectors, steps=2, batch_size=8)
    assert "vectors takes" in (said := capsys.readouterr().err)
    assert "it stays in the host's memory, from which batches are copied while the device computes" in said


OPTIONS = {
    "penalty": ("gan", {"r1": 1.0, "penalty_interval": 2}, [6, 7]),
    "top-k": ("gan", {"top_k": 0.5}, None),
    "relativistic top-k": ("gan", {"top_k": 0.5, "loss": "relativistic"}, None),
    "critic": ("wgan", {"n_critic": 1, "initial_critic_steps": 2}, [3, 28]),
    "gradient penalty": ("wgangp", {"n_critic": 2, "initial_critic_steps": 3}, [3, 28]),
    "geco": ("vae", {"geco": 0.1}, [3]),
    "warm-up": ("vae", {"warmup": 6}, [3]),
    "cycle": ("vae", {"warmup": 3, "warmup_cycle": 6, "beta": 0.3}, [3]),
    "capacity": ("vae", {"warmup": 7, "capacity": 3.3}, [3]),
    "free bits": ("vae", {"warmup": 7, "free_bits": 0.1}, [3]),
    "ladder": ("laddervae", {"warmup": 6}, [3]),
    "vamp": ("vae", {"prior": "vamp", "pseudo_inputs": 5}, [3]),
    "flow": ("vae", {"posterior": "iaf"}, [3]),
    "doubly": ("iwae", {"gradient_estimator": "doubly-reparameterized"}, [3]),
    "optimal": ("vae", {"sigma": "optimal", "binarize": "no"}, [3]),
    "spectral norm": ("gan", {"spectral_norm": True}, [3]),
    "augment": ("dcgan", {"augment": "color,translation,cutout,flip"}, [3]),
    "adaptive": ("dcgan", {"augment": "color,flip", "augment_target": 0.0, "augment_span": 100}, [3]),
    "burn-in": ("r3gan", {"burn_in": 5, "penalty_interval": 2}, [11, 12]),
    "pack": ("gan", {"pack": 2, "dropout": 0.5}, [3]),
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIONS)
def test_options_that_make_steps_differ_do_so_in_graphs(name: str, images: Dataset) -> None:
    model_name, fields, expected = OPTIONS[name]
    steps = 32 if expected and max(expected) > 12 else 18
    config = TrainConfig(steps=steps, batch_size=8, lr_milestones=(0.5,))
    recorded = assert_equal_states(small(MODELS[model_name], **fields), images, config)
    assert expected in (None, recorded)
    assert recorded


@every_model_and_ctgan
def test_several_steps_of_a_launch_equal_others_bit_for_bit(cls: type[Model], images: Dataset) -> None:
    """The last step of 11 is launched alone."""
    assert recorded_as(usual(cls), small_critic(cls), learnt_by(cls, images), steps_per_launch=2) == [6]


def test_several_steps_of_a_launch_may_differ(images: Dataset) -> None:
    """A penalty at every second step, and an average at some: launches of three steps take turns."""
    model, config = small(MODELS["gan"], r1=1.0, penalty_interval=2), TrainConfig(steps=33, batch_size=8)
    assert assert_equal_states(model, images, config, 3) == [18, 21]


def without_times(line: dict[str, Any]) -> dict[str, Any]:
    """A line of the log without what differs from run to run."""
    return line | {"seconds": 0} | ({"samples": line["samples"] | {"seconds": 0}} if "samples" in line else {})


def test_a_run_launches_as_many_steps_at_once_as_lie_between_two_looks(vectors: Dataset) -> None:
    """A checkpoint every 40 steps and a line of the log every 4."""
    options = {"steps": 46, "batch_size": 8, "checkpoint_every": 40, "quiet": True}
    expected = ganvas.train(small(MODELS["vae"]), vectors, folder="usual", **options)
    with recorded_steps() as recorded:
        actual = ganvas.train(small(MODELS["vae"]), vectors, folder="graphs", **options)
    assert recorded == [12]
    assert torch.equal(expected.sample(3).x, actual.sample(3).x)
    usual, graphs = ([without_times(line) for line in read_log(name)] for name in ("usual", "graphs"))
    assert [line["step"] for line in graphs] == [*range(4, 44, 4), 44, 46]
    assert graphs == usual


def test_only_tiny_networks_have_several_steps_in_a_graph() -> None:
    tiny, large = nn.Linear(10, 10), nn.Linear(2**11, 2**11)
    assert [cuda_graph.steps_per_launch(tiny, n) for n in (1, 4, 50, 7, 11)] == [1, 4, 10, 7, 1]
    assert cuda_graph.steps_per_launch(large, 50) == 1


def test_each_step_of_a_launch_has_its_own_state_of_random_numbers() -> None:
    """The GPU's generator is set to it while the step is recorded, and set back."""
    calls: list[str] = []

    class Generator:
        def __init__(self, name: str) -> None:
            self.name = name

        def manual_seed(self, seed: int) -> None:
            calls.append(f"{self.name} seeded {seed}")

        def graphsafe_get_state(self) -> "Generator":
            return Generator("usual")

        def graphsafe_set_state(self, state: "Generator") -> None:
            calls.append(f"draw from {state.name}")

    randomness = cuda_graph.StepRandomness(torch.device("cpu"), 2)
    randomness.generator: Any = Generator("device")  # type: ignore[misc]
    randomness.states: Any = [Generator("first"), Generator("second")]  # type: ignore[misc]
    randomness.seed([5, 6])
    with randomness.of_steps() as begin_step:
        begin_step(0)
        assert torch.default_generator.initial_seed() == 5
        begin_step(1)
    assert calls == ["first seeded 5", "second seeded 6", "draw from first", "draw from second", "draw from usual"]


def test_a_sparse_average_has_graphs_with_it_and_without(vectors: Dataset) -> None:
    """The average of 40 steps is due at every second step once it spans 20."""
    config = TrainConfig(steps=190, batch_size=8, ema_decay=0.975)
    recorded = assert_equal_states(small(MODELS["autoencoder"]), vectors, config)
    assert len(recorded) == 2


def test_few_graphs_are_kept(vectors: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_graph, "MAX_GRAPHS", 1)
    model = small(MODELS["gan"], r1=1.0, penalty_interval=5)
    assert len(assert_equal_states(model, vectors, TrainConfig(steps=15, batch_size=8))) == 3


def test_no_two_graphs_share_a_stream(vectors: Dataset) -> None:
    """A graph that is deleted would clear the memory in which another works."""
    model, gpu = small(MODELS["vae"]), FakeCuda()
    state = initialize_state(model, vectors.shape, 0, torch.device("cpu"))
    stream = make_stream(vectors, batch=8, seed=0)
    player = GraphPlayer(model, stream, TrainConfig(steps=1, batch_size=8), state)
    assert len(player.free_streams) == cuda_graph.MAX_GRAPHS
    names = ("one", "two", "three")
    player.free_streams[:] = [FakeStream(gpu.calls, name) for name in names]  # type: ignore[list-item]
    first, second, third = (player.find_steps(key).stream for key in "abc")
    assert len({id(s) for s in (first, second, third)}) == 3
    assert player.find_steps("a").stream is first
    assert player.find_steps("d").stream is second  # b's steps are longest ago
    assert list(player.steps_by_key) == ["c", "a", "d"]


class Plain(Model):
    """A model of a user's, who says nothing of its steps."""

    def networks(self, shape: Shape, classes: int = 0) -> dict[str, nn.Module]:
        return {"net": nn.Linear(3, 1)}

    def step(self, batches: Iterator[Batch], global_step: int, net: nn.Module) -> Iterator[Move]:
        for _ in range(1 + (global_step == 2)):
            x, *_ = next(batches)
        yield minimize(net, loss=net(x).square().mean())

    def preview(self, batch: Batch) -> torch.Tensor:
        raise NotImplementedError


class Careless(Plain):
    """One who says that all of its steps are alike, which they are not."""

    def step_key(self, global_step: int, batch_size: int, dataset_size: int) -> tuple[()]:
        return ()


def test_models_of_ones_own_say_which_steps_are_alike(vectors: Dataset) -> None:
    assert "plain has no step_key" in reason_against(Plain(), True)
    assert reason_against(Careless(), False) == ""
    with recorded_steps(), pytest.raises(UserError, match="step_key is the same for steps that draw more and fewer"):
        trained(Careless(), vectors, TrainConfig(steps=4, batch_size=8))

    class Derived(MODELS["vae"]):  # type: ignore[misc, name-defined]
        """Whose step may be another one, though its class has a key."""

    assert "derived has no step_key" in reason_against(Derived(), True)


def test_networks_of_ones_own_are_recorded_where_the_user_asks_for_it() -> None:
    model = MODELS["gan"](generator=nn.Linear(64, 2))
    assert "graph=on" in reason_against(model, False)
    assert reason_against(model, True) == ""


def test_a_step_that_cannot_be_recorded_is_played_by_python_and_the_log_says_why(
    vectors: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"steps": 20, "batch_size": 8, "checkpoint_every": 20}
    expected = ganvas.train(small(MODELS["vae"]), vectors, quiet=True, **options)

    def fail(*_: object) -> None:
        try:
            raise RuntimeError("operation not permitted when stream is capturing\nmore")
        finally:
            raise RuntimeError("operation failed due to a previous error during capture")

    with recorded_steps(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(cuda_graph, "capture", fail)
        actual = ganvas.train(small(MODELS["vae"]), vectors, folder="run", **options)
    reason = "recording one failed (operation not permitted when stream is capturing)"
    assert capsys.readouterr().err.count(f"note: steps do not run as CUDA graphs: {reason}") == 1
    assert [line.get("notes") for line in read_log("run")][3:5] == [
        [f"steps do not run as CUDA graphs: {reason}"], None,
    ]  # fmt: skip
    assert torch.equal(expected.sample(3).x, actual.sample(3).x)


def test_what_the_user_has_done_wrong_is_no_reason_to_go_on(vectors: Dataset) -> None:
    """Nor a second Ctrl-C: the end of a record fails after any error in it."""
    for error in (UserError("wrong"), KeyboardInterrupt("now")):

        def fail(*_: object, error: BaseException = error) -> None:
            try:
                raise error
            finally:
                raise RuntimeError("operation failed due to a previous error during capture")

        with recorded_steps(), pytest.MonkeyPatch.context() as patch:
            patch.setattr(cuda_graph, "capture", fail)
            with pytest.raises(type(error), match=str(error)):
                trained(small(MODELS["vae"]), vectors, TrainConfig(steps=5, batch_size=8))


def test_on_a_processor_a_graph_has_no_effect_and_the_run_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["train", "autoencoder", "ring", "--steps", "2", "--device", "cpu", "--folder"]
    for name, words in (("on", ["--graph", "on"]), ("off", ["--graph", "off"]), ("auto", [])):
        assert main([*command, name, *words]) == 0
        note = "note: graph=on has no effect here: CUDA graphs need device=cuda"
        assert (note in capsys.readouterr().err) == (name == "on")
    assert read_log("on")[0]["notes"] == ["graph=on has no effect here: CUDA graphs need device=cuda"]
    on, off = (Path(name, "weights.safetensors").read_bytes() for name in ("on", "off"))
    assert on == off


def test_tf32_is_a_choice_and_has_no_effect_on_a_processor(capsys: pytest.CaptureFixture[str]) -> None:
    matmul, conv = torch.backends.cuda.matmul, torch.backends.cudnn.conv
    before = matmul.fp32_precision, conv.fp32_precision
    for tf32, expected in ((True, "tf32"), (False, "ieee")):
        with float32_products(tf32, torch.device("cuda")):
            assert (matmul.fp32_precision, conv.fp32_precision) == (expected, expected)
        assert (matmul.fp32_precision, conv.fp32_precision) == before
        with float32_products(tf32, torch.device("cpu")):
            assert (matmul.fp32_precision, conv.fp32_precision) == before
    command = ["train", "autoencoder", "ring", "--steps", "2", "--device", "cpu", "--folder"]
    assert main([*command, "usual"]) == 0
    assert "tf32" not in capsys.readouterr().err
    assert main([*command, "tf32", "--tf32"]) == 0
    assert "note: tf32 has no effect here: it is a format of NVIDIA GPUs, device=cuda" in capsys.readouterr().err
    usual, tf32 = (Path(name, "weights.safetensors").read_bytes() for name in ("usual", "tf32"))
    assert usual == tf32


def test_what_is_asked_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first steps and the record are on the side stream, and neither stream runs ahead of the other."""
    gpu = FakeCuda()
    gpu.patch(monkeypatch)
    side: Any = FakeStream(gpu.calls, "side")
    assert cuda_graph.on_stream(side, lambda: gpu.current.name) == "side"
    assert gpu.current is gpu.main
    assert gpu.calls == ["side waits for main", "main waits for side"]
    gpu.calls.clear()
    played: list[str] = []
    states = [torch.Generator()]
    replay = cuda_graph.capture(lambda: played.append(gpu.current.name) or played, side, "shared", states)
    assert gpu.current is gpu.main
    assert replay() is replay() is played
    assert played == ["side"]
    record = ["register a generator", "record on side, pool shared, thread_local"]
    assert gpu.calls == [*record, "replay", "replay"]

    def fail() -> None:
        raise RuntimeError("cannot be recorded")

    with pytest.raises(RuntimeError, match="cannot be recorded"):
        cuda_graph.capture(fail, side, None)


def cuda() -> torch.device:
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    return resolve_device("cuda")


@pytest.mark.gpu
@every_model_and_ctgan
def test_on_a_gpu_graphs_have_the_losses_of_other_steps_and_none_waits(cls: type[Model], images: Dataset) -> None:
    device, model, data = cuda(), small(cls), learnt_by(cls, images)
    losses: dict[str, dict[str, list[float]]] = {}
    for graph, look_every in (("off", 1), ("on", 1), ("on", 10)):
        config = TrainConfig(steps=100, batch_size=8, graph=graph)
        state = initialize_state(model, data.shape, 0, device, len(data.classes))
        steps = train(model, data, config, state, look_every)
        while state.step < 60:
            next(steps)
        torch.cuda.set_sync_debug_mode("error")
        try:
            for _ in steps:
                pass
        finally:
            torch.cuda.set_sync_debug_mode("default")
        state.meter.fetch()
        assert state.notes == []
        losses[f"{graph} {look_every}"] = state.meter.values
    expected = losses.pop("off 1")
    for actual in losses.values():
        assert actual.keys() == expected.keys()
        for name, values in expected.items():
            torch.testing.assert_close(torch.tensor(actual[name]), torch.tensor(values), rtol=1e-3, atol=1e-4)


@pytest.mark.gpu
@every_model_and_ctgan
def test_on_a_gpu_a_resumed_run_equals_another(cls: type[Model], images: Dataset) -> None:
    cuda()
    options = {"batch_size": 8, "checkpoint_every": 10, "quiet": True, "device": "cuda"}
    whole = ganvas.train(small(cls), sources(cls, images), steps=20, folder="whole", **options)
    ganvas.train(small(cls), sources(cls, images), steps=10, folder="run", **options)
    resumed = ganvas.resume("run", sources(cls, images), steps=20, quiet=True)
    for name, net in whole.nets.items():
        for key, tensor in net.state_dict().items():
            torch.testing.assert_close(resumed.nets[name].state_dict()[key], tensor, rtol=1e-4, atol=1e-5)


@pytest.mark.gpu
@every_model_and_ctgan
def test_on_a_gpu_pinned_data_give_the_same_losses(
    cls: type[Model], images: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    device, model, data = cuda(), small(cls), learnt_by(cls, images)
    losses = []
    for limit in (None, 100):
        monkeypatch.setattr(loop, "device_data_limit", lambda device, limit=limit: limit)
        state = initialize_state(model, data.shape, 0, device, len(data.classes))
        for _ in train(model, data, TrainConfig(steps=20, batch_size=8), state):
            pass
        state.meter.fetch()
        losses.append(state.meter.values)
    for name, values in losses[0].items():
        torch.testing.assert_close(torch.tensor(losses[1][name]), torch.tensor(values), rtol=1e-4, atol=1e-5)
