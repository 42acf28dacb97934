"""Input features in which fine detail of vectors shows."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class FourierFeatures(nn.Module):
    """x, and the sine and cosine of n random projections of it.

    An MLP learns what varies slowly first, and hardly learns what varies fast, e.g. a density with narrow modes; from
    these features it does.  Frequencies are N(0, scale^2), in radians a unit.  Tancik et al., Fourier Features Let
    Networks Learn High Frequency Functions in Low Dimensional Domains, arXiv:2006.10739, section 5.
    """

    frequencies: Tensor

    def __init__(self, d: int, n: int, scale: float) -> None:
        super().__init__()
        self.register_buffer("frequencies", scale * torch.randn(d, n))

    def forward(self, x: Float[Tensor, "b d"]) -> Float[Tensor, "b d_and_2n"]:
        with torch.autocast(x.device.type, enabled=False):  # a phase of several turns needs all its digits
            phase = x.to(self.frequencies.dtype) @ self.frequencies
        return torch.cat([x, phase.sin(), phase.cos()], 1)
