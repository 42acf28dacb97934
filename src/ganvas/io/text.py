"""Text as a terminal may see it, and values as JSON may have them."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from math import isfinite
from string import Formatter
from typing import Any

from ..escape import escape_text


def escape_lines(lines: str | Iterable[str]) -> str:
    """Lines for a terminal: of a text those that it has, of several texts a line each."""
    return "\n".join(map(escape_text, lines.split("\n") if isinstance(lines, str) else lines))


def replace_non_finite(value: Any) -> Any:
    """The value with null in place of what JSON has no number for: NaN and infinities."""
    if isinstance(value, dict):
        return {key: replace_non_finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [replace_non_finite(part) for part in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def is_number(text: str) -> bool:
    """Whether a text is a number as Python reads one."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def format_number(x: float, digits: int = 3) -> str:
    """A number to so many digits, and all of them before the point; no powers of ten from 1e-6 to 1e6."""
    text = f"{x:.{digits}g}"
    if "e" not in text or not 1e-6 <= abs(x) < 1e6:
        return text
    return f"{x:.0f}" if abs(x) >= 1 else f"{Decimal(text):f}"


def fill_in(text: str, values: Mapping[str, Any]) -> str:
    """The text with these values, as `str.format_map` does it, but {x:.3g} as `format_number` has it."""
    return PlainFormatter().vformat(text, (), values)


class PlainFormatter(Formatter):
    """Formats {x:.3g} by `format_number`."""

    def format_field(self, value: Any, format_spec: str) -> str:
        digits = format_spec[1:-1]
        is_short = format_spec.endswith("g") and digits.isdigit()
        return format_number(value, int(digits)) if is_short else str(super().format_field(value, format_spec))


def format_size(n: int) -> str:
    """800 bytes, 41 kB, 1.5 MB."""
    for size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if n >= size:
            return f"{format_number(n / size)} {unit}"
    return f"{n} byte{'' if n == 1 else 's'}"


def format_step_time(seconds: float) -> str:
    """41 ms, 1.5 s."""
    return f"{format_number(1000 * seconds)} ms" if seconds < 1 else f"{format_number(seconds)} s"


def format_duration(seconds: float) -> str:
    """5 s, 1 min 20 s."""
    whole = round(seconds)
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{whole} s"
