"""What each metric of `ganvas evaluate` sees: real images, corrupted more and more, in place of samples.

    python3 dev.py run python benchmarks/metric_sensitivity.py ../shared/data [OUT] [--seeds 4] [--n 2000]

MNIST and Fashion-MNIST, each on its own classifier's features.  2,000 test images
are compared with as many others, corrupted: blurred (Gaussian, deviation in pixels), with noise (deviation in grey
levels of 255), of 9, 7 and 5 of the ten classes only, with a share of them copied from the rest, and with a share
replaced by training images.  Four seeds choose, and draw the noise.

A metric sees a corruption ("yes") if its mean over seeds moves to the worse with every degree, beyond the floor's
spread: each degree is worse than the one before, and the last one worse than the uncorrupted images by more than twice
the standard deviation that the metric has for these, over seeds.  "plateau" if it moves so, but not with every
degree, and never back by more than that spread; "not monotone" if it does; "wrong" if the last degree is better than
the uncorrupted images by that much; "no" if it does not move.  Worse is what `WORSE` says.  Prints the table in
Markdown and writes OUT/sensitivity.json and OUT/sensitivity.png; a recipe that is stopped goes on where it was.
"""

import json
import statistics
from itertools import pairwise
from pathlib import Path

import ganvas  # noqa: F401  first: it sets how torch's threads wait

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import conv2d

from ganvas.viz.plots import Chart, line_charts
from ganvas.data import Dataset, DataOptions, load
from ganvas.evaluation.samples import measure
from ganvas.metrics import Comparison, Examples
from ganvas.metrics.features import make_feature_space
from ganvas.metrics.similarity import gaussian_window
from ganvas.randomness import make_generator
from _support import parser, save

FILES = {"mnist": "mnist.npz", "fashion-mnist": "fashion_mnist.npz"}
DEGREES: dict[str, tuple[float, ...]] = {
    "blur": (0, 0.5, 0.75, 1, 1.5), "noise": (0, 16, 32, 64, 128), "dropped classes": (0, 1, 3, 5),
    "duplicated": (0, 0.1, 0.25, 0.5, 0.9), "memorised": (0, 0.1, 0.25, 0.5, 1),
}  # fmt: skip
UNITS = {
    "blur": "blur, pixels", "noise": "noise, grey levels", "dropped classes": "classes dropped",
    "duplicated": "share copied", "memorised": "share from training",
}  # fmt: skip
WORSE = {
    "fid": 1, "kid": 1, "precision": -1, "recall": -1, "density": -1, "coverage": -1, "one_nn_accuracy": 1,
    "sliced_wasserstein": 1, "ms_ssim": 1, "classifier_score": -1, "nearer_to_training": 1, "memorisation_rate": 1,
    "duplicate_rate": 1,
}  # fmt: skip
METRICS = (
    "fid", "kid", "prdc", "one-nn", "sliced-wasserstein", "ms-ssim", "classes", "memorisation", "duplicates",
)  # fmt: skip
TRAIN = 20_000
"""training images that are looked through for those that samples copy"""


def corrupt(kind: str, degree: float, pool: Dataset, train: Dataset, n: int, seed: int) -> Dataset:
    """n images of the pool, mixed and corrupted."""
    random = make_generator(torch.device("cpu"), seed, "corruption", kind)
    if kind == "dropped classes":
        shuffled = pool.sample(len(pool), seed, "pool")
        assert shuffled.labels is not None
        return shuffled.select(shuffled.labels < 10 - degree).select(slice(n))
    x = pool.sample(n, seed, "pool").x.clone()
    if degree and kind == "blur":
        x = blur(x, degree)
    elif degree and kind == "noise":
        x = (x + degree * torch.randn(x.shape, generator=random)).round().clamp(0, 255).to(torch.uint8)
    elif kind == "duplicated":
        apart = n - round(degree * n)
        x[apart:] = x[torch.randint(apart, (n - apart,), generator=random)]
    elif kind == "memorised":
        copied = round(degree * n)
        x[:copied] = train.sample(copied, seed, "copied").x
    return Dataset(x=x, name=pool.name)


def blur(x: Tensor, sigma: float) -> Tensor:
    """Grey images under a Gaussian of this deviation in pixels."""
    weights = gaussian_window(13, torch.float32, sigma)
    smooth = conv2d(x.float(), (weights[:, None] * weights)[None, None], padding=6)
    return smooth.round().clamp(0, 255).to(torch.uint8)


