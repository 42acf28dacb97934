"""What is there: `runs`, `doctor` and `data`."""

from dataclasses import replace
from pathlib import Path
from tempfile import gettempdir
from typing import Annotated, Any

import torch
from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .. import data as data_sources
from ..data import DataOptions
from ..diagnostics import Diagnosis, examine, is_early, latest_statistics
from ..errors import UserError
from ..inference.schema import parse_model
from ..io.atomic import refuse_existing, shorten, unused_path
from ..io.run_folder import LOG_FILE, RunFolder
from ..io.text import escape_text
from ..training import run_folder
from ..training.progress import ProgressBar
from ..viz.images import Examples, save_pictures
from .app import print_result
from .common import DEFAULT_DATA_OPTIONS, FLATTEN, Force, Json, RunName, SourceName

MAX_SIZES = 10
"""sizes of images that are told apart, at most"""
MAX_COLUMN_WIDTH = 70
"""characters of a column, at most"""


def runs(
    *, runs_dir: Annotated[Path, Parameter(help="where the run folders are")] = Path("runs"), json: Json = False
) -> None:
    """List the runs, oldest first."""
    run_folders = run_folder.list_runs(runs_dir)
    summaries = [run_folder.summarize_run(folder) for folder in run_folders]
    for folder, line in zip(run_folders, summaries, strict=True):
        if "error" not in line:
            ProgressBar().print_notes(run_folder.damaged_line_notes(folder))
    if json:
        print_result("", summaries, True)
        return
    if not summaries:
        ProgressBar().say(f"no runs in {runs_dir} yet: ganvas train vae emoji")
        return
    table = Table("run", "model", "data", "step", "seconds", "last losses", box=None)
    for line in summaries:
        if "error" in line:
            table.add_row(Text(escape_text(line["run"])), Text(escape_text(line["error"])))
            continue
        losses = "  ".join(f"{name} {value:.4g}" for name, value in line["losses"].items())
        step = f"{line['step']}/{line['steps']}" + (" (ended)" if line["ended"] else "")
        cells = line["run"], line["model"], line["data"], step, f"{line['seconds']:.0f}", losses
        table.add_row(*(Text(escape_text(cell)) for cell in cells))
    console = Console()
    Console(width=console.width if console.is_terminal else 1000).print(table)


def doctor(run: RunName, /, *, json: Json = False) -> None:
    """Say what is wrong with a run, from its log: evidence, limit, remedies, and where to read about it."""
    folder = run_folder.find_run(run)
    config, lines = run_folder.read_config(folder), run_folder.read_log(folder)
    ProgressBar().print_notes(run_folder.damaged_line_notes(folder))
    if not lines:
        raise UserError(f"{folder} has no {LOG_FILE} yet: let it train, or go on with it: ganvas resume {folder}")
    steps = run_folder.end_step(config)
    diagnoses = examine(parse_model(config, RunFolder(folder).config), steps, lines)
    statistics = latest_statistics(lines)
    report = {
        "run": str(folder), "step": lines[-1]["step"], "steps": steps,
        "diagnoses": [diagnosis.to_dict() for diagnosis in diagnoses], "figures": statistics,
    }  # fmt: skip
    print_result(
        [*(line for one in diagnoses for line in format_diagnosis(one)), format_verdict(report, diagnoses)],
        report,
        json,
    )


def format_diagnosis(diagnosis: Diagnosis) -> list[str]:
    """A diagnosis for people: each of its parts on a line."""
    head = diagnosis.name if diagnosis.is_alarm else f"{diagnosis.name} (no alarm)"
    rows = {"evidence": diagnosis.evidence, "remedies": ", ".join(diagnosis.remedies), "more": diagnosis.page}
    return [head, *(f"  {name:<9} {text}" for name, text in rows.items())]


def format_verdict(report: dict[str, Any], diagnoses: list[Diagnosis]) -> str:
    """How far the run is, and the figures that were looked at."""
    figures_text = ", ".join(f"{name} {value:.4g}" for name, value in report["figures"].items())
    early = is_early(report["step"], report["steps"])
    verdict = "too early to tell: " if early else "" if diagnoses else "nothing found: "
    return f"{verdict}step {report['step']} of {report['steps']}; {figures_text or 'no figures'}"


