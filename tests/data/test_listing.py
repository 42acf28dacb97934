"""Which files of a folder are images, and what is said of the others."""

import json
import os
import socket
from io import BytesIO, FileIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganvas.data import DataOptions, class_counts, load
from ganvas.data import listing as files
from ganvas.data.listing import IMAGE_SUFFIXES, RECORD_FILE, list_files, register_heic
from ganvas.errors import UserError
from ganvas.inference.translation import translate_files
from tests.support.folders import picture
from tests.support.translators import negatives

unix = pytest.mark.skipif(os.name == "nt", reason="links and pipes as on Unix")


ALL = DataOptions(holdout=0)


def names(folder: Path) -> list[str]:
    return [str(file) for file in list_files(folder).images]


def test_files_have_the_paths_that_lead_to_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("x.png", "a/b/y.png"):
        picture(tmp_path / name, 0)
    monkeypatch.chdir(tmp_path)
    for root in (tmp_path, Path(), Path("a/..")):
        assert [file.path for file in list_files(root).images] == [root / "a" / "b" / "y.png", root / "x.png"]


@unix
def test_links_to_folders_are_read_through_once_each(tmp_path: Path) -> None:
    data, away = tmp_path / "data", tmp_path / "away"
    for i in range(3):
        picture(data / "cats" / f"{i}.png", i)
        picture(away / "dogs" / "small" / f"{i}.png", 100 + i)
    (data / "dogs").symlink_to(away / "dogs")
    assert class_counts(load(data)) == {"cats": 3, "dogs": 3}
    assert not any("link" in note for note in load(data).notes)
    (data / "a").symlink_to(data / "cats")  # before cats, which is there itself
    (data / "puppies").symlink_to(away / "dogs")
    (data / "cats" / "root").symlink_to(data)
    (data / "cats" / "above").symlink_to(tmp_path)
    (data / "cats" / "gone.png").symlink_to(tmp_path / "nothing")
    (data / "cats" / "one.png").symlink_to(away / "dogs" / "small" / "0.png")
    (data / "cats" / "self").symlink_to(data / "cats" / "self")
    found = load(data, ALL)
    assert class_counts(found) == {"cats": 4, "dogs": 3}
    assert found.notes == (
        "left out, links that lead nowhere: cats/gone.png, cats/self",
        "left out, links to a folder that holds them: cats/above",
        "left out, links to a folder that is read already: a, cats/root, puppies",
    )
    (tmp_path / "all").mkdir()
    (tmp_path / "all" / "dogs").symlink_to(away / "dogs")
    (tmp_path / "link").symlink_to(tmp_path / "all")
    assert class_counts(load(tmp_path / "link")) == {"small": 3}


@unix
def test_a_class_that_is_a_link_is_read_under_its_own_name_though_a_deeper_link_leads_there_too(tmp_path: Path) -> None:
    for name in ("cat", "dogs"):
        picture(tmp_path / "away" / name / "0.png", len(name))
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / name).symlink_to(tmp_path / "away" / name)
    (tmp_path / "away" / "cat" / "up").symlink_to(tmp_path / "away")
    assert class_counts(load(tmp_path / "data")) == {"cat": 1, "dogs": 1}


def test_links_are_translated_under_their_own_names(tmp_path: Path) -> None:
    picture(tmp_path / "away" / "x.png", 7)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dogs").symlink_to(tmp_path / "away")
    assert translate_files(negatives(), tmp_path / "data", tmp_path / "out").translated == 1
    assert (tmp_path / "out" / "dogs" / "x.png").exists()


def test_every_file_is_read_or_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganvas.data.listing.register_heic", lambda: False)
    data = tmp_path / "photos"
    for name, kind in (("a.png", None), ("b.jfif", "JPEG"), ("c.TGA", "TGA"), ("d.JPE", "JPEG"), ("e.jp2", None),
                       ("f", "JPEG"), ("g", "WEBP"), ("h.dib", "DIB"), ("i", "BMP"), ("j", "GIF"), ("k", "TIFF"),
                       ("l", "AVIF"), ("m", "PPM"), ("n", "JPEG2000"), ("o", "PNG"), ("p.pbm", None)):  # fmt: skip
        picture(data / name, 10, kind)
    assert len(load(data)) == 16
    assert load(data, ALL).notes == ()
    for name in ("x.HEIC", "y.heic", "notes.txt", "NOTES.TXT", "more.txt", "README", "Thumbs.db", ".hidden.txt"):
        (data / name).write_bytes(b"what is this")
    left = "6 files left out: 3 .txt, 2 .heic, 1 without suffix; HEIC is read by pillow_heif: pip install"
    (note,) = load(data, ALL).notes
    assert note.startswith(left)
    summary = translate_files(negatives(), data, tmp_path / "out")
    assert (summary.translated, summary.others) == (16, 6)
    assert any(line.startswith(left) for line in summary.lines())
    with Image.open(tmp_path / "out" / "g") as image:
        assert image.format == "WEBP"
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "x.heic").write_bytes(b"x")
    with pytest.raises(UserError, match="holds no images: 1 file left out: 1 .heic; HEIC is read by pillow_heif"):
        load(tmp_path / "none")


