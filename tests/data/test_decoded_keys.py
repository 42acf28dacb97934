"""Which starts find the images that others have decoded, and which must decode them anew."""

import errno
import sys
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ganvas.data import DataOptions, decoded, images, load
from ganvas.data.listing import register_heic
from ganvas.data.shard_files import find_shards
from ganvas.errors import UserError
from tests.support.cli import told
from tests.support.folders import picture
from tests.support.shards import write_shards

Patch = pytest.MonkeyPatch


@pytest.fixture(autouse=True)
def few(monkeypatch: Patch) -> None:
    monkeypatch.setattr(decoded, "MIN_IMAGES", 2)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for i in range(6):
        picture(tmp_path / "photos" / f"{i}.png", i)
    return tmp_path / "photos"


def test_an_entry_is_of_the_libraries_that_read_it(
    photos: Path, monkeypatch: Patch, request: pytest.FixtureRequest
) -> None:
    request.addfinalizer(register_heic.cache_clear)
    (photos / "x.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(99))
    library = SimpleNamespace(__version__="1.0", register_heif_opener=lambda: None)
    for module, note in ((None, "1 file left out: 1 .heic; HEIC is read by"), (library, "1 file skipped (x.heic: ")):
        monkeypatch.setitem(sys.modules, "pillow_heif", module)
        register_heic.cache_clear()
        assert any(text.startswith(note) for text in load(photos).notes)
    monkeypatch.setattr(decoded.features, "version", {"avif": "0.1"}.get)
    load(photos)
    assert len(decoded.entries()) == 3


def test_users_of_one_cache_have_entries_of_their_own(photos: Path, monkeypatch: Patch) -> None:
    load(photos)
    monkeypatch.setattr(decoded, "USER", decoded.USER + 1)
    load(photos)
    assert len(decoded.entries()) == 2


@pytest.mark.parametrize("error", [MemoryError(), OSError(errno.EMFILE, "Too many open files"), None], ids=str)
def test_what_could_not_be_read_for_a_moment_is_read_at_the_next_start(
    error: Exception | None, photos: Path, monkeypatch: Patch
) -> None:
    picture(photos / "7.png").write_bytes(picture(photos / "8.png").read_bytes()[:-30])  # damaged for good
    Image.new("RGB", (60, 50)).save(photos / "8.png")

    def decode(page: images.Page, *size: Any, decode: Any = images.decode) -> Any:
        if error and page.file.name == "8.png":
            raise error
        return decode(page, *size)

    with monkeypatch.context() as patch:
        patch.setattr(images, "decode", decode)
        if error is None:
            patch.setattr(images, "LARGE_IMAGE", 1000)
            patch.setattr(images, "available_memory", lambda: 1000)
        first = load(photos, DataOptions(size="5"))
    assert "2 files skipped" in first.notes[0]
    assert first.notes[-1] == f"{decoded.NOT_KEPT}: some could not be read this time"
    assert len(first.x.float().mean((1, 2, 3))) == 6
    assert not decoded.entries()
    assert not decoded.entries(decoded.PARTS)
    assert "1 file skipped (7.png: " in load(photos, DataOptions(size="5")).notes[0]
    assert len(decoded.entries()) == 1


def test_an_entry_of_shards_has_no_more_than_was_asked_for(tmp_path: Path) -> None:
    shards = str(write_shards(tmp_path / "shards", n=20))
    for limit in (5, 6, None):
        load(shards, DataOptions(limit=limit))
    load(shards, DataOptions(classes=("0", "1", "2")))
    assert [decoded.describe(entry)["examples"] for entry in decoded.entries()] == [5, 6, 20]


def test_the_name_of_a_data_set_on_the_hub_is_no_path(tmp_path: Path, monkeypatch: Patch) -> None:
    files = find_shards(str(write_shards(tmp_path / "shards", n=4)), "train")
    monkeypatch.setattr("ganvas.data.find_hub_files", lambda *_: files)
    load("hf:ada/faces")
    (entry,) = decoded.entries()
    assert decoded.describe(entry)["source"] == "hf:ada/faces"


def check_once(source: Path, options: Iterable[dict[str, Any]], monkeypatch: Patch) -> None:
    """All of these options have one entry, whose data are what each would have without."""
    for values in options:
        asked = DataOptions(**values)
        with monkeypatch.context() as patch:
            patch.setenv(decoded.LIMIT_VARIABLE, "0")
            plain = load(source, asked)
        data = load(source, asked)
        assert [getattr(data, name) for name in decoded.FACTS] == [getattr(plain, name) for name in decoded.FACTS]
        assert data.x.equal(plain.x)
        assert len(decoded.entries()) == 1, values


def test_options_that_mean_the_same_have_one_entry(photos: Path, monkeypatch: Patch) -> None:
    same = {"size": "4"}, {"size": "4x4"}, {"size": "4", "crop": "center"}, {"size": "4", "bits": "full"}
    check_once(photos, same, monkeypatch)


def test_numbers_that_a_run_restores_have_one_entry(tmp_path: Path, monkeypatch: Patch) -> None:
    for name, levels in (("deep", (0, 7000)), ("mixed", (3, 900))):
        (tmp_path / name).mkdir()
        for i, level in enumerate(levels):
            Image.fromarray(np.full((5, 4), level, np.uint16)).save(tmp_path / name / f"{i}.png")
    deep = [{"bits": "auto", "scale": "mean-std"}, {"bits": "full"}, {"bits": "full", "channels": 1}]
    check_once(tmp_path / "deep", deep, monkeypatch)
    decoded.clear()
    range_of_all = [{"bits": 8, "range": "auto"}, {"bits": 8, "range": "3,900", "channels": 1, "holdout": "auto"}]
    check_once(tmp_path / "mixed", range_of_all, monkeypatch)
    load(tmp_path / "mixed", DataOptions(bits=8, range="3,901"))
    assert len(decoded.entries()) == 2


@pytest.mark.parametrize(
    ("limit", "reason"), [("1e-7", "they take .* GANVAS_CACHE_LIMIT is"), ("0", "GANVAS_CACHE_LIMIT is 0 GiB")]
)
def test_what_neither_memory_nor_the_cache_holds_has_both_reasons(
    limit: str, reason: str, photos: Path, monkeypatch: Patch
) -> None:
    monkeypatch.setattr("ganvas.data.memory.available_memory", lambda: 100)
    monkeypatch.setenv(decoded.LIMIT_VARIABLE, limit)
    with pytest.raises(UserError, match=f"a smaller `size`.*cache hold them: {reason}"):
        load(photos)


def test_nothing_maps_a_file_that_is_renamed(photos: Path, monkeypatch: Patch) -> None:
    maps = Path("/proc/self/maps")
    if not maps.is_file():
        pytest.skip("no list of what is mapped")

    def rename(temporary: Path, path: Path) -> None:
        assert temporary.name not in maps.read_text()
        temporary.replace(path)

    monkeypatch.setattr(decoded, "replace_file", rename)
    load(photos)
    assert len(decoded.entries()) == 1


def test_the_command_says_what_cannot_be_read(photos: Path, monkeypatch: Patch, capsys: Any) -> None:
    load(photos)
    entry = decoded.entries()[0].path
    entry.with_name(".x.tmp").touch()
    entry.with_name("damaged.safetensors").touch()
    entry.with_name("folder.safetensors").mkdir()  # which root cannot read either
    rows = {row["file"]: row["source"] for row in told(capsys, "cache")["entries"]}
    others = {".x.tmp": "being written", "damaged.safetensors": "damaged", "folder.safetensors": "not readable"}
    assert rows == {entry.name: str(photos.resolve())} | others
