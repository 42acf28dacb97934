"""The set-up script."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "dev.py"
TRAINING = """
import signal, sys, time
def save(number, frame):
    time.sleep(1)
    print("saved", flush=True)
    sys.exit(7)
signal.signal(signal.SIGINT, save)
signal.signal(signal.SIGTERM, save)
print("training", flush=True)
time.sleep(30)
"""
CALLING = """
import importlib.util, os, signal, sys, threading, time
spec = importlib.util.spec_from_file_location("dev", sys.argv[1])
dev = importlib.util.module_from_spec(spec)
spec.loader.exec_module(dev)
def interrupt():
    time.sleep(1)
    os.killpg(0, signal.SIGINT) if sys.argv[2] == "INT" else os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=interrupt).start()
print("code", dev.call([sys.executable, "-c", sys.argv[3]]))
"""


@pytest.fixture
def dev(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, in a folder of its own."""
    spec = importlib.util.spec_from_file_location("dev", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "HERE", tmp_path)
    monkeypatch.setattr(module, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(module, "STAMP", tmp_path / ".venv" / "made-for")
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_text("x")
    return module


@pytest.mark.skipif(os.name == "nt", reason="signals as on Unix")
@pytest.mark.parametrize("kind", ["INT", "TERM"])
def test_a_job_that_is_interrupted_has_time_to_save(kind: str) -> None:
    command = [sys.executable, "-c", CALLING, str(SCRIPT), kind, TRAINING]
    done = subprocess.run(command, capture_output=True, text=True, check=False, start_new_session=True, timeout=60)
    assert done.stdout.split() == ["training", "saved", "code", "7"], done.stderr


def test_the_environment_is_made_once_and_again_when_its_files_change(
    dev: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr(dev.subprocess, "run", lambda command, **options: ran.append([str(c) for c in command]))
    dev.make()
    assert [command[1:3] for command in ran] == [["-m", "venv"], ["-m", "pip"]]
    assert "--no-compile" in ran[1]
    assert ran[1][-1] == ".[all,dev]"
    dev.make()
    assert len(ran) == 2
    (tmp_path / "constraints.txt").write_text("y")
    dev.make()
    assert len(ran) == 4


def test_an_environment_of_somebody_else_is_left_alone(dev: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    dev.VENV.mkdir()
    (dev.VENV / "precious").touch()
    assert dev.main(["test"]) == 1
    assert "was not made by dev.py: move it away" in capsys.readouterr().err
    assert (dev.VENV / "precious").exists()


def test_compiled_files_are_kept(dev: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    assert "PYTHONDONTWRITEBYTECODE" not in dev.environment()
    assert dev.environment()["PATH"].startswith(str(dev.BIN))


def test_unknown_jobs_are_explained(dev: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["fly"]):
        assert dev.main(words) == 2
        assert "dev.py demo" in capsys.readouterr().err
