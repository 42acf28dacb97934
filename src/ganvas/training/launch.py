"""Several ranks on this machine, started by torchrun's own agent: `ganvas train ... --devices 2`."""

import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from signal import Signals
from uuid import uuid4

import torch

from ..errors import UserError
from ..nn.device import resolve_device


def check_devices(devices: int, device: str) -> None:
    """UserError where this machine has not so many devices; as many processes as one likes share a processor."""
    kind = resolve_device(device).type
    if kind == "cuda" and devices > (n := torch.cuda.device_count()):
        raise UserError(f"devices={devices}, but this machine has {n} GPU{'' if n == 1 else 's'}: give {n} or less")
    if kind == "mps":
        raise UserError(f"devices={devices} needs NVIDIA's GPUs, or device=cpu for processes that share the cores")


def start_ranks(devices: int, words: Sequence[str], device: str) -> int:
    """Run `ganvas` with these words in as many processes, and return the exit code; they print what is to be said.

    The agent stops them all where one ends with an error, and hands on signals, after which they have 30 seconds to
    save.  On a processor they share its cores.  Source: torch.distributed.run, `--standalone`.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, launch_agent

    check_devices(devices, device)
    if resolve_device(device).type == "cpu":
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, torch.get_num_threads() // devices)))
    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)  # the ranks say themselves what is wrong
    with tempfile.TemporaryDirectory(prefix="ganvas-") as folder:
        config = LaunchConfig(
            min_nodes=1, max_nodes=1, nproc_per_node=devices, run_id=uuid4().hex, rdzv_backend="c10d",
            rdzv_endpoint="127.0.0.1:0", local_addr="127.0.0.1", max_restarts=0, monitor_interval=0.1,
            logs_specs=DefaultLogsSpecs(log_dir=folder),
        )  # fmt: skip
        try:
            launch_agent(config, sys.executable, ["-u", "-m", "ganvas", *words])
        except ChildFailedError as error:
            rank, failure = error.get_first_failure()
            if failure.exitcode < 0 and rank == 0:  # else rank 0 has said what has happened
                advice = "go on with ganvas resume and the run's folder"
                print(f"ganvas: rank 0 was ended by {Signals(-failure.exitcode).name}; {advice}", file=sys.stderr)
            return failure.exitcode if failure.exitcode > 0 else 1
        except SignalException as stopped:
            return 128 + stopped.sigval.value
    return 0
