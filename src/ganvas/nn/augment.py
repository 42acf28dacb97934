"""Differentiable random changes of the images that D sees, drawn for each image on its own.

Zhao et al., Differentiable Augmentation for Data-Efficient GAN Training, arXiv:2006.10738, section 3.2: real and fake
images get the same kinds of change T, D(T(x)) and D(T(G(z))), so that D does not teach G to make changed images.

    color        brightness, saturation and contrast, of all channels but alpha
    translation  by up to an eighth of height and width, grey beyond the border
    shift        by up to a sixteenth of height and width, the border's pixels beyond it (not one of the paper's)
    cutout       a square of half the height and width becomes grey
    flip         left and right change places, with probability 1/2 (not one of the paper's)

Fractions of pixels are rounded, halves upwards, as in the paper's code.  Pixels are in [-1, 1], and grey is 0, their
middle, in all channels: as in the paper, and as the border that D's own convolutions, padded with zeros, see around
every image; so it tells D less about the change than black, -1, would.  Where images have alpha it is half
transparent: D sees it in real and fake images alike, so samples do not become so.
"""

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn.functional import interpolate

Augmentation = Literal["color", "translation", "shift", "cutout", "flip"]
Images = Float[Tensor, "b c h w"]
Offsets = Int64[Tensor, "b _"]


def augment(x: Float[Tensor, "b *shape"], kinds: tuple[Augmentation, ...], p: Tensor | None = None) -> Tensor:
    """Images, b x c x h x w in [-1, 1], after changes in the order of `kinds`, each with probability p if given."""
    for kind in kinds:
        y = AUGMENTATIONS[kind](x)
        x = y if p is None else torch.where(torch.rand(len(x), 1, 1, 1, device=x.device) < p, y, x)
    return x


def random_color(x: Images) -> Images:
    """Brightness, saturation and contrast, whose order makes no difference; not clipped, so values may leave [-1, 1].

    brightness  b + x               b from U(-0.5, 0.5), in the pixels' unit: a quarter of their span at most
    saturation  m + s (x - m)       s from U(0, 2), m the pixel's mean over the channels
    contrast    M + k (x - M)       k from U(0.5, 1.5), M the image's mean over pixels and channels
    """
    colours, alpha = x[:, :3], x[:, 3:]
    b, s, k = torch.rand(3, len(x), 1, 1, 1, device=x.device).to(x.dtype)
    b, s, k = b - 0.5, 2 * s, k + 0.5
    m = colours.mean(1, keepdim=True)
    M = m.mean((2, 3), keepdim=True)
    y = torch.addcmul(b + (1 - k) * M + k * (1 - s) * m, k * s, colours)
    return torch.cat([y, alpha], 1) if alpha.shape[1] else y


def random_translation(x: Images) -> Images:
    """The images moved by whole pixels, up to h / 8 up or down and w / 8 left or right; what moves in is grey."""
    h, w = x.shape[2:]
    rows, columns = (random_offsets(n, -((n + 4) // 8), (n + 4) // 8, x) for n in (h, w))
    index = (rows % h)[:, None, :, None] * w + (columns % w)[:, None, None]
    y = x.flatten(2).gather(2, index.flatten(2).expand(-1, x.shape[1], -1)).view_as(x)
    return y * box_mask(rows, h, columns, w)


def random_shift(x: Images) -> Images:
    """The images moved by whole pixels, up to h / 16 up or down and w / 16 left or right.

    What moves in repeats the border, so that of images on a plain ground D sees nothing that the data could not hold.
    """
    h, w = x.shape[2:]
    rows, columns = (random_offsets(n, -((n + 8) // 16), (n + 8) // 16, x).clamp(0, n - 1) for n in (h, w))
    index = rows[:, :, None] * w + columns[:, None]
    return x.flatten(2).gather(2, index.flatten(1)[:, None].expand(-1, x.shape[1], -1)).view_as(x)


def random_cutout(x: Images) -> Images:
    """The images with a grey box of h / 2 by w / 2 pixels, up to half outside, lest G learn nothing of the centre."""
    (h, a), (w, b) = ((n, (n + 1) // 2) for n in x.shape[2:])
    rows, columns = (random_offsets(n, -(m // 2), n - m + m // 2, x) for n, m in ((h, a), (w, b)))
    return x * ~box_mask(rows, a, columns, b)


def random_flip(x: Images) -> Images:
    """The mirror image, left for right, with probability 1/2."""
    columns = torch.arange(x.shape[3], device=x.device)
    mirror = torch.rand(len(x), 1, 1, 1, device=x.device) < 0.5
    return x.gather(3, torch.where(mirror, columns.flip(0), columns).expand_as(x))


def random_crop(x: Images, scale: float) -> Images:
    """The images enlarged (bicubic), then each cropped to the old size anywhere (arXiv:1703.10593, appendix 7.1)."""
    h, w = x.shape[2:]
    height, width = round(h * scale), round(w * scale)
    if (height, width) == (h, w):
        return x
    y = interpolate(x, (height, width), mode="bicubic", align_corners=False)
    rows = torch.randint(height - h + 1, (len(x), 1), device=x.device) + torch.arange(h, device=x.device)
    columns = torch.randint(width - w + 1, (len(x), 1), device=x.device) + torch.arange(w, device=x.device)
    index = rows[:, :, None] * width + columns[:, None]
    return y.flatten(2).gather(2, index.flatten(1)[:, None].expand(-1, x.shape[1], -1)).view_as(x).clamp(-1, 1)


def random_offsets(n: int, low: int, high: int, x: Images) -> Offsets:
    """0, ..., n - 1 less an origin of each image, drawn from low, ..., high: b x n."""
    return torch.arange(n, device=x.device) - torch.randint(low, high + 1, (len(x), 1), device=x.device)


def box_mask(rows: Offsets, height: int, columns: Offsets, width: int) -> Bool[Tensor, "b 1 h w"]:
    """Where rows are in 0, ..., height - 1 and columns in 0, ..., width - 1."""
    in_rows, in_columns = (rows >= 0) & (rows < height), (columns >= 0) & (columns < width)
    return in_rows[:, None, :, None] & in_columns[:, None, None]


AUGMENTATIONS: dict[Augmentation, Callable[[Tensor], Tensor]] = {
    "color": random_color, "translation": random_translation, "shift": random_shift, "cutout": random_cutout,
    "flip": random_flip,
}  # fmt: skip
