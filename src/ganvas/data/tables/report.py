"""What is in a table, and what that means for training: a line a column, associations, and advice with its reasons."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Float64

from ...io.text import format_number
from ..duplicates import Duplicates
from ..listing import join_names, pluralize
from ..report import DUPLICATE_SHARE, FEW_IMAGES, Report, count_pairs
from .association import cramers_v
from .columns import Column
from .table import Table

SHOWN, BINS = 12, 30
"""categories that are named, and bars of a histogram"""
MAX_PAIR_COLUMNS, PAIR_ROWS = 60, 20_000
"""columns whose associations are computed, and rows by which they are"""
STRONG, MOSTLY_MISSING, MANY_CATEGORIES = 0.5, 0.5, 100
"""associations that are named, share of missing values and categories that are worth advice"""
Matrix = Float64[np.ndarray, "c c"]


def describe_table(table: Table, found: Duplicates, test: Table | None = None) -> Report:
    """The facts of a table, each of its columns among them, with the duplicates that were found, and advice."""
    x, learnt = table.x.numpy(), iter(range(table.x.shape[1]))
    columns = [describe_column(c, x[:, next(learnt)] if c.is_learnt else None) for c in table.columns]
    report = {
        "name": table.name, "rows": len(table), "columns": columns,
        "associations": [[a, b, round(value, 3)] for a, b, value in strongest(table.learnt_columns, x)],
        "exact duplicates": count_pairs(found.exact, table, table),
    }  # fmt: skip
    if test is not None:
        report |= {"test rows": found.n_test, "exact leakage": count_pairs(found.leaked_exact, test, table)}
    advice = advise(table, columns, found)
    return report | {"notes": list(table.notes), "advice": advice, "fingerprint": table.fingerprint()}


def describe_column(column: Column, numbers: np.ndarray | None) -> dict[str, Any]:
    """What is known of a column, as plain values; of a learnt one also how its values are spread."""
    facts: dict[str, Any] = {"name": column.name, "kind": column.kind, "missing": round(column.missing, 4)}
    if numbers is None:
        return facts | ({"value": column.categories[0]} if column.categories else {})
    present = numbers[~np.isnan(numbers)]
    facts["missing"] = round(1 - len(present) / max(1, len(numbers)), 4)
    if column.is_category:
        counts = np.bincount(present.astype(int), minlength=len(column.categories))
        order = np.argsort(-counts, kind="stable")[:SHOWN]
        top = {str(column.categories[i]): int(counts[i]) for i in order}
        return facts | {"categories": len(column.categories), "ordered": column.is_ordered, "top": top}
    if not len(present):
        return facts
    low, high = float(present.min()), float(present.max())
    counts, _ = np.histogram(present, BINS if high > low else 1)
    atoms = {show(column, atom): round(float((present == atom).mean()), 4) for atom in column.atoms}
    return facts | {
        "range": [show(column, low), show(column, high)], "mean": show(column, float(present.mean())),
        "median": show(column, float(np.median(present))), "decimals": column.decimals, "atoms": atoms,
        "histogram": counts.tolist(),
    }  # fmt: skip


def show(column: Column, number: float) -> str:
    """A number of a column for people: of dates and times as ISO 8601 writes them."""
    if column.kind == "date":
        return str(np.datetime64(round(number), "D"))
    if column.kind in ("datetime", "time"):
        text = str(np.datetime64(round(number), "s"))
        return text.replace("T", " ") if column.kind == "datetime" else text.partition("T")[2]
    return f"{round(number):d}" if number == round(number) and abs(number) < 1e15 else format_number(number, 5)


def column_text(facts: dict[str, Any]) -> str:
    """What `describe_column` found, in a line."""
    parts = []
    if "top" in facts:
        total = sum(facts["top"].values()) or 1
        shares = ", ".join(f"{name} {count / total:.0%}" for name, count in list(facts["top"].items())[:3])
        more = ", ..." if facts["categories"] > 3 else ""
        parts.append(f"{facts['categories']}{' ordered' * facts['ordered']}: {shares}{more}")
    elif "range" in facts:
        parts += [" to ".join(facts["range"]), f"mean {facts['mean']}"]
        parts += [f"{facts['decimals']} decimals"] if facts["decimals"] else []
        parts += [f"{atom} in {share:.0%}" for atom, share in list(facts["atoms"].items())[:3]]
    elif facts["kind"] == "identifier":
        parts.append("not learnt: samples have new ones")
    elif facts["kind"] == "constant":
        parts.append(f"always {facts['value']}" if "value" in facts else "no values")
    return ", ".join(parts + ([f"{facts['missing']:.1%} missing"] if facts["missing"] else []))


def strongest(columns: Sequence[Column], x: np.ndarray) -> list[tuple[str, str, float]]:
    """The pairs of columns with strong associations, the strongest first."""
    matrix, shown = associations(columns, x), columns[:MAX_PAIR_COLUMNS]
    pairs = [(shown[i].name, shown[j].name, float(matrix[i, j])) for i, j in combinations(range(len(shown)), 2)]
    return sorted((pair for pair in pairs if abs(pair[2]) >= STRONG), key=lambda pair: -abs(pair[2]))[:SHOWN]


def associations(columns: Sequence[Column], x: np.ndarray) -> Matrix:
    """How far each column says another, from 0 to 1, of the first columns and by the first rows that have both.

    Of two columns of numbers Pearson's correlation, from -1 to 1; of two of categories Cramer's V without its bias
    (Bergsma, Journal of the Korean Statistical Society 42, 2013); of one of each the correlation ratio.
    """
    columns, x = columns[:MAX_PAIR_COLUMNS], x[:PAIR_ROWS, :MAX_PAIR_COLUMNS]
    matrix = np.eye(len(columns))
    for i, j in combinations(range(len(columns)), 2):
        a, b = x[~np.isnan(x[:, i]) & ~np.isnan(x[:, j])][:, [i, j]].T
        if columns[i].is_category and columns[j].is_category:
            value = cramers_v(a.astype(int), b.astype(int), corrected=True)
        elif columns[i].is_category or columns[j].is_category:
            codes, numbers = (a, b) if columns[i].is_category else (b, a)
            value = correlation_ratio(codes.astype(int), numbers)
        else:
            value = float(np.corrcoef(a, b)[0, 1]) if len(a) > 1 and a.std() > 0 < b.std() else 0.0
        matrix[i, j] = matrix[j, i] = value
    return matrix


def correlation_ratio(codes: np.ndarray, numbers: np.ndarray) -> float:
    """The square root of the share of the variance of numbers that their categories explain."""
    if len(numbers) < 2 or numbers.std() == 0:
        return 0.0
    counts = np.bincount(codes)
    sums = np.bincount(codes, numbers - numbers.mean())
    explained = float((sums[counts > 0] ** 2 / counts[counts > 0]).sum())
    return min(1.0, float(np.sqrt(explained / (len(numbers) * numbers.var()))))


def advise(table: Table, columns: Sequence[dict[str, Any]], found: Duplicates) -> list[str]:
    """What a table means for training, a sentence or two each, with the reason."""
    n, advice = len(table), []
    if n < FEW_IMAGES:
        advice.append(f"only {pluralize(n, 'row')}: models learn so few by heart, and copies may come back")
    if len(found.exact) and len(found.exact) >= DUPLICATE_SHARE * n:
        many = f"{len(found.exact)} of {n} rows ({len(found.exact) / n:.0%}) repeat an earlier one"
        advice.append(f"{many} in all learnt columns: models see these more often; drop them if they are a mistake")
    if found.leaked_exact:
        many = f"{len(found.leaked_exact)} of {found.n_test} held-out rows are in the train part too"
        advice.append(f"{many}, but for columns that are not learnt: scores on them are somewhat too good")
    if names := [facts["name"] for facts in columns if facts["missing"] > MOSTLY_MISSING and "value" not in facts]:
        advice.append(f"mostly missing: {join_names(names)}; --drop leaves out what is of no use")
    if names := [facts["name"] for facts in columns if facts.get("categories", 0) > MANY_CATEGORIES]:
        why = "rare ones are learnt together"
        advice.append(f"more than {MANY_CATEGORIES} categories in {join_names(names)}: {why}; group them if you can")
    return advice
