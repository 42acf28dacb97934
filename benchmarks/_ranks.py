"""Rounds of training by this process, and by two ranks on this machine, for benchmarks that compare them."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import NamedTuple

import ganvas  # noqa: F401  first: it sets how torch's threads wait

import torch
from torch import distributed as dist
from torch import nn

from ganvas.config import TrainConfig
from ganvas.data import Dataset
from ganvas.model import Model
from ganvas.training import distributed
from ganvas.training.bench import start_training
from ganvas.training.run_records import log_interval


class Job(NamedTuple):
    """What is trained: a model on so many grey images of noise of this size, in batches of a rank."""

    model: Model
    images: int
    size: int
    batch: int

    @property
    def data(self) -> Dataset:
        random = torch.Generator().manual_seed(0)
        x = torch.randint(0, 256, (self.images, 1, self.size, self.size), dtype=torch.uint8, generator=random)
        return Dataset(x=x, name="noise")


class Round(NamedTuple):
    """What a step took, in seconds, and what it sent."""

    step: float
    all_reduce: float
    bytes: float


def train_job(job: Job) -> Iterator[int]:
    """Steps of a job, with the log's meter read as often as in a run."""
    config = TrainConfig(batch_size=job.batch)
    state, steps = start_training(job.model, job.data, config, torch.device("cpu"))
    for step in steps:
        if step % log_interval(config) == 0:
            state.meter.pop_means()
        yield step


class Trainer:
    """Trains jobs in this process, and measures what their gradients' averages take."""

    def __init__(self) -> None:
        self.works: dict[Job, Iterator[int]] = {}
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

    def run(self, job: Job, steps: int) -> Round:
        """A round of a job; the first prepares its data and networks."""
        work = self.works.setdefault(job, train_job(job))
        self.seconds = self.bytes = 0.0
        start = time.perf_counter()
        for _ in range(steps):
            next(work)
        return Round((time.perf_counter() - start) / steps, self.seconds / steps, self.bytes / steps)


def serve(rank: int, port: int, connection: Connection) -> None:
    """A rank with one thread: runs the rounds that it is sent."""
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    distributed.join_ranks("cpu")
    trainer = Trainer()
    with suppress(EOFError):
        while True:
            job, steps = connection.recv()
            dist.barrier()
            connection.send(trainer.run(job, steps))


class TwoRanks:
    """Two processes that train together; between rounds they wait, and use no time of the processor."""

    def __init__(self) -> None:
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            port = server.getsockname()[1]
        context, self.connections, self.processes = get_context("spawn"), list[Connection](), []
        for rank in range(2):
            ours, theirs = context.Pipe()
            process = context.Process(target=serve, args=(rank, port, theirs), daemon=True)
            process.start()
            theirs.close()
            self.connections.append(ours)
            self.processes.append(process)

    def run(self, job: Job, steps: int) -> Round:
        """A round of a job by both; its time is that of the slower, its all-reduce that of the one that waits less."""
        for connection in self.connections:
            connection.send((job, steps))
        a, b = (connection.recv() for connection in self.connections)
        return Round(max(a.step, b.step), min(a.all_reduce, b.all_reduce), a.bytes)

    def close(self) -> None:
        """End both."""
        for connection, process in zip(self.connections, self.processes, strict=True):
            connection.close()
            process.join(10)
