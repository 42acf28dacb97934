"""The numbers in an image file: all bits of them, though Pillow gives those of colours with 8 only."""

import re
import sys
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFile, ImageOps

from .decoder import decoder_args, upright_bytes

RAW_MODE_16 = re.compile(r"(?P<kind>RGB|RGBA|RGBX);16(?P<order>[BLN])$")
"""Pillow's names of colours with 16 bits each, whose lower byte it can be told to decode; not BGR;16, 16 in all"""
SWAPPED_ORDER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}  # that decodes the lower byte
KIND_NAMES = {"int16": "signed integers", "int32": "signed integers", "float32": "floating-point numbers"}


@dataclass(frozen=True)
class Pixels:
    """The numbers of an image, upright as its EXIF orientation says."""

    values: np.ndarray  # h x w x 1, 3 or 4: uint8, uint16, uint32, int16, int32 or float32
    white: int | None  # the number that is white by the file's format, and 0 black; None where the format has none
    has_more_bits: bool = False  # whether the file has more bits than were read

    @property
    def kind(self) -> str:
        return KIND_NAMES.get(self.values.dtype.name, f"integers of {8 * self.values.dtype.itemsize} bits")


def read_pixels(source: Path | BytesIO, image: ImageFile.ImageFile) -> Pixels:
    """The numbers of an open image's page: all bits of grey images, and of PNG, TIFF and PNM in colours."""
    args = decoder_args(image.tile[0]) if image.tile else ()
    mode = str(args[0]) if args else ""
    is_deep = mode.endswith((";16B", ";16L", ";16N"))
    if image.format == "PPM":
        white = int(args[1]) if len(args) == 2 and mode in ("L", "RGB") else 65535 if mode == "I;16B" else 255
        if white > 255:
            return read_pnm(source, image, white)
    if image.mode.startswith("I;16"):
        return Pixels(add_alpha(upright_array(image), image), 4095 if mode == "I;12" else 65535)
    if image.mode in ("I", "F"):
        values = upright_array(image)
        values = values.astype(np.int16) if mode in ("I;16S", "I;16BS") else values
        return Pixels(values.view(np.uint32) if mode == "I;32N" else values, None)
    if is_deep and image.format == "PNG" and image.tell() == 0:
        if mode != "LA;16B":
            return Pixels(add_alpha(read_16_bits(source, image), image), 65535)
        image.tile = [image.tile[0]._replace(args="RGBA")]  # four bytes a pixel: those of grey, then those of alpha
        high_and_low = upright_array(image).astype(np.uint16)
        return Pixels((high_and_low[:, :, ::2] * 256 + high_and_low[:, :, 1::2]).take([0, 0, 0, 1], 2), 65535)
    if image.format == "TIFF" and image.mode in ("RGB", "RGBA") and RAW_MODE_16.search(mode):
        return Pixels(read_16_bits(source, image), 65535)
    upright, has_more_bits = upright_bytes(image)
    return Pixels(np.atleast_3d(np.asarray(upright)), 255, is_deep or has_more_bits)


def read_pnm(source: Path | BytesIO, image: ImageFile.ImageFile, white: int) -> Pixels:
    """The numbers of a PNM file with 16 bits, which Pillow scales, and of colours cuts off (netpbm's pgm and ppm)."""
    if image.tile[0][0] == "ppm_plain":  # digits
        if image.mode == "I":
            return Pixels(np.round(upright_array(image) * (white / 65535)).astype(np.uint16), white)
        return Pixels(upright_array(image), 255, has_more_bits=True)
    shape = (image.height, image.width, 3 if image.mode == "RGB" else 1)
    content = source.read_bytes() if isinstance(source, Path) else source.getvalue()
    count, start = int(np.prod(shape)), image.tile[0][2]
    if len(content) < start + 2 * count:
        raise ValueError("the file is cut off")
    return Pixels(np.frombuffer(content, ">u2", count, start).reshape(shape).astype(np.uint16), white)


def read_16_bits(source: Path | BytesIO, image: ImageFile.ImageFile) -> np.ndarray:
    """Pixels h x w x 3 or 4, uint16: Pillow decodes each higher byte, or the lower if told that it is the higher."""
    with Image.open(source if isinstance(source, Path) else BytesIO(source.getvalue())) as other:
        other.seek(image.tell())
        other.tile = [swap_bytes(tile) for tile in other.tile]
        low = upright_array(other)
    pixels: np.ndarray = upright_array(image).astype(np.uint16) * 256 + low
    return pixels


def swap_bytes(tile: Any) -> Any:
    """A tile of Pillow's with the two bytes of each number in the other order."""
    mode, *others = decoder_args(tile)
    swapped = RAW_MODE_16.sub(lambda m: f"{m['kind']};16{SWAPPED_ORDER[m['order']]}", str(mode))
    return tile._replace(args=(swapped, *others))


def upright_array(image: Image.Image) -> np.ndarray:
    """The numbers of an image, h x w x c, upright as its EXIF orientation says."""
    return np.atleast_3d(np.asarray(ImageOps.exif_transpose(image)))


def add_alpha(pixels: np.ndarray, image: Image.Image) -> np.ndarray:
    """Pixels with alpha, where a PNG says which one grey or colour is transparent."""
    colour = image.info.get("transparency")
    if colour is None:
        return pixels
    alpha = 65535 * (pixels != np.asarray(colour)).any(2, keepdims=True).astype(np.uint16)
    return np.concatenate([np.broadcast_to(pixels, (*pixels.shape[:2], 3)), alpha], 2)
