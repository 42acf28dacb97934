"""The classes that a conditional model is asked for."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import UserError
from ..model import model_name
from ..models._variational import Variational

if TYPE_CHECKING:
    from .trained import Trained


def class_labels(trained: "Trained", n: int, label: str | int | None) -> Tensor | None:
    """n labels: those of one class, or all classes in turn; None where the model is not conditional."""
    if not trained.model.is_conditional:
        if label is None:
            return None
        hint = f"train {'it' if isinstance(trained.model, Variational) else 'a vae'} with conditional=true, or cgan"
        raise UserError(f"label={label}: this {model_name(trained.model)} was trained without labels: {hint}")
    classes, present = trained.metadata.get("classes", []), trained.present_classes
    if label is None:
        return torch.tensor(present)[torch.arange(n) % len(present)]
    i = classes.index(str(label)) if str(label) in classes else int(label) if str(label).isdigit() else len(classes)
    if i not in present:
        exists = i < len(classes)
        problem = f"no example of class {classes[i]} was trained on" if exists else f"there is no class {label!r}"
        raise UserError(f"{problem}: this model knows {', '.join(classes[i] for i in present[:40])}")
    return torch.full((n,), i)
