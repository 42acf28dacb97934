"""The page on a synthetic table: the verdict, each column, relations, usefulness, and what is given away."""

from pathlib import Path
from typing import Any

import numpy as np

from ...viz.html import write_page
from ...viz.table_html import MAX_COLUMNS, association_chart, marginal_chart
from .measure import TableEvaluation
from .report import QUALITY_HEAD, column_rows, count_text, privacy_rows, quality_rows, usefulness_rows
from .verdict import judge

MAX_MARGINALS = 60
"""columns whose charts are shown, the worst ones"""
DIFFERENCE_SCALE = 2.0
"""a difference of relations of 1 / this has the full colour"""
SETS = ("real", "synthetic")


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
        "marginals": [
            marginal_chart(e.marginals[j].spread, SETS, verdict.columns[j].sentence) for j in shown
        ],
        "quality": quality_rows(e), "quality_head": QUALITY_HEAD,
        "columns": [row[:3] for row in column_rows(e, verdict)], "matrices": matrices(e),
        "usefulness": usefulness_rows(e), "target": e.usefulness and e.usefulness.target,
        "privacy": privacy_rows(e),
    }  # fmt: skip


def matrices(e: TableEvaluation) -> list[dict[str, Any]]:
    """Relations of real and of synthetic rows and their difference, of the columns that differ most."""
    real, synthetic = e.associations[:2]
    n = len(real)
    if n < 2:
        return []
    largest = np.abs(synthetic - real).max(1)
    shown = np.sort(np.argsort(-largest, kind="stable")[:MAX_COLUMNS])
    names = [e.columns[j].name for j in shown]
    part = np.ix_(shown, shown)
    note = f", the {MAX_COLUMNS} columns that differ most" if n > MAX_COLUMNS else ""
    return [
        association_chart(names, real[part], f"Real rows{note}"),
        association_chart(names, synthetic[part], "Synthetic rows"),
        association_chart(names, (synthetic - real)[part], "Difference", DIFFERENCE_SCALE),
    ]
