"""Spaces in which metrics compare examples: each has a name, and a digest of its weights that is part of the metric's.

A Frechet distance on one network's features has nothing to do with that on another's: so every number says whose it is.
"""

from pathlib import Path

import torch

from ...data import Scaling
from ...errors import UserError, did_you_mean
from ...model import Shape
from . import untrained
from .base import FeatureSpace as FeatureSpace
from .efficientnet import LITE0, LITE0_32, lite0_features
from .inception import INCEPTION, inception_features
from .lenet import FASHION, LENETS, MNIST, lenet_features
from .untrained import PIXELS, RANDOM, RANDOM_V1, VALUES

RECOMMENDED_FOR = {
    MNIST: "MNIST", FASHION: "Fashion-MNIST", LITE0.name: "images in colour",
    LITE0_32.name: "images in colour while training on a CPU",
    INCEPTION.name: "images, as published FIDs have them", RANDOM: "images that no other network suits",
    RANDOM_V1: "comparison with numbers of before", PIXELS: "small images", VALUES: "vectors",
}  # fmt: skip
FEATURE_NAMES = tuple(RECOMMENDED_FOR)
PUBLISHED_WEIGHTS = {weights.name: weights for weights in (LITE0, LITE0_32, INCEPTION)}
CPU = torch.device("cpu")
CLASSIFIER_SHAPE = (1, 28, 28)
"""shape of the images that the small classifiers know"""


def make_feature_space(
    name: str, shape: Shape, *, data_name: str = "", device: torch.device = CPU, scaling: Scaling | None = None
) -> FeatureSpace:
    """The features of this name, for examples of this shape; UserError where they do not go together.

    "auto" are the `default_features` of the data of this name.  Vectors are compared in the units of `scaling`, if any.
    """
    if name == "auto":
        name = default_features(shape, data_name)
    if name not in FEATURE_NAMES:
        hint = did_you_mean(name, FEATURE_NAMES)
        raise UserError(f"there are no features {name!r}.{hint} There are: {', '.join(FEATURE_NAMES)}")
    if (name == VALUES) != (len(shape) == 1):
        kind, alternative = ("vectors", VALUES) if len(shape) == 1 else ("images", f"{RANDOM} or {PIXELS}")
        raise UserError(f"features={name} do not go with {kind}: use {alternative}")
    if name in LENETS and shape != CLASSIFIER_SHAPE:
        size = "x".join(map(str, shape))
        raise UserError(f"features={name} are of grey images of 28 x 28 pixels, and these are {size}: use {RANDOM}")
    if name in LENETS:
        return lenet_features(name, device)
    if name == INCEPTION.name:
        return inception_features(device)
    if name in PUBLISHED_WEIGHTS:
        return lite0_features(name, device)
    if name in (RANDOM, RANDOM_V1):
        return (untrained.random_features if name == RANDOM else untrained.random_v1_features)(shape, device)
    return untrained.pixel_features(shape) if name == PIXELS else untrained.value_features(shape, scaling or Scaling())


def default_features(shape: Shape, data_name: str) -> str:
    """The name of the features that suit data of this name and shape.

    A small classifier only for the data that it was trained on, by name: 28 x 28 grey pixels need not be digits.  Else
    EfficientNet-Lite0 for images in colour, where its weights are installed; random filters for others; or vectors.
    """
    if len(shape) == 1:
        return VALUES
    if shape == CLASSIFIER_SHAPE:
        for name, (data, *_) in LENETS.items():
            if data_name.replace("_", "-") == data:
                return name
    return LITE0.name if shape[0] > 1 and LITE0.find() else RANDOM


def download_weights(name: str) -> Path:
    """Fetch the published weights of these features, and say where they are; UserError where that fails."""
    if name not in PUBLISHED_WEIGHTS:
        raise UserError(f"there are no weights to download for features {name!r}, only for {INCEPTION.name}")
    return PUBLISHED_WEIGHTS[name].download()


def find_weights(name: str) -> tuple[bool, str]:
    """Whether the weights of these features are there, and where, or what to do."""
    if name not in PUBLISHED_WEIGHTS:
        return True, "in the package" if name in LENETS else "need none"
    path = PUBLISHED_WEIGHTS[name].find()
    return path is not None, str(path) if path else PUBLISHED_WEIGHTS[name].remedy
