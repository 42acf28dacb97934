"""Images that are decoded once: the same data from the cache, which is bounded, checked, and never in the way."""

import errno
import os
import tarfile
import threading
import zipfile
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ganvas.data import DataOptions, Dataset, dataset, decoded, folder, load, shards
from ganvas.errors import UserError
from tests.support.cli import said, told

SIZE = (12, 10)


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoded, "MIN_IMAGES", 2)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """130 images in two classes, of colours, grey, or with alpha, which may be opaque; one damaged, and a text."""
    return make_photos(tmp_path / "photos")


def make_photos(where: Path, n: int = 130, modes: tuple[str, ...] = ("RGB", "RGB", "L", "RGBA")) -> Path:
    random = np.random.default_rng(n)
    for i in range(n):
        path, mode = where / "ab"[i % 2] / f"{i:03d}.png", modes[i % len(modes)]
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(random.integers(0, 256, (*SIZE[::-1], 4), np.uint8), "RGBA").convert(mode)
        if mode == "RGBA" and i % 8 == 3:
            image.putalpha(255)
        image.save(path)
    (where / "a" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    (where / "notes.txt").write_text("no image")
    return where


def check_same(a: Dataset, b: Dataset) -> None:
    """Two datasets are the same in all that they know."""
    for field in fields(Dataset):
        old, new = getattr(a, field.name), getattr(b, field.name)
        if isinstance(old, torch.Tensor):
            assert (old.dtype, old.tolist()) == (new.dtype, new.tolist()), field.name
        else:
            assert (old, type(old)) == (new, type(new)), field.name


def without_cache(source: Path, options: DataOptions, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    with monkeypatch.context() as patch:
        patch.setenv(decoded.LIMIT_VARIABLE, "0")
        return load(source, options)


def read_again(source: Path, options: DataOptions, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """The data of the second start, in which nothing may be decoded."""

    def refuse(*_: Any) -> None:
        raise AssertionError("decoded again")

    with monkeypatch.context() as patch:
        patch.setattr(folder, "read_images", refuse)
        patch.setattr(folder, "in_parallel", refuse)
        patch.setattr(shards, "read_images", refuse)
        return load(source, options)


def n_entries() -> int:
    assert not list(decoded.folder().glob(decoded.PARTS))
    return len(decoded.entries())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"split": "test"},
        {"holdout": 0.0, "channels": 4},
        {"size": "6", "crop": "pad", "background": "white"},
        {"size": "5", "crop": "tiles", "channels": 1},
        {"size": "8x7", "crop": "random", "classes": ("b",)},
    ],
    ids=str,
)
def test_the_second_start_has_the_same_data_and_decodes_nothing(
    options: dict[str, Any], photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = DataOptions(**options)
    plain = without_cache(photos, asked, monkeypatch)
    assert not decoded.folder().exists()
    first, second = load(photos, asked), read_again(photos, asked, monkeypatch)
    for data in (first, second):
        check_same(plain, data)
        assert data.fingerprint() == plain.fingerprint()
    assert options.get("split") == "test" or "broken.png" in " ".join(second.notes)
    assert n_entries() == 1


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar", "flat.tar"])
def test_archives_are_decoded_once(kind: str, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / f"photos.{kind}"
    with (
        zipfile.ZipFile(archive, "w")
        if kind == "zip"
        else tarfile.open(archive, "w:gz" if kind == "tar.gz" else "w") as output
    ):
        for path in sorted(photos.rglob("*.*")):
            add = output.write if isinstance(output, zipfile.ZipFile) else output.add
            add(path, path.name if kind == "flat.tar" else path.relative_to(photos).as_posix())
    for options in (DataOptions(), DataOptions(split="test", classes=() if kind == "flat.tar" else ("b",))):
        plain = without_cache(archive, options, monkeypatch)
        check_same(plain, load(archive, options))
        check_same(plain, read_again(archive, options, monkeypatch))


def test_deep_images_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(5):
        levels = np.random.default_rng(i).integers(0, 65536, (6, 5), np.uint16)
        (tmp_path / "deep").mkdir(exist_ok=True)
        Image.fromarray(levels).save(tmp_path / "deep" / f"{i}.png")
    for options in (DataOptions(), DataOptions(range="auto"), DataOptions(bits=8)):
        plain = without_cache(tmp_path / "deep", options, monkeypatch)
        assert plain.is_deep == (options.bits != 8)
        check_same(plain, load(tmp_path / "deep", options))
        check_same(plain, read_again(tmp_path / "deep", options, monkeypatch))


def test_what_a_run_remembers_of_its_options_finds_the_same_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Channels and bits that nobody gave: but not where they would have made a difference."""
    alike, mixed = make_photos(tmp_path / "alike", modes=("RGB",)), make_photos(tmp_path / "mixed")
    resumed = DataOptions(channels=3, bits=8, holdout="auto")
    for source in (alike, mixed):
        load(source)
        check_same(without_cache(source, resumed, monkeypatch), load(source, resumed))
    assert n_entries() == 3
    read_again(alike, resumed, monkeypatch)


def test_a_change_of_the_files_is_noticed(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of one that is as long as before and says that it is as old; and of the test part beside."""
    before = load(photos).fingerprint()
    path = next(path for path in photos.glob("a/*.png") if f"a/{path.name}" in load(photos).files)
    status, content = path.stat(), bytearray(path.read_bytes())
    path.write_bytes(content[:-40] + bytes(40))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size
    changed = load(photos)
    assert changed.fingerprint() != before
    check_same(without_cache(photos, DataOptions(), monkeypatch), changed)
    (photos / "labels.csv").write_text("file,label\n" + "\n".join(f"{p.name},x" for p in photos.rglob("*.png")))
    check_same(without_cache(photos, DataOptions(), monkeypatch), load(photos))
    train = photos.rename(photos.parent / "train")
    load(train)
    make_photos(photos.parent / "test", n=3)
    check_same(without_cache(train, DataOptions(), monkeypatch), load(train))


@pytest.mark.parametrize("change", ["time", "bytes", "name", "removal", "addition"])
def test_a_file_that_is_another_makes_another_entry(change: str, photos: Path) -> None:
    options = DataOptions(holdout=0)
    n, path = len(load(photos, options)), photos / "a" / "000.png"
    status, content = path.stat(), path.read_bytes()
    if change == "time":  # of as many bytes as before
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000))
    elif change == "bytes":  # at the same time as before
        path.write_bytes(content + b" ")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    elif change == "addition":
        (path.parent / "new.png").write_bytes(content)
    else:
        path.rename(path.parent / "new.png") if change == "name" else path.unlink()
    assert len(load(photos, options)) == n + {"removal": -1, "addition": 1}.get(change, 0)
    assert n_entries() == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-8],
        lambda content: content + b"12345678",
        lambda content: b"",
        lambda content: bytes(8) + content[8:],
        lambda content: content[:2000] + bytes([content[2000] ^ 1]) + content[2001:],
        lambda content: content.replace(b'"photos"', b'"Photos"'),
        lambda content: content.replace(b'"shape": [', b'"shape": [1', 1),
        lambda content: content[:-1] + bytes([content[-1] ^ 1]),
        lambda content: content[:8] + b"[" * 1016 + content[1024:],
    ],
)
def test_a_damaged_entry_is_made_anew(damage: Callable[[bytes], bytes], photos: Path) -> None:
    plain = load(photos)
    (entry,) = decoded.entries()
    content = entry.path.read_bytes()
    entry.path.unlink()
    entry.path.write_bytes(damage(content))
    assert entry.path.read_bytes() != content
    check_same(plain, load(photos))
    assert entry.path.read_bytes() == content


