"""The page on a run that `ganvas report`, or the run's own end, has written."""

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, Response
from starlette.exceptions import HTTPException

from ..io.run_folder import RunFolder
from .runs import find_folder, own_file
from .settings import settings_of

router: APIRouter = APIRouter()
POLICY = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""a run's folder may come from anybody: its page runs no script, and asks for nothing"""


@router.get("/reports/{name}")
def report(request: Request, name: str) -> Response:
    """The page on a run."""
    path = RunFolder(find_folder(settings_of(request).runs_dir, name)).report
    if not path.exists():
        raise HTTPException(404, f"{name} has no report yet: ganvas report {path.parent}")
    return FileResponse(own_file(path), media_type="text/html", headers={"content-security-policy": POLICY})
