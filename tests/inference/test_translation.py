"""Folders of images through a translator: names, formats, what is skipped, what is done already."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ganvas.errors import UserError, WriteError
from ganvas.inference import translation as tree
from ganvas.inference.translation import translate_files
from ganvas.viz.images import WRITERS
from tests.support.images import png, tiff, values_of
from tests.support.translators import GREY, RGB, negatives

PLACES = ("", "one", "one/deeper", "zwei", "日本", "with space")
MANY = tuple(f"{place}/{i}".strip("/") for place in PLACES for i in range(7))
EACH = 11
"""images that `write_mixed` writes"""


def write_mixed(folder: Path) -> dict[str, np.ndarray]:
    """One image of each kind, with its pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(len(str(folder)))
    smooth = np.linspace(0, 255, 20 * 14).reshape(20, 14)
    pixels = {
        "a.jpg": np.repeat(smooth[:, :, None], 3, 2).astype(np.uint8),
        "b.png": random.integers(0, 256, (20, 14, 3), np.uint8),
        "c.webp": np.full((9, 31, 3), 77, np.uint8),
        "grey.png": random.integers(0, 256, (12, 12), np.uint8),
        "alpha.png": random.integers(0, 256, (20, 14, 4), np.uint8),
        "deep.png": random.integers(0, 65536, (16, 10)).astype(np.uint16),
        "palette.gif": np.full((8, 8, 3), 255, np.uint8),
        "two.bmp": random.integers(0, 256, (5, 6, 3), np.uint8),
        "wide.tiff": random.integers(0, 256, (6, 40, 3), np.uint8),
    }
    for name, array in pixels.items():
        Image.fromarray(array).save(folder / name)
    for name, channels in (("colours.png", 3), ("clear.png", 4)):
        pixels[name] = random.integers(0, 65536, (7, 11, channels))
        (folder / name).write_bytes(png(pixels[name]))
    return pixels


