"""The page on a synthetic table: the verdict, each column, relations, usefulness, and what is given away."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...viz.html import write_page
from .columns import format_value, percent
from .marginals import Marginal
from .measure import TableEvaluation
from .report import QUALITY_HEAD, column_rows, count_text, privacy_rows, quality_rows, usefulness_rows
from .verdict import Verdict, judge

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 300, 150, 6, 126, 8
"""size of a column's chart, and where its bars are, in the units of the SVG"""
ROW_HEIGHT, NAME_WIDTH, MAX_NAME = 18, 118, 18
"""of charts of categories: a row's height, the width of names, and characters of one"""
MAX_MARGINALS, MAX_MATRIX = 60, 24
"""columns whose charts and whose relations are shown, the worst ones"""
SIDE, MATRIX_LEFT = 14, 110
"""side of a cell of a matrix, and where cells begin"""


def write_table_page(path: Path, title: str, e: TableEvaluation) -> None:
    """Write the page as one file."""
    write_page(path, "table.html", title=title, table=page_values(e))


def page_values(e: TableEvaluation) -> dict[str, Any]:
    """What the template shows."""
    verdict = judge(e)
    order = sorted(range(len(e.columns)), key=lambda j: -("good", "fair", "poor").index(verdict.columns[j].level))
    shown = order[:MAX_MARGINALS]
    more = [f"The {MAX_MARGINALS} worst of {len(order)} columns are shown."] if len(order) > len(shown) else []
    more += [f"Not learnt, and not looked at: {', '.join(c.name for c in e.left_out)}."] if e.left_out else []
    return {
        "use": verdict.use, "uses": [name for name, is_good in verdict.uses.items() if is_good], "sign": verdict.sign,
        "sharing": verdict.sharing, "rows": verdict.rows, "counts": f"Rows: {count_text(e)}.", "more": " ".join(more),
        "marginals": [marginal_chart(e, verdict, j) for j in shown],
        "quality": quality_rows(e), "quality_head": QUALITY_HEAD,
        "columns": [row[:3] for row in column_rows(e, verdict)], "matrices": matrices(e),
        "usefulness": usefulness_rows(e), "target": e.usefulness and e.usefulness.target,
        "privacy": privacy_rows(e),
    }  # fmt: skip


def marginal_chart(e: TableEvaluation, verdict: Verdict, j: int) -> dict[str, Any]:
    """The places of a column's bars, real ones filled and synthetic ones as an outline."""
    marginal, column = e.marginals[j], verdict.columns[j]
    chart = category_chart(marginal) if marginal.names else number_chart(marginal, e, j)
    return {"name": column.name, "sentence": column.sentence} | chart


def bar_title(real: float, synthetic: float) -> str:
    return f"real {percent(real)}, synthetic {percent(synthetic)}"


def number_chart(marginal: Marginal, e: TableEvaluation, j: int) -> dict[str, Any]:
    """Upright bars.  One that towers above the others is cut off, and its share stands beside it."""
    real, synthetic, edges = marginal.real, marginal.synthetic, marginal.edges
    if not edges:
        nothing = [(LEFT, 14, "start", "no value is there")]
        return {"width": WIDTH, "height": 20, "bars": [], "line": "", "texts": nothing}
    heights = sorted(max(pair) for pair in zip(real, synthetic, strict=True))
    others = heights[-2] if len(heights) > 1 else 0.0
    top = min(heights[-1], 3 * others) if others else heights[-1]
    width = (WIDTH - 2 * LEFT) / len(real)

    def place(share: float) -> float:
        return round(BOTTOM - min(share / (top or 1.0), 1.0) * (BOTTOM - TOP), 1)

    bars, line, texts = [], [f"M{LEFT} {BOTTOM}"], list[tuple[float, float, str, str]]()
    for i, (a, b) in enumerate(zip(real, synthetic, strict=True)):
        x, next_x = (round(LEFT + k * width, 1) for k in (i, i + 1))
        bars.append({"x": x, "y": place(a), "width": round(next_x - x, 1), "height": round(BOTTOM - place(a), 1),
                     "title": bar_title(a, b)})  # fmt: skip
        line.append(f"V{place(b)}H{next_x}")
        if max(a, b) > top:
            is_left = i < len(real) / 2
            texts.append((next_x + 4 if is_left else x - 4, TOP + 10, "start" if is_left else "end", bar_title(a, b)))
    column = e.columns[j]
    half = 0.5 if edges[0] % 1 == 0.5 and edges[1] - edges[0] == 1 else 0.0  # a bar is a whole number
    texts.append((LEFT, BOTTOM + 14, "start", format_value(edges[0] + half, column)))
    texts.append((WIDTH - LEFT, BOTTOM + 14, "end", format_value(edges[-1] - half, column)))
    if any(marginal.missing):
        texts.append((WIDTH / 2, BOTTOM + 14, "middle", f"missing: {bar_title(*marginal.missing)}"))
    return {"width": WIDTH, "height": HEIGHT, "bars": bars, "line": " ".join([*line, f"V{BOTTOM}"]), "texts": texts}


