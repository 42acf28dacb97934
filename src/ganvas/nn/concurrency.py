"""Works that share nothing, each on its own cores of the processor.

Small convolutions leave cores idle: what a call costs to divide among them is as much as it saves.  Two halves of a
step that do not need each other's results, as the two directions of a CycleGAN, are divided at no cost.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from threading import Barrier
from typing import TypeVar

import torch

T = TypeVar("T")
concurrency_enabled = ContextVar("wanted", default=True)


def concurrently(*functions: Callable[[], T], device: torch.device) -> list[T]:
    """What the functions return, in order.

    On a CPU with a core for each or more they are called at the same time, each in a thread of its own that has its
    share of the cores; anywhere else one after the other.  They may not draw random numbers, and not change what
    another one reads.  Autocast and whether gradients are kept are as where this is called; other modes of torch, as
    those that watch operations, do not reach the threads: see `sequentially`.  An error is raised once all are done.
    """
    threads = torch.get_num_threads()
    if device.type != "cpu" or not 1 < len(functions) <= threads or not concurrency_enabled.get():
        return [work() for work in functions]
    grad_enabled, autocast_enabled = torch.is_grad_enabled(), torch.is_autocast_enabled("cpu")
    dtype, cache_enabled = torch.get_autocast_dtype("cpu"), torch.is_autocast_cache_enabled()

    def run_in_context(function: Callable[[], T]) -> T:
        with torch.set_grad_enabled(grad_enabled), torch.autocast("cpu", dtype, autocast_enabled, cache_enabled):
            return function()

    pool = worker_pool(len(functions), threads // len(functions))
    futures = [pool.submit(run_in_context, work) for work in functions]
    wait(futures)
    return [future.result() for future in futures]


@cache
def worker_pool(count: int, threads: int) -> ThreadPoolExecutor:
    """So many threads that stay, each with so many of torch's own.

    torch.set_num_threads is meant for the thread that calls it, but is also what threads that come later begin with,
    so once all are there the caller's own number is set again.
    """
    caller_threads, barrier = torch.get_num_threads(), Barrier(count)
    pool = ThreadPoolExecutor(count, thread_name_prefix="ganvas")

    def set_threads() -> None:
        torch.set_num_threads(threads)
        torch.get_num_threads()  # the thread's first question, with which its number is settled
        barrier.wait()

    try:
        for future in [pool.submit(set_threads) for _ in range(count)]:
            future.result()
    except BaseException:  # those that are there would wait for the others for good
        barrier.abort()
        pool.shutdown(wait=False)
        raise
    finally:
        torch.set_num_threads(caller_threads)
    return pool


if hasattr(os, "register_at_fork"):  # a child process has none of its parent's threads
    os.register_at_fork(after_in_child=worker_pool.cache_clear)


@contextmanager
def sequentially() -> Iterator[None]:
    """A context in which works are called one after the other, by the thread that asks for them.

    For what counts or watches operations, which sees those of its own thread alone.
    """
    token = concurrency_enabled.set(False)
    try:
        yield
    finally:
        concurrency_enabled.reset(token)
