"""How good the averaged weights are while a run trains: their samples against its data, again and again.

By that number the best weights of a GAN are kept, which is at its best long before its end, or never settles:
StudioGAN's own logs show DCGAN on CIFAR-10 best after a fifth of its steps, its FID then three times as large.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from ..config import TrainConfig
from ..data import Data, Dataset, Scaling
from ..data.scaling import premultiply
from ..errors import UserError
from ..inference.trained import Trained
from ..metrics import kernel_distance
from ..metrics.distances import MIN_BLOCKS
from ..metrics.features import (
    CPU,
    FEATURE_NAMES,
    IDENTITY_SCALING,
    FeatureSpace,
    default_features,
    find_weights,
    make_feature_space,
)
from ..metrics.features.efficientnet import LITE0, LITE0_32
from ..metrics.features.untrained import RANDOM
from ..metrics.jackknife import sliced_score
from ..metrics.likelihood import mean_and_error
from ..metrics.neighbours import build_indexes, copy_threshold, nearest_distances
from ..model import EncoderModel, GenerativeModel, Model, Shape, device_of, model_name_with_article
from ..models._variational import LikelihoodModel
from ..randomness import make_generator
from .loop import TrainState, ensure_scaling
from .schedule import Schedule, count_operations, make_schedule, training_step_operations

N_DIRECTIONS = 100
"""random projections of vectors"""
SORT_OPERATIONS = 5000
"""operations that the projection and the sorting of a vector, in one direction, count for"""
DISTANCE_OPERATIONS = 16
"""operations that looking at a distance between two examples counts for, besides its product"""
MAX_COPY_CHECK_EXAMPLES = 2000
"""training examples up to which copies of them are looked for"""
MAX_REPEATS = 5
"""times that an example occurs in the data, at most, so that samples can be copies of it"""
MAX_MEASURE_INTERVAL = 1000
"""steps between two measurements, and between checkpoints, above which cheaper features are used"""
MIN_EXAMPLES = 2 * MIN_BLOCKS
"""examples below which nothing is measured"""


def unsupported_reason(model: Model, data: Data) -> str:
    """Why samples of a model of these data are not measured while it trains, in a clause; nothing where they are."""
    if model.n_domains == 2 or not isinstance(model, GenerativeModel):
        return f"{model_name_with_article(model)} makes nothing from noise"
    has_encoder, has_likelihood = isinstance(model, EncoderModel), isinstance(model, LikelihoodModel)
    if has_encoder and not has_likelihood:
        return f"{model_name_with_article(model)} has no distribution of codes to draw samples from"
    if len(data) < MIN_EXAMPLES:
        return f"{data.name} has {len(data)} examples, and {MIN_EXAMPLES} are needed"
    return ""


def check_patience(model: Model, data: Data, train_config: TrainConfig) -> None:
    """UserError where a run is to stop by a number that it does not have."""
    if train_config.patience is not None and (reason := unsupported_reason(model, data)):
        raise UserError(
            f"patience={train_config.patience} waits for better samples, but they are not measured: {reason}; "
            "leave it out"
        )


def make_evaluator(
    model: Model,
    data: Data,
    training_data: Data,
    train_config: TrainConfig,
    state: TrainState,
    log_lines: Sequence[dict[str, Any]] = (),
) -> "SampleEvaluator | None":
    """How samples are measured against `data`, which the model sees as `learnt`; None where they are not.

    A run that goes on, whose log has `lines`, is measured on the features that it began with, since numbers on others
    do not compare; where those cannot be had, or the run is of a version that measured otherwise, it begins to look for
    its best weights anew.
    """
    if unsupported_reason(model, data):
        return None
    assert isinstance(data, Dataset)
    start_time = time.monotonic()
    device = device_of(state.nets)
    previous_metric = last_metric(log_lines) or state.metric
    trained = Trained(model, data.shape, state.ema_nets, scaling=ensure_scaling(state, model, training_data))
    step_operations = training_step_operations(model, training_data, train_config, state)

    def due(space: FeatureSpace) -> Schedule:
        return make_schedule(
            step_operations, evaluation_cost(trained, data, space), train_config.checkpoint_every, len(data)
        )

    space = restore_feature_space(previous_metric, data.shape, device)
    if space is None:
        space = feature_space(data.shape, data.name, device, Scaling.fit(data.x))
        if space.name == LITE0_32.name and due(space).interval > max(
            train_config.checkpoint_every, MAX_MEASURE_INTERVAL
        ):
            space = make_feature_space(RANDOM, data.shape, device=device)
    evaluator = SampleEvaluator(data, space, train_config.seed, due(space), time.monotonic() - start_time)
    is_same_metric = evaluator.metric == (state.metric or previous_metric) and bool(
        state.metric or matches_old_metric(model, data)
    )
    if state.lowest is not None and not is_same_metric:
        state.lowest, state.error, state.waited, evaluator.is_restarted = None, 0.0, 0, True
    state.metric = evaluator.metric
    return evaluator


def matches_old_metric(model: Model, data: Dataset) -> bool:
    """Whether samples are measured as they were by versions whose checkpoints do not name the metric.

    These compared vectors in their own units, images with the colours that alpha hides, and samples of a conditional
    model that had the labels of the examples, which made them nearer.
    """
    return data.has_images and data.shape[0] < 4 and not model.is_conditional


def last_metric(log_lines: Sequence[dict[str, Any]]) -> str:
    """What the last measurement in a log is called; nothing where there is none."""
    return next((str(line["samples"]["metric"]) for line in reversed(log_lines) if "samples" in line), "")


def metric_change_notes(log_lines: Sequence[dict[str, Any]], evaluator: "SampleEvaluator | None") -> list[str]:
    """That a run that goes on is measured otherwise than before, and what colour is seen by on a CPU, in a sentence."""
    if evaluator is None:
        return []
    previous_metric = last_metric(log_lines)
    if not evaluator.is_restarted:
        return [] if previous_metric else colour_feature_notes(evaluator)
    description = (
        f"{previous_metric} before" if previous_metric not in ("", evaluator.metric) else "otherwise than before"
    )
    return [
        f"samples are measured by {evaluator.metric} from here on, {description}: the best weights are looked for anew"
    ]


def colour_feature_notes(evaluator: "SampleEvaluator") -> list[str]:
    """Which features compare images in colour where those of `ganvas evaluate` take too long; nothing elsewhere."""
    shape, name = evaluator.data.shape, evaluator.space.name
    if len(shape) == 1 or shape[0] == 1 or evaluator.space.device != CPU or name not in (LITE0_32.name, RANDOM):
        return []
    is_available, remedy = find_weights(LITE0_32.name)
    if not is_available:
        return [f"samples are measured on {name}, which see less than EfficientNet does: {remedy}"]
    reason = f": {LITE0_32.name} would take too long beside so small a model" if name == RANDOM else ""
    return [f"samples are measured on {name}{reason}"]


def restore_feature_space(metric: str, shape: Shape, device: torch.device) -> FeatureSpace | None:
    """The features of a number of this name, where they are there and the same."""
    name, _, _ = metric.removeprefix("kid:").partition("@")
    is_slow = name == LITE0.name and device == CPU
    if not metric.startswith("kid:") or name not in FEATURE_NAMES or not find_weights(name)[0] or is_slow:
        return None
    space = make_feature_space(name, shape, device=device)
    return space if metric == f"kid:{space.tag}" else None


def feature_space(
    shape: Shape, data_name: str, device: torch.device, scaling: Scaling = IDENTITY_SCALING
) -> FeatureSpace:
    """What `ganvas evaluate` compares such examples on; but on a CPU EfficientNet has small images, for time."""
    name = default_features(shape, data_name)
    name = LITE0_32.name if name == LITE0.name and device == CPU else name
    return make_feature_space(name, shape, device=device, scaling=scaling)


def evaluation_cost(trained: Trained, data: Dataset, space: FeatureSpace) -> Callable[[int], float]:
    """The operations of a measurement of n samples, in which the examples' features count anew each time.

    Those in float64 count twice.
    """
    two_examples = data.select(slice(2))
    sample_cost = count_operations(trained.decode, fixed_noise(trained, 2, 0), two_examples.labels) / 2
    n_known, has_images, d = copy_check_size(len(data)), data.has_images, space.n_features
    feature_cost = space.cost_factor * count_operations(space, two_examples.x) / 2

    def of(n: int) -> float:
        comparison_cost = 12 * d * n / MIN_BLOCKS if has_images else SORT_OPERATIONS * N_DIRECTIONS
        copy_cost = 8 * (d + DISTANCE_OPERATIONS) * n * n_known
        return n * (sample_cost + 2 * feature_cost + comparison_cost) + n_known * feature_cost + copy_cost

    return of


def copy_check_size(n_examples: int) -> int:
    """Examples of which copies are looked for: all, or none."""
    return n_examples if n_examples <= MAX_COPY_CHECK_EXAMPLES else 0


def fixed_noise(trained: Trained, n: int, seed: int) -> Tensor:
    """n codes, the same at every checkpoint."""
    return trained.sample_prior(n, make_generator(CPU, seed, "compared"))


@dataclass(eq=False)
class SampleEvaluator:
    """A measurement that is the same each time: the same examples and, for samples, the same noise and labels."""

    data: Dataset
    space: FeatureSpace
    seed: int
    schedule: Schedule
    unlogged_seconds: float = 0.0
    """seconds that it has taken and that no line of the log has yet"""
    is_restarted: bool = False
    """whether what a run has measured before does not compare"""

    @cached_property
    def examples(self) -> Dataset:
        """The examples that samples are compared with."""
        return self.data.sample(self.schedule.n_samples, self.seed, "compared")

    @cached_property
    def labels(self) -> Tensor | None:
        """Of samples, drawn from those of all the data: not those of the examples that samples are compared with."""
        if self.data.labels is None:
            return None
        random = make_generator(CPU, self.seed, "labels")
        return self.data.labels[torch.randint(len(self.data), (len(self.examples),), generator=random)]

    @cached_property
    def real_features(self) -> Tensor:
        """Their features, n x d."""
        return self.space(self.examples.x)

    @cached_property
    def copy_reference(self) -> tuple[Tensor, Tensor] | None:
        """Where they are few, the features of all that differ, and the 1% quantile of distances to the nearest other.

        Of examples that are exactly alike one counts: the others have not been copied, they are data.  What occurs
        more than `OFTEN` times, as empty images may, is a kind of thing to learn, and none of it counts.
        """
        if not copy_check_size(len(self.data)):
            return None
        x, counts = premultiply(self.data.x).unique(dim=0, return_counts=True)
        features = self.space(x[counts <= MAX_REPEATS]) if (counts <= MAX_REPEATS).any() else self.real_features[:0]
        if len(features) < MIN_EXAMPLES:
            return None
        radii = build_indexes(features, k=1)[0].radii(1)
        return (features, copy_threshold(radii)) if (radii > 0).any() else None

    def measure(self, trained: Trained) -> dict[str, Any]:
        """What the log says of the samples: metric, value, standard error, number of samples; copies, where known."""
        start_time = time.monotonic()
        samples = trained.decode(fixed_noise(trained, len(self.examples), self.seed), self.labels).x
        fake_features = self.space(samples)
        name, (value, error) = self.metric, self.distance(fake_features)
        result: dict[str, Any] = {
            "metric": name,
            "value": round_for_log(value),
            "error": round_for_log(error),
            "n": len(samples),
        }
        if self.copy_reference is not None:
            result["memorised"] = round(copy_rate(fake_features, *self.copy_reference), 4)
        self.unlogged_seconds += time.monotonic() - start_time
        return result

    @property
    def metric(self) -> str:
        """The number's name, as `ganvas evaluate` has it."""
        return f"kid:{self.space.tag}" if self.data.has_images else "sliced_wasserstein"

    def distance(self, fake_features: Tensor) -> tuple[float, float]:
        """The distance from samples to examples, of vectors in their deviations, and its standard error."""
        if self.data.has_images:
            return mean_and_error(kernel_distance(self.real_features, fake_features))
        value, *terms = sliced_score(self.real_features, fake_features, N_DIRECTIONS, self.seed)
        return value, sum(t.var().item() / len(t) for t in terms) ** 0.5

    def pop_seconds(self) -> float:
        """What has been `spent`; none is left."""
        elapsed, self.unlogged_seconds = self.unlogged_seconds, 0.0
        return round(elapsed, 4)


def copy_rate(fake_features: Tensor, training_features: Tensor, limit: Tensor) -> float:
    """The share of samples that are nearer to one of the known examples than the limit."""
    reference, fake = build_indexes(training_features, fake_features)
    return (nearest_distances(fake.x, reference.x)[0] < limit).double().mean().item()


def round_for_log(value: float) -> float | None:
    """A number for the log, to seven digits; None where there is none."""
    return float(f"{value:.7g}") if isfinite(value) else None


def update_best(state: TrainState, value: float | None, error: float | None) -> bool:
    """Keep count of the lowest number; returns whether the present weights are the best.

    They are if the number is within a standard error of the lowest, that of the lowest itself: of equally good weights
    the later ones are the best (Breiman et al., Classification and Regression Trees, 1984, section 3.4.3).
    """
    is_best = state.lowest is None or (value is not None and value <= state.lowest + state.error)
    state.best = state.step if is_best else state.best
    state.waited += 1
    if value is not None and (state.lowest is None or value < state.lowest):
        state.lowest, state.error, state.waited = value, error or 0.0, 0
    return is_best
