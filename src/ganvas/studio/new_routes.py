"""The page that starts a run: a source and its report, a model, its options, and what it will cost."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, Response
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from ..data import BUILTIN, DataOptions, load
from ..data.tables.read import is_table
from ..data.tables.table import Table
from ..errors import UserError
from ..fields import REPEATED
from ..inference.schema import parse_model
from ..io.run_folder import RunFolder
from ..io.text import format_duration
from ..models import MODELS
from ..training.commands import given_options, read_options
from ..training.run_records import read_config
from ..viz.table_html import ONE_SET, column_parts, render_part
from . import processes
from .cards import CARDS
from .form import check_command, command_text, command_words, form_panels
from .pages import render_page
from .runs import RunCard, find_folder, own_file, run_folders
from .settings import Settings, settings_of
from .sources import allowed_source
from .trials import measure_cost, report_on
from .uploads import SUFFIXES, keep, receive_file, remove_unused, upload_source

router: APIRouter = APIRouter()
MAX_READ = 10_000
"""rows by which a table is described"""


class Order(BaseModel, extra="forbid"):
    """What a visitor asks for."""

    model: str = ""
    sources: list[str] = Field(default=[], max_length=2)
    options: dict[str, str] = Field(default={}, max_length=200)
    start_from: str = ""
    """the run with whose weights to begin"""


@router.get("/new")
def new_run(request: Request, copy: str = "") -> Response:
    """The page, filled in with the options of the run `copy`."""
    settings = settings_of(request)
    start = read_start(settings, copy) if copy else {}
    costs = speeds(request.app.state.gallery.cards())
    cards = [
        {"name": name, "domains": cls.n_domains, "cost": costs.get(name, ""), **vars(CARDS[name])}
        for name, cls in MODELS.items()
    ]
    runs = sorted(folder.name for folder in run_folders(settings.runs_dir))
    return render_page(
        request, "new.html", title="New run", cards=cards, names=list(BUILTIN), start=start, runs=runs,
        suffixes=" ".join(SUFFIXES),
    )  # fmt: skip


def speeds(cards: Sequence[RunCard]) -> dict[str, str]:
    """How fast each model trained here, by the newest run of it that says so."""
    texts: dict[str, str] = {}
    for card in cards:
        if card.speed and card.model not in texts:
            texts[card.model] = f"{card.speed:,.0f} examples a second here, on {card.data}"
    return texts


def read_start(settings: Settings, name: str) -> dict[str, Any]:
    """What a run was asked for: its model, sources, the options that were given, and the run that it began with."""
    folder = find_folder(settings.runs_dir, name)
    config = read_config(own_file(RunFolder(folder).config).parent)
    model = parse_model(config, RunFolder(folder).config)
    options, source = read_options(config, model), config["data"]["source"]
    texts = {
        name: option_text(options[name], "\n" if name in REPEATED else ",")
        for name in given_options(config, model, takes_over=False)
    }
    origin = config.get("init_from", {}).get("run")
    if origin and Path(origin).parent != settings.runs_dir.resolve():
        raise UserError(f"{name} began with the weights of {origin}, outside of {settings.runs_dir}: type its command")
    start = {"model": config["model"], "options": texts, "start_from": Path(origin).name if origin else ""}
    return start | {"sources": [source] if isinstance(source, str) else source}


def option_text(value: Any, between: str = ",") -> str:
    """A value as the form shows it, several with this between them."""
    if isinstance(value, bool):
        return str(value).lower()
    text = between.join(map(str, value)) if isinstance(value, tuple | list) else str(value)
    return "none" if value is None or (not text and between == ",") else text


@router.get("/new/form/{model}")
def form(model: str) -> dict[str, Any]:
    """The fields of a model's options, by panel."""
    panels = form_panels(model)
    return {"panels": [{"title": title, "fields": list(map(vars, fields))} for title, fields in panels.items()]}


@router.post("/uploads")
async def upload(request: Request, name: str, upload: str | None = None) -> dict[str, str]:
    """Take a file, "folder/class/file" for one of a folder; others that belong to it name the first's `upload`."""
    settings = settings_of(request)
    if upload is None:
        await run_in_threadpool(remove_unused, settings.uploads, settings.runs_dir)
    folder = await receive_file(settings.uploads, upload, name, request.stream())
    return {"upload": folder.name, "source": str(upload_source(folder))}


