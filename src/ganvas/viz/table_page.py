"""The page on a table: its facts, a picture of how the values of each column spread, and associations of columns."""

from pathlib import Path
from typing import Any

from ..data.report import Report
from ..data.tables.report import MAX_PAIR_COLUMNS, associations, column_text
from ..data.tables.table import Table
from .html import write_page

WIDTH, HEIGHT, GAP = 180, 44, 1
"""size of the picture of a column, in the units of its SVG"""


def write_table_page(path: Path, table: Table, report: Report, facts: list[tuple[str, str]]) -> None:
    """Write the page on a table that `describe_table` has described."""
    columns = [column | {"text": column_text(column), "bars": bars(column)} for column in report["columns"]]
    learnt = table.learnt_columns[:MAX_PAIR_COLUMNS]
    names = [column.name for column in learnt]
    matrix = associations(learnt, table.x.numpy())
    cells = [[{"value": v, "sign": "minus" if v < 0 else "plus"} for v in row] for row in matrix.tolist()]
    write_page(
        path, "columns.html", title=f"Data: {table.name}", facts=facts, advice=report["advice"], notes=report["notes"],
        columns=columns, names=names, rows=list(zip(names, cells, strict=True)), size=(WIDTH, HEIGHT),
        n_more=len(table.learnt_columns) - len(learnt),
    )  # fmt: skip


def bars(column: dict[str, Any]) -> list[dict[str, Any]]:
    """The bars of a column's picture: of a histogram, or of its most frequent categories."""
    counts = column.get("histogram") or list(column.get("top", {}).values())
    names = list(column.get("top", {})) or [""] * len(counts)
    step, most = WIDTH / max(1, len(counts)), max(counts, default=1) or 1
    places = enumerate(zip(names, counts, strict=True))
    return [
        {"x": i * step, "width": max(1.0, step - GAP), "height": HEIGHT * n / most, "title": f"{name} {n:,}".strip()}
        for i, (name, n) in places
    ]
