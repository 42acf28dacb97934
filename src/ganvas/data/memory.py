"""How much memory there is, so that what cannot fit is refused in a sentence, and not by the system."""

import os
import re
from collections.abc import Iterator
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
    free = 8 * 2**30  # a guess, for Windows
    with suppress(AttributeError, ValueError, OSError):
        free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with suppress(OSError, ValueError, KeyError):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = 1024 * int(dict(line.split(":", 1) for line in lines)["MemAvailable"].split()[0])
    return min([free, *group_memory()]) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def group_memory() -> Iterator[int]:
    """Bytes that are left in each of Linux's control groups that this process is in and that has a limit.

    What they hold of files is no use that counts: the system drops it for others.  Source: cgroups(7), both versions.
    """
    files = {"": ("max", "current", "inactive_file")}
    files["memory"] = ("limit_in_bytes", "usage_in_bytes", "total_inactive_file")
    lines = list[str]()
    with suppress(OSError, ValueError):
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    for _, controller, path in (line.split(":", 2) for line in lines):
        if controller in files:
            limit, use, cache = files[controller]
            group = Path(f"/sys/fs/cgroup/{controller}{path}")
            for folder in (group, *group.parents):  # in a container, the first are often not to be seen
                with suppress(OSError, ValueError):  # no limit is "max"
                    most, used = (int((folder / f"memory.{name}").read_text(encoding="ascii")) for name in (limit, use))
                    stat = (folder / "memory.stat").read_text(encoding="ascii")
                    yield max(0, most - used + int(dict(line.split() for line in stat.splitlines()).get(cache, "0")))


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
