"""Training steps as CUDA graphs: what a step launches is recorded once, then launched again by a single call.

A step of a small network is a few hundred kernels of some microseconds, and Python needs longer to launch them than
the GPU to compute them.  A graph has them all: gather and scaling of the batches, every move with its forward and
backward passes and its optimiser, the averaged weights, the loss terms.  What differs from step to step is either in a
buffer that the graph reads (indices or examples of the batches, learning rates, the weight of the average, the number
of the step, the seed of the random numbers) or in the key under which the graph is kept: `Model.step_key`, and whether
the average is due.

The first steps of each key are ordinary steps of the run, played on the stream on which the next one is recorded: they
make what PyTorch makes at first use, such as the optimisers' moments.  So nothing is played only to warm up, and
nothing has to be put back.  Recording computes nothing.  Source: PyTorch, CUDA semantics, "CUDA Graphs".

Random numbers of a graph are those of a step that Python launches: a generator's seed and offset are written into the
graph's own buffers before each launch (PyTorch, CUDAGeneratorImpl.h, "CUDA Graph-safe RNG states").

Where even a launch takes longer than the step of a tiny network, a graph has several steps, one after the other.  Each
of them has its own buffers, and its own state of random numbers, to which the device's generator is set while the step
is recorded (`Generator.graphsafe_set_state`, as PyTorch's own graphs of forward and backward passes do).
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from ..data import DataStream
from ..errors import UserError, first_line
from ..model import Batch, Model, PairBatch, model_name
from ..models._own import is_own
from ..randomness import derive_seed, device_generator
from ..ranks import rank, world_size
from .ema import blend, ema_weight, is_ema_due
from .loop import StepPlayer

T = TypeVar("T")
Draw = tuple[Tensor, ...]
WARMUP_STEPS = 3
"""steps of a key that are played before the next is recorded"""
UNEQUAL_BATCHES = "step_key is the same for steps that draw more and fewer batches: let it tell them apart"
MAX_GRAPHS = 8
"""graphs that are kept; the one whose last step is longest ago makes room"""
MAX_STEPS, TINY_PARAMETERS = 10, 2**22
"""steps of one graph, at most, and the largest networks of which it has more than one"""


class StepResult(NamedTuple):
    """What a step leaves for others to read."""

    names: list[tuple[int, tuple[str, ...]]]
    """names of the terms of each move, and which step of the launch it is of, the first being 0"""
    values: Tensor
    """their values, one after the other"""
    gradients: list[tuple[nn.Parameter, Tensor | None]]
    """the parameters' gradients of their last move"""


@dataclass
class KeyedSteps:
    """The steps of one key."""

    stream: torch.cuda.Stream | None
    """where they are played and recorded; no two have the same: see `GraphPlayer.find_steps`"""
    inputs: list[Draw] = field(default_factory=list)
    """what the step's batches are made of, in the order in which it draws them"""
    n_played: int = 0
    replay: Callable[[], StepResult] | None = None
    """plays the recorded step; None until there is one"""


@dataclass
class InputBatches(Iterator[Batch | PairBatch]):
    """The batches of a step, made of its inputs; those of a key's first step are drawn, and become the inputs."""

    stream: DataStream
    inputs: list[Draw]
    is_first: bool
    n_drawn: int = 0

    def __next__(self) -> Batch | PairBatch:
        if self.is_first:
            self.inputs.append(tuple(part.clone() for part in self.stream.draw()))
        self.n_drawn += 1
        if self.n_drawn > len(self.inputs):
            raise UserError(UNEQUAL_BATCHES)
        return self.stream.assemble(*self.inputs[self.n_drawn - 1])


class StepNumbers:
    """The numbers of a step where a graph reads them: learning rates, weight of the average, the step's own number."""

    def __init__(self, player: StepPlayer) -> None:
        self.player: StepPlayer = player
        self.rates: dict[str, Tensor] = {}
        self.ema_weight: Tensor = self.scalar(0.0)
        self.step: Tensor = torch.zeros((), dtype=torch.float64, device=player.device)

    def scalar(self, x: float) -> Tensor:
        """A buffer for a number, in the precision in which CUDA's kernels read it; on a CPU in Python's own."""
        device = self.player.device
        return torch.full((), x, dtype=torch.float64 if device.type == "cpu" else torch.float32, device=device)

    def rate(self, name: str, step: int) -> Tensor:
        """The buffer with the learning rate of the networks of this name."""
        if name not in self.rates:
            self.rates[name] = self.scalar(self.player.rate(name, step))
        return self.rates[name]

    def write(self, step: int) -> None:
        """Write the numbers of this step into their buffers."""
        if self.player.model.takes_step_tensor:
            self.step.fill_(step)
        for name, buffer in self.rates.items():
            buffer.fill_(self.player.rate(name, step))
        if is_ema_due(step, ema_decay := self.player.ema_decay):
            self.ema_weight.fill_(ema_weight(step, ema_decay))


