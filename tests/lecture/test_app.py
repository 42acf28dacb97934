"""The lecture's server, and its command."""

import socket
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ganvas.cli import main
from ganvas.lecture import app as lecture_app
from ganvas.lecture.chapters import algorithm
from tests.support.lecture import CHAPTERS, small_chapter

TINY = {"data": "ring", "steps": 2, "seed": 3}


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Any:
    pytest.importorskip("fastapi")
    from fastapi.testclient import TestClient

    monkeypatch.setattr(algorithm, "CHAPTER", small_chapter("algorithm"))
    monkeypatch.setattr("ganvas.lecture.app.load_chapter", lambda name: vars(algorithm)["CHAPTER"])
    return TestClient(lecture_app.make_app(), base_url="http://127.0.0.1:8400", headers={"x-ganvas-studio": "1"})


def test_a_chapter_waits_until_its_runs_are_recorded(client: Any) -> None:
    assert "algorithm.html" in client.get("/").text
    page = client.get("/algorithm.html").text
    assert 'http-equiv="refresh"' in page
    deadline = time.monotonic() + 60
    while 'http-equiv="refresh"' in page and time.monotonic() < deadline:
        time.sleep(0.1)
        page = client.get("/algorithm.html").text
    assert "Run it anew" in page


def test_readers_have_runs_of_their_own_within_bounds(client: Any) -> None:
    answer = client.post("/algorithm/record", json=TINY)
    assert answer.status_code == 200
    assert answer.json()["parameters"]["seed"] == 3
    assert answer.json()["command"].endswith("--steps 2 --batch-size 128 --seed 3")
    refused = client.post("/algorithm/record", json={"steps": 10**9})
    assert refused.status_code == 422
    assert refused.json()["detail"] == "`steps` must be less than or equal to 5000, not 1000000000"
    impossible = client.post("/algorithm/record", json=TINY | {"loss": "wasserstein"})
    assert impossible.status_code == 422
    assert "bounded slope" in impossible.json()["detail"]


def test_other_hosts_and_chapters_are_refused(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert client.get("/", headers={"Host": "example.org"}).status_code == 403
    assert client.post("/algorithm/record", json=TINY, headers={"Origin": "http://example.org"}).status_code == 403
    monkeypatch.undo()
    missing = client.get("/no-such.html")
    assert (missing.status_code, missing.json()["detail"][:24]) == (404, "the lecture has no chapt")


def test_a_failure_is_said_and_not_repeated_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder, chapter = lecture_app.Recorder(), small_chapter("algorithm")

    def fail(*_: Any) -> None:
        raise MemoryError("no memory")

    monkeypatch.setattr(lecture_app, "recordings", fail)
    recorder.record(chapter)
    message, is_under_way = recorder.start(chapter)
    assert "no memory" in message
    assert not is_under_way


def test_the_command_asks_before_it_overwrites(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "index.html").write_text("mine", encoding="utf-8")
    assert main(["lecture", "--out", "pages"]) == 2
    assert "overwrite it with --force" in capsys.readouterr().err


def test_the_command_writes_a_page_a_chapter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("ganvas.cli.lecture.recordings", lambda *_: [])
    monkeypatch.setattr("ganvas.cli.lecture.render_chapter", lambda chapter, runs: chapter.title)
    assert main(["lecture", "--out", "pages", "--quiet"]) == 0
    assert {path.stem for path in (tmp_path / "pages").iterdir()} == {"index", *CHAPTERS}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--force"], "--force and --json are for files: give --out as well"),
        (["--out", "pages", "--port", "8401"], "--port is of the server: leave it out where files are written"),
        (["--port", "70000"], "--port 70000 is none: give one from 1 to 65535"),
    ],
)
def test_options_that_would_do_nothing_are_refused(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    assert main(["lecture", *words]) == 2
    assert sentence in capsys.readouterr().err


def test_a_port_that_is_taken_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("uvicorn")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert main(["lecture", "--port", str(port)]) == 2
    assert f"--port {port} of 127.0.0.1 cannot be had (address already in use)" in capsys.readouterr().err


def test_the_extra_is_named_where_it_is_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setitem(sys.modules, "fastapi", None)
    assert main(["lecture", "--quiet"]) == 2
    assert 'pip install "ganvas[studio]"' in capsys.readouterr().err
