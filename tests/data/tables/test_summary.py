"""What is said of a table's columns: how they spread, and which go together."""

from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("pandas")
pytest.importorskip("pyarrow")
import pandas as pd

from ganvas.data.tables.association import associations
from ganvas.data.tables.columns import Column
from ganvas.data.tables.frame import from_frame
from ganvas.data.tables.summary import marginal, marginals, typical_rows
from ganvas.data.tables.table import Table


def table(n: int = 1000) -> Table:
    i = torch.arange(n)
    amount = [None if k % 10 == 3 else round(float(k**2 % 977) / 7, 2) for k in range(n)]
    names = [f"c{min(k % 40, 12)}" for k in range(n)]
    frame = pd.DataFrame({"amount": amount, "name": names, "same": names, "few": (i % 3 == 0).int().numpy()})
    return from_frame(frame).with_own_encoding()


def test_bars_share_all_rows() -> None:
    data = table()
    x = data.x.numpy()
    for spread in marginals(data.learnt_columns, x):
        assert sum(spread.shares[0]) + spread.missing[0] == pytest.approx(1)
    amount, name, *_ = marginals(data.learnt_columns, x)
    assert amount.missing == (0.1,)
    assert len(amount.labels) == 30
    assert name.labels[0] == "c12"
    assert name.shares[0][0] == (x[:, 1] == 4).mean()  # by name
    short = marginal(replace(name.column, categories=tuple(f"c{i}" for i in range(14))), x[:, 1])
    assert short.labels[-1] == "2 others"


def test_whole_numbers_have_bars_of_as_many() -> None:
    column = data_column(np.arange(17, 91))
    spread = marginal(column, np.repeat(np.arange(17.0, 91), 2))
    assert spread.labels[0] == "17 to 19"
    assert spread.labels[-1] == "89 to 90"
    assert set(spread.counts[0][:-1]) == {6}
    few = marginal(column, np.array([1.0, 1, 3]), np.array([2.0, 9, np.nan]))
    assert few.labels == ("1", "2", "3")
    assert few.counts == ((2, 0, 1), (0, 1, 1))
    assert few.missing_counts == (0, 1)


def data_column(values: np.ndarray) -> Column:
    return Column("n", "integer", low=float(values.min()), high=float(values.max()))


def test_the_file_of_a_model_says_how_columns_spread() -> None:
    data = table()
    assert data.encoding is not None
    for spread in marginals(data.learnt_columns, data.x.numpy(), typical_rows(data.encoding).numpy()):
        assert spread.missing[1] == pytest.approx(spread.missing[0], abs=0.001)
        assert spread.shares[1] == pytest.approx(spread.shares[0], abs=0.01)


def test_what_goes_together() -> None:
    data = table()
    (matrix,) = associations(data.learnt_columns, data.x.numpy())
    assert matrix[1, 2] == matrix[2, 1] == pytest.approx(1)
    assert matrix[1, 3] < 0.2


def test_a_column_that_mostly_is_zero_has_associations() -> None:
    gain = np.where(np.arange(400) % 20 == 0, 100.0 + np.arange(400), 0)
    (matrix,) = associations([data_column(gain)] * 2, np.stack([gain, gain > 0], 1))
    assert matrix[0, 1] > 0.9


def test_columns_of_little_have_bars() -> None:
    amount = table().learnt_columns[0]
    nothing = np.full((3, 1), np.nan)
    assert marginal(amount, nothing[:, 0]).labels == ()
    assert marginal(amount, np.array([2.0])).labels == ("2",)
    assert marginals([amount], nothing)[0].missing == (1,)
    assert associations([amount], nothing)[0].tolist() == [[1.0]]
