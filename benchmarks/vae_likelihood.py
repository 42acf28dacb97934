"""Test log-likelihoods of VAEs on binarised MNIST, beside the published ones.

    python3 dev.py run python benchmarks/vae_likelihood.py TABLE ../shared/data [OUT]

Runs are kept in OUT (runs/vae-likelihood) and not trained again.  L_k is the importance weighted bound with k samples,
in nats, mean over the 10,000 test images with its standard error; weights are averages (EMA).  TABLE is one of

fixed       784-400 ReLU-z 40-400-784, Larochelle's binarisation, Adam, batch 100: a diagonal posterior for 100 epochs,
            an inverse autoregressive flow for 70: -92 or better within an hour.  Published: -89.9 with 200 samples
            (Rezende & Mohamed, arXiv:1505.05770, as reproduced by pythae: -89.78), diagonal, Adam 1e-4, 500 epochs, the
            rate times 10^-0.2 after 200 and 350; --published does that.
iwae        784-200-200 tanh-z 50-200-200-784, binarised anew at each use, Adam with eps 1e-4, batch 20, the rate
            1e-3 * 10^(-i/7) for 3^i epochs in stage i = 0 ... 7, of which the first --stages (3) are done: 13 epochs
            for 3, 3,280 for all 8.  Published L_5000: -86.76 (VAE), -85.54 (k = 5), -84.78 (k = 50) (Burda et al.,
            arXiv:1509.00519, table 1).
posteriors  as `fixed`, 20 epochs with Adam 1e-3; step times are medians of nine rounds of 40 steps, taken in turns.
ladder      a ladder VAE with two levels and VAEs, 784-400 ReLU, Larochelle's binarisation, 20 epochs of 50,000 images
            in batches of 100; the KL warms up over 4 of them.  The first VAE is the ladder without its second level,
            the second is deeper by one layer, and larger than the ladder.  ELBO over ten samples of z an image.
"""

import statistics
import time
from pathlib import Path
from typing import Any

import ganvas  # first: it sets how torch's threads wait

import numpy as np
import torch

from ganvas.config import TrainConfig
from ganvas.data import Dataset, from_array
from ganvas.model import Batch, Model
from ganvas.models import LadderVAE
from ganvas.training.loop import initialize_state, train
from ganvas.training.run_records import read_log
from _support import floor, load_bits, parser, print_table, times_in_turns, train_once

ROUNDS, STEPS, SEEDS, K = 9, 40, 3, 5000
MLP: dict[str, Any] = {"net": "mlp", "width": 400, "likelihood": "bernoulli"}
EVERY = {"checkpoint_every": 3000}


def fixed(folder: Path, split: str) -> Dataset:
    """Larochelle's binarisation."""
    return load_bits(folder / "binarized_mnist_fixed.npz", split)


def grey(folder: Path, split: str) -> Dataset:
    """MNIST's grey levels, which the models binarise."""
    return from_array(np.load(folder / "mnist.npz")[f"x_{split}"], name="mnist")


def print_bound(title: str, run: ganvas.Trained, folder: Path, test: Dataset, k: int, published: str) -> None:
    """Print L_k of the test images with its standard error, what it took, and what was published."""
    start = time.monotonic()
    values = ganvas.evaluate(run, test, importance_samples=k, metrics=("bound",))
    print(
        f"{title} in {read_log(folder)[-1]['seconds']:.0f} s: L_{k} = {values['bound']:.2f} +- "
        f"{values['bound_error']:.2f} nats (in {time.monotonic() - start:.0f} s); published, {published}",
        flush=True,
    )


def fixed_table(words: Any) -> None:
    rows: list[tuple[str, Model, dict[str, Any]]] = [
        ("diagonal", ganvas.VAE(latent=40, **MLP), {"lr_milestones": (0.5, 0.7, 0.85, 0.95), "lr_gamma": 0.4}),
        ("iaf", ganvas.VAE(posterior="iaf", latent=40, **MLP), {"lr_milestones": (0.6, 0.8, 0.9), "lr_gamma": 0.35}),
    ]
    epochs = {"diagonal": words.epochs or 100, "iaf": words.epochs or 70}
    if words.published:
        options = {"lr_milestones": (0.4, 0.7), "lr_gamma": 10**-0.2}
        rows, epochs = [("diagonal", ganvas.VAE(lr=1e-4, latent=40, **MLP), options)], {"diagonal": words.epochs or 500}
    for name, model, options in rows:
        n, folder = epochs[name], words.out / f"fixed-{name}-{epochs[name]}"
        run = train_once(model, fixed(words.data, "train"), folder, batch_size=100, epochs=n, **EVERY, **options)
        print_bound(f"{name}, {n} epochs", run, folder, fixed(words.data, "test"), 200, "-89.9")


