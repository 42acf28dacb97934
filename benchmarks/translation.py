"""CycleGAN and DiscoGAN where the truth is known: two drawings of the same things, glyphs, and angles of digits.

    python3 dev.py run python benchmarks/translation.py ../shared/data [OUT] [--workers 2] [--only emoji] [--folds]

Trained on unpaired images of 32 pixels, scored on held-out pairs, the averaged weights of the last step, each way:

emoji    Fluent emoji in 3-D and flat, in the package: 1,358 of each to learn from, 199 pairs
vendors  emoji of Google and of Twitter, on white: 1,652 of each, 200 pairs
glyphs   upright and italic, 8,000 of each from different families, 500 pairs from 20 families that neither has seen
angle    MNIST's threes and sevens, turned by up to 75 degrees: is the translation of a 3 a 7 at the same angle?
         --seeds of them (5), where the drawings have one, --seed; the angle is read by a network that has learnt it
         from turned sevens (its own error is printed), and a classifier says whether the translation, turned back,
         is a seven

With --folds, all 1,557 pairs of the emoji in five folds, each held out once, and learnt from the other four; ranks are
among the 311 or 312 of a fold, and of these pairs 200 are those that settings were chosen on.

Three answers that need no training stand beside them: the input itself; the input with the means and deviations of
the other domain's colours; the nearest example of the other domain (Euclidean).  L1 is of pixels from 0 to 1, PSNR that
of the mean square error of all pairs, rank the place of the right answer among all targets by Euclidean distance (1 is
best), and the same by features (random-conv-v1: means and deviations of maps, so that exactly where things are counts
less).

Networks, weights of losses, learning rates and steps were chosen on other pairs, out of those to learn from
(`--validate`: 200 of emoji and vendors, glyphs of 16 further families), never on those that are scored, but with
--folds.

Steps are sized for two cores and less than an hour a task.  Results are kept in OUT (runs/translation), with a picture
of each task; an OUT from before ranks by features has to be made anew.
"""

import statistics
from math import log10, pi
from pathlib import Path
from typing import Any

import ganvas  # first: it sets how torch's threads wait

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import affine_grid, grid_sample

from ganvas.data import Dataset, DataOptions, from_array, load
from ganvas.evaluation.translation import paired_errors, to_unit_range, translate_examples
from ganvas.metrics.features import make_feature_space
from ganvas.metrics.classes import label_accuracy
from ganvas.metrics.pairs import circular_correlation, circular_rmse
from ganvas.viz.images import Examples
from _support import collect, parser, print_table, save, train_once, to_bytes

Domains = tuple[Dataset, Dataset]
TURNED: dict[str, Any] = {
    "cyclegan": {
        "model": ganvas.CycleGAN(
            width=16, blocks=2, patch_size=34, residual=True, cycle_weight=2, identity_weight=0, enlarge=1,
            flip=False, lr=1e-3
        ), "batch_size": 4, "lr_decay": 0.5, "steps": 2000,
    },
    "discogan": {"model": ganvas.DiscoGAN(width=16, reconstruction_weight=20, lr=4e-4), "batch_size": 32, "lr_decay":
    0.5,
    "steps": 1500},
}  # fmt: skip
WAYS = ("A to B", "B to A")
FOLDS = 5
MEANS = ("l1", "ssim", "mean_rank", "top1_accuracy", "feature_mean_rank", "feature_top1_accuracy")
READER_STEPS = 1000
SPREAD = 75 / 180 * pi
"""radians by which digits are turned, at most"""


def domains(task: str, folder: Path, validate: bool = False) -> tuple[Domains, Domains]:
    """What to learn from, unpaired, and the pairs to be scored on, or others instead, out of those to learn from."""
    if task == "glyphs":
        return glyphs(folder, validate)
    names = ("emoji", "emoji-flat")
    if task.startswith("emoji-"):
        return fold(int(task.removeprefix("emoji-")), *names)
    if task == "emoji":
        a, b = (load(name) for name in names)
        held = (load(names[0], DataOptions(split="test")), load(names[1], DataOptions(split="test")))
    else:
        with np.load(folder / "emoji_google_twitter_64.npz") as file:
            a, b = (
                load(from_array(file[name], name=name), DataOptions(size="32", channels=3))
                for name in ("google", "twitter")
            )
        (a, b), held = hold_out(200, a, b, 0)
    if validate:
        (a, b), held = hold_out(200, a, b, 7)
    return (a, b.select(torch.arange(len(b)).flip(0))), held


