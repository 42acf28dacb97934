"""Intervals against published examples, and how often they miss."""

import numpy as np
import pytest

from ganvas.evaluation.tables.detection import auc_error
from ganvas.evaluation.tables.intervals import area_under_curve, clustered, difference, wilson


def test_published_intervals() -> None:
    assert wilson(81, 263, 1.96) == pytest.approx((0.2553, 0.3662), abs=1e-4)  # Newcombe 1998, part 1, table I
    assert wilson(0, 20, 1.96) == pytest.approx((0, 0.1611), abs=1e-4)
    assert difference(56, 70, 48, 80, 1.96) == pytest.approx((0.0524, 0.3339), abs=1e-4)  # part 2, table II, method 10
    assert difference(0, 10, 0, 10, 1.96) == pytest.approx((-0.2775, 0.2775), abs=1e-4)


def test_area_under_curve() -> None:
    random = np.random.default_rng(0)
    estimates = [area_under_curve(*random.normal(size=(2, 40))) for _ in range(200)]
    assert np.mean([e.low <= 0.5 <= e.high for e in estimates]) > 0.96
    apart = area_under_curve(np.zeros(5), np.ones(5))
    assert apart.value == 1
    assert apart.low < 0.8  # five of each that are apart say little
    assert area_under_curve(np.ones(9), np.ones(7)).value == 0.5
    error = np.std([area_under_curve(*random.normal(size=(2, 60))).value for _ in range(200)])
    assert auc_error(0.5, 60, 60) == pytest.approx(error, rel=0.2)


def test_scores_of_one_cluster_count_once() -> None:
    scores, clusters = np.ones(100), np.repeat(np.arange(4), 25)
    assert clustered(scores, clusters) == (1.0, pytest.approx(0.5))
    assert clustered(scores, np.arange(100)) == (1.0, pytest.approx(0.1))
    assert clustered(np.zeros(0), np.zeros(0)) == (0, 0)
