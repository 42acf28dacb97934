"""Streams, events and graphs that write down what is asked of them, in place of those of a GPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch


class Calls(list[str]):
    """What was asked, in order, e.g. "side waits for main"."""


class FakeStream:
    """A stream with a name, which passes for one of torch's."""

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return torch.cuda.Stream

    def __init__(self, calls: Calls, name: str) -> None:
        self.calls, self.name, self.device = calls, name, torch.device("cpu")

    def wait_stream(self, other: "FakeStream") -> None:
        self.calls.append(f"{self.name} waits for {other.name}")

    def wait_event(self, event: "FakeEvent") -> None:
        self.calls.append(f"{self.name} waits for {event.name}")


class FakeEvent:
    """An event with a name, recorded on the stream that is current."""

    def __init__(self, calls: Calls, name: str, cuda: "FakeCuda") -> None:
        self.calls, self.name, self.cuda = calls, name, cuda

    def record(self) -> None:
        self.calls.append(f"{self.name} on {self.cuda.current.name}")

    def synchronize(self) -> None:
        self.calls.append(f"the host waits for {self.name}")


class FakeCuda:
    """What takes the place of functions of torch.cuda in a context, for all threads."""

    def __init__(self) -> None:
        self.calls = Calls()
        self.current = self.main = FakeStream(self.calls, "main")

    @contextmanager
    def stream(self, stream: FakeStream | None) -> Iterator[None]:
        before, self.current = self.current, stream or self.current
        yield
        self.current = before

    @contextmanager
    def graph(self, graph: "FakeGraph", *, pool: Any, stream: FakeStream, capture_error_mode: str) -> Iterator[None]:
        """As torch.cuda.graph it leaves its stream only if all went well."""
        before, self.current = self.current, stream
        self.calls.append(f"record on {stream.name}, pool {pool}, {capture_error_mode}")
        yield
        self.current = before

    def patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "stream", self.stream)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device=None: self.current)
        monkeypatch.setattr(torch.cuda, "graph", self.graph)
        monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: FakeGraph(self.calls))


class FakeGraph:
    def __init__(self, calls: Calls) -> None:
        self.calls = calls

    def register_generator_state(self, state: torch.Generator) -> None:
        self.calls.append("register a generator")

    def replay(self) -> None:
        self.calls.append("replay")
