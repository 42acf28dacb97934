"""What is there: `runs`, `doctor` and `data`."""

from dataclasses import replace
from pathlib import Path
from tempfile import gettempdir
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .. import data as data_sources
from ..data import (
    DataOptions,
    Dataset,
    DomainPair,
    MissingSplitError,
    MixedSizesError,
    Progress,
    Source,
    StreamedDataset,
)
from ..data.duplicates import Duplicates, find_duplicates
from ..data.report import Report, describe_dataset, describe_sizes, describe_stream
from ..data.tables.report import column_text, describe_table
from ..data.tables.table import Table as DataTable
from ..errors import UserError
from ..escape import escape_text
from ..io.atomic import refuse_existing, shorten, unused_path
from ..io.run_folder import LOG_FILE
from ..io.text import format_number
from ..training import run_records
from ..training.commands import diagnose
from ..training.progress import ProgressBar
from ..training.run_files import LOSSES, check_files, describe_files, files_to_dict
from ..viz.data_page import DataPart, contact_sheet, write_data_page, write_table_page
from ..viz.images import save_pictures
from .app import print_result
from .common import FLAG, RUN_HELP, DataFlags, Force, Json, SourceName
from .machine import check_machine

MAX_COLUMN_WIDTH, KEY_WIDTH = 70, 16
TEXTS = {"notes": "note", "advice": "advice"}
"""keys of a report that have sentences, and what each of them is called"""
OUT_HELP = "a page (.html), or the contact sheet (.png); a scatter plot for vectors; of a table a page"
MACHINE_HELP = "say in place of a run what this machine has, and whether runs can be computed and written here"
SOURCE_B_HELP = "a second source, to see whether a translator can learn from the two"


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


def doctor(
    run: Annotated[str | None, Parameter(help=RUN_HELP)] = None,
    /,
    *,
    machine: Annotated[bool, FLAG, Parameter(help=MACHINE_HELP)] = False,
    json: Json = False,
) -> int:
    """Say what is wrong with a run, or each of a group, by its log and files: evidence, remedies, where to read."""
    if machine == (run is not None):
        raise UserError("name a run, or give `machine` alone: ganvas doctor last, or ganvas doctor --machine")
    if run is None:
        report, problems = check_machine(Path("runs"))
        lines = [*(f"{name:<{KEY_WIDTH}} {text}" for name, text in report.items()), *problems]
        print_result(lines if problems else [*lines, "nothing found"], report | {"problems": problems}, json)
        return int(bool(problems))
    group = run_records.find_group(run)
    reports = [examine_run(folder) for folder in group or [run_records.find_run(run)]]
    lines = [line for lines, result, *_ in reports for line in [f"{result['run']}:"] * bool(group) + lines]
    if any(lines for lines, *_ in reports):
        print_result(lines, {"group": run, "runs": [r for _, r, *_ in reports]} if group else reports[0][1], json)
    for error in [error for *_, error in reports if error]:
        raise error
    return int(any(is_lossy for _, _, is_lossy, _ in reports))


def examine_run(folder: Path) -> tuple[list[str], dict[str, Any], bool, UserError | None]:
    """What is wrong with a run's training and files, in lines and for programs.

    Then whether files are damaged or missing, and why the log says nothing, if so.
    """
    files = check_files(folder) if folder.is_dir() else []
    about, result = describe_files(files), {"files": files_to_dict(files)}
    is_lossy = any(report.state in LOSSES for report in files)
    try:
        lines, diagnosis = diagnose_run(folder)
    except UserError as error:
        return about if is_lossy else [], {"run": str(folder), "error": str(error)} | result, is_lossy, error
    return [*about, *lines] if is_lossy else [*lines, *about], diagnosis | result, is_lossy, None


def diagnose_run(folder: Path) -> tuple[list[str], dict[str, Any]]:
    """What is wrong with a run's training, by its log; UserError where there is none."""
    config, log = run_records.read_config(folder), run_records.read_log(folder, ProgressBar().print_notes)
    if not log:
        raise UserError(f"{folder} has no {LOG_FILE} yet: let it train, or go on with it: ganvas resume {folder}")
    steps, step, lines = run_records.end_step(config), log[-1]["step"], []
    found, verdict, figures = diagnose(folder, config, log)
    for d in found:
        rows = {"evidence": d["evidence"], "remedies": ", ".join(d["remedies"]), "try": d["command"], "more": d["page"]}
        lines.append(d["name"] + " (no alarm)" * (not d["alarm"]))
        lines += [f"  {name:<9} {text}" for name, text in rows.items() if text]
    verdict = f"{verdict}: " if verdict else ""
    figures_text = ", ".join(f"{name} {format_number(value, 4)}" for name, value in figures.items()) or "no figures"
    result = {"run": str(folder), "step": step, "steps": steps, "diagnoses": found}
    return [*lines, f"{verdict}step {step} of {steps}; {figures_text}"], result | {"figures": figures}


