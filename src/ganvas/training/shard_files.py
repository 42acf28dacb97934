"""The tensors of a sharded run in files: PyTorch's distributed checkpoint, stored as safetensors.  No pickle in a file.

Each rank writes its own shards into a file of a folder, shards-STEP, which the checkpoint names.  They are read by
any number of ranks, each of which reads its own part, or as whole tensors.  The checkpoint is replaced, at once, when
the new folder is whole, and then the old folder is removed: whenever a run is killed, one of the two can be read.

Source: https://docs.pytorch.org/docs/stable/distributed.checkpoint.html
"""

import warnings
from collections.abc import Mapping
from errno import EIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.tensor import DTensor, distribute_tensor

from ..errors import UserError, error_reason, write_error
from ..io.atomic import unused_path
from ..io.safetensors import summarize_error
from .distributed import from_main


def write_shards(tensors: Mapping[str, Tensor], run: Path, step: int) -> str:
    """Write sharded tensors, which all ranks must do together, into a new folder in that of the run; returns its name.

    WriteError, on all ranks, where one cannot write.
    """
    name = from_main(lambda: unused_path(run / f"shards-{step:07d}").name)
    writer = HuggingFaceStorageWriter(str(run / name), save_distributed=True)
    try:
        save(dict(tensors), storage_writer=writer)
    except (CheckpointException, OSError) as error:
        why = cause(error)
        raise write_error(run / name, why if isinstance(why, OSError) else OSError(EIO, str(why))) from error
    return name


def shard_shapes(folder: Path) -> dict[str, Tensor]:
    """The tensors in a folder of shards, without their numbers; UserError where it is missing, damaged or not whole."""
    if not folder.is_dir():
        raise UserError(f"{folder} is missing, though the checkpoint beside it needs it: put it back")
    try:
        entries = HuggingFaceStorageReader(str(folder)).read_metadata().state_dict_metadata
    except Exception as error:  # of safetensors, JSON or the system, whatever the bytes are
        raise UserError(f"{folder} is damaged: {reason(error)}") from error
    shapes: dict[str, Tensor] = {}
    for name, entry in entries.items():
        assert isinstance(entry, TensorStorageMetadata)
        if sum(chunk.sizes.numel() for chunk in entry.chunks) != entry.size.numel():
            raise UserError(f"{folder} lacks parts of {name}: put the files of all ranks back")
        shapes[name] = torch.empty(entry.size, dtype=entry.properties.dtype, device="meta")
    return shapes


def read_shards(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Fill tensors, each sharded in some way or whole, with what the folder has under their names; no rank waits."""
    values: dict[str, Any] = dict(tensors)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that no process group is used
            load(values, storage_reader=HuggingFaceStorageReader(str(folder)), no_dist=True)
    except (CheckpointException, OSError, ValueError, RuntimeError) as error:
        raise UserError(f"{folder} is damaged: {reason(error)}") from error


def distribute_like(place: Tensor | None, tensor: Tensor) -> Tensor:
    """A whole tensor, sharded as another one is, if it is; each rank takes its part of what it has."""
    if not isinstance(place, DTensor) or tensor.shape != place.shape:
        return tensor
    return distribute_tensor(tensor.to(place.device), place.device_mesh, place.placements, src_data_rank=None)


def cause(error: BaseException) -> Exception:
    """What went wrong on the first rank where something did."""
    failures = error.failures.values() if isinstance(error, CheckpointException) else [(error, None)]
    return next((e for e, _ in failures if isinstance(e, Exception)), RuntimeError(str(error)))


def reason(error: BaseException) -> str:
    """The same in a line."""
    error = cause(error)
    return error_reason(error) if isinstance(error, OSError) else summarize_error(error)
