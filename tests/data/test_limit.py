"""`limit`: at most so many examples, always the same ones."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ganvas.cli.app import main
from ganvas.data import (
    DataOptions,
    Dataset,
    StreamedDataset,
    class_counts,
    dataset,
    from_array,
    load,
    load_or_stream,
    memory,
    shards,
)
from ganvas.data.images import ImageBuffer
from ganvas.errors import UserError
from tests.support.folders import picture
from tests.support.shards import write_shards

N = 60


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Images of a colour each; the third class has one only."""
    for i in range(N):
        picture(tmp_path / "photos" / ("c" if i == 7 else "ab"[i % 2]) / f"{i:03d}.png", i)
    return tmp_path / "photos"


def levels(source: Path, **options: object) -> list[int]:
    return load(source, DataOptions(**options)).x[:, 0, 0, 0].tolist()


def test_examples_are_drawn_from_all_and_are_always_the_same(photos: Path) -> None:
    few = levels(photos, limit=20)
    assert len(set(few)) == 20
    assert few == levels(photos, limit=20)
    everything = levels(photos)
    assert [level for level in everything if level in few] == few  # in their order
    assert not set(few) <= set(everything[:30])
    assert few == levels(photos, limit=20, holdout=0.0)
    assert levels(photos, limit=N) == everything
    note = f"20 of {N} examples were drawn at random, by --limit"
    assert load(photos, DataOptions(limit=20)).notes.count(note) == 1
    assert not any("--limit" in note for note in load(photos, DataOptions(limit=N)).notes)


def test_classes_are_those_of_all_examples(photos: Path) -> None:
    some = load(photos, DataOptions(limit=5))
    assert some.classes == ("a", "b", "c")
    assert class_counts(some)["c"] == 0
    assert class_counts(load(photos, DataOptions(limit=5, classes=("c", "a")))).keys() == {"c", "a"}
    assert sum(class_counts(load(photos, DataOptions(limit=5, classes=("a",)))).values()) == 5


def test_what_is_left_out_is_not_decoded(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []
    monkeypatch.setattr(ImageBuffer, "stack", lambda self, c, stack=ImageBuffer.stack: (
        decoded.append(len(self.infos)), stack(self, c))[1])  # fmt: skip
    levels(photos, limit=7)
    assert decoded == [7]


def test_arrays_tiles_and_parts_have_so_many(photos: Path) -> None:
    x = np.arange(100, dtype=np.float32)[:, None].repeat(3, 1)
    assert load(x, DataOptions(limit=9)).shape == (3,)
    assert len(load(from_array(x), DataOptions(limit=9))) == 9
    assert len(load(photos, DataOptions(limit=9, crop="tiles", size="2"))) == 9
    train, test = (load("digits", DataOptions(limit=11, split=split)) for split in ("train", "test"))
    assert len(train) == len(test) == 11
    assert not torch.equal(train.x, test.x)


def test_it_arrives_from_the_command_line(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "gan", str(photos), "--limit", "30", "--steps", "1", "--batch-size", "4", "--folder", "run"]
    assert main([*words, "--width", "4"]) == 0
    assert f"30 of {N} examples were drawn at random, by --limit" in " ".join(capsys.readouterr().err.split())
    assert main(["resume", "run", "--steps", "2", "--quiet"]) == 0
    assert main([*words, "--limit", "0"]) == 2


def test_of_shards_no_others_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where all of them would not fit into memory, or so many do not."""
    source = str(write_shards(tmp_path))
    everything = load(source).x
    monkeypatch.setattr(shards, "available_memory", lambda: everything.nbytes)
    assert isinstance(load_or_stream(source), StreamedDataset)
    few = load_or_stream(source, DataOptions(limit=20))
    assert isinstance(few, Dataset)
    assert few.notes.count("20 of 60 examples were drawn at random, by --limit") == 1
    assert (few.classes, len({row.numpy().tobytes() for row in few.x})) == (("0", "1", "2"), 20)
    many = load_or_stream(source, DataOptions(limit=40))
    assert isinstance(many, StreamedDataset)
    assert len(many) == 40
    streamed = load_or_stream(source, DataOptions(limit=20, stream="always"))
    assert streamed.in_memory.x.equal(few.x)
    some = DataOptions(limit=5, classes=("2",), stream="always")
    assert load_or_stream(source, some).in_memory.x.equal(load(source, replace(some, stream="never")).x)


def test_more_than_memory_holds_are_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of data that are mapped, which may be larger; all of them are no copy."""
    data = from_array(np.zeros((40, 8, 8), np.uint8), [0, 1] * 20)
    monkeypatch.setattr(dataset, "LARGE_BYTES", 1000)
    monkeypatch.setattr(memory, "available_memory", lambda: 1000)
    for call in (lambda: data.limit(20), lambda: data.filter_classes(["1"])):
        with pytest.raises(UserError, match="20 examples of array would take .* are free: ask for fewer by limit"):
            call()
    assert len(data.limit(10)) == 10
    assert data.filter_classes(["1", "0"]).x is data.x
