"""Batches: functions of (seed, position), every example once an epoch, scaled as asked."""

from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch

from ganvas.data import Dataset, DomainPair, Scaling, Stream, from_array, make_stream
from ganvas.errors import UserError
from tests.support.cuda import FakeCuda, FakeEvent, FakeStream


@pytest.fixture
def counted() -> Dataset:
    """30 images, each filled with its own index, labelled with it."""
    x = np.arange(30, dtype=np.uint8)[:, None, None] * np.ones((1, 4, 5), np.uint8)
    return from_array(x, np.arange(30), name="counted")


def drawn(stream: Stream, n: int) -> list[list[int]]:
    return [batch.y.tolist() for batch in islice(stream, n) if batch.y is not None]


def test_an_epoch_holds_every_example_once_and_each_epoch_another_order(counted: Dataset) -> None:
    batches = drawn(Stream(counted, batch=5, seed=0), 12)
    first, second = sum(batches[:6], []), sum(batches[6:], [])
    assert sorted(first) == sorted(second) == list(range(30))
    assert first != second
    assert first != list(range(30))


def test_batches_depend_on_seed_and_position_alone(counted: Dataset) -> None:
    whole = drawn(Stream(counted, batch=4, seed=3), 20)
    assert drawn(Stream(counted, batch=4, seed=3, position=13), 7) == whole[13:]
    torch.manual_seed(99)
    assert drawn(Stream(counted, batch=4, seed=3), 20) == whole
    assert drawn(Stream(counted, batch=4, seed=4), 20) != whole


def test_labels_stay_with_their_images(counted: Dataset) -> None:
    for batch in islice(Stream(counted, batch=4, seed=0, scaling=Scaling((0.0, 255.0))), 10):
        assert batch.y is not None
        assert torch.equal(batch.x[:, 0, 0, 0].round().long(), batch.y)


@pytest.mark.parametrize("span", [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)])
def test_bytes_are_mapped_to_the_span(span: tuple[float, float]) -> None:
    data = from_array(np.array([0, 51, 255], np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8), np.arange(3))
    x, y, _ = next(Stream(data, batch=3, seed=0, scaling=Scaling(span)))
    assert y is not None
    low, high = span
    expected = torch.tensor([low, low + 0.2 * (high - low), high])
    torch.testing.assert_close(x[y.argsort(), 0, 0, 0], expected)
    assert x.dtype == torch.float32


def test_vectors_of_which_nothing_is_known_are_not_scaled(vectors: Dataset) -> None:
    x, y, _ = next(Stream(vectors, batch=60, seed=0))
    assert y is None
    assert torch.equal(x.sort(0).values, vectors.x.sort(0).values)


def test_a_batch_larger_than_the_data_is_refused(counted: Dataset) -> None:
    with pytest.raises(UserError, match="batch_size=31 is larger than the data: counted has 30; give 30 or less"):
        Stream(counted, batch=31, seed=0)


def test_data_too_large_for_the_device_give_the_same_batches(counted: Dataset) -> None:
    """Also of every class equally often, from any position, and after a jump to another."""
    for dataset, options in ((counted, {}), (counted, {"balanced": True}), (replace(counted, labels=None), {})):
        settings = {"batch": 4, "seed": 3, "scaling": Scaling((0.0, 1.0)), **options}
        large, usual = (Stream(dataset, device_bytes=n, **settings) for n in (dataset.nbytes - 1, dataset.nbytes))
        assert (large.host_batches is None, usual.host_batches is None) == (False, True)
        batches = list(islice(usual, 20))
        for start in (0, 13, 5):
            large.position = start
            for batch, expected in zip(islice(large, 20 - start), batches[start:], strict=True):
                assert torch.equal(batch.x, expected.x)
                assert (batch.y is None) == (expected.y is None)
                assert batch.y is None or torch.equal(batch.y, expected.y)
        assert large.position == 20
        assert usual.notes == ()
        assert "it stays in the host's memory" in large.notes[0]


def test_batches_of_data_on_the_host_do_not_change_afterwards(vectors: Dataset) -> None:
    """Vectors that are not scaled are what is drawn, and the memory of that is used again."""
    stream = Stream(vectors, batch=8, seed=0, device_bytes=0)
    batches = [next(stream) for _ in range(5)]
    expected = islice(Stream(vectors, batch=8, seed=0), 5)
    assert all(torch.equal(a.x, b.x) for a, b in zip(batches, expected, strict=True))


def test_what_is_drawn_and_assembled_is_the_next_batch(counted: Dataset, vectors: Dataset) -> None:
    pair = DomainPair(vectors, replace(vectors, x=-vectors.x))
    for device_bytes in (None, 0):
        for data in (counted, pair):
            stream, expected = (make_stream(data, batch=4, seed=1, device_bytes=device_bytes) for _ in range(2))
            for _ in range(9):
                actual, batch = stream.assemble(*stream.draw()), next(expected)
                halves = zip(actual, batch, strict=True) if isinstance(data, DomainPair) else [(actual, batch)]
                assert all(torch.equal(a.x, b.x) for a, b in halves)
            assert stream.position == expected.position == 9


def test_an_error_of_the_thread_that_gathers_is_raised(counted: Dataset) -> None:
    stream = Stream(counted, batch=4, seed=0, device_bytes=0)
    assert stream.host_batches is not None
    stream.host_batches.parts[0] = counted.x[:2]
    with pytest.raises((IndexError, RuntimeError), match="index out of range"):
        next(stream)


def test_memory_of_batches_is_written_again_when_it_is_free(counted: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU: the host's when the copy is done, the device's when what was asked of the batch before is done."""
    gpu = FakeCuda()
    gpu.patch(monkeypatch)
    stream = Stream(counted, batch=4, seed=0, device_bytes=0)
    expected = list(islice(Stream(counted, batch=4, seed=0), 3))
    batches: Any = stream.host_batches
    batches.copy_stream = FakeStream(gpu.calls, "copies")
    for i, slot in enumerate(batches.slots):
        slot.copied, slot.used = (FakeEvent(gpu.calls, f"{name} {i}", gpu) for name in ("copied", "used"))
    for batch in expected:
        assert torch.equal(stream.assemble(*stream.draw()).x, batch.x)
        batches.coming[1].result()  # so that what the thread asks comes at a certain place
    loads = [
        [f"the host waits for copied {i}", f"copies waits for used {i}", f"copied {i} on copies"] for i in (0, 1, 0, 1)
    ]
    first, second, third, fourth = loads
    assert gpu.calls == [
        "used 1 on main", *first, "main waits for copied 0", *second,
        "used 0 on main", "main waits for copied 1", *third,
        "used 1 on main", "main waits for copied 0", *fourth,
    ]  # fmt: skip
