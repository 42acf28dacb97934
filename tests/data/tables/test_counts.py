"""How many rows have each value, by all rows or by a sample of them."""

import numpy as np
import pandas as pd
import pytest
import torch

from ganvas.data import load
from ganvas.data.tables import counts
from ganvas.data.tables.encoding import TableEncoding
from ganvas.data.tables.table import Table


def test_a_sample_misses_no_category_no_end_and_no_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    random, n = np.random.default_rng(0), 300
    frame = pd.DataFrame({
        "price": random.normal(size=n).round(2), "gap": random.permutation(n) + 0.5, "kind": random.choice([*"abc"], n),
    })  # fmt: skip
    frame.loc[299, "kind"], frame.loc[298, "gap"] = "last", np.nan
    table = load(frame)
    assert isinstance(table, Table)
    whole = TableEncoding.fit(table.x, table.learnt_columns)
    monkeypatch.setattr(counts, "MAX_ROWS", 100)
    monkeypatch.setattr(counts, "FEW_VALUES", 50)
    monkeypatch.setattr(counts, "PART_ROWS", 64)
    part = TableEncoding.fit(table.x, table.learnt_columns)
    assert part.columns[2].atoms.tolist() == whole.columns[2].atoms.tolist() == [0, 1, 2, 3]
    assert torch.equal(part.shares[part.shape.entry_slices[2]], whole.shares[whole.shape.entry_slices[2]])
    assert part.columns[1].has_missing
    for j in (0, 1):
        values = table.x[~table.x[:, j].isnan(), j]
        seen = {*part.columns[j].knots.tolist(), *part.columns[j].atoms.tolist()}
        assert {float(values.min()), float(values.max())} <= seen
        assert len(seen) < len(values.unique())
    assert float(part.shares.sum()) == pytest.approx(3)
