"""The drawing kit: line charts and scatter plots by matplotlib, which is imported when something is drawn."""

import gc
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from math import ceil, log10
from statistics import median
from textwrap import shorten, wrap
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..escape import escape_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Series = list[tuple[float, float]]
"""points (step, value)"""
CHART_WIDTH, CHART_HEIGHT, PLOT_SIDE, LEGEND_WIDTH = 360, 240, 480, 180
"""pixels of a line chart, of a scatter plot's side, and of a legend beside it"""
BLUE, GREY, TEXT_COLOUR = "#3f90da", "#c4c8cc", "#404040"
COLOURS = (
    BLUE, "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
)  # fmt: skip
"""of lines and classes, while they are few; also colour-blind people tell them apart (Petroff, arXiv:2107.02270)"""
MAX_NAMES, MAX_NAME_LENGTH = 20, 24
"""a legend has at most so many names, of so many characters"""
OUTLIER_SHARE = 0.03
"""share of the lowest and of the highest values that may leave the frame, where that halves what it spans"""
LEAST, MOST = 1e-200, 1e200
"""numbers beyond are left out of charts, as infinite ones are"""
PIXELS_PER_INCH, TITLE_SIZE = 100, 9.5
STYLE: dict[Any, object] = {
    "text.parse_math": False, "font.family": "DejaVu Sans",  # names may hold dollar signs; matplotlib has the font
    "font.size": 8.5, "legend.borderpad": 0.1, "legend.labelspacing": 0.25, "legend.frameon": False,
    "legend.handlelength": 1.2, "legend.columnspacing": 1.0, "legend.borderaxespad": 0.2,
    "text.color": TEXT_COLOUR, "axes.edgecolor": "#d0d0d0", "xtick.color": "#d0d0d0", "ytick.color": "#d0d0d0",
    "xtick.labelcolor": TEXT_COLOUR, "ytick.labelcolor": TEXT_COLOUR, "axes.labelcolor": TEXT_COLOUR,
    "axes.grid": True, "grid.color": "#ececec", "axes.axisbelow": True, "axes.unicode_minus": False,
}  # fmt: skip


@dataclass(frozen=True)
class Chart:
    """A line for each series, without values that are not finite or, on a log axis, not positive."""

    title: str
    series: dict[str, Series]
    shown_values: Sequence[float] = ()
    """values that the vertical axis always shows"""
    log: bool = False
    """whether the vertical axis is logarithmic"""
    x_name: str = "step"
    marked_step: float | None = None
    """each line has a ring at this step"""


@contextmanager
def no_figures_left() -> Iterator[None]:
    """Free figures that are drawn within, which are cycles, when it ends; else dozens of them, MiB each, stay for long.

    Python looks for no garbage until then: all is still in its youngest generation, where it is found in a moment.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.collect(0)
        if was_enabled:
            gc.enable()


@contextmanager
def drawing(width: int, height: int, scale: int = 1) -> Iterator["Figure"]:
    """A figure of so many pixels, times `scale`, in Ganvas's style; the user's settings do not matter and are kept."""
    logger = logging.getLogger("matplotlib")  # no notes on its font cache, and on letters that its font lacks
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        from matplotlib import style
        from matplotlib.figure import Figure

        with warnings.catch_warnings(), style.context(["default", STYLE]):
            warnings.filterwarnings("ignore", r"Glyph .* missing from")
            yield Figure((width / PIXELS_PER_INCH, height / PIXELS_PER_INCH), PIXELS_PER_INCH * scale)
    finally:
        logger.setLevel(level)


def to_image(figure: "Figure") -> Image.Image:
    """The figure's pixels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def figure_fraction(figure: "Figure", x: int, y: int) -> tuple[float, float]:
    """A place in matplotlib's coordinates of a figure; x and y are pixels from the upper left corner."""
    width, height = figure.get_size_inches() * PIXELS_PER_INCH
    return x / width, 1 - y / height


def add_axes(figure: "Figure", left: int, top: int, right: int, bottom: int) -> "Axes":
    """Axes between these pixels, counted from the figure's upper left corner."""
    (x0, y0), (x1, y1) = figure_fraction(figure, left, bottom), figure_fraction(figure, right, top)
    return figure.add_axes((x0, y0, x1 - x0, y1 - y0))


