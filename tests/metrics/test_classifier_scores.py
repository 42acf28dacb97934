"""What classifiers say of samples, and how alike images are at several scales."""

import numpy as np
import pytest
import torch

from ganvas.metrics.classes import classifier_score, label_accuracy
from ganvas.metrics.similarity import SCALE_WEIGHTS, ms_ssim, n_scales, ssim


def test_the_score_of_sure_and_varied_verdicts_is_the_number_of_classes() -> None:
    sure = torch.eye(5).repeat(40, 1) * 80
    assert classifier_score(sure).tolist() == pytest.approx([5] * 10)
    assert classifier_score(sure[:1].repeat(200, 1)).tolist() == pytest.approx([1] * 10)
    assert classifier_score(torch.zeros(200, 5)).tolist() == pytest.approx([1] * 10)


def test_the_score_is_that_of_numpy() -> None:
    logits = np.random.default_rng(0).normal(size=(60, 4)) * 2
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    parts = p.reshape(3, 20, 4)
    expected = [np.exp((q * (np.log(q) - np.log(q.mean(0)))).sum(1).mean()) for q in parts]
    assert classifier_score(torch.tensor(logits), 3).tolist() == pytest.approx(expected)


def test_agreement_is_a_share() -> None:
    assert label_accuracy(torch.tensor([[1.0, 0], [0, 1], [0, 1], [0, 1]]), torch.tensor([0, 1, 0, 1])) == 0.75


def test_small_images_have_fewer_scales() -> None:
    assert [n_scales((1, side, 256)) for side in (8, 11, 21, 22, 28, 44, 88, 176, 512)] == [1, 1, 1, 2, 2, 3, 4, 5, 5]
    assert sum(SCALE_WEIGHTS) == pytest.approx(1, abs=2e-4)


def test_ms_ssim_of_one_scale_is_ssim_and_of_equal_images_1() -> None:
    random = torch.Generator().manual_seed(0)
    x = torch.rand(4, 3, 16, 20, generator=random)
    y = (x + torch.rand(4, 3, 16, 20, generator=random) / 5).clamp(0, 1)
    torch.testing.assert_close(ms_ssim(x, y), ssim(x, y))
    large = torch.rand(2, 1, 64, 64, generator=random)
    torch.testing.assert_close(ms_ssim(large, large), torch.ones(2))


def test_ms_ssim_is_that_of_torchmetrics() -> None:
    """Which pads images where ours looks at whole windows only, so the two differ at the border."""
    oracle = pytest.importorskip("torchmetrics.functional.image", reason="an oracle that is not installed")
    random = torch.Generator().manual_seed(0)
    x = torch.rand(3, 1, 200, 200, generator=random)
    y = (x + torch.randn(3, 1, 200, 200, generator=random) / 8).clamp(0, 1)
    expected = oracle.multiscale_structural_similarity_index_measure(
        x, y, data_range=1.0, sigma=1.5, kernel_size=11, reduction="none", betas=SCALE_WEIGHTS
    )
    torch.testing.assert_close(ms_ssim(x, y), expected, rtol=2e-2, atol=1e-3)
