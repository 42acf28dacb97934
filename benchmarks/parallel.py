"""Jobs of a recipe, some at a time, a process and a thread each; what they return is kept as JSON, and not made again.

A recipe that is stopped goes on where it was when it is started again.
"""

import json
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import ganvas  # noqa: F401  first: it sets how torch's threads wait

import torch


def collected(
    work: Callable[..., dict[str, Any]], jobs: dict[str, tuple[Any, ...]], out: Path, workers: int
) -> dict[str, dict[str, Any]]:
    """By the name of each job what `work` returns for its arguments, from OUT/NAME.json if it is there."""
    out.mkdir(parents=True, exist_ok=True)
    missing = {name: arguments for name, arguments in jobs.items() if not (out / f"{name}.json").exists()}
    print(f"{len(jobs)} runs, {len(jobs) - len(missing)} of them in {out} already", flush=True)
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        futures = {pool.submit(timed, work, *arguments): name for name, arguments in missing.items()}
        for done, future in enumerate(as_completed(futures), 1):
            name = futures[future]
            found = future.result()
            temporary = out / f"{name}.json.new"
            temporary.write_text(json.dumps(found), encoding="utf-8")
            temporary.replace(out / f"{name}.json")
            print(f"{done}/{len(missing)} {name} in {found['seconds']:.0f} s", flush=True)
    return {name: json.loads((out / f"{name}.json").read_text(encoding="utf-8")) for name in jobs}


def timed(work: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """What `work` returns, with the seconds that it took."""
    began = time.monotonic()
    found = work(*arguments)
    return {"seconds": time.monotonic() - began} | found
