"""One folder with every kind of image and every fault: each is read to the pixel, or its reason is in the report."""

import os
import re
import struct
import tarfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from ganvas.data import DataOptions, load
from tests.support.cli import told
from tests.support.failures import failing
from tests.support.images import chunk, of_bits, png, tiff

RANDOM = np.random.default_rng(0)
H, W = 12, 9
RGB, RGBA, GREY, GREY_ALPHA = (RANDOM.integers(0, 256, (H, W, c), np.uint8) for c in (3, 4, 1, 2))
DEEP, DEEP_RGB = (RANDOM.integers(0, 65536, (H, W, c)) for c in (1, 3))
PICTURE = Image.fromarray(RGB)
Write = Callable[[Path], Any]


def save(image: Image.Image, kind: str, **how: Any) -> Write:
    return lambda path: image.save(path, kind, **how)


def content(data: bytes) -> Write:
    return lambda path: path.write_bytes(data)


def encoded(kind: str, **how: Any) -> bytes:
    output = BytesIO()
    PICTURE.save(output, kind, **how)
    return output.getvalue()


def turned(image: Image.Image) -> dict[str, Any]:
    """Options that store an image lying on its side, with the orientation that sets it upright."""
    exif = Image.Exif()
    exif[274] = 6
    return {"exif": exif}


def palette(**how: Any) -> Image.Image:
    return PICTURE.quantize(8, **how)


