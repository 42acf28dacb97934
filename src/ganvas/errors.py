"""The three ways in which Ganvas gives up, each with one clear sentence."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """Something the caller can put right: the message says what, where and how.  Exit code 2."""


class Diverged(ArithmeticError):
    """Training produced a NaN or an infinity.  The run keeps its last good checkpoint.  Exit code 1."""


class Stopped(KeyboardInterrupt):
    """Training was asked to stop and has saved its state.  Exit code 128 + the signal's number."""

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """' Did you mean "emoji"?', or '' where nothing known is near."""
    near = get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return f' Did you mean "{near[0]}"?' if near else ""
