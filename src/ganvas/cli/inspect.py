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
from ..config import TrainConfig
from ..data import DataOptions, Dataset, DomainPair, MixedSizesError, Progress, Source, StreamedDataset
from ..data.scaling import picture_scaling
from ..diagnostics import examine, is_early, latest_statistics
from ..errors import UserError
from ..inference.schema import parse_model
from ..io.atomic import refuse_existing, shorten, unused_path
from ..io.run_folder import LOG_FILE, RunFolder
from ..io.text import escape_text, format_number
from ..training import run_records
from ..training.commands import first_command
from ..training.progress import ProgressBar
from ..viz.images import Examples, save_pictures
from .app import print_result
from .common import DataFlags, Force, Json, RunName, SourceName

MAX_COLUMN_WIDTH = 70
SOURCE_B_HELP = "a second source, to see whether a translator can learn from the two"
Report = dict[str, Any]


def runs(
    *, runs_dir: Annotated[Path, Parameter(help="where the run folders are")] = Path("runs"), json: Json = False
) -> None:
    """List the runs, oldest first."""
    bar, terminal, summaries = ProgressBar(), Console(), []
    table = Table("run", "model", "data", "step", "seconds", "last losses", box=None)
    for folder in run_records.list_runs(runs_dir):
        summaries.append(run := run_records.summarize_run(folder, bar.print_notes))
        cells = [run["run"], run.get("error", "")]
        if "error" not in run:
            losses = "  ".join(f"{name} {format_number(value, 4)}" for name, value in run["losses"].items())
            step = f"{run['step']}/{run['steps']}{' (ended)' if run['ended'] else ''}"
            cells = [run["run"], run["model"], run["data"], step, f"{run['seconds']:.0f}", losses]
        table.add_row(*(Text(escape_text(cell)) for cell in cells))
    if json:
        print_result("", summaries, True)
    elif summaries:
        Console(width=terminal.width if terminal.is_terminal else 1000).print(table)
    else:
        bar.say(f"no runs in {runs_dir} yet; train one: ganvas train vae emoji")


def doctor(run: RunName, /, *, json: Json = False) -> None:
    """Say what is wrong with a run, from its log: the evidence, what to change, and where to read about it."""
    folder = run_records.find_run(run)
    config, log = run_records.read_config(folder), run_records.read_log(folder, ProgressBar().print_notes)
    if not log:
        raise UserError(f"{folder} has no {LOG_FILE} yet: let it train, or go on with it: ganvas resume {folder}")
    steps = run_records.end_step(config)
    model, train_config = parse_model(config, RunFolder(folder).config), TrainConfig(**config["train_config"])
    diagnoses = examine(model, steps, log, train_config)
    step, figures, lines, found = log[-1]["step"], latest_statistics(log), [], []
    for d in diagnoses:
        command = first_command(folder, config, d.remedies)
        found.append(d.to_dict() | {"command": command})
        rows = {"evidence": d.evidence, "remedies": ", ".join(d.texts), "try": command, "more": d.page}
        lines.append(d.name + " (no alarm)" * (not d.is_alarm))
        lines += [f"  {name:<9} {text}" for name, text in rows.items() if text]
    early = "the run was too short to tell: " if step >= steps else "too early to tell: "
    verdict = "" if diagnoses else early if is_early(step, steps) else "nothing found: "
    figures_text = ", ".join(f"{name} {format_number(value, 4)}" for name, value in figures.items()) or "no figures"
    report = {"run": str(folder), "step": step, "steps": steps, "diagnoses": found}
    print_result([*lines, f"{verdict}step {step} of {steps}; {figures_text}"], report | {"figures": figures}, json)


