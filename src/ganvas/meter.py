"""Means of named loss terms, kept on the device so that training never waits for them."""

import torch
from torch import Tensor

from .errors import Diverged


class Meter:
    """Collects the terms of every move.  Reading, and only reading, waits for the device."""

    def __init__(self) -> None:
        self.values: dict[str, list[Tensor]] = {}
        self.steps: dict[str, list[int]] = {}

    def add(self, step: int, terms: dict[str, Tensor]) -> None:
        """Note the terms of a move of this step."""
        for name, value in terms.items():
            self.values.setdefault(name, []).append(value.detach())
            self.steps.setdefault(name, []).append(step)

    def read(self) -> dict[str, float]:
        """The mean of each term since the last reading.

        Raises Diverged, which names the term and the step, if a value is NaN or infinite.
        """
        stacked = {name: torch.stack(values).double().cpu() for name, values in self.values.items()}
        bad = [
            (self.steps[name][int((~v.isfinite()).nonzero()[0])], name)
            for name, v in stacked.items()
            if not v.isfinite().all()
        ]
        self.values, self.steps, last = {}, {}, self.steps
        if bad:
            step, name = min(bad)
            value = next(v for v, s in zip(stacked[name].tolist(), last[name], strict=True) if s == step)
            raise Diverged(f"the loss term {name!r} became {value} at step {step}")
        return {name: v.mean().item() for name, v in stacked.items()}
