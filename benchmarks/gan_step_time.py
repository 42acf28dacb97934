"""The training step of our GANs against the loop that tutorials write: same networks, optimiser, batch and threads.

    python3 dev.py run python benchmarks/gan_step_time.py [--only dcgan-64] [--rounds 5] [--steps 3]

The tutorials' side is the plain loop: two passes of D, for real examples and for fakes; one batch of fakes a step, with
G's graph, though the paper's algorithm draws two (DCGAN); D's weights differentiated in G's turn as well; Adam with its
defaults; losses read at every step.  It has its batches ready, as floating-point numbers, where ours gathers bytes.
Once with PyTorch's order of memory, once in channels last.  Ours is the trainer's own loop, with averages of the
weights and the log's meter.

Each side is a process of its own, as a user would start it, since the trainer changes how its process keeps memory;
they work in turns, one at a time (`--apart 0`: all in this process).  Medians over rounds, after one to warm up.
Operations are those of convolutions and matrix products, as PyTorch counts them.
"""

import argparse
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import cycle, islice, repeat
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import ganvas  # before torch: it sets how torch's threads wait

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from ganvas.config import TrainConfig
from ganvas.data import Dataset, from_array
from ganvas.model import model_name
from ganvas.training.bench import Kind, WorkCounter, measure_rates
from ganvas.training.loop import initialize_state, train
from _support import adam, parser, print_table, times_in_turns, tutorial_gan_steps

CPU = torch.device("cpu")
Loop = Callable[[Any, nn.Module, nn.Module, Iterator[Tensor]], Iterator[None]]


class Job(NamedTuple):
    """A model, the size of its images, and how many are in a batch."""

    model: Any
    size: int
    batch: int = 64

    @property
    def data(self) -> Dataset:
        generator = torch.Generator().manual_seed(0)
        shape = (8 * self.batch, self.size, self.size, 3)
        return from_array(torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator).numpy())


JOBS = {
    "dcgan-64": Job(ganvas.DCGAN(width=32), 64), "dcgan-32": Job(ganvas.DCGAN(width=64), 32),
    "wgangp-32": Job(ganvas.WGANGP(net="conv", width=32), 32), "r3gan-32": Job(ganvas.R3GAN(net="conv", width=32), 32),
}  # fmt: skip


