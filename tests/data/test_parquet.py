"""Parquet files: images as Hugging Face writes them, bytes, and columns of numbers; in memory and as a stream."""

import builtins
import datetime
import json
import re
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ganvas.data import (
    DataOptions,
    Dataset,
    Scaling,
    ShardStream,
    Stream,
    StreamedDataset,
    class_counts,
    load,
    load_all,
    parquet,
    shards,
)
from ganvas.errors import UserError
from tests.support.cli import said
from tests.support.shards import encode, examples, image_rows, random_images, write_parquet, write_tar

pytest.importorskip("pyarrow")
VECTORS = DataOptions(holdout=0, kind="vector")
ALL, STREAMED = DataOptions(holdout=0), DataOptions(holdout=0, stream="always")
STREAMED_VECTORS = DataOptions(holdout=0, stream="always", kind="vector")
NAMES = json.dumps({"info": {"features": {"label": {"names": ["dog", "cat", "bee"], "_type": "ClassLabel"}}}})
FACES = {b"huggingface": NAMES.encode()}


def streamed(source: Path, options: DataOptions = STREAMED) -> StreamedDataset:
    data = load_all(source, options)
    assert isinstance(data, StreamedDataset)
    return data


def pixels(n: int) -> torch.Tensor:
    return torch.from_numpy(np.stack(random_images(n))).permute(0, 3, 1, 2)


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """35 images in two files with row groups of 10, as the Hub has them, and a file of the test split."""
    images = random_images(40)
    for name, part in (("train-00000-of-00002", slice(20)), ("train-00001-of-00002", slice(20, 35))):
        rows = image_rows(images[part])
        columns = {"image": rows, "label": [i % 2 for i in range(len(rows))], "id": list(range(len(rows)))}
        write_parquet(tmp_path / "faces" / "data" / f"{name}.parquet", columns, metadata=FACES)
    columns = {"image": image_rows(images[35:]), "label": [1] * 5, "id": [0] * 5}
    write_parquet(tmp_path / "faces" / "data" / "test-00000-of-00001.parquet", columns, metadata=FACES)
    return tmp_path / "faces"


def test_images_as_hugging_face_writes_them(faces: Path) -> None:
    data = load(faces)
    assert torch.equal(data.x, pixels(35))
    assert (data.classes, class_counts(data), data.name) == (
        ("dog", "cat", "bee"),
        {"dog": 18, "cat": 17, "bee": 0},
        "faces",
    )
    assert {"labels are those of the column label", "columns left out: id"} <= set(data.notes)
    test = load(faces, DataOptions(split="test"))
    assert torch.equal(test.x, pixels(40)[35:])
    assert test.classes == data.classes
    for source in (f"{faces}/data/train-*.parquet", f"{faces}/data/train-{{00000..00001}}-of-00002.parquet"):
        assert load(source, ALL).fingerprint() == load(faces, ALL).fingerprint()


def test_bytes_without_labels_and_labels_that_are_words(tmp_path: Path) -> None:
    images = [encode(image) for image in random_images(6)]
    data = load(write_parquet(tmp_path / "x.parquet", {"jpeg": images}), ALL)
    assert torch.equal(data.x, pixels(6))
    assert data.labels is None
    data = load(write_parquet(tmp_path / "y.parquet", {"img": images, "class": list("bababa")}), ALL)
    assert class_counts(data) == {"a": 3, "b": 3}
    data = load(write_parquet(tmp_path / "z.parquet", {"img": images, "label": [10, 9, 10, 9, 9, 10]}), ALL)
    assert data.classes == ("9", "10")


