"""What holds in every row of a table, and in every row that is sampled.

    end >= start      also >, <= and <, between two columns of numbers, or two of dates
    age >= 18         a column and a number
    born < 2020-01-01 a column of dates or times and one of them
    net + tax = total a sum or a difference of columns that another one equals
    unique name, day  no two rows have the same values in these columns

The first is kept by what is learnt: in place of `end` the gap between the two, which is never below 0.  The third
too: `total` is computed, and not learnt.  What cannot be kept so (a strict inequality, a bound, values that are missing
in one of two columns, unique rows) is checked, and rows that break it are drawn anew, for a number of rounds, which a
note says.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, time
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from ...errors import UserError, did_you_mean
from .columns import Column

Operator = Literal[">=", ">", "=", "unique"]
PATTERN = re.compile(r"^\s*(?P<left>.+?)\s*(?P<operator>>=|<=|>|<|=)\s*(?P<right>.+?)\s*$")
SYNTAX = "write e.g. 'end >= start', 'age >= 18', 'net + tax = total' or 'unique name, day'"
MOMENT = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d)?)?|\d\d:\d\d(:\d\d)?")
"""a date or a time"""
TOLERANCE: dict[str, float] = {"=": 2e-7, ">=": 1e-12}
"""share of all terms by which rounding may change their sum: of float32, which tables may have, and of float64"""
PART_ROWS = 2**17
"""rows that are checked at once"""


@dataclass(frozen=True)
class Constraint:
    """A sum of columns with signs, and of numbers, compared with 0; or columns whose values are unique together.

    `places` index the columns that are learnt; of a sum that equals a column this one is the last.
    """

    text: str
    operator: Operator
    places: tuple[int, ...]
    signs: tuple[int, ...] = ()
    number: float = 0.0

    def value(self, x: Float64[Tensor, "n c"]) -> Float64[Tensor, " n"]:
        """What is compared with 0."""
        signs = torch.tensor(self.signs, dtype=x.dtype, device=x.device)
        return (x[:, list(self.places)] * signs).sum(1) + self.number

    def holds(self, x: Float64[Tensor, "n c"]) -> Bool[Tensor, " n"]:
        """Whether it does, row by row; where a value is missing it does.  Of doubles the first is unique."""
        if self.operator == "unique":
            rows = x[:, list(self.places)]
            _, group = rows.nan_to_num(torch.inf).unique(dim=0, return_inverse=True)
            first = torch.full((int(group.max()) + 1,), len(x)).scatter_reduce(0, group, torch.arange(len(x)), "amin")
            return (first[group] == torch.arange(len(x))) | rows.isnan().any(1)
        value = self.value(x)
        size = x[:, list(self.places)].abs().sum(1) * TOLERANCE.get(self.operator, 0)
        ok = {">=": value >= -size, ">": value > 0, "=": value.abs() <= size}[self.operator]
        return ok | value.isnan()

    def broken_rows(self, x: Float64[Tensor, "n c"]) -> Int64[Tensor, " m"]:
        """The rows that break it, ascending, looked for in a part of them at a time."""
        if self.operator == "unique":  # doubles can be far apart, so they are looked for among rows of the same key
            rows = rows_of_equal_keys(x, self.places)
            return rows[~self.holds(x[rows])] if len(rows) else rows
        parts = x.split(PART_ROWS)
        return torch.cat([(~self.holds(part)).nonzero()[:, 0] + i * PART_ROWS for i, part in enumerate(parts)])


@dataclass(frozen=True)
class Constraints:
    """All that hold of a table."""

    items: tuple[Constraint, ...] = ()
    kept: tuple[int, ...] = ()
    """which of them what is learnt keeps: an inequality by its gap, a sum by the column that is computed"""

    def __bool__(self) -> bool:
        return bool(self.items)

    @cached_property
    def checked(self) -> tuple[Constraint, ...]:
        """Those that are checked in samples."""
        return tuple(c for i, c in enumerate(self.items) if i not in self.kept)

    def learnt(self, x: Float64[Tensor, "n c"]) -> Float64[Tensor, "n c"]:
        """The numbers that are learnt in place of those of rows."""
        y = x.clone() if self.kept else x
        for i in self.kept:
            constraint = self.items[i]
            y[:, constraint.places[-1]] = 0.0 if constraint.operator == "=" else constraint.value(x)
        return y

    def restore(self, y: Float64[Tensor, "n c"]) -> Float64[Tensor, "n c"]:
        """The inverse of `learnt`."""
        x = y.clone() if self.kept else y
        for i in self.kept:
            c = self.items[i]
            last, sign = c.places[-1], c.signs[-1]
            x[:, last] = 0.0
            rest = c.value(x)
            gap = 0.0 if c.operator == "=" else y[:, last]
            x[:, last] = (gap - rest) * sign  # the sum of all is the gap
        return x

    def as_json(self) -> dict[str, Any]:
        """In JSON's types."""
        return {"items": [asdict(item) for item in self.items], "kept": list(self.kept)}

    def learnt_columns(self, columns: Sequence[Column]) -> list[Column]:
        """The columns as what is learnt of them is: of a gap without the values that many rows of the column have."""
        changed = {self.items[i].places[-1]: self.items[i] for i in self.kept}

        def change(j: int, column: Column) -> Column:
            if j not in changed:
                return column
            parts = [columns[place] for place in changed[j].places]
            decimals = [0 if part.is_integral else part.decimals for part in parts]
            known = [n for n in decimals if n is not None]
            most = max(known) if len(known) == len(decimals) else None
            return replace(
                column, kind="integer" if most == 0 else "real", decimals=most, atoms=(), low=None, high=None
            )

        return [change(j, column) for j, column in enumerate(columns)]

    def check_data(self, x: Float64[Tensor, "n c"], columns: Sequence[Column], name: str) -> None:
        """UserError where rows break one.  It shows values: rows that are held out are not counted here."""
        from .frame import to_frame  # which imports this file

        for constraint in self.items:
            if len(broken := constraint.broken_rows(x)):
                places = list(constraint.places)
                (row,) = to_frame([columns[i] for i in places], x[broken[:1]][:, places]).to_dict("records")
                shown = " and ".join(f"{label} {value}" for label, value in row.items())
                what = f'{len(broken):,} of {len(x):,} rows of {name} break "{constraint.text}", e.g. one with {shown}'
                raise UserError(f"{what}: mend or leave out these rows, or the constraint")


