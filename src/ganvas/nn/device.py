"""The device that computes, and its precision."""

import torch

from ..errors import UserError


def precisely(precision: str, device: torch.device) -> torch.autocast:
    """A context in which matrix products and convolutions have this precision."""
    # without a cache, which would keep what the weights were before the step's first move
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16", cache_enabled=False)


def device_for(wish: str) -> torch.device:
    """The device for `wish`, which may be "auto"; UserError for one that this machine lacks."""
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if wish == "auto":
        return torch.device(next(name for name, here in there.items() if here))
    if not there[wish]:
        have = ", ".join(name for name, here in there.items() if here)
        raise UserError(f"device={wish} is not available here: use auto or {have}")
    return torch.device(wish)
