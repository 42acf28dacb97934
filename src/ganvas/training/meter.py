"""Means of named loss terms, kept on the device so that training never waits for them."""

from math import isfinite

import torch
from torch import Tensor

from ..errors import DivergenceError


class Meter:
    """Collects the terms of every move.  Looking at them, and only that, waits for the device."""

    def __init__(self) -> None:
        self.values: dict[str, list[float]] = {}
        """values since the last reading that have been looked at; a checkpoint keeps them"""
        self.pending: dict[str, list[tuple[int, Tensor]]] = {}
        """steps and values, still on the device"""

    def add(self, step: int, terms: dict[str, Tensor]) -> None:
        """Note the terms of a move of this step."""
        for name, value in terms.items():
            self.pending.setdefault(name, []).append((step, value.detach()))

    def fetch(self) -> None:
        """Fetch what waits; DivergenceError, which names term and step, if a value is NaN or infinite."""
        nonfinite: list[tuple[int, str, float]] = []
        for name, pairs in self.pending.items():
            values = torch.stack([value for _, value in pairs]).float().cpu().tolist()
            self.values.setdefault(name, []).extend(values)
            nonfinite += [(step, name, v) for (step, _), v in zip(pairs, values, strict=True) if not isfinite(v)]
        self.pending = {}
        if nonfinite:
            step, name, value = min(nonfinite, key=lambda entry: entry[0])
            raise DivergenceError(f"the loss term {name!r} became {value} at step {step}")

    def pop_means(self) -> dict[str, float]:
        """The mean of each term since the last reading; raises as `fetch` does."""
        self.fetch()
        means = {name: sum(values) / len(values) for name, values in self.values.items()}
        self.values = {}
        return means
