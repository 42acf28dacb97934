"""Grids, scatter plots and the files they are written to."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ganvas.errors import UserError
from ganvas.pictures import GAP, Examples, as_examples, grid, preview

IMAGES = torch.randint(0, 256, (6, 3, 8, 10), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.copy()


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_grid_shows_every_image_where_it_belongs(channels: int) -> None:
    images = torch.randint(0, 256, (5, channels, 8, 10), dtype=torch.uint8)
    picture = grid(images, columns=3)
    larger = picture.width // (3 * 10 + 2 * GAP)
    array = np.asarray(picture).reshape(picture.height, picture.width, -1)[::larger, ::larger]
    assert array.shape == (2 * 8 + GAP, 3 * 10 + 2 * GAP, channels)
    for i, image in enumerate(images):
        top, left = i // 3 * (8 + GAP), i % 3 * (10 + GAP)
        np.testing.assert_array_equal(array[top : top + 8, left : left + 10], image.movedim(0, -1).numpy())
    assert max(picture.size) > 300  # enlarged to be looked at


def test_values_are_mapped_from_the_span_and_clipped() -> None:
    x = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0])[:, None, None, None].expand(5, 1, 2, 2)
    assert as_examples(x, (-1.0, 1.0)).x[:, 0, 0, 0].tolist() == [0, 0, 128, 255, 255]
    assert as_examples(x, (0.0, 1.0)).x[:, 0, 0, 0].tolist() == [0, 0, 0, 255, 255]
    every = torch.arange(256, dtype=torch.uint8)[:, None, None, None]
    assert torch.equal(as_examples(every / 127.5 - 1, (-1.0, 1.0)).x, every)


def test_files(tmp_path: Path) -> None:
    examples = Examples(IMAGES)
    for name in ("grid.png", "grid.jpg", "grid.webp"):
        examples.save(tmp_path / name)
        assert opened(tmp_path / name).width > 100
    examples.save(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as archive:
        np.testing.assert_array_equal(archive["x"], IMAGES.movedim(1, -1).numpy())
    examples.save(tmp_path / "a.npy")
    assert np.load(tmp_path / "a.npy").shape == (6, 8, 10, 3)
    examples.save(tmp_path / "singles")
    assert [p.name for p in sorted((tmp_path / "singles").iterdir())] == [f"{i:05d}.png" for i in range(6)]
    np.testing.assert_array_equal(np.asarray(opened(tmp_path / "singles" / "00003.png")), IMAGES[3].movedim(0, -1))
    with pytest.raises(UserError, match=r"cannot write .*a.xyz: end its name in .png"):
        examples.save(tmp_path / "a.xyz")


def test_images_with_alpha_become_jpegs_too(tmp_path: Path) -> None:
    Examples(torch.randint(0, 256, (2, 4, 5, 5), dtype=torch.uint8)).save(tmp_path / "a.jpg")
    assert opened(tmp_path / "a.jpg").mode == "RGB"


def test_vectors_are_plotted(tmp_path: Path) -> None:
    angle = torch.linspace(0, 6.28, 200)
    circle = Examples(torch.stack([angle.cos(), angle.sin()], 1))
    picture = np.asarray(circle.picture().convert("L"))
    dark = np.argwhere(picture < 128)
    centre = np.array(picture.shape) / 2
    radius = np.linalg.norm(dark - centre, axis=1)
    assert len(dark) > 300
    assert radius.std() < 3  # the points lie on a circle
    circle.save(tmp_path / "v.npz")
    with np.load(tmp_path / "v.npz") as archive:
        assert archive["x"].shape == (200, 2)
    with pytest.raises(UserError, match="vectors are no pictures"):
        circle.save(tmp_path / "folder")
    assert Examples(torch.randn(5, 1)).picture().size == Examples(torch.randn(5, 7)).picture().size


def test_a_preview_has_a_row_a_kind() -> None:
    picture = preview(torch.zeros(2, 5, 1, 8, 8), (-1.0, 1.0))
    assert picture.width > 2 * picture.height
    points = preview(torch.randn(3, 50, 2), (-1.0, 1.0))
    assert points.width > 2.9 * points.height


def test_notebooks_get_a_png() -> None:
    assert Examples(IMAGES)._repr_png_().startswith(b"\x89PNG")
