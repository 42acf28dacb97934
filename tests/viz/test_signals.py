"""Pictures of signals and volumes."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ganvas.data import Scaling, from_array
from ganvas.errors import UserError
from ganvas.viz.images import SIGNAL_SIZE, Examples, grid, middle_slices, preview

RANDOM = np.random.default_rng(0)


def test_a_line_is_drawn_where_the_numbers_are() -> None:
    """In the frame of its signal, rows from the left, large numbers at the top."""
    levels, (h, w) = torch.tensor([0.1, 0.5, 0.9, 0.3, 0.7]), SIGNAL_SIZE
    x = levels[:, None, None].expand(5, 1, 9)
    picture = np.asarray(grid(x, columns=3).convert("RGB")).astype(int)
    assert picture.shape == (2 * 2 * h, 2 * 3 * w, 3)
    is_blue = picture[..., 2] - picture[..., 0] > 60
    for i, level in enumerate(levels.tolist()):
        top, left = i // 3 * 2 * h, i % 3 * 2 * w
        rows, columns = is_blue[top : top + 2 * h, left : left + 2 * w].nonzero()
        assert abs(rows.mean() / (2 * h) - (1 - level)) < 0.08
        assert columns.max() - columns.min() > 1.8 * w
    assert not is_blue[2 * h :, 4 * w :].any()


def test_what_is_no_number_is_not_drawn() -> None:
    """As in the preview of a translator between domains of other lengths."""
    x = torch.full((1, 1, 20), 0.5)
    x[..., 10:] = torch.nan
    picture = np.asarray(grid(x).convert("RGB")).astype(int)
    columns = (picture[..., 2] - picture[..., 0] > 60).any(0)
    assert columns[: len(columns) // 3].sum() > len(columns) // 4
    assert not columns[len(columns) // 2 + 4 :].any()


def test_pictures_of_volumes_are_their_middle_slices() -> None:
    x = torch.rand(3, 2, 4, 6, 5)
    slices = middle_slices(x)
    assert slices.shape == (3, 2, 6, 5 + 1 + 5 + 1 + 6)
    for left, part in ((0, x[:, :, 2]), (6, x[:, :, :, 3]), (12, x[..., 2])):
        assert torch.equal(slices[:, :, : part.shape[2], left : left + part.shape[3]], part)
    assert (slices[:, :, 4:, 5:] == 1).all()


@pytest.mark.parametrize(("kind", "shape"), [("signal", (7, 2, 12)), ("volume", (7, 1, 4, 6, 5))])
def test_examples_are_drawn_by_their_scale(kind: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    data = from_array(RANDOM.normal(1013, 9, shape), kind=kind)  # type: ignore[arg-type]
    scaling = Scaling.fit_dataset(data)
    examples = Examples(data.x, scaling=scaling, columns=4, title="t", row_labels=("a", "b"))
    assert repr(examples) == f"Examples(7 {kind}s of {'x'.join(map(str, shape[1:]))})"
    assert np.array_equal(np.asarray(Examples(data.x, scaling=scaling, columns=7).render()), np.asarray(
        preview(scaling(data.x)[None], scaling)
    ))  # fmt: skip
    examples.save(tmp_path / "x.png")
    examples.save(tmp_path / "x.npz")
    assert np.array_equal(np.load(tmp_path / "x.npz")["x"], data.x.numpy())
    with pytest.raises(UserError, match=rf"{kind}s are no pictures: write them to .*folder.npz instead"):
        examples.save(tmp_path / "folder")
