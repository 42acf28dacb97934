"""Line charts of a run's log: small panels in one picture, which a run redraws at each checkpoint."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from math import ceil, floor, isfinite, log10
from statistics import median
from typing import Any

from PIL import Image, ImageDraw

from ..io.log import NO_LOSSES
from .plots import COLOURS, FAINT, FINE, INK, LINE, SOFT, TEXT, font, ticks

Points = list[tuple[float, float]]
WIDTH, HEIGHT, COLUMNS, SPACE = 330, 220, 3, 10
"""pixels of a panel, panels in a row, and pixels between them"""
ROW = TEXT + 5
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

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a point lies; values beyond the frame at its edge."""
        across, up = share(x, self.x, False), share(min(max(y, self.y[0]), self.y[1]), self.y, self.log)
        return self.left + across * (self.right - self.left), self.bottom - up * (self.bottom - self.top)


def chart(
    series: dict[str, Points],
    title: str,
    log: bool = False,
    *,
    seen: Sequence[float] = (),
    mark: float | None = None,
) -> Image.Image:
    """A panel with a line for each series of points (step, value), named above where they are several.

    Values that are not finite, with `log` also those that are not positive, are left out.  The frame always shows the
    values `seen`; a ring is drawn around each line's point at the step `mark`.
    """
    lines = {name: thinned(drawable(points, log), WIDTH) for name, points in series.items()}
    lines = {name: points for name, points in lines.items() if points}
    image = Image.new("RGB", (WIDTH * FINE, HEIGHT * FINE), "white")
    draw = ImageDraw.Draw(image)
    draw.text((4 * FINE, ROW * FINE), title, INK, font(TEXT * FINE), "ls")
    top = legend(draw, list(lines)) if len(lines) > 1 else ROW
    if lines:
        everything = [point for points in lines.values() for point in points]
        y = limits([value for _, value in everything], seen, log)
        frame = ruled(draw, float((top + 8) * FINE), max(x for x, _ in everything), y, log)
        for points, colour in zip(lines.values(), cycle(COLOURS), strict=False):
            trace(draw, frame, points, colour, mark)
    return image.reduce(FINE)


def drawable(points: Points, log: bool) -> Points:
    """The points that have a place in a chart."""
    return [(x, y) for x, y in points if isfinite(y) and (y > 0 or not log)]


def thinned(points: Points, most: int) -> Points:
    """At most so many points: medians of neighbours."""
    n = ceil(len(points) / most)
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
    text = font(TEXT * FINE)
    left = max(36 * FINE, *(text.getlength(number(v)) + 10 * FINE for v in values))
    right, bottom = float((WIDTH - 6) * FINE), float((HEIGHT - ROW - 4) * FINE)
    frame = Frame(float(left), top, right, bottom, (0.0, max(last, 1.0)), y, log)
    for value in values:
        _, down = frame.at(0.0, value)
        draw.line((left, whole(down), frame.right, whole(down)), FAINT, FINE)
        draw.text((left - 5 * FINE, down), number(value), SOFT, text, "rm")
    steps = [0.0, *ticks(*frame.x), frame.x[1]]
    room = 0.0
    for step in steps[:-1] if len(steps) > 3 and steps[-1] % (steps[2] - steps[1]) else steps:
        across, _ = frame.at(step, y[0])
        half = text.getlength(number(step)) / 2
        middle = min(across, frame.right - half)
        if middle - half > room:
            draw.line((whole(across), top, whole(across), frame.bottom), FAINT, FINE)
            draw.text((middle, frame.bottom + 4 * FINE), number(step), SOFT, text, "mt")
            room = middle + half + 8 * FINE
    draw.rectangle((left, top, frame.right, frame.bottom), outline=LINE, width=FINE)
    return frame


def whole(at: float) -> int:
    """Where a line of one pixel is drawn so that it covers one, and is not spread over two."""
    return round(at / FINE) * FINE


def number(value: float) -> str:
    """As short as it can be said: 0.05, 800, 20k, 1.5M."""
    for large, unit in ((1e6, "M"), (1e4, "k")):
        if large <= abs(value) < 1e9:
            return f"{value / {'M': 1e6, 'k': 1e3}[unit]:.6g}{unit}"
    return f"{value:.6g}"


def trace(draw: ImageDraw.ImageDraw, frame: Frame, points: Points, colour: str, mark: float | None) -> None:
    """A line through the points, or a dot where there is only one."""
    at = [frame.at(x, y) for x, y in points]
    draw.line(at, colour, round(1.5 * FINE), joint="curve")
    ringed = [place for place, (x, _) in zip(at, points, strict=True) if x == mark]
    for places, r, inside in ((at[: len(at) == 1], 2.5 * FINE, colour), (ringed, 5 * FINE, None)):
        for x, y in places:
            draw.ellipse((x - r, y - r, x + r, y + r), inside, colour, FINE)


def legend(draw: ImageDraw.ImageDraw, names: list[str]) -> int:
    """Names beside short lines in their colours, below the title; returns how far down, in pixels, they reach."""
    x, y, text = 4.0 * FINE, 2 * ROW, font(TEXT * FINE)
    for name, colour in zip(names, cycle(COLOURS), strict=False):
        long = text.getlength(name) + 20 * FINE
        if x + long > WIDTH * FINE and x > 4 * FINE:
            x, y = 4.0 * FINE, y + ROW
        draw.line((x, (y - 4) * FINE, x + 12 * FINE, (y - 4) * FINE), colour, 2 * FINE)
        draw.text((x + 16 * FINE, y * FINE), name, INK, text, "ls")
        x += long + 8 * FINE
    return y


