"""Processes that decode images of a folder: beside threads, of which Python's lock lets one work at a time.

Each runs `decoder.py`, which needs neither this package nor the user's script, and ends with whoever started it: then
it has nothing to read.  It answers with bytes in place of an image, or with nothing, for what a thread reads then.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from signal import Signals
from subprocess import DEVNULL, PIPE, Popen
from types import TracebackType
from typing import TypeVar

import numpy as np
import PIL

from ..io.parallel import CORES, in_parallel
from . import decoder
from .listing import WHOLE_FILE_BYTES, File
from .pixels import Pixels
from .unreadable import PassingFailure

MIN_IMAGES, MOST = 500, 32
"""files of each process, at least, for it takes as long to start as they do to be decoded; and processes, at most"""
GROUP, GROUP_BYTES, PIPE_BYTES = 32, 2**19, 2**18
"""files that a process decodes at a time and bytes of these, at most; and bytes of images that wait to be taken"""
P = TypeVar("P", bound=tuple[File, int])
R = TypeVar("R")
Process = Popen[bytes]
Answer = tuple[Pixels, int] | PassingFailure | None
"""an image's pixels and how many images its file has; or why it has none; or nothing, where a thread is to read it"""


def count_processes(files: Sequence[File]) -> int:
    """How many are worth their start for these files; 0 for less than two, and where Python cannot be started."""
    is_python = not getattr(sys, "frozen", False) and Path(sys.executable or "").name.lower().startswith("py")
    n = min(CORES, MOST, sum(map(may_decode, files)) // MIN_IMAGES) if is_python else 0
    return n if n > 1 else 0


def may_decode(file: File) -> bool:
    """Whether it is a file of a folder, and small."""
    return bool(file.stamp) and 0 < file.n_bytes < WHOLE_FILE_BYTES


def start() -> Process:
    """A process that decodes; OSError or EOFError where there is none."""
    words = [sys.executable, "-P", "-s", "-S", decoder.__file__]  # without site packages, but for Pillow's folder
    environment = os.environ | {"PYTHONPATH": str(Path(PIL.__file__).parents[1])}
    flags = getattr(subprocess, "CREATE_NO_WINDOW", 0)  # of Windows
    process = Popen(
        words, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, pipesize=PIPE_BYTES, env=environment, creationflags=flags
    )
    try:
        read_exactly(process, len(decoder.READY))
    except (OSError, EOFError):
        end(process)
        raise
    return process


def end(process: Process) -> int:
    """End a process, and wait until it has; its exit status."""
    process.kill()
    with suppress(OSError), process:
        pass
    return process.returncode


def read_exactly(process: Process, n: int) -> bytes:
    """So many bytes of what a process writes; EOFError where it has ended."""
    assert process.stdout
    content = process.stdout.read(n)
    if len(content) < n:
        raise EOFError
    return content


@dataclass
class Decoders:
    """Processes that decode, started as threads ask for them: of a block, at the end of which all end."""

    size: tuple[int, int] | None  # height and width that JPEGs may be reduced to
    idle: list[Process] = field(default_factory=list)
    is_usable: bool = True

    def __enter__(self) -> "Decoders":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for process in self.idle:
            end(process)

    def decode(self, files: Sequence[tuple[File, int]]) -> list[Answer]:
        """The images of these numbers in files.  Where a process ends, each is tried alone, twice at most."""
        if len(files) > 1 and isinstance(answers := self.attempt(files), list):
            return answers
        return [self.decode_alone(file) for file in files]

    def decode_alone(self, file: tuple[File, int]) -> Answer:
        """The image of a number in a file, by the first or the second process; else how the second ended."""
        result = self.attempt([file])
        result = result if isinstance(result, list) else self.attempt([file])
        if isinstance(result, list):
            return result[0]
        how = f"was ended by {Signals(-result).name}" if -result in {*Signals} else f"has ended with status {result}"
        return PassingFailure(f"the process that decoded it {how}")

    def attempt(self, files: Sequence[tuple[File, int]]) -> list[Answer] | int:
        """What a process makes of files, nothing where none can be started; its exit status where it ends."""
        try:
            process = self.take() if self.is_usable else None
        except (OSError, EOFError):
            self.is_usable, process = False, None
        if process is None:
            return [None] * len(files)
        try:
            return self.ask(process, files)
        except (OSError, EOFError):
            return end(process)

    def take(self) -> Process:
        """One that is idle, or a new one."""
        try:
            return self.idle.pop()
        except IndexError:
            return start()

    def ask(self, process: Process, files: Sequence[tuple[File, int]]) -> list[Answer]:
        """What a process makes of files; it is idle then.  OSError or EOFError where it ends."""
        assert process.stdin
        request = [self.size, [(file.location, file.n_bytes * may_decode(file), number) for file, number in files]]
        process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.flush()
        content = read_exactly(process, int.from_bytes(read_exactly(process, decoder.LENGTH_BYTES), "little"))
        self.idle.append(process)
        answers, at = list[Answer](), decoder.HEAD.size * len(files)
        for h, w, c, n_images, has_more_bits in decoder.HEAD.iter_unpack(content[:at]):
            values = np.frombuffer(content, np.uint8, h * w * c, at).reshape(h, w, c)
            answers.append((Pixels(values, 255, has_more_bits), n_images) if c else None)
            at += h * w * c
        return answers


def with_decoders(
    read: Callable[[P, Answer], R], pages: Sequence[P], n: int, size: tuple[int, int] | None
) -> Generator[R, None, None]:
    """`read` of each page, an image of a number in a file, and of what one of n processes made of it, in order."""
    n_bytes = sum(file.n_bytes for file, _ in pages)
    step = max(1, min(GROUP, GROUP_BYTES * len(pages) // max(1, n_bytes)))
    with Decoders(size) as decoders:

        def read_group(pages: Sequence[P]) -> list[R]:
            return list(map(read, pages, decoders.decode(pages)))

        with closing(in_parallel(read_group, (pages[i : i + step] for i in range(0, len(pages), step)), n)) as results:
            yield from chain.from_iterable(results)
