"""The training loop, one for every model.

A model's `step` is a coroutine.  It yields moves, (networks, terms), and the loop plays each one before the step
resumes: the networks descend the sum of the terms.  How many discriminator moves go before a generator move is
thus an ordinary `for` in the model's own file.

A resumed run equals an uninterrupted one bit for bit, though a checkpoint holds no state of random numbers: `reseed`
makes all that a step draws follow from (seed, rank, step), and `Stream` every batch from (seed, position).
"""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache, partial
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import hardshrink
from torch.optim import Optimizer

from ..config import TrainConfig
from ..data import Data, DataStream, Scaling, fit_scaling, make_stream
from ..errors import DivergenceError, UserError
from ..fields import flag
from ..model import Model, Move, device_of, model_name
from ..nn.compilation import compile_networks
from ..nn.concurrency import concurrently
from ..nn.cpu import retain_freed_memory
from ..nn.device import autocast, device_data_limit, float32_products
from ..randomness import reseed
from ..ranks import rank, world_size
from . import distributed
from .ema import EmaDecay, ema_decay_of, ema_tensor_pairs, tensors, update_ema
from .nonfinite import can_skip, local_shard, nonfinite, nonfinite_gradient, step_unless

Terms = dict[str, Tensor]
Differentiate = Callable[[Move, list[nn.Parameter]], None]
SKIPPED = "skipped update"
"""among the terms of a move, none of whose names has a space: 1 where its networks did not move, else 0"""
MAX_SKIPPED_STEPS = 10
"""steps one after the other with a skipped update, after which a run has diverged"""


@dataclass
class Meter:
    """Collects the loss terms of every move, on the device, so that training never waits until they are fetched.

    What is fetched are means over all ranks, which fetch together: so all learn of a NaN at the same step.
    """

    values: dict[str, list[float]] = field(default_factory=dict)
    """what was fetched since the last means; a checkpoint keeps it"""
    pending: dict[str, list[tuple[int, Tensor]]] = field(default_factory=dict)
    """steps and values that are still on the device"""
    skipped: list[int] = field(default_factory=list)
    """steps since the last means in which an update was skipped"""
    skipped_in_row: int = 0
    """how many steps of that kind are the last ones"""

    def add(self, step: int, terms: dict[str, Tensor]) -> None:
        """Note the terms of a move of this step."""
        for name, value in terms.items():
            self.pending.setdefault(name, []).append((step, value.detach()))

    def fetch(self) -> None:
        """Fetch what is on the device; DivergenceError, which names term and step, if a value is NaN or infinite.

        In a step with a skipped update it may be, and is then left out; but so many in a row raise as well.
        """
        pending, self.pending = self.pending, {}
        fetched = dict[str, list[tuple[int, float]]]()
        for name, pairs in pending.items():
            values = distributed.average(torch.stack([value for _, value in pairs]).float()).cpu().tolist()
            fetched[name] = [(step, value) for (step, _), value in zip(pairs, values, strict=True)]
        updates = fetched.pop(SKIPPED, [])
        skipped = {step for step, is_skipped in updates if is_skipped}
        wrong: list[tuple[int, str, float]] = []
        for name, values in fetched.items():
            self.values.setdefault(name, []).extend(v for step, v in values if isfinite(v) or step not in skipped)
            wrong += [(step, name, v) for step, v in values if not isfinite(v) and step not in skipped]
        if wrong:
            step, name, value = min(wrong, key=lambda entry: entry[0])
            raise DivergenceError(f"the loss term {name!r} became {value} at step {step}")
        self.skipped += sorted(skipped)
        for step in dict.fromkeys(step for step, _ in updates):
            self.skipped_in_row = self.skipped_in_row + 1 if step in skipped else 0
            if self.skipped_in_row == MAX_SKIPPED_STEPS:
                what = f"in {MAX_SKIPPED_STEPS} steps one after the other, to step {step}"
                raise DivergenceError(f"a gradient was NaN or infinite {what}")

    def pop_means(self) -> dict[str, float]:
        """The mean of each term since the last ones, or nothing where a term has no value; raises as `fetch` does."""
        self.fetch()
        values, self.values = self.values, {}
        return {name: sum(v) / len(v) for name, v in values.items()} if all(values.values()) else {}

    def pop_skipped(self) -> list[int]:
        """The steps that were fetched since the last ones, in which an update was skipped."""
        skipped, self.skipped = self.skipped, []
        return skipped