def test_heic_is_read_where_its_library_is_installed(tmp_path: Path) -> None:
    """Whatever its name; its own orientation is applied once."""
    heif = pytest.importorskip("pillow_heif")
    assert register_heic()
    pixels = np.random.default_rng(0).integers(0, 256, (64, 48, 3), np.uint8)
    exif = Image.Exif()
    exif[274] = 6
    for name, how in (("x.heic", {}), ("y.jpg", {}), ("turned.HEIF", {"exif": exif.tobytes()})):
        with (tmp_path / name).open("wb") as file:
            image = Image.fromarray(np.rot90(pixels) if how else pixels)
            image.save(file, "HEIF", quality=-1, chroma="444", matrix_coefficients=0, **how)
    data = load(tmp_path, ALL)
    assert data.files == ("turned.HEIF", "x.heic", "y.jpg")
    assert all(np.array_equal(x.permute(1, 2, 0).numpy(), pixels) for x in data.x)
    deep = heif.from_bytes("RGB;16", (48, 64), (pixels.astype(np.uint16) * 257).tobytes())
    deep.save(tmp_path / "x.heic")
    assert "of 1 image with more than 8 bits a channel, 8 were read" in load(tmp_path, ALL).notes


def test_heic_without_its_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("listing", "unreadable"):
        monkeypatch.setattr(f"ganvas.data.{module}.register_heic", lambda: False)
    monkeypatch.setattr(Image, "ID", [name for name in Image.ID if name != "HEIF"])
    for name in ("x.heic", "x.jpg"):
        (tmp_path / name).write_bytes(b"\0\0\0\x18ftypheic" + bytes(99))
        with pytest.raises(UserError, match=r'HEIC is read by pillow_heif: pip install "ganvas\[heic\]"'):
            load(tmp_path / name)


@pytest.mark.parametrize("suffix", sorted(IMAGE_SUFFIXES))
def test_a_translation_can_be_written_in_every_format_that_is_read(suffix: str, tmp_path: Path) -> None:
    picture(tmp_path / f"a{suffix}", 200)
    assert len(load(tmp_path)) == 1
    clear = Image.fromarray(np.full((5, 6, 4), 99, np.uint8))
    clear.save(tmp_path / f"b{suffix}", "PNG")
    summary = translate_files(negatives(), tmp_path, tmp_path / "out")
    assert summary.translated == 2, summary.skipped


@unix
def test_pipes_and_sockets_do_not_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "d"
    picture(data / "a.png")
    os.mkfifo(data / "pipe.png")
    os.mkfifo(data / "bare")
    with socket.socket(socket.AF_UNIX) as plug:
        monkeypatch.chdir(data)
        plug.bind("plug.jpg")
        (note,) = load(data, ALL).notes
        assert sorted(note.removeprefix("left out, pipes, sockets or devices: ").split(", ")) == [
            "bare", "pipe.png", "plug.jpg"
        ]  # fmt: skip
        summary = translate_files(negatives(), data, tmp_path / "out")
        assert note in summary.lines()
    for read in (load, lambda path: translate_files(negatives(), path, tmp_path / "x.png")):
        with pytest.raises(UserError, match="is no regular file|is no image"):
            read(data / "pipe.png")
    os.mkfifo(data / "train-images-idx3-ubyte")
    assert len(load(data)) == 1


