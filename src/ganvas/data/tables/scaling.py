"""How a model sees the rows of a table, as the `Scaling` of its file."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from ...errors import first_line
from ...model import Shape
from ..dataset import Dataset
from ..scaling import Scaling
from .columns import PLAIN_TEXT, Column, FileFormat, learnt_columns
from .encoding import TableEncoding
from .stored import check_encoding, check_rows, read_columns, read_constraints, read_file_format
from .table import Table

TENSORS = ("atoms", "knots", "ranks", "shares")


@dataclass(frozen=True, eq=False)
class TableScaling(Scaling):
    """The map from a table's rows, n x c float64, to one-hot entries and positions, n x d, and its inverse."""

    columns: tuple[Column, ...] = ()
    encoding: TableEncoding = TableEncoding((), torch.zeros(0))  # noqa: RUF009  a constant
    file_format: FileFormat = PLAIN_TEXT

    @property
    def shape(self) -> Shape:
        """That of a row as the model sees it."""
        return self.encoding.shape

    @property
    def learnt_columns(self) -> tuple[Column, ...]:
        """The columns that rows have numbers of."""
        return learnt_columns(self.columns)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of columns as the option `column` has them, so that few rows are read as many were."""
        plain = ("integer", "real", "category", "boolean", "identifier")
        return tuple(f"{c.name}:{c.kind}" for c in self.columns if c.kind in plain and c.is_learnt)

    def holds(self, dataset: Dataset) -> bool:
        return isinstance(dataset, Table) and dataset.columns == self.columns

    def to(self, device: torch.device) -> "TableScaling":
        return self if device.type in ("cpu", "mps") else replace(self, encoding=self.encoding.to(device))

    def __call__(self, x: Shaped[Tensor, "n c"]) -> Float[Tensor, "n d"]:
        return self.encoding.encode(x)

    def inverse(self, u: Float[Tensor, "n d"]) -> Shaped[Tensor, "n c"]:
        """The rows of the likeliest entries."""
        return self.encoding.decode(u.cpu())

    def as_measured(self, x: Shaped[Tensor, "n c"]) -> Float[Tensor, "n d"]:
        return self.encoding.encode(x)


def table_state(scaling: TableScaling) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and header of a file that keeps it."""
    tensors, entries = scaling.encoding.state()
    header: dict[str, Any] = {"columns": [column.as_json() for column in scaling.columns], "entries": entries}
    if scaling.encoding.constraints:
        header["constraints"] = scaling.encoding.constraints.as_json()
    if scaling.file_format != PLAIN_TEXT:
        header["file_format"] = list(scaling.file_format)
    return {f"scaling/0/{name}": t.cpu() for name, t in tensors.items()}, {"table": header}


def table_from_state(
    tensors: dict[str, Tensor], header: dict[str, Any], pixel_range: tuple[float, float]
) -> TableScaling | None:
    """The scaling that a file keeps of a table, taken out of its tensors and its header; None where it has none.

    ValueError where it is damaged.
    """
    if (table := header.pop("table", None)) is None:
        return None
    try:
        columns = read_columns(table["columns"])
        learnt = learnt_columns(columns)
        constraints = read_constraints(table.get("constraints", {}), len(learnt))
        parts = {name: tensors.pop(f"scaling/0/{name}") for name in TENSORS}
        encoding = TableEncoding.from_state(parts, table["entries"], constraints)
        check_encoding(encoding, learnt)
        check_rows(columns, encoding)
        file_format = read_file_format(table.get("file_format", PLAIN_TEXT))
    except Exception as error:  # whatever damage leads to
        raise ValueError(f"what it says of the columns of its table is damaged: {first_line(error)}") from error
    return TableScaling(pixel_range, columns=columns, encoding=encoding, file_format=file_format)
