"""Spaces that nothing was learnt for: random maps, pixels, and the numbers themselves."""

from math import prod

import torch
from torch import Tensor
from torch.nn.functional import conv2d, leaky_relu

from ..data import Scaling
from ..data.scaling import backgrounds, multiplied
from ..errors import UserError
from ..model import Shape
from ..randomness import generator
from .base import Features, digest

RANDOM, PIXELS, VALUES = "random-conv-v1", "pixels", "values"
MOST = 12_288
"""numbers an example that are compared one by one, at most"""


def of_random(shape: Shape, device: torch.device) -> Features:
    """Means and deviations of the maps of a convolutional network with random weights, the same for everyone.

    For data that no trained network suits, as in Naeem et al., arXiv:2002.09797.
    """
    random, weights = generator(torch.device("cpu"), 0, RANDOM), []
    for a, b in ((shape[0], 32), (32, 64), (64, 128)):
        weights.append(torch.randn(b, a, 3, 3, generator=random) * (2 / (a * 9)) ** 0.5)
    there = [weight.to(device) for weight in weights]

    def maps(x: Tensor) -> Tensor:
        x, found = multiplied(x) / 127.5 - 1, []
        for weight in there:
            x = leaky_relu(conv2d(x, weight, stride=2, padding=1), 0.2)
            each = x.flatten(2)
            mean = each.mean(2)
            found += [mean, (each - mean[:, :, None]).square().mean(2).sqrt()]  # torch.var takes longer than all else
        return torch.cat(found, 1)

    alpha = ", colours times alpha" if shape[0] == 4 else ""
    said = f"pixels / 127.5 - 1{alpha}, mean and deviation of the 224 maps of three random convolutions"
    name = digest({f"{i}.0.weight": w for i, w in enumerate(weights)})
    return Features(RANDOM, 448, said, maps, name, device=device)


def of_pixels(shape: Shape) -> Features:
    """All pixels, of images with alpha on black and on white; UserError where they are too many."""
    size = prod(shape) * 6 // 4 if shape[0] == 4 else prod(shape)
    if size > MOST:
        raise UserError(f"features=pixels: images of {size} numbers are too large to compare so: use {RANDOM}")
    said = "all pixels / 255" + (", on black and on white" if shape[0] == 4 else "")
    return Features(PIXELS, size, said, lambda x: backgrounds(x).flatten(1).float() / 255)


def of_values(shape: Shape, units: Scaling) -> Features:
    """Vectors in these units."""
    said = (
        "the numbers themselves" if units.mean is None else "numbers in deviations of each column of the real examples"
    )
    return Features(VALUES, prod(shape), said, lambda x: units(x.flatten(1).float()))
