"""What single dimensions of the latent space do: traversals, the picture of a plane, where the codes lie in it."""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from ..data import Collection, Source, View
from ..data.memory import room_for
from ..errors import UserError, at_least_one
from ..inference.trained import NO_NOISE, Trained
from ..model import Encodes, Samples
from ..training.run_folder import opened
from ..viz.images import Examples
from .codes import GROUND, Usage, examples_of, usage_of

REACH = 3.0
"""standard deviations to which a traversal goes on both sides"""


def traverse(
    trained: Trained | str | Path,
    data: Source | None = None,
    view: View | None = None,
    *,
    rows: int = 10,
    columns: int = 11,
    example: int = 0,
) -> Examples:
    """One row a latent dimension: it goes from -3 to 3, all others stay as they are in the code of one example.

    The dimensions with the largest KL(q(z|x) || N(0, I)), averaged over some hundred examples, come first, `rows` of
    them at most.  The unit is the prior's standard deviation.  An autoencoder, which has neither posterior nor prior,
    is sorted by the variance of its codes, and the unit is their standard deviation around their mean; so is the
    unit with a vamp prior.  Without `data`, the examples are those that the run was trained on; where nothing says
    what these were, the walk is around 0, the dimensions in their own order.
    """
    trained = opened(trained)
    at_least_one(rows, "rows")
    if columns < 2:
        raise UserError(f"columns={columns}: a traversal has at least its two ends")
    trained.needs(Samples, "has no decoder")
    trained.needs(Encodes, "has no encoder, so nothing says which latent dimensions matter: interpolate instead")
    room_for(columns, trained.shape, f"columns={columns}")
    collection = examples_of(trained, data, view)
    used = usage_of(trained, collection)
    if collection is None:
        code, labels, around = used.centre[None], trained.chosen(1, None), "0"
    else:
        if not 0 <= example < len(collection):
            raise UserError(f"example={example}: {collection.name} has the examples 0 to {len(collection) - 1}")
        one = collection.at(slice(example, example + 1))
        code, labels, around = trained.encode(one), one.labels, f"example {example} of {collection.name}"
    chosen, steps = used.order[:rows], torch.linspace(-REACH, REACH, columns)
    z = code.repeat(len(chosen), columns, 1)
    for row, j in enumerate(chosen):
        z[row, :, j] = used.centre[j] + steps * used.unit[j]
    made = trained.decode(z.flatten(0, 1), None if labels is None else labels.expand(len(chosen) * columns))
    return Examples(
        made.x, columns, f"one latent dimension a row, around {around}",
        rows=tuple(named(used, j) for j in chosen), heads=tuple(signed(t) for t in steps.tolist()),
        behind=ground(trained, collection), about={"dimensions": [facts(used, j) for j in chosen]},
    )  # fmt: skip


def manifold(
    trained: Trained | str | Path,
    data: Source | None = None,
    view: View | None = None,
    *,
    side: int = 20,
    label: str | int | None = None,
) -> Examples:
    """`side` x `side` examples decoded from a plane of codes (Kingma & Welling, arXiv:1312.6114, figure 4).

    The coordinates are the quantiles of the prior, N(0, 1) or uniform, at (i + 1/2) / side.  The plane is that of the
    two latent dimensions with the largest KL (see `traverse`), the first two where nothing is known of it; all others
    are 0.
    For an autoencoder, or a vamp prior, the quantiles are those of a Gaussian with the codes' mean and standard
    deviation, and all others are at their mean.  A conditional model shows the class `label`, or else its first.
    """
    trained = opened(trained)
    at_least_one(side, "side")
    trained.needs(Samples, NO_NOISE)
    room_for(side * side, trained.shape, f"side={side}")
    collection = examples_of(trained, data, view) if isinstance(trained.model, Encodes) else None
    used, (across, up) = plane(trained, collection)
    coordinates = quantiles(side)
    z = used.centre.repeat(side, side, 1)
    z[:, :, across] += coordinates * used.unit[across]
    z[:, :, up] += coordinates.flip(0)[:, None] * used.unit[up]
    z, shown = (trained.model.from_normal(t) for t in (z, coordinates))
    first = trained.about["classes"][0] if trained.model.labelled else None
    given = trained.chosen(1, first if label is None else label)
    made = trained.decode(z.flatten(0, 1), None if given is None else given.expand(side * side))
    rest = (
        ""
        if len(used.centre) == 2
        else f", the other {len(used.centre) - 2} at {'their mean' if used.centre.any() else 0}"
    )
    of = "" if given is None else f", class {trained.about['classes'][int(given)]}"
    return Examples(
        made.x, side, f"{named(used, across)} across, {named(used, up)} up{rest}{of}",
        behind=ground(trained, collection),
        about={"across": facts(used, across), "up": facts(used, up), "quantiles": shown.tolist()},
    )  # fmt: skip


def codes(trained: Trained, *, data: Source | None = None, view: View | None = None) -> Examples:
    """Where the codes of 2000 examples lie in the plane of `manifold`, coloured by class where the data have classes.

    The code is the posterior's mean where it is a distribution.
    """
    trained.needs(Encodes, "has no encoder, so there are no codes of examples")
    collection = examples_of(trained, data, view)
    if collection is None:
        raise UserError("nothing says which data this model was trained on: give some whose codes are to be shown")
    used, (across, up) = plane(trained, collection)
    part = collection.some(GROUND, 0, "codes")
    return Examples(
        trained.encode(part)[:, [across, up]], None,
        f"codes of {collection.name}: {named(used, across)} across, {named(used, up)} up",
        rows=part.classes, labels=part.labels, about={"across": facts(used, across), "up": facts(used, up)},
    )  # fmt: skip


def plane(trained: Trained, collection: Collection | None) -> tuple[Usage, tuple[int, int]]:
    """How the latent dimensions are used, and which two are shown, in their own order."""
    used = usage_of(trained, collection)
    if len(used.centre) < 2:
        raise UserError("a plane needs two latent dimensions, but this model has one: use traverse or interpolate")
    first, second = sorted(used.order[:2])
    return used, (first, second)


def quantiles(n: int) -> Float[Tensor, " n"]:
    """The quantiles of N(0, 1) at (i + 1/2) / n: the inverse of its distribution function."""
    values: Tensor = torch.special.ndtri((torch.arange(n, dtype=torch.float64) + 0.5) / n)
    return values.float()


def signed(t: float) -> str:
    """A coordinate above a column: +0.6, 0, -0.6."""
    return f"{t:+.2g}" if abs(t) > 1e-6 else "0"


def named(used: Usage, j: int) -> str:
    """A dimension as a picture names it."""
    return f"z[{j}] ({used.measure} {used.weight[j]:.2f})" if used.measure else f"z[{j}]"


def facts(used: Usage, j: int) -> dict[str, int | float]:
    """A dimension as JSON: its number, from 0, and what it was sorted by."""
    return {"dimension": j} | ({used.measure.lower(): used.weight[j].item()} if used.measure else {})


def ground(trained: Trained, collection: Collection | None) -> Tensor | None:
    """Vectors of the data, to be seen behind what is decoded."""
    return None if collection is None or len(trained.shape) == 3 else collection.some(GROUND, 0, "ground").x
