"""Examples to look at: images as grids, vectors as plots, and the files that hold them."""

import io
import re
import shlex
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import png
import torch
from PIL import Image, ImageDraw, ImageFont, ImageOps
from torch import Tensor
from torch.nn.functional import pad

from ..data import Scaling
from ..data.tables.scaling import TableScaling
from ..data.tables.write import TABLE_WRITERS
from ..data.unreadable import lift_pixel_limit
from ..errors import UserError
from ..escape import escape_text
from ..io.atomic import atomic_write
from ..io.parallel import in_parallel
from ..model import kind_of
from .plots import TEXT_COLOUR, line_grid, plot_paths, scatter, scatter_by_class
from .tables import render_rows

Labels = tuple[str, ...]
GAP, TEXT_SIZE, MARGIN = 2, 12, 6
"""pixels between the images of a grid, of the words beside it, and around these"""
PICTURE_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
"""Pillow's formats by the suffixes of files that are written as one picture"""
ANIMATION_SUFFIXES = (".gif", ".webp")
VIDEO_SUFFIXES = (".mp4", ".mov", ".webm", ".mkv", ".avi")
MAX_FRAMES, MAX_FRAME_SIDE, STEP_MILLISECONDS, PREVIEW_MILLISECONDS, PAUSE_MILLISECONDS = 100, 1000, 40, 150, 1000
"""most previews of an animation, pixels of their longer side; how long a step of a walk, a preview, an end is shown"""
MIN_GRID_SIDE, MIN_IMAGE_SIDE, MAX_GRID_SIDE = 512, 64, 1600
"""pixels to which a grid's longer side, or an image in it, is enlarged by a whole number; the latter within the last"""
SIGNAL_SIZE = (60, 130)
"""pixels of the plot of a signal, height and width"""
MAX_CLASS_NAME_LENGTH = 40
"""characters of a class in a file's name"""
WRITERS, PNG_LEVEL = 4, 4
"""threads that write single images, and their compression: 1% more bytes than by zlib's level of 6, in half the time"""


