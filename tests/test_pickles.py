"""A pickle is never executed, whichever way it is read: as data, weights, state, features, or what is kept of them."""

import io
import json
import os
import pickle
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import torch

import ganvas
from ganvas.cli.app import main
from ganvas.data import DataOptions, hub, load
from ganvas.errors import UserError
from ganvas.metrics.features import make_feature_space
from tests.support.cli import TINY
from tests.support.shards import write_parquet, write_shards, write_tar


class Payload:
    """Makes the folder `ran` where it is unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, ("ran",)


def of_torch(content: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


PICKLE = pickle.dumps(Payload())
CONTENTS = {"pickle": PICKLE, "torch.save": of_torch({"w": Payload()})}
OBJECTS = np.array([[Payload()], [Payload()]], dtype=object)


def file(name: str, content: bytes = PICKLE) -> Callable[[], str]:
    def write() -> str:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(content)
        return name

    return write


def in_folder(name: str, content: bytes = PICKLE) -> Callable[[], str]:
    return lambda: str(Path(file(f"folder/{name}", content)()).parent)


def npy() -> str:
    np.save("x.npy", OBJECTS, allow_pickle=True)
    return "x.npy"


def npz() -> str:
    np.savez("x.npz", x=np.zeros((2, 3)), y=OBJECTS)
    return "x.npz"


def zipped(*names: str) -> Callable[[], str]:
    def write() -> str:
        with ZipFile("x.zip", "w") as archive:
            for name in names:
                archive.writestr(name, PICKLE)
        return "x.zip"

    return write


def zarr() -> str:
    """An array whose chunks are to be unpickled."""
    pytest.importorskip("zarr").save_array("x.zarr", np.zeros((4, 3), np.float32), zarr_format=2)
    header = json.loads(Path("x.zarr/.zarray").read_text())
    fields = {"compressor": None, "filters": [{"id": "pickle"}], "dtype": "|O", "fill_value": None}
    Path("x.zarr/.zarray").write_text(json.dumps(header | fields))
    Path("x.zarr/0.0").write_bytes(PICKLE)
    return "x.zarr"


def parquet() -> str:
    write_parquet(Path("x.parquet"), {"image": [{"bytes": PICKLE, "path": "a.png"}] * 2, "label": [0, 1]})
    return "x.parquet"


def tar() -> str:
    return str(write_tar(Path("x-000000.tar"), [("a.png", PICKLE), ("a.cls", b"0"), ("b.pkl", PICKLE)]))


def cifar() -> str:
    with tarfile.open("cifar-10-python.tar.gz", "w:gz") as archive:
        for name in ("data_batch_1", "test_batch"):
            Path(name).write_bytes(PICKLE)
            archive.add(name, f"cifar-10-batches-py/{name}")
    return "cifar-10-python.tar.gz"


SOURCES: dict[str, Callable[[], str]] = {
    "image": file("x.png"), "folder of images": in_folder("x.png"), "folder of pickles": in_folder("x.pkl"),
    "npy of objects": npy, "npy": file("x.npy"), "folder of npy": in_folder("a/x.npy"), "npz of objects": npz,
    "npz": file("x.npz"), "pkl": file("x.pkl"), "pickle": file("x.pickle"), "joblib": file("x.joblib"),
    "pt": file("x.pt", CONTENTS["torch.save"]), "pth": file("x.pth", CONTENTS["torch.save"]),
    "zip of images": zipped("a.png"), "zip of pickles": zipped("a.pkl", "b.npy"), "tar": tar, "cifar": cifar,
    "parquet": file("x.parquet"), "images in parquet": parquet, "hdf5": file("x.h5"), "zarr": zarr,
    "nifti": file("x.nii"), "idx": file("train-images-idx3-ubyte"), "mat": file("x.mat"), "tiff": file("x.tif"),
    "no suffix": file("x"),
}  # fmt: skip


def test_the_payload_would_run() -> None:
    for content in CONTENTS.values():
        pickle.loads(content) if content is PICKLE else torch.load(io.BytesIO(content), weights_only=False)
        Path("ran").rmdir()


@pytest.mark.parametrize("kind", list(SOURCES))
def test_no_data_is_unpickled(kind: str) -> None:
    """In Python and on the command line, in memory and in streams."""
    source = SOURCES[kind]()
    for options in (DataOptions(), DataOptions(stream="always"), DataOptions(split="test")):
        with pytest.raises(UserError):
            load(source, options)
    assert main(["data", source]) == main(["train", "vae", source, *TINY]) == 2
    assert not Path("ran").exists()


def test_a_data_set_of_the_hub_is_read_as_parquet() -> None:
    """So its files are among the above."""
    assert hub.PARQUET == ".parquet"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    options: dict[str, Any] = {"steps": 1, "batch_size": 8, "quiet": True, "folder": folder}
    ganvas.train(ganvas.GAN(width=4, latent=2), "ring", **options)
    return folder


COMMANDS = (
    "sample run --out a.png", "resume run --steps 2 --quiet", "evaluate run -n 50", "doctor run",
    "train gan ring --init-from run --steps 1 --batch-size 8 --folder new --quiet",
)  # fmt: skip
RUN_FILES = [
    *((name, content) for name in ("weights.safetensors", "state.ckpt") for content in CONTENTS),
    ("config.json", "pickle"), ("log.jsonl", "pickle"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content"), RUN_FILES)
def test_no_file_of_a_run_is_unpickled(name: str, content: str, whole: Path) -> None:
    """On the command line, and in Python."""
    shutil.copytree(whole, "run")
    (Path("run") / name).write_bytes(CONTENTS[content])
    for command in COMMANDS:
        main(command.split())
    for call in (lambda: ganvas.load("run"), lambda: ganvas.load(Path("run") / name)):
        try:
            call()
        except UserError:
            continue
        assert name != "weights.safetensors"
    assert not Path("ran").exists()


@pytest.mark.parametrize("content", list(CONTENTS))
def test_no_features_are_unpickled(content: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for those whose digest is known, see test_nothing_but_the_published_file_is_opened."""
    Path("weights.pth").write_bytes(CONTENTS[content])
    monkeypatch.setenv("GANVAS_INCEPTION", str(Path("weights.pth").absolute()))
    with pytest.raises(UserError, match="does not hold the published weights"):
        make_feature_space("inception-v3-fid", (3, 32, 32))
    assert not Path("ran").exists()


def test_nothing_in_the_cache_is_unpickled(tmp_path: Path) -> None:
    """The indices of shards are made anew; so are decoded images, see test_a_damaged_entry_is_made_anew."""
    shards = write_shards(tmp_path / "shards", 8, 4)
    before = load(str(shards)).x
    kept = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert kept
    for path in kept:
        path.write_bytes(PICKLE)
        if path.suffix == ".npz":
            np.savez(path, stamp=OBJECTS)
    assert torch.equal(load(str(shards)).x, before)
    assert not Path("ran").exists()
