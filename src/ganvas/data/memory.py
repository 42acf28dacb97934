"""How much memory there is, so that what cannot fit is refused in a sentence, and not by the system."""

import os
import re
from contextlib import suppress
from math import prod
from pathlib import Path

from ..errors import UserError
from ..io.text import format_number

MAX_MEMORY_SHARE = 0.5  # of the free memory that one thing may take
EXAMPLE_COPIES, CODE_BYTES = 2, 1024
"""how often an example is held while it is made, and bytes of its latent code and of what else goes with it"""
OUT_OF_MEMORY = re.compile("can't allocate memory|not enough memory|out of memory|Storage size calculation overflowed")
"""what PyTorch says where there was not enough"""

REQUEST = re.compile(r"tried to allocate (?:(\d+) bytes|([\d.]+ \w+))", re.IGNORECASE)
"""how it says how much was asked of it then"""


class TooLargeError(UserError):
    """Something would take more memory than is free."""


def available_memory() -> int:
    """Bytes that this process may still take: what the system has free, or less where its control group has less.

    Of several ranks on a machine, which torchrun counts, each has its share: all of them load the same data.
    """
    free, group = 8 * 2**30, Path("/sys/fs/cgroup")  # a guess, for Windows
    with suppress(AttributeError, ValueError, OSError):
        free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with suppress(OSError, ValueError, KeyError):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = 1024 * int(dict(line.split(":", 1) for line in lines)["MemAvailable"].split()[0])
    with suppress(OSError, ValueError):  # Linux, control groups of version 2
        names = ("memory.max", "memory.current", "memory.stat")
        limit, used, stat = ((group / name).read_text(encoding="ascii").strip() for name in names)
        cache = dict(line.split() for line in stat.splitlines()).get("inactive_file", "0")
        free = free if limit == "max" else min(free, max(0, int(limit) - int(used) + int(cache)))
    return free // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def format_bytes(size: int) -> str:
    if size < 2**30 / 10:
        return f"{format_number(size / 2**20)} MiB"
    return f"{format_number(size / 2**30)} GiB" if size < 2**40 else f"{size >> 30:,} GiB"


def check_memory(size: int, what: str, remedy: str) -> None:
    """TooLargeError where so many bytes are more than the machine has free."""
    if size > (free := available_memory()):
        need = f"{format_bytes(size)} of memory, and {format_bytes(free)} are free"
        raise TooLargeError(f"{what} would take {need}: {remedy}")


def check_examples_fit(n: int, shape: tuple[int, ...], request: str) -> None:
    """UserError, which says what was asked, unless n is 1 or more and the machine can hold n examples of this shape."""
    if n < 1:
        raise UserError(f"{request}: give 1 or more")
    size = n * (EXAMPLE_COPIES * prod(shape) * (1 if len(shape) == 3 else 4) + CODE_BYTES)
    check_memory(size, f"{request}: {n:,} examples", "ask for fewer")


def is_out_of_memory(error: BaseException) -> bool:
    is_of_torch = isinstance(error, RuntimeError) and OUT_OF_MEMORY.search(str(error)) is not None
    return is_of_torch or isinstance(error, MemoryError)


def requested_memory(error: BaseException) -> str:
    """ ", which asked for 2.00 GiB more" of the error of memory that ran out; nothing where it does not say."""
    if not (found := REQUEST.search(str(error))):
        return ""
    return f", which asked for {found[2] or format_bytes(int(found[1]))} more"