NO_CONSTRAINTS = Constraints()


def rows_of_equal_keys(x: Float64[Tensor, "n c"], places: Sequence[int]) -> Int64[Tensor, " m"]:
    """The rows, ascending, whose key in these columns another one has too: all doubles, and hardly any others."""
    import pandas as pd

    parts = (pd.DataFrame((part[:, list(places)] + 0.0).numpy()) for part in x.split(PART_ROWS))  # 0 for -0
    keys = pd.concat([pd.util.hash_pandas_object(part, index=False) for part in parts])
    return torch.from_numpy(np.flatnonzero(keys.duplicated(keep=False)))


def parse_constraints(
    texts: Sequence[str], columns: Sequence[Column], x: Float64[Tensor, "n c"], name: str
) -> Constraints:
    """The constraints that these texts say of a table; UserError where they cannot be read, or its rows break one."""
    items = tuple(parse_constraint(text, columns) for text in texts)
    kept, used = [], set[int]()
    for i, c in enumerate(items):
        is_sum = c.operator in (">=", "=") and len(c.places) > 1
        if is_sum and not used & set(c.places) and are_missing_together(x, c.places):
            kept.append(i)
            used |= set(c.places)
    constraints = Constraints(items, tuple(kept))
    constraints.check_data(x, columns, name)
    return constraints


def are_missing_together(x: Float64[Tensor, "n c"], places: Sequence[int]) -> bool:
    """Whether each row has a value in all of these columns or in none."""
    gone = (part[:, list(places)].isnan() for part in x.split(PART_ROWS))
    return all(bool((part.any(1) == part.all(1)).all()) for part in gone)


