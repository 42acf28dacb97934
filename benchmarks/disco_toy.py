"""Does a translator find all modes of the other domain?  DiscoGAN's toy, as a table.

    python3 dev.py run python benchmarks/disco_toy.py [OUT] [--workers 2] [--seeds 10] [--steps 5000] [--only 5-both]

Figure 3 of Kim et al., arXiv:1703.05192, in numbers: Gaussian modes of deviation 0.1 on circles of radius 2, A's around
(-2, -2), B's around (2, 2); B has ten modes, 30 degrees apart, and A five, 72 degrees apart, or the same ten.  The
paper's three models (recon none, one, both) with its networks, translators of three linear layers and discriminators of
five, 128 wide; 20,000 points of each mode to learn from, 200 others of each to translate, with the averaged weights of
the last step.

covered      modes of B that at least 1% of the translations land on, within 3 sigma of the centre
alone        share of A's modes that land on no mode of B that another one lands on, too; a mode lands where at least 5%
             of its points have their nearest centre
within       share of translations within 3 sigma of a centre
cycle error  root mean square distance of a to GBA(GAB(a)), where there is a way back

The paper gives neither weights nor steps: here constancy 5, Adam with 1e-3 and 0.5, which falls linearly to 0 in the
second half, batches of 200, the same for all three.  Results are kept in OUT (runs/disco-toy), with toy.png.
"""

import statistics
from math import pi
from pathlib import Path
from typing import Any

import ganvas  # first: it sets how torch's threads wait

import torch
from PIL import Image
from torch import Tensor

from ganvas.data import Dataset, from_array
from ganvas.viz.plots import scatter_by_class
from _support import collect, mean_and_error, parser, paste, print_table, save, train_once

SIGMA, RADIUS, LEARN, TEST = 0.1, 2.0, 20_000, 200
MODELS = {"none": "GAN", "one": "GAN with reconstruction", "both": "DiscoGAN"}


def centres(modes: int, at: float) -> Tensor:
    """Five or ten places on a circle around (at, at)."""
    angle = torch.linspace(0, 2 * pi, 13)[3:] if modes == 10 else 2 * pi / modes * torch.arange(modes)
    return at + RADIUS * torch.stack([angle.cos(), angle.sin()], 1)


def points(modes: int, at: float, each: int, seed: int) -> Dataset:
    """So many points of each mode, labelled with it."""
    noise = torch.randn(modes * each, 2, generator=torch.Generator().manual_seed(seed))
    x = centres(modes, at).repeat_interleave(each, 0) + SIGMA * noise
    return from_array(x, torch.arange(modes).repeat_interleave(each), name=f"{modes}modes")


def run(modes: int, recon: str, seed: int, steps: int, folder: Path) -> dict[str, Any]:
    """Train once, or go on with a run that was stopped, and look where the modes of A land."""
    domains = points(modes, -2.0, LEARN, 1), points(10, 2.0, LEARN, 2)
    trained = train_once(
        ganvas.DiscoGAN(reconstruct=recon, reconstruction_weight=5, lr=1e-3), domains, folder, seed=seed, steps=steps,
        batch_size=200, lr_decay=0.5, checkpoint_every=max(1, steps // 2), device="cpu",
    )  # fmt: skip
    test = points(modes, -2.0, TEST, 3)
    fake = trained.translate(test.x).x
    back = trained.translate(fake, to="A").x if recon != "none" else None
    return measure(test, fake, back) | {"translations": fake.tolist() if seed == 0 else None}


def measure(test: Dataset, fake: Tensor, back: Tensor | None) -> dict[str, Any]:
    """The numbers of translations of the test points, and of the way back."""
    assert test.labels is not None
    distance, mode = torch.cdist(fake, centres(10, 2.0)).min(1)
    hit = distance < 3 * SIGMA
    share = torch.bincount(mode[hit], minlength=10) / len(fake)
    lands = torch.stack([torch.bincount(mode[test.labels == i], minlength=10) for i in range(len(test.classes))])
    lands = lands >= 0.05 * TEST
    contested = lands.sum(0) > 1
    return {
        "covered": int((share >= 0.01).sum()), "alone": float((~(lands & contested).any(1)).float().mean()),
        "within": float(hit.float().mean()),
        "cycle": None if back is None else float((back - test.x).square().sum(1).mean().sqrt()),
    }  # fmt: skip


def table(modes: int, results: dict[str, list[dict[str, Any]]]) -> None:
    """Print the rows of a setting."""
    rows = []
    for recon, runs in results.items():
        covered, cycle = [r["covered"] for r in runs], [r["cycle"] for r in runs if r["cycle"] is not None]
        rows.append((
            MODELS[recon], mean_and_error(covered, 1), f"{min(covered)}",
            f"{sum(c == 10 for c in covered)}/{len(runs)}", mean_and_error([100 * r["alone"] for r in runs], 0),
            mean_and_error([100 * r["within"] for r in runs], 1), mean_and_error(cycle, 4) if cycle else "-",
            f"{statistics.median(r['seconds'] for r in runs):.0f}",
        ))  # fmt: skip
    heads = ("covered", "least", "all ten", "alone, %", "within, %", "cycle error", "s a seed")
    print_table(f"{modes} modes to 10", heads, rows)


def picture(settings: dict[int, dict[str, list[dict[str, Any]]]]) -> Image.Image:
    """A row a setting: A's modes in their colours, then where each model of the first seed takes them."""
    rows = []
    for modes, results in settings.items():
        test, target = points(modes, -2.0, TEST, 3), points(10, 2.0, 20, 4).x
        assert test.labels is not None
        panels = [scatter_by_class(test.x, test.labels, test.classes, f"A: {modes} modes")]
        names = (*test.classes, "B")
        for recon, runs in results.items():
            x = torch.cat([torch.tensor(runs[0]["translations"]), target])
            labels = torch.cat([test.labels, torch.full((len(target),), modes)])
            panels.append(scatter_by_class(x, labels, names, f"{MODELS[recon]}, over B's modes"))
        rows.append(panels)
    return paste(rows)


def main() -> None:
    arguments = parser(__doc__, out="disco-toy", workers=2, seeds=10, steps=5000)
    arguments.add_argument("--only", default="", help="names that are part of MODES-RECON, e.g. 5- or 10-both")
    words = arguments.parse_args()
    jobs, names = {}, {}
    for modes in (5, 10):
        for recon in MODELS:
            if words.only not in f"{modes}-{recon}":
                continue
            for seed in range(words.seeds):
                name = f"{modes}-{recon}-{words.steps}-{seed}"
                names.setdefault(modes, {}).setdefault(recon, []).append(name)
                jobs[name] = (modes, recon, seed, words.steps, words.out / name)
    results = collect(run, jobs, words.out, words.workers)
    settings = {m: {recon: [results[n] for n in runs] for recon, runs in of.items()} for m, of in names.items()}
    for modes, of_modes in settings.items():
        table(modes, of_modes)
    save(picture(settings), words.out / "toy.png")


if __name__ == "__main__":
    main()
