"""The page on a run, or on several side by side, from their folders alone: no network is loaded, but of tables.

What a file that is damaged or missing would have told is left out, and the page says so.
"""

from collections.abc import Callable, Mapping, Sequence
from inspect import getdoc
from pathlib import Path
from shlex import quote
from typing import Any, TypeVar

from ..config import TrainConfig
from ..errors import UserError, first_line
from ..fields import flag
from ..inference.schema import parse_model
from ..inference.table_part import describe_table
from ..io.run_folder import FILES, REPORT_FILE, RunFolder
from ..io.text import format_duration, format_number, format_size
from ..model import Model
from ..models import find_model_class
from ..models._own import format_shape
from ..viz.curves import compare_charts, metric_title, run_charts
from ..viz.html import embed_file, write_page
from ..viz.svg import svg_charts
from . import run_records
from .commands import diagnose, given_options, read_options, train_command
from .distributed import is_main
from .progress import ProgressBar
from .run_files import check_animation_length, check_picture

MAX_PREVIEWS, MAX_PICTURES, MAX_BYTES = 8, 6, 4_000_000
"""previews before the newest, other pictures, and bytes of them all together, that a page shows at most"""
NO_COMMAND = "# from Python: its data, networks or first weights are nothing that a command can name"
NO_ROWS: list[tuple[str, str]] = []
Value = TypeVar("Value")


def write_end_report(folder: Path, config: TrainConfig, bar: ProgressBar) -> None:
    """Write a run's page into its folder as it ends, by rank 0; where that fails, the run has ended well all the same.

    Whoever trains sees a note then.
    """
    if config.report == "off" or not is_main():
        return
    try:
        write_report([folder], RunFolder(folder).report)
    except Exception as error:
        bar.print_notes([f"no {REPORT_FILE} was written: {first_line(error)}"])


def write_report(
    folders: Sequence[Path],
    path: Path,
    evaluations: Mapping[Path, Sequence[str]] | None = None,
    tables: Mapping[Path, Mapping[str, Any]] | None = None,
) -> list[dict[str, Any]]:
    """Write the page on these runs, and return what it says of each, for programs.

    `evaluations` are lines of numbers by the folder of a run, `tables` what `verdict.html` shows of one whose model
    draws rows of a table.  UserError where a folder has no file of a run.
    """
    logs, runs = [], list[dict[str, Any]]()
    for folder in folders:
        log, run = describe_run(folder, (evaluations or {}).get(folder, ()))
        logs.append(log)
        runs.append(run | {"of_rows": (tables or {}).get(folder)})
    if len(runs) == 1:
        charts = svg_charts(run_charts(logs[0]) if logs[0] else [])
        title, lead = runs[0]["title"], f"{runs[0]['name']}. {runs[0]['state']}"
    else:
        names = unique([run["name"] for run in runs])
        charts = svg_charts(compare_charts(dict(zip(names, logs, strict=True))), names)
        title, lead = f"{len(runs)} runs", ", ".join(dict.fromkeys(run["title"] for run in runs))
    write_page(
        path, "runs.html", title=title, lead=lead, runs=runs, charts=charts,
        table=side_by_side([dict(run["facts"]) for run in runs]),
        options=differences(runs),
    )  # fmt: skip
    return [run["summary"] for run in runs]


def unique(names: Sequence[str]) -> list[str]:
    """The names, those that several runs have with a number."""
    return [name if names.count(name) == 1 else f"{name} ({i})" for i, name in enumerate(names, 1)]


def side_by_side(tables: Sequence[Mapping[str, str]]) -> list[tuple[str, list[str]]]:
    """The rows of several tables by their names."""
    names = dict.fromkeys(name for table in tables for name in table)
    return [(name, [table.get(name, "–") for table in tables]) for name in names]


