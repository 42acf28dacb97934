"""Samples of models beside as many held-out examples, and the numbers of both.

The floor of a number is the same number for real examples in place of generated ones, as many and none of them among
those that both are compared with.
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
from ..metrics import METRICS, Comparison, Examples, Score
from ..metrics.features import FeatureSpace, make_feature_space
from ..metrics.fid import check_sample_size
from ..metrics.memorisation import NO_TRAIN
from ..metrics.metric import Entry
from ..model import device_of

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
    note: str = ""
    """where the data allow fewer than were asked for, that and why"""

    def generate(self, trained: Trained, prior: str | None, real: Examples, seed: int, progress: Progress) -> Examples:
        """n generated examples, by a conditional model of labels that are drawn from those of the other real examples.

        Not of the labels of the held-out ones: samples would then share those with what they are compared with, and
        come out nearer to it than real examples do (a kernel distance of perfect ones is then below 0).
        """
        labels = self.other.sample(self.n, seed, "labels").labels if trained.model.is_conditional else None
        x = trained.decode(trained.sample_codes(self.n, seed, prior), labels).x
        return make_examples(replace(self.other, x=x, labels=labels, name="generated"), self.space, progress, real)


def prepare_comparison(
    trained: Trained, held_out: Dataset, other: Dataset, n: int, features: str, prior: str | None
) -> RealData:
    """Everything but the samples; UserError for what would else fail after they were computed."""
    if prior not in (None, STANDARD):
        trained.get_fitted_prior(str(prior))
    requested, n = n, min(n, len(held_out), len(other))
    if n < MIN_SAMPLES:
        raise UserError(
            f"samples are compared with as many held-out examples, {MIN_SAMPLES} at least, and here is {n}: give more "
            "data, or a higher n"
        )
    scaling, device = Scaling.fit(held_out.x), device_of(trained.nets)
    space = make_feature_space(features, trained.shape, data_name=held_out.name, device=device, scaling=scaling)
    available = f"{len(held_out)} examples to compare with, and {len(other)} others for the floor"
    note = f" ({requested} asked for, but the data allow {n}: there are {available})"
    return RealData(held_out, other, space, n, note if n < requested != DEFAULT_SAMPLES else "")


def check_metrics(
    names: Sequence[str], n: int, space: FeatureSpace, allow_few: bool, training: Sequence[Dataset | None]
) -> None:
    """UserError for metrics that were asked for by name, and would fail after samples and features were computed."""
    if "fid" in names:
        check_sample_size(n, space, allow_few)
    if "memorisation" in names and None in training:
        raise UserError(NO_TRAIN)


def draw_comparisons(
    runs: Sequence[tuple[Trained, str | None]], training: Sequence[Dataset | None], real_data: RealData, seed: int,
    allow_few: bool, progress: Progress,
) -> list[Comparison]:  # fmt: skip
    """The samples of each model, drawn from its prior, beside the same held-out examples, and last the floor.

    Each knows what the model was trained on, if that is known of all; equal training data are one set of examples.
    """
    n, space = real_data.n, real_data.space
    real = make_examples(real_data.held_out.sample(n, seed, "held out"), space, progress)
    floor = replace(make_examples(real_data.other.sample(n, seed, "other"), space, progress, real), is_floor=True)
    fakes = [real_data.generate(trained, prior, real, seed, progress) for trained, prior in runs]
    known: dict[str, Examples] = {}
    for fake, data in zip(fakes, training, strict=True):
        if data is not None and None not in training:
            key = data.fingerprint() if len(runs) > 1 else ""
            fake.training = (known.setdefault(key, make_examples(data, space, progress)),)
    floor.training = tuple(known.values())
    return [Comparison(real, fake, seed, allow_few) for fake in (*fakes, floor)]


def make_examples(
    data: Dataset, space: FeatureSpace, progress: Progress, reference: Examples | None = None
) -> Examples:
    """Examples whose features say how long they will take, where that is long."""
    report = report_remaining_time(f"{space.name} of {data.name}", progress)
    return Examples(data, space, reference, progress=report)


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
    """The numbers of these metrics, each with its floor; "skip_reasons" says why one is not there.

    If `strict`, a metric that cannot be measured is a UserError.
    """
    values: MetricValues = {}
    reasons: dict[str, str] = {}
    if c.fake.data.labels is None:
        floor = replace(floor, data=replace(floor.data, labels=None))
    for metric in map(METRICS.__getitem__, names):
        progress(metric.name)
        try:
            entries = zip(metric.compute(c), metric.compute(replace(c, fake=floor)), strict=True)
            for (number, entry), (_, floor_entry) in entries:
                if isinstance(entry, str):
                    reasons[number] = entry
                elif isinstance(entry, int):
                    values[number] = entry
                else:
                    show = metric.numbers[number].show if number in metric.numbers else float
                    key = metric.tag(number, c.space)
                    values[key], values[f"{key}:floor"] = (shown_values(x, show) for x in (entry, floor_entry))
                    if has_error(entry):
                        values[f"{key}:error"] = map_scores(entry, lambda s: s.standard_error)
        except UserError as error:
            if strict:
                raise
            reasons[metric.name] = str(error)
    return values | {"skip_reasons": reasons}


def shown_values(entry: Entry, show: Callable[[float], float]) -> Any:
    """The value of a score, or of each of several; None where it is no finite number."""
    return map_scores(entry, lambda score: show(score.value))


def map_scores(entry: Entry, function: Callable[[Score], float | None]) -> Any:
    """A function of a score, or of each of several; None where the result is no finite number."""
    if isinstance(entry, dict):
        return {name: map_scores(score, function) for name, score in entry.items()}
    if isinstance(entry, list):
        return [map_scores(score, function) for score in entry]
    value = function(entry) if isinstance(entry, Score) else None
    return value if value is not None and isfinite(value) else None


def has_error(entry: Entry) -> bool:
    """Whether a score, or one of several, has a standard error."""
    if isinstance(entry, dict):
        return any(map(has_error, entry.values()))
    return isinstance(entry, Score) and entry.error is not None
