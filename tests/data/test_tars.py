"""Images in folders in a tar, which are classes as in a zip."""

import gzip
import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest

from ganvas.data import DataOptions, class_counts, listing, load, names_shards, shard_files, tars
from ganvas.errors import UserError
from tests.support.failures import failing
from tests.support.idx import write_idx
from tests.support.layouts import tree
from tests.support.shards import encode, random_images, write_shards, write_tar

ALL, TEST = DataOptions(holdout=0), DataOptions(split="test")
IMAGE = encode(random_images(1)[0])


def packed(folder: Path, suffix: str) -> Path:
    path = folder.with_name(folder.name + suffix)
    with tarfile.open(path, "w" if suffix == ".tar" else "w:gz") as tar:
        tar.add(folder, "./" if suffix == ".tgz" else folder.name)
    return path


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tgz"])
def test_a_tar_is_read_as_its_folder(suffix: str, tmp_path: Path) -> None:
    folder = tree(tmp_path / "pets", Train__cat=6, Train__dog=5, Test__cat=2, Test__dog=1)
    (folder / "readme.txt").write_text("x")
    path = packed(folder, suffix)
    for options in (DataOptions(), TEST):
        assert load(path, options).fingerprint() == load(folder, options).fingerprint()
    data = load(path)
    assert (data.name, class_counts(data)) == ("pets", {"cat": 6, "dog": 5})
    assert "1 file left out: 1 .txt" in data.notes
    (folder / "dataset.json").write_text('{"labels": [["Train/cat/0.png", 4], ["Train/dog/0.png", 5]]}')
    assert "dataset.json" in " ".join(load(packed(folder, suffix), ALL).notes)


def test_the_headers_of_a_tar_are_read_once_though_several_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, scans = write_tar(tmp_path / "x.tar", [("a/1.png", IMAGE), ("b/2.png", IMAGE)]), list[Path]()
    monkeypatch.setattr(
        shard_files, "tar_members", lambda path, file: scans.append(path) or tars.tar_members(path, file)
    )
    os.utime(path, (1, 1))
    assert (names_shards(str(path)), len(load(path, ALL)), names_shards(str(path)), len(scans)) == (False, 2, False, 1)
    write_tar(path, [("a/1.png", IMAGE), ("a/2.png", IMAGE)])
    assert names_shards(str(path))


def test_a_tar_in_which_images_have_labels_or_lie_in_one_folder_is_of_webdataset(tmp_path: Path) -> None:
    labelled = [("a/1.png", IMAGE), ("a/1.cls", b"3"), ("b/1.png", IMAGE), ("b/1.cls", b"4")]
    path = write_tar(tmp_path / "x.tar", labelled)
    assert names_shards(str(path))
    assert load(path, ALL).classes == ("3", "4")
    assert names_shards(str(write_tar(tmp_path / "x.tar", [("a/1.png", IMAGE), ("a/2.png", IMAGE)])))
    folders = write_tar(tmp_path / "x.tar", [("a/1.png", IMAGE), ("b/x.1.png", IMAGE), ("b/x.2.png", IMAGE)])
    assert not names_shards(str(folders))
    assert class_counts(load(folders, ALL)) == {"a": 1, "b": 2}
    assert load(str(tmp_path / "*.tar"), ALL).classes == ()  # several shards, or a pattern, are WebDataset's
    gzipped = tmp_path / "x.tar.gz"
    gzipped.write_bytes(gzip.compress(write_tar(tmp_path / "y.tar", labelled).read_bytes()))
    with pytest.raises(UserError, match=r"holds WebDataset's labels, .cls: decompress it"):
        load(gzipped)


def test_names_and_links_that_lead_out_of_a_tar_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "x.tar"
    with tarfile.open(path, "w") as tar:
        for name in ("a/1.png", "/b/2.png", "../c/3.png", "a/../../d/4.png"):
            info = tarfile.TarInfo(name)
            info.size = len(IMAGE)
            tar.addfile(info, io.BytesIO(IMAGE))
        link = tarfile.TarInfo("b/5.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    data = load(path, ALL)
    assert data.files == ("a/1.png", "b/2.png")
    assert "left out, names that lead out of the archive: ../c/3.png, a/../../d/4.png" in data.notes
    assert "left out, links and the like in a tar: b/5.png" in data.notes
    assert [entry.name for entry in tmp_path.rglob("*")] == ["in", "x.tar"]


def test_of_a_name_that_a_tar_has_twice_the_last_counts(tmp_path: Path) -> None:
    first, last, other = map(encode, random_images(3))
    path = write_tar(tmp_path / "x.tar", [("a/1.png", first), ("b/1.png", other), ("a/1.png", last)])
    tree_of_two = write_tar(tmp_path / "y.tar", [("a/1.png", last), ("b/1.png", other)])
    assert load(path, ALL).fingerprint() == load(tree_of_two, ALL).fingerprint()


def test_damaged_archives_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = write_tar(tmp_path / "x.tar", [("a/1.png", IMAGE), ("b/2.png", IMAGE)]).read_bytes()
    whole = gzip.compress(raw)
    for content, message in (
        (b"no gzip", r"x.tgz is damaged or not gzipped: Not a gzipped file"),
        (whole[:-20], r"x.tgz is damaged or not gzipped: Compressed file ended before"),
        (gzip.compress(raw[:700]), r"x.tgz is cut off in the middle of a/1.png"),
        (gzip.compress(b"x" * 2000), r"x.tgz is damaged or no plain tar, after its beginning"),
    ):
        (tmp_path / "x.tgz").write_bytes(content)
        failing(capsys, ["data", str(tmp_path / "x.tgz")], 2, message)
    monkeypatch.setattr(listing, "MAX_FILE_BYTES", 10)
    data = r"none of its 2 images can be read; the first, a/1.png: it has \d+ bytes, and 10 are the most"
    with pytest.raises(UserError, match=data):
        load(tmp_path / "x.tar")
    monkeypatch.setattr("ganvas.data.memory.available_memory", lambda: 100)
    (tmp_path / "x.tgz").write_bytes(whole)
    with pytest.raises(UserError, match=r"x.tgz, decompressed, would take .*: unpack it first, and give the folder"):
        tars.decompress(tmp_path / "x.tgz")


SYSTEM = (".DS_Store", "Thumbs.db", "desktop.ini", "__MACOSX/a/._1.png", "a/._1.png", "a/.DS_Store")


def test_files_of_systems_are_counted_nowhere(tmp_path: Path) -> None:
    folder = tree(tmp_path / "plain", a=2, b=2)
    clean = load(folder, ALL)
    for name in SYSTEM:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(IMAGE)
    for source in (folder, packed(folder, ".tar"), packed(folder, ".tar.gz")):
        data = load(source, ALL)
        assert (data.fingerprint(), set(data.notes)) == (clean.fingerprint(), {*clean.notes, *data.notes})
        assert not [note for note in data.notes if "left out" in note or "skipped" in note]


def test_files_of_macos_beside_shards_and_idx_files_are_left_alone(tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "shards", 20)
    (shards / "._data-000.tar").write_bytes(b"x")
    assert len(load(str(shards / "*.tar"), ALL)) == len(load(shards, ALL)) == 20
    (tmp_path / "idx").mkdir()
    pixels = random_images(3)[0][None, ..., 0]
    write_idx(tmp_path / "idx", "train", pixels, np.zeros(1, np.uint8), False)
    (tmp_path / "idx" / "._train-images-idx3-ubyte").write_bytes(b"x")
    assert len(load(tmp_path / "idx", ALL)) == 1
