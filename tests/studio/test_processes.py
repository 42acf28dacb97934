"""Processes that the studio starts: they are detached, and what they say is kept."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ganvas.errors import UserError
from ganvas.io.lock import run_lock
from ganvas.studio import processes
from ganvas.studio.app import Settings

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals and locks as on Unix")
SETTINGS = Settings(Path("runs"))


def wait_until(is_so: Callable[[], object], seconds: float = 60) -> None:
    """Waits, and fails where it never is so."""
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A function that puts a few lines of Python in the place of `ganvas`, which takes seconds to begin."""
    return lambda code: monkeypatch.setattr(processes, "COMMAND", (sys.executable, "-S", "-c", code))


def test_a_start_that_fails_says_why_until_it_is_forgotten(command: Callable[[str], None]) -> None:
    command("import sys; sys.exit('ganvas: there is no data nowhere')")
    name = processes.start(SETTINGS, ["vae", "no/where", "--steps", "2"])
    wait_until(lambda: name not in processes.children)
    assert name.endswith("-vae-where")
    first, last = processes.read_output(SETTINGS, name)
    assert first == f"$ ganvas train vae no/where --steps 2 --folder runs/{name}"
    assert processes.exit_sentence([first, last]) == "there is no data nowhere"
    assert processes.list_starts(SETTINGS) == {name: False}
    assert processes.start(SETTINGS, ["vae", "no/where"]) == f"{name}-2"  # the first is still to be read
    wait_until(lambda: not processes.children)
    processes.forget(SETTINGS, name)
    assert processes.list_starts(SETTINGS) == {f"{name}-2": False}
    with pytest.raises(UserError, match="no start"):
        processes.forget(SETTINGS, name)


def test_a_start_lives_apart_and_can_be_cancelled(command: Callable[[str], None]) -> None:
    command("import time; time.sleep(60)")
    name = processes.start(SETTINGS, ["vae", "data"])
    process = processes.children[name].pid
    assert os.getsid(process) == process  # a session of its own: no Ctrl-C of the server's terminal reaches it
    assert processes.list_starts(SETTINGS) == {name: True}
    with pytest.raises(UserError, match="no start"):
        processes.forget(SETTINGS, name)
    processes.cancel(name)
    wait_until(lambda: name not in processes.children)
    assert processes.exit_sentence(processes.read_output(SETTINGS, name)) == "ended by Terminated"
    with pytest.raises(ProcessLookupError):  # it was reaped
        os.kill(process, 0)


def test_only_who_trains_there_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A number that a killed run left, or that somebody wrote, may be of any process; none gets a signal."""
    request, kill = tmp_path / ".stop", os.kill
    (tmp_path / ".lock").write_text(str(os.getpid()))
    monkeypatch.setattr(os, "kill", lambda *how: pytest.fail("a signal") if how[1] else kill(*how))
    with pytest.raises(UserError, match="not being trained"):
        processes.stop(tmp_path)
    request.touch()  # too late for the run before
    with run_lock(tmp_path, print):
        assert not request.exists()
        for _ in range(2):
            processes.stop(tmp_path)
        assert request.exists()
        with pytest.raises(UserError, match="is being trained"):
            processes.resume(SETTINGS, tmp_path)
    assert not request.exists()


def test_a_request_to_stop_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / ".stop").symlink_to(tmp_path / "elsewhere")
    with run_lock(tmp_path, print):
        (tmp_path / ".stop").symlink_to(tmp_path / "elsewhere")
        processes.stop(tmp_path)
    assert not (tmp_path / "elsewhere").exists()


def test_a_start_is_known_to_live_without_shared_locks(
    command: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows: while the server that began it lives."""
    monkeypatch.setattr(processes, "share_file", lambda descriptor: None)
    command("import time; time.sleep(60)")
    name = processes.start(SETTINGS, ["vae", "data"])
    assert processes.list_starts(SETTINGS) == {name: True}
    with pytest.raises(UserError, match="is being trained"):
        processes.resume(SETTINGS, Path("runs") / name)
    processes.cancel(name)
    wait_until(lambda: not processes.children)


def test_a_second_resume_waits_for_the_first(command: Callable[[str], None], tmp_path: Path) -> None:
    command("import time; time.sleep(60)")
    processes.resume(SETTINGS, tmp_path)
    with pytest.raises(UserError, match="is being trained"):
        processes.resume(SETTINGS, tmp_path)
    processes.cancel(tmp_path.name)
    wait_until(lambda: not processes.children)


@pytest.mark.parametrize("name", ["../x", "a/b", "x\0", "n" * 300, "/etc/passwd"])
def test_a_name_leads_nowhere_else(name: str) -> None:
    with pytest.raises(UserError, match="is no name"):
        processes.read_output(SETTINGS, name)
