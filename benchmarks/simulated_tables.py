"""Does a model of tables find simulated densities?  The ring, the grid and the rotated grid of CTGAN's paper.

    python3 dev.py run python benchmarks/simulated_tables.py [OUT] --seeds 3

Xu et al., arXiv:1907.00503, section 5.1.  L_syn is the mean log density of synthetic rows under the true mixture, which
is high also where modes are missing; L_test that of new real rows under a mixture with as many components that was
fitted to synthetic rows, by scikit-learn from the true centres.  The identity, which returns other real rows, has
-1.70 and -1.70 (ring), -3.06 and -3.06 (grid), -3.06 and -3.07 (rotated grid) in the paper's table 3; here too.
"""

from statistics import mean
from typing import Any

import ganvas  # before torch: it sets how torch's threads wait

import numpy as np
import pandas as pd
from scipy.special import logsumexp
from sklearn.mixture import GaussianMixture

from _support import collect, parser, print_table

VARIANCE, N = 0.05, 10_000


def centres(name: str) -> np.ndarray:
    """The means of the mixture's components."""
    if name == "ring":
        angle = np.arange(8) * np.pi / 4
        return np.column_stack([np.cos(angle), np.sin(angle)])
    steps = np.arange(-4.0, 5.0, 2.0)
    points = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    if name == "grid":
        return points
    c, s = np.cos(0.4), np.sin(0.4)
    return points @ np.array([[c, s], [-s, c]])


def draw(name: str, n: int, seed: int) -> np.ndarray:
    """Real rows."""
    random, means = np.random.default_rng(seed), centres(name)
    return means[random.integers(len(means), size=n)] + random.normal(0, VARIANCE**0.5, (n, 2))


def log_density(x: np.ndarray, means: np.ndarray) -> np.ndarray:
    """log p(x) under the true mixture, in nats."""
    squares = ((x[:, None] - means) ** 2).sum(2) / (2 * VARIANCE)
    density: np.ndarray = logsumexp(-squares, 1) - np.log(len(means)) - np.log(2 * np.pi * VARIANCE)
    return density


def measure(name: str, model: str, seed: int, out: Any, steps: int) -> dict[str, Any]:
    """L_syn and L_test of a model's rows."""
    train, means = draw(name, N, seed), centres(name)
    if model == "identity":
        rows = draw(name, N, seed + 1000)
    else:
        frame = pd.DataFrame(train, columns=["x", "y"])
        options = {"steps": steps} if steps else {}
        made = {"vae": ganvas.VAE, "ctgan": ganvas.CTGAN}[model]()
        run = ganvas.train(
            made, frame, folder=out / f"run-{name}-{model}-{seed}", seed=seed, quiet=True, report="off", **options
        )
        rows = run.sample(N, seed=seed).to_numpy()
    fitted = GaussianMixture(len(means), means_init=means, covariance_type="spherical", random_state=0).fit(rows)
    return {"syn": log_density(rows, means).mean(), "test": float(fitted.score(draw(name, N, seed + 2000)))}


def main() -> None:
    words = parser(__doc__, out="simulated-tables", workers=0, seeds=3, steps=0)
    words.add_argument("--models", default="identity,vae")
    given = words.parse_args()
    models = given.models.split(",")
    names = ("ring", "grid", "rotated")
    jobs = {
        f"{name}-{model}-{seed}": (name, model, seed, given.out, given.steps)
        for name in names for model in models for seed in range(given.seeds)
    }  # fmt: skip
    results = collect(measure, jobs, given.out, given.workers)

    def cell(name: str, model: str) -> str:
        parts = [results[f"{name}-{model}-{seed}"] for seed in range(given.seeds)]
        return " / ".join(f"{mean(part[key] for part in parts):.2f}" for key in ("syn", "test"))

    print_table("L_syn / L_test", names, [(model, *(cell(name, model) for name in names)) for model in models])


if __name__ == "__main__":
    main()
