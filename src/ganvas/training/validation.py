"""How good the averaged weights are while a run trains: their samples against its data, again and again.

By that number the best weights of a GAN are kept, which is at its best long before its end, or never settles:
StudioGAN's own logs show DCGAN on CIFAR-10 best after a fifth of its steps, its FID then three times as large.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from ..config import TrainConfig
from ..data import Data, Dataset, DomainPair, Scaling
from ..data.scaling import as_measured, premultiply, vector_scaling
from ..inference.rows import decode_drawn
from ..inference.trained import Trained
from ..metrics import METRICS, Comparison, Examples, Score
from ..metrics.copies import copy_threshold
from ..metrics.features import CPU, FEATURE_NAMES, FeatureSpace, default_features, find_weights, make_feature_space
from ..metrics.features.efficientnet import LITE0, LITE0_32
from ..metrics.features.untrained import RANDOM
from ..metrics.kid import MIN_EXAMPLES
from ..metrics.neighbours import build_indexes, nearest_distances
from ..model import EncoderModel, GenerativeModel, Model, Shape, device_of, model_name_with_article
from ..models._variational import LikelihoodModel, Variational
from ..randomness import make_generator
from .loop import TrainState

INTERVAL = 1000
"""steps between two evaluations, at least: they are at checkpoints"""
N_SAMPLES = 1000
"""samples, and as many examples, that are compared"""
N_DIRECTIONS = 100
"""random projections of vectors"""
MIN_COLOUR_SIDE = 32
"""pixels from which on colour images are seen by a trained network on a CPU: models of smaller ones are too quick"""
MAX_COPY_CHECK_EXAMPLES = 2000
"""training examples up to which copies of them are looked for"""
MAX_REPEATS = 5
"""times that an example occurs in the data, at most, so that samples can be copies of it"""


def unsupported_reason(model: Model, data: Data) -> str:
    """Why samples of a model of these data are not measured while it trains, in a clause; nothing where they are."""
    if model.n_domains == 2 or not isinstance(model, GenerativeModel):
        return f"{model_name_with_article(model)} makes nothing from noise"
    has_encoder, has_likelihood = isinstance(model, EncoderModel), isinstance(model, LikelihoodModel)
    if has_encoder and not has_likelihood:
        return f"{model_name_with_article(model)} has no distribution of codes to draw samples from"
    too_few = f"{data.name} has {(n := len(data.in_memory))} examples, and {MIN_EXAMPLES} are needed"
    return too_few if n < MIN_EXAMPLES else ""


def fits_prior(model: Model, data: Data) -> bool:
    """Whether a run of a model of these data, as they were given, ends with a prior fitted to its codes."""
    dataset = data.in_memory
    return isinstance(model, Variational) and isinstance(dataset, Dataset) and model.fits_prior(dataset)


def make_evaluator(
    model: Model, data: Data, config: TrainConfig, state: TrainState, log_lines: Sequence[dict[str, Any]] = (),
    evaluator: "SampleEvaluator | None" = None,
) -> "SampleEvaluator | None":  # fmt: skip
    """How samples are measured against `data`, those that the run was given; None where they are not.

    An `evaluator` that a trial has made of the same run is used, since it knows the features of the data.

    A resumed run, whose log has `log_lines`, keeps the features and the number of samples that it began with, since
    other numbers do not compare; where it cannot, it begins to look for its best weights anew.
    """
    if unsupported_reason(model, data):
        return None
    assert not isinstance(data, DomainPair)
    units = vector_scaling(data.in_memory, *state.scaling[:1])
    data = as_measured(data.in_memory, state.scaling[0]) if state.scaling else data.in_memory
    start_time, device = time.monotonic(), device_of(state.nets)
    last: dict[str, Any] = next((line["samples"] for line in reversed(log_lines) if "samples" in line), {})
    logged_metric = str(last.get("metric", ""))
    space = restore_feature_space(logged_metric or state.metric, data.shape, device)
    space = space or feature_space(data.shape, data.name, device, units)
    interval = config.checkpoint_every * -(-INTERVAL // config.checkpoint_every)
    n_samples = min(len(data), last.get("n") or N_SAMPLES)
    evaluator = evaluator or SampleEvaluator(data, space, config.seed, interval, n_samples)
    evaluator.interval, evaluator.notes = interval, []
    metric, notes = evaluator.metric, evaluator.notes
    if config.patience is not None:
        notes.append(
            f"samples are measured every {interval} steps, {-(-config.steps // interval)} times in all: "
            f"--patience {config.patience} ends the run after as many that find none better"
        )
    # where the checkpoint names no metric, an older version compared vectors in their own units, images with the
    # colours that alpha hides, and samples of a conditional model that had the labels of the examples
    is_comparable = data.has_images and data.shape[0] < 4 and not model.is_conditional
    source = " of codes from a fitted prior" if fits_prior(model, data) else ""  # before, they came from N(0, I)
    is_same_metric = metric + source == state.metric if state.metric else is_comparable and metric == logged_metric
    if state.lowest_distance is not None and not is_same_metric:
        state.forget_lowest_distance()
        before = "otherwise than" if logged_metric in ("", metric) else logged_metric
        change = f"{metric} from here on, {before} before"
        notes.append(f"samples are measured by {change}: the best weights are looked for anew")
    elif not logged_metric:
        notes += colour_feature_notes(data.shape, space)
    state.metric, evaluator.seconds = metric + source, time.monotonic() - start_time
    return evaluator


def colour_feature_notes(shape: Shape, space: FeatureSpace) -> list[str]:
    """Which features compare images in colour where those of `ganvas evaluate` take too long; nothing elsewhere."""
    if len(shape) == 1 or shape[0] == 1 or space.device != CPU or space.name not in (LITE0_32.name, RANDOM):
        return []
    is_available, remedy = find_weights(LITE0_32.name)
    is_worse = space.name == RANDOM and not is_available
    more = f"which see less than EfficientNet does: {remedy}" if is_worse else "so kid is not that of `ganvas evaluate`"
    return [f"samples are measured on {space.name}, {more}"]


def restore_feature_space(metric: str, shape: Shape, device: torch.device) -> FeatureSpace | None:
    """The features of a number of this name, where they are there and the same."""
    name = metric.removeprefix("kid:").partition("@")[0]
    is_slow = name == LITE0.name and device == CPU
    if not metric.startswith("kid:") or name not in FEATURE_NAMES or is_slow or not find_weights(name)[0]:
        return None
    space = make_feature_space(name, shape, device=device)
    return space if metric == f"kid:{space.tag}" else None


def feature_space(shape: Shape, data_name: str, device: torch.device, scaling: Scaling | None = None) -> FeatureSpace:
    """What `ganvas evaluate` compares such examples on; but on a CPU EfficientNet has small images, for time."""
    name = default_features(shape, data_name)
    if name == LITE0.name and device == CPU:
        name = LITE0_32.name if min(shape[1:]) >= MIN_COLOUR_SIDE else RANDOM
    return make_feature_space(name, shape, device=device, scaling=scaling)


@dataclass(eq=False)
class SampleEvaluator:
    """A measurement that is the same each time: the same examples and, for samples, the same noise and labels."""

    data: Dataset
    space: FeatureSpace
    seed: int
    interval: int
    """steps between two evaluations"""
    n_samples: int
    seconds: float = 0.0
    """what it has taken since the log said so last"""
    notes: list[str] = field(default_factory=list)
    """what the user should know of it"""

    @cached_property
    def metric(self) -> str:
        """The number's name, as `ganvas evaluate` has it."""
        return f"kid:{self.space.tag}" if self.data.has_images else "sliced_wasserstein"

    @cached_property
    def examples(self) -> Examples:
        """The examples that samples are compared with."""
        return Examples(self.data.sample(self.n_samples, self.seed, "compared"), self.space)

    @cached_property
    def labels(self) -> Tensor | None:
        """Of samples, drawn from those of all the data: not those of the examples that samples are compared with."""
        if self.data.labels is None:
            return None
        random = make_generator(CPU, self.seed, "labels")
        return self.data.labels[torch.randint(len(self.data), (len(self.examples.data),), generator=random)]

    @cached_property
    def copy_reference(self) -> tuple[Tensor, Tensor] | None:
        """Where they are few, the features of all that differ, and the 1% quantile of distances to the nearest other.

        Of examples that are exactly alike one counts: the others have not been copied, they are data.  What occurs
        more than `MAX_REPEATS` times, as empty images may, is a kind of thing to learn, and none of it counts.
        """
        if len(self.data) > MAX_COPY_CHECK_EXAMPLES:
            return None
        x, counts = premultiply(self.data.x).unique(dim=0, return_counts=True)
        x = x[counts <= MAX_REPEATS]
        if len(x) < MIN_EXAMPLES:
            return None
        features = self.space(x)
        radii = build_indexes(features, k=1)[0].radii(1)
        return (features, copy_threshold(radii)) if (radii > 0).any() else None

    def measure(self, trained: Trained) -> dict[str, Any]:
        """What the log says of the samples: metric, value, standard error, number of samples; copies, where known."""
        start_time, n = time.monotonic(), len(self.examples.data)
        z = trained.draw_codes(n, make_generator(CPU, self.seed, "compared"))
        scaling = trained.domain_scaling()
        x = decode_drawn(trained, z, self.labels, self.seed)
        x = scaling.as_measured(x)
        fake = Examples(replace(self.examples.data, x=x, labels=self.labels, files=()), self.space)
        score = self.score(fake)
        error = score.standard_error if self.data.has_images else score.error_of_terms()
        value, error = round_for_log(score.value), round_for_log(error)
        result: dict[str, Any] = {"metric": self.metric, "value": value, "error": error, "n": n}
        if self.copy_reference is not None:
            features, limit = self.copy_reference
            reference, index = build_indexes(features, fake.features)
            is_copy = nearest_distances(index.x, reference.x)[0] < limit
            result["memorised"] = round(is_copy.double().mean().item(), 4)
        self.seconds += time.monotonic() - start_time
        return result

    def score(self, fake: Examples) -> Score:
        """The distance from samples to examples, of vectors in their deviations."""
        metric = METRICS["kid" if self.data.has_images else "sliced-wasserstein"]
        _, score = next(metric.compute(Comparison(self.examples, fake, self.seed, n_directions=N_DIRECTIONS)))
        assert isinstance(score, Score)
        return score


