"""`ganvas report`: one page on a run, or on several side by side."""

from pathlib import Path
from shlex import quote
from typing import Annotated

from cyclopts import Parameter

from .. import evaluation
from ..errors import UserError
from ..evaluation.samples import MetricValues
from ..evaluation.tables.page import page_values
from ..evaluation.tables.report import report_lines
from ..evaluation.tables.run import evaluate_run
from ..evaluation.tables.verdict import judge
from ..io.atomic import refuse_existing, unused_path
from ..io.run_folder import REPORT_FILE, RunFolder
from ..training import run_records
from ..training.progress import ProgressBar
from ..training.report import write_report
from .app import print_result
from .common import FLAG, Force, Json, Quiet, load_run
from .evaluate import model_lines, translator_lines

RUNS_HELP = "run folders, names in runs/, groups of runs, or: last"
OUT_HELP = f"the page; by default {REPORT_FILE} in the run's folder, for several runs here"
VERDICT_ROWS = 5000
"""real rows of either kind, and synthetic ones, by which a run is judged as it ends, at most"""
EVALUATE_HELP = "measure the runs on held-out examples first, each number beside its floor, as `ganvas evaluate` does"


def report(
    *runs: Annotated[str, Parameter(help=RUNS_HELP)],
    out: Annotated[Path | None, Parameter(help=OUT_HELP)] = None,
    evaluate: Annotated[bool, FLAG, Parameter(help=EVALUATE_HELP)] = False,
    force: Force = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Write one page on a run, or on several side by side: pictures, curves, numbers, diagnosis, options.

    All of it comes from the run folder. The page is one file, without script, and can be printed.
    """
    if not runs:
        raise UserError("name a run: ganvas report last")
    found = [folder for run in runs for folder in run_records.find_group(run) or [run_records.find_run(run)]]
    folders = list(dict.fromkeys(found))
    path = out or (RunFolder(folders[0]).report if len(folders) == 1 else unused_path(Path(REPORT_FILE)))
    if path.suffix.lower() != ".html":
        raise UserError(f"cannot write {path}: end its name in .html")
    if out is not None:  # a run's own page is written anew, as at its end
        refuse_existing(path, force)
    bar = ProgressBar(quiet)
    measured = {folder: measure(folder, bar) for folder in folders} if evaluate else {}
    lines = {folder: lines_of(values) for folder, values in measured.items()}
    tables = {folder: page_values(v["table"].evaluation) for folder, v in measured.items() if "table" in v}
    summaries = write_report(folders, path, lines, tables)
    print_result([str(path)], {"out": str(path), "runs": summaries}, json)


def measure(folder: Path, bar: ProgressBar) -> MetricValues:
    """The numbers of a run."""
    return evaluation.evaluate(load_run(str(folder)), progress=bar.say)


def write_verdict(folder: Path, bar: ProgressBar) -> None:
    """Write the page of a run of a table anew, with a verdict on its rows, and say it; or say why there is none."""
    try:
        e = evaluate_run(load_run(str(folder)), most=VERDICT_ROWS, progress=bar.say)
    except UserError as error:
        bar.print_notes([f"no verdict on its rows: {error}"])
        return
    verdict, values = judge(e), page_values(e)
    if max(e.rows.values()) == VERDICT_ROWS:
        command = f"ganvas report {quote(str(folder))} --evaluate"
        values["counts"] += f" No more than {VERDICT_ROWS:,} of each were looked at; all are by: {command}"
    write_report([folder], RunFolder(folder).report, {folder: report_lines(e, verdict)}, {folder: values})
    bar.print_notes([verdict.use, verdict.sharing])


def lines_of(values: MetricValues) -> list[str]:
    """The lines of `ganvas evaluate` of a run."""
    return translator_lines(values) if "cycle_statistics" in values else model_lines(values)
