"""Sources that cannot be used: one sentence that says what to do, exit code 2, and nothing is written."""

import gzip
import os
import struct
import tarfile
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.failures import failing
from tests.support.folders import picture
from tests.support.shards import write_parquet, write_tar

IMAGES = np.zeros((8, 9, 9), np.uint8)
Make = Callable[[Path], Any]  # makes a source's files in a folder
VALUES = np.arange(12.0).reshape(6, 2)


def content(name: str, data: bytes | str) -> Make:
    return lambda folder: (folder / name).write_bytes(data.encode() if isinstance(data, str) else data)


def npy(array: Any, **how: Any) -> Make:
    return lambda folder: np.save(folder / "x.npy", array, **how)


def npz(**arrays: Any) -> Make:
    return lambda folder: np.savez(folder / "x.npz", **arrays)


def nothing(folder: Path) -> None:
    pass


def photos(folder: Path) -> None:
    for name in ("cat", "dog"):
        picture(folder / "photos" / name / "a.png")


def newer_npy(folder: Path) -> None:
    np.save(folder / "x.npy", IMAGES)
    raw = bytearray((folder / "x.npy").read_bytes())
    raw[6] = 9
    (folder / "x.npy").write_bytes(raw)


def encrypted_zip(folder: Path) -> None:
    picture(folder / "a.png")
    with zipfile.ZipFile(folder / "x.zip", "w") as archive:
        archive.write(folder / "a.png", "a.png")
    raw = bytearray((folder / "x.zip").read_bytes())
    raw[raw.index(b"PK\1\2") + 8] |= 1
    (folder / "x.zip").write_bytes(raw)


