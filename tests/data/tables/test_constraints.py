"""Constraints: what is read of a text, what is learnt in place of columns, and what samples keep."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ganvas.data.tables import constraints as module
from ganvas.data.tables.columns import Column
from ganvas.data.tables.constraints import Constraint, parse_constraint, parse_constraints
from ganvas.data.tables.stored import read_constraints
from ganvas.data.tables.table import Table
from ganvas.errors import UserError

COLUMNS = (
    Column("start", "integer"), Column("end", "integer"), Column("net", "real", decimals=2),
    Column("tax", "real", decimals=2), Column("total", "real", decimals=2),
    Column("name", "category", categories=("a",)),
)  # fmt: skip


def rows(n: int = 50, seed: int = 0) -> torch.Tensor:
    """Rows in which end >= start and net + tax = total."""
    random = torch.Generator().manual_seed(seed)
    start = torch.randint(0, 100, (n,), generator=random).double()
    gap = torch.randint(0, 9, (n,), generator=random).double()
    net, tax = (torch.randint(100, 9999, (n,), generator=random).double() / 100 for _ in range(2))
    total = (net + tax).round(decimals=2)
    return torch.stack([start, start + gap, net, tax, total, torch.zeros(n, dtype=torch.float64)], 1)


@pytest.mark.parametrize(("text", "operator", "places", "signs", "number"), [
    ("end >= start", ">=", (0, 1), (-1, 1), 0.0),
    ("start <= end", ">=", (0, 1), (-1, 1), 0.0),
    ("end > start", ">", (0, 1), (-1, 1), 0.0),
    ("net + tax = total", "=", (2, 3, 4), (1, 1, -1), 0.0),
    ("total - tax = net", "=", (4, 3, 2), (1, -1, -1), 0.0),
    ("start >= 18", ">=", (0,), (1,), -18.0),
    ("start < 99.5", ">", (0,), (-1,), 99.5),
    ("unique start, end", "unique", (0, 1), (), 0.0),
])  # fmt: skip
def test_what_a_text_says(
    text: str, operator: str, places: tuple[int, ...], signs: tuple[int, ...], number: float
) -> None:
    constraint = parse_constraint(text, COLUMNS)
    assert (constraint.operator, constraint.places, constraint.signs, constraint.number) == (
        operator, places, signs, number,
    )  # fmt: skip


@pytest.mark.parametrize(("text", "part"), [
    ("end start", "cannot be read"), ("endd >= start", 'no column "endd".* Did you mean'), ("3 >= 2", "needs columns"),
    ("start >= start", "each once"), ("name >= start", '"name" is category'), ("unique nam", 'no column "nam"'),
    ("", "cannot be read"),
])  # fmt: skip
def test_what_cannot_be_read_is_refused_in_a_sentence(text: str, part: str) -> None:
    with pytest.raises(UserError, match=part):
        parse_constraint(text, COLUMNS)


def test_rows_that_break_one_are_named() -> None:
    x = rows()
    x[3, :2] = torch.tensor([5.0, 4.0])
    with pytest.raises(UserError, match=r'1 of 50 rows of t break "end >= start", e.g. one with start 5.0 and end 4.0'):
        parse_constraints(["end >= start"], COLUMNS, x, "t")


def test_rows_are_checked_a_part_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, holds = list[int](), Constraint.holds
    monkeypatch.setattr(module, "PART_ROWS", 16)
    monkeypatch.setattr(Constraint, "holds", lambda self, x: (sizes.append(len(x)), holds(self, x))[1])
    x = rows()
    x[[20, 40], 1] = torch.nan
    assert not parse_constraints(["end >= start", "start >= 0"], COLUMNS, x, "t").kept
    assert sizes == [16, 16, 16, 2] * 2
    x[37, 1] = x[37, 0] - 1
    with pytest.raises(UserError, match='1 of 50 rows of t break "end >= start"'):
        parse_constraints(["end >= start"], COLUMNS, x, "t")


@given(st.integers(0, 2**32))
def test_restoring_undoes_what_is_learnt(seed: int) -> None:
    x = rows(20, seed)
    constraints = parse_constraints(["end >= start", "net + tax = total"], COLUMNS, x, "t")
    assert constraints.kept == (0, 1)
    learnt = constraints.learnt(x)
    assert (learnt[:, 1] == x[:, 1] - x[:, 0]).all()
    assert (learnt[:, 4] == 0).all()
    torch.testing.assert_close(constraints.restore(learnt), x, rtol=0, atol=1e-9)
    assert read_constraints(constraints.as_json(), 99) == constraints


def test_whatever_is_learnt_the_constraint_holds_of_what_is_restored() -> None:
    constraints = parse_constraints(["end >= start", "net + tax = total"], COLUMNS, rows(), "t")
    y = rows(200, 1)  # any numbers, with a gap that is not negative
    y[:, 1], y[:, 4] = torch.rand(200) * 50, torch.rand(200)
    x = constraints.restore(y)
    assert all(bool(c.holds(x).all()) for c in constraints.items)


def test_missing_values_of_one_column_only_leave_an_inequality_to_be_checked() -> None:
    x = rows()
    x[0, 1] = torch.nan
    constraints = parse_constraints(["end >= start"], COLUMNS, x, "t")
    assert not constraints.kept
    assert [c.text for c in constraints.checked] == ["end >= start"]


def test_of_doubles_the_first_is_unique() -> None:
    x = rows(4)
    x[2] = x[0]
    assert parse_constraint("unique start, end", COLUMNS).holds(x).tolist() == [True, True, False, True]


def test_unique_looks_at_rows_of_equal_keys_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """So what it takes of memory is a key a row, however many columns a table larger than memory has."""
    monkeypatch.setattr(module, "PART_ROWS", 10)
    x = rows(200)
    x[:, 0] = torch.arange(200.0)
    x[57, :2], x[199, :2], x[3, 0] = x[2, :2], x[2, :2], torch.nan
    x[120, 0], x[121, 0], x[120:122, 1] = 0.0, -0.0, 8.0
    looked_at, holds = list[int](), Constraint.holds
    monkeypatch.setattr(Constraint, "holds", lambda self, x: looked_at.append(len(x)) or holds(self, x))
    constraint = parse_constraint("unique start, end", COLUMNS)
    assert constraint.broken_rows(x).tolist() == [57, 121, 199]
    assert looked_at == [5]
    assert not len(constraint.broken_rows(x[3:57]))


def test_a_table_learns_gaps_and_decodes_rows() -> None:
    x = rows(400)
    table = Table(x=x, columns=COLUMNS, name="t").with_own_encoding(["end >= start", "net + tax = total"])
    assert table.encoding is not None
    assert table.encoding.shape.blocks[4].entries == 1  # a sum is computed, so nothing of it is learnt
    torch.testing.assert_close(table.encoding.decode(table.encoding.encode(x)), x, rtol=0, atol=1e-9)


DATES = [Column("day", "date", "datetime64[us]"), Column("start", "datetime", "datetime64[us]"),
         Column("end", "datetime", "datetime64[us]"), Column("n", "integer", "int64")]  # fmt: skip


@pytest.mark.parametrize(("text", "operator", "place", "sign", "number"), [
    ("day >= 2020-01-01", ">=", 0, 1, -18262.0), ("day < 1970-01-03", ">", 0, -1, 2.0),
    ("1970-01-02 <= day", ">=", 0, 1, -1.0), ("start > 1970-01-01 00:01", ">", 1, 1, -60.0),
    ("start > 1970-01-02", ">", 1, 1, -86_400.0),
])  # fmt: skip
def test_dates_are_compared_with_dates(text: str, operator: Any, place: int, sign: int, number: float) -> None:
    assert parse_constraint(text, DATES) == Constraint(text, operator, (place,), (sign,), number)


def test_times_are_compared_with_times() -> None:
    constraint = parse_constraint("t >= 10:30", [Column("t", "time", "object")])
    assert constraint.number == -37_800.0


@pytest.mark.parametrize(("text", "said"), [
    ("n >= 2020-01-01", 'compares 2020-01-01 with "n", which is integer'),
    ("day >= 10:30", 'compares 10:30 with "day", which is date'),
    ("day > 2020-01-01 10:00", 'compares 2020-01-01 10:00 with "day", which is date'),
    ("day >= 2020-02-30", "2020-02-30 is no date or time"), ("day = 2020-01-01", "is of no use"),
    ("start >= day", 'different units: "start" is datetime and "day" is date'),
    ("end >= start + n", "different units"), ("day >= 1990", '"day" is date, so compare it with another one, or with'),
])  # fmt: skip
def test_other_units_are_refused(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        parse_constraint(text, DATES)


def test_half_an_hour_before_is_before() -> None:
    """Seconds since 1970 are large, and their rounding is not an hour."""
    start = torch.full((9,), 1.7e9, dtype=torch.float64)
    x = torch.stack([torch.zeros(9).double(), start, start - 1800, torch.zeros(9).double()], 1)
    with pytest.raises(UserError, match='9 of 9 rows of t break "end >= start", e.g. one with start 2023'):
        parse_constraints(["end >= start"], DATES, x, "t")
    assert parse_constraints(["end - start >= -1800"], DATES, x, "t").items[0].number == 1800
