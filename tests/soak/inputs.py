"""Small files of every kind that Ganvas reads, and damage to them: of the whole, or of a part that is packed again."""

import csv
import gzip
import io
import json
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from tests.support.images import chunk, png, tiff

NUMBERS = np.random.default_rng(0)
X = NUMBERS.integers(0, 256, (4, 6, 5), np.uint8)
TOKENS = (
    b'"', b",", b"\n", b"\r", b"\0", b";", b"{", b"[" * 2000, b"NaN", b"1e999", b"-1", b"9" * 400, b"../../x",
    b"-" * 9000, b"/x.png", b"\xff\xfe", b"\xef\xbb\xbf", b"true", b"null", b"\\u0000", b"%s", b"\xed\xa0\x80",
)  # fmt: skip
VALUES = (
    None,
    True,
    -1,
    0,
    2**31,
    2**63,
    10**400,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "x",
    "../x",
    "\0",
    [],
    [[]],
    {},
)
EXTREMES = (0, 1, 127, 128, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)


@dataclass(frozen=True)
class Input:
    """A file by name, as parts and what packs them."""

    name: str
    parts: Sequence[bytes]
    pack: Callable[[Sequence[bytes]], bytes]

    def damaged(self, random: Random, other: bytes) -> bytes:
        """With one of its parts damaged and the rest as it is, or as a whole; pieces of `other` may be put in."""
        parts = list(self.parts)
        if random.random() < 0.6:
            i = random.randrange(len(parts))
            parts[i] = damage(parts[i], random, other)
            return self.pack(parts)
        return damage(self.pack(parts), random, other)


def damage(content: bytes, random: Random, other: bytes) -> bytes:
    """Values of JSON changed, or bytes: flipped, set to extremes, cut off, left out, repeated or put in."""
    if content[:1] in (b"{", b"[") and random.random() < 0.7:
        lines = content.splitlines()
        i = random.randrange(len(lines)) if all(line[:1] == b"{" for line in lines) else None
        try:
            if i is None:
                return damage_json(content, random)
            lines[i] = damage_json(lines[i], random)
            return b"\n".join(lines) + b"\n"
        except ValueError:
            pass
    made = bytearray(content)
    for _ in range(random.randint(1, 3)):
        at, n = random.randrange(max(1, len(made))), random.choice((1, 2, 4, 8, 64))
        match random.randrange(9):
            case 0:
                made[at : at + 1] = bytes(b ^ (1 << random.randrange(8)) for b in made[at : at + 1])
            case 1:
                made[at : at + n] = random.randbytes(len(made[at : at + n]))
            case 2 | 3:  # lengths
                size = random.choice((1, 2, 4, 8))
                number = random.choice((*EXTREMES, len(content), len(content) + 1)) % 256**size
                made[at : at + size] = number.to_bytes(size, random.choice(("little", "big")))
            case 4:
                del made[at:]
            case 5:
                del made[at : at + n]
            case 6:
                made[at:at] = made[at : at + n] * random.choice((1, 1, 50))
            case 7:
                start = random.randrange(max(1, len(other)))
                made[at:at] = other[start : start + n]
            case _:
                made[at:at] = random.choice(TOKENS)
    return bytes(made)


def damage_json(text: bytes, random: Random) -> bytes:
    """A value somewhere in it changed, left out, or under another name; ValueError where it is no JSON."""
    values = json.loads(text)
    holders: list[Any] = []

    def collect(value: Any) -> None:
        if isinstance(value, dict | list) and value:
            holders.append(value)
            for inner in value.values() if isinstance(value, dict) else value:
                collect(inner)

    collect(values)
    if not holders:
        return json.dumps(random.choice(VALUES)).encode()
    holder = random.choice(holders)
    key = random.choice(list(holder)) if isinstance(holder, dict) else random.randrange(len(holder))
    how = random.randrange(8)
    if how == 0:
        del holder[key]
    elif how == 1 and isinstance(holder, dict):
        holder[key + "x"] = holder.pop(key)
    elif how == 2:
        holder[key] = [holder[key]]
    else:
        holder[key] = random.choice(VALUES)
    return json.dumps(values).encode()


def whole(name: str, content: bytes) -> Input:
    return Input(name, [content], lambda parts: parts[0])


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


def parquet() -> list[Input]:
    """A table of images and labels as the Hub has them; none without pyarrow."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        return []

    def pack(parts: Sequence[bytes]) -> bytes:
        content, rows = io.BytesIO(), [{"bytes": part, "path": f"{i}.png"} for i, part in enumerate(parts)]
        pq.write_table(pa.table({"image": rows, "label": list(range(len(rows)))}), content)
        return content.getvalue()

    return [Input("x.parquet", [picture("PNG"), picture("PNG")], pack), whole("bytes.parquet", pack([picture("PNG")]))]


def hdf5() -> list[Input]:
    """Arrays in a file of HDF5; none without h5py."""
    try:
        import h5py
    except ImportError:
        return []
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file["x"], file["y"] = X, np.arange(4)
    return [whole("x.h5", content.getvalue())]


def nifti() -> list[Input]:
    """A volume; none without nibabel."""
    try:
        import nibabel
    except ImportError:
        return []
    content = nibabel.Nifti1Image(X.astype(np.int16), np.eye(4)).to_bytes()
    return [whole("x.nii", content), Input("x.nii.gz", [content], lambda parts: gzip.compress(parts[0], 1, mtime=0))]


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


def data_inputs() -> list[Input]:
    """One of each kind of file that `ganvas.data.load` reads."""
    arrays = [npy(X), npy(np.arange(4)), npy(np.array(list("abcd")))]
    two = [picture("PNG"), picture("PNG")]
    images = [
        whole("x.png", picture("PNG")), png_chunks(picture("PNG")),
        whole("deep.png", png(NUMBERS.integers(0, 65536, (6, 5, 3)))), whole("x.tiff", picture("TIFF")),
        whole("packed.tiff", picture("TIFF", compression="tiff_lzw")),
        whole("deep.tiff", tiff(NUMBERS.integers(0, 65536, (6, 5, 3)))), whole("x.gif", picture("GIF")),
        whole("x.pgm", b"P5 5 6 4095\n" + NUMBERS.integers(0, 4096, (6, 5)).astype(">u2").tobytes()),
        whole("x.bmp", picture("BMP")), whole("x.tga", picture("TGA")), whole("x.jpg", picture("JPEG")),
        whole("x.webp", picture("WEBP")),
    ]  # fmt: skip
    return [
        *images,
        whole("x.npy", arrays[0]), whole("floats.npy", npy(NUMBERS.normal(size=(5, 3)))),
        Input("x.npz", arrays, zipped(("x_train.npy", "y_train.npy", "classes.npy"))),
        whole("x.idx", idx()),
        Input("train-images-idx3-ubyte.gz", [idx()], lambda parts: gzip.compress(parts[0], 1, mtime=0)),
        Input("x.zip", two, zipped(("cat/0.png", "dog/1.png"))),
        Input("table.zip", [*two, b"file,label\n0.png,cat\n1.png,dog\n"], zipped(("0.png", "1.png", "labels.csv"))),
        Input("x.tar", [two[0], b"0", two[1], b"1"], tarred(("0.png", "0.cls", "1.png", "1.cls"))),
        Input("json.tar", [two[0], b'{"label": 3, "x": [1]}'], tarred(("0.png", "0.json"))),
        Input("folders.tar", two, tarred(("cat/0.png", "dog/1.png"))),
        *tables(), *parquet(), *hdf5(), *nifti(),
    ]  # fmt: skip
