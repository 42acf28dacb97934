"""How fast a model trains on this machine, beside its floor: the least time that the machine needs for the same work.

The floor is a roofline (Williams, Waterman & Patterson, Communications of the ACM 52(4), 2009).  A matrix product or a
convolution takes at least its operations at the machine's best rate, and at least the bytes that it reads and writes at
that of memory; an optimiser takes at least its bytes.  What lies between, e.g. activations, losses and averages of the
weights, could be part of these, so it is not counted, and no step reaches its floor.
"""

import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from statistics import median
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import conv2d
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry
from torch.utils.hooks import RemovableHandle

from ..config import TrainConfig
from ..data import Data, DataOptions, Dataset, DomainPair, load
from ..model import Model
from ..nn.device import float32_products, synchronize
from .loop import TrainState, initialize_state, train
from .run_records import log_interval

Kind = Literal["matmul", "convolution", "optimizer"]
FIRST_STEP = 10_001
"""the step at which a measurement begins: what is done more often early in a run, e.g. averaging, is rare by then"""
COUNTED_STEPS = 16
"""most steps over which work is averaged: a penalty may be due in one of so many"""
ROUND_SECONDS, RATE_SECONDS = 0.5, 0.1
"""what a round of steps takes, unless the caller says how many, and what each measurement of a rate takes"""
CONVOLUTIONS = (torch.ops.aten.convolution, torch.ops.aten.convolution_backward)


class Operation(NamedTuple):
    """A matrix product, a convolution, forward or backward, or an optimiser's step."""

    kind: Kind
    dtype: torch.dtype
    flops: float
    """multiplications and additions; none are counted of an optimiser"""
    bytes: float
    """bytes that are read and written"""


@dataclass(frozen=True)
class Rates:
    """What a machine can do at its best."""

    flops: dict[tuple[Kind, torch.dtype], float]
    """floating-point operations a second, by kind and precision"""
    memory: float
    """bytes a second, read and written"""

    def least_time(self, operation: Operation) -> float:
        """Seconds that the operation takes at these rates."""
        rate = self.flops.get((operation.kind, operation.dtype), float("inf"))
        return max(operation.flops / rate, operation.bytes / self.memory)

    def best(self, other: "Rates") -> "Rates":
        """The better of two measurements, each rate by itself."""
        keys = self.flops.keys() | other.flops.keys()
        flops = {key: max(self.flops.get(key, 0.0), other.flops.get(key, 0.0)) for key in keys}
        return Rates(flops, max(self.memory, other.memory))


class Work(NamedTuple):
    """What some training steps consist of."""

    operations: list[Operation]
    steps: int
    working_set: int
    """bytes of weights, their gradients and two moments of each"""

    def flops(self, kind: Kind) -> float:
        """Floating-point operations of this kind a step."""
        return sum(op.flops for op in self.operations if op.kind == kind) / self.steps

    @property
    def bytes(self) -> float:
        """Bytes that are read and written in a step."""
        return sum(op.bytes for op in self.operations) / self.steps

    @property
    def kinds(self) -> set[tuple[Kind, torch.dtype]]:
        """The kinds and precisions of which a rate is needed."""
        return {(op.kind, op.dtype) for op in self.operations if op.flops}

    def floor(self, rates: Rates) -> float:
        """Seconds that a step takes at least on a machine with these rates."""
        return sum(map(rates.least_time, self.operations)) / self.steps


class Speed(NamedTuple):
    """How fast a model trains."""

    step: float
    """seconds a step, the median over rounds"""
    parameters: int
    """weights that are trained"""
    work: Work
    rates: Rates
    """those of the machine, measured between the rounds"""
    notes: list[str]
    """what training says of the options"""

    @property
    def floor(self) -> float:
        """Seconds that a step takes at least."""
        return self.work.floor(self.rates)

    @property
    def share(self) -> float:
        """The floor's share of the step: 1 at the machine's limit."""
        return self.floor / self.step


