"""What a model's file says of the columns of its table, checked as it is read: it may be damaged, or a stranger's."""

from collections.abc import Sequence
from functools import cache
from typing import Annotated, Any, ClassVar

import torch
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from .columns import DELIMITERS, Column, FileFormat
from .constraints import Constraints
from .encoding import TableEncoding

Count = Annotated[int, Field(ge=0, lt=2**63)]
Digits = Annotated[int, Field(ge=0, le=400)]
"""decimals or digits of a number: the smallest that float64 has needs 324"""


class Details(BaseModel):
    """Values of `Column.details`; there may be others."""

    model_config: ClassVar[ConfigDict] = ConfigDict(allow_inf_nan=False)
    missing: list[str] = []
    none: bool = False
    objects: str = ""
    categorical: str = ""
    counts: list[Count] = []
    words: list[str] = []
    step: Annotated[float, Field(gt=0)] | None = None
    fraction: Digits = 0
    padded: bool = True
    written: Digits = 0
    decimal: str = ""
    thousands: str = ""
    prefix: str = ""
    suffix: str = ""
    last: Annotated[int, Field(ge=-(2**63), lt=2**64)] = 0
    before: str = ""
    after: str = ""
    width: Digits = 0
    shapes: list[str] = []
    weights: list[Annotated[float, Field(ge=0)]] = []


class Limits(BaseModel):
    """Fields of `Column` that have bounds beside their types."""

    decimals: Digits | None
    missing: Annotated[float, Field(ge=0, le=1)]
    details: Details


@cache
def adapter(kind: Any) -> Any:
    """What checks values of a type, made once, where a table is read."""
    return TypeAdapter(kind)


def read_columns(values: Any) -> tuple[Column, ...]:
    """Columns as `Column.as_json` has them; ValueError for what is none."""
    adapter(list[Limits]).validate_python(values)
    columns: list[Column] = adapter(list[Column]).validate_python(values)
    for column in columns:
        details, n = column.details, len(column.categories)
        if len(details.get("words", column.categories)) != n or (column.is_category and not n):
            raise ValueError(f"{column.name} has {len(details.get('words', ()))} words for {n} categories")
        if column.low is not None and column.high is not None and not column.low <= column.high:
            raise ValueError(f"{column.name} has numbers from {column.low} to {column.high}")
    return tuple(columns)


def read_constraints(values: Any, n: int) -> Constraints:
    """Constraints of n columns, as `Constraints.as_json` has them; ValueError for what are none."""
    constraints: Constraints = adapter(Constraints).validate_python(values)
    if not all(0 <= place < n for item in constraints.items for place in item.places):
        raise ValueError("a constraint is of a column that is not there")
    if any(item.operator != "unique" and len(item.signs) != len(item.places) for item in constraints.items):
        raise ValueError("a constraint has not as many signs as columns")
    if not all(0 <= i < len(constraints.items) for i in constraints.kept):
        raise ValueError("a constraint is kept that is not there")
    return constraints


def read_file_format(values: Any) -> FileFormat:
    """How texts are written; ValueError for an unknown encoding or what does not part cells."""
    file_format = FileFormat(*adapter(tuple[str, str]).validate_python(values))
    if file_format.delimiter not in list(DELIMITERS):
        raise ValueError(f"{file_format.delimiter!r} does not part cells")
    try:
        "".encode(file_format.encoding)
    except LookupError as error:
        raise ValueError(str(error)) from error
    return file_format


def check_encoding(encoding: TableEncoding, columns: Sequence[Column]) -> None:
    """ValueError where the entries are not those of these columns, all of which are learnt."""
    if len(encoding.columns) != len(columns):
        raise ValueError(f"it has {len(columns)} columns, and the entries of {len(encoding.columns)}")
    for entries, column in zip(encoding.columns, columns, strict=True):
        points = torch.cat([entries.atoms, entries.knots])
        is_none = column.is_category & ((points < 0) | (points >= len(column.categories)))
        if is_none.any() or not points.isfinite().all() or not entries.ranks.isfinite().all():
            raise ValueError(f"entries of {column.name} are no values of it")
        n_ranks = (len(entries.knots) + column.is_category) * bool(entries.intervals)
        if entries.is_category != column.is_category or len(entries.ranks) != n_ranks or not entries.block.entries:
            raise ValueError(f"the entries of {column.name} do not go together")


def check_rows(columns: Sequence[Column], encoding: TableEncoding) -> None:
    """ValueError where rows cannot be written as the columns say: tried on those of the first and the last entries."""
    try:
        from .frame import as_written, to_frame
    except ImportError:  # which is said where rows are written
        return
    y = torch.zeros(2, *encoding.shape)
    y[1, [part.stop - 1 for part in encoding.shape.entry_slices]] = 1
    rows = encoding.decode(y)
    encoding.encode(rows)
    as_written(columns, to_frame(columns, rows))
