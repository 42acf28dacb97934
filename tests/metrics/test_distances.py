"""Distances between sets of examples."""

import subprocess
import sys
from importlib.util import find_spec
from math import isfinite, pi
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ganvas.errors import UserError
from ganvas.metrics import energy_distance, frechet_distance, kernel_distance, sliced_wasserstein
from ganvas.metrics.distances import correlation_difference, marginal_distances, wasserstein
from ganvas.metrics.fid import PREFIX_SHARES, moments, prefix_moments
from ganvas.metrics.kid import mmd, polynomial_kernel
from tests.support.scores import all_entries

with_pot = pytest.mark.skipif(find_spec("ot") is None, reason="POT is not installed")


def test_a_shift_has_the_distance_of_its_mean_projection() -> None:
    """W1 of a set and its copy shifted by v is |<theta, v>|; its mean over the circle is 2 |v| / pi."""
    a = torch.randn(500, 2)
    assert sliced_wasserstein(a, a + torch.tensor([3.0, 4.0]), n_directions=20_000) == pytest.approx(10 / pi, rel=0.01)


def test_in_one_dimension_it_is_the_area_between_the_distributions() -> None:
    a, b = torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([[8.0], [5.0], [6.0]])
    assert sliced_wasserstein(a, b) == pytest.approx(5.0)


def test_it_agrees_with_numpy() -> None:
    a, b = torch.randn(64, 3, 2, 2), torch.randn(64, 3, 2, 2) * 2
    direction = torch.randn(12, 1000, generator=torch.Generator().manual_seed(1)).numpy()
    direction /= np.linalg.norm(direction, axis=0)
    x, y = (np.sort(t.flatten(1).numpy() @ direction, axis=0) for t in (a, b))
    assert sliced_wasserstein(a, b) == pytest.approx(np.abs(x - y).mean(), rel=0.02)


def test_bytes_are_as_far_apart_as_the_same_numbers_and_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = torch.randint(0, 256, (2, 50, 3, 4, 4), dtype=torch.uint8)
    whole = sliced_wasserstein(x.float() / 255, y.float() / 255, n_directions=30)
    monkeypatch.setattr("ganvas.metrics.distances.ROWS_PER_CHUNK", 7)
    monkeypatch.setattr("ganvas.metrics.distances.DIRECTIONS_PER_CHUNK", 4)
    assert sliced_wasserstein(x, y, n_directions=30) / 255 == pytest.approx(whole, rel=1e-5)


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
    for b, said in ((torch.zeros(6, 39), "of 40 and of 39 numbers have no"), (torch.zeros(1, 40), "has 6 and 1: give")):
        with pytest.raises(UserError, match=said):
            frechet_distance(a, b)


def test_moments_of_blocks_are_those_of_the_whole() -> None:
    x = torch.randn(1000, 6, generator=torch.Generator().manual_seed(0)).double() * torch.arange(1, 7) + 1e4
    whole = np.cov(x.numpy().T)
    for size in (1, 7, 300, 1000):
        found = moments(x.split(size))
        assert found.n == 1000
        torch.testing.assert_close(found.mean, x.mean(0))
        np.testing.assert_allclose(found.covariance.numpy(), whole, rtol=1e-9, atol=1e-9)


def test_the_frechet_distance_of_infinitely_many_has_no_bias() -> None:
    """Two samples of one Gaussian are apart the more, the fewer they are; infinitely many are not."""
    random = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 6000, 30, generator=random)
    finite, infinite = frechet_distance(a, b), all_entries(a, b, "fid")["fid_infinity"].value
    assert finite > 0.07
    assert abs(infinite) < finite / 4
    assert all_entries(a, b + 1, "fid")["fid_infinity"].value == pytest.approx(30, rel=0.02)


