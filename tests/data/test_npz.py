"""Names of arrays in .npz files, and kinds of labels."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ganvas
from ganvas.data import DataOptions, class_counts, load
from ganvas.errors import UserError
from tests.support.idx import write_idx

X = np.random.default_rng(0).integers(0, 256, (12, 6, 5), np.uint8)
Y = np.arange(12) % 3
TEST = X[:4] // 2


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("x_{}", "y_{}"), ("X_{}", "y_{}"), ("{}_images", "{}_labels"), ("images_{}", "labels_{}"), ("{}X", "{}Y"),
        ("{}-data", "{}-target"), ("x.{}", "label.{}"),
    ],
)  # fmt: skip
def test_an_npz_has_its_splits(images: str, labels: str, tmp_path: Path) -> None:
    arrays = {images.format("train"): X, labels.format("train"): Y, images.format("test"): TEST,
              labels.format("test"): Y[:4]}  # fmt: skip
    np.savez(tmp_path / "d.npz", **arrays)
    train, test = load(tmp_path / "d.npz"), load(tmp_path / "d.npz", DataOptions(split="test"))
    assert np.array_equal(train.x[:, 0].numpy(), X)
    assert np.array_equal(test.x[:, 0].numpy(), TEST)
    assert class_counts(train) == {"0": 4, "1": 4, "2": 4}
    assert test.labels is not None
    named = load(f"{tmp_path}/d.npz:{images.format('train')}")
    assert named.fingerprint() == train.fingerprint()
    assert (
        load(f"{tmp_path}/d.npz:{images.format('train')}", DataOptions(split="test")).fingerprint()
        == test.fingerprint()
    )


@pytest.mark.parametrize(
    ("images", "labels"), [("data", "target"), ("X", "y"), ("images", "labels"), ("DATA", "Label")]
)
def test_an_npz_of_one_part_has_its_labels(images: str, labels: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", **{labels: Y, images: X})
    assert class_counts(load(tmp_path / "d.npz")) == {"0": 4, "1": 4, "2": 4}


def test_the_validation_part_of_medmnist_is_left_out(tmp_path: Path) -> None:
    """With labels in a column, and a validation part, which is left out of training."""
    parts: dict[str, Any] = {}
    for split, n in (("train", 12), ("val", 3), ("test", 4)):
        parts |= {f"{split}_images": X[:n], f"{split}_labels": Y[:n, None].astype(np.uint8)}
    np.savez(tmp_path / "d.npz", **parts)
    found = load(tmp_path / "d.npz")
    assert (len(found), len(load(tmp_path / "d.npz", DataOptions(split="test")))) == (12, 4)
    assert any("arrays left out: val_images, val_labels" in note for note in found.notes)
    del parts["test_images"], parts["test_labels"]
    np.savez(tmp_path / "d.npz", **parts)
    test = load(tmp_path / "d.npz", DataOptions(split="test"))
    assert len(test) == 3
    assert any("the validation split was read: val_images" in note for note in test.notes)


def test_a_file_of_python_2_and_names_of_other_validation_splits(tmp_path: Path) -> None:
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (12L, 6L, 5L), }".ljust(117) + b"\n"
    (tmp_path / "d.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + X.tobytes())
    assert np.array_equal(load(tmp_path / "d.npy").x[:, 0].numpy(), X)
    np.savez(tmp_path / "d.npz", train_images=X, dev_images=TEST)
    test = load(tmp_path / "d.npz", DataOptions(split="test"))
    assert np.array_equal(test.x[:, 0].numpy(), TEST)
    assert "no test split, so the validation split was read: dev_images" in test.notes


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (np.eye(3)[Y], ("0", "1", "2")),
        (np.eye(3, dtype=bool)[Y], ("0", "1", "2")),
        (np.array([b"ant", b"bee", b"cow"])[Y], ("ant", "bee", "cow")),
        (np.array(["ant", "bee", "cow"])[Y], ("ant", "bee", "cow")),
        (Y.astype(float), ("0", "1", "2")),
        (Y == 1, ("False", "True")),
        (Y.astype(np.uint8)[:, None], ("0", "1", "2")),
    ],
)
def test_labels_of_any_kind_become_classes(labels: np.ndarray, classes: tuple[str, ...], tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=X, y=labels)
    found = load(tmp_path / "d.npz")
    assert found.classes == classes
    assert found.labels is not None
    expected = (Y == 1).astype(int) if len(classes) == 2 else Y
    assert found.labels.tolist() == expected.tolist()


def test_labels_from_one_leave_a_class_without_examples(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=X, y=Y + 1)
    assert "no example is of class 0" in load(tmp_path / "d.npz").notes
    run = ganvas.train(ganvas.CGAN(latent=4, width=4), tmp_path / "d.npz", steps=1, quiet=True)
    with pytest.raises(UserError, match="no example of class 0 was trained on: this model knows 1, 2, 3"):
        run.sample(2, label=0)
    assert run.sample(6).labels.tolist() == [1, 2, 3, 1, 2, 3]  # type: ignore[union-attr]
    assert run.sample(per_class=2).row_labels == ("1", "2", "3")
    assert run.sample(2, label="3").labels.tolist() == [3, 3]  # type: ignore[union-attr]


def test_what_is_unclear_is_asked(tmp_path: Path) -> None:
    file = tmp_path / "d.npz"
    np.savez(file, x=X, images=X, y=Y)
    with pytest.raises(UserError, match="several arrays that may be the examples, x and images: choose as d.npz"):
        load(file)
    assert load(f"{file}:images,y").labels is not None
    np.savez(file, x=X, y=Y, labels=Y)
    with pytest.raises(UserError, match="several arrays that may be the labels, y and labels"):
        load(file)
    assert load(f"{file}:x,labels").labels is not None
    assert load(f"{file}:x,").labels is None
    with pytest.raises(UserError, match='no array "z", only x, y, labels: choose one as d.npz:NAME'):
        load(f"{file}:x,z")
    np.savez(file, x=X, fine_labels=Y, coarse_labels=Y)
    assert any("arrays left out: fine_labels, coarse_labels" in note for note in load(file).notes)
    assert load(f"{file}:x,fine_labels").classes == ("0", "1", "2")
    np.savez(file, x=X, y=np.stack([Y, Y], 1))
    with pytest.raises(UserError, match="2 labels an example.*or leave out y: d.npz:x,"):
        load(file)


def test_suffixes_in_capitals_are_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x_train=X, y_train=Y, x_test=TEST)
    np.save(tmp_path / "x.npy", X)
    (tmp_path / "idx").mkdir()
    write_idx(tmp_path / "idx", "train", X, Y.astype(np.uint8), True)
    for path in [*tmp_path.iterdir(), *(tmp_path / "idx").iterdir()]:
        if path.is_file():
            path.rename(path.with_suffix(path.suffix.upper()))
    sources = ("x.NPY", "d.NPZ", "d.NPZ:x_train,y_train", "idx", "idx/train-images-idx3-ubyte.GZ")
    train = [load(f"{tmp_path}/{source}") for source in sources]
    assert all(np.array_equal(dataset.x[:, 0].numpy(), X) for dataset in train)
    assert all(class_counts(dataset) == {"0": 4, "1": 4, "2": 4} for dataset in train[1:])
    source = f"{tmp_path}/d.NPZ:x_train"
    run = ganvas.train(ganvas.VAE(latent=4, width=4), source, steps=1, quiet=True, folder=tmp_path / "run")
    assert ganvas.load(tmp_path / "run").training_data.source == source  # type: ignore[union-attr]
    assert len(run.sample(2)) == 2
