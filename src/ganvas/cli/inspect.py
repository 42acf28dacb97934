"""What is there: `runs`, `data`, and the `demo`."""

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
from ..data import View
from ..diagnostics import Diagnosis, examine, figures, is_early
from ..errors import UserError
from ..io.atomic import refuse_existing, shortened, unused
from ..io.text import printable
from ..models import model_from
from ..training import run_folder
from ..training.progress import Bar
from ..viz.images import Examples, save_pictures
from . import demo_page
from .app import tell
from .common import VIEW, Flat, Force, Json, RunName, SourceName

SIZES = 10
"""sizes of images that are told apart, at most"""
WIDE = 70
"""characters of a column, at most"""


def runs(
    *, out: Annotated[Path, Parameter(help="where the run folders are")] = Path("runs"), json: Json = False
) -> None:
    """List the runs, oldest first."""
    there = run_folder.all_runs(out)
    listed = [run_folder.summary(folder) for folder in there]
    for folder, line in zip(there, listed, strict=True):
        if "error" not in line:
            Bar().notes(run_folder.unread(folder))
    if json:
        tell("", listed, True)
        return
    if not listed:
        Bar().say(f"no runs in {out} yet: ganvas train vae emoji")
        return
    table = Table("run", "model", "data", "step", "seconds", "last losses", box=None)
    for line in listed:
        if "error" in line:
            table.add_row(Text(printable(line["run"])), Text(printable(line["error"])))
            continue
        losses = "  ".join(f"{name} {value:.4g}" for name, value in line["losses"].items())
        step = f"{line['step']}/{line['steps']}" + (" (ended)" if line["ended"] else "")
        cells = line["run"], line["model"], line["data"], step, f"{line['seconds']:.0f}", losses
        table.add_row(*(Text(printable(cell)) for cell in cells))
    console = Console()
    Console(width=console.width if console.is_terminal else 1000).print(table)


def doctor(run: RunName, /, *, json: Json = False) -> None:
    """Say what is wrong with a run, from its log: evidence, limit, remedies, and where to read about it."""
    folder = run_folder.find(run)
    config, lines = run_folder.read_config(folder), run_folder.read_log(folder)
    Bar().notes(run_folder.unread(folder))
    if not lines:
        raise UserError(f"{folder} has no {run_folder.LOG} yet: let it train, or go on with it: ganvas resume {folder}")
    steps = run_folder.last_step(config)
    found = examine(model_from(config["model"], config["fields"]), steps, lines)
    seen = figures(lines)
    report = {
        "run": str(folder), "step": lines[-1]["step"], "steps": steps,
        "diagnoses": [diagnosis.plain() for diagnosis in found], "figures": seen,
    }  # fmt: skip
    tell([*(line for one in found for line in in_full(one)), summed_up(report, found)], report, json)


def in_full(diagnosis: Diagnosis) -> list[str]:
    """A diagnosis for people: each of its parts on a line."""
    head = diagnosis.name if diagnosis.alarm else f"{diagnosis.name} (no alarm)"
    rows = {"evidence": diagnosis.evidence, "remedies": ", ".join(diagnosis.remedies), "more": diagnosis.page}
    return [head, *(f"  {name:<9} {text}" for name, text in rows.items())]


def summed_up(report: dict[str, Any], found: list[Diagnosis]) -> str:
    """How far the run is, and the figures that were looked at."""
    looked = ", ".join(f"{name} {value:.4g}" for name, value in report["figures"].items())
    early = is_early(report["step"], report["steps"])
    verdict = "too early to tell: " if early else "" if found else "nothing found: "
    return f"{verdict}step {report['step']} of {report['steps']}; {looked or 'no figures'}"


