"""The verdict: a sentence a column, one for rows, what the table may be used for, and whether it may be shared.

All thresholds are beyond what held-out real rows have, so that nothing is asked of synthetic rows that real ones fail.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...data.tables.columns import Column
from ...data.tables.summary import percent
from .columns import ColumnVerdict, judge_columns, related_columns
from .intervals import Estimate
from .measure import TableEvaluation
from .privacy import Privacy

Level = Literal["good", "fair", "poor"]
Sign = Literal["none", "weak", "strong", "unknown"]
SHAPES_FOR_TESTS = 0.7
"""column shapes from which rows look like the table, so that software may be tested with them"""
POOR_COLUMNS = 0.1
"""share of the columns that may be poor in a table that describes single columns"""
KEPT_RELATIONS = 0.9
"""share of the related pairs that must be kept where relations are studied"""
LEARNT, PARTLY_LEARNT = 0.9, 0.7
"""share of what real rows teach, beyond rows without relations, that makes rows good or fair to learn from"""
LEARNABLE = 0.05
"""score that real rows must teach beyond rows without relations, for anything to be said of others"""
ALIKE, TOLD_APART = 0.05, 0.9
"""AUC beyond that of real rows up to which rows serve in place of them, and AUC from which they are plainly others"""
ROWS_TO_TELL = 1000
"""rows of each side from which on a classifier that tells nothing means something"""
REPEATED = 0.01
"""share of rows that come more than once, beyond that of real rows, that is worth a word"""
FEW_HELD_OUT = 200
"""held-out rows below which only large leaks show: an interval of a share is 18 of 100 wide or more"""
STRONG = {"nearer": 0.05, "exact": 0.01, "near": 0.05, "membership": 0.05, "found": 0.05, "guess": 0.1}
"""how much the lower end of an interval must be beyond what is expected for a strong sign: one row in a hundred that is
a copy, one in twenty that is nearer or found, and one guess in ten that would be wrong of a row that was not learnt"""
NO_SIGN = (
    "No sign that training rows are given away, by five tests on up to {n:,} rows each. That is no proof, and no "
    "guarantee such as differential privacy gives one."
)
FEW_TEXT = " Held-out rows are few, {n}: only large leaks would show."


@dataclass(frozen=True)
class Verdict:
    """What the numbers mean, in sentences."""

    columns: tuple[ColumnVerdict, ...]
    rows: str
    use: str
    uses: dict[str, bool]
    """for what it serves, and for what not"""
    sign: Sign
    """of training rows that are given away"""
    sharing: str

    @property
    def overall(self) -> str:
        return f"{self.use} {self.sharing}"


def judge(e: TableEvaluation) -> Verdict:
    """The verdict on what was measured."""
    columns = judge_columns(e)
    uses, use = judge_use(e, columns)
    sign, sharing = judge_sharing(e)
    return Verdict(columns, judge_rows(e), use, uses, sign, sharing)


def judge_rows(e: TableEvaluation) -> str:
    """Copies, repetition, and whether rows can be told from real ones."""
    parts = []
    if e.privacy:
        exact = e.privacy.exact
        copies = f"{percent(exact.training)} are copies of training rows, of held-out rows {percent(exact.real)}"
        parts.append(copies[:1].upper() + copies[1:])
    if e.repeated[1] > e.repeated[0] + REPEATED:
        parts.append(f"{percent(e.repeated[1])} come more than once, of real rows {percent(e.repeated[0])}")
    if e.detection:
        auc, floor = e.detection.auc, e.detection_floor.auc if e.detection_floor else 0.5
        beside = f", of real rows {floor:.2f}" if e.detection_floor else ""
        if auc <= floor + ALIKE:
            few = "" if e.detection.rows >= ROWS_TO_TELL else f", though it had only {e.detection.rows} of each"
            parts.append(f"A classifier does not tell them from real rows (AUC {auc:.2f}{beside}){few}")
        else:
            word = "plainly" if auc > TOLD_APART else "partly"
            names = telling_columns(e.detection.importance, e.columns)
            by = f", most of all by {' and '.join(names)}" if names else ""
            parts.append(f"A classifier tells them {word} from real rows (AUC {auc:.2f}{beside}){by}")
    return ". ".join(parts) + "." if parts else "There are too few rows to say anything of them."


def telling_columns(importance: tuple[float, ...], columns: tuple[Column, ...], n: int = 2) -> list[str]:
    """The names of the columns that give rows away, at most `n`."""
    order = np.argsort(importance)[::-1][:n]
    return [columns[j].name for j in order if importance[j] > 0.01]


def judge_use(e: TableEvaluation, columns: tuple[ColumnVerdict, ...]) -> tuple[dict[str, bool], str]:
    """For what the table serves, and for what not and why."""
    good, bad, uses = list[str](), list[str](), dict[str, bool]()

    def say(name: str, use: str, is_good: bool, why: str) -> None:
        uses[name] = is_good
        (good if is_good else bad).append(use if is_good or not why else f"{use} ({why})")

    shapes = e.quality.column_shapes
    say("tests", "to test software", shapes >= SHAPES_FOR_TESTS, f"column shapes {shapes:.2f}")
    poor = [column.name for column in columns if column.own_level == "poor"]
    say("columns", "to describe single columns", len(poor) <= POOR_COLUMNS * len(columns), f"poor: {shorten(poor)}")
    kept, related, lost = related_columns(e)
    if related:
        why = f"{related - kept} of {related} relations are not kept" + (f", such as {lost}" if lost else "")
        say("relations", "to study how columns depend on each other", kept >= KEPT_RELATIONS * related, why)
    note, is_whole = "", not any(column.level == "poor" for column in columns)
    if (useful := e.usefulness) is not None:
        real, fake, base = (useful.score(source) for source in ("real", "synthetic", "shuffled"))
        base = max(base, 0.0)
        number = "R2" if useful.number == "r2" else "macro F1"
        if real - base < LEARNABLE:
            note = f" Real rows do not predict {useful.target} either."
        else:
            share = (fake - base) / (real - base) if np.isfinite(fake) else 0.0
            why = f"{number} {fake:.2f}, of real rows {real:.2f}"
            use = f"to train models that predict {useful.target}"
            use += f" ({why})" if share >= PARTLY_LEARNT else ""
            use += " with some loss" if PARTLY_LEARNT <= share < LEARNT else ""
            say("models", use, share >= PARTLY_LEARNT, why)
            is_whole &= share >= LEARNT
    if e.detection and e.detection_floor and e.detection.rows >= ROWS_TO_TELL:
        uses["replacement"] = e.detection.auc <= e.detection_floor.auc + ALIKE and is_whole and not bad
        if uses["replacement"]:
            good.append("in place of the real rows for most analyses")
    text = f"Usable {join(good)}" if good else "Usable for nothing that was looked at"
    return uses, text + (f"; not {join(bad, 'or')}." if bad else ".") + note


def judge_sharing(e: TableEvaluation) -> tuple[Sign, str]:
    """Whether training rows are given away, and by what that shows."""
    if (p := e.privacy) is None:
        counts = ", ".join(f"{n:,} {name.replace('_', '-')}" for name, n in e.rows.items())
        return "unknown", f"Whether it may be shared cannot be said: too few rows to compare ({counts})."
    found = signs(p)
    few = FEW_TEXT.format(n=p.rows["held_out"]) if p.rows["held_out"] < FEW_HELD_OUT else ""
    if not found:
        return "none", NO_SIGN.format(n=max(p.rows["compared"], p.rows["compared_synthetic"])) + few
    evidence = "; ".join(text for _, text in found)
    if any(is_strong for is_strong, _ in found):
        return "strong", f"Do not share it: training rows are given away. {evidence}."
    return (
        "weak",
        f"Share it only with those who may see the real rows: a weak sign that they are given away. {evidence}.",
    )


def signs(p: Privacy) -> list[tuple[bool, str]]:
    """Each sign that training rows are given away: whether it is strong, and what it is."""
    guess = max(p.guesses, key=lambda each: each.excess.low)
    found: list[tuple[str, Estimate, str]] = [
        ("nearer", p.nearer, f"{percent(p.nearer.value)} of synthetic rows are nearer to training rows than to as many "
         "held-out rows, where 50% would be"),
        ("exact", p.exact.excess, f"{percent(p.exact.training)} are exact copies of training rows, of held-out "
         f"rows {percent(p.exact.real)}"),
        ("near", p.near.excess, f"{percent(p.near.training)} are near copies of training rows, of as many held-out "
         f"rows {percent(p.near.held_out)}"),
        ("membership", p.membership, "who was in the training rows can be told by the nearest synthetic row "
         f"(AUC {p.membership.value:.2f}, 0.50 by chance)"),
        ("found", p.found, f"{percent(p.found_share)} of training rows are found where 1% of others are wrongly named"),
        ("guess", guess.excess, f"{guess.column} is guessed of {percent(guess.training)} of training rows and of "
         f"{percent(guess.held_out)} of others"),
    ]  # fmt: skip
    return [(x.low - x.expected > STRONG[name], text) for name, x, text in found if x.is_above]


def join(parts: list[str], word: str = "and") -> str:
    """Parts of a sentence: a, b and c."""
    return f" {word} ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def shorten(names: list[str], n: int = 3) -> str:
    """The first names, and how many more there are."""
    return ", ".join(names[:n]) + (f" and {len(names) - n} more" if len(names) > n else "")
