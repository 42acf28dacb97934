"""The members of a tar, plain or gzipped: read where they are, or in memory; nothing is unpacked onto the disk."""

import gzip
import tarfile
from collections.abc import Iterator
from io import SEEK_END, BufferedReader, BytesIO
from pathlib import Path

from ..errors import UserError
from .memory import check_memory

BLOCK = tarfile.BLOCKSIZE
READ_BYTES, MAX_END_BYTES = 2**24, 2**20  # bytes decompressed at once; bytes looked at behind the last member


def tar_members(path: Path, file: BufferedReader | BytesIO) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """The members of an open tar, each with the tar; UserError where it is damaged or cut off."""
    size, end, last = file.seek(0, SEEK_END), 0, "its beginning"
    file.seek(0)
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                tar.members.clear()  # type: ignore[attr-defined]  # or it would remember a million
                last, end = member.name, tar.offset
                if end > size:
                    raise UserError(f"{path} is cut off in the middle of {last}: copy it again")
                yield tar, member
    except tarfile.TarError as error:
        raise UserError(f"{path} is damaged or no plain tar, after {last}: {error}") from error
    file.seek(end)
    rest = file.read(MAX_END_BYTES)  # blocks of zeros, though tarfile takes anything else for an end as well
    if len(rest) < BLOCK:
        raise UserError(f"{path} is cut off after {last}: copy it again")
    if rest.strip(b"\0"):
        raise UserError(f"{path} is damaged after {last}, or holds a second tar: make it anew")


def decompress(path: Path) -> bytes:
    """What a gzipped file holds; UserError where that leaves too little memory.  Raises what `gzip` raises."""
    content = bytearray()
    with gzip.open(path) as file:
        while part := file.read(READ_BYTES):
            content += part
            check_memory(len(content), f"{path}, decompressed,", "unpack it first, and give the folder")
    return bytes(content)