def measure_corruptions(name: str, folder: Path, n: int, seed: int, out: Path) -> dict[str, dict[str, float]]:
    """Each corruption's numbers, by "KIND DEGREE", without the names of features; kept in a file of OUT."""
    file = out / f"{name}-{n}-{seed}.json"
    values: dict[str, dict[str, float]] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    test, train = (load(str(folder / FILES[name]), DataOptions(split=split)) for split in ("test", "train"))
    mixed, train = test.sample(len(test), seed, "halves"), train.sample(TRAIN, seed, "train")
    half = len(mixed) // 2
    held_out, pool = mixed.select(slice(n)), mixed.select(slice(half, None))
    other = mixed.select(slice(half - n, half)) if half >= 2 * n else train.select(slice(n))
    space = make_feature_space("auto", test.shape, data_name=name)
    real = Examples(held_out, space)
    known = (Examples(train, space),)
    floor = Examples(other, space, real, known, is_floor=True)
    for kind, degrees in DEGREES.items():
        for degree in degrees:
            key = f"{kind} {degree:g}"
            if key in values:
                continue
            fake = corrupt(kind, degree, pool, train, n, seed)
            c = Comparison(real, Examples(fake, space, real, known), seed, True)
            numbers = measure(METRICS, c, floor, strict=True)
            values[key] = {
                k.split(":")[0]: v for k, v in numbers.items() if k.split(":")[0] in WORSE and k.count(":") < 2
                and not k.endswith(":floor")
            }  # fmt: skip
            file.write_text(json.dumps(values), encoding="utf-8")
            print(f"{name}, seed {seed}: {key}", flush=True)
    return values


def verdict(values: list[list[float]], worse: int) -> str:
    """What a metric makes of growing degrees, from its values over seeds at each, the first without corruption."""
    means = [worse * statistics.mean(v) for v in values]
    spread = 2 * statistics.stdev(values[0])
    steps = [b - a for a, b in pairwise(means)]
    if means[-1] - means[0] < -spread:
        return "wrong"
    if means[-1] - means[0] <= spread:
        return "no"
    return "yes" if min(steps) > 0 else "plateau" if min(steps) >= -spread else "not monotone"


def values_over_seeds(runs: list[dict[str, dict[str, float]]], kind: str, metric: str) -> list[list[float]]:
    """The values over seeds, at each degree."""
    return [[run[f"{kind} {degree:g}"][metric] for run in runs] for degree in DEGREES[kind]]


def table(results: dict[str, list[dict[str, dict[str, float]]]]) -> str:
    """Which metric sees what, on each data set, in Markdown."""
    lines = ["| metric | " + " | ".join(DEGREES) + " |", "|---" * (len(DEGREES) + 1) + "|"]
    for metric, worse in WORSE.items():
        cells = []
        for kind in DEGREES:
            verdicts = [verdict(values_over_seeds(runs, kind, metric), worse) for runs in results.values()]
            cells.append(verdicts[0] if len(set(verdicts)) == 1 else " / ".join(verdicts))
        lines.append(f"| `{metric}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def figure(results: dict[str, list[dict[str, dict[str, float]]]]) -> Image.Image:
    """A panel for each metric and corruption, a row a metric: means over seeds, a line a data set."""
    charts = []
    for metric in WORSE:
        for kind, degrees in DEGREES.items():
            lines, shown = {}, list[float]()
            for name, runs in results.items():
                values = values_over_seeds(runs, kind, metric)
                lines[name] = list(zip(map(float, degrees), map(statistics.mean, values), strict=True))
                shown += noise_range(values[0], metric)
            charts.append(Chart(f"{metric}: {UNITS[kind]}", lines, shown, x_name=""))
    picture = line_charts(charts, len(DEGREES))
    return picture.resize((picture.width * 2 // 3, picture.height * 2 // 3), Image.Resampling.LANCZOS).quantize(64)


def noise_range(values: list[float], metric: str) -> tuple[float, float]:
    """What a panel shows at least: eight deviations of the uncorrupted images' values, so that noise looks like it."""
    mean, reach = statistics.mean(values), 8 * statistics.stdev(values)
    return (mean - reach if metric == "kid" else max(0.0, mean - reach)), mean + reach


def main() -> None:
    words = parser(__doc__, data="folder with the .npz files", out="sensitivity", seeds=4, n=2000).parse_args()
    words.out.mkdir(parents=True, exist_ok=True)
    results = {
        name: [measure_corruptions(name, words.data, words.n, seed, words.out) for seed in range(words.seeds)]
        for name in FILES
    }
    (words.out / "sensitivity.json").write_text(json.dumps(results), encoding="utf-8")
    print(table(results))
    save(figure(results), words.out / "sensitivity.png", optimize=True)


if __name__ == "__main__":
    main()
