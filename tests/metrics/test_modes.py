"""Modes of mixtures that samples come from."""

from math import exp, inf, log

import numpy as np
import pytest
import torch

from ganvas.errors import UserError
from ganvas.metrics import mode_coverage

CENTRES = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])


def test_equal_shares_have_no_divergence() -> None:
    assert mode_coverage(CENTRES.repeat(5, 1), CENTRES, 1.0) == (4, 1.0, 0.0)


def test_one_mode_alone_is_log_k_away() -> None:
    captured, high_quality, reverse_kl = mode_coverage(CENTRES[:1].repeat(7, 1), CENTRES, 1.0)
    assert (captured, high_quality) == (1, 1.0)
    assert reverse_kl == pytest.approx(log(4))


def test_only_samples_within_three_sigma_count() -> None:
    """2 of 3 samples of mode 0 and 1 of 2 of mode 1: shares 2/3 and 1/3 of those that count."""
    samples = torch.tensor([[0.0, 2.9], [0.0, -2.9], [3.1, 0.0], [10.0, 0.0], [10.0, 4.0]])
    captured, high_quality, reverse_kl = mode_coverage(samples, CENTRES, 1.0)
    assert (captured, high_quality) == (2, pytest.approx(3 / 5))
    assert reverse_kl == pytest.approx(2 / 3 * log(8 / 3) + 1 / 3 * log(4 / 3))
    assert mode_coverage(samples, CENTRES, 1.0, max_sigmas=5.0).high_quality == 1
    assert mode_coverage(samples, CENTRES, 2.0).high_quality == 1


def test_samples_far_from_every_mode_capture_none() -> None:
    assert mode_coverage(torch.full((3, 2), 5.0), CENTRES, 1.0) == (0, 0.0, inf)


def test_the_mixture_itself_is_at_the_floor() -> None:
    n = 20_000
    samples = CENTRES[torch.randint(4, (n,))] + 0.5 * torch.randn(n, 2)
    captured, high_quality, reverse_kl = mode_coverage(samples, CENTRES, 0.5)
    assert captured == 4
    assert high_quality == pytest.approx(1 - exp(-4.5), abs=0.004)
    assert 0 <= reverse_kl < 12 * 3 / (2 * n)


def test_it_agrees_with_numpy() -> None:
    samples, centres = torch.randn(400, 3) * 2, torch.randn(9, 3) * 2
    counts = np.zeros(9)
    for x in samples.numpy().astype(float):
        distances = np.linalg.norm(centres.numpy() - x, axis=1)
        counts[distances.argmin()] += distances.min() < 3 * 0.4
    p = counts / counts.sum()
    captured, high_quality, reverse_kl = mode_coverage(samples, centres, 0.4)
    assert captured == (counts > 0).sum()
    assert high_quality == pytest.approx(counts.sum() / 400)
    assert reverse_kl == pytest.approx(sum(q * log(9 * q) for q in p if q))


def test_samples_and_centres_must_be_alike() -> None:
    for samples in (torch.zeros(3, 3), torch.zeros(0, 2)):
        with pytest.raises(UserError, match="give some of each"):
            mode_coverage(samples, CENTRES, 1.0)
