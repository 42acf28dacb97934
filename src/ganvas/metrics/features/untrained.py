"""Spaces that nothing was learnt for: random maps, pixels, and the numbers themselves."""

from math import prod

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d, conv2d, leaky_relu, pad

from ...data import Scaling
from ...data.scaling import backgrounds, multiplied
from ...errors import UserError
from ...model import Shape
from ...randomness import generator
from .base import Features, digest

RANDOM, PIXELS, VALUES = "random-conv-v2", "pixels", "values"
OLD = "random-conv-v1"
"""what runs of before were measured on: means and deviations over whole images, which hardly see speckle"""
MOST = 12_288
"""numbers an example that are compared one by one, at most"""
MAPS, SCALES = 16, 3
"""random filters at each scale, and scales, each half as large as the one before"""
HALF = 0.06
"""what a filter of norm 1 answers to pixels in [-1, 1] where its response is a half: eight of 255 grey levels"""
CONTRAST = 0.5
"""weight of means and deviations of answers, which see blur, beside that of responses, which see noise"""
CELLS = 4
"""cells a side over which pixels are averaged"""


def of_random(shape: Shape, device: torch.device) -> Features:
    """Responses of random filters at three scales, the same for everyone, and means of pixels over a grid of cells.

    For data that no trained network suits, as in Naeem et al., arXiv:2002.09797.  Filters have mean 0 and norm 1; the
    response to an answer a is a^2 / (a^2 + HALF^2), and says how much of an image has something at this scale, rather
    than how much contrast it has: noise, which covers an image, counts for more than edges, which are few, and what
    rounding makes for nothing, so that copies are found all the same.  At each scale there are responses, averaged
    over quarters of the image, those of further filters to these, averaged over all of it, and mean and deviation of
    |a|.
    """
    random = generator(torch.device("cpu"), 0, RANDOM)
    weights = {}
    for i in range(SCALES):
        for name, n in ((f"{i}.0.weight", shape[0]), (f"{i}.1.weight", MAPS)):
            w = torch.randn(MAPS, n, 3, 3, generator=random)
            w = w - w.mean((2, 3), keepdim=True)
            weights[name] = w / w.square().sum((1, 2, 3), keepdim=True).sqrt()
    there = {name: w.to(device) for name, w in weights.items()}

    def maps(x: Tensor) -> Tensor:
        x = multiplied(x) / 127.5 - 1
        found = [adaptive_avg_pool2d(x, CELLS)]
        for i in range(SCALES):
            answer = answers(x, there[f"{i}.0.weight"])
            fine = response(answer)
            coarse = answers(avg_pool2d(fine, 2, ceil_mode=True), there[f"{i}.1.weight"])
            means = [v.mean((2, 3)) for v in (response(coarse), answer, answer.square())]
            deviation = (means[2] - means[1].square()).clamp_min(0).sqrt()
            found += [adaptive_avg_pool2d(fine, 2), means[0], CONTRAST * means[1], CONTRAST * deviation]
            x = avg_pool2d(x, 2, ceil_mode=True)
        return torch.cat([part.flatten(1) for part in found], 1)

    size = shape[0] * CELLS**2 + SCALES * 7 * MAPS
    alpha = ", colours times alpha" if shape[0] == 4 else ""
    said = f"pixels / 127.5 - 1{alpha}, 48 random filters at three scales and their filtered responses"
    return Features(RANDOM, size, said, maps, digest(weights), device=device)


def answers(x: Tensor, weight: Tensor) -> Tensor:
    """|a| of filters, in maps as large as x."""
    return conv2d(pad(x, (1, 1, 1, 1), mode="replicate"), weight).abs()


def response(answer: Tensor) -> Tensor:
    """a^2 / (a^2 + HALF^2)."""
    square = answer.square()
    return square / (square + HALF**2)


def of_old(shape: Shape, device: torch.device) -> Features:
    """Means and deviations of the maps of a convolutional network with random weights, the same for everyone."""
    random, weights = generator(torch.device("cpu"), 0, OLD), []
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
    return Features(OLD, 448, said, maps, name, device=device)


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
