"""Downloads: checked, tried again, shown, and kept."""

import os
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from ganvas.errors import UserError, WriteError
from ganvas.io.download import DownloadProgress, download
from tests.support.server import serving

CONTENT = bytes(range(256)) * 9
NOWHERE = "http://127.0.0.1:9/"
Fetch = Callable[..., Path]


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was waited between attempts, which here takes no time."""
    seconds: list[float] = []
    monkeypatch.setattr("pooch.core.time.sleep", seconds.append)
    return seconds


@pytest.fixture
def fetch(tmp_path: Path) -> Fetch:
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "a.gz").write_bytes(CONTENT)

    def get(*urls: str) -> Path:
        return download(tmp_path / "kept" / "a.gz", sha256(CONTENT).hexdigest(), urls, "a set", "do this")

    return get


def test_a_server_that_fails_is_asked_again(
    fetch: Fetch, waits: list[float], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept").chmod(0o777)
    with serving(tmp_path / "www", failures=1, damaged=1) as (address, asked):
        path = fetch(f"{address}a.gz")
        assert path.read_bytes() == CONTENT
        assert (len(asked), waits) == (3, [1, 2])
        if os.name == "posix":
            assert path.stat().st_mode & 0o777 == 0o644, "others can read a cache of theirs, and change nothing"
        assert capsys.readouterr().err == f"downloading {address}a.gz\n"
        assert fetch(f"{address}a.gz") == path
        assert len(asked) == 3, "what is there is not fetched again"
        assert capsys.readouterr().err == ""
    assert fetch(NOWHERE) == path, "nor is a network needed"


def test_a_mirror_takes_the_place_of_another(fetch: Fetch, waits: list[float], tmp_path: Path) -> None:
    (tmp_path / "www" / "b").write_bytes(b"other")
    with serving(tmp_path / "www") as (address, asked):
        assert fetch(NOWHERE, f"{address}b", f"{address}c", f"{address}a.gz").read_bytes() == CONTENT
        assert asked == ["/b"] * 3 + ["/c"] * 3 + ["/a.gz"]
        assert [path.name for path in (tmp_path / "kept").iterdir()] == ["a.gz"]


@pytest.mark.usefixtures("waits")
def test_what_could_not_be_downloaded_is_one_sentence(fetch: Fetch, tmp_path: Path) -> None:
    (tmp_path / "www" / "b").write_bytes(b"other")
    with serving(tmp_path / "www") as (address, _):
        reasons = rf"\({NOWHERE}: no connection; {address}b: wrong checksum; {address}c: 404 File not found\): do this"
        with pytest.raises(UserError, match=f"^a set could not be downloaded {reasons}$"):
            fetch(NOWHERE, f"{address}b", f"{address}c")
    assert list((tmp_path / "kept").iterdir()) == []
    with pytest.raises(UserError, match=r"a set could not be downloaded \(from nowhere\)"):
        fetch()


def test_a_damaged_file_in_the_cache_is_replaced(fetch: Fetch, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "a.gz").write_bytes(CONTENT[:-1])
    with serving(tmp_path / "www") as (address, _):
        assert fetch(f"{address}a.gz").read_bytes() == CONTENT


def test_a_cache_that_cannot_be_written_is_named(fetch: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pooch.core.shutil.move", full)
    with (
        serving(tmp_path / "www") as (address, _),
        pytest.raises(WriteError, match=r"a.gz: no space left .* make room"),
    ):
        fetch(f"{address}a.gz")


def test_progress_is_shown_on_a_terminal_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for is_terminal, text in ((False, ""), (True, "\ra.gz: 25%\ra.gz: 50%\ra.gz: 100%\n")):
        monkeypatch.setattr(sys.stderr, "isatty", lambda is_terminal=is_terminal: is_terminal, raising=False)
        bar = DownloadProgress("a.gz", total=400)
        bar.update(100)
        bar.update(100)
        bar.reset()
        bar.update(400)
        bar.close()
        assert capsys.readouterr().err == text
