"""Parts of pages on tables: rows, and how columns spread, as the places of what templates/table_parts.html draws."""

import csv
import io
from collections.abc import Sequence
from typing import Any

import torch

from ..data.tables.columns import Column
from ..data.tables.summary import Marginal, associations, marginals, value_texts
from ..data.tables.table import Table
from .html import environment
from .plots import COLOURS
from .tables import is_numeric, shorten

MAX_COLUMNS, MAX_READ = 24, 10_000
"""columns whose marginals and associations are drawn, and rows by which, of a table that is to be learnt"""
WIDTH, HEIGHT, BAR, LABEL_WIDTH, CELL = 300, 96, 18, 122, 15
"""of a chart's drawing: its size, the height of a category's bars, the width of names, a side of a matrix's cell"""
SETS = ("real", "sampled")
Layout = dict[str, Any]


def render_part(name: str, **values: Any) -> str:
    """One macro of templates/table_parts.html, as HTML whose values are escaped."""
    return str(getattr(environment().get_template("table_parts.html").module, name)(**values))


def row_table(frame: Any) -> Layout:
    """A data frame as the cells of a table, in the texts that a CSV file has."""
    head, *rows = csv.reader(io.StringIO(frame.to_csv(index=False, lineterminator="\n")))
    numeric = [all(is_numeric(row[j]) for row in rows) for j in range(len(head))]
    return {"head": head, "rows": rows, "numeric": numeric, "marks": None, "sides": None}


def marginal_charts(found: Sequence[Marginal], names: Sequence[str] = SETS) -> list[Layout]:
    """What is drawn of each marginal: bars of real rows beside those of samples, with what they say."""
    return [category_chart(one, names) if one.column.is_category else number_chart(one, names) for one in found]


def number_chart(found: Marginal, names: Sequence[str]) -> Layout:
    """Bars upright, those of several sets side by side, and the numbers at both ends."""
    n, sets, most = len(found.labels), len(found.shares), largest(found)
    wide = WIDTH / max(1, n)
    boxes = [
        [((j + 0.9 * i / sets) * wide, HEIGHT * (1 - share / most), 0.9 * wide / sets, HEIGHT * share / most)
         for j, share in enumerate(shares)]
        for i, shares in enumerate(found.shares)
    ]  # fmt: skip
    ends = [found.labels[0].split(" to ")[0], found.labels[-1].split(" to ")[-1]] if n else []
    return make_chart(found, names, boxes) | {"height": HEIGHT + 18, "base": HEIGHT, "ends": ends, "names": []}


def category_chart(found: Marginal, names: Sequence[str]) -> Layout:
    """Bars one below another, with the names of the categories."""
    sets, most = len(found.shares), largest(found)
    thick, long = (BAR - 4) / sets, WIDTH - LABEL_WIDTH
    boxes = [
        [(float(LABEL_WIDTH), 2 + j * BAR + i * thick, long * share / most, thick) for j, share in enumerate(shares)]
        for i, shares in enumerate(found.shares)
    ]
    texts = [(LABEL_WIDTH - 6, j * BAR + 13, shorten(text)) for j, text in enumerate(found.labels)]
    height = max(1, len(texts)) * BAR + 2
    return make_chart(found, names, boxes) | {"height": height, "base": 0, "ends": [], "names": texts}


def largest(found: Marginal) -> float:
    """The largest share of a bar."""
    return max((share for shares in found.shares for share in shares), default=0.0) or 1.0


def make_chart(found: Marginal, names: Sequence[str], boxes: Sequence[Sequence[Sequence[float]]]) -> Layout:
    """A chart of these bars, x, y, width and height of each, with what they say."""
    told = [
        f"{label}: " + ", ".join(f"{name} {shares[j]:.1%}" for name, shares in zip(names, found.shares, strict=False))
        for j, label in enumerate(found.labels)
    ]
    bars = [
        {"set": i, "text": told[j]} | dict(zip(("x", "y", "width", "height"), (round(v, 1) for v in box), strict=True))
        for i, one in enumerate(boxes) for j, box in enumerate(one)
    ]  # fmt: skip
    sides = names if len(found.missing) > 1 else ("",)
    missing = " and ".join(f"{share:.1%} {side}".strip() for share, side in zip(found.missing, sides, strict=False))
    return {
        "name": found.column.name, "kind": "real number" if found.column.kind == "real" else found.column.kind,
        "bars": bars, "width": WIDTH, "missing": f"missing: {missing}" if any(found.missing) else "",
    }  # fmt: skip


def render_columns(table: Table) -> str:
    """The columns of a table, how those that are learnt spread, and which go together, as HTML."""
    learnt = table.learnt_columns
    shown, x = learnt[:MAX_COLUMNS], table.sample(MAX_READ, 0, "columns").x
    missing = dict(zip((column.name for column in learnt), x.isnan().double().mean(0).tolist(), strict=True))
    x = x[:, : len(shown)]
    matrix = association_chart([column.name for column in shown], associations(shown, x), "What goes together")
    more = [f"{len(learnt) - len(shown):,} more columns are not drawn"] if len(learnt) > len(shown) else []
    return "\n".join((
        render_part("columns", found=[describe_column(c, missing.get(c.name, c.missing)) for c in table.columns]),
        render_part("marginals", charts=marginal_charts(marginals(shown, x)), sets=("",)),
        render_part("notes", texts=more), render_part("associations", charts=[matrix]),
    ))  # fmt: skip


def describe_column(column: Column, missing: float) -> dict[str, str]:
    """A column in words."""
    if column.is_number:
        ends = [end for end in (column.low, column.high) if end is not None]
        holds = " to ".join(value_texts(column, torch.tensor(ends, dtype=torch.float64))) if ends else ""
    elif column.is_category:
        names = [shorten(str(name)) for name in column.categories]
        holds = f"{len(names)}: {', '.join(names[:8])}{' …' * (len(names) > 8)}"
    else:
        holds = "not learnt; samples have new ones" if column.kind == "identifier" else "not learnt; always the same"
    return {"name": column.name, "kind": column.kind, "missing": f"{missing:.1%}", "holds": holds}


def association_chart(columns: Sequence[str], values: Sequence[Sequence[float]], title: str) -> Layout:
    """Where the cells of a matrix of associations are, and what they say."""
    n = len(columns)
    cells = [
        {"x": LABEL_WIDTH + j * CELL, "y": i * CELL, "opacity": round(values[i][j], 3),
         "text": f"{columns[i]}, {columns[j]}: {values[i][j]:.2f}"}
        for i in range(n) for j in range(n) if i != j
    ]  # fmt: skip
    names = [(LABEL_WIDTH - 6, i * CELL + 11.5, shorten(name)) for i, name in enumerate(columns)]
    size = {"width": LABEL_WIDTH + n * CELL, "height": n * CELL, "cell": CELL - 1}
    return {"title": title, "cells": cells, "names": names, "colour": COLOURS[0]} | size
