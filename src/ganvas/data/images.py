"""Image files, decoded in parallel, to the bytes that a dataset holds."""

import os
import threading
import warnings
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageFile
from torch import Tensor

from .dataset import CHANNELS, convert_channels, resize_and_crop
from .idx import MAX_DEFLATE_RATIO
from .listing import File, error_reason
from .memory import MAX_MEMORY_SHARE, available_memory, check_memory, format_bytes
from .options import Progress
from .pixels import Pixels, read_pixels
from .quantization import Bounds, ValueStats, no_range_reason, quantize_pixels, range_applies, value_stats

LARGE_IMAGE = 2**25
"""numbers of an image from which on one is decoded after the other"""
DECODE_BYTES = 6
"""bytes a number that decoding takes, at most, with what is made of it"""
BOUNDED_FORMATS = ("PNG", "TIFF", "GIF", "BMP", "TGA", "PPM")
"""formats that compress no better than deflate does, a bit a pixel; JPEG and WebP of one colour have no such bound"""
REDUCED_PAGE_BITS = 5
"""bits of a TIFF's NewSubfileType that say a page is a smaller copy, or a mask, of another"""
DECODE_LOCK = threading.Lock()


class Page(NamedTuple):
    """One of the images in a file."""

    file: File
    number: int = 0

    def __str__(self) -> str:
        return f"{self.file}{f' (page {self.number + 1})' if self.number else ''}"

    @property
    def name(self) -> str:
        """The same without folders."""
        return str(self).rpartition("/")[2]


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
    """(c, h, w) of every image, though only those of the first one's size are stored"""
    infos: dict[Page, ImageInfo] = field(default_factory=dict)
    failures: dict[Page, str] = field(default_factory=dict)
    """why pages could not be read"""
    buffers: dict[int, np.ndarray] = field(default_factory=dict)
    stored_counts: Counter[int] = field(default_factory=Counter)
    """images that are stored with so many channels"""

    @property
    def sizes(self) -> Counter[tuple[int, int]]:
        """How many images have each (width, height)."""
        return Counter((w, h) for _, h, w in self.shapes)

    @property
    def channel_counts(self) -> Counter[int]:
        """Images with so many channels, of any size."""
        return Counter(c for c, _, _ in self.shapes)

    def add(self, page: Page, result: ReadResult) -> None:
        """One more."""
        if isinstance(result, str):
            self.failures[page] = result
            return
        x, self.infos[page] = result
        c, h, w = x.shape
        self.shapes.append((c, h, w))
        if self.shapes[0][1:] != (h, w):
            return
        if c not in self.buffers:
            what = f"{self.name}: {self.total} images of {w} x {h} pixels, {CHANNELS[c]},"
            check_memory(self.total * x.numel(), what, "ask for a smaller `size`, or give fewer images")
            self.buffers[c] = np.empty((self.total, c, h, w), np.uint8)  # which takes memory as it is filled
        self.buffers[c][self.stored_counts[c]] = x.numpy()
        self.stored_counts[c] += 1

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
    """Pillow without its limit of pixels, in place of which `check_decodable` has one, and with its warnings in a list.

    Other warnings are given when the block ends.
    """
    old_limit, messages = Image.MAX_IMAGE_PIXELS, list[str]()
    Image.MAX_IMAGE_PIXELS = None
    warning_records: list[warnings.WarningMessage] = []
    try:
        with warnings.catch_warnings(record=True) as warning_records:
            warnings.simplefilter("always")
            yield messages
    finally:
        Image.MAX_IMAGE_PIXELS = old_limit
        for warning in warning_records:
            if "PIL" in Path(warning.filename).parts:
                messages.append(" ".join(str(warning.message).split()))
            else:
                warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def decoder_notes(messages: Sequence[str]) -> list[str]:
    """The note on what the decoder warned of."""
    if not messages:
        return []
    texts = [f"{text} ({n} times)" if n > 1 else text for text, n in Counter(messages).most_common(3)]
    return [f"the decoder warns: {'; '.join(texts)}"]


