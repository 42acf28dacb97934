"""Parts of pages on tables: rows, and how columns spread, as the places of what templates/table_parts.html draws."""

import csv
import io
from collections.abc import Sequence
from typing import Any

from ..data.tables.association import Matrix
from ..data.tables.report import column_text, describe_columns, table_associations
from ..data.tables.summary import Marginal, percent
from ..data.tables.table import Table
from .html import environment
from .tables import is_numeric, shorten

MAX_COLUMNS = 24
"""columns whose marginals and associations are drawn where two sets of rows are compared"""
WIDTH, HEIGHT, TOP, MARGIN = 300, 150, 8, 6
"""of a chart's drawing: its size, and the room above and beside bars"""
ROW, LABEL_WIDTH, VALUE_WIDTH = 18, 118, 90
"""of charts of categories: a row's height, and the width of names and of what stands beside a bar"""
TOWERING = 3
"""how much higher than all others a bar is that is cut off"""
CELL, HEAD, DARKEST = 24, 112, 0.7
"""a side of a matrix's cell, the height of the names above, and the opacity of 1, on which one can read its number"""
SETS = ("real", "sampled")
ONE_SET = ("",)
Layout = dict[str, Any]
Text = tuple[float, float, str, str]


def render_part(name: str, **values: Any) -> str:
    """One macro of templates/table_parts.html, as HTML whose values are escaped."""
    return str(getattr(environment().get_template("table_parts.html").module, name)(**values))


def row_table(frame: Any) -> Layout:
    """A data frame as the cells of a table, in the texts that a CSV file has."""
    head, *rows = csv.reader(io.StringIO(frame.to_csv(index=False, lineterminator="\n")))
    numeric = [all(is_numeric(row[j]) for row in rows) for j in range(len(head))]
    return {"head": head, "rows": rows, "numeric": numeric, "marks": None, "sides": None}


def marginal_chart(spread: Marginal, sets: Sequence[str] = SETS, note: str | None = None) -> Layout:
    """What is drawn of a column in one or two sets of rows of these names, the first filled, the second an outline."""
    kind = "real number" if spread.column.kind == "real" else spread.column.kind
    chart = category_chart(spread, sets) if spread.column.is_category else number_chart(spread, sets)
    return {"name": spread.column.name, "note": kind if note is None else note, "width": WIDTH} | chart


def share_text(sets: Sequence[str], shares: Sequence[float]) -> str:
    """Shares, each with the name of its set."""
    return ", ".join(f"{name} {percent(share)}".strip() for name, share in zip(sets, shares, strict=True))


def number_chart(spread: Marginal, sets: Sequence[str]) -> Layout:
    """Upright bars.  One that towers above the others is cut off, and its share stands beside it."""
    bars = list(zip(*spread.shares, strict=True))
    if not bars:
        return {"height": 20, "bars": [], "line": "", "texts": [(MARGIN, 14, "start", "no value is there")]}
    heights = sorted(map(max, bars))
    others = heights[-2] if len(heights) > 1 else 0.0
    top, base = (min(heights[-1], TOWERING * others) if others else heights[-1]) or 1.0, HEIGHT - 24
    step = (WIDTH - 2 * MARGIN) / len(bars)
    ends = [spread.labels[0].split(" to ")[0], spread.labels[-1].split(" to ")[-1]]
    texts: list[Text] = [(MARGIN, base + 14, "start", ends[0]), (WIDTH - MARGIN, base + 14, "end", ends[1])]
    boxes, line = list[Layout](), [f"M{MARGIN} {base}"]
    for i, (label, shares) in enumerate(zip(spread.labels, bars, strict=True)):
        x, right = (round(MARGIN + k * step, 1) for k in (i, i + 1))
        lengths = [round(min(share / top, 1.0) * (base - TOP), 1) for share in shares]
        box = {"x": x, "y": round(base - lengths[0], 1), "width": round(right - x, 1), "height": lengths[0]}
        boxes.append(box | {"title": f"{label}: {share_text(sets, shares)}"})
        line.append(f"V{base - lengths[-1]:g}H{right}")
        if max(shares) > top:
            place = (right + 4, TOP + 10, "start") if i < len(bars) / 2 else (x - 4, TOP + 10, "end")
            texts.append((*place, share_text(sets, shares)))
    if any(spread.missing):
        texts.append((WIDTH / 2, base + 28, "middle", f"missing: {share_text(sets, spread.missing)}"))
    height = HEIGHT + 8 * any(spread.missing)
    return {"height": height, "bars": boxes, "line": " ".join([*line, f"V{base}"]) if len(sets) > 1 else "",
            "texts": texts}  # fmt: skip


