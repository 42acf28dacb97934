"""What chapters on codes share: 147 emoji that small convolutional networks learn, and places of a plane of codes."""

from typing import Any

import torch
from torch import Tensor

from ..data import Dataset
from ..inference.trained import Trained
from ..model import Model
from .runs import open_run

NETWORK: dict[str, Any] = {"net": "conv", "width": 16, "lr": 2e-3}
OPTIONS: dict[str, Any] = {"classes": ("smileys",), "size": 24, "batch_size": 32, "ema_decay": 0.99, "lr_decay": 0.5}


def train_on_smileys(model: Model, steps: int, seed: int) -> tuple[Trained, Dataset, str]:
    """The trained model, what it learnt from, and the command that trains the same."""
    run = open_run(model, "emoji", **OPTIONS, steps=steps, seed=seed)
    for _ in run.steps():
        pass
    assert isinstance(run.data, Dataset)
    return Trained(run.model, run.data.shape, run.state.ema_nets, scaling=run.state.scaling), run.data, run.command


def plane_of_codes(reach: float, side: int) -> Tensor:
    """side^2 x 2 codes, a lattice of the plane from -reach to reach along both axes, row by row from the top left."""
    axis = torch.linspace(-reach, reach, side)
    return torch.stack(torch.meshgrid(axis, axis.flip(0), indexing="xy"), 2).flatten(0, 1)


def picture_colours(x: Tensor) -> Tensor:
    """The mean colour of each of n pictures on white (n x 3 x h x w bytes), n x 3 bytes: white counts nothing."""
    weight = 255 - x.float().amin(1, keepdim=True)
    return ((x * weight).sum((2, 3)) / weight.sum((2, 3)).clamp_min(1)).byte()


def rms_error(a: Tensor, b: Tensor) -> float:
    """Root mean square difference of bytes, in grey levels."""
    return (a.float() - b.float()).square().mean().sqrt().item()
