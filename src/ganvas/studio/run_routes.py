"""The gallery of runs, the page of each and of several side by side, and what these pages ask for."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse, Response
from starlette.exceptions import HTTPException

from ..errors import UserError, first_line
from ..inference.table_part import learns_table
from ..io.run_folder import FILES, LAST_WEIGHTS_FILE, REPORT_FILE, WEIGHTS_FILE, RunFolder
from ..io.text import replace_non_finite
from ..training.run_files import check_files, describe_files
from ..training.run_records import read_group
from . import doctor, live, processes, run_page
from .logs import NO_CURVES, parse_place, read_curves
from .pages import render_page
from .runs import Gallery, RunCard, find_folder, own_file, read_any_card
from .settings import settings_of

router: APIRouter = APIRouter()
T = TypeVar("T")
MAX_COMPARED = 8
"""most runs side by side"""


def gallery_of(request: Request) -> Gallery:
    """All runs of the studio."""
    gallery: Gallery = request.app.state.gallery
    return gallery


def folder_of(request: Request, name: str) -> Path:
    """The folder of a run by its name; NoRunError where there is none."""
    return find_folder(settings_of(request).runs_dir, name)


def as_json(value: Any) -> Response:
    """Values for a script: what is no finite number is null, and what is no text is escaped."""
    return Response(json.dumps(replace_non_finite(value), allow_nan=False), media_type="application/json")


def or_reason(function: Callable[[], T]) -> tuple[T | None, str]:
    """What the function returns, or why it does not: a page shows what is left of a damaged run."""
    try:
        return function(), ""
    except UserError as error:
        return None, str(error)
    except Exception as error:  # what others have written into a folder takes no page away
        return None, f"it cannot be read: {first_line(error)}"


@router.get("/runs")
def show_gallery(request: Request) -> Response:
    """All runs, newest first."""
    gallery = gallery_of(request)
    gallery.refresh()
    runs = gallery.newest_first()
    return render_page(request, "runs.html", title="Runs", runs=runs, version=gallery.version)


@router.get("/live")
async def follow_gallery(request: Request, since: int = 0) -> Response:
    """What changes in the gallery."""
    version = request.headers.get("last-event-id", str(since))
    return live.stream(request, live.follow_gallery(gallery_of(request), int(version) if version.isdecimal() else 0))


@router.get("/live/{name}")
async def follow_run(request: Request, name: str, at: str = "") -> Response:
    """What changes of a run."""
    place = parse_place(request.headers.get("last-event-id", at))
    return live.stream(request, live.follow_run(gallery_of(request), name, place))


@router.get("/runs/{name}")
def show_run(request: Request, name: str) -> Response:
    """A run, or a start that has not come to one."""
    settings = settings_of(request)
    if name in (starts := processes.list_starts(settings)):
        lines = processes.read_output(settings, name)
        return render_page(
            request, "start.html", title=name, name=name, lives=starts[name], lines=lines,
            reason=processes.exit_sentence(lines), can_cancel=name in processes.children,
        )  # fmt: skip
    folder = folder_of(request, name)
    options, config_error = or_reason(lambda: run_page.read_run_options(folder))
    environment, _ = or_reason(lambda: run_page.read_environment(folder))
    command, _ = or_reason(lambda: run_page.reproduce_command(folder))
    files = run_page.list_files(folder)
    return render_page(
        request, "run.html", title=name, run=read_any_card(folder), options=options or [], config_error=config_error,
        environment=environment or [], command=command, files=files, previews=list_previews(folder),
        has_report=any(file == REPORT_FILE for file, _ in files), weights=(WEIGHTS_FILE, LAST_WEIGHTS_FILE),
        output=processes.read_output(settings, name), is_table=is_of_table(folder),
    )  # fmt: skip


def is_of_table(folder: Path) -> bool:
    """Whether a run's weights, if there are any, are of a model of a table."""
    files = RunFolder(folder)
    return bool(or_reason(lambda: own_file(files.weights) and learns_table(files))[0])


def list_previews(folder: Path) -> list[int]:
    """The steps of a run's previews."""
    return [int(path.stem) for path in RunFolder(folder).previews()]


