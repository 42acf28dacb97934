"""Writing files so that nothing already written is lost."""

import errno
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from itertools import count
from pathlib import Path

from safetensors import SafetensorError

from ..errors import RunRemovedError, UserError, WriteError, error_reason, write_error
from .lock import UNSUPPORTED_ERRNOS, held_folder

MAX_NAME_BYTES = 100
"""bytes of a name that Ganvas makes up: file systems take 255, of which others add to it"""


@contextmanager
def atomic_write(path: Path, check: Callable[[Path], None] = lambda _: None) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place, at once and whole, when the block ends well.

    `check` looks at the file once the disk has it, and raises OSError where it is not what was written.
    Whoever reads `path` sees the old content or the new, never half of it, even if the power fails.  Its folder is made
    where it is missing, but for that of a run under way, which somebody has then removed: RunRemovedError.  Raises
    UserError where the path is no place for a file, and WriteError, which names it, where the disk is full or something
    else than the caller is to blame.
    """
    temporary = path.with_name(temporary_name(path.name, os.getpid()))
    try:
        run = held_folder(path)
        if path.parent != run:
            path.parent.mkdir(parents=run is None, exist_ok=True)
    except OSError as error:
        if run is not None:
            raise failure(path, error) from error
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO):
            raise write_error(path, error) from error
        raise UserError(f"cannot write {path}: no folder {path.parent} can be made ({error_reason(error)})") from error
    try:
        temporary.touch()
        mode = temporary.stat().st_mode  # as the umask has it, whatever mode the block's writer prefers
        yield temporary
        temporary.chmod(mode)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        check(temporary)
        replace_file(temporary, path)
        sync_folder(path.parent)
    except SafetensorError as error:  # it says what the system said to it as a text: "... (os error 28)"
        match = re.search(r"os error (\d+)", str(error))
        number = int(match[1]) if match else errno.EIO
        raise failure(path, OSError(number, os.strerror(number) if match else str(error))) from error
    except OSError as error:
        if error.filename not in (None, str(path), str(temporary)):  # something that the block reads
            raise
        raise failure(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def append_text(path: Path, text: str) -> None:
    """Add text to a file; raises as `atomic_write` does."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise failure(path, error) from error


def failure(path: Path, error: OSError) -> UserError | WriteError:
    """What is raised where this error kept the file from being written: that its run was removed, or `write_error`."""
    run = held_folder(path)
    if run is not None and not run.is_dir():
        return RunRemovedError(errno.ENOENT, os.strerror(errno.ENOENT), str(run))
    return write_error(path, error)


def temporary_name(name: str, process: int) -> str:
    """What a file is called until it is whole: short enough where `name` itself hardly is."""
    short = shorten(name)
    part = short if short == name else f"{short}-{blake2b(os.fsencode(name), digest_size=8).hexdigest()}"
    return f".{part}.{process}.tmp"


def shorten(name: str, max_bytes: int = MAX_NAME_BYTES) -> str:
    """The name, or as much of it as has so many bytes."""
    encoded = os.fsencode(name)
    return name if len(encoded) <= max_bytes else encoded[:max_bytes].decode(errors="ignore")


def find_temporaries(folder: Path, names: str) -> list[Path]:
    """What is left of files that were being written when their process was killed; `names` is a pattern of theirs."""
    return [path for path in folder.glob(".*.tmp") if re.fullmatch(rf"\.({names})\.\d+\.tmp", path.name)]


def replace_file(temporary: Path, path: Path) -> None:
    """Rename over `path`; on Windows, where a viewer may hold it open for a moment, try again for a second."""
    for _ in range(10 if os.name == "nt" else 0):
        try:
            temporary.replace(path)
            return
        except PermissionError:
            time.sleep(0.1)
    temporary.replace(path)


def sync_folder(folder: Path) -> None:
    """Have the disk hold the folder's names, new ones too; nothing where the platform cannot, as on Windows."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:  # Windows, or a folder that may be written but not listed
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in UNSUPPORTED_ERRNOS:
            raise
    finally:
        os.close(descriptor)


def refuse_existing(path: Path, force: bool) -> None:
    """UserError if `path` would overwrite something that nobody asked to lose."""
    if not force and (path.is_file() or (path.is_dir() and any(path.iterdir()))):
        raise UserError(f"{path} exists: choose another name, or overwrite it with `force`")


def unused_path(path: Path) -> Path:
    """`path`, or else the first of path-2, path-3, ... that does not exist."""
    names = (path if i == 1 else path.with_name(f"{path.stem}-{i}{path.suffix}") for i in count(1))
    return next(p for p in names if not p.exists())
