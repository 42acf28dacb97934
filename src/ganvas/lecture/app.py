"""The lecture as pages of a server: recorded on first use, and alive: readers have runs with values of their own."""

from collections.abc import Callable
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from . import load_chapter
from .chapter import Chapter
from .page import render_chapter, render_index, render_waiting
from .recordings import missing_recordings, record, recordings, remove_old_recordings

if TYPE_CHECKING:
    from fastapi import APIRouter, FastAPI

STUDIO_REMEDY = 'pip install "ganvas[studio]"'


class Recorder:
    """Records the runs of chapters in a thread, one chapter after the other, and says how far it is."""

    def __init__(self) -> None:
        self.lock: Lock = Lock()
        self.messages: dict[str, str] = dict[str, str]()
        """by chapter, while its runs are recorded"""
        self.failures: dict[str, str] = dict[str, str]()
        """by chapter, what went wrong when they were"""

    def start(self, chapter: Chapter) -> tuple[str, bool]:
        """Record what is missing of a chapter, unless that is under way or just failed: what to say, and which."""
        with self.lock:
            if (failure := self.failures.pop(chapter.name, None)) is not None:
                return failure, False
            if chapter.name not in self.messages:
                self.messages[chapter.name] = "It waits for other runs to end."
                Thread(target=self.record, args=(chapter,), daemon=True).start()
            return self.messages[chapter.name], True

    def record(self, chapter: Chapter) -> None:
        """Record what is missing of a chapter."""

        def say(text: str) -> None:
            self.messages[chapter.name] = text

        try:
            recordings(chapter, say)
        except Exception as error:
            self.failures[chapter.name] = f"This failed; load the page again to try again: {error}"
        finally:
            with self.lock:
                self.messages.pop(chapter.name, None)


def routes(home: str = "") -> "APIRouter":
    """The pages for an app to include, with any prefix: the list at "/", NAME.html, and NAME/record for runs anew.

    The list leads back to `home`, the address of the app's own first page.

    NAME/record takes the chapter's parameters as JSON and answers with a recording, or with status 422 and a sentence.
    UserError where FastAPI is missing.
    """
    try:
        from fastapi import APIRouter, Body, HTTPException
        from fastapi.responses import HTMLResponse
    except ImportError as error:
        raise UserError(f"the lecture's server needs FastAPI, which is missing: {STUDIO_REMEDY}") from error
    router, recorder = APIRouter(), Recorder()
    remove_old_recordings()

    def find(name: str) -> Chapter:
        try:
            return load_chapter(name)
        except UserError as error:
            raise HTTPException(404, str(error)) from error

    @router.get("/", response_class=HTMLResponse)
    @router.get("/index.html", response_class=HTMLResponse)
    def index() -> str:
        return render_index(home)

    @router.get("/{name}.html", response_class=HTMLResponse)
    def page(name: str) -> str:
        chapter = find(name)
        if missing_recordings(chapter):
            message, is_under_way = recorder.start(chapter)
            return render_waiting(chapter, message, asks_again=is_under_way)
        return render_chapter(chapter, recordings(chapter), live=True)

    @router.post("/{name}/record")
    def record_anew(name: str, parameters: dict[str, Any] = Body()) -> dict[str, Any]:  # noqa: B008
        chapter = find(name)
        try:
            return record(chapter, chapter.parameters(**parameters))
        except UserError as error:
            raise HTTPException(422, str(error)) from error

    return router


def make_app() -> "FastAPI":
    """An app with nothing but the lecture, for this machine's own pages alone."""
    router = routes()
    from fastapi import FastAPI

    from ..web.guard import Guard

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Guard, host="127.0.0.1", token="", self_contained="/")
    app.include_router(router)
    return app


def serve(port: int, say: Callable[[str], None]) -> None:
    """Serve the lecture on this machine until Ctrl-C, and say where; UserError where that port is taken.

    Also where the extra `studio` is missing.
    """
    app = make_app()
    try:
        import uvicorn
    except ImportError as error:
        raise UserError(f"the lecture's server needs uvicorn, which is missing: {STUDIO_REMEDY}") from error
    from ..web.server import listen

    with listen("127.0.0.1", port) as opened:
        say(f"http://127.0.0.1:{opened.getsockname()[1]}/ (Ctrl-C ends it)")
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run([opened])
