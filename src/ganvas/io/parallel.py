"""Work on many items in threads, of which a few are under way at a time."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
"""those that this process may use"""


def in_parallel(
    function: Callable[[T], R], items: Iterable[T], workers: int = CORES, group: int = 1
) -> Generator[R, None, None]:
    """The function of each item, in order, computed in threads: Pillow lets others run while it decodes or encodes.

    A thread takes a `group` of items at a time: small ones cost less together.  After an error, also in `items`, or
    Ctrl-C, what is under way is finished and nothing else is begun.
    """
    pool, pending, rest = ThreadPoolExecutor(workers), deque[Future[list[R]]](), iter(items)
    try:
        while part := list(islice(rest, group)):
            pending.append(pool.submit(lambda part: [function(item) for item in part], part))
            if len(pending) > 2 * workers:  # or a slow reader would have nearly all images in memory twice
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
