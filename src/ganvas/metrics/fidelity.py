"""How near reconstructions are to their examples."""

from math import inf, log10

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import conv2d


def psnr(x: Float[Tensor, "n *shape"], y: Float[Tensor, "n *shape"], span: float = 1.0) -> Float[Tensor, " n"]:
    """Peak signal-to-noise ratio of each pair, 10 log10(span^2 / mean square error), in decibels; infinite if equal."""
    error = (x - y).square().flatten(1).mean(1)
    return torch.tensor([10 * log10(span**2 / e) if e else inf for e in error.tolist()])


def ssim(x: Float[Tensor, "n c h w"], y: Float[Tensor, "n c h w"], span: float = 1.0) -> Float[Tensor, " n"]:
    """Structural similarity of each pair, mean over channels and positions: 1 if equal.

    Gaussian window of 11 x 11 with sigma 1.5, smaller where the image is, at positions where it fits whole;
    K1 = 0.01, K2 = 0.03, for pixel values that span `span`.
    Source: Wang et al., Image Quality Assessment, IEEE TIP 13 (2004), equation 13.
    """
    h, w = (window(min(11, side), x.dtype) for side in x.shape[2:])
    kernel = (h[:, None] * w[None])[None, None].to(x.device)

    def local(t: Tensor) -> Tensor:
        return conv2d(t.flatten(0, 1)[:, None], kernel)

    mean_x, mean_y = local(x), local(y)
    var_x, var_y = local(x * x) - mean_x**2, local(y * y) - mean_y**2
    covariance = local(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    similarity = similarity / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    return similarity.view(len(x), -1).mean(1)


def window(side: int, dtype: torch.dtype, sigma: float = 1.5) -> Float[Tensor, " side"]:
    """A Gaussian that sums to 1."""
    at = torch.arange(side, dtype=dtype) - (side - 1) / 2
    weights = (-at.square() / (2 * sigma**2)).exp()
    return weights / weights.sum()
