"""Two unpaired datasets, the domains A and B of a translator, and endless batches from both."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..errors import UserError
from ..model import PairBatch, Shape
from ..randomness import derive_seed
from .dataset import Dataset, InMemory
from .scaling import IMAGES_PER_CHUNK, Scaling, as_measured, hidden_colour_stats, premultiply
from .stream import Stream

DOMAINS = ("A", "B")
MIN_DOMAIN_SIZE, MAX_SIZE_RATIO = 50, 10.0
"""examples below which a domain is small, and times as many in one domain as in the other that are worth saying"""
EMPTY_STD, MAX_EMPTY_SHARE = 2.0, 0.05  # grey levels of nearly empty images' deviation; share of such worth saying
NARROW_RANGE, COLOUR_TOLERANCE = 64, 8
"""grey levels of a dataset below which its range is to blame for empty images, and by which hidden colours differ"""


@dataclass(frozen=True, eq=False)
class DomainPair(InMemory):
    """Datasets of the domains A and B: both of one kind, images say, or else UserError; all else may differ."""

    a: Dataset
    b: Dataset
    classes: ClassVar[tuple[str, ...]] = ()
    labels: ClassVar[None] = None

    def __post_init__(self) -> None:
        if self.a.kind != self.b.kind:
            first, second = (self.a, self.b) if self.a.has_images or not self.b.has_images else (self.b, self.a)
            kinds = f"{first.name} holds {first.kind}s, but {second.name} {second.kind}s"
            raise UserError(f"{kinds}: give two of the same kind")

    def __len__(self) -> int:
        """Examples of the larger domain: an epoch shows each of them once."""
        return max(len(self.a), len(self.b))

    @property
    def datasets(self) -> tuple[Dataset, Dataset]:
        return self.a, self.b

    @property
    def shape(self) -> tuple[Shape, Shape]:
        """Shapes of an example of A and of one of B."""
        return self.a.shape, self.b.shape

    @property
    def has_images(self) -> bool:
        return self.a.has_images

    @property
    def name(self) -> str:
        return f"{self.a.name}-{self.b.name}"

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know of each, and of the two together."""
        parts = zip(DOMAINS, self.datasets, strict=True)
        return (*(f"{domain}, {x.name}: {note}" for domain, x in parts for note in x.notes), *pair_warnings(self))

    @property
    def headers(self) -> list[dict[str, Any]]:
        """What a weights file says of both domains."""
        return [
            {"domain": domain, "name": x.name, "shape": list(x.shape), "examples": len(x), "has_images": x.has_images}
            | ({"range": list(x.range)} if x.range and not x.is_deep else {})
            for domain, x in zip(DOMAINS, self.datasets, strict=True)
        ]

    def fingerprint(self) -> str:
        """SHA-256 of the fingerprints of A and B."""
        return sha256("".join(part.fingerprint() for part in self.datasets).encode()).hexdigest()


class PairStream:
    """Endless pairs of batches, one from each dataset, each in an order of its own.

    The orders have different seeds: with one seed, datasets that happen to be aligned, such as two drawings of the
    same things, would be shown in pairs.  Both have drawn equally many batches, so one position serves both; each
    begins a new epoch when its own examples are used up.  `scaling` has one a domain; options are those of `Stream`.
    """

    def __init__(
        self, pair: DomainPair, *, seed: int, scaling: Sequence[Scaling] = (Scaling(), Scaling()), **options: Any
    ) -> None:
        seeds = [derive_seed(seed, domain) for domain in DOMAINS]
        if (limit := options.pop("device_bytes", None)) is not None:
            options["device_bytes"] = limit // 2
        self.a: Stream = Stream(pair.a, seed=seeds[0], scaling=scaling[0], **options)
        self.b: Stream = Stream(pair.b, seed=seeds[1], scaling=scaling[1], **options)

    @property
    def notes(self) -> tuple[str, ...]:
        """Which of the data are not on the device."""
        return self.a.notes + self.b.notes

    @property
    def n(self) -> int:
        """Examples of the larger domain."""
        return max(self.a.n, self.b.n)

    @property
    def position(self) -> int:
        """Pairs of batches drawn."""
        return self.a.position

    def __iter__(self) -> "PairStream":
        return self

    def __next__(self) -> PairBatch:
        return PairBatch(next(self.a), next(self.b))

    def draw(self) -> tuple[Tensor, ...]:
        """What the next two batches are made of: see `Stream.draw`."""
        return *self.a.draw(), *self.b.draw()

    def assemble(self, *drawn: Tensor) -> PairBatch:
        """The two batches."""
        n = self.a.n_drawn
        return PairBatch(self.a.assemble(*drawn[:n]), self.b.assemble(*drawn[n:]))


def pair_warnings(pair: DomainPair) -> list[str]:
    """What may make translation between the two fail, a sentence each, with what to do."""
    a, b, messages = pair.a, pair.b, list[str]()
    smaller, larger = sorted(pair.datasets, key=len)
    if len(smaller) < MIN_DOMAIN_SIZE:
        few = f"{smaller.name} has only {len(smaller)} examples"
        messages.append(f"{few}: a critic learns so few by heart, give a hundred or more")
    if len(larger) > MAX_SIZE_RATIO * len(smaller):
        times = f"{larger.name} has {len(larger) / len(smaller):.0f} times as many examples as {smaller.name}"
        messages.append(f"{times}: the smaller domain is shown over and over, so stop early or give it more")
    if pair.has_images and a.shape[1:] != b.shape[1:]:
        size_a, size_b = (f"{part.shape[2]} x {part.shape[1]}" for part in pair.datasets)
        sizes = f"{a.name} is {size_a} and {b.name} {size_b} pixels"
        messages.append(f"{sizes}: translations are resized, ask for one --size unless that is meant")
    (share_a, _, colour_a), (share_b, _, colour_b) = (hidden_colour_stats(part.x) for part in pair.datasets)
    if share_a and share_b and (colour_a - colour_b).abs().max() > COLOUR_TOLERANCE:
        in_a, in_b = (f"({', '.join(f'{value:.0f}' for value in c.tolist())})" for c in (colour_a, colour_b))
        colours = f"colours of transparent pixels differ, {in_a} in {a.name}, {in_b} in {b.name}"
        messages.append(f"{colours}: nobody sees them, and they play no part")
    for part in pair.datasets if pair.has_images else ():
        if (share := empty_image_share(part)) > MAX_EMPTY_SHARE:
            low, high = int(part.x.min()), int(part.x.max())
            remedy = f"its pixels are from {low} to {high} of 255: say which are black and white, --range auto"
            remedy = remedy if 0 < high - low < NARROW_RANGE and not part.is_deep else "remove them"
            what = f"{share:.0%} of {part.name} are nearly empty images, of one colour"
            messages.append(f"{what}: nothing can be translated back from those; {remedy}")
    if a.shape == b.shape and a.fingerprint() == b.fingerprint():
        messages.append(f"{a.name} and {b.name} are the same data: there is nothing to translate")
    return messages


def empty_image_share(part: Dataset) -> float:
    """Share of the images whose pixels deviate by less than `EMPTY_STD` grey levels from their mean."""
    parts = as_measured(part, Scaling.fit_dataset(part)).x.split(IMAGES_PER_CHUNK)
    stds = torch.cat([premultiply(x).float().flatten(2).std(2, correction=0).amax(1) for x in parts])
    return int((stds < EMPTY_STD).sum()) / len(part)
