"""The gallery of runs, and what a run's page asks for."""

from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, Response
from starlette.exceptions import HTTPException

from ..io.run_folder import RunFolder
from .pages import render_page
from .runs import find_folder, list_cards

router: APIRouter = APIRouter()


def runs_dir(request: Request) -> Path:
    """The folder of the runs that the studio shows."""
    folder: Path = request.app.state.settings.runs_dir
    return folder


@router.get("/runs")
def gallery(request: Request) -> Response:
    """All runs, newest first."""
    return render_page(request, "runs.html", title="Runs", runs=list_cards(runs_dir(request)))


@router.get("/runs/{name}/previews/{step}.png")
def preview(request: Request, name: str, step: int) -> Response:
    """The picture of a step."""
    path = RunFolder(find_folder(runs_dir(request), name)).preview(step)
    if not path.is_file():
        raise HTTPException(404, f"{name} has no preview of step {step}")
    return FileResponse(path)
