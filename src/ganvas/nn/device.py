"""The device that computes, and its precision."""

import torch

from ..errors import UserError


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """A context in which matrix products and convolutions have this precision."""
    # without a cache, which would keep what the weights were before the step's first move
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16", cache_enabled=False)


def resolve_device(device: str) -> torch.device:
    """The device for `wish`, which may be "auto"; UserError for one that this machine lacks."""
    availability = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if device == "auto":
        return torch.device(next(name for name, here in availability.items() if here))
    if not availability[device]:
        choices = ", ".join(name for name, is_available in availability.items() if is_available)
        raise UserError(f"device={device} is not available here: use auto or {choices}")
    return torch.device(device)
