"""What to do with a trained model: `sample`, `reconstruct`."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
from cyclopts import Parameter

from ..data import DataOptions
from ..errors import check_positive
from ..inference.loading import load_preprocessed
from ..inference.trained import Trained
from ..training.progress import ProgressBar
from ..viz.images import PICTURE_FORMATS, Examples
from .common import DEFAULT_DATA_OPTIONS, DEFAULT_OUTPUT, DataFlags, Output, RunName, SourceName, save_examples

PRIOR_HELP = "standard, the model's own; or one that `ganvas fit-prior` fitted: best, gaussian, mixture or flow"
LABEL_HELP = "class to draw, by name or number, for a conditional model"
MAX_CLASS_ROWS = 40
"""most classes in a picture"""


def sample(
    run: RunName,
    /,
    *,
    n: Annotated[int | None, Parameter(alias="-n", help="how many samples; 64 by default")] = None,
    seed: Annotated[int, Parameter(help="seed of the noise")] = 0,
    fitted_prior: Annotated[str, Parameter(help=PRIOR_HELP)] = "standard",
    label: Annotated[str | None, Parameter(help=LABEL_HELP)] = None,
    per_class: Annotated[int | None, Parameter(help="samples of every class, one row each, in place of -n")] = None,
    output: Output = DEFAULT_OUTPUT,
) -> None:
    """Generate new examples with a trained model, from N(0, I) or from a fitted prior."""
    save_examples(run, "samples", output, lambda trained: first_rows(
        trained.sample(n, seed=seed, fitted_prior=fitted_prior, label=label, per_class=per_class), label, output.out,
    ))  # fmt: skip


def is_picture(out: Path | None) -> bool:
    """Whether examples that go there become one picture."""
    return out is None or out.suffix.lower() in PICTURE_FORMATS


def first_rows(examples: Examples, label: str | None, out: Path | None) -> Examples:
    """Samples, of which a picture shows the first classes only; on stderr which these are, or the one asked for."""
    rows, bar = examples.row_labels, ProgressBar()
    if label is not None and examples.labels is not None:
        bar.say(f"class {examples.classes[int(examples.labels[0])]}")
    if examples.columns is None or len(rows) <= MAX_CLASS_ROWS or not is_picture(out):
        return examples
    shown = f"the picture shows the first {MAX_CLASS_ROWS} of {len(rows)} classes"
    bar.print_notes([f"{shown}: --out all.npz has every one"])
    return replace(examples, x=examples.x[: MAX_CLASS_ROWS * examples.columns], row_labels=rows[:MAX_CLASS_ROWS])


def reconstruct(
    run: RunName,
    data: SourceName,
    /,
    *,
    n: Annotated[int, Parameter(alias="-n", help="how many examples, spread evenly over the data")] = 32,
    options: DataFlags = DEFAULT_DATA_OPTIONS,
    output: Output = DEFAULT_OUTPUT,
) -> None:
    """Encode and decode examples; a picture shows each beside its reconstruction."""
    save_examples(run, "reconstructions", output, lambda trained: reconstruct_some(
        trained, data, options, n, output.out
    ))  # fmt: skip


def reconstruct_some(trained: Trained, data: str, options: DataOptions, n: int, out: Path | None) -> Examples:
    """Reconstructions of n examples, spread evenly; for a picture, each after its example."""
    dataset = load_preprocessed(trained, data, options)
    dataset = dataset.select(torch.linspace(0, len(dataset) - 1, min(check_positive(n, "n"), len(dataset))).long())
    reconstructions = trained.reconstruct(dataset)
    if reconstructions.x.ndim == 2 or not is_picture(out):
        return reconstructions
    return Examples(torch.stack([dataset.x, reconstructions.x], 1).flatten(0, 1), columns=8)
