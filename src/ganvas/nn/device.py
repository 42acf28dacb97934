"""The device that computes, and its precision."""

import torch

from ..data.memory import MAX_MEMORY_SHARE
from ..errors import UserError


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """A context for this precision of matrix products and convolutions; no cache, as weights change within a step."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16", cache_enabled=False)


def device_data_limit(device: torch.device) -> int | None:
    """Bytes of data that may lie on a GPU, a share of what it has free now; None for devices with the host's memory."""
    return int(MAX_MEMORY_SHARE * torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else None


def resolve_device(device: str) -> torch.device:
    """The device of this name, or for "auto" the fastest; UserError for one that this machine lacks."""
    is_available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    available = [name for name in is_available if is_available[name]]
    if device not in ("auto", *available):
        raise UserError(f"device={device} is not available here: use auto or {', '.join(available)}")
    return torch.device(available[0] if device == "auto" else device)
