"""The device that computes, and its precision."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ..data.memory import MAX_MEMORY_SHARE
from ..errors import UserError


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """A context for this precision of matrix products and convolutions; no cache, as weights change within a step."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16", cache_enabled=False)


@contextmanager
def float32_products(tf32: bool, device: torch.device) -> Iterator[None]:
    """A context in which a GPU multiplies float32 numbers in TF32, or in all their bits.

    PyTorch's own default is TF32 in cuDNN's convolutions, and all bits in matrix products.  What the program has set
    counts again afterwards.  Source: PyTorch, CUDA semantics, "TensorFloat-32".
    """
    if device.type != "cuda":
        yield
        return
    conv = getattr(torch.backends.cudnn, "conv", None)  # since PyTorch 2.9
    name, value = ("fp32_precision", "tf32" if tf32 else "ieee") if conv else ("allow_tf32", tf32)
    settings = (torch.backends.cuda.matmul, conv or torch.backends.cudnn)
    before = [getattr(setting, name) for setting in settings]
    try:
        for setting in settings:
            setattr(setting, name, value)
        yield
    finally:
        for setting, old in zip(settings, before, strict=True):
            setattr(setting, name, old)


def device_data_limit(device: torch.device) -> int | None:
    """Bytes of data that may lie on a GPU, a share of what it has free now; None for devices with the host's memory."""
    return int(MAX_MEMORY_SHARE * torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else None


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def resolve_device(device: str) -> torch.device:
    """The device of this name, or for "auto" the fastest; UserError for one that this machine lacks."""
    is_available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    available = [name for name in is_available if is_available[name]]
    if device not in ("auto", *available):
        raise UserError(f"device={device} is not available here: use auto or {', '.join(available)}")
    return torch.device(available[0] if device == "auto" else device)
