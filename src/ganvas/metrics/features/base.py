"""A space in which metrics compare examples."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...data.dataset import convert_channels

MAX_BATCH_SIZE = 100
"""examples that go through a network at once, at most: the maps of more do not fit a processor's cache"""
Net = TypeVar("Net", bound=nn.Module)


def ignore_progress(done: int, total: int) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class FeatureSpace:
    """A function of examples, and what reports say of it beside each number taken on it."""

    name: str
    n_features: int
    """numbers an example"""
    protocol: str
    """the preprocessing, in a clause"""
    function: Callable[[Tensor], Tensor]
    """of a block of examples: bytes b x c x h x w, or vectors b x d"""
    digest: str = ""
    """the first eight hexadecimal digits of the SHA-256 of its weights, or of the file that they are published in"""
    max_batch_size: int = MAX_BATCH_SIZE
    """examples that the function takes at once, at most"""
    device: torch.device = torch.device("cpu")  # noqa: RUF009  a constant
    """where it computes"""
    head: Callable[[Tensor], Tensor] | None = None
    """logits of classes from features, b x size -> b x classes, where it is a classifier's last hidden layer"""
    classes: tuple[str, ...] = ()
    """what these classes are, where examples' labels can be among them"""

    @property
    def tag(self) -> str:
        """Name and digest, as in "random-conv-v1@0123abcd"."""
        return f"{self.name}@{self.digest}" if self.digest else self.name

    def __call__(self, x: Tensor, progress: Callable[[int, int], None] = ignore_progress) -> Float[Tensor, "n size"]:
        """The features of n examples; `progress(done, total)` is called after each block."""
        return self.map_batches(self.function, x, progress)

    def logits(self, features: Float[Tensor, "n size"]) -> Float[Tensor, "n classes"]:
        """Those of the classifier, from the features of n examples."""
        assert self.head is not None
        return self.map_batches(self.head, features)

    @torch.no_grad()
    def map_batches(
        self, function: Callable[[Tensor], Tensor], x: Tensor, progress: Callable[[int, int], None] = ignore_progress
    ) -> Tensor:
        """A function of x, computed in blocks; in float32, whatever the device prefers."""
        size, parts = min(MAX_BATCH_SIZE, self.max_batch_size), []
        for i in range(0, len(x), size):
            with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
                parts.append(function(x[i : i + size].to(self.device)).cpu())
            progress(min(i + size, len(x)), len(x))
        return torch.cat(parts)


def freeze(net: Net, device: torch.device) -> Net:
    """A network that learns no more."""
    return net.to(device).eval().requires_grad_(False)


def to_rgb(x: Tensor) -> Tensor:
    """Images of any kind as three channels of 0 to 255, float32: grey three times, what is transparent on white."""
    return convert_channels(x, 3).float()


def weights_digest(weights: dict[str, Tensor]) -> str:
    """The first eight hexadecimal digits of the SHA-256 of weights: names, shapes and float32 numbers."""
    hasher = sha256()
    for name, weight in weights.items():
        hasher.update(json.dumps([name, list(weight.shape)]).encode())
        hasher.update(weight.float().numpy().tobytes())
    return hasher.hexdigest()[:8]
