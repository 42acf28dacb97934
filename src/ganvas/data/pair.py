"""Two unpaired collections, the domains A and B of a translator, and endless batches from both."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from torch import Tensor

from ..errors import UserError
from ..model import PairBatch, Shape
from ..randomness import seed_of
from .collection import Collection
from .scaling import Scaling, hidden, multiplied
from .stream import Stream

DOMAINS = ("A", "B")
SMALL, LOPSIDED = 50, 10.0
"""examples below which a domain is small, and times as many in one domain as in the other that are worth saying"""
EMPTY, EMPTIES = 2.0, 0.05
"""deviation in grey levels below which an image is nearly empty, and share of such images worth saying"""
NARROW = 64
"""grey levels of a collection below which its range is to blame for empty images"""
UNLIKE = 8
"""grey levels by which colours that nobody sees differ"""
CHUNK = 1000
"""images whose deviation is computed at once"""


@dataclass(frozen=True, eq=False)
class Pair:
    """Collections of the domains A and B, which know nothing of each other.

    Number, size, channels and range may differ; only that both are images, or both vectors, is asked for.
    """

    a: Collection
    b: Collection

    classes: tuple[str, ...] = ()
    labels: None = None

    def __len__(self) -> int:
        """Examples of the larger domain: an epoch shows each of them once."""
        return max(len(self.a), len(self.b))

    @property
    def parts(self) -> tuple[Collection, Collection]:
        return self.a, self.b

    @property
    def shape(self) -> tuple[Shape, Shape]:
        """Shapes of an example of A and of one of B."""
        return self.a.shape, self.b.shape

    @property
    def are_images(self) -> bool:
        return self.a.are_images

    @property
    def name(self) -> str:
        return f"{self.a.name}-{self.b.name}"

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know of each, and of the two together."""
        each = (f"{domain}, {part.name}: {note}" for domain, part in zip(DOMAINS, self.parts, strict=True)
                for note in part.notes)  # fmt: skip
        return (*each, *warnings(self))

    def fingerprint(self) -> str:
        """SHA-256 of the two collections' fingerprints, in their order."""
        return sha256("".join(part.fingerprint() for part in self.parts).encode()).hexdigest()


class PairStream:
    """Endless pairs of batches, one from each collection, each in an order of its own.

    The orders have different seeds: with one seed, collections that happen to be aligned, such as two drawings of the
    same things, would be shown in pairs.  Both have drawn equally many batches, so one position serves both; each
    begins a new epoch when its own examples are used up.  `scaling` has one a domain; options are those of `Stream`.
    """

    def __init__(
        self, pair: Pair, *, seed: int, scaling: Sequence[Scaling] = (Scaling(), Scaling()), **options: Any
    ) -> None:
        self.a, self.b = (
            Stream(part, seed=seed_of(seed, domain), scaling=own, **options)
            for domain, part, own in zip(DOMAINS, pair.parts, scaling, strict=True)
        )

    @property
    def position(self) -> int:
        """Pairs of batches drawn."""
        return self.a.position

    def __iter__(self) -> "PairStream":
        return self

    def __next__(self) -> PairBatch:
        return PairBatch(next(self.a), next(self.b))


def paired(parts: Sequence[Collection]) -> Pair:
    """The pair of two collections; UserError unless both are images or both are vectors."""
    a, b = parts
    if a.are_images != b.are_images:
        images, vectors = (a, b) if a.are_images else (b, a)
        raise UserError(
            f"{images.name} holds images, but {vectors.name} vectors: a translator needs two of the same kind"
        )
    return Pair(a, b)


def warnings(pair: Pair) -> list[str]:
    """What may make translation between the two fail, a sentence each, with what to do."""
    said = []
    few, many = sorted(pair.parts, key=len)
    if len(few) < SMALL:
        said.append(f"{few.name} has only {len(few)} examples: a critic learns so few by heart, give a hundred or more")
    if len(many) > LOPSIDED * len(few):
        said.append(
            f"{many.name} has {len(many) / len(few):.0f} times as many examples as {few.name}: the smaller domain is "
            "shown over and over, so stop early or give it more"
        )
    if pair.are_images:
        said += about_images(pair)
    if pair.a.shape == pair.b.shape and pair.a.fingerprint() == pair.b.fingerprint():
        said.append(f"{pair.a.name} and {pair.b.name} are the same data: there is nothing to translate")
    return said


def about_images(pair: Pair) -> list[str]:
    """Warnings of sizes and of images with nothing on them."""
    (_, *size_a), (_, *size_b) = pair.shape
    said = []
    if size_a != size_b:
        (h, w), (high, wide) = size_a, size_b
        said.append(
            f"{pair.a.name} is {w} x {h} and {pair.b.name} {wide} x {high} pixels: translations are resized, ask for "
            "one --size unless that is meant"
        )
    (of_a, _, a), (of_b, _, b) = (hidden(part.x) for part in pair.parts)
    if of_a and of_b and (a - b).abs().max() > UNLIKE:
        said.append(
            f"colours of transparent pixels differ, {named(a)} in {pair.a.name}, {named(b)} in {pair.b.name}: nobody "
            "sees them, and they play no part"
        )
    for part in pair.parts:
        share = nearly_empty(part)
        if share > EMPTIES:
            low, high = int(part.x.min()), int(part.x.max())
            remedy = "remove them"
            if 0 < high - low < NARROW:
                remedy = f"its pixels are from {low} to {high} of 255: say which are black and white, --range auto"
            said.append(
                f"{share:.0%} of {part.name} are nearly empty images, of one colour: nothing can be translated back "
                f"from those; {remedy}"
            )
    return said


def named(colour: Tensor) -> str:
    """A colour as red, green and blue."""
    return f"({', '.join(f'{value:.0f}' for value in colour.tolist())})"


def nearly_empty(part: Collection) -> float:
    """Share of the images whose pixels deviate by less than `EMPTY` grey levels from their mean."""
    flat = sum(
        int((multiplied(x).float().flatten(2).std(2, correction=0).amax(1) < EMPTY).sum()) for x in part.x.split(CHUNK)
    )
    return flat / len(part)


def domains_of(pair: Pair) -> list[dict[str, Any]]:
    """What a weights file says of both domains."""
    return [
        {
            "domain": domain,
            "name": part.name,
            "shape": list(part.shape),
            "examples": len(part),
            "images": part.are_images,
        }
        | ({"range": list(part.range)} if part.range else {})
        for domain, part in zip(DOMAINS, pair.parts, strict=True)
    ]