def pixels_of(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def write_tree(source: Path, folders: tuple[str, ...]) -> Path:
    """Images of all kinds in nested folders, with the same names in each, and what is none."""
    for name in folders:
        write_mixed(source / name)
    (source / "one" / "broken.png").write_bytes(b"\x89PNG no image")
    (source / "notes.txt").write_text("no image")
    (source / ".hidden.png").write_bytes(b"")
    return source


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """66 images in 6 folders."""
    return write_tree(tmp_path / "photos", PLACES)


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """528 images in 48 folders."""
    return write_tree(tmp_path / "photos", (*PLACES, *MANY))


def test_every_image_comes_out_under_its_own_name(many: Path, tmp_path: Path) -> None:
    mixed, out, shown = many, tmp_path / "out", []
    summary = translate_files(negatives(), mixed, out, progress=lambda *done: shown.append(done))
    names = {p.relative_to(mixed) for p in mixed.rglob("*") if p.suffix != ".txt" and p.is_file()}
    names -= {Path("one/broken.png"), Path(".hidden.png")}
    assert {p.relative_to(out) for p in out.rglob("*") if p.is_file()} == {*names, Path(tree.RECORD_FILE)}
    assert (summary.translated, summary.there, summary.others) == (48 * EACH, 0, 1)
    assert list(summary.skipped) == ["one/broken.png"]
    assert "cannot identify image file" in summary.skipped["one/broken.png"]
    assert shown[-1] == (529, 529)
    for folder in ("", "one", "日本", "with space/6"):
        for name in ("b.png", "two.bmp", "wide.tiff"):
            assert np.array_equal(pixels_of(out / folder / name), 255 - pixels_of(mixed / folder / name))
        for name in ("a.jpg", "c.webp"):
            near = pixels_of(out / folder / name).astype(int) + pixels_of(mixed / folder / name)
            assert abs(near - 255).max() < 12
    grey = pixels_of(out / "grey.png")
    assert np.array_equal(grey[:, :, 1], 255 - pixels_of(mixed / "grey.png"))
    alpha = pixels_of(out / "alpha.png")
    assert np.array_equal(alpha[:, :, 3], pixels_of(mixed / "alpha.png")[:, :, 3])
    assert summary.rounded == 0
    colours = values_of(out / "deep.png")
    assert colours.shape == (16, 10, 3)  # 16 bits of red, green and blue
    assert np.abs(colours + pixels_of(mixed / "deep.png")[:, :, None] - 65535).max() <= 1
    assert np.abs(pixels_of(out / "deep.png").astype(int) - colours // 256).max() <= 1  # Pillow reads it, and 8 bits
    assert np.abs(values_of(out / "zwei/1/colours.png") + values_of(mixed / "zwei/1/colours.png") - 65535).max() <= 1
    assert np.array_equal(values_of(out / "clear.png")[:, :, 3], values_of(mixed / "clear.png")[:, :, 3])


def test_sixteen_bits_are_kept_where_translations_are_grey(mixed: Path, tmp_path: Path) -> None:
    summary = translate_files(negatives(GREY, GREY), mixed / "one", tmp_path / "out")
    made, given = pixels_of(tmp_path / "out" / "deep.png"), pixels_of(mixed / "one" / "deep.png")
    assert made.dtype == np.uint16
    assert np.abs(made.astype(int) + given - 65535).max() <= 1
    assert summary.rounded == 0
    assert pixels_of(tmp_path / "out" / "b.png").shape == (20, 14)


def test_an_image_is_upright_as_its_orientation_says(tmp_path: Path) -> None:
    pixels = np.zeros((10, 20, 3), np.uint8)
    pixels[:, :10] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    translate_files(negatives(), tmp_path / "turned.png", tmp_path / "upright.png")
    made = pixels_of(tmp_path / "upright.png")
    assert made.shape == (20, 10, 3)
    assert made[:10].max() == 0
    assert made[10:].min() == 255
    with Image.open(tmp_path / "upright.png") as image:
        assert 0x0112 not in image.getexif()


def test_eight_bits_of_sixteen_are_counted_where_no_more_can_be_had(tmp_path: Path) -> None:
    """Colour TIFFs, which Pillow does not write with 16 bits, and formats that have 8."""
    folder = tmp_path / "deep"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 65536, (6, 5, 3))
    (folder / "a.tiff").write_bytes(tiff(pixels))
    (folder / "b.png").write_bytes(png(pixels))
    assert translate_files(negatives(), folder, tmp_path / "out").rounded == 1
    assert np.array_equal(pixels_of(tmp_path / "out" / "a.tiff"), np.round(255 - pixels / 257))
    assert translate_files(negatives(), folder / "b.png", tmp_path / "b.jpg").rounded == 1
    assert translate_files(negatives(RGB, GREY), folder / "a.tiff", tmp_path / "grey.tiff").rounded == 0


def test_of_an_animation_the_first_image_is_translated_and_that_is_said(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), (level, level, level)) for level in (0, 255)]
    for suffix in ("gif", "png", "webp", "tiff"):
        frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:])
    summary = translate_files(negatives(), tmp_path, tmp_path / "out")
    assert (summary.translated, summary.animated) == (4, 4)
    assert "4 are animated or have several pages: only the first image was translated" in summary.lines()
    assert pixels_of(tmp_path / "out" / "a.webp").min() == 255
    assert translate_files(negatives(), tmp_path / "out", tmp_path / "back").animated == 0


