"""Spaces in which examples are compared."""

import pytest
import torch

from ganvas.data import load
from ganvas.errors import UserError
from ganvas.features import NAMES, features_for
from ganvas.metrics import kernel_distance

IMAGES = torch.randint(0, 256, (7, 3, 12, 10), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_random_features_are_the_same_for_everyone() -> None:
    space = features_for("random-conv-v1", (3, 12, 10))
    assert space.tag == "random-conv-v1@3402d9c5"
    assert space(IMAGES).shape == (7, space.size) == (7, 448)
    torch.testing.assert_close(space(IMAGES), features_for("random-conv-v1", (3, 12, 10))(IMAGES))
    assert features_for("random-conv-v1", (1, 12, 10)).digest != space.digest


def test_features_do_not_depend_on_the_size_of_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    space = features_for("auto", (3, 12, 10))
    whole = space(IMAGES)
    monkeypatch.setattr("ganvas.features.BLOCK", 2)
    torch.testing.assert_close(space(IMAGES), whole, rtol=1e-5, atol=1e-5)


def test_making_features_leaves_the_callers_random_numbers_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    features_for("random-conv-v1", (3, 8, 8))
    assert torch.equal(torch.rand(1), expected)


def test_pixels_and_values_are_what_they_say() -> None:
    torch.testing.assert_close(features_for("pixels", (3, 12, 10))(IMAGES), IMAGES.flatten(1) / 255)
    x = torch.randn(5, 4)
    assert features_for("auto", (4,)).tag == "values"
    assert torch.equal(features_for("auto", (4,))(x), x)


def test_blur_and_noise_are_far_in_random_features() -> None:
    """The further, the more of it."""
    x = load("emoji").some(2000, "mixed").x
    space, half = features_for("random-conv-v1", tuple(x.shape[1:])), len(x) // 2
    a, b = space(x[:half]), x[half : 2 * half]
    noise = torch.randn(b.shape, generator=torch.Generator().manual_seed(0))
    far = [kernel_distance(a, space((b + size * noise).clamp(0, 255).byte())).mean() for size in (0, 20, 60, 120)]
    assert far == sorted(far)
    blurred = [torch.nn.functional.avg_pool2d(b.float(), k, 1, k // 2).byte() for k in (1, 3, 7)]
    far = [kernel_distance(a, space(y)).mean() for y in blurred]
    assert far == sorted(far)


@pytest.mark.parametrize(
    ("name", "shape", "sentence"),
    [
        ("random", (3, 8, 8), r'there are no features .random.\. Did you mean "random-conv-v1"\?'),
        ("values", (3, 8, 8), "features=values do not go with images: use random-conv-v1 or pixels"),
        ("pixels", (3,), "features=pixels do not go with vectors: use values"),
        ("pixels", (3, 128, 128), "images of 49152 numbers are too large to compare so: use random-conv-v1"),
    ],
)
def test_features_that_do_not_fit_are_refused(name: str, shape: tuple[int, ...], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        features_for(name, shape)
    assert name == "random" or name in NAMES
