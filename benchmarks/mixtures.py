"""Do GANs find all modes?  PacGAN's ring of 8 and grid of 25 Gaussians.

    python3 dev.py run python benchmarks/mixtures.py [OUT] [--workers 2] [--steps N] [--seeds 10] [--only PART]

Protocol of Lin et al., arXiv:1712.04086, section 4.1, and the authors' code: 100,000 training vectors (ring: radius 1,
sigma 0.01; grid: {-4, ..., 4}^2, sigma 0.05), 2,500 samples of the weights at the end, within 3 sigma of the nearest
centre they are of high quality, 10 seeds, mean +- standard error.

plain   the paper's networks and optimiser with ganvas.GAN: G 4 x 400 ReLU with batch norm, D 3 x 200 maxout of five
        pieces, z ~ N(0, I_2), Adam with 1e-4 and 0.8, batches of 100.  The paper trains for 400 epochs, 400,000
        steps; --steps says how many here.  Layers begin with PyTorch's weights, not with N(0, 0.02^2).
ours    OURS below: R3GAN for vectors, ganvas train r3gan ring --latent 2 --width 128 --lr 3e-3 --betas 0 0.9
        --steps 7000 --batch-size 256 --ema-decay 0.99 --lr-decay 0.8.

`floor` is the same count for 2,500 points of the mixture itself.  Runs and their results are kept in OUT
(runs/mixtures); samples.png shows those of the first seed.
"""

import statistics
from pathlib import Path
from typing import Any

import ganvas  # first: it sets how torch's threads wait

import torch
from PIL import Image

from ganvas.data import DataOptions, load
from ganvas.data.builtin import MIXTURES
from ganvas.metrics import mode_coverage
from ganvas.viz.plots import scatter
from _support import collect, mean_and_error, parser, paste, print_table, save, train_once

OURS: dict[str, Any] = {
    "model": ganvas.R3GAN(latent=2, width=128, lr=3e-3, betas=(0.0, 0.9)),
    "steps": 7000, "batch_size": 256, "ema_decay": 0.99, "lr_decay": 0.8,
}  # fmt: skip
PLAIN = ganvas.GAN(
    latent=2, width=400, depth=4, norm="batch", width_d=200, depth_d=3, activation_d="maxout", lr=1e-4,
    betas=(0.8, 0.999),
)  # fmt: skip
SAMPLES = 2500
PUBLISHED = {
    "ring": (
        ("GAN", "6.3 +- 0.5", "98.2 +- 0.2", "0.45 +- 0.09"),
        ("PacGAN2", "7.9 +- 0.1", "95.6 +- 2.0", "0.07 +- 0.03"),
        ("PacGAN4", "7.8 +- 0.1", "95.9 +- 1.4", "0.07 +- 0.02"),
    ),
    "grid": (
        ("GAN", "17.3 +- 0.8", "94.8 +- 0.7", "0.70 +- 0.07"),
        ("PacGAN2", "23.8 +- 0.7", "91.3 +- 0.8", "0.13 +- 0.04"),
        ("PacGAN4", "24.8 +- 0.2", "93.6 +- 0.6", "0.04 +- 0.01"),
    ),
}


def plan(method: str, steps: int | None) -> dict[str, Any]:
    """Model and options of a method; `steps`, if given, instead of its own."""
    if method == "ours":
        return OURS | ({"steps": steps} if steps else {})
    return {"model": PLAIN, "steps": steps or 20_000, "batch_size": 100, "ema_decay": 0.0}


def run(data: str, method: str, seed: int, steps: int | None, folder: Path) -> dict[str, Any]:
    """Train once, or go on with a run that was stopped, and count the modes of its samples."""
    options = plan(method, steps)
    model = options.pop("model")
    every = max(1, options["steps"] // 4)
    trained = train_once(
        model, data, folder, seed=seed, keep="last", checkpoint_every=every, device="cpu", **options
    )  # fmt: skip
    x = trained.sample(SAMPLES, seed=seed).x
    return mode_coverage(x, *mixture(data))._asdict() | {"samples": x.tolist() if seed == 0 else None}


def mixture(data: str) -> tuple[torch.Tensor, float]:
    """Centres and deviation."""
    return torch.from_numpy(MIXTURES[data].centres), MIXTURES[data].sigma


def table(data: str, results: dict[str, dict[str, Any]], names: dict[str, list[str]]) -> None:
    """Print the rows of a mixture."""
    rows = []
    for method, runs in names.items():
        cells = [
            mean_and_error([results[name][key] * scale for name in runs], digits)
            for key, scale, digits in (("captured", 1, 1), ("high_quality", 100, 1), ("reverse_kl", 1, 4))
        ]
        seconds = statistics.mean(results[name]["seconds"] for name in runs)
        rows.append((f"{method}, {len(runs)} seeds", *cells, f"{seconds:.0f}"))
    floor = mode_coverage(load(data, DataOptions(split="test")).x[:SAMPLES], *mixture(data))
    rows.append(("floor", f"{floor.captured}", f"{floor.high_quality * 100:.1f}", f"{floor.reverse_kl:.4f}", ""))
    rows += [(f"{label}, published", *cells, "") for label, *cells in PUBLISHED[data]]
    heads = (f"modes of {len(MIXTURES[data].centres)}", "% high quality", "reverse KL", "s a seed")
    print_table(data, heads, rows)


def picture(pairs: list[tuple[str, dict[str, Any]]]) -> Image.Image:
    """Samples of the first seeds, a panel each, beside points of the mixtures."""
    panels = []
    for title, result in pairs:
        real = load(title.split()[0], DataOptions(split="test")).x[:SAMPLES]
        panels.append([scatter([real, torch.tensor(result["samples"])], f"{title}: real, generated")])
    return paste(panels)


def main() -> None:
    arguments = parser(__doc__, out="mixtures", workers=2, seeds=10)
    arguments.add_argument("--steps", type=int, help="training steps, instead of each method's own")
    arguments.add_argument("--only", default="", help="names that are part of MIXTURE-METHOD, e.g. ring or grid-ours")
    words = arguments.parse_args()
    names: dict[str, dict[str, list[str]]] = {}
    jobs = {}
    for data in MIXTURES:
        for method in ("plain", "ours"):
            if words.only not in f"{data}-{method}":
                continue
            steps = plan(method, words.steps)["steps"]
            for seed in range(words.seeds):
                name = f"{data}-{method}-{steps}-{seed}"
                names.setdefault(data, {}).setdefault(f"{method}, {steps} steps", []).append(name)
                jobs[name] = (data, method, seed, words.steps, words.out / name)
    results = collect(run, jobs, words.out, words.workers)
    for data, methods in names.items():
        table(data, results, methods)
    pairs = [(f"{data} {m}", results[runs[0]]) for data, methods in names.items() for m, runs in methods.items()]
    save(picture(pairs), words.out / "samples.png")


if __name__ == "__main__":
    main()