def list_pages(files: Sequence[File]) -> list[Page]:
    """Every page of TIFFs and every frame of animations; not those of a TIFF that are smaller copies, or masks."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return [page for pages in pool.map(file_pages, files) for page in pages]


def file_pages(file: File) -> list[Page]:
    """Those of one file; its first, where it cannot be read."""
    try:
        with Image.open(file.content()) as image:
            numbers: Sequence[int] = range(count_images(image))
            if image.format == "TIFF":
                numbers = [i for i in numbers if not subfile_type(image, i) & REDUCED_PAGE_BITS] or [0]
            return [Page(file, i) for i in numbers]
    except Exception:  # what is wrong is said when it is read
        return [Page(file)]


def subfile_type(image: ImageFile.ImageFile, number: int) -> int:
    """NewSubfileType of a TIFF's page."""
    image.seek(number)
    value = image.tag_v2.get(254, 0)  # type: ignore[attr-defined]
    return value if isinstance(value, int) else 0


def count_images(image: ImageFile.ImageFile) -> int:
    """Images in a file; a photograph with previews counts as one."""
    return 1 if image.format == "MPO" else int(getattr(image, "n_frames", 1))


def read_all(
    pages: Sequence[Page], size: tuple[int, int] | None, bounds: Bounds | None, alpha: bool
) -> Iterator[ReadResult]:
    """Decode in parallel: Pillow lets other threads run while it does.  Options are those of `read_page`.

    Only a few images are decoded ahead of the reader: else a slow one would have nearly all of them in memory twice.
    """
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        pending: deque[Future[ReadResult]] = deque()
        for page in pages:
            pending.append(pool.submit(read_page, page, size, bounds, alpha))
            if len(pending) > 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def measure_values(pages: Sequence[Page], progress: Progress) -> ValueStats:
    """The least and the greatest number in all the images that can be read, alpha aside."""

    def measure_page(page: Page) -> ValueStats:
        try:
            return value_stats(decode(page)[0].values[..., :3])
        except Exception:  # what is wrong is said when it is read
            return ValueStats()

    total = ValueStats()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for i, result in enumerate(pool.map(measure_page, pages)):
            total += result
            progress(i + 1, 2 * len(pages))
    return total


def read_page(
    page: Page, size: tuple[int, int] | None, bounds: Bounds | None = None, alpha: bool = False
) -> ReadResult:
    """One image, upright as its EXIF orientation says, in its own channels.

    An alpha channel that is opaque everywhere is dropped, unless `alpha` is asked for.
    """
    try:
        pixels, n_pages, _ = decode(page, size)
        values, white = pixels.values, pixels.white
        bounds = bounds if bounds and range_applies(values.dtype, bounds) else None
        stats = value_stats(values[..., :3], bounds) if pixels.is_deep or bounds else None
        if stats and bounds is None and white is None:
            return no_range_reason(pixels.kind, stats)
        if stats:
            values = quantize_pixels(values, bounds or (0.0, float(white or 1)), float(white or 1))
        x = torch.from_numpy(np.array(values.transpose(2, 0, 1), order="C"))
        is_opaque = len(x) == 4 and not alpha and bool((x[3] == 255).all())
        x = x[:3] if is_opaque else x
        x = resize_and_crop(x[None], size)[0] if size else x
        return x, ImageInfo(stats, white or 0, pixels.has_more_bits, n_pages, is_opaque)
    except Exception as error:  # a damaged file can raise anything: struct.error, RuntimeError, ...
        return unreadable_reason(error, page.file)


def unreadable_reason(error: Exception, file: File) -> str:
    """Why a file could not be read, without its folder."""
    if isinstance(error, PermissionError):
        return f"cannot be read ({error_reason(error)})"
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
    if numbers > max_numbers(image, file_size):
        raise ValueError(f"it says {image.width} x {image.height} pixels, which its {file_size} bytes cannot hold")
    if DECODE_BYTES * numbers > MAX_MEMORY_SHARE * (free := available_memory()):
        raise ValueError(
            f"its {image.width} x {image.height} pixels take {format_bytes(DECODE_BYTES * numbers)} to decode, more "
            f"than {MAX_MEMORY_SHARE:.0%} of the {format_bytes(free)} of memory that are free: make it smaller, or cut "
            "it in parts"
        )
    return numbers


def max_numbers(image: ImageFile.ImageFile, size: int) -> float:
    """The most numbers that a file of so many bytes can hold, by its format; infinite where that says nothing."""
    if image.tile and image.tile[0][0] == "raw":
        return 8.0 * size  # a bit each
    is_fax = image.format == "TIFF" and image.mode == "1"  # a blank page takes a bit a row
    if image.format in BOUNDED_FORMATS and not is_fax:
        return 8.0 * MAX_DEFLATE_RATIO * size
    return float("inf")
