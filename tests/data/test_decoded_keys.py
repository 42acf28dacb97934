"""Which starts find the images that others have decoded, and which must decode them anew."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from ganvas.data import decoded, load
from ganvas.data.listing import register_heic
from tests.support.folders import picture

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
