"""What a classifier says of generated examples, and the numbers of each class of a conditional model's."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ..data import Collection
from ..errors import UserError
from ..metrics import kernel_distance
from ..metrics.classes import agreement, classifier_score
from ..metrics.distances import BLOCKS
from ..metrics.likelihood import mean_and_error
from .samples import Numbers, Sides, named

LEAST = 2 * BLOCKS
"""examples of a class that a kernel distance takes at least"""


def classes(s: Sides) -> Numbers:
    """The classifier's score, where features classify; label agreement and kernel distances a class, where there are.

    UserError where there is none of them.
    """
    found: Numbers = {}
    if s.features.head is not None:
        found |= verdicts(s)
    if s.made.labels is not None:
        found |= kernel_distances(s)
    if not found:
        raise UserError(
            f"classes need features that classify, which {s.features.name} do not, or a model that knows labels"
        )
    return found


def verdicts(s: Sides) -> Numbers:
    """The score, and where labels are of the classifier's classes, the share of examples that it takes for theirs."""
    made, other = s.features.logits(s.of_made), s.features.logits(s.of_other)
    (score, error), (floor, _) = (mean_and_error(classifier_score(x)) for x in (made, other))
    found = named(s, "classifier_score", score, floor, error)
    mine, others = (of_classifier(s.features.classes, part) for part in (s.made, s.other))
    if mine is None or others is None:
        return found
    found |= named(s, "agreement", agreement(made, mine), agreement(other, others))
    one, least = (
        each_class(s.made, lambda at: right(made, mine, at)),
        each_class(s.other, lambda at: right(other, others, at)),
    )
    return found | named(s, "agreement_by_class", one, least)


def right(logits: Float[Tensor, "n classes"], labels: Int64[Tensor, " n"], at: Int64[Tensor, " m"]) -> float | None:
    """The agreement of the examples at these places; None where there are none."""
    return agreement(logits[at], labels[at]) if len(at) else None


def of_classifier(names: tuple[str, ...], data: Collection) -> Int64[Tensor, " n"] | None:
    """The labels of examples as the classifier numbers its classes: by name, or by number where classes have no names.

    None where the examples have none, or of other classes.
    """
    if data.labels is None:
        return None
    numbers = [str(i) for i in range(len(names))]
    for known in (list(names), numbers):
        if data.classes and set(data.classes) <= set(known):
            return torch.tensor([known.index(name) for name in data.classes])[data.labels]
    return None


def kernel_distances(s: Sides) -> Numbers:
    """The kernel distance of each class's generated examples from its held-out ones; None where these are too few."""
    assert s.made.labels is not None
    values: dict[str, float | None] = {}
    floors, errors = dict(values), dict(values)
    for i, name in enumerate(s.made.classes):
        real, made = (x[s.made.labels == i] for x in (s.of_held_out, s.of_made))  # they have the same labels
        other = real[:0] if s.other.labels is None else s.of_other[s.other.labels == i]
        values[name], errors[name] = distance(real, made)
        floors[name], _ = distance(real, other)
    return named(s, "kid_by_class", values, floors, errors)


def distance(a: Tensor, b: Tensor) -> tuple[float | None, float | None]:
    """The kernel distance of as many of each as there are, and its standard error."""
    n = min(len(a), len(b))
    return (None, None) if n < LEAST else mean_and_error(kernel_distance(a[:n], b[:n]))


def each_class(data: Collection, number: Callable[[Tensor], float | None]) -> dict[str, float | None]:
    """A number of each class, by name, from the places of its examples."""
    assert data.labels is not None
    return {name: number((data.labels == i).nonzero()[:, 0]) for i, name in enumerate(data.classes)}


__all__ = ["classes"]
