"""A space in which metrics compare examples."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from time import monotonic

import torch
from jaxtyping import Float
from torch import Tensor

from ...data.options import Progress as Report
from ...data.options import no_progress

MAX_BATCH_SIZE = 100
"""examples that go through a network at once, at most: the maps of more do not fit a processor's cache"""
REPORT_SECONDS = 10.0
"""seconds between two lines about long work"""
Progress = Callable[[str], None]


def say_nothing(line: str) -> None:
    """The progress of those who do not want to hear of it."""


def report_remaining_time(what: str, progress: Progress) -> Report:
    """A function of (done, total) that says now and then how long is left, and nothing of what is done at once."""
    start = last = monotonic()

    def report(done: int, total: int) -> None:
        nonlocal last
        now = monotonic()
        if now - last > REPORT_SECONDS and done < total:
            last, left = now, (now - start) * (total / done - 1)
            progress(f"{what}: {done} of {total}, {left:.0f} s left")

    return report


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

    def __call__(self, x: Tensor, report: Report = no_progress) -> Float[Tensor, "n size"]:
        """The features of n examples; `report(done, total)` is called after each block."""
        return self.map_batches(self.function, x, report)

    def logits(self, features: Float[Tensor, "n size"]) -> Float[Tensor, "n classes"]:
        """Those of the classifier, from the features of n examples."""
        assert self.head is not None
        return self.map_batches(self.head, features)

    @torch.no_grad()
    def map_batches(self, function: Callable[[Tensor], Tensor], x: Tensor, report: Report = no_progress) -> Tensor:
        """A function of x, computed in blocks; in float32, whatever the device prefers."""
        parts, done = [], 0
        for part in x.split(min(MAX_BATCH_SIZE, self.max_batch_size)):
            with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
                parts.append(function(part.to(self.device)).cpu())
            report(done := done + len(part), len(x))
        return torch.cat(parts)


def weights_digest(weights: dict[str, Tensor]) -> str:
    """The first eight hexadecimal digits of the SHA-256 of weights: names, shapes and float32 numbers."""
    hasher = sha256()
    for name, weight in weights.items():
        hasher.update(json.dumps([name, list(weight.shape)]).encode())
        hasher.update(weight.float().numpy().tobytes())
    return hasher.hexdigest()[:8]
