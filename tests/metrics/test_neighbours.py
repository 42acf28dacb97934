"""Precision, recall, density, coverage, one-nn tests and copying, against loops and against prdc."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ganvas.errors import UserError
from ganvas.metrics import memorisation_test, one_nn_accuracy, precision_recall
from ganvas.metrics.copies import duplicate_rate
from ganvas.metrics.neighbours import build_indexes
from ganvas.metrics.one_nn import own_neighbour_shares
from ganvas.metrics.prdc import count_balls
from tests.support.neighbours import duplicates

Array = np.ndarray


def sets(n: int = 60, m: int = 50, d: int = 4, shift: float = 0.7) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    return torch.randn(n, d, generator=random) + 3, torch.randn(m, d, generator=random) * 1.2 + 3 + shift


def far(a: Array, b: Array) -> Array:
    found: Array = np.sqrt(((a[:, None] - b[None]) ** 2).sum(2))
    return found


@pytest.mark.parametrize("rows", [7, 1000])
@pytest.mark.parametrize("k", [1, 5])
def test_precision_recall_density_and_coverage_are_those_of_loops(
    k: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ganvas.metrics.neighbours.ROWS_PER_CHUNK", rows)
    real, made = sets()
    x, y = real.double().numpy(), made.double().numpy()
    of_x, of_y = (np.sort(far(s, s), 1)[:, k] for s in (x, y))
    expected: dict[str, Any] = {
        "precision": [any(far(s[None], x)[0] < of_x) for s in y],
        "recall": [any(far(s[None], y)[0] < of_y) for s in x],
        "density": [(far(s[None], x)[0] < of_x).sum() / k for s in y],
        "coverage": [min(far(s[None], y)[0]) < radius for s, radius in zip(x, of_x, strict=True)],
    }
    found = precision_recall(real, made, k)
    for name, values in expected.items():
        assert getattr(found, name).tolist() == values, name
    assert 0 < found.precision.double().mean() < 1
    assert 0 < found.coverage.double().mean() < 1


def test_precision_recall_density_and_coverage_are_those_of_prdc() -> None:
    prdc = pytest.importorskip("prdc", reason="an oracle that is not installed")
    random = torch.Generator().manual_seed(1)
    real, made = torch.randn(2100, 16, generator=random), torch.randn(2100, 16, generator=random) * 0.8 + 0.2
    expected = prdc.compute_prdc(real.numpy().astype(np.float64), made.numpy().astype(np.float64), 5)
    found = precision_recall(real, made, 5)
    for name, value in expected.items():
        assert getattr(found, name).double().mean().item() == pytest.approx(value, rel=1e-3), name


def test_the_classifier_of_nearest_neighbours_is_that_of_loops() -> None:
    real, made = sets(50, 50)
    both = torch.cat([real, made]).double().numpy()
    apart = far(both, both)
    np.fill_diagonal(apart, np.inf)
    own = (apart.argmin(1) < 50) == (np.arange(100) < 50)
    assert one_nn_accuracy(real, made) == (own[:50].mean(), own[50:].mean())


def test_sets_that_are_alike_cannot_be_told_apart() -> None:
    random = torch.Generator().manual_seed(2)
    a, b, c = torch.randn(3, 1500, 5, generator=random)
    assert one_nn_accuracy(a, b) == pytest.approx((0.5, 0.5), abs=0.04)
    found = memorisation_test(a, b, c)
    assert found.nearer.value == pytest.approx(0.5, abs=0.03)
    assert found.memorised.value == pytest.approx(0.01, abs=0.008)
    assert duplicates(a, b) == pytest.approx(0.01, abs=0.008)


def test_copies_are_seen() -> None:
    random = torch.Generator().manual_seed(3)
    train, held_out, fresh = torch.randn(3, 1000, 5, generator=random)
    a_third = torch.cat([train[:333], fresh[:667]])
    found = memorisation_test(train, held_out, a_third + 1e-3)
    assert found.memorised.value == pytest.approx(0.333 + 0.667 * 0.01, abs=0.02)
    assert found.nearer.value > 0.6
    assert duplicates(train, fresh[:100].repeat(10, 1)) == 1
    assert duplicates(train, torch.cat([fresh[:500], fresh[:250]])) == pytest.approx(2 / 3, abs=0.02)


def test_missing_modes_lower_recall_and_blur_lowers_precision() -> None:
    random = torch.Generator().manual_seed(4)
    real = torch.randn(1000, 3, generator=random) / 10 + torch.arange(1000)[:, None] % 4 * 3.0
    half = torch.randn(1000, 3, generator=random) / 10 + torch.arange(1000)[:, None] % 2 * 3.0
    wide = torch.randn(1000, 3, generator=random) + torch.arange(1000)[:, None] % 4 * 3.0
    few, blurred = precision_recall(real, half), precision_recall(real, wide)
    assert few.precision.double().mean() > 0.9
    assert few.recall.double().mean() < 0.55
    assert few.coverage.double().mean() < 0.55
    assert blurred.precision.double().mean() < 0.2
    on_real, on_made = one_nn_accuracy(real, half)
    assert on_real == pytest.approx(2 / 3, abs=0.05)  # those of the missing modes, and a third of the others
    assert on_made == pytest.approx(2 / 3, abs=0.05)


def test_features_far_from_zero_lose_nothing() -> None:
    real, made = sets(200, 200)
    found, moved = precision_recall(real, made), precision_recall(real.double() + 1e6, made.double() + 1e6)
    assert all(torch.equal(a, b) for a, b in zip(found, moved, strict=True))


def test_neighbours_are_looked_for_once_and_give_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    random = torch.Generator().manual_seed(5)
    a, b, c = torch.randn(3, 90, 4, generator=random) + 2
    counted = []
    inner = torch.cdist
    monkeypatch.setattr(torch, "cdist", lambda x, y, **options: counted.append(len(x)) or inner(x, y, **options))
    real, *others = build_indexes(a, b, c)
    for x, y in zip((b, c), others, strict=True):
        assert all(
            torch.equal(p, q) for p, q in zip(count_balls(real, y).terms(5), precision_recall(a, x), strict=True)
        )
        assert own_neighbour_shares(real, y) == one_nn_accuracy(a, x)
        assert duplicate_rate(real, y) == duplicates(a, x)
    counted.clear()
    real, *others = build_indexes(a, b, c)
    for y in others:
        count_balls(real, y), own_neighbour_shares(real, y), duplicate_rate(real, y)
    assert sum(counted) == 90 * (3 + 4), "once in each set, and twice between two"


def test_too_few_examples_are_refused() -> None:
    with pytest.raises(UserError, match="5 examples have no 5 neighbours each: give more"):
        precision_recall(torch.zeros(5, 2), torch.zeros(9, 2))