@dataclass
class TrainState:
    """Everything that training changes."""

    nets: nn.ModuleDict
    """the networks being trained"""
    ema_nets: nn.ModuleDict
    """exponential moving averages of those that the model keeps, as of some steps ago: see `current_ema`"""
    scaling: tuple[Scaling, ...] = ()
    """how the model sees the examples of each domain; nothing until it has seen any"""
    optimizers: dict[str, Optimizer] = field(default_factory=dict)
    """by the names of the networks that move together, see `get_optimizer`"""
    step: int = 0
    """steps done"""
    position: int = 0
    """batches drawn"""
    lowest_distance: float | None = None
    """the lowest distance between data and samples that was measured, if it was"""
    distance_error: float = 0.0
    """its standard error"""
    best_step: int = 0
    """the step of the best weights: the latest whose distance is within that error of the lowest"""
    evaluations_since_best: int = 0
    """measurements since the lowest"""
    metric: str = ""
    """what these are measurements of, as the log calls it"""
    meter: Meter = field(default_factory=Meter)
    """loss terms that are still to be logged"""
    rollbacks: int = 0
    """how often it went back to a checkpoint: each halves the learning rate"""
    notes: list[str] = field(default_factory=list)
    """what a person should know of how it is trained, and the log does not say yet"""

    def forget_lowest_distance(self) -> None:
        """What was measured so far says nothing of later distances: from other data, or by another metric."""
        self.lowest_distance, self.distance_error, self.evaluations_since_best = None, 0.0, 0


def initialize_state(model: Model, shape: Any, seed: int, device: torch.device, classes: int = 0) -> TrainState:
    """Fresh networks and their averages: the same on every machine."""
    reseed(torch.device("cpu"), seed, "networks")
    nets = nn.ModuleDict(model.networks(shape, classes)).to(device)
    ema_nets = nn.ModuleDict({name: deepcopy(net) for name, net in nets.items() if name not in model.training_only})
    return TrainState(nets, ema_nets.eval().requires_grad_(False))


def prepare_data(model: Model, data: Data) -> Data:
    """The data as the model learns them; UserError where it cannot."""
    model.validate_data(data.in_memory)
    prepared: Data = model.preprocess(data.in_memory)
    if data is data.in_memory:
        return prepared
    if prepared is not data.in_memory:
        draws = "changes all examples once before it learns, as with binarize=static"
        raise UserError(f"{data.name} is streamed, but this {model_name(model)} {draws}: leave that out")
    return data


def ensure_scaling(state: TrainState, model: Model, data: Data) -> tuple[Scaling, ...]:
    """How the model sees the data: as the state says, since its weights learnt so; a fresh one takes it from them."""
    if not state.scaling:
        state.scaling = fit_scaling(data, model)
    return state.scaling


def train(model: Model, data: Data, config: TrainConfig, state: TrainState, look_every: int = 1) -> Iterator[int]:
    """Train onward from `state` to `config.steps`; yields the number of steps done after each.

    Between two steps the state is whole: whoever drives the loop may save it, or stop.  Whoever needs it only at the
    multiples of `look_every` says so: a GPU then does several steps of a tiny network at once.
    """
    player = make_player(model, open_stream(model, data, config, state), config, state, look_every)
    while state.step < config.steps:
        player.play()
        player.count_step()
        yield state.step


def open_stream(model: Model, data: Data, config: TrainConfig, state: TrainState) -> DataStream:
    """The batches that a run still has to see; what is to be said of them is noted in its state."""
    device = device_of(state.nets)
    stream = make_stream(
        data, ensure_scaling(state, model, data), batch=config.examples_per_step, seed=config.seed, device=device,
        position=state.position, balanced=config.balanced, device_bytes=device_data_limit(device),
        rank=rank(), world_size=world_size(),
    )  # fmt: skip
    state.notes += stream.notes
    return stream


