"""`ganvas studio`: its options, and what it says."""

import socket
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("uvicorn")
import uvicorn

from ganvas.cli import main
from ganvas.studio.settings import Settings


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the server would have served, and where."""
    seen: dict[str, Any] = {}

    def run(self: Any, sockets: list[socket.socket]) -> None:
        app = self.config.app
        while not hasattr(app, "state"):
            app = app.app
        seen.update(settings=app.state.settings, address=sockets[0].getsockname())

    monkeypatch.setattr(uvicorn.Server, "run", run)
    return seen


def test_options_arrive(served: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "--runs-dir",
        "mine",
        "--data",
        "a",
        "--data",
        "b",
        "--host",
        "127.0.0.2",
        "--port",
        "0",
        "--token",
        "secret",
    ]
    assert main(["studio", *words]) == 0
    assert served["settings"] == Settings(Path("mine"), (Path("a"), Path("b")), "127.0.0.2", "secret")
    assert served["address"][0] == "127.0.0.2"
    assert f"http://127.0.0.2:{served['address'][1]}/?token=secret" in capsys.readouterr().err


def test_nobody_is_asked_for_a_token_on_this_machine(served: dict[str, Any]) -> None:
    assert main(["studio", "--runs", "mine", "--port", "0"]) == 0
    assert served["settings"] == Settings(Path("mine"))


def test_others_are_asked_for_a_token(served: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["studio", "--host", "0.0.0.0", "--port", "0"]) == 0
    token = served["settings"].token
    assert len(token) > 30
    assert f"?token={token}" in capsys.readouterr().err


def test_a_port_that_is_taken_is_named(served: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["studio", "--port", str(port)]) == 2
    assert f"--port {port} of 127.0.0.1 cannot be had (address already in use)" in capsys.readouterr().err
    assert main(["studio", "--port", "70000"]) == 2
