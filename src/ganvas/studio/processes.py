"""Processes of the studio: ordinary `ganvas train` and `ganvas resume`, which go on when page and server are closed.

What a process says is in a file of the run's name.  The process keeps that file locked while it lives, so that a server
that was started later still knows whether it does.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from itertools import count
from pathlib import Path
from shlex import join
from typing import TYPE_CHECKING, BinaryIO

from ..errors import UserError, write_error
from ..io.atomic import shorten
from ..io.lock import LOCK_FILE, STOP_FILE, is_locked, is_training, share_file
from ..io.run_folder import RunFolder
from ..training.run_records import find_group

if TYPE_CHECKING:
    from .settings import Settings

TAIL = 2**14
"""bytes at the beginning or the end of what a process said that are read"""
MAX_NAME_BYTES = 250
COMMAND: tuple[str, ...] = (sys.executable, "-m", "ganvas")
ERROR_MARK = "ganvas: "
"""how the last line of a command begins that failed"""
children: dict[str, subprocess.Popen[bytes]] = {}
"""processes of this server by the names of their runs, until they end"""


def start(settings: "Settings", words: Sequence[str]) -> str:
    """Begin `ganvas train WORDS`, the first of which are model and data; returns the name of its run's folder.

    UserError where the studio's folder cannot be written.  What is wrong with the words is known later: `read_output`.
    """
    sources = [Path(word).name for word in words[1:3] if not word.startswith("-")]
    stem = f"{datetime.now():%Y-%m-%d}-{'-'.join([Path(words[0]).name, *sources])}"
    stem = shorten("".join(c if c.isalnum() or c in "-_" else "-" for c in stem))
    names = (stem if i == 1 else f"{stem}-{i}" for i in count(1))
    name, file = next(place for name in names if (place := reserve(settings, name)))
    with file:
        spawn(file, name, ["train", *words, "--folder", str(settings.runs_dir / name)])
    return name


def reserve(settings: "Settings", name: str) -> tuple[str, BinaryIO] | None:
    """The name, and the file for what its process says, opened; None where a run, a group or a start has it."""
    folder = settings.runs_dir / name
    if folder.exists() or find_group(folder, settings.runs_dir):
        return None
    try:
        return name, open_output(settings, name, "xb")
    except FileExistsError:
        return None


def resume(settings: "Settings", folder: Path) -> None:
    """Begin `ganvas resume` of a run; UserError where a process trains it, or is about to."""
    path = output_path(settings, folder.name)
    if is_training(folder) or lives(path):
        raise UserError(f"{folder.name} is being trained: wait until it is done, or stop it first")
    with open_output(settings, folder.name, "ab") as file:
        spawn(file, folder.name, ["resume", str(folder)])


def spawn(file: BinaryIO, name: str, words: Sequence[str]) -> None:
    """Begin a command in a session of its own, where no Ctrl-C reaches it; all that it says goes to the file."""
    file.write(f"$ {join(['ganvas', *words])}\n".encode("utf-8", "backslashreplace"))
    file.flush()
    share_file(file.fileno())  # the child's copy of the descriptor keeps it locked
    child = subprocess.Popen(
        [*COMMAND, *words], stdin=subprocess.DEVNULL, stdout=file, stderr=file,
        start_new_session=True, creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )  # fmt: skip
    children[name] = child
    threading.Thread(target=reap, args=(name, child, Path(file.name)), daemon=True).start()


def reap(name: str, child: subprocess.Popen[bytes], output: Path) -> None:
    """Wait for a process, so that the system can forget it; where a signal has ended it, say so in its place."""
    code = child.wait()
    if children.get(name) is child:
        del children[name]
    if code < 0:
        with output.open("ab") as file:
            file.write(f"{ERROR_MARK}ended by {signal.strsignal(-code) or f'signal {-code}'}\n".encode())


def stop(folder: Path) -> None:
    """Ask whoever trains in a folder to save and stop, as Ctrl-C does; UserError where nobody does.

    A file asks (`training.signals`), so no process gets a signal that is another's by now, and Windows, which has no
    such signal, is as all others.  A group of runs has one process, so all of it stops.
    """
    request = folder / STOP_FILE
    if (folder / LOCK_FILE).is_symlink() or not is_training(folder):
        raise UserError(f"{folder.name} is not being trained")
    try:
        with suppress(FileExistsError):  # it was asked before; and no link is followed
            request.open("xb").close()
    except OSError as error:
        raise write_error(request, error) from error


def cancel(name: str) -> None:
    """Ask a start of this server that has no folder yet to end; UserError where there is none of this name."""
    if (child := children.get(name)) is None:
        raise UserError(f"no process of this studio is about to begin {name}")
    child.terminate()


def read_output(settings: "Settings", name: str) -> list[str]:
    """The last lines that the processes of a run said; none where the studio has started none of this name."""
    try:
        with output_path(settings, name).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []
    return lines[size > TAIL :]


def exit_sentence(lines: Sequence[str]) -> str:
    """Why a command failed, by what it said last; nothing where it did not fail."""
    return lines[-1].removeprefix(ERROR_MARK) if lines and lines[-1].startswith(ERROR_MARK) else ""


def list_starts(settings: "Settings") -> dict[str, bool]:
    """Names of starts that have not come to a run folder, newest first, and whether their processes live."""
    runs_dir, starts = settings.runs_dir, dict[str, bool]()
    paths = sorted((path.stat().st_mtime, path) for path in output_folder(settings).glob("*.txt"))
    for _, path in reversed(paths):
        if RunFolder(runs_dir / path.stem).is_run or find_group(runs_dir / path.stem, runs_dir):
            continue
        if (alive := lives(path)) or not has_trained(path):
            starts[path.stem] = alive
    return starts


def lives(output: Path) -> bool:
    """Whether the process lives that writes to a file; where files have no shared locks, as on Windows, one of ours."""
    return output.stem in children or (output.exists() and is_locked(output))


def has_trained(output: Path) -> bool:
    """Whether a process came to its run, so that its folder was removed since."""
    with output.open("rb") as file:
        return b"\nrun " in file.read(TAIL)


def forget(settings: "Settings", name: str) -> None:
    """Remove what a start said that came to nothing; UserError where there is none of this name."""
    if list_starts(settings).get(name) is not False:
        raise UserError(f"there is no start {name!r} that failed")
    output_path(settings, name).unlink(missing_ok=True)


def output_path(settings: "Settings", name: str) -> Path:
    """The file for what the processes of a run say; UserError where the name is none of a folder."""
    if name != Path(name).name or "\0" in name or len(os.fsencode(name)) > MAX_NAME_BYTES:
        raise UserError(f"{name[:MAX_NAME_BYTES]!r} is no name of a run, or too long")
    return output_folder(settings) / f"{name}.txt"


def output_folder(settings: "Settings") -> Path:
    return settings.data_dir / "processes"


def open_output(settings: "Settings", name: str, mode: str) -> BinaryIO:
    """The file, opened for writing: FileExistsError where it is to be new and is not; UserError for other failures."""
    path = output_path(settings, name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open(mode)  # type: ignore[return-value]
    except FileExistsError:
        if path.parent.is_dir():
            raise
        raise UserError(f"{path.parent} is no folder: remove it") from None
    except OSError as error:
        raise write_error(path, error) from error
