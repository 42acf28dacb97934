"""A step of eight small runs: stacked, one after the other, and in two processes of four runs each.

Milliseconds for all eight, medians of rounds in turns.  One process has all cores, of two each has half of them.  The
floor is eight times that of a run's step; the last column has its share of the stacked step.
"""

import time
from collections.abc import Iterator
from multiprocessing import get_context
from multiprocessing.connection import Connection
from statistics import median
from typing import Any

import ganvas  # first: it sets how torch's threads wait
from _support import floor, parser, print_table

import numpy as np
import torch

from ganvas.config import TrainConfig
from ganvas.data import Dataset, from_array
from ganvas.training.batched import BatchedPlayer
from ganvas.training.loop import StepPlayer, initialize_state, open_stream

RUNS = 8
Case = tuple[Any, tuple[int, ...], int, int]
CASES: dict[str, Case] = {
    "gan 2 numbers, width 32": (ganvas.GAN(width=32), (2,), 64, 40),
    "gan 2 numbers, width 128": (ganvas.GAN(width=128), (2,), 64, 40),
    "gan 2 numbers, width 400": (ganvas.GAN(), (2,), 64, 20),
    "wgangp 2 numbers, width 128": (ganvas.WGANGP(width=128), (2,), 64, 8),
    "vae 784-400-20": (ganvas.VAE(latent=20, net="mlp"), (28, 28), 100, 10),
    "vae 784-64-8, batch 32": (ganvas.VAE(latent=8, net="mlp", width=64), (28, 28), 32, 20),
    "dcgan 16 pixels, width 8": (ganvas.DCGAN(width=8), (16, 16), 32, 6),
}  # fmt: skip
"""model, shape of an example, batch, steps a round"""


def examples(shape: tuple[int, ...]) -> Dataset:
    """2000 random images or vectors."""
    random = np.random.default_rng(0)
    if len(shape) > 1:
        return from_array(random.integers(0, 256, (2000, *shape)).astype(np.uint8), name="random")
    return from_array(random.normal(size=(2000, *shape)).astype(np.float32), name="random")


def make_players(case: Case, seeds: range) -> list[StepPlayer]:
    """Players of runs with these seeds, on random examples."""
    model, shape, batch, _ = case
    data, players = examples(shape), []
    for seed in seeds:
        config = TrainConfig(batch_size=batch, seed=seed)
        state = initialize_state(model, data.shape, seed, torch.device("cpu"))
        players.append(StepPlayer(model, open_stream(model, data, config, state), config, state))
    return players


def play_alone(players: list[StepPlayer], steps: int) -> None:
    for _ in range(steps):
        for player in players:
            player.play()
        advance(players)


def play_stacked(stacked: BatchedPlayer, steps: int) -> None:
    for _ in range(steps):
        stacked.play()
        advance(stacked.players)


def advance(players: list[StepPlayer]) -> None:
    for player in players:
        player.state.step += 1
        player.state.meter.pending.clear()


def work(pipe: Connection, case: Case, seeds: range, threads: int) -> None:
    """A process that plays as many steps as it is asked to."""
    torch.set_num_threads(threads)
    players = make_players(case, seeds)
    while steps := pipe.recv():
        play_alone(players, steps)
        pipe.send(steps)


def measure(case: Case, rounds: int) -> Iterator[float]:
    """Milliseconds a step of all runs: one after the other, in two processes, stacked."""
    steps, context, pipes = case[3], get_context("spawn"), []
    for half in range(2):
        here, there = context.Pipe()
        seeds = range(half * RUNS // 2, (half + 1) * RUNS // 2)
        threads = max(1, torch.get_num_threads() // 2)
        context.Process(target=work, args=(there, case, seeds, threads), daemon=True).start()
        pipes.append(here)
    alone, stacked = make_players(case, range(RUNS)), BatchedPlayer(make_players(case, range(RUNS)))

    def play_processes(pipes: list[Any], steps: int) -> None:
        for pipe in pipes:
            pipe.send(steps)
        for pipe in pipes:
            pipe.recv()

    ways: list[tuple[Any, Any]] = [(play_alone, alone), (play_processes, pipes), (play_stacked, stacked)]
    times: list[list[float]] = [[], [], []]
    for i in range(rounds + 1):  # the first warms up
        for way, (play, players) in enumerate(ways):
            start = time.perf_counter()
            play(players, steps)
            times[way] += [1000 * (time.perf_counter() - start) / steps] if i else []
    for pipe in pipes:
        pipe.send(0)
    return map(median, times)


def main() -> None:
    arguments = parser(__doc__, rounds=5).parse_args()
    rows = []
    for name, case in CASES.items():
        alone, processes, stacked = measure(case, arguments.rounds)
        model, shape, batch, _ = case
        least = 1000 * RUNS * floor(model, examples(shape), batch)
        times = (f"{ms:.2f}" for ms in (alone, processes, stacked, least))
        rows.append([name, *times, f"{alone / stacked:.2f}", f"{processes / stacked:.2f}", f"{least / stacked:.0%}"])
    heads = ["in turns, ms", "2 processes, ms", "stacked, ms", "floor, ms", "in turns / stacked",
             "2 processes / stacked", "floor / stacked"]  # fmt: skip
    print_table(f"{RUNS} runs", heads, rows)


if __name__ == "__main__":
    main()
