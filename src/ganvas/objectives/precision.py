"""The precision in which losses and densities are computed."""

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """The same numbers in float32, or as they are where they are wider: bfloat16 would leave sums wrong by percents."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
