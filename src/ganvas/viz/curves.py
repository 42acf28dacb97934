"""Line charts of a run's log: small panels in one picture, which a run redraws at each checkpoint."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from math import ceil, floor, isfinite, log10
from statistics import median
from typing import Any

from PIL import Image, ImageDraw

from ..io.log import NON_LOSS_KEYS
from .plots import COLOURS, FRAME_COLOUR, GRID_COLOUR, SUPERSAMPLING, TEXT_COLOUR, TEXT_SIZE, TICK_COLOUR, font, ticks

Series = list[tuple[float, float]]
WIDTH, HEIGHT, COLUMNS, PANEL_SPACING = 330, 220, 3, 10
"""pixels of a panel, panels in a row, and pixels between them"""
ROW = TEXT_SIZE + 5
"""pixels from a line of text to the next"""
STRAY = 0.03
"""share of the lowest and of the highest values that may leave the frame, where that halves what it spans"""


@dataclass(frozen=True)
class Frame:
    """The rectangle in which lines are drawn, in fine pixels, and the values at its edges."""

    left: float
    top: float
    right: float
    bottom: float
    x: tuple[float, float]
    y: tuple[float, float]
    log: bool

    def to_pixels(self, x: float, y: float) -> tuple[float, float]:
        """Where a point lies; values beyond the frame at its edge."""
        across, up = share(x, self.x, False), share(min(max(y, self.y[0]), self.y[1]), self.y, self.log)
        return self.left + across * (self.right - self.left), self.bottom - up * (self.bottom - self.top)


def line_chart(
    series: dict[str, Series],
    title: str,
    log: bool = False,
    *,
    shown_values: Sequence[float] = (),
    marked_step: float | None = None,
) -> Image.Image:
    """A panel with a line for each series of points (step, value), named above where they are several.

    Values that are not finite, with `log` also those that are not positive, are left out.  The frame always shows the
    values `seen`; a ring is drawn around each line's point at the step `mark`.
    """
    lines = {name: downsample(drawable(points, log), WIDTH) for name, points in series.items()}
    lines = {name: points for name, points in lines.items() if points}
    image = Image.new("RGB", (WIDTH * SUPERSAMPLING, HEIGHT * SUPERSAMPLING), "white")
    draw = ImageDraw.Draw(image)
    draw.text((4 * SUPERSAMPLING, ROW * SUPERSAMPLING), title, TEXT_COLOUR, font(TEXT_SIZE * SUPERSAMPLING), "ls")
    top = legend(draw, list(lines)) if len(lines) > 1 else ROW
    if lines:
        everything = [point for points in lines.values() for point in points]
        y = limits([value for _, value in everything], shown_values, log)
        frame = ruled(draw, float((top + 8) * SUPERSAMPLING), max(x for x, _ in everything), y, log)
        for points, colour in zip(lines.values(), cycle(COLOURS), strict=False):
            trace(draw, frame, points, colour, marked_step)
    return image.reduce(SUPERSAMPLING)


def drawable(points: Series, log: bool) -> Series:
    """The points that have a place in a chart."""
    return [(x, y) for x, y in points if isfinite(y) and (y > 0 or not log)]


def downsample(points: Series, max_points: int) -> Series:
    """At most so many points: medians of neighbours."""
    n = ceil(len(points) / max_points)
    if n <= 1:
        return points
    parts = [points[i : i + n] for i in range(0, len(points), n)]
    return [(median(x for x, _ in part), median(y for _, y in part)) for part in parts]


def limits(values: list[float], seen: Sequence[float], log: bool) -> tuple[float, float]:
    """What the frame spans: all values, or all but a few outliers, and those that are to be `seen`."""
    ordered = sorted(log10(v) if log else v for v in values)
    stray = int(len(ordered) * STRAY)
    inner = ordered[stray : len(ordered) - stray]
    if inner[-1] - inner[0] < (ordered[-1] - ordered[0]) / 2:
        ordered = inner
    low, high = min(ordered[0], *seen, ordered[-1]), max(ordered[-1], *seen, ordered[0])
    room = (high - low) * 0.04 or max(abs(high) * 0.1, 1e-6)
    low, high = low - room, high + room
    return (10.0**low, 10.0**high) if log else (low, high)


def share(value: float, span: tuple[float, float], log: bool) -> float:
    """How far from the lower to the upper end of the span a value lies, 0 to 1."""
    low, high = span
    if log:
        value, low, high = log10(value), log10(low), log10(high)
    return (value - low) / (high - low)


def log_ticks(low: float, high: float) -> list[float]:
    """At most six round numbers between low and high, which are positive: powers of ten, where that is enough."""
    powers = range(floor(log10(low)), ceil(log10(high)) + 1)
    for numbers in ((1,), (1, 2, 5)):
        found = [m * 10.0**p for p in powers for m in numbers if low < m * 10.0**p < high]
        if len(found) >= 2:
            return found[:: ceil(len(found) / 6)]
    return ticks(low, high)


def ruled(draw: ImageDraw.ImageDraw, top: float, last: float, y: tuple[float, float], log: bool) -> Frame:
    """A frame for the steps 0 to `last`, with faint lines at round values, and their numbers outside of it."""
    values = log_ticks(*y) if log else ticks(*y)
    text = font(TEXT_SIZE * SUPERSAMPLING)
    left = max(36 * SUPERSAMPLING, *(text.getlength(format_tick(v)) + 10 * SUPERSAMPLING for v in values))
    right, bottom = float((WIDTH - 6) * SUPERSAMPLING), float((HEIGHT - ROW - 4) * SUPERSAMPLING)
    frame = Frame(float(left), top, right, bottom, (0.0, max(last, 1.0)), y, log)
    for value in values:
        _, down = frame.to_pixels(0.0, value)
        draw.line((left, whole(down), frame.right, whole(down)), GRID_COLOUR, SUPERSAMPLING)
        draw.text((left - 5 * SUPERSAMPLING, down), format_tick(value), TICK_COLOUR, text, "rm")
    steps = [0.0, *ticks(*frame.x), frame.x[1]]
    room = 0.0
    for step in steps[:-1] if len(steps) > 3 and steps[-1] % (steps[2] - steps[1]) else steps:
        across, _ = frame.to_pixels(step, y[0])
        half = text.getlength(format_tick(step)) / 2
        middle = min(across, frame.right - half)
        if middle - half > room:
            draw.line((whole(across), top, whole(across), frame.bottom), GRID_COLOUR, SUPERSAMPLING)
            draw.text((middle, frame.bottom + 4 * SUPERSAMPLING), format_tick(step), TICK_COLOUR, text, "mt")
            room = middle + half + 8 * SUPERSAMPLING
    draw.rectangle((left, top, frame.right, frame.bottom), outline=FRAME_COLOUR, width=SUPERSAMPLING)
    return frame


def whole(at: float) -> int:
    """Where a line of one pixel is drawn so that it covers one, and is not spread over two."""
    return round(at / SUPERSAMPLING) * SUPERSAMPLING


def format_tick(value: float) -> str:
    """As short as it can be said: 0.05, 800, 20k, 1.5M."""
    for large, unit in ((1e6, "M"), (1e4, "k")):
        if large <= abs(value) < 1e9:
            return f"{value / {'M': 1e6, 'k': 1e3}[unit]:.6g}{unit}"
    return f"{value:.6g}"


def trace(draw: ImageDraw.ImageDraw, frame: Frame, points: Series, colour: str, mark: float | None) -> None:
    """A line through the points, or a dot where there is only one."""
    at = [frame.to_pixels(x, y) for x, y in points]
    draw.line(at, colour, round(1.5 * SUPERSAMPLING), joint="curve")
    ringed = [place for place, (x, _) in zip(at, points, strict=True) if x == mark]
    for places, r, inside in ((at[: len(at) == 1], 2.5 * SUPERSAMPLING, colour), (ringed, 5 * SUPERSAMPLING, None)):
        for x, y in places:
            draw.ellipse((x - r, y - r, x + r, y + r), inside, colour, SUPERSAMPLING)


def legend(draw: ImageDraw.ImageDraw, names: list[str]) -> int:
    """Names beside short lines in their colours, below the title; returns how far down, in pixels, they reach."""
    x, y, text = 4.0 * SUPERSAMPLING, 2 * ROW, font(TEXT_SIZE * SUPERSAMPLING)
    for name, colour in zip(names, cycle(COLOURS), strict=False):
        long = text.getlength(name) + 20 * SUPERSAMPLING
        if x + long > WIDTH * SUPERSAMPLING and x > 4 * SUPERSAMPLING:
            x, y = 4.0 * SUPERSAMPLING, y + ROW
        draw.line(
            (x, (y - 4) * SUPERSAMPLING, x + 12 * SUPERSAMPLING, (y - 4) * SUPERSAMPLING), colour, 2 * SUPERSAMPLING
        )
        draw.text((x + 16 * SUPERSAMPLING, y * SUPERSAMPLING), name, TEXT_COLOUR, text, "ls")
        x += long + 8 * SUPERSAMPLING
    return y


def draw_curves(lines: Sequence[dict[str, Any]]) -> Image.Image:
    """All that the lines of a run's log say, of which there is at least one, as charts over its steps.

    256 colours, which makes a small file fast.
    """
    game = any("game" in line for line in lines)
    panels = [*loss_charts(lines), *sample_charts(lines), *(game_charts(lines) if game else code_charts(lines))]
    columns = min(COLUMNS, len(panels))
    rows = ceil(len(panels) / columns)
    size = (columns * (WIDTH + PANEL_SPACING) + PANEL_SPACING, rows * (HEIGHT + PANEL_SPACING) + PANEL_SPACING)
    canvas = Image.new("RGB", size, "white")
    for i, panel in enumerate(panels):
        canvas.paste(
            panel,
            (
                PANEL_SPACING + i % columns * (WIDTH + PANEL_SPACING),
                PANEL_SPACING + i // columns * (HEIGHT + PANEL_SPACING),
            ),
        )
    return canvas.quantize(256, Image.Quantize.FASTOCTREE)


def loss_charts(lines: Sequence[dict[str, Any]]) -> list[Image.Image]:
    """The loss terms: those of a game in one chart, else the reconstruction's in its own."""
    known = dict.fromkeys(name for line in lines for name in line)
    names = [name for name in known if name not in ("step", "seconds", *NON_LOSS_KEYS)]
    if not any("game" in line for line in lines) and "reconstruction" in names and len(names) > 1:
        rest = [name for name in names if name != "reconstruction"]
        return [several(lines, ["reconstruction"], "reconstruction"), several(lines, rest, ", ".join(rest[:4]))]
    return [several(lines, names, "losses" if len(names) > 1 else names[0])]


