"""What a run writes as it goes: its weights, a preview, the curves of its log, and last its state."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from .. import __version__
from ..config import Plan
from ..data import Collection, Data, Pair, Scaling, counts, domains_of, streamed
from ..inference.trained import LAST, WEIGHTS, Trained, load_trained
from ..io.atomic import written
from ..model import Batch, Model, PairBatch, name_of, plain
from ..randomness import reseed
from ..viz.curves import curves
from ..viz.images import preview
from . import checkpoint, run_folder, validation
from .loop import State, averaged, check_finite, scale
from .validation import Light

PREVIEW = 10
"""examples in a row of a preview"""
FIRST, LATER = 20.0, 100.0
"""seconds after which a run is saved though no checkpoint is due: so that there is a first picture within half a
minute, and never more than two minutes to lose"""


@dataclass(frozen=True)
class Run:
    """A run under way: what is trained, on what, how, and where it is written."""

    model: Model
    source: Data
    """what it was given"""
    data: Data
    """the same as the model learns it"""
    plan: Plan
    folder: Path


class Saved:
    """The step that was saved last, and whether it is time for another.

    When that is depends on the clock, but nothing that a run computes or logs depends on it.
    """

    def __init__(self, step: int) -> None:
        self.step, self.until = step, time.monotonic() + FIRST

    def late(self) -> bool:
        """Whether a run is to be saved before its next checkpoint is due."""
        return time.monotonic() >= self.until

    def at(self, step: int) -> None:
        """This step is saved."""
        self.step, self.until = step, time.monotonic() + LATER


def to_observe(run: Run, state: State) -> Batch | PairBatch | None:
    """The examples whose codes are looked at for each line of the log; None where the model looks at none."""
    n = min(run.model.observes, *map(len, run.data.parts))
    if type(run.model).observe is Model.observe or n < 2:
        return None
    return some(run, state, n).to(next(state.nets.parameters()).device)


def measured(run: Run, state: State, light: Light) -> dict[str, Any]:
    """Measure samples of the averaged weights; where they are the best, and the best are kept, write them.

    Returns what the log says: the number, the lowest so far, and the step of the best weights.
    """
    check_finite(state)
    trained = kept(run, state)
    found = light.measure(trained)
    if validation.note(state, found["value"], found["error"]) and best_kept(run):
        replace(trained, about=trained.about | {"samples": found}).save(run.folder / WEIGHTS)
    return {"samples": found | {"lowest": state.lowest, "best": state.best, "seconds": light.seconds()}}


def best_kept(run: Run) -> bool:
    """Whether the weights to use are the best, and not the last."""
    return run.model.fickle and run.plan.keep == "best"


def save(run: Run, state: State) -> None:
    """Write checkpoint, weights (the last, where the best are kept elsewhere), a preview and the log's curves."""
    check_finite(state)
    unmeasured = state.lowest is None  # then there are no better ones
    for name in ([LAST] if best_kept(run) else []) + ([WEIGHTS] if unmeasured or not best_kept(run) else []):
        kept(run, state).save(run.folder / name)
    device = next(state.nets.parameters()).device
    batch = example_batch(run, state).to(device)
    reseed(device, run.plan.seed, "preview")  # the same noise in every preview
    with torch.inference_mode():
        rows = run.model.preview(batch, **averaged(state, run.plan.ema))
    with written(run.folder / run_folder.PREVIEWS / f"{state.step:07d}.png") as temporary:
        preview(rows, seen(run, state)).save(temporary, "PNG")
    if lines := run_folder.read_log(run.folder):
        with written(run.folder / run_folder.CURVES) as temporary:
            curves(lines).save(temporary, "PNG")
    # last, since it says that the step is done: a run that is killed before goes on from the one before
    checkpointed(run, state)


def checkpointed(run: Run, state: State) -> None:
    """Write the state, with what it is the state of."""
    about = {"ganvas": __version__, "model": name_of(run.model), "fields": plain(run.model), "batch": run.plan.batch}
    checkpoint.save(state, run.folder / run_folder.STATE, about)


def chosen(run: Run, state: State) -> Trained:
    """The model that a finished run has made: that of its weights file."""
    if best_kept(run):
        return load_trained(run.folder, next(state.average.parameters()).device)
    return kept(run, state)


def kept(run: Run, state: State) -> Trained:
    """The averaged networks, with what a user of them wants to know."""
    data = run.data
    about: dict[str, Any] = {"data": data.name, "classes": list(data.classes), "step": state.step}
    if isinstance(data, Collection) and data.range:
        about["range"] = list(data.range)
    if isinstance(data, Collection) and (absent := [i for i, n in enumerate(counts(data).values()) if not n]):
        about["absent"] = absent
    if isinstance(data, Pair):
        about["domains"] = domains_of(data)
    scaling = scale(state, run.model, data)
    return Trained(run.model, data.shape, averaged(state, run.plan.ema), about, run.folder, scaling=scaling)


def seen(run: Run, state: State) -> Scaling:
    """How previews show what a model returns: vectors of two domains standardised, so that both fit into one plot."""
    first, *others = scale(state, run.model, run.data)
    if not others:
        return first
    return Scaling(run.model.span, premultiplied=first.premultiplied or others[0].premultiplied)


def example_batch(run: Run, state: State) -> Batch | PairBatch:
    """The examples that every preview of a run shows."""
    return some(run, state, min(PREVIEW if run.data.are_images else 1000, *map(len, run.data.parts)))


def some(run: Run, state: State, n: int) -> Batch | PairBatch:
    """The same n examples every time."""
    scaling = scale(state, run.model, run.data)
    batches: Iterator[Batch | PairBatch] = streamed(run.data, scaling, batch=n, seed=run.plan.seed)
    return next(batches)
