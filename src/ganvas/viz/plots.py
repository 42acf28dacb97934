"""Plots of vectors: their first two dimensions in a frame with labelled ticks."""

from dataclasses import dataclass
from functools import cache
from math import floor, log10

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

SIDE = 480
"""pixels of a panel's side"""
SUPERSAMPLING = 2
"""a panel is drawn so many times larger, then made smaller: smooth edges"""
GAP = 2
"""pixels between panels"""
TEXT_SIZE = 12
"""size of text, in pixels"""
TEXT_COLOUR, TICK_COLOUR, FRAME_COLOUR, GRID_COLOUR = "#404040", "#8a8a8a", "#d0d0d0", "#eeeeee"
BLUE, GREY = "#1f5fa8", "#c4c8cc"
COLOURS = (
    "#1f77b4", "#e6550d", "#2ca02c", "#9467bd", "#d6336c", "#17a2b8", "#b8860b", "#8c564b", "#84a30b", "#111827",
)  # fmt: skip
"""of walks and classes, while they are few"""
RAMP = ("#440154", "#3b528b", "#21918c", "#5ec962", "#fde725")
"""colours from the first of many to the last: those of viridis"""


@dataclass(frozen=True)
class Axes:
    """The square of the plane that a panel shows."""

    centre: tuple[float, float]
    half_width: float
    """half of the square's side"""

    def to_pixels(self, points: Tensor) -> list[tuple[float, float]]:
        """Where points n x 2 lie in a panel, in fine pixels; those that are not finite are left out."""
        half = SIDE * SUPERSAMPLING / 2
        placed = (points - torch.tensor(self.centre)) / self.half_width * half * torch.tensor([1.0, -1.0]) + half
        return [(x, y) for x, y in placed[placed.isfinite().all(1)].tolist()]


def flat(x: Tensor) -> Tensor:
    """The first two dimensions of vectors n x d; the second is 0 where there is only one."""
    return (torch.cat([x, torch.zeros_like(x)], 1) if x.shape[1] == 1 else x)[:, :2].float().cpu()


def axes_around(points: Tensor) -> Axes:
    """The axes that show all points n x 2, with some room around them for the ticks."""
    points = points[points.isfinite().all(1)]
    if len(points) == 0:
        return Axes((0.0, 0.0), 1.0)
    low, high = points.amin(0), points.amax(0)
    x, y = ((low + high) / 2).tolist()
    return Axes((x, y), max(1e-6, (high - low).max().item() * 0.6))


def ticks(low: float, high: float) -> list[float]:
    """Three to eight round numbers between low and high: multiples of 1, 2 or 5 times a power of ten."""
    power = 10.0 ** floor(log10((high - low) / 3))
    step = max(m * power for m in (1, 2, 5) if m * power <= (high - low) / 3 * (1 + 1e-9))
    first = floor(low / step) + 1
    return [n * step for n in range(first, first + 10) if n * step < high]