def curves(lines: Sequence[dict[str, Any]]) -> Image.Image:
    """All that the lines of a run's log say, of which there is at least one, as charts over its steps.

    256 colours, which makes a small file fast.
    """
    game = any("game" in line for line in lines)
    panels = [*of_losses(lines), *of_samples(lines), *(of_game(lines) if game else of_codes(lines))]
    columns = min(COLUMNS, len(panels))
    rows = ceil(len(panels) / columns)
    size = (columns * (WIDTH + SPACE) + SPACE, rows * (HEIGHT + SPACE) + SPACE)
    canvas = Image.new("RGB", size, "white")
    for i, panel in enumerate(panels):
        canvas.paste(panel, (SPACE + i % columns * (WIDTH + SPACE), SPACE + i // columns * (HEIGHT + SPACE)))
    return canvas.quantize(256, Image.Quantize.FASTOCTREE)


def of_losses(lines: Sequence[dict[str, Any]]) -> list[Image.Image]:
    """The loss terms: those of a game in one chart, else the reconstruction's in its own."""
    known = dict.fromkeys(name for line in lines for name in line)
    names = [name for name in known if name not in ("step", "seconds", *NO_LOSSES)]
    if not any("game" in line for line in lines) and "reconstruction" in names and len(names) > 1:
        rest = [name for name in names if name != "reconstruction"]
        return [several(lines, ["reconstruction"], "reconstruction"), several(lines, rest, ", ".join(rest[:4]))]
    return [several(lines, names, "losses" if len(names) > 1 else names[0])]


def several(lines: Sequence[dict[str, Any]], names: Sequence[str], title: str) -> Image.Image:
    """A chart of the numbers of these names."""
    return chart({name: found(lines, name) for name in names}, title)


def found(lines: Sequence[dict[str, Any]], name: str, part: str = "") -> Points:
    """The steps and values of a number that not every line holds, in a part of it such as "game"."""
    held = [(line["step"], line.get(part, {}) if part else line) for line in lines]
    return [(float(step), float(values[name])) for step, values in held if values.get(name) is not None]


def of_samples(lines: Sequence[dict[str, Any]]) -> list[Image.Image]:
    """How far samples are from the data, the best weights marked."""
    measured = [line["samples"] for line in lines if "samples" in line]
    if not measured:
        return []
    name, best = measured[-1]["metric"], measured[-1]["best"]
    points = {name: found(lines, "value", "samples")}
    return [chart(points, f"{name}; best: step {best}", seen=(0.0,), mark=float(best))] if points[name] else []


def of_codes(lines: Sequence[dict[str, Any]]) -> list[Image.Image]:
    """How many latent dimensions are active."""
    active = found(lines, "active", "codes")
    if not active:
        return []
    dimensions = lines[-1]["codes"]["dimensions"]
    return [chart({"active": active}, f"active latent dimensions, of {dimensions}", seen=(0.0, float(dimensions)))]


def of_game(lines: Sequence[dict[str, Any]]) -> list[Image.Image]:
    """How a game between G and D stands."""
    game = {
        name: found(lines, name, "game") for name in dict.fromkeys(n for line in lines for n in line.get("game", {}))
    }
    drawn: list[tuple[dict[str, Points], str, dict[str, Any]]] = [
        ({"W": found(lines, "wasserstein")}, "Wasserstein distance, as D has it", {"seen": (0.0,)}),
        ({"JS": found(lines, "jensen_shannon")}, "Jensen-Shannon divergence, as D has it", {"seen": (0.0,)}),
        ({"diversity": game.get("diversity", [])}, "diversity of samples; 1: the data's", {"seen": (0.0, 1.0)}),
        (
            {"real": game.get("accuracy_real", []), "fake": game.get("accuracy_fake", [])},
            "D's accuracy",
            {"seen": (0.0, 1.0)},
        ),
        (
            {"gap": [] if "wasserstein" in lines[-1] else game.get("gap", [])},
            "gap: D(real) - D(fake)",
            {"seen": (0.0,)},
        ),
        *of_domains(game),
        ({"slope": game.get("slope", [])}, "slope: norm of D's gradient by x", {"seen": (0.0,)}),
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
    return [chart(series, title, **options) for series, title, options in drawn if any(series.values())]


def of_domains(game: dict[str, Points]) -> list[tuple[dict[str, Points], str, dict[str, Any]]]:
    """How the game of a translator stands in its domains A and B."""
    titles = {
        "accuracy": ("critics' accuracy", (0.0, 1.0)), "gap": ("gap of critics: D(real) - D(fake)", (0.0,)),
        "cycle": ("error of round trips, there and back", (0.0,)),
        "noisy": ("the same, once faint noise is added on the way", (0.0,)),
        "moved": ("change of the input; 1: what separates the domains", (0.0, 1.0)),
    }  # fmt: skip
    return [
        ({domain: game.get(f"{name}_{domain}", []) for domain in "AB"}, title, {"seen": seen})
        for name, (title, seen) in titles.items()
    ]
