"""Events: what open pages hear, and what it costs that they do."""

import asyncio
import json
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ganvas.studio import live, runs
from ganvas.studio.runs import Gallery
from ganvas.studio.settings import Settings
from tests.support.studio import log_line, serving_studio, write_run

RUNS = Path("runs")


def parse(text: str) -> dict[str, Any]:
    """The values of the events in a text, by name."""
    events = [dict(line.split(": ", 1) for line in part.split("\n")) for part in text.strip().split("\n\n")]
    return {event["event"]: json.loads(event["data"]) for event in events if "event" in event}


def append(name: str, step: int) -> None:
    with (RUNS / name / "log.jsonl").open("a") as file:
        file.write(json.dumps(log_line(step)) + "\n")


def test_fifty_pages_read_once_and_hear_only_what_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        write_run(RUNS / name)
    monkeypatch.setattr(runs, "INTERVAL", 0.0)
    gallery, times, real = Gallery(Settings(RUNS)), list[float](), Gallery.refresh
    monkeypatch.setattr(Gallery, "refresh", lambda self: times.append(time.monotonic()) or real(self))

    async def listen() -> None:
        pages = [live.follow_gallery(gallery, 0) for _ in range(25)]
        pages += [live.follow_run(gallery, "a", (0, 0)) for _ in range(25)]

        async def tick() -> list[str]:
            gallery.next_refresh = 0.0
            monkeypatch.setattr(runs, "INTERVAL", 1e9)
            first, others = await pages[0](), await asyncio.gather(*(page() for page in pages[1:]))
            return [first, *others]

        everything = await tick()
        assert len(times) == 1
        assert set(parse(everything[0])["cards"]["cards"]) == {"a", "b", "c"}
        assert {"anew", "card"} == parse(everything[-1]).keys()
        assert await tick() == [""] * 50  # nothing has changed: nothing is sent
        append("a", 210)
        news = await tick()
        assert len(times) == 3
        assert set(parse(news[0])["cards"]["cards"]) == {"a"}
        assert [line["step"] for line in parse(news[-1])["lines"]] == [210]
        assert parse(news[-1])["card"]["step"] == 210
        append("b", 210)
        assert [bool(text) for text in await tick()] == [True] * 25 + [False] * 25

    asyncio.run(listen())


def events(address: str) -> Iterator[str]:
    """The lines of a stream."""
    with urllib.request.urlopen(address, timeout=20) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield from (line.decode().strip() for line in answer)


def test_a_stream_ends_with_its_server_and_begins_where_it_was() -> None:
    write_run(RUNS / "a")
    with serving_studio(RUNS) as address:
        lines = events(f"{address}/live?since=0")
        found = next(line for line in lines if line.startswith("id: "))
        assert next(lines) == "event: cards"
        assert "step 200 of 400" in next(lines)
        later = events(f"{address}/live?since={found.removeprefix('id: ')}")
        append("a", 210)
        assert "step 210 of 400" in next(line for line in later if line.startswith("data: "))
        with pytest.raises(urllib.error.HTTPError, match="404"):
            next(events(f"{address}/live/none"))
        readers = [threading.Thread(target=list, args=(each,)) for each in (lines, later)]
        for reader in readers:
            reader.start()
    for reader in readers:  # Ctrl-C of the server does not wait for pages that are open
        reader.join(10)
        assert not reader.is_alive()
