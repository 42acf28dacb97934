"""Batches: functions of (seed, position), every example once an epoch, scaled as asked."""

from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis.strategies import integers

from ganvas.data import Dataset, DomainPair, Scaling, Stream, from_array, make_stream
from ganvas.data.shard_stream import shuffle_window
from ganvas.errors import UserError
from tests.support.cuda import FakeCuda, FakeEvent, FakeStream

GOLDEN = [[21, 26, 0, 10, 9, 29, 19], [7, 1, 20, 13, 23, 15, 5], [23, 17, 14, 9, 21, 16, 6]]
GOLDEN_BALANCED, GOLDEN_WINDOW = [21, 26, 0, 10, 9, 29, 19], [21, 22, 7, 5, 23, 6, 24, 8]
"""indices of batches of seed 5: of the first epoch the first and the last, and of the second the first; of every class
equally often; and a window of shards"""


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


@given(
    n=integers(1, 60), batch=integers(1, 9), world_size=integers(1, 4), seed=integers(0, 2**40), epochs=integers(1, 3)
)
def test_ranks_share_what_one_process_draws_and_an_epoch_has_no_example_twice(
    n: int, batch: int, world_size: int, seed: int, epochs: int
) -> None:
    """Batches follow from (seed, position): each rank has its part of the one that a single process would draw."""
    assume(batch * world_size <= n)
    data, shards = from_array(np.zeros((n, 2))), partial(shuffle_window, np.arange(n), np.ones(n, int), 8, seed)
    whole = Stream(data, batch=batch * world_size, seed=seed)
    ranks = [Stream(data, batch=batch, seed=seed, rank=rank, world_size=world_size) for rank in range(world_size)]
    per_epoch = n // (batch * world_size)
    orders = []
    for epoch in range(epochs):
        positions = range(epoch * per_epoch, (epoch + 1) * per_epoch)
        batches = [torch.cat([rank.indices_at(position) for rank in ranks]).tolist() for position in positions]
        assert batches == [whole.indices_at(position).tolist() for position in positions]
        orders.append(sum(batches, []))
        assert len(set(orders[-1])) == len(orders[-1]) == per_epoch * batch * world_size
        assert whole.order.sort().values.tolist() == list(range(n))  # of which the last, incomplete batch is left out
        windows = torch.cat([shards(epoch, w) for w in range(-(-n // 8))])
        assert windows.sort().values.tolist() == list(range(n))
    assert len(set(map(tuple, orders))) == epochs or per_epoch * batch * world_size < 12  # few have few orders


def test_batches_are_these_on_every_platform(counted: Dataset) -> None:
    """Indices that were written down: a run that goes on elsewhere has to find the same."""
    stream = Stream(counted, batch=7, seed=5)
    assert [stream.indices_at(position).tolist() for position in (0, 3, 4)] == GOLDEN
    halves = [Stream(counted, batch=3, seed=5, rank=rank, world_size=2) for rank in (0, 1)]
    assert [part.indices_at(0).tolist() for part in halves] == [GOLDEN[0][:3], GOLDEN[0][3:6]]
    assert Stream(counted, batch=7, seed=5, balanced=True).indices_at(0).tolist() == GOLDEN_BALANCED
    starts, sizes = np.arange(0, 30, 5), np.full(6, 5)
    assert shuffle_window(starts, sizes, 8, 5, 1, 2).tolist() == GOLDEN_WINDOW


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