def short_name(name: str) -> str:
    """A name for a legend, on one line; matplotlib leaves out names that begin with an underscore."""
    text = escape_text(name)
    text = text if len(text) <= MAX_NAME_LENGTH else f"{text[: MAX_NAME_LENGTH - 1]}…"
    return f" {text}" if text.startswith("_") else text


def palette(n: int) -> list[str]:
    """n colours: distinct ones while they are few, else a ramp."""
    from matplotlib import colormaps, colors

    few, many = COLOURS[:n], colormaps["viridis"](np.linspace(0, 1, n))
    return list(few) if n <= len(COLOURS) else [colors.to_hex(colour) for colour in many]


@no_figures_left()
def line_charts(charts: Sequence[Chart], columns: int = 3, scale: int = 1) -> Image.Image:
    """Charts in rows of `columns`, with `scale` times the pixels."""
    columns = min(columns, len(charts))
    with drawing(columns * CHART_WIDTH, ceil(len(charts) / columns) * CHART_HEIGHT, scale) as figure:
        for i, chart in enumerate(charts):
            draw_chart(figure, chart, i % columns * CHART_WIDTH, i // columns * CHART_HEIGHT)
        return to_image(figure)


@no_figures_left()
def line_grid(x: np.ndarray, columns: int, height: int, width: int) -> Image.Image:
    """Signals n x c x length with numbers in [0, 1], in frames of so many pixels, a line a channel."""
    from matplotlib.collections import LineCollection, PatchCollection
    from matplotlib.patches import Rectangle

    n, channels, length = x.shape
    rows, inner = -(-n // columns), np.array([width - 4, height - 4])
    places = np.arange(n)
    corners = np.stack([places % columns * width + 2, (rows - 1 - places // columns) * height + 2], 1)
    t = np.broadcast_to(np.linspace(0, 1, length) if length > 1 else 0.5, x.shape)
    points = corners[:, None, None] + inner * np.stack([t, 0.05 + 0.9 * x.clip(-0.05, 1.05)], -1)
    with drawing(columns * width, rows * height, 2) as figure:
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, columns * width), ylim=(0, rows * height))
        axes.axis("off")
        frames = [Rectangle(tuple(corner), *inner) for corner in corners]
        axes.add_collection(PatchCollection(frames, facecolor="none", edgecolor=GREY, linewidth=0.5))
        colours = palette(channels) * n
        axes.add_collection(LineCollection(list(points.reshape(-1, length, 2)), colors=colours, linewidths=0.8))
        return to_image(figure)


def draw_chart(figure: "Figure", chart: Chart, left: int, top: int) -> None:
    """A chart whose upper left corner is at these pixels; names, where lines are several, stand above its frame."""
    from matplotlib.ticker import AutoLocator, LogLocator

    least = LEAST if chart.log else -MOST
    lines = {name: [(x, y) for x, y in points if least < y < MOST] for name, points in chart.series.items()}
    lines = {name: downsample(points, CHART_WIDTH) for name, points in lines.items() if points}
    rows = ceil(len(lines) / 3) if len(lines) > 1 else 0
    axes = add_axes(figure, left + 58, top + 30 + 15 * rows, left + CHART_WIDTH - 14, top + CHART_HEIGHT - 28)
    title = shorten(escape_text(chart.title), 56, placeholder=" …")
    for text, y, size in ((title, 8, TITLE_SIZE), (chart.x_name, CHART_HEIGHT - 24, None)):
        figure.text(*figure_fraction(figure, left + 10, top + y), text, va="top", size=size)
    shown_values = list(chart.shown_values)
    for (name, points), colour in zip(lines.items(), cycle(COLOURS), strict=False):
        (xs, ys), alone = zip(*points, strict=True), len(points) == 1
        axes.plot(xs, ys, "o" if alone else "-", c=colour, lw=1.4, ms=4, label=short_name(name), clip_on=not alone)
        for step, best in (point for point in points if point[0] == chart.marked_step):
            shown_values.append(best)
            axes.plot(step, best, "o", c=colour, mfc="none", ms=8, clip_on=False)
    if rows:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.01), ncols=3)
    if not lines:
        return
    low, high = limits([y for points in lines.values() for _, y in points], shown_values, chart.log)
    axes.set_ylim(low, high)  # before the scale, which would set limits of its own
    axes.set_xlim(0, max(1.0, *(x for points in lines.values() for x, _ in points)))
    if chart.log:
        axes.set_yscale("log")
        subs = (1.0,) if high / low > 100 else (1.0, 2.0, 5.0)
        axes.yaxis.set_major_locator(LogLocator(subs=subs, numticks=6) if high / low > 5 else AutoLocator())
        axes.minorticks_off()
    for axis in (axes.xaxis, axes.yaxis):
        if isinstance(locator := axis.get_major_locator(), AutoLocator):
            locator.set_params(nbins=5)
        axis.set_major_formatter(lambda value, _: format_tick(value))
    axes.tick_params(length=0)


def downsample(points: Series, max_points: int) -> Series:
    """At most so many points: medians of neighbours."""
    n = max(1, ceil(len(points) / max_points))
    parts = [points[i : i + n] for i in range(0, len(points), n)]
    return [(median(x for x, _ in part), median(y for _, y in part)) for part in parts]


def limits(values: list[float], shown_values: Sequence[float], log: bool) -> tuple[float, float]:
    """What a vertical axis spans: all values, or all but a few outliers, and those that it always shows."""
    ordered = sorted(log10(v) if log else v for v in values)
    n_outliers = int(len(ordered) * OUTLIER_SHARE)
    inner = ordered[n_outliers : len(ordered) - n_outliers]
    if inner[-1] - inner[0] < (ordered[-1] - ordered[0]) / 2:
        ordered = inner
    low, high = min(ordered[0], *shown_values, ordered[-1]), max(ordered[-1], *shown_values, ordered[0])
    room = (high - low) * 0.04 if high - low > 1e-6 * abs(high) else max(abs(high) * 0.1, 1e-6)
    return (10.0 ** (low - room), 10.0 ** (high + room)) if log else (low - room, high + room)


def format_tick(value: float) -> str:
    """As short as it can be said: 0.05, 800, 20k, 1.5M."""
    for large, unit in ((1e6, "M"), (1e3, "k")):
        if max(large, 1e4) <= abs(value) < 1e9:
            return f"{value / large:.6g}{unit}"
    return f"{value:.6g}"


def flat(x: Tensor) -> Tensor:
    """The first two dimensions of vectors n x d; the second is 0 where there is only one."""
    return (torch.cat([x, torch.zeros_like(x)], 1) if x.shape[1] == 1 else x)[:, :2].float().cpu()


@contextmanager
def planes(points: Tensor, n: int = 1, title: str = "", names: Sequence[str] = ()) -> Iterator["Figure"]:
    """n square axes side by side that show all points n x 2, and beside them the names in the colours of `palette`."""
    lines = wrap(escape_text(title), 75 * n, max_lines=3, placeholder=" …")
    top, (centre, half) = 10 + 16 * len(lines), extent(points)
    with drawing(n * PLOT_SIDE + LEGEND_WIDTH * bool(names), top + PLOT_SIDE - 30) as figure:
        figure.text(*figure_fraction(figure, 10, 6), "\n".join(lines), va="top", size=TITLE_SIZE)
        for left in range(0, n * PLOT_SIDE, PLOT_SIDE):
            axes = add_axes(figure, left + 48, top, left + PLOT_SIDE - 8, top + PLOT_SIDE - 56)
            axes.locator_params(nbins=6)
            for axis, middle in zip((axes.xaxis, axes.yaxis), centre, strict=True):
                axis.set_view_interval(middle - half, middle + half, ignore=True)
            axes.autoscale(False)  # or both axes would fit what is drawn, each for itself
            axes.tick_params(length=0)
        for name, colour in zip(names, palette(len(names)), strict=True):
            figure.axes[-1].plot([], [], "o", c=colour, ms=5, label=short_name(name))
        if names:
            figure.axes[-1].legend(loc="upper left", bbox_to_anchor=(1, 1))
        yield figure


def extent(points: Tensor) -> tuple[tuple[float, float], float]:
    """The centre of the square that shows all points n x 2, and half of its side, with some room around them."""
    points = points[points.isfinite().all(1)].double()
    if len(points) == 0:
        return (0.0, 0.0), 1.0
    low, high = points.amin(0), points.amax(0)
    x, y = ((low + high) / 2).tolist()
    return (x, y), max(1e-6, 1e-6 * abs(x), 1e-6 * abs(y), (high - low).max().item() * 0.55)


@no_figures_left()
def scatter(sets: Sequence[Tensor], title: str = "") -> Image.Image:
    """Sets of vectors n x d as dots, a panel a set, all with the axes of the first."""
    with planes(flat(sets[0]), len(sets), title) as figure:
        for axes, x in zip(figure.axes, sets, strict=True):
            axes.scatter(flat(x)[:, 0], flat(x)[:, 1], 5, BLUE, linewidths=0)
        return to_image(figure)


@no_figures_left()
def scatter_by_class(x: Tensor, labels: Tensor, names: Sequence[str], title: str = "") -> Image.Image:
    """Vectors n x d as dots in the colours of their classes."""
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))  # no class on top
    colours = np.array(palette(len(names)))[labels[order].cpu().numpy()]
    points = flat(x)[order]
    with planes(points, 1, title, names if len(names) <= MAX_NAMES else ()) as figure:
        figure.axes[0].scatter(points[:, 0], points[:, 1], 9, colours, linewidths=0)
        return to_image(figure)


