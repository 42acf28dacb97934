"""Damaged data files: one sentence that names the file, whatever is damaged, and nothing large is allocated."""

import gzip
import io
import os
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganvas.data import DataOptions, load
from ganvas.errors import UserError
from tests.support.images import png, tiff

RANDOM = np.random.default_rng(0)
X = RANDOM.integers(0, 256, (4, 6, 5), np.uint8)
COUNT = int(os.environ.get("GANVAS_DAMAGED", "60"))
"""damaged files of each kind"""
MOST = 200 * 2**20
"""bytes that reading one may take"""


def npy(array: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def npz(packed: bool) -> bytes:
    content = io.BytesIO()
    save = np.savez_compressed if packed else np.savez
    save(content, x_train=X, y_train=np.arange(4), classes=np.array(list("abcd")))
    return content.getvalue()


def idx() -> bytes:
    return struct.pack(">I3I", 0x803, *X.shape) + X.tobytes()


def picture(form: str, **options: object) -> bytes:
    content = io.BytesIO()
    Image.fromarray(X[0]).save(content, form, **options)
    return content.getvalue()


def stack() -> bytes:
    content = io.BytesIO()
    Image.fromarray(X[0]).save(content, "TIFF", save_all=True, append_images=[Image.fromarray(x) for x in X[1:]])
    return content.getvalue()


KINDS: dict[str, Callable[[], bytes]] = {
    "x.npy": lambda: npy(X),
    "floats.npy": lambda: npy(RANDOM.normal(size=(5, 3))),
    "x.npz": lambda: npz(False),
    "packed.npz": lambda: npz(True),
    "train-images-idx3-ubyte": idx,
    "train-images-idx3-ubyte.gz": lambda: gzip.compress(idx(), mtime=0),
    "x.png": lambda: picture("PNG"),
    "deep.png": lambda: png(RANDOM.integers(0, 65536, (6, 5, 3))),
    "x.tiff": lambda: picture("TIFF"),
    "packed.tiff": lambda: picture("TIFF", compression="tiff_lzw"),
    "deep.tiff": lambda: tiff(RANDOM.integers(0, 65536, (6, 5, 3))),
    "stack.tiff": stack,
    "x.gif": lambda: picture("GIF"),
    "x.pgm": lambda: b"P5 5 6 4095\n" + RANDOM.integers(0, 4096, (6, 5)).astype(">u2").tobytes(),
    "x.bmp": lambda: picture("BMP"),
    "x.tga": lambda: picture("TGA"),
    "x.jpg": lambda: picture("JPEG"),
    "x.webp": lambda: picture("WEBP"),
}


def mutations(content: bytes, random: np.random.Generator, count: int) -> Iterator[bytes]:
    """Bytes changed, set to the extremes, cut off, left out, repeated, or put in."""
    for _ in range(count):
        made = bytearray(content)
        for _ in range(int(random.integers(1, 4))):
            at, n = int(random.integers(0, max(1, len(made)))), int(random.integers(1, 9))
            match int(random.integers(0, 7)):
                case 0:
                    made[at : at + n] = random.bytes(min(n, len(made) - at))
                case 1:
                    made[at : at + n] = b"\xff" * min(n, len(made) - at)
                case 2:
                    made[at : at + n] = bytes(min(n, len(made) - at))
                case 3:
                    del made[at:]
                case 4:
                    del made[at : at + n]
                case 5:
                    made[at:at] = made[at : at + n]
                case _:
                    made[at:at] = random.bytes(n)
        yield bytes(made)


def peak() -> int:
    """The most memory that this process has had, in bytes; 0 where nothing says it."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    return next(1024 * int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", list(KINDS))
def test_nothing_but_a_sentence(name: str, tmp_path: Path) -> None:
    path, before = tmp_path / "data" / name, peak()
    path.parent.mkdir()
    random = np.random.default_rng(len(name))
    is_array = "np" in path.suffix or "ubyte" in name
    for i, content in enumerate(mutations(KINDS[name](), random, COUNT)):
        path.write_bytes(content)
        view = DataOptions(pages="all" if i % 2 else "first", range="auto" if i % 3 == 0 else None)
        said = ""
        try:
            load(path if is_array else path.parent, view)
        except UserError as error:
            said = str(error)
        assert not said or path.stem in said or path.parent.name in said, said
        assert "\n" not in said
    assert peak() < before + MOST or name == "x.webp"  # libwebp itself takes what a header claims, 1 GiB at most


def test_a_tiff_that_says_more_rows_than_its_strips_have(tmp_path: Path) -> None:
    content = bytearray(tiff(np.ones((6, 5, 3))))
    at = content.index(struct.pack("<HHI", 257, 4, 1)) + 8
    content[at : at + 4] = struct.pack("<I", 60)
    (tmp_path / "deep.tiff").write_bytes(content)
    with pytest.raises(UserError, match="it says 60 rows of pixels, and has 6"):
        load(tmp_path / "deep.tiff")


def claiming(header: str, content: bytes = b"") -> bytes:
    """A .npy with this header."""
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + content


HEADERS = {
    "20 GiB": "{'descr': '|u1', 'fortran_order': False, 'shape': (20000, 1000, 1000), }",
    "more than there are numbers": "{'descr': '|u1', 'fortran_order': False, 'shape': (2**70,), }",
    "overflow": f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({2**40}, {2**40}), }}",
    "negative": "{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 5), }",
    "no shape": "{'descr': '|u1', 'fortran_order': False, }",
    "no dictionary": "[1, 2]",
    "unfinished": "{'descr': '|u1', 'fortran_order': False, 'shape': (3,",
    "no type": "{'descr': 'zz', 'fortran_order': False, 'shape': (3, 3), }",
    "a type that is none": "{'descr': [1], 'fortran_order': False, 'shape': (3, 3), }",
    "a call": "{'descr': print(1), 'fortran_order': False, 'shape': (3, 3), }",
    "deep": "(" * 100,
    "minus of minus": "-" * 9000 + "1",
    "bytes": "\x00\x01\x02",
}


@pytest.mark.parametrize("case", list(HEADERS))
def test_headers_of_arrays(case: str, tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(claiming(HEADERS[case], bytes(9)))
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", claiming(HEADERS[case], bytes(9)))
    before = peak()
    for name in ("x.npy", "x.npz"):
        with pytest.raises(UserError, match=rf"{name} is damaged or no NumPy file: "):
            load(tmp_path / name)
    assert peak() < before + MOST


def test_the_length_of_a_header_takes_no_memory(tmp_path: Path) -> None:
    """Two GiB of version 2, and of one that there is not."""
    before = peak()
    for version in (b"\2\0", b"\1\x3b"):
        content = b"\x93NUMPY" + version + struct.pack("<I", 2**31) + bytes(50)
        (tmp_path / "x.npy").write_bytes(content)
        with pytest.raises(UserError, match=r"x.npy is damaged or no NumPy file: its header claims 2147483648 bytes"):
            load(tmp_path / "x.npy")
    assert peak() < before + MOST


@pytest.mark.parametrize("sizes", [(2**32 - 1,) * 3, (2**31, 2, 2**31), (20000, 1000, 1000), (0, 9, 9), (5, 0, 5)])
def test_sizes_of_idx_files(sizes: tuple[int, int, int], tmp_path: Path) -> None:
    content = struct.pack(">I3I", 0x803, *sizes) + bytes(50)
    (tmp_path / "x.idx").write_bytes(content)
    (tmp_path / "x.idx.gz").write_bytes(gzip.compress(content, mtime=0))
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(content, mtime=0))
    before = peak()
    for name in ("x.idx", "train-images-idx3-ubyte.gz"):
        with pytest.raises(UserError, match="is damaged: it says|is empty"):
            load(tmp_path / name)
    for length in range(5):
        (tmp_path / "x.idx").write_bytes(content[:length])
        with pytest.raises(UserError, match="is no IDX file"):
            load(tmp_path / "x.idx")
    assert peak() < before + MOST


def test_a_gzip_that_holds_more_than_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganvas.data.memory.available_memory", lambda: 2**20)
    content = struct.pack(">I3I", 0x803, 200, 100, 100) + bytes(2_000_000)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(content, mtime=0))
    with pytest.raises(UserError, match=r"would take 1.91 MiB of memory, and 1 MiB are free"):
        load(tmp_path / "train-images-idx3-ubyte.gz")


def test_an_animation_that_claims_gigabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To seek in it would make room for its pixels."""
    content = io.BytesIO()
    frames = [Image.fromarray(x) for x in X]
    frames[0].save(content, "GIF", save_all=True, append_images=frames[1:])
    (tmp_path / "x.gif").write_bytes(content.getvalue()[:6] + b"\xff\xff\xff\xff" + content.getvalue()[10:])
    monkeypatch.setattr("PIL.GifImagePlugin.GifImageFile.seek", lambda image, number: pytest.fail("it seeks"))
    with pytest.raises(UserError, match="it says 65535 x 65535 pixels, which its .* bytes cannot hold"):
        load(tmp_path / "x.gif", DataOptions(pages="all"))


@pytest.mark.parametrize("before", [b"", b"!\xfe\0", b"!\x01\0\x01,\0", b"!\xff\x0bNETSCAPE2.0\0\x01,\0"])
@pytest.mark.parametrize("at", [0, 1])
def test_a_frame_that_claims_gigabytes(at: int, before: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow would make room for it as it comes to it, also after blocks that are odd."""
    content = io.BytesIO()
    Image.new("L", (8, 8)).save(content, "GIF")
    start = content.getvalue().rindex(b",\0\0\0\0\x08")
    head, frame = content.getvalue()[:start], content.getvalue()[start:-1]
    huge = b"!\xf9\x04\x08\0\0\0\0," + struct.pack("<4H", 0, 0, 60_000, 60_000) + frame[9:]
    frames = b"".join((huge, frame) if at == 0 else (frame, huge, frame))
    (tmp_path / "x.png").write_bytes(head + before + frames + b";")
    monkeypatch.setattr("PIL.Image.core.fill", lambda mode, size, *colour: pytest.fail(f"it takes {size}"))
    with pytest.raises(UserError, match="it says 60000 x 60000 pixels, which its .* bytes cannot hold"):
        load(tmp_path / "x.png", DataOptions(pages="all"))