@dataclass(frozen=True, eq=False, repr=False)
class Examples:
    """Examples as a person sees them: uint8 images n x c x h x w, or float32 vectors n x d.

    By a `scaling` of such, deep images: numbers n x c x h x w in the units of the source, c from 1 to 16; signals
    n x c x length, drawn as lines; or volumes n x c x d x h x w, of which pictures show the middle slices.
    """

    x: Tensor
    columns: int | None = None
    """images in a row of the grid, else about as many as rows; vectors in one line of a plot, if any"""
    title: str = ""
    """what the picture shows"""
    row_labels: Labels = ()
    """what stands beside each row, or in a plot's legend"""
    column_labels: Labels = ()
    """what stands above each column"""
    background: Tensor | None = None
    """further vectors, which a plot shows in grey"""
    labels: Tensor | None = None
    """the number of each example's class; a plot of vectors has colours for them where `row_labels` name the classes"""
    classes: tuple[str, ...] = ()
    """names of the classes, which files keep beside the labels"""
    is_walk: bool = False
    """whether rows of images are walks, which an animation shows all at once, there and back"""
    metadata: dict[str, Any] = field(default_factory=dict)
    """numbers that belong to the picture"""
    scaling: Scaling = Scaling()  # noqa: RUF009  a constant
    """of deep images: the type of their numbers in files, and which of them a picture shows black and white; of a
    table's rows what their numbers mean"""
    notes: tuple[str, ...] = ()
    """what a reader should know of them"""

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        """How many, of which shape, and how many classes, if any."""
        n, *shape = self.x.shape
        kind, text = kind_of(tuple(shape)), f", {len(self.classes)} classes" if self.classes else ""
        return f"Examples({n} {kind}{'' if n == 1 else 's'} of {'x'.join(map(str, shape))}{text})"

    def frame(self) -> Any:
        """The rows of a table as a pandas DataFrame, with the columns, types and formats of its source."""
        assert isinstance(self.scaling, TableScaling)
        from ..data.tables.frame import to_frame

        frame = to_frame(self.scaling.columns, self.x.numpy())
        frame.attrs |= self.metadata
        return frame

    def numpy(self) -> np.ndarray:
        """Images as n x h x w x c bytes, deep ones as numbers of their source's type; all others as they are."""
        x: np.ndarray = (self.x.movedim(1, -1) if self.x.ndim == 4 else self.x).cpu().numpy()
        return x.astype(self.scaling.dtype) if self.scaling.is_deep and x.ndim > 2 else x

    @property
    def visible(self) -> Tensor:
        """What a grid has: bytes of pictures, or signals with numbers in [0, 1]."""
        if not self.scaling.is_deep:
            return self.x
        unit = self.scaling.to_unit(self.x)
        return Scaling().from_unit(unit).cpu() if self.scaling.premultiplied else to_visible(unit)

    def render(self) -> Image.Image:
        """A grid of the images, signals or volumes, or a plot of the vectors' first two dimensions."""
        if isinstance(self.scaling, TableScaling):
            return render_rows(self.frame(), self.title)
        if self.x.ndim > 2:
            columns = grid_columns(x := self.visible, self.columns)
            return add_captions(grid(x, columns), self.title, self.row_labels, self.column_labels, columns)
        if self.labels is not None and self.row_labels:
            return scatter_by_class(self.x, self.labels, self.row_labels, self.title)
        if self.columns is not None:
            return plot_paths(self.x, self.columns, self.row_labels, self.background, self.title)
        return scatter([self.x], self.title)

    def save(self, path: str | Path) -> None:
        """Write a picture (.png, .jpg, .webp), an array (.npy, .npz), or into a folder one PNG an image.

        Pictures have no alpha, the others keep it.  Walks become an animation (.gif, .webp).  Labels, if any, are y and
        classes in a .npz, and part of names in a folder.  Overwrites files; UserError for any other suffix.
        """
        path = Path(path)
        content, suffix = io.BytesIO(), path.suffix.lower()
        if suffix == "" or path.is_dir():
            self.save_images(path)
            return
        if self.is_walk and suffix in ANIMATION_SUFFIXES:
            grids = [grid(x) for x in self.visible.unflatten(0, (-1, self.columns or 1)).unbind(1)]
            content.write(encode_animation(grids + grids[-2:0:-1], STEP_MILLISECONDS, {0, len(grids) - 1}, suffix))
        elif suffix in PICTURE_FORMATS:
            content.write(encode_picture(self.render(), suffix))
        elif suffix == ".npy":
            np.save(content, self.numpy())
        elif suffix == ".npz":
            y = self.labels if self.classes else None
            labels = {} if y is None else {"y": y.cpu().numpy(), "classes": np.array(self.classes)}
            np.savez_compressed(content, x=self.numpy(), **labels)  # type: ignore[arg-type]
        elif suffix in TABLE_WRITERS and isinstance(self.scaling, TableScaling):
            content.write(TABLE_WRITERS[suffix](self.frame(), self.scaling.columns, self.scaling.file_format))
        elif self.is_walk and suffix in VIDEO_SUFFIXES:
            webp, gif = (str(path.with_suffix(other)) for other in (".webp", ".gif"))
            advice = f"write {webp} or {gif}; {shlex.join(['ffmpeg', '-i', gif, str(path)])} then makes a video"
            raise UserError(f"cannot write {path}, a video: {advice}")
        else:
            pictures = ".png or .jpg, in .gif or .webp for an animation, in" if self.is_walk else ".png, .jpg, .webp,"
            raise UserError(f"cannot write {path}: end its name in {pictures} .npy or .npz, or give a folder")
        with atomic_write(path) as temporary:
            temporary.write_bytes(content.getvalue())

    def save_images(self, folder: Path) -> None:
        """One PNG an image, 00000.png, 00001.png, ..., or 00000-food.png with its class; UserError for others.

        Deep images of uint16, grey, RGB or with alpha, are PNGs of 16 bits; grey ones that fit into int32 or float32
        are TIFFs; others are .npy, h x w x c.
        """
        if (kind := kind_of(tuple(self.x.shape[1:]))) != "image":
            raise UserError(f"{kind}s are no pictures: write them to {folder}.npz instead")

        def write(i: int) -> None:
            name = f"{i:05d}"
            if self.labels is not None and self.classes:
                name += "-" + re.sub(r"[^\w-]", "-", self.classes[int(self.labels[i])][:MAX_CLASS_NAME_LENGTH])
            content, suffix = encode_image(numbers[i], alpha) if self.scaling.is_deep else (b"", ".png")
            with atomic_write(folder / f"{name}{suffix}") as temporary:
                if content:
                    temporary.write_bytes(content)
                else:
                    to_pil(self.x[i]).save(temporary, "PNG", compress_level=PNG_LEVEL)

        numbers, alpha = self.numpy() if self.scaling.is_deep else np.empty(0), self.scaling.premultiplied
        deque(in_parallel(write, range(len(self)), WRITERS), maxlen=0)

    def _repr_png_(self) -> bytes:
        """The picture, for notebooks."""
        return encode_picture(self.render())


