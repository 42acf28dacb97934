"""What was measured as JSON, and as lines for people: each number beside its floor."""

from dataclasses import asdict
from typing import Any

import numpy as np

from ...data.tables.summary import percent
from ...io.text import replace_non_finite
from .intervals import Estimate
from .measure import TableEvaluation
from .quality import Quality
from .verdict import Verdict, judge

Cells = tuple[str, ...]
QUALITY_HEAD = ("", "synthetic", "as many", "held-out", "shuffled")
PROPERTIES = (
    ("quality score", "score"), ("column shapes", "column_shapes"), ("pair trends", "pair_trends"),
    ("quality score, related pairs", "strong_score"),
)  # fmt: skip


def as_json(e: TableEvaluation, verdict: Verdict | None = None) -> dict[str, Any]:
    """All numbers in JSON's types, with null where there is none."""
    verdict = verdict or judge(e)
    names = [column.name for column in e.columns]

    def quality(q: Quality | None) -> dict[str, Any] | None:
        if q is None:
            return None
        return {key: getattr(q, key) for _, key in PROPERTIES} | {
            "shapes": dict(zip(names, q.shapes.tolist(), strict=True)),
            "missing": dict(zip(names, q.missing.tolist(), strict=True)), "pairs": q.pairs.tolist(),
        }  # fmt: skip

    values = {
        "rows": e.rows, "columns": names, "left_out": [column.name for column in e.left_out],
        "verdict": asdict(verdict) | {"overall": verdict.overall},
        "quality": quality(e.quality), "quality:as_many": quality(e.quality_as_many),
        "quality:floor": quality(e.quality_floor),
        "quality:shuffled": quality(e.quality_shuffled),
        "detection": e.detection and asdict(e.detection),
        "detection:floor": e.detection_floor and asdict(e.detection_floor),
        "usefulness": e.usefulness and asdict(e.usefulness), "privacy": e.privacy and asdict(e.privacy),
        "repeated": e.repeated[1], "repeated:floor": e.repeated[0],
        "marginals": {name: m.as_json() for name, m in zip(names, e.marginals, strict=True)},
        "associations": dict(zip(("training", "synthetic", "held_out"), map(np.ndarray.tolist, e.associations),
    strict=False)), }  # fmt: skip
    return dict(replace_non_finite(plain(values)))


class TableNumbers(dict[str, Any]):
    """All numbers in JSON's types, and what they are of."""

    def __init__(self, evaluation: TableEvaluation) -> None:
        super().__init__(as_json(evaluation))
        self.evaluation = evaluation


def plain(value: Any) -> Any:
    """The value without NumPy's types."""
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return value.item() if isinstance(value, np.generic) else value


def quality_rows(e: TableEvaluation) -> list[Cells]:
    """What, of synthetic rows, of as many as held-out ones, of held-out rows, of shuffled rows: `QUALITY_HEAD`."""
    sets = (e.quality, e.quality_as_many, e.quality_floor, e.quality_shuffled)
    rows = [(title, *(number(getattr(q, key)) if q else "–" for q in sets)) for title, key in PROPERTIES]
    if e.detection:
        floor = number(e.detection_floor.auc) if e.detection_floor else "–"
        rows.append(("AUC of telling from real", "–", number(e.detection.auc), floor, "–"))
    rows.append(("rows that come again", percent(e.repeated[1]), "–", percent(e.repeated[0]), "–"))
    return rows


def usefulness_rows(e: TableEvaluation) -> list[Cells]:
    """Model and number, learnt from synthetic rows, from real rows, from shuffled rows."""
    if (u := e.usefulness) is None:
        return []
    titles = {"f1_macro": "macro F1", "f1": f"F1 of {u.positive}", "auc": "AUC", "accuracy": "accuracy", "r2": "R2",
              "rmse": "error (RMSE)"}  # fmt: skip
    return [
        (f"{model}: {titles[key]}", *(number(scores[s].get(key, np.nan)) for s in ("synthetic", "real", "shuffled")))
        for model, scores in u.scores.items() for key in scores["real"]
    ]  # fmt: skip


def privacy_rows(e: TableEvaluation) -> list[Cells]:
    """What, of training rows, where nothing is given away, and the interval of 99%."""
    if (p := e.privacy) is None:
        return []
    guess = max(p.guesses, key=lambda each: each.excess.low)

    def interval(x: Estimate, plus: float = 0.0) -> str:
        return f"{100 * (x.low + plus):.1f} to {100 * (x.high + plus):.1f}%"

    auc = f"{p.membership.low:.3f} to {p.membership.high:.3f}"
    return [
        ("nearer to training than to held-out rows", percent(p.nearer.value), "50%", interval(p.nearer)),
        ("exact copies", percent(p.exact.training), percent(p.exact.real), f"{interval(p.exact.excess)} more"),
        ("near copies", percent(p.near.training), percent(p.near.held_out), f"{interval(p.near.excess)} more"),
        ("membership, AUC", number(p.membership.value), "0.500", auc),
        ("training rows found", percent(p.found_share), percent(p.found_share - p.found.value),
         f"{interval(p.found)} more"),
        (f"{guess.column} guessed, the worst", percent(guess.training), percent(guess.held_out),
         f"{interval(guess.excess)} more"),
    ]  # fmt: skip


def count_text(e: TableEvaluation) -> str:
    """How many rows there are of each set."""
    return ", ".join(f"{n:,} {name.replace('_', '-')}" for name, n in e.rows.items())


def number(x: float) -> str:
    """A number of a table; a dash where there is none."""
    return "–" if np.isnan(x) else f"{x:.3f}" if abs(x) < 100 else f"{x:,.0f}"


def column_rows(e: TableEvaluation, verdict: Verdict) -> list[Cells]:
    """Column, shape of synthetic, held-out and shuffled rows, and the verdict."""
    floor = e.quality_floor
    return [
        (each.name, number(e.quality.shapes[j]), number(floor.shapes[j]) if floor else "–", each.sentence)
        for j, each in enumerate(verdict.columns)
    ]  # fmt: skip


def layout(rows: list[Cells]) -> list[str]:
    """Rows of cells as lines, names to the left and numbers to the right."""
    sizes = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = ([name.ljust(sizes[0]), *map(str.rjust, cells, sizes[1:])] for name, *cells in rows)
    return ["  ".join(cells) for cells in padded]


def report_lines(e: TableEvaluation, verdict: Verdict | None = None) -> list[str]:
    """The verdict, and the numbers that it is made of."""
    verdict = verdict or judge(e)
    lines = [verdict.use, verdict.sharing, verdict.rows, "", f"rows: {count_text(e)}", ""]
    lines += layout([QUALITY_HEAD, *quality_rows(e)])
    if rows := usefulness_rows(e):
        assert e.usefulness is not None
        chosen = f" ({e.usefulness.chosen})" if e.usefulness.chosen else ""
        lines += ["", f"models that predict {e.usefulness.target}{chosen}, tested on held-out rows, learnt from"]
        lines += layout([("", "synthetic", "real", "shuffled"), *rows])
    if rows := privacy_rows(e):
        lines += ["", "what is given away", *layout([("", "measured", "expected", "99% interval"), *rows])]
    lines += ["", "columns"]
    shapes = layout([("", "shape", "held-out"), *(row[:3] for row in column_rows(e, verdict))])
    lines += [
        shapes[0],
        *(f"{shape}  {each.sentence}" for shape, each in zip(shapes[1:], verdict.columns, strict=True)),
    ]
    if e.left_out:
        lines += ["", f"not learnt, and not looked at: {', '.join(column.name for column in e.left_out)}"]
    return lines
