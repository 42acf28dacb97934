"""What a metric is: a function that compares generated examples with as many held-out ones, and says how sure it is.

Each file of this folder that defines a `Metric` adds it to `METRICS`, which `evaluate` and `compare` walk; the check
during training takes one of them, KID or the sliced Wasserstein distance.  The noise floor is the same number for other
real examples in place of generated ones.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import inf
from typing import TypeVar, cast

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ..data import Dataset
from ..data.scaling import composite_backgrounds
from .features.base import FeatureSpace, Progress, report_remaining_time, say_nothing
from .neighbours import NeighbourIndex, build_indexes

T = TypeVar("T")
Terms = tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class Score:
    """A number, and how it changes with the weight of each example.

    `influence` gives a term for each held-out and each generated example, those of the jackknife or its infinitesimal
    form (Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapters 11 and 20).  Only intervals need it.
    """

    value: float
    influence: Callable[[], Terms] | None = None
    error: float | Callable[[], float] | None = None
    """the standard error that is shown, or what computes it"""

    @cached_property
    def terms(self) -> tuple[Float64[Tensor, " m"], Float64[Tensor, " n"]]:
        """The influence terms of held-out and of generated examples, moved to mean 0."""
        assert self.influence is not None
        real, fake = (t.double() - t.double().mean() for t in self.influence())
        return real, fake

    @property
    def standard_error(self) -> float | None:
        return self.error() if callable(self.error) else self.error

    def error_of_terms(self) -> float:
        """The standard error that follows from the influence terms."""
        variance: Tensor = sum((t.var() / len(t) for t in self.terms), torch.zeros(()))
        return variance.sqrt().item()


Entry = Score | dict[str, Score] | list[Score] | int | str
"""a score, or one a class or a column; a fact, which has no noise floor; or why a number is not there"""
Entries = Iterator[tuple[str, Entry]]


@dataclass(frozen=True)
class Number:
    """What can be said of a number before it is measured."""

    higher_is_better: bool | None
    """None where neither is a merit: blur neither copies nor repeats"""
    low: float = 0.0
    high: float = inf
    show: Callable[[float], float] = float
    """the number for a score, or for an end of its interval"""


@dataclass(eq=False)
class Examples:
    """A set of examples; their features and what metrics derive from these are computed once."""

    data: Dataset
    space: FeatureSpace
    reference: "Examples | None" = None
    """the held-out examples, around whose median neighbours are looked for"""
    training: "tuple[Examples, ...]" = ()
    """what a model was trained on; of the noise floor, what all models were"""
    is_floor: bool = False
    """whether these are real examples in place of generated ones"""
    progress: Progress = say_nothing
    """gets a line now and then where features take long"""
    derived: dict[object, object] = field(default_factory=dict)

    @cached_property
    def features(self) -> Float[Tensor, "n d"]:
        return self.space(self.data.x, report_remaining_time(f"{self.space.name} of {self.data.name}", self.progress))

    @cached_property
    def index(self) -> NeighbourIndex:
        """The features with their neighbours."""
        return build_indexes((self.reference or self).features, self.features)[1]

    @property
    def values(self) -> Tensor:
        """For distances between examples: bytes of images, with alpha on black and on white, or features of vectors.

        These are vectors in deviations of the held-out ones: a column in large units does not drown the others.
        """
        return composite_backgrounds(self.data.x) if self.data.has_images else self.features

    def derive(self, function: Callable[..., T], *others: "Examples") -> T:
        """A function of the features, and of those of other examples, computed once."""
        key = (function, *others)
        if key not in self.derived:
            self.derived[key] = function(self.features, *(x.features for x in others))
        return cast("T", self.derived[key])


@dataclass(frozen=True, eq=False)
class Comparison:
    """Held-out examples and as many generated ones, which a metric compares."""

    real: Examples
    fake: Examples
    seed: int = 0
    allow_few: bool = False
    """whether to report a Frechet distance of fewer examples than features"""
    n_directions: int = 1000
    """random projections of the sliced Wasserstein distance"""


@dataclass(frozen=True)
class Metric:
    """A metric, under the name that `--metrics` gives it.

    `compute` yields names and entries, first those of `numbers`, which `compare` shows with intervals, then what only
    `evaluate` shows, which is not computed otherwise.  It raises UserError where it cannot be measured.
    """

    name: str
    numbers: Mapping[str, Number]
    compute: Callable[[Comparison], Entries]
    needs: str
    """"images", "vectors", "training" data or a "classifier", where it needs one; "" where it measures any samples"""
    on_features: bool
    """whether numbers are taken on features, whose name is then part of theirs"""
    rank: int
    """its place in lists of metrics"""


def metric(
    name: str, numbers: Mapping[str, Number], *, needs: str = "", on_features: bool = True, rank: int = 100
) -> Callable[[Callable[[Comparison], Entries]], Metric]:
    """A decorator that makes a `Metric` of the function that computes it."""
    return lambda compute: Metric(name, numbers, compute, needs, on_features, rank)
