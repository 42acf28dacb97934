"""What is said of a table's columns: how they spread, and which go together."""

import pytest
import torch

pytest.importorskip("pandas")
pytest.importorskip("pyarrow")
import pandas as pd

from ganvas.data.tables.frame import from_frame
from ganvas.data.tables.summary import associations, choose_bars, marginals, typical_rows
from ganvas.data.tables.table import Table


def table(n: int = 1000) -> Table:
    i = torch.arange(n)
    amount = [None if k % 10 == 3 else round(float(k**2 % 977) / 7, 2) for k in range(n)]
    names = [f"c{min(k % 40, 12)}" for k in range(n)]
    frame = pd.DataFrame({"amount": amount, "name": names, "same": names, "few": (i % 3 == 0).int().numpy()})
    return from_frame(frame).with_own_encoding()


def test_bars_share_all_rows() -> None:
    data = table()
    for found in marginals(data.learnt_columns, data.x):
        assert sum(found.shares[0]) + found.missing[0] == pytest.approx(1)
    amount, name, *_ = marginals(data.learnt_columns, data.x)
    assert amount.missing == (0.1,)
    assert len(amount.labels) == 20
    assert name.labels[-1] == "5 others"
    assert dict(zip(name.labels, name.shares[0], strict=True))["c12"] == (data.x[:, 1] == 4).double().mean()  # by name


def test_the_file_of_a_model_says_how_columns_spread() -> None:
    data = table()
    assert data.encoding is not None
    for found in marginals(data.learnt_columns, data.x, typical_rows(data.encoding)):
        assert found.missing[1] == pytest.approx(found.missing[0], abs=0.001)
        assert found.shares[1] == pytest.approx(found.shares[0], abs=0.01)


def test_what_goes_together() -> None:
    data = table()
    found = associations(data.learnt_columns, data.x)
    assert found[1][2] == found[2][1] == pytest.approx(1)
    assert found[1][3] < 0.2


def test_columns_of_little_have_bars() -> None:
    data = table()
    amount = data.learnt_columns[0]
    assert choose_bars(amount, torch.full((3,), torch.nan).double()).labels == ()
    assert choose_bars(amount, torch.tensor([2.0]).double()).labels == ("2",)
    nothing = torch.full((3, 1), torch.nan).double()
    assert marginals([amount], nothing)[0].missing == (1,)
    assert associations([amount], nothing) == [[1.0]]
