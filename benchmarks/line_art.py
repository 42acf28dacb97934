"""CUT and CycleGAN from colour to line art, a domain that says less, where the truth is known.

    python3 dev.py run python benchmarks/line_art.py ../shared/data/openclipart_64.npz [OUT] [--steps 400] [--seeds 2]

A are 3,200 clip arts on white, of 32 pixels, B the edges of 3,344 others: 1 - 3 |gradient| of luminance, clipped.
Translations of 200 further ones are compared with their own edges: L1 of pixels from 0 to 1, and PSNR.  Beside them are
answers that need no training: the input's luminance, white, and the mean picture of B.  Both models have width 16, two
blocks and batches of four; all else but the learning rate is their default.  Runs are kept in OUT (runs/line_art).
"""

import time
from pathlib import Path
from typing import Any

import ganvas  # first: it sets how torch's threads wait

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from ganvas.data import Dataset, from_array
from ganvas.evaluation.translation import to_unit_range
from ganvas.metrics.pairs import absolute_errors
from ganvas.metrics.similarity import psnr
from ganvas.viz.images import Examples
from _support import collect, parser, print_table, train_once, to_bytes

N_HELD, N_A, BATCH, LR = 200, 3200, 4, 1e-3
MODELS: dict[str, Any] = {
    "cut": ganvas.CUT(width=16, blocks=2, lr=LR), "cyclegan": ganvas.CycleGAN(width=16, blocks=2, lr=LR),
}  # fmt: skip


def luminance(x: Tensor) -> Tensor:
    return (x * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)


def edges(x: Tensor) -> Tensor:
    """Line art of colours in [0, 1]: black where luminance changes by a third a pixel or more."""
    y = pad(luminance(x), (1, 1, 1, 1), mode="replicate")
    across, down = (y[..., 1:-1, 2:] - y[..., 1:-1, :-2]) / 2, (y[..., 2:, 1:-1] - y[..., :-2, 1:-1]) / 2
    return 1 - (3 * (across.square() + down.square()).sqrt()).clamp(0, 1)


def domains(file: Path) -> tuple[Dataset, Dataset, Dataset, Dataset]:
    """A and B to learn from, of different pictures, and held-out pairs."""
    with np.load(file) as archive:
        x = torch.from_numpy(archive["x_train"]).permute(0, 3, 1, 2).float() / 255
    x = avg_pool2d(x[:, :3] * x[:, 3:] + 1 - x[:, 3:], 2)
    x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))]
    colours, lines = to_bytes(x), to_bytes(edges(x))
    a, b = slice(N_HELD, N_HELD + N_A), slice(N_HELD + N_A, None)
    parts = ((colours[a], "colours"), (lines[b], "lines"), (colours[:N_HELD], "held"), (lines[:N_HELD], "edges"))
    colours_a, lines_b, held, truth = (from_array(images, name=name) for images, name in parts)
    return colours_a, lines_b, held, truth


def scores(y: Tensor, truth: Tensor) -> dict[str, Any]:
    return {"l1": absolute_errors(y, truth).mean().item(), "psnr": psnr(y[None], truth[None]).item()}


def train(name: str, seed: int, steps: int, file: Path, out: Path) -> dict[str, Any]:
    """A model's scores, and the seconds of the processor that it took."""
    a, b, held, truth = domains(file)
    start = time.process_time()
    run = train_once(MODELS[name], (a, b), out / f"{name}-{steps}-{seed}", steps=steps, batch_size=BATCH, seed=seed)
    seconds = time.process_time() - start
    made = run.translate(held)
    Examples(made.x[:24]).save(out / f"{name}-{steps}-{seed}.png")
    return scores(to_unit_range(made.x), to_unit_range(truth.x)) | {"cpu": seconds}


def main() -> None:
    words = parser(__doc__, data="openclipart_64.npz", out="line_art", steps=400, seeds=2, workers=1).parse_args()
    jobs = {
        f"{name}-{words.steps}-{seed}": (name, seed, words.steps, words.data, words.out)
        for name in MODELS for seed in range(words.seeds)
    }  # fmt: skip
    results = collect(train, jobs, words.out, words.workers)
    _, b, held, truth = domains(words.data)
    x, y = to_unit_range(held.x), to_unit_range(truth.x)
    mean = to_unit_range(b.x).mean(0).expand_as(y)
    answers = {"luminance": luminance(x), "white": torch.ones_like(y), "mean picture": mean}
    rows = {name: scores(answer, y) for name, answer in answers.items()} | {name: results[name] for name in jobs}
    cells = [[name, f"{v['l1']:.4f}", f"{v['psnr']:.2f}", f"{v.get('cpu', 0):.0f}"] for name, v in rows.items()]
    print_table("", ("L1", "PSNR, dB", "CPU, s"), cells)


if __name__ == "__main__":
    main()
