"""The studio as a web application: where its parts are mounted, and how a mistake is answered."""

from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from ..errors import UserError, error_reason
from ..lecture import app as lecture
from ..web.guard import Guard
from . import explore_routes, new_routes, report_routes, run_routes, table_routes
from .pages import render_page
from .runs import Gallery, NoRunError
from .settings import Settings

HERE = Path(__file__).parent


def make_app(settings: Settings) -> FastAPI:
    """The application; routes find the settings in `request.app.state.settings`."""
    app = FastAPI(title="Ganvas", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.settings, app.state.gallery = settings, Gallery(settings)
    app.state.is_ending = lambda: False  # whether open streams should end: who runs the server puts its own here
    app.add_middleware(Guard, host=settings.host, token=settings.token)
    app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")
    app.mount("/katex", StaticFiles(directory=HERE.parent / "assets" / "katex"), name="katex")
    app.include_router(run_routes.router)
    app.include_router(new_routes.router)
    app.include_router(explore_routes.router)
    app.include_router(table_routes.router)
    app.include_router(report_routes.router)
    app.include_router(lecture.routes("/runs"), prefix="/lecture")
    app.add_api_route("/", lambda: RedirectResponse("/runs"), include_in_schema=False)
    app.add_exception_handler(UserError, answer_mistake)
    app.add_exception_handler(ClientDisconnect, answer_cut_off)
    app.add_exception_handler(HTTPException, answer_http_error)
    app.add_exception_handler(RequestValidationError, answer_invalid)
    app.add_exception_handler(OSError, answer_os_error)
    return app


def wants_page(request: Request) -> bool:
    """Whether a person's browser asked for a page, rather than a program or a script for values."""
    return "text/html" in request.headers.get("accept", "")


def answer(request: Request, status: int, sentence: str) -> Response:
    """An error, for people as a page and for programs as JSON."""
    if wants_page(request):
        return render_page(request, "error.html", status, title="Not possible", sentence=sentence)
    return JSONResponse({"error": sentence}, status)


def answer_mistake(request: Request, error: Any) -> Response:
    """A mistake of the user's: the sentence that the command line says."""
    is_address = isinstance(error, NoRunError) and request.method == "GET"
    return answer(request, 404 if is_address else 422, str(error))


def answer_cut_off(request: Request, error: Any) -> Response:
    """A file that did not arrive whole; of one that is too large the guard says so."""
    return answer(request, 400, "the file did not arrive whole: send it again")


def answer_http_error(request: Request, error: Any) -> Response:
    """What there is not, or may not be asked."""
    is_unknown = error.status_code == 404 and error.detail == "Not Found"
    return answer(request, error.status_code, f"there is no page {request.url.path}" if is_unknown else error.detail)


def answer_invalid(request: Request, error: Any) -> Response:
    """An address or a form with a value that cannot be."""
    first = error.errors()[0]
    return answer(request, 422, f"{'.'.join(map(str, first['loc'][1:]))}: {first['msg'].lower()}")


def answer_os_error(request: Request, error: Any) -> Response:
    """A file that cannot be read or written."""
    return answer(request, 500, f"{getattr(error, 'filename', None) or 'a file'}: {error_reason(error)}")
