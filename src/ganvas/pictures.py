"""Examples to look at: images as grids, vectors as scatter plots, and the files that hold them."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from .data import CHANNELS
from .errors import UserError
from .paths import written

GAP = 2
"""pixels between the images of a grid"""
PICTURES = (".png", ".jpg", ".jpeg", ".webp")
"""suffixes of files that are written as one picture"""
LEAST = 512
"""a grid with fewer pixels than this along its longer side is enlarged by a whole number"""


@dataclass(frozen=True, eq=False)
class Examples:
    """Examples as a person sees them: uint8 images n x c x h x w, or float32 vectors n x d."""

    x: Tensor
    columns: int | None = None
    """images in a row of the grid; as many as rows where it is not given"""

    def __len__(self) -> int:
        return len(self.x)

    def numpy(self) -> np.ndarray:
        """Images as n x h x w x c bytes, vectors as they are."""
        return (self.x if self.x.ndim == 2 else self.x.movedim(1, -1)).cpu().numpy()

    def picture(self) -> Image.Image:
        """A grid of the images, or a scatter plot of the vectors' first two dimensions."""
        return scatter([self.x]) if self.x.ndim == 2 else grid(self.x, self.columns)

    def save(self, path: str | Path) -> None:
        """Write a picture (.png, .jpg, .webp), an array (.npy, .npz), or into a folder one PNG an image.

        Files of that name are overwritten.  Raises UserError for any other suffix.
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
            np.savez_compressed(content, x=self.numpy())
        else:
            raise UserError(f"cannot write {path}: end its name in .png, .jpg, .webp, .npy or .npz, or give a folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        with written(path) as temporary:
            temporary.write_bytes(content.getvalue())

    def save_each(self, folder: Path) -> None:
        """One PNG an image, 00000.png, 00001.png, ...; UserError for vectors."""
        if self.x.ndim == 2:
            raise UserError(f"vectors are no pictures: write them to {folder}.npz instead")
        folder.mkdir(parents=True, exist_ok=True)
        for i, image in enumerate(self.x):
            to_image(image).save(folder / f"{i:05d}.png")

    def _repr_png_(self) -> bytes:
        """The picture, for notebooks."""
        content = io.BytesIO()
        self.picture().save(content, "PNG")
        return content.getvalue()


def as_examples(x: Tensor, span: tuple[float, float], columns: int | None = None) -> Examples:
    """A model's output as Examples: images from `span` to bytes, clipped and rounded; vectors as they are."""
    if x.ndim == 2:
        return Examples(x.float().cpu())
    low, high = span
    return Examples(((x.float() - low) * (255 / (high - low))).round().clamp(0, 255).to(torch.uint8).cpu(), columns)


def preview(rows: Tensor, span: tuple[float, float]) -> Image.Image:
    """Rows x columns of examples as one picture: a grid of images, or a scatter plot a row of vectors."""
    if rows.ndim == 3:
        return scatter([row.float().cpu() for row in rows])
    return as_examples(rows.flatten(0, 1), span, rows.shape[1]).picture()


def to_image(x: Tensor) -> Image.Image:
    """uint8 c x h x w as a picture."""
    array = x.movedim(0, -1).cpu().numpy()
    return Image.fromarray(array[:, :, 0] if x.shape[0] == 1 else array)


def grid(x: Tensor, columns: int | None = None) -> Image.Image:
    """uint8 images n x c x h x w side by side, on white where the images have no alpha."""
    n, c, h, w = x.shape
    columns = min(n, columns or round((n * h / w) ** 0.5) or 1)
    rows = -(-n // columns)
    size = (columns * (w + GAP) - GAP, rows * (h + GAP) - GAP)
    canvas = Image.new(CHANNELS[c], size, 255 if c == 1 else (255, 255, 255, 0)[:c])
    for i, image in enumerate(x):
        canvas.paste(to_image(image), (i % columns * (w + GAP), i // columns * (h + GAP)))
    larger = max(1, LEAST // max(size))
    return canvas.resize((size[0] * larger, size[1] * larger), Image.Resampling.NEAREST)


def scatter(sets: list[Tensor], side: int = 480) -> Image.Image:
    """The first two dimensions of sets of vectors n x d, a panel a set, all with the axes of the first."""
    panels = []
    flat = [torch.cat([x, torch.zeros_like(x)], 1)[:, :2] if x.shape[1] == 1 else x[:, :2] for x in sets]
    middle = (flat[0].amax(0) + flat[0].amin(0)) / 2
    reach = ((flat[0].amax(0) - flat[0].amin(0)).max() * 0.6).clamp_min(1e-6)
    for points in flat:
        panel = Image.new("RGB", (side, side), "white")
        draw = ImageDraw.Draw(panel)
        draw.rectangle((0, 0, side - 1, side - 1), outline="#d0d0d0")
        at = (points - middle) / reach * (side / 2) * torch.tensor([1.0, -1.0]) + side / 2
        for x, y in at[at.isfinite().all(1)].tolist():
            if -4 < x < side + 4 and -4 < y < side + 4:
                draw.ellipse((x - 1.5, y - 1.5, x + 1.5, y + 1.5), fill="#1f5fa8")
        panels.append(panel)
    canvas = Image.new("RGB", (len(panels) * (side + GAP) - GAP, side), "white")
    for i, panel in enumerate(panels):
        canvas.paste(panel, (i * (side + GAP), 0))
    return canvas
