"""Image files, decoded in parallel, to the bytes that a collection holds."""

import os
import threading
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageFile
from torch import Tensor

from .collection import CHANNELS, fitted, with_channels
from .depth import Pixels, pixels_of
from .files import DEFLATED
from .levels import Bounds, Seen, covers, no_white, painted, seen_in
from .listing import File, reason
from .memory import SHARE, available, check_room, gib

Progress = Callable[[int, int], None]
LARGE = 2**25
"""numbers of an image from which on one is decoded after the other"""
COPIES = 6
"""bytes a number that decoding takes, at most, with what is made of it"""
DENSE = ("PNG", "TIFF", "GIF", "BMP", "TGA", "PPM")
"""formats that compress no better than deflate does, a bit a pixel; JPEG and WebP of one colour have no such bound"""
REDUCED = 5
"""bits of a TIFF's NewSubfileType that say a page is a smaller copy, or a mask, of another"""
ALONE = threading.Lock()


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
class Picture:
    """An image as it was read."""

    x: Tensor
    """c x h x w bytes"""
    deep: Seen | None = None
    """its numbers, where these were no bytes or were mapped by a range"""
    white: int = 255
    """the number that is white by the file's format"""
    lost: bool = False
    """whether the file has more bits than were read"""
    pages: int = 1
    """images in the file"""
    opaque: bool = False
    """whether it had alpha that hides nothing, which was dropped"""

    def without_pixels(self) -> "Picture":
        """What is known of it."""
        return replace(self, x=self.x.new_empty(0))


Read = Picture | str
"""an image, or why it could not be read"""


@dataclass
class Images:
    """Images of one size as they are read, bytes n x c x h x w for each number c of channels: none is held twice."""

    total: int
    """most images that there can be"""
    name: str
    kept: dict[int, np.ndarray] = field(default_factory=dict)
    order: list[tuple[int, int]] = field(default_factory=list)
    """channels of each image, and its place among those"""
    each: list[tuple[int, int]] = field(default_factory=list)
    """(width, height) of every image, though only those of the first one's size are kept"""
    have: Counter[int] = field(default_factory=Counter)
    """images that are kept with so many channels"""
    channels: Counter[int] = field(default_factory=Counter)
    """images with so many channels, of any size"""

    @property
    def sizes(self) -> Counter[tuple[int, int]]:
        """How many images have each (width, height)."""
        return Counter(self.each)

    def add(self, x: Tensor) -> None:
        """One more."""
        c, h, w = x.shape
        self.each.append((w, h))
        self.channels[c] += 1
        if self.each[0] != (w, h):
            return
        if c not in self.kept:
            what = f"{self.name}: {self.total} images of {w} x {h} pixels, {CHANNELS[c]},"
            check_room(self.total * x.numel(), what, "ask for a smaller `size`, or give fewer images")
            self.kept[c] = np.empty((self.total, c, h, w), np.uint8)  # which takes memory as it is filled
        self.kept[c][self.have[c]] = x.numpy()
        self.order.append((c, self.have[c]))
        self.have[c] += 1

    @property
    def usual(self) -> int:
        """The channels that the majority takes: 4 where most have alpha, 3 where half or more have colours, else 1."""
        if 2 * self.channels[4] > len(self.each):
            return 4
        return 3 if 2 * (self.channels[3] + self.channels[4]) >= len(self.each) else 1

    def stacked(self, channels: int) -> Tensor:
        """All of them with so many channels; only once."""
        if list(self.kept) == [channels]:
            return torch.from_numpy(self.kept.pop(channels)[: len(self.order)])
        first = next(iter(self.kept.values()))
        x = torch.empty((len(self.order), channels, *first.shape[2:]), dtype=torch.uint8)
        for i, (c, place) in enumerate(self.order):
            x[i] = with_channels(torch.from_numpy(self.kept[c][place])[None], channels)[0]
        return x


@contextmanager
def unbounded() -> Iterator[list[str]]:
    """Pillow without its limit of pixels, in place of which `checked` has one, and with its warnings in a list.

    Other warnings are given when the block ends.
    """
    before, said = Image.MAX_IMAGE_PIXELS, list[str]()
    Image.MAX_IMAGE_PIXELS = None
    caught: list[warnings.WarningMessage] = []
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield said
    finally:
        Image.MAX_IMAGE_PIXELS = before
        for warning in caught:
            if "PIL" in Path(warning.filename).parts:
                said.append(" ".join(str(warning.message).split()))
            else:
                warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def of_warnings(said: Sequence[str]) -> list[str]:
    """The note on what the decoder warned of."""
    if not said:
        return []
    counted = [f"{text} ({n} times)" if n > 1 else text for text, n in Counter(said).most_common(3)]
    return [f"the decoder warns: {'; '.join(counted)}"]


def pages_of(files: Sequence[File]) -> list[Page]:
    """Every page of TIFFs and every frame of animations; not those of a TIFF that are smaller copies, or masks."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return [page for pages in pool.map(pages_in, files) for page in pages]


def pages_in(file: File) -> list[Page]:
    """Those of one file; its first, where it cannot be read."""
    try:
        with Image.open(file.content()) as image:
            numbers = range(count(image))
            if image.format == "TIFF":
                numbers_kept = [i for i in numbers if not subfile(image, i) & REDUCED]
                return [Page(file, i) for i in numbers_kept or [0]]
            return [Page(file, i) for i in numbers]
    except Exception:  # what is wrong is said when it is read
        return [Page(file)]


def subfile(image: ImageFile.ImageFile, number: int) -> int:
    """NewSubfileType of a TIFF's page."""
    image.seek(number)
    found = image.tag_v2.get(254, 0)  # type: ignore[attr-defined]
    return found if isinstance(found, int) else 0


