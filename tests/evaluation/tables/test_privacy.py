"""Copies are found where there are any, and none where rows are other rows of the same source."""

import numpy as np
import pytest
import torch

from ganvas.data.tables.columns import Column
from ganvas.evaluation.tables.distances import STEPS, guess_errors, nearest, place_encoder, row_hashes
from ganvas.evaluation.tables.privacy import Privacy, measure_privacy, membership_at
from ganvas.evaluation.tables.verdict import signs
from tests.support.tables import MIXED, mixed_rows


def gower(a: np.ndarray, b: np.ndarray, spreads: np.ndarray) -> np.ndarray:
    """The definition, pair by pair."""
    distances = np.zeros((len(a), len(b)))
    for i, row in enumerate(a):
        for j, other in enumerate(b):
            for x, y, spread, column in zip(row, other, spreads, MIXED, strict=True):
                if np.isnan(x) or np.isnan(y):
                    distances[i, j] += np.isnan(x) != np.isnan(y)
                else:
                    distances[i, j] += float(x != y) if column.is_category else min(abs(x - y) / spread, 1)
    return distances / len(MIXED)


def test_nearest_rows_by_the_definition() -> None:
    train, other = mixed_rows(50), mixed_rows(20, seed=1)
    place = place_encoder(train, MIXED)
    spreads = np.nanquantile(train, 0.95, axis=0) - np.nanquantile(train, 0.05, axis=0)
    expected = gower(other, train, spreads)
    distances, indices = nearest(place(other), place(train))
    np.testing.assert_allclose(distances, expected.min(1), atol=2 / STEPS)
    np.testing.assert_allclose(expected[np.arange(20), indices], expected.min(1), atol=2 / STEPS)
    assert (nearest(place(train), place(train))[0] == 0).all()


def test_a_column_is_guessed_by_the_nearest_row_in_the_others() -> None:
    train, other = mixed_rows(50), mixed_rows(20, seed=1)
    place = place_encoder(train, MIXED)
    errors = guess_errors(place(other), place(train))
    without = [j for j in range(6) if j != 2]
    rest = place_encoder(train[:, without], [MIXED[j] for j in without])
    _, choice = nearest(rest(other[:, without]), rest(train[:, without]))
    guess, truth = train[choice, 2], other[:, 2]
    same = (guess == truth) | (np.isnan(guess) & np.isnan(truth))
    np.testing.assert_array_equal(errors[2], (~same).astype(float))


def test_equal_rows_have_equal_hashes_and_others_do_not() -> None:
    x = np.array([[0.0, np.nan], [-0.0, np.float64("nan")], [1, 2], [2, 1], [1, 3]])
    hashes = row_hashes(x)
    assert hashes[0] == hashes[1]
    assert len(set(hashes.tolist())) == 4
    grid = np.stack(np.meshgrid(np.arange(200.0), np.arange(200.0)), -1).reshape(-1, 2)
    assert len(np.unique(row_hashes(grid))) == len(grid)


@pytest.fixture
def rows() -> list[np.ndarray]:
    x = mixed_rows(1200)
    return [x[:400], x[400:800], x[800:]]


def measure(train: np.ndarray, held_out: np.ndarray, synthetic: np.ndarray) -> Privacy:
    privacy = measure_privacy(train, held_out, synthetic, MIXED)
    assert privacy is not None
    return privacy


def test_other_rows_of_the_source_give_nothing_away(rows: list[np.ndarray]) -> None:
    train, held_out, others = rows
    privacy = measure(train, held_out, others)
    assert signs(privacy) == []
    assert privacy.nearer.low < 0.5 < privacy.nearer.high
    assert privacy.exact.training == privacy.exact.real == 0


def test_copies_are_found(rows: list[np.ndarray]) -> None:
    train, held_out, _ = rows
    privacy = measure(train, held_out, train)
    assert privacy.exact.training == privacy.near.training == privacy.nearer.value == 1
    found = signs(privacy)
    assert len(found) == 6  # each test says so
    assert all(is_strong for is_strong, _ in found)


def test_training_rows_with_a_little_noise_are_found(rows: list[np.ndarray]) -> None:
    train, held_out, _ = rows
    noisy = train + np.random.default_rng(0).normal(0, 0.02, train.shape) * np.array([1, 1, 0, 0, 0, 0])
    privacy = measure(train, held_out, noisy)
    assert privacy.exact.training == 0
    assert {name for name in ("nearer", "membership", "found") if getattr(privacy, name).is_above} == {
        "nearer", "membership", "found",
    }  # fmt: skip
    assert privacy.near.excess.is_above
    assert any(is_strong for is_strong, _ in signs(privacy))


def test_few_copies_among_other_rows_are_found(rows: list[np.ndarray]) -> None:
    train, held_out, others = rows
    privacy = measure(train, held_out, np.concatenate([others, train[:40]]))
    assert privacy.exact.excess.is_above
    assert privacy.exact.training == pytest.approx(40 / 440)


def test_common_rows_are_no_copies() -> None:
    """Of three columns of two categories each row comes again and again: a copy says nothing."""
    random = np.random.default_rng(0)
    columns = tuple(Column(name, "boolean", categories=(False, True)) for name in "abc")
    train, held_out = random.integers(0, 2, (2, 200, 3)).astype(float)
    privacy = measure_privacy(train, held_out, np.zeros((300, 3)), columns)  # one row, and nothing else
    assert privacy is not None
    assert privacy.exact.training == 1
    assert signs(privacy) == []


def test_false_alarms_are_rare() -> None:
    alarms = 0
    for seed in range(20):
        x = mixed_rows(300, seed=seed)
        alarms += bool(signs(measure(x[:100], x[100:200], x[200:])))
    assert alarms <= 1


def test_membership_at_few_false_alarms() -> None:
    others = np.arange(100.0)
    share, excess = membership_at(np.concatenate([np.zeros(30), np.full(70, 50.0)]), others)
    assert share == 0.3
    assert excess.value == pytest.approx(0.29)
    assert excess.is_above
    assert not membership_at(others, others)[1].is_above


def test_too_few_rows_say_nothing() -> None:
    x = mixed_rows(60)
    assert measure_privacy(x[:40], x[40:50], x[50:], MIXED) is None


def test_places_of_extremes() -> None:
    """Numbers far out end, and are still no missing ones."""
    x = np.array([[1e300], [-1e300], [np.nan], [0.0], [1.0]])
    places = place_encoder(x[3:], [Column("a", "real")])(x)
    assert torch.isfinite(places).all()
    distances, _ = nearest(places[:, 2:3], places[:, :2])
    assert distances.tolist() == [1]