def several(lines: Sequence[dict[str, Any]], names: Sequence[str], title: str) -> Image.Image:
    """A chart of the numbers of these names."""
    return line_chart({name: log_series(lines, name) for name in names}, title)


def log_series(lines: Sequence[dict[str, Any]], name: str, part: str = "") -> Series:
    """The steps and values of a number that not every line holds, in a part of it such as "game"."""
    held = [(line["step"], line.get(part, {}) if part else line) for line in lines]
    return [(float(step), float(values[name])) for step, values in held if values.get(name) is not None]


def sample_charts(lines: Sequence[dict[str, Any]]) -> list[Image.Image]:
    """How far samples are from the data, the best weights marked."""
    measured = [line["samples"] for line in lines if "samples" in line]
    if not measured:
        return []
    name, best = measured[-1]["metric"], measured[-1]["best"]
    points = {name: log_series(lines, "value", "samples")}
    return (
        [line_chart(points, f"{name}; best: step {best}", shown_values=(0.0,), marked_step=float(best))]
        if points[name]
        else []
    )


def code_charts(lines: Sequence[dict[str, Any]]) -> list[Image.Image]:
    """How many latent dimensions are active."""
    active = log_series(lines, "active", "codes")
    if not active:
        return []
    dimensions = lines[-1]["codes"]["dimensions"]
    return [
        line_chart(
            {"active": active}, f"active latent dimensions, of {dimensions}", shown_values=(0.0, float(dimensions))
        )
    ]


