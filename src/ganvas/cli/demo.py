"""`ganvas demo`: eight models learn from the same emoji, and one page shows what each can do."""

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
from ..models import CGAN, DCGAN, GAN, VAE, WGANGP, Autoencoder, CycleGAN, DiscoGAN
from ..training.progress import ProgressBar
from ..training.run import train
from ..training.run_records import read_log
from ..viz.curves import loss_chart, wasserstein_chart
from ..viz.html import write_page
from ..viz.images import Examples
from ..viz.svg import svg_charts
from .app import print_result
from .common import Quiet

SAMPLES_PER_MODEL, PER_CLASS = 48, 8
FACES, DRAWINGS = ("emoji",), ("emoji", "emoji-flat")
SHOWN_PAIRS = (3, 10, 20, 38, 61, 75, 102, 126, 150, 175)
"""held-out emoji that are translated"""
ROW_TITLES = ("Distance of samples to the real faces", "Standard deviation of the codes (N(0, I) has 1)",
              "Error of held-out reconstructions, in grey levels of 255")  # fmt: skip


@dataclass(frozen=True)
class Chapter:
    """A model of the demo, on what and how long it is trained, and what is asked and said of it."""

    model: Model
    sources: tuple[str, ...]
    classes: tuple[str, ...]
    steps: int
    batch_size: int
    title: str
    question: str
    equation: str
    verdict: str

    @property
    def name(self) -> str:
        """What the command line calls the model, and the folder of its run."""
        return type(self.model).__name__.lower()

    @property
    def is_translator(self) -> bool:
        return len(self.sources) > 1


CHAPTERS = (
    Chapter(
        Autoencoder(latent=16), FACES, ("smileys",), 800, 64, "Autoencoder", "Can it generate?",
        "min E |x − g(f(x))|²",
        "It reconstructs well, but its codes lie wherever training put them: N(0, I) misses them, and the decoder was "
        "never asked about what lies in between.",
    ),
    Chapter(
        VAE(latent=16, lr=2e-3), FACES, ("smileys",), 1000, 64, "Variational autoencoder",
        "What does the KL term change?",
        "min E[ L(x, g(z)) ] + KL( N(μ, Σ) ‖ N(0, I) )",
        "It pulls the codes of all faces together onto N(0, I), so that a draw from it decodes to a face, if a blurred "
        "one.",
    ),
    Chapter(
        GAN(latent=32), FACES, ("smileys",), 1500, 32, "Generative adversarial network",
        "Can a network learn from verdicts alone?", "min over G, max over D of E log D(x) + E log(1 − D(G(z)))",
        "Yes: G never sees a face, only how D judges its own. Both are layers of 400 units that know nothing of "
        "neighbouring pixels, which shows as grain.",
    ),
    Chapter(
        DCGAN(), FACES, ("smileys",), 650, 32, "Deep convolutional GAN", "What do convolutions add?",
        "the same game, played by convolutions",
        "Clean outlines and plain areas: each weight is used at every place. It draws the sharpest pictures.",
    ),
    Chapter(
        CGAN(net="mlp", latent=32), FACES, ("people", "smileys", "symbols"), 1400, 32, "Conditional GAN",
        "Can one ask for a class?",
        "min over G, max over D of E log D(x | y) + E log(1 − D(G(z | y) | y))",
        "G has the class beside its noise, and D tells whether a picture is one of its class.",
    ),
    Chapter(
        WGANGP(net="mlp", latent=32, initial_critic_steps=20, lr=3e-4), FACES, ("smileys",), 300, 32,
        "Wasserstein GAN, with a gradient penalty",
        "How far are the samples from the faces, in one number?",
        "min over G, max over D of E D(x) − E D(G(z)) − 10 E(|∇D(u)| − 1)²",
        "Its critic estimates the earth mover's distance, which falls as the samples get better; a GAN's loss says no "
        "such thing.",
    ),
    Chapter(
        CycleGAN(width=16, blocks=2, residual=True, cycle_weight=2, identity_weight=0, enlarge=1, lr=1e-3,
                 patch_size=34),
        DRAWINGS, (), 450, 4, "CycleGAN", "Can one translate without pairs?",
        "min over G, F, max over Dx, Dy of games for G: X → Y and F: Y → X, and λ (|F(G(x)) − x| + |G(F(y)) − y|)",
        "It saw 3-D and flat emoji, but never which belong together. The way back to the input keeps what is drawn; "
        "the critics ask for the other style.",
    ),
    Chapter(
        DiscoGAN(width=32, residual=True, reconstruction_weight=10, lr=4e-4), DRAWINGS, (), 250, 16, "DiscoGAN",
        "Does another network find the same relation?",
        "min −E log Db(G(a)) − E log Da(F(b)) + λ ( |F(G(a)) − a|² + |G(F(b)) − b|² )",
        "Its translators change a picture by what passes a bottleneck, and its discriminators judge the whole "
        "picture, no patches: the relation is the same, the strokes are others.",
    ),
)  # fmt: skip


