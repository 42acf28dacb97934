"""Does the critic's estimate track the quality of samples?  The claim of the WGAN paper, as a number.

    python3 dev.py run python benchmarks/critic_estimate.py ../shared/data/mnist.npz [OUT] [--seeds 3] [--only WGAN-GP]

WGAN (weight clipping), WGAN-GP and the minimax GAN learn MNIST, 28 x 28, in batches of 64 for 1,500 steps of G, with
latent 64 and MLPs (784-256-256-1 and its mirror image); WGAN also with DCGAN's networks (width 16, batch norm in both),
which the paper has first.  Both WGANs begin with 100 updates of the critic in each of 25 steps, as the code of
WGAN's authors does.  Every 50 steps the critic that training has then is shown
5,000 real images and 5,000 samples of the generator that it has then (no averages, so that both belong together): the
estimate is E D(x) - E D(G(z)) for the two WGANs, and (V + log 4) / 2, the Jensen-Shannon divergence that D has,
for the minimax GAN.  Quality is the Frechet distance of those samples to the test images on the 84 features of a LeNet
that this script trains (comparable with numbers of this script alone), and the sliced Wasserstein distance of pixels.
Spearman's rank correlation over the 30 points, of each run; the paper (arXiv:1701.07875, figures 3 and 4) has curves
and no numbers.  Goal: at least 0.9 for both WGANs.  Runs are kept in OUT (runs/critic-estimate), with curves.png.
"""

import statistics
from pathlib import Path
from typing import Any

import ganvas  # first: it sets how torch's threads wait

import torch
from PIL import Image
from torch import Tensor

from ganvas.viz.plots import Chart, line_charts
from ganvas.data import Stream, DataOptions, load
from ganvas.metrics import frechet_distance, sliced_wasserstein
from ganvas.models._gan import Adversarial
from ganvas.objectives.adversarial import discriminator_terms
from ganvas.config import TrainConfig
from ganvas.training.loop import TrainState, initialize_state, train
from _lenet import accuracy, forward, load_lenet
from _support import collect, parser, print_table, save

MODELS: dict[str, Adversarial] = {
    "WGAN": ganvas.WGAN(net="conv", width=16),
    "WGAN, MLP": ganvas.WGAN(net="mlp", width=256),
    "WGAN-GP": ganvas.WGANGP(net="mlp", width=256, initial_critic_steps=100),
    "minimax GAN": ganvas.GAN(loss="minimax", width=256),
}
N, EPOCHS = 5000, 3


def run(file: str, name: str, seed: int, steps: int, every: int, folder: Path) -> dict[str, Any]:
    """Train, and measure the pair of networks at intervals: lists of steps, estimates and distances."""
    data, test = load(file), load(file, DataOptions(split="test"))
    lenet = load_lenet(folder, data, EPOCHS)
    reference = forward(lenet[:-1], test.x)
    model, plan = MODELS[name], TrainConfig(steps=steps, batch_size=64, seed=seed, ema_decay=0.0)
    state = initialize_state(model, data.shape, seed, torch.device("cpu"))
    result: dict[str, Any] = {key: [] for key in ("step", "estimate", "frechet", "sliced")}
    for step in train(model, data, plan, state):
        if step % every == 0:
            real = next(Stream(data, batch=N, seed=seed, position=step)).x
            estimate, fake = estimate_and_samples(model, state, real, seed)
            result["step"].append(step)
            result["estimate"].append(estimate)
            result["frechet"].append(frechet_distance(forward(lenet[:-1], fake), reference))
            result["sliced"].append(sliced_wasserstein(fake.flatten(1) / 255, test.x[:N].flatten(1) / 255))
    return result | {"accuracy": accuracy(lenet, test)}


@torch.no_grad()
def estimate_and_samples(model: Adversarial, state: TrainState, real: Tensor, seed: int) -> tuple[float, Tensor]:
    """The critic's estimate, and the samples, as pixels 0 to 255, that it is of."""
    G, D = state.nets["G"], state.nets["D"]
    noise = model.sample_prior(N, real.shape[1:], torch.Generator().manual_seed(seed))
    fake = torch.cat([G(part) for part in noise.split(500)])
    logits = [torch.cat([D(part) for part in x.split(500)]) for x in (real, fake)]
    terms = {key: value.item() for key, value in discriminator_terms(model.objective.loss, *logits).items()}
    (estimate,) = model.estimates(terms).values()
    return estimate, ((fake + 1) * 127.5).round()


def spearman(a: list[float], b: list[float]) -> float:
    """The correlation of ranks."""
    ranks = [torch.tensor(v, dtype=torch.float64).argsort().argsort().double() for v in (a, b)]
    return torch.corrcoef(torch.stack(ranks))[0, 1].item()


def picture(results: dict[str, dict[str, Any]], names: list[str]) -> Image.Image:
    """For each model, of its first seed, the estimate and the distances, each as a share of its largest value."""
    charts = []
    for name in names:
        first = results[f"{name}-0"]
        series = {
            key: [(float(s), v / max(first[key])) for s, v in zip(first["step"], first[key], strict=True)]
            for key in ("estimate", "frechet", "sliced")
        }
        charts.append(Chart(name, series, (0.0,)))
    return line_charts(charts, len(charts))


def main() -> None:
    arguments = parser(
        __doc__, data="mnist.npz", out="critic-estimate", workers=2, steps=1500, every=50, seeds=3
    )  # fmt: skip
    arguments.add_argument("--only", default="", help="models whose name has this part, e.g. WGAN or minimax")
    words = arguments.parse_args()
    names = [name for name in MODELS if words.only in name]
    jobs = {
        f"{name}-{seed}": (str(words.data), name, seed, words.steps, words.every, words.out)
        for seed in range(words.seeds) for name in names
    }  # fmt: skip
    load_lenet(words.out, load(str(words.data)), EPOCHS)  # before there are several processes
    results, rows = collect(run, jobs, words.out, words.workers), []
    for name in names:
        runs = [results[f"{name}-{seed}"] for seed in range(words.seeds)]
        cells = ["  ".join(f"{spearman(r['estimate'], r[key]):+.3f}" for r in runs) for key in ("frechet", "sliced")]
        last, seconds = (statistics.mean(v) for v in ([r["frechet"][-1] for r in runs], [r["seconds"] for r in runs]))
        rows.append((name, *cells, f"{last:.1f}", f"{seconds:.0f}"))
    lenet = statistics.mean(r["accuracy"] for r in results.values())
    print(f"\nSpearman's rho of the estimate, {words.seeds} seeds (LeNet: {lenet:.2%} of the test images)")
    heads = ("with Frechet distance", "with sliced Wasserstein", "Frechet, last", "s a run")
    print_table("", heads, rows)
    save(picture(results, names), words.out / "curves.png")


if __name__ == "__main__":
    main()
