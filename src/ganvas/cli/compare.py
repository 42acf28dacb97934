"""`ganvas compare`: several runs in one table, on the terminal or as a page."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..data.options import split_names
from ..escape import escape_text
from ..evaluation import compare as comparison
from ..inference.sampling import sample_examples
from ..io.atomic import refuse_existing
from ..io.text import format_duration, format_number
from ..metrics import NUMBERS
from ..training.progress import ProgressBar
from ..viz.curves import metric_title
from ..viz.html import write_page
from .app import print_result, spell_options
from .common import Force, Given, HeldOutFlags, HeldOutOptions, Json, Quiet, require_data
from .evaluate import NO_TEST_SPLIT_NOTE, AllowFew, Features, SampleSeed, split_word

DATA_HELP = "held-out examples; by default the test split that all runs have"
N_HELP = "how many samples of each run, and held-out examples; 10,000 by default"
METRICS_HELP = "compare only these: " + ", ".join(comparison.COMPARABLE_METRICS)
ARROWS = {False: " ↓", None: "", True: " ↑"}


class Cell(NamedTuple):
    """A number of a run and its interval as text, and where they are."""

    text: str = ""
    interval: str = ""
    best: bool = False
    value: float | None = None
    low: float | None = None
    high: float | None = None


class Column(NamedTuple):
    """A column of the table: a cell a run and last the floor's; of a metric its name, and what the cells span."""

    title: str
    cells: list[Cell]
    metric: str = ""
    span: tuple[float, float] = (0.0, 0.0)


def compare(
    *runs: Annotated[str, Parameter(help="two runs or more; RUN@best draws codes from a fitted prior")],
    data: Annotated[str | None, Parameter(help=DATA_HELP)] = None,
    metrics: Annotated[tuple[str, ...], Parameter(negative=(), help=METRICS_HELP)] = (),
    n: Annotated[int | None, Parameter(alias="-n", help=N_HELP)] = None,
    features: Features = "auto",
    allow_few: AllowFew = False,
    seed: SampleSeed = 0,
    options: HeldOutFlags = HeldOutOptions(),
    html: Annotated[Path | None, Parameter(help="write a page with the table and samples of each run")] = None,
    force: Force = False,
    quiet: Quiet = False,
    json: Json = False,
    given: Given = frozenset(),
) -> None:
    """Compare runs of any kind by as many samples of each, on the same held-out examples, with 95% intervals."""
    require_data(data, given, "--data, without which the runs' own are taken")
    if html is not None:
        refuse_existing(html, force)
    bar, entries = ProgressBar(quiet), comparison.load_runs(runs)
    result = comparison.compare(
        *((e.trained, e.prior) for e in entries), data=data, options=options if data else None, n=n, seed=seed,
        metrics=split_names(metrics), features=features, allow_few=allow_few, progress=bar.say,
    )  # fmt: skip
    if result["split"] == "train":
        bar.print_notes([NO_TEST_SPLIT_NOTE])
    print_result(summary_lines(result), result if html is None else result | {"html": str(html)}, json)
    if not json:
        print_table(result)
        print_result(notes(result), result, False)
    if html is not None:  # last: the numbers are printed even where no page can be written
        build_page(html, result, entries)
        if not json:
            print_result([str(html)], result, False)


def build_page(path: Path, result: dict[str, Any], entries: list[comparison.ComparedRun]) -> None:
    """Write the page: the table with drawings of the intervals, and samples of each run."""
    runs = []
    for entry, run in zip(entries, result["runs"], strict=True):
        samples = sample_examples(entry.trained, 36, seed=result["seed"], fitted_prior=entry.prior)
        duration = "time unknown" if run["seconds"] is None else format_duration(run["seconds"])
        text = f"{run['parameters']:,} parameters, {duration}"
        runs.append({"name": entry.name, "text": text, "samples": replace(samples, columns=6).render()})
    write_page(
        path, "compare.html", title="Ganvas: comparison", summary=summary_lines(result), notes=notes(result),
        names=[*(run["run"] for run in result["runs"]), "floor"], columns=columns(result), runs=runs,
    )  # fmt: skip


def summary_lines(result: dict[str, Any]) -> list[str]:
    """What was compared, and how."""
    against = f"as many {split_word(result)} examples of {result['data']}"
    return [
        f"{len(result['runs'])} runs, {result['samples']} samples each against {against}, seed {result['seed']}",
        f"features {result['features']}: {result['protocol']}",
    ]


def notes(result: dict[str, Any]) -> list[str]:
    """How the table is to be read."""
    floor = {"train": "as many training examples", "halves": "the other half of the data"}[result["floor_source"]]
    return [
        f"below each number is its {result['level']:.0%} interval, from {result['resamples']} resamples; floor: "
        f"{floor} in place of samples",
        "*: better than every other run: the interval of the difference, on the same resamples, excludes 0; this holds "
        "for these weights, and says nothing of runs with other seeds",
        *(f"{name} left out: {spell_options(why)}" for name, why in result["skip_reasons"].items()),
    ]


def columns(result: dict[str, Any]) -> list[Column]:
    """The table: what each run is and costs, then its numbers."""
    runs = result["runs"]
    costs = {
        "model": [run["model"] for run in runs], "parameters": [f"{run['parameters']:,}" for run in runs],
        "step": ["" if run["step"] is None else f"{run['step']:,}" for run in runs],
        "training": ["" if run["seconds"] is None else format_duration(run["seconds"]) for run in runs],
    }  # fmt: skip
    table = [Column(title, [*map(Cell, texts), Cell()]) for title, texts in costs.items()]
    sides = [*(run["numbers"] for run in runs), result["floor"]]
    for name in dict.fromkeys(name for side in sides for name in side):
        cells = [make_cell(side.get(name), result["best"].get(name) == i) for i, side in enumerate(sides)]
        base = name.split(":")[0]
        title = metric_title(base) + ARROWS[NUMBERS[base].higher_is_better]
        values = [x for cell in cells for x in cell[3:] if x is not None] or [0.0]
        table.append(Column(title, cells, name, (min(values), max(values))))
    return table


def make_cell(number: dict[str, Any] | None, best: bool) -> Cell:
    """A number and its interval, also as text."""
    if number is None or number["value"] is None:
        return Cell("none")
    value, low, high = (number[key] for key in ("value", "low", "high"))
    interval = "" if low is None else f"{format_number(low)}–{format_number(high)}".replace("–-", "– -")
    return Cell(format_number(value), interval, best, value, low, high)


def print_table(result: dict[str, Any]) -> None:
    """The table, a run a line, in as many parts below each other as the terminal is narrow."""
    console, wide = Console(highlight=False), Console(width=1000, highlight=False)
    console = console if console.is_terminal else wide
    names = [*(escape_text(run["run"]) for run in result["runs"]), "floor"]
    parts: list[list[Column]] = [[]]
    for column in columns(result):
        if parts[-1] and wide.measure(rich_table(names, [*parts[-1], column])).maximum > console.width:
            parts.append([])
        parts[-1].append(column)
    for part in parts:
        console.print(rich_table(names, part))


def rich_table(names: list[str], part: list[Column]) -> Table:
    """Columns of the table, the floor's line dim."""
    table = Table("run", *(column.title for column in part), box=None, pad_edge=False)
    for i, name in enumerate(names):
        cells = (column.cells[i] for column in part)
        texts = (Text.assemble((c.text + " *" * c.best, "bold" * c.best), (f"\n{c.interval}", "dim")) for c in cells)
        table.add_row(Text(name), *texts, style="dim" if i == len(names) - 1 else "")
    return table
