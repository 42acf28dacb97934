"""Images a second of streamed shards against the same images in memory: 5 rounds in turns, medians.

    python3 benchmarks/streaming.py [--n 6000] [--side 64] [--size 32] [--batch 64] [--kind jpg]

Drawing alone says how fast a stream can be, a training step of dcgan what is left where decoding runs beside it; the
last column has the share of the step in memory that its floor is, the least time that the machine needs for it.
"""

import argparse
import io
import tarfile
import time
from itertools import islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import ganvas  # before torch: it sets how torch's threads wait

import numpy as np
import torch
from PIL import Image

from ganvas.config import TrainConfig
from ganvas.data import Data, DataOptions, load_all, make_stream
from ganvas.training.loop import initialize_state, train
from _support import floor, print_table

PER_SHARD = 1000
MODEL = ganvas.DCGAN(width=16)


def write_shards(folder: Path, n: int, side: int, kind: str) -> None:
    """Smooth random images, which compress about as photographs do."""
    random = np.random.default_rng(0)
    for first in range(0, n, PER_SHARD):
        with tarfile.open(folder / f"data-{first // PER_SHARD:03d}.tar", "w") as tar:
            for i in range(first, min(n, first + PER_SHARD)):
                output, coarse = io.BytesIO(), random.integers(0, 256, (8, 8, 3), np.uint8)
                Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC).save(
                    output, "JPEG" if kind == "jpg" else "PNG"
                )
                info = tarfile.TarInfo(f"{i:06d}.{kind}")
                info.size = output.tell()
                tar.addfile(info, io.BytesIO(output.getvalue()))


def draw(data: Data, batch: int, batches: int) -> float:
    """Images a second that a stream gives."""
    stream = make_stream(data, batch=batch, seed=0)
    next(stream)
    start = time.perf_counter()
    for _ in islice(stream, batches):
        pass
    return batch * batches / (time.perf_counter() - start)


def step(data: Data, batch: int, steps: int) -> float:
    """Images a second of training."""
    config = TrainConfig(steps=steps + 2, batch_size=batch)
    state = initialize_state(MODEL, data.shape, 0, torch.device("cpu"))
    for done in train(MODEL, data, config, state):
        if done == 2:
            start = time.perf_counter()
    return batch * steps / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=6000)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--size", help="to which images are resized as they are read")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--kind", choices=("jpg", "png"), default="jpg")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=40)
    arguments = parser.parse_args()
    with TemporaryDirectory() as name:
        write_shards(Path(name), arguments.n, arguments.side, arguments.kind)
        sources = {
            how: load_all(name, DataOptions(holdout=0, stream=how, size=arguments.size)) for how in ("never", "always")
        }
        rates: dict[tuple[str, str], list[float]] = {}
        for _ in range(arguments.rounds):
            for what, measure, count in (
                ("draw", draw, arguments.batches),
                ("dcgan step", step, max(1, arguments.batches // 4)),
            ):
                for how, data in sources.items():
                    rates.setdefault((what, how), []).append(measure(data, arguments.batch, count))
        least = floor(MODEL, sources["never"], arguments.batch)
    size = f" resized to {arguments.size}" if arguments.size else ""
    print(f"{arguments.n} {arguments.kind} of {arguments.side} pixels{size}, batch {arguments.batch}", end=", ")
    print(f"{torch.get_num_threads()} threads")
    rows = []
    for what in ("draw", "dcgan step"):
        memory, streamed = (median(rates[what, how]) for how in ("never", "always"))
        share = f"{least * memory / arguments.batch:.0%}" if what == "dcgan step" else "-"
        rows.append((what, f"{memory:,.0f}", f"{streamed:,.0f}", f"{streamed / memory:.2f}", share))
    print_table("images/s", ("in memory", "streamed", "ratio", "floor / in memory"), rows)


if __name__ == "__main__":
    main()
