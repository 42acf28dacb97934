"""Small files of every kind that Ganvas reads as data, by kind."""

import csv
import gzip
import io
import json
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from tests.support.images import chunk, png, tiff

from .damage import Input, whole

NUMBERS = np.random.default_rng(0)
X = NUMBERS.integers(0, 256, (4, 6, 5), np.uint8)


def npy(array: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def picture(form: str, **options: Any) -> bytes:
    content = io.BytesIO()
    Image.fromarray(X[0]).save(content, form, **options)
    return content.getvalue()


def idx() -> bytes:
    return struct.pack(">I3I", 0x803, *X.shape) + X.tobytes()


def zipped(names: Sequence[str]) -> Callable[[Sequence[bytes]], bytes]:
    def pack(parts: Sequence[bytes]) -> bytes:
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, part in zip(names, parts, strict=True):
                archive.writestr(name, part)
        return content.getvalue()

    return pack


def tarred(names: Sequence[str]) -> Callable[[Sequence[bytes]], bytes]:
    def pack(parts: Sequence[bytes]) -> bytes:
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w") as archive:
            for name, part in zip(names, parts, strict=True):
                info = tarfile.TarInfo(name)
                info.size = len(part)
                archive.addfile(info, io.BytesIO(part))
        return content.getvalue()

    return pack


def png_chunks(content: bytes) -> Input:
    """A PNG whose chunks are damaged inside, and have the right sums."""
    names, parts, at = [], [], 8
    while at < len(content):
        size, name = struct.unpack(">I4s", content[at : at + 8])
        body = content[at + 8 : at + 8 + size]
        names.append(name)
        parts.append(zlib.decompress(body) if name == b"IDAT" else body)
        at += size + 12

    def pack(parts: Sequence[bytes]) -> bytes:
        bodies = [zlib.compress(b) if name == b"IDAT" else b for name, b in zip(names, parts, strict=True)]
        return content[:8] + b"".join(map(chunk, names, bodies))

    return Input("chunks.png", parts, pack)


def safetensors_parts(name: str, content: bytes) -> Input:
    """Its header and its numbers, so that a damaged header has the right length."""
    size = int.from_bytes(content[:8], "little")

    def pack(parts: Sequence[bytes]) -> bytes:
        return len(parts[0]).to_bytes(8, "little") + parts[0] + parts[1]

    return Input(name, [content[8 : 8 + size].strip(), content[8 + size :]], pack)


def own_header(name: str, content: bytes) -> Input:
    """The same, of the header that Ganvas keeps as a text in that of safetensors."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])

    def pack(parts: Sequence[bytes]) -> bytes:
        text = parts[0].decode("utf-8", "replace")
        outer = json.dumps(header | {"__metadata__": {"ganvas": text}}).encode()
        return len(outer).to_bytes(8, "little") + outer + content[8 + size :]

    return Input(name, [header["__metadata__"]["ganvas"].encode()], pack)


def tables() -> list[Input]:
    """Labels beside images; the images are in the fuzzed folder anyway."""
    rows = [(f"{i}.png", ("cat", "dog")[i % 2]) for i in range(4)]
    text = io.StringIO()
    csv.writer(text).writerows([("file", "label"), *rows])
    lines = "\n".join(json.dumps({"file_name": name, "label": label}) for name, label in rows)
    return [
        whole("labels.csv", text.getvalue().encode()),
        whole("labels.tsv", text.getvalue().replace(",", "\t").encode()),
        whole("metadata.jsonl", lines.encode()),
        whole("labels.json", json.dumps(dict(rows)).encode()),
        whole("dataset.json", json.dumps({"labels": [[name, i % 2] for i, (name, _) in enumerate(rows)]}).encode()),
    ]


def image_inputs() -> list[Input]:
    return [
        whole("x.png", picture("PNG")), png_chunks(picture("PNG")),
        whole("deep.png", png(NUMBERS.integers(0, 65536, (6, 5, 3)))), whole("x.tiff", picture("TIFF")),
        whole("packed.tiff", picture("TIFF", compression="tiff_lzw")),
        whole("deep.tiff", tiff(NUMBERS.integers(0, 65536, (6, 5, 3)))), whole("x.gif", picture("GIF")),
        whole("x.pgm", b"P5 5 6 4095\n" + NUMBERS.integers(0, 4096, (6, 5)).astype(">u2").tobytes()),
        whole("x.bmp", picture("BMP")), whole("x.tga", picture("TGA")), whole("x.jpg", picture("JPEG")),
        whole("x.webp", picture("WEBP")),
    ]  # fmt: skip


def archives() -> list[Input]:
    """Images in zips and tars, in folders, with a table, or as WebDataset has them."""
    two, folders = [picture("PNG"), picture("PNG")], ("cat/0.png", "dog/1.png")
    return [
        Input("x.zip", two, zipped(folders)),
        Input("table.zip", [*two, b"file,label\n0.png,cat\n1.png,dog\n"], zipped(("0.png", "1.png", "labels.csv"))),
        Input("x.tar", [two[0], b"0", two[1], b"1"], tarred(("0.png", "0.cls", "1.png", "1.cls"))),
        Input("json.tar", [two[0], b'{"label": 3, "x": [1]}'], tarred(("0.png", "0.json"))),
        Input("folders.tar", two, tarred(folders)),
        Input("folders.tar.gz", two, lambda parts: gzip.compress(tarred(folders)(parts), 1, mtime=0)),
    ]


def cifar() -> list[Input]:
    """Two records of CIFAR-10 and the names of its classes, also in an archive."""
    records = b"".join(bytes([i]) + NUMBERS.bytes(3072) for i in (3, 9))
    names, files = "\n".join(map(str, range(10))).encode(), ("data_batch_1.bin", "batches.meta.txt")
    pack = tarred([f"cifar-10-batches-bin/{name}" for name in files])
    packed = Input("cifar.tar.gz", [records, names], lambda parts: gzip.compress(pack(parts), 1, mtime=0))
    return [whole(files[0], records), whole(files[1], names), packed]


def array_inputs() -> dict[str, list[Input]]:
    """Arrays, by the kind of their files."""
    arrays = [npy(X), npy(np.arange(4)), npy(np.array(list("abcd")))]
    return {
        "npy": [whole("x.npy", arrays[0]), whole("floats.npy", npy(NUMBERS.normal(size=(5, 3))))],
        "npz": [Input("x.npz", arrays, zipped(("x_train.npy", "y_train.npy", "classes.npy")))],
        "IDX": [
            whole("x.idx", idx()),
            Input("train-images-idx3-ubyte.gz", [idx()], lambda parts: gzip.compress(parts[0], 1, mtime=0)),
        ],
    }


def options_file() -> Input:
    """A file of `--config`."""
    text = b"# options\nlatent: 3\nbetas: [0.5, 0.9]\nlr: 1e-3\n'width': \"8\"\nholdout: null\naugment: &a [flip]\n"
    return whole("run.yaml", text)
