"""What a column of a table is: its kind, and what its values are as numbers.

    integer, real     the number itself
    category, boolean the index of the value in `categories`
    date              days since 1970-01-01
    datetime          seconds since 1970-01-01T00:00:00, as written: without a time zone, or in UTC
    time              seconds since midnight

A missing value is NaN in each of them.  A constant is not learnt, since nothing is to be learnt of it; nor is an
identifier, such as a number of a customer, whose values must not come back: samples have new ones.  Where some are
missing only that is learnt: as of a category with the one value `PRESENT`.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, NamedTuple

ColumnKind = Literal["integer", "real", "category", "boolean", "date", "datetime", "time", "constant", "identifier"]
NUMBER_KINDS = frozenset({"integer", "real", "date", "datetime", "time"})
"""kinds whose values are on a scale"""
CATEGORY_KINDS = frozenset({"category", "boolean"})
"""kinds whose values are names"""
Value = str | int | float | bool
"""a category as the source has it"""
PRESENT = "present"
"""the category of identifiers that are there, where others are missing"""


@dataclass(frozen=True)
class Column:
    """A column: what is stored with a model, so that samples are written as the source was."""

    name: str
    kind: ColumnKind
    dtype: str = "object"
    """pandas' name of the type of its values"""
    categories: tuple[Value, ...] = ()
    """of a category or a boolean its values, in the order of their indices; of a constant its only one; of an
    identifier `PRESENT`, if it is learnt where one is missing"""
    is_ordered: bool = False
    """whether the categories have an order, from low to high"""
    decimals: int | None = None
    """of a real the most decimals that a value has; None where they are not decimal"""
    low: float | None = None
    high: float | None = None
    """of numbers the lowest and the highest: samples are within"""
    atoms: tuple[float, ...] = ()
    """numbers that many rows have exactly, such as the 0 of a column that mostly is 0"""
    missing: float = 0.0
    """share of the rows without a value"""
    format: str = ""
    """of dates and times that the source has as texts, how they are written, as `strftime` has it"""
    details: dict[str, Any] = field(default_factory=dict)
    """what else is needed to write values as the source has them, in JSON's types"""

    @property
    def is_number(self) -> bool:
        """Whether its values are on a scale."""
        return self.kind in NUMBER_KINDS

    @property
    def is_category(self) -> bool:
        """Whether its values are names."""
        return self.kind in CATEGORY_KINDS

    @property
    def is_learnt(self) -> bool:
        """Whether a model learns it, be it only where an identifier is missing."""
        return self.is_number or self.is_category or (self.kind == "identifier" and bool(self.categories))

    @property
    def is_integral(self) -> bool:
        """Whether its numbers are whole."""
        return self.kind in ("integer", "date") or (self.kind == "real" and self.decimals == 0)

    def as_json(self) -> dict[str, Any]:
        """The column in JSON's types, for the header of a model's file."""
        return asdict(self)


def learnt_columns(columns: Sequence[Column]) -> tuple[Column, ...]:
    """What a model learns of a table's columns: of identifiers the category that says which of them are missing."""
    return tuple(
        replace(column, kind="category", dtype="str", details={}) if column.kind == "identifier" else column
        for column in columns
        if column.is_learnt
    )


DELIMITERS = "\t;|,"
"""what may separate columns, the likelier first where several could: a comma may also be that of decimals"""


class FileFormat(NamedTuple):
    """How a file of texts is written; decimal marks and words are those of its columns."""

    delimiter: str = ","
    encoding: str = "utf-8"


PLAIN_TEXT = FileFormat()


def column_from_json(values: dict[str, Any]) -> Column:
    """The inverse of `Column.as_json`; TypeError or ValueError for what is none."""
    texts = {name: tuple(values.get(name, ())) for name in ("categories", "atoms")}
    return Column(**{**values, **texts})