def hold_out(n: int, a: Dataset, b: Dataset, seed: int) -> tuple[Domains, Domains]:
    """All pairs but n of them, drawn by the seed, and these."""
    order = torch.randperm(len(a), generator=torch.Generator().manual_seed(seed))
    return (a.select(order[n:]), b.select(order[n:])), (a.select(order[:n]), b.select(order[:n]))


def fold(k: int, *names: str) -> tuple[Domains, Domains]:
    """What to learn from, unpaired, and the pairs of a fold."""
    a, b = (from_array(torch.cat([load(n).x, load(n, DataOptions(split="test")).x]), name=n) for n in names)
    order = torch.randperm(len(a), generator=torch.Generator().manual_seed(0))
    held, rest = order[k::FOLDS], torch.cat([order[i::FOLDS] for i in range(FOLDS) if i != k])
    return (a.select(rest), b.select(rest.flip(0))), (a.select(held), b.select(held))


def pool_folds(folds: list[dict[str, Any]]) -> dict[str, Any]:
    """The means of folds, which are as large but for a pair; of PSNR, that of the mean square error."""
    means: dict[str, Any] = {"seconds": statistics.mean(scores["seconds"] for scores in folds)}
    for way in WAYS:
        each = [scores[way] for scores in folds]
        means[way] = {name: statistics.mean(s[name] for s in each) for name in MEANS}
        means[way]["psnr_db"] = -10 * log10(statistics.mean(10 ** (-s["psnr_db"] / 10) for s in each))
    return means


def run_folds(folder: Path, out: Path, workers: int, seed: int) -> None:
    """Train on all folds of the emoji, and print the scores of all pairs."""
    names = (*ANSWERS, "cyclegan", "discogan")
    jobs = {
        f"emoji-{k}-{name.replace(' ', '-')}": (f"emoji-{k}", name, folder, out / f"emoji-{k}-{name}", False, seed)
        for name in reversed(names) for k in range(FOLDS)
    }  # fmt: skip
    results = collect(run, jobs, out, workers)
    of = {name: [results[key] for key, job in jobs.items() if job[1] == name] for name in names}
    table("emoji, all pairs", {name: pool_folds(scores) for name, scores in of.items()})


def glyphs(folder: Path, validate: bool) -> tuple[Domains, Domains]:
    """Upright and italic glyphs, each of families of its own, and pairs from families that neither has."""
    with np.load(folder / "font_upright_italic_32.npz") as file:
        a, b = (from_array(file[name], name=name) for name in ("A", "B"))
        family = torch.from_numpy(file["family"].astype(np.int64))
    families = torch.randperm(int(family.max()) + 1, generator=torch.Generator().manual_seed(0))
    middle = 20 + (len(families) - 20) // 2
    held, of_a, of_b = families[:20], families[20:middle], families[middle:]
    if validate:
        held, of_a, of_b = torch.cat([of_a[:8], of_b[:8]]), of_a[8:], of_b[8:]
    parts = [torch.isin(family, some) for some in (held, of_a, of_b)]
    pairs = a.select(parts[0]).sample(500, "held"), b.select(parts[0]).sample(500, "held")
    return (a.select(parts[1]).sample(8000, "a"), b.select(parts[2]).sample(8000, "b")), pairs


def run(task: str, name: str, folder: Path, out: Path, validate: bool, seed: int) -> dict[str, Any]:
    """Train a model on a task, or go on with a run that was stopped, and score it; or score what needs no training."""
    learn, test = domains(task, folder, validate)
    if name in ANSWERS:
        fake = [ANSWERS[name](to_unit_range(test[i].x), learn[i], learn[1 - i]) for i in (0, 1)]
    else:
        trained = train_on(learn, out, options_of(task, name), seed)
        fake = [translate_examples(trained, test[i].x, to) for i, to in enumerate("BA")]
    space = make_feature_space("random-conv-v1", test[0].shape)
    scores = {
        way: paired_errors(fake[i], test[1 - i], space(to_bytes(fake[i])), space(test[1 - i].x))
        for i, way in enumerate(WAYS)
    }
    return scores | {"translations": [to_bytes(x[:12]).tolist() for x in fake]}


