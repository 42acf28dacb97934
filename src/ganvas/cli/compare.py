"""`ganvas compare`: several runs in one table, on the terminal or as a page."""

from html import escape
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..data import DataOptions, split_names
from ..errors import UserError
from ..evaluation.compare import COMPARABLE_METRICS, ComparedRun, load_runs
from ..evaluation.compare import compare as measure
from ..evaluation.samples import DEFAULT_SAMPLES
from ..io.atomic import atomic_write, refuse_existing
from ..io.text import escape_text
from ..metrics import NUMBERS
from ..metrics.features import FEATURE_NAMES
from ..training.progress import ProgressBar
from ..viz import html as page
from ..viz.images import Examples
from .app import print_result
from .common import DEFAULT_DATA_OPTIONS, FLATTEN, Force, Json
from .evaluate import NO_TEST_SPLIT_NOTE

Cell = tuple[str, str, bool]
"""a number, its interval, and whether it is the best of its column"""
ARROWS = {False: " ↓", None: "", True: " ↑"}
TITLES = {"fid": "FID", "kid": "KID", "sliced_wasserstein": "sliced Wasserstein", "reverse_kl": "reverse KL"}
SAMPLES_PER_RUN = 36
"""samples of each run on the page"""
WHISKER_WIDTH, WHISKER_HEIGHT = 92, 12
"""size of a cell's drawing of the interval, in pixels"""


def compare(
    *runs: Annotated[str, Parameter(help="two runs or more; RUN@best draws codes from a fitted prior")],
    data: Annotated[
        str | None, Parameter(help="held-out examples; by default the test split that all runs have")
    ] = None,
    metrics: Annotated[
        tuple[str, ...], Parameter(negative=(), help="only these: " + ", ".join(COMPARABLE_METRICS))
    ] = (),
    n: Annotated[int, Parameter(alias="-n", help="how many samples of each, and held-out examples")] = DEFAULT_SAMPLES,
    features: Annotated[
        str, Parameter(help="what samples are compared on: " + ", ".join(("auto", *FEATURE_NAMES)))
    ] = "auto",
    allow_few: Annotated[bool, Parameter(negative=(), help="report FID even with fewer samples than features")] = False,
    seed: Annotated[int, Parameter(help="seed of the samples")] = 0,
    options: Annotated[DataOptions, FLATTEN] = DEFAULT_DATA_OPTIONS,
    html: Annotated[Path | None, Parameter(help="write a page with the table and samples of each run")] = None,
    force: Force = False,
    quiet: Annotated[bool, Parameter(negative=(), help="show no progress")] = False,
    json: Json = False,
) -> None:
    """Compare runs of any kind by their samples: same held-out examples, as many samples, 95% intervals."""
    if data is None and options != DEFAULT_DATA_OPTIONS:
        raise UserError("options of data need --data, without which the runs' own are taken")
    if html is not None:
        refuse_existing(html, force)
    bar, entries = ProgressBar(quiet), load_runs(runs)
    result = measure(
        *((e.trained, e.prior) for e in entries), data=data, options=options if data else None,
        metrics=split_names(metrics),
        n=n, features=features, allow_few=allow_few, seed=seed, progress=bar.say,
    )  # fmt: skip
    if result["split"] == "train":
        bar.print_notes([NO_TEST_SPLIT_NOTE])
    if json:
        print_result("", result | ({} if html is None else {"html": str(html)}), True)
    else:
        print_result(summary_lines(result), result, False)
        print_table(result)
        print_result(notes(result), result, False)
    if html is not None:  # last: the numbers are told even where no page can be written
        with atomic_write(html) as temporary:
            temporary.write_text(build_page(result, entries), encoding="utf-8")
        if not json:
            print_result([str(html)], result, False)


def summary_lines(result: dict[str, Any]) -> list[str]:
    """What was compared, and how."""
    split_name = {"test": "test", "train": "training"}.get(result["split"], "given")
    return [
        f"{len(result['runs'])} runs, {result['samples']} samples each against as many {split_name} examples of "
        f"{result['data']}, "
        f"seed {result['seed']}",
        f"features {result['features']}: {result['protocol']}",
    ]


