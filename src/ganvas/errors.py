"""The ways in which Ganvas gives up, each with one clear sentence."""

import errno
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from .escape import escape_text
from .renamed import new_name

REMEDIES = {
    "make room": (errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
    "give another place, or see to it that you may write there": (errno.EACCES, errno.EPERM, errno.EROFS),
}
"""what to do where a file cannot be written"""


class Sentence(Exception):
    """An error whose message is one line, in which hidden characters of names, as files may have them, are escaped."""

    def __str__(self) -> str:
        return escape_text(super().__str__())


class UserError(Sentence, ValueError):
    """Something the caller can put right: the message says what, where and how.  Exit code 2."""

    is_of_rank: bool = False
    """whether only this rank, which is not rank 0, can tell"""


class InvalidFileError(UserError):
    """A file of a run that says what cannot be: the message names file and field, which is no argument of anything."""


class WriteError(OSError):
    """A file that could not be written: the message names it and says what to do.  Exit code 1."""

    def __str__(self) -> str:
        advice = next((remedy for remedy, numbers in REMEDIES.items() if self.errno in numbers), "see to its disk")
        name, why = escape_text(str(self.filename)), (self.strerror or "unknown error").lower()
        return f"cannot write {name}: {why}: {advice}, then try again; what was written before is kept"


class RunRemovedError(WriteError):
    """A run's folder, the file name, was removed or moved while it was being trained.  Exit code 1."""

    def __str__(self) -> str:
        name = escape_text(str(self.filename))
        advice = f"put it back and go on with: ganvas resume {name}, or start a new run"
        return f"{name} was removed or moved while it was being trained, so training has ended: {advice}"


class DivergenceError(Sentence, ArithmeticError):
    """Training produced a NaN or an infinity.  The run keeps its last good checkpoint.  Exit code 1."""


class RankError(Sentence, RuntimeError):
    """Processes that train together cannot go on: one has ended, or their weights differ.  Exit code 1."""


class OutOfMemoryError(Sentence, MemoryError):
    """Memory ran out, or does not suffice: the message says for what, and what fits.  Exit code 1."""


class TrainingStopped(KeyboardInterrupt):
    """Training was asked to stop and has saved its state.  Exit code 128 + the signal's number."""

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """' Did you mean "emoji"?', or '' where nothing known is near; of a name that was given up, the new one."""
    known = list(known)
    if renamed := new_name(word, known):
        return f' It is called "{renamed}" now.'
    by_small = {name.lower(): name for name in reversed(known)}
    matches = get_close_matches(word.lower(), by_small, n=1, cutoff=0.6)
    return f' Did you mean "{by_small[matches[0]]}"?' if matches else ""


def check_positive(n: int, name: str) -> int:
    """The number; UserError, by this name, where it is less than 1."""
    if n < 1:
        raise UserError(f"{name}={n}: give 1 or more")
    return n


def error_reason(error: OSError) -> str:
    """Why the system refused, in its words, e.g. "permission denied"."""
    return (error.strerror or str(error)).lower()


def first_line(error: Exception) -> str:
    """The first line of a library's error that says something, at most 200 characters; its type where none does."""
    lines = (line.strip() for line in str(error).splitlines())
    return next(filter(None, lines), type(error).__name__)[:200]


def write_error(path: Path, error: OSError) -> UserError | WriteError:
    """What is raised where this error kept the file from being written: whose fault it is goes by the error."""
    why = error.strerror or str(error)
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP):
        return UserError(f"cannot write {path}: {why.lower()}: give another name")
    return WriteError(error.errno or errno.EIO, why, str(path))
