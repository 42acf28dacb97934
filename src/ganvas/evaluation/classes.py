"""What a classifier says of generated examples, and the numbers of each class of a conditional model's."""

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
    """The score, and where labels are of the classifier's classes, the share of examples that it takes for theirs.

    Their floor is of the held-out examples: the classifier may have learnt the others.
    """
    made, real = s.features.logits(s.of_made), s.features.logits(s.of_held_out)
    (score, error), (floor, _) = (mean_and_error(classifier_score(x)) for x in (made, real))
    found = named(s, "classifier_score", score, floor, error)
    if s.made.labels is None or of_classifier(s.features.classes, s.made) is None:
        return found
    (value, by_class), (floor, floors) = (agreements(s, *side) for side in ((s.made, made), (s.held_out, real)))
    return found | named(s, "agreement", value, floor) | named(s, "agreement_by_class", by_class, floors)


def agreements(s: Sides, data: Collection, logits: Float[Tensor, "n classes"]) -> tuple[float, dict[str, float | None]]:
    """The agreement of verdicts with the labels of examples, and that of each class; None where it has no example."""
    labels = of_classifier(s.features.classes, data)
    assert labels is not None
    assert data.labels is not None
    places = {name: data.labels == i for i, name in enumerate(data.classes)}
    each = {name: agreement(logits[at], labels[at]) if at.any() else None for name, at in places.items()}
    return agreement(logits, labels), each


def of_classifier(names: tuple[str, ...], data: Collection) -> Int64[Tensor, " n"] | None:
    """The labels of examples as the classifier numbers its classes: by name, or by number where classes have no names.

    None where the examples have none, or of other classes.
    """
    if data.labels is None:
        return None
    numbers = tuple(str(i) for i in range(len(names)))
    known = next((k for k in (names, numbers) if data.classes and set(data.classes) <= set(k)), None)
    return None if known is None else torch.tensor([known.index(name) for name in data.classes])[data.labels]


def kernel_distances(s: Sides) -> Numbers:
    """The kernel distance of each class's generated examples from its held-out ones; None where these are too few."""
    assert s.made.labels is not None
    assert s.held_out.labels is not None  # of the same classes, as `Trained.matching` has it
    values: dict[str, float | None] = {}
    floors, errors = dict(values), dict(values)
    for i, name in enumerate(s.made.classes):
        real, made = s.of_held_out[s.held_out.labels == i], s.of_made[s.made.labels == i]
        other = real[:0] if s.other.labels is None else s.of_other[s.other.labels == i]
        values[name], errors[name] = distance(real, made)
        floors[name], _ = distance(real, other)
    return named(s, "kid_by_class", values, floors, errors)


def distance(a: Tensor, b: Tensor) -> tuple[float | None, float | None]:
    """The kernel distance of as many of each as there are, and its standard error."""
    n = min(len(a), len(b))
    return (None, None) if n < LEAST else mean_and_error(kernel_distance(a[:n], b[:n]))


__all__ = ["classes"]
