"""Independent functions at the same time, each on its own cores of the processor.

Small convolutions leave cores idle: to divide one among cores costs as much as it saves.  Two halves of a step that do
not need each other's results, e.g. the two directions of a CycleGAN, are divided at no cost.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from threading import Barrier
from typing import TypeVar

import torch

from ..ranks import world_size

T = TypeVar("T")


def concurrently(*functions: Callable[[], T], device: torch.device) -> list[T]:
    """What the functions return, in order.

    On a CPU with a thread of torch for each or more they run at the same time, each in its own thread with its share of
    the cores; anywhere else, and in one of several ranks, whose collectives must come in the same order everywhere, one
    after the other.  They must not draw random numbers, nor change what another one reads.
    Autocast and gradient mode are the caller's; torch's other modes, e.g. those that watch operations, do not reach the
    threads: call torch.set_num_threads(1) before those.  An error is raised once all are done.
    """
    threads = torch.get_num_threads()
    if device.type != "cpu" or world_size() > 1 or not 1 < len(functions) <= threads:
        return [function() for function in functions]
    grad_enabled, autocast_enabled = torch.is_grad_enabled(), torch.is_autocast_enabled("cpu")
    dtype, cache_enabled = torch.get_autocast_dtype("cpu"), torch.is_autocast_cache_enabled()

    def run_in_context(function: Callable[[], T]) -> T:
        with torch.set_grad_enabled(grad_enabled), torch.autocast("cpu", dtype, autocast_enabled, cache_enabled):
            return function()

    pool = worker_pool(len(functions), threads // len(functions))
    futures = [pool.submit(run_in_context, function) for function in functions]
    wait(futures)
    return [future.result() for future in futures]


@cache
def worker_pool(count: int, threads: int) -> ThreadPoolExecutor:
    """A pool of `count` threads that stay, each with `threads` of torch's own.

    torch.set_num_threads is for the thread that calls it, but also for all that start later: once the pool's are there
    the caller's own number is set again.
    """
    caller_threads, barrier = torch.get_num_threads(), Barrier(count)
    pool = ThreadPoolExecutor(count, thread_name_prefix="ganvas")

    def set_threads() -> None:
        torch.set_num_threads(threads)
        torch.get_num_threads()  # the first call in a thread fixes its number
        barrier.wait()

    try:
        for future in [pool.submit(set_threads) for _ in range(count)]:
            future.result()
    except BaseException:  # threads that did start would wait for the others for good
        barrier.abort()
        pool.shutdown(wait=False)
        raise
    finally:
        torch.set_num_threads(caller_threads)
    return pool


if hasattr(os, "register_at_fork"):  # a child process has none of its parent's threads
    os.register_at_fork(after_in_child=worker_pool.cache_clear)