def test_the_least_recently_used_goes_first_and_nothing_that_is_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = [make_photos(tmp_path / name, modes=("RGB",)) for name in "abcd"]
    held = load(sources[0])
    for source in sources[1:3]:
        load(source)
    for entry, used in zip(decoded.entries(), (1, 2, 3), strict=True):
        os.utime(entry.path, (used, used))
    load(sources[1])  # is now used last
    room = 3.5 * decoded.entries()[0].size / 2**30
    monkeypatch.setenv(decoded.LIMIT_VARIABLE, str(room))
    notes = load(sources[3]).notes
    assert sum("least recently used, were removed from" in note for note in notes) == 1
    left = {told_entry["source"] for told_entry in map(decoded.describe, decoded.entries())}
    assert left == {str(sources[i].resolve()) for i in (0, 1, 3)}
    assert held.x.sum() > 0
    monkeypatch.setenv(decoded.LIMIT_VARIABLE, str(room / 7))
    assert "and GANVAS_CACHE_LIMIT is" in load(sources[2]).notes[-1]
    assert n_entries() == 3
    monkeypatch.setenv(decoded.LIMIT_VARIABLE, "much")
    with pytest.raises(UserError, match="GANVAS_CACHE_LIMIT=much is no number of GiB"):
        load(sources[2])


