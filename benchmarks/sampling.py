"""Time of an image that is sampled or translated and written as a PNG of its own, part by part, beside its floor.

    python3 dev.py run python benchmarks/sampling.py [--n 256] [--rounds 5] [--threads 2]

What `ganvas sample RUN --out FOLDER` and `ganvas translate RUN SOURCE FOLDER` do once the weights are loaded.  Reading,
encoding and writing are in threads, as there; each part is timed alone, so that parts which overlap may add up to more
than the whole.  The floor is the network's (`ganvas.training.bench`), and at the rate of memory: each number read and
each byte of pixels written, then read, and the file written; compression has none.  The plain loop is what is usually
written: the network in batches (of 64, of 1 in translation), and `save` of Pillow, with neither threads nor fsync.

Weights are not trained; batch norm has the statistics of its inputs, so images are noise, not grey.  All in turns,
medians over rounds, after one to warm up.  TMPDIR says on which disk.
"""

from collections.abc import Callable, Iterator
from io import BytesIO
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ganvas  # first: it sets how torch's threads wait

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ganvas.data import load
from ganvas.data.listing import File
from ganvas.data.options import DataOptions
from ganvas.inference.trained import Trained, chunk_size
from ganvas.inference.translation import READ_AHEAD, read_ahead, to_array, translate_files
from ganvas.io.atomic import atomic_write
from ganvas.io.parallel import in_parallel
from ganvas.model import Model
from ganvas.training.bench import Rates, Work, WorkCounter, measure_rates, total_bytes
from ganvas.training.loop import initialize_state
from ganvas.viz.images import PNG_LEVEL, WRITERS, to_pil
from _support import describe_rates, parser, print_table, times_in_turns

CASES: dict[str, tuple[Model, Any]] = {
    "dcgan 64": (ganvas.DCGAN(), (3, 64, 64)),
    "vae 28": (ganvas.VAE(net="mlp"), (1, 28, 28)),
    "cyclegan 64": (ganvas.CycleGAN(width=16), ((3, 64, 64), (3, 64, 64))),
}
PARTS = ("reading", "network", "conversion", "encoding", "writing", "whole", "plain loop")
CPU, PLAIN_BATCH = torch.device("cpu"), 64
Job = Callable[[], object]
Jobs = tuple[dict[str, Job], list[Image.Image], Callable[[], Tensor]]


def untrained(model: Model, shape: Any, file: Path) -> Trained:
    """The model as it is loaded."""
    Trained(model, shape, initialize_state(model, shape, 0, CPU).ema_nets).save(file)
    return ganvas.load(file)


def fill_batch_norm(net: nn.Module, run: Job) -> None:
    """Give batch norm the statistics of its inputs in a run."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = None
            module.train()
    run()
    net.eval()


def to_bytes(u: Tensor, low: float, high: float) -> np.ndarray:
    """Outputs as n x h x w (x 3) bytes, as is usually written."""
    x = ((u - low) * (255 / (high - low))).clamp(0, 255).round().byte()
    return x.permute(0, 2, 3, 1).squeeze(-1).numpy()


def sampling_jobs(trained: Trained, n: int, folders: Iterator[Path]) -> Jobs:
    """The jobs of each part but those of files, the pictures, and the network's job for a chunk."""
    model: Any = trained.model
    nets, inverse, z = trained.nets, trained.domain_scaling().inverse, trained.sample_codes(n, 0, None)
    size = chunk_size(trained.shape)

    def generate(z: Tensor) -> Tensor:
        out: Tensor = model.generate(z, **nets)
        return out

    fill_batch_norm(nets, lambda: trained.map_chunks(generate, z))
    u = trained.map_chunks(generate, z)

    @torch.no_grad()
    def plain() -> None:
        folder = next(folders)
        for start in range(0, n, PLAIN_BATCH):
            out = generate(z[start : start + PLAIN_BATCH])
            for i, pixels in enumerate(to_bytes(out, *model.pixel_range), start):
                Image.fromarray(pixels).save(folder / f"{i}.png")

    jobs: dict[str, Job] = {
        "network": lambda: trained.map_chunks(generate, z),
        "conversion": lambda: torch.cat([inverse(part) for part in u.split(size)]),
        "whole": lambda: trained.sample(n).save(next(folders)),
        "plain loop": plain,
    }
    return jobs, [to_pil(x) for x in inverse(u)], lambda: generate(z[:size])


