"""CIFAR's binary versions, in folders and archives, and by name."""

import tarfile
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import torch

from ganvas.data import DataOptions, MissingSplitError, builtin, cifar, load
from ganvas.errors import UserError
from tests.support.failures import failing
from tests.support.server import serving

CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
ALL, TEST = DataOptions(holdout=0), DataOptions(split="test")


def records(n: int, first: int, classes: int = 10, label_bytes: int = 1) -> bytes:
    """n records with random pixels; coarse labels are all 7."""
    random = np.random.default_rng(first)
    pixels = random.integers(0, 256, (n, 3072), np.uint8)
    labels = np.full((n, label_bytes), 7, np.uint8)
    labels[:, -1] = (first + np.arange(n)) % classes
    return np.hstack([labels, pixels]).tobytes()


def cifar10(folder: Path) -> Path:
    folder.mkdir()
    for i in range(1, 6):
        (folder / f"data_batch_{i}.bin").write_bytes(records(4, i))
    (folder / "test_batch.bin").write_bytes(records(3, 9))
    (folder / "batches.meta.txt").write_text("\n".join([*CLASSES, "", ""]))
    (folder / "readme.html").write_text("<html>")
    return folder


def packed(folder: Path, path: Path) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        tar.add(folder, folder.name)
    return path


def test_the_binary_version_of_cifar10(tmp_path: Path) -> None:
    folder = cifar10(tmp_path / "cifar-10-batches-bin")
    data = load(folder, ALL)
    raw = np.frombuffer((folder / "data_batch_1.bin").read_bytes(), np.uint8).reshape(4, 3073)
    assert data.x.shape == (20, 3, 32, 32)
    assert data.classes == tuple(CLASSES)
    assert data.labels is not None
    assert data.labels[:8].tolist() == [1, 2, 3, 4, 2, 3, 4, 5]
    assert data.x[1, 0, 0, 5] == raw[1, 1 + 5]  # red, the first row
    assert data.x[1, 2, 31, 0] == raw[1, 1 + 2 * 1024 + 31 * 32]  # blue, the last row
    test = load(folder, TEST)
    assert test.labels is not None
    assert (len(test), test.labels.tolist()) == (3, [9, 0, 1])
    assert load(tmp_path, ALL).fingerprint() == data.fingerprint()  # the folder around it
    with ZipFile(tmp_path / "cifar.zip", "w") as archive:
        for file in folder.iterdir():
            archive.write(file, f"bin/{file.name}")
    for path in (tmp_path / "cifar.zip", packed(folder, tmp_path / "cifar.tar.gz"), packed(folder, tmp_path / "c.tgz")):
        assert load(path, ALL).fingerprint() == data.fingerprint()
        assert load(path, TEST).fingerprint() == test.fingerprint()
    assert load(tmp_path / "cifar.tar.gz").name == "cifar"
    assert load(folder, DataOptions(size="16", channels=1, classes=("cat",))).shape == (1, 16, 16)


def test_the_binary_version_of_cifar100_has_fine_labels(tmp_path: Path) -> None:
    names = [f"fine{i}" for i in range(100)]
    (tmp_path / "train.bin").write_bytes(records(5, 40, 100, 2))
    (tmp_path / "test.bin").write_bytes(records(2, 98, 100, 2))
    (tmp_path / "fine_label_names.txt").write_text("\n".join(names))
    (tmp_path / "coarse_label_names.txt").write_text("x\n" * 20)
    data = load(tmp_path, ALL)
    assert data.labels is not None
    assert (data.shape, data.classes, data.labels.tolist()) == ((3, 32, 32), tuple(names), [40, 41, 42, 43, 44])
    raw = np.frombuffer((tmp_path / "train.bin").read_bytes(), np.uint8).reshape(5, 3074)
    assert torch.equal(data.x.flatten(1), torch.tensor(raw[:, 2:]))
    assert len(load(tmp_path, TEST)) == 2


def test_parts_of_cifar(tmp_path: Path) -> None:
    folder = cifar10(tmp_path / "cifar")
    (folder / "data_batch_3.bin").unlink()
    (folder / "batches.meta.txt").unlink()
    data = load(folder)
    assert len(data) == 16
    assert "files missing: data_batch_3.bin" in data.notes
    (folder / "test_batch.bin").unlink()
    with pytest.raises(MissingSplitError):
        load(folder, TEST)


def python_version(folder: Path) -> None:
    for file in folder.glob("*.bin"):
        file.write_bytes(b"\x80\x02}")
        file.rename(file.with_suffix(""))


def append(name: str, content: bytes) -> object:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes() + content)


def copy(folder: Path) -> None:
    cifar10(folder / "copy")


BAD = {
    "Python": (python_version, "pickles Ganvas never loads: take the binary version, such as cifar-10-binary.tar.gz"),
    "cut off": (append("data_batch_2.bin", bytes(7)), "2.bin is damaged, for its 12,299 bytes are no records of 3,073"),
    "label": (append("data_batch_2.bin", b"\x0b" + bytes(3072)), "2.bin is damaged: label 11 of 10 classes"),
    "names": (append("batches.meta.txt", b"one more"), "batches.meta.txt names 12 classes, not 10"),
    "twice": (copy, "holds CIFAR several times, in its root, copy: give one"),
}


@pytest.mark.parametrize(("spoil", "message"), BAD.values(), ids=BAD)
def test_bad_files_are_refused(spoil, message, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    spoil(folder := cifar10(tmp_path / "cifar"))
    failing(capsys, ["data", str(folder)], 2, message)


def test_more_records_than_cifar_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar, "MAX_RECORDS", 3)
    with pytest.raises(UserError, match=r"data_batch_1.bin has more than the 9,219 bytes of CIFAR's files"):
        load(cifar10(tmp_path / "cifar"))


def test_other_files_called_train_are_not_cifar(tmp_path: Path) -> None:
    (tmp_path / "train.bin").write_bytes(b"x")
    with pytest.raises(UserError, match="holds no images: 1 file left out: 1 .bin"):
        load(tmp_path)


def test_cifar10_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place := tmp_path / "place").mkdir()
    archive = packed(cifar10(tmp_path / "cifar-10-batches-bin"), place / cifar.BINARY)
    published, here = builtin.PUBLISHED["cifar10"], DataOptions(data_dir=str(place))
    with pytest.raises(UserError, match=r"does not hold the published cifar10 \(wrong checksum\): .* give its path"):
        load("cifar10", here)
    with pytest.raises(UserError, match=r"has no cifar10: looked for cifar-10-binary.tar.gz"):
        load("cifar10", DataOptions(data_dir=str(tmp_path)))
    small = replace(published, mirrors=(), files={cifar.BINARY: sha256(archive.read_bytes()).hexdigest()})
    monkeypatch.setitem(builtin.PUBLISHED, "cifar10", small)
    data = load("cifar10", here)
    assert (data.name, data.classes, len(data)) == ("cifar10", tuple(CLASSES), 20)
    assert len(load("cifar10", DataOptions(data_dir=str(place), split="test"))) == 3
    with pytest.raises(UserError, match=r"cifar10 could not be downloaded .*: put cifar-10-binary.tar.gz into"):
        load("cifar10")
    with serving(place) as (address, _):
        monkeypatch.setitem(builtin.PUBLISHED, "cifar10", replace(small, mirrors=(address,)))
        assert load("cifar10").fingerprint() == data.fingerprint()
    monkeypatch.setitem(builtin.PUBLISHED, "cifar10", small)  # no mirror is needed the second time
    assert len(load("cifar10")) == 20