@dataclass
class GraphPlayer(StepPlayer):
    """Plays steps as CUDA graphs, and as Python does where they cannot be recorded: `state.notes` then say why."""

    steps_per_launch: int = 1
    """steps of a graph, from a step on that is a multiple of it"""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.is_recording: bool = True
        """whether steps are recorded: not any more after a failure"""
        self.steps_by_key: OrderedDict[Hashable, KeyedSteps] = OrderedDict()
        self.numbers: list[StepNumbers] = [StepNumbers(self) for _ in range(self.steps_per_launch)]
        self.parameters: list[nn.Parameter] = [p for net in self.nets.values() for p in net.parameters()]
        is_cuda = self.device.type == "cuda"
        streams = [torch.cuda.Stream(self.device) if is_cuda else None for _ in range(MAX_GRAPHS)]
        self.free_streams: list[torch.cuda.Stream | None] = streams
        self.pool: Any = torch.cuda.graph_pool_handle() if is_cuda else None
        self.n_steps: int = 1
        self.random: StepRandomness = StepRandomness(self.device, self.steps_per_launch)

    def play(self) -> None:
        first, keys = self.state.step, self.launch_keys() if self.is_recording else ()
        self.n_steps = max(1, len(keys))
        if not keys:
            return super().play()
        steps = self.find_steps(keys)
        self.random.seed([derive_seed(self.config.seed, rank(), first + i) for i in range(self.n_steps)])
        for i in range(self.n_steps):
            self.numbers[i].write(first + i)
        if steps.replay is None and steps.n_played >= WARMUP_STEPS and not self.record(steps):
            return self.play()
        for buffers in steps.inputs:
            for buffer, drawn in zip(buffers, self.stream.draw(), strict=True):
                buffer.copy_(drawn, non_blocking=True)
        result = steps.replay() if steps.replay else on_stream(steps.stream, lambda: self.compute(steps))
        steps.n_played += 1
        values = iter(result.values.clone().unbind())  # the graph writes its next ones into the same memory
        for i, names in result.names:
            self.state.meter.add(first + i + 1, dict(zip(names, islice(values, len(names)), strict=True)))
        for parameter, gradient in result.gradients:
            parameter.grad = gradient
        return None

    def launch_keys(self) -> tuple[Hashable, ...]:
        """What tells each step of the next launch from others; nothing where that is to be played by Python."""
        first, n = self.state.step, self.steps_per_launch
        n = n if first % n == 0 and first + n <= self.config.steps else 1
        keys = [self.step_key(first + i) for i in range(n)]
        keys = keys[:1] if None in keys else keys
        return () if None in keys else tuple(keys)

    def step_key(self, step: int) -> Hashable | None:
        """What tells this step from others; None where it cannot be recorded."""
        key = self.model.step_key(step, self.config.examples_per_step, self.stream.n)
        return None if key is None else (key, is_ema_due(step, self.ema_decay))

    def find_steps(self, key: Hashable) -> KeyedSteps:
        """The steps of this key, which become the latest; if they are new and too many, the oldest are forgotten.

        A graph that is deleted takes the memory in which cuBLAS works on its stream away from all graphs that were
        recorded there (PyTorch, issue 193402).  So each has a stream that no other has as long as it lives.
        """
        if key not in self.steps_by_key:
            if not self.free_streams:
                self.free_streams.append(self.steps_by_key.popitem(last=False)[1].stream)
            self.steps_by_key[key] = KeyedSteps(self.free_streams.pop())
        self.steps_by_key.move_to_end(key)
        return self.steps_by_key[key]

    def record(self, steps: KeyedSteps) -> bool:
        """Record the step; whether that worked: from then on, or else never again, steps are graphs."""
        try:
            steps.replay = capture(lambda: self.compute(steps), steps.stream, self.pool, self.random.states)
        except RuntimeError as error:  # what PyTorch raises, also where memory does not suffice
            cause = error.__context__ or error  # to end a record that has failed fails as well
            if not isinstance(cause, RuntimeError):
                raise cause from None
            reason = f"recording one failed ({first_line(cause)})"
            self.state.notes.append(f"steps do not run as CUDA graphs: {reason}")
            self.is_recording = False
            self.steps_by_key.clear()
        return self.is_recording

    def compute(self, steps: KeyedSteps) -> StepResult:
        """All that a launch does on the device, from buffers alone; Python's numbers are those of the key."""
        batches = InputBatches(self.stream, steps.inputs, steps.n_played == 0)
        names, values = [], []
        with self.random.of_steps() as begin_step:
            for i in range(self.n_steps):
                begin_step(i)
                for terms in self.compute_step(i, batches):
                    names.append((i, tuple(terms)))
                    values += [value.detach().float() for value in terms.values()]
        if batches.n_drawn < len(steps.inputs):
            raise UserError(UNEQUAL_BATCHES)
        return StepResult(names, torch.stack(values), [(p, p.grad) for p in self.parameters])

    def compute_step(self, i: int, batches: InputBatches) -> Iterator[dict[str, Tensor]]:
        """What the i-th step of a launch does; yields the terms of its moves."""
        step, numbers = self.state.step + i, self.numbers[i]
        number = numbers.step if self.model.takes_step_tensor else step
        yield from self.moves(batches, number, lambda name: numbers.rate(name, step))
        if is_ema_due(step, self.ema_decay):
            blend(self.ema_pairs, numbers.ema_weight)