def data(
    source: SourceName,
    other: Annotated[
        str | None, Parameter(help="a second one, to see whether a translator can learn from both")
    ] = None,
    /,
    *,
    view: Annotated[View, Flat] = VIEW,
    out: Annotated[Path | None, Parameter(help="the contact sheet; a scatter plot for vectors")] = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Report on a data source, or on two side by side, with a contact sheet."""
    sources = data_sources.apart(source) if other is None else (source, other)
    with Bar().reading() as progress:
        looked = [looked_at(each, view, progress) for each in (sources if isinstance(sources, tuple) else (sources,))]
    parts = [part for part, _ in looked]
    found = data_sources.paired(parts) if len(parts) > 1 else parts[0]
    sheet = unused(beside(source) / f"{shortened(found.name)}-contact-sheet.png") if out is None else out
    refuse_existing(sheet, force)
    many = 100 if found.are_images else 5000
    save_pictures([Examples(part.x[spread(len(part), many)]) for part in found.parts], sheet)
    reports = [described(part) | mixed for part, mixed in looked]
    if isinstance(found, data_sources.Pair):
        warned = data_sources.warnings(found)
        both = {"A": reports[0], "B": reports[1], "warnings": warned, "contact sheet": str(sheet)}
        tell([*side_by_side(*reports), *warned, f"contact sheet  {sheet}"], both, json)
        return
    report = reports[0] | {"contact sheet": str(sheet)}
    tell([f"{key:<14} {in_words(value)}" for key, value in report.items() if value], report, json)


def looked_at(
    source: data_sources.Source, view: View, progress: data_sources.Progress
) -> tuple[data_sources.Collection, dict[str, Any]]:
    """A collection, and where its images have several sizes how many have which, and which channels."""
    try:
        return data_sources.load(source, view, progress=progress), {}
    except data_sources.MixedSizes as mixed:
        found = data_sources.load(source, replace(view, size=mixed.size), progress=progress)
        sizes = dict(list(mixed.sizes.items())[:SIZES])
        if rest := len(mixed.sizes) - len(sizes):
            sizes[f"of {rest} other sizes"] = sum(mixed.sizes.values()) - sum(sizes.values())
        note = f"images of {len(mixed.sizes)} sizes: to train, ask for one, as this report did with --size {mixed.size}"
        return replace(found, notes=(note, *found.notes)), {"sizes": sizes, "channels": mixed.channels}


def side_by_side(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """The facts of two collections, in columns."""

    def cut(word: str) -> str:
        return word if len(word) < WIDE else f"{word[: WIDE - 4]} ..."

    facts = [
        (key, cut(in_words(a.get(key, ""))), cut(in_words(b.get(key, "")))) for key in a | b if a.get(key) or b.get(key)
    ]
    rows = [("", "A", "B"), *facts]
    width = max(len(first) for _, first, _ in rows) + 2
    return [f"{key:<14} {first:<{width}}{second}".rstrip() for key, first, second in rows]


def described(collection: data_sources.Collection) -> dict[str, Any]:
    """The facts of a collection."""
    x = collection.x
    kind = "images, bytes" if collection.are_images else "vectors, float32"
    axes = (0, 2, 3) if collection.are_images else (0,)
    mean = torch.zeros(x.shape[1], dtype=torch.float64)
    for part in data_sources.chunks(x):
        mean += part.sum(axes, dtype=torch.float64) / (x.numel() / x.shape[1])
    return {
        "name": collection.name,
        "examples": len(collection),
        "kind": kind,
        "shape": " x ".join(map(str, collection.shape)) + (" (c x h x w)" if collection.are_images else ""),
        "range": f"{x.min().item():g} to {x.max().item():g}",
        "mean": ", ".join(f"{value:.4g}" for value in mean[:8].tolist()),
        "classes": data_sources.counts(collection),
        "notes": list(collection.notes),
        "fingerprint": collection.fingerprint(),
    }


def beside(source: str) -> Path:
    """The current folder, or one for temporary files where that is part of the data: a sheet is no data."""
    inside = Path(source).is_dir() and Path(source).resolve() in [Path.cwd(), *Path.cwd().parents]
    return Path(gettempdir()) if inside else Path()


def in_words(value: Any) -> str:
    """A value of the report, for people."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {count}" for name, count in value.items())
    return "; ".join(value) if isinstance(value, list) else str(value)


def demo(
    *,
    out: Annotated[Path, Parameter(help="where the demo's folder is made")] = Path("runs"),
    length: Annotated[float, Parameter(help="multiplies the steps of training; 0.1 for a quick look")] = 1.0,
    quiet: bool = False,
) -> None:
    """Train an autoencoder, a VAE and a GAN on 147 smileys, then compare what they generate on one page."""
    tell([str(demo_page.demo(out, length, quiet=quiet))], {}, False)


def spread(n: int, most: int) -> list[int]:
    """At most so many indices, evenly spread over n."""
    return [i * n // min(n, most) for i in range(min(n, most))]
