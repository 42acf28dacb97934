"""Training in float64, in which machines, numbers of threads and orders of memory agree to many digits."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from ganvas.model import Batch
from ganvas.training import loop


class Doubled:
    """The batches of a stream in float64; it passes for one."""

    notes = ()

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self.stream)

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        batch = next(self.stream)
        return doubled(batch) if isinstance(batch, Batch) else type(batch)(*map(doubled, batch))

    @property
    def position(self) -> int:
        position: int = self.stream.position
        return position


def doubled(batch: Batch) -> Batch:
    return batch._replace(x=batch.x.double())


@pytest.fixture
def float64_training(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Networks and batches in float64."""
    real = loop.make_stream
    monkeypatch.setattr(loop, "make_stream", lambda *args, **options: Doubled(real(*args, **options)))
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)
