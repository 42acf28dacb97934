"""CUDA graphs where there is no GPU."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import pytest
import torch
from torch import Tensor

from ganvas.config import TrainConfig
from ganvas.data import Data, PairStream, Stream
from ganvas.model import Model
from ganvas.training import cuda_graph, loop
from ganvas.training.cuda_graph import GraphPlayer
from ganvas.training.loop import StepPlayer, TrainState, initialize_state, train

T = TypeVar("T")
CPU = torch.device("cpu")


@contextmanager
def recorded_steps(steps_per_launch: int | None = None) -> Iterator[list[int]]:
    """A context in which steps on the CPU run as a graph would: the step that was recorded runs again.

    So the numbers that Python had when it was recorded are those of all later steps; only buffers differ.  Yields the
    numbers of the steps that are recorded, of several in a graph the first; `None` has as many in one as a GPU would.
    """
    recorded: list[int] = []
    players: list[GraphPlayer] = []

    def make_player(
        model: Model, stream: Stream | PairStream, config: TrainConfig, state: TrainState, look_every: int
    ) -> StepPlayer:
        n = steps_per_launch or cuda_graph.steps_per_launch(state.nets, look_every)
        players.append(GraphPlayer(model, stream, config, state, n))
        return players[-1]

    def capture(function: Callable[[], T], *_: object) -> Callable[[], T]:
        state = players[-1].state
        step = state.step
        recorded.append(step)

        def replay() -> T:
            now, state.step = state.step, step
            try:
                return function()
            finally:
                state.step = now

        return replay

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "make_player", make_player)
        patch.setattr(cuda_graph, "capture", capture)
        yield recorded


def trained(model: Model, data: Data, config: TrainConfig) -> TrainState:
    """The state after training on the CPU."""
    state = initialize_state(model, data.shape, config.seed, CPU, len(data.classes))
    for _ in train(model, data, config, state):
        pass
    return state


def contents(state: TrainState) -> dict[str, Tensor]:
    """All that a state holds: weights, averages, moments, gradients, loss terms."""
    parts = state.nets.state_dict() | {f"ema/{name}": t for name, t in state.ema_nets.state_dict().items()}
    for name, optimizer in state.optimizers.items():
        for i, moments in optimizer.state_dict()["state"].items():
            parts |= {f"{name}/{i}/{key}": torch.as_tensor(value) for key, value in moments.items()}
    parts |= {f"gradient/{name}": p.grad for name, p in state.nets.named_parameters() if p.grad is not None}
    state.meter.fetch()
    parts |= {f"terms/{name}": torch.tensor(values) for name, values in state.meter.values.items()}
    return parts | {"position": torch.tensor(state.position)}
