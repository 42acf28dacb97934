"""Batches from shards: those of `Stream` where one window holds all, functions of (seed, position), bounded memory."""

import threading
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ganvas.data import (
    DataOptions,
    Scaling,
    ShardStream,
    Stream,
    StreamedDataset,
    load,
    load_all,
    make_stream,
    shard_stream,
    webdataset,
)
from ganvas.errors import UserError
from ganvas.model import Batch
from tests.support.shards import encode, examples, write_shards, write_tar


def streamed(source: Path, **options: Any) -> StreamedDataset:
    data = load_all(source, DataOptions(holdout=0, stream="always", **options))
    assert isinstance(data, StreamedDataset)
    return data


@pytest.fixture
def counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """35 images in shards of 10, 10, 10 and 5, each filled with its number, labelled with it."""
    monkeypatch.setattr("ganvas.data.shards.MAX_CLASS_SHARE", 1)  # each is a class of its own
    for s in range(0, 35, 10):
        images = [np.full((4, 4, 3), i, np.uint8) for i in range(s, min(35, s + 10))]
        write_tar(tmp_path / "counted" / f"{s:02d}.tar", examples(images, 100, s))
    return tmp_path / "counted"


def drawn(stream: ShardStream, n: int) -> list[list[int]]:
    """The labels of batches, which are what the pixels say."""
    batches = []
    for batch in islice(stream, n):
        assert batch.y is not None
        assert torch.equal(batch.x[:, 0, 0, 0].round().long(), batch.y)
        batches.append(batch.y.tolist())
    return batches


def stream_of(data: StreamedDataset, **options: Any) -> ShardStream:
    stream = make_stream(data, (Scaling((0.0, 255.0)),), **options)
    assert isinstance(stream, ShardStream)
    return stream


def test_a_set_of_one_window_has_the_batches_of_one_in_memory(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "x")
    for options in ({}, {"size": "6", "channels": 1}, {"classes": ("1", "0")}):
        data, same = streamed(folder, **options), load(folder, DataOptions(holdout=0, **options))
        pairs = zip(ShardStream(data, batch=7, seed=3), Stream(same, batch=7, seed=3), strict=False)
        for (x, y, n), (same_x, same_y, same_n) in islice(pairs, 20):
            assert torch.equal(x, same_x)
            assert y is not None
            assert same_y is not None
            assert torch.equal(y, same_y)
            assert n == same_n


@pytest.mark.parametrize("window", [1, 4, 12, 100])
def test_an_epoch_has_every_example_once_and_each_another_order(
    counted: Path, monkeypatch: pytest.MonkeyPatch, window: int
) -> None:
    monkeypatch.setattr(webdataset, "WINDOW", window)
    batches = drawn(stream_of(streamed(counted), batch=5, seed=0), 14)
    first, second = sum(batches[:7], []), sum(batches[7:], [])
    assert sorted(first) == sorted(second) == list(range(35))
    assert first != second
    assert first != list(range(35))


