"""Writing files so that nothing already written is lost."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from .errors import UserError


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place, at once and whole, when the block ends well.

    Whoever reads `path` sees the old content or the new, never half of it, even if the power fails.  Its folder is made
    where it is missing; UserError where that cannot be.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise UserError(f"cannot write {path}: no folder {path.parent} can be made ({why})") from error
    try:
        temporary.touch()
        mode = temporary.stat().st_mode  # as the umask has it, whatever mode the block's writer prefers
        yield temporary
        temporary.chmod(mode)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        replace(temporary, path)
    except OSError as error:
        if error.filename == str(temporary):  # a name that nobody gave
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def replace(temporary: Path, path: Path) -> None:
    """Rename over `path`; on Windows, where a viewer may hold it open for a moment, try again for a second."""
    for _ in range(10 if os.name == "nt" else 0):
        try:
            temporary.replace(path)
            return
        except PermissionError:
            time.sleep(0.1)
    temporary.replace(path)


def refuse_existing(path: Path, force: bool) -> None:
    """UserError if `path` would overwrite something that nobody asked to lose."""
    if not force and (path.is_file() or (path.is_dir() and any(path.iterdir()))):
        raise UserError(f"{path} exists: choose another name, or overwrite it with --force")


def unused(path: Path) -> Path:
    """`path`, or else the first of path-2, path-3, ... that does not exist."""
    names = (path if i == 1 else path.with_name(f"{path.stem}-{i}{path.suffix}") for i in count(1))
    return next(p for p in names if not p.exists())
