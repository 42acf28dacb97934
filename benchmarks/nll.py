"""Test log-likelihoods of VAEs on binarised MNIST, beside the published ones.

    python3 dev.py run python benchmarks/nll.py fixed ../shared/data            # -92 or better within an hour
    python3 dev.py run python benchmarks/nll.py fixed ../shared/data --published    # the published protocol
    python3 dev.py run python benchmarks/nll.py iwae ../shared/data --stages 3      # the paper has 8
    python3 dev.py run python benchmarks/nll.py posteriors ../shared/data           # four posteriors, three seeds

Runs are kept in runs/nll and not trained again.  L_k is the importance weighted bound with k samples, in nats, mean
over the 10,000 test images with its standard error; weights are averages (EMA).

fixed       784-400 ReLU-z 40-400-784, Larochelle's binarisation, Adam, batch 100: a diagonal posterior for 100 epochs,
            an inverse autoregressive flow for 70.  Published: -89.9 with 200 samples (Rezende & Mohamed,
            arXiv:1505.05770, as reproduced by pythae: -89.78), diagonal, Adam 1e-4, 500 epochs, the rate times 10^-0.2
            after 200 and 350.
iwae        784-200-200 tanh-z 50-200-200-784, binarised anew at each use, Adam with eps 1e-4, batch 20, the rate
            1e-3 * 10^(-i/7) for 3^i epochs in stage i = 0 ... 7, of which the first --stages are done: 13 epochs for 3,
            3,280 for all 8.  Published L_5000: -86.76 (VAE), -85.54 (k = 5), -84.78 (k = 50) (Burda et al.,
            arXiv:1509.00519, table 1).
posteriors  as `fixed`, 20 epochs with Adam 1e-3.
"""

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import ganvas  # first: it sets how torch's threads wait

import numpy as np
import torch

from ganvas.data import Dataset, from_array
from ganvas.training.run_folder import read_log
from ganvas.config import TrainConfig
from ganvas.training.loop import initialize_state, train

OUT = Path("runs/nll")


def fixed(folder: Path, split: str) -> Dataset:
    """Larochelle's binarisation; bits packed along the pixels."""
    packed = np.load(folder / "binarized_mnist_fixed.npz")[f"bits_{split}"]
    return from_array(np.unpackbits(packed, axis=1).reshape(-1, 28, 28).astype(bool), name="binarised-mnist")


def grey(folder: Path, split: str) -> Dataset:
    """MNIST's grey levels, which the models binarise."""
    return from_array(np.load(folder / "mnist.npz")[f"x_{split}"], name="mnist")


def trained(name: str, model: Any, data: Dataset, **options: Any) -> tuple[ganvas.Trained, float]:
    """The run of this name, trained unless it is there; and the seconds that it took."""
    folder = OUT / name
    if not (folder / "done").exists():
        if folder.exists():
            ganvas.resume(folder, data=data)
        else:
            ganvas.train(model, data, folder=folder, checkpoint_every=3000, **options)
        (folder / "done").touch()
    return ganvas.load(folder), read_log(folder)[-1]["seconds"]


def report(name: str, run: ganvas.Trained, seconds: float, test: Dataset, k: int, published: str) -> None:
    """Print L_k of the test images with its standard error, what it took, and what was published."""
    began = time.monotonic()
    values = ganvas.evaluate(run, test, importance_samples=k, metrics=("bound",))
    print(
        f"{name} in {seconds:.0f} s: L_{k} = {values['bound']:.2f} +- {values['bound_error']:.2f} nats "
        f"(in {time.monotonic() - began:.0f} s); published, {published}",
        flush=True,
    )


