"""The floor: operations and bytes counted as closed forms have them, and rates."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ganvas
from ganvas.config import TrainConfig
from ganvas.data import Dataset
from ganvas.model import Model
from ganvas.training import bench
from ganvas.training.bench import Operation, Rates, Work, WorkCounter, count_work, measure_speed
from tests.support.graphs import recorded_steps
from tests.support.models import every_model, small
from tests.support.training_state import CPU

FLOAT = 4
"""bytes of a number"""


@pytest.fixture(autouse=True)
def restored_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def counted(layer: nn.Module, x: Tensor) -> list[Operation]:
    """The operations of a forward and a backward pass, by input and weights."""
    x.requires_grad_()
    with WorkCounter() as counter:
        layer(x).sum().backward()
    return counter.operations


def test_a_linear_layer() -> None:
    forward, *backward = counted(nn.Linear(3, 5), torch.randn(7, 3))
    assert forward.flops == 2 * 7 * 3 * 5
    assert forward.bytes == FLOAT * (7 * 3 + 3 * 5 + 5 + 7 * 5)
    assert {op.kind for op in (forward, *backward)} == {"matmul"}
    assert [op.flops for op in backward] == [2 * 7 * 3 * 5] * 2  # by the input, and by the weights


@pytest.mark.parametrize("channels_last", [False, True])
def test_a_convolution(channels_last: bool) -> None:
    x = torch.randn(2, 3, 8, 8).contiguous(
        memory_format=torch.channels_last if channels_last else torch.contiguous_format
    )
    forward, backward = counted(nn.Conv2d(3, 5, 4, stride=2, padding=1), x)
    flops = 2 * 2 * (4 * 4) * 5 * 3 * (4 * 4)  # b, output pixels, output and input maps, kernel
    assert (forward.kind, forward.flops, backward.kind, backward.flops) == (
        "convolution",
        flops,
        "convolution",
        2 * flops,
    )
    assert forward.bytes == FLOAT * (2 * 3 * 64 + 5 * 3 * 16 + 5 + 2 * 5 * 16)


def test_a_transposed_convolution() -> None:
    forward, backward = counted(nn.ConvTranspose2d(5, 3, 4, stride=2, padding=1), torch.randn(2, 5, 4, 4))
    flops = 2 * 2 * (4 * 4) * 5 * 3 * (4 * 4)  # each pixel of the input goes through the kernel once
    assert (forward.flops, backward.flops) == (flops, 2 * flops)


@pytest.mark.parametrize(
    ("layer", "x", "flops"),
    [
        (nn.Linear(3, 5, bias=False), torch.randn(7, 3), 2 * 7 * 3 * 5),
        (nn.Conv2d(3, 5, 3, padding=1, bias=False), torch.randn(2, 3, 8, 8), 2 * 2 * 64 * 5 * 3 * 9),
    ],
    ids=["linear", "convolution"],
)
def test_a_penalty_on_the_gradient_is_differentiated_twice(layer: nn.Module, x: Tensor, flops: float) -> None:
    x.requires_grad_()
    with WorkCounter() as counter:
        (gradient,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
        gradient.square().sum().backward(inputs=list(layer.parameters()))
    # forward; gradient by x; its own by the weights and by the output's gradient; the output's by the weights
    assert sum(op.flops for op in counter.operations) == 5 * flops


class Doubled(torch.autograd.Function):
    """A function of one's own, with a product in either pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x @ (2 * torch.eye(len(x)))

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        return g @ (2 * torch.eye(len(g)))


def test_functions_of_ones_own_are_counted_in_both_passes() -> None:
    x = torch.randn(4, 4, requires_grad=True)
    with WorkCounter() as counter:
        Doubled.apply(x).sum().backward()  # type: ignore[no-untyped-call]
    assert [op.flops for op in counter.operations] == [2 * 4**3] * 2


def test_a_tensor_that_repeats_its_numbers_has_the_bytes_that_it_stores() -> None:
    assert bench.total_bytes([torch.ones(1).expand(100), (torch.ones(3, dtype=torch.float64),)]) == 4 + 24


@pytest.mark.parametrize(
    ("optimizer", "numbers"),
    [(torch.optim.Adam, 7), (torch.optim.RMSprop, 5), (torch.optim.SGD, 3)],
    ids=["Adam", "RMSprop", "SGD"],
)
def test_an_optimiser_reads_gradients_and_reads_and_writes_the_rest(optimizer: Any, numbers: int) -> None:
    layer = nn.Linear(3, 5)
    descent = optimizer(layer.parameters(), lr=0.1)
    layer(torch.randn(2, 3)).sum().backward()
    with WorkCounter() as counter:
        descent.step()
    assert sum(op.bytes for op in counter.operations) == numbers * FLOAT * (3 * 5 + 5)
    assert {op.flops for op in counter.operations} == {0}
    descent.step()
    assert len(counter.operations) == 2  # nothing is counted after the count has ended


