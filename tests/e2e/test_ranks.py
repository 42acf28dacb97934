"""Runs by two processes from the command line: they go on to the same bits, and end together."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from ganvas.io.safetensors import read_header
from tests.support.data import write_folder
from tests.support.folders import check_same_bits
from tests.support.ranks import ENVIRONMENT, GANVAS, free_port, run

TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
POOLED = ["--width", "4", "--blocks", "1", "--pool-size", "6", "--lr-decay", "0", "--batch-size", "2", "--quiet"]
SMALL = ["--width", "4", "--latent", "3", "--batch-size", "2", "--checkpoint-every", "20"]


def wait_until(is_so: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.05)


def children(process: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def test_ranks_with_pools_go_on_to_the_same_bits_also_by_two_agents(folder: Path) -> None:
    domains = [str(folder), str(write_folder(folder.parent / "b"))]
    train = ["train", "cyclegan", *domains, *POOLED, "--checkpoint-every", "20", "--steps"]
    straight = run([*GANVAS, *train, "40", "--folder", "straight", "--devices", "2"])
    assert straight.returncode == 0, straight.stderr
    assert straight.stdout.split() == ["straight"]
    half = run([*TORCHRUN, "--standalone", "--nproc-per-node", "2", "-m", "ganvas", *train, "20", "--folder", "half"])
    assert half.returncode == 0, half.stderr
    assert read_header(Path("half/state.ckpt"))["world_size"] == 2
    agent = [*TORCHRUN, "--nnodes", "2", "--nproc-per-node", "1", "--rdzv-backend", "c10d", "--rdzv-id", "1"]
    agent += [
        "--rdzv-endpoint",
        f"127.0.0.1:{free_port()}",
        "-m",
        "ganvas",
        "resume",
        "half",
        "--steps",
        "40",
        "--quiet",
    ]
    agents = [subprocess.Popen(agent, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in agents:
        _, errors = process.communicate(timeout=100)
        assert process.returncode == 0, errors
    check_same_bits("straight", "half")


def test_a_killed_rank_ends_the_others_and_the_run_goes_on(folder: Path) -> None:
    train = [*GANVAS, "train", "vae", str(folder), *SMALL, "--steps", "100000", "--folder", "run", "--devices", "2"]
    process = subprocess.Popen([*train, "--quiet"], env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: Path("run/previews/0000020.png").exists())
    os.kill(children(process.pid)[-1], signal.SIGKILL)
    start = time.monotonic()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert time.monotonic() - start < 30
    assert errors.count("ganvas: ") == 1, errors
    step = read_header(Path("run/state.ckpt"))["step"]
    resumed = subprocess.Popen([*GANVAS, "resume", "run", "--quiet", "--devices", "2"], env=ENVIRONMENT)
    wait_until(lambda: read_header(Path("run/state.ckpt"))["step"] > step)
    resumed.terminate()
    assert resumed.wait(60) == 128 + signal.SIGTERM
