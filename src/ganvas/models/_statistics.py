"""How samples look beside real examples, in plain numbers: what the log keeps for the training doctor.

Pixels are in [-1, 1] here, and what is transparent is seen on white: a colour that nobody sees is no difference.
"""

from collections.abc import Callable
from math import sqrt

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d, pdist

POOLS: dict[int, Callable[..., Tensor]] = {
    3: adaptive_avg_pool1d, 4: adaptive_avg_pool2d, 5: adaptive_avg_pool3d
}  # fmt: skip
"""means over cells, by the axes of signals, images and volumes"""
GRID_SIZES = (8, 4)
"""cells a side of the grids on whose means images are compared as well, so that noise does not pass for variety"""
MIN_CONTRAST = 1e-10
"""contrast of pixels in [-1, 1] that is but rounding: a single grey level in a thousand pixels has more"""
MIN_GRID_DIVERSITY = 0.5
"""how diverse real images have to be on a grid, as a share of how diverse their pixels are, for the grid to count"""


def sample_statistics(samples: Float[Tensor, "n *shape"], *real: Tensor) -> dict[str, Tensor]:
    """`diversity` of samples beside real examples, and of images `detail` and `detail_real`.

    Translations stand beside the examples of their domain and their inputs: they cannot differ more than these do, and
    may be as detailed as either.  Where all real examples of a set are alike there is no diversity.
    """
    statistics = {"diversity": diversity(samples, *real)}
    if samples.ndim == 4:
        statistics["detail"] = detail(samples, real[0])
        statistics["detail_real"] = torch.stack([detail(x, x).nan_to_num(0) for x in real]).amax()
    return {name: value for name, value in statistics.items() if not value.isnan()}


def diversity(samples: Float[Tensor, "n *shape"], *real: Tensor) -> Float[Tensor, ""]:
    """The mean distance of two samples, as a share of that of two `real` examples; not a number where these are alike.

    Except for vectors, that is the least of the shares by pixels and by means over cells of grids, where real images
    differ on these: images that are the same but for noise differ by pixels only.  Signals and volumes are like images.
    Of several sets of real examples the less diverse one counts.  Distances are root mean squares over an example's
    numbers: sets may differ in shape.
    """
    sample_distances, real_distances = mean_distances(samples), torch.stack([mean_distances(x) for x in real]).amin(0)
    shares = sample_distances / real_distances
    lowest: Tensor = shares[real_distances >= MIN_GRID_DIVERSITY * real_distances[0]].amin()
    return torch.where(real_distances[0] > 0, lowest, torch.nan)


def mean_distances(x: Float[Tensor, "n *shape"]) -> Float[Tensor, " scales"]:
    """The mean distance of two examples, by all numbers and, except for vectors, by means over cells of each grid."""
    scales = [x]
    if x.ndim > 2:
        x = composite_on_white(x)
        scales = [x, *(POOLS[x.ndim](x, [min(n, m) for m in x.shape[2:]]) for n in GRID_SIZES)]
    return torch.stack([pdist(v.flatten(1)).mean() / sqrt(v[0].numel()) for v in scales])


def detail(samples: Float[Tensor, "n c h w"], real: Float[Tensor, "n c2 h2 w2"]) -> Float[Tensor, ""]:
    """Energy of the finest structures of images, as a share of the contrast of real ones; not a number where that is 0.

    The finest is the diagonal detail of Haar's wavelets at their first level, (a - b - c + d) / 2 of four pixels, which
    edges along rows and columns do not have; contrast is the variance of the pixels of an image.  White noise has 1.
    """
    x, real = composite_on_white(samples), composite_on_white(real)
    contrast = (real - real.mean((2, 3), keepdim=True)).square().mean()
    differences = x[..., 1:] - x[..., :-1]
    share = ((differences[..., 1:, :] - differences[..., :-1, :]) / 2).square().mean() / contrast
    return torch.where(contrast > MIN_CONTRAST, share, torch.nan)


def chroma(x: Float[Tensor, "n c h w"]) -> Float[Tensor, ""]:
    """How colourful images are, from 0, grey, to 1: the mean over pixels of the largest less the smallest channel."""
    least, most = composite_on_white(x).aminmax(dim=1)
    return (most - least).mean() / 2


def composite_on_white(x: Float[Tensor, "n c *size"]) -> Float[Tensor, "n c2 *size"]:
    """Images as they are seen: those with an alpha channel, by which their colours are multiplied already, on white."""
    return torch.minimum(x[:, :3], x[:, 3:]) + 1 - x[:, 3:] if x.ndim == 4 and x.shape[1] == 4 else x
