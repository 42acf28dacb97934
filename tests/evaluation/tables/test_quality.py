"""Quality against numbers that SDMetrics 0.32.0 gave of the same rows, and against what it must be."""

import numpy as np
import pytest

from ganvas.data.tables.association import cramers_v
from ganvas.data.tables.columns import Column
from ganvas.evaluation.tables.quality import correlations, measure_quality
from tests.support.tables import MIXED, mixed_rows, shuffle_columns

SHAPES = [0.8175, 0.919152276, 0.876541096, 0.88, 0.855833333, 0.983333333]
PAIRS = [
    0.971093163, 0.7425, 0.815833333, 0.970204966, 0.848333333, 0.713333333, 0.7825, 0.957439139, 0.8425, 0.764166667,
    0.773333333, 0.803333333, 0.860833333, 0.88, 0.914166667,
]  # fmt: skip
SCORE, STRONG_SCORE = 0.8656823566039332, 0.8522800032376843


def test_as_sdmetrics_has_it() -> None:
    (quality,) = measure_quality(mixed_rows(400, seed=1), [mixed_rows(300, 0.3, 2)], MIXED)
    np.testing.assert_allclose(quality.shapes, SHAPES, atol=1e-9)
    np.testing.assert_allclose(quality.pairs[np.triu_indices(6, 1)], PAIRS, atol=1e-9)
    np.testing.assert_allclose(quality.missing[1:3], [0.971666667, 0.8875], atol=1e-9)
    assert np.isnan(quality.missing[[0, 3, 4, 5]]).all()  # no value is missing there
    assert quality.score == pytest.approx(SCORE, abs=1e-12)
    assert quality.strong_score == pytest.approx(STRONG_SCORE, abs=1e-12)


def test_the_rows_themselves_are_perfect_and_a_shuffle_loses_only_pairs() -> None:
    x = mixed_rows(500)
    same, shuffled = measure_quality(x, [x, shuffle_columns(x)], MIXED)
    assert same.score == same.strong_score == pytest.approx(1)
    assert shuffled.column_shapes == pytest.approx(1)
    assert shuffled.strong_pair_trends < shuffled.pair_trends < 0.97


def test_many_categories_are_counted_where_they_occur() -> None:
    random = np.random.default_rng(0)
    codes = random.integers(0, 3000, (200, 2)).astype(float)
    columns = [Column(name, "category", categories=tuple(map(str, range(3000)))) for name in "ab"]
    same, other = measure_quality(codes, [codes, codes[:, ::-1].copy()], columns)
    assert same.pairs[0, 1] == 1
    assert other.pairs[0, 1] == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("n", [1, 2])
def test_what_is_not_defined_is_nan(n: int) -> None:
    columns = [Column("a", "real"), Column("b", "real")]
    (quality,) = measure_quality(np.full((n, 2), 3.0), [np.full((n, 2), np.nan)], columns)
    assert np.isnan(quality.shapes).all()
    assert np.isnan(quality.score)
    (one,) = measure_quality(np.zeros((n, 1)), [np.zeros((n, 1))], columns[:1])
    assert one.score == 1  # of one column its shape


def test_correlations_are_over_rows_that_have_both() -> None:
    x = mixed_rows(300)[:, [0, 1, 4]]
    there = ~np.isnan(x[:, 1])
    expected = np.corrcoef(x[there, 0], x[there, 1])[0, 1]
    assert correlations(x + 1e6)[0, 1] == pytest.approx(expected, abs=1e-6)


def test_cramers_v() -> None:
    a = np.arange(600) % 3
    assert cramers_v(a, 2 - a) == pytest.approx(1)
    assert cramers_v(a, np.zeros(600, np.int64)) == 0
    table = np.array([[30, 10], [20, 40]])  # phi of a fourfold table: (ad - bc) / sqrt of the product of the margins
    a, b = (np.repeat(codes, table.ravel()) for codes in ([0, 0, 1, 1], [0, 1, 0, 1]))
    assert cramers_v(a, b) == pytest.approx((30 * 40 - 10 * 20) / np.sqrt(40 * 60 * 50 * 50))
    random = np.random.default_rng(0)
    a, b = random.integers(0, 20, (2, 500))
    assert cramers_v(a, b) > 0.15
    assert cramers_v(a, b, corrected=True) < 0.08