def fixed_rows(data: Path, published: bool) -> None:
    settings: dict[str, Any] = {"net": "mlp", "width": 400, "latent": 40, "likelihood": "bernoulli"}
    if published:
        plan: dict[str, Any] = {"epochs": 500, "lr_milestones": (0.4, 0.7), "lr_gamma": 10**-0.2}
        rows = [("fixed-500", ganvas.VAE(lr=1e-4, **settings), plan)]
    else:
        rows = [
            (
                "fixed-100",
                ganvas.VAE(**settings),
                {"epochs": 100, "lr_milestones": (0.5, 0.7, 0.85, 0.95), "lr_gamma": 0.4},
            ),
            (
                "fixed-iaf-70",
                ganvas.VAE(posterior="iaf", **settings),
                {"epochs": 70, "lr_milestones": (0.6, 0.8, 0.9), "lr_gamma": 0.35},
            ),
        ]
    for name, model, options in rows:
        run, seconds = trained(name, model, fixed(data, "train"), batch=100, **options)
        report(f"{model.posterior}, {options['epochs']} epochs", run, seconds, fixed(data, "test"), 200, "-89.9")


def iwae_rows(data: Path, stages: int) -> None:
    epochs = (3**stages - 1) // 2
    ends = tuple((3**i - 1) / 2 / epochs for i in range(1, stages))
    settings: dict[str, Any] = {
        "net": "mlp", "width": 200, "depth": 2, "latent": 50, "activation": "tanh", "eps": 1e-4,
        "likelihood": "bernoulli", "binarize": "dynamic",
    }  # fmt: skip
    rows = [("VAE", ganvas.VAE(**settings), -86.76)]
    rows += [
        (f"IWAE k={k}", ganvas.IWAE(latent_samples=k, **settings), value) for k, value in ((5, -85.54), (50, -84.78))
    ]
    for name, model, published in rows:
        run, seconds = trained(
            f"iwae-{epochs}-{name.replace(' ', '-')}", model, grey(data, "train"), batch=20, epochs=epochs,
            milestones=ends, drop=10 ** (-1 / 7),
        )  # fmt: skip
        report(f"{name}, {epochs} epochs", run, seconds, grey(data, "test"), 5000, f"3280 epochs: {published}")


def posterior_rows(data: Path, epochs: int) -> None:
    settings: dict[str, Any] = {"net": "mlp", "width": 400, "latent": 40, "likelihood": "bernoulli"}
    models = {p: ganvas.VAE(posterior=p, **settings) for p in ("diagonal", "low-rank", "full", "iaf")}
    times = step_times(models, fixed(data, "train"))
    print("posterior  mean over 3 seeds (least to most): test ELBO, test L_500 | ms a step")
    for posterior, model in models.items():
        elbos, bounds = [], []
        for seed in range(3):
            name = f"posterior-{epochs}-{posterior}-{seed}"
            run, _ = trained(name, model, fixed(data, "train"), batch=100, epochs=epochs, seed=seed)
            values = ganvas.evaluate(run, fixed(data, "test"), metrics=("elbo", "bound"), importance_samples=500)
            elbos.append(values["elbo"])
            bounds.append(values["bound"])
        cells = [f"{statistics.mean(v):.2f} ({min(v):.2f} to {max(v):.2f})" for v in (elbos, bounds)]
        print(f"{posterior:<10} {cells[0]}, {cells[1]} | {times[posterior]:.2f} ms", flush=True)


def step_times(models: dict[str, Any], data: Dataset) -> dict[str, float]:
    """Milliseconds of a training step with a batch of 100: median of nine rounds of 40 steps, the models in turn."""
    loops, rounds = {}, {name: [] for name in models}
    for name, model in models.items():
        state = initialize_state(model, data.shape, 0, torch.device("cpu"))
        loops[name] = train(model, data, TrainConfig(steps=10**6, batch_size=100), state)
    for number in range(10):
        for name, loop in loops.items():
            began = time.perf_counter()
            for _ in range(40):
                next(loop)
            if number:  # the first round warms up
                rounds[name].append((time.perf_counter() - began) / 40 * 1000)
    return {name: statistics.median(values) for name, values in rounds.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("table", choices=("fixed", "iwae", "posteriors"))
    parser.add_argument("data", type=Path)
    parser.add_argument("--published", action="store_true")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--stages", type=int, default=3, choices=range(1, 9))
    words = parser.parse_args()
    torch.manual_seed(0)
    if words.table == "fixed":
        fixed_rows(words.data, words.published)
    elif words.table == "iwae":
        iwae_rows(words.data, words.stages)
    else:
        posterior_rows(words.data, words.epochs)


if __name__ == "__main__":
    main()
