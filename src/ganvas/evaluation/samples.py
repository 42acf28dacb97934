"""Samples of models beside as many held-out examples, and the numbers of both.

The noise floor of a number is the same number for real examples in place of generated ones, as many and none of them
among those that both are compared with.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from ..data import Dataset, as_measured
from ..data.scaling import vector_scaling
from ..distributions.priors import STANDARD
from ..errors import UserError
from ..inference.rows import decode_drawn
from ..inference.trained import Trained
from ..io.text import replace_non_finite
from ..metrics import METRICS, NUMBERS, Comparison, Examples, Number, Score
from ..metrics.copies import NO_TRAIN
from ..metrics.features import FeatureSpace, make_feature_space
from ..metrics.features.base import Progress, say_nothing
from ..metrics.fid import check_sample_size
from ..metrics.metric import Entry
from .held_out import EvaluationData

DEFAULT_SAMPLES = 10_000
"""samples that are compared with as many examples, at most, unless n says otherwise"""
MIN_SAMPLES = 2
DEEP_PROTOCOL = "numbers rounded to 256 levels by the model's scale, channels side by side if not 1 or 3; "
"""how metrics see deep images"""
VALUES_PROTOCOL = "signals and volumes as vectors of their numbers by the model's scale; "
MetricValues = dict[str, Any]


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


Runs = Sequence[tuple[Trained, str | None, Dataset | None]]
"""models, each with the prior that its codes are drawn from, if not its own, and its training data, if known"""


def prepare_comparison(runs: Runs, data: EvaluationData, settings: Settings) -> RealData:
    """Everything but the samples; UserError for what would else fail after they and their features were computed."""
    for trained, prior, _ in runs:
        if prior not in (None, STANDARD):
            trained.get_fitted_prior(str(prior))
    trained, requested = runs[0][0], settings.n
    scaling = trained.domain_scaling()
    held_out, other = as_measured(data.held_out, scaling), data.train and as_measured(data.train, scaling)
    if other is None:  # two halves, where there is nothing else
        shuffled, half = held_out.sample(len(held_out), settings.seed, "halves"), len(held_out) // 2
        held_out, other = shuffled.select(slice(half)), shuffled.select(slice(half, 2 * half))
    n = min(requested or DEFAULT_SAMPLES, len(held_out), len(other))
    if n < MIN_SAMPLES:
        need = f"samples are compared with as many held-out examples, {MIN_SAMPLES} at least"
        raise UserError(f"{need}, and here is {n}: give more data, or a higher n")
    name, device, units = held_out.name, trained.device, vector_scaling(data.held_out, scaling)
    space = make_feature_space(settings.features, held_out.shape, data_name=name, device=device, scaling=units)
    if "fid" in settings.metrics:
        check_sample_size(n, space, settings.allow_few)
    if "memorisation" in settings.metrics and any(train is None for *_, train in runs):
        raise UserError(NO_TRAIN)
    available = f"{len(held_out)} examples to compare with, and {len(other)} others for the floor"
    note = f" ({requested} asked for, but the data allow {n}: there are {available})"
    numbers = DEEP_PROTOCOL if data.held_out.has_images else VALUES_PROTOCOL
    facts = {
        "samples": n, "features": space.tag, "floor_source": "halves" if data.train is None else "train",
        "protocol": f"{numbers * data.held_out.is_deep}{space.protocol}; averaged weights, no truncation",
    }  # fmt: skip
    return RealData(held_out, other, space, n, facts, note if requested is not None and n < requested else "")


def draw_comparisons(runs: Runs, real_data: RealData, settings: Settings) -> list[Comparison]:
    """The samples of each model, drawn from its prior, beside the same held-out examples, and last the noise floor.

    Each knows what the model was trained on, if that is known of all; equal training data are one set of examples.
    Labels of a conditional model's samples are those of other real examples, not of the held-out ones: sharing these
    would bring samples nearer to them than real examples are (a kernel distance of perfect ones is then below 0).
    """
    seed, progress, scaling = settings.seed, settings.progress, runs[0][0].domain_scaling()
    n, space, other = real_data.n, real_data.space, real_data.other
    real = Examples(real_data.held_out.sample(n, seed, "held out"), space, progress=progress)
    floor = Examples(other.sample(n, seed, "other"), space, real, is_floor=True, progress=progress)
    fakes, known, all_known = [], dict[str, Examples](), all(train is not None for *_, train in runs)
    for trained, prior, train in runs:
        labels = other.sample(n, seed, "labels").labels if trained.model.is_conditional else None
        x = decode_drawn(trained, trained.sample_codes(n, seed, prior), labels, seed)
        x = scaling.as_measured(x)
        fake = Examples(replace(other, x=x, labels=labels, files=(), name="generated"), space, real, progress=progress)
        if train is not None and all_known:
            key = train.fingerprint() if len(runs) > 1 else ""
            known[key] = known.get(key) or Examples(as_measured(train, scaling), space, progress=progress)
            fake.training = (known[key],)
        fakes.append(fake)
    floor.training = tuple(known.values())
    return [Comparison(real, fake, seed, settings.allow_few) for fake in (*fakes, floor)]


def compute_entries(
    names: Sequence[str], sides: Sequence[Comparison], strict: bool, progress: Progress, only_numbers: bool = False
) -> Iterator[tuple[str, str, tuple[Entry, ...]]]:
    """Each number of these metrics, or only what `compare` shows: its name, that with its features, and its entries.

    A metric that cannot be measured is a UserError if `strict`; else its entries say why.
    """
    tag = f":{sides[0].real.space.tag}"
    for metric in map(METRICS.__getitem__, names):
        progress(metric.name)
        try:
            computed = (islice(metric.compute(c), len(metric.numbers) if only_numbers else None) for c in sides)
            for pairs in zip(*computed, strict=True):
                name = pairs[0][0]
                yield name, name + (tag if metric.on_features else ""), tuple(entry for _, entry in pairs)
        except UserError as error:
            if strict:
                raise
            yield metric.name, "", (str(error),) * len(sides)


def measure(
    names: Sequence[str], c: Comparison, floor: Examples, strict: bool, progress: Progress = say_nothing
) -> MetricValues:
    """The numbers of these metrics, each with its noise floor; "skip_reasons" says why one is not there."""
    values, reasons = MetricValues(), dict[str, str]()
    if c.fake.data.labels is None and floor.data.labels is not None:
        floor = replace(floor, data=replace(floor.data, labels=None))
    for name, key, (entry, floor_entry) in compute_entries(names, (c, replace(c, fake=floor)), strict, progress):
        if isinstance(entry, str):
            reasons[name] = entry
        elif isinstance(entry, int):
            values[name] = entry
        else:
            values |= show_scores(key, entry, floor_entry, NUMBERS.get(name, Number(None)).show)
    return {**replace_non_finite(values), "skip_reasons": reasons}


def show_scores(key: str, entry: Entry, floor: Entry, show: Callable[[float], float]) -> MetricValues:
    """A score, or several, under this key, with its noise floor and, where it has one, its standard error."""
    values = {k: map_scores(e, lambda s: show(s.value)) for k, e in ((key, entry), (f"{key}:floor", floor))}
    scores = entry.values() if isinstance(entry, dict) else (entry,)
    if any(isinstance(score, Score) and score.error is not None for score in scores):
        values[f"{key}:error"] = map_scores(entry, lambda s: s.standard_error)
    return values


def map_scores(entry: Entry, function: Callable[[Score], float | None]) -> Any:
    """A function of a score, or of each of several."""
    if isinstance(entry, dict):
        return {name: function(score) for name, score in entry.items()}
    if isinstance(entry, list):
        return [function(score) for score in entry]
    return function(entry) if isinstance(entry, Score) else None
