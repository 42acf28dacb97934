"""Image files, decoded in parallel, to the bytes or the numbers that a dataset holds."""

import threading
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from io import BytesIO
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageFile
from torch import Tensor

from ..errors import UserError
from ..io.parallel import in_parallel
from .array_files import MAX_DEFLATE_RATIO
from .crop import crop_images, is_on_background, lay_on_background, too_small
from .dataset import CHANNELS, convert_channels
from .decoded import ExampleFile
from .decoder import LARGE_IMAGE, count_images, has_more_levels, reduce_jpeg
from .decoder_processes import Answer, count_processes, with_decoders
from .depth import OPAQUE
from .gif import gif_size
from .listing import IMAGE_SUFFIXES, File, group_size, register_heic
from .memory import MAX_MEMORY_SHARE, available_memory, check_memory, format_bytes
from .options import DataOptions, Progress
from .pixels import Pixels, read_pixels
from .quantization import AUTO, RANGE_HELP, Bounds, ValueStats, auto_bounds, quantize_pixels, range_applies, value_stats
from .unreadable import PassingFailure, lift_pixel_limit, unreadable_reason

SUPPORTED_FORMATS = f"Ganvas reads {', '.join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES))}"
DECODE_BYTES = 6  # bytes a number that decoding takes, at most, with what is made of it
BOUNDED_FORMATS = ("PNG", "TIFF", "GIF", "BMP", "TGA", "PPM")
"""formats that compress no better than deflate does, a bit a pixel; JPEG and WebP of one colour have no such bound"""
NEW_SUBFILE_TYPE, REDUCED_PAGE_BITS = 254, 5
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

    shape: tuple[int, ...]  # c, h, w, of each tile if it was cut into such
    stats: ValueStats | None = None  # its numbers, where these were no bytes or were mapped by a range
    white: int = 255  # the number that is white by the file's format
    has_more_bits: bool = False  # whether the file has more bits than were read
    pages: int = 1  # images in the file
    has_opaque_alpha: bool = False  # whether it had alpha that hides nothing, which was dropped
    dtype: str = "uint8"  # of its numbers as they were read, NumPy's name
    tiles: int = 1  # images that were made of it
    rest: int = 0  # pixels that are in no tile
    is_on_background: bool = False  # whether its alpha was laid on a colour


OpenFile = Callable[[int], ExampleFile]
"""opens a file for images that take so many bytes"""
ReadResult = tuple[np.ndarray, ImageInfo] | str  # images n x c x h x w, one or its tiles, or why it could not be read


