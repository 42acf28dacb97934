"""`limit`: at most so many examples, always the same ones."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ganvas.cli.app import main
from ganvas.data import DataOptions, class_counts, from_array, load
from ganvas.data.images import ImageBuffer
from ganvas.errors import UserError
from tests.support.folders import picture
from tests.support.shards import examples, random_images, write_tar

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


def test_streams_have_none(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", examples(random_images(4)))
    with pytest.raises(UserError, match="is streamed, and limit is for examples in memory: give fewer shards"):
        load(str(tmp_path / "a.tar"), DataOptions(limit=2, stream="always"))
    assert len(load(str(tmp_path / "a.tar"), DataOptions(limit=2))) == 2
