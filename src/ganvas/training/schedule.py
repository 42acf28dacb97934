"""How often, and on how many samples, a run is measured while it trains, so that this takes at most 3% of its time.

Time itself plays no part, since a run depends on its seed alone: what is compared is operations of matrix products and
convolutions, of a training step and of a measurement, and these follow from shapes.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any, NamedTuple

from torch.nn.functional import conv2d, conv_transpose2d, linear
from torch.overrides import TorchFunctionMode

from ..config import TrainConfig
from ..data import Data, make_stream
from ..model import Model, device_of
from ..nn.concurrency import sequentially
from ..nn.device import autocast
from .loop import TrainState, ensure_scaling

MAX_OPERATIONS_SHARE = 0.0125
"""operations of measurements, as a share of those of training: their share of time is larger, since convolutions of few
maps are slower than those that are trained"""
OPERATIONS_PER_CALL = 2_000_000
"""operations that a pass of a batch through a layer counts for besides in training: of small networks most of them"""
SAMPLE_COUNTS = range(250, 2001, 50)
"""numbers of samples to choose from"""
LATE_STEP = 10_007
"""the step whose operations count: a prime, so that nothing which comes at intervals is due"""


class Schedule(NamedTuple):
    """When a run is measured, and on how much."""

    interval: int
    """steps between two measurements"""
    n_samples: int
    """samples"""


def make_schedule(step: int, cost: Callable[[int], float], every: int, most: int) -> Schedule:
    """At checkpoints, `every` so many steps, on as many samples as the budget allows, at most `most`.

    `step` is the operations of a training step and `cost(n)` those of a measurement of n samples.  Where the fewest
    samples are too many, every second, fourth, ... checkpoint.
    """
    sizes = [n for n in SAMPLE_COUNTS if n <= most] or [most]
    times = 1
    while cost(sizes[0]) > MAX_OPERATIONS_SHARE * step * every * times and times < 2**20:
        times *= 2
    fitting = [n for n in sizes if cost(n) <= MAX_OPERATIONS_SHARE * step * every * times]
    return Schedule(every * times, max(fitting, default=sizes[0]))


class OperationCounter(TorchFunctionMode):
    """Counts the operations of what is done in it: two for each multiplication of matrix products and convolutions.

    Where there is a gradient to come, its backward pass counts as much again, twice; gradients of gradients are not
    counted.  (torch's FlopCounterMode sees them all, but takes seconds to be imported.)
    """

    def __init__(self) -> None:
        super().__init__()
        self.count: int = 0
        self.calls: int = 0

    def __torch_function__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func in (linear, conv2d, conv_transpose2d):
            x, weight = args[:2]
            passes = 3 if out.requires_grad else 1
            self.calls += passes
            self.count += 2 * passes * (x if func is conv_transpose2d else out).numel() * weight[0].numel()
        return out


def count_operations(function: Callable[..., Any], *inputs: Any, call: int = 0) -> int:
    """The operations of a function, in which each pass through a layer counts for so many more."""
    counted = OperationCounter()
    with counted:
        function(*inputs)
    return counted.count + call * counted.calls


def training_step_operations(model: Model, data: Data, plan: TrainConfig, state: TrainState) -> int:
    """The operations of a training step late in the run, which is taken with copies of the networks."""
    nets, device = deepcopy(state.nets), device_of(state.nets)
    stream = make_stream(
        data, ensure_scaling(state, model, data), batch=plan.batch_size, seed=plan.seed, device=device,
        balanced=plan.balanced
    )  # fmt: skip

    def step() -> None:
        with autocast(plan.precision, device), sequentially():
            for move in model.step(stream, LATE_STEP, **dict(nets.items())):
                move.loss.backward(inputs=[p for net in move.networks for p in net.parameters()])

    return count_operations(step, call=OPERATIONS_PER_CALL)
