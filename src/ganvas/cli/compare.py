"""`ganvas compare`: several runs in one table, on the terminal or as a page."""

from html import escape
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..data import View, names_in
from ..errors import UserError
from ..evaluation import N
from ..evaluation.compare import Opened, opened
from ..evaluation.compare import compare as measure
from ..evaluation.comparing import BETTER, COMPARED
from ..io.atomic import refuse_existing, written
from ..io.text import printable
from ..metrics.features import NAMES
from ..training.progress import Bar
from ..viz import html as page
from ..viz.images import Examples
from .app import tell
from .common import VIEW, Flat, Force, Json
from .evaluate import NO_TEST

Cell = tuple[str, str, bool]
"""a number, its interval, and whether it is the best of its column"""
ARROWS = {-1: " ↓", 0: "", 1: " ↑"}
TITLES = {"fid": "FID", "kid": "KID", "sliced_wasserstein": "sliced Wasserstein", "reverse_kl": "reverse KL"}
SHOWN = 36
"""samples of each run on the page"""
LONG, HIGH = 92, 12
"""size of a cell's drawing of the interval, in pixels"""


def compare(
    *runs: Annotated[str, Parameter(help="two runs or more; RUN@best draws codes from a fitted prior")],
    data: Annotated[
        str | None, Parameter(help="held-out examples; by default the test split that all runs have")
    ] = None,
    metrics: Annotated[tuple[str, ...], Parameter(negative=(), help="only these: " + ", ".join(COMPARED))] = (),
    n: Annotated[int, Parameter(alias="-n", help="how many samples of each, and held-out examples")] = N,
    features: Annotated[str, Parameter(help="on which samples are compared: " + ", ".join(("auto", *NAMES)))] = "auto",
    few: Annotated[bool, Parameter(negative=(), help="a Frechet distance even of fewer samples than features")] = False,
    seed: Annotated[int, Parameter(help="of the samples")] = 0,
    view: Annotated[View, Flat] = VIEW,
    html: Annotated[Path | None, Parameter(help="write a page with the table and samples of each run")] = None,
    force: Force = False,
    quiet: Annotated[bool, Parameter(negative=(), help="show no progress")] = False,
    json: Json = False,
) -> None:
    """Compare runs of any kind by their samples: same held-out examples, as many samples, 95% intervals."""
    if data is None and view != VIEW:
        raise UserError("options of data need --data, without which the runs' own are taken")
    if html is not None:
        refuse_existing(html, force)
    bar, entries = Bar(quiet), opened(runs)
    found = measure(
        *((e.trained, e.prior) for e in entries), data=data, view=view if data else None, metrics=names_in(metrics),
        n=n, features=features, few=few, seed=seed, progress=bar.say,
    )  # fmt: skip
    if found["split"] == "train":
        bar.notes([NO_TEST])
    if json:
        tell("", found | ({} if html is None else {"html": str(html)}), True)
    else:
        tell(lines(found), found, False)
        show(found)
        tell(notes(found), found, False)
    if html is not None:  # last: the numbers are told even where no page can be written
        with written(html) as temporary:
            temporary.write_text(document(found, entries), encoding="utf-8")
        if not json:
            tell([str(html)], found, False)


def lines(v: dict[str, Any]) -> list[str]:
    """What was compared, and how."""
    of = {"test": "test", "train": "training"}.get(v["split"], "given")
    return [
        f"{len(v['runs'])} runs, {v['samples']} samples each against as many {of} examples of {v['data']}, "
        f"seed {v['seed']}",
        f"features {v['features']}: {v['protocol']}",
    ]


def notes(v: dict[str, Any]) -> list[str]:
    """How the table is to be read."""
    floor = {"train": "as many training examples", "halves": "the other half of the data"}[v["floor_from"]]
    return [
        f"below each number its {v['level']:.0%} interval, from {v['resamples']} resamples; floor: {floor} in place of "
        "samples",
        "*: better than every other run, for the interval of the difference on the same resamples excludes 0: these "
        "weights are, which says nothing of runs of other seeds",
        *(f"{name} left out: {why}" for name, why in v["left_out"].items()),
    ]


def columns(v: dict[str, Any]) -> dict[str, list[Cell]]:
    """The numbers by column, a cell a run and last the floor's."""
    names = dict.fromkeys(name for side in [*(r["numbers"] for r in v["runs"]), v["floor"]] for name in side)
    found = {}
    for name in names:
        short = name.split(":")[0]
        sides = [run["numbers"].get(name) for run in v["runs"]] + [v["floor"].get(name)]
        cells = [cell(side, v["best"].get(name) == i) for i, side in enumerate(sides)]
        found[TITLES.get(short, short.replace("_", " ")) + ARROWS[BETTER[short]]] = cells
    return found


def cell(number: dict[str, Any] | None, best: bool) -> Cell:
    """A number and its interval, for people."""
    if number is None or number["value"] is None:
        return ("none", "", False)
    between = "" if number["low"] is None else f"{told(number['low'])}–{told(number['high'])}"
    return (told(number["value"]), between.replace("–-", "– -"), best)


def told(x: float) -> str:
    """Three digits, or all of a whole number; no powers of ten, where they can be helped."""
    return f"{x:.0f}" if abs(x) >= 1000 or float(x).is_integer() else f"{x:.3g}"