def translation_jobs(trained: Trained, n: int, folders: Iterator[Path]) -> Jobs:
    """The same of a translator."""
    model: Any = trained.model
    size, source = min(READ_AHEAD, chunk_size(trained.shape[0])), next(folders)
    examples = load("emoji", DataOptions(size=str(trained.shape[0][1]), channels=3)).x
    examples = examples[torch.arange(n) % len(examples)]
    for i, image in enumerate(examples):
        to_pil(image).save(source / f"{i:05d}.png")
    paths, parts = sorted(source.iterdir()), (examples.float() / 255).split(size)
    outputs = [x for part in parts for x in trained.translate_batch(part, "B")]

    def convert(x: Tensor) -> np.ndarray:
        return to_array(x, np.dtype(np.uint8), None, "PNG")

    @torch.no_grad()
    def plain() -> None:
        folder = next(folders)
        for path in paths:
            x = torch.from_numpy(np.asarray(Image.open(path)).copy()).permute(2, 0, 1)[None] / 127.5 - 1
            Image.fromarray(to_bytes(model.translate(x, "B", **trained.nets), -1, 1)[0]).save(folder / path.name)

    jobs: dict[str, Job] = {
        "reading": lambda: list(
            read_ahead([File((p.name,), str(p)) for p in paths], None, trained.domain_scaling(), (255, 255, 255))
        ),
        "network": lambda: [trained.translate_batch(part, "B") for part in parts],
        "conversion": lambda: [convert(x) for x in outputs],
        "whole": lambda: translate_files(trained, source, next(folders)),
        "plain loop": plain,
    }
    return jobs, [Image.fromarray(convert(x)) for x in outputs], lambda: trained.translate_batch(parts[0], "B")


def encode(picture: Image.Image) -> bytes:
    content = BytesIO()
    picture.save(content, "PNG", compress_level=PNG_LEVEL)
    return content.getvalue()


def file_jobs(pictures: list[Image.Image], folders: Iterator[Path]) -> dict[str, Job]:
    """Encoding and writing, each alone."""
    files = [encode(picture) for picture in pictures]

    def write(path: Path) -> None:
        with atomic_write(path) as temporary:
            temporary.write_bytes(files[int(path.stem)])

    def write_all() -> None:
        folder = next(folders)
        list(in_parallel(write, [folder / f"{i}.png" for i in range(len(files))], WRITERS))

    return {"encoding": lambda: list(in_parallel(encode, pictures, WRITERS)), "writing": write_all}


def repeat(job: Job) -> Iterator[None]:
    while True:
        job()
        yield


def count_work(job: Callable[[], Tensor], nets: nn.Module) -> Work:
    """What the network does in a job, whose images are its steps."""
    with WorkCounter() as counter, torch.no_grad():
        images = len(job())
    return Work(counter.operations, images, total_bytes(list(nets.parameters())))


def main() -> None:
    words = parser(__doc__, n=256, rounds=5, threads=2).parse_args()
    torch.set_num_threads(words.threads)
    columns, rates = [], Rates({}, 0.0)
    with TemporaryDirectory() as root:
        numbered = (Path(root, str(i)) for i in count())
        folders = (folder for folder in numbered if folder.mkdir() is None)
        for name, (model, shape) in CASES.items():
            trained = untrained(model, shape, Path(root, f"{name}.safetensors"))
            make_jobs = translation_jobs if model.n_domains == 2 else sampling_jobs
            jobs, pictures, chunk = make_jobs(trained, words.n, folders)
            jobs |= file_jobs(pictures, folders)
            times = times_in_turns({part: repeat(job) for part, job in jobs.items()}, 1, words.rounds)
            t = {part: seconds / words.n for part, seconds in times.items()}
            work = count_work(chunk, trained.nets)
            rates = rates.best(measure_rates(CPU, work.kinds, work.working_set))
            network, numbers = work.floor(rates), np.asarray(pictures[0]).size
            floor = network + (6 * numbers + len(encode(pictures[0]))) / rates.memory
            columns.append([
                *(f"{t[part] * 1e3:.3f}" if part in t else "-" for part in PARTS), f"{floor * 1e3:.3f}",
                f"{network / t['network']:.0%}", f"{floor / t['whole']:.0%}", f"{t['plain loop'] / t['whole']:.2f}",
            ])  # fmt: skip
    print(f"{words.n} images, {words.threads} threads, {describe_rates(rates)}, torch {torch.__version__}")
    names = (*PARTS, "floor", "network's floor / network", "floor / whole", "plain loop / whole")
    print_table("ms an image", tuple(CASES), [(name, *row) for name, *row in zip(names, *columns, strict=True)])


if __name__ == "__main__":
    main()