def category_chart(marginal: Marginal) -> dict[str, Any]:
    """Lying bars, a row a category."""
    rows = list(zip(marginal.names, marginal.real, marginal.synthetic, strict=True))
    rows += [("missing", *marginal.missing)] if any(marginal.missing) else []
    longest = max((max(a, b) for _, a, b in rows), default=0.0) or 1.0
    bars, line, texts = [], [], list[tuple[float, float, str, str]]()
    for i, (name, a, b) in enumerate(rows):
        y = TOP + i * ROW_HEIGHT
        real, synthetic = (round(share / longest * (WIDTH - NAME_WIDTH - 90), 1) for share in (a, b))
        bars.append({"x": NAME_WIDTH, "y": y, "width": real, "height": ROW_HEIGHT - 5, "title": bar_title(a, b)})
        line.append(f"M{NAME_WIDTH} {y}h{synthetic}v{ROW_HEIGHT - 5}H{NAME_WIDTH}")
        label = percent(b) if percent(a) == percent(b) else f"{percent(b)}, not {percent(a)}"
        texts.append((NAME_WIDTH - 6, y + 10, "end", shorten(name)))
        texts.append((NAME_WIDTH + max(real, synthetic) + 5, y + 10, "start", label))
    return {
        "width": WIDTH,
        "height": TOP + len(rows) * ROW_HEIGHT,
        "bars": bars,
        "line": " ".join(line),
        "texts": texts,
    }


def shorten(name: str) -> str:
    return name if len(name) <= MAX_NAME else name[: MAX_NAME - 1] + "…"


def matrices(e: TableEvaluation) -> list[dict[str, Any]]:
    """Relations of real and of synthetic rows and their difference, of the columns that differ most."""
    real, synthetic = e.associations[:2]
    n = len(real)
    if n < 2:
        return []
    largest = np.abs(synthetic - real).max(1)
    shown = np.sort(np.argsort(-largest, kind="stable")[:MAX_MATRIX])
    names = [e.columns[j].name for j in shown]
    part = np.ix_(shown, shown)
    note = f", the {MAX_MATRIX} columns that differ most" if n > MAX_MATRIX else ""
    return [
        matrix(f"Real rows{note}", names, real[part], shade),
        matrix("Synthetic rows", names, synthetic[part], shade),
        matrix("Difference", names, (synthetic - real)[part], difference_colour),
    ]


def matrix(title: str, names: Sequence[str], values: np.ndarray, colour: Any) -> dict[str, Any]:
    """The places and colours of a matrix's cells."""
    cells = [
        (MATRIX_LEFT + k * SIDE, TOP + i * SIDE, colour(float(values[i, k])), f"{a}, {b}: {values[i, k]:.2f}")
        for i, a in enumerate(names) for k, b in enumerate(names)
    ]  # fmt: skip
    texts = [(TOP + i * SIDE + 11, shorten(name)) for i, name in enumerate(names)]
    side = len(names) * SIDE
    return {"title": title, "cells": cells, "names": texts, "left": MATRIX_LEFT, "side": SIDE - 1,
            "width": MATRIX_LEFT + side + 4, "height": TOP + side + 4}  # fmt: skip


def blend(end: tuple[int, int, int], share: float) -> str:
    """A colour between a light one and its end."""
    return "#" + "".join(f"{round(244 + (c - 244) * min(max(share, 0.0), 1.0)):02x}" for c in end)


def shade(v: float) -> str:
    return blend((20, 60, 110), v)


def difference_colour(v: float) -> str:
    return blend((189, 31, 1) if v < 0 else (31, 111, 178), 2 * abs(v))
