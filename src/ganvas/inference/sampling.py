"""New examples from a trained model."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..data.memory import check_examples_fit
from ..errors import UserError
from ..model import model_name
from ..viz.images import Examples
from .rows import draw_noise, enforce, sample_rows

if TYPE_CHECKING:
    from .trained import Trained


def sample_examples(
    trained: "Trained", n: int | None = None, seed: int = 0, fitted_prior: str | None = None,
    label: str | int | None = None, per_class: int | None = None, where: Mapping[str, Any] | None = None,
    like: Any = None, balance: str | None = None,
) -> Examples:  # fmt: skip
    """What `Trained.sample` returns, also of a table as `Examples`."""
    if where or balance or like is not None:
        return sample_rows(trained, n, seed=seed, fitted_prior=fitted_prior, where=where, like=like, balance=balance)
    classes = tuple(trained.metadata.get("classes", ()))
    if per_class is None:
        codes = trained.sample_codes(64 if n is None else n, seed, fitted_prior)
        labels = trained.class_labels(len(codes), label)
        examples = trained.generate(codes, labels, draw_noise(trained.shape, len(codes), seed))
        if labels is None:
            return enforce(examples, lambda rows, other: sample_numbers(trained, len(rows), other, fitted_prior), seed)
        return replace(examples, labels=labels, classes=classes)
    if n is not None or label is not None:
        raise UserError(f"per_class={per_class} makes examples of every class: leave out `n` and `label`")
    if not trained.model.is_conditional:
        name = model_name(trained.model)
        raise UserError(f"per_class={per_class}: this {name} was trained without labels: ask for n examples")
    present = trained.present_classes
    check_examples_fit(per_class * len(present), trained.shape, f"per_class={per_class}")
    labels = torch.tensor(present).repeat_interleave(per_class)
    codes = trained.sample_codes(len(labels), seed, fitted_prior)  # reordered, so that a row begins like a longer one
    codes = codes.unflatten(0, (per_class, len(present))).transpose(0, 1).flatten(0, 1)
    examples, rows = trained.generate(codes, labels), tuple(classes[i] for i in present)
    columns = per_class if examples.x.ndim > 2 else examples.columns
    return replace(examples, labels=labels, classes=classes, row_labels=rows, columns=columns)


def sample_numbers(trained: "Trained", n: int, seed: int, fitted_prior: str | None) -> Tensor:
    """The numbers of n examples."""
    codes = trained.sample_codes(n, seed, fitted_prior)
    return trained.generate(codes, trained.class_labels(n, None), draw_noise(trained.shape, n, seed)).x