def zip_bomb(folder: Path) -> None:
    """A thousandth of what it claims: an image that would be 200 MB of zeros."""
    with zipfile.ZipFile(folder / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", b"\0" * 2000)
    raw = (folder / "x.zip").read_bytes()
    (folder / "x.zip").write_bytes(raw.replace(struct.pack("<I", 2000), struct.pack("<I", 200_000_000)))


def npz_bomb(folder: Path) -> None:
    header = BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (10**12,)})
    with zipfile.ZipFile(folder / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", header.getvalue())


def leading_out(folder: Path) -> None:
    picture(folder / "a.png")
    write_tar(folder / "x.tar", [("../../etc/a.png", b"x"), ("/../b.png", b"x")])
    with tarfile.open(folder / "x.tgz", "w:gz") as tar:
        tar.add(folder / "a.png", "../../a.png")


def link(target: str) -> Make:
    return lambda folder: (folder / "x.png").symlink_to(target)


def idx(size: int, n_labels: int = 0) -> Make:
    def make(folder: Path) -> None:
        (folder / "train-images-idx3-ubyte").write_bytes(struct.pack(">I3I", 0x803, 5, 4, 4) + bytes(size))
        if n_labels:
            labels = struct.pack(">II", 0x801, n_labels) + bytes(n_labels)
            (folder / "train-labels-idx1-ubyte").write_bytes(labels)

    return make


def parquet(**columns: Any) -> Make:
    return lambda folder: write_parquet(folder / "x.parquet", columns)


def both_shards(folder: Path) -> None:
    write_tar(folder / "shards" / "a.tar", [("a.txt", b"x")])
    write_parquet(folder / "shards" / "b.parquet", {"a": [1.0]})


def hdf5(folder: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "x.h5", "w") as file:
        file["a"], file["b"] = IMAGES, IMAGES


def zarr(folder: Path) -> None:
    group = pytest.importorskip("zarr").open_group(folder / "x.zarr", mode="w")
    for name in ("a", "b"):
        group.create_array(name, data=IMAGES)


CASES: dict[str, tuple[Make, list[str], str]] = {
    # arrays
    "pickle in npz": (npz(x=np.array([{}], object)), ["x.npz"], "Python objects, which Ganvas never unpickles"),
    "pickle in npy": (npy(np.array([[{}]], object), allow_pickle=True), ["x.npy"], "never unpickles"),
    "texts": (npy(np.array([["a", "b"]])), ["x.npy"], "holds <U1 values: give bytes"),
    "one number": (npy(np.array(3.0)), ["x.npy"], r"x has shape \(\): give images n x h x w"),
    "one axis": (npy(np.arange(5.0)), ["x.npy"], r"x has shape \(5,\): give images"),
    "five axes": (npy(np.zeros((2, 2, 2, 2, 2))), ["x.npy"], r"x has shape \(2, 2, 2, 2, 2\): give images"),
    "complex": (npy(VALUES * 1j), ["x.npy"], "holds complex128 values: give bytes"),
    "times": (npy(VALUES.astype("datetime64[s]")), ["x.npy"], r"holds datetime64\[s\] values: give bytes"),
    "records": (npy(np.zeros((3, 2), [("a", "f4")])), ["x.npy"], "values: give bytes"),
    "NaN": (
        npy(np.where(VALUES == 3, np.nan, VALUES)),
        ["x.npy"],
        r"holds nan .* at index \[1, 1\]: remove, replace or rescale it",
    ),
    "infinity": (
        npy(np.where(VALUES == 3, np.inf, VALUES)),
        ["x.npy"],
        r"holds inf .* at index \[1, 1\]: remove, replace or rescale it",
    ),
    "no examples": (npy(IMAGES[:0]), ["x.npy"], r"x is empty: its shape is \(0, 9, 9\)"),
    "no pixels": (npy(IMAGES[:, :0]), ["x.npy"], r"x is empty: its shape is \(8, 0, 9\)"),
    "a newer npy": (newer_npy, ["x.npy"], "is of version 9.0 of NumPy's format, newer than 3.0: save it"),
    "a npy cut off": (content("x.npy", b"\x93NUMPY\1\0"), ["x.npy"], "x.npy is damaged or no NumPy file"),
    "no npy": (content("x.npy", "hello"), ["x.npy"], "x.npy is damaged or no NumPy file"),
    "several arrays": (npz(a=IMAGES, b=IMAGES), ["x.npz"], "only a, b: choose one as x.npz:NAME"),
    "an unknown array": (npz(a=IMAGES), ["x.npz:b"], 'has no array "b", only a: choose one'),
    "no array": (npz(), ["x.npz"], "for it holds no arrays"),
    "too few labels": (
        npz(x=IMAGES, y=np.arange(7)),
        ["x.npz"],
        r"8 examples, but labels of shape \(7,\): give one label an example; or leave out y",
    ),
    "an array larger than its file": (
        npz_bomb,
        ["x.npz"],
        "x.npz is damaged or no NumPy file: it says 1000000000000 of uint8",
    ),
    "images without examples in IDX": (
        idx(16 * 5 - 1),
        ["train-images-idx3-ubyte"],
        r"is damaged: it says \(5, 4, 4\), but holds 79 bytes",
    ),
    "IDX with other labels": (
        idx(16 * 5, 4),
        ["train-images-idx3-ubyte"],
        r"5 examples, but labels of shape \(4,\): give one label",
    ),
    "no IDX": (content("x-ubyte", "hello"), ["x-ubyte"], "is no IDX file of unsigned bytes"),
    "several arrays in HDF5": (hdf5, ["x.h5"], "only a, b: choose one as x.h5:NAME"),
    "several arrays in Zarr": (zarr, ["x.zarr"], "only a, b: choose one as x.zarr:NAME"),
    # files of other kinds
    "text": (content("x.txt", "hello"), ["x.txt"], "x.txt is no data source: give a folder or a zip of images"),
    "table": (
        content("x.csv", "a,b\n1,2\n"),
        ["x.csv"],
        "x.csv has nothing to learn: constant, not learnt: a, b",
    ),
    "Excel": (content("x.xlsx", b"PK\3\4"), ["x.xlsx"], "it is a spreadsheet: save its sheet as .csv"),
    "PDF": (content("x.pdf", "%PDF-1.7"), ["x.pdf"], "it has no pixels: make images of its pages"),
    "video": (
        content("x.mp4", b"\0\0\0\x18ftypmp42"),
        ["x.mp4"],
        "it is a video: make images of its frames, e.g. ffmpeg -i x.mp4",
    ),
    "pickle": (content("x.pkl", b"\x80\4."), ["x.pkl"], "it is a pickle, which Ganvas never loads: save its arrays"),
    "weights": (content("x.pt", b"PK\3\4"), ["x.pt"], "it is a pickle, which Ganvas never loads"),
    "another archive": (content("x.7z", b"7z"), ["x.7z"], "unpack it first, and give the folder"),
    "empty file": (
        content("x.png", b""),
        ["x.png"],
        "x.png: none of its 1 images can be read; .* cannot identify image file",
    ),
    "text called image": (
        content("x.png", "hello"),
        ["x.png"],
        "x.png: none of its 1 images can be read; .* cannot identify image file",
    ),
    # archives and shards
    "empty zip": (
        lambda folder: zipfile.ZipFile(folder / "x.zip", "w").close(),
        ["x.zip"],
        r"x.zip holds no images \(Ganvas reads",
    ),
    "no zip": (content("x.zip", "hello"), ["x.zip"], "x.zip is damaged or no zip"),
    "zip with a password": (encrypted_zip, ["x.zip"], "the first, a.png: it is encrypted: unzip it first"),
    "zip bomb": (zip_bomb, ["x.zip"], "a.png: it says that it has 200,000,000 bytes: unzip it first"),
    "tar that leads out": (
        leading_out,
        ["x.tgz"],
        "holds no images: left out, names that lead out of the archive: ../../a.png",
    ),
    "shard that leads out": (leading_out, ["x.tar"], r"x.tar holds no images .*: 2 under \.\./"),
    "empty tar": (lambda folder: write_tar(folder / "x.tar", []), ["x.tar"], "x.tar holds no images NAME.png"),
    "gzip of zeros": (content("x.tgz", gzip.compress(bytes(5000))), ["x.tgz"], "x.tgz holds no images"),
    "a shard that is missing": (
        lambda folder: write_tar(folder / "x-0.tar", []),
        ["x-{0..2}.tar"],
        "2 shards missing, x-1.tar, x-2.tar: bring them back",
    ),
    "no shards": (nothing, ["*.tar"], "matches no shards: give .tar or .parquet files"),
    "two kinds of shards": (both_shards, ["shards"], "holds .parquet and .tar files: give one kind"),
    "Parquet of texts": (
        parquet(a=["x", "y"]),
        ["x.parquet", "--kind", "vector"],
        "needs a column of encoded images, or columns of numbers, and a holds neither",
    ),
    "Parquet without rows": (parquet(a=np.zeros(0)), ["x.parquet"], "x.parquet has no rows"),
    "Parquet with gaps": (
        parquet(a=[1.0, None]),
        ["x.parquet", "--kind", "vector"],
        "has 1 empty fields in a: fill them",
    ),
    "Parquet of ragged lists": (
        parquet(a=[[1.0], [1.0, 2.0]]),
        ["x.parquet"],
        "has lists of different lengths in a: give them one length",
    ),
    "no Parquet": (content("x.parquet", "PAR1"), ["x.parquet"], "x.parquet is damaged or no Parquet file"),
    # folders and paths
    "no such path": (photos, ["photo"], "no data 'photo': .* Did you mean \"photos\""),
    "no such file in a folder": (
        photos,
        ["photos/cat/b.png"],
        "no data 'photos/cat/b.png': .* Did you mean \"photos/cat/a.png\"",
    ),
    "a name that is nearly one": (nothing, ["emojis"], "no data 'emojis': .* Did you mean \"emoji\""),
    "address": (
        nothing,
        ["https://example.com/photos.zip"],
        "photos.zip is an address, .*: download it, and give the file",
    ),
    "link that leads nowhere": (link("nothing.png"), ["x.png"], "x.png is a link that leads nowhere"),
    "link to itself": (link("x.png"), ["x.png"], "x.png cannot be read .too many levels"),
    "pipe": (lambda folder: os.mkfifo(folder / "x.png"), ["x.png"], "x.png is no regular file"),
    "device": (nothing, ["/dev/null"], "/dev/null is no regular file"),
    "empty folder": (lambda folder: (folder / "x").mkdir(), ["x"], r"x holds no images \(Ganvas reads"),
    "folder of texts": (content("x.txt", "hello"), ["."], "holds no images: 1 file left out: 1 .txt"),
    "nothing": (nothing, [""], "the data source is empty"),
    "too long": (nothing, ["x" * 5000], "cannot be read .file name too long"),
    "an address of the Hub": (nothing, ["https://huggingface.co/datasets/a/b"], "is an address, .*: give hf:USER/NAME"),
    "a name of the Hub that is none": (nothing, ["hf:a/b/c"], "is no name of a data set on the Hugging Face Hub"),
    "NUL": (nothing, ["a\0b"], "no data .*: neither a path nor one of"),
    # options
    "a size of nothing": (photos, ["photos", "--size", "0"], "--size must be a size such as 64 or 48x64"),
    "a size too large": (photos, ["photos", "--size", "100000"], "--size must be a size such as 64 or 48x64"),
    "tiles larger than images": (
        photos,
        ["photos", "--size", "64", "--crop", "tiles"],
        "5 x 6 pixels .* are too few for a tile of 64 x 64",
    ),
    "crop without size": (photos, ["photos", "--crop", "pad"], "--crop pad needs to know the size"),
    "unknown class": (photos, ["photos", "--classes", "cta"], 'has no class "cta". Did you mean "cat"'),
    "unknown split": (photos, ["photos", "--split", "valid"], "--split must be 'train' or 'test'"),
    "no test part": (photos, ["photos", "--split", "test"], 'has no split "test"'),
    "holdout of all": (photos, ["photos", "--holdout", "1"], "--holdout must be 'auto' or less than 1"),
    "two channels": (photos, ["photos", "--channels", "2"], "--channels must be 1, 3 or 4"),
    "no colour": (photos, ["photos", "--background", "whit"], "--background must be white, black"),
    "a range upside down": (photos, ["photos", "--range", "9", "0"], "--range must be auto, or two numbers"),
}


@pytest.mark.parametrize("case", CASES)
def test_one_sentence_and_nothing_written(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make, arguments, message = CASES[case]
    make(tmp_path)
    before = {path for path in tmp_path.rglob("*") if "cache" not in path.parts}
    failing(capsys, ["data", *arguments], 2, message)
    assert before == {path for path in tmp_path.rglob("*") if "cache" not in path.parts}


def test_a_size_larger_than_memory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(tmp_path)
    monkeypatch.setattr("ganvas.data.memory.available_memory", lambda: 10**6)
    failing(
        capsys, ["data", "photos", "--size", "999"], 2, "an image of --size 999 would take 11.4 MiB .* a smaller --size"
    )
