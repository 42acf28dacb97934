"""Images that are decoded once against torch's DataLoader, which decodes each at every epoch; and a million of them.

    python3 benchmarks/data.py [--n 5000] [--side 64] [--batch 64] [--start 50000] [--million 1000000]

The loader has two workers that stay, and per-item decoding by Pillow.  First starts, each with its first epoch, and
later epochs are in turns; medians, the first round aside.  A start is what passes until the first batch is there; of
the whole command, `train --steps 1`, until its process ends.
The million are random bytes of 32 x 32 x 3, an entry of the cache; memory is what the process has resident.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import ganvas  # before torch: it sets how torch's threads wait

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from _support import parser, print_table, times_in_turns
from ganvas.data import DataOptions, Dataset, Scaling, Stream, decoded, load

WORKERS, PART = 2, 10_000
COMMAND = (*("-m", "ganvas", "train", "vae"), *("--steps", "1", "--net", "mlp", "--width", "8", "--latent", "2"))


def write_images(where: Path, n: int, side: int, kind: str = "png") -> Path:
    """Smooth random images, which compress about as photographs do, in ten folders."""
    random = np.random.default_rng(0)
    for i in range(n):
        path = where / f"class {i % 10}" / f"{i:06d}.{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(random.integers(0, 256, (side // 4, side // 4, 3), np.uint8))
        coarse.resize((side, side), Image.Resampling.BICUBIC).save(path)
    return where


class Files(torch.utils.data.Dataset[Tensor]):
    """What a tutorial has: each item is opened and decoded when it is asked for."""

    def __init__(self, files: list[Path]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> Tensor:
        with Image.open(self.files[i]) as image:
            return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).float().div(127.5).sub(1)


def make_loader(where: Path, batch: int) -> DataLoader[Tensor]:
    files = Files(sorted(where.rglob("*.*")))
    return DataLoader(files, batch, shuffle=True, num_workers=WORKERS, drop_last=True, persistent_workers=WORKERS > 0)


def endless(loader: DataLoader[Tensor]) -> Iterator[Tensor]:
    while True:
        yield from loader


def make_stream(where: Path, batch: int) -> Stream:
    data = load(where, DataOptions(holdout=0.0))
    return Stream(data, batch=batch, seed=0, scaling=Scaling((-1.0, 1.0)))


def fresh_start(make: Any, where: Path, batch: int, steps: int) -> tuple[float, float, float]:
    """Seconds until the first batch is there, until so many are, and of processors, where nothing is kept before."""
    decoded.clear()
    start, used = time.perf_counter(), sum(os.times()[:4])
    batches = make(where, batch)
    next(batches)
    first = time.perf_counter() - start
    for _ in range(steps - 1):
        next(batches)
    whole = time.perf_counter() - start
    del batches  # the loader's workers end, and are counted
    return first, whole, sum(os.times()[:4]) - used


def start_seconds(where: Path, batch: int) -> float:
    """Seconds until a stream's first batch is there."""
    start = time.perf_counter()
    next(make_stream(where, batch))
    return time.perf_counter() - start


def compare(where: Path, n: int, side: int, batch: int, rounds: int) -> None:
    """Starts and batches of a folder; first starts in turns, each with its first epoch."""
    makes = {"DataLoader": lambda *how: endless(make_loader(*how)), "ganvas": make_stream}
    per_epoch, fresh = n // batch, {name: list[tuple[float, float, float]]() for name in makes}
    for i in range(rounds + 1):
        for name, make in makes.items():
            seconds = fresh_start(make, where, batch, per_epoch)
            fresh[name] += [seconds] if i else []  # the first round warms up
    works = {name: make(where, batch) for name, make in makes.items()}
    for _ in range(per_epoch):
        next(works["DataLoader"])
    times = times_in_turns(works, per_epoch, rounds)
    rows = []
    for name, values in fresh.items():
        first, whole, used = map(median, zip(*values, strict=True))
        later = first if name == "DataLoader" else median(start_seconds(where, batch) for _ in range(rounds))
        rows.append((name, *(f"{value:.2f}" for value in (first, whole, used, later)), f"{1 / times[name]:.1f}"))
    print(f"{n} images of {side} pixels, batch {batch}, {WORKERS} workers, {torch.get_num_threads()} threads:", end=" ")
    print(f"{times['DataLoader'] / times['ganvas']:.0f} times the batches")
    columns = ("first start, s", "with an epoch, s", "of processors, s", "second start, s", "batches/s")
    print_table("folder", columns, rows)