def test_a_disk_that_refuses_is_said_in_a_line(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, options = without_cache(photos, DataOptions(), monkeypatch), DataOptions()

    def check(reason: str) -> None:
        data = load(photos, options)
        assert reason in data.notes[-1]
        assert "decoded images are not kept" in data.notes[-1]
        assert data.notes[:-1] == plain.notes
        assert data.x.equal(plain.x)

    with monkeypatch.context() as patch:
        patch.setenv("GANVAS_CACHE", str(tmp_path / "file"))
        (tmp_path / "file").touch()
        check("cannot be written to")
    with monkeypatch.context() as patch:
        patch.setattr(decoded, "disk_usage", lambda _: SimpleNamespace(free=5))
        check("free")
    with monkeypatch.context() as patch:
        patch.setattr(decoded, "replace_file", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")))
        check("no space left")
    with monkeypatch.context() as patch:
        patch.setattr(decoded, "replace_file", lambda temporary, path: temporary.unlink())
        check("cannot be read back")
    assert n_entries() == 0


def test_two_at_once_each_have_the_data(photos: Path) -> None:
    barrier, found = threading.Barrier(2), list[Dataset]()

    def work() -> None:
        barrier.wait()
        found.append(load(photos))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check_same(*found)
    assert n_entries() == 1


def test_what_a_killed_process_left_is_removed(photos: Path) -> None:
    decoded.folder().mkdir(parents=True)
    old, new = (decoded.folder() / name for name in (".old.tmp", ".new.tmp"))
    for path in (old, new):
        path.touch()
    os.utime(old, (1, 1))
    load(photos)
    assert (old.exists(), new.exists()) == (False, True)


def test_an_error_leaves_nothing(photos: Path) -> None:
    Image.new("RGB", (7, 7)).save(photos / "a" / "zzz.png")
    with pytest.raises(UserError, match="holds images of 2 sizes"):
        load(photos, DataOptions(holdout=0.0))
    assert n_entries() == 0


def test_data_larger_than_memory_are_mapped(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganvas.data.memory.available_memory", lambda: 1000)
    with pytest.raises(UserError, match="would take"):
        without_cache(photos, DataOptions(), monkeypatch)
    data = load(photos)
    before = data.x[0].clone()
    data.x[0] += 1  # which stays in memory
    assert load(photos).x[0].equal(before)
    if os.name == "posix" and hasattr(os, "sysconf"):
        size = 4 * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        with (tmp_path / "sparse").open("wb") as file:
            file.truncate(size)
        assert len(decoded.map_file(tmp_path / "sparse")) == size


def test_few_images_are_not_kept(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoded, "MIN_IMAGES", 200)
    load(photos)
    assert not decoded.folder().exists()
    monkeypatch.setattr(decoded, "MIN_BYTES", 1000)
    load(photos)
    assert n_entries() == 1


def test_the_command_lists_and_removes(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, "cache")["entries"] == []
    held = load(photos)
    load(photos, DataOptions(split="test"))
    report = told(capsys, "cache")
    assert [row["examples"] for row in report["entries"]] == [len(held), 130 - len(held)]
    assert report["entries"][0] | {"shape": list(held.shape), "source": str(photos.resolve())} == report["entries"][0]
    assert report["bytes"] == sum(row["bytes"] for row in report["entries"])
    text = said(capsys, "cache")
    assert f"{len(held)} x 3 x 10 x 12  {photos.resolve()}" in text
    assert "2 entries" in text.splitlines()[-1]
    assert "in use, or of another user: 1" in said(capsys, "cache", "--clear")
    del held
    assert "0 entries" in said(capsys, "cache", "--clear")
    assert n_entries() == 0


def test_the_examples_are_hashed_once_at_each_start(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashes: list[bytes] = []
    real = dataset.sha256
    monkeypatch.setattr(dataset, "sha256", lambda content: hashes.append(content) or real(content))
    for n in (1, 2):
        load(photos)
        assert len(hashes) == n
    assert n_entries() == 1
