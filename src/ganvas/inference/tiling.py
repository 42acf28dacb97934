"""Images of any size, grey, colour or with alpha, through a translator that was trained on one size.

Pixels are floats in [0, 1], n x c x h x w with 1, 3 or 4 channels.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from ..model import Shape

LIMIT = 2**20
"""pixels of an image above which it is translated in tiles"""
TILE, OVERLAP = 512, 64
"""side of a tile, and what neighbours have in common, in pixels"""
LUMA = (0.299, 0.587, 0.114)
Images = Float[Tensor, "n c h w"]
Others = Float[Tensor, "n c2 h2 w2"]
Function = Callable[[Tensor], Tensor]


def translated(function: Function, x: Images, home: Shape, away: Shape, fixed: bool) -> Others:
    """What a translator from domain `home` to domain `away` makes of images.

    `function` takes and returns pixels in [0, 1] with the domains' channels; where it is `fixed`, only of the domain's
    size, so images are resized to that and back.  Colours of transparent pixels are laid on white, as in training; if
    domain `away` has no alpha, the image keeps its own.
    """
    alpha = x[:, 3:] if x.shape[1] == 4 and away[0] != 4 else None
    x = with_channels(x, home[0])
    h, w = (max(1, round(n * b / a)) for n, a, b in zip(x.shape[2:], home[1:], away[1:], strict=True))
    if fixed:
        made = resized(function(resized(x, home[1:])), (h, w))
    elif x.shape[2] * x.shape[3] > LIMIT:
        made = in_tiles(function, x, (h, w))
    else:
        made = function(x)
    made = made.clamp(0, 1)
    return made if alpha is None else torch.cat([with_channels(made, 3), resized(alpha, (h, w))], 1)


def in_tiles(function: Function, x: Images, size: tuple[int, int], tile: int = TILE, overlap: int = OVERLAP) -> Others:
    """The function of overlapping tiles, put together to images of `size` = (height, width).

    Where tiles overlap, each counts the less the nearer its own edge is, so that no seam shows.
    """
    scale = [b / a for a, b in zip(x.shape[2:], size, strict=True)]
    total = weights = torch.zeros(())
    for top, bottom in spans(x.shape[2], tile, overlap):
        for left, right in spans(x.shape[3], tile, overlap):
            place = [round(n * s) for n, s in zip((top, left, bottom, right), [*scale, *scale], strict=True)]
            made = resized(function(x[:, :, top:bottom, left:right]), (place[2] - place[0], place[3] - place[1]))
            if weights.ndim == 0:
                total, weights = made.new_zeros(len(x), made.shape[1], *size), made.new_zeros(size)
            weight = ramp(made.shape[2], overlap, made)[:, None] * ramp(made.shape[3], overlap, made)
            area = (..., slice(place[0], place[2]), slice(place[1], place[3]))
            total[area] += made * weight
            weights[area] += weight
    return total / weights


def spans(n: int, tile: int, overlap: int) -> list[tuple[int, int]]:
    """Where tiles begin and end along an axis of n pixels: all of one length, evenly spread."""
    if n <= tile:
        return [(0, n)]
    count = -(-(n - overlap) // (tile - overlap))
    starts = [round(i * (n - tile) / (count - 1)) for i in range(count)]
    return [(start, start + tile) for start in starts]


def ramp(n: int, overlap: int, like: Tensor) -> Float[Tensor, " n"]:
    """Weights of n pixels: rising from the edges over the overlap, never 0."""
    i = torch.arange(n, device=like.device, dtype=like.dtype)
    return (torch.minimum(i, n - 1 - i) + 0.5).clamp(max=overlap) / overlap


def resized(x: Images, size: tuple[int, ...]) -> Others:
    """Bilinear, antialiased; the images themselves where they have that size."""
    if x.shape[2:] == tuple(size):
        return x
    return interpolate(x, tuple(size), mode="bilinear", antialias=True, align_corners=False)


def with_channels(x: Images, channels: int) -> Others:
    """Images with 1, 3 or 4 channels: alpha is laid on white, grey is ITU-R 601 luma, as in `data`."""
    if x.shape[1] == channels:
        return x
    if x.shape[1] == 4:
        x = x[:, :3] * x[:, 3:] + 1 - x[:, 3:]
    if channels == 1 and x.shape[1] == 3:
        return (x * x.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True)
    x = x.expand(-1, 3, -1, -1) if channels > 1 else x
    return torch.cat([x, torch.ones_like(x[:, :1])], 1) if channels == 4 else x