def panel(axes: Axes) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """An empty panel: a frame, faint lines at the ticks, and their numbers inside of the frame."""
    side = SIDE * SUPERSAMPLING
    image = Image.new("RGB", (side, side), "white")
    draw = ImageDraw.Draw(image)
    numbers = []
    for axis, middle in enumerate(axes.centre):
        for value in ticks(middle - axes.half_width, middle + axes.half_width):
            at = axes.to_pixels(torch.full((1, 2), value))[0][axis]
            if 0.07 * side < at < 0.93 * side:  # further out, numbers of both axes would meet
                draw.line((at, 0, at, side) if axis == 0 else (0, at, side, at), fill=GRID_COLOUR, width=SUPERSAMPLING)
                place, anchor = ((at, side - 4 * SUPERSAMPLING), "ms") if axis == 0 else ((5 * SUPERSAMPLING, at), "lm")
                numbers.append((place, anchor, f"{value:g}"))
    for place, anchor, number in numbers:
        draw.text(place, number, TICK_COLOUR, font(TEXT_SIZE * SUPERSAMPLING), anchor)
    draw.rectangle((0, 0, side - 1, side - 1), outline=FRAME_COLOUR, width=SUPERSAMPLING)
    return image, draw


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font."""
    return ImageFont.load_default(size)


def dots(draw: ImageDraw.ImageDraw, at: list[tuple[float, float]], colour: str, radius: float = 1.5) -> None:
    """Round dots where they are in the panel, or at its edge."""
    r = radius * SUPERSAMPLING
    for x, y in at:
        if -r < x < SIDE * SUPERSAMPLING + r and -r < y < SIDE * SUPERSAMPLING + r:
            draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)


def legend(draw: ImageDraw.ImageDraw, names: tuple[str, ...], colours: list[str]) -> None:
    """Names beside dots of their colours, at the upper right."""
    longest = max(font(TEXT_SIZE * SUPERSAMPLING).getlength(name) for name in names)
    x = SIDE * SUPERSAMPLING - longest - 10 * SUPERSAMPLING
    for i, (name, colour) in enumerate(zip(names, colours, strict=False)):
        y = (10.0 + i * (TEXT_SIZE + 3)) * SUPERSAMPLING
        dots(draw, [(x - 8 * SUPERSAMPLING, y)], colour, 3.0)
        draw.text((x, y), name, TEXT_COLOUR, font(TEXT_SIZE * SUPERSAMPLING), "lm")


def downscale(image: Image.Image) -> Image.Image:
    """The panel in its own size."""
    return image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def palette(n: int) -> list[str]:
    """n colours: distinct ones while they are few, else a ramp."""
    if n <= len(COLOURS):
        return list(COLOURS[:n])
    stops = [tuple(int(c[i : i + 2], 16) for i in (1, 3, 5)) for c in RAMP]
    return [blend(stops, i / (n - 1)) for i in range(n)]


def blend(stops: list[tuple[int, ...]], t: float) -> str:
    """The colour at t, from 0 to 1, on the way through all stops."""
    i = min(int(t * (len(stops) - 1)), len(stops) - 2)
    part = t * (len(stops) - 1) - i
    mixed = [round(a + (b - a) * part) for a, b in zip(stops[i], stops[i + 1], strict=True)]
    return "#" + "".join(f"{c:02x}" for c in mixed)


def scatter(sets: list[Tensor]) -> Image.Image:
    """Sets of vectors n x d as dots, a panel a set, all with the axes of the first."""
    axes = axes_around(flat(sets[0]))
    canvas = Image.new("RGB", (len(sets) * (SIDE + GAP) - GAP, SIDE), "white")
    for i, x in enumerate(sets):
        image, draw = panel(axes)
        dots(draw, axes.to_pixels(flat(x)), BLUE)
        canvas.paste(downscale(image), (i * (SIDE + GAP), 0))
    return canvas


def scatter_by_class(x: Tensor, labels: Tensor, names: tuple[str, ...]) -> Image.Image:
    """Vectors n x d as dots in the colours of their classes."""
    points, colours = flat(x), palette(len(names))
    axes = axes_around(points)
    image, draw = panel(axes)
    for i in torch.randperm(len(points), generator=torch.Generator().manual_seed(0)).tolist():  # no class on top
        dots(draw, axes.to_pixels(points[i : i + 1]), colours[int(labels[i])], 2.0)
    if len(names) <= 20:
        legend(draw, names, colours)
    return downscale(image)


def plot_paths(x: Tensor, columns: int, names: tuple[str, ...] = (), background: Tensor | None = None) -> Image.Image:
    """Vectors in rows of `columns`, each row a line in its own colour from a ring to a larger dot.

    `behind` are vectors in grey, which show where the data lie.
    """
    points, ground = flat(x), flat(x[:0] if background is None else background)
    axes = axes_around(torch.cat([points, ground]))
    image, draw = panel(axes)
    dots(draw, axes.to_pixels(ground), GREY, 1.0)
    rows = points.split(columns)
    colours = palette(len(rows))
    for row, colour in zip(rows, colours, strict=True):
        at = axes.to_pixels(row)
        draw.line(at, fill=colour, width=SUPERSAMPLING)
        dots(draw, at, colour, 2.0)
        dots(draw, at[-1:], colour, 4.5)
        dots(draw, at[:1], colour, 4.5)
        dots(draw, at[:1], "white", 2.5)
    if names and len(rows) <= len(COLOURS):
        legend(draw, names, colours)
    return downscale(image)
