"""What to do with a trained model: `sample`, `reconstruct`."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
from cyclopts import Parameter

from ..data import View
from ..errors import at_least_one
from ..inference.trained import Trained
from ..training.progress import Bar
from ..viz.images import PICTURES, Examples
from .common import TARGET, VIEW, Flat, RunName, SourceName, Target, deliver, opened

ROWS = 40
"""most classes in a picture"""


def sample(
    run: RunName,
    /,
    *,
    n: Annotated[int | None, Parameter(alias="-n", help="how many; 64 unless given")] = None,
    seed: Annotated[int, Parameter(help="of the noise")] = 0,
    prior: Annotated[
        str,
        Parameter(help="standard, the model's own; best, gaussian, mixture or flow: what `ganvas fit-prior` fitted"),
    ] = "standard",
    label: Annotated[str | None, Parameter(help="class, by name or number, of a conditional model")] = None,
    each: Annotated[int | None, Parameter(help="in place of n: how many of every class, a row a class")] = None,
    to: Annotated[Target, Flat] = TARGET,
) -> None:
    """Generate new examples with a trained model, from N(0, I) or from a fitted prior."""
    trained = opened(run)
    if label is not None and each is None and (chosen := trained.chosen(1, label)) is not None:
        Bar().say(f"class {trained.about['classes'][int(chosen)]}")
    make = partial(trained.sample, n, seed=seed, prior=prior, label=label, each=each)
    deliver(make if each is None or not drawn(to.out) else lambda: first(make()), trained, "samples", to)


def drawn(out: Path | None) -> bool:
    """Whether examples that go there become one picture."""
    return out is None or out.suffix.lower() in PICTURES


def first(made: Examples) -> Examples:
    """The first rows, where there are more images a class than a picture can show well."""
    if made.columns is None or len(made.rows) <= ROWS:
        return made
    Bar().notes([f"the picture shows the first {ROWS} of {len(made.rows)} classes: --out all.npz has every one"])
    return replace(made, x=made.x[: ROWS * made.columns], rows=made.rows[:ROWS])


def reconstruct(
    run: RunName,
    data: SourceName,
    /,
    *,
    n: Annotated[int, Parameter(alias="-n", help="how many of the examples, spread evenly over them")] = 32,
    view: Annotated[View, Flat] = VIEW,
    to: Annotated[Target, Flat] = TARGET,
) -> None:
    """Encode and decode examples; a picture shows each beside its reconstruction."""
    trained = opened(run)
    deliver(lambda: pairs(trained, data, view, n, to.out), trained, "reconstructions", to)


def pairs(trained: Trained, data: str, view: View, n: int, out: Path | None) -> Examples:
    """Reconstructions; for a picture, each after its example."""
    collection = trained.fitting(data, view)
    at_least_one(n, "n")
    collection = collection.at(torch.linspace(0, len(collection) - 1, min(n, len(collection))).long())
    made = trained.reconstruct(collection)
    if made.x.ndim == 2 or not drawn(out):
        return made
    both = made.x.new_empty((2 * len(made), *made.x.shape[1:]))
    both[0::2], both[1::2] = collection.x, made.x
    return Examples(both, columns=8)
