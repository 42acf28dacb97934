"""Translators whose results are known."""

import torch
from torch import Tensor, nn

from ganvas.inference.trained import Trained
from ganvas.models import CycleGAN
from tests.support.models import small

RGB, GREY, RGBA = (3, 32, 32), (1, 32, 32), (4, 32, 32)


class Negative(nn.Module):
    """1 - x of pixels in [-1, 1]: -x, of the first channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels, self.weight = channels, nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return -x[:, :1].expand(-1, self.channels, -1, -1) if self.channels > x.shape[1] else -x[:, : self.channels]


def negatives(a: tuple[int, ...] = RGB, b: tuple[int, ...] = RGB) -> Trained:
    """A CycleGAN both of whose translators make negatives."""
    return Trained(small(CycleGAN), (a, b), nn.ModuleDict({"G": Negative(b[0]), "F": Negative(a[0])}))
