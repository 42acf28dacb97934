"""The pixels of an image file, with 16 bits where it has them: Pillow gives those of colours with 8 only."""

import re
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, ImageOps

WORDS = re.compile(r";16[BLN]$")
"""how Pillow's names of 16 bits a channel end; BGR;16 is 16 bits for all three"""


def pixels_of(path: Path, image: ImageFile.ImageFile) -> tuple[np.ndarray, bool]:
    """Pixels h x w x 1, 3 or 4 of an image just opened, upright as its EXIF orientation says: bytes, or uint16.

    True where it has 16 bits, though they may come as bytes: uint16 are given of PNGs, and of grey images.
    """
    deep = has_16_bits(image)
    if deep and image.mode.startswith("I;16"):
        pixels = with_transparent(upright(image)[:, :, None], image)
    elif deep and image.format == "PNG":
        pixels = of_colours(path, image)
    else:
        turned = ImageOps.exif_transpose(image)
        pixels = np.asarray(turned.convert(mode_of(turned)))
    return np.atleast_3d(pixels), deep


def has_16_bits(image: ImageFile.ImageFile) -> bool:
    """Whether an image, opened but not yet decoded, has 16 bits a channel."""
    words = image.tile[0][3] if image.tile else ""
    raw = words[0] if isinstance(words, tuple | list) and words else words
    return image.mode.startswith("I;16") or WORDS.search(str(raw)) is not None


def of_colours(path: Path, image: ImageFile.ImageFile) -> np.ndarray:
    """Pixels h x w x 3 or 4 of a PNG with 16 bits, uint16.

    Of each two bytes Pillow decodes the first, the higher; told that the lower comes first, it decodes the second.
    Grey with alpha, four bytes a pixel, it can be told to decode as RGBA of 8 bits.
    """
    if image.tile[0][3] == "LA;16B":
        image.tile = [image.tile[0]._replace(args="RGBA")]
        bytes_of = upright(image).astype(np.uint16)
        grey, alpha = (bytes_of[:, :, i : i + 1] * 256 + bytes_of[:, :, i + 1 : i + 2] for i in (0, 2))
        return np.concatenate([grey, grey, grey, alpha], 2)
    with Image.open(path) as again:
        again.tile = [again.tile[0]._replace(args=f"{again.mode};16L")]
        low = upright(again)
    return with_transparent(upright(image).astype(np.uint16) * 256 + low, image)


def upright(image: Image.Image) -> np.ndarray:
    return np.asarray(ImageOps.exif_transpose(image))


def with_transparent(pixels: np.ndarray, image: Image.Image) -> np.ndarray:
    """Pixels with alpha, where a PNG says which one grey or colour is transparent."""
    colour = image.info.get("transparency")
    if colour is None:
        return pixels
    alpha = 65535 * (pixels != np.asarray(colour)).any(2, keepdims=True).astype(np.uint16)
    return np.concatenate([np.broadcast_to(pixels, (*pixels.shape[:2], 3)), alpha], 2)


def mode_of(image: Image.Image) -> str:
    """The mode with the fewest channels that holds the image."""
    if image.mode in ("I", "F"):
        raise ValueError(f"pixels of 32 bits ({image.mode}) have no fixed range")
    if "A" in image.getbands() or "transparency" in image.info:
        return "RGBA"
    return "L" if image.mode in ("1", "L") else "RGB"