def bench_images(model: Model, size: int, channels: Literal[1, 3, 4], batch_size: int) -> Data:
    """Emoji of this height and width, of a domain or of two, each repeated until there are enough for a batch."""
    options, names = DataOptions(size=str(size), channels=channels), ("emoji", "emoji-flat")[: model.n_domains]
    datasets = [load(name, options) for name in names]
    repeats = -(-batch_size // min(map(len, datasets)))
    datasets = [data.select(torch.arange(len(data)).repeat(repeats)) for data in datasets]
    return DomainPair(*datasets) if model.n_domains == 2 else datasets[0]


def bench_vectors(model: Model, dimensions: int, batch_size: int) -> Data:
    """Vectors from N(0, I) of two classes, of a domain or of two."""
    n, random = max(1024, batch_size), torch.Generator().manual_seed(0)
    labels, classes = torch.arange(n) % 2, ("even", "odd")
    xs = [torch.randn(n, dimensions, generator=random) for _ in range(model.n_domains)]
    datasets = [Dataset(x=x, labels=labels, classes=classes, name="random vectors") for x in xs]
    return DomainPair(*datasets) if model.n_domains == 2 else datasets[0]


def measure_speed(
    model: Model, data: Data, config: TrainConfig, device: torch.device, *, steps: int | None = None, rounds: int = 5
) -> Speed:
    """How fast `model` trains on `data`, as `ganvas train` would, and its floor on this machine.

    A round of so many steps, by default of as many as take half a second, warms up; `rounds` follow, with the machine's
    rates measured between them.  Averages of the weights and the meter of the log are included; checkpoints, previews
    and measurements of samples are not.
    """
    state, training = start_training(model, data, config, device)
    next(training)  # which allocates and compiles
    if steps is None:
        seconds = time_steps(training, 1, state, device)
        steps = max(1, min(1000, round(ROUND_SECONDS / seconds)))
    time_steps(training, steps, state, device)
    work, times, rates = count_work(model, data, config, device, min(steps, COUNTED_STEPS)), [], Rates({}, 0.0)
    for _ in range(rounds):
        times.append(time_steps(training, steps, state, device))
        with float32_products(config.tf32, device):
            rates = rates.best(measure_rates(device, work.kinds, work.working_set))
    return Speed(median(times), sum(p.numel() for p in state.nets.parameters()), work, rates, state.notes)


def start_training(
    model: Model, data: Data, config: TrainConfig, device: torch.device
) -> tuple[TrainState, Iterator[int]]:
    """A state with fresh weights at `FIRST_STEP`, and the endless steps that train it."""
    state = initialize_state(model, data.shape, config.seed, device, len(data.classes))
    state.step = FIRST_STEP
    # as in a run, where a GPU does several of the steps between two lines of the log at once
    return state, train(model, data, replace(config, steps=10**9, epochs=None), state, log_interval(config))


def time_steps(training: Iterator[int], steps: int, state: TrainState, device: torch.device) -> float:
    """Seconds a step, of so many or of some more where a CUDA graph has several, with their loss terms fetched."""
    start, first = time.perf_counter(), state.step
    while state.step < first + steps:
        next(training)
    state.meter.pop_means()
    synchronize(device)
    return (time.perf_counter() - start) / (state.step - first)


def count_work(model: Model, data: Data, config: TrainConfig, device: torch.device, steps: int = 1) -> Work:
    """What so many steps of a fresh state consist of.

    In one thread and by Python, neither compiled nor as a CUDA graph: nothing else is seen.
    """
    state, training = start_training(model, data, replace(config, graph="off"), device)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.compiler.set_stance("force_eager"), WorkCounter() as counter:
            for _ in islice(training, steps):
                pass
    finally:
        torch.set_num_threads(threads)
    return Work(counter.operations, steps, 4 * total_bytes(list(state.nets.parameters())))


class WorkCounter(TorchDispatchMode):
    """Counts what is computed while it is entered, in this thread: see `operations`."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[Operation] = []

    def __enter__(self) -> "WorkCounter":
        self.hook: RemovableHandle = register_optimizer_step_post_hook(self.add_optimizer_step)
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self.hook.remove()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out, packet = func(*args, **kwargs), func._overloadpacket
        if packet in flop_registry:
            kind: Kind = "convolution" if packet in CONVOLUTIONS else "matmul"
            dtype = next(t.dtype for t in tree_leaves(out) if isinstance(t, Tensor))
            flops = flop_registry[packet](*args, **kwargs, out_val=out)
            self.operations.append(Operation(kind, dtype, flops, total_bytes((args, kwargs, out))))
        return out

    def add_optimizer_step(self, optimizer: Optimizer, *_: Any) -> None:
        """Gradients are read; weights, and what the optimiser remembers of each, are read and written."""
        for group in optimizer.param_groups:
            for p in (p for p in group["params"] if p.grad is not None):
                memory = [t for t in optimizer.state[p].values() if isinstance(t, Tensor) and t.shape == p.shape]
                moved = total_bytes(p.grad) + 2 * total_bytes([p, *memory])
                self.operations.append(Operation("optimizer", p.dtype, 0.0, moved))


def total_bytes(values: Any) -> int:
    """Bytes of all tensors in nested lists and tuples; one that repeats numbers has no more than it stores."""
    tensors = [t for t in tree_leaves(values) if isinstance(t, Tensor)]
    return sum(min(t.numel() * t.element_size(), t.untyped_storage().nbytes()) for t in tensors)


def measure_rates(device: torch.device, kinds: Collection[tuple[Kind, torch.dtype]], working_set: int) -> Rates:
    """The machine's best rates for these kinds and precisions, and that of memory on so many bytes, 1 MiB or more.

    Memory is measured by a sum in place, which reads two numbers for each that it writes, much as an optimiser does.
    """
    jobs = {"matmul": matmul_job, "convolution": convolution_job}
    flops = {(kind, dtype): best_rate(*jobs[kind](device, dtype), device) for kind, dtype in kinds}
    source = torch.zeros(max(working_set, 2**20) // 8, device=device)
    target = torch.zeros_like(source)
    return Rates(flops, best_rate(lambda: target.add_(source), 3.0 * total_bytes(source), device))


def matmul_job(device: torch.device, dtype: torch.dtype) -> tuple[Callable[[], object], float]:
    """A large matrix product, and its floating-point operations."""
    n = 1024 if device.type == "cpu" else 8192
    a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
    out = torch.empty_like(a)
    return lambda: torch.mm(a, b, out=out), 2.0 * n**3


def convolution_job(device: torch.device, dtype: torch.dtype) -> tuple[Callable[[], object], float]:
    """A convolution of many maps to as many, channels last, and its floating-point operations."""
    channels, size = (128, 16) if device.type == "cpu" else (512, 32)
    maps = torch.randn(64, channels, size, size, device=device, dtype=dtype)
    kernel = torch.randn(channels, channels, 3, 3, device=device, dtype=dtype)
    maps, kernel = (t.contiguous(memory_format=torch.channels_last) for t in (maps, kernel))
    return lambda: conv2d(maps, kernel, padding=1), 2.0 * maps.numel() * kernel[0].numel()


@torch.no_grad()
def best_rate(job: Callable[[], object], amount: float, device: torch.device) -> float:
    """`amount` by the least time that the job took, over `RATE_SECONDS`; short jobs are timed several at once."""
    job()
    synchronize(device)
    fastest, repeat, end = float("inf"), 1, time.perf_counter() + RATE_SECONDS
    while time.perf_counter() < end or fastest == float("inf"):
        start = time.perf_counter()
        for _ in range(repeat):
            job()
        synchronize(device)
        fastest = min(fastest, (time.perf_counter() - start) / repeat)
        repeat = max(repeat, min(100, int(0.002 / fastest)))
    return amount / fastest
