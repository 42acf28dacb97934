"""Examples to look at: images as grids, vectors as plots, and the files that hold them."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from ..data import CHANNELS, Scaling
from ..errors import UserError
from ..io.atomic import written
from .plots import INK, TEXT, by_class, font, scatter, walks

GAP = 2
"""pixels between the images of a grid"""
PICTURES = (".png", ".jpg", ".jpeg", ".webp")
"""suffixes of files that are written as one picture"""
LEAST = 512
"""a grid with fewer pixels than this along its longer side is enlarged by a whole number"""
VISIBLE, MOST = 64, 1600
"""an image in a grid is enlarged to so many pixels, by a whole number, unless the grid becomes larger than MOST"""
LONGEST = 40
"""characters of a class in a file's name"""
MARGIN = 6
"""pixels around the words beside a grid"""


@dataclass(frozen=True, eq=False, repr=False)
class Examples:
    """Examples as a person sees them: uint8 images n x c x h x w, or float32 vectors n x d."""

    x: Tensor
    columns: int | None = None
    """images in a row of the grid, as many as rows where it is not given; vectors in one line of a plot, if any"""
    title: str = ""
    """what the picture shows"""
    rows: tuple[str, ...] = ()
    """what stands beside each row, or in a plot's legend"""
    heads: tuple[str, ...] = ()
    """what stands above each column"""
    behind: Tensor | None = None
    """further vectors, which a plot shows in grey"""
    labels: Tensor | None = None
    """the number of each example's class; where `rows` name the classes, a plot of vectors shows them as colours"""
    classes: tuple[str, ...] = ()
    """names of the classes, which files keep beside the labels"""
    about: dict[str, Any] = field(default_factory=dict)
    """numbers that belong to the picture"""

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        """How many, of which shape, and how many classes, if any."""
        n, *shape = self.x.shape
        of = f", {len(self.classes)} classes" if self.classes else ""
        kind = "vector" if len(shape) == 1 else "image"
        return f"Examples({n} {kind}{'' if n == 1 else 's'} of {'x'.join(map(str, shape))}{of})"

    def numpy(self) -> np.ndarray:
        """Images as n x h x w x c bytes, vectors as they are."""
        return (self.x if self.x.ndim == 2 else self.x.movedim(1, -1)).cpu().numpy()

    def picture(self) -> Image.Image:
        """A grid of the images, or a plot of the vectors' first two dimensions."""
        if self.x.ndim > 2:
            columns = columns_of(self.x, self.columns)
            return captioned(grid(self.x, columns), self.title, self.rows, self.heads, columns)
        if self.labels is not None and self.rows:
            plot = by_class(self.x, self.labels, self.rows)
        elif self.columns is not None:
            plot = walks(self.x, self.columns, self.rows, self.behind)
        else:
            plot = scatter([self.x])
        return captioned(plot, self.title)

    def save(self, path: str | Path) -> None:
        """Write a picture (.png, .jpg, .webp), an array (.npy, .npz), or into a folder one PNG an image.

        Labels, where there are any, are y and classes in a .npz, and part of the names in a folder.  Files of that name
        are overwritten.  Raises UserError for any other suffix.
        """
        path = Path(path)
        if path.suffix == "" or path.is_dir():
            self.save_each(path)
            return
        content = io.BytesIO()
        suffix = path.suffix.lower()
        if suffix in PICTURES:
            picture = self.picture()
            flat = suffix in (".jpg", ".jpeg") and picture.mode == "RGBA"
            (picture.convert("RGB") if flat else picture).save(content, Image.registered_extensions()[suffix])
        elif suffix == ".npy":
            np.save(content, self.numpy())
        elif suffix == ".npz":
            np.savez_compressed(content, x=self.numpy(), **self.labelling())  # type: ignore[arg-type]
        else:
            raise UserError(f"cannot write {path}: end its name in .png, .jpg, .webp, .npy or .npz, or give a folder")
        with written(path) as temporary:
            temporary.write_bytes(content.getvalue())

    def labelling(self) -> dict[str, np.ndarray]:
        """The arrays y and classes of a .npz, as `data` reads them; none where nothing is known of classes."""
        if self.labels is None or not self.classes:
            return {}
        return {"y": self.labels.cpu().numpy(), "classes": np.array(self.classes)}

    def class_of(self, i: int) -> str:
        """What a file's name says of an image's class: "-food", or nothing where that is not known."""
        if self.labels is None or not self.classes:
            return ""
        name = self.classes[int(self.labels[i])][:LONGEST]
        return "-" + "".join(c if c.isalnum() or c in "-_" else "-" for c in name)

    def save_each(self, folder: Path) -> None:
        """One PNG an image, 00000.png, 00001.png, ..., or 00000-food.png with its class; UserError for vectors."""
        if self.x.ndim == 2:
            raise UserError(f"vectors are no pictures: write them to {folder}.npz instead")
        for i, image in enumerate(self.x):
            with written(folder / f"{i:05d}{self.class_of(i)}.png") as temporary:
                to_image(image).save(temporary, "PNG")

    def _repr_png_(self) -> bytes:
        """The picture, for notebooks."""
        content = io.BytesIO()
        self.picture().save(content, "PNG")
        return content.getvalue()


