"""Images of 16 bits a channel: read as the numbers that are in the file."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ganvas.data import DataOptions, load
from ganvas.data.pixels import Pixels, read_pixels
from tests.support.images import chunk, of_bits, png, tiff


def read(path: Path) -> Pixels:
    with Image.open(path) as image:
        return read_pixels(path, image)


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_all_bits_of_a_png_are_read(channels: int, interlaced: bool, tmp_path: Path) -> None:
    values = np.random.default_rng(channels).integers(0, 65536, (13, 11, channels))
    (tmp_path / "x.png").write_bytes(png(values, interlaced=interlaced))
    pixels = read(tmp_path / "x.png")
    assert (pixels.values.dtype, pixels.white, pixels.has_more_bits) == (np.uint16, 65535, False)
    assert np.array_equal(pixels.values, values[:, :, [0, 0, 0, 1]] if channels == 2 else values)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_colour_that_is_transparent_becomes_alpha(channels: int, tmp_path: Path) -> None:
    """The very colour: one with the same high bytes is opaque."""
    values = np.random.default_rng(0).integers(0, 65536, (5, 4, channels))
    values[1, 1] = values[0, 0] ^ 1
    extra = chunk(b"tRNS", values[0, 0].astype(">u2").tobytes())
    (tmp_path / "x.png").write_bytes(png(values, extra=extra))
    pixels = read(tmp_path / "x.png").values
    assert np.array_equal(pixels[:, :, :3], np.broadcast_to(values, (5, 4, 3)))
    assert [tuple(i) for i in np.argwhere(pixels[:, :, 3] == 0)] == [(0, 0)]
    assert pixels[1, 1, 3] == 65535


def test_an_orientation_is_applied(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (5, 4, 3))
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "x.png").write_bytes(png(values, extra=chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))))
    assert np.array_equal(read(tmp_path / "x.png").values, np.rot90(values, -1))


def test_which_files_have_16_bits(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 65536, (6, 5, 3))
    (tmp_path / "deep.tiff").write_bytes(tiff(colours))
    pixels = read(tmp_path / "deep.tiff")
    assert not pixels.has_more_bits, "though Pillow reads eight bits"
    assert np.array_equal(pixels.values, colours)
    grey = Image.fromarray(colours[:, :, 0].astype(np.uint16))
    grey.save(tmp_path / "grey.tiff")
    grey.save(tmp_path / "packed.tiff", compression="tiff_lzw")
    for name in ("grey.tiff", "packed.tiff"):
        assert np.array_equal(read(tmp_path / name).values, colours[:, :, :1])
    for suffix in ("png", "jpg", "webp", "bmp", "gif", "ppm", "tiff"):
        Image.new("RGB", (4, 4)).save(tmp_path / f"flat.{suffix}")
        pixels = read(tmp_path / f"flat.{suffix}")
        assert (pixels.values.dtype, pixels.white, pixels.has_more_bits) == (np.uint8, 255, False), suffix


def test_a_collection_says_that_it_rounds(tmp_path: Path) -> None:
    folder = tmp_path / "deep"
    folder.mkdir()
    values = np.random.default_rng(0).integers(0, 65536, (6, 5, 3))
    (folder / "x.png").write_bytes(png(values))
    found = load(str(folder), DataOptions(bits=8))
    assert found.notes[0].startswith("16-bit images were rounded to 8 bits: their numbers are from ")
    assert np.array_equal(found.x[0].movedim(0, -1), np.round(values / 257))


@pytest.mark.parametrize("white", [300, 4095, 65535])
def test_all_bits_of_a_pnm_are_read(white: int, tmp_path: Path) -> None:
    """Pillow scales those of grey to 65535 and cuts those of colours to 8 bits."""
    values = np.random.default_rng(white).integers(0, white + 1, (4, 5, 3)).astype(">u2")
    files = {
        "colours.ppm": (b"P6 5 4 %d\n" % white + values.tobytes(), values),
        "grey.pgm": (b"P5 5 4 %d\n" % white + values[:, :, :1].tobytes(), values[:, :, :1]),
        "digits.pgm": (b"P2 5 4 %d\n" % white + b" ".join(b"%d" % v for v in values[:, :, 0].flat), values[:, :, :1]),
    }
    for name, (content, expected) in files.items():
        (tmp_path / name).write_bytes(content)
        pixels = read(tmp_path / name)
        assert (pixels.white, pixels.has_more_bits) == (white, False), name
        assert np.array_equal(pixels.values, expected), name


def test_twelve_bits_of_a_tiff_are_white_at_4095(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 4096, (2, 6))
    pairs = values.reshape(-1, 2)  # two numbers in three bytes, the higher bits first
    packed = np.stack([pairs[:, 0] >> 4, (pairs[:, 0] & 15) << 4 | pairs[:, 1] >> 8, pairs[:, 1] & 255], 1)
    (tmp_path / "x.tiff").write_bytes(of_bits(values, 12, packed.astype(np.uint8).tobytes()))
    pixels = read(tmp_path / "x.tiff")
    assert pixels.white == 4095
    assert np.array_equal(pixels.values[:, :, 0], values)


def test_a_text_that_is_called_like_a_number_of_bits_is_none(tmp_path: Path) -> None:
    info = PngInfo()
    info.add_text("bit_depth", "8")
    Image.new("RGB", (5, 4)).save(tmp_path / "x.png", pnginfo=info)
    assert not read(tmp_path / "x.png").has_more_bits
