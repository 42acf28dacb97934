"""Distances between sets of examples."""

from math import pi

import numpy as np
import pytest
import torch

from ganvas.errors import UserError
from ganvas.metrics import frechet_distance, sliced_wasserstein


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


def with_moments(n: int, mean: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """n points whose mean is `mean` and whose covariance is factor factor^T, exactly."""
    z = torch.randn(n, len(mean), dtype=torch.float64)
    z = z - z.mean(0)
    z = torch.linalg.solve_triangular(torch.linalg.cholesky(z.T.cov()), z.T, upper=False).T
    return mean + z @ factor.T


def test_the_frechet_distance_of_gaussians_with_common_axes() -> None:
    """|mu_a - mu_b|^2 + sum_j (sigma_a_j - sigma_b_j)^2."""
    axes = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64)).Q
    sigma, other = torch.tensor([1.0, 2.0, 0.5, 0.0]).double(), torch.tensor([3.0, 2.0, 0.0, 0.1]).double()
    mean = torch.tensor([1.0, 0.0, -2.0, 0.0]).double()
    a = with_moments(50, mean, axes * sigma)
    b = with_moments(70, torch.zeros(4).double(), axes * other)
    assert frechet_distance(a, b) == pytest.approx(5 + (sigma - other).square().sum().item())
    assert frechet_distance(b, a) == pytest.approx(frechet_distance(a, b))


def test_the_frechet_distance_of_gaussians_with_axes_of_their_own() -> None:
    """tr (S_a S_b)^{1/2} is the sum of the roots of the product's eigenvalues."""
    A, B = torch.randn(2, 5, 5, dtype=torch.float64)
    a, b = (with_moments(60, torch.zeros(5).double(), factor) for factor in (A, B))
    roots = np.sqrt(np.linalg.eigvals((A @ A.T @ B @ B.T).numpy()).real).sum()
    assert frechet_distance(a, b) == pytest.approx(A.square().sum().item() + B.square().sum().item() - 2 * roots)


def test_the_frechet_distance_where_covariances_are_singular() -> None:
    a = torch.randn(6, 40)  # fewer examples than features
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a, a + 3) == pytest.approx(9 * 40, rel=1e-4)
    assert frechet_distance(torch.zeros(5, 3), torch.ones(4, 3)) == pytest.approx(3)
    assert frechet_distance(torch.randn(5000, 3), torch.randn(5000, 3)) < 0.01
    for b in (torch.zeros(6, 39), torch.zeros(1, 40)):
        with pytest.raises(UserError, match="give two or more of each"):
            frechet_distance(a, b)
