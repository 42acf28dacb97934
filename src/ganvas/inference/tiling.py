"""Images of any size, grey, colour or with alpha, through a translator that was trained on one size.

Pixels are floats in [0, 1], n x c x h x w with 1, 3 or 4 channels.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from ..data.crop import padded_box, resize_and_pad
from ..data.options import COLOURS
from ..model import Shape

MAX_UNTILED_PIXELS = 2**20
"""pixels of an image above which it is translated in tiles"""
TILE_SIZE, TILE_OVERLAP = 512, 64
"""side of a tile, and what neighbours have in common, in pixels"""
LUMA = (0.299, 0.587, 0.114)
Images = Float[Tensor, "n c h w"]
Size = tuple[int, int]  # height and width
OutputImages = Float[Tensor, "n c2 h2 w2"]
ImageFunction = Callable[[Tensor], Tensor]


def translate_images(
    function: ImageFunction, x: Images, source_shape: Shape, target_shape: Shape, *, crop: str | None = None,
    background: Sequence[int] = COLOURS["white"], may_have_alpha: bool = True,
) -> OutputImages:  # fmt: skip
    """Translate images between domains whose examples have `source_shape` and `target_shape`.

    `function` takes and returns pixels in [0, 1] with the domains' channels; of the domain's size only, if `crop` says
    how examples got that (`translate_at_size`).  Colours of transparent pixels are laid on the background, as in
    training; if the target domain has no alpha, the image keeps its own.  If none `may_have_alpha`, a fourth channel is
    one as any other.
    """
    alpha = x[:, 3:] if may_have_alpha and x.shape[1] == 4 and target_shape[0] != 4 else None
    x = convert_channels(x, source_shape[0], background)
    h, w = (max(1, round(n * b / a)) for n, a, b in zip(x.shape[2:], source_shape[1:], target_shape[1:], strict=True))
    if crop is not None:
        output = translate_at_size(function, x, (h, w), (source_shape[1], source_shape[2]), crop)
    elif x.shape[2] * x.shape[3] > MAX_UNTILED_PIXELS:
        output = translate_tiles(function, x, (h, w))
    else:
        output = function(x)
    output = output.clamp(0, 1)
    return output if alpha is None else torch.cat([convert_channels(output, 3), resize(alpha, (h, w))], 1)


def translate_at_size(function: ImageFunction, x: Images, size: Size, own_size: Size, crop: str) -> OutputImages:
    """The function, which takes images of its `own_size` only, of images of any, put together to images of `size`.

    It sees them as `crop` made examples for it: padded, at their own scale, or resized to cover its size.  What would
    be cut off is another tile, so that all of an image is translated.
    """
    h, w = x.shape[2:]
    if (h, w) == own_size:
        return resize(function(x), size)
    if crop == "pad":
        output = function(resize_and_pad(x, own_size))
        scale = [b / a for a, b in zip(own_size, output.shape[2:], strict=True)] * 2
        top, left, bottom, right = (round(n * s) for n, s in zip(padded_box((h, w), own_size), scale, strict=True))
        return resize(output[:, :, top : max(top + 1, bottom), left : max(left + 1, right)], size)
    cover = max(n / m for m, n in zip((h, w), own_size, strict=True))
    scale_up = max(1.0, cover) if crop in ("random", "tiles") else cover
    height, width = (max(n, round(m * scale_up)) for m, n in zip((h, w), own_size, strict=True))
    large = round(height * size[0] / h), round(width * size[1] / w)
    overlap = max(1, min(own_size) // 8)
    return resize(translate_tiles(function, resize(x, (height, width)), large, own_size, overlap), size)


def translate_tiles(
    function: ImageFunction, x: Images, size: Size, tile: Size = (TILE_SIZE, TILE_SIZE), overlap: int = TILE_OVERLAP
) -> OutputImages:
    """The function of overlapping tiles, put together to images of `size` = (height, width).

    Where tiles overlap, each counts the less the nearer its own edge is, so that no seam shows.
    """
    scale = [b / a for a, b in zip(x.shape[2:], size, strict=True)]
    total = weights = torch.zeros(())
    for top, bottom in tile_spans(x.shape[2], tile[0], overlap):
        for left, right in tile_spans(x.shape[3], tile[1], overlap):
            box = [round(n * s) for n, s in zip((top, left, bottom, right), [*scale, *scale], strict=True)]
            output = resize(function(x[:, :, top:bottom, left:right]), (box[2] - box[0], box[3] - box[1]))
            if weights.ndim == 0:
                total, weights = output.new_zeros(len(x), output.shape[1], *size), output.new_zeros(size)
            weight = ramp(output.shape[2], overlap, output)[:, None] * ramp(output.shape[3], overlap, output)
            region = (..., slice(box[0], box[2]), slice(box[1], box[3]))
            total[region] += output * weight
            weights[region] += weight
    return total / weights


def tile_spans(n: int, tile: int, overlap: int) -> list[tuple[int, int]]:
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


def resize(x: Images, size: tuple[int, ...]) -> OutputImages:
    """Bilinear, antialiased; the images themselves where they have that size."""
    if x.shape[2:] == tuple(size):
        return x
    return interpolate(x, tuple(size), mode="bilinear", antialias=True, align_corners=False)


def convert_channels(x: Images, channels: int, background: Sequence[int] = COLOURS["white"]) -> OutputImages:
    """Images with 1, 3 or 4 channels, as in `data`: alpha is laid on a colour of bytes, grey is ITU-R 601 luma."""
    if x.shape[1] == channels:
        return x
    if x.shape[1] == 4:
        x = x[:, :3] * x[:, 3:] + (1 - x[:, 3:]) * (x.new_tensor(background)[:, None, None] / 255)
    if channels == 1 and x.shape[1] == 3:
        return (x * x.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True)
    x = x.expand(-1, 3, -1, -1) if channels > 1 else x
    return torch.cat([x, torch.ones_like(x[:, :1])], 1) if channels == 4 else x