def options_of(task: str, name: str) -> dict[str, Any]:
    """Model and options for a task of drawings.

    Vendors place things differently, so there a critic sees all of an image.  Letters are not mirrored, and are many.
    """
    if name == "cyclegan":
        model = ganvas.CycleGAN(
            width=16, blocks=2, patch_size=70 if task == "vendors" else 34, residual=True, cycle_weight=2,
            identity_weight=0,
            enlarge=1, flip=task != "glyphs", lr=1e-3,
        )  # fmt: skip
        return {"model": model, "batch_size": 4, "lr_decay": 0.5, "steps": 3000}
    disco = ganvas.DiscoGAN(width=32, residual=True, reconstruction_weight=10, lr=4e-4)
    return {"model": disco, "batch_size": 16, "lr_decay": 0.5, "steps": 3000 if task == "glyphs" else 1200}


def train_on(learn: Domains, out: Path, options: dict[str, Any], seed: int) -> ganvas.Trained:
    model, every = options.pop("model"), max(1, options["steps"] // 5)
    return train_once(model, learn, out, seed=seed, checkpoint_every=every, device="cpu", **options)


def match_colours(x: Tensor, source: Dataset, target: Dataset) -> Tensor:
    """The input with the means and deviations of the other domain's colours."""
    (mean, std), (other, spread) = (
        (v.mean((0, 2, 3))[:, None, None], v.std((0, 2, 3))[:, None, None])
        for v in map(to_unit_range, (source.x, target.x))
    )
    return ((x - mean) / std * spread + other).clamp(0, 1)


def nearest(x: Tensor, source: Dataset, target: Dataset) -> Tensor:
    """The nearest example of the other domain."""
    known = to_unit_range(target.x)
    return known[torch.cdist(x.flatten(1), known.flatten(1)).argmin(1)]


ANSWERS = {"input": lambda x, a, b: x, "mean colour": match_colours, "nearest": nearest}


def rotate(x: Tensor, seed: int) -> tuple[Dataset, Tensor]:
    """Digits, each turned by an angle of its own, and the angles in radians."""
    angle = (torch.rand(len(x), generator=torch.Generator().manual_seed(seed)) * 2 - 1) * SPREAD
    return from_array(rotate_by(x.float(), angle).round().to(torch.uint8)), angle


def rotate_by(x: Tensor, angle: Tensor) -> Tensor:
    """Images, each turned by its angle about the middle."""
    zero = torch.zeros_like(angle)
    rows = [torch.stack([angle.cos(), -angle.sin(), zero], 1), torch.stack([angle.sin(), angle.cos(), zero], 1)]
    return grid_sample(x, affine_grid(torch.stack(rows, 1), list(x.shape), align_corners=False), align_corners=False)


def run_angle(name: str, seed: int, folder: Path, out: Path) -> dict[str, Any]:
    """Train on turned threes and sevens; how far the angle of a translated three is from that of the three."""
    digits, test = load(str(folder / "mnist.npz")), load(str(folder / "mnist.npz"), DataOptions(split="test"))
    (threes, _), (sevens, angle) = (rotate(with_label(digits, k), 10 * seed + k) for k in (3, 7))
    reader = fit_angle_reader(sevens, angle, seed)
    (x, truth), (y, own) = (rotate(with_label(test, k), 1000 + 10 * seed + k) for k in (3, 7))
    trained = train_on((threes, sevens), out, dict(TURNED[name]), seed)
    fake = translate_examples(trained, x.x, "B")
    angles, judge = read(reader, fake), make_feature_space("lenet-mnist-v1", x.shape)
    upright = rotate_back(fake, truth)
    return {
        "sevens": label_accuracy(judge.logits(judge(upright)), torch.full((len(fake),), 7)),
        "rmse": circular_rmse(angles, truth) * 180 / pi, "correlation": circular_correlation(angles, truth),
        "reader": circular_rmse(read(reader, to_unit_range(y.x)), own) * 180 / pi,
        "chance": circular_rmse(own[: len(truth)], truth[: len(own)]) * 180 / pi,
    }  # fmt: skip


def rotate_back(x: Tensor, angle: Tensor) -> Tensor:
    """Images in bytes, turned back by the angles at which they should be."""
    return rotate_by(x * 255, -angle).round().to(torch.uint8)


def with_label(data: Dataset, label: int) -> Tensor:
    assert data.labels is not None
    return data.x[data.labels == label]


def fit_angle_reader(data: Dataset, angle: Tensor, seed: int) -> nn.Module:
    """A network that returns cosine and sine of the angle of a digit."""
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(1, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 4, 2, 1), nn.ReLU(), nn.Flatten(),
        nn.Linear(32 * 49, 64), nn.ReLU(), nn.Linear(64, 2),
    )  # fmt: skip
    x, goal = to_unit_range(data.x), torch.stack([angle.cos(), angle.sin()], 1)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(READER_STEPS):
        some = torch.randint(len(x), (64,))
        optimizer.zero_grad()
        (net(x[some]) - goal[some]).square().mean().backward()
        optimizer.step()
    return net.eval().requires_grad_(False)