def encode_picture(picture: Image.Image, suffix: str = ".png") -> bytes:
    """The content of a file with this suffix."""
    content = io.BytesIO()
    picture.save(content, PICTURE_FORMATS[suffix])
    return content.getvalue()


def encode_animation(frames: Sequence[Image.Image], milliseconds: int, pauses: set[int], suffix: str) -> bytes:
    """The content of a .gif or .webp that loops, each frame shown for so long, those at `pauses` for longer."""
    content, size = io.BytesIO(), frames[-1].size
    first, *others = (frame if frame.size == size else frame.resize(size) for frame in frames)
    durations = [PAUSE_MILLISECONDS if i in pauses else milliseconds for i in range(len(frames))]
    first.save(content, suffix[1:], save_all=True, append_images=others, duration=durations, loop=0, lossless=True)
    return content.getvalue()


def encode_previews(previews: Sequence[Path]) -> bytes:
    """The content of a .webp that shows previews, named by their steps, one after another; empty for fewer than two."""
    frames, last = list[Image.Image](), len(previews) - 1
    for i in sorted({round(k * last / (MAX_FRAMES - 1)) for k in range(MAX_FRAMES)} if last > 0 else ()):
        with suppress(OSError, SyntaxError), lift_pixel_limit(), Image.open(previews[i]) as picture:
            picture.thumbnail((MAX_FRAME_SIDE, MAX_FRAME_SIDE))
            frames.append(add_captions(picture, f"step {int(previews[i].stem)}"))
    return encode_animation(frames, PREVIEW_MILLISECONDS, {len(frames) - 1}, ".webp") if len(frames) > 1 else b""


def save_pictures(parts: Sequence[Examples], path: Path) -> None:
    """Save examples as `Examples.save` does; those of several, as one picture in which they are side by side."""
    if len(parts) == 1:
        parts[0].save(path)
        return
    pictures = [part.render() for part in parts]
    width = sum(p.width for p in pictures) + (len(parts) - 1) * 8 * GAP
    canvas, left = Image.new("RGB", (width, max(p.height for p in pictures)), "white"), 0
    for picture in pictures:
        canvas.paste(picture, (left, 0))
        left += picture.width + 8 * GAP
    if path.suffix.lower() not in PICTURE_FORMATS:
        raise UserError(f"cannot write {path}: end its name in .png, .jpg or .webp")
    with atomic_write(path) as temporary:
        temporary.write_bytes(encode_picture(canvas, path.suffix.lower()))


