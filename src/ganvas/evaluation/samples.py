"""Samples of models beside as many held-out examples, and the numbers of both.

The noise floor of a number is the same number for real examples in place of generated ones, as many and none of them
among those that both are compared with.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from time import monotonic
from typing import Any

from ..data import Dataset, Scaling
from ..distributions.priors import STANDARD
from ..errors import UserError
from ..inference.trained import Trained
from ..metrics import METRICS, NUMBERS, Comparison, Examples, Number, Score
from ..metrics.features import FeatureSpace, make_feature_space
from ..metrics.fid import check_sample_size
from ..metrics.memorisation import NO_TRAIN
from ..metrics.metric import Entry
from ..model import device_of
from .held_out import EvaluationData

DEFAULT_SAMPLES = 10_000
"""samples that are compared with as many examples, at most, unless n says otherwise"""
MIN_SAMPLES = 2
REPORT_SECONDS = 10.0
"""seconds between two lines about long work"""
MetricValues = dict[str, Any]
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """How a model is measured."""

    metrics: Sequence[str]
    n: int | None
    """samples, or examples of each domain, at most; None where nobody said"""
    features: str
    allow_few: bool
    seed: int
    progress: Progress


@dataclass(frozen=True)
class RealData:
    """What samples are compared with, on which features, and how many of each side."""

    held_out: Dataset
    other: Dataset
    space: FeatureSpace
    n: int
    facts: MetricValues
    """what is said of the samples beside their numbers"""
    note: str
    """where the data allow fewer than the user asked for, that and why"""


Runs = Sequence[tuple[Trained, str | None]]
"""models, each with the prior that its codes are drawn from, if not its own"""
TrainingData = Sequence[Dataset | None]
"""what each of them was trained on, where that is known"""


def prepare_comparison(runs: Runs, training: TrainingData, data: EvaluationData, settings: Settings) -> RealData:
    """Everything but the samples; UserError for what would else fail after they and their features were computed."""
    for trained, prior in runs:
        if prior not in (None, STANDARD):
            trained.get_fitted_prior(str(prior))
    trained, requested, (held_out, other) = runs[0][0], settings.n, data.split_real(settings.seed)
    n = min(requested or DEFAULT_SAMPLES, len(held_out), len(other))
    if n < MIN_SAMPLES:
        need = f"samples are compared with as many held-out examples, {MIN_SAMPLES} at least"
        raise UserError(f"{need}, and here is {n}: give more data, or a higher n")
    scaling, device = Scaling.fit(held_out.x), device_of(trained.nets)
    space = make_feature_space(
        settings.features, trained.shape, data_name=held_out.name, device=device, scaling=scaling
    )
    if "fid" in settings.metrics:
        check_sample_size(n, space, settings.allow_few)
    if "memorisation" in settings.metrics and None in training:
        raise UserError(NO_TRAIN)
    available = f"{len(held_out)} examples to compare with, and {len(other)} others for the floor"
    note = f" ({requested} asked for, but the data allow {n}: there are {available})"
    facts = {
        "samples": n, "features": space.tag, "floor_source": "halves" if data.train is None else "train",
        "protocol": f"{space.protocol}; averaged weights, no truncation",
    }  # fmt: skip
    return RealData(held_out, other, space, n, facts, note if requested is not None and n < requested else "")


def draw_comparisons(runs: Runs, training: TrainingData, real_data: RealData, settings: Settings) -> list[Comparison]:
    """The samples of each model, drawn from its prior, beside the same held-out examples, and last the noise floor.

    Each knows what the model was trained on, if that is known of all; equal training data are one set of examples.
    Labels of a conditional model's samples are those of other real examples, not of the held-out ones: sharing these
    would bring samples nearer to them than real examples are (a kernel distance of perfect ones is then below 0).
    """
    seed, progress = settings.seed, settings.progress
    n, space, other = real_data.n, real_data.space, real_data.other
    real = make_examples(real_data.held_out.sample(n, seed, "held out"), space, progress)
    floor = replace(make_examples(other.sample(n, seed, "other"), space, progress, real), is_floor=True)
    fakes, known = [], dict[str, Examples]()
    for (trained, prior), data in zip(runs, training, strict=True):
        labels = other.sample(n, seed, "labels").labels if trained.model.is_conditional else None
        x = trained.decode(trained.sample_codes(n, seed, prior), labels).x
        fake = make_examples(replace(other, x=x, labels=labels, name="generated"), space, progress, real)
        if data is not None and None not in training:
            key = data.fingerprint() if len(runs) > 1 else ""
            fake.training = (known.setdefault(key, make_examples(data, space, progress)),)
        fakes.append(fake)
    floor.training = tuple(known.values())
    return [Comparison(real, fake, seed, settings.allow_few) for fake in (*fakes, floor)]


def make_examples(
    data: Dataset, space: FeatureSpace, progress: Progress, reference: Examples | None = None
) -> Examples:
    """Examples whose features say how long they will take, where that is long."""
    return Examples(data, space, reference, progress=report_remaining_time(f"{space.name} of {data.name}", progress))


def report_remaining_time(what: str, progress: Progress) -> Callable[[int, int], None]:
    """A function of (done, total) that says now and then how long is left, and nothing of what is done at once."""
    start = last = monotonic()

    def report(done: int, total: int) -> None:
        nonlocal last
        now = monotonic()
        if now - last > REPORT_SECONDS and done < total:
            last, left = now, (now - start) * (total / done - 1)
            progress(f"{what}: {done} of {total}, {left:.0f} s left")

    return report


def measure(
    names: Sequence[str], c: Comparison, floor: Examples, strict: bool, progress: Progress = lambda line: None
) -> MetricValues:
    """The numbers of these metrics, each with its noise floor; "skip_reasons" says why one is not there.

    If `strict`, a metric that cannot be measured is a UserError.
    """
    values, reasons = MetricValues(), dict[str, str]()
    if c.fake.data.labels is None and floor.data.labels is not None:
        floor = replace(floor, data=replace(floor.data, labels=None))
    on_floor = replace(c, fake=floor)
    for metric in map(METRICS.__getitem__, names):
        progress(metric.name)
        tag = metric.tag(c.real.space)
        try:
            for (name, entry), (_, floor_entry) in zip(metric.compute(c), metric.compute(on_floor), strict=True):
                if isinstance(entry, str):
                    reasons[name] = entry
                elif isinstance(entry, int):
                    values[name] = entry
                else:
                    values |= scores_with_floor(f"{name}{tag}", entry, floor_entry, NUMBERS.get(name))
        except UserError as error:
            if strict:
                raise
            reasons[metric.name] = str(error)
    return values | {"skip_reasons": reasons}


def scores_with_floor(key: str, entry: Entry, floor: Entry, number: Number | None) -> MetricValues:
    """A score, or several, under this key, with its noise floor and, where it has one, its standard error."""
    show = float if number is None else number.show
    values = {k: map_scores(e, lambda s: show(s.value)) for k, e in ((key, entry), (f"{key}:floor", floor))}
    return values | ({f"{key}:error": map_scores(entry, lambda s: s.standard_error)} if has_error(entry) else {})


def map_scores(entry: Entry, function: Callable[[Score], float | None]) -> Any:
    """A function of a score, or of each of several; None where the result is no finite number."""
    if isinstance(entry, dict):
        return {name: map_scores(score, function) for name, score in entry.items()}
    if isinstance(entry, list):
        return [map_scores(score, function) for score in entry]
    value = function(entry) if isinstance(entry, Score) else None
    return value if value is not None and isfinite(value) else None


def has_error(entry: Entry) -> bool:
    """Whether a score, or one of several by name, has a standard error."""
    scores = entry.values() if isinstance(entry, dict) else (entry,)
    return any(isinstance(score, Score) and score.error is not None for score in scores)
