"""Averages of the weights, which are the ones kept: how long they are, and when they are brought up to date."""

from collections.abc import Callable
from copy import deepcopy
from itertools import chain
from math import prod
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..config import TrainConfig
from ..model import Model

if TYPE_CHECKING:
    from .loop import TrainState

EmaDecay = float | Callable[[int], float]
"""the decay of the averages after each step, or after that of this number, the first being 0"""


def ema_decay_of(model: Model, config: TrainConfig) -> EmaDecay:
    """The decay as the model's schedule has it: its half-life is a share of that of `ema_decay`."""

    def ema_decay(step: int) -> float:
        share = model.schedule(step).ema_share
        return float(config.ema_decay ** (1 / share)) if share else 0.0

    return ema_decay


def ema_span(step: int, ema_decay: EmaDecay) -> float:
    """Steps that the average spans after the step of this number, the first being 0: 1 / (1 - ema), fewer at first.

    (10 + step) / 9 at most, so that a short run does not keep its random beginning.
    """
    decay = ema_decay(step) if callable(ema_decay) else ema_decay
    return min(1 / (1 - decay), (10 + step) / 9)


def is_ema_due(step: int, ema_decay: EmaDecay) -> bool:
    """Whether the average is brought up to date after this step: at least ten times in its span.

    Doing so after every step would cost half as much as Adam for nearly the same average.  The intervals are powers of
    two, so that they stay even while the span grows.
    """
    max_interval = max(1, int(ema_span(step, ema_decay) / 10))
    return step % (1 << (max_interval.bit_length() - 1)) == 0


def accumulated_decay(step: int, ema_decay: EmaDecay) -> float:
    """What remains, before this step, of the average as it was last updated: the product of the decays since then.

    It follows from the step's number alone, so a resumed run has the same.
    """
    last_update = next((i for i in range(step - 1, -1, -1) if is_ema_due(i, ema_decay)), -1)
    return prod((1 - 1 / ema_span(i, ema_decay) for i in range(last_update + 1, step)), start=1.0)


def update_ema(ema_pairs: list[tuple[Tensor, Tensor]], step: int, ema_decay: EmaDecay) -> None:
    """Bring the averages up to date after a step, if `is_ema_due`; a pair is an average and its weights."""
    if is_ema_due(step, ema_decay):
        blend(ema_pairs, ema_weight(step, ema_decay))


def ema_weight(step: int, ema_decay: EmaDecay) -> float:
    """The share of the weights in the average that is brought up to date after this step."""
    return 1 - accumulated_decay(step, ema_decay) * (1 - 1 / ema_span(step, ema_decay))


@torch.no_grad()
def blend(ema_pairs: list[tuple[Tensor, Tensor]], weight: float | Tensor) -> None:
    """average <- (1 - weight) * average + weight * weights; what is not a real number is copied."""
    float_pairs = [(a, t) for a, t in ema_pairs if a.is_floating_point()]
    shares = [weight] * len(float_pairs) if isinstance(weight, Tensor) else weight
    torch._foreach_lerp_([a for a, _ in float_pairs], [t for _, t in float_pairs], shares)
    for a, t in ema_pairs:
        if not a.is_floating_point():
            a.copy_(t)


def current_ema(state: "TrainState", ema_decay: EmaDecay) -> nn.ModuleDict:
    """The averages as they are after the state's last step: what is looked at, measured and written.

    A copy where they were last brought up to date before that, since the state itself must not depend on when somebody
    looks: a run that is stopped and resumed equals one that is not.
    """
    if (remaining_decay := accumulated_decay(state.step, ema_decay)) == 1:
        return state.ema_nets
    ema_nets = deepcopy(state.ema_nets)
    blend(ema_tensor_pairs(ema_nets, state.nets), 1 - remaining_decay)
    return ema_nets


def ema_tensor_pairs(ema_nets: nn.ModuleDict, nets: nn.ModuleDict) -> list[tuple[Tensor, Tensor]]:
    """The tensors of the averages, each with that of the weights."""
    return [pair for name, net in ema_nets.items() for pair in zip(*map(tensors, (net, nets[name])), strict=True)]


def tensors(network: nn.Module) -> list[Tensor]:
    """Parameters and buffers."""
    return list(chain(network.parameters(), network.buffers()))
