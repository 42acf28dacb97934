"""Work on many items in threads, of which a few are under way at a time."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_parallel(function: Callable[[T], R], items: Iterable[T], workers: int = os.cpu_count() or 1) -> Iterator[R]:
    """The function of each item, in order, computed in threads: Pillow lets others run while it decodes or encodes.

    After an error, also in `items`, or Ctrl-C, what is under way is finished and nothing else is begun.
    """
    pool, pending = ThreadPoolExecutor(workers), deque[Future[R]]()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > 2 * workers:  # or a slow reader would have nearly all images in memory twice
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