def count(image: ImageFile.ImageFile) -> int:
    """Images in a file; a photograph with previews counts as one."""
    return 1 if image.format == "MPO" else int(getattr(image, "n_frames", 1))


def read_all(
    pages: Sequence[Page], size: tuple[int, int] | None, bounds: Bounds | None, alpha: bool, progress: Progress
) -> Iterator[Read]:
    """Decode in parallel: Pillow lets other threads run while it does.  Options are those of `read_image`.

    Only a few images are decoded ahead of the reader: else a slow one would have nearly all of them in memory twice.
    """
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        ahead: deque[Future[Read]] = deque()
        for i in range(len(pages) + 2 * workers):
            if i < len(pages):
                ahead.append(pool.submit(read_image, pages[i], size, bounds, alpha))
            if i >= 2 * workers and ahead:
                yield ahead.popleft().result()
                progress(i + 1 - 2 * workers, len(pages))


def extremes(pages: Sequence[Page], progress: Progress) -> Seen:
    """The least and the greatest number in all the images that can be read, alpha aside."""

    def of(page: Page) -> Seen:
        try:
            return seen_in(colours(decoded(page)[0]))
        except Exception:  # what is wrong is said when it is read
            return Seen()

    found = Seen()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for i, result in enumerate(pool.map(of, pages)):
            found += result
            progress(i + 1, 2 * len(pages))
    return found


def read_image(page: Page, size: tuple[int, int] | None, bounds: Bounds | None = None, alpha: bool = False) -> Read:
    """One image, upright as its EXIF orientation says, in its own channels.

    An alpha channel that is opaque everywhere is dropped, unless `alpha` is asked for.
    """
    try:
        pixels, pages, _ = decoded(page, size)
        values = pixels.values
        bounds = bounds if bounds and covers(values.dtype, bounds) else None
        seen = seen_in(colours(pixels), bounds) if pixels.deep or bounds else None
        if seen and bounds is None and pixels.white is None:
            return no_white(pixels.kind, seen)
        if seen:
            white = float(pixels.white or 1)
            values = painted(values, bounds or (0.0, white), white)
        x = torch.from_numpy(np.array(values.transpose(2, 0, 1), order="C"))
        opaque = len(x) == 4 and not alpha and bool((x[3] == 255).all())
        x = x[:3] if opaque else x
        x = fitted(x[None], size)[0] if size else x
        return Picture(x, seen, pixels.white or 0, pixels.lost, pages, opaque)
    except Exception as error:  # a damaged file can raise anything: struct.error, RuntimeError, ...
        return unread(error, page.file)


def unread(error: Exception, file: File) -> str:
    """Why a file could not be read, without its folder."""
    if isinstance(error, PermissionError):
        return f"cannot be read ({reason(error)})"
    said, path = str(error), str(file.path)
    return said.replace(path, file.name).replace(repr(path)[1:-1], file.name) or type(error).__name__


def decoded(page: Page, size: tuple[int, int] | None = None) -> tuple[Pixels, int, str]:
    """The numbers of an image, how many images its file has, and its format; large ones one after the other."""
    content = page.file.content()
    with Image.open(content) as image:
        pages = count(image)
        image.seek(page.number)
        if size:  # a JPEG decodes straight to a half, a quarter or an eighth, still above the size asked for
            image.draft(None, (size[1] * 2, size[0] * 2))
        if checked(content, image) < LARGE:
            return pixels_of(content, image), pages, image.format or "PNG"
        with ALONE:
            return pixels_of(content, image), pages, image.format or "PNG"


def checked(content: Path | BytesIO, image: ImageFile.ImageFile) -> int:
    """How many numbers an image has; ValueError where decoding them takes more memory than there is."""
    numbers = image.width * image.height * len(image.getbands())
    there = content.stat().st_size if isinstance(content, Path) else content.getbuffer().nbytes
    if numbers > LARGE and numbers > most_in(image, there):
        raise ValueError(f"it says {image.width} x {image.height} pixels, which its {there} bytes cannot hold")
    if numbers > LARGE and COPIES * numbers > SHARE * available():
        raise ValueError(
            f"its {image.width} x {image.height} pixels take {gib(COPIES * numbers)} to decode, more than "
            f"{SHARE:.0%} of the {gib(available())} of memory that are free: make it smaller, or cut it in parts"
        )
    return numbers


def most_in(image: ImageFile.ImageFile, size: int) -> float:
    """The most numbers that a file of so many bytes can hold, by its format; infinite where that says nothing."""
    if image.tile and image.tile[0][0] == "raw":
        return 8.0 * size  # a bit each
    faxed = image.format == "TIFF" and image.mode == "1"  # a blank page takes a bit a row
    if image.format in DENSE and not faxed:
        return 8.0 * DEFLATED * size
    return float("inf")


def colours(pixels: Pixels) -> np.ndarray:
    """The numbers of an image without its alpha."""
    return pixels.values[:, :, :3] if pixels.values.shape[2] == 4 else pixels.values