def parse_constraint(text: str, columns: Sequence[Column]) -> Constraint:
    """The constraint that a text says; UserError, with what to write, where it says none."""
    names = {column.name: i for i, column in enumerate(columns)}
    if text.strip().startswith("unique "):
        parts = [part.strip() for part in text.strip().removeprefix("unique ").split(",")]
        return Constraint(text, "unique", tuple(find(part, names, text) for part in parts))
    match = PATTERN.match(text)
    if match is None:
        raise UserError(f"the constraint {text!r} cannot be read: {SYNTAX}")
    operator, left, right = match["operator"], match["left"], match["right"]
    if operator in ("<=", "<"):
        operator, left, right = operator.replace("<", ">"), right, left
    if MOMENT.fullmatch(left) or MOMENT.fullmatch(right):
        is_left = MOMENT.fullmatch(left) is not None
        place, sign = find(right if is_left else left, names, text), -1 if is_left else 1
        moment = moment_number(left if is_left else right, columns[place], text)
        if operator == "=":
            raise UserError(f"the constraint {text!r} is of no use: {SYNTAX}")
        return Constraint(text, ">=" if operator == ">=" else ">", (place,), (sign,), -sign * moment)
    terms = [*parse_sum(left, names, text), *((-s, term) for s, term in parse_sum(right, names, text))]
    places = {term: sign for sign, term in terms if isinstance(term, int)}
    number = sum(sign * term for sign, term in terms if isinstance(term, float))
    if not places or len(places) < sum(isinstance(term, int) for _, term in terms):
        raise UserError(f"the constraint {text!r} needs columns, each once: {SYNTAX}")
    for i in places:
        if not columns[i].is_number:
            raise UserError(f'the constraint {text!r} compares numbers, and "{columns[i].name}" is {columns[i].kind}')
    check_kinds(text, places, columns)
    # the last is what is computed: of a sum what stands alone on the right, of an inequality what is larger
    ordered = list(places)
    if operator != "=":
        ordered.sort(key=lambda i: places[i])
    kind: Operator = "=" if operator == "=" else ">=" if operator == ">=" else ">"
    return Constraint(text, kind, tuple(ordered), tuple(places[i] for i in ordered), float(number))


def parse_sum(text: str, names: dict[str, int], whole: str) -> list[tuple[int, int | float]]:
    """The terms of "a + b - 3": signs, and columns or numbers."""
    if text in names:  # also where its name has a sign
        return [(1, names[text])]
    terms: list[tuple[int, int | float]] = []
    for sign, part in re.findall(r"(^|[+-])\s*([^+-]+)", text):
        word = part.strip()
        try:
            term: int | float = float(word)
        except ValueError:
            term = find(word, names, whole)
        terms.append((-1 if sign == "-" else 1, term))
    return terms


def check_kinds(text: str, places: dict[int, int], columns: Sequence[Column]) -> None:
    """UserError where dates or times, by their places with signs, are compared with what is none of their kind."""
    kinds = {columns[i].kind: f'"{columns[i].name}" is {columns[i].kind}' for i in places}
    if not kinds.keys() & {"date", "datetime", "time"}:
        return
    if len(kinds) > 1:
        raise UserError(f"the constraint {text!r} compares what has different units: {' and '.join(kinds.values())}")
    if sum(places.values()):
        what = next(iter(kinds.values()))
        raise UserError(f"the constraint {text!r}: {what}, so compare it with another one, or with e.g. 2020-01-31")


def moment_number(moment: str, column: Column, text: str) -> float:
    """A date or a time in the unit of a column; UserError where the column has none, or no calendar has it."""
    fits = {"date": "-" in moment and ":" not in moment, "datetime": "-" in moment, "time": "-" not in moment}
    if not fits.get(column.kind):
        raise UserError(f'the constraint {text!r} compares {moment} with "{column.name}", which is {column.kind}')
    try:
        if column.kind == "time":
            clock = time.fromisoformat(moment)
            return 3600.0 * clock.hour + 60.0 * clock.minute + clock.second
        seconds = datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()
    except ValueError as error:
        raise UserError(f"the constraint {text!r}: {moment} is no date or time ({error})") from None
    return seconds / 86_400 if column.kind == "date" else seconds


def find(word: str, names: dict[str, int], text: str) -> int:
    """The place of a column; UserError for a name that none has."""
    if word not in names:
        raise UserError(f'the constraint {text!r}: no column "{word}".{did_you_mean(word, list(names))} {SYNTAX}')
    return names[word]
