"""The scaling of each of a model's domains in a file: of weights, or of a checkpoint."""

import re
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ..model import Model
from .scaling import Scaling
from .tables.scaling import TableScaling, table_from_state, table_state

LAYER_PATTERN = re.compile(r"(?P<net>.*\.)(?P<place>\d+)\.std")
"""the name of a tensor in files whose networks standardised vectors themselves"""


def scaling_state(scaling: Sequence[Scaling]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and header of a file that keeps the scaling of each domain; `pixel_range` is the model's own."""
    tensors: dict[str, Tensor] = {}
    if scaling and isinstance(scaling[0], TableScaling):
        return table_state(scaling[0])
    for i, s in enumerate(scaling):
        if s.mean is not None and s.std is not None:
            tensors |= {f"scaling/{i}/mean": s.mean.cpu(), f"scaling/{i}/std": s.std.cpu()}
        if s.low is not None and s.high is not None:
            tensors |= {f"scaling/{i}/low": s.low.cpu(), f"scaling/{i}/high": s.high.cpu()}
    alpha, dtypes = [s.premultiplied for s in scaling], [s.dtype for s in scaling]
    return tensors, ({"premultiplied": alpha} if any(alpha) else {}) | ({"dtypes": dtypes} if any(dtypes) else {})


def scaling_from_state(tensors: dict[str, Tensor], header: dict[str, Any], model: Model) -> tuple[Scaling, ...]:
    """The scaling of each of a model's domains that a file keeps, taken out of its tensors and its header.

    Files without one are of models that saw vectors as they are, or whose own layers standardised them: these layers
    are taken out of `tensors`.
    """
    if (table := table_from_state(tensors, header, model.pixel_range)) is not None:
        return (table,)
    n, alpha = model.n_domains, header.pop("premultiplied", None) or [False] * model.n_domains
    dtypes = header.pop("dtypes", None) or [""] * n
    file_moments = [[tensors.pop(f"scaling/{i}/{name}", None) for name in ("mean", "std")] for i in range(n)]
    bounds = [[tensors.pop(f"scaling/{i}/{name}", None) for name in ("low", "high")] for i in range(n)]
    first = getattr(model, "translators", {"B": "G"})["B"]  # begins with the moments of A, ends with those of B
    layer_moments: list[list[Tensor | None]] = []
    layers = sorted((m["net"], int(m["place"])) for m in map(LAYER_PATTERN.fullmatch, tensors) if m)
    for net, place in layers:
        mean, std = (tensors.pop(f"{net}{place}.{name}") for name in ("mean", "std"))
        pool_name = f"{net.partition('.')[0]}.past.kept"
        if pool_name in tensors:  # translations that a critic keeps, as it is to see them now
            tensors[pool_name] = (tensors[pool_name] - mean) / std
        if net in (f"{first}.", f"ema/{first}."):
            layer_moments.append([mean, std])
    parts = zip(layer_moments if len(layer_moments) == n else file_moments, alpha, bounds, dtypes, strict=True)
    return tuple(
        Scaling(model.pixel_range, mean, std, bool(a), low, high, dtype) for (mean, std), a, (low, high), dtype in parts
    )
