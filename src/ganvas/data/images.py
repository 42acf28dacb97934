"""Image files, decoded in parallel, to the bytes that a dataset holds."""

import os
import threading
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from PIL import Image, ImageFile, UnidentifiedImageError
from torch import Tensor

from .dataset import CHANNELS, convert_channels, resize_and_crop
from .idx import MAX_DEFLATE_RATIO
from .listing import File, error_reason
from .memory import MAX_MEMORY_SHARE, available_memory, check_memory, format_bytes
from .options import Progress
from .pixels import Pixels, read_pixels
from .quantization import RANGE_HELP, Bounds, ValueStats, quantize_pixels, range_applies, value_stats

T = TypeVar("T")
R = TypeVar("R")
LARGE_IMAGE = 2**25
"""numbers of an image from which on one is decoded after the other"""
DECODE_BYTES = 6
"""bytes a number that decoding takes, at most, with what is made of it"""
BOUNDED_FORMATS = ("PNG", "TIFF", "GIF", "BMP", "TGA", "PPM")
"""formats that compress no better than deflate does, a bit a pixel; JPEG and WebP of one colour have no such bound"""
REDUCED_PAGE_BITS = 5
DECODE_LOCK = threading.Lock()


class Page(NamedTuple):
    """One of the images in a file."""

    file: File
    number: int = 0

    def __str__(self) -> str:
        return f"{self.file}{f' (page {self.number + 1})' if self.number else ''}"


@dataclass(frozen=True)
class ImageInfo:
    """What is to be said of an image that was read."""

    stats: ValueStats | None = None
    """its numbers, where these were no bytes or were mapped by a range"""
    white: int = 255
    """the number that is white by the file's format"""
    has_more_bits: bool = False
    """whether the file has more bits than were read"""
    pages: int = 1
    """images in the file"""
    has_opaque_alpha: bool = False
    """whether it had alpha that hides nothing, which was dropped"""


ReadResult = tuple[Tensor, ImageInfo] | str
"""an image, c x h x w bytes, or why it could not be read"""


@dataclass
class ImageBuffer:
    """Images of one size as they are read, bytes n x c x h x w for each number c of channels: none is held twice."""

    total: int
    """most images that there can be"""
    name: str
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    """(c, h, w) of every image, though none is stored any more when there are two sizes"""
    infos: dict[Page, ImageInfo] = field(default_factory=dict)
    failures: dict[Page, str] = field(default_factory=dict)
    """why pages could not be read"""
    buffers: dict[int, np.ndarray] = field(default_factory=dict)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    """images with each (width, height)"""
    channel_counts: Counter[int] = field(default_factory=Counter)
    """images with so many channels, of any size"""

    def add(self, page: Page, result: ReadResult) -> None:
        """One more."""
        if isinstance(result, str):
            self.failures[page] = result
            return
        x, self.infos[page] = result
        c, h, w = x.shape
        self.shapes.append((c, h, w))
        self.sizes[w, h] += 1
        self.channel_counts[c] += 1
        if len(self.sizes) > 1:  # an error when all are counted
            return
        if c not in self.buffers:
            what = f"{self.name}: {self.total} images of {w} x {h} pixels, {CHANNELS[c]},"
            check_memory(self.total * x.numel(), what, "ask for a smaller `size`, or give fewer images")
            self.buffers[c] = np.empty((self.total, c, h, w), np.uint8)  # which takes memory as it is filled
        self.buffers[c][self.channel_counts[c] - 1] = x.numpy()

    def majority_channels(self) -> int:
        """The channels that the majority takes: 4 where most have alpha, 3 where half or more have colours, else 1."""
        n, counts = len(self.shapes), self.channel_counts
        return 4 if 2 * counts[4] > n else 3 if 2 * (counts[3] + counts[4]) >= n else 1

    def stack(self, channels: int) -> Tensor:
        """All of them with so many channels; only once."""
        if list(self.buffers) == [channels]:
            return torch.from_numpy(self.buffers.pop(channels)[: len(self.shapes)])
        x = torch.empty((len(self.shapes), channels, *self.shapes[0][1:]), dtype=torch.uint8)
        images = {c: iter(buffer) for c, buffer in self.buffers.items()}
        for i, (c, _, _) in enumerate(self.shapes):
            x[i] = convert_channels(torch.from_numpy(next(images[c]))[None], channels)[0]
        return x


@contextmanager
def lift_pixel_limit() -> Iterator[list[str]]:
    """Lift Pillow's limit of pixels (`check_decodable` has one) and list its warnings; others are given at the end."""
    old_limit, messages, records = Image.MAX_IMAGE_PIXELS, list[str](), list[warnings.WarningMessage]()
    Image.MAX_IMAGE_PIXELS = None
    try:
        with warnings.catch_warnings(record=True) as records:
            warnings.simplefilter("always")
            yield messages
    finally:
        Image.MAX_IMAGE_PIXELS = old_limit
        for warning in records:
            if "PIL" in Path(warning.filename).parts:
                messages.append(" ".join(str(warning.message).split()))
            else:
                warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def decoder_notes(messages: Sequence[str]) -> list[str]:
    texts = [f"{text} ({n} times)" if n > 1 else text for text, n in Counter(messages).most_common(3)]
    return [f"the decoder warns: {'; '.join(texts)}"] if texts else []