@dataclass
class ImageBuffer:
    """Images of one size as they are read, n x c x h x w for each number c of channels: none is held twice."""

    total: int  # most files or pages that there can be
    name: str
    infos: dict[Page, ImageInfo] = field(default_factory=dict)  # of every image, also of those not stored
    failures: dict[Page, str] = field(default_factory=dict)  # why pages could not be read
    buffers: dict[int, np.ndarray] = field(default_factory=dict)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)  # images with each (width, height)
    channel_counts: Counter[int] = field(default_factory=Counter)  # images with so many channels, of any size
    n_stored: Counter[int] = field(default_factory=Counter)  # images in each buffer, tiles counted
    stats: ValueStats = field(default_factory=ValueStats)  # of numbers that are no bytes, or that a range maps
    bounds: Bounds | None = None  # the numbers that are black and white, if these were asked for
    is_auto: bool = False  # whether these are the lowest and the highest of deep images
    is_deep: bool = False  # whether numbers are kept, as float32
    decoder_notes: Sequence[str] = ()
    open_file: OpenFile | None = None  # where images are written to files; else they are in memory
    example_files: dict[int, ExampleFile] = field(default_factory=dict)

    def add(self, page: Page, result: ReadResult) -> None:
        if isinstance(result, str):
            self.failures[page] = result
            return
        x, info = result
        self.infos[page], self.stats = info, (self.stats + info.stats if info.stats else self.stats)
        n, c, h, w = x.shape
        self.sizes[w, h] += 1
        self.channel_counts[c] += 1
        if len(self.sizes) > 1:  # an error when all are counted
            return
        if self.open_file:
            if c not in self.example_files:
                self.example_files[c] = self.open_file(self.total * x[0].nbytes)
            self.example_files[c].write(x)
            return
        stored, end = self.n_stored[c], self.n_stored[c] + n
        length = len(self.buffers.get(c, ()))
        if end > length:  # of tiles nobody knows how many there will be
            more = max(self.total, end) if c not in self.buffers else end + end // 4 - length
            what = f"{self.name}: {more} images of {w} x {h} pixels, {CHANNELS[c]},"
            check_memory(more * x[0].nbytes, what, "ask for a smaller `size`, or give fewer images")
            if c in self.buffers:
                self.buffers[c].resize((length + more, c, h, w), refcheck=False)  # grows where it is, if it can
            else:  # which takes memory as it is filled
                self.buffers[c] = np.empty((more, c, h, w), np.float32 if self.is_deep else np.uint8)
        self.buffers[c][stored:end] = x
        self.n_stored[c] = end

    @property
    def pages(self) -> list[Page]:
        """The page of each image: once for each of its tiles."""
        return [page for page, info in self.infos.items() for _ in range(info.tiles)]

    @property
    def is_complete(self) -> bool:
        """Whether what could not be read never can be."""
        return not any(isinstance(why, PassingFailure) for why in self.failures.values())

    @property
    def names(self) -> tuple[str, ...]:
        """What each image is called: its page, and which tile of it, if it was cut into several."""
        return tuple(
            f"{page} (tile {i + 1})" if info.tiles > 1 else str(page)
            for page, info in self.infos.items() for i in range(info.tiles)
        )  # fmt: skip

    def stack(self, channels: int) -> Tensor:
        """All of them with so many channels; only once.  `stats` and `bounds` of deep ones are then of these."""
        x = self.join(channels)
        if self.is_deep and max(self.channel_counts) > channels:  # alpha was laid on white, or colours made grey
            self.stats = value_stats(x.numpy(), self.bounds)
        if self.is_auto and self.stats.count:
            self.bounds = auto_bounds(self.stats, self.name)
        return x

    def join(self, channels: int) -> Tensor:
        """The same, but for `stats` and `bounds`."""
        if list(self.example_files) == [channels]:
            file = self.example_files[channels]
            file.is_as_read = not any(info.has_opaque_alpha for info in self.infos.values())
            file.is_complete = self.is_complete
            return file.map()
        if list(self.buffers) == [channels]:
            return torch.from_numpy(self.buffers.pop(channels)[: self.n_stored[channels]])
        shapes = [info.shape for info in self.infos.values() for _ in range(info.tiles)]
        arrays = {c: file.map().numpy() for c, file in self.example_files.items()} | self.buffers
        images = {c: iter(x) for c, x in arrays.items()}
        convert = partial(convert_channels, channels=channels, alpha=self.is_deep)
        examples = (convert(torch.from_numpy(next(images[c]))[None]) for c, _, _ in shapes)
        if self.open_file:
            file = self.open_file(len(shapes) * prod((channels, *shapes[0][1:])) * (4 if self.is_deep else 1))
            for example in examples:
                file.write(example.numpy())
            file.is_complete = self.is_complete
            return file.map()
        x = torch.empty((len(shapes), channels, *shapes[0][1:]), dtype=torch.float32 if self.is_deep else torch.uint8)
        for target, example in zip(x, examples, strict=True):
            target.copy_(example[0])
        return x

    @property
    def dtype(self) -> str:
        """The type that holds the numbers of all images, where they are kept."""
        return np.result_type(*(np.dtype(info.dtype) for info in self.infos.values())).name if self.is_deep else ""


def file_pages(file: File) -> list[Page]:
    """Every page of a TIFF but smaller copies and masks, every frame of an animation; one, where it cannot be read."""
    pages = []
    try:
        with open_image(content := file.content()) as image:
            check_decodable(content, image)
            for i in range(count_images(image)):
                kind = 0
                if image.format == "TIFF":
                    image.seek(i)
                    kind = image.tag_v2.get(NEW_SUBFILE_TYPE, 0)  # type: ignore[attr-defined]
                if not (isinstance(kind, int) and kind & REDUCED_PAGE_BITS):
                    pages.append(Page(file, i))
    except Exception:  # what is wrong is said when it is read
        return [Page(file)]
    return pages or [Page(file)]


def measure_page(page: Page) -> ValueStats:
    """The least and the greatest number in an image that can be read, alpha aside."""
    with suppress(Exception):  # what is wrong is said when it is read
        return value_stats(decode(page)[0].values[..., :3])
    return ValueStats()