def notes(result: dict[str, Any]) -> list[str]:
    """How the table is to be read."""
    floor = {"train": "as many training examples", "halves": "the other half of the data"}[result["floor_source"]]
    return [
        f"below each number its {result['level']:.0%} interval, from {result['resamples']} resamples; floor: "
        f"{floor} in place of "
        "samples",
        "*: better than every other run, for the interval of the difference on the same resamples excludes 0: these "
        "weights are, which says nothing of runs of other seeds",
        *(f"{name} left out: {why}" for name, why in result["skip_reasons"].items()),
    ]


def columns(result: dict[str, Any]) -> dict[str, list[Cell]]:
    """The numbers by column, a cell a run and last the floor's."""
    names = dict.fromkeys(
        name for number in [*(r["numbers"] for r in result["runs"]), result["floor"]] for name in number
    )
    cells_by_title = {}
    for name in names:
        base_name = name.split(":")[0]
        numbers = [run["numbers"].get(name) for run in result["runs"]] + [result["floor"].get(name)]
        cells = [format_cell(side, result["best"].get(name) == i) for i, side in enumerate(numbers)]
        title = TITLES.get(base_name, base_name.replace("_", " "))
        cells_by_title[title + ARROWS[NUMBERS[base_name].higher_is_better]] = cells
    return cells_by_title


def format_cell(number: dict[str, Any] | None, best: bool) -> Cell:
    """A number and its interval, for people."""
    if number is None or number["value"] is None:
        return ("none", "", False)
    interval = "" if number["low"] is None else f"{format_number(number['low'])}–{format_number(number['high'])}"
    return (format_number(number["value"]), interval.replace("–-", "– -"), best)


def format_number(x: float) -> str:
    """Three digits, or all of a whole number; no powers of ten, where they can be helped."""
    return f"{x:.0f}" if abs(x) >= 1000 or float(x).is_integer() else f"{x:.3g}"


def describe_run(run: dict[str, Any]) -> dict[str, str]:
    """The columns that say what a run is and what it costs."""
    seconds = run["seconds"]
    return {
        "model": run["model"], "parameters": f"{run['parameters']:,}",
        "step": "" if run["step"] is None else f"{run['step']:,}",
        "training": "" if seconds is None else page.format_duration(seconds),
    }  # fmt: skip


def print_table(result: dict[str, Any]) -> None:
    """The table, in as many parts below each other as the terminal is narrow."""
    console = Console(highlight=False)
    width = console.width if console.is_terminal else 1000
    costs = [describe_run(run) for run in result["runs"]]
    cost_columns = {name: [(cost[name], "", False) for cost in costs] + [("", "", False)] for name in costs[0]}
    names = [escape_text(run["run"]) for run in result["runs"]] + ["floor"]
    available_width = max(width - max(map(len, names)) - 2, 1)
    parts: list[dict[str, list[Cell]]] = [{}]
    used_width = 0
    for name, cells in (cost_columns | columns(result)).items():
        cell_width = max(len(name), *(len(text) + 2 * best for a, b, best in cells for text in (a, b))) + 2
        if used_width + cell_width > available_width and parts[-1]:
            parts.append({})
            used_width = 0
        parts[-1][name] = cells
        used_width += cell_width
    for part in parts:
        table = Table("run", *part, box=None, pad_edge=False)
        for i, name in enumerate(names):
            row = [Text(name), *(style_cell(cells[i]) for cells in part.values())]
            table.add_row(*row, style="dim" if name == "floor" else "")
        Console(width=width, highlight=False).print(table)


def style_cell(cell: Cell) -> Text:
    """A cell on the terminal."""
    value, interval, best = cell
    return Text.assemble((f"{value} *" if best else value, "bold" if best else ""), ("\n" + interval, "dim"))


