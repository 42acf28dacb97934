"""Runs of which a lecture records more than their log: the same steps as those of `ganvas.train`, on the CPU."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..config import TrainConfig
from ..data import Scaling, load_all
from ..fields import format_option
from ..model import Model, to_dict
from ..randomness import generators
from ..training.commands import command_name
from ..training.defaults import choose_defaults
from ..training.loop import TrainState, ensure_scaling, initialize_state, prepare_data, train
from ..training.progress import ProgressBar
from ..training.run import check_sources, fit_to_data, split_options

TURN_SECONDS = 0.05
"""after so long others may use models"""


@dataclass
class LectureRun:
    """A run that is not written to a folder: who drives it looks at its state between any two steps."""

    model: Any
    data: Any
    """a Dataset, or a DomainPair, as the model learns it"""
    config: TrainConfig
    state: TrainState
    command: str
    """`ganvas train ...` of the same run"""

    def steps(self) -> Iterator[int]:
        """Train to the last step; yields the number of steps done after each.  Call it once.

        Pages of a server that use models wait for a few steps, and not for all of them.
        """
        deadline = time.monotonic() + TURN_SECONDS
        for step in train(self.model, self.data, self.config, self.state):
            yield step
            if time.monotonic() > deadline:
                let_others_draw()
                deadline = time.monotonic() + TURN_SECONDS

    def looks(self, n: int) -> Iterator[int]:
        """Train to the last step; yields 0 before the first, then the steps done at up to n times, at equal ratios."""
        chosen = {round(step) for step in np.geomspace(1, self.config.steps, n)}
        yield 0
        yield from (step for step in self.steps() if step in chosen)

    def scalings(self) -> tuple[Scaling, ...]:
        """How the model sees the examples of each domain: vectors are standardised."""
        return ensure_scaling(self.state, self.model, self.data)

    def scale(self, x: Tensor) -> Tensor:
        """Examples as the model sees them."""
        return self.scalings()[0](x)

    def unscale(self, u: Tensor) -> Tensor:
        """What the model returns as examples."""
        return self.scalings()[0].inverse(u)

    def losses(self) -> dict[str, float]:
        """The mean of each loss term since the last call, by the names that log.jsonl has."""
        return self.state.meter.pop_means()


def let_others_draw(seconds: float = 0.002) -> None:
    """Let another thread that waits for `generators` have them; this one then draws as if none had.

    Does nothing in a thread that does not hold them.  A thread that holds them twice keeps them.
    """
    state = torch.get_rng_state()
    try:
        generators.release()
    except RuntimeError:  # of another thread, or of none
        return
    time.sleep(seconds)  # who waits needs time to wake up: locks are not given in turns
    generators.acquire()
    torch.set_rng_state(state)


def open_run(model: Model, data: Any, *, source: str | tuple[str, ...] | None = None, **options: Any) -> LectureRun:
    """A run of `model` on `data` before its first step; `options` are those of `ganvas.train`.

    Its steps are bit for bit those of `ganvas.train` with the same arguments and device="cpu".  `source` is what the
    command calls the data, where these are no names of sources.  Raises UserError as `train` does.
    """
    data = check_sources(model, data)
    raw_data = load_all(data, split_options(options, model)[1])
    model, defaults = choose_defaults(model, raw_data, options)
    config, _ = split_options(options | {"device": "cpu"}, model, defaults.training)
    training_data = prepare_data(model, raw_data)
    config, _ = fit_to_data(config, model, raw_data, training_data, options.get("batch_size"), ProgressBar(quiet=True))
    state = initialize_state(
        model, training_data.shape, config.seed, torch.device("cpu"), len(training_data.classes)
    )  # fmt: skip
    names = data if source is None else source
    whole = {} if source is None else {"holdout": 0.0}  # `train` holds out a part of a file, and none of an array
    command = train_command(model, list(names) if isinstance(names, tuple) else [names], options | whole)
    return LectureRun(model, training_data, config, state, command)


def train_command(model: Model, sources: list[Any], options: dict[str, Any]) -> str:
    """The command that trains a model on sources with these options: those that differ from what it has by itself."""
    assert all(isinstance(source, str | Path) for source in sources), "arrays have no name: give `source`"
    given = {name: value for name, value in to_dict(model).items() if name in model.given}
    defaults = to_dict(type(model)())
    changed = [item for item in given.items() if item[1] != defaults[item[0]]]
    words = ["ganvas", "train", command_name(type(model)) or "", *(quote(str(source)) for source in sources)]
    return " ".join([*words, *map(format_option, [*changed, *options.items()])])