def read_images(
    files: Sequence[File], options: DataOptions, name: str, progress: Progress, open_file: OpenFile | None = None
) -> ImageBuffer:
    """The images in the files of a source with this name, in memory or in files that `open_file` opens."""
    pages, bounds, n_measured = [Page(file) for file in files], options.bounds, 0
    with lift_pixel_limit() as decoder_notes:
        if options.pages == "all":
            pages = [page for several in in_parallel(file_pages, files) for page in several]
        if options.bits != 8 and has_deep_header(pages):
            deep_images = read_numbers(pages, options, name, progress, open_file)
            if deep_images is not None:
                deep_images.decoder_notes = decoder_notes
                return deep_images
        if bounds == AUTO:
            stats = ValueStats()
            for n_measured, page_stats in enumerate(in_parallel(measure_page, pages), 1):
                stats += page_stats
                progress(n_measured, 2 * len(pages))
            bounds = auto_bounds(stats, name) if stats.count else None
        images = ImageBuffer(len(pages), name, bounds=bounds, decoder_notes=decoder_notes, open_file=open_file)
        with closing(read_pages(pages, options, bounds)) as results:
            for i, (page, result) in enumerate(zip(pages, results, strict=True), n_measured + 1):
                images.add(page, result)
                progress(i, n_measured + len(pages))
    return images


def read_pages(pages: Sequence[Page], options: DataOptions, bounds: Bounds | None) -> Generator[ReadResult, None, None]:
    """`read_page` of each, in order, in threads, to which processes give what they decode where files are many."""
    files, read = [page.file for page in pages], partial(read_page, options=options, bounds=bounds)
    if n := count_processes(files):
        return with_decoders(read, pages, n, reduced_size(options))
    return in_parallel(read, pages, group=group_size(files))


def read_numbers(
    pages: Sequence[Page], options: DataOptions, name: str, progress: Progress, open_file: OpenFile | None
) -> ImageBuffer | None:
    """The images, if all that can be read have numbers beyond bytes; else None."""
    bounds, is_auto = None if options.bounds == AUTO else options.bounds, options.bounds == AUTO
    images = ImageBuffer(len(pages), name, bounds=bounds, is_auto=is_auto, is_deep=True, open_file=open_file)
    read = partial(read_deep_page, options=options, bounds=bounds)
    for i, (page, result) in enumerate(zip(pages, in_parallel(read, pages), strict=True), 1):
        if not result:
            return None
        images.add(page, result)
        progress(i, len(pages))
    return images if images.infos else None


def has_deep_header(pages: Sequence[Page]) -> bool:
    """Whether the first of the images that can be opened has numbers beyond bytes."""
    for page in pages:
        with suppress(Exception), open_image(page.file.content()) as image:  # what is wrong is said when it is read
            return has_more_levels(image)
    return False


def read_deep_page(page: Page, options: DataOptions, bounds: Bounds | None) -> ReadResult:
    """One image or its tiles, upright, its numbers as float32; no text where it has bytes, or alpha of other kinds."""
    try:
        pixels, n_pages, _ = decode(page)
        values = pixels.values
        if values.dtype == np.uint8 or (4 in (values.shape[2], options.channels) and pixels.white != OPAQUE):
            return ""
        x, is_opaque = drop_opaque(np.array(values.transpose(2, 0, 1), np.float32, order="C"), OPAQUE, options)
        stats = colour_stats(torch.from_numpy(x), options, bounds)
        info = ImageInfo(x.shape, stats, pixels.white or 0, False, n_pages, is_opaque, values.dtype.name)
        return fit(x, options, info, alpha=len(x) == 4)
    except UserError:  # a damaged shard, not only this image
        raise
    except Exception as error:  # a damaged file can raise anything
        return unreadable_reason(error, page.file)


def read_page(page: Page, answer: Answer = None, *, options: DataOptions, bounds: Bounds | None) -> ReadResult:
    """One image or its tiles, upright, in its own channels; opaque alpha is dropped unless 4 channels are asked for.

    `answer` is what a process has made of it, if one was asked.
    """
    if isinstance(answer, PassingFailure):
        return answer
    try:
        pixels, n_pages = answer or decode(page, reduced_size(options))[:2]
        values, white = pixels.values, pixels.white
        bounds = bounds if bounds and range_applies(values.dtype, bounds) else None
        stats = value_stats(values[..., :3], bounds) if bounds or values.dtype != np.uint8 else None
        if stats and bounds is None and white is None:
            what = f"{pixels.kind} from {stats.low:g} to {stats.high:g}"
            return f"{what} have no black and white of their own: {RANGE_HELP}"
        if stats:
            values = quantize_pixels(values, bounds or (0.0, float(white or 1)), float(white or 1))
        x, is_opaque = drop_opaque(np.array(values.transpose(2, 0, 1), order="C"), 255, options)
        return fit(x, options, ImageInfo(x.shape, stats, white or 0, pixels.has_more_bits, n_pages, is_opaque))
    except UserError:  # a damaged shard, not only this image
        raise
    except Exception as error:  # a damaged file can raise anything: struct.error, RuntimeError, ...
        return unreadable_reason(error, page.file)


