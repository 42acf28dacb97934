"""What to do with a trained model: `sample`, `reconstruct`, `translate`."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from cyclopts import Parameter

from ..data import DataOptions
from ..errors import UserError, check_positive
from ..inference.loading import load_preprocessed
from ..inference.sampling import sample_examples
from ..inference.trained import Trained
from ..io.atomic import refuse_existing
from ..training.progress import ProgressBar
from ..viz.images import PICTURE_FORMATS, Examples
from .app import print_result
from .common import (
    PRIOR_HELP,
    DataFlags,
    Force,
    Json,
    Output,
    OutputOptions,
    Quiet,
    RunName,
    SourceName,
    load_run,
    save_examples,
)

TO_HELP = "domain to translate to: A was given first in training, B second"
WHERE_HELP = "value that all rows of a table have, COLUMN=VALUE; may be given for several columns"
LIKE_HELP = "file of rows to complete: a table with some of the columns, and empty cells"
BALANCE_HELP = "column of a table of which each value comes equally often"
MAX_CLASS_ROWS = 40


def sample(
    run: RunName,
    /,
    *,
    n: Annotated[int | None, Parameter(alias="-n", help="how many samples; 64 by default")] = None,
    seed: Annotated[int, Parameter(help="seed of the noise")] = 0,
    fitted_prior: Annotated[str | None, Parameter(help=PRIOR_HELP)] = None,
    label: Annotated[str | None, Parameter(help="class to draw, by name or number, for a conditional model")] = None,
    per_class: Annotated[int | None, Parameter(help="samples of every class, one row each, in place of -n")] = None,
    where: Annotated[list[str] | None, Parameter(help=WHERE_HELP)] = None,
    like: Annotated[Path | None, Parameter(help=LIKE_HELP)] = None,
    balance: Annotated[str | None, Parameter(help=BALANCE_HELP)] = None,
    output: Output = OutputOptions(),
) -> None:
    """Generate new examples with a trained model, from N(0, I) or from a fitted prior."""
    asked = {"where": parse_where(where or []), "like": read_rows(like), "balance": balance}
    save_examples(run, "samples", output, lambda trained: first_rows(
        sample_examples(trained, n, seed, fitted_prior, label, per_class, **asked), label, output.out,
    ))  # fmt: skip


def parse_where(texts: Sequence[str]) -> dict[str, str]:
    """Values by column from "name=value" each; UserError for what is none, and for a column that is named twice."""
    values = dict[str, str]()
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise UserError(f"--where {text!r} is not COLUMN=VALUE: write e.g. --where 'income=>50K'")
        if name.strip() in values:
            raise UserError(f'--where gives column "{name.strip()}" two values: give one')
        values[name.strip()] = value.strip().strip('"')
    return values


def read_rows(path: Path | None) -> Any:
    """The data frame in a file of rows to complete, if one is given."""
    if path is None:
        return None
    from ..data.tables.read import read_frame

    return read_frame(path)


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
    options: DataFlags = DataOptions(),
    output: Output = OutputOptions(),
) -> None:
    """Encode and decode examples; a picture shows each beside its reconstruction."""
    save_examples(run, "reconstructions", output, lambda trained: reconstruct_n(trained, data, options, n, output.out))


def reconstruct_n(trained: Trained, data: str, options: DataOptions, n: int, out: Path | None) -> Examples:
    """Reconstructions of n examples, spread evenly; for a picture, each after its example."""
    dataset = load_preprocessed(trained, data, options)
    dataset = dataset.select(torch.linspace(0, len(dataset) - 1, min(check_positive(n, "n"), len(dataset))).long())
    ProgressBar().print_notes([note for note in dataset.notes if "clipped" in note])
    result = trained.reconstruct(dataset)
    if result.x.ndim == 2 or not is_picture(out):
        return result
    return replace(result, x=torch.stack([dataset.x, result.x], 1).flatten(0, 1), columns=8)


def is_picture(out: Path | None) -> bool:
    """Whether examples that go there become one picture."""
    return out is None or out.suffix.lower() in PICTURE_FORMATS


def translate(
    run: RunName,
    source: SourceName,
    out: Annotated[Path, Parameter(help="the file, or the folder; images of a folder or an archive keep their names")],
    /,
    *,
    to: Annotated[Literal["A", "B"], Parameter(help=TO_HELP)] = "B",
    force: Force = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Translate images of one domain to the other; a second run translates only what is missing."""
    from ..inference.translation import format_size, holds_files, size_warning, translate_files

    trained, bar = load_run(run), ProgressBar(quiet)
    trained.domains(to)  # refuses before anything is read
    if not holds_files(source):
        refuse_existing(out, force)
        translations = trained.translate(source, to)
        translations.save(out)
        source_shape = trained.shape[trained.domains(to)[0]]
        is_own_size = len(source_shape) != 3 or translations.x.shape[2:] == source_shape[1:]
        if not is_own_size and not trained.has_fixed_size(to):
            bar.print_notes([size_warning(len(translations), format_size(source_shape))])
        print_result([str(out)], {"out": str(out), "translated": len(translations)}, json)
        return
    with bar.track_images("translating") as progress:
        summary = translate_files(trained, Path(source).expanduser(), out, to, force=force, progress=progress)
    print_result(summary.lines(), summary.to_dict(), json)