def test_columns_of_numbers_are_vectors(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(25, 2))
    columns = {
        "a": x[:, 0],
        "b": x[:, 1].astype(np.float32),
        "n": np.arange(25),
        "__index_level_0__": x[:, 0],
        "label": ["u", "v"] * 12 + ["u"],
    }
    data = load(write_parquet(tmp_path / "x.parquet", columns), VECTORS)
    assert torch.equal(data.x, torch.from_numpy(np.column_stack([x, np.arange(25)]).astype(np.float32)))
    assert (data.classes, data.has_images) == (("u", "v"), False)
    data = load(
        write_parquet(tmp_path / "points.parquet", {"x": x[:, 0], "y": x[:, 1]}), VECTORS
    )  # no class is a fraction
    assert (data.shape, data.labels) == ((2,), None)
    data = load(write_parquet(tmp_path / "y.parquet", {"embedding": list(x.astype(np.float32))}), ALL)
    assert torch.equal(data.x, torch.from_numpy(x.astype(np.float32)))


@pytest.mark.parametrize("window", [2**28, 3 * 300])
def test_a_stream_is_that_of_the_same_examples_in_a_tar(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, window: int
) -> None:
    monkeypatch.setattr(parquet, "MAX_READ_BYTES", window)  # some 3 images a window: 12 of them
    data = streamed(faces)
    assert (data.shards.window < 35) == (window < 2**28)
    labels = [i % 2 for i in range(20)] + [i % 2 for i in range(15)]
    batches = list(islice(ShardStream(data, batch=5, seed=0, scaling=Scaling((0.0, 255.0))), 14))
    for epoch in (batches[:7], batches[7:]):
        x = torch.cat([batch.x for batch in epoch]).round().to(torch.uint8)
        y = torch.cat([batch.y for batch in epoch if batch.y is not None])
        rows = [int((pixels(35) == image).flatten(1).all(1).nonzero()) for image in x]
        assert sorted(rows) == list(range(35))
        assert y.tolist() == [labels[row] for row in rows]
    again = ShardStream(data, batch=5, seed=0, scaling=Scaling((0.0, 255.0)), position=9)
    assert torch.equal(next(again).x, batches[9].x)
    if window == 2**28:
        tar = write_tar(tmp_path / "x.tar", examples(random_images(35), None))
        same = streamed(tar)
        assert torch.equal(next(ShardStream(same, batch=5, seed=0)).x, next(ShardStream(data, batch=5, seed=0)).x)


