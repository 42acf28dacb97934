"""Child processes in which something fails at the k-th write: the process is killed, or the disk is full.

A write is an opening of a file for writing, a renaming, a removal or a new folder: Python's audit events tell of each
before it happens.  The product knows nothing of it.
"""

import errno
import os
import resource
import select
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ganvas.errors import DivergenceError, UserError, WriteError

Kind = Literal["none", "before", "half", "full", "short"]
"""no fault; killed before the k-th write; killed there with the write before it half done; the disk refuses the k-th
write and all after it; files may grow by a few bytes only from the k-th write on"""
KILLED, REFUSED, FAILED = -signal.SIGKILL, 1, 3
"""codes of a child: killed, ended with an error of ours, or with another"""
ROOM = 10
"""bytes that fit on a disk with little room"""
SILENCE = 120.0
"""seconds after which a child that has said nothing hangs"""


@dataclass(frozen=True)
class Outcome:
    """How a child ended: its exit code, or the signal as a negative number; and what it has said."""

    code: int
    said: str


def changed_paths(event: str, arguments: tuple[Any, ...]) -> list[Path]:
    """The files that an audit event is about to write, rename or remove."""
    if event == "open":
        path, _, flags = arguments
        is_write = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND))
        return [Path(os.fsdecode(path))] if is_write and not isinstance(path, int) else []
    if event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.symlink", "os.link"):
        n = 2 if event in ("os.rename", "os.symlink", "os.link") else 1
        return [Path(os.fsdecode(path)) for path in arguments[:n] if not isinstance(path, int)]
    return []


def on_writes(act: Callable[[str, list[Path]], None]) -> None:
    """Call `act` before each write of this process, to its end; what it raises is what the write raises."""
    is_acting = False

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal is_acting
        if is_acting:
            return
        is_acting = True
        try:
            if paths := changed_paths(event, arguments):
                act(event, paths)
        finally:
            is_acting = False

    sys.addaudithook(hook)


def install(kind: Kind, at: int, folder: Path) -> list[tuple[Path, bool]]:
    """Let this process fail at its write number `at` below the folder.

    What is returned has the paths of all writes, each with whether it takes room on the disk.
    """
    writes, last, root = list[tuple[Path, bool]](), (folder, 0), folder.absolute()

    def act(event: str, paths: list[Path]) -> None:
        nonlocal last
        path = paths[0].absolute()
        if not path.is_relative_to(root):
            return
        takes_room = event in ("open", "os.mkdir")
        writes.append((path, takes_room))
        n = len(writes)
        if n == at and kind in ("before", "half"):
            if kind == "half" and last[0].is_file():
                os.truncate(last[0], (last[1] + last[0].stat().st_size) // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        if n >= at and kind == "full" and takes_room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(paths[0]))
        size = path.stat().st_size if path.is_file() else 0
        if n == at and kind == "short":
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + ROOM, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        if event == "open":
            last = path, size

    on_writes(act)
    return writes


def in_child(
    work: Callable[[Callable[[str], None]], Any], kill_after: float | None = None, silence: float = SILENCE
) -> Outcome:
    """Do the work in a fork of this process, which is killed after so many seconds, or where it hangs.

    `work` gets a function that says something; what was said last is kept of a child that ends in another way.
    """
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of the tests' own workers do not matter here
        process = os.fork()
    if process == 0:
        code = FAILED
        try:
            os.close(reader)
            code = run_child(work, writer)
        finally:  # whatever happens, the child does not go on as a copy of its parent
            os._exit(code)
    os.close(writer)
    said, deadline = b"", time.monotonic() + (silence if kill_after is None else kill_after)
    while True:
        ready, _, _ = select.select([reader], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            os.kill(process, signal.SIGKILL)
            if kill_after is None:
                said += f"\nno sign of life for {silence:.0f} s".encode()
            break
        if not (content := os.read(reader, 65536)):
            break
        said += content
        deadline = deadline if kill_after is not None else time.monotonic() + silence
    os.close(reader)
    return Outcome(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), said.decode("utf-8", "replace"))


def run_child(work: Callable[[Callable[[str], None]], Any], writer: int) -> int:
    """The child's part: its exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    try:
        work(lambda text: os.write(writer, text.encode()) and None)
        return 0
    except (UserError, WriteError, DivergenceError) as error:
        os.write(writer, f"{type(error).__name__}: {error}".encode())
        return REFUSED
    except BaseException:
        os.write(writer, traceback.format_exc().encode())
        return FAILED