@no_figures_left()
def plot_paths(
    x: Tensor, columns: int, names: Sequence[str] = (), background: Tensor | None = None, title: str = ""
) -> Image.Image:
    """Vectors in rows of `columns`, each row a line from a ring to a large dot, over a `background` of grey vectors."""
    points, ground = flat(x), flat(x[:0] if background is None else background)
    rows = points.split(columns)
    with planes(torch.cat([points, ground]), 1, title, names if len(rows) <= MAX_NAMES else ()) as figure:
        axes = figure.axes[0]
        axes.scatter(ground[:, 0], ground[:, 1], 3, GREY, linewidths=0)
        for row, colour in zip(rows, palette(len(rows)), strict=True):
            axes.plot(*row.T, "o-", c=colour, lw=1, ms=3)
            axes.plot(*row[-1:].T, "o", c=colour, ms=8)
            axes.plot(*row[:1].T, "o", c=colour, mfc="white", ms=7)
        return to_image(figure)


@no_figures_left()
def histograms(counts: Tensor, low: float, high: float, names: Sequence[str]) -> Image.Image:
    """A line for each channel of how many of its values, in percent, are in each equal step from low to high.

    `counts` are c x bins.  The vertical axis is logarithmic: black or white grounds would hide all else.
    """
    colours = {"grey": "#707070", "red": "#d62728", "green": "#2ca02c", "blue": BLUE, "alpha": "#94a4a2"}
    shares = (100 * counts / counts.sum(1, keepdim=True)).numpy()
    with drawing(2 * CHART_WIDTH, CHART_HEIGHT) as figure:
        axes = add_axes(figure, 58, 30, 2 * CHART_WIDTH - 14, CHART_HEIGHT - 28)
        edges = np.linspace(low, high + (0 if high > low else 1), counts.shape[1] + 1)
        for name, other, share in zip(names, palette(len(names)), shares, strict=True):
            axes.stairs(share, edges, baseline=None, color=colours.get(name, other), lw=1.2, label=name)
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}%")
        axes.xaxis.set_major_formatter(lambda value, _: format_tick(value))
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.01), ncols=8)
        axes.tick_params(length=0)
        return to_image(figure)


@no_figures_left()
def bars(numbers: dict[str, int]) -> Image.Image:
    """A horizontal bar for each name, with its number."""
    line, left = 18, 180
    height = 40 + line * len(numbers)
    with drawing(2 * CHART_WIDTH, height) as figure:
        axes = add_axes(figure, left, 10, 2 * CHART_WIDTH - 60, height - 28)
        drawn = axes.barh(range(len(numbers)), list(numbers.values()), color=BLUE, height=0.7)
        axes.bar_label(drawn, padding=3)
        axes.margins(x=0.12)
        axes.set_yticks(range(len(numbers)), [short_name(name) for name in numbers])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.xaxis.set_major_formatter(lambda value, _: format_tick(value))
        axes.tick_params(length=0)
        return to_image(figure)