def test_what_must_not_be_read_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "d"
    picture(data / "cats" / "a.png")
    secret, image = picture(data / "secret" / "b.png").parent, picture(data / "cats" / "locked.png")
    scan, opened, stat = os.scandir, files.FileIO, Path.stat

    def denied(path: object) -> PermissionError:
        return PermissionError(13, "Permission denied", str(path))

    def no_scan(folder: Path) -> object:
        if folder == secret:
            raise denied(folder)
        return scan(folder)

    def no_open(path: str) -> FileIO:
        if path == str(image):
            raise denied(path)
        return opened(path)

    monkeypatch.setattr(files.os, "scandir", no_scan)
    monkeypatch.setattr(files, "FileIO", no_open)
    found = load(data)
    assert found.notes[0] == "1 file skipped (cats/locked.png: cannot be read (permission denied))"
    assert "left out, folders that cannot be read (permission denied): secret" in found.notes
    summary = translate_files(negatives(), data, tmp_path / "out")
    assert summary.skipped == {str(Path("cats/locked.png")): "cannot be read (permission denied)"}
    with pytest.raises(UserError, match=r"secret cannot be read \(permission denied\)"):
        load(secret)

    def no_stat(path: Path, **options: bool) -> os.stat_result:
        if secret in path.parents:
            raise denied(path)
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", no_stat)
    for read in (load, lambda path: translate_files(negatives(), path, tmp_path / "x.png")):
        with pytest.raises(UserError, match=r"b.png cannot be read \(permission denied\)"):
            read(secret / "b.png")


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x-images-idx3-ubyte", "x.zip", "x.png"])
def test_a_file_that_must_not_be_read_is_said_to_be(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / name
    path.write_bytes(b"x" * 100)

    def denied(*arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    for where in ("builtins.open", "io.open", "pathlib.Path.open", "zipfile.io.open"):
        monkeypatch.setattr(where, denied)
    with pytest.raises(UserError, match=rf"{name}.* cannot be read \(permission denied\)"):
        load(path)


def test_translations_are_no_data_of_their_source(tmp_path: Path) -> None:
    a, b = tmp_path / "A", tmp_path / "B"
    for i in range(3):
        picture(a / f"{i}.png", i)
        picture(b / f"b{i}.png", 50 + i)
    translate_files(negatives(), a, a / "deep" / "painted")
    assert names(a) == ["0.png", "1.png", "2.png"]
    assert list_files(a).notes == ["translations by ganvas are not data: left out deep/painted"]
    assert len(load(a / "deep" / "painted")) == 3  # asked for by name
    translate_files(negatives(), b, a)  # beside the originals
    assert names(a) == ["0.png", "1.png", "2.png"]
    assert "left out ., deep/painted" in list_files(a).notes[0]
    translate_files(negatives(), b, a)
    assert names(a) == ["0.png", "1.png", "2.png"]
    record = json.loads((a / RECORD_FILE).read_text())
    assert record["files"] == ["b0.png", "b1.png", "b2.png"]
    picture(b / "0.png", 9)  # called like an original, which stays one
    picture(b / "more" / "x.png", 9)
    assert translate_files(negatives(), b, a).translated == 1
    assert names(a) == ["0.png", "1.png", "2.png"]
    assert names(tmp_path) == ["A/0.png", "A/1.png", "A/2.png", "B/0.png", "B/b0.png", "B/b1.png", "B/b2.png",
                               "B/more/x.png"]  # fmt: skip


def test_a_single_translation_beside_its_original_is_no_data(tmp_path: Path) -> None:
    a, b = picture(tmp_path / "A" / "a.png", 1), picture(tmp_path / "A" / "b.png", 2)
    translate_files(negatives(), a, a.with_name("a-painted.png"))
    translate_files(negatives(), b, b.with_name("b-painted.jpg"), "A")
    assert names(tmp_path / "A") == ["a.png", "b.png"]
    picture(tmp_path / "B" / "c.png", 3)
    translate_files(negatives(), tmp_path / "B", tmp_path / "A")
    assert names(tmp_path / "A") == ["a.png", "b.png"]
    translate_files(negatives(), a, tmp_path / "elsewhere" / "a.png")
    assert not (tmp_path / "elsewhere" / RECORD_FILE).exists()


def test_records_of_earlier_versions_and_damaged_ones_are_for_all_below(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    for i, record in enumerate(('{"weights": "x", "to": "B", "run": "r", "step": 1}', "{", '{"files": 3}', "[]")):
        picture(tmp_path / f"out{i}" / "sub" / "x.png")
        (tmp_path / f"out{i}" / RECORD_FILE).write_text(record)
    assert names(tmp_path) == ["a.png"]
    assert len(names(tmp_path / "out0")) == 1


def test_runs_and_contact_sheets_are_no_data(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "pets-contact-sheet.png")
    picture(tmp_path / "pets-contact-sheet-2.png")
    picture(tmp_path / "runs" / "one" / "previews" / "0000001.png")
    for name in ("config.json", "log.jsonl", "weights.safetensors"):
        (tmp_path / "runs" / "one" / name).write_text("")
    assert names(tmp_path) == ["a.png"]
    assert load(tmp_path, ALL).notes == (
        "runs by ganvas are not data: left out runs/one", "2 contact sheets by ganvas left out",
    )  # fmt: skip


@unix
def test_odd_names_are_read(tmp_path: Path) -> None:
    data = tmp_path / "pets"
    classes = ["line\nbreak", "\x1b[31mred", os.fsdecode(b"caf\xe9"), " space ", "日本"]
    for i, name in enumerate(classes):
        picture(data / name / f"{name}.png", i)
        (data / name / f"{name}.bad.png").write_bytes(b"x")
    found = load(data)
    assert found.classes == tuple(sorted(classes))
    assert len(found) == 5
    assert "5 files skipped" in found.notes[0]
    assert load(data, DataOptions(classes=("日本",))).x[0, 0, 0, 0] == 4
    assert load(data / classes[0]).name == classes[0]
    assert translate_files(negatives(), data, tmp_path / "out").translated == 5


def test_clutter_of_a_mac_is_left_alone(tmp_path: Path) -> None:
    picture(tmp_path / "cat" / "a.png")
    picture(tmp_path / "dog" / "a.png")
    picture(tmp_path / "__MACOSX" / "cat" / "._a.png")
    (tmp_path / ".DS_Store").write_bytes(b"x")
    assert class_counts(load(tmp_path)) == {"cat": 1, "dog": 1}
    assert load(tmp_path, ALL).notes == ()


def test_a_small_file_is_read_at_once_and_one_that_has_changed_by_its_path(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png")
    (file,) = list_files(tmp_path).images
    content = file.content()
    assert isinstance(content, BytesIO)
    assert content.getvalue() == path.read_bytes()
    path.write_bytes(path.read_bytes() + b"more")
    assert file.content() == path
