"""Server-sent events: open pages hear what changes in the folder of runs.

All pages share one reading a second, which only looks at what has changed; without pages nothing is read.  A page that
was away names the version that it has seen, and gets what changed since.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from fastapi import Request
from fastapi.responses import StreamingResponse

from ..errors import error_reason
from ..io.run_folder import RunFolder
from .logs import Place, log_place, read_since
from .runs import INTERVAL, Gallery, find_folder

HEARTBEAT = 15.0
"""seconds after which something is sent even where nothing happens, so that a page that is gone is noticed"""


def event(name: str, value: Any, identity: str) -> str:
    """An event as it is sent; `identity` comes back from a page that connects again."""
    return f"id: {identity}\nevent: {name}\ndata: {json.dumps(value)}\n\n"


def stream(request: Request, follow: Callable[[], Awaitable[str]]) -> StreamingResponse:
    """An answer of events: `follow` says about once a second what is new, which may be nothing."""

    async def events() -> AsyncIterator[str]:
        last_time = time.monotonic()
        yield "retry: 2000\n\n"
        while not request.app.state.is_ending():
            if text := await follow():
                yield text
                last_time = time.monotonic()
            elif time.monotonic() - last_time > HEARTBEAT:
                yield ": still here\n\n"
                last_time = time.monotonic()
            await asyncio.sleep(INTERVAL)

    return StreamingResponse(events(), media_type="text/event-stream", headers={"cache-control": "no-store"})


async def refresh(gallery: Gallery) -> str:
    """Read what has changed, where nobody else did so within the second; says why that failed, if so."""
    if gallery.is_due():
        try:
            await asyncio.to_thread(gallery.refresh)
        except OSError as error:
            return event("problem", f"{gallery.settings.runs_dir} cannot be read: {error_reason(error)}", "0")
    return ""


def follow_gallery(gallery: Gallery, since: int) -> Callable[[], Awaitable[str]]:
    """What is new of all runs after a version."""

    async def follow() -> str:
        nonlocal since
        problem = await refresh(gallery)
        if problem or gallery.version <= since:
            return problem
        changes, since = gallery.changes(since), gallery.version
        return event("cards", changes, str(since))

    return follow


def follow_run(gallery: Gallery, name: str, place: Place) -> Callable[[], Awaitable[str]]:
    """What is new of a run and, after a place, of its log."""
    folder, version = find_folder(gallery.settings.runs_dir, name), 0
    log = RunFolder(folder).log

    async def follow() -> str:
        nonlocal place, version
        if text := await refresh(gallery):
            return text
        entry = gallery.entries.get(name)
        if entry is None:
            is_news, version = gallery.version > version, gallery.version
            return event("gone", name, "0-0") if is_news else ""
        if entry.version <= version:
            return ""
        version = entry.version
        now = log_place(folder)
        if now != place:
            place, lines = read_since(log, place, now)
            if lines is None:
                text = event("anew", {}, f"{place[0]}-{place[1]}")
            elif lines:
                text = event("lines", lines, f"{place[0]}-{place[1]}")
        return text + event("card", entry.card.to_dict(), f"{place[0]}-{place[1]}")

    return follow
