"""A classifier whose answers are known."""

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ganvas.data import Dataset, from_array
from ganvas.metrics.features import FeatureSpace


def shades(n: int, seed: int) -> Dataset:
    """Grey images of three classes, whose brightness says which; the third is rare."""
    random = torch.Generator().manual_seed(seed)
    y = torch.tensor([0] * 7 + [1] * 12 + [2]).repeat(n // 20)
    x = (y * 100)[:, None, None, None] + torch.randint(0, 40, (n, 1, 4, 4), generator=random)
    return from_array(x.byte(), y, classes=("dark", "grey", "bright"), name="shades")


def brightness(x: Tensor) -> Tensor:
    return torch.stack([x.float().mean((1, 2, 3)) / 100, x.float().std((1, 2, 3)) / 100], 1)


def verdict(features: Tensor) -> Tensor:
    return one_hot(features[:, 0].long().clamp(0, 2), 3) * 9.0


KNOWS = FeatureSpace("toy", 2, "brightness", brightness, "0" * 8, head=verdict, classes=("dark", "grey", "bright"))
