"""Training steps on a GPU: launched one by one by Python, and as CUDA graphs, beside the machine's floor.

    python3 dev.py run python benchmarks/gpu.py

Each model trains on noise of the size that its paper has, for a round of steps in either way, in turns, after a round
that warms up; times are medians over rounds.  The losses of the first 100 steps, from the same weights, are compared:
the table has the largest difference of a term between the two ways, as a share of the term's largest value.  Graphs
have as many steps as in a run.  The floor is the least time in which the machine could do a step's matrix products,
convolutions and optimisers: the table has its share of the graph's time.  A second table has graphs in other
precisions.  Without a GPU it says so and ends.
"""

import statistics
from collections.abc import Iterator
from typing import Any

import ganvas  # before torch: it sets how torch's threads wait

import torch

from ganvas.config import TrainConfig
from ganvas.data import Data, Dataset, DomainPair
from ganvas.model import Model
from ganvas.training.bench import time_steps
from ganvas.training.loop import TrainState, initialize_state, train
from ganvas.training.run_records import log_interval
from _support import floor, parser, print_table

COMPARED = 100
"""steps whose losses are compared"""
MODELS: dict[str, tuple[Model, tuple[int, ...], int]] = {
    "autoencoder 784-400-32": (ganvas.Autoencoder(net="mlp"), (1, 28, 28), 100),
    "vae 784-400-20": (ganvas.VAE(net="mlp", latent=20), (1, 28, 28), 100),
    "iwae 784-400-20, k=5": (ganvas.IWAE(net="mlp", latent=20), (1, 28, 28), 100),
    "betatcvae 64": (ganvas.BetaTCVAE(), (1, 64, 64), 64),
    "laddervae 28": (ganvas.LadderVAE(), (1, 28, 28), 64),
    "gan, vectors": (ganvas.GAN(), (2,), 64),
    "dcgan 64": (ganvas.DCGAN(), (3, 64, 64), 128),
    "cgan 32": (ganvas.CGAN(), (3, 32, 32), 64),
    "wgan 64": (ganvas.WGAN(), (3, 64, 64), 64),
    "wgangp 32": (ganvas.WGANGP(width=64), (3, 32, 32), 64),
    "r3gan 32": (ganvas.R3GAN(), (3, 32, 32), 64),
    "r3gan, vectors": (ganvas.R3GAN(), (2,), 64),
    "cyclegan 128": (ganvas.CycleGAN(), (3, 128, 128), 1),
    "discogan 64": (ganvas.DiscoGAN(), (3, 64, 64), 64),
}
PRECISIONS: dict[str, dict[str, Any]] = {
    "float32": {}, "tf32": {"tf32": True}, "bfloat16": {"precision": "bfloat16", "tf32": True},
}  # fmt: skip


def find_gpu() -> torch.device | None:
    """The GPU, if there is one."""
    return torch.device("cuda") if torch.cuda.is_available() else None


def noise(shape: tuple[int, ...], n: int, seed: int) -> Dataset:
    """n examples of this shape, of two classes."""
    random = torch.Generator().manual_seed(seed)
    images = len(shape) == 3
    x = torch.randint(256, (n, *shape), generator=random).byte() if images else torch.randn(n, *shape, generator=random)
    return Dataset(x=x, labels=torch.arange(n) % 2, classes=("even", "odd"), name=f"noise-{seed}")


def start(
    model: Model, data: Data, batch: int, device: torch.device, **options: Any
) -> tuple[TrainState, Iterator[int]]:
    """Fresh weights, and the steps that train them."""
    state = initialize_state(model, data.shape, 0, device, len(data.classes))
    config = TrainConfig(steps=10**9, batch_size=batch, **options)
    return state, train(model, data, config, state, log_interval(config))


def first_losses(state: TrainState, steps: Iterator[int]) -> dict[str, torch.Tensor]:
    """The loss terms of the first steps, which also warm up."""
    while state.step < COMPARED:
        next(steps)
    state.meter.fetch()
    values, state.meter.values = state.meter.values, {}
    return {name: torch.tensor(v) for name, v in values.items()}


def times(runs: list[tuple[TrainState, Iterator[int]]], steps: int, rounds: int, device: torch.device) -> list[float]:
    """Median seconds a step of each run, over rounds in turns."""
    seconds: list[list[float]] = [[] for _ in runs]
    for i in range(rounds + 1):  # the first round warms up
        for (state, run), measured in zip(runs, seconds, strict=True):
            step_seconds = time_steps(run, steps, state, device)
            if i:
                measured.append(step_seconds)
    return [statistics.median(values) for values in seconds]


def largest_difference(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    """The largest difference of a term, as a share of its largest value."""
    return max(((a[name] - b[name]).abs().max() / a[name].abs().max().clamp_min(1e-12)).item() for name in a)


def main() -> None:
    words = parser(__doc__, steps=200, rounds=5).parse_args()
    device = find_gpu()
    if device is None:
        print("there is no GPU here: this benchmark compares steps on one, by Python and as CUDA graphs")
        return
    rows, precise_rows, notes = [], [], []
    for name, (model, shape, batch) in MODELS.items():
        parts = [noise(shape, 4096 if len(shape) == 1 else 1024, seed) for seed in range(model.n_domains)]
        data: Data = DomainPair(*parts) if model.n_domains == 2 else parts[0]
        eager, graph = (start(model, data, batch, device, graph=way) for way in ("off", "on"))
        difference = largest_difference(first_losses(*eager), first_losses(*graph))
        by_python, as_graph = times([eager, graph], words.steps, words.rounds, device)
        shares = f"{by_python / as_graph:.2f}", f"{floor(model, data, batch, device, steps=4) / as_graph:.0%}"
        rows.append([name, f"{by_python * 1e3:.3f}", f"{as_graph * 1e3:.3f}", *shares, f"{difference:.1e}"])
        runs = [start(model, data, batch, device, graph="on", **options) for options in PRECISIONS.values()]
        precise_rows.append([name, *(f"{t * 1e3:.3f}" for t in times(runs, words.steps, words.rounds, device))])
        notes += [f"{name}: {note}" for note in graph[0].notes]
        print(name, flush=True)
    print_table("ms a step", ["Python", "graph", "ratio", "floor", f"loss difference, {COMPARED} steps"], rows)
    print_table("ms a step, graphs", list(PRECISIONS), precise_rows)
    print("\n".join(notes))


if __name__ == "__main__":
    main()