def about(run: dict[str, Any]) -> dict[str, str]:
    """The columns that say what a run is and what it costs."""
    seconds = run["seconds"]
    return {
        "model": run["model"], "parameters": f"{run['parameters']:,}",
        "step": "" if run["step"] is None else f"{run['step']:,}",
        "training": "" if seconds is None else page.minutes(seconds),
    }  # fmt: skip


def show(v: dict[str, Any]) -> None:
    """The table, in as many parts below each other as the terminal is narrow."""
    console = Console(highlight=False)
    width = console.width if console.is_terminal else 1000
    costs = [about(run) for run in v["runs"]]
    plain = {name: [(cost[name], "", False) for cost in costs] + [("", "", False)] for name in costs[0]}
    names = [printable(run["run"]) for run in v["runs"]] + ["floor"]
    room = max(width - max(map(len, names)) - 2, 1)
    parts: list[dict[str, list[Cell]]] = [{}]
    used = 0
    for name, cells in (plain | columns(v)).items():
        needs = max(len(name), *(len(text) + 2 * best for a, b, best in cells for text in (a, b))) + 2
        if used + needs > room and parts[-1]:
            parts.append({})
            used = 0
        parts[-1][name] = cells
        used += needs
    for part in parts:
        table = Table("run", *part, box=None, pad_edge=False)
        for i, name in enumerate(names):
            row = [Text(name), *(shown(cells[i]) for cells in part.values())]
            table.add_row(*row, style="dim" if name == "floor" else "")
        Console(width=width, highlight=False).print(table)


def shown(c: Cell) -> Text:
    """A cell on the terminal."""
    value, between, best = c
    return Text.assemble((f"{value} *" if best else value, "bold" if best else ""), ("\n" + between, "dim"))


def document(v: dict[str, Any], entries: list[Opened]) -> str:
    """The page: the table with drawings of the intervals, and samples of each run."""
    head, *how = lines(v)
    pictures = [
        page.figure(
            Examples(e.trained.sample(SHOWN, seed=v["seed"], prior=e.prior).x, 6), e.name,
            text=f"{about(run)['parameters']} parameters, {about(run)['training'] or 'time unknown'}",
        ) for e, run in zip(entries, v["runs"], strict=True)
    ]  # fmt: skip
    said = "".join(f'<p class="caption">{escape(line)}</p>' for line in (*how, *notes(v)))
    parts = [
        page.lead("Comparison", f"{head}."), table_of(v) + said,
        page.section("Samples, the first of each run", page.row(pictures)),
    ]  # fmt: skip
    return page.document("Ganvas: comparison", parts)


def table_of(v: dict[str, Any]) -> str:
    """The table in HTML: a row a number and a column a run, so that it needs no wide screen."""
    runs = v["runs"]
    names = [run["run"] for run in runs] + ["floor"]
    rows = ["<tr>" + "".join(f"<th>{escape(name)}</th>" for name in ["", *names]) + "</tr>"]
    costs = [about(run) for run in runs]
    said = {name: "".join(f"<td>{escape(cost[name])}</td>" for cost in costs) for name in costs[0]}
    rows += [f"<tr><td>{name}</td>{cells}<td></td></tr>" for name, cells in said.items()]
    keys = dict.fromkeys(name for side in [*(r["numbers"] for r in runs), v["floor"]] for name in side)
    for (title, cells), key in zip(columns(v).items(), keys, strict=True):
        sides = [run["numbers"].get(key) for run in runs] + [v["floor"].get(key)]
        low, high = limits(sides)
        drawn = (
            f"<td>{f'<b>{a} *</b>' if best else a}<small>{b or '&nbsp;'}</small>{whisker(side, low, high)}</td>"
            for (a, b, best), side in zip(cells, sides, strict=True)
        )
        rows.append(f'<tr title="{escape(key)}"><td>{escape(title)}</td>' + "".join(drawn) + "</tr>")
    style = "td small { display: block; color: var(--soft); white-space: nowrap; } td svg { display: inline-block; }"
    style += " td:first-child { white-space: nowrap; }"
    return f"<style>{style}</style>" + '<div class="scroll"><table>\n' + "\n".join(rows) + "\n</table></div>"


def limits(sides: list[dict[str, Any] | None]) -> tuple[float, float]:
    """What the drawings of a row span: all values and intervals."""
    found = [x for side in sides if side for x in side.values() if x is not None] or [0.0]
    return min(found), max(found)


def whisker(side: dict[str, Any] | None, low: float, high: float) -> str:
    """A dot at a value, on a line from one end of its interval to the other."""
    if side is None or side["value"] is None:
        return ""

    def at(x: float) -> float:
        return 4 + (x - low) / ((high - low) or 1.0) * (LONG - 8)

    ends = (side["value"] if side[end] is None else side[end] for end in ("low", "high"))
    a, b = map(at, ends)
    return (
        f'<svg width="{LONG}" height="{HIGH}" viewBox="0 0 {LONG} {HIGH}" aria-hidden="true">'
        f'<line x1="4" x2="{LONG - 4}" y1="6" y2="6" stroke="var(--line)"/>'
        f'<line x1="{a:.1f}" x2="{b:.1f}" y1="6" y2="6" stroke="{page.COLOURS[0]}" stroke-width="3" '
        f'stroke-opacity=".45"/><circle cx="{at(side["value"]):.1f}" cy="6" r="3" fill="{page.COLOURS[0]}"/></svg>'
    )
