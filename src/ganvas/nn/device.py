"""The device that computes, and its precision."""

import torch

from ..errors import UserError


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """A context for this precision of matrix products and convolutions; no cache, as weights change within a step."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16", cache_enabled=False)


def resolve_device(device: str) -> torch.device:
    """The device of this name, or for "auto" the fastest; UserError for one that this machine lacks."""
    is_available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    available = [name for name in is_available if is_available[name]]
    if device not in ("auto", *available):
        raise UserError(f"device={device} is not available here: use auto or {', '.join(available)}")
    return torch.device(available[0] if device == "auto" else device)
