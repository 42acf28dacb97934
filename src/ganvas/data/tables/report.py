"""What is in a table, and what that means for training: a line a column, associations, and advice with its reasons."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from ..duplicates import Duplicates
from ..listing import join_names, pluralize
from ..report import DUPLICATE_SHARE, FEW_IMAGES, Report, count_pairs
from .association import STRONG_ASSOCIATION, STRONG_CORRELATION, Matrix, signed_associations
from .columns import Column
from .summary import Marginal, marginal, value_text
from .table import Table

MAX_PAIRS, MAX_PAIR_COLUMNS, PAIR_ROWS = 12, 60, 5000
"""associations that are named; columns of which they are computed, and rows by which they are"""
MOSTLY_MISSING, MANY_CATEGORIES = 0.5, 100
"""share of missing values and categories that are worth advice"""


def describe_table(table: Table, found: Duplicates, test: Table | None = None) -> Report:
    """The facts of a table, each of its columns among them, with the duplicates that were found, and advice."""
    columns = [facts for facts, _ in describe_columns(table)]
    report = {
        "name": table.name, "rows": len(table), "columns": columns,
        "associations": [[a, b, round(value, 3)] for a, b, value in strongest(table)],
        "exact duplicates": count_pairs(found.exact, table, table),
    }  # fmt: skip
    if test is not None:
        report |= {"test rows": found.n_test, "exact leakage": count_pairs(found.leaked_exact, test, table)}
    advice = advise(table, columns, found)
    return report | {"notes": list(table.notes), "advice": advice, "fingerprint": table.fingerprint()}


def describe_columns(table: Table) -> list[tuple[dict[str, Any], Marginal | None]]:
    """What is known of each column, as plain values, and how its values spread; None of one that is not learnt."""
    numbers = {column.name: x for column, x in zip(table.learnt_columns, table.x.numpy().T, strict=True)}
    return [
        describe_column(c, numbers[c.name]) if c.is_number or c.is_category else (facts_of(c), None)
        for c in table.columns
    ]


def facts_of(column: Column) -> dict[str, Any]:
    """What is known of a column without its rows."""
    facts = {"name": column.name, "kind": column.kind, "missing": round(column.missing, 4)}
    return facts | ({"value": column.categories[0]} if column.kind == "constant" and column.categories else {})


def describe_column(column: Column, numbers: np.ndarray) -> tuple[dict[str, Any], Marginal]:
    """What is known of a column that is learnt, and how its values spread."""
    spread, present = marginal(column, numbers), numbers[~np.isnan(numbers)]
    facts, (counts,) = facts_of(column) | {"missing": round(spread.missing[0], 4)}, spread.counts
    if column.is_category:
        n = len(spread.labels) - (len(spread.labels) < len(column.categories))  # the last bar may be of all others
        top = dict(sorted(zip(spread.labels[:n], counts, strict=False), key=lambda item: -item[1]))
        size = {"categories": len(column.categories), "ordered": column.is_ordered, "values": len(present)}
        return facts | size | {"top": top}, spread
    if not len(present):
        return facts, spread
    texts = [value_text(column, float(f(present))) for f in (np.min, np.max, np.mean, np.median)]
    atoms = {value_text(column, atom): round(float((present == atom).mean()), 4) for atom in column.atoms}
    return facts | {
        "range": texts[:2], "mean": texts[2], "median": texts[3], "decimals": column.decimals, "atoms": atoms,
        "histogram": list(counts),
    }, spread  # fmt: skip


def column_text(facts: dict[str, Any]) -> str:
    """What `describe_columns` says of a column, in a line."""
    parts = []
    if "top" in facts:
        total = facts["values"] or 1
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


def strongest(table: Table) -> list[tuple[str, str, float]]:
    """The pairs of columns with strong associations, the strongest first."""
    columns, matrix = table_associations(table)
    pairs = []
    for (i, a), (j, b) in combinations(enumerate(columns), 2):
        least = STRONG_CORRELATION if a.is_number and b.is_number else STRONG_ASSOCIATION
        if abs(matrix[i, j]) > least:
            pairs.append((a.name, b.name, float(matrix[i, j])))
    return sorted(pairs, key=lambda pair: -abs(pair[2]))[:MAX_PAIRS]


def table_associations(table: Table) -> tuple[tuple[Column, ...], Matrix]:
    """The first columns, and how strongly each two of them go together in some of the rows."""
    columns, x = table.learnt_columns[:MAX_PAIR_COLUMNS], table.sample(PAIR_ROWS, "associations").x
    return columns, signed_associations(columns, x[:, : len(columns)].numpy())


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