def round_for_log(value: float | None) -> float | None:
    """A number for the log, to seven digits; None where there is none."""
    return float(f"{value:.7g}") if value is not None and isfinite(value) else None


def time_share_notes(log_lines: Sequence[dict[str, Any]]) -> list[str]:
    """That evaluation has taken 5% of a run's time or more, and more often than at the end, where it always is."""
    seconds = [line["samples"].get("seconds", 0.0) for line in log_lines if "samples" in line]
    share = sum(seconds) / max(log_lines[-1]["seconds"], 1e-9) if log_lines else 0.0
    if share < 0.05 or sum(seconds) < 1 or len(seconds) < 2:
        return []
    return [f"measuring samples took {share:.0%} of the time: a larger --checkpoint-every makes it rarer"]


def update_best(state: TrainState, value: float | None, error: float | None) -> bool:
    """Keep count of the lowest number; returns whether the present weights are the best.

    They are if the number is within a standard error of the lowest, that of the lowest itself: of equally good weights
    the later ones are the best (Breiman et al., Classification and Regression Trees, 1984, section 3.4.3).
    """
    lowest = state.lowest_distance
    is_best = lowest is None or (value is not None and value <= lowest + state.distance_error)
    state.best_step = state.step if is_best else state.best_step
    state.evaluations_since_best += 1
    if value is not None and (lowest is None or value < lowest):
        state.lowest_distance, state.distance_error, state.evaluations_since_best = value, error or 0.0, 0
    return is_best
