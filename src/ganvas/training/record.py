"""What a run writes as it goes: its weights, a preview, the curves of its log, and last its state."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from .. import __version__
from ..config import TrainConfig
from ..data import Data, Dataset, DomainPair, Scaling, class_counts, domain_headers, make_stream
from ..inference.trained import Trained, load_trained
from ..io.atomic import atomic_write
from ..io.run_folder import RunFolder
from ..model import Batch, Model, PairBatch, model_name, to_dict
from ..models._own import model_source
from ..models._own_networks import class_names, own_networks
from ..randomness import reseed
from ..viz.curves import draw_curves
from ..viz.images import preview
from . import checkpoint, run_folder, validation
from .loop import TrainState, check_finite, current_ema, ensure_scaling
from .validation import SampleEvaluator

PREVIEW_COLUMNS = 10
"""examples in a row of a preview"""
FIRST_SAVE_SECONDS, SAVE_INTERVAL_SECONDS = 20.0, 100.0
"""seconds after which a run is saved though no checkpoint is due: so that there is a first picture within half a
minute, and never more than two minutes to lose"""
CURVES_SHARE = 0.02
"""share of a run's time that drawing its curves may take"""


@dataclass(frozen=True)
class Run:
    """A run under way: what is trained, on what, how, and where it is written."""

    model: Model
    raw_data: Data
    """what it was given"""
    data: Data
    """the same as the model learns it"""
    train_config: TrainConfig
    folder: Path


class SaveTimer:
    """The step that was saved last, and whether it is time for another.

    When that is depends on the clock, but nothing that a run computes or logs depends on it.
    """

    def __init__(self, step: int) -> None:
        self.step, self.deadline = step, time.monotonic() + FIRST_SAVE_SECONDS
        self.curves_deadline = self.deadline

    def is_due(self) -> bool:
        """Whether a run is to be saved before its next checkpoint is due."""
        return time.monotonic() >= self.deadline

    def draw_if_due(self, run: Run, always: bool) -> None:
        """Draw the curves of the run's log, where the last drawing is long enough ago or it is `always` done."""
        start_time = time.monotonic()
        if always or start_time >= self.curves_deadline:
            save_curves(run)
            now = time.monotonic()
            self.curves_deadline = now + (now - start_time) / CURVES_SHARE

    def restart(self, step: int) -> None:
        """This step is saved."""
        self.step, self.deadline = step, time.monotonic() + SAVE_INTERVAL_SECONDS


def make_monitor_batch(run: Run, state: TrainState) -> Batch | PairBatch | None:
    """The examples whose codes are looked at for each line of the log; None where the model looks at none."""
    n = min(run.model.monitor_batch_size, *map(len, run.data.datasets))
    if type(run.model).monitor is Model.monitor or n < 2:
        return None
    return fixed_batch(run, state, n).to(next(state.nets.parameters()).device)


def evaluate_samples(run: Run, state: TrainState, evaluator: SampleEvaluator) -> dict[str, Any]:
    """Measure samples of the averaged weights; where they are the best, and the best are kept, write them.

    Returns what the log says: the number, the lowest so far, and the step of the best weights.
    """
    check_finite(state)
    trained = current_model(run, state)
    result = evaluator.measure(trained)
    if validation.update_best(state, result["value"], result["error"]) and keeps_best(run):
        replace(trained, metadata=trained.metadata | {"samples": result}).save(RunFolder(run.folder).weights)
    return {"samples": result | {"lowest": state.lowest, "best": state.best, "seconds": evaluator.pop_seconds()}}


def keeps_best(run: Run) -> bool:
    """Whether the weights to use are the best, and not the last."""
    return run.model.keep_best_checkpoint and run.train_config.keep == "best"


def save(run: Run, state: TrainState) -> None:
    """Write checkpoint, weights (the last, where the best are kept elsewhere) and a preview."""
    check_finite(state)
    is_unmeasured = state.lowest is None  # then there are no better ones
    files = RunFolder(run.folder)
    if keeps_best(run):
        current_model(run, state).save(files.last_weights)
    if is_unmeasured or not keeps_best(run):
        current_model(run, state).save(files.weights)
    device = next(state.nets.parameters()).device
    batch = example_batch(run, state).to(device)
    reseed(device, run.train_config.seed, "preview")  # the same noise in every preview
    with torch.inference_mode():
        rows = run.model.preview(batch, **current_ema(state, run.train_config.ema_decay))
    with atomic_write(files.preview(state.step)) as temporary:
        preview(rows, preview_scaling(run, state)).save(temporary, "PNG")
    # last, since it says that the step is done: a run that is killed before goes on from the one before
    save_checkpoint(run, state)


def save_curves(run: Run) -> None:
    """Draw what the run's log says."""
    if lines := run_folder.read_log(run.folder):
        with atomic_write(RunFolder(run.folder).curves) as temporary:
            draw_curves(lines).save(temporary, "PNG")


def save_checkpoint(run: Run, state: TrainState) -> None:
    """Write the state, with what it is the state of."""
    metadata = {
        "ganvas": __version__,
        "model": model_name(run.model),
        "fields": to_dict(run.model),
        "batch": run.train_config.batch_size,
    }
    checkpoint.save(state, RunFolder(run.folder).checkpoint, metadata)


def final_model(run: Run, state: TrainState) -> Trained:
    """The model that a finished run has made: that of its weights file."""
    if keeps_best(run):
        return load_trained(run.folder, next(state.ema_nets.parameters()).device, **own_networks(run.model))
    return current_model(run, state)


def current_model(run: Run, state: TrainState) -> Trained:
    """The averaged networks, with what a user of them wants to know."""
    data = run.data
    metadata: dict[str, Any] = {"data": data.name, "classes": list(data.classes), "step": state.step}
    if source := model_source(type(run.model)):
        metadata["model_source"] = source
    if names := class_names(run.model):
        metadata["own_networks"] = names
    if isinstance(data, Dataset) and data.range:
        metadata["range"] = list(data.range)
    if isinstance(data, Dataset) and (
        absent_classes := [i for i, n in enumerate(class_counts(data).values()) if not n]
    ):
        metadata["absent"] = absent_classes
    if isinstance(data, DomainPair):
        metadata["domains"] = domain_headers(data)
    scaling = ensure_scaling(state, run.model, data)
    return Trained(
        run.model, data.shape, current_ema(state, run.train_config.ema_decay), metadata, run.folder, scaling=scaling
    )


def preview_scaling(run: Run, state: TrainState) -> Scaling:
    """How previews show what a model returns: vectors of two domains standardised, so that both fit into one plot."""
    first, *others = ensure_scaling(state, run.model, run.data)
    if not others:
        return first
    return Scaling(run.model.pixel_range, premultiplied=first.premultiplied or others[0].premultiplied)


def example_batch(run: Run, state: TrainState) -> Batch | PairBatch:
    """The examples that every preview of a run shows."""
    return fixed_batch(run, state, min(PREVIEW_COLUMNS if run.data.has_images else 1000, *map(len, run.data.datasets)))


def fixed_batch(run: Run, state: TrainState, n: int) -> Batch | PairBatch:
    """The same n examples every time."""
    scaling = ensure_scaling(state, run.model, run.data)
    batches: Iterator[Batch | PairBatch] = make_stream(run.data, scaling, batch=n, seed=run.train_config.seed)
    return next(batches)