def build_page(result: dict[str, Any], entries: list[ComparedRun]) -> str:
    """The page: the table with drawings of the intervals, and samples of each run."""
    headline, *protocol_lines = summary_lines(result)
    pictures = [
        page.figure(
            Examples(e.trained.sample(SAMPLES_PER_RUN, seed=result["seed"], fitted_prior=e.prior).x, 6), e.name,
            text=f"{describe_run(run)['parameters']} parameters, {describe_run(run)['training'] or 'time unknown'}",
        ) for e, run in zip(entries, result["runs"], strict=True)
    ]  # fmt: skip
    captions = "".join(f'<p class="caption">{escape(line)}</p>' for line in (*protocol_lines, *notes(result)))
    parts = [
        page.lead("Comparison", f"{headline}."), html_table(result) + captions,
        page.section("Samples, the first of each run", page.row(pictures)),
    ]  # fmt: skip
    return page.document("Ganvas: comparison", parts)


def html_table(result: dict[str, Any]) -> str:
    """The table in HTML: a row a number and a column a run, so that it needs no wide screen."""
    runs = result["runs"]
    names = [run["run"] for run in runs] + ["floor"]
    rows = ["<tr>" + "".join(f"<th>{escape(name)}</th>" for name in ["", *names]) + "</tr>"]
    costs = [describe_run(run) for run in runs]
    cost_cells = {name: "".join(f"<td>{escape(cost[name])}</td>" for cost in costs) for name in costs[0]}
    rows += [f"<tr><td>{name}</td>{cells}<td></td></tr>" for name, cells in cost_cells.items()]
    keys = dict.fromkeys(name for number in [*(r["numbers"] for r in runs), result["floor"]] for name in number)
    for (title, cells), key in zip(columns(result).items(), keys, strict=True):
        numbers = [run["numbers"].get(key) for run in runs] + [result["floor"].get(key)]
        low, high = limits(numbers)
        drawings = (
            f"<td>{f'<b>{a} *</b>' if best else a}<small>{b or '&nbsp;'}</small>{whisker(side, low, high)}</td>"
            for (a, b, best), side in zip(cells, numbers, strict=True)
        )
        rows.append(f'<tr title="{escape(key)}"><td>{escape(title)}</td>' + "".join(drawings) + "</tr>")
    style = "td small { display: block; color: var(--soft); white-space: nowrap; } td svg { display: inline-block; }"
    style += " td:first-child { white-space: nowrap; }"
    return f"<style>{style}</style>" + '<div class="scroll"><table>\n' + "\n".join(rows) + "\n</table></div>"


def limits(numbers: list[dict[str, Any] | None]) -> tuple[float, float]:
    """What the drawings of a row span: all values and intervals."""
    values = [x for number in numbers if number for x in number.values() if x is not None] or [0.0]
    return min(values), max(values)


def whisker(number: dict[str, Any] | None, low: float, high: float) -> str:
    """A dot at a value, on a line from one end of its interval to the other."""
    if number is None or number["value"] is None:
        return ""

    def at(x: float) -> float:
        return 4 + (x - low) / ((high - low) or 1.0) * (WHISKER_WIDTH - 8)

    ends = (number["value"] if number[end] is None else number[end] for end in ("low", "high"))
    a, b = map(at, ends)
    return (
        f'<svg width="{WHISKER_WIDTH}" height="{WHISKER_HEIGHT}" viewBox="0 0 {WHISKER_WIDTH} {WHISKER_HEIGHT}" '
        'aria-hidden="true">'
        f'<line x1="4" x2="{WHISKER_WIDTH - 4}" y1="6" y2="6" stroke="var(--line)"/>'
        f'<line x1="{a:.1f}" x2="{b:.1f}" y1="6" y2="6" stroke="{page.COLOURS[0]}" stroke-width="3" '
        f'stroke-opacity=".45"/><circle cx="{at(number["value"]):.1f}" cy="6" r="3" fill="{page.COLOURS[0]}"/></svg>'
    )
