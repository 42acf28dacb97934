"""Whether left and right may change places in images: in those of icons they may, in those of digits not."""

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from .scaling import premultiply

N_IMAGES, N_OTHERS, SIDE = 500, 2000, 16
MAX_RATIO = 1.1
"""measured: four sets of icons 1.00 to 1.05, game tiles 1.16, Fashion-MNIST 1.18, glyphs 1.35, digits 1.5 and 1.9"""


def has_mirror_images(x: Tensor) -> bool:
    """Whether mirror images of bytes x, n x c x h x w, are as near to other examples as the examples themselves."""
    return len(x) > 1 and mirror_ratio(x) <= MAX_RATIO


def mirror_ratio(x: Tensor) -> float:
    """How much farther from the nearest other example mirror images are: the median over 500 examples.

    Distances are Euclidean, of pixels averaged to 16 x 16 at most; examples that another one equals do not count.
    """
    index = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[:N_OTHERS]
    images = premultiply(x[index]).float()
    h, w = (min(n, SIDE) for n in x.shape[2:])
    images = adaptive_avg_pool2d(images, (h, w))
    first = images[:N_IMAGES]
    own, mirrored = (nearest(part, images) for part in (first, first.flip(3)))
    ratios = (mirrored / own)[own > 0]
    return ratios.median().item() if len(ratios) else 1.0


def nearest(images: Tensor, others: Tensor) -> Tensor:
    """The distance of each image to the nearest of the others but the one in its own place."""
    distances = torch.cdist(images.flatten(1), others.flatten(1))
    return distances.fill_diagonal_(torch.inf).min(1).values
