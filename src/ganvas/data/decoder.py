"""Images of 8 bits, decoded by Pillow alone; as a script, for another process: see `decoder_processes`.

It imports neither torch nor NumPy nor the package, so that a process which does nothing else starts at once.
"""

import json
import signal
import sys
import warnings
from contextlib import suppress
from io import BytesIO, FileIO
from struct import Struct
from typing import Any, BinaryIO

from PIL import ExifTags, Image, ImageFile, ImageOps
from PIL.JpegImagePlugin import JpegImageFile

FORMATS = ("JPEG", "PNG", "BMP", "PPM", "WEBP")
"""what a process decodes, as Pillow calls it: of what folders of many thousand files are"""
LARGE_IMAGE = 2**25  # numbers of an image from which on one is decoded after the other
MAX_ANSWER = 2**20  # numbers of an image beyond which a thread decodes it as fast
READY = b"ready"
HEAD = Struct("<4I?")
"""of an answer: height, width, channels (0 where it decoded nothing), images in the file, whether it has more bits"""
NOTHING = HEAD.pack(0, 0, 0, 0, False)
LENGTH_BYTES = 8


def decoder_args(tile: Any) -> tuple[Any, ...]:
    """What tells Pillow's decoder how the numbers lie in the file: its name of that, and more."""
    return tuple(tile.args) if isinstance(tile.args, tuple | list) else (tile.args,)


def has_more_levels(image: ImageFile.ImageFile) -> bool:
    """Whether an open image has numbers beyond bytes, as far as its header says."""
    args = decoder_args(image.tile[0]) if image.tile else ("",)
    is_deep_pnm = image.format == "PPM" and len(args) == 2 and args[1] > 255
    return image.mode[0] in "IF" or is_deep_pnm or ";16" in str(args[0])


def count_images(image: ImageFile.ImageFile) -> int:
    """Images in a file; a photograph with previews counts as one."""
    return 1 if image.format == "MPO" else int(getattr(image, "n_frames", 1))


def reduce_jpeg(image: ImageFile.ImageFile, size: tuple[int, int]) -> None:
    """Have a JPEG decoded at a half, a quarter or an eighth, still above the size asked for, height and width."""
    if isinstance(image, JpegImageFile):
        is_turned = image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)  # by a quarter
        image.draft(None, (size[0] * 2, size[1] * 2) if is_turned else (size[1] * 2, size[0] * 2))


def smallest_mode(image: Image.Image) -> str:
    """The mode with the fewest channels that holds the image."""
    if "A" in image.getbands() or "transparency" in image.info:
        return "RGBA"
    return "L" if image.mode in ("1", "L") else "RGB"


def upright_bytes(image: ImageFile.ImageFile) -> tuple[Image.Image, bool]:
    """An open image in the smallest mode of 8 bits that holds it, upright, and whether the file has more bits."""
    ImageOps.exif_transpose(image, in_place=True)
    depth = image.info.get("bit_depth")  # as pillow_heif says; in a PNG a text may be called so
    mode = smallest_mode(image)  # to convert to the mode that it has would be a copy
    return image if image.mode == mode else image.convert(mode), isinstance(depth, int) and depth > 8


def is_plain(image: ImageFile.ImageFile, most: int) -> bool:
    """Whether an open image has 8 bits, and no more numbers than so many."""
    return image.width * image.height * len(image.getbands()) <= most and not has_more_levels(image)


def decode_file(path: str, n_bytes: int, number: int, size: tuple[int, int] | None) -> tuple[bytes, bytes]:
    """The head and the bytes h x w x c of an image in a file, which is to have so many bytes; or `NOTHING`."""
    with FileIO(path) as file:
        content = file.read(n_bytes + 1)
    if len(content) == n_bytes:
        with Image.open(BytesIO(content), formats=FORMATS) as image:
            if is_plain(image, LARGE_IMAGE):
                n_images = count_images(image)
                image.seek(number)
                if size:
                    reduce_jpeg(image, size)
                if is_plain(image, MAX_ANSWER):
                    result, has_more_bits = upright_bytes(image)
                    shape = result.height, result.width, len(result.getbands())
                    return HEAD.pack(*shape, n_images, has_more_bits), result.tobytes()
    return NOTHING, b""


def answer(requests: BinaryIO, answers: BinaryIO) -> None:
    """Decode what each line asks for; of what fails, or makes Pillow warn, whoever asked finds out why."""
    Image.MAX_IMAGE_PIXELS = None
    with warnings.catch_warnings(record=True) as records:
        warnings.simplefilter("always")
        answers.write(READY)
        answers.flush()
        for line in requests:
            size, files = json.loads(line)
            heads, parts = list[bytes](), list[bytes]()
            for path, n_bytes, number in files:
                head, part = NOTHING, b""
                with suppress(Exception):
                    head, part = decode_file(path, n_bytes, number, size)
                heads.append(NOTHING if records else head)
                parts.append(b"" if records else part)
                records.clear()
            content = b"".join((*heads, *parts))
            answers.write(len(content).to_bytes(LENGTH_BYTES, "little"))
            answers.write(content)
            answers.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever asks, at whose end there is nothing to read
    answer(sys.stdin.buffer, sys.stdout.buffer)
