"""Images brought to one size, and alpha laid on a colour: what `DataOptions` say by size, crop and background."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from hashlib import blake2b

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from ..errors import UserError
from ..io.text import format_number
from .dataset import Dataset, convert_channels, map_chunks
from .depth import OPAQUE
from .listing import pluralize
from .options import DataOptions

Size = tuple[int, int]  # height and width


def crop_images(images: Tensor, options: DataOptions, alpha: bool = False) -> Tensor:
    """Images n x c x h x w at the size that the options name: as many, but of tiles several of each, or none.

    If the fourth channel of deep ones is `alpha`, colours are weighed by it.
    """
    size = options.image_size
    if size is None or tuple(images.shape[2:]) == size:
        return images
    if options.crop == "tiles":
        return cut_tiles(images, size)
    crop = CROPS[options.crop or "center"]
    crop = partial(crop_visible, crop) if alpha else crop
    return map_chunks(lambda part: crop(part, size), images, (images.shape[1], *size))


def crop_visible(crop: Callable[[Tensor, Size], Tensor], images: Tensor, size: Size) -> Tensor:
    """Deep images with alpha after a crop, colours weighed by it: each channel keeps within what is seen of it."""
    colours, alpha = images[:, :3], images[:, 3:]
    ends = [colours.where(alpha > 0, end).flatten(2) for end in (torch.inf, -torch.inf)]
    low, high = (ends[0].amin(2)[..., None, None], ends[1].amax(2)[..., None, None])
    x = crop(torch.cat([colours * (alpha / OPAQUE), alpha], 1), size)
    if crop is resize_and_pad:  # with nothing
        top, left, bottom, right = padded_box((images.shape[2], images.shape[3]), size)
        x = pad(x[:, :, top:bottom, left:right], (left, size[1] - right, top, size[0] - bottom))
    share = x[:, 3:] / OPAQUE
    cropped = (x[:, :3] / share.clamp_min(0.5 / OPAQUE)).clamp(low, high).where(share > 0, 0.0)
    return torch.cat([cropped, x[:, 3:]], 1)


def resize(images: Tensor, size: Size) -> Tensor:
    """Images n x c x h x w at another size: antialiased bicubic, colours weighed by alpha.

    Of deep ones each channel of an image keeps within its own lowest and highest number.
    """
    if images.is_floating_point():
        low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
        return interpolate(images, size, mode="bicubic", antialias=True, align_corners=False).clamp(low, high)
    x = images.float().div_(255)
    if x.shape[1] == 4:
        x[:, :3] *= x[:, 3:]
    x = interpolate(x, size, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
    if x.shape[1] == 4:
        x[:, :3] = (x[:, :3] / x[:, 3:].clamp_min(1e-6)).clamp(0, 1)
    return (x * 255).round().to(torch.uint8)


def resize_to_cover(images: Tensor, size: Size) -> Tensor:
    """Images at the least size of their own shape that is as high and as wide as asked for."""
    h, w = images.shape[2:]
    scale = max(size[0] / h, size[1] / w)
    return resize(images, (max(size[0], round(h * scale)), max(size[1], round(w * scale))))


def resize_and_crop(images: Tensor, size: Size) -> Tensor:
    """The middle of images that are resized to cover the size."""
    x = resize_to_cover(images, size)
    top, left = (x.shape[2] - size[0]) // 2, (x.shape[3] - size[1]) // 2
    return x[:, :, top : top + size[0], left : left + size[1]].contiguous()


def crop_at_random(images: Tensor, size: Size) -> Tensor:
    """A part of each image, not resized unless the image is smaller: always the same one, which its pixels choose."""
    digests = [blake2b(image.contiguous().cpu().numpy().data, digest_size=16).digest() for image in images]
    if images.shape[2] < size[0] or images.shape[3] < size[1]:
        images = resize_to_cover(images, size)
    rows, columns = images.shape[2] - size[0] + 1, images.shape[3] - size[1] + 1
    parts = list[Tensor]()
    for image, digest in zip(images, digests, strict=True):
        top, left = int.from_bytes(digest[:8]) % rows, int.from_bytes(digest[8:]) % columns
        parts.append(image[:, top : top + size[0], left : left + size[1]])
    return torch.stack(parts)


def resize_and_pad(images: Tensor, size: Size) -> Tensor:
    """Whole images, resized to fit: around each the mean of its outermost pixels, or nothing (0) if it has alpha."""
    h, w = images.shape[2:]
    top, left, bottom, right = padded_box((h, w), size)
    inner = (bottom - top, right - left)
    x = images if inner == (h, w) else resize(images, inner)
    edge = torch.ones(inner, dtype=torch.bool, device=x.device)
    edge[1:-1, 1:-1] = False
    colour = x[:, :, edge].double().mean(2)
    if not x.is_floating_point():
        colour = colour.round() * (x.shape[1] != 4)
    padded = colour.to(x.dtype)[:, :, None, None].repeat(1, 1, *size)
    padded[:, :, top:bottom, left:right] = x
    return padded


def padded_box(shape: Size, size: Size) -> tuple[int, int, int, int]:
    """Where images of a shape are in padded ones of a size: top, left, bottom, right."""
    scale = min(size[0] / shape[0], size[1] / shape[1])
    h, w = (min(n, max(1, round(m * scale))) for m, n in zip(shape, size, strict=True))
    top, left = (size[0] - h) // 2, (size[1] - w) // 2
    return top, left, top + h, left + w


CROPS: dict[str, Callable[[Tensor, Size], Tensor]] = {
    "center": resize_and_crop, "random": crop_at_random, "pad": resize_and_pad,
}  # fmt: skip
"""what makes one image of the size out of each"""


def cut_tiles(images: Tensor, size: Size) -> Tensor:
    """The tiles of images, not resized, row by row from the upper left: as many as fit into each without overlap."""
    n, c, h, w = images.shape
    rows, columns = h // size[0], w // size[1]
    x = images[:, :, : rows * size[0], : columns * size[1]].reshape(n, c, rows, size[0], columns, size[1])
    return x.permute(0, 2, 4, 1, 3, 5).reshape(n * rows * columns, c, *size)


def tiles_note(counts: Sequence[int], rests: Sequence[int], size: Size) -> str:
    """The note on images cut into tiles, by how many each became and how many of its pixels are in none."""
    n_pixels = sum(counts) * size[0] * size[1] + sum(rests)
    note = (
        f"{pluralize(len(counts), 'image')} cut into {pluralize(sum(counts), 'tile')} of {size[0]} x {size[1]} pixels"
    )
    if n_rests := sum(rest > 0 for rest in rests):
        left_out = f"{format_number(100 * sum(rests) / n_pixels, 2)}% of all pixels, left out"
        note += f"; the remainder at the right and bottom of {pluralize(n_rests, 'image')}, {left_out}"
    return note


def too_small(h: int, w: int, size: Size) -> str:
    """Why an image has no tile."""
    return f"{h} x {w} pixels (height x width) are too few for a tile of {size[0]} x {size[1]}"


def crop_dataset(dataset: Dataset, options: DataOptions) -> Dataset:
    """Images at the size that the options name; tiles have the labels of their image.  UserError if none has a tile."""
    x, size, n = crop_images(dataset.x, options, dataset.alpha), options.image_size, len(dataset)
    if x is dataset.x or size is None:
        return dataset
    if options.crop != "tiles":
        return replace(dataset, x=x)
    h, w = dataset.shape[1:]
    if not len(x):
        raise UserError(f"{dataset.name}: {too_small(h, w, size)}")
    count = len(x) // n
    note = tiles_note([count] * n, [h * w - count * size[0] * size[1]] * n, size)
    return dataset.replace_examples(x, torch.arange(n).repeat_interleave(count)).with_notes([note])


def is_on_background(images: Tensor, options: DataOptions, alpha: bool = False) -> bool:
    """Whether images, deep ones if that is said, or vectors, have alpha that the options say to lay on a colour."""
    return options.background is not None and (alpha or images.dtype == torch.uint8) and images.shape[1] == 4


def lay_on_background(images: Tensor, options: DataOptions, alpha: bool = False) -> Tensor:
    """Images with alpha as RGB on the colour that the options name, if one; all others as they are."""
    if not is_on_background(images, options, alpha):
        return images
    return convert_channels(images, 3, options.background_colour, alpha)


def background_note(n: int, options: DataOptions) -> str:
    return f"{pluralize(n, 'image')} with alpha, laid on {options.background}"
