"""How much alike images are: PSNR and SSIM of pairs, and MS-SSIM of pairs of samples as a metric of their variety."""

from math import inf, log10

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d

from ..data.scaling import composite_backgrounds
from ..randomness import make_generator
from .metric import Comparison, Entries, Score, metric

N_PAIRS = 1000
"""pairs of examples, at most"""
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""weights of the scales of MS-SSIM, the finest first"""


def psnr(x: Float[Tensor, "n *shape"], y: Float[Tensor, "n *shape"], data_range: float = 1.0) -> Float[Tensor, " n"]:
    """Peak signal-to-noise ratio, 10 log10(data_range^2 / mean square error), in decibels; infinite if equal."""
    error = (x - y).square().flatten(1).mean(1)
    return torch.tensor([10 * log10(data_range**2 / e) if e else inf for e in error.tolist()])


def ssim(x: Float[Tensor, "n c h w"], y: Float[Tensor, "n c h w"], data_range: float = 1.0) -> Float[Tensor, " n"]:
    """Structural similarity of each pair, mean over channels and positions: 1 if equal.

    Gaussian window of 11 x 11 with sigma 1.5, smaller where the image is, at positions where it fits whole;
    K1 = 0.01, K2 = 0.03, for pixel values that span `data_range`.
    Source: Wang et al., Image Quality Assessment, IEEE TIP 13 (2004), equation 13.
    """
    luminance, structure = ssim_terms(x, y, data_range)
    return (luminance * structure).view(len(x), -1).mean(1)


def ssim_terms(x: Tensor, y: Tensor, data_range: float) -> tuple[Tensor, Tensor]:
    """The two factors of SSIM at each position of each channel: luminance, and contrast with structure."""
    h, w = (gaussian_window(min(11, side), x.dtype) for side in x.shape[2:])
    kernel = (h[:, None] * w[None])[None, None].to(x.device)

    def local(t: Tensor) -> Tensor:
        return conv2d(t.flatten(0, 1)[:, None], kernel)

    mean_x, mean_y = local(x), local(y)
    var_x, var_y = local(x * x) - mean_x**2, local(y * y) - mean_y**2
    covariance = local(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return luminance, (2 * covariance + c2) / (var_x + var_y + c2)


def gaussian_window(side: int, dtype: torch.dtype, sigma: float = 1.5) -> Float[Tensor, " side"]:
    """A Gaussian that sums to 1."""
    positions = torch.arange(side, dtype=dtype) - (side - 1) / 2
    weights = (-positions.square() / (2 * sigma**2)).exp()
    return weights / weights.sum()


def n_scales(shape: tuple[int, ...]) -> int:
    """For how many of the five scales an image of this shape has room: each half as large, the window 11 x 11."""
    return max(1, min(len(SCALE_WEIGHTS), (min(shape[1:]) // 11).bit_length()))


def ms_ssim(x: Float[Tensor, "n c h w"], y: Float[Tensor, "n c h w"], data_range: float = 1.0) -> Float[Tensor, " n"]:
    """Multi-scale structural similarity of each pair: 1 if equal.

    Wang et al., Multiscale Structural Similarity for Image Quality Assessment, 2003, equation 7: contrast and structure
    at each scale, luminance at the coarsest.  Small images have fewer scales, with weights that still sum to 1;
    similarities below 0 count as 0.
    """
    count = n_scales(tuple(x.shape[1:]))
    weights = [w / sum(SCALE_WEIGHTS[:count]) for w in SCALE_WEIGHTS[:count]]
    product = torch.ones(len(x), dtype=x.dtype, device=x.device)
    for i, weight in enumerate(weights):
        x, y = (avg_pool2d(t, 2) for t in (x, y)) if i else (x, y)
        luminance, structure = ssim_terms(x, y, data_range)
        term = luminance * structure if i == count - 1 else structure
        product = product * term.view(len(x), -1).mean(1).clamp_min(0) ** weight
    return product


@metric("ms-ssim", {}, needs="images", on_features=False, rank=9)
def compute(c: Comparison) -> Entries:
    """Mean MS-SSIM of pairs of different samples: higher than that of real pairs where they are too much alike."""
    x, generator = c.fake.data.x, make_generator(torch.device("cpu"), c.seed, "pairs")
    first = torch.randint(len(x), (min(N_PAIRS, len(x)),), generator=generator)
    second = (first + torch.randint(1, len(x), first.shape, generator=generator)) % len(x)  # never itself
    a, b = (composite_backgrounds(x[index]).float() / 255 for index in (first, second))
    return iter([("ms_ssim", Score(ms_ssim(a, b).mean().item())), ("ms_ssim_scales", n_scales(c.fake.data.shape))])
