"""Whether mirror images are like other examples."""

import pytest
import torch

from ganvas.data import load
from ganvas.data.mirror import has_mirror_images, mirror_ratio


@pytest.mark.parametrize(("name", "expected"), [("emoji", True), ("emoji-flat", True), ("digits", False)])
def test_built_in_images(name: str, expected: bool) -> None:
    assert has_mirror_images(load(name).x) is expected


def test_a_set_with_all_its_mirror_images_has_them() -> None:
    x = load("digits").x[:200]
    both = torch.stack([x, x.flip(3)], 1).flatten(0, 1)
    assert mirror_ratio(x) > 1.3
    assert mirror_ratio(both) == 0  # each is the mirror image of another


def test_the_ratio_by_hand() -> None:
    # bars in columns 0, 0, 1 of 4: the nearest other is 0, 0, sqrt(2) bars away, mirrored (columns 3, 3, 2) sqrt(2)
    x = torch.zeros(3, 1, 1, 4, dtype=torch.uint8)
    for i, column in enumerate((0, 1, 1)):
        x[i, 0, 0, column] = 10 + i
    # distances to the nearest: x0 to x1 sqrt(100 + 121), x1 to x2 1, x2 to x1 1
    # mirrored, x0 at 3 to x1 sqrt(100 + 121), x1 at 2 to x0 sqrt(121 + 100), x2 at 2 to x0 sqrt(144 + 100)
    assert mirror_ratio(x) == pytest.approx((121 + 100) ** 0.5)


@pytest.mark.parametrize("x", [torch.zeros(1, 3, 8, 8), torch.full((5, 1, 4, 4), 7), torch.zeros(3, 4, 16, 16)])
def test_where_nothing_can_be_measured(x: torch.Tensor) -> None:
    assert has_mirror_images(x.byte()) is (len(x) > 1)
