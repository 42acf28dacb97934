"""Columns as entries and positions, and back."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from ganvas.data.tables.columns import Column
from ganvas.data.tables.encoding import FINE, TableEncoding, fit_column

KINDS = ("integers", "few", "reals", "heavy", "zeros", "categories", "rare", "constant")


def values(kind: str, n: int, random: np.random.Generator) -> tuple[np.ndarray, Column]:
    """Values of a column of this kind, and the column."""
    few = tuple(f"c{i}" for i in range(300 if kind == "rare" else 5))
    if kind in ("categories", "rare"):
        ranks = random.zipf(1.5, n) - 1 if kind == "rare" else random.integers(0, 5, n)
        return np.minimum(ranks, len(few) - 1).astype(float), Column(kind, "category", categories=few)
    x: Any = {
        "integers": lambda: random.integers(-(10**6), 10**6, n).astype(float),
        "few": lambda: random.integers(0, 7, n).astype(float),
        "reals": lambda: random.normal(3, 2, n).round(2),
        "heavy": lambda: (random.standard_cauchy(n) * 1e4).round(1),
        "zeros": lambda: np.where(random.random(n) < 0.7, 0.0, random.exponential(50, n).round(2)),
        "constant": lambda: np.full(n, 3.25),
    }[kind]()
    decimals = {"reals": 2, "heavy": 1, "zeros": 2, "constant": 2}.get(kind)
    return x, Column(kind, "integer" if decimals is None else "real", decimals=decimals)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(
    st.sampled_from(KINDS),
    st.sampled_from([1, 2, 3, 10, 60, 700]),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.integers(0, 99),
)
def test_values_come_back(kind: str, n: int, missing: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    x, column = values(kind, n, random)
    x[random.random(n) < missing] = np.nan
    rows = torch.from_numpy(x)[:, None]
    encoding = TableEncoding.fit(rows, [column])
    y = encoding.encode(rows)
    assert y.shape == (n, *encoding.shape)
    assert y.dtype == torch.float32
    for part in encoding.shape.entry_slices:
        assert torch.equal(y[:, part].sum(1), torch.ones(n))
    back = encoding.decode(y)[:, 0].numpy()
    np.testing.assert_array_equal(np.isnan(back), np.isnan(x))
    known = ~np.isnan(x)
    scale = np.abs(x[known]).max(initial=1)
    np.testing.assert_allclose(back[known], x[known], rtol=0, atol=1e-6 * scale if kind == "heavy" else 1e-9)
    assert float(encoding.shares.sum()) == pytest.approx(1)


def test_positions_of_numbers_are_uniform() -> None:
    random = np.random.default_rng(0)
    for x in (random.standard_cauchy(20_000), random.normal(size=20_000), random.exponential(size=20_000)):
        rows = torch.from_numpy(x)
        column = fit_column(rows, Column("x", "real"))
        entry, position = column.encode(rows)
        assert column.intervals == 64
        assert stats.kstest(position.double().numpy(), "uniform").pvalue > 1e-3
        assert stats.chisquare(entry.bincount().numpy()).pvalue > 1e-3


def test_zeros_are_an_atom_and_the_rest_intervals() -> None:
    x, column = values("zeros", 2000, np.random.default_rng(0))
    found = fit_column(torch.from_numpy(x), column)
    assert found.atoms.tolist() == [0.0]
    assert found.intervals > 1
    assert float(found.knots.min()) > 0


def test_few_numbers_are_atoms_and_many_are_not() -> None:
    random = np.random.default_rng(0)
    for different, intervals in ((FINE.atoms, 0), (20 * FINE.atoms, 64)):
        x = torch.from_numpy(random.integers(0, different, 20_000).astype(float))
        assert fit_column(x, Column("x", "integer")).intervals == intervals


def test_rare_categories_come_back_at_their_rates() -> None:
    """They share an interval in which each has a part as long as it is frequent."""
    counts = torch.tensor([500, 300, 4, 3, 2, 1])
    x = torch.arange(6.0, dtype=torch.float64).repeat_interleave(counts)
    column = fit_column(x, Column("town", "category", categories=tuple("abcdef")))
    assert column.atoms.tolist() == [0, 1]
    u = torch.linspace(0, 1, 10_002)[1:-1]
    drawn = column.decode(torch.full((10_000,), 2), u).long().bincount(minlength=6)
    assert (drawn[2:] / 1000).round().tolist() == [4, 3, 2, 1]


def test_a_column_without_values_is_missing() -> None:
    x = torch.full((5, 1), torch.nan, dtype=torch.float64)
    for kind in ("real", "category"):
        encoding = TableEncoding.fit(x, [Column("x", kind, categories=("a",))])  # type: ignore[arg-type]
        assert encoding.decode(encoding.encode(x)).isnan().all()


def test_unseen_numbers_are_within_what_was_seen() -> None:
    rows = torch.arange(1000.0, dtype=torch.float64) / 10
    column = fit_column(rows, Column("x", "real", decimals=1))
    back: Tensor = column.decode(*column.encode(torch.tensor([-5.0, 1e9, 3.14], dtype=torch.float64)))
    assert back.tolist() == pytest.approx([0, 99.9, 3.1])


def test_a_state_comes_back() -> None:
    random = np.random.default_rng(0)
    parts = [values(kind, 700, random) for kind in KINDS]
    rows = torch.from_numpy(np.stack([x for x, _ in parts], 1))
    encoding = TableEncoding.fit(rows, [column for _, column in parts])
    tensors, header = encoding.state()
    again = TableEncoding.from_state(tensors, header)
    assert again.shape.blocks == encoding.shape.blocks
    assert torch.equal(again.shares, encoding.shares)
    assert torch.equal(again.encode(rows), encoding.encode(rows))
    with pytest.raises(ValueError, match="not as many as its header says"):
        TableEncoding.from_state(tensors | {"knots": tensors["knots"][1:]}, header)
    with pytest.raises(ValueError, match="the shares"):
        TableEncoding.from_state(tensors | {"shares": tensors["shares"][1:]}, header)