def colour_stats(x: Tensor, options: DataOptions, bounds: Bounds | None) -> ValueStats:
    """The numbers of a deep image c x h x w: of one with alpha, those of its colours that are seen."""
    if len(x) == 4:
        x = lay_on_background(x[None], options, True)[0] if options.background else x[:3, x[3] > 0]
    return value_stats(x.numpy(), bounds) if x.numel() else ValueStats()


def drop_opaque(values: np.ndarray, opaque: int, options: DataOptions) -> tuple[np.ndarray, bool]:
    """An image c x h x w without alpha that hides nothing, unless 4 channels are asked for; and whether it had such."""
    is_opaque = len(values) == 4 and options.channels != 4 and bool((values[3] == opaque).all())
    return values[:3] if is_opaque else values, is_opaque


def fit(values: np.ndarray, options: DataOptions, info: ImageInfo, alpha: bool = False) -> ReadResult:
    """An image c x h x w, laid on the background and cropped as the options say, with that in its info.

    `alpha` says whether the fourth channel of a deep one is such.
    """
    h, w = values.shape[1:]
    if options.background is None and options.image_size in (None, (h, w)):  # torch would only make other threads wait
        return values[None], info
    x = torch.from_numpy(values)[None]
    on_colour, on_background = lay_on_background(x, options, alpha), is_on_background(x, options, alpha)
    images = crop_images(on_colour, options, alpha and on_colour.shape[1] == 4).numpy()
    if options.image_size and not len(images):
        return too_small(h, w, options.image_size)
    rest = h * w - len(images) * images[0, 0].size if options.crop == "tiles" else 0
    return images, replace(info, shape=images.shape[1:], tiles=len(images), rest=rest, is_on_background=on_background)


def reduced_size(options: DataOptions) -> tuple[int, int] | None:
    """The size, height and width, that JPEGs may be reduced to as they are decoded."""
    return options.image_size if options.crop in (None, "center", "pad") else None


def decode(page: Page, size: tuple[int, int] | None = None) -> tuple[Pixels, int, str]:
    """The numbers of an image, how many images its file has, and its format; large ones one after the other."""
    content = page.file.content()
    register_heic()  # files with other suffixes may be such
    with open_image(content) as image:
        check_decodable(content, image)  # to count and seek in an animation makes room for its pixels
        n_pages = count_images(image)
        image.seek(page.number)
        if size:
            reduce_jpeg(image, size)
        with nullcontext() if check_decodable(content, image) < LARGE_IMAGE else DECODE_LOCK:
            return read_pixels(content, image), n_pages, image.format or "PNG"


def open_image(content: Path | BytesIO) -> ImageFile.ImageFile:
    """An image to read.  A GIF whose frames are too large is refused before: Pillow makes room as it comes to them."""
    if size := gif_size(content):
        check_size(content, *size, 1, float(MAX_DEFLATE_RATIO))
    return Image.open(content)


def check_decodable(content: Path | BytesIO, image: ImageFile.ImageFile) -> int:
    """How many numbers an image has; raises as `check_size` does, and ValueError where no strip of a TIFF has a row."""
    is_fax = image.format == "TIFF" and image.mode == "1"  # a blank page takes a bit a row
    is_raw, is_bounded = image.tile and image.tile[0][0] == "raw", image.format in BOUNDED_FORMATS and not is_fax
    ratio = 1.0 if is_raw else float(MAX_DEFLATE_RATIO) if is_bounded else float("inf")
    numbers = check_size(content, image.width, image.height, len(image.getbands()), ratio)
    rows = max((tile.extents[3] for tile in image.tile if tile.extents), default=image.height)
    if image.format == "TIFF" and rows < image.height:  # Pillow would leave the others black
        raise ValueError(f"it says {image.height} rows of pixels, and has {rows}")
    return numbers


def check_size(content: Path | BytesIO, width: int, height: int, bands: int, ratio: float) -> int:
    """How many numbers an image has; ValueError for more than its file can hold, MemoryError where memory cannot."""
    numbers = width * height * bands
    if numbers <= LARGE_IMAGE:
        return numbers
    file_size = content.stat().st_size if isinstance(content, Path) else content.getbuffer().nbytes
    if numbers > 8 * ratio * file_size:  # a bit each
        raise ValueError(f"it says {width} x {height} pixels, which its {file_size} bytes cannot hold")
    if DECODE_BYTES * numbers > MAX_MEMORY_SHARE * (free := available_memory()):
        need = f"its {width} x {height} pixels take {format_bytes(DECODE_BYTES * numbers)} to decode"
        limit = f"more than {MAX_MEMORY_SHARE:.0%} of the {format_bytes(free)} of memory that are free"
        raise MemoryError(f"{need}, {limit}: make it smaller, or cut it in parts")
    return numbers
