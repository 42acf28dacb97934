"""What benchmarks share: their arguments, runs that are kept, jobs side by side, times in turns, tables and sheets."""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import ganvas  # first: it sets how torch's threads wait

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from ganvas.config import TrainConfig
from ganvas.data import Dataset, from_array
from ganvas.model import Model
from ganvas.nn.device import float32_products
from ganvas.training.bench import Rates, Work, count_work, measure_rates

CPU = torch.device("cpu")


def parser(
    doc: str | None, *, tables: Iterable[str] = (), data: str = "", out: str = "", **defaults: int
) -> argparse.ArgumentParser:
    """Arguments of benchmarks: which TABLE, DATA, OUT in runs, and options of whole numbers with their defaults."""
    words = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    if tables:
        words.add_argument("table", choices=tuple(tables))
    if data:
        words.add_argument("data", type=Path, help=data)
    if out:
        words.add_argument("out", type=Path, nargs="?", default=Path("runs") / out, help="keeps runs and results")
    for name, default in defaults.items():
        help_ = "jobs at a time, a process each; 0: one after the other in this process" if name == "workers" else None
        words.add_argument(f"--{name}", type=int, default=default, help=help_)
    return words


def load_bits(file: Path, split: str) -> Dataset:
    """Larochelle's binarisation of MNIST (Larochelle & Murray, 2011); bits are packed along the pixels."""
    packed = np.load(file)[f"bits_{split}"]
    return from_array(np.unpackbits(packed, axis=1).reshape(-1, 28, 28).astype(bool), name="binarised-mnist")


def train_once(model: Model, data: Any, folder: Path, **options: Any) -> ganvas.Trained:
    """The run in the folder: train it, or go on where it stopped, or take it as it is."""
    if folder.exists():
        return ganvas.resume(folder, data=None if isinstance(data, str) else data, quiet=True)
    return ganvas.train(model, data, folder=folder, quiet=True, **options)


def collect(
    work: Callable[..., dict[str, Any]], jobs: dict[str, tuple[Any, ...]], out: Path, workers: int
) -> dict[str, dict[str, Any]]:
    """What `work` returns for the arguments of each job, by its name; kept in OUT/NAME.json and not computed again."""
    out.mkdir(parents=True, exist_ok=True)
    missing = {name: arguments for name, arguments in jobs.items() if not (out / f"{name}.json").exists()}
    print(f"{len(jobs)} runs, {len(jobs) - len(missing)} of them in {out} already", flush=True)
    for done, (name, result) in enumerate(run_jobs(work, missing, workers), 1):
        temporary = out / f"{name}.json.new"
        temporary.write_text(json.dumps(result), encoding="utf-8")
        temporary.replace(out / f"{name}.json")
        print(f"{done}/{len(missing)} {name} in {result['seconds']:.0f} s", flush=True)
    return {name: json.loads((out / f"{name}.json").read_text(encoding="utf-8")) for name in jobs}