@dataclass
class StepPlayer:
    """Plays the training steps of a run, one after the other, on whatever device its networks are."""

    model: Model
    stream: DataStream
    config: TrainConfig
    state: TrainState

    def __post_init__(self) -> None:
        self.device: torch.device = device_of(self.state.nets)
        if self.device.type == "cpu":
            retain_freed_memory()
        nets = dict(self.state.nets.items())
        self.nets: dict[str, nn.Module] = compile_networks(nets) if self.config.compile == "on" else nets
        self.ema_pairs: list[tuple[Tensor, Tensor]] = ema_tensor_pairs(self.state.ema_nets, self.state.nets)
        self.base_rate: Callable[[str], float] = cache(self.model.learning_rate)
        self.ema_decay: EmaDecay = ema_decay_of(self.model, self.config)
        self.precision: torch.autocast = autocast(self.config.precision, self.device)
        self.n_steps: int = 1
        """steps that `play` has played"""
        self.buffers: list[Tensor] = distributed.start_together(self.state.nets, self.state.ema_nets)
        self.backward: Differentiate = backward

    def play(self) -> None:
        """Play the step after `state.step` others, or `n_steps` of them; the state's counters stay as they are."""
        step = self.state.step
        self.reseed()
        for terms in self.moves(self.stream, step, lambda name: self.rate(name, step)):
            self.state.meter.add(step + 1, terms)
        distributed.broadcast(self.buffers)
        update_ema(self.ema_pairs, step, self.ema_decay)

    def count_step(self) -> None:
        """Count in the state what was played; on a CPU every hundredth keeps optimisers fast."""
        state = self.state
        if self.device.type == "cpu" and state.step % 100 == 0:
            flush_denormals(state)
        state.step, state.position = state.step + self.n_steps, self.stream.position

    def reseed(self) -> None:
        """Make what the step draws follow from the run's seed, the rank and the step's number."""
        reseed(self.device, self.config.seed, rank(), self.state.step)

    def rate(self, name: str, step: int) -> float:
        """The learning rate of the networks of this name in a step; on a GPU as a CUDA graph reads it, in float32."""
        rate = self.base_rate(name) * lr_factor(self.config, step) * self.model.schedule(step).lr_factor
        rate *= 0.5**self.state.rollbacks
        return torch.tensor(rate, dtype=torch.float32).item() if self.device.type == "cuda" else rate

    def moves(self, batches: Iterator[Any], step: Any, rate: Callable[[str], float | Tensor]) -> Iterator[Terms]:
        """Play the moves of a step, whose networks learn at the `rate` of their name, and yield the terms of each.

        `step` is the number of steps before it, or a tensor of that where the model takes one.
        """
        with self.precision, float32_products(self.config.tf32, self.device):
            for move in self.model.step(batches, step, **self.nets):
                name = name_of_networks(self.nets, move)
                optimizer = get_optimizer(name, self.model, self.state)
                set_beta_2(optimizer, self.model.schedule(self.state.step).beta_2)
                bound, skips = self.config.clip_grad_norm, self.config.on_divergence != "stop"
                skipped = apply_move(move, optimizer, rate(name), bound, self.backward, skips=skips)
                yield move.terms | move.logged | ({} if skipped is None else {SKIPPED: skipped})


def make_player(
    model: Model, stream: DataStream, config: TrainConfig, state: TrainState, look_every: int = 1
) -> StepPlayer:
    """What plays the steps of a run: as CUDA graphs, where there is a GPU and they can be recorded."""
    from . import cuda_graph  # it builds on this module

    state.notes += option_notes(model, config, device_of(state.nets))
    if distributed.uses_shards(config):
        from .sharding import ShardedPlayer  # it imports FSDP2

        return ShardedPlayer(model, stream, config, state)
    if device_of(state.nets).type != "cuda" or config.graph == "off":
        return StepPlayer(model, stream, config, state)
    if reason := cuda_graph.reason_against(model, config.graph == "on"):
        state.notes.append(f"steps do not run as CUDA graphs: {reason}")
        return StepPlayer(model, stream, config, state)
    return cuda_graph.GraphPlayer(model, stream, config, state, cuda_graph.steps_per_launch(state.nets, look_every))


def option_notes(model: Model, config: TrainConfig, device: torch.device) -> list[str]:
    """Options that have no effect on this device, and schedules that a run does not reach the end of."""
    advice = f", or less {flag(model.schedule_option)}" if model.schedule_option else ""
    late = f"the schedule of {model_name(model)} goes on after the last of {config.steps:,} steps: give more{advice}"
    notes = [late] if model.schedule(config.steps) != model.schedule(10**12) else []
    if device.type == "cuda":
        return notes
    notes += ["graph=on has no effect here: CUDA graphs need device=cuda"] if config.graph == "on" else []
    return notes + (["tf32 has no effect here: it is a format of NVIDIA GPUs, device=cuda"] if config.tf32 else [])