def preview(rows: Tensor, scaling: Scaling) -> Image.Image:
    """Rows x columns of a model's outputs as one picture: a grid of images, or a scatter plot a row of vectors.

    Deep images are black and white at the ends of the range that the model has pixels in.
    """
    flat = rows.flatten(0, 1).float().cpu()
    if scaling.is_deep and scaling.premultiplied:
        scaling = Scaling(scaling.pixel_range, premultiplied=True)
    if scaling.is_deep:
        low, high = scaling.pixel_range
        return Examples(to_visible((flat - low) / (high - low)), rows.shape[1]).render()
    x = scaling.inverse(rows.flatten(0, 1)).cpu()
    return scatter(list(x.split(rows.shape[1]))) if x.ndim == 2 else Examples(x, rows.shape[1]).render()


def to_visible(x: Tensor) -> Tensor:
    """Images or the middle slices of volumes with numbers in [0, 1] as bytes of a picture, signals as they are.

    Of 2 channels a picture shows the first, of more than 3 the first three.
    """
    return x if x.ndim == 3 else to_picture((middle_slices(x) if x.ndim == 5 else x) * 255)


def middle_slices(x: Tensor) -> Tensor:
    """The three slices through the middle of volumes n x c x d x h x w side by side: h x w, d x w and d x h."""
    _, _, d, h, w = x.shape
    slices = x[:, :, d // 2], x[:, :, :, h // 2], x[..., w // 2]
    return torch.cat([pad(part, (0, 1, 0, max(d, h) - part.shape[2]), value=1.0) for part in slices], 3)[..., :-1]


def to_picture(x: Tensor) -> Tensor:
    """Numbers 0 to 255, n x c x h x w, as bytes that a picture can show: c is 1, or else RGB, the first three."""
    return x[:, : 3 if x.shape[1] > 2 else 1].round().clamp(0, 255).to(torch.uint8).cpu()


def encode_image(numbers: np.ndarray, alpha: bool = False) -> tuple[bytes, str]:
    """A file that holds the numbers h x w x c of a deep image, the fourth `alpha`, exactly, and its suffix."""
    content, (*_, c), dtype = io.BytesIO(), numbers.shape, numbers.dtype
    if dtype == np.uint16 and (c == 3 or alpha):
        return encode_png16(numbers), ".png"
    stored = {"int8": "int32", "int16": "int32", "float16": "float32"}.get(dtype.name, dtype.name)
    if c == 1 and stored in ("uint16", "int32", "float32"):
        suffix = ".png" if stored == "uint16" else ".tif"
        Image.fromarray(numbers[:, :, 0].astype(stored)).save(content, "PNG" if suffix == ".png" else "TIFF")
        return content.getvalue(), suffix
    np.save(content, numbers)
    return content.getvalue(), ".npy"


def encode_png16(array: np.ndarray) -> bytes:
    """A PNG with 16 bits of each colour of h x w x 3 or 4 numbers: Pillow writes no such colours."""
    h, w, c = array.shape
    rows = np.ascontiguousarray(array, ">u2").view(np.uint8).reshape(h, -1)
    file = io.BytesIO()
    png.Writer(w, h, greyscale=False, alpha=c == 4, bitdepth=16, compression=PNG_LEVEL).write_packed(file, rows)
    return file.getvalue()


def heat_maps(values: Tensor) -> Tensor:
    """Numbers in [0, 1], n x h x w, as uint8 images n x 3 x h x w: from black through red to pale yellow."""
    from matplotlib import colormaps

    return torch.from_numpy(colormaps["inferno"](values.cpu().numpy(), bytes=True)[..., :3]).movedim(-1, 1)


def to_pil(x: Tensor) -> Image.Image:
    """uint8 c x h x w as a picture."""
    return Image.fromarray(x.movedim(0, -1).squeeze(-1).cpu().numpy())


def grid_columns(x: Tensor, columns: int | None = None) -> int:
    """Images in a row of the grid: as many as are given, or so many that it is full, if one about square can be."""
    n, (*_, h, w) = len(x), (SIGNAL_SIZE if x.ndim == 3 else x.shape)
    square = (n * h / w) ** 0.5
    near = range(max(1, ceil(square * 0.75)), max(1, int(square * 1.6)) + 1)
    return min(n, columns or min(near, key=lambda k: (-n % k, abs(k * w + -n // k * h), -k)))


def grid(x: Tensor, columns: int | None = None) -> Image.Image:
    """uint8 images n x c x h x w side by side on white, those with alpha each on a checkerboard of its own.

    Signals n x c x length with numbers in [0, 1] are drawn as lines.
    """
    columns = grid_columns(x, columns)
    if x.ndim == 3:
        return line_grid(x.cpu().numpy(), columns, *SIGNAL_SIZE)
    n, c, h, w = x.shape
    size = (columns * (w + GAP) - GAP, -(-n // columns) * (h + GAP) - GAP)
    canvas = Image.new("L" if c == 1 else "RGB", size, "white")
    for i, image in enumerate(x):
        picture = to_pil(on_checkerboard(image) if c == 4 else image)
        canvas.paste(picture, (i % columns * (w + GAP), i // columns * (h + GAP)))
    return ImageOps.scale(canvas, enlargement_factor(max(size), max(h, w)), Image.Resampling.NEAREST)


def on_checkerboard(x: Tensor) -> Tensor:
    """A uint8 image 4 x h x w as it looks on squares of two light greys, an eighth of its longer side each."""
    rows, columns = (torch.arange(n) // max(2, max(x.shape[1:]) // 8) for n in x.shape[1:])
    ground = 240.0 - 24 * ((rows[:, None] + columns) % 2)  # no white, on which what is white would be lost
    return torch.lerp(ground, x[:3].float().cpu(), x[3].cpu() / 255).round().to(torch.uint8)


def enlargement_factor(side: int, image: int) -> int:
    """The whole number by which a grid is enlarged whose longer side, and that of each image, has so many pixels."""
    return max(1, MIN_GRID_SIDE // side, min(ceil(MIN_IMAGE_SIDE / image), MAX_GRID_SIDE // side))


def add_captions(
    picture: Image.Image, title: str = "", row_labels: Labels = (), column_labels: Labels = (), columns: int = 1
) -> Image.Image:
    """The picture of a grid with a title, what stands beside its rows, and what stands above its columns."""
    if not (title or row_labels or column_labels):
        return picture
    import matplotlib

    title = escape_text(title)
    row_labels, column_labels = (tuple(map(escape_text, labels)) for labels in (row_labels, column_labels))
    font = ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf", TEXT_SIZE)
    line_height, text_width = TEXT_SIZE + MARGIN, font.getlength
    column_width, widest = picture.width / columns, max(map(text_width, column_labels), default=0.0)
    overhang = max(0, ceil((widest - column_width) / 2))  # what the outer heads need beyond their columns
    left = max(overhang, round(max(map(text_width, row_labels))) + 2 * MARGIN if row_labels else 0)
    top = line_height * bool(title) + line_height * bool(column_labels) + MARGIN
    size = (max(left + picture.width + overhang, round(text_width(title)) + 2 * MARGIN), top + picture.height)
    canvas = Image.new("L" if picture.mode == "L" else "RGB", size, "white")
    canvas.paste(picture, (left, top), picture if picture.mode == "RGBA" else None)  # older previews have alpha
    draw = ImageDraw.Draw(canvas)
    draw.text((MARGIN, MARGIN), title, TEXT_COLOUR, font, "lt")
    for i, head in list(enumerate(column_labels))[:: ceil((widest + MARGIN) / column_width)]:  # those that have room
        draw.text((left + (i + 0.5) * column_width, top - MARGIN), head, TEXT_COLOUR, font, "ms")
    row_height = picture.height / max(1, len(row_labels))
    for i, row in list(enumerate(row_labels))[:: ceil(line_height / row_height)]:
        draw.text((left - MARGIN, top + (i + 0.5) * row_height), row, TEXT_COLOUR, font, "rm")
    return canvas