def category_chart(spread: Marginal, sets: Sequence[str]) -> Layout:
    """Lying bars, a row a category, and one of what is missing."""
    rows = list(zip(spread.labels, zip(*spread.shares, strict=True), strict=True))
    rows += [("missing", spread.missing)] if any(spread.missing) else []
    longest = max((max(shares) for _, shares in rows), default=0.0) or 1.0
    boxes, line, texts = list[Layout](), list[str](), list[Text]()
    for i, (name, shares) in enumerate(rows):
        y, thick = TOP + i * ROW, ROW - 5
        lengths = [round(share / longest * (WIDTH - LABEL_WIDTH - VALUE_WIDTH), 1) for share in shares]
        box = {"x": LABEL_WIDTH, "y": y, "width": lengths[0], "height": thick}
        boxes.append(box | {"title": f"{name}: {share_text(sets, shares)}"})
        line.append(f"M{LABEL_WIDTH} {y}h{lengths[-1]}v{thick}H{LABEL_WIDTH}")
        first, last = percent(shares[0]), percent(shares[-1])
        value = last if last == first else f"{last}, not {first}"
        texts += [(LABEL_WIDTH - 6, y + 10, "end", shorten(name))]
        texts += [(LABEL_WIDTH + max(lengths) + 5, y + 10, "start", value)]
    line = line if len(sets) > 1 else []
    return {"height": TOP + max(1, len(rows)) * ROW, "bars": boxes, "line": " ".join(line), "texts": texts}


def column_parts(table: Table) -> Layout:
    """The columns of a table in words and as charts, and which go together."""
    charts = []
    for facts, spread in describe_columns(table):
        kind = "real number" if facts["kind"] == "real" else facts["kind"]
        note = ", ".join(filter(None, (kind, column_text(facts))))
        nothing = {"name": facts["name"], "note": note, "width": WIDTH, "height": 0}
        charts.append(marginal_chart(spread, ONE_SET, note) if spread else nothing)
    columns, matrix = table_associations(table)
    more = len(table.learnt_columns) - len(columns)
    names = [column.name for column in columns]
    return {"charts": charts, "matrices": [association_chart(names, matrix)] if len(names) > 1 else [],
            "notes": [f"Of the first {len(columns)} columns; {more} more are not shown."] if more else []}  # fmt: skip


def association_chart(names: Sequence[str], values: Matrix, title: str = "Associations", scale: float = 1.0) -> Layout:
    """Where the cells of a matrix are, and what they say; colours are full from 1 / `scale`."""
    n = len(names)
    cells = [
        {"x": LABEL_WIDTH + j * CELL, "y": HEAD + i * CELL, "opacity": round(DARKEST * min(1.0, scale * abs(value)), 3),
         "sign": "minus" if value < 0 else "plus", "value": f"{value:.2f}".replace("0.", ".").replace("-", "−"),
         "title": f"{names[i]}, {names[j]}: {value:.2f}"}
        for i in range(n) for j, value in enumerate((values[i].round(2) + 0.0).tolist())  # no -0.00
    ]  # fmt: skip
    rows = [(LABEL_WIDTH - 6, HEAD + i * CELL + 16, shorten(name)) for i, name in enumerate(names)]
    heads = [(LABEL_WIDTH + i * CELL + 16, HEAD - 6, shorten(name)) for i, name in enumerate(names)]
    return {"title": title, "cells": cells, "rows": rows, "heads": heads, "side": CELL - 1,
            "width": LABEL_WIDTH + n * CELL, "height": HEAD + n * CELL}  # fmt: skip
