"""Small collections that benchmarks draw: circles, squares, textures, sprites and noisy landscapes, in four classes."""

from collections.abc import Callable

import ganvas  # noqa: F401  first: it sets how torch's threads wait

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ganvas.data import Dataset
from ganvas.randomness import make_generator

SIDE = 16
Drawing = Callable[[int, torch.Generator], tuple[Tensor, Tensor]]
"""n images in [0, 1], n x c x SIDE x SIDE, and which of four classes they are of"""


def rings(n: int, random: torch.Generator, corners: bool = False) -> tuple[Tensor, Tensor]:
    """Filled circles, or squares, of random place and size; the class is the quarter that they lie in."""
    middle = torch.rand(n, 2, generator=random) * 8 + 4
    size = torch.rand(n, generator=random) * 2.5 + 2
    at = torch.arange(SIDE)
    dy, dx = (at[:, None] - middle[:, 0, None, None]).abs(), (at[None] - middle[:, 1, None, None]).abs()
    far = torch.maximum(dy, dx) / 0.886 if corners else (dy.square() + dx.square()).sqrt()
    x = (size[:, None, None] - far + 0.5).clamp(0, 1)
    return (0.7 * x if corners else x)[:, None], (middle > 8).long() @ torch.tensor([2, 1])


def textures(n: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Colour noise of every pixel over stripes of one of four directions."""
    kind = torch.randint(4, (n,), generator=random)
    angle, phase = kind * torch.pi / 4, torch.rand(n, generator=random) * 2 * torch.pi
    at = torch.arange(SIDE)
    along = at[:, None] * angle.sin()[:, None, None] + at[None] * angle.cos()[:, None, None]
    stripes = (along * 1.2 + phase[:, None, None]).sin()[:, None] * torch.rand(n, 3, 1, 1, generator=random)
    return (0.5 + 0.2 * stripes + 0.15 * torch.randn(n, 3, SIDE, SIDE, generator=random)).clamp(0, 1), kind


def sprites(n: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Pixel art: creatures that are the same left and right, of double and single pixels, in one of four palettes."""
    kind = torch.randint(4, (n,), generator=random)
    palettes = torch.rand(4, 3, 3, generator=torch.Generator().manual_seed(5))
    half = torch.randint(3, (n, SIDE // 2, SIDE // 4), generator=random).repeat_interleave(2, 1).repeat_interleave(2, 2)
    fine = torch.randint(3, (n, SIDE, SIDE // 2), generator=random)
    half = torch.where(torch.rand(n, SIDE, SIDE // 2, generator=random) < 0.2, fine, half)
    return palettes[kind[:, None, None], torch.cat([half, half.flip(2)], 2)].movedim(3, 1), kind


def landscapes(n: int, random: torch.Generator, noise: float = 0.06) -> tuple[Tensor, Tensor]:
    """As photographs: soft forms in colour, in one of four lights, with the noise of a sensor."""
    kind = torch.randint(4, (n,), generator=random)
    soft = interpolate(torch.rand(n, 3, 4, 4, generator=random), (SIDE, SIDE), mode="bicubic", align_corners=False)
    light = torch.linspace(0.2, 0.8, SIDE) * torch.ones(SIDE, 1)
    light = torch.stack([light, light.T, light.flip(1), light.T.flip(0)])[kind, None]
    return (0.5 * soft + 0.5 * light + noise * torch.randn(n, 3, SIDE, SIDE, generator=random)).clamp(0, 1), kind


DRAWINGS: dict[str, Drawing] = {
    "circles": rings, "squares": lambda n, random: rings(n, random, True), "textures": textures, "sprites": sprites,
    "landscapes": landscapes,
}  # fmt: skip


def draw(name: str, n: int, split: str = "train") -> Dataset:
    """n images of the drawing of this name, as bytes; those of each split are others."""
    x, labels = DRAWINGS[name](n, make_generator(torch.device("cpu"), 0, name, split))
    classes = tuple(f"{name} {i}" for i in range(4))
    return Dataset(x=(255 * x).round().to(torch.uint8), labels=labels, classes=classes, name=name)