@router.get("/runs/{name}/steps")
def show_previews(request: Request, name: str) -> Response:
    """The steps of a run's previews."""
    return as_json(list_previews(folder_of(request, name)))


@router.get("/runs/{name}/previews/{step}.png")
def show_preview(request: Request, name: str, step: int) -> Response:
    """The picture of a step."""
    try:
        return FileResponse(own_file(RunFolder(folder_of(request, name)).preview(step)))
    except UserError as error:
        raise HTTPException(404, f"{name} has no preview of step {step}") from error


@router.get("/runs/{name}/log")
def show_log(request: Request, name: str) -> Response:
    """The curves of a run, and where to go on reading."""
    folder = folder_of(request, name)
    curves, reason = or_reason(lambda: read_curves(folder))
    return as_json(curves or NO_CURVES | {"notes": [reason]})


@router.get("/runs/{name}/doctor")
def show_doctor(request: Request, name: str) -> Response:
    """What is wrong with a run's training now, and what was since when; why nobody can tell, if so."""
    folder = folder_of(request, name)
    findings, reason = or_reason(lambda: doctor.examine_run(folder))
    return as_json(findings or {"reason": reason})


@router.get("/runs/{name}/check")
def check_run(request: Request, name: str) -> Response:
    """Which files of a run are whole: each is read wholly."""
    return as_json(describe_files(check_files(folder_of(request, name))))


@router.get("/runs/{name}/files/{file}")
def download_file(request: Request, name: str, file: str) -> Response:
    """A file of a run, to keep."""
    folder = folder_of(request, name)
    if file not in FILES:
        raise HTTPException(404, f"{name} has no file {file!r}")
    return FileResponse(own_file(folder / file), filename=f"{name}-{file}", media_type="application/octet-stream")


@router.post("/runs/{name}/stop")
def stop_run(request: Request, name: str) -> Response:
    """Ask a run to save and stop."""
    processes.stop(folder := folder_of(request, name))
    group = read_group(folder).get("name")
    others = f", and all runs of {group}, which have one process" if group else ""
    return as_json({"said": f"{name} is asked to stop{others}: it saves first"})


@router.post("/runs/{name}/resume")
def resume_run(request: Request, name: str) -> Response:
    """Go on with a run, in a process of its own."""
    processes.resume(settings_of(request), folder_of(request, name))
    return as_json({"said": f"{name} goes on: its process starts"})


@router.get("/runs/{name}/said")
def show_said(request: Request, name: str) -> Response:
    """The last lines that the processes of a run or a start said, and whether there is a run by now."""
    settings = settings_of(request)
    starts = processes.list_starts(settings)
    lines = processes.read_output(settings, name)
    return as_json({"lines": lines, "waits": starts.get(name), "is_run": name not in starts})


@router.post("/starts/{name}/cancel")
def cancel_start(name: str) -> Response:
    """Ask a start to end before it has come to a run."""
    processes.cancel(name)
    return as_json({"said": f"{name} is asked to end"})


@router.post("/starts/{name}/forget")
def forget_start(request: Request, name: str) -> Response:
    """Forget a start that failed."""
    processes.forget(settings_of(request), name)
    return as_json({"said": f"{name} is forgotten"})


@router.get("/compare")
def compare_runs(request: Request, run: Annotated[list[str], Query()] = []) -> Response:  # noqa: B006  FastAPI's own
    """Several runs side by side."""
    names = [*dict.fromkeys(run)][:MAX_COMPARED]
    runs = [(name, folder_of(request, name)) for name in names]
    cards: list[RunCard] = [read_any_card(folder) for _, folder in runs]
    results = [or_reason(partial(run_page.read_values, folder)) for _, folder in runs]
    common, others = run_page.differing_options([values or {} for values, _ in results])
    title = "Compare" if len(runs) < 2 else f"Compare {len(runs)} runs"
    return render_page(
        request, "compare.html", title=title, runs=cards, problems=[reason for _, reason in results if reason],
        common=common, others=others, with_weights=[n for n, f in runs if RunFolder(f).weights.exists()],
        previews={name: list_previews(folder) for name, folder in runs}, most=MAX_COMPARED,
    )  # fmt: skip
