"""Blocks of a table's rows: probabilities, draws by noise, and conditions."""

import pytest
import torch
from torch import Tensor

from ganvas.table_shape import Block, TableShape

BLOCKS = (Block(2, 3, has_missing=True), Block(4, 0, has_missing=False, is_category=True), Block(0, 1, False))
SHARES = torch.tensor([0.1, 0.2, 0.3, 0.2, 0.1, 0.1, 0.0, 0.5, 0.0, 0.3, 0.2, 1.0, 0.0])


@pytest.fixture
def shape() -> TableShape:
    return TableShape(BLOCKS, SHARES)


def test_a_row_has_a_number_for_each_entry_and_position(shape: TableShape) -> None:
    assert shape == (13,)
    assert (shape.starts, shape.positions, shape.noise_size) == ((0, 7, 11), (6, 12), 5)
    assert shape.entry_slices == (slice(0, 6), slice(7, 11), slice(11, 12))


def test_probabilities_of_a_block_sum_to_one(shape: TableShape) -> None:
    y = 9 * torch.randn(50, 13)
    p = shape.log_probabilities(y).exp()
    for part in shape.entry_slices:
        torch.testing.assert_close(p[:, part].sum(1), torch.ones(50))
        torch.testing.assert_close(p[:, part], y[:, part].softmax(1))
        torch.testing.assert_close(shape.probabilities(y)[:, part], p[:, part])
    assert not shape.probabilities(y)[:, [6, 12]].any()
    assert torch.equal(shape.take_positions(shape.log_probabilities(y)), y[:, [6, 12]])


def test_positions_are_taken_and_put_back(shape: TableShape) -> None:
    y, u = torch.randn(5, 13), torch.randn(5, 2)
    other = shape.with_positions(y, u)
    assert torch.equal(other[:, [6, 12]], u)
    assert torch.equal(shape.with_positions(other, shape.take_positions(y)), y)
    plain = TableShape(BLOCKS[1:2])
    assert plain.take_positions(torch.ones(5, 4)).shape == (5, 0)


def test_the_share_of_intervals_is_that_of_their_entries(shape: TableShape) -> None:
    p = torch.rand(5, 13)
    torch.testing.assert_close(shape.interval_share(p), torch.stack([p[:, 2:5].sum(1), p[:, 11]], 1))


def chi_square(counts: Tensor, p: Tensor) -> float:
    """Pearson's statistic per degree of freedom, of entries that can occur; 1 on average."""
    expected = p[p > 0] * counts.sum()
    assert not counts[p == 0].any()
    return float(((counts[p > 0] - expected).square() / expected).sum() / max(1, len(expected) - 1))


def test_rows_are_drawn_as_often_as_their_probabilities_say(shape: TableShape) -> None:
    n, noise = 20_000, torch.rand(20_000, shape.noise_size, generator=torch.Generator().manual_seed(1))
    x = shape.draw(SHARES.expand(n, -1).clone(), noise)
    for part in shape.entry_slices:
        assert torch.equal(x[:, part].sum(1), torch.ones(n))
        assert chi_square(x[:, part].sum(0), SHARES[part]) < 3


@pytest.mark.parametrize("edge", [0.0, 1 - 2**-24])
def test_no_noise_draws_what_has_no_probability(edge: float, shape: TableShape) -> None:
    x = shape.draw(SHARES[None].clone(), torch.full((1, shape.noise_size), edge))
    assert not x[0, SHARES == 0].any()
    condition = shape.draw_conditions(torch.tensor([[0.0, edge]]))
    assert SHARES[condition] > 0


def test_conditions_are_categories_as_often_as_rows_have_them(shape: TableShape) -> None:
    assert shape.conditions.tolist() == [7, 8, 9, 10]
    assert shape.condition_columns == (1,)
    noise = torch.rand(20_000, 2, generator=torch.Generator().manual_seed(1))
    counts = shape.draw_conditions(noise).bincount(minlength=13)
    assert chi_square(counts[7:11].float(), SHARES[7:11]) < 3
    assert counts.sum() == counts[7:11].sum()


def test_without_categories_all_entries_are_conditions() -> None:
    shape = TableShape((BLOCKS[0], BLOCKS[2]), SHARES[[0, 1, 2, 3, 4, 5, 6, 11, 12]])
    assert shape.conditions.tolist() == [0, 1, 2, 3, 4, 5, 7]
    counts = shape.draw_conditions(torch.rand(20_000, 2, generator=torch.Generator().manual_seed(1)))
    assert (counts == 7).double().mean() == pytest.approx(0.5, abs=0.02)  # each column as likely
