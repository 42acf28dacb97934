"""Safetensors files with a JSON header: no pickle, here or anywhere."""

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zlib import crc32

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..errors import UserError, error_reason
from ..renamed import update_file
from .atomic import atomic_write

CHECKSUMS = ("crc32", "header_crc32")
"""keys of the header: checksums of the tensors, and of the rest of the header as JSON; older files have none"""


def write_safetensors(path: Path, header: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Write a file of ours, atomically: what was there is kept until the new one was read back from the disk."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    sums = zip(CHECKSUMS, (checksum(contiguous), crc32(json.dumps(header).encode())), strict=True)
    with atomic_write(path, lambda written: check_copy(written, contiguous)) as temporary:
        save_file(contiguous, temporary, {"ganvas": json.dumps(header | dict(sums))})


def read_safetensors(path: Path, check_header: bool = False) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and tensors of a file of ours; UserError where it is missing, damaged or not ours.

    The checksum of the tensors is always checked, that of the header, which others check by its schema, on demand.
    """
    with open_safetensors(path) as file:
        # cloned, or they would stay mapped to the file, which then could not be replaced on Windows
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        header, of_tensors, of_header = parse_header(file)
        if of_tensors not in (None, checksum(tensors)):
            raise ValueError("its numbers are not those that were written")
        if check_header and of_header not in (None, crc32(json.dumps(header).encode())):
            raise ValueError("its header is not the one that was written")
        return update_file(header, tensors)


def read_header(path: Path) -> dict[str, Any]:
    """The header alone; raises as `read_safetensors` does."""
    with open_safetensors(path) as file:
        return update_file(parse_header(file)[0], {})[0]


def parse_header(file: Any) -> tuple[dict[str, Any], Any, Any]:
    """The header without its checksums, and these, None where it has none."""
    header: dict[str, Any] = json.loads((file.metadata() or {})["ganvas"])
    if not isinstance(header, dict):
        raise ValueError("its header holds no values by name")
    of_tensors, of_header = (header.pop(name, None) for name in CHECKSUMS)
    return header, of_tensors, of_header


def checksum(tensors: dict[str, Tensor]) -> int:
    """CRC-32 of contiguous tensors on the CPU: names, types, shapes and numbers."""
    value = 0
    for name, tensor in sorted(tensors.items()):
        value = crc32(f"{name} {tensor.dtype} {list(tensor.shape)}".encode(), value)
        value = crc32(bytes_of(tensor).numpy().data, value)
    return value


@contextmanager
def open_safetensors(path: Path) -> Iterator[Any]:
    """A safetensors file, open; UserError where it is missing, damaged or not ours."""
    try:
        with safe_open(path, "pt") as file:
            yield file
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error_reason(error)}") from error
    except KeyError as error:
        raise UserError(f"{path} was not written by Ganvas: its header does not say which model it holds") from error
    except UserError:
        raise
    except (SafetensorError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged or no safetensors file: {summarize_error(error)}") from error


def check_copy(path: Path, tensors: dict[str, Tensor]) -> None:
    """OSError unless the file that was just written and synced holds these tensors, on the CPU, bit for bit.

    It is read from the disk where the system can forget what it keeps of it in memory.
    """
    if hasattr(os, "posix_fadvise"):
        with path.open("rb") as written:
            os.posix_fadvise(written.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    try:
        with safe_open(path, "pt") as file:
            is_same = all(torch.equal(bytes_of(file.get_tensor(name)), bytes_of(t)) for name, t in tensors.items())
    except SafetensorError:
        is_same = False
    if not is_same:
        raise OSError(errno.EIO, "what the disk holds is not what was written", str(path))


def bytes_of(tensor: Tensor) -> Tensor:
    """A contiguous tensor's bytes, by which NaN equals itself."""
    return tensor.reshape(-1).view(torch.uint8)


def select_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin so, by what follows."""
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def summarize_error(error: Exception) -> str:
    return " ".join(str(error).split("\n")[:2]).strip()[:200]
