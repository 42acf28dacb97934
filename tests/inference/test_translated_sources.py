"""What a translator reads, and how: archives, arrays, what the run did to its own images."""

import io
import tarfile
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from ganvas.data import DataOptions
from ganvas.inference import tiling
from ganvas.inference import trained as trained_module
from ganvas.inference.tiling import translate_images
from ganvas.inference.trained import Trained
from ganvas.inference.translation import holds_files, translate_files
from ganvas.models import DiscoGAN
from ganvas.viz.images import encode_picture
from tests.support.models import small
from tests.support.translators import RGB, negatives

NAMES = ("a.png", "cat/a.png", "cat/b.png")


def content(level: int) -> bytes:
    return encode_picture(Image.new("RGB", (8, 6), (level, level, level)))


def write_zip(path: Path) -> None:
    with ZipFile(path, "w") as archive:
        for i, name in enumerate(NAMES):
            archive.writestr(name, content(i))


def write_tar(path: Path) -> None:
    with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as archive:
        for i, name in enumerate(NAMES):
            member = tarfile.TarInfo(name)
            member.size = len(content(i))
            archive.addfile(member, io.BytesIO(content(i)))


@pytest.mark.parametrize(("name", "write"), [("x.zip", write_zip), ("x.tar", write_tar), ("x.tgz", write_tar)])
def test_images_of_an_archive_keep_their_names(name: str, write: Any, tmp_path: Path) -> None:
    source, out = tmp_path / name, tmp_path / "out"
    write(source)
    assert holds_files(str(source))
    assert translate_files(negatives(), source, out).translated == 3
    for i, member in enumerate(NAMES):
        with Image.open(out / member) as image:
            assert np.asarray(image).tolist() == np.full((6, 8, 3), 255 - i).tolist()
    assert translate_files(negatives(), source, out).there == 3


def test_of_two_images_of_one_name_in_a_zip_the_last_counts(tmp_path: Path) -> None:
    source = tmp_path / "x.zip"
    with ZipFile(source, "w") as archive:
        archive.writestr("a.png", content(0))
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.png", content(9))
    assert translate_files(negatives(), source, tmp_path / "out").translated == 1
    with Image.open(tmp_path / "out" / "a.png") as image:
        assert image.getpixel((0, 0)) == (246, 246, 246)


def test_other_sources_are_examples_without_files(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((2, 4, 4, 3), np.uint8))
    (tmp_path / "folder").mkdir()
    for source in ("emoji", str(tmp_path / "x.npy"), str(tmp_path / "none"), str(tmp_path / "folder")):
        assert not holds_files(source)


def clear(folder: Path) -> Path:
    """A transparent image with a hidden colour."""
    Image.new("RGBA", (32, 32), (200, 10, 10, 0)).save(folder / "clear.png")
    return folder / "clear.png"


def test_alpha_is_laid_on_the_background_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = clear(tmp_path)
    translate_files(negatives(), source, tmp_path / "white.png")
    own = DataOptions(background="#ff8000")
    monkeypatch.setattr(trained_module, "with_stored_crop", lambda options, trained: own)
    monkeypatch.setattr("ganvas.inference.translation.with_stored_crop", lambda options, trained: own)
    translate_files(negatives(), source, tmp_path / "orange.png")
    translate_files(negatives(), source, tmp_path / "orange.jpg")
    colours = {}
    for name in ("white.png", "orange.png", "orange.jpg"):
        with Image.open(tmp_path / name) as image:
            colours[name] = np.asarray(image)[0, 0].tolist()
    assert colours["white.png"] == [0, 0, 0, 0]
    assert colours["orange.png"] == [0, 127, 255, 0]
    assert np.abs(np.subtract(colours["orange.jpg"], (255, 128, 0))).max() < 4  # what alpha hides is the background


def sizes_seen(crop: str | None, shape: tuple[int, int], x: Tensor | None = None) -> tuple[list[Any], Tensor]:
    """The images h x w that a function of 32 x 32 pixels is given, and what becomes of one of this shape."""
    seen: list[Any] = []

    def function(part: Tensor) -> Tensor:
        seen.append(tuple(part.shape[2:]))
        return part

    x = torch.rand(1, 3, *shape) if x is None else x
    return seen, translate_images(function, x, RGB, RGB, crop=crop)


@pytest.mark.parametrize("crop", ["center", "random", "tiles", "pad"])
@pytest.mark.parametrize("shape", [(32, 32), (64, 32), (50, 100), (7, 90), (20, 9)])
def test_a_translator_of_one_size_sees_images_as_the_run_cropped_them(crop: str, shape: tuple[int, int]) -> None:
    ramp = torch.linspace(0, 1, shape[1]).expand(1, 3, *shape)  # has one size at every scale
    seen, made = sizes_seen(crop, shape, ramp)
    assert set(seen) == {(32, 32)}
    assert made.shape == ramp.shape
    assert (made - ramp).abs().mean() < 0.03
    counts = {"pad": 1, "center": {(64, 32): 3, (50, 100): 3}.get(shape, len(seen))}
    assert len(seen) == counts.get(crop, len(seen))
    if crop in ("random", "tiles") and min(shape) >= 32:  # at their own scale, so nothing is blurred
        torch.testing.assert_close(made, ramp)


def test_only_of_a_translator_of_any_size_another_size_is_worth_saying(tmp_path: Path) -> None:
    shapes = ((3, 16, 16), (3, 16, 16))
    nets = {name: net.eval() for name, net in small(DiscoGAN).networks(shapes).items() if name[0] == "G"}
    run, source = Trained(small(DiscoGAN), shapes, nn.ModuleDict(nets)), tmp_path / "x.png"
    source.write_bytes(content(7))
    summary = translate_files(run, source, tmp_path / "out.png")
    assert (summary.translated, summary.resized) == (1, 0)
    with Image.open(tmp_path / "out.png") as image:
        assert image.size == (8, 6)


def test_a_translator_of_any_size_sees_whole_images() -> None:
    seen, _ = sizes_seen(None, (50, 100))
    assert seen == [(50, 100)]
    assert tiling.MAX_UNTILED_PIXELS > 5000
