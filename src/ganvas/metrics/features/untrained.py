"""Spaces without training: random maps, pixels, and the numbers themselves."""

from itertools import product
from math import prod

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d, conv2d, leaky_relu, pad

from ...data import Scaling
from ...data.scaling import composite_backgrounds, premultiply
from ...errors import UserError
from ...model import Shape
from ...randomness import make_generator
from .base import FeatureSpace, weights_digest

RANDOM, PIXELS, VALUES = "random-conv-v2", "pixels", "values"
RANDOM_V1 = "random-conv-v1"
"""what runs of before were measured on: means and deviations over whole images, which hardly see speckle"""
MAX_PIXEL_FEATURES = 12_288
"""numbers an example that are compared one by one, at most"""
N_FILTERS, N_SCALES = 16, 3
"""random filters at each scale, and scales, each half as large as the one before"""
HALF_RESPONSE = 0.06
"""the output of a filter of norm 1, on pixels in [-1, 1], whose response is a half: eight of 255 grey levels"""
MAGNITUDE_WEIGHT = 0.5
"""weight of means and deviations of outputs, which see blur, beside that of responses, which see noise"""
GRID_CELLS = 4
"""cells a side over which pixels are averaged"""


def random_features(shape: Shape, device: torch.device) -> FeatureSpace:
    """Responses of random filters at three scales, the same for everyone, and means of pixels over a grid of cells.

    For data that no trained network suits, as in Naeem et al., arXiv:2002.09797.  Filters have mean 0 and norm 1.  The
    response to an output a is a^2 / (a^2 + HALF_RESPONSE^2): how much of an image has something at this scale, rather
    than how much contrast it has.  Noise, which covers an image, counts for more than edges, which are few, and
    rounding counts for nothing, so that copies are still recognised.  At each scale: responses averaged over quarters
    of the image, those of further filters to these averaged over all of it, and mean and deviation of |a|.
    """
    random, weights = make_generator(torch.device("cpu"), 0, RANDOM), {}
    for i, j in product(range(N_SCALES), (0, 1)):
        w = torch.randn(N_FILTERS, N_FILTERS if j else shape[0], 3, 3, generator=random).double()
        w = w - w.mean((2, 3), keepdim=True)
        norm = w.square().sum((1, 2, 3), keepdim=True).sqrt()  # whose last bits differ from processor to processor
        weights[f"{i}.{j}.weight"] = (w / norm).float()
    filters = {name: w.to(device) for name, w in weights.items()}

    def maps(x: Tensor) -> Tensor:
        x = premultiply(x) / 127.5 - 1
        parts = [adaptive_avg_pool2d(x, GRID_CELLS)]
        for i in range(N_SCALES):
            magnitude, fine = filter_responses(x, filters[f"{i}.0.weight"])
            _, coarse = filter_responses(avg_pool2d(fine, 2, ceil_mode=True), filters[f"{i}.1.weight"])
            means = [v.mean((2, 3)) for v in (coarse, magnitude, magnitude.square())]
            deviation = (means[2] - means[1].square()).clamp_min(0).sqrt()
            parts += [adaptive_avg_pool2d(fine, 2), means[0], MAGNITUDE_WEIGHT * means[1], MAGNITUDE_WEIGHT * deviation]
            x = avg_pool2d(x, 2, ceil_mode=True)
        return torch.cat([part.flatten(1) for part in parts], 1)

    size = shape[0] * GRID_CELLS**2 + N_SCALES * 7 * N_FILTERS
    protocol = f"{pixel_protocol(shape)}, 48 random filters at three scales and their filtered responses"
    return FeatureSpace(RANDOM, size, protocol, maps, weights_digest(weights), device=device)


def filter_responses(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """|a| of filters and a^2 / (a^2 + HALF_RESPONSE^2), in maps as large as x."""
    magnitude = conv2d(pad(x, (1, 1, 1, 1), mode="replicate"), weight).abs()
    square = magnitude.square()
    return magnitude, square / (square + HALF_RESPONSE**2)


def pixel_protocol(shape: Shape) -> str:
    """The preprocessing of images of this shape for random filters, in a clause."""
    return "pixels / 127.5 - 1" + (", colours times alpha" if shape[0] == 4 else "")


def random_v1_features(shape: Shape, device: torch.device) -> FeatureSpace:
    """Means and deviations of the maps of a convolutional network with random weights, the same for everyone."""
    random, weights = make_generator(torch.device("cpu"), 0, RANDOM_V1), {}
    for i, (a, b) in enumerate(((shape[0], 32), (32, 64), (64, 128))):
        weights[f"{i}.0.weight"] = torch.randn(b, a, 3, 3, generator=random) * (2 / (a * 9)) ** 0.5
    filters = [weight.to(device) for weight in weights.values()]

    def maps(x: Tensor) -> Tensor:
        x, parts = premultiply(x) / 127.5 - 1, []
        for weight in filters:
            x = leaky_relu(conv2d(x, weight, stride=2, padding=1), 0.2)
            flat = x.flatten(2)
            mean = flat.mean(2)
            parts += [mean, (flat - mean[:, :, None]).square().mean(2).sqrt()]  # torch.var takes longer than all else
        return torch.cat(parts, 1)

    protocol = f"{pixel_protocol(shape)}, mean and deviation of the 224 maps of three random convolutions"
    return FeatureSpace(RANDOM_V1, 448, protocol, maps, weights_digest(weights), device=device)


def pixel_features(shape: Shape) -> FeatureSpace:
    """All pixels, of images with alpha on black and on white; UserError where they are too many."""
    size = prod(shape) * 6 // 4 if shape[0] == 4 else prod(shape)
    if size > MAX_PIXEL_FEATURES:
        raise UserError(f"features=pixels: images of {size} numbers are too large to compare so: use {RANDOM}")
    protocol = "all pixels / 255" + (", on black and on white" if shape[0] == 4 else "")
    return FeatureSpace(PIXELS, size, protocol, lambda x: composite_backgrounds(x).flatten(1).float() / 255)


def value_features(shape: Shape, scaling: Scaling) -> FeatureSpace:
    """Vectors in these units."""
    units = "numbers in deviations of each column of the real examples"
    protocol = "the numbers themselves" if scaling.mean is None else units
    return FeatureSpace(VALUES, prod(shape), protocol, lambda x: scaling(x.flatten(1).float()))
