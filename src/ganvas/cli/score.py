"""`ganvas score`: how strange examples are to a trained model, as a table, a page or a picture."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from cyclopts import Parameter
from torch import Tensor
from torch.nn.functional import pad

from ..data import DataOptions
from ..errors import UserError
from ..escape import escape_text
from ..evaluation.anomalies import ScoredExamples, score_examples, shown_errors
from ..inference.scores import SCORES
from ..inference.trained import Trained
from ..io.atomic import atomic_write, refuse_existing, unused_path
from ..io.text import format_number
from ..training.progress import ProgressBar
from ..viz.html import write_page
from ..viz.images import Examples, heat_maps, middle_slices
from .app import print_result
from .common import DataFlags, Force, Given, Json, Quiet, RunName, SourceName, load_run

OWN_SCORE = "by default the first of these that the model has, but likelihood of a VAE of vectors"
SCORE_HELP = f"what is measured: {', '.join(SCORES)}; {OWN_SCORE}"
CALIBRATE_HELP = "ordinary examples that the run has not learnt from, for p-values; by default its own test split"
THRESHOLD_HELP = "examples with p at most this are anomalies: the share of false alarms among ordinary examples"
OUT_HELP = "a table (.csv), or a page (.html) or picture (.png) of the strangest; by default scores.csv in the run"
IMPORTANCE_HELP = "samples per example for the score likelihood; 16 by default"
TO_HELP = "a translator's examples are of the domain that is translated to this one, and back"
CODE_NOTE = "code, which also tells strange examples that are rebuilt as well as ordinary ones"
LEARNT_NOTE = "the run has learnt from these examples, or from most of them: new ones are stranger to it"
SUFFIXES = (".csv", ".html", ".png")
PICTURES = ("example", "compared with", "squared error")
N_PICTURES = 12
"""the strangest examples that are shown, and as many of the most ordinary"""


def score(
    run: RunName,
    data: SourceName,
    /,
    *,
    score: Annotated[str | None, Parameter(help=SCORE_HELP)] = None,
    calibrate: Annotated[str | None, Parameter(help=CALIBRATE_HELP)] = None,
    threshold: Annotated[float, Parameter(help=THRESHOLD_HELP)] = 0.05,
    importance_samples: Annotated[int | None, Parameter(alias="-k", help=IMPORTANCE_HELP)] = None,
    to: Annotated[Literal["A", "B"], Parameter(help=TO_HELP)] = "B",
    seed: Annotated[int, Parameter(help="seed of the noise")] = 0,
    options: DataFlags = DataOptions(),
    out: Annotated[Path | None, Parameter(help=OUT_HELP)] = None,
    force: Force = False,
    quiet: Quiet = False,
    json: Json = False,
    given: Given = frozenset(),
) -> None:
    """Score how strange examples are to a trained model, and mark anomalies, by held-out examples."""
    trained, bar = load_run(run), ProgressBar(quiet)
    path = unused_path((trained.folder or Path()) / "scores.csv") if out is None else out
    check_request(trained, path, threshold, to)
    refuse_existing(path, force)
    result = score_examples(
        trained, data, options, kind=score, calibrate=calibrate, importance_samples=importance_samples, seed=seed,
        calibrate_options=replace(options, split="train", holdout=None, classes=()), to=to, progress=bar.say,
    )  # fmt: skip
    bar.print_notes(notes(trained, result, data, options, threshold, "threshold" in given))
    rows = result.rows(threshold)
    write(path, trained, result, rows, seed, to)
    n_anomalies = None if result.p_values is None else sum(row["anomaly"] for row in rows)
    if n_anomalies is not None:
        bar.say(f"{n_anomalies} of {len(rows)} examples are anomalies, with p at most {threshold:g}")
    summary = {
        "out": str(path), "score": result.kind, "examples": len(rows), "anomalies": n_anomalies, "threshold": threshold,
        "calibration": result.calibration, "calibration_examples": result.n_calibration, "rows": rows,
    }  # fmt: skip
    print_result([str(path)], summary, json)


def check_request(trained: Trained, path: Path, threshold: float, to: str) -> None:
    """UserError, before anything is computed, where the result could not be written or means nothing."""
    if not 0 < threshold < 1:
        raise UserError(
            f"threshold={threshold:g} is no share of false alarms: give a number between 0 and 1, e.g. 0.05"
        )
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"cannot write {path}: end its name in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
    shape = trained.shape[trained.domains(to)[0]] if trained.model.n_domains == 2 else trained.shape
    if len(shape) == 1 and path.suffix.lower() != ".csv":
        raise UserError(f"vectors are no pictures: write their scores to {path.with_suffix('.csv')} instead")


def notes(
    trained: Trained, result: ScoredExamples, data: str, options: DataOptions, threshold: float, is_given: bool
) -> list[str]:
    """What the reader should know of the p-values; UserError where there are none for a threshold that was given."""
    lines, n, origin = list(result.data.notes), result.n_calibration, trained.training_data
    if result.kind == "reconstruction" and trained.priors is None:
        lines.append(f"ganvas fit-prior {trained.folder or 'RUN'} adds a score, {CODE_NOTE}")
    if result.p_values is None:
        if is_given:
            raise UserError(f"`threshold` is of p-values, and there are none: {result.calibration}; give `calibrate`")
        return [*lines, f"no p-values: {result.calibration}; --calibrate DATA gives ordinary examples for them"]
    if threshold * (n + 1) < 1:
        least = format_number(1 / (n + 1), 2)
        lines.append(f"by {n} held-out examples p is never below {least}: no example can be an anomaly")
    if origin is not None and origin.is_named_by(data, options):
        lines.append(LEARNT_NOTE)
    return lines


def write(path: Path, trained: Trained, result: ScoredExamples, rows: list[dict[str, Any]], seed: int, to: str) -> None:
    """Write the table of all examples, or pictures of some, as the name of the file says."""
    if path.suffix.lower() == ".csv":
        with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, rows[0], lineterminator="\n")
            table.writeheader()
            table.writerows({name: format_cell(value) for name, value in row.items()} for row in rows)
        return
    n = min(N_PICTURES, len(rows))
    order = result.scores.argsort(descending=True, stable=True)
    index = torch.cat([order[:n], order.flip(0)[:n]])
    x, *compared = shown_errors(trained, result.data.select(index), result.kind, seed, to)
    pictures = list(map(as_picture, (x, *compared[:1])))
    pictures += [error_picture(errors / errors.amax().clamp_min(1e-12), x.shape[1]) for errors in compared[1:]]
    names = PICTURES[: len(pictures)]
    if path.suffix.lower() == ".png":
        sides = [part[i : i + n] for i in (0, n) for part in pictures]
        labels = tuple(f"{name}{end}" for end in (", strangest", ", ordinary") for name in names)
        Examples(torch.cat(sides), columns=n, row_labels=labels).save(path)
        return
    images = [Examples(torch.stack(parts), columns=len(parts)).render() for parts in zip(*pictures, strict=True)]
    figures = [describe(rows[i]) | {"image": image} for i, image in zip(index.tolist(), images, strict=True)]
    title, lead = f"Scores of {result.data.name}", f"{result.kind} of {len(rows)} examples; each: {', '.join(names)}"
    write_page(path, "score.html", title=title, lead=lead, strangest=figures[:n], ordinary=figures[n:])


def as_picture(x: Tensor) -> Tensor:
    """Signals with numbers in [0, 1] as they are; images, or the slices of volumes, as bytes in colour."""
    return x if x.ndim == 3 else (flat(x) * 255).round().byte().expand(-1, 3, -1, -1)


def error_picture(errors: Tensor, channels: int) -> Tensor:
    """Errors in [0, 1]: of signals as a line, the first of so many channels, of others as a map of heat."""
    if errors.ndim > 2:
        return heat_maps(flat(errors[:, None])[:, 0])
    return pad(errors[:, None], (0, 0, 0, channels - 1), value=torch.nan)


def flat(x: Tensor) -> Tensor:
    """Images as they are, of volumes the middle slices."""
    return middle_slices(x) if x.ndim == 5 else x


def describe(row: dict[str, Any]) -> dict[str, str]:
    """What stands below the pictures of an example."""
    p = "" if row["p_value"] is None else f", p {format_number(row['p_value'], 2)}" + ", anomaly" * row["anomaly"]
    kind = f", class {row['class']}" if "class" in row else ""
    return {"name": str(row.get("file", row.get("index"))), "text": f"score {format_number(row['score'], 4)}{p}{kind}"}


def format_cell(value: Any) -> Any:
    """A value as the table has it: nothing for None, true and false, a name on one line."""
    if isinstance(value, bool):
        return str(value).lower()
    return escape_text(value) if isinstance(value, str) else value
