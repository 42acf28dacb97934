"""Numbers of any kind as the 256 levels of grey that images have inside: which number is black, and which is white."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal

import numpy as np
from pydantic_core import PydanticCustomError

from ..errors import UserError
from ..io.text import format_number

Bounds = tuple[float, float]  # the numbers that are black and white
AUTO: Literal["auto"] = "auto"
NUMBERS_PER_CHUNK = 2**20  # numbers that are computed with at once: as float32 they take four times the memory of bytes
MIN_RANGE_SHARE = 0.5  # share of what 16 bits can hold that images had better use
RANGE_HELP = "range=auto takes the lowest for black and the highest for white, range=LOW,HIGH what you say"


def normalize_range(value: object) -> object:
    """The text "auto", or two numbers as "0,1400", of what the command line, a file or Python give."""
    words = value if isinstance(value, list | tuple) else re.split(r"[,\s]+", str(value).strip())
    if len(words) == 1 and str(words[0]) == AUTO:
        return AUTO
    try:
        low, high = (float(word) for word in words)
    except (TypeError, ValueError):
        low = high = 0.0
    if not (isfinite(low) and isfinite(high) and low < high):
        raise PydanticCustomError("range", "must be auto, or two numbers, black and white, the lower first: 0 1400")
    return f"{low:.17g},{high:.17g}" if (low, high) != (round(low), round(high)) else f"{low:.0f},{high:.0f}"


@dataclass(frozen=True)
class ValueStats:
    """Some images' numbers: how many, the least and the greatest, and how many are out of range."""

    count: int = 0
    low: float = float("inf")
    high: float = float("-inf")
    below: int = 0
    above: int = 0

    def __add__(self, other: "ValueStats") -> "ValueStats":
        low, high = min(self.low, other.low), max(self.high, other.high)
        return ValueStats(self.count + other.count, low, high, self.below + other.below, self.above + other.above)


def row_chunks(array: np.ndarray) -> Iterator[slice]:
    """Slices of the first axis that hold about `NUMBERS_PER_CHUNK` numbers."""
    size = max(1, NUMBERS_PER_CHUNK * len(array) // max(1, array.size))
    return (slice(i, i + size) for i in range(0, len(array), size))


def value_stats(values: np.ndarray, bounds: Bounds | None = None) -> ValueStats:
    """What is in an array; ValueError for NaN and infinity."""
    stats = ValueStats()
    for part in (values[i] for i in row_chunks(values)):
        low, high = float(part.min()), float(part.max())
        if not (isfinite(low) and isfinite(high)):
            raise ValueError("holds NaN or infinity: replace these")
        below, above = ((part < bounds[0]).sum(), (part > bounds[1]).sum()) if bounds else (0, 0)
        stats += ValueStats(part.size, low, high, int(below), int(above))
    return stats


def quantize_pixels(values: np.ndarray, bounds: Bounds, opaque: float) -> np.ndarray:
    """Pixels ... x c as bytes, clipped and rounded: colours within `bounds`, a fourth channel, alpha, to `opaque`."""
    levels, colours = np.empty(values.shape, np.uint8), 3 if values.shape[-1] == 4 else values.shape[-1]
    for channels, (low, high) in ((slice(colours), bounds), (slice(colours, None), (0.0, opaque))):
        for i in row_chunks(values):
            numbers = values[i][..., channels].astype(np.float64).clip(low, high)
            levels[i][..., channels] = np.round((numbers - low) * (255 / (high - low)))
    return levels


def range_applies(dtype: np.dtype, bounds: Bounds) -> bool:
    """Whether a range is meant for numbers of this type: bytes are left as they are where it goes beyond 0 to 255."""
    return dtype != np.uint8 or (bounds[0] >= 0 and bounds[1] <= 255)


def unmapped_note(n: int) -> str:
    return f"{n} image{' was' if n == 1 else 's were'} left as they are: they have 8 bits, and the range goes beyond"


def auto_bounds(stats: ValueStats, name: str) -> Bounds:
    """The least number and the greatest; UserError where there is but one."""
    if not stats.low < stats.high:
        why = f"{name} holds nothing but the number {stats.low:g}, so range=auto finds no black and white"
        raise UserError(f"{why}: give range=LOW,HIGH")
    return stats.low, stats.high


def mapping_note(stats: ValueStats, bounds: Bounds) -> str:
    """The note on numbers that were mapped by a range."""
    note = f"numbers from {bounds[0]:g} (black) to {bounds[1]:g} (white) were rounded to 256 levels"
    if outside := stats.below + stats.above:
        share = 100 * outside / stats.count
        note += f"; {format_number(share, 2)}% were clipped: {stats.below} lower and {stats.above} higher ones"
    return note


def read_range(header: dict[str, Any]) -> str | None:
    """The range of a run's data, as `DataOptions` has it; of a translator's none: each of its domains has its own."""
    bounds = None if "domains" in header else read_bounds(header)
    return bounds and str(normalize_range(bounds))


def rounding_note(stats: ValueStats, white: int) -> str:
    """The note on 16-bit images that no range was given for."""
    share = (stats.high - stats.low) / white
    note = f"16-bit images were rounded to 8 bits: their numbers are from {stats.low:g} to {stats.high:g}"
    if share > MIN_RANGE_SHARE:
        return note
    levels = round(255 * stats.high / white) - round(255 * stats.low / white) + 1
    loss = f"{format_number(100 * share, 2)}% of the range of 0 to {white}, so that {levels} of 256 levels are left"
    return f"{note}, {loss}: {RANGE_HELP.replace('range=', '--range ').replace(',H', ' H')}"


def read_bounds(header: dict[str, Any], domain: int = 0) -> Bounds | None:
    """Black and white of a run's data, or of one of its domains, as its weights file says; None where it has none."""
    parts = header.get("domains", [header])
    value = parts[domain].get("range") if domain < len(parts) else None
    if not isinstance(value, list | tuple) or len(value) != 2 or not all(isinstance(v, int | float) for v in value):
        return None
    return (float(value[0]), float(value[1])) if value[0] < value[1] else None
