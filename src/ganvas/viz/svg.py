"""Line charts as the places of their parts, which a template draws as SVG: crisp at any size, light or dark."""

from collections.abc import Sequence
from itertools import cycle
from math import ceil, floor, log10
from typing import Any

from .plots import COLOURS, LEAST, MOST, Chart, downsample, format_tick, limits

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 420, 220, 54, 8, 402, 184
"""size of a chart, and where its frame is, in the units of the SVG"""
MAX_POINTS, N_TICKS = 300, 5
"""points of a line at most, medians of neighbours, and about how many ticks an axis has"""


def svg_charts(charts: Sequence[Chart], names: Sequence[str] = ()) -> list[dict[str, Any]]:
    """What a template draws of each chart that has a line; `names` of lines have one colour in all charts."""
    return [layout for chart in charts if (layout := svg_chart(chart, names))]


def svg_chart(chart: Chart, names: Sequence[str] = ()) -> dict[str, Any]:
    """Where the lines and ticks of a chart are; nothing where no number is finite or, on a log axis, positive."""
    least = LEAST if chart.log else -MOST
    lines = {name: [(x, y) for x, y in points if least < y < MOST] for name, points in chart.series.items()}
    lines = {name: downsample(points, MAX_POINTS) for name, points in lines.items() if points}
    if not lines:
        return {}
    marks = {name: [p for p in points if p[0] == chart.marked_step] for name, points in lines.items()}
    shown = [*chart.shown_values, *(y for points in marks.values() for _, y in points)]
    low, high = limits([y for points in lines.values() for _, y in points], shown, chart.log)
    end = max(1.0, *(x for points in lines.values() for x, _ in points))

    def place_x(x: float) -> float:
        return round(LEFT + x / end * (RIGHT - LEFT), 1)

    def place_y(y: float) -> float:
        share = log10(y / low) / log10(high / low) if chart.log else (y - low) / (high - low)
        return round(min(max(BOTTOM - share * (BOTTOM - TOP), TOP - 40), BOTTOM + 40), 1)  # outliers are clipped

    colours = dict(zip(names or lines, cycle(COLOURS), strict=False))
    return {
        "title": chart.title, "x_name": chart.x_name, "has_legend": len(lines) > 1 or bool(names),
        "x_ticks": [(place_x(x), format_tick(x)) for x in ticks(0.0, end) if x % 1 == 0],
        "y_ticks": [(place_y(y), format_tick(y)) for y in (log_ticks if chart.log else ticks)(low, high)],
        "lines": [
            {"name": name, "colour": colours[name], "points": [(place_x(x), place_y(y)) for x, y in points],
             "marks": [(place_x(x), place_y(y)) for x, y in marks[name]]}
            for name, points in lines.items()
        ],
    }  # fmt: skip


def ticks(low: float, high: float) -> list[float]:
    """Round numbers at equal distances, 1, 2 or 5 times a power of ten, between these."""
    raw = (high - low) / N_TICKS
    power = 10.0 ** floor(log10(raw))
    step = next(power * k for k in (1, 2, 5, 10) if power * k >= raw * 0.999)
    digits = max(0, 1 - floor(log10(step)))
    return [round(i * step, digits) for i in range(ceil(low / step - 1e-9), floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten between these, or with twice and five times as much where they are few."""
    if high / low < 5:
        return ticks(low, high)
    powers = range(floor(log10(low)), ceil(log10(high)) + 1)
    step = max(1, len(powers) // (N_TICKS + 1))
    factors = (1.0,) if high / low > 100 else (1.0, 2.0, 5.0)
    return [y for p in powers[::step] for k in factors if low <= (y := k * 10.0**p) <= high]
