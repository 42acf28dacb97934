"""How near translations are to the truth: against NumPy, loops and known cases."""

import numpy as np
import pytest
import torch

from ganvas.metrics import pairs
from ganvas.metrics.pairs import (
    absolute_errors,
    angle_difference,
    angle_errors,
    circular_correlation,
    circular_rmse,
    class_angles,
    nearest_labels,
    nearest_other_targets,
    target_ranks,
)


def test_absolute_errors_are_what_numpy_says() -> None:
    a, b = torch.rand(2, 5, 3, 4, 4)
    expected = np.abs(a.numpy() - b.numpy()).reshape(5, -1).mean(1)
    np.testing.assert_allclose(absolute_errors(a, b), expected, rtol=1e-6)


@pytest.mark.parametrize("block", [3, 256])
def test_ranks_are_those_of_a_sorted_list(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "TRANSLATIONS_PER_CHUNK", block)
    made, targets = torch.rand(10, 4), torch.rand(15, 4)
    expected = []
    for i, x in enumerate(made):
        far = [float((x - t).square().sum()) for t in targets]
        expected.append(1 + sorted(far).index(far[i]))
    assert target_ranks(made, targets).tolist() == expected
    assert target_ranks(targets, targets).tolist() == [1] * 15


def test_a_constant_translation_ranks_by_nothing_it_knows() -> None:
    targets = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
    assert target_ranks(torch.zeros(4, 1), targets).tolist() == [1, 2, 3, 4]
    same = torch.ones(5, 2)
    assert target_ranks(same, same).tolist() == [3] * 5  # all are as near: in the middle


def test_the_nearest_examples_label() -> None:
    examples, labels = torch.tensor([[0.0], [10.0], [20.0]]), torch.tensor([2, 0, 1])
    assert nearest_labels(torch.tensor([[11.0], [1.0], [90.0]]), examples, labels).tolist() == [0, 2, 1]


@pytest.mark.parametrize("block", [3, 256])
def test_the_right_answer_is_not_among_the_others(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "TRANSLATIONS_PER_CHUNK", block)
    made, targets = torch.rand(8, 4), torch.rand(8, 4)
    for x in (made, targets):
        far = (x[:, None] - targets[None]).square().sum(2) + torch.eye(8) * 9
        assert nearest_other_targets(x, targets).tolist() == far.argmin(1).tolist()


def test_names_that_are_angles() -> None:
    for names in (("-30deg", "45deg"), ("45\u00b0", "\u221230 \u00b0"), ("-30 degrees", "45.0DEG")):
        found = class_angles(names)
        assert found is not None
        assert sorted((found * 180 / torch.pi).tolist()) == pytest.approx([-30, 45])
    for names in ((), ("3", "7"), ("30deg", "cat"), ("30deg",), ("deg", "1deg"), ("1-2deg", "3deg")):
        assert class_angles(names) is None


def test_errors_of_angles_are_those_of_the_nearest_neighbours() -> None:
    """Points on a circle, twice each: turned by 30 degrees they are read as turned by so much."""
    angles = torch.arange(0, 360, 15).repeat(2) * torch.pi / 180
    at = torch.stack([angles.cos(), angles.sin()], 1)
    assert angle_errors(at, at, angles) == pytest.approx((0, 1), abs=1e-3)
    turn = torch.tensor(torch.pi / 6)
    aside = torch.stack([(angles + turn).cos(), (angles + turn).sin()], 1)
    assert angle_errors(aside, at, angles) == pytest.approx((torch.pi / 6, 1), abs=1e-3)
    assert angle_errors(at * torch.tensor([1, -1]), at, angles)[1] == pytest.approx(-1, abs=1e-3)
    assert angle_errors(at[::2], at[::2], angles[::2])[0] == pytest.approx(0, abs=1e-3)


def test_angles_go_round() -> None:
    a, b = torch.tensor([3.1, -3.1, 0.5]), torch.tensor([-3.1, 3.1, 0.4])
    np.testing.assert_allclose(angle_difference(a, b), [2 * np.pi * -1 + 6.2 + 0, 2 * np.pi - 6.2, 0.1], atol=1e-5)
    angles = torch.rand(100_000, generator=torch.Generator().manual_seed(0)) * 2 * torch.pi
    assert circular_rmse(angles + 0.2, angles) == pytest.approx(0.2, rel=1e-3)
    assert circular_rmse(angles.roll(1), angles) == pytest.approx(np.pi / 3**0.5, rel=0.01)


@pytest.mark.parametrize("shift", [0.0, 2.5])
def test_correlation_of_angles_has_the_sign_of_the_turn(shift: float) -> None:
    angles = torch.rand(20_000, generator=torch.Generator().manual_seed(0)) * 2 * torch.pi
    assert circular_correlation(angles + shift, angles) == pytest.approx(1, abs=0.02)
    assert circular_correlation(shift - angles, angles) == pytest.approx(-1, abs=0.02)
    assert circular_correlation(angles.roll(1), angles) == pytest.approx(0, abs=0.03)
    some = (angles[:5000] / (2 * torch.pi) - 0.5) * 2.6  # a part of the circle, as in the benchmark
    assert circular_correlation(-some, some) < -0.7 < 0.7 < circular_correlation(some, some)
