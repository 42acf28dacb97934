"""A table as a dataset: a row is an example."""

from dataclasses import dataclass

import torch

from ..dataset import Dataset
from .columns import Column


@dataclass(frozen=True, kw_only=True, eq=False)
class Table(Dataset):
    """Rows of a table.

    `columns` are all of its columns, in the source's order.  `x`, n x c, float64, has a number of each row for those that
    are learnt (`learnt_columns`), as `columns.py` says; NaN where a value is missing.
    """

    columns: tuple[Column, ...] = ()

    def __post_init__(self) -> None:
        assert self.x.dtype == torch.float64
        assert self.x.shape[1] == len(self.learnt_columns)

    @property
    def learnt_columns(self) -> tuple[Column, ...]:
        """The columns that `x` has."""
        return tuple(column for column in self.columns if column.is_learnt)
