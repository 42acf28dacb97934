"""How a column of synthetic rows differs from that of real ones: bars for pictures, and what words need of numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64

from ...data.tables.columns import Column
from ...data.tables.summary import Marginal, marginal

ATOM_SHARE, MAX_ATOMS, FEW_VALUES = 0.05, 3, 10
"""a number that this share of the rows has, be it 0, is looked at for itself, where there are more values than few"""
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
Pair = tuple[float, float]
"""of real and of synthetic rows"""


@dataclass(frozen=True)
class Comparison:
    """A column of real and of synthetic rows.  Shares are of all rows, missing values among them."""

    spread: Marginal
    """of both"""
    atoms: dict[float, Pair]
    """frequent numbers and their shares"""
    quantiles: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())
    """of the values at `QUANTILES`; empty of categories, and where no value is there"""
    counts: tuple[int, int] = (0, 0)
    """how many values these are of"""
    apart: float | None = None
    """the number that more than half of the rows have, where quantiles are of the other values; None without one"""
    beyond: Pair = (0.0, 0.0)
    """share of those numbers that are there which are more than the last of the real quantiles"""

    def as_json(self) -> dict[str, Any]:
        """In JSON's types: frequent numbers become the texts that it has for keys."""
        spread, (real, synthetic) = self.spread, self.spread.shares
        return {
            "names": spread.labels, "edges": spread.edges, "real": real, "synthetic": synthetic,
            "missing": spread.missing, "atoms": {f"{atom:g}": shares for atom, shares in self.atoms.items()},
            "quantiles": self.quantiles, "counts": self.counts, "apart": self.apart, "beyond": self.beyond,
        }  # fmt: skip


def compare_column(real: Float64[np.ndarray, " n"], synthetic: Float64[np.ndarray, " m"], column: Column) -> Comparison:
    """The bars of both, and of numbers what else words need."""
    spread = marginal(column, real, synthetic)
    if column.is_category:
        return Comparison(spread, {})
    there = [x[~np.isnan(x)] for x in (real, synthetic)]
    atoms = {a: (float((real == a).mean()), float((synthetic == a).mean())) for a in find_atoms(there)}
    apart = next((atom for atom in atoms if (there[0] == atom).mean() > 0.5), None)
    rest = there if apart is None else [x[x != apart] for x in there]
    low, high = (tuple(np.quantile(x, QUANTILES).tolist()) if len(x) else () for x in rest)
    a, b = (float((x > low[-1]).mean()) if len(x) and low else 0.0 for x in rest)
    counts = len(rest[0]), len(rest[1])
    return Comparison(spread, atoms, (low, high), counts, apart, (a, b))


def find_atoms(there: Sequence[np.ndarray]) -> list[float]:
    """Numbers that many real rows have exactly, the most frequent first; none where there are few other numbers."""
    values, counts = np.unique(there[0], return_counts=True)
    frequent = np.argsort(-counts, kind="stable")[:MAX_ATOMS]
    atoms = [float(values[i]) for i in frequent if counts[i] > ATOM_SHARE * counts.sum()]
    return atoms if len(values) > FEW_VALUES else []
