"""Attribute arithmetic: the difference between two classes, as a direction in the latent space."""

from math import isfinite
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from ..data import Collection, Source, View
from ..data.memory import room_for
from ..errors import UserError, at_least_one
from ..inference.trained import Trained
from ..model import Encodes, Samples
from ..training.run_folder import opened
from ..viz.images import Examples
from .codes import GROUND

OF_A_CLASS = 1000
"""examples at most from which the mean code of a class is taken"""


def arithmetic(
    trained: Trained | str | Path,
    data: Source,
    add: str,
    subtract: str,
    *,
    on: str | None = None,
    rows: int = 8,
    columns: int = 8,
    strength: float = 2.0,
    view: View | None = None,
) -> Examples:
    """Examples with the difference of two classes added: z(x) + s (mean code of `add` - mean code of `subtract`).

    A row has an example of the class `on` (by default `subtract`), its reconstruction, and `columns` strengths s up
    to `strength`; at 1, the mean of the class `subtract` would become that of `add`.  (Larsen et al.,
    arXiv:1512.09300, section 3.2.)  A conditional model keeps the examples' own labels.
    """
    trained = opened(trained)
    at_least_one(rows, "rows")
    at_least_one(columns, "columns")
    if not isfinite(strength):
        raise UserError(f"strength={strength}: give a number, such as 2")
    trained.needs(Samples, "has no decoder")
    trained.needs(Encodes, "has no encoder, so classes have no mean code")
    room_for(rows * columns, trained.shape, f"rows={rows} and columns={columns}")
    collection = trained.fitting(data, view)
    change = direction(trained, collection, add, subtract)
    shown = one_class(collection, subtract if on is None else on).at(slice(rows))
    strengths = torch.linspace(0, strength, columns + 1)
    z = trained.encode(shown)[:, None] + strengths[:, None] * change
    labels = None if shown.labels is None else shown.labels.repeat_interleave(columns + 1)
    made = trained.decode(z.flatten(0, 1), labels).x.unflatten(0, (len(shown), columns + 1))
    title = f"{subtract if on is None else on} + s (mean code of {add} - mean code of {subtract})"
    about = {"strengths": strengths.tolist(), "length": change.norm().item()}
    if len(trained.shape) == 1:
        behind = collection.some(GROUND, 0, "ground").x
        return Examples(made.flatten(0, 1), columns + 1, title, behind=behind, about=about)
    x = torch.cat([shown.x[:, None], made], 1).flatten(0, 1)
    heads = ("example", *(f"s = {s:.3g}" for s in strengths.tolist()))
    return Examples(x, columns + 2, title, heads=heads, about=about)


def direction(trained: Trained, collection: Collection, add: str, subtract: str) -> Float[Tensor, " d"]:
    """The mean code of the class `add` minus that of the class `subtract`, each of 1000 examples at most."""
    if collection.labels is None:
        raise UserError(f"{collection.name} has no labels to take classes from: put the images into one folder a class")
    if add == subtract:
        raise UserError(f"add and subtract are both {add}: name two classes")
    means = []
    for name in (add, subtract):
        part = one_class(collection, name).some(OF_A_CLASS, 0, "arithmetic")
        means.append(trained.encode(part).double().mean(0))
    return (means[0] - means[1]).float()


def one_class(collection: Collection, name: str) -> Collection:
    """The examples of one class, with the labels that they had; UserError where there are none."""
    collection.only((name,))
    return collection.at(collection.labels == collection.classes.index(name))