class StepRandomness:
    """The random numbers of the steps of a launch: each draws, in a graph too, as if the device were seeded for it."""

    def __init__(self, device: torch.device, n: int) -> None:
        self.seeds: list[int] = []
        self.generator: torch.Generator | None = None
        self.states: list[torch.Generator] = []
        """states of a GPU's generator, one for each step; graphs read them"""
        if device.type == "cuda":
            self.generator = device_generator(device)
            self.states = [self.generator.clone_state() for _ in range(n)]

    def seed(self, seeds: list[int]) -> None:
        """Seed the steps of the next launch."""
        self.seeds = seeds
        for state, seed in zip(self.states, seeds, strict=False):
            state.manual_seed(seed)

    @contextmanager
    def of_steps(self) -> Iterator[Callable[[int], None]]:
        """A block in which a call with i makes the devices draw as the i-th step does."""
        before = self.generator.graphsafe_get_state() if self.generator else None

        def begin_step(i: int) -> None:
            torch.default_generator.manual_seed(self.seeds[i])
            if self.generator:
                self.generator.graphsafe_set_state(self.states[i])

        try:
            yield begin_step
        finally:
            if self.generator and before:
                self.generator.graphsafe_set_state(before)


def capture(
    function: Callable[[], T], stream: torch.cuda.Stream | None, pool: Any, states: Iterable[torch.Generator] = ()
) -> Callable[[], T]:
    """Record what the function launches; returns what launches it again, and returns the same tensors with new values.

    RuntimeError where it does what cannot be recorded, such as to wait for a number.  Graphs share the memory of the
    pool: what one returns is to be read before another is launched.  `states` are those of random numbers in it.
    """
    graph = torch.cuda.CUDAGraph()
    for state in states:
        graph.register_generator_state(state)
    # the outer context, since torch.cuda.graph does not leave its stream after a failure; thread_local checks the calls
    # of this thread alone: another may gather batches into pinned memory meanwhile
    recording = torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local")
    with torch.cuda.stream(stream), recording:
        outputs = function()

    def replay() -> T:
        graph.replay()
        return outputs

    return replay


def on_stream(stream: torch.cuda.Stream | None, function: Callable[[], T]) -> T:
    """What the function returns; its work comes after all that was asked of the GPU before, and before all after."""
    if stream is None:
        return function()
    current = torch.cuda.current_stream(stream.device)
    stream.wait_stream(current)
    with torch.cuda.stream(stream):
        result = function()
    current.wait_stream(stream)
    return result


def reason_against(model: Model, is_requested: bool) -> str:
    """Why the steps of a model are not recorded, or nothing; `is_requested` is what the user asked for."""
    cls = type(model)
    own_classes = [base for base in cls.__mro__ if issubclass(base, Model) and is_own(base)]
    if own_classes and not any("step_key" in vars(base) for base in own_classes):
        return f"{model_name(model)} has no step_key, which says which of its steps are alike"
    if world_size() > 1:
        return "several ranks compute each step together, by calls that are not recorded"
    if model.own_networks and not is_requested:
        return "networks of your own may do what a graph cannot repeat; graph=on records them all the same"
    return ""


def steps_per_launch(nets: nn.Module, look_every: int) -> int:
    """Steps of one graph: several of tiny networks, as many at most as divide the interval at which somebody looks."""
    is_tiny = sum(p.numel() for p in nets.parameters()) <= TINY_PARAMETERS
    return max(n for n in range(1, MAX_STEPS + 1) if look_every % n == 0) if is_tiny else 1