def data(
    source: SourceName,
    source_b: Annotated[str | None, Parameter(help=SOURCE_B_HELP)] = None,
    /,
    *,
    options: DataFlags = DataOptions(),
    out: Annotated[Path | None, Parameter(help=OUT_HELP)] = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Report on a data source, or on two side by side: duplicates, advice, pictures.

    `--out report.html` is a page with all of it, and with pictures of duplicates; other names are of a contact sheet.
    """
    sources = data_sources.resolve_domains(source) if source_b is None else (source, source_b)
    domains = sources if isinstance(sources, tuple) else (sources,)
    with ProgressBar().track_images() as progress:
        loaded = [load_any_size(each, options, progress) for each in domains]
    parts = [dataset for dataset, _, _ in loaded]
    dataset = DomainPair(*parts) if len(parts) > 1 else parts[0]
    if isinstance(dataset, data_sources.Table):
        report_table(dataset, loaded[0][1], out, force, json)
        return
    is_inside_data = Path(source).is_dir() and Path(source).resolve() in [Path.cwd(), *Path.cwd().parents]
    folder = Path(gettempdir()) if is_inside_data else Path()  # a sheet is no data
    sheet = unused_path(folder / f"{shorten(dataset.name)}-contact-sheet.png") if out is None else out
    refuse_existing(sheet, force)
    is_page, reports, pages = sheet.suffix.lower() == ".html", list[Report](), list[DataPart]()
    if not is_page:
        save_pictures([contact_sheet(part) for part in parts], sheet)
    asked = {name: value for name in ("crop", "background") if (value := getattr(options, name))}
    for part, test, facts in loaded:
        found = find_duplicates(part, test)
        report = describe_dataset(part, found, test)
        advice = report["advice"] + facts.get("advice", []) if options.split == "train" else []  # tests teach none
        reports.append(report | asked | facts | {"advice": advice})
        pages.append(make_part(part, test, found, reports[-1]))
    warnings = data_sources.pair_warnings(dataset) if isinstance(dataset, DomainPair) else []
    if is_page:
        write_data_page(sheet, f"Data: {dataset.name}", [replace(p, advice=[*p.advice, *warnings]) for p in pages])
    where = {"page" if is_page else "contact sheet": str(sheet)}
    if isinstance(dataset, DomainPair):
        lines = format_columns(*({k: v for k, v in report.items() if k not in TEXTS} for report in reports))
        texts = [
            (f"{label} {side}", r[key]) for key, label in TEXTS.items() for side, r in zip("AB", reports, strict=True)
        ]
        lines += [f"{key:<{KEY_WIDTH}} {text}" for key, several in texts for text in several]
        result = {"A": reports[0], "B": reports[1], "warnings": warnings} | where
    else:
        lines, result = format_lines(reports[0]), reports[0] | where
    lines += [f"{key:<{KEY_WIDTH}} {text}" for key, text in [*(("warning", w) for w in warnings), *where.items()]]
    print_result(lines, result, json)


def report_table(table: data_sources.Table, test: Dataset | None, out: Path | None, force: bool, json: bool) -> None:
    """Say what is in a table, a line a column; the page with pictures only where it is asked for."""
    if out is not None and out.suffix.lower() != ".html":
        raise UserError(f"a table has no contact sheet: leave out --out {out}, or give a page, e.g. report.html")
    if out is not None:
        refuse_existing(out, force)
    report = describe_table(table, find_duplicates(table, test), test if isinstance(test, data_sources.Table) else None)
    named = {**report, "columns": len(report["columns"])}
    named["associations"] = [f"{a} and {b} {value:g}" for a, b, value in report["associations"]]
    facts = [(key, format_value(value)) for key, value in named.items() if value and key not in TEXTS]
    lines = [f"{key:<{KEY_WIDTH}} {text}" for key, text in facts]
    width = max(len(column["name"]) for column in report["columns"])
    lines += [
        f"{'column':<{KEY_WIDTH}} {column['name']:<{width}}  {column['kind']:<10}  {column_text(column)}"
        for column in report["columns"]
    ]
    lines += [f"{label:<{KEY_WIDTH}} {text}" for key, label in TEXTS.items() for text in report[key]]
    if out is not None:
        write_table_page(out, table, report, facts)
        lines.append(f"{'page':<{KEY_WIDTH}} {out}")
    print_result(lines, report | ({} if out is None else {"page": str(out)}), json)


def load_any_size(source: Source, options: DataOptions, progress: Progress) -> tuple[Dataset, Dataset | None, Report]:
    """A dataset, its test part if it has one that can be compared, and facts beyond those of what is in memory."""
    facts: Report = {}
    try:
        loaded = data_sources.load_or_stream(source, options, progress=progress)
    except MixedSizesError as mixed:
        options, facts = replace(options, size=mixed.size), describe_sizes(mixed)
        loaded = data_sources.load_or_stream(source, options, progress=progress)
        note = f"images of {len(mixed.sizes)} sizes: to train, ask for one, as this report did with --size {mixed.size}"
        loaded = replace(loaded, notes=(note, *loaded.notes))
    if isinstance(loaded, StreamedDataset):
        return loaded.in_memory, None, describe_stream(loaded) | facts
    test, note = load_test_part(source, options, loaded, progress)
    return loaded.with_notes([note] if note else []), test, facts


def load_test_part(
    source: Source, options: DataOptions, train: Dataset, progress: Progress
) -> tuple[Dataset | None, str]:
    """The test part of a source whose train part was read, or None, with a note where it cannot be compared."""
    if options.split == "test":
        return None, ""
    try:
        test = data_sources.load_or_stream(source, replace(options, split="test"), progress=progress)
    except MissingSplitError:
        return None, ""
    except UserError as error:
        return None, f"the test part was not looked at for duplicates: {error}"
    if isinstance(test, DataTable) and isinstance(train, DataTable) and test.columns == train.columns:
        return test, ""  # whose entries, and so the shape that models see, are its own
    if isinstance(test, StreamedDataset) or (test.shape, test.is_deep) != (train.shape, train.is_deep):
        return None, "the test part, of another shape or kind, was not looked at for duplicates"
    return test, ""


def make_part(part: Dataset, test: Dataset | None, found: Duplicates, report: Report) -> DataPart:
    """What the page shows of a dataset: facts in a table, advice and notes in lists."""
    facts = [(key, format_value(value)) for key, value in report.items() if value and key not in TEXTS]
    return DataPart(part, found, facts, report["advice"], report["notes"], test)


def format_lines(report: Report) -> list[str]:
    """The facts of a dataset, a line each, and one for each note and each piece of advice."""
    facts = [f"{key:<{KEY_WIDTH}} {format_value(value)}" for key, value in report.items() if value and key not in TEXTS]
    return facts + [f"{label:<{KEY_WIDTH}} {text}" for key, label in TEXTS.items() for text in report[key]]


def format_columns(*reports: Report) -> list[str]:
    """The facts of two datasets, in columns."""
    rows = [("", "A", "B")]
    for key in reports[0] | reports[1]:
        texts = [format_value(report.get(key, "")) for report in reports]
        a, b = (t if len(t) < MAX_COLUMN_WIDTH else f"{t[: MAX_COLUMN_WIDTH - 4]} ..." for t in texts)
        rows += [(key, a, b)] if a or b else []
    width = max(len(first) for _, first, _ in rows) + 2
    return [f"{key:<{KEY_WIDTH}} {first:<{width}}{second}".rstrip() for key, first, second in rows]


def format_value(value: Any) -> str:
    """A value of the report, for people."""
    if isinstance(value, dict) and "count" in value:
        shown = [" and ".join(map(str, item)) if isinstance(item, list) else str(item) for item in value["first"]]
        more = "; ..." if value["count"] > len(shown) else ""
        return f"{value['count']}" + (f" ({'; '.join(shown)}{more})" if shown else "")
    if isinstance(value, dict):
        return ", ".join(f"{name}: {count}" for name, count in value.items())
    return "; ".join(value) if isinstance(value, list) else str(value)