def demo(
    *,
    runs_dir: Annotated[Path, Parameter(help="folder for the demo's folder")] = Path("runs"),
    steps_factor: Annotated[float, Parameter(help="factor for the training steps; 0.1 for a quick look")] = 1.0,
    quiet: Quiet = False,
) -> None:
    """Train eight models on the emoji of the package, then show on one page what each of them can do."""
    print_result([str(train_and_compare(runs_dir, steps_factor, quiet))], {}, False)


def train_and_compare(runs_dir: Path, steps_factor: float, quiet: bool) -> Path:
    """Train the models in a new folder and write the page beside them; returns its path."""
    if not 0 < steps_factor < 1000:
        problem = f"steps_factor={steps_factor:g} multiplies the steps of training"
        raise UserError(f"{problem}: give a number above 0, such as 0.1")
    folder = unused_path(runs_dir / f"{datetime.now():%Y-%m-%d}-demo")
    start_time, runs = time.monotonic(), list[Trained]()
    for i, c in enumerate(CHAPTERS, 1):
        ProgressBar(quiet).say(f"[{i}/{len(CHAPTERS)}] {c.title}: {c.equation}")
        steps = max(1, round(c.steps * steps_factor))
        options: dict[str, Any] = {"steps": steps, "batch_size": c.batch_size, "checkpoint_every": max(1, steps // 4)}
        sources = c.sources if c.is_translator else c.sources[0]
        classes = c.classes or None
        runs.append(train(c.model, sources, classes=classes, folder=folder / c.name, quiet=quiet, **options))
    seconds = time.monotonic() - start_time
    faces, held_out = (load("emoji", DataOptions(classes=("smileys",), split=split)) for split in ("train", "test"))
    chapters = [describe_chapter(c, run, faces, held_out) for c, run in zip(CHAPTERS, runs, strict=True)]
    compared = [chapter for chapter in chapters if chapter["numbers"]]
    floor = f"{halves_distance(faces.x, faces.x, disjoint=True):.3f}"
    columns = (ROW_TITLES, *(chapter["numbers"] for chapter in compared), (floor, "–", "0"))
    write_page(
        folder / "index.html", "demo.html", title="Ganvas demo", seconds=seconds, folder=folder, chapters=chapters,
        compared=compared, examples=len(faces), held_out=len(held_out), rows=list(zip(*columns, strict=True)),
        faces=Examples(faces.x[:: len(faces) // SAMPLES_PER_MODEL][:SAMPLES_PER_MODEL], 8).render(),
    )  # fmt: skip
    return folder / "index.html"


def describe_chapter(chapter: Chapter, run: Trained, faces: Dataset, held_out: Dataset) -> dict[str, Any]:
    """What the page says and shows of a model; its "numbers", where it draws faces, are as `ROW_TITLES` has them."""
    log = read_log(run.folder or "")
    pictures, numbers = list[tuple[str, Any]](), list[str]()
    if chapter.is_translator:
        pictures = [translations(run, to) for to in "BA"]
    elif run.model.is_conditional:
        pictures = [("Samples", run.sample(per_class=PER_CLASS).render())]
    else:
        numbers, pictures = describe_faces(run, faces, held_out)
    charts = [chart for chart in (wasserstein_chart(log), loss_chart(log)) if any(chart.series.values())]
    time_text = f"{log[-1]['step']:,} steps in {format_duration(log[-1]['seconds'])}"
    return vars(chapter) | {
        "name": chapter.name, "time": time_text, "numbers": numbers, "pictures": pictures,
        "charts": svg_charts(charts[:1]),
    }  # fmt: skip


def describe_faces(run: Trained, faces: Dataset, held_out: Dataset) -> tuple[list[str], list[tuple[str, Any]]]:
    """The numbers of a model that draws faces; its samples and reconstructions, each a title and a picture."""
    pictures = [("Samples", Examples(run.sample(SAMPLES_PER_MODEL).x, 8).render())]
    distance = f"{halves_distance(faces.x, run.sample(len(faces)).x):.3f}"
    if not isinstance(run.model, EncoderModel):
        return [distance, "–", "–"], pictures
    n, rebuilt = len(held_out) // 2, run.reconstruct(held_out).x
    rows = torch.cat([held_out.x[:n], rebuilt[:n]])
    title = "Held-out faces, and what it makes of them"
    pictures.append((title, Examples(rows, n).render()))
    deviation = run.encode(faces).std(0).mean()
    return [distance, f"{deviation:.2f}", f"{rms_error(rebuilt, held_out.x):.1f}"], pictures


def translations(run: Trained, to: str) -> tuple[str, Any]:
    """Held-out emoji of one drawing, their translations to the other, and how they were really drawn."""
    source, target = (load(name, DataOptions(split="test")) for name in (DRAWINGS if to == "B" else DRAWINGS[::-1]))
    translated = run.translate(source, to=to).x
    error, unchanged = rms_error(translated, target.x), rms_error(source.x, target.x)
    index = torch.tensor(SHOWN_PAIRS)
    rows = torch.cat([source.x[index], translated[index], target.x[index]])
    what = "3-D to flat" if to == "B" else "flat to 3-D"
    figures = f"{error:.0f} grey levels from the truth; the input is {unchanged:.0f}"
    return f"{what}: given, translated, truth ({figures})", Examples(rows, len(index)).render()


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