def run_jobs(
    work: Callable[..., dict[str, Any]], jobs: dict[str, tuple[Any, ...]], workers: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The name and the result of each job as soon as it ends."""
    if not workers:
        yield from ((name, with_seconds(work, *arguments)) for name, arguments in jobs.items())
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        futures = {pool.submit(with_seconds, work, *arguments): name for name, arguments in jobs.items()}
        yield from ((futures[future], future.result()) for future in as_completed(futures))


def with_seconds(work: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """What `work` returns, with the seconds that it took."""
    start = time.monotonic()
    result = work(*arguments)
    return {"seconds": time.monotonic() - start} | result


def times_in_turns(works: dict[str, Iterator[Any]], steps: int, rounds: int) -> dict[str, float]:
    """Median seconds a step of each work, over rounds of so many steps; the first round warms up and does not count."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for i in range(rounds + 1):
        for name, work in works.items():
            start = time.perf_counter()
            for _ in range(steps):
                next(work)
            times[name] += [(time.perf_counter() - start) / steps] if i else []
    return {name: statistics.median(values) for name, values in times.items()}


def describe_rates(rates: Rates) -> str:
    """The machine's rates in words."""
    names = {"matmul": "matrix products", "convolution": "convolutions"}
    flops = [f"{names[kind]} {rate / 1e9:.0f} GFLOP/s" for (kind, _), rate in sorted(rates.flops.items(), key=str)]
    return ", ".join([*flops, f"memory {rates.memory / 1e9:.0f} GB/s"])


def work_and_rates(
    model: Model, data: Any, batch_size: int, device: torch.device = CPU, steps: int = 1
) -> tuple[Work, Rates]:
    """What a step consists of, as the mean of so many, and the device's rates."""
    work = count_work(model, data, TrainConfig(batch_size=batch_size), device, steps)
    with float32_products(False, device):
        return work, measure_rates(device, work.kinds, work.working_set)


def floor(model: Model, data: Any, batch_size: int, device: torch.device = CPU, steps: int = 1) -> float:
    """The least seconds that a step could take on this device, with this process's threads."""
    work, rates = work_and_rates(model, data, batch_size, device, steps)
    return work.floor(rates)


def share_of_floor(model: Model, data: Any, batch_size: int, step: float) -> str:
    """How a step of our loop, which took so many seconds, compares with the least that it could take on this CPU."""
    work, rates = work_and_rates(model, data, batch_size)
    flops = work.flops("matmul") + work.flops("convolution")
    return (
        f"{flops / step / 1e9:.0f} GFLOP/s; floor {work.floor(rates) * 1e3:.3f} ms, {work.floor(rates) / step:.0%} of "
        f"our step, at the machine's rates: {describe_rates(rates)}"
    )


def adam(net: nn.Module, model: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(net.parameters(), lr=model.lr, betas=model.betas)


def tutorial_gan_steps(model: Any, G: nn.Module, D: nn.Module, batches: Iterator[Tensor]) -> Iterator[None]:
    """The GAN of PyTorch's tutorials: labels of ones and zeros, two optimisers, losses read at every step."""
    optimizer_g, optimizer_d = adam(G, model), adam(D, model)
    for x in batches:
        ones, zeros = torch.ones(len(x), 1), torch.zeros(len(x), 1)
        D.zero_grad()
        loss_real = bce(D(x), ones)
        loss_real.backward()
        fake = G(torch.randn(len(x), model.latent))
        loss_fake = bce(D(fake.detach()), zeros)
        loss_fake.backward()
        optimizer_d.step()
        G.zero_grad()
        loss_g = bce(D(fake), ones)
        loss_g.backward()
        optimizer_g.step()
        _ = loss_real.item(), loss_fake.item(), loss_g.item()
        yield


def mean_and_error(values: Sequence[float], digits: int) -> str:
    """Mean +- standard error."""
    error = f" +- {statistics.stdev(values) / len(values) ** 0.5:.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{error}"


def print_table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows, each with its name first, in columns as wide as what is in them."""
    cells = [[title, *heads], *rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    print()
    for name, *rest in cells:
        print(f"{name:<{widths[0]}}" + "".join(f"{c:>{w + 2}}" for c, w in zip(rest, widths[1:], strict=True)))


def paste(rows: Sequence[Sequence[Image.Image]]) -> Image.Image:
    """Pictures of the same size beside and below each other."""
    width, height = rows[0][0].size
    canvas = Image.new("RGB", (width * max(map(len, rows)), height * len(rows)), "white")
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            canvas.paste(picture, (j * width, i * height))
    return canvas


def save(picture: Image.Image, path: Path, **options: Any) -> None:
    """Write a picture, and say where."""
    picture.save(path, **options)
    print(f"\n{path}")


def to_bytes(pixels: Tensor) -> Tensor:
    """Pixels from 0 to 1 as bytes."""
    return (pixels * 255).round().to(torch.uint8)