def run_command(where: Path, run: Path) -> float:
    """Seconds of a process that trains for a step."""
    environment = os.environ | {"PYTHONPATH": str(Path(ganvas.__file__).parents[1])}
    words = [sys.executable, *COMMAND[:4], str(where), *COMMAND[4:], "--folder", str(run)]
    start = time.perf_counter()
    subprocess.run(words, check=True, env=environment, capture_output=True)
    return time.perf_counter() - start


def starts(scratch: Path, n: int, rounds: int) -> None:
    """The whole command on n images of 32 pixels: not kept, kept, and from what was kept."""
    where = write_images(scratch / "small", n, 32)
    decoded.clear()
    os.environ[decoded.LIMIT_VARIABLE] = "0"
    without = run_command(where, scratch / "without")
    del os.environ[decoded.LIMIT_VARIABLE]
    first = run_command(where, scratch / "first")
    later = [run_command(where, scratch / f"later-{i}") for i in range(rounds)]
    rows = [("seconds", f"{without:.2f}", f"{first:.2f}", f"{median(later):.2f}", f"{min(later):.2f}")]
    columns = ("without a cache", "first start", "second start", "its fastest")
    print_table(f"train --steps 1 on {n} images", columns, rows)


def resident() -> float:
    """GB that this process has in memory; of Linux."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e9


def million(n: int, batch: int) -> None:
    """Memory while batches of so many images are drawn for an epoch, a line each tenth of it."""
    before, random = resident(), np.random.default_rng(0)
    file = decoded.ExampleFile(n * 3 * 32 * 32, [])
    for first in range(0, n, PART):
        file.write(random.integers(0, 256, (min(PART, n - first), 3, 32, 32), np.uint8))
    path = decoded.folder() / "million.safetensors"
    file.finish(Dataset(x=file.map(), name="million"), {"source": "random", "channels": 3}, path)
    file.rename(path)
    start = time.perf_counter()
    dataset, _ = decoded.open_entry(path)
    opened = time.perf_counter() - start
    stream, levels = Stream(dataset, batch=batch, seed=0, scaling=Scaling((-1.0, 1.0))), [resident()]
    start = time.perf_counter()
    for i in range(stream.batches_per_epoch):
        next(stream)
        if (10 * i) % stream.batches_per_epoch < 10:
            levels.append(resident())
    rate = stream.batches_per_epoch / (time.perf_counter() - start)
    row = (
        "random bytes",
        f"{opened:.1f}",
        f"{rate:,.0f}",
        *(f"{level:.2f}" for level in (before, levels[0], levels[1], max(levels))),
    )
    columns = ("opened and checked, s", "batches/s", "GB before", "opened", "first batches", "most of an epoch")
    print_table(f"{n} images of 32 pixels", columns, [row])


def main() -> None:
    defaults = {"n": 5000, "side": 64, "batch": 64, "rounds": 9, "start": 50_000, "million": 1_000_000, "threads": 2}
    words = parser(__doc__, **defaults).parse_args()
    torch.set_num_threads(words.threads)
    with TemporaryDirectory() as name:
        os.environ["GANVAS_CACHE"] = str(Path(name) / "cache")
        if words.million:
            million(words.million, words.batch)
        decoded.clear()
        for kind in ("png", "jpg"):
            compare(
                write_images(Path(name) / kind, words.n, words.side, kind),
                words.n,
                words.side,
                words.batch,
                words.rounds,
            )
        if words.start:
            starts(Path(name), words.start, words.rounds)


if __name__ == "__main__":
    main()
