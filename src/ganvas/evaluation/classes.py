"""What a classifier says of generated examples, and the numbers of each class of a conditional model's."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ..data import Dataset
from ..errors import UserError
from ..metrics import kernel_distance
from ..metrics.classes import classifier_score, label_accuracy
from ..metrics.distances import MIN_BLOCKS
from ..metrics.likelihood import mean_and_error
from .samples import Comparison, MetricValues, metric_entry

LEAST = 2 * MIN_BLOCKS
"""examples of a class that a kernel distance takes at least"""


def classes(s: Comparison) -> MetricValues:
    """The classifier's score, where features classify; label agreement and kernel distances a class, where there are.

    UserError where there is none of them.
    """
    found: MetricValues = {}
    if s.space.head is not None:
        found |= verdicts(s)
    if s.fake.labels is not None:
        found |= kernel_distances(s)
    if not found:
        raise UserError(
            f"classes need features that classify, which {s.space.name} do not, or a model that knows labels"
        )
    return found


def verdicts(s: Comparison) -> MetricValues:
    """The score, and where labels are of the classifier's classes, the share of examples that it takes for theirs.

    Their floor is of the held-out examples: the classifier may have learnt the others.
    """
    made, real = s.space.logits(s.fake_features), s.space.logits(s.held_out_features)
    (score, error), (floor, _) = (mean_and_error(classifier_score(x)) for x in (made, real))
    found = metric_entry(s, "classifier_score", score, floor, error)
    if s.fake.labels is None or classifier_labels(s.space.classes, s.fake) is None:
        return found
    (value, by_class), (floor, floors) = (agreements(s, *side) for side in ((s.fake, made), (s.held_out, real)))
    return found | metric_entry(s, "agreement", value, floor) | metric_entry(s, "agreement_by_class", by_class, floors)


def agreements(
    s: Comparison, data: Dataset, logits: Float[Tensor, "n classes"]
) -> tuple[float, dict[str, float | None]]:
    """The agreement of verdicts with the labels of examples, and that of each class; None where it has no example."""
    labels = classifier_labels(s.space.classes, data)
    assert labels is not None
    assert data.labels is not None
    places = {name: data.labels == i for i, name in enumerate(data.classes)}
    each = {name: label_accuracy(logits[at], labels[at]) if at.any() else None for name, at in places.items()}
    return label_accuracy(logits, labels), each


def classifier_labels(names: tuple[str, ...], data: Dataset) -> Int64[Tensor, " n"] | None:
    """The labels of examples as the classifier numbers its classes: by name, or by number where classes have no names.

    None where the examples have none, or of other classes.
    """
    if data.labels is None:
        return None
    numbers = tuple(str(i) for i in range(len(names)))
    known = next((k for k in (names, numbers) if data.classes and set(data.classes) <= set(k)), None)
    return None if known is None else torch.tensor([known.index(name) for name in data.classes])[data.labels]


def kernel_distances(s: Comparison) -> MetricValues:
    """The kernel distance of each class's generated examples from its held-out ones; None where these are too few."""
    assert s.fake.labels is not None
    assert s.held_out.labels is not None  # of the same classes, as `Trained.matching` has it
    values: dict[str, float | None] = {}
    floors, errors = dict(values), dict(values)
    for i, name in enumerate(s.fake.classes):
        real, made = s.held_out_features[s.held_out.labels == i], s.fake_features[s.fake.labels == i]
        other = real[:0] if s.other.labels is None else s.other_features[s.other.labels == i]
        values[name], errors[name] = distance(real, made)
        floors[name], _ = distance(real, other)
    return metric_entry(s, "kid_by_class", values, floors, errors)


def distance(a: Tensor, b: Tensor) -> tuple[float | None, float | None]:
    """The kernel distance of as many of each as there are, and its standard error."""
    n = min(len(a), len(b))
    return (None, None) if n < LEAST else mean_and_error(kernel_distance(a[:n], b[:n]))


__all__ = ["classes"]
