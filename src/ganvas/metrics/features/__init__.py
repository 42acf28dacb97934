"""Spaces in which metrics compare examples: each has a name, and a digest of its weights that is part of the metric's.

A Frechet distance on one network's features has nothing to do with that on another's: so every number says whose it is.
"""

from pathlib import Path

import torch

from ...data import Scaling
from ...errors import UserError, did_you_mean
from ...model import Shape
from .base import Features
from .efficientnet import LITE0, of_lite0
from .efficientnet import SMALL as LITE0_SMALL
from .inception import INCEPTION, of_inception
from .lenet import FASHION, LENETS, MNIST, of_lenet
from .untrained import OLD, PIXELS, RANDOM, VALUES, of_old, of_pixels, of_random, of_values

SUITS = {
    MNIST: "MNIST", FASHION: "Fashion-MNIST", LITE0.name: "images in colour",
    LITE0_SMALL.name: "images in colour while training on a CPU",
    INCEPTION.name: "images, as published FIDs have them", RANDOM: "images that no other network suits",
    OLD: "comparison with numbers of before", PIXELS: "small images", VALUES: "vectors",
}  # fmt: skip
NAMES = tuple(SUITS)
PUBLISHED = {weights.name: weights for weights in (LITE0, LITE0_SMALL, INCEPTION)}
CPU = torch.device("cpu")
AS_IS = Scaling()
SMALL = (1, 28, 28)
"""shape of the images that the small classifiers know"""


def features_for(
    name: str, shape: Shape, *, data: str = "", device: torch.device = CPU, units: Scaling = AS_IS
) -> Features:
    """The features of this name, for examples of this shape; UserError where they do not go together.

    "auto" is what `chosen` says for the data of this name.  Vectors are compared in `units`.
    """
    if name == "auto":
        name = chosen(shape, data)
    if name not in NAMES:
        raise UserError(f"there are no features {name!r}.{did_you_mean(name, NAMES)} There are: {', '.join(NAMES)}")
    if (name == VALUES) != (len(shape) == 1):
        kind, other = ("vectors", VALUES) if len(shape) == 1 else ("images", f"{RANDOM} or {PIXELS}")
        raise UserError(f"features={name} do not go with {kind}: use {other}")
    if name in LENETS and shape != SMALL:
        size = "x".join(map(str, shape))
        raise UserError(f"features={name} are of grey images of 28 x 28 pixels, and these are {size}: use {RANDOM}")
    match name:
        case LITE0.name | LITE0_SMALL.name:
            return of_lite0(name, device)
        case INCEPTION.name:
            return of_inception(device)
        case _ if name in LENETS:
            return of_lenet(name, device)
        case _ if name == RANDOM:
            return of_random(shape, device)
        case _ if name == OLD:
            return of_old(shape, device)
    return of_pixels(shape) if name == PIXELS else of_values(shape, units)


def chosen(shape: Shape, data: str) -> str:
    """The name of the features that suit data of this name and shape.

    A small classifier only for the data that it has learnt, which their name decides and not their shape: 28 x 28 grey
    pixels need not be digits.  Else EfficientNet-Lite0 for images in colour, where its weights are installed; a
    network with random weights for all other images; and vectors are compared as they are.
    """
    if len(shape) == 1:
        return VALUES
    if shape == SMALL:
        for name, known in LENETS.items():
            if data.replace("_", "-") == known.data:
                return name
    return LITE0.name if shape[0] > 1 and LITE0.found() else RANDOM


def download(name: str) -> Path:
    """Fetch the published weights of these features, and say where they are; UserError where that fails."""
    if name not in PUBLISHED:
        raise UserError(f"there are no weights to download for features {name!r}, only for {INCEPTION.name}")
    return PUBLISHED[name].download()


def where(name: str) -> tuple[bool, str]:
    """Whether the weights of these features are there, and where, or what to do."""
    if name not in PUBLISHED:
        return True, "in the package" if name in LENETS else "need none"
    path = PUBLISHED[name].found()
    return path is not None, str(path) if path else PUBLISHED[name].remedy


__all__ = ["AS_IS", "NAMES", "SUITS", "Features", "chosen", "download", "features_for", "where"]
