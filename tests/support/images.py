"""Image files of 16 bits, written by hand."""

import struct
import zlib
from pathlib import Path

import numpy as np

ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""left, top, and steps to the right and down of the passes of interlaced images (ISO/IEC 15948, section 8.2)"""


TYPES = {1: 0, 2: 4, 3: 2, 4: 6}


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(pixels: np.ndarray, *, interlaced: bool = False, extra: bytes = b"") -> bytes:
    """A PNG of 16 bits a channel: h x w x 1 grey, 2 grey and alpha, 3 RGB or 4 RGBA."""
    h, w, c = pixels.shape
    passes = [pixels[y::down, x::right] for x, y, right, down in ADAM7] if interlaced else [pixels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for part in passes if part.size for row in part)
    header = struct.pack(">IIBBBBB", w, h, 16, TYPES[c], 0, 0, int(interlaced))
    parts = (chunk(b"IHDR", header), extra, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff(pixels: np.ndarray) -> bytes:
    """A TIFF of 16 bits of red, green and blue."""
    h, w, _ = pixels.shape
    tags = ((256, w), (257, h), (259, 1), (262, 2), (273, 200), (277, 3), (278, h), (279, h * w * 6))
    entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags]
    entries.insert(2, struct.pack("<HHII", 258, 3, 3, 190))  # bits of each channel, at byte 190
    head = struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + b"".join(entries) + bytes(4)
    return head.ljust(190, b"\0") + struct.pack("<HHHI", 16, 16, 16, 0) + pixels.astype("<u2").tobytes()


def values_of(path: Path) -> np.ndarray:
    """The numbers of a PNG of 16 bits, not interlaced, all of whose rows have the filter 0; independent of Pillow."""
    raw, content = path.read_bytes(), b""
    w, h, bits, kind = struct.unpack(">IIBB", raw[16:26])
    assert bits == 16
    at = 8
    while at < len(raw):
        size, name = struct.unpack(">I4s", raw[at : at + 8])
        content += raw[at + 8 : at + 8 + size] if name == b"IDAT" else b""
        at += size + 12
    rows = np.frombuffer(zlib.decompress(content), np.uint8).reshape(h, -1)
    assert (rows[:, 0] == 0).all()
    channels = next(c for c, t in TYPES.items() if t == kind)
    return np.ascontiguousarray(rows[:, 1:]).view(">u2").reshape(h, w, channels).astype(int)


def of_bits(values: np.ndarray, bits: int, content: bytes, more: tuple[tuple[int, int], ...] = ()) -> bytes:
    """A grey TIFF with so many bits a pixel, and more tags."""
    h, w = values.shape
    tags = ((256, w), (257, h), (258, bits), (259, 1), (262, 1), (273, 200), (277, 1), (278, h), (279, len(content)))
    entries = [struct.pack("<HHII", tag, 3 if tag in (258, 339) else 4, 1, value) for tag, value in (*tags, *more)]
    head = struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + b"".join(entries) + bytes(4)
    return head.ljust(200, b"\0") + content
