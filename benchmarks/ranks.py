"""Images a second of one rank and of two on the same machine, and what averaging their gradients takes.

    python3 dev.py run python benchmarks/ranks.py [--rounds 5] [--steps 10]

One rank with one thread and with two is compared with two ranks of one thread each, joined by gloo on the loopback: on
a machine with two cores.  Weak scaling keeps the batch of a rank, strong scaling that of both together.  All are
measured in turns.  The time of the all-reduce has in it what a rank waits for the other.
"""

import os
import socket
import statistics
import time
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import NamedTuple

import ganvas  # first: it sets how torch's threads wait

import torch
from torch import distributed as dist
from torch import nn

from ganvas.config import TrainConfig
from ganvas.data import Dataset
from ganvas.model import Model
from ganvas.training import distributed
from ganvas.training.bench import start_training
from _support import parser, print_table

CPU = torch.device("cpu")


class Job(NamedTuple):
    """What is trained: a model on so many images of noise of this size, in batches of a rank."""

    model: Model
    images: int
    size: int
    batch: int


class Round(NamedTuple):
    """What a step took, in seconds, and what it sent."""

    step: float
    all_reduce: float
    bytes: float


JOBS = {
    "vae 784-400-20": Job(ganvas.VAE(net="mlp", width=400, latent=20), 1024, 28, 128),
    "dcgan 32 px, width 32": Job(ganvas.DCGAN(width=32), 256, 32, 32),
}


def train_job(job: Job) -> Iterator[int]:
    """Steps of a job."""
    random = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (job.images, 1, job.size, job.size), dtype=torch.uint8, generator=random)
    state, steps = start_training(job.model, Dataset(x=x, name="noise"), TrainConfig(batch_size=job.batch), CPU)
    for step in steps:
        if step % 10 == 0:
            state.meter.pop_means()
        yield step


class Trainer:
    """Jobs of this process, and what their gradients' averages take."""

    def __init__(self, jobs: dict[str, Job]) -> None:
        self.works = {name: train_job(job) for name, job in jobs.items()}
        self.seconds = self.bytes = 0.0
        self.average = distributed.average_gradients
        if dist.is_initialized():
            distributed.average_gradients = self.measure_average

    def measure_average(self, parameters: list[nn.Parameter]) -> None:
        """What `average_gradients` does, with its time and its bytes."""
        start = time.perf_counter()
        self.average(parameters)
        self.seconds += time.perf_counter() - start
        self.bytes += sum(p.grad.nbytes for p in parameters if p.grad is not None)

    def run(self, name: str, steps: int) -> Round:
        """A round of a job."""
        self.seconds = self.bytes = 0.0
        start = time.perf_counter()
        for _ in range(steps):
            next(self.works[name])
        return Round((time.perf_counter() - start) / steps, self.seconds / steps, self.bytes / steps)


def serve(rank: int, port: int, jobs: dict[str, Job], connection: Connection) -> None:
    """A rank with one thread: runs the rounds that it is sent."""
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    distributed.join_ranks("cpu")
    trainer = Trainer(jobs)
    with suppress(EOFError):
        while True:
            name, steps = connection.recv()
            dist.barrier()
            connection.send(trainer.run(name, steps))


class TwoRanks:
    """Two processes that train together; between rounds they wait, and use no time of the processor."""

    def __init__(self, jobs: dict[str, Job]) -> None:
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            port = server.getsockname()[1]
        context, self.connections, self.processes = get_context("spawn"), list[Connection](), []
        for rank in range(2):
            ours, theirs = context.Pipe()
            process = context.Process(target=serve, args=(rank, port, jobs, theirs), daemon=True)
            process.start()
            theirs.close()
            self.connections.append(ours)
            self.processes.append(process)

    def run(self, name: str, steps: int) -> Round:
        """A round of a job by both; its time is that of the slower, its all-reduce that of the one that waits less."""
        for connection in self.connections:
            connection.send((name, steps))
        a, b = (connection.recv() for connection in self.connections)
        return Round(max(a.step, b.step), min(a.all_reduce, b.all_reduce), a.bytes)

    def close(self) -> None:
        """End both."""
        for connection, process in zip(self.connections, self.processes, strict=True):
            connection.close()
            process.join(10)


def medians(rounds: list[Round]) -> Round:
    """Each number's median; the first round warms up and does not count."""
    return Round(*map(statistics.median, zip(*rounds[1:], strict=True)))


def main() -> None:
    words = parser(__doc__, rounds=5, steps=10).parse_args()
    jobs = {name: Job(*job) for name, job in JOBS.items()}
    strong = {f"{name}, strong": job._replace(batch=job.batch // 2) for name, job in jobs.items()}
    one, two = Trainer(jobs), TwoRanks(jobs | strong)
    rounds: dict[tuple[str, str], list[Round]] = {}
    for _ in range(words.rounds + 1):
        for name in jobs:
            for threads in (1, 2):
                torch.set_num_threads(threads)
                rounds.setdefault((name, f"1 rank, {threads}"), []).append(one.run(name, words.steps))
            rounds.setdefault((name, "weak"), []).append(two.run(name, words.steps))
            rounds.setdefault((name, "strong"), []).append(two.run(f"{name}, strong", words.steps))
    two.close()
    rows = []
    for name, job in jobs.items():
        alone = medians(rounds[name, "1 rank, 1"])
        for title, batch, n in (("1 rank, 1", job.batch, 1), ("1 rank, 2", job.batch, 1), ("weak", job.batch, 2),
                                ("strong", job.batch // 2, 2)):  # fmt: skip
            result, threads = medians(rounds[name, title]), 2 if title != "1 rank, 1" else 1
            rate, own = n * batch / result.step, job.batch / alone.step
            label = title if n == 1 else f"2 ranks, {title}"
            cells = (f"{n} x {batch}", f"{rate:,.0f}", f"{rate / own / threads:.0%}", f"{result.step * 1e3:.2f}")
            sent = (f"{result.all_reduce * 1e3:.2f}", f"{result.bytes / 1e6:.2f}") if n == 2 else ("", "")
            rows.append((f"{name}: {label}", *cells, *sent))
    heads = ("batch", "images/s", "efficiency", "step, ms", "all-reduce, ms", "MB a step")
    print_table("ranks and threads", heads, rows)


if __name__ == "__main__":
    main()
