"""Grids, scatter plots and the files they are written to."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ganvas.data import Scaling, load
from ganvas.errors import UserError
from ganvas.io.atomic import atomic_write
from ganvas.viz.images import (
    GAP,
    Examples,
    add_captions,
    enlargement_factor,
    grid,
    grid_columns,
    preview,
    save_pictures,
)
from ganvas.viz.plots import COLOURS, GREY, extent, palette

IMAGES = torch.randint(0, 256, (6, 3, 8, 10), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.copy()


@pytest.mark.parametrize("channels", [1, 3])
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


@pytest.mark.parametrize(
    ("columns", "rows", "side", "larger"),
    [(10, 3, 28, 3), (20, 20, 28, 2), (10, 3, 32, 2), (8, 8, 64, 1), (48, 1, 32, 1), (1, 1, 28, 18), (100, 100, 28, 1)],
)
def test_images_are_enlarged_to_be_seen_also_in_wide_grids(columns: int, rows: int, side: int, larger: int) -> None:
    longer = max(columns, rows) * (side + GAP) - GAP
    assert enlargement_factor(longer, side) == larger
    if columns * rows < 100:
        picture = grid(torch.zeros(columns * rows, 1, side, side, dtype=torch.uint8), columns)
        assert picture.size == ((columns * (side + GAP) - GAP) * larger, (rows * (side + GAP) - GAP) * larger)


@pytest.mark.parametrize(
    ("n", "columns", "empty"),
    [(1, 1, 0), (2, 2, 0), (3, 2, 1), (5, 3, 1), (7, 4, 1), (8, 4, 0), (10, 5, 0), (13, 5, 2), (16, 4, 0), (64, 8, 0)],
)
def test_a_grid_fits_the_number_of_images_and_what_is_empty_is_white(n: int, columns: int, empty: int) -> None:
    for channels in (1, 3):
        picture = np.asarray(grid(torch.zeros(n, channels, 16, 16, dtype=torch.uint8)).convert("L"))
        rows = -(-n // columns)
        middles = [picture.shape[0] * (2 * row + 1) // (2 * rows) for row in range(rows)]
        cells = [picture[y, picture.shape[1] * (2 * k + 1) // (2 * columns)] for y in middles for k in range(columns)]
        assert cells == [0] * n + [255] * empty


@pytest.mark.parametrize(
    ("height", "width", "n", "columns"), [(100, 10, 6, 6), (10, 100, 6, 1), (400, 3, 5, 5), (8, 11, 8, 2)]
)
def test_a_grid_of_long_images_is_about_square(height: int, width: int, n: int, columns: int) -> None:
    assert grid_columns(torch.zeros(n, 1, height, width)) == columns
    assert all(1 <= grid_columns(torch.zeros(k, 1, height, width)) <= k for k in range(1, 100))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_words_stand_around_a_grid_and_leave_it_as_it_is(channels: int) -> None:
    images = torch.full((6, channels, 8, 8), 255, dtype=torch.uint8)  # white: all ink is that of words
    bare = grid(images, 3)
    around = add_captions(bare, "a title", ("first", "second"), ("a", "b", "c"), 3)
    left, top = around.width - bare.width, around.height - bare.height
    ink = np.asarray(around.convert("L")) < 128
    assert left > 20
    assert top > 20
    assert not ink[top:, left:].any()
    assert ink[: top // 2].any()  # the title
    for i in range(2):  # a word beside each row, a letter above each column
        assert ink[top + i * bare.height // 2 : top + (i + 1) * bare.height // 2, :left].any()
    for i in range(3):
        assert ink[top // 2 : top, left + i * bare.width // 3 : left + (i + 1) * bare.width // 3].any()
    assert add_captions(bare) is bare


def test_long_heads_do_not_run_into_each_other() -> None:
    bare = Image.new("L", (200, 50), 255)
    ink = np.asarray(add_captions(bare, column_labels=tuple(["a long head"] * 10), columns=10)) < 128
    gaps = np.diff(np.flatnonzero(ink.any(0)))
    assert (gaps > 8).sum() == 2  # three of the ten have room


def test_values_are_mapped_from_the_span_and_clipped() -> None:
    x = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0])[:, None, None, None].expand(5, 1, 2, 2)
    assert Scaling((-1.0, 1.0)).inverse(x)[:, 0, 0, 0].tolist() == [0, 0, 128, 255, 255]
    assert Scaling((0.0, 1.0)).inverse(x)[:, 0, 0, 0].tolist() == [0, 0, 0, 255, 255]
    every = torch.arange(256, dtype=torch.uint8)[:, None, None, None]
    assert torch.equal(Scaling((-1.0, 1.0)).inverse(every / 127.5 - 1), every)


def test_examples_in_one_line() -> None:
    assert repr(Examples(IMAGES)) == "Examples(6 images of 3x8x10)"
    one = Examples(torch.zeros(1, 2), labels=torch.zeros(1), classes=("a", "b"))
    assert repr(one) == "Examples(1 vector of 2, 2 classes)"


def test_a_missing_folder_is_made_and_no_temporary_name_is_told(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "new" / "deep" / "a.txt") as temporary:
        temporary.write_text("text")
    assert (tmp_path / "new" / "deep" / "a.txt").read_text() == "text"
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot write .*a\.png: no folder .*file can be made \(.* exists\)"):
        Examples(IMAGES).save(tmp_path / "file" / "a.png")
    with pytest.raises(OSError, match="gone") as failed, atomic_write(tmp_path / "b.txt") as temporary:
        raise OSError(5, "gone", str(temporary))
    assert failed.value.filename == str(tmp_path / "b.txt")
    (tmp_path / "c.txt").mkdir()
    with (
        pytest.raises(UserError, match=r"cannot write .*c\.txt: is a directory"),
        atomic_write(tmp_path / "c.txt") as half,
    ):
        half.write_text("text")


def test_examples_are_written_to_files_of_each_kind(tmp_path: Path) -> None:
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


def test_files_say_which_class_an_example_is_of(tmp_path: Path) -> None:
    x, labels, names = torch.zeros(3, 1, 4, 4, dtype=torch.uint8), torch.tensor([1, 0, 1]), ("../up & down", "日本")
    made = Examples(x, labels=labels, classes=names)
    made.save(tmp_path / "a.npz")
    read = load(str(tmp_path / "a.npz"))
    assert read.labels is not None
    assert (read.labels.tolist(), read.classes) == ([1, 0, 1], names)
    made.save(tmp_path / "singles")
    assert sorted(p.name for p in (tmp_path / "singles").iterdir()) == [
        "00000-日本.png", "00001----up---down.png", "00002-日本.png"
    ]  # fmt: skip
    vectors = Examples(torch.zeros(3, 2), labels=labels, classes=names)
    vectors.save(tmp_path / "v.npz")
    assert load(str(tmp_path / "v.npz")).classes == names
    assert vectors.render().size == Examples(torch.zeros(3, 2)).render().size
    replace(made, classes=()).save(tmp_path / "none.npz")
    with np.load(tmp_path / "none.npz") as file:
        assert list(file) == ["x"]


@pytest.mark.parametrize(("height", "width", "side"), [(8, 10, 2), (32, 32, 4), (56, 68, 8), (64, 16, 8)])
def test_what_is_transparent_is_seen_on_a_checkerboard_of_its_cell(height: int, width: int, side: int) -> None:
    images = torch.full((4, 4, height, width), 255, dtype=torch.uint8)
    images[:, 3] = 0  # white that nobody sees
    images[1, 3] = 255
    images[2, :, 0, 0] = torch.tensor([255, 0, 0, 128])
    picture = grid(images, 2)
    assert picture.mode == "RGB"
    larger = picture.width // (2 * width + GAP)
    array = np.asarray(picture)[::larger, ::larger].astype(int)
    empty, white, red, other = (
        array[y : y + height, x : x + width] for y in (0, height + GAP) for x in (0, width + GAP)
    )
    rows, columns = np.indices((height, width)) // side
    np.testing.assert_array_equal(empty, np.where((rows + columns) % 2, 216, 240)[..., None].repeat(3, 2))
    np.testing.assert_array_equal(other, empty)
    assert (white == 255).all()
    assert (array[:, width : width + GAP] == 255).all(), "white between cells"
    assert np.abs(red[0, 0] - [247.5, 119.5, 119.5]).max() <= 1, "half red, half of the ground"
    np.testing.assert_array_equal(red.reshape(-1, 3)[1:], empty.reshape(-1, 3)[1:])


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "walk.webp", "walk.gif"])
def test_pictures_of_images_with_alpha_are_opaque_and_their_data_are_not(name: str, tmp_path: Path) -> None:
    """What hides under alpha 0 is in no picture; the arrays and single images keep it all."""
    x = torch.zeros(4, 4, 16, 16, dtype=torch.uint8)
    x[:, 0], x[:, :, 6:10, 6:10] = 255, 255  # white on red that nobody sees
    examples = Examples(x, 2, is_walk=name.startswith("walk"))
    examples.save(tmp_path / name)
    picture = opened(tmp_path / name)
    assert "A" not in picture.convert("RGBA" if "transparency" in picture.info else picture.mode).getbands()
    seen = np.asarray(picture.convert("RGB")).astype(int)
    assert seen.min() > 200, "no red"
    assert np.ptp(seen, 2).max() < 8, "nothing but greys"
    for data in ("a.npz", "a.npy", "singles"):
        examples.save(tmp_path / data)
        assert torch.equal(load(str(tmp_path / data)).x, x)


def test_two_sources_of_which_one_has_alpha_stand_side_by_side(tmp_path: Path) -> None:
    clear, grey = torch.zeros(4, 4, 16, 16, dtype=torch.uint8), torch.zeros(4, 1, 16, 16, dtype=torch.uint8)
    save_pictures([Examples(clear), Examples(grey)], tmp_path / "pair.png")
    left, right = np.split(np.asarray(opened(tmp_path / "pair.png")), 2, 1)
    assert set(np.unique(left)) == {216, 240, 255}
    assert set(np.unique(right)) == {0, 255}


def test_pages_and_notebooks_show_the_checkerboard_too(tmp_path: Path) -> None:
    examples = Examples(torch.zeros(4, 4, 16, 16, dtype=torch.uint8))
    with Image.open(BytesIO(examples._repr_png_())) as image:
        assert (image.mode, image.getpixel((0, 0))) == ("RGB", (240, 240, 240))
    rows = preview(torch.full((2, 3, 4, 16, 16), -1.0), Scaling(premultiplied=True))
    assert (rows.mode, rows.getpixel((0, 0))) == ("RGB", (240, 240, 240))


def test_vectors_are_plotted(tmp_path: Path) -> None:
    angle = torch.linspace(0, 6.28, 200)
    circle = Examples(torch.stack([angle.cos(), angle.sin()], 1))
    dots = ink_of(circle.render(), COLOURS[0])
    radius = np.linalg.norm(dots - (dots.min(0) + dots.max(0)) / 2, axis=1)
    assert len(dots) > 300
    assert radius.std() < 3  # the points lie on a circle
    circle.save(tmp_path / "v.npz")
    with np.load(tmp_path / "v.npz") as archive:
        assert archive["x"].shape == (200, 2)
    with pytest.raises(UserError, match="vectors are no pictures"):
        circle.save(tmp_path / "folder")
    assert Examples(torch.randn(5, 1)).render().size == Examples(torch.randn(5, 7)).render().size


def test_axes_show_all_points_and_survive_what_is_not_finite() -> None:
    points = torch.tensor([[0.0, 0.0], [4.0, 1.0], [float("nan"), 9.0]])
    centre, half = extent(points)
    assert centre == (2.0, 0.5)
    assert half > 2
    assert extent(torch.full((3, 2), float("nan"))) == ((0.0, 0.0), 1.0)
    for x in (points, points * float("inf"), points * 1e37, points * 0 + 1e9, torch.zeros(0, 2)):
        plotted = np.asarray(Examples(x).render().convert("L"))
        assert (plotted[-25:] < 200).any()  # numbers at the ticks
        assert (plotted[:, :40] < 200).any()


def test_a_circle_is_drawn_as_one_wherever_its_points_lie() -> None:
    angle = torch.linspace(0, 6.28, 60)
    circle = torch.stack([angle.cos(), angle.sin()], 1) * 0.3 + torch.tensor([5.0, -2.0])
    far = torch.tensor([[8.0, -2.0]])  # what is drawn is wide and low
    for picture in (Examples(torch.cat([circle, far])), Examples(circle, 60, background=far)):
        dots = ink_of(picture.render(), COLOURS[0])
        dots = dots[dots[:, 1] < 200]
        height, width = np.ptp(dots, 0)
        assert abs(height - width) <= 4


def ink_of(picture: Image.Image, colour: str) -> np.ndarray:
    """Where a picture has a colour, rows and columns of pixels."""
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return np.argwhere((np.abs(np.asarray(picture).astype(int) - wanted) < 12).all(2))


def test_each_walk_is_a_line_of_its_own_colour() -> None:
    t = torch.linspace(-1, 1, 9)
    rows = [torch.stack([t, torch.full((9,), height)], 1) for height in (-1.0, 1.0)]
    behind = torch.zeros(50, 2)
    picture = Examples(torch.cat(rows), 9, background=behind).render()
    low, high = (ink_of(picture, colour) for colour in COLOURS[:2])
    middle = ink_of(picture, GREY).mean(0)
    assert low[:, 0].min() > middle[0] > high[:, 0].max()  # the first is below
    assert np.ptp(low[:, 1]) > picture.width / 2
    many = palette(30)
    assert (many[0], many[-1], len(set(many))) == ("#440154", "#fde725", 30)


def test_classes_have_colours_of_their_own() -> None:
    x = torch.randn(200, 2) * 0.1 + torch.tensor([-1.0, 0.0])
    x[100:, 0] += 2
    labels = torch.arange(200) // 100
    picture = Examples(x, labels=labels, row_labels=("left", "right")).render()
    for colour, on_the_left in zip(COLOURS, (True, False), strict=False):
        across = ink_of(picture, colour)[:, 1]
        assert (np.median(across) < 240) == on_the_left


def test_a_preview_has_a_row_a_kind() -> None:
    picture = preview(torch.zeros(2, 5, 1, 8, 8), Scaling())
    assert picture.width > 2 * picture.height
    points = preview(torch.randn(3, 50, 2), Scaling())
    assert points.width > 2.5 * points.height


def test_notebooks_get_a_png() -> None:
    assert Examples(IMAGES)._repr_png_().startswith(b"\x89PNG")