def data(
    source: SourceName,
    source_b: Annotated[
        str | None, Parameter(help="a second source, to see whether a translator can learn from both")
    ] = None,
    /,
    *,
    options: Annotated[DataOptions, FLATTEN] = DEFAULT_DATA_OPTIONS,
    out: Annotated[Path | None, Parameter(help="the contact sheet; a scatter plot for vectors")] = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Report on a data source, or on two side by side, with a contact sheet."""
    sources = data_sources.resolve_domains(source) if source_b is None else (source, source_b)
    with ProgressBar().track_images() as progress:
        results = [
            load_any_size(each, options, progress) for each in (sources if isinstance(sources, tuple) else (sources,))
        ]
    parts = [part for part, _ in results]
    dataset = data_sources.make_pair(parts) if len(parts) > 1 else parts[0]
    sheet = (
        unused_path(contact_sheet_folder(source) / f"{shorten(dataset.name)}-contact-sheet.png") if out is None else out
    )
    refuse_existing(sheet, force)
    max_examples = 100 if dataset.has_images else 5000
    save_pictures([Examples(part.x[spread_indices(len(part), max_examples)]) for part in dataset.datasets], sheet)
    reports = [describe_dataset(part) | size_facts for part, size_facts in results]
    if isinstance(dataset, data_sources.DomainPair):
        warnings = data_sources.pair_warnings(dataset)
        pair_report = {"A": reports[0], "B": reports[1], "warnings": warnings, "contact sheet": str(sheet)}
        print_result([*format_columns(*reports), *warnings, f"contact sheet  {sheet}"], pair_report, json)
        return
    report = reports[0] | {"contact sheet": str(sheet)}
    print_result([f"{key:<14} {format_value(value)}" for key, value in report.items() if value], report, json)


def load_any_size(
    source: data_sources.Source, options: DataOptions, progress: data_sources.Progress
) -> tuple[data_sources.Dataset, dict[str, Any]]:
    """A collection, and where its images have several sizes how many have which, and which channels."""
    try:
        return data_sources.load(source, options, progress=progress), {}
    except data_sources.MixedSizesError as mixed:
        dataset = data_sources.load(source, replace(options, size=mixed.size), progress=progress)
        sizes = dict(list(mixed.sizes.items())[:MAX_SIZES])
        if n_other_sizes := len(mixed.sizes) - len(sizes):
            sizes[f"of {n_other_sizes} other sizes"] = sum(mixed.sizes.values()) - sum(sizes.values())
        note = f"images of {len(mixed.sizes)} sizes: to train, ask for one, as this report did with --size {mixed.size}"
        return replace(dataset, notes=(note, *dataset.notes)), {"sizes": sizes, "channels": mixed.channels}


def format_columns(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """The facts of two collections, in columns."""

    def cut(word: str) -> str:
        return word if len(word) < MAX_COLUMN_WIDTH else f"{word[: MAX_COLUMN_WIDTH - 4]} ..."

    facts = [
        (key, cut(format_value(a.get(key, ""))), cut(format_value(b.get(key, ""))))
        for key in a | b
        if a.get(key) or b.get(key)
    ]
    rows = [("", "A", "B"), *facts]
    width = max(len(first) for _, first, _ in rows) + 2
    return [f"{key:<14} {first:<{width}}{second}".rstrip() for key, first, second in rows]


def describe_dataset(dataset: data_sources.Dataset) -> dict[str, Any]:
    """The facts of a collection."""
    x = dataset.x
    kind = "images, bytes" if dataset.has_images else "vectors, float32"
    axes = (0, 2, 3) if dataset.has_images else (0,)
    mean = torch.zeros(x.shape[1], dtype=torch.float64)
    for part in data_sources.chunks(x):
        mean += part.sum(axes, dtype=torch.float64) / (x.numel() / x.shape[1])
    return {
        "name": dataset.name,
        "examples": len(dataset),
        "kind": kind,
        "shape": " x ".join(map(str, dataset.shape)) + (" (c x h x w)" if dataset.has_images else ""),
        "range": f"{x.min().item():g} to {x.max().item():g}",
        "mean": ", ".join(f"{value:.4g}" for value in mean[:8].tolist()),
        "classes": data_sources.class_counts(dataset),
        "notes": list(dataset.notes),
        "fingerprint": dataset.fingerprint(),
    }


def contact_sheet_folder(source: str) -> Path:
    """The current folder, or one for temporary files where that is part of the data: a sheet is no data."""
    is_inside_data = Path(source).is_dir() and Path(source).resolve() in [Path.cwd(), *Path.cwd().parents]
    return Path(gettempdir()) if is_inside_data else Path()


def format_value(value: Any) -> str:
    """A value of the report, for people."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {count}" for name, count in value.items())
    return "; ".join(value) if isinstance(value, list) else str(value)


def spread_indices(n: int, max_count: int) -> list[int]:
    """At most so many indices, evenly spread over n."""
    return [i * n // min(n, max_count) for i in range(min(n, max_count))]
