"""How a person stops long work: the first request is heard at once, and the second is final."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from ..data.options import Progress
from ..errors import TrainingStopped
from ..io.lock import STOP_FILE

HANGUP: int = getattr(signal, "SIGHUP", 0)
"""what a process gets whose terminal is closed; 0 on Windows, which has no such signal"""
LOOK_SECONDS = 0.5
"""how often a run looks for a file that asks it to stop: more often would slow short steps on slow disks"""


@dataclass
class StopRequest:
    """Whether a person has asked to stop."""

    signal: int = 0
    """the number of the signal that asked; 0 where none has"""
    next_look: float = 0.0
    """when it looks for files again, by `time.monotonic`"""

    def look(self, folders: Sequence[Path]) -> int:
        """The signal; SIGTERM where a file in one of these run folders asks in its place, as on a page."""
        now = time.monotonic()
        if not self.signal and now >= self.next_look:
            self.next_look = now + LOOK_SECONDS
            if any((folder / STOP_FILE).is_file() for folder in folders):
                self.signal = signal.SIGTERM
        return self.signal

    def watch(self, folder: Path, progress: Progress) -> Progress:
        """The same progress, which ends with TrainingStopped where a file in the run folder asks to stop."""

        def report(done: int, total: int) -> None:
            if self.look([folder]):
                raise TrainingStopped(f"stopped while the data of {folder} were read: it is as it was", self.signal)
            progress(done, total)

        return report


@contextmanager
def catch_stop_signals(get_message: Callable[[], str]) -> Iterator[StopRequest]:
    """Turns the first Ctrl-C, SIGTERM or SIGHUP into a request, and says the message at once on stderr.

    A second Ctrl-C or SIGTERM acts as it always does; more SIGHUPs, which a closing terminal may send with the first
    signal, do nothing.  A process that ignores SIGHUP, e.g. under nohup, goes on doing so.  Outside of the main thread,
    which alone gets signals, nothing changes.
    """
    request = StopRequest()
    old_handlers: dict[int, Any] = {}
    terminals = [descriptor for descriptor in (1, 2) if os.isatty(descriptor)]

    def request_stop(number: int, frame: FrameType | None) -> None:
        request.signal = number
        for known, handler in old_handlers.items():
            if known == HANGUP:
                signal.signal(known, signal.SIG_IGN)
            elif handler not in (signal.SIG_IGN, None):
                signal.signal(known, handler)
            else:  # a second signal ends even what ignored the first, e.g. in the background
                signal.signal(known, signal.default_int_handler if known == signal.SIGINT else signal.SIG_DFL)
        if number == HANGUP:  # what is written to a terminal that is gone goes nowhere: it would be an error
            with suppress(OSError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                for descriptor in terminals:
                    os.dup2(nowhere, descriptor)
                os.close(nowhere)
        if message := get_message():
            write_stderr(message)

    if threading.current_thread() is threading.main_thread():
        old_handlers = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, HANGUP) if n}
        if old_handlers.get(HANGUP) == signal.SIG_IGN:
            del old_handlers[HANGUP]
        for number in old_handlers:
            signal.signal(number, request_stop)
    try:
        yield request
    finally:
        for number, handler in old_handlers.items():
            signal.signal(number, handler)


def write_stderr(text: str) -> None:
    """Write a line to stderr past all buffers and their locks, which what was interrupted may hold."""
    try:
        descriptor = sys.stderr.fileno()
        start = "\r\x1b[2K" if os.isatty(descriptor) else ""  # in place of a progress line, which comes again below
        os.write(descriptor, f"{start}{text}\n".encode())
    except (OSError, ValueError, AttributeError):  # not a file, as in a notebook
        with suppress(Exception):
            print(text, file=sys.stderr)