def test_a_window_is_of_few_shards_and_shards_come_in_another_order_each_epoch(
    counted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webdataset, "WINDOW", 5)
    data = streamed(counted)
    orders = set()
    for epoch in range(6):
        stream = stream_of(data, batch=5, seed=0, position=7 * epoch)
        windows = [sorted(batch) for batch in drawn(stream, 7)]
        assert all(window == list(range(window[0], window[0] + 5)) for window in windows)  # of one shard
        orders.add(tuple(window[0] // 10 for window in windows))
    assert len(orders) > 2


@pytest.mark.parametrize("window", [6, 100])
def test_batches_depend_on_seed_and_position_alone(counted: Path, monkeypatch: pytest.MonkeyPatch, window: int) -> None:
    monkeypatch.setattr(webdataset, "WINDOW", window)
    data = streamed(counted)
    whole = drawn(stream_of(data, batch=4, seed=3), 20)
    for position in (0, 1, 7, 8, 13):
        stream = stream_of(data, batch=4, seed=3, position=position)
        assert drawn(stream, 5) == whole[position : position + 5]
        assert stream.position == position + 5
    assert stream.epoch == 18 // 8
    monkeypatch.setattr(shard_stream.os, "cpu_count", lambda: 5)
    monkeypatch.setattr(shard_stream, "BYTES_PER_WORKER", 1)
    assert stream_of(data, batch=4, seed=3).workers == 5
    assert drawn(stream_of(data, batch=4, seed=3), 20) == whole
    assert drawn(stream_of(data, batch=4, seed=4), 20) != whole


@pytest.mark.parametrize("window", [6, 100])
def test_ranks_see_together_what_one_would(counted: Path, monkeypatch: pytest.MonkeyPatch, window: int) -> None:
    monkeypatch.setattr(webdataset, "WINDOW", window)
    data = streamed(counted)
    one = drawn(stream_of(data, batch=6, seed=1), 10)
    parts = [drawn(stream_of(data, batch=2, seed=1, rank=rank, world_size=3), 10) for rank in range(3)]
    assert [sum(batches, []) for batches in zip(*parts, strict=True)] == one
    assert len(set(sum(one[:5], []))) == 30  # none twice in an epoch; 5 of 35 are left out
    with pytest.raises(UserError, match="batch_size=18 on each of 2 ranks is larger than the data: counted has 35"):
        stream_of(data, batch=18, seed=0, world_size=2)


def test_images_of_which_fewer_bits_are_read_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that the sample in memory has not, by which they would be refused."""
    images = [encode(np.full((4, 4), i, np.uint8)) for i in range(11)] + [encode(np.full((4, 4), 3000, np.uint16))]
    shards = write_tar(tmp_path / "x.tar", [(f"{i:02d}.png", image) for i, image in enumerate(images)])
    few = torch.arange(4)
    monkeypatch.setattr("ganvas.data.shards.select_sample", lambda shards, part, *_, **__: part.select(few))
    data = streamed(shards)
    assert data.failure_notes == []
    assert len(next(iter(stream_of(data, batch=12, seed=0))).x) == 12
    note = "images of x with more than 8 bits a channel, at least 1: 8 bits are read; 1 so far"
    assert data.failure_notes == [note]


def test_damaged_images_are_replaced_by_the_next_and_counted(tmp_path: Path) -> None:
    images = [encode(np.full((4, 4, 3), i, np.uint8)) for i in range(12)]
    whole = write_tar(tmp_path / "a" / "x.tar", [(f"{i}.png", image) for i, image in enumerate(images)])
    damaged = [(f"{i}.png", image[:40] if i in (3, 7) else image) for i, image in enumerate(images)]
    data = streamed(write_tar(tmp_path / "b" / "x.tar", damaged))
    assert data.failure_notes == []
    good = [int(v) for b in islice(stream_of(streamed(whole), batch=12, seed=0), 1) for v in b.x[:, 0, 0, 0].round()]
    got = [int(v) for b in islice(stream_of(data, batch=12, seed=0), 1) for v in b.x[:, 0, 0, 0].round()]
    expected = []
    for place in range(12):
        while good[place % 12] in (3, 7):
            place += 1  # noqa: PLW2901
        expected.append(good[place % 12])
    assert got == expected
    (note,) = data.failure_notes
    assert note.startswith("damaged images of x, at least 2: each is replaced by the next; 2 so far, the last x.tar, ")


def test_an_image_above_the_decoders_own_limit_is_named_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = [(f"{i}.png", encode(np.zeros((side, side, 3), np.uint8))) for i, side in enumerate((8, 8, 90, 8))]
    data = streamed(write_tar(tmp_path / "x.tar", members), size="8")
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 4000)
    next(ShardStream(data, batch=4, seed=0))
    why = "has over 8,000 pixels, the most of a streamed image: make it smaller"
    assert data.failures == {"x.tar, 2.png": why}


def test_a_shard_that_vanishes_or_changes_is_named(counted: Path) -> None:
    stream = stream_of(streamed(counted), batch=35, seed=0)
    next(stream)
    (counted / "20.tar").unlink()
    with pytest.raises(
        UserError, match=r"the shard .*20.tar cannot be read \(no such file or directory\): bring it ba"
    ):
        list(islice(stream, 4))
    write_tar(counted / "20.tar", examples([np.zeros((4, 4, 3), np.uint8)] * 2))
    with pytest.raises(UserError, match=r"20.tar has changed while it was read, 10,240 bytes, not .*: start anew"):
        list(islice(stream_of(stream.data, batch=35, seed=0), 2))


def test_an_image_of_another_size_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganvas.data.shards.SAMPLE_EXAMPLES", 2)
    members = [(f"{i}.png", encode(np.zeros((4, 9 if i == 30 else 4, 3), np.uint8))) for i in range(40)]
    stream = ShardStream(streamed(write_tar(tmp_path / "x.tar", members)), batch=40, seed=0)
    with pytest.raises(UserError, match=r"x.tar, 30.png has 9 x 4 pixels, and others 4 x 4: begin .* one size"):
        next(stream)


def test_threads_end_with_the_stream(counted: Path) -> None:
    before = threading.enumerate()
    stream = stream_of(streamed(counted), batch=5, seed=0)
    drawn(stream, 2)
    threads = [thread for thread in threading.enumerate() if thread not in before]
    assert threads
    del stream
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()


def test_balanced_batches_need_memory(counted: Path) -> None:
    with pytest.raises(UserError, match="counted is streamed, and balanced=true needs it in memory"):
        ShardStream(streamed(counted), batch=2, seed=0, balanced=True)


def test_few_batches_are_decoded_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the step is, no more than the batch in use and two more are in memory."""
    data = streamed(write_shards(tmp_path / "x", 200, 50))
    decoded, lock, read = 0, threading.Lock(), StreamedDataset.read_image

    def count(self: StreamedDataset, row: int) -> torch.Tensor | None:
        nonlocal decoded
        with lock:
            decoded += 1
        return read(self, row)

    monkeypatch.setattr(StreamedDataset, "read_image", count)
    stream = ShardStream(data, batch=8, seed=0)
    for used in range(1, 12):
        batch: Batch = next(stream)
        assert len(batch.x) == 8
        for parts in stream.pending:
            for future in parts:
                future.result()
        assert decoded == 8 * (used + shard_stream.BATCHES_AHEAD)
