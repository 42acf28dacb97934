"""Reference values of neighbours."""

from torch import Tensor

from ganvas.metrics.copies import duplicate_rate
from ganvas.metrics.neighbours import build_indexes


def duplicates(real: Tensor, made: Tensor) -> float:
    return duplicate_rate(*build_indexes(real, made, k=1))