def iwae_table(words: Any) -> None:
    epochs = words.epochs or (3**words.stages - 1) // 2
    milestones = tuple((3**i - 1) / (3**words.stages - 1) for i in range(1, words.stages))
    settings: dict[str, Any] = {
        "net": "mlp", "width": 200, "depth": 2, "latent": 50, "activation": "tanh", "eps": 1e-4,
        "likelihood": "bernoulli", "binarize": "dynamic",
    }  # fmt: skip
    rows: list[tuple[str, Model, float]] = [
        ("VAE", ganvas.VAE(**settings), -86.76),
        ("IWAE k=5", ganvas.IWAE(latent_samples=5, **settings), -85.54),
        ("IWAE k=50", ganvas.IWAE(latent_samples=50, **settings), -84.78),
    ]
    for name, model, published in rows:
        folder = words.out / f"iwae-{epochs}-{name.replace(' ', '-')}"
        run = train_once(
            model, grey(words.data, "train"), folder, batch_size=20, epochs=epochs, lr_milestones=milestones,
            lr_gamma=10 ** (-1 / 7), **EVERY,
        )  # fmt: skip
        print_bound(f"{name}, {epochs} epochs", run, folder, grey(words.data, "test"), K, f"3280 epochs: {published}")


def posteriors_table(words: Any) -> None:
    models = {p: ganvas.VAE(posterior=p, latent=40, **MLP) for p in ("diagonal", "low-rank", "full", "iaf")}
    data, test, epochs, rows = fixed(words.data, "train"), fixed(words.data, "test"), words.epochs or 20, []
    times = times_in_turns({p: training(model, data) for p, model in models.items()}, STEPS, ROUNDS)
    for posterior, model in models.items():
        results = []
        for seed in range(SEEDS):
            folder = words.out / f"posterior-{epochs}-{posterior}-{seed}"
            run = train_once(model, data, folder, batch_size=100, epochs=epochs, seed=seed, **EVERY)
            results.append(ganvas.evaluate(run, test, metrics=("elbo", "bound"), importance_samples=500))
        values = [[result[key] for result in results] for key in ("elbo", "bound")]
        cells = [f"{statistics.mean(v):.2f} ({min(v):.2f} to {max(v):.2f})" for v in values]
        share = floor(model, data, 100) / times[posterior]
        rows.append((posterior, *cells, f"{1e3 * times[posterior]:.2f}", f"{share:.0%}"))
        print(*rows[-1], flush=True)
    print_table(f"mean of {SEEDS} seeds (least to most)", ("test ELBO", "test L_500", "ms a step", "floor"), rows)


def training(model: Model, data: Dataset) -> Any:
    """Training steps with batches of 100."""
    state = initialize_state(model, data.shape, 0, torch.device("cpu"))
    return train(model, data, TrainConfig(steps=10**9, batch_size=100), state)


def ladder_table(words: Any) -> None:
    data, test, epochs, rows = fixed(words.data, "train"), fixed(words.data, "test"), words.epochs or 20, []
    models: dict[str, Model] = {
        "ladder 32, 16": LadderVAE(latents=(32, 16), warmup=2000, **MLP),
        "VAE 32": ganvas.VAE(latent=32, warmup=2000, **MLP),
        "VAE 32, two layers": ganvas.VAE(latent=32, depth=2, warmup=2000, **MLP),
    }
    for name, model in models.items():
        run = train_once(model, data, words.out / f"ladder-{epochs}-{name}", batch_size=100, epochs=epochs, **EVERY)
        values = ganvas.evaluate(run, test, metrics=("elbo",))
        weights = sum(p.numel() for p in run.nets.parameters())
        rows.append(
            (name, f"{weights:,}", f"{values['elbo']:.2f}", f"{values['kl_nats']:.2f}", kl_of_levels(run, test))
        )
        print(*rows[-1], flush=True)
    print_table(f"{epochs} epochs", ("weights", "test ELBO", "KL", "of levels"), rows)


def kl_of_levels(run: ganvas.Trained, data: Dataset) -> str:
    """The KL of each level of a ladder, in nats."""
    with torch.inference_mode():
        kl = run.model.monitor(Batch(run.domain_scaling()(data.x)), **run.nets)["kl"]
    return ", ".join(f"{part.sum().item():.2f}" for part in kl.split(getattr(run.model, "latents", len(kl))))


TABLES = {"fixed": fixed_table, "iwae": iwae_table, "posteriors": posteriors_table, "ladder": ladder_table}


def main() -> None:
    arguments = parser(__doc__, tables=TABLES, data="folder with the .npz files", out="vae-likelihood")
    arguments.add_argument("--published", action="store_true", help="of fixed, the published protocol")
    arguments.add_argument("--epochs", type=int, help="instead of each table's own")
    arguments.add_argument("--stages", type=int, default=3, choices=range(1, 9), help="of iwae")
    words = arguments.parse_args()
    torch.manual_seed(0)
    TABLES[words.table](words)


if __name__ == "__main__":
    main()
