"""Examples from Python: lists of images, PyTorch's data sets, tables of pandas, collections, names of runs."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import ganvas
from ganvas.data import DataOptions, load
from ganvas.data.containers import from_object
from ganvas.errors import UserError

RANDOM = np.random.default_rng(0)
X = RANDOM.integers(0, 256, (12, 8, 6, 3), np.uint8)
Y = np.arange(12) % 3
PLANES = torch.from_numpy(X).movedim(-1, 1)


class Items(Dataset[Any]):
    """As many users write it: bounded by its length, and not by an IndexError."""

    def __init__(self, make: Any, n: int = 12) -> None:
        self.make, self.n = make, n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> Any:
        return self.make(i % 12)


KINDS: dict[str, Any] = {
    "tensors in [0, 1] and labels": Items(lambda i: (PLANES[i].float() / 255, int(Y[i]))),
    "arrays and labels in tensors": Items(lambda i: (X[i], torch.tensor(Y[i]))),
    "dictionaries": Items(lambda i: {"pixel_values": PLANES[i], "label": Y[i]}),
    "Pillow's images and names": Items(lambda i: (Image.fromarray(X[i]), "abc"[Y[i]])),
    "one-hot labels": Items(lambda i: (X[i], np.eye(3)[Y[i]])),
    "TensorDataset": TensorDataset(PLANES, torch.from_numpy(Y)),
    "list of pairs": [(x, int(y)) for x, y in zip(X, Y, strict=True)],
}


@pytest.mark.parametrize("kind", list(KINDS))
def test_images_with_labels_are_read(kind: str) -> None:
    found = load(KINDS[kind])
    assert torch.equal(found.x, PLANES)
    assert found.labels is not None
    assert found.labels.tolist() == Y.tolist()
    assert found.classes == (("a", "b", "c") if "names" in kind else ("0", "1", "2"))


@pytest.mark.parametrize(
    "images",
    [list(X), [Image.fromarray(x) for x in X], list(PLANES), Items(lambda i: PLANES[i]), TensorDataset(PLANES)],
    ids=["arrays", "pillow", "tensors", "data set", "TensorDataset"],
)
def test_images_alone_are_read(images: Any) -> None:
    found = load(images)
    assert torch.equal(found.x, PLANES)
    assert found.labels is None


def test_classes_of_a_data_set_have_its_names() -> None:
    data = Items(lambda i: (X[i], int(Y[i])))
    data.classes = ["ant", "bee", "cow", "dog"]  # type: ignore[attr-defined]
    found = load(data)
    assert found.classes == ("ant", "bee", "cow", "dog")
    assert "no example is of class dog" in found.notes


def test_images_of_several_sizes_are_resized_on_request() -> None:
    for make in (lambda x: x, lambda x: torch.from_numpy(x).movedim(-1, 0), Image.fromarray):
        images = [make(np.full((8, 6 + i % 2, 3), 40 * i, np.uint8)) for i in range(5)]
        with pytest.raises(UserError, match=r"that list holds images of 2 shapes .*ask for one size"):
            load(images)
        found = load(images, DataOptions(size="4"))
        assert found.shape == (3, 4, 4)
        assert found.x[:, 0, 0, 0].tolist() == [0, 40, 80, 120, 160]
        images[0] = make(np.zeros((8, 6, 4), np.uint8))
        with pytest.raises(
            UserError, match=r"2 shapes \(4 of 3x4x4, 1 of 4x4x4\): .* and channels=3 where these differ"
        ):
            load(images, DataOptions(size="4"))
        assert load(images, DataOptions(size="4", channels=3)).shape == (3, 4, 4)


def test_numbers_of_several_sizes_have_one_scale() -> None:
    """An image whose numbers bytes could hold stays on the scale of those whose numbers they could not."""
    images = [torch.full((3, 8, 6 + i % 2), level) for i, level in enumerate((0.0, 0.123456, 1.0))]
    found = load(images, DataOptions(size="4"))
    assert found.x[:, 0, 0, 0].tolist() == pytest.approx([0, 0.123456, 1])
    dark = np.zeros((8, 6, 3), np.uint8)
    dark[:4] = 1
    found = load([dark, np.full((8, 7, 3), 200, np.uint8)], DataOptions(size="4"))
    assert found.x.amax((1, 2, 3)).tolist() == [1, 200]


def test_images_of_several_channels_get_those_asked_for() -> None:
    images = [Image.new("L", (6, 8), 40), Image.new("RGB", (6, 8), (40, 40, 40))]
    assert load(images, DataOptions(channels=3)).x.unique().tolist() == [40]
    assert load(images, DataOptions(channels=1)).shape == (1, 8, 6)
    with pytest.raises(UserError, match="images of 2 shapes"):
        load([np.zeros((2, 8, 6), np.uint8), np.zeros((1, 8, 6), np.uint8)], DataOptions(channels=3))
    with pytest.raises(UserError, match="images of 2 shapes"):
        load([np.zeros((2, 3, 8, 6), np.uint8), np.zeros((1, 3, 8, 6), np.uint8)], DataOptions(size="4"))


def test_floats_of_several_sizes_that_are_bytes_become_bytes() -> None:
    images = [torch.full((1, 8, 6 + i % 2), level / 255) for i, level in enumerate((0, 40, 255))]
    assert load(images, DataOptions(size="4")).x[:, 0, 0, 0].tolist() == [0, 40, 255]


def test_rows_of_numbers_and_tables() -> None:
    assert load([[1.0, 2], [3, 4], [5, 6]]).shape == (2,)
    table = SimpleNamespace(dtypes=[np.dtype(float), np.dtype(int)], columns=["a", "b"])
    table.to_numpy = lambda: np.array([[1.5, 2], [3, 4]], object)
    assert from_object(table, DataOptions()).x.tolist() == [[1.5, 2], [3, 4]]
    table.dtypes[1], table.to_numpy = np.dtype(object), lambda: np.array([[1.5, "x"]], object)
    with pytest.raises(UserError, match="columns b hold no numbers"):
        from_object(table, DataOptions())


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        while True:
            yield X[0]


class Lengthless(Dataset[Any]):
    def __getitem__(self, i: int) -> Any:
        return X[0]


class Infinite(Lengthless):
    def __len__(self) -> int:
        raise OverflowError("infinite")


def broken(i: int) -> Any:
    if i < 5:
        return X[i]
    raise FileNotFoundError(2, "No such file or directory", "photo5.jpg")


WRONG: dict[str, tuple[Any, str]] = {
    "loader": (DataLoader(Items(lambda i: X[i])), "has no items by number.*LOADER.dataset"),
    "iterable": (Endless(), "a endless has no items by number|an? endless has no items"),
    "no length": (Lengthless(), "a lengthless has no length, so nothing says how many examples it has: give it __len"),
    "infinite": (Infinite(), "a infinite has no length"),
    "an error of its own": (Items(broken), r"item 5 of that items raises FileNotFoundError: .*'photo5.jpg'"),
    "a key of its own": (Items(lambda i: {}["image"]), "item 0 of that items raises KeyError: 'image'"),
    "generator": ((x for x in X), "generator has no items by number"),
    "dictionary": ({"x": X}, "a dict is no data source"),
    "one image": (Image.fromarray(X[0]), "that is one image: give a list"),
    "one image as an array": (np.zeros((16, 12, 3), np.uint8), r"if that is one image h x w x 3, give it as x\[None\]"),
    "too long": (TensorDataset(PLANES[:0]), "is empty"),
    "names": (["a.png", "b.png"], "that list holds|is no image but a str|holds <U5 values"),
    "half labelled": ([(X[0], 1), (X[1], None)], "item 1 of that list has no label"),
    "three of each": (Items(lambda i: (X[i], 1, 2)), r"item 0 of that items is a tuple of 3: give \(image, label\)"),
    "two types": ([X[0], X[1] / 255], r"images of two types \(1 of floating-point numbers, 1 of integers\): give all"),
    "segmentation": (Items(lambda i: (X[i], X[i])), "has a label that is a ndarray"),
    "no image": (Items(lambda i: {"text": "x"}), "item 0 of that items has text"),
    "ragged rows": ([[1, 2], [3]], "rows of different lengths"),
    "number": (3, "a int is no data source"),
}


@pytest.mark.parametrize("kind", list(WRONG))
def test_what_is_refused_in_a_sentence(kind: str) -> None:
    source, message = WRONG[kind]
    with pytest.raises(UserError, match=message):
        from_object(source, DataOptions())


def test_a_length_that_is_no_length() -> None:
    class Short(Items):
        def __getitem__(self, i: int) -> Any:
            return X[:5][i]

    with pytest.raises(UserError, match="has a length of 12, but no item 5"):
        load(Short(None))


def test_collections_are_checked_where_they_are_used() -> None:
    labels = torch.from_numpy(Y)
    assert load(ganvas.Dataset(x=PLANES, labels=labels)).classes == ("0", "1", "2")
    for wrong, message in (
        (ganvas.Dataset(x=PLANES.float()), "not 12x3x8x6 of float32"),
        (ganvas.Dataset(x=PLANES[:0]), "is empty"),
        (ganvas.Dataset(x=PLANES, labels=labels[:5]), r"12 examples, but its labels are \(5,\)"),
        (ganvas.Dataset(x=PLANES, labels=labels.float()), "of torch.float32"),
        (ganvas.Dataset(x=PLANES, labels=labels, classes=("a",)), "labels from 0 to 2: they must be 0 to 0"),
        (ganvas.Dataset(x=PLANES, labels=labels - 1), "labels from -1 to 1"),
    ):
        with pytest.raises(UserError, match=message):
            load(wrong)


def test_shapes_that_may_be_read_otherwise_are_noted() -> None:
    assert "was read as 100 grey images of 5 x 3 pixels" in ganvas.from_array(np.zeros((100, 5, 3), np.uint8)).notes[0]
    assert "was read as 3 grey images of 9 x 8" in ganvas.from_array(torch.zeros((3, 9, 8), dtype=torch.uint8)).notes[0]
    rows = ganvas.from_array(RANDOM.integers(0, 256, (40, 64), np.uint8))
    assert rows.shape == (64,)
    assert "if these are images, reshape them to n x 8 x 8" in rows.notes[0]
    assert "n x 8 x 8 x 3" in ganvas.from_array(RANDOM.integers(0, 256, (40, 192), np.uint8)).notes[0]
    assert ganvas.from_array(RANDOM.normal(size=(40, 64))).notes == ()


def test_a_model_learns_from_a_data_set_and_goes_on_with_it(tmp_path: Path) -> None:
    data = KINDS["tensors in [0, 1] and labels"]
    run = ganvas.train(ganvas.VAE(latent=2, width=4), data, steps=1, quiet=True, folder=tmp_path / "runs" / "a")
    assert run.folder is not None
    assert ganvas.resume(run.folder, steps=2, data=data, quiet=True).metadata["step"] == 2
    with pytest.raises(UserError, match=r"images with labels are ganvas.from_array\(images, labels\)"):
        ganvas.train(ganvas.VAE(), (X, Y), quiet=True)
    for name in ("last", "a", str(run.folder), run.folder):
        assert ganvas.evaluate(name, data, metrics=["reconstruction"])["examples"] == 12
    assert len(ganvas.interpolate("a")) > 2
    with pytest.raises(UserError, match="no run 'photos': neither a path nor a run"):
        ganvas.evaluate("photos", "photos")


def test_lists_of_paths_are_told_from_rows_of_numbers() -> None:
    for source in (["a.png", "b.JPG"], [Path("a.png")], [("a.png", 0)]):
        with pytest.raises(UserError, match="that list holds paths: give their folder, or open them"):
            load(source)


def test_bfloat16_is_read_as_float32() -> None:
    rows = torch.tensor([[1.0, 2.5], [3.0, -4.0]])
    assert torch.equal(load(rows.bfloat16()).x, rows)
    assert torch.equal(
        load(list(rows.bfloat16().abs().reshape(2, 1, 2) / 4)).x, load(list(rows.abs().reshape(2, 1, 2) / 4)).x
    )


def test_a_range_maps_the_numbers_of_images_of_several_sizes_once() -> None:
    """The same as of images of one size: 0 is black and 1 is white, not bytes that were made before."""
    images = [np.full((size, size), level / 255, np.float32) for size, level in ((8, 51), (16, 204))]
    options = DataOptions(size="8", range="0,1", bits=8)
    several, one = load(images, options), load([images[0], images[1][:8, :8]], options)
    assert several.x[:, 0, 0, 0].tolist() == one.x[:, 0, 0, 0].tolist() == [51, 204]


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_images_of_several_sizes_keep_their_type(dtype: type[np.generic]) -> None:
    images = [np.full((size, size), level, dtype) for size, level in ((8, 70), (16, 40_000), (12, 65_535))]
    found = load(images, DataOptions(size="8"))
    assert (found.source_dtype, found.x[:, 0, 3, 3].tolist()) == (np.dtype(dtype).name, [70, 40_000, 65_535])
    assert f"numbers of {np.dtype(dtype).name} from 70 to 65535" in found.notes[0]
    low = load([images[0], np.pad(images[0], 4, constant_values=900)], DataOptions(size="8", crop="pad"))
    assert low.source_dtype == np.dtype(dtype).name