FRAMES = {"save_all": True, "append_images": [Image.fromarray(255 - RGB)]}
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LYING = PICTURE.transpose(Image.Transpose.ROTATE_90)
READ: dict[str, Write] = {
    "rgb.png": save(PICTURE, "PNG"),
    "deep/deeper/deepest/rgb.png": save(PICTURE, "PNG"),
    "other/rgb.png": save(Image.fromarray(255 - RGB), "PNG"),
    "Ünïcödé/写真 🐙.png": save(PICTURE, "PNG"),
    "two words & 'quotes'/#1 100%.png": save(PICTURE, "PNG"),
    "UPPER.PNG": save(PICTURE, "PNG"),
    "no suffix": save(PICTURE, "PNG"),
    "jpeg called.png": save(PICTURE, "JPEG"),
    "png called.jpg": save(PICTURE, "PNG"),
    "rgba.png": save(Image.fromarray(RGBA), "PNG"),
    "grey.png": save(Image.fromarray(GREY[..., 0]), "PNG"),
    "grey and alpha.png": save(Image.fromarray(GREY_ALPHA), "PNG"),
    "grey with profile.jpg": save(Image.fromarray(GREY[..., 0]), "JPEG", icc_profile=PROFILE),
    "profile.png": save(PICTURE, "PNG", icc_profile=PROFILE),
    "one bit.png": save(PICTURE.convert("1"), "PNG"),
    "one bit.tif": save(PICTURE.convert("1"), "TIFF", compression="group4"),
    "one bit.pbm": save(PICTURE.convert("1"), "PPM"),
    "palette.png": save(palette(), "PNG"),
    "palette, one index transparent.png": save(palette(), "PNG", transparency=3),
    "palette, alpha of each.png": save(palette(), "PNG", transparency=bytes(range(0, 256, 32))),
    "a grey transparent.png": save(Image.fromarray(GREY[..., 0]), "PNG", transparency=int(GREY[5, 5, 0])),
    "a colour transparent.png": save(PICTURE, "PNG", transparency=tuple(RGB[5, 5].tolist())),
    "interlaced.gif": save(PICTURE, "GIF", interlace=1),
    "transparent.gif": save(palette(), "GIF", transparency=2),
    "animation.gif": save(PICTURE, "GIF", **FRAMES),
    "animation.webp": save(PICTURE, "WEBP", lossless=True, **FRAMES),
    "animation.png": save(PICTURE, "PNG", **FRAMES),
    "animation.apng": save(PICTURE, "PNG", default_image=True, **FRAMES),
    "pages.tif": save(PICTURE, "TIFF", **FRAMES),
    "rgb.avif": save(PICTURE, "AVIF"),
    "alpha.avif": save(Image.fromarray(RGBA), "AVIF"),
    "lossy.webp": save(Image.fromarray(RGBA), "WEBP"),
    "rgb.jp2": save(PICTURE, "JPEG2000"),
    "cmyk.jpg": save(PICTURE.convert("CMYK"), "JPEG"),
    "cmyk.tif": save(PICTURE.convert("CMYK"), "TIFF"),
    "ycbcr.tif": save(PICTURE.convert("YCbCr"), "TIFF"),
    "lab.tif": save(PICTURE.convert("LAB"), "TIFF"),
    "lying.jpg": save(LYING, "JPEG", **turned(LYING)),
    "lying.png": save(LYING, "PNG", **turned(LYING)),
    "lying.webp": save(LYING, "WEBP", **turned(LYING)),
    "progressive.jpg": save(PICTURE, "JPEG", progressive=True),
    "packed.tga": save(Image.fromarray(RGBA), "TGA", compression="tga_rle"),
    "rgb.bmp": save(PICTURE, "BMP"),
    "rgb.dib": save(PICTURE, "DIB"),
    "bytes after its end.png": content(encoded("PNG") + b"and more"),
    "bytes after its end.jpg": content(encoded("JPEG") + b"and more"),
}
DEPTHS: dict[str, tuple[bytes, np.ndarray]] = {
    "16 bits.png": (png(DEEP), DEEP),
    "16 bits, interlaced.png": (png(DEEP_RGB, interlaced=True), DEEP_RGB),
    "16 bits, colours.tif": (tiff(DEEP_RGB), DEEP_RGB),
    "16 bits.tif": (of_bits(DEEP[..., 0], 16, DEEP.astype("<u2").tobytes()), DEEP),
}
"""images of 16 bits a channel, and their numbers: of white 65535, rounded here to 255"""
FAULTS: dict[str, tuple[bytes, str]] = {
    "empty.png": (b"", "cannot identify image file 'empty.png'"),
    "text.png": (b"this is no image\n", "cannot identify image file 'text.png'"),
    "page.jpg": (b"<html>404</html>", "cannot identify image file 'page.jpg'"),
    "cut.png": (encoded("PNG")[:200], "image file is truncated|unrecognized data stream|broken PNG"),
    "cut.jpg": (encoded("JPEG")[:-60], "image file is truncated"),
    "header only.jpg": (encoded("JPEG")[:500], "Truncated File Read"),
    "cut.webp": (encoded("WEBP", lossless=True)[:200], "cannot identify|could not create decoder|failed to decode"),
    "header only.gif": (encoded("GIF")[:13], "cannot identify|truncated|no frame"),
    "damaged.png": (encoded("PNG").replace(b"IDAT", b"IDAX", 1), "broken PNG|cannot identify"),
    "bomb.png": (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", b"x" * 99)
        + chunk(b"IEND", b""),
        r"it says 60000 x 60000 pixels, which its \d+ bytes cannot hold",
    ),
}
IGNORED = (".DS_Store", "Thumbs.db", "desktop.ini", "__MACOSX/rgb.png", "._rgb.png", ".hidden.png", ".git/x.png")
OTHERS = {"notes.txt": b"hello", "README": b"hello", "clip.mp4": b"\0\0\0\x18ftypmp42", "raw.CR2": b"II*\0"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("torture") / "photos"
    for name, write in READ.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write(root / name)
    for name, data in [
        *((name, data) for name, (data, _) in (DEPTHS | FAULTS).items()),
        *((name, encoded("PNG")) for name in IGNORED),
        *OTHERS.items(),
    ]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    (root / "no files").mkdir()
    (root / "link.png").symlink_to("rgb.png")
    (root / "link nowhere.png").symlink_to("nothing.png")
    (root / "link above").symlink_to(root.parent)
    (root / "link beside").symlink_to("other")
    os.mkfifo(root / "pipe.png")
    return root


def by_pillow(path: Path) -> np.ndarray:
    """The first image of a file, upright, with colours and alpha, as docs/data.md has it."""
    with Image.open(path) as image:
        exif = image.getexif()
        pixels = np.asarray((image if image.mode in ("L", "LA", "RGBA", "P") else image.convert(
            "RGBA" if "transparency" in image.info else "RGB")).convert("RGBA"))  # fmt: skip
    return np.rot90(pixels, -1) if exif.get(274) == 6 else pixels


def test_every_image_is_read_to_the_pixel(folder: Path) -> None:
    data = load(folder, DataOptions(channels=4))
    x = dict(zip(data.files, data.x.permute(0, 2, 3, 1).numpy(), strict=True))
    assert x.keys() == READ.keys() | DEPTHS.keys() | {"link.png"}
    for name in READ.keys() | {"link.png"}:
        np.testing.assert_array_equal(x[name], by_pillow(folder / name), name)
    for name, (_, values) in DEPTHS.items():
        bytes_ = np.broadcast_to(np.round(values / 257), (H, W, 3))
        np.testing.assert_array_equal(x[name][..., :3], bytes_, name)
        assert (x[name][..., 3] == 255).all()


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tgz"])
def test_an_archive_of_it_is_the_same(suffix: str, folder: Path, tmp_path: Path) -> None:
    archive = tmp_path / f"photos{suffix}"
    if suffix == ".zip":
        with ZipFile(archive, "w") as file:
            for name in (*READ, *DEPTHS, *FAULTS, *IGNORED, *OTHERS):
                file.write(folder / name, f"photos/{name}")
    else:
        with tarfile.open(archive, "w:gz" if suffix == ".tgz" else "w") as tar:
            tar.add(folder, "photos")
    data, direct = load(archive, DataOptions(channels=4)), load(folder, DataOptions(channels=4))
    assert set(data.files) == {f"photos/{name}" for name in (*READ, *DEPTHS)}
    expected = [x for x, name in zip(direct.x, direct.files, strict=True) if name != "link.png"]
    assert torch.equal(data.x, torch.stack(expected))
    assert any("links and the like in a tar: photos/link" in note for note in data.notes) == (suffix != ".zip")


def test_what_is_not_read_is_in_the_report(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = told(capsys, "data", str(folder), "--channels", "4")
    assert report["examples"] == len(READ) + len(DEPTHS) + 1  # a link
    notes, files = "\n".join(report["notes"]), [path for path in folder.rglob("*") if path.is_file()]
    for note in (
        rf"^{len(FAULTS)} files skipped \(bomb.png: .*; cut.jpg: .*; and {len(FAULTS) - 5} more\)$",
        "^4 files left out: 1 without suffix, 1 .mp4, 1 .txt, 1 .cr2$",
        "^left out, links that lead nowhere: link nowhere.png$",
        "^left out, links to a folder that holds them: link above$",
        "^left out, links to a folder that is read already: link beside$",
        "^left out, pipes, sockets or devices: pipe.png$",
        r"^5 files have several pages, 10 in all, and the first of each was read",
    ):
        assert re.search(note, notes, re.MULTILINE), notes
    said = len(READ) + len(DEPTHS) + len(FAULTS) + len(OTHERS) + len(IGNORED)
    assert said == sum(not path.is_symlink() for path in files), "each is read, or in a note, or of a system"


@pytest.mark.parametrize("name", FAULTS)
def test_the_reason_is_that_of_the_file(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    failing(capsys, ["data", str(folder / name)], 2, FAULTS[name][1])
