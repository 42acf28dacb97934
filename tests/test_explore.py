"""Interpolation."""

import pytest
import torch

import ganvas
from ganvas.data import Collection
from ganvas.errors import UserError
from ganvas.explore import interpolate, lerp, slerp
from tests.test_models import MODELS, small


def test_lines_and_arcs_have_the_right_ends_and_lengths() -> None:
    a, b = torch.randn(3, 50), torch.randn(3, 50)
    for walk in (lerp(a, b, 7), slerp(a, b, 7)):
        torch.testing.assert_close(walk[:, 0], a, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(walk[:, -1], b, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(lerp(a, b, 3)[:, 1], (a + b) / 2)
    unit = slerp(a / a.norm(dim=1, keepdim=True), b / b.norm(dim=1, keepdim=True), 9)
    torch.testing.assert_close(unit.norm(dim=2), torch.ones(3, 9), rtol=1e-4, atol=1e-4)


def test_arcs_between_equal_and_opposite_ends_are_finite() -> None:
    a = torch.randn(1, 5)
    assert slerp(a, a, 4).isfinite().all()
    assert slerp(a, -a, 4).isfinite().all()


def test_walks_between_noise_and_between_examples(images: Collection) -> None:
    vae = ganvas.train(small(MODELS["vae"]), images, steps=2, batch=8, quiet=True)
    walk = interpolate(vae, 3, 5)
    assert walk.x.shape == (15, 3, 12, 10)
    assert walk.columns == 5
    between = interpolate(vae, 2, 4, data=images)
    assert between.x.shape == (8, 3, 12, 10)
    with pytest.raises(UserError, match="40 examples, but 30 rows need 60"):
        interpolate(vae, 30, 4, data=images)
    with pytest.raises(UserError, match="columns=1"):
        interpolate(vae, 3, 1)
    with pytest.raises(UserError, match="rows=0"):
        interpolate(vae, 0, 3)
    gan = ganvas.train(small(MODELS["gan"]), images, steps=2, batch=8, quiet=True)
    assert interpolate(gan, 2, 3).x.shape == (6, 3, 12, 10)
    with pytest.raises(UserError, match="gan has no encoder"):
        interpolate(gan, 2, 3, data=images)