def data(
    source: SourceName,
    source_b: Annotated[str | None, Parameter(help=SOURCE_B_HELP)] = None,
    /,
    *,
    options: DataFlags = DataOptions(),
    out: Annotated[Path | None, Parameter(help="the contact sheet; a scatter plot for vectors")] = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Report on a data source, or on two side by side, with a contact sheet."""
    sources = data_sources.resolve_domains(source) if source_b is None else (source, source_b)
    with ProgressBar().track_images() as progress:
        domains = sources if isinstance(sources, tuple) else (sources,)
        parts, sizes = zip(*(load_any_size(each, options, progress) for each in domains), strict=True)
    dataset = DomainPair(*parts) if len(parts) > 1 else parts[0]
    is_inside_data = Path(source).is_dir() and Path(source).resolve() in [Path.cwd(), *Path.cwd().parents]
    folder = Path(gettempdir()) if is_inside_data else Path()  # a sheet is no data
    sheet = unused_path(folder / f"{shorten(dataset.name)}-contact-sheet.png") if out is None else out
    refuse_existing(sheet, force)
    pictures = []
    for part in parts:
        n = min(100 if dataset.has_images else 5000, len(part))
        scaling = picture_scaling(part)
        pictures.append(Examples(part.x[[i * len(part) // n for i in range(n)]], scaling=scaling))
    save_pictures(pictures, sheet)
    asked = {name: value for name in ("crop", "background") if (value := getattr(options, name))}
    reports = [describe_dataset(part) | asked | facts for part, facts in zip(parts, sizes, strict=True)]
    if isinstance(dataset, DomainPair):
        warnings = data_sources.pair_warnings(dataset)
        lines = [*format_columns(*reports), *warnings, f"contact sheet  {sheet}"]
        report = {"A": reports[0], "B": reports[1], "warnings": warnings, "contact sheet": str(sheet)}
    else:
        report = reports[0] | {"contact sheet": str(sheet)}
        lines = [f"{key:<14} {format_value(value)}" for key, value in report.items() if value]
    print_result(lines, report, json)


def load_any_size(source: Source, options: DataOptions, progress: Progress) -> tuple[Dataset, Report]:
    """A dataset, and where its images have several sizes how many have which, and which channels."""
    try:
        dataset = data_sources.load_or_stream(source, options, progress=progress)
        return dataset.in_memory, describe_stream(dataset) if isinstance(dataset, StreamedDataset) else {}
    except MixedSizesError as mixed:
        sized = data_sources.load_or_stream(source, replace(options, size=mixed.size), progress=progress)
        dataset, facts = sized.in_memory, describe_stream(sized) if isinstance(sized, StreamedDataset) else {}
        sizes = dict(list(mixed.sizes.items())[:10])
        if n_other_sizes := len(mixed.sizes) - len(sizes):
            sizes[f"of {n_other_sizes} other sizes"] = sum(mixed.sizes.values()) - sum(sizes.values())
        note = f"images of {len(mixed.sizes)} sizes: to train, ask for one, as this report did with --size {mixed.size}"
        return replace(dataset, notes=(note, *dataset.notes)), facts | {"sizes": sizes, "channels": mixed.channels}


def describe_stream(dataset: StreamedDataset) -> Report:
    """The facts of a streamed dataset that are those of all its examples; others are of the sample in memory."""
    return {
        "examples": len(dataset), "shards": len(dataset.shards.counts), "sample": len(dataset.in_memory),
        "classes": data_sources.class_counts(dataset), "notes": list(dataset.notes),
        "fingerprint": dataset.fingerprint(),
    }  # fmt: skip


def format_columns(*reports: Report) -> list[str]:
    """The facts of two datasets, in columns."""
    rows = [("", "A", "B")]
    for key in reports[0] | reports[1]:
        texts = [format_value(report.get(key, "")) for report in reports]
        a, b = (t if len(t) < MAX_COLUMN_WIDTH else f"{t[: MAX_COLUMN_WIDTH - 4]} ..." for t in texts)
        rows += [(key, a, b)] if a or b else []
    width = max(len(first) for _, first, _ in rows) + 2
    return [f"{key:<14} {first:<{width}}{second}".rstrip() for key, first, second in rows]


def describe_dataset(dataset: Dataset) -> Report:
    """The facts of a dataset."""
    x, is_images, dtype = dataset.x, dataset.has_images, dataset.source_dtype or "bytes"
    mean = torch.zeros(x.shape[1], dtype=torch.float64)
    for part in data_sources.chunks(x):
        mean += part.sum((0, 2, 3) if is_images else (0,), dtype=torch.float64) / (x.numel() / x.shape[1])
    return {
        "name": dataset.name, "examples": len(dataset), "kind": f"images, {dtype}" if is_images else "vectors, float32",
        "shape": " x ".join(map(str, dataset.shape)) + (" (c x h x w)" if is_images else ""),
        "range": f"{x.min().item():g} to {x.max().item():g}",
        "mean": ", ".join(format_number(value, 4) for value in mean[:8].tolist()),
        "classes": data_sources.class_counts(dataset), "notes": list(dataset.notes),
        "fingerprint": dataset.fingerprint(),
    }  # fmt: skip


def format_value(value: Any) -> str:
    """A value of the report, for people."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {count}" for name, count in value.items())
    return "; ".join(value) if isinstance(value, list) else str(value)
