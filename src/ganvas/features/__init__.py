"""Spaces in which metrics compare examples: each has a name, and a digest of its weights that is part of the metric's.

A Frechet distance on one network's features has nothing to do with that on another's: so every number says whose it is.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from math import prod

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import conv2d, leaky_relu

from ..errors import UserError, did_you_mean
from ..model import Shape
from ..randomness import generator

RANDOM, PIXELS, VALUES = "random-conv-v1", "pixels", "values"
NAMES = (RANDOM, PIXELS, VALUES)
BLOCK = 500
"""examples that go through a network at once"""
MOST = 12_288
"""numbers an example that are compared one by one, at most"""


@dataclass(frozen=True)
class Features:
    """A function of examples, and what has to be said of it beside each number taken on it."""

    name: str
    size: int
    """numbers an example"""
    protocol: str
    """what is done to examples, in a clause"""
    function: Callable[[Tensor], Tensor]
    """of a block of examples of a collection: bytes b x c x h x w, or vectors b x d"""
    digest: str = ""
    """the first eight hexadecimal digits of the SHA-256 of its weights"""

    @property
    def tag(self) -> str:
        """Name and digest, as in "random-conv-v1@0123abcd"."""
        return f"{self.name}@{self.digest}" if self.digest else self.name

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Float[Tensor, "n size"]:
        """The features of n examples."""
        return torch.cat([self.function(part) for part in x.split(BLOCK)])


def features_for(name: str, shape: Shape) -> Features:
    """The features of this name, for examples of this shape; UserError where they do not go together.

    "auto" is random-conv-v1 for images, and values for vectors.
    """
    if name == "auto":
        name = VALUES if len(shape) == 1 else RANDOM
    if name not in NAMES:
        raise UserError(f"there are no features {name!r}.{did_you_mean(name, NAMES)} There are: {', '.join(NAMES)}")
    if (name == VALUES) != (len(shape) == 1):
        kind, other = ("vectors", VALUES) if len(shape) == 1 else ("images", f"{RANDOM} or {PIXELS}")
        raise UserError(f"features={name} do not go with {kind}: use {other}")
    if name == RANDOM:
        return of_random(shape)
    size = prod(shape)
    if name == PIXELS and size > MOST:
        raise UserError(f"features=pixels: images of {size} numbers are too large to compare so: use {RANDOM}")
    unit = 255 if name == PIXELS else 1
    said = "all pixels / 255" if name == PIXELS else "the numbers themselves"
    return Features(name, size, said, lambda x: x.flatten(1).float() / unit)


def of_random(shape: Shape) -> Features:
    """Means and deviations of the maps of a convolutional network with random weights, the same for everyone.

    For data that no trained network suits, as in Naeem et al., arXiv:2002.09797.
    """
    random, weights = generator(torch.device("cpu"), 0, RANDOM), []
    for a, b in ((shape[0], 32), (32, 64), (64, 128)):
        weights.append(torch.randn(b, a, 3, 3, generator=random) * (2 / (a * 9)) ** 0.5)

    def maps(x: Tensor) -> Tensor:
        x, found = x / 127.5 - 1, []
        for weight in weights:
            x = leaky_relu(conv2d(x, weight, stride=2, padding=1), 0.2)
            found += [x.mean((2, 3)), x.var((2, 3), correction=0).sqrt()]
        return torch.cat(found, 1)

    said = "pixels / 127.5 - 1, mean and deviation of the 224 maps of three random convolutions"
    return Features(RANDOM, 448, said, maps, digest({f"{i}.0.weight": w for i, w in enumerate(weights)}))


def digest(weights: dict[str, Tensor]) -> str:
    """The first eight hexadecimal digits of the SHA-256 of weights: names, shapes and float32 numbers."""
    found = sha256()
    for name, weight in weights.items():
        found.update(json.dumps([name, list(weight.shape)]).encode())
        found.update(weight.float().numpy().tobytes())
    return found.hexdigest()[:8]
