"""What networks for vectors begin with: Fourier features."""

import numpy as np
import pytest
import torch

from ganvas.nn.device import autocast
from ganvas.nn.mlp import FourierFeatures


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_fourier_features_are_sines_and_cosines_of_projections(precision: str) -> None:
    layer, x = FourierFeatures(2, 4, 3.0), 3 * torch.randn(7, 2)
    with autocast(precision, torch.device("cpu")):
        features = layer(x).numpy()
    phase = x.numpy().astype(np.float64) @ layer.frequencies.numpy().astype(np.float64)
    np.testing.assert_allclose(features, np.concatenate([x, np.sin(phase), np.cos(phase)], 1), atol=1e-5)


def test_frequencies_have_the_deviation_that_is_asked_for() -> None:
    assert FourierFeatures(10, 1000, 3.0).frequencies.std().item() == pytest.approx(3.0, rel=0.05)