def test_streamed_vectors_equal_those_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
    path = write_parquet(tmp_path / "x.parquet", {name: x[:, i] for i, name in enumerate("abc")}, group=20)
    data, same = streamed(path, STREAMED_VECTORS), load(path, VECTORS)
    assert torch.equal(same.x, torch.from_numpy(x))
    pairs = zip(ShardStream(data, batch=7, seed=3), Stream(same, batch=7, seed=3), strict=False)
    assert all(torch.equal(a.x, b.x) for a, b in islice(pairs, 60))
    monkeypatch.setattr(shards, "SAMPLE_EXAMPLES", 50)
    monkeypatch.setattr(parquet, "SAMPLE_SHARDS", 4)
    sample = streamed(path, STREAMED_VECTORS).in_memory
    rows = [int((torch.from_numpy(x) == row).all(1).nonzero()) for row in sample.x]
    assert rows == sorted(rows)
    assert len(rows) == 50
    groups = {row // 20 for row in rows}
    assert len(groups) == 4


@pytest.mark.parametrize("stream", ["always", "never"])
def test_vectors_have_no_options_of_images(tmp_path: Path, stream: str) -> None:
    path = write_parquet(tmp_path / "x.parquet", {"a": [1.0, 2.0], "b": [3.0, 4.0]})
    for option, value, what in (("size", "8", "size"), ("channels", 3, "channels"), ("range", "0,1", "black and")):
        with pytest.raises(UserError, match=f"x holds vectors, which have no {what}.*: leave out {option}"):
            load_all(path, DataOptions(holdout=0, stream=stream, kind="vector", **{option: value}))  # type: ignore[arg-type]


def test_row_groups_larger_than_memory_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_parquet(tmp_path / "x.parquet", {"a": np.random.default_rng(0).normal(size=1000)}, group=1000)
    monkeypatch.setattr(shards, "available_memory", lambda: 20_000)
    monkeypatch.setattr(parquet, "read_columns", lambda *how: 1 // 0)
    with pytest.raises(UserError, match="x.parquet has row groups of .*, and .* are the most that is read at once"):
        load_all(path, VECTORS)


def test_few_row_groups_are_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "WINDOW", 20)
    x = np.random.default_rng(0).normal(size=(1000, 2))
    path = write_parquet(tmp_path / "x.parquet", {"a": x[:, 0], "b": x[:, 1]}, group=10)
    data = streamed(path, STREAMED_VECTORS)
    assert isinstance(data.shards, parquet.ParquetShards)
    read, largest = parquet.read_columns, 0
    data.shards.cache.max_bytes = 6 * 10 * 2 * 4  # six groups of float32
    stream = ShardStream(data, batch=10, seed=0)
    counts = []
    monkeypatch.setattr(parquet, "read_columns", lambda *how: counts.append(how[2]) or read(*how))
    for _ in range(100):
        next(stream)
        largest = max(largest, len(data.shards.cache.groups))
    assert largest == 6
    for _ in range(2):
        next(stream)
    assert len(counts) <= 110  # each group is read once an epoch


def test_memory_for_row_groups_is_that_of_two_windows(tmp_path: Path) -> None:
    columns = {"a.b": np.random.default_rng(0).normal(size=4000), "same": [1] * 4000, "lists": [[1.0, 2.0]] * 4000}
    path = write_parquet(tmp_path / "x.parquet", columns, group=1000)
    index = parquet.open_parquet([path])
    assert index.read_bytes >= 1000 * (8 + 4 + 2 * 4)  # a column of one number takes few bytes of a file, yet 4 each
    assert index.cache.max_bytes == 2 * (parquet.WINDOW * index.mean_bytes + index.read_bytes)
    assert index.vectors(np.arange(0, 4000, 500)).shape == (8, 4)


def test_columns_in_another_order_and_lists_in_lists(tmp_path: Path) -> None:
    folder = tmp_path / "two"
    write_parquet(folder / "a.parquet", {"a": [1.0], "b": [2]})
    write_parquet(folder / "b.parquet", {"b": [2], "a": [1.0]})
    assert load(folder, ALL).x.tolist() == [[1.0, 2.0], [1.0, 2.0]]
    lists = np.arange(12.0).reshape(2, 2, 3)
    data = load(write_parquet(tmp_path / "x.parquet", {"a": lists.tolist(), "on": [True, False]}), ALL)
    assert data.x.tolist() == [[*range(6), 1], [*range(6, 12), 0]]


def test_labels_of_every_kind(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    images = [encode(image) for image in random_images(4)]
    for labels, classes in (
        (pa.array([b"b", b"a", b"b", b"a"]), ("a", "b")),
        (pa.array([10, 9, 10, 9], pa.int8()), ("9", "10")),
        (pa.array([True, False, True, False]), ("False", "True")),
        (pa.array(["b", "a", "b", "a"]).dictionary_encode(), ("a", "b")),
        (pa.DictionaryArray.from_arrays(pa.array([2, 0, 2, 0]), pa.array(["a", "-", "b"])), ("a", "b")),
    ):
        data = load(write_parquet(tmp_path / "x.parquet", {"image": images, "label": labels}, group=2), ALL)
        assert data.classes == classes
        assert data.labels is not None
        assert data.labels.tolist() == [1, 0, 1, 0]
    path = write_parquet(tmp_path / "none.parquet", {"image": images, "label": [-1] * 4}, metadata=FACES)
    assert load(path, ALL).labels is None


@pytest.mark.parametrize("options", [ALL, STREAMED])
def test_integers_that_float32_rounds_are_said(tmp_path: Path, options: DataOptions) -> None:
    columns = {"a": [1, 2**24, 3], "b": [0.5, 1e9, 2.0], "c": [[1, 2], [-(2**24), 4], [5, 6]]}
    assert "rounded" not in "".join(load_all(write_parquet(tmp_path / "x.parquet", columns, group=2), options).notes)
    for columns["c"][1][0], largest in ((2**24 + 1, "16,777,217"), (-(2**40), "1,099,511,627,776")):
        data = load_all(write_parquet(tmp_path / "x.parquet", columns, group=2), options)
        note = f"the column c has integers up to {largest}: those beyond 16,777,216 were rounded"
        assert f"{note}, since vectors are float32" in data.notes


def test_a_damaged_row_group_ends_the_run(tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    path = write_parquet(tmp_path / "x.parquet", {"image": [encode(image) for image in random_images(60)]}, group=20)
    content, column = bytearray(path.read_bytes()), pq.ParquetFile(path).metadata.row_group(2).column(0)
    data = streamed(path)
    assert column.data_page_offset
    content[column.data_page_offset : column.data_page_offset + 40] = b"\xff" * 40
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"x.parquet, row group 2, is damaged or no Parquet file"):
        load(path, ALL)
    assert isinstance(data.shards, parquet.ParquetShards)
    data.shards.cache.groups.clear()
    with pytest.raises(UserError, match=r"x.parquet, row group 2, is damaged or no Parquet file"):
        list(islice(ShardStream(data, batch=20, seed=0), 3))
    assert not data.failures


def test_more_files_than_may_be_open(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    for i in range(40):
        write_parquet(tmp_path / "many" / f"{i:02d}.parquet", {"a": [float(i), 1.0], "b": [0.0, 1.0]})
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    n_open = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 100
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (n_open + 20, limits[1]))
        stream = ShardStream(streamed(tmp_path / "many"), batch=8, seed=0)
        assert sum(len(batch.x) for batch in islice(stream, 10)) == 80
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_shards_and_parquet_as_the_documentation_makes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i, image in enumerate(random_images(6)):
        file = tmp_path / "photos" / "ab"[i % 2] / f"{i}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encode(image, "JPEG"))
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    same = load("photos", ALL)
    for source in ("shards", "parquet", "shards/photos-{0000..0000}.tar"):
        data = load(source, ALL)
        assert class_counts(data) == {"a": 3, "b": 3}
        rows, same_rows = (part.x.flatten(1).tolist() for part in (data, same))
        assert sorted(rows) == sorted(same_rows)


def test_command_line(faces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny = ["--steps", "4", "--batch-size", "4", "--width", "4", "--latent", "3", "--quiet", "--stream", "always"]
    run = said(capsys, "train", "vae", str(faces), *tiny)
    assert said(capsys, "sample", run, "-n", "2", "--out", "a.npy")
    assert "images, bytes" in said(capsys, "data", str(faces))


def test_what_is_wrong_is_said_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, images = tmp_path / "x.parquet", [encode(image) for image in random_images(4)]
    for columns, words in (
        ({"image": images, "label": [1, None, 1, 1]}, "x.parquet, row 1 has no label, though others have"),
        ({"a": images, "b": images}, "has several columns of images, a, b: call one of them image"),
        ({"text": list("abcd")}, "needs a column of encoded images, or columns of numbers, and text holds neither"),
        ({"a": [1.0, 2.0], "t": [datetime.date(2020, 1, 1)] * 2}, "and t holds neither: drop or change it"),
        ({"a": [1.0, None]}, "row group 0, has 1 empty fields in a: fill them"),
        ({"a": [1.0, float("nan")]}, "row group 0 holds nan .*: remove, replace or rescale it"),
        ({"a": [1e300, 1.0]}, r"row group 0 holds inf \(as float32\) at index \[0, 0\]"),
        ({"a": [[1.0, None], [1.0, 2.0]]}, "row group 0, has 1 empty fields in a: fill them"),
        ({"a": [[1.0], [1.0, 2.0]]}, "has lists of different lengths in a"),
        ({"a": [[1.0], [1.0, 2.0, 3.0]]}, "has lists of different lengths in a"),
        ({"a": [[[1.0]], [[1.0, 2.0]]]}, "has lists of different lengths in a"),
        ({"a": [[1.0, 2.0]] * 10 + [[3.0]]}, "x.parquet has vectors of 1 numbers, and others 2: give all one length"),
        ({"image": images, "label": [[0, 1]] * 4}, "x.parquet has lists or structures in its column label"),
        ({"image": images, "label": [datetime.date(2020, 1, 1)] * 4}, "column label: .2020-01-01. is no single class"),
        ({"image": [{"bytes": None, "path": "a.png"}, {"bytes": b"", "path": None}]}, "the path of an image, not its"),
        ({"image": [b"x", b"y"]}, "none of 2 images can be read; the first, x.parquet, row 0: cannot identify"),
    ):
        with pytest.raises(UserError, match=words):
            load(write_parquet(path, columns), VECTORS if "image" not in columns else ALL)  # type: ignore[arg-type]
    columns = {"image": images, "label": [0, 1, -2, 1]}
    with pytest.raises(UserError, match="x.parquet, column label: -2 is none of its 3 classes, 0 to 2"):
        load(write_parquet(path, columns, metadata=FACES), ALL)
    table = pytest.importorskip("pyarrow").table([[1.0], [2.0]], names=["a", "a"])
    pytest.importorskip("pyarrow.parquet").write_table(table, path)
    with pytest.raises(UserError, match="x.parquet has several columns called a: give each a name of its own"):
        load(path, VECTORS)
    data = load(write_parquet(path, {"image": [*images, None], "label": [0, 1, 0, 1, 1]}), ALL)
    assert data.notes[0] == "1 file skipped (x.parquet, row 4: it holds no image)"
    whole = path.read_bytes()
    for content in (b"", whole[:-9], whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"x.parquet is damaged or no Parquet file"):
            load(path)
    write_parquet(tmp_path / "two" / "a.parquet", {"image": images})
    write_parquet(tmp_path / "two" / "b.parquet", {"picture": images})
    with pytest.raises(UserError, match=r"b.parquet has other columns than a.parquet: give files with the same"):
        load(tmp_path / "two")
    monkeypatch.setattr(shards, "MAX_READ_BYTES", 100)
    with pytest.raises(
        UserError, match="row groups of .* MiB, and .* are the most that is read at once: write it with"
    ):
        load(write_parquet(path, {"image": images}), STREAMED)
    assert isinstance(load_all(path, ALL), Dataset)


def test_without_pyarrow_one_sentence(faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *how: Any, **more: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *how, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r'is read by pyarrow: pip install "ganvas\[parquet\]"'):
        load(faces)


def test_a_column_of_no_type_in_a_row_group(tmp_path: Path) -> None:
    """Arrow would end the process, as its statistics are read."""
    write_parquet(tmp_path / "x.parquet", {"image": [{"bytes": encode(x), "path": "x"} for x in random_images(2)]})
    content = (tmp_path / "x.parquet").read_bytes()
    damaged = content.replace(b"\x1c\x15\x0c\x19", b"\x1c\x15\x7e\x19", 1)  # the type of Thrift's ColumnMetaData
    assert damaged != content
    (tmp_path / "x.parquet").write_bytes(damaged)
    with pytest.raises(UserError, match="is damaged or no Parquet file: row group 0 has columns of the types UNKNOWN"):
        load(tmp_path / "x.parquet")


def test_fewer_labels_than_examples_are_a_damaged_file(faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the metadata of a damaged file may have it: its index has one label for all of them."""
    select = shards.select_examples

    def damaged(source: str, files: Any, index: Any, options: DataOptions) -> Any:
        return select(source, files, replace(index, labels=index.labels[:1]), options)

    monkeypatch.setattr(shards, "select_examples", damaged)
    with pytest.raises(UserError, match=r"is damaged: it has 1 labels of \d+ examples"):
        load(faces)
