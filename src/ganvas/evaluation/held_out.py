"""What a trained model is measured on: data that the user gives, the test split of its own, or else these."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from ..data import DataOptions, Dataset, DomainPair, Source, Sources, resolve_domains
from ..data.options import MissingSplitError
from ..errors import UserError
from ..inference.loading import load_domain, load_matching
from ..inference.trained import Trained
from ..model import model_name

S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True)
class EvaluationData:
    """What a model is measured on."""

    held_out: Dataset
    train: Dataset | None
    """what the model was trained on, where that is known, needed, and not what it is measured on"""
    split: str


def load_evaluation_data(
    trained: Trained, data: Source | None, options: DataOptions | None, samples: bool
) -> EvaluationData:
    """What to measure a model on, with the training data only beside a test split and if `samples` are compared."""
    read = partial(load_matching, trained)
    held_out, split = load_held_out(trained, data, options, read, "held-out ones")
    training_data = trained.training_data if samples and split == "test" else None
    return EvaluationData(held_out, training_data.load(read) if training_data else None, split)


def load_domain_split(trained: Trained, data: Sources | None, options: DataOptions | None) -> tuple[DomainPair, str]:
    """The two domains to measure a translator on, and which of the data these are: see `load_held_out`."""
    return load_held_out(trained, data, options, partial(load_domains, trained), "both domains")


def load_held_out(
    trained: Trained, data: S | None, options: DataOptions | None, read: Callable[[S, DataOptions | None], T],
    what: str,
) -> tuple[T, str]:  # fmt: skip
    """The user's data, the test split of the run's own, or what it was trained on; and which of these it is.

    The last only where there is no test split, or the run was trained on it: one that cannot be read is a UserError.
    """
    if data is not None:
        return read(data, options), "custom"
    if (training_data := trained.training_data) is None:
        where = trained.folder or "the weights file"
        raise UserError(f"{where} does not say where the model's data are: give {what}")
    test = training_data.load_test_split(read)
    return (training_data.load(read), "train") if test is None else (test, "test")


def load_domains(trained: Trained, sources: Sources, options: DataOptions | None) -> DomainPair:
    """Both domains, with the size and channels that the model was trained on; UserError where they are no such."""
    sources = resolve_domains(sources)
    if not isinstance(sources, tuple):
        raise UserError(f"this {model_name(trained.model)} has two domains: give both, A and B")
    pair = DomainPair(*(load_domain(trained, source, options, i) for i, source in enumerate(sources[:2])))
    if pair.shape != trained.shape:
        raise UserError(f"{pair.name} has examples of {pair.shape}, but this model was trained on {trained.shape}")
    return pair


def load_aligned_pairs(trained: Trained, pairs: Sources, options: DataOptions | None) -> DomainPair:
    """Two domains in which example i of A belongs to example i of B; UserError where they cannot be such."""
    try:  # the test split, if there is one; holding examples out by their content would part those that belong together
        pair = load_domains(trained, pairs, replace(options or DataOptions(split="test"), holdout=0.0))
    except MissingSplitError:
        if options is not None:
            raise
        pair = load_domains(trained, pairs, DataOptions(holdout=0.0))
    if len(pair.a) != len(pair.b):
        sizes = f"{pair.a.name} has {len(pair.a)}, {pair.b.name} {len(pair.b)}"
        raise UserError(f"pairs need as many examples in both domains, in one order: {sizes}")
    return pair