def test_what_is_done_is_left_alone(mixed: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    translate_files(negatives(), mixed / "one", out)
    (out / "b.png").write_bytes(b"my own")
    (out / "deeper" / "b.png").unlink()
    summary = translate_files(negatives(), mixed / "one", out)
    assert (summary.translated, summary.there) == (1, 2 * EACH - 1)
    assert (out / "b.png").read_bytes() == b"my own"
    assert translate_files(negatives(), mixed / "one", out, force=True).translated == 2 * EACH
    assert np.array_equal(pixels_of(out / "b.png"), 255 - pixels_of(mixed / "one" / "b.png"))


def test_a_folder_of_other_translations_is_refused(mixed: Path, tmp_path: Path) -> None:
    run, out = negatives(), tmp_path / "out"
    run.metadata["step"] = 7
    translate_files(run, mixed / "one", out)
    made = (out / "b.png").read_bytes()
    words = "out holds translations to B of cyclegan step 7: give another folder, or `force`"
    with pytest.raises(UserError, match=words):
        translate_files(run, mixed / "one", out, "A")
    other = negatives()
    other.nets["G"].weight.data += 1
    with pytest.raises(UserError, match=words):
        translate_files(other, mixed / "one", out)
    assert (out / "b.png").read_bytes() == made
    assert translate_files(run, mixed / "one", out).translated == 0
    assert translate_files(other, mixed / "b.png", out / "new.png", "A").translated == 1  # a single file
    assert translate_files(other, mixed / "one", out, "A", force=True).translated == 2 * EACH
    assert translate_files(other, mixed / "one", out, "A").there == 2 * EACH
    assert translate_files(run, out, tmp_path / "back").others == 0, "the record is no file of the source"
    (out / tree.RECORD_FILE).unlink()
    assert translate_files(run, mixed / "one", out).there == 2 * EACH
    assert not (out / tree.RECORD_FILE).exists(), "nobody knows what made them"


def test_results_inside_the_source_are_no_sources(mixed: Path) -> None:
    out = mixed / "out"
    assert translate_files(negatives(), mixed, out).translated == 6 * EACH
    assert translate_files(negatives(), mixed, out).there == 6 * EACH
    assert not (out / "out").exists()


def test_one_file_goes_to_a_file_or_into_a_folder(mixed: Path, tmp_path: Path) -> None:
    assert translate_files(negatives(), mixed / "b.png", tmp_path / "new" / "x.webp").translated == 1
    assert pixels_of(tmp_path / "new" / "x.webp").shape == (20, 14, 3)
    translate_files(negatives(), mixed / "b.png", tmp_path / "new")
    assert (tmp_path / "new" / "b.png").exists()
    translate_files(negatives(), mixed / "alpha.png", tmp_path / "flat.jpg")  # which has no alpha
    assert pixels_of(tmp_path / "flat.jpg").shape == (20, 14, 3)


def test_what_cannot_be_translated_is_refused(mixed: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.png").write_bytes(b"nothing")
    for source, out, words in (
        (mixed, mixed, "is the source itself"),
        (mixed / "b.png", mixed / "b.png", "is the source itself"),
        (mixed / "notes.txt", tmp_path / "x.png", "is no image"),
        (mixed / "b.png", tmp_path / "x.txt", "end its name as an image's"),
        (tmp_path / "none", tmp_path / "x", "does not exist"),
        (tmp_path / "empty", tmp_path / "x", "holds no images"),
        (mixed, mixed / "b.png", "is a file"),
        (mixed, tmp_path / "x.png", "may hold several images: give a folder for the translations, not"),
        (tmp_path / "bad", tmp_path / "x", "none of its 1 images can be read; the first, x.png: cannot identify"),
    ):
        with pytest.raises(UserError, match=words):
            translate_files(negatives(), source, out)
    with pytest.raises(UserError, match="not to 'C'"):
        translate_files(negatives(), mixed, tmp_path / "x", "C")
    assert not (tmp_path / "x").exists()


def test_batches_are_of_one_shape_and_small_enough(
    monkeypatch: pytest.MonkeyPatch, mixed: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(tree, "chunk_size", lambda shape: 4)
    run, seen = negatives(), []
    whole = run.translate_batch
    object.__setattr__(run, "translate_batch", lambda x, to: (seen.append(tuple(x.shape)), whole(x, to))[1])
    translate_files(run, mixed, tmp_path / "out")
    assert max(shape[0] for shape in seen) == 4
    assert sum(shape[0] for shape in seen) == 6 * EACH
    assert len(seen) < 30


def test_half_an_image_is_never_left(mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of one is on the disk when the writing fails, and one that was there before is as it was."""
    written = []

    def fails(self: Image.Image, target: Path, *_: object, **__: object) -> None:
        target.write_bytes(b"half an image")
        written.append(target)
        raise OSError(28, "No space left on device")

    done = tmp_path / "out"
    translate_files(negatives(), mixed, done)
    before = {p: p.read_bytes() for p in done.rglob("*") if p.is_file()}
    monkeypatch.setattr(Image.Image, "save", fails)
    with pytest.raises(WriteError, match=r"cannot write .*: no space left on device: make room"):
        translate_files(negatives(), mixed, done, force=True)
    with pytest.raises(WriteError):
        translate_files(negatives(), mixed, tmp_path / "new")
    assert len(written) >= 2
    assert {p: p.read_bytes() for p in done.rglob("*") if p.is_file()} == before
    assert [p.name for p in (tmp_path / "new").rglob("*") if p.is_file()] == [tree.RECORD_FILE]


KILLED = """
import os, sys
from pathlib import Path
from ganvas.inference import translation as tree
from tests.support.translators import negatives
write, count = tree.write_image, 0
def counted(*arguments):
    global count
    count += 1
    if count == 200:
        os.kill(os.getpid(), 9)
    return write(*arguments)
tree.write_image = counted
tree.translate_files(negatives(), Path(sys.argv[1]), Path(sys.argv[2]))
"""


@pytest.mark.skipif(os.name == "nt", reason="signals as on Unix")
def test_killed_half_way_it_goes_on_with_the_rest(many: Path, tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", KILLED, str(many), str(tmp_path / "out")]
    path = os.pathsep.join([str(root), str(root / "src")])
    killed = subprocess.run(command, check=False, env=os.environ | {"PYTHONPATH": path})
    assert killed.returncode == -signal.SIGKILL
    done = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*") if p.is_file() and p.name[0] != "."}
    assert 199 - WRITERS < len(done) <= 199
    time.sleep(0.01)
    summary = translate_files(negatives(), many, tmp_path / "out")
    assert (summary.translated, summary.there) == (48 * EACH - len(done), len(done))
    assert all(p.stat().st_mtime_ns == t for p, t in done.items())


def test_numbers_of_a_summary(tmp_path: Path) -> None:
    lines = tree.TranslationSummary(tmp_path, 3, 2, {"x.png": "damaged"}, 1, 1, 4, ["1 file left out: 1 .txt"]).lines()
    assert [line.split()[0] for line in lines] == ["3", "2", "skipped", "1", "1", "4"]
    assert lines[3:5] == [
        "1 file left out: 1 .txt",
        "1 had more than 8 bits, and now has 8: PNGs keep 16, and grey TIFFs all, where the model writes grey",
    ]
    one = tree.TranslationSummary(tmp_path, 1, animated=1).lines()[1]
    assert one == "1 is animated or has several pages: only the first image was translated"
    assert torch.equal(negatives(RGB, GREY).translate_batch(torch.ones(1, 1, 4, 4), "B"), torch.zeros(1, 1, 4, 4))


def test_another_size_than_the_model_has_learnt_is_said(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    model = negatives()
    learnt = tree.format_size(model.shape[0])
    width, height = map(int, learnt.split(" x "))
    for name, size in (("own", (width, height)), ("large", (2 * width, 2 * height)), ("wide", (2 * width, height))):
        Image.new("RGB", size).save(tmp_path / "in" / f"{name}.png")
    summary = translate_files(model, tmp_path / "in", tmp_path / "out")
    assert summary.to_dict()["resized"] == 2
    assert f"2 have another size than the {learnt} pixels that the model was trained on" in "\n".join(summary.lines())
    translate_files(model, tmp_path / "in" / "own.png", tmp_path / "own.png")
    assert "another size" not in "\n".join(translate_files(model, tmp_path / "in/own.png", tmp_path / "b.png").lines())
