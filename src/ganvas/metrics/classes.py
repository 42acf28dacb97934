"""Numbers of generated examples by a classifier of real ones."""

from math import log, nan

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ..data import Dataset
from ..errors import UserError
from .kid import MIN_EXAMPLES, kernel_score
from .likelihood import mean_and_error
from .metric import Comparison, Entries, Number, Score, Terms, metric


def classifier_score(logits: Float[Tensor, "n classes"], splits: int = 10) -> Float[Tensor, " splits"]:
    """exp E_x KL( p(y|x) || p(y) ), of each split of the examples: from 1 to the number of classes.

    The Inception score if the classifier is Inception (Salimans et al., arXiv:1606.03498, section 4), whose protocol
    gives mean and deviation over ten splits.
    """
    log_p = logits.double().log_softmax(1)
    size = max(1, len(log_p) // splits)
    scores = []
    for chunk in log_p[: size * splits].split(size):
        log_marginal = chunk.logsumexp(0) - log(len(chunk))
        scores.append((chunk.exp() * (chunk - log_marginal)).sum(1).mean().exp())
    return torch.stack(scores).float()


def label_accuracy(logits: Float[Tensor, "n classes"], labels: Int64[Tensor, " n"]) -> float:
    """Share of the examples whose label the classifier finds."""
    return (logits.argmax(1) == labels).double().mean().item()


def classifier_labels(names: tuple[str, ...], data: Dataset) -> Int64[Tensor, " n"] | None:
    """The labels of examples as the classifier numbers its classes, by name or by number; None for none, or others."""
    if data.labels is None:
        return None
    numbers = tuple(str(i) for i in range(len(names)))
    known = next((known for known in (names, numbers) if set(data.classes) <= set(known)), ())
    return torch.tensor([known.index(name) for name in data.classes])[data.labels] if known and data.classes else None


def classifier_scores(logits: Float[Tensor, "n classes"], n_real: int) -> Score:
    """The classifier's score over ten splits, on which the `n_real` held-out examples have no influence."""
    value, error = mean_and_error(classifier_score(logits))

    def influence() -> Terms:  # to first order the marginal has none: its terms sum to 0
        log_p = logits.double().log_softmax(1)
        return torch.zeros(n_real), value * (log_p.exp() * (log_p - log_p.exp().mean(0).log())).sum(1)

    return Score(value, influence, error)


@metric("classes", {"classifier_score": Number(higher_is_better=True, low=1.0)}, needs="classifier", rank=8)
def compute(c: Comparison) -> Entries:
    """The classifier's score, where features classify; label agreement, and kernel distances a class."""
    space, has_labels = c.real.space, c.fake.data.labels is not None
    if space.head is None and not has_labels:
        raise UserError(f"classes need features that classify, which {space.name} do not, or a model that knows labels")
    if space.head is not None:
        examples = c.real if c.fake.is_floor else c.fake  # the classifier may have learned from other real examples
        data, logits = examples.data, space.logits(examples.features)
        yield "classifier_score", classifier_scores(logits, len(c.real.data))
        labels = classifier_labels(space.classes, data) if has_labels else None
        if labels is not None:  # NaN for a class without examples
            masks = {name: data.labels == i for i, name in enumerate(data.classes)}
            yield "label_agreement", Score(label_accuracy(logits, labels))
            yield "label_agreement_by_class", {k: Score(label_accuracy(logits[m], labels[m])) for k, m in masks.items()}
    if has_labels:
        scores, sides = {}, (c.real, c.fake)
        for i, name in enumerate(c.fake.data.classes):
            a, b = (x.features[:0] if x.data.labels is None else x.features[x.data.labels == i] for x in sides)
            n = min(len(a), len(b))
            scores[name] = Score(nan) if n < MIN_EXAMPLES else kernel_score(a[:n], b[:n])
        yield "kid_by_class", scores
