"""Images in a zip, and single images."""

import json
import struct
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np
import pytest
from PIL import Image

from ganvas import VAE, CycleGAN
from ganvas.data import DataOptions, MissingSplitError, class_counts, listing, load
from ganvas.errors import UserError
from ganvas.training import run
from tests.support.folders import picture
from tests.support.images import png
from tests.support.layouts import tree

ALL, TEST = DataOptions(holdout=0), DataOptions(split="test")
ONE = "a single image: a model can learn nothing but this one"
TINY = VAE(latent=2, net="mlp", width=4, depth=1)


def zipped(folder: Path, inside: str = "") -> Path:
    path = folder.with_suffix(".zip")
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, f"{inside}{file.relative_to(folder).as_posix()}")
    return path


def test_a_zip_is_read_as_its_folder(tmp_path: Path) -> None:
    folder = tree(tmp_path / "pets", Train__cat=60, Train__dog=50, Test__cat=2, Test__dog=1)
    (folder / "readme.txt").write_text("x")
    for inside in ("", "pets/"):
        path = zipped(folder, inside)
        for view in (DataOptions(), TEST):
            assert load(path, view).fingerprint() == load(folder, view).fingerprint()
        assert "1 file left out: 1 .txt" in load(path).notes
        assert load(path).name == "pets"
    held = tree(tmp_path / "flat", cat=70, dog=80)
    path = zipped(held)
    for view in (DataOptions(), TEST):
        assert load(path, view).fingerprint() == load(held, view).fingerprint()
    trained = run.train(TINY, path, steps=1, batch_size=8, quiet=True)
    assert trained.folder is not None
    run.resume(trained.folder, steps=2, quiet=True)
    assert len(trained.encode(path)) == 150


def test_labels_and_deep_images_in_a_zip(tmp_path: Path) -> None:
    folder = tmp_path / "deep"
    folder.mkdir()
    random = np.random.default_rng(0)
    for i in range(3):
        (folder / f"rgb{i}.png").write_bytes(png(random.integers(0, 65536, (5, 6, 3))))
    for i in range(3):
        Image.fromarray(random.integers(0, 65536, (5, 6)).astype(np.uint16)).save(folder / f"x{i}.tiff")
    rows = [[file.name, i % 2] for i, file in enumerate(sorted(folder.iterdir()))]
    (folder / "dataset.json").write_text(json.dumps({"labels": rows}))
    path = zipped(folder)
    assert load(path, ALL).fingerprint() == load(folder, ALL).fingerprint()
    assert class_counts(load(path)) == {"0": 3, "1": 3}


def test_what_a_zip_must_not_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good, path = picture(tmp_path / "good.png", 7), tmp_path / "bad.zip"
    link = ZipInfo("link.png")
    link.external_attr = 0o120777 << 16
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        archive.write(good, "dir\\good.png")
        archive.writestr(link, "/etc/passwd")
        archive.writestr("../../up.png", good.read_bytes())
        archive.writestr("__MACOSX/._good.png", "x")
        archive.writestr("bomb.png", b"\0" * 3000)
    monkeypatch.setattr(listing, "MAX_FILE_BYTES", 2000)
    data = load(path, ALL)
    assert len(data) == 1
    assert data.notes[0] == "1 file skipped (bomb.png: it says that it has 3,000 bytes: unzip it first)"
    assert "left out, links and the like in a zip: link.png" in data.notes
    path = zipped(tree(tmp_path / "secret", a=1))
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"PK\1\2") + 8] |= 1  # encrypted
    path.write_bytes(raw)
    with pytest.raises(UserError, match="the first, a/0.png: .*encrypted"):
        load(path, ALL)


@pytest.mark.parametrize(
    "content", [b"", b"PK\3\4", b"no zip at all", b"PK\5\6" + b"\0" * 17, b"PK\5\6" + b"\xff" * 18]
)
def test_damaged_zips_are_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"x.zip (is damaged or no zip|holds no images)"):
        load(path)


def test_a_zip_with_damaged_members(tmp_path: Path) -> None:
    path = zipped(tree(tmp_path / "x", a=3))
    raw = bytearray(path.read_bytes())
    start = raw.index(b"PK\3\4")
    size = struct.unpack("<H", raw[start + 26 : start + 28])[0]
    raw[start + 30 + size + 20] ^= 0xFF
    path.write_bytes(raw)
    assert len(load(path, ALL)) == 2
    assert "1 file skipped (a/0.png" in load(path, ALL).notes[0]


def test_damaged_bytes_in_a_zip_that_is_held_out_from(tmp_path: Path) -> None:
    """Neither the hash of an image nor the first bytes of a file without suffix can be read; both are named."""
    folder = tree(tmp_path / "x", a=120)
    (folder / "bare").write_bytes(bytes(3000))
    (folder / "a" / "no.png").write_text("no image")
    path = zipped(folder)
    raw = bytearray(path.read_bytes())
    with ZipFile(path) as archive:
        for member in map(archive.getinfo, ("a/0.png", "bare")):
            start = member.header_offset + 30 + len(member.filename)
            raw[start : start + 9] = b"\xff" * 9
    path.write_bytes(raw)
    data = load(path)
    assert "2 files skipped (a/0.png: Error -3 while decompressing data" in data.notes[0]
    assert "a/no.png: cannot identify image file 'no.png'" in data.notes[0]
    assert "1 file left out: 1 without suffix" in data.notes


def test_other_archives_and_tables_are_named_with_what_to_do(tmp_path: Path) -> None:
    picture(tmp_path / "photos" / "a.png")
    for name, words in (
        ("photos.tar.xz", "photos.tar.xz is no data source: unpack it first"),
        ("photos/labels.csv", "photos/labels.csv is no table"),
        ("dataset.json", "dataset.json is no data source: if it holds labels of images, give the folder that has both"),
        ("photos/notes.txt", "notes.txt is no data source: give a folder or a zip of images, an image, a .npy"),
    ):
        (tmp_path / name).write_text("x")
        with pytest.raises(UserError, match=words):
            load(tmp_path / name)
    both = zipped(tree(tmp_path / "maps", trainA=1, trainB=1))
    with pytest.raises(UserError, match="holds two domains, trainA and trainB: unpack it first"):
        run.train(TINY, both, quiet=True)
    with pytest.raises(UserError, match="translates between two datasets"):
        run.train(CycleGAN(), both, quiet=True)


def test_a_single_image_is_a_collection_of_one(tmp_path: Path) -> None:
    path = picture(tmp_path / "x" / "one.png", 9)
    bare = picture(tmp_path / "bare", 9, "JPEG")
    data = load(path)
    assert (len(data), data.name, data.labels, data.notes) == (1, "one", None, (ONE,))
    assert load(bare).shape == (3, 5, 6)
    with pytest.raises(MissingSplitError):
        load(path, TEST)
    trained = run.train(TINY, tree(tmp_path / "many", a=8), steps=1, batch_size=4, size="12x10", quiet=True)
    assert len(trained.encode(path)) == 1  # of the run's size
    assert len(trained.reconstruct(str(bare))) == 1
    (tmp_path / "no.png").write_bytes(b"x")
    with pytest.raises(UserError, match="none of its 1 images can be read"):
        load(tmp_path / "no.png")


def test_a_member_without_a_name(tmp_path: Path) -> None:
    with ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("q", b"x")
        archive.write(picture(tmp_path / "0.png"), "0.png")
    (tmp_path / "x.zip").write_bytes((tmp_path / "x.zip").read_bytes().replace(b"q", b"\0"))  # which ends a name
    assert load(tmp_path / "x.zip").files == ("0.png",)
