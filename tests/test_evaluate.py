"""Distances between sets of examples."""

from math import pi

import numpy as np
import pytest
import torch

from ganvas.errors import UserError
from ganvas.evaluate import sliced_wasserstein


def test_a_shift_has_the_distance_of_its_mean_projection() -> None:
    """W1 of a set and its copy shifted by v is |<theta, v>|; its mean over the circle is 2 |v| / pi."""
    a = torch.randn(500, 2)
    assert sliced_wasserstein(a, a + torch.tensor([3.0, 4.0]), directions=20_000) == pytest.approx(10 / pi, rel=0.01)


def test_in_one_dimension_it_is_the_area_between_the_distributions() -> None:
    a, b = torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([[8.0], [5.0], [6.0]])
    assert sliced_wasserstein(a, b) == pytest.approx(5.0)


def test_it_agrees_with_numpy() -> None:
    a, b = torch.randn(64, 3, 2, 2), torch.randn(64, 3, 2, 2) * 2
    direction = torch.randn(12, 1000, generator=torch.Generator().manual_seed(1)).numpy()
    direction /= np.linalg.norm(direction, axis=0)
    x, y = (np.sort(t.flatten(1).numpy() @ direction, axis=0) for t in (a, b))
    assert sliced_wasserstein(a, b) == pytest.approx(np.abs(x - y).mean(), rel=0.02)


def test_equal_sets_have_no_distance_and_farther_ones_more() -> None:
    a = torch.randn(100, 5)
    assert sliced_wasserstein(a, a.flip(0)) == 0
    distances = [sliced_wasserstein(a, a * scale) for scale in (1.1, 1.5, 3.0)]
    assert distances == sorted(distances)


def test_sets_must_be_alike() -> None:
    with pytest.raises(UserError, match="give as many examples"):
        sliced_wasserstein(torch.zeros(3, 2), torch.zeros(4, 2))
