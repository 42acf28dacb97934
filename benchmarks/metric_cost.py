"""What FID, KID and precision, recall, density and coverage cost: seconds and peak memory.

    python3 dev.py run python benchmarks/metric_cost.py ../shared/data/mnist.npz [--n N]

N (10,000) images of MNIST, 28 x 28, against N others, and a floor from N more, on `lenet-mnist-v1`, as `ganvas
evaluate` takes them.  The three sets are drawn from all 70,000 images, and noise of up to 8 grey levels is on each,
so that no image is in two of them: time and memory do not depend on what images show.  Memory is that of the whole
process at its peak, Python, PyTorch and all images included.
"""

import resource
import sys
from dataclasses import replace
from time import monotonic, process_time

import ganvas  # noqa: F401  first: it sets how torch's threads wait

import torch

from ganvas.data import Dataset, DataOptions, load
from ganvas.metrics import METRICS, Comparison, Examples
from ganvas.metrics.features import make_feature_space
from _support import parser

NOISE = 8
"""grey levels"""


def draw(pool: Dataset, n: int, seed: int) -> Dataset:
    """n of the images, each with noise of its own."""
    part = pool.sample(n, seed, "drawn")
    noise = torch.randint(-NOISE, NOISE + 1, part.x.shape, generator=torch.Generator().manual_seed(seed))
    return replace(part, x=(part.x + noise).clamp(0, 255).to(torch.uint8))


def peak_memory() -> float:
    """The most memory that this process has held, in GiB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def main() -> None:
    words = parser(__doc__, data="mnist.npz", n=10_000).parse_args()
    parts = [load(str(words.data), DataOptions(split=split)) for split in ("train", "test")]
    pool = replace(parts[0], x=torch.cat([part.x for part in parts]), labels=None)
    sets = [draw(pool, words.n, seed) for seed in range(3)]
    space = make_feature_space("lenet-mnist-v1", pool.shape)
    start, cpu_start = monotonic(), process_time()
    print(f"{words.n} images a set, {torch.get_num_threads()} threads: {peak_memory():.2f} GiB before")
    real, fake, floor = (Examples(part, space) for part in sets)
    fake.reference = floor.reference = real
    for x in (real, fake, floor):
        _ = x.features
    print(f"{'features':<10}{monotonic() - start:>8.1f} s")
    for name in ("fid", "kid", "prdc"):
        metric_start = monotonic()
        for x in (fake, floor):
            list(METRICS[name].compute(Comparison(real, x)))
        print(f"{name:<10}{monotonic() - metric_start:>8.1f} s")
    print(f"{'all':<10}{monotonic() - start:>8.1f} s, {process_time() - cpu_start:.1f} s of processor time, "
          f"{peak_memory():.2f} GiB at the peak")  # fmt: skip


if __name__ == "__main__":
    main()
