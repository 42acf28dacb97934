"""The demo: an autoencoder, a VAE and a GAN learn the same faces, and one page shows what they generate.

It answers the lecture's question, can an autoencoder generate?, with pictures and numbers side by side.
"""

import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import torch
from torch import Tensor

from ..data import DataOptions, Dataset, load
from ..errors import UserError
from ..inference.trained import Trained
from ..io.atomic import atomic_write, unused_path
from ..metrics import sliced_wasserstein
from ..model import EncoderModel, Model
from ..models import DCGAN, VAE, Autoencoder
from ..training import run_folder
from ..training.progress import ProgressBar
from ..training.run import train
from ..viz import html
from ..viz.curves import draw_losses
from ..viz.images import Examples

SAMPLES_PER_MODEL = 48
"""samples of each model on the page"""
CLASS = "smileys"


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
        DCGAN(width=32), 1800, 32, "Generative adversarial network",
        "min over G, max over D of E log D(x) + E log(1 − D(G(z)))",
        "Has no encoder and reconstructs nothing: its generator learnt from the discriminator's verdicts alone, and "
        "draws the sharpest pictures.",
    ),
)  # fmt: skip


def demo(runs_dir: Path, steps_factor: float = 1.0, *, quiet: bool = False) -> Path:
    """Train the three models on the embedded smileys and write the page; returns its path.

    `length` multiplies the number of steps.  Everything is written to a new folder in `out`.
    """
    if not 0 < steps_factor < 1000:
        raise UserError(
            f"steps_factor={steps_factor:g} multiplies the steps of training: give a number above 0, such as 0.1"
        )
    folder = unused_path(runs_dir / f"{datetime.now():%Y-%m-%d}-demo")
    faces, held_out = (load("emoji", DataOptions(classes=(CLASS,), split=split)) for split in ("train", "test"))
    console, start_time = ProgressBar(quiet).console, time.monotonic()
    results = []
    for i, chapter in enumerate(CHAPTERS):
        console.print(f"[{i + 1}/{len(CHAPTERS)}] {chapter.title}: {chapter.equation}", markup=False)
        steps = max(1, round(chapter.steps * steps_factor))
        trained = train(
            chapter.model, "emoji", classes=(CLASS,), steps=steps, batch_size=chapter.batch_size,
            checkpoint_every=max(1, steps // 4),
            folder=folder / chapter.title.split()[0].lower(), quiet=quiet,
        )  # fmt: skip
        results.append((chapter, trained))
    index = folder / "index.html"
    with atomic_write(index) as temporary:
        temporary.write_text(render_page(results, faces, held_out, time.monotonic() - start_time), encoding="utf-8")
    return index


def render_page(results: list[tuple[Chapter, Trained]], faces: Dataset, held_out: Dataset, seconds: float) -> str:
    """The page."""
    parts = [
        html.lead(
            "Can an autoencoder generate?",
            f"Three models learnt the same {len(faces)} smileys of 32 × 32 pixels on this machine, in "
            f"{html.format_duration(seconds)}. Each picture below is decoded from z ~ N(0, I): nothing is "
            "retouched or chosen.",
        ),
        html.row([html.figure(Examples(faces.x[:: len(faces) // SAMPLES_PER_MODEL][:SAMPLES_PER_MODEL], 8),
        "Real faces")]
                 + [samples_figure(chapter, trained) for chapter, trained in results]),
        html.section("Side by side", html.table(*metrics_table(results, faces, held_out))),
        html.section(
            f"Reconstructions of {len(held_out)} faces that no model has seen",
            html.row([html.figure(Examples(held_out.x, len(held_out)), "Held-out faces", wide=True)]
                     + [html.figure(Examples(t.reconstruct(held_out).x, len(held_out)), c.title, wide=True)
                        for c, t in results if isinstance(t.model, EncoderModel)]),
        ),
        html.section(
            "Losses",
            html.row([html.picture(draw_losses(run_folder.read_log(t.folder or "")), c.title) for c, t in results]),
        ),
        html.section("Go on", html.code(*next_commands(results))),
    ]  # fmt: skip
    return html.document("Ganvas demo", parts)


def samples_figure(chapter: Chapter, trained: Trained) -> str:
    return html.figure(
        Examples(trained.sample(SAMPLES_PER_MODEL).x, 8), chapter.title, chapter.equation, chapter.verdict
    )


def metrics_table(
    results: list[tuple[Chapter, Trained]], faces: Dataset, held_out: Dataset
) -> tuple[list[str], list[list[str]], str]:
    """Head, rows and caption of the table."""
    head = ["", *(chapter.title for chapter, _ in results), "Real faces"]
    floor = halves_distance(faces.x, faces.x, disjoint=True)
    encoders = [t if isinstance(t.model, EncoderModel) else None for _, t in results]
    spreads = [f"{t.encode(faces).std(0).mean():.2f}" if t else "–" for t in encoders]
    errors = [f"{rms_error(t.reconstruct(held_out).x, held_out.x):.1f}" if t else "–" for t in encoders]
    distances = [f"{halves_distance(faces.x, t.sample(len(faces)).x):.3f}" for _, t in results]
    last_lines = [run_folder.read_log(t.folder or "")[-1] for _, t in results]
    rows = [
        ["Distance of samples to the real faces", *distances, f"{floor:.3f}"],
        ["Standard deviation of the codes (N(0, I) has 1)", *spreads, "–"],
        ["Error of held-out reconstructions, in grey levels of 255", *errors, "0"],
        ["Training", *(f"{line['step']} steps, {html.format_duration(line['seconds'])}" for line in last_lines), "–"],
    ]
    half = len(faces) // 2
    caption = (
        f"Distance: sliced Wasserstein distance of pixels in [0, 1], {half} samples against {half} real faces, mean of "
        "ten draws, lower is better; the last column is its floor, two disjoint halves of the real faces. "
        f"Error: root mean square over {len(held_out)} held-out faces."
    )
    return head, rows, caption


def halves_distance(real: Tensor, other: Tensor, disjoint: bool = False) -> float:
    """Sliced Wasserstein distance between random halves of two sets, mean of ten draws; `apart`: of one set."""
    half, total = len(real) // 2, 0.0
    for seed in range(10):
        order = torch.randperm(len(real), generator=torch.Generator().manual_seed(seed))
        first_half, second_half = order[:half], order[half : 2 * half] if disjoint else order[:half]
        total += sliced_wasserstein(real[first_half] / 255, other[second_half] / 255, seed=seed)
    return total / 10


def rms_error(a: Tensor, b: Tensor) -> float:
    """Root mean square difference, in grey levels."""
    return (a.float() - b.float()).square().mean().sqrt().item()


def next_commands(results: list[tuple[Chapter, Trained]]) -> list[str]:
    """What to type next."""
    run = results[1][1].folder
    return [
        f"ganvas sample {run} -n 100 --out samples.png", f"ganvas interpolate {run}",
        "ganvas train vae FOLDER-OF-IMAGES --size 32", "ganvas train gan mnist", "ganvas train vae --help",
    ]  # fmt: skip