def gradient_norms(D: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Logits of examples, and the norms of D's gradients at them."""
    logits = D(x)
    (gradient,) = torch.autograd.grad(logits, x, torch.ones_like(logits), create_graph=True)
    return logits, gradient.flatten(1).norm(2, dim=1)


def wgangp_loop(model: Any, G: nn.Module, D: nn.Module, batches: Iterator[Tensor]) -> Iterator[None]:
    """WGAN-GP as it is mostly written: five steps of D, each with fresh noise, then one of G."""
    optimizer_g, optimizer_d = adam(G, model), adam(D, model)
    while True:
        for x in islice(batches, model.n_critic):
            optimizer_d.zero_grad()
            fake = G(torch.randn(len(x), model.latent)).detach()
            alpha = torch.rand(len(x), 1, 1, 1)
            _, norms = gradient_norms(D, (alpha * x + (1 - alpha) * fake).requires_grad_())
            loss_d = D(fake).mean() - D(x).mean() + model.gp * ((norms - 1) ** 2).mean()
            loss_d.backward()
            optimizer_d.step()
            _ = loss_d.item()
        optimizer_g.zero_grad()
        loss_g = -D(G(torch.randn(len(x), model.latent))).mean()
        loss_g.backward()
        optimizer_g.step()
        _ = loss_g.item()
        yield


def r3gan_loop(model: Any, G: nn.Module, D: nn.Module, batches: Iterator[Tensor]) -> Iterator[None]:
    """R3GAN's two updates, as its authors' code has them."""
    optimizer_g, optimizer_d = adam(G, model), adam(D, model)
    for x in batches:
        optimizer_d.zero_grad()
        fake = G(torch.randn(len(x), model.latent)).detach().requires_grad_()
        real_logits, real_norms = gradient_norms(D, x.requires_grad_())
        fake_logits, fake_norms = gradient_norms(D, fake)
        penalty = model.r1 / 2 * real_norms.square().mean() + model.r2 / 2 * fake_norms.square().mean()
        loss_d = softplus(fake_logits - real_logits).mean() + penalty
        loss_d.backward()
        optimizer_d.step()
        optimizer_g.zero_grad()
        loss_g = softplus(D(x.detach()) - D(G(torch.randn(len(x), model.latent)))).mean()
        loss_g.backward()
        optimizer_g.step()
        _ = loss_d.item(), loss_g.item()
        yield


LOOPS: dict[str, Loop] = {"dcgan": tutorial_gan_steps, "wgangp": wgangp_loop, "r3gan": r3gan_loop}


def tutorial_steps(job: Job, order: torch.memory_format) -> Iterator[None]:
    """The tutorials' loop with the networks of our model."""
    data = job.data
    nets = {k: net.to(memory_format=order) for k, net in job.model.networks(data.shape).items()}
    x = (data.x / 127.5 - 1).contiguous(memory_format=order)
    return LOOPS[model_name(job.model)](job.model, nets["G"], nets["D"], cycle(x.split(job.batch)))


def ganvas_steps(job: Job) -> Iterator[int]:
    """Our loop, with all that it does in a run."""
    data = job.data
    state = initialize_state(job.model, data.shape, 0, CPU)
    for step in train(job.model, data, TrainConfig(steps=10**9, batch_size=job.batch), state):
        if step % 50 == 0:
            state.meter.pop_means()
        yield step


def steps_of(side: str, job: Job) -> Iterator[Any]:
    orders = {"tutorial": torch.contiguous_format, "channels last": torch.channels_last}
    return tutorial_steps(job, orders[side]) if side in orders else ganvas_steps(job)


class Side:
    """One side of the comparison, in this process."""

    def __init__(self, side: str, job: Job, threads: int) -> None:
        torch.manual_seed(0)
        torch.set_num_threads(threads)
        self.steps, self.threads = steps_of(side, job), threads

    def __call__(self, word: str) -> float:
        """Do a step; asked to "count", the floating-point operations that it consists of."""
        if word == "step":
            next(self.steps)
            return 0.0
        torch.set_num_threads(1)  # what other threads compute is not counted
        with WorkCounter() as counter:
            next(self.steps)
        torch.set_num_threads(self.threads)
        return sum(op.flops for op in counter.operations)


class SideApart:
    """The same in a process of its own."""

    def __init__(self, *arguments: Any) -> None:
        context = get_context("spawn")
        self.pipe, child = context.Pipe()
        context.Process(target=serve, args=(child, *arguments), daemon=True).start()

    def __call__(self, word: str) -> float:
        self.pipe.send(word)
        answer: float = self.pipe.recv()
        return answer


def serve(pipe: Connection, *arguments: Any) -> None:
    side = Side(*arguments)
    with suppress(EOFError):
        while True:
            pipe.send(side(pipe.recv()))


def compare(name: str, options: argparse.Namespace, rate: float) -> list[list[str]]:
    """A row of the table for each side: ms a step, the ratio to ours, operations, their share of the rate."""
    job, kind = JOBS[name]._replace(batch=options.batch), SideApart if options.apart else Side
    sides = {side: kind(side, job, options.threads) for side in ("ours", "tutorial", "channels last")}
    works = {side: map(ask, repeat("step")) for side, ask in sides.items()}
    times, rows = times_in_turns(works, options.steps, options.rounds), []
    for side, ask in sides.items():
        flops = ask("count")
        row = times[side] * 1e3, times[side] / times["ours"], flops / 1e9, flops / times[side] / rate
        rows.append([f"{name} {side}", "{:.1f} {:.2f} {:.2f} {:.0%}".format(*row)])
    return [[first, *rest.split()] for first, rest in rows]


def convolution_rate() -> float:
    """The machine's best rate of convolutions, in floating-point operations a second."""
    kind: tuple[Kind, torch.dtype] = ("convolution", torch.float32)
    return measure_rates(CPU, [kind], 2**20).flops[kind]


def main() -> None:
    words = parser(__doc__, steps=3, rounds=5, threads=2, batch=64, apart=1)
    words.add_argument("--only", choices=JOBS)
    options = words.parse_args()
    torch.set_num_threads(options.threads)
    rate = convolution_rate()
    print(f"{options.threads} threads, torch {torch.__version__}, convolutions {rate / 1e9:.0f} GFLOP/s")
    rows = []
    for name in [options.only] if options.only else JOBS:
        rows += compare(name, options, rate)
    print_table("", ["step, ms", "to ours", "GFLOP", "share of rate"], rows)


if __name__ == "__main__":
    main()
