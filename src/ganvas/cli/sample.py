"""What to do with a trained model: `sample`, `reconstruct`."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
from cyclopts import Parameter

from ..data import DataOptions
from ..errors import check_positive
from ..inference.loading import load_preprocessed
from ..inference.trained import Trained
from ..training.progress import ProgressBar
from ..viz.images import PICTURE_SUFFIXES, Examples
from .common import (
    DEFAULT_DATA_OPTIONS,
    DEFAULT_OUTPUT,
    FLATTEN,
    OutputOptions,
    RunName,
    SourceName,
    load_run,
    save_examples,
)

MAX_CLASS_ROWS = 40
"""most classes in a picture"""


def sample(
    run: RunName,
    /,
    *,
    n: Annotated[int | None, Parameter(alias="-n", help="how many; 64 by default")] = None,
    seed: Annotated[int, Parameter(help="seed of the noise")] = 0,
    fitted_prior: Annotated[
        str,
        Parameter(help="standard, the model's own; best, gaussian, mixture or flow: what `ganvas fit-prior` fitted"),
    ] = "standard",
    label: Annotated[str | None, Parameter(help="class to draw, by name or number, for a conditional model")] = None,
    per_class: Annotated[int | None, Parameter(help="samples of every class, one row each, in place of n")] = None,
    output: Annotated[OutputOptions, FLATTEN] = DEFAULT_OUTPUT,
) -> None:
    """Generate new examples with a trained model, from N(0, I) or from a fitted prior."""
    trained = load_run(run)
    if label is not None and per_class is None and (labels := trained.class_labels(1, label)) is not None:
        ProgressBar().say(f"class {trained.metadata['classes'][int(labels)]}")
    generate = partial(trained.sample, n, seed=seed, fitted_prior=fitted_prior, label=label, per_class=per_class)
    save_examples(
        generate if per_class is None or not is_picture(output.out) else lambda: first_rows(generate()),
        trained,
        "samples",
        output,
    )


def is_picture(out: Path | None) -> bool:
    """Whether examples that go there become one picture."""
    return out is None or out.suffix.lower() in PICTURE_SUFFIXES


def first_rows(examples: Examples) -> Examples:
    """The first rows, where there are more images a class than a picture can show well."""
    if examples.columns is None or len(examples.row_labels) <= MAX_CLASS_ROWS:
        return examples
    ProgressBar().print_notes(
        [
            f"the picture shows the first {MAX_CLASS_ROWS} of {len(examples.row_labels)} classes: --out all.npz "
            "has every one"
        ]
    )
    return replace(
        examples, x=examples.x[: MAX_CLASS_ROWS * examples.columns], row_labels=examples.row_labels[:MAX_CLASS_ROWS]
    )


def reconstruct(
    run: RunName,
    data: SourceName,
    /,
    *,
    n: Annotated[int, Parameter(alias="-n", help="how many examples, spread evenly over the data")] = 32,
    options: Annotated[DataOptions, FLATTEN] = DEFAULT_DATA_OPTIONS,
    output: Annotated[OutputOptions, FLATTEN] = DEFAULT_OUTPUT,
) -> None:
    """Encode and decode examples; a picture shows each beside its reconstruction."""
    trained = load_run(run)
    save_examples(
        lambda: reconstruction_pairs(trained, data, options, n, output.out), trained, "reconstructions", output
    )


def reconstruction_pairs(trained: Trained, data: str, options: DataOptions, n: int, out: Path | None) -> Examples:
    """Reconstructions; for a picture, each after its example."""
    dataset = load_preprocessed(trained, data, options)
    check_positive(n, "n")
    dataset = dataset.select(torch.linspace(0, len(dataset) - 1, min(n, len(dataset))).long())
    reconstructions = trained.reconstruct(dataset)
    if reconstructions.x.ndim == 2 or not is_picture(out):
        return reconstructions
    interleaved = reconstructions.x.new_empty((2 * len(reconstructions), *reconstructions.x.shape[1:]))
    interleaved[0::2], interleaved[1::2] = dataset.x, reconstructions.x
    return Examples(interleaved, columns=8)