def differences(runs: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """The options that differ between runs; of those that only some models have, what was given or chosen."""
    given = {name for run in runs for name, *_ in run["options"]}
    rows = side_by_side([run["values"] for run in runs])
    return [(name, texts) for name, texts in rows if len(set(texts)) > 1 and (name in given or "–" not in texts)]


def describe_run(folder: Path, evaluation: Sequence[str] = ()) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The log of a run, and what the page says of it."""
    files, problems = RunFolder(folder), list[str]()
    if not any((folder / name).exists() for name in FILES) and not files.previews():
        run_records.read_config(folder)  # raises the sentence

    def attempt(what: str, make: Callable[..., Value], *arguments: Any, otherwise: Value) -> Value:
        try:
            return make(*arguments)
        except UserError as error:
            problem = str(error)
        except (OSError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, SyntaxError) as error:
            problem = f"{what} could not be told: {first_line(error)}"
        problems.append(problem)
        return otherwise

    config = attempt("the configuration", run_records.read_config, folder, otherwise=dict[str, Any]())
    log = attempt("the log", run_records.read_log, folder, problems.extend, otherwise=list[dict[str, Any]]())
    step = max([line["step"] for line in log[-1:]] + [int(path.stem) for path in files.previews()[-1:]], default=0)
    name = folder.resolve().name
    run: dict[str, Any] = {"name": name, "typed": quote(str(folder)), "evaluation": list(evaluation)}
    run["title"] = attempt("the model", title_of, config, otherwise=name) if config else f"Run {name}"
    run["state"] = attempt("the state", state_of, folder, config, log, step, otherwise="")
    run["facts"] = attempt("the facts", facts_of, config, log, step, run["state"], otherwise=NO_ROWS)
    model = attempt("the model", parse_model, config, files.config, otherwise=None) if config else None
    run["table"] = attempt("rows of the table", describe_table, files, otherwise=None)
    if config and (table := run["table"]):
        rows, data = f"{config['data']['examples']:,} rows of {table['columns']} columns", config["data"]["name"]
        run["facts"] = [("data", f"{data}: {rows}") if name == "data" else (name, text) for name, text in run["facts"]]
    run["rows"] = "" if run["table"] else describe_rows(model, config)
    run |= attempt("the options", options_of, config, model, otherwise=dict[str, Any]()) if model else {}
    run |= attempt("the previews", pictures_of, files, problems, otherwise=dict[str, Any]())
    found = attempt("the diagnosis", diagnose, folder, config, log, otherwise=None) if model and log else None
    diagnoses, verdict, figures = found or ([], "there is nothing to look at", {})
    run |= {"diagnoses": diagnoses, "verdict": f"{verdict[:1].upper()}{verdict[1:]}."}
    run["files"] = attempt("the files", files_of, folder, otherwise=NO_ROWS)
    shown = ", ".join(f"{name} {format_number(v, 4)}" for name, v in figures.items() if ":" not in name)
    run["figures"] = [*samples_of(log), *([("last figures of the log", shown)] if shown else [])]
    command = attempt("the command", train_command, folder, config, otherwise=None) if model else None
    run |= {
        "command": command or NO_COMMAND,
        "environment": attempt("versions", environment_of, config, otherwise=NO_ROWS),
    }
    run["problems"] = list(dict.fromkeys(problems))
    run = {"preview": None, "earlier": [], "animation": "", "pictures": [], "options": [], "values": {}} | run
    summary = {"run": str(folder), "state": run["state"], "step": step, "problems": run["problems"]}
    run["summary"] = summary | {"diagnoses": diagnoses, "evaluation": list(evaluation)}
    return log, run


def title_of(config: dict[str, Any]) -> str:
    """What was trained on what."""
    cls = find_model_class(config["model"])
    return f"{cls.__name__ if cls else config['model']} on {config['data']['name']}"


def state_of(folder: Path, config: dict[str, Any], log: Sequence[dict[str, Any]], step: int) -> str:
    """How far a run is, in sentences."""
    if log and "diverged" in log[-1]:
        return f"Diverged at step {step}: {log[-1]['diverged']}."
    if not config:
        return f"At step {step}."
    steps, end = config["train_config"]["steps"], run_records.end_step(config)
    if step >= end:
        return f"Ended: all {steps} steps are done." if end == steps else f"Ended early, at step {end} of {steps}."
    return f"At step {step} of {steps}: stopped, or still under way. To go on: ganvas resume {quote(str(folder))}"


def facts_of(config: dict[str, Any], log: Sequence[dict[str, Any]], step: int, state: str) -> list[tuple[str, str]]:
    """The first table: data, state, time, and the best number."""
    rows = []
    if config:
        data, shapes = config["data"], config["data"]["shape"]
        counts = data["examples"] if isinstance(data["examples"], list) else [data["examples"]]
        shapes = shapes if isinstance(shapes[0], list) else [shapes]
        parts = [f"{n:,} examples of {format_shape(tuple(shape))}" for n, shape in zip(counts, shapes, strict=True)]
        rows = [("data", f"{data['name']}: {' and '.join(parts)}")]
        if classes := data["classes"]:
            rows.append(("classes", f"{len(classes)}: {', '.join(classes[:20])}{' …' * (len(classes) > 20)}"))
    rows += [("state", state), ("step", f"{step:,}")]
    if log:
        rows.append(("time of training", format_duration(log[-1]["seconds"])))
        losses = {k: v for k, v in run_records.losses_of(log[-1]).items() if isinstance(v, float)}
        rows += [("last losses", ", ".join(f"{k} {format_number(v, 4)}" for k, v in losses.items()))] if losses else []
    rows += [(f"best {name}", text) for name, text in samples_of(log)[:1]]
    if config:
        rows.append(("seed", str(config["train_config"].get("seed", 0))))
    return rows


def samples_of(log: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """The best of the measurements of samples in training, and the last one's share of copies."""
    lines = [line for line in log if "samples" in line]
    if not lines:
        return []
    last = lines[-1]["samples"]
    best = next((line["samples"] for line in lines if line["step"] == last["best_step"]), last)
    if best.get("value") is None:
        return []
    error = f" ± {format_number(best['error'], 2)}" if isinstance(best.get("error"), float) else ""
    text = f"{format_number(best['value'], 4)}{error} at step {last['best_step']:,}"
    text += f", the best of {len(lines)} measurements" if len(lines) > 1 else ""
    copies = last.get("memorised")
    rows = [(metric_title(last["metric"]), text)]
    return rows + ([("copies of examples", f"{copies:.1%} of the last samples")] if copies is not None else [])


def describe_rows(model: Model | None, config: dict[str, Any]) -> str:
    """What the rows of a preview are, as the model's own code says it."""
    text = ((model and getdoc(type(model).preview)) or "").partition("\n")[0]
    is_vector = bool(text) and isinstance(config["data"]["shape"], list) and len(config["data"]["shape"]) == 1
    return f"{text} Each is a plot." if is_vector else text


def options_of(config: dict[str, Any], model: Model) -> dict[str, Any]:
    """The options that were given or chosen, the others, and all of them by name."""
    values = {flag(name): spell(value) for name, value in read_options(config, model).items()}
    given = {flag(name) for name in given_options(config, model, takes_over=True)}
    chosen = {flag(name) for name in config.get("chosen", {})}
    rows = [(name, text, "" if name in given else "chosen for the data") for name, text in values.items()
            if name in given | chosen and name in values]  # fmt: skip
    for change in config.get("changes", []):
        differences = ((k, v) for k, v in change.items() if isinstance(v, list) and len(v) == 2)
        rows += [(flag(k), f"{spell(a)} → {spell(b)}", f"since step {change['step']}") for k, (a, b) in differences]
    defaults = [f"{name[2:]} {text}" for name, text in values.items() if name not in given | chosen]
    return {"options": rows, "defaults": defaults, "values": {"model": config["model"]} | values}


def spell(value: Any) -> str:
    """A value as an option has it."""
    if isinstance(value, tuple | list):
        return ", ".join(map(spell, value)) or "none"
    return "none" if value is None else format_number(value, 6) if isinstance(value, float) else str(value)


def pictures_of(files: RunFolder, problems: list[str]) -> dict[str, Any]:
    """The newest preview, some before it, the animation, and pictures that commands have put into the folder."""
    room = MAX_BYTES

    def embed(path: Path, check: Callable[[Path], object] = check_picture) -> str:
        nonlocal room
        try:
            size = path.stat().st_size
            if size > room:
                return ""
            check(path)
            address = embed_file(path)
        except (OSError, ValueError, SyntaxError) as error:
            problems.append(f"{path.relative_to(files.path)} is damaged: {first_line(error)}")
            return ""
        room -= size
        return address

    def shown(path: Path) -> dict[str, Any]:
        return {"step": int(path.stem), "picture": embed(path)}

    paths = files.previews()
    last = len(paths) - 1
    newest = shown(paths[-1]) if paths else None
    chosen = sorted({i * last // MAX_PREVIEWS for i in range(MAX_PREVIEWS)}) if last > 0 else []
    previews = [each for each in (shown(paths[i]) for i in chosen) if each["picture"]]
    others = sorted(p for p in files.path.glob("*.png") if p.is_file() and p != files.curves)[:MAX_PICTURES]
    pictures = [(path.name, address) for path in others if (address := embed(path))]
    animation = embed(files.animation, check_animation_length) if files.animation.exists() else ""
    newest = newest if newest and newest["picture"] else None
    return {"preview": newest, "earlier": previews, "pictures": pictures, "animation": animation if newest else ""}


def environment_of(config: dict[str, Any]) -> list[tuple[str, str]]:
    """On which data, with which versions, where: what a command does not say."""
    if not config:
        return []
    data, git = config["data"], config.get("git")
    source = data["source"] if isinstance(data["source"], str) else ", ".join(data["source"])
    rows = [
        ("source of the data", source), ("digest of the data", data["fingerprint"]),
        ("versions", ", ".join(f"{name} {version}" for name, version in config.get("versions", {}).items())),
        ("device", str(config["train_config"].get("device", "auto"))), ("begun", config.get("created_at", "")),
    ]  # fmt: skip
    if isinstance(git, dict):
        rows.append(("commit", f"{git.get('commit')}{', with changes' if git.get('dirty') else ''}"))
    if config.get("world_size", 1) > 1:
        rows.append(("ranks", str(config["world_size"])))
    if start := config.get("init_from", {}).get("run"):
        rows.append(("first weights", str(start)))
    return [(name, text) for name, text in rows if text]


def files_of(folder: Path) -> list[tuple[str, str]]:
    """The files of the folder with their sizes; a folder in it counts as one."""
    rows = []
    for path in sorted(folder.iterdir() if folder.is_dir() else ()):
        parts = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
        count = f"{len(parts)} files, " if path.is_dir() else ""
        if path.name != REPORT_FILE and not path.name.startswith("."):
            name = f"{path.name}/" if path.is_dir() else path.name
            rows.append((name, f"{count}{format_size(sum(p.stat().st_size for p in parts if p.exists()))}"))
    return rows