@router.post("/new/data")
def data_report(request: Request, order: Order) -> dict[str, Any]:
    """The report on the sources, with the options of data that are given, and the address of the contact sheet."""
    settings = settings_of(request)
    words = order_words(settings, order.model_copy(update={"model": order.model or "vae"}))
    names = {field.flag for field in form_panels(words[1])["Data"]}
    options = [word for word in words if word.split("=")[0].replace("--no-", "--") in names]
    sources = [allowed_source(settings, source) for source in order.sources]
    report = report_on(sources, options, settings.sheets, request.app.state.is_ending)
    table = describe_columns(sources, check_command(words).arguments["data_options"])
    return report | {"table": table, "sheet": report["sheet"] and f"/new/sheets/{report['sheet']}"}


def describe_columns(sources: Sequence[str], options: DataOptions) -> str:
    """The columns of a table, how they spread, and which go together, as a part of the page; "" of other data."""
    if len(sources) != 1 or not is_table(Path(sources[0])):
        return ""
    table = load(sources[0], options).sample(MAX_READ, "columns")
    if not isinstance(table, Table):
        return ""
    parts = column_parts(table)
    return "\n".join((
        render_part("marginals", charts=parts["charts"], sets=ONE_SET), render_part("notes", texts=parts["notes"]),
        render_part("associations", charts=parts["matrices"]),
    ))  # fmt: skip


@router.get("/new/sheets/{name}")
def sheet(request: Request, name: str) -> Response:
    """A contact sheet."""
    folder = settings_of(request).sheets
    if name not in ({path.name for path in folder.iterdir()} if folder.is_dir() else ()):
        raise HTTPException(404, "there is no such contact sheet")
    return FileResponse(folder / name)


def order_words(settings: Settings, order: Order) -> list[str]:
    """The words of the `train` command that a visitor asks for; UserError where the command line refuses it."""
    cls = MODELS.get(order.model)
    sources = [allowed_source(settings, source) for source in order.sources]
    if cls is None:
        raise UserError("choose a model")
    if not sources:
        raise UserError("choose what to train on")
    if len(sources) == 2 and cls.n_domains == 1:
        raise UserError(f"{order.model} learns from one source: leave out the second, or choose a translator")
    refuse_table(order.model, sources, order.options)
    words = command_words(order.model, sources, order.options)
    if order.start_from:
        words.append(f"--init-from={find_folder(settings.runs_dir, order.start_from)}")
    check_command(words)
    return words


def whole_words(settings: Settings, order: Order) -> list[str]:
    """The same of an order that can be started: a translator has both its sources."""
    words = order_words(settings, order)
    if len(order.sources) < MODELS[order.model].n_domains:
        raise UserError(f"{order.model} translates between two sources: choose the second one as well")
    return words


def refuse_table(model: str, sources: Sequence[str], options: Mapping[str, str]) -> None:
    """UserError for a source that is a table, where the model learns none."""
    reason = CARDS[model].no_tables
    if reason and options.get("kind") != "vector" and any(is_table(Path(source)) for source in sources):
        raise UserError(f"{model} learns no tables, since {reason}: choose another model, such as vae")


@router.post("/new/check")
def check(request: Request, order: Order) -> dict[str, str]:
    """The command that does the same, or what is wrong with it."""
    settings = settings_of(request)
    try:
        words = whole_words(settings, order)
    except UserError as error:
        return {"command": "", "problem": str(error)}
    keep(settings.uploads, words)
    return {"command": command_text(words), "problem": ""}


@router.post("/new/cost")
def cost(request: Request, order: Order) -> dict[str, Any]:
    """What the run would take here, by a short trial."""
    words, model = whole_words(settings_of(request), order), MODELS[order.model]
    trial = measure_cost(words, request.app.state.is_ending)
    config = check_command(words).arguments["train_config"]
    is_given = bool(order.options.get("steps", "").strip())
    per_step, steps = trial["seconds_per_step"], config.steps if is_given else model.default_training.steps
    if config.budget:
        length = f"about {format_duration(config.budget)}"
    elif config.epochs or (not is_given and "steps" in model.chosen_options):  # by how many the data are, or which
        length = f"{format_duration(1000 * per_step)} for 1,000 steps"
    else:
        seconds = trial["start_seconds"] + 1.1 * steps * per_step  # a tenth for checkpoints
        length = f"about {format_duration(seconds)} for {steps:,} steps"
    memory = f", {trial['megabytes']:,.0f} MB of memory" if trial["megabytes"] else ""
    return trial | {"text": length + memory}


@router.post("/new/start")
def start(request: Request, order: Order) -> dict[str, str]:
    """Start the run as a process of its own; the address of its page."""
    settings = settings_of(request)
    words = whole_words(settings, order)
    keep(settings.uploads, words)
    name = processes.start(settings, words[1:])
    return {"run": name, "address": f"/runs/{name}"}
