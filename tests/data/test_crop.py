"""--crop and --background: how images get one size, and what is behind their alpha."""

import json
import tarfile
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image
from PIL.JpegImagePlugin import JpegImageFile

import ganvas
from ganvas.cli.app import main
from ganvas.data import DataOptions, Dataset, MixedSizesError, from_array, load, load_or_stream
from ganvas.errors import UserError
from ganvas.evaluation.anomalies import score_examples
from ganvas.inference.loading import load_domain

Options = dict[str, Any]
SIZES = [(40, 30), (16, 16), (17, 64), (32, 33), (9, 20)]  # height and width


def pixels(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def images_of(sizes: list[tuple[int, int]], channels: int = 3) -> list[np.ndarray]:
    return [pixels(*size, channels, seed=i) for i, size in enumerate(sizes)]


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A folder of images of several sizes."""
    return write(tmp_path / "mixed", images_of(SIZES))


def write(folder: Path, images: list[np.ndarray]) -> Path:
    folder.mkdir()
    for i, x in enumerate(images):
        Image.fromarray(x.squeeze()).save(folder / f"{i}.png")
    return folder


def channels_last(data: Dataset) -> np.ndarray:
    return data.x.movedim(1, -1).numpy()


def padded(x: np.ndarray, size: int) -> np.ndarray:
    """What pad makes of an image that needs no resizing."""
    h, w, _ = x.shape
    edge = np.concatenate([x[0], x[-1], x[1:-1, 0], x[1:-1, -1]]).astype(float)
    out = np.empty((size, size, x.shape[2]), x.dtype)
    out[:] = np.round(edge.mean(0))
    top, left = (size - h) // 2, (size - w) // 2
    out[top : top + h, left : left + w] = x
    return out


def tiled(x: np.ndarray, h: int, w: int) -> list[np.ndarray]:
    return [x[i : i + h, j : j + w] for i in range(0, x.shape[0] - h + 1, h) for j in range(0, x.shape[1] - w + 1, w)]


def is_part(part: np.ndarray, whole: np.ndarray) -> bool:
    windows = np.lib.stride_tricks.sliding_window_view(whole, part.shape[:2], (0, 1))
    return bool((windows == part.transpose(2, 0, 1)).all((2, 3, 4)).any())


def test_pad_keeps_the_whole_image_in_the_mean_colour_of_its_edge(tmp_path: Path) -> None:
    images = images_of([(20, 11), (7, 20), (20, 20)])
    data = load(write(tmp_path / "x", images), DataOptions(size="20", crop="pad"))
    np.testing.assert_array_equal(channels_last(data), np.stack([padded(x, 20) for x in images]))


def test_pad_resizes_to_fit_as_pillow_does(tmp_path: Path) -> None:
    x = pixels(60, 30, 3)
    part = channels_last(load(write(tmp_path / "x", [x]), DataOptions(size="20", crop="pad")))[0]
    resized = np.asarray(Image.fromarray(x).resize((10, 20), Image.Resampling.BICUBIC)).astype(int)
    assert np.abs(part[:, 5:15].astype(int) - resized).max() <= 1
    assert (part[:, :5] == part[0, 0]).all()
    assert (part[:, 15:] == part[0, 0]).all()


def test_pad_is_transparent_around_images_with_alpha_and_keeps_numbers_of_deep_ones(tmp_path: Path) -> None:
    data = load(write(tmp_path / "x", [pixels(8, 4, 4)]), DataOptions(size="8", crop="pad"))
    np.testing.assert_array_equal(channels_last(data)[0][:, 2:6], pixels(8, 4, 4))
    assert not data.x[:, :, :, :2].any()
    assert not data.x[:, :, :, 6:].any()
    deep = np.linspace(-2e3, 7e4, 3 * 4 * 8).reshape(3, 8, 4)
    x = load(deep, DataOptions(size="8", crop="pad")).x
    np.testing.assert_allclose(x[0, 0, :, 2:6], deep[0], rtol=1e-6)
    edge = np.concatenate([deep[0, 0], deep[0, -1], deep[0, 1:-1, 0], deep[0, 1:-1, -1]])
    np.testing.assert_allclose(x[0, 0, :, 0], edge.mean(), rtol=1e-6)


def test_tiles_are_cut_without_resizing_and_what_is_left_out_is_counted(mixed: Path) -> None:
    data = load(mixed, DataOptions(size="8x16", crop="tiles", holdout=0))
    expected = [tile for x in images_of(SIZES) for tile in tiled(x, 8, 16)]
    np.testing.assert_array_equal(channels_last(data), np.stack(expected))
    total, rest = sum(h * w for h, w in SIZES), sum(h * w for h, w in SIZES) - len(expected) * 128
    remainder = f"the remainder at the right and bottom of 4 images, {100 * rest / total:.2g}% of all pixels, left out"
    assert data.notes == (f"5 images cut into {len(expected)} tiles of 8 x 16 pixels; {remainder}",)
    assert data.files[:6] == (*(f"0.png (tile {i})" for i in range(1, 6)), "1.png (tile 1)")
    with_small = load(mixed, DataOptions(size="16", crop="tiles"))
    assert (
        "1 file skipped (4.png: 9 x 20 pixels (height x width) are too few for a tile of 16 x 16)" in with_small.notes
    )
    with pytest.raises(UserError, match="none of its 5 images can be read; the first, 0.png: 40 x 30 pixels"):
        load(mixed, DataOptions(size="65", crop="tiles"))


def test_tiles_have_the_label_of_their_image_and_more_than_one_kind_of_channels(tmp_path: Path) -> None:
    for kind, x in (("a", pixels(8, 8)), ("b", pixels(24, 16, 3))):
        (tmp_path / "x").mkdir(exist_ok=True)
        write(tmp_path / "x" / kind, [x])
    data = load(tmp_path / "x", DataOptions(size="8", crop="tiles"))
    assert data.labels is not None
    assert data.labels.tolist() == [0] + [1] * 6
    np.testing.assert_array_equal(channels_last(data)[0], pixels(8, 8)[..., None].repeat(3, -1))
    np.testing.assert_array_equal(channels_last(data)[1:], np.stack(tiled(pixels(24, 16, 3), 8, 8)))


def test_one_large_image_is_enough_for_tiles(tmp_path: Path) -> None:
    Image.fromarray(large := pixels(130, 100, 3)).save(tmp_path / "large.png")
    data = load(tmp_path / "large.png", DataOptions(size="10", crop="tiles"))
    np.testing.assert_array_equal(channels_last(data), np.stack(tiled(large, 10, 10)))
    assert data.notes[0] == "1 image cut into 130 tiles of 10 x 10 pixels"
    assert not any("a single image" in note for note in data.notes)
    deep = (large[:, :, 0].astype(np.uint16) * 257 + 1) // 2
    Image.fromarray(deep).save(tmp_path / "deep.png")
    found = load(tmp_path / "deep.png", DataOptions(size="10", crop="tiles"))
    np.testing.assert_array_equal(channels_last(found), np.stack(tiled(deep[..., None], 10, 10)))


def test_a_random_part_is_not_resized_and_always_the_same(mixed: Path) -> None:
    options = DataOptions(size="16", crop="random")
    parts = channels_last(load(mixed, options))
    assert all(is_part(part, x) for part, x in zip(parts[:4], images_of(SIZES), strict=False))
    np.testing.assert_array_equal(parts, channels_last(load(mixed, options)))
    (mixed / "0.png").rename(mixed / "9.png")  # neither names nor the other images matter
    np.testing.assert_array_equal(parts[[1, 2, 3, 4, 0]], channels_last(load(mixed, options)))
    many = channels_last(load(from_array(np.stack([pixels(4, 64, 1, seed=i) for i in range(50)])), DataOptions(
        size="4", crop="random"
    )))  # fmt: skip
    places = {int((pixels(4, 64, 1, seed=i) == part[:, :1]).all((0, 2)).argmax()) for i, part in enumerate(many)}
    assert len(places) > 20


@pytest.mark.parametrize("crop", ["center", "pad", "random", "tiles"])
def test_all_sources_are_cropped_alike(crop: str, tmp_path: Path) -> None:
    options = DataOptions(size="8x6", crop=crop, holdout=0)
    images = images_of([(20, 14)] * 3)
    expected = load(write(tmp_path / "x", images), options).x
    with ZipFile(tmp_path / "x.zip", "w") as archive:
        for i in range(3):
            archive.write(tmp_path / "x" / f"{i}.png", f"{i}.png")
    np.save(tmp_path / "x.npy", np.stack(images))
    labelled = [(x, i) for i, x in enumerate([*images, pixels(16, 9, 3, seed=9)])]
    for source in (tmp_path / "x.zip", tmp_path / "x.npy", np.stack(images), images, from_array(np.stack(images))):
        assert torch.equal(load(source, options).x, expected)
    found = load(labelled, options)  # of several sizes
    assert torch.equal(found.x[: len(expected)], expected)
    assert found.labels is not None
    assert found.labels.tolist() == ([0] * 4 + [1] * 4 + [2] * 4 + [3] * 2 if crop == "tiles" else [0, 1, 2, 3])
    if crop == "tiles":
        with pytest.raises(UserError, match="item 1 of that list: 7 x 9 pixels .* too few for a tile of 8 x 6"):
            load([images[0], pixels(7, 9, 3)], options)
        with pytest.raises(UserError, match=r"array: 4 x 4 pixels .* too few for a tile of 8 x 6"):
            load(pixels(5, 4, 4, 3), options)


@pytest.mark.parametrize("crop", ["pad", "random"])
def test_shards_are_cropped_like_folders_but_not_cut(crop: str, mixed: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for i in range(len(SIZES)):
            tar.add(mixed / f"{i}.png", f"{i}.png")
    expected = load(mixed, DataOptions(size="16", crop=crop)).x
    assert torch.equal(load(tmp_path / "x.tar", DataOptions(size="16", crop=crop)).x, expected)
    streamed = load_or_stream(tmp_path / "x.tar", DataOptions(size="16", crop=crop, stream="always"))
    assert not isinstance(streamed, Dataset)
    images = [streamed.read_image(i) for i in range(len(SIZES))]
    assert torch.equal(torch.stack([x for x in images if x is not None]), expected)
    with pytest.raises(UserError, match=r"each image in shards .* is one example: leave out crop=tiles"):
        load(tmp_path / "x.tar", DataOptions(size="16", crop="tiles"))


def on_colour(x: np.ndarray, colour: tuple[int, ...]) -> np.ndarray:
    alpha = x[..., 3:].astype(float)
    return np.round((x[..., :3] * alpha + np.array(colour) * (255 - alpha)) / 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("name", "colour"),
    [("white", (255,) * 3), ("black", (0,) * 3), ("grey", (128,) * 3), ("#Ff8001", (255, 128, 1))],
)
def test_alpha_is_laid_on_the_colour(name: str, colour: tuple[int, ...], tmp_path: Path) -> None:
    images = images_of([(9, 8)] * 4, 4)
    images[1][..., 3] = 255 * (images[1][..., 3] > 99)
    folder, options = write(tmp_path / "x", images), DataOptions(background=name)
    expected = np.stack([on_colour(x, colour) for x in images])
    data = load(folder, options)
    np.testing.assert_array_equal(channels_last(data), expected)
    assert f"4 images with alpha, laid on {name.lower()}" in data.notes
    behind = Image.new("RGBA", (8, 9), (*colour, 255))
    behind.alpha_composite(Image.fromarray(images[1]))
    np.testing.assert_array_equal(channels_last(data)[1], np.asarray(behind.convert("RGB")))
    for source in (np.stack(images), images, from_array(np.stack(images))):
        other = load(source, options)
        np.testing.assert_array_equal(channels_last(other), expected)
        assert f"4 images with alpha, laid on {name.lower()}" in other.notes
    assert load(folder).shape[0] == 4
    grey = load(folder, DataOptions(background=name, channels=1)).x[:, 0]
    luma = np.round(expected @ np.array([0.299, 0.587, 0.114]))
    assert np.abs(grey.numpy() - luma).max() <= 1


def test_images_without_alpha_stay_as_they_are_on_any_background(tmp_path: Path) -> None:
    images = [pixels(9, 8, 3), pixels(9, 8, 4), pixels(9, 8, 3, seed=2)]
    data = load(write(tmp_path / "x", images), DataOptions(background="black"))
    np.testing.assert_array_equal(channels_last(data), np.stack([images[0], on_colour(images[1], (0,) * 3), images[2]]))
    assert "1 image with alpha, laid on black" in data.notes
    assert torch.equal(load(images, DataOptions(background="black")).x, data.x)
    grey = write(tmp_path / "grey", [pixels(9, 8)])
    assert torch.equal(load(grey, DataOptions(background="black")).x, load(grey).x)
    deep = np.linspace(0, 999, 5 * 4 * 8 * 8).reshape(5, 4, 8, 8)  # of four channels, none of them alpha
    assert load(deep, DataOptions(background="black")).shape[0] == 4


def test_the_background_comes_before_the_padding(tmp_path: Path) -> None:
    x = pixels(8, 4, 4)
    data = load(write(tmp_path / "x", [x]), DataOptions(size="8", crop="pad", background="#102030"))
    np.testing.assert_array_equal(channels_last(data)[0], padded(on_colour(x, (16, 32, 48)), 8))


def test_several_sizes_suggest_a_size_and_pad_where_something_would_be_cut_off(mixed: Path, tmp_path: Path) -> None:
    with pytest.raises(
        MixedSizesError, match=r"the most common, size=\d+x\d+ \(height x width\), with crop=pad to cut nothing off$"
    ):
        load(mixed)
    with pytest.raises(MixedSizesError, match=r"the most common, size=\d+x\d+ \(height x width\)$"):
        load(write(tmp_path / "alike", images_of([(8, 8), (16, 16)])))
    with pytest.raises(UserError, match="size=64, with crop=pad to cut nothing off, and channels=3"):
        load(images_of(SIZES))
    for crop in ("center", "pad", "random", "tiles"):
        assert load(mixed, DataOptions(size="8", crop=crop)).shape == (3, 8, 8)


def test_what_does_not_go_together_is_refused_in_a_sentence(mixed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, message in (
        (["--crop", "pad"], "--crop pad needs to know the size: give one, e.g. --size 64"),
        (["--crop", "tiles"], "--crop tiles needs to know the size"),
        (["--size", "8", "--background", "white", "--channels", "4"], "leave out one of them"),
        (["--background", "mauve"], "must be white, black, grey or a colour such as '#ff8000' (in quotes)"),
        ([], "with --crop pad to cut nothing off"),
    ):
        assert main(["train", "vae", str(mixed), *words]) == 2, words
        assert message in capsys.readouterr().err
    assert main(["data", "ring", "--background", "white"]) == 2
    assert "vectors, which have no alpha: leave out background" in capsys.readouterr().err


def test_data_shows_them(mixed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--size", "8", "--crop", "tiles", "--background", "grey", "--json"]
    assert main(["data", str(mixed), *words]) == 0
    report = json.loads(capsys.readouterr().out)
    count = sum((h // 8) * (w // 8) for h, w in SIZES)
    assert (report["examples"], report["crop"], report["background"]) == (count, "tiles", "grey")
    assert report["notes"][0].startswith(f"5 images cut into {count} tiles of 8 x 8 pixels; the remainder")


@pytest.mark.parametrize("crop", ["pad", "random", "tiles"])
def test_a_run_stores_them_and_reads_later_images_alike(crop: str, tmp_path: Path) -> None:
    sizes = [(16, 8), (8, 20), (24, 24), (9, 9)]
    folder = write(tmp_path / "x", images_of(sizes, 4))
    words = ["--size", "8", "--crop", crop, "--background", "#102030"]
    train = ["train", "vae", str(folder), "--net", "mlp", "--width", "4", "--steps", "1", "--batch-size", "4"]
    assert main([*train, "--folder", "run", "--quiet", *words]) == 0
    options = json.loads(Path("run/config.json").read_text())["data"]["options"]
    assert (options["crop"], options["background"]) == (crop, "#102030")
    trained = ganvas.load("run")
    expected = load(folder, DataOptions(size="8", crop=crop, background="#102030"))
    scored = score_examples(trained, folder).data
    assert torch.equal(scored.x, expected.x)
    assert scored.files == expected.files
    assert torch.equal(trained.encode(folder), trained.encode(expected))
    assert torch.equal(trained.encode(folder, DataOptions(crop="center")), trained.encode(
        load(folder, DataOptions(size="8", background="#102030"))
    ))  # fmt: skip
    same = np.stack(images_of([(24, 16)] * 3, 4))
    np.save("x.npy", same)
    assert torch.equal(trained.encode("x.npy"), trained.encode(load(same, DataOptions(
        size="8", crop=crop, background="#102030"
    ))))  # fmt: skip
    assert main(["evaluate", "run", "--json"]) == 0
    assert main(["reconstruct", "run", str(folder), "--out", "r.png"]) == 0
    assert main(["resume", "run", "--steps", "2"]) == 0


def test_runs_of_before_have_neither(tmp_path: Path) -> None:
    folder = write(tmp_path / "x", images_of([(16, 8), (8, 20), (24, 24), (9, 9)]))
    trained = ganvas.train(ganvas.VAE(net="mlp", width=4), folder, steps=1, batch_size=4, size="8", quiet=True)
    assert trained.folder is not None
    file = trained.folder / "config.json"
    config = json.loads(file.read_text())
    del config["data"]["options"]["crop"], config["data"]["options"]["background"]
    file.write_text(json.dumps(config))
    ganvas.resume(trained.folder, steps=2, quiet=True)
    assert torch.equal(trained.encode(folder), trained.encode(load(folder, DataOptions(size="8"))))


def test_translators_read_both_domains_alike(mixed: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other", [255 - x for x in images_of(SIZES)])
    trained = ganvas.train(
        ganvas.CycleGAN(width=2, blocks=1), (mixed, other), steps=1, batch_size=1, size="16", crop="pad",
        quiet=True,
    )  # fmt: skip
    assert torch.equal(load_domain(trained, mixed, None, 0).x, load(mixed, DataOptions(size="16", crop="pad")).x)


def test_png_of_grey_with_alpha_becomes_rgb(tmp_path: Path) -> None:
    buffer = BytesIO()
    Image.fromarray(pixels(8, 8, 2), "LA").save(buffer, "PNG")
    (tmp_path / "x.png").write_bytes(buffer.getvalue())
    assert load(tmp_path / "x.png", DataOptions(background="black")).shape == (3, 8, 8)


@pytest.mark.parametrize("crop", ["center", "pad", "random", "tiles"])
def test_thin_and_tiny_images_are_cropped_too(crop: str, tmp_path: Path) -> None:
    sizes = [(1, 1), (1, 200), (200, 1), (2, 2), (3, 500), (9, 9), (8, 9)]
    for channels in (3, 4):
        folder = write(tmp_path / str(channels), images_of(sizes, channels))
        report = tmp_path / f"{channels}.png"
        assert main(["data", str(folder), "--size", "8", "--crop", crop, "--out", str(report)]) == 0
        data = load(folder, DataOptions(size="8", crop=crop))
        assert (len(data), data.shape) == (2 if crop == "tiles" else 7, (channels, 8, 8))


def test_a_colour_in_an_options_file_needs_quotes(mixed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("options.yaml").write_text("size: 8\nbackground: '#ff8000'\n")
    words = ["train", "vae", str(mixed), "--net", "mlp", "--width", "4", "--steps", "1", "--batch-size", "2"]
    assert main([*words, "--config", "options.yaml", "--folder", "run"]) == 0
    assert json.loads(Path("run/config.json").read_text())["data"]["options"]["background"] == "#ff8000"
    Path("options.yaml").write_text("size: 8\nbackground: #ff8000\n")  # a comment
    assert main([*words, "--config", "options.yaml", "--folder", "other"]) == 2
    assert "background" in capsys.readouterr().err


def test_a_photograph_that_is_turned_loses_no_detail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A JPEG is decoded at a part of its size, which is that of the upright one."""
    photo, exif = Image.fromarray(pixels(32, 128, 3)).resize((512, 128)), Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    photo.save(tmp_path / "x.jpg", exif=exif)
    options = DataOptions(size="8x64")
    x = load(tmp_path / "x.jpg", options).x
    monkeypatch.setattr(JpegImageFile, "draft", lambda *_: None)
    assert x.equal(load(tmp_path / "x.jpg", options).x)