def test_the_distance_of_infinitely_many_is_a_line_through_those_of_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Moments of the first half and more are merged, and eigenvectors of the real examples shared: numbers stay."""
    random = torch.Generator().manual_seed(0)
    a, b, c = torch.randn(3, 333, 12, generator=random) * torch.arange(1, 13) + 5
    sizes = [round(333 * share) for share in PREFIX_SHARES]
    for rows in (7, 2000):
        monkeypatch.setattr("ganvas.metrics.fid.ROWS_PER_CHUNK", rows)
        for n, found in zip(sizes, prefix_moments(a), strict=True):
            assert found.n == n
            np.testing.assert_allclose(found.covariance.numpy(), np.cov(a[:n].double().numpy().T), rtol=1e-9)
        for x in (b, c):
            entries = all_entries(a, x, "fid")
            assert entries["fid"].value == pytest.approx(frechet_distance(a, x), rel=1e-9)
            distances = [frechet_distance(a[:n], x[:n]) for n in sizes]
            line = np.polynomial.Polynomial.fit(1 / np.array(sizes), distances, 1)
            assert entries["fid_infinity"].value == pytest.approx(line(0), rel=1e-6)
    with pytest.raises(UserError, match="fid needs at least 2 examples of each, and has 1 and 1: give more"):
        all_entries(a[:1], a[:1], "fid")


def test_nothing_is_extrapolated_from_fewer_than_twice_as_many_examples_as_features() -> None:
    x = torch.randn(2, 81, 20, generator=torch.Generator().manual_seed(0))
    for n in (81, 80):
        assert isfinite(all_entries(*x[:, :n], "fid")["fid_infinity"].value)
    few = all_entries(*x[:, :79], "fid")
    assert few["fid"].value == pytest.approx(frechet_distance(*x[:, :79]))
    assert "twice as many as features: 80 examples at least, and here are 79" in few["fid_infinity"]


def test_the_kernel_distance_is_that_of_loops() -> None:
    random = np.random.default_rng(0)
    x, y = random.normal(size=(20, 3)), random.normal(size=(20, 3)) + 1

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b / 3 + 1) ** 3)

    for i, found in enumerate(kernel_distance(torch.tensor(x), torch.tensor(y))):
        a, b = x[2 * i : 2 * i + 2], y[2 * i : 2 * i + 2]
        expected = (k(a[0], a[1]) * 2 + k(b[0], b[1]) * 2) / 2 - 2 * np.mean([k(p, q) for p in a for q in b])
        assert found.item() == pytest.approx(expected)


def test_a_kernel_distance_of_too_few_is_refused_in_words() -> None:
    few = torch.randn(6, 1280)
    with pytest.raises(UserError, match="kid needs at least 20 examples of each to be compared, and has 6$"):
        kernel_distance(few, few)
    with pytest.raises(UserError, match="has 9$"):
        all_entries(torch.randn(9, 3), torch.randn(9, 3), "kid")


def test_the_kernel_distance_has_no_bias() -> None:
    """Its mean over repeats is 0 for equal distributions, within two standard errors, and positive for others."""
    random = torch.Generator().manual_seed(0)
    values = torch.cat([kernel_distance(*torch.randn(2, 1000, 8, generator=random)) for _ in range(40)])
    error = values.std() / len(values) ** 0.5
    assert abs(values.mean()) < 2 * error
    assert (values < 0).any()  # which no estimate with bias would have
    a, b = torch.randn(2, 1000, 8, generator=random)
    far = kernel_distance(a, b * 1.2)
    assert far.mean() > 3 * far.std() / len(far) ** 0.5


def test_distances_of_features_are_those_of_torchmetrics() -> None:
    fid = pytest.importorskip("torchmetrics.image.fid", reason="an oracle that is not installed")
    kid = pytest.importorskip("torchmetrics.image.kid")

    class Own(nn.Module):
        num_features = 12

        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1).double() / 255

    random = torch.Generator().manual_seed(0)
    real = torch.randint(0, 256, (1000, 3, 2, 2), generator=random, dtype=torch.uint8)
    made = torch.randint(0, 200, (1000, 3, 2, 2), generator=random, dtype=torch.uint8)
    a, b = (Own()(x) for x in (real, made))
    oracle = fid.FrechetInceptionDistance(feature=Own(), input_img_size=(3, 2, 2)).set_dtype(torch.float64)
    oracle.update(real, real=True)
    oracle.update(made, real=False)
    assert frechet_distance(a, b) == pytest.approx(oracle.compute().item(), rel=1e-3)
    with pytest.warns(UserWarning, match="large memory"):
        oracle = kid.KernelInceptionDistance(feature=Own(), subsets=1, subset_size=1000)
    oracle.update(real, real=True)
    oracle.update(made, real=False)
    assert mmd(a, b, polynomial_kernel).value == pytest.approx(oracle.compute()[0].item(), rel=1e-3)


def test_the_energy_distance_is_that_of_loops() -> None:
    random = np.random.default_rng(0)
    x, y = random.normal(size=(30, 2)), random.normal(size=(25, 2)) + 1

    def mean(a: np.ndarray, b: np.ndarray, pairs: int) -> float:
        return float(np.sqrt(((a[:, None] - b[None]) ** 2).sum(2)).sum() / pairs)

    squared = 2 * mean(x, y, 750) - mean(x, x, 870) - mean(y, y, 600)
    assert energy_distance(torch.tensor(x), torch.tensor(y)) == pytest.approx(squared**0.5, rel=1e-6)
    assert energy_distance(torch.tensor(x), torch.tensor(x[::-1].copy())) == 0


@with_pot
def test_the_wasserstein_distance_is_the_cost_of_the_best_assignment() -> None:
    optimize = pytest.importorskip("scipy.optimize")
    random = np.random.default_rng(0)
    x, y = random.normal(size=(80, 2)), random.normal(size=(80, 2)) + 1
    cost = np.sqrt(((x[:, None] - y[None]) ** 2).sum(2))
    expected = cost[optimize.linear_sum_assignment(cost)].mean()
    assert wasserstein(torch.tensor(x), torch.tensor(y)) == pytest.approx(expected, rel=1e-6)


def test_marginals_and_correlations_are_those_of_numpy() -> None:
    """Columns of other scales, with ties; the Kolmogorov distance by counting at every value."""
    a, b = torch.randn(80, 3) * torch.tensor([1.0, 10, 0.1]), (torch.randn(80, 3) + 0.5).round(decimals=1)
    areas, steps = marginal_distances(a, b)
    x, y = a.double().numpy(), b.double().numpy()
    for i in range(3):
        p, q = x[:, i], y[:, i]
        assert areas[i].item() == pytest.approx(np.abs(np.sort(p) - np.sort(q)).mean())
        expected = max(abs((p <= t).mean() - (q <= t).mean()) for t in np.concatenate([p, q]))
        assert steps[i].item() == pytest.approx(expected)
    expected = np.abs(np.corrcoef(x.T) - np.corrcoef(y.T)).max()
    assert correlation_difference(a, b) == pytest.approx(expected)
    constant = torch.cat([a, torch.ones(80, 1)], 1)
    assert correlation_difference(constant, torch.cat([b, torch.zeros(80, 1)], 1)) == pytest.approx(expected)
    assert marginal_distances(a, a)[1].max() == 0


@with_pot
def test_what_the_compiler_says_of_pot_is_not_shown(tmp_path: Path) -> None:
    """POT has invalid escapes in docstrings, of which Python warns where no compiled files are there yet."""
    code = f"""
import sys, warnings, scipy.optimize, torch
from ganvas.metrics.distances import wasserstein
sys.pycache_prefix = {str(tmp_path)!r}
warnings.simplefilter("error")
print(wasserstein(torch.zeros(2, 1), torch.ones(2, 1)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "1.0", done.stderr
