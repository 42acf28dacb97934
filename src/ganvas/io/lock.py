"""One process at a time in a run folder: a lock that the system takes back from a process that has ended."""

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import UserError, write_error

LOCK_FILE = ".lock"
"""in a run folder while a process writes there; it holds the process's number"""
STOP_FILE = ".stop"
"""in a run folder while whoever trains there is asked to save and stop: Windows has no signal for that"""
UNSUPPORTED_ERRNOS = {errno.ENOLCK, errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP}
"""how a file system says that it has no locks"""
held_descriptors: set[int] = set()
"""descriptors of the locks that this process has"""
held_folders: set[Path] = set()
"""the folders in whose block this process is, by their absolute paths"""


def held_folder(path: Path) -> Path | None:
    """The folder in whose block this process is, if the path is in it or in one of its folders."""
    parents = (path.parent, path.parent.parent)
    return next((folder for folder in parents if folder.absolute() in held_folders), None)


def close_inherited() -> None:
    """In a child process: it has none of its parent's locks, or they would outlive the parent."""
    for descriptor in held_descriptors:
        os.close(descriptor)
    held_descriptors.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=close_inherited)


@contextmanager
def run_lock(folder: Path, report: Callable[[Sequence[str]], None]) -> Iterator[bool]:
    """A block in which nothing else of Ganvas trains in `folder` or writes its weights.

    Yields whether that is sure: a file system without locks gets a note.  Raises UserError where another process, or
    another thread of this one, is in its own block.  A lock ends with its process, however that ends.
    """
    path, name = folder / LOCK_FILE, folder.absolute()
    try:
        descriptor = acquire(path)
    except OSError as error:
        raise write_error(path, error) from error
    held_folders.add(name)
    if descriptor is None:
        report([f"the file system of {folder} has no locks: see to it that nothing else trains in that folder"])
        try:
            yield False
        finally:
            held_folders.discard(name)
        return
    remove_request(folder)
    try:
        with suppress(OSError):  # on a full disk nobody learns whose lock it is
            os.ftruncate(descriptor, 0)
            os.write(descriptor, str(os.getpid()).encode())
        held_descriptors.add(descriptor)
        yield True
    finally:
        held_folders.discard(name)
        if descriptor in held_descriptors:  # not so in a child process
            held_descriptors.discard(descriptor)
            remove_request(folder)
            if os.name != "nt":  # while it is locked: whoever has opened it already sees that it is gone
                path.unlink(missing_ok=True)
            os.close(descriptor)


def remove_request(folder: Path) -> None:
    """Forget that somebody was asked to stop: it was the one before, or it is done."""
    with suppress(OSError):
        (folder / STOP_FILE).unlink()


def acquire(path: Path) -> int | None:
    """A descriptor of the file, locked; None where there are no locks, UserError where another has it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            lock_file(descriptor)
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno in UNSUPPORTED_ERRNOS:
                os.close(descriptor)
                return None
            if error.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
                os.close(descriptor)
                raise
            owner = os.pread(descriptor, 20, 0).decode("ascii", "replace") if hasattr(os, "pread") else ""
            os.close(descriptor)
            who = f"process {owner}" if owner.isdigit() else "another process"
            advice = "wait until it is done, or stop it first"
            raise UserError(f"{path.parent} is being trained by {who}: {advice}") from error
        os.close(descriptor)  # its last owner has removed the file since it was opened


def lock_file(descriptor: int) -> None:
    """Lock the open file; OSError where another has."""
    if os.name == "nt":
        import msvcrt

        os.lseek(descriptor, 2**30, os.SEEK_SET)  # a byte far behind the number, which others may read
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]
        os.lseek(descriptor, 0, os.SEEK_SET)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def share_file(descriptor: int) -> None:
    """Keep others from locking the open file, while it or a copy of it is open; not where files have no such locks."""
    if os.name != "nt":
        import fcntl

        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)


def lock_owner(folder: Path) -> int | None:
    """The number of the process of this machine that trains in a folder, or writes its weights; None where none does.

    It is asked without touching the lock: whoever takes it at the same moment is not hindered.
    """
    try:
        text = (folder / LOCK_FILE).read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    if not text.isdecimal() or not int(text):
        return None
    return int(text) if is_alive(int(text)) else None


def is_locked(path: Path) -> bool:
    """Whether an open file of this path is locked, alone or with others; False where files have no such locks."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        lock_file(descriptor)
    except OSError as error:
        return error.errno not in UNSUPPORTED_ERRNOS
    finally:
        os.close(descriptor)
    return False


def is_training(folder: Path) -> bool:
    """Whether a process trains in a folder, and holds its lock: the number of one that was killed may be another's."""
    if lock_owner(folder) is None:
        return False
    try:
        return is_locked(folder / LOCK_FILE)
    except OSError:  # of another user, say
        return True


def is_alive(process: int) -> bool:
    """Whether there is a process of this number."""
    if os.name == "nt":  # where `os.kill` would end it
        import ctypes

        handle = ctypes.windll.kernel32.OpenProcess(0x1000, False, process)  # type: ignore[attr-defined, unused-ignore]
        if handle:
            ctypes.windll.kernel32.CloseHandle(handle)  # type: ignore[attr-defined, unused-ignore]
        return bool(handle)
    try:
        os.kill(process, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True
