"""`ganvas demo`: an autoencoder, a VAE and a GAN learn the same faces, and one page shows what they generate."""

import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import torch
from cyclopts import Parameter
from torch import Tensor

from ..data import DataOptions, Dataset, load
from ..errors import UserError
from ..inference.trained import Trained
from ..io.atomic import unused_path
from ..io.text import format_duration
from ..metrics import sliced_wasserstein
from ..model import EncoderModel, Model
from ..models import DCGAN, VAE, Autoencoder
from ..training.progress import ProgressBar
from ..training.run import train
from ..training.run_records import read_log
from ..viz.curves import draw_losses
from ..viz.html import write_page
from ..viz.images import Examples
from .app import print_result
from .common import Quiet

SAMPLES_PER_MODEL = 48
ROW_TITLES = ("Distance of samples to the real faces", "Standard deviation of the codes (N(0, I) has 1)",
              "Error of held-out reconstructions, in grey levels of 255", "Training")  # fmt: skip


@dataclass(frozen=True)
class Chapter:
    """A model of the demo, how it is trained, and what is said of it."""

    model: Model
    steps: int
    batch_size: int
    title: str
    equation: str
    verdict: str


CHAPTERS = (
    Chapter(
        Autoencoder(latent=16), 1200, 64, "Autoencoder", "min E |x − g(f(x))|²",
        "Reconstructs well, but its codes lie wherever training put them: N(0, I) misses them, and the decoder "
        "was never asked about what lies in between.",
    ),
    Chapter(
        VAE(latent=16, lr=2e-3), 1400, 64, "Variational autoencoder",
        "min E[ L(x, g(z)) ] + λ KL( N(μ, Σ) ‖ N(0, I) )",
        "The KL term pulls the codes of all faces together onto N(0, I), so that a draw from it decodes to a face.",
    ),
    Chapter(
        DCGAN(net="conv", width=32), 1800, 32, "Generative adversarial network",
        "min over G, max over D of E log D(x) + E log(1 − D(G(z)))",
        "Has no encoder and reconstructs nothing: its generator learnt from the discriminator's verdicts alone, and "
        "draws the sharpest pictures.",
    ),
)  # fmt: skip


def demo(
    *,
    runs_dir: Annotated[Path, Parameter(help="folder for the demo's folder")] = Path("runs"),
    steps_factor: Annotated[float, Parameter(help="factor for the training steps; 0.1 for a quick look")] = 1.0,
    quiet: Quiet = False,
) -> None:
    """Train an autoencoder, a VAE and a GAN on 147 smileys, then compare what they generate on one page."""
    print_result([str(train_and_compare(runs_dir, steps_factor, quiet))], {}, False)


def train_and_compare(runs_dir: Path, steps_factor: float, quiet: bool) -> Path:
    """Train the three models in a new folder and write the page beside them; returns its path."""
    if not 0 < steps_factor < 1000:
        problem = f"steps_factor={steps_factor:g} multiplies the steps of training"
        raise UserError(f"{problem}: give a number above 0, such as 0.1")
    folder = unused_path(runs_dir / f"{datetime.now():%Y-%m-%d}-demo")
    faces, held_out = (load("emoji", DataOptions(classes=("smileys",), split=split)) for split in ("train", "test"))
    start_time, runs = time.monotonic(), list[Trained]()
    for i, c in enumerate(CHAPTERS, 1):
        ProgressBar(quiet).say(f"[{i}/{len(CHAPTERS)}] {c.title}: {c.equation}")
        steps = max(1, round(c.steps * steps_factor))
        options: dict[str, Any] = {"steps": steps, "batch_size": c.batch_size, "checkpoint_every": max(1, steps // 4)}
        run_folder = folder / c.title.split()[0].lower()
        runs.append(train(c.model, "emoji", classes=("smileys",), folder=run_folder, quiet=quiet, **options))
    seconds = time.monotonic() - start_time
    chapters = [describe_chapter(c, run, faces, held_out) for c, run in zip(CHAPTERS, runs, strict=True)]
    floor = f"{halves_distance(faces.x, faces.x, disjoint=True):.3f}"
    columns = (ROW_TITLES, *(chapter["numbers"] for chapter in chapters), (floor, "–", "0", "–"))
    write_page(
        folder / "index.html", "demo.html", title="Ganvas demo", seconds=seconds, run=runs[1].folder,
        examples=len(faces), held_out=len(held_out), rows=list(zip(*columns, strict=True)), chapters=chapters,
        faces=Examples(faces.x[:: len(faces) // SAMPLES_PER_MODEL][:SAMPLES_PER_MODEL], 8).render(),
        held_out_faces=Examples(held_out.x, len(held_out)).render(),
    )  # fmt: skip
    return folder / "index.html"


def describe_chapter(chapter: Chapter, run: Trained, faces: Dataset, held_out: Dataset) -> dict[str, Any]:
    """What the page says and shows of a model; its "numbers" are in the order of `ROW_TITLES`."""
    log, samples, rebuilt, codes = read_log(run.folder or ""), run.sample(SAMPLES_PER_MODEL).x, None, None
    if isinstance(run.model, EncoderModel):
        rebuilt, codes = run.reconstruct(held_out).x, run.encode(faces)
    numbers = [
        f"{halves_distance(faces.x, run.sample(len(faces)).x):.3f}",
        "–" if codes is None else f"{codes.std(0).mean():.2f}",
        "–" if rebuilt is None else f"{rms_error(rebuilt, held_out.x):.1f}",
        f"{log[-1]['step']} steps, {format_duration(log[-1]['seconds'])}",
    ]
    return vars(chapter) | {
        "numbers": numbers, "losses": draw_losses(log), "samples": Examples(samples, 8).render(),
        "reconstructions": None if rebuilt is None else Examples(rebuilt, len(held_out)).render(),
    }  # fmt: skip


def halves_distance(real: Tensor, other: Tensor, disjoint: bool = False) -> float:
    """Sliced Wasserstein distance between random halves of two sets, or disjoint halves of one; mean of ten draws."""
    half, total = len(real) // 2, 0.0
    for seed in range(10):
        order = torch.randperm(len(real), generator=torch.Generator().manual_seed(seed))
        first_half, second_half = order[:half], order[half : 2 * half] if disjoint else order[:half]
        total += sliced_wasserstein(real[first_half] / 255, other[second_half] / 255, seed=seed)
    return total / 10


def rms_error(a: Tensor, b: Tensor) -> float:
    """Root mean square difference, in grey levels."""
    return (a.float() - b.float()).square().mean().sqrt().item()