def name_of_networks(nets: dict[str, nn.Module], move: Move) -> str:
    """The names of those that move together, e.g. "encoder+decoder"."""
    return "+".join(name for name, net in nets.items() if net in move.networks)


def lr_factor(config: TrainConfig, step: int) -> float:
    """Factor of the learning rate in the step after `step` others."""
    remaining = (config.steps - step) / (config.lr_decay * config.steps) if config.lr_decay else 1.0
    return min(1.0, remaining) * config.lr_gamma ** sum(step >= part * config.steps for part in config.lr_milestones)


def get_optimizer(name: str, model: Model, state: TrainState) -> Optimizer:
    """The optimiser of the networks of this name, e.g. "encoder+decoder"; it is made at their first move."""
    if name not in state.optimizers:
        optimizer = model.optimizer(*(state.nets[part] for part in name.split("+")))
        for group in optimizer.param_groups if device_of(state.nets).type == "cuda" else ():
            if "capturable" in group:
                group["capturable"] = True  # it counts its steps on the GPU, as CUDA graphs need
        state.optimizers[name] = optimizer
    return state.optimizers[name]


def set_beta_2(optimizer: Optimizer, beta_2: float | None) -> None:
    """Set the decay rate of Adam's second moment, unless it stays what it is."""
    for group in optimizer.param_groups:
        if beta_2 is not None and "betas" in group:
            group["betas"] = (group["betas"][0], beta_2)


def backward(move: Move, parameters: list[nn.Parameter]) -> None:
    """Add the gradient of the loss, the mean of all ranks', to that of the moving networks' parameters alone."""
    if move.independent_losses is None:
        move.loss.backward(inputs=parameters)
    else:
        backwards = [partial(loss.backward, inputs=parameters) for loss in move.independent_losses]
        concurrently(*backwards, device=parameters[0].device)
    distributed.average_gradients(parameters)


def apply_move(
    move: Move, optimizer: Optimizer, lr: float | Tensor | None = None, clip_grad_norm: float | None = None,
    differentiate: Differentiate = backward, skips: bool = False,
) -> Tensor | None:  # fmt: skip
    """Differentiate the loss by the moving networks' parameters, and by nothing else; descend, with `lr` if given.

    The gradient is first made as short as `clip_grad_norm` in each network, if it is longer.  Where it is not finite,
    `skips` leaves weights and moments as they are; returned is then 1, else 0, and None where nobody looked.
    """
    parameters = []
    for group in optimizer.param_groups:
        group["lr"] = group["lr"] if lr is None else lr
        parameters += group["params"]
    for p in parameters:
        p.grad = None
    differentiate(move, parameters)
    is_nonfinite = nonfinite_gradient(parameters) if skips and can_skip(optimizer, parameters[0].device) else None
    if clip_grad_norm is not None:
        for network in move.networks:
            nn.utils.clip_grad_norm_(network.parameters(), clip_grad_norm)
    if is_nonfinite is None:
        optimizer.step()
    else:
        step_unless(is_nonfinite, optimizer)
    return is_nonfinite


@torch.no_grad()
def flush_denormals(state: TrainState) -> None:
    """Set the optimisers' moments below 1e-30 to 0.

    Where a gradient stays 0, as at the border of MNIST, Adam's first moment decays by 0.9 a step into the denormal
    numbers within 800 steps, and there processors are slow: one step of Adam took three times as long.  A weight
    cannot move by so little, so nothing else changes.
    """
    for optimizer in state.optimizers.values():
        for moments in optimizer.state.values():
            for moment in moments.values():
                if isinstance(moment, Tensor) and moment.ndim:
                    moment.copy_(hardshrink(moment, 1e-30))


def check_finite(state: TrainState) -> None:
    """Raises DivergenceError, which names the network, if a weight is NaN or infinite; on all ranks, which all call it.

    A norm tells it fast, unless it is beyond the largest number though no weight is.
    """
    are_nonfinite = dict[str, int]()
    for name, net in state.nets.items():
        floats = [local_shard(t) for t in tensors(net) if t.is_floating_point()]
        are_nonfinite[name] = bool(nonfinite(floats)) and not all(bool(t.isfinite().all()) for t in floats)
    for name, is_nonfinite in zip(are_nonfinite, distributed.agree(*are_nonfinite.values()), strict=True):
        if is_nonfinite:
            raise DivergenceError(f"the weights of {name} are no longer finite after step {state.step}")