def test_a_step_of_a_vae_by_hand() -> None:
    images = Dataset(x=torch.randint(0, 256, (50, 1, 28, 28), dtype=torch.uint8))
    model = ganvas.VAE(net="mlp", latent=20, likelihood="bernoulli")
    work = count_work(model, images, TrainConfig(batch_size=10), CPU, steps=3)
    layers = [(784, 400), (400, 40), (20, 400), (400, 784)]
    weights = sum(a * b for a, b in layers)
    assert work.flops("matmul") == 2 * 10 * (3 * weights - 784 * 400)  # the first layer's input has no gradient
    assert work.flops("convolution") == 0
    parameters = weights + sum(b for _, b in layers)
    assert sum(op.bytes for op in work.operations if op.kind == "optimizer") == 3 * 7 * FLOAT * parameters
    assert work.working_set == 4 * FLOAT * parameters
    forward = sum(10 * a + a * b + b + 10 * b for a, b in layers)
    by_weights = sum(10 * a + 10 * b + a * b for a, b in layers)
    by_input = sum(10 * a + 10 * b + a * b for a, b in layers[1:])
    assert work.bytes == FLOAT * (forward + by_weights + by_input + 7 * parameters)


def test_halves_of_a_step_in_threads_of_their_own_are_counted(images: Dataset) -> None:
    pair = ganvas.data.DomainPair(images, images)
    model = small(ganvas.CycleGAN)
    torch.set_num_threads(1)
    alone = count_work(model, pair, TrainConfig(batch_size=2), CPU)
    torch.set_num_threads(2)
    assert count_work(model, pair, TrainConfig(batch_size=2), CPU) == alone
    assert torch.get_num_threads() == 2


def test_bfloat16_is_counted_apart(images: Dataset) -> None:
    config = TrainConfig(batch_size=4, precision="bfloat16")
    kinds = count_work(small(ganvas.VAE), images, config, CPU).kinds
    assert ("convolution", torch.bfloat16) in kinds


def test_the_floor_is_the_slower_of_computing_and_moving() -> None:
    operations = [Operation("matmul", torch.float32, 100.0, 10.0), Operation("optimizer", torch.float32, 0.0, 40.0)]
    work = Work(operations, 2, 0)
    assert work.floor(Rates({("matmul", torch.float32): 10.0}, 20.0)) == (10.0 + 2.0) / 2
    assert work.floor(Rates({("matmul", torch.float32): 1000.0}, 20.0)) == (0.5 + 2.0) / 2


@every_model
def test_every_model_is_measured(cls: type[Model], images: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "best_rate", lambda job, amount, device: 1e9)
    model = small(cls)
    data = bench.bench_images(model, 16, 1, 4)
    speed = measure_speed(model, data, TrainConfig(batch_size=4), CPU, steps=1, rounds=1)
    assert speed.step > 0
    assert speed.work.flops("matmul") + speed.work.flops("convolution") > 0
    assert {op.kind for op in speed.work.operations} >= {"optimizer"}
    assert speed.share == pytest.approx(speed.floor / speed.step)
    assert speed.parameters == sum(p.numel() for net in model.networks(data.shape, len(data.classes)).values()
                                   for p in net.parameters())  # fmt: skip


def test_rates_are_of_this_machine() -> None:
    rates = bench.measure_rates(CPU, [("matmul", torch.float32), ("convolution", torch.float32)], 0)
    assert 1e8 < rates.flops["matmul", torch.float32] < 1e14
    assert 1e8 < rates.flops["convolution", torch.float32] < 1e14
    assert 1e8 < rates.memory < 1e13


def test_seconds_are_of_a_step_where_a_launch_has_several(monkeypatch: pytest.MonkeyPatch) -> None:
    state, clock = bench.TrainState(nn.ModuleDict(), nn.ModuleDict()), iter([100.0, 106.0])
    monkeypatch.setattr(bench.time, "perf_counter", lambda: next(clock))

    def training() -> Iterator[int]:
        while True:
            state.step += 10
            yield state.step

    assert bench.time_steps(training(), 25, state, CPU) == 6.0 / 30
    assert state.step == 30


def test_steps_are_measured_as_a_run_does_them(images: Dataset) -> None:
    """On a GPU, several of a tiny network at once."""
    with recorded_steps() as recorded:
        state, training = bench.start_training(small(ganvas.Autoencoder), images, TrainConfig(batch_size=4), CPU)
        bench.time_steps(training, 60, state, CPU)
        before = state.step
        assert next(training) == before + 10
    assert recorded[-1] % 10 == 0  # a launch begins at a multiple of ten
