"""Files with several images, large ones, and what the decoder warns of."""

import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganvas.cli.app import main
from ganvas.data import DataOptions, class_counts, images, load
from ganvas.errors import UserError
from tests.support.images import chunk

PAGES = np.random.default_rng(0).integers(0, 256, (5, 6, 7), np.uint8)


def stack(path: Path, pages: np.ndarray = PAGES, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    first, *rest = (Image.fromarray(page) for page in pages)
    first.save(path, save_all=True, append_images=rest, **options)
    return path


def test_pages_of_a_tiff_are_counted_and_read_on_request(tmp_path: Path) -> None:
    for name in ("a", "b"):
        stack(tmp_path / "stacks" / name / "x.tif", PAGES if name == "a" else PAGES[:1])
    folder = tmp_path / "stacks"
    first = load(folder)
    assert np.array_equal(first.x[:, 0].numpy(), PAGES[[0, 0]])
    assert first.notes[:1] == (
        "1 file has several pages, 5 in all, and the first of it was read: --pages all makes every page an example",
    )
    every = load(folder, DataOptions(pages="all"))
    assert np.array_equal(every.x[:, 0].numpy(), PAGES[[0, 1, 2, 3, 4, 0]])
    assert class_counts(every) == {"a": 5, "b": 1}
    assert "pages" not in " ".join(every.notes)


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tiff"])
def test_frames_of_animations(suffix: str, tmp_path: Path) -> None:
    frames = np.repeat(np.array([0, 80, 160, 255], np.uint8)[:, None, None], 8, 1).repeat(8, 2)
    stack(tmp_path / "x" / f"x.{suffix}", frames, **({"lossless": True} if suffix == "webp" else {}))
    assert "1 file has several pages, 4 in all" in load(tmp_path / "x").notes[0]
    every = load(tmp_path / "x", DataOptions(pages="all", channels=1))
    assert every.x.float().mean((1, 2, 3)).tolist() == pytest.approx([0, 80, 160, 255], abs=1)


def test_sixteen_bits_of_pages(tmp_path: Path) -> None:
    deep = np.random.default_rng(0).integers(0, 1401, (3, 4, 4)).astype(np.uint16)
    stack(tmp_path / "x" / "x.tif", deep)
    every = load(tmp_path / "x", DataOptions(pages="all", range="0,1400", bits=8))
    assert np.array_equal(every.x[:, 0].numpy(), np.rint(deep * (255 / 1400)))
    assert np.array_equal(load(tmp_path / "x", DataOptions(pages="all")).x[:, 0].numpy(), deep)


def test_pages_of_several_sizes(tmp_path: Path) -> None:
    """Those that a TIFF calls smaller copies of another are no examples."""
    small = Image.fromarray(PAGES[1, :3, :4])
    Image.fromarray(PAGES[0]).save(tmp_path / "x.tif", save_all=True, append_images=[small])
    with pytest.raises(UserError, match=r"2 sizes .* x.tif \(page 2\) differs from most.*size=64"):
        load(tmp_path, DataOptions(pages="all"))
    assert len(load(tmp_path, DataOptions(pages="all", size="4"))) == 2
    small.encoderinfo = {"tiffinfo": {254: 1}}
    Image.fromarray(PAGES[0]).save(tmp_path / "x.tif", save_all=True, append_images=[small])
    assert len(load(tmp_path, DataOptions(pages="all"))) == 1


def test_pages_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stack(tmp_path / "stacks" / "x.tif")
    run = ["train", "vae", "stacks", "--steps", "2", "--width", "4", "--latent", "2"]
    assert main([*run, "--folder", "a"]) == 0
    assert "1 file has several pages, 5 in all" in " ".join(capsys.readouterr().err.split())
    assert main([*run, "--folder", "b", "--pages", "all"]) == 0
    assert "so batches have as many" in capsys.readouterr().err
    assert main(["data", "stacks", "--pages", "all", "--out", "x.png"]) == 0
    assert "examples         5" in capsys.readouterr().out


def empty_png(side: int, claimed: int | None = None) -> bytes:
    """A black PNG with so many pixels a side, and 1 bit each; its header may claim more."""
    rows = zlib.compress((b"\0" + bytes(side // 8)) * side, 1)
    header = struct.pack(">IIBBBBB", claimed or side, claimed or side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_an_image_larger_than_the_decoders_own_limit_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    (tmp_path / "scan.png").write_bytes(empty_png(80))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = load(tmp_path, DataOptions(size="8"))
    assert found.shape == (1, 8, 8)
    assert Image.MAX_IMAGE_PIXELS == 1000


def test_an_image_that_does_not_fit_into_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scan.png").write_bytes(empty_png(800))
    monkeypatch.setattr(images, "LARGE_IMAGE", 1000)
    monkeypatch.setattr(images, "available_memory", lambda: 2**20)
    with pytest.raises(UserError, match=r"scan.png: its 800 x 800 pixels take 3.66 MiB .* make it smaller"):
        load(tmp_path, DataOptions(size="8"))


def test_a_header_that_claims_more_than_the_file_can_hold_allocates_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "LARGE_IMAGE", 1000)
    (tmp_path / "scan.png").write_bytes(empty_png(16, 9999))
    with pytest.raises(UserError, match=r"scan.png: it says 9999 x 9999 pixels, which its \d+ bytes cannot hold"):
        load(tmp_path)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
def test_sizes_of_a_tiff_that_its_bytes_cannot_hold(
    compression: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "LARGE_IMAGE", 1000)
    monkeypatch.setattr(images, "MAX_DEFLATE_RATIO", 1)
    stack(tmp_path / "x.tif", np.zeros((1, 6, 7), np.uint8), compression=compression)
    content = (tmp_path / "x.tif").read_bytes()
    (at,) = (i for kind in (3, 4) if (i := content.find(struct.pack("<HHI", 257, kind, 1))) > 0)
    (tmp_path / "x.tif").write_bytes(content[:at] + struct.pack("<HHII", 257, 4, 1, 2**20) + content[at + 12 :])
    with pytest.raises(UserError, match=r"it says 7 x 1048576 pixels, which its \d+ bytes cannot hold"):
        load(tmp_path)


def test_more_images_than_fit_into_memory_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack(tmp_path / "x.tif")
    monkeypatch.setattr("ganvas.data.memory.available_memory", lambda: 100)
    with pytest.raises(UserError, match=r"5 images of 7 x 6 pixels, L, would take .* smaller `size`"):
        load(tmp_path, DataOptions(pages="all"))


def test_warnings_of_the_decoder_are_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = stack(tmp_path / "x.tif", PAGES[:1]).read_bytes()
    for name in ("x", "y"):
        (tmp_path / f"{name}.tif").write_bytes(content)

    real = images.read_pixels

    def warning(*arguments: object) -> object:
        warnings.warn_explicit("Corrupt EXIF data", UserWarning, "/lib/PIL/TiffImagePlugin.py", 1)
        warnings.warn_explicit("something else", UserWarning, "/lib/other.py", 1)
        return real(*arguments)

    monkeypatch.setattr(images, "read_pixels", warning)
    with pytest.warns(UserWarning, match="something else") as caught:
        found = load(tmp_path)
    assert found.notes[:1] == ("the decoder warns: Corrupt EXIF data (2 times)",)
    assert {str(w.message) for w in caught} == {"something else"}


def test_pages_of_one_file_are_no_single_image(tmp_path: Path) -> None:
    note = "a single image: a model can learn nothing but this one"
    file = stack(tmp_path / "x.tif")
    assert note in load(file).notes
    assert note not in load(file, DataOptions(pages="all")).notes
