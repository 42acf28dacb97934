"""Random numbers as functions of counters: nothing about them needs to be saved or restored."""

from collections.abc import Callable
from hashlib import blake2b
from threading import RLock

import torch
from torch import Tensor

BLOCK_ROWS = 16
"""rows that are drawn at once: torch draws normal numbers in sixteens, and others than whole sixteens differently"""
generators: RLock = RLock()
"""held by the thread of a server that uses a model: all threads share the generators that `reseed` seeds"""


def derive_seed(*key: int | str) -> int:
    """A 63-bit seed that depends on every part of the key, and on nothing else."""
    return int.from_bytes(blake2b(repr(key).encode(), digest_size=8).digest(), "big") >> 1


def make_generator(device: torch.device, *key: int | str) -> torch.Generator:
    """A generator on the device, seeded by the key."""
    return torch.Generator(device).manual_seed(derive_seed(*key))


def device_generator(device: torch.device) -> torch.Generator:
    """The generator from which a GPU draws where none is named; of any other device the CPU's."""
    index = torch.cuda.current_device() if device.type == "cuda" and device.index is None else device.index
    return torch.cuda.default_generators[index] if device.type == "cuda" else torch.default_generator


def reseed(device: torch.device, *key: int | str) -> None:
    """Make what the device draws next a function of the key.

    Seeds the device's own generator: `torch.manual_seed` visits every backend and takes 200 times as long.
    """
    seed = derive_seed(*key)
    for generator in {torch.default_generator, device_generator(device)}:
        generator.manual_seed(seed)
    if device.type == "mps":
        torch.mps.manual_seed(seed)


def draw_rows(n: int, draw: Callable[[int], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """n rows of each tensor that `draw` returns so many rows of: the first n are the same for every larger n."""
    blocks = [draw(BLOCK_ROWS) for _ in range(0, n, BLOCK_ROWS)]
    return tuple(torch.cat(parts)[:n] for parts in zip(*blocks, strict=True))
