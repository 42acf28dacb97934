"""Times that were measured on this machine: a small JSON file each in the cache, so that no run measures them again."""

import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from hashlib import blake2b
from math import isfinite
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch

from .. import __version__
from ..errors import UserError
from ..io.atomic import atomic_write
from ..io.download import cache_dir
from ..nn.device import synchronize
from .cuda_graph import WARMUP_STEPS

Key = dict[str, Any]
"""what a measurement depends on, as plain values"""
Report = Callable[[Sequence[str]], None]
Seconds = dict[str, float]
"""what something takes, by its name"""
TRIAL_SECONDS, TRIAL_ROUNDS = 2.0, 20
"""seconds of a trial once it is warm, and rounds, at most; there is always one round"""


class StepTimes(NamedTuple):
    """What a trial measures."""

    seconds: Seconds
    """median time of each kind of step"""
    warm_up: float
    """time of the steps before, in seconds: the first compile, and make the optimisers"""


def time_in_turns(steps: Mapping[str, Callable[[], object]], device: torch.device) -> StepTimes:
    """Times of these steps, each done in turn once they are warm: on a GPU, once CUDA graphs of them are recorded."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    start = time.monotonic()
    for _ in range(WARMUP_STEPS + 1 if device.type == "cuda" else 2):
        for step in steps.values():
            step()
    synchronize(device)
    warm_up, start = time.monotonic() - start, time.monotonic()
    for i in range(TRIAL_ROUNDS):
        if i and time.monotonic() - start > TRIAL_SECONDS:
            break
        for name, step in steps.items():
            synchronize(device)
            step_start = time.perf_counter()
            step()
            synchronize(device)
            times[name].append(time.perf_counter() - step_start)
    return StepTimes({name: median(values) for name, values in times.items()}, warm_up)


def machine(device: torch.device) -> Key:
    """The machine as far as speed depends on it: processor, torch, threads, and the GPU that computes."""
    threads = torch.get_num_threads()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    versions = {"torch": torch.__version__, "ganvas": __version__}
    return {"processor": processor(), "threads": threads, "device": name} | versions


@cache
def processor() -> str:
    """Name and features of the processor: as Linux lists them, elsewhere as Python and torch know them."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    wanted = ("model name", "flags", "Features", "CPU part")
    entries = dict.fromkeys(line for line in lines if line.partition("\t")[0].strip(" :") in wanted)
    known = [platform.machine(), platform.processor(), torch.backends.cpu.get_cpu_capability()]
    return "; ".join([*known, *(" ".join(entry.split()) for entry in entries)])


def measurement_file(key: Key) -> Path:
    """Where the measurement with this key is kept."""
    digest = blake2b(json.dumps(key, sort_keys=True, default=str).encode(), digest_size=16).hexdigest()
    return cache_dir() / "speed" / f"{digest}.json"


def recall(
    key: Key | None, names: Sequence[str], measure: Callable[[], Seconds], report: Report
) -> tuple[Seconds, bool]:
    """What was measured with this key, and whether that was now; it is kept if it has all these names.

    Without a key nothing is kept.  A cache that cannot be read or written is only reported.
    """
    if key and (known := read_measurement(key, names, report)):
        return known, False
    seconds = measure()
    if key and seconds.keys() >= set(names):
        write_measurement(key, seconds, report)
    return seconds, True


def read_measurement(key: Key, names: Sequence[str], report: Report) -> Seconds | None:
    """The seconds of these names that were measured with this key; None where there are none, or no file of such."""
    file = measurement_file(key)
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        seconds = {name: float(content["figures"][name]) for name in names}
        if not all(isfinite(value) and value > 0 for value in seconds.values()):
            raise ValueError(f"no such times: {seconds}")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        report([f"{file} is damaged or cannot be read, so speed is measured anew ({type(error).__name__})"])
        return None
    return seconds


def write_measurement(key: Key, seconds: Seconds, report: Report) -> None:
    """Keep what was measured; a cache that cannot be written is only reported."""
    content = json.dumps({"key": key, "figures": seconds}, indent=1, default=str)
    try:
        with atomic_write(measurement_file(key)) as temporary:
            temporary.write_text(content, encoding="utf-8")
    except (OSError, UserError) as error:
        report([f"the next run measures speed again: {error}"])