def save_pictures(parts: Sequence[Examples], path: Path) -> None:
    """Save examples as `Examples.save` does; those of several, as one picture in which they are side by side."""
    if len(parts) == 1:
        parts[0].save(path)
        return
    pictures = [part.picture().convert("RGBA") for part in parts]
    wide = sum(p.width for p in pictures) + (len(parts) - 1) * 8 * GAP
    canvas, left = Image.new("RGB", (wide, max(p.height for p in pictures)), "white"), 0
    for picture in pictures:
        canvas.paste(picture, (left, 0), picture)
        left += picture.width + 8 * GAP
    if path.suffix.lower() not in PICTURES:
        raise UserError(f"cannot write {path}: end its name in .png, .jpg or .webp")
    with written(path) as temporary:
        canvas.save(temporary, Image.registered_extensions()[path.suffix.lower()])


def preview(rows: Tensor, scaling: Scaling) -> Image.Image:
    """Rows x columns of a model's outputs as one picture: a grid of images, or a scatter plot a row of vectors."""
    x = scaling.inverse(rows.flatten(0, 1)).cpu()
    if x.ndim == 2:
        return scatter(list(x.split(rows.shape[1])))
    return Examples(x, rows.shape[1]).picture()


def to_image(x: Tensor) -> Image.Image:
    """uint8 c x h x w as a picture."""
    array = x.movedim(0, -1).cpu().numpy()
    return Image.fromarray(array[:, :, 0] if x.shape[0] == 1 else array)


def columns_of(x: Tensor, columns: int | None = None) -> int:
    """Images in a row of the grid: as many as are given, or so many that the grid is about square."""
    n, _, h, w = x.shape
    return min(n, columns or round((n * h / w) ** 0.5) or 1)


def grid(x: Tensor, columns: int | None = None) -> Image.Image:
    """uint8 images n x c x h x w side by side, on white where the images have no alpha."""
    n, c, h, w = x.shape
    columns = columns_of(x, columns)
    rows = -(-n // columns)
    size = (columns * (w + GAP) - GAP, rows * (h + GAP) - GAP)
    canvas = Image.new(CHANNELS[c], size, 255 if c == 1 else (255, 255, 255, 0)[:c])
    for i, image in enumerate(x):
        canvas.paste(to_image(image), (i % columns * (w + GAP), i // columns * (h + GAP)))
    larger = enlargement(max(size), max(h, w))
    return canvas.resize((size[0] * larger, size[1] * larger), Image.Resampling.NEAREST)


def enlargement(side: int, image: int) -> int:
    """The whole number by which a grid is enlarged whose longer side, and that of each image, has so many pixels."""
    return max(1, LEAST // side, min(ceil(VISIBLE / image), MOST // side))


def captioned(
    picture: Image.Image, title: str = "", rows: tuple[str, ...] = (), heads: tuple[str, ...] = (), columns: int = 1
) -> Image.Image:
    """The picture of a grid with a title, what stands beside its rows, and what stands above its columns."""
    if not (title or rows or heads):
        return picture
    line, width = TEXT + MARGIN, font(TEXT).getlength
    across, widest = picture.width / columns, max(map(width, heads), default=0.0)
    over = max(0, ceil((widest - across) / 2))  # what the outer heads need beyond their columns
    left = max(over, round(max(map(width, rows))) + 2 * MARGIN if rows else 0)
    top = line * bool(title) + line * bool(heads) + MARGIN
    size = (max(left + picture.width + over, round(width(title)) + 2 * MARGIN), top + picture.height)
    canvas = Image.new("L" if picture.mode == "L" else "RGB", size, "white")
    canvas.paste(picture, (left, top), picture if picture.mode == "RGBA" else None)
    draw = ImageDraw.Draw(canvas)
    draw.text((MARGIN, MARGIN), title, INK, font(TEXT), "lt")
    for i, head in list(enumerate(heads))[:: ceil((widest + MARGIN) / across)]:  # those that have room
        draw.text((left + (i + 0.5) * across, top - MARGIN), head, INK, font(TEXT), "ms")
    down = picture.height / max(1, len(rows))
    for i, row in list(enumerate(rows))[:: ceil(line / down)]:
        draw.text((left - MARGIN, top + (i + 0.5) * down), row, INK, font(TEXT), "rm")
    return canvas