def read(net: nn.Module, x: Tensor) -> Tensor:
    cosine, sine = net(x).unbind(1)
    return torch.atan2(sine, cosine)


def table(task: str, results: dict[str, dict[str, Any]]) -> None:
    """Print the rows of a task, each way."""
    heads = ("L1", "PSNR, dB", "SSIM", "rank", "first, %", "by features:", "first, %", "minutes")
    for way in WAYS:
        print_table(f"{task}, {way}", heads, [
            (
                name, f"{s['l1']:.4f}", f"{s['psnr_db']:.2f}", f"{s['ssim']:.3f}", f"{s['mean_rank']:.2f}",
                f"{100 * s['top1_accuracy']:.1f}", f"{s['feature_mean_rank']:.2f}",
                f"{100 * s['feature_top1_accuracy']:.1f}", f"{scores['seconds'] / 60:.1f}",
            )
            for name, scores in results.items() for s in [scores[way]]
        ])  # fmt: skip


def picture(task: str, results: dict[str, dict[str, Any]], folder: Path, validate: bool) -> Image.Image:
    """The first held-out inputs, what each way makes of them, and the truth."""
    _, test = domains(task, folder, validate)
    rows, names, shown = [], [], [name for name in results if name != "input"]
    for i, way in enumerate(WAYS):
        fake = [torch.tensor(results[name]["translations"][i]).to(torch.uint8) for name in shown]
        rows += [test[i].x[:12], *fake, test[1 - i].x[:12]]
        names += [f"{way}: input", *shown, "truth"]
    return Examples(torch.cat(rows), columns=12, row_labels=tuple(names)).render()


def main() -> None:
    arguments = parser(__doc__, data="folder with the .npz files", out="translation", workers=2, seeds=5, seed=0)
    arguments.add_argument("--only", default="", help="names that are part of TASK-MODEL")
    arguments.add_argument("--validate", action="store_true", help="score on other pairs, out of those to learn from")
    arguments.add_argument("--folds", action="store_true", help="all pairs of the emoji, in folds, and nothing else")
    words = arguments.parse_args()
    models, jobs = ("cyclegan", "discogan"), {}
    if words.folds:
        if words.only or words.validate:
            arguments.error("--folds is all of the emoji: leave out --only and --validate")
        run_folds(words.data, words.out, words.workers, words.seed)
        return
    for task in ("emoji", "vendors", "glyphs"):
        for name in (*[n for n in ANSWERS if n != "input"], "input", *models):
            if words.only in f"{task}-{name}" or (name in ANSWERS and task in words.only):
                key = f"{task}-{name.replace(' ', '-')}"
                jobs[key] = (task, name, words.data, words.out / key, words.validate, words.seed)
    angles = {
        f"angle-{n}-{s}": (n, s, words.data, words.out / f"angle-{n}-{s}") for n in models for s in range(words.seeds)
    }
    scored = collect(run, jobs, words.out, words.workers)
    for task in dict.fromkeys(arguments[0] for arguments in jobs.values()):
        results = {jobs[key][1]: scores for key, scores in scored.items() if jobs[key][0] == task}
        table(task, results)
        save(picture(task, results, words.data, words.validate), words.out / f"{task}.png")
    turns = collect(run_angle, {k: v for k, v in angles.items() if words.only in k}, words.out, words.workers)
    for name in models:
        rows = [scores for key, scores in turns.items() if f"-{name}-" in key]
        if rows:
            print(f"\nangle, {name}, {statistics.median(r['seconds'] for r in rows):.0f} s a seed")
            print("circular RMSE, degrees   " + ", ".join(f"{r['rmse']:.0f}" for r in rows)
                  + f"; chance {statistics.mean(r['chance'] for r in rows):.0f}, "
                  f"real sevens {statistics.mean(r['reader'] for r in rows):.0f}")  # fmt: skip
            print("taken for sevens, %      " + ", ".join(f"{100 * r['sevens']:.0f}" for r in rows))
            print("circular correlation     " + ", ".join(f"{r['correlation']:+.2f}" for r in rows))


if __name__ == "__main__":
    main()
