"""Arrays, tensors and array files as collections."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ganvas.data import DataOptions, class_counts, from_array, load
from ganvas.errors import UserError
from tests.support.idx import write_idx

RANDOM = np.random.default_rng(0)
BYTES = RANDOM.integers(0, 256, (6, 5, 7), np.uint8)


@pytest.mark.parametrize(
    ("array", "shape"),
    [
        (BYTES, (1, 5, 7)),
        (np.stack([BYTES] * 3, -1), (3, 5, 7)),
        (np.stack([BYTES] * 4, 1), (4, 5, 7)),
        (torch.from_numpy(np.stack([BYTES] * 3, 1)), (3, 5, 7)),
        (np.zeros((2, 3, 8, 4), np.uint8), (4, 3, 8)),  # both could be channels: an array's are last
        (torch.zeros((2, 3, 8, 4), dtype=torch.uint8), (3, 8, 4)),  # a tensor's come first
        (RANDOM.normal(size=(6, 9)), (9,)),
        (np.arange(12).reshape(3, 4), (4,)),
    ],
)
def test_an_array_has_channels_first(array: Any, shape: tuple[int, ...]) -> None:
    collection = from_array(array)
    assert collection.shape == shape
    assert collection.x.dtype == (torch.uint8 if len(shape) == 3 else torch.float32)


@pytest.mark.parametrize(("integer", "is_rounded"), [(2**24, False), (2**24 + 1, True), (-(2**24) - 1, True)])
def test_integers_that_float32_rounds_are_said(integer: int, is_rounded: bool) -> None:
    note = "array has integers up to 16,777,217: those beyond 16,777,216 were rounded, since vectors are float32"
    assert from_array(np.array([[integer, 0]])).notes == (note,) * is_rounded


def test_pixels_are_kept_to_the_bit() -> None:
    image = np.stack([BYTES, BYTES[::-1], 255 - BYTES], -1)
    np.testing.assert_array_equal(from_array(image).x.movedim(1, -1).numpy(), image)


def test_other_types_of_pixels_become_bytes() -> None:
    assert from_array(BYTES > 127).x.unique().tolist() == [0, 255]
    assert torch.equal(from_array(BYTES.astype(np.int64)).x, from_array(BYTES).x)
    exact = from_array(BYTES / np.float32(255))
    assert torch.equal(exact.x, from_array(BYTES).x)
    assert exact.notes == ()
    assert "rounded to 256 levels" in from_array(RANDOM.random((2, 5, 7)), bits=8).notes[0]
    assert "rounded to 256 levels" in from_array(RANDOM.random((2, 5, 7, 4))).notes[0]


@pytest.mark.parametrize(
    ("array", "labels", "message"),
    [
        (np.array([["a", "b"]]), None, "holds <U1 values"),
        (np.array([[1 + 2j]]), None, "holds complex128 values"),
        (np.zeros(3), None, r"has shape \(3,\)"),
        (np.zeros((2, 3, 4, 5, 6)), None, r"has shape \(2, 3, 4, 5, 6\)"),
        (np.zeros((0, 5, 5)), None, "is empty"),
        (np.zeros((4, 18, 18, 17), np.uint8), None, "images need 1 to 16 channels"),
        (np.full((2, 5, 5), 2**60), None, r"integers up to 1.15e\+18, beyond 2\^53"),
        (np.array([[0.0, np.nan]]), None, r"holds nan .* at index \[0, 1\]"),
        (np.array([[0.0], [np.inf]]), None, r"holds inf .* at index \[1, 0\]"),
        (np.array([[1.0, 1e300]]), None, r"holds inf \(as float32\) at index \[0, 1\]"),
        (np.full((2, 5, 5), np.nan), None, "holds nan"),
        (BYTES, np.zeros(5, int), r"6 examples, but labels of shape \(5,\)"),
        (BYTES, np.full(6, 0.5), "labels of type float64"),
        (BYTES, np.full(6, -1), "labels from -1 to -1"),
        (BYTES, np.full(6, 10**9), "number the classes from 0"),
    ],
)
def test_what_cannot_be_used_is_refused_in_a_sentence(array: Any, labels: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        from_array(array, labels)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 6, 6, 2), np.uint8), "images need 1, 3 or 4 channels"),
        (np.full((2, 5, 5), 300), "pixels from 300 to 300"),
        (np.full((2, 5, 5), -0.5), r"float64 pixels from -0.5 to -0.5: scale them to \[0, 1\]"),
    ],
)
def test_what_256_levels_cannot_hold_is_refused(array: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        from_array(array, bits=8)


def test_labels_may_be_names() -> None:
    collection = from_array(BYTES, np.array(["b", "a", "b", "c", "c", "c"]))
    assert class_counts(collection) == {"a": 1, "b": 2, "c": 3}


def test_only_some_classes() -> None:
    collection = from_array(BYTES, np.array([0, 1, 2, 0, 1, 2]), classes=("x", "y", "z"))
    part = load(collection, DataOptions(classes=("z", "x")))
    assert class_counts(part) == {"z": 2, "x": 2}
    assert torch.equal(part.x[0], collection.x[0])
    with pytest.raises(UserError, match='no class "zz".* Did you mean "z"'):
        collection.filter_classes(["zz"])
    with pytest.raises(UserError, match="one class twice"):
        collection.filter_classes(["x", "x"])
    with pytest.raises(UserError, match="has no classes"):
        from_array(BYTES).filter_classes(["x"])


def test_a_fingerprint_tells_data_apart() -> None:
    collections = [
        from_array(BYTES),
        from_array(255 - BYTES),
        from_array(BYTES, np.zeros(6, int)),
        from_array(BYTES[:5]),
    ]
    prints = [c.fingerprint() for c in collections]
    assert len(set(prints)) == 4
    assert from_array(BYTES.copy()).fingerprint() == prints[0]


def test_npz_and_npy_files_are_read(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "a.npz", x_train=BYTES, y_train=np.arange(6), x_test=BYTES[:2], y_test=np.arange(2), other=BYTES
    )
    assert len(load(tmp_path / "a.npz")) == 6
    assert len(load(tmp_path / "a.npz").classes) == 6
    assert len(load(tmp_path / "a.npz", DataOptions(split="test"))) == 2
    assert load(f"{tmp_path}/a.npz:other").labels is None
    np.save(tmp_path / "b.npy", BYTES)
    assert load(tmp_path / "b.npy").shape == (1, 5, 7)
    np.savez(tmp_path / "c.npz", whatever=BYTES)
    assert len(load(tmp_path / "c.npz")) == 6
    np.savez(tmp_path / "d.npz", one=BYTES, two=BYTES)
    with pytest.raises(UserError, match="only one, two: choose one as d.npz:NAME"):
        load(tmp_path / "d.npz")
    with pytest.raises(UserError, match='no array "three"'):
        load(f"{tmp_path}/d.npz:three")
    with pytest.raises(UserError, match='has no split "test"'):
        load(tmp_path / "b.npy", DataOptions(split="test"))


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "o.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match="Python objects, which Ganvas never unpickles"):
        load(tmp_path / "o.npy")


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x-images-idx3-ubyte", "x-images-idx3-ubyte.gz"])
def test_damaged_files_are_refused_in_a_sentence(name: str, tmp_path: Path) -> None:
    idx = b"\x00\x00\x08\x03" + struct.pack(">3I", 9, 9, 9) + b"x"
    for content in (b"", b"garbage", b"PK123", b"PK\x03\x04garbage", idx):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=r"is damaged|no IDX file"):
            load(tmp_path / name)


@pytest.mark.parametrize("packed", [False, True])
def test_idx_files_are_read(packed: bool, tmp_path: Path) -> None:
    write_idx(tmp_path, "train", BYTES, np.arange(6, dtype=np.uint8), packed)
    write_idx(tmp_path, "t10k", BYTES[:2], np.arange(2, dtype=np.uint8), packed)
    train, test = load(tmp_path), load(tmp_path, DataOptions(split="test"))
    assert (len(train), len(test)) == (6, 2)
    np.testing.assert_array_equal(train.x[:, 0].numpy(), BYTES)
    assert train.labels is not None
    assert train.labels.tolist() == list(range(6))
    file = next(tmp_path.glob("train-images*"))
    assert load(file).fingerprint() == train.fingerprint()


def test_images_are_not_their_own_labels_where_capitals_make_no_difference(tmp_path: Path) -> None:
    write_idx(tmp_path, "train", BYTES, np.arange(6, dtype=np.uint8), packed=True)
    file = next(tmp_path.glob("train-images*")).rename(tmp_path / "digits-ubyte.gz")
    (tmp_path / "digits-ubyte.GZ").symlink_to(file)  # such a file system finds it by this name, too
    assert load(file).labels is None


def test_options_that_mean_nothing_for_a_source_are_refused() -> None:
    with pytest.raises(UserError, match="an array has no split 'test'"):
        load(BYTES, DataOptions(split="test"))
    with pytest.raises(UserError, match="data_dir is where mnist, fashion-mnist, cifar10 are looked for"):
        load("ring", DataOptions(data_dir="x"))
    with pytest.raises(UserError, match="the data source is empty"):
        load("")


def test_sizes_and_channels_are_changed_only_when_asked() -> None:
    collection = from_array(np.stack([BYTES] * 3, -1))
    assert load(collection) is collection
    assert load(collection, DataOptions(size="10")).shape == (3, 10, 10)
    assert load(collection, DataOptions(size="4x8")).shape == (3, 4, 8)
    assert load(collection, DataOptions(channels=1)).shape == (1, 5, 7)
    assert load(collection, DataOptions(channels=4)).x[:, 3].unique().tolist() == [255]
    with pytest.raises(UserError, match="holds vectors, which have no size"):
        load("ring", DataOptions(size="8"))


def test_a_resize_keeps_flat_colour_and_crops_the_middle() -> None:
    wide = np.zeros((1, 8, 16, 3), np.uint8)
    wide[:, :, 4:12] = (200, 100, 50)
    small = load(from_array(wide), DataOptions(size="4")).x[0]
    assert small.flatten(1).float().std(1).max() < 30
    assert small[:, 1:3, 1:3].float().mean((1, 2)).tolist() == pytest.approx([200, 100, 50], abs=6)


def test_transparent_pixels_do_not_bleed_into_a_resize() -> None:
    image = np.zeros((1, 16, 16, 4), np.uint8)
    image[:, :, :8] = (255, 0, 0, 255)
    image[:, :, 8:] = (0, 255, 0, 0)
    small = load(from_array(image), DataOptions(size="4")).x[0]
    seen = small[:, small[3] > 64]
    assert seen[1].max() <= 1  # no green in what can be seen


def test_alpha_is_laid_on_white() -> None:
    image = np.array([[[[10, 20, 30, 0], [10, 20, 30, 255]]]], np.uint8)
    rgb = load(from_array(image), DataOptions(channels=3)).x[0, :, 0]
    assert rgb.T.tolist() == [[255, 255, 255], [10, 20, 30]]
