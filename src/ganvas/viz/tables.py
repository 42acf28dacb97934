"""Rows of a table as a picture."""

from typing import Any

from PIL import Image, ImageDraw, ImageFont

from .plots import TEXT_COLOUR

MAX_ROWS, MAX_COLUMNS, MAX_CHARACTERS = 24, 14, 18
"""most rows and columns that a picture shows, and characters of a cell"""
TEXT_SIZE, ROW_HEIGHT, GAP, MARGIN = 13, 20, 18, 10
"""pixels of letters, of a row, between columns and around all"""
HEADER_COLOUR, LINE_COLOUR = "#666666", "#dddddd"


def render_rows(frame: Any, title: str = "") -> Image.Image:
    """The first rows and columns of a data frame, and how many more there are."""
    font = ImageFont.load_default(TEXT_SIZE)
    part = frame.iloc[:MAX_ROWS, :MAX_COLUMNS]
    columns = [[str(name), *column_texts(part[name])] for name in part.columns]
    columns = [[shorten(text) for text in column] for column in columns]
    widths = [round(max(font.getlength(text) for text in column)) for column in columns]
    others = {"row": len(frame) - len(part), "column": frame.shape[1] - part.shape[1]}
    more = [f"{n:,} more {what}{'' if n == 1 else 's'}" for what, n in others.items() if n]
    caption = title + (" · " if title and more else "") + ", ".join(more)
    height = (len(part) + 1 + bool(caption)) * ROW_HEIGHT + 2 * MARGIN
    width = max(sum(widths) + GAP * (len(widths) - 1), round(font.getlength(caption))) + 2 * MARGIN
    image = Image.new("RGB", (width, height), "white")
    draw, x = ImageDraw.Draw(image), MARGIN
    for column, column_width in zip(columns, widths, strict=True):
        is_number = all(is_numeric(text) for text in column[1:])
        for i, text in enumerate(column):
            place = x + (column_width - font.getlength(text) if is_number else 0), MARGIN + i * ROW_HEIGHT
            draw.text(place, text, HEADER_COLOUR if i == 0 else TEXT_COLOUR, font)
        x += column_width + GAP
    draw.line((MARGIN, MARGIN + ROW_HEIGHT - 2, width - MARGIN, MARGIN + ROW_HEIGHT - 2), LINE_COLOUR)
    draw.text((MARGIN, height - MARGIN - ROW_HEIGHT), caption, HEADER_COLOUR, font)
    return image


def column_texts(series: Any) -> list[str]:
    """The values of a column as cells have them; what is missing is empty."""
    is_missing = series.isna()
    return ["" if missing else cell_text(value) for value, missing in zip(series, is_missing, strict=True)]


def cell_text(value: Any) -> str:
    """A value as a cell has it: floats to six digits."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def shorten(text: str) -> str:
    """A text in one line, cut off where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= MAX_CHARACTERS else line[: MAX_CHARACTERS - 1] + "…"


def is_numeric(text: str) -> bool:
    """Whether a cell holds a number, or nothing."""
    try:
        float(text or "0")
    except ValueError:
        return False
    return True
