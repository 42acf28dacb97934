"""How often does a GAN train at all?  30 random architectures, each with three recipes.

    python3 dev.py run python benchmarks/architectures.py ../shared/data/mnist.npz [OUT] [--workers 2] [--count 30]

In the spirit of table 2 of the WGAN-GP paper (arXiv:1704.00028: 200 random architectures on 32 x 32 ImageNet).  Half of
the architectures are MLPs (1 to 4 layers of 64 to 512 units, four activations for each player, batch norm or none in G,
batch, layer or none in D), half are convolutional (8 to 32 channels, batch norm or none in G, batch, layer or none in
D).  Each learns MNIST, 28 x 28, for 1,500 steps of 64 images with one update of D a step, under

minimax  log(1 - D(G(z))) as written, Adam 2e-4 (0.5, 0.999)
WGAN-GP  gp = 10, Adam 1e-4 (0, 0.9)
R3GAN    the relativistic loss, r1 = r2 = 0.1, Adam 2e-4 (0, 0.99)

Where D has batch norm, the two with penalties have layer norm instead.  Measured on the averaged weights at the end:
Frechet distance of 5,000 samples to the test images on the 84 features of a LeNet that this script trains.  The share
below 160, that of samples of the VAE in fitted_priors.py, below 300, where most samples are digits, and below 1,000,
where there is something of the data; shares.png has the share below every other limit.
Runs are kept in OUT (runs/architectures).
"""

import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import ganvas  # first: it sets how torch's threads wait

import numpy as np
import torch

from ganvas.viz.plots import Chart, line_charts
from ganvas.data import DataOptions, load
from ganvas.errors import DivergenceError
from ganvas.metrics import frechet_distance
from ganvas.models._gan import Adversarial
from ganvas.config import TrainConfig
from ganvas.training.ema import current_ema
from ganvas.training.loop import initialize_state, check_finite, train
from _lenet import forward, load_lenet
from _support import collect, parser, print_table, save

RECIPES: dict[str, dict[str, Any]] = {
    "minimax": {"loss": "minimax", "lr": 2e-4, "betas": (0.5, 0.999)},
    "WGAN-GP": {"loss": "wasserstein", "gp": 10.0, "lr": 1e-4, "betas": (0.0, 0.9)},
    "R3GAN": {"loss": "relativistic", "r1": 0.1, "r2": 0.1, "lr": 2e-4, "betas": (0.0, 0.99)},
}
N, EPOCHS, FAILED = 5000, 3, 1e6
LIMITS = (160, 300, 1000)


def architecture(i: int) -> Adversarial:
    """The i-th random architecture, the same every time."""
    random = np.random.default_rng([2026, i])
    norm, norm_d = str(random.choice(["batch", "none"])), str(random.choice(["batch", "layer", "none"]))
    common: dict[str, Any] = {"latent": 64, "norm": norm, "norm_d": norm_d}
    if i % 2:
        return ganvas.DCGAN(width=int(random.integers(8, 33)), noise_distribution="normal", **common)
    kinds = ["relu", "leaky-relu", "tanh", "silu"]
    return ganvas.GAN(
        width=int(random.integers(64, 513)), depth=int(random.integers(1, 5)),
        width_d=int(random.integers(64, 513)), depth_d=int(random.integers(1, 5)),
        activation=str(random.choice(kinds)), activation_d=str(random.choice(kinds)), **common,
    )  # fmt: skip


def run(file: str, i: int, recipe: str, steps: int, folder: Path) -> dict[str, Any]:
    """Train one architecture with one recipe, and measure its samples; a run that is no longer finite has failed."""
    data, test = load(file), load(file, DataOptions(split="test"))
    lenet = load_lenet(folder, data, EPOCHS)
    model = architecture(i)
    penalized = recipe != "minimax"
    model = replace(model, norm_d="layer" if penalized and model.norm_d == "batch" else model.norm_d, **RECIPES[recipe])
    model.validate_data(data)
    state = initialize_state(model, data.shape, i, torch.device("cpu"))
    for _ in train(model, data, TrainConfig(steps=steps, batch_size=64, seed=i, ema_decay=0.99), state):
        pass
    try:
        check_finite(state)
    except DivergenceError:
        return {"distance": FAILED, "model": repr(model)}
    G = current_ema(state, 0.99)["G"]
    with torch.no_grad():
        fake = torch.cat([G(z) for z in model.sample_prior(N, data.shape, torch.Generator().manual_seed(i)).split(500)])
    pixels = ((fake + 1) * 127.5).round()
    distance = frechet_distance(forward(lenet[:-1], pixels), forward(lenet[:-1], test.x))
    return {"distance": distance, "model": repr(model)}


def main() -> None:
    words = parser(__doc__, data="mnist.npz", out="architectures", workers=2, steps=1500, count=30).parse_args()
    load_lenet(words.out, load(str(words.data)), EPOCHS)  # before there are several processes
    jobs = {
        f"{i}-{recipe}": (str(words.data), i, recipe, words.steps, words.out)
        for i in range(words.count) for recipe in RECIPES
    }  # fmt: skip
    results = collect(run, jobs, words.out, words.workers)
    print(f"\n{words.count} architectures, {words.steps} steps; share of all, MLP, conv below a Frechet distance")
    series, rows = {}, []
    for recipe in RECIPES:
        runs = [results[f"{i}-{recipe}"] for i in range(words.count)]
        distances = [r["distance"] for r in runs]
        parts = (distances, distances[::2], distances[1::2])
        shares = ["  ".join(f"{statistics.mean(d < limit for d in part):.0%}" for part in parts) for limit in LIMITS]
        quartiles = "  ".join(f"{q:.0f}" for q in statistics.quantiles(distances, n=4))
        rows.append((recipe, *shares, quartiles, f"{statistics.mean(r['seconds'] for r in runs):.0f}"))
        series[recipe] = [(float(t), float(statistics.mean(d < t for d in distances))) for t in range(0, 1001, 5)]
    print_table("", (*map(str, LIMITS), "quartiles", "s a run"), rows)
    chart = Chart("share of architectures below a Frechet distance", series, (0.0, 1.0), x_name="FID")
    save(line_charts([chart]), words.out / "shares.png")


if __name__ == "__main__":
    main()