def game_charts(lines: Sequence[dict[str, Any]]) -> list[Image.Image]:
    """How a game between G and D stands."""
    game = {
        name: log_series(lines, name, "game")
        for name in dict.fromkeys(n for line in lines for n in line.get("game", {}))
    }
    drawn: list[tuple[dict[str, Series], str, dict[str, Any]]] = [
        ({"W": log_series(lines, "wasserstein")}, "Wasserstein distance, as D has it", {"shown_values": (0.0,)}),
        (
            {"JS": log_series(lines, "jensen_shannon")},
            "Jensen-Shannon divergence, as D has it",
            {"shown_values": (0.0,)},
        ),
        ({"diversity": game.get("diversity", [])}, "diversity of samples; 1: the data's", {"shown_values": (0.0, 1.0)}),
        (
            {"real": game.get("accuracy_real", []), "fake": game.get("accuracy_fake", [])},
            "D's accuracy",
            {"shown_values": (0.0, 1.0)},
        ),
        (
            {"gap": [] if "wasserstein" in lines[-1] else game.get("gap", [])},
            "gap: D(real) - D(fake)",
            {"shown_values": (0.0,)},
        ),
        *domain_series(game),
        ({"slope": game.get("slope", [])}, "slope: norm of D's gradient by x", {"shown_values": (0.0,)}),
        (
            {name.removeprefix("gradient_"): game[name] for name in game if name.startswith("gradient_")},
            "norm of the last move's gradient",
            {"log": True},
        ),
        (
            {"minimax": game.get("minimax", []), "non-saturating": game.get("nonsaturating", [])},
            "norm of G's gradient under either loss",
            {"log": True},
        ),
    ]
    return [line_chart(series, title, **options) for series, title, options in drawn if any(series.values())]


def domain_series(game: dict[str, Series]) -> list[tuple[dict[str, Series], str, dict[str, Any]]]:
    """How the game of a translator stands in its domains A and B."""
    titles = {
        "accuracy": ("critics' accuracy", (0.0, 1.0)), "gap": ("gap of critics: D(real) - D(fake)", (0.0,)),
        "cycle": ("error of round trips, there and back", (0.0,)),
        "noisy": ("the same, once faint noise is added on the way", (0.0,)),
        "moved": ("change of the input; 1: what separates the domains", (0.0, 1.0)),
    }  # fmt: skip
    return [
        ({domain: game.get(f"{name}_{domain}", []) for domain in "AB"}, title, {"shown_values": seen})
        for name, (title, seen) in titles.items()
    ]