def file_pages(file: File) -> list[Page]:
    """Every page of a TIFF but smaller copies and masks, every frame of an animation; one, where it cannot be read."""
    try:
        with Image.open(file.content()) as image:
            numbers = range(count_images(image))
            if image.format != "TIFF":
                return [Page(file, i) for i in numbers]
            return [Page(file, i) for i in numbers if not is_reduced_page(image, i)] or [Page(file)]
    except Exception:  # what is wrong is said when it is read
        return [Page(file)]


def is_reduced_page(image: ImageFile.ImageFile, number: int) -> bool:
    """Whether NewSubfileType of a TIFF's page says that it is a smaller copy, or a mask, of another."""
    image.seek(number)
    value = image.tag_v2.get(254, 0)  # type: ignore[attr-defined]
    return isinstance(value, int) and value & REDUCED_PAGE_BITS != 0


def count_images(image: ImageFile.ImageFile) -> int:
    """Images in a file; a photograph with previews counts as one."""
    return 1 if image.format == "MPO" else int(getattr(image, "n_frames", 1))


def in_parallel(function: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
    """The function of each item, computed in threads: Pillow lets others run while it decodes."""
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        pending: deque[Future[R]] = deque()
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > 2 * workers:  # or a slow reader would have nearly all images in memory twice
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def total_stats(pages: Sequence[Page], progress: Progress) -> ValueStats:
    """The least and the greatest number in all the images that can be read, alpha aside."""

    def measure_page(page: Page) -> ValueStats:
        try:
            return value_stats(decode(page)[0].values[..., :3])
        except Exception:  # what is wrong is said when it is read
            return ValueStats()

    total = ValueStats()
    for i, stats in enumerate(in_parallel(measure_page, pages)):
        total += stats
        progress(i + 1, 2 * len(pages))
    return total


def read_page(
    page: Page, size: tuple[int, int] | None = None, bounds: Bounds | None = None, keep_alpha: bool = False
) -> ReadResult:
    """One image, upright, in its own channels; alpha that is opaque everywhere is dropped, unless `keep_alpha`."""
    try:
        pixels, n_pages, _ = decode(page, size)
        values, white = pixels.values, pixels.white
        bounds = bounds if bounds and range_applies(values.dtype, bounds) else None
        stats = value_stats(values[..., :3], bounds) if bounds or values.dtype != np.uint8 else None
        if stats and bounds is None and white is None:
            what = f"{pixels.kind} from {stats.low:g} to {stats.high:g}"
            return f"{what} have no black and white of their own: {RANGE_HELP}"
        if stats:
            values = quantize_pixels(values, bounds or (0.0, float(white or 1)), float(white or 1))
        x = torch.from_numpy(np.array(values.transpose(2, 0, 1), order="C"))
        is_opaque = len(x) == 4 and not keep_alpha and bool((x[3] == 255).all())
        x = x[:3] if is_opaque else x
        x = resize_and_crop(x[None], size)[0] if size else x
        return x, ImageInfo(stats, white or 0, pixels.has_more_bits, n_pages, is_opaque)
    except Exception as error:  # a damaged file can raise anything: struct.error, RuntimeError, ...
        return unreadable_reason(error, page.file)


def unreadable_reason(error: Exception, file: File) -> str:
    """Why a file could not be read, without its folder."""
    if isinstance(error, PermissionError):
        return f"cannot be read ({error_reason(error)})"
    if isinstance(error, UnidentifiedImageError):
        return f"cannot identify image file '{file.name}'"
    message, path = str(error), str(file.path)
    return message.replace(path, file.name).replace(repr(path)[1:-1], file.name) or type(error).__name__


def decode(page: Page, size: tuple[int, int] | None = None) -> tuple[Pixels, int, str]:
    """The numbers of an image, how many images its file has, and its format; large ones one after the other."""
    content = page.file.content()
    with Image.open(content) as image:
        n_pages = count_images(image)
        image.seek(page.number)
        if size:  # a JPEG decodes straight to a half, a quarter or an eighth, still above the size asked for
            image.draft(None, (size[1] * 2, size[0] * 2))
        with nullcontext() if check_decodable(content, image) < LARGE_IMAGE else DECODE_LOCK:
            return read_pixels(content, image), n_pages, image.format or "PNG"


def check_decodable(content: Path | BytesIO, image: ImageFile.ImageFile) -> int:
    """How many numbers an image has; ValueError where decoding them takes more memory than there is."""
    numbers = image.width * image.height * len(image.getbands())
    if numbers <= LARGE_IMAGE:
        return numbers
    file_size = content.stat().st_size if isinstance(content, Path) else content.getbuffer().nbytes
    is_fax = image.format == "TIFF" and image.mode == "1"  # a blank page takes a bit a row
    is_raw, is_bounded = image.tile and image.tile[0][0] == "raw", image.format in BOUNDED_FORMATS and not is_fax
    ratio = 1 if is_raw else MAX_DEFLATE_RATIO if is_bounded else float("inf")
    if numbers > 8 * ratio * file_size:  # a bit each
        raise ValueError(f"it says {image.width} x {image.height} pixels, which its {file_size} bytes cannot hold")
    if DECODE_BYTES * numbers > MAX_MEMORY_SHARE * (free := available_memory()):
        raise ValueError(
            f"its {image.width} x {image.height} pixels take {format_bytes(DECODE_BYTES * numbers)} to decode, more "
            f"than {MAX_MEMORY_SHARE:.0%} of the {format_bytes(free)} of memory that are free: make it smaller, or cut "
            "it in parts"
        )
    return numbers
