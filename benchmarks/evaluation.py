"""What FID, KID and precision, recall, density and coverage cost: seconds and peak memory.

    python3 dev.py run python benchmarks/evaluation.py ../shared/data/mnist.npz [N]

N (10,000) images of MNIST, 28 x 28, against N others, and a floor from N more, on `lenet-mnist-v1`, as `ganvas
evaluate` takes them.  The three sets are drawn from all 70,000 images, and noise of up to 8 grey levels is on each,
so that no image is in two of them: time and memory do not depend on what images show.  Memory is that of the whole
process at its peak, Python, PyTorch and all images included.
"""

import argparse
import resource
import sys
from dataclasses import replace
from pathlib import Path
from time import monotonic, process_time

import ganvas  # noqa: F401  first: it sets how torch's threads wait

import torch

from ganvas.data import Dataset, DataOptions, load
from ganvas.metrics import METRICS, Comparison, Examples
from ganvas.metrics.features import make_feature_space

NOISE = 8
"""grey levels"""


def drawn(pool: Dataset, n: int, seed: int) -> Dataset:
    """n of the images, each with noise of its own."""
    some = pool.sample(n, seed, "drawn")
    noise = torch.randint(-NOISE, NOISE + 1, some.x.shape, generator=torch.Generator().manual_seed(seed))
    return replace(some, x=(some.x + noise).clamp(0, 255).to(torch.uint8))


def peak() -> float:
    """The most memory that this process has held, in GiB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("mnist", type=Path, help="mnist.npz")
    parser.add_argument("n", type=int, nargs="?", default=10_000)
    words = parser.parse_args()
    parts = [load(str(words.mnist), DataOptions(split=split)) for split in ("train", "test")]
    pool = replace(parts[0], x=torch.cat([part.x for part in parts]), labels=None)
    sets = [drawn(pool, words.n, seed) for seed in range(3)]
    space = make_feature_space("lenet-mnist-v1", pool.shape)
    began, busy = monotonic(), process_time()
    print(f"{words.n} images a set, {torch.get_num_threads()} threads: {peak():.2f} GiB before")
    real, fake, floor = (Examples(part, space) for part in sets)
    fake.reference = floor.reference = real
    for x in (real, fake, floor):
        _ = x.features
    print(f"{'features':<10}{monotonic() - began:>8.1f} s")
    for name in ("fid", "kid", "prdc"):
        start = monotonic()
        for x in (fake, floor):
            list(METRICS[name].compute(Comparison(real, x)))
        print(f"{name:<10}{monotonic() - start:>8.1f} s")
    print(f"{'all':<10}{monotonic() - began:>8.1f} s, {process_time() - busy:.1f} s of processor time, "
          f"{peak():.2f} GiB at the peak")  # fmt: skip


if __name__ == "__main__":
    main()
