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

import argparse
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
from parallel import collected

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
    if folder.exists():
        trained = ganvas.resume(folder, data=domains, quiet=True)
    else:
        model = ganvas.DiscoGAN(reconstruct=recon, reconstruction_weight=5, lr=1e-3)
        trained = ganvas.train(
            model, domains, folder=folder, seed=seed, steps=steps, batch_size=200, lr_decay=0.5,
            checkpoint_every=max(1, steps // 2),
            device="cpu", quiet=True,
        )  # fmt: skip
    test = points(modes, -2.0, TEST, 3)
    made = trained.translate(test.x).x
    back = trained.translate(made, to="A").x if recon != "none" else None
    return measured(test, made, back) | {"made": made.tolist() if seed == 0 else None}


def measured(test: Dataset, made: Tensor, back: Tensor | None) -> dict[str, Any]:
    """The numbers of translations of the test points, and of the way back."""
    assert test.labels is not None
    far, mode = torch.cdist(made, centres(10, 2.0)).min(1)
    hit = far < 3 * SIGMA
    share = torch.bincount(mode[hit], minlength=10) / len(made)
    lands = torch.stack([torch.bincount(mode[test.labels == i], minlength=10) for i in range(len(test.classes))])
    lands = lands >= 0.05 * TEST
    contested = lands.sum(0) > 1
    return {
        "covered": int((share >= 0.01).sum()), "alone": float((~(lands & contested).any(1)).float().mean()),
        "within": float(hit.float().mean()),
        "cycle": None if back is None else float((back - test.x).square().sum(1).mean().sqrt()),
    }  # fmt: skip


def table(modes: int, found: dict[str, list[dict[str, Any]]]) -> None:
    """Print the rows of a setting."""
    print(f"\n{f'{modes} modes to 10':<26}{'covered':>14}{'least':>7}{'all ten':>9}{'alone, %':>14}{'within, %':>14}"
          f"{'cycle error':>18}{'s a seed':>10}")  # fmt: skip
    for recon, rows in found.items():
        covered = [r["covered"] for r in rows]
        cycle, all_ten = [r["cycle"] for r in rows if r["cycle"] is not None], sum(c == 10 for c in covered)
        print(
            f"{MODELS[recon]:<26}{spread(covered, 1):>14}{min(covered):>7}{f'{all_ten}/{len(rows)}':>9}"
            f"{spread([100 * r['alone'] for r in rows], 0):>14}{spread([100 * r['within'] for r in rows], 1):>14}"
            f"{spread(cycle, 4) if cycle else '-':>18}{statistics.median(r['seconds'] for r in rows):>10.0f}"
        )


def spread(values: list[float], digits: int) -> str:
    """Mean +- standard error."""
    error = f" +- {statistics.stdev(values) / len(values) ** 0.5:.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{error}"


def picture(settings: dict[int, dict[str, list[dict[str, Any]]]]) -> Image.Image:
    """A row a setting: A's modes in their colours, then where each model of the first seed takes them."""
    rows = []
    for modes, found in settings.items():
        test, target = points(modes, -2.0, TEST, 3), points(10, 2.0, 20, 4).x
        assert test.labels is not None
        panels = [scatter_by_class(test.x, test.labels, test.classes, f"A: {modes} modes")]
        names = (*test.classes, "B")
        for recon, results in found.items():
            x = torch.cat([torch.tensor(results[0]["made"]), target])
            labels = torch.cat([test.labels, torch.full((len(target),), modes)])
            panels.append(scatter_by_class(x, labels, names, f"{MODELS[recon]}, over B's modes"))
        rows.append(panels)
    width, height = rows[0][0].width, rows[0][0].height
    canvas = Image.new("RGB", (width * max(map(len, rows)), height * len(rows)), "white")
    for i, panels in enumerate(rows):
        for j, panel in enumerate(panels):
            canvas.paste(panel, (j * width, i * height))
    return canvas


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path, nargs="?", default=Path("runs/disco-toy"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--only", default="", help="names that are part of MODES-RECON, as 5- or 10-both")
    words = parser.parse_args()
    jobs, names = {}, {}
    for modes in (5, 10):
        for recon in MODELS:
            if words.only not in f"{modes}-{recon}":
                continue
            for seed in range(words.seeds):
                name = f"{modes}-{recon}-{words.steps}-{seed}"
                names.setdefault(modes, {}).setdefault(recon, []).append(name)
                jobs[name] = (modes, recon, seed, words.steps, words.out / name)
    found = collected(run, jobs, words.out, words.workers)
    settings = {m: {recon: [found[n] for n in runs] for recon, runs in of.items()} for m, of in names.items()}
    for modes, results in settings.items():
        table(modes, results)
    picture(settings).save(words.out / "toy.png")
    print(f"\n{words.out / 'toy.png'}")


if __name__ == "__main__":
    main()
