"""The numbers of a translator: round trips, distances to the other domain, and errors where pairs exist.

Pixels count from 0 to 1, those with alpha on black and on white; vectors in deviations of their domain.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from math import pi
from pathlib import Path

import torch
from torch import Tensor

from ..data import (
    DataOptions,
    Dataset,
    DomainPair,
    MissingSplitError,
    Scaling,
    Sources,
    load,
    load_all,
    resolve_domains,
    restore_range,
    without_holdout,
)
from ..data.scaling import composite_backgrounds
from ..diagnostics import diagnose
from ..errors import UserError
from ..inference.trained import Trained
from ..metrics import METRICS, Comparison, Examples
from ..metrics.classes import classifier_labels, label_accuracy
from ..metrics.features import FeatureSpace, make_feature_space
from ..metrics.fid import check_sample_size
from ..metrics.fidelity import psnr, ssim
from ..metrics.likelihood import mean_and_error
from ..metrics.pairs import absolute_errors, angle_errors, class_angles, nearest_labels, target_ranks
from ..model import Batch, PairBatch, device_of, model_name
from ..models._translator import Translator, other_domain
from ..randomness import reseed
from .samples import DEFAULT_SAMPLES, MetricValues, Progress, Settings, make_examples, measure, report_remaining_time

IMAGES_PER_CHUNK = 32
"""images that are translated at once"""
N_MONITORED = 64
"""examples of each domain whose round trips are tried with noise"""
TRANSLATION_METRICS = ("kid", *(m.name for m in METRICS.values() if m.needs in ("", "images") and m.name != "kid"))
"""metrics of translations against their domain: kid, unless others are asked for"""
MOVED_SHARE = 0.8
"""share of its input's distance to the target domain that a translation has to go below to count as moved"""


@dataclass(frozen=True, eq=False)
class Direction:
    """Translations of the examples of one domain to the other."""

    trained: Trained
    to: str
    source: Dataset
    target: Dataset
    space: FeatureSpace | None
    """on which translations are compared with the target domain"""
    progress: Progress

    @cached_property
    def translations(self) -> Tensor:
        return translate_examples(self.trained, self.source.x, self.to, self.progress)

    @property
    def n_compared(self) -> int:
        """How many translations are compared with as many of the target domain, which is halved for the floor."""
        return min(len(self.target) // 2, len(self.source))

    def cycle_error(self) -> MetricValues:
        """The error of the round trip, where there is a way back."""
        back = other_domain(self.to)
        if back not in self.trained.directions:
            return {}
        y = self.translations * 255 if self.source.has_images else self.translations
        cycled = translate_examples(self.trained, y, back, self.progress)
        value, error = mean_and_error(absolute_errors(*comparable_values(self.source, cycled, self.source.x)))
        return {"cycle_error": value, "cycle_error:error": error}

    def examples(self, x: Tensor, name: str = "translations", reference: Examples | None = None) -> Examples:
        """Translations, or inputs in place of them, as examples of the target domain."""
        assert self.space is not None
        return make_examples(replace(self.target, x=x, labels=None, name=name), self.space, self.progress, reference)

    def distances(self, settings: Settings) -> MetricValues:
        """The metrics of translations against half of the target domain, with the other half as the floor."""
        assert self.space is not None
        n, y = self.n_compared, to_bytes(self.translations) if self.target.has_images else self.translations
        real = self.examples(self.target.x[:n], self.target.name)
        floor, fake = (
            self.examples(self.target.x[n : 2 * n], self.target.name, real),
            self.examples(y[:n], reference=real),
        )
        c = Comparison(real, fake, settings.seed, settings.allow_few)
        distance = measure(["sliced-wasserstein"], c, floor, strict=True)
        result = {
            "features": self.space.tag, "n": n, "sliced_wasserstein": distance["sliced_wasserstein"],
            "sliced_wasserstein:floor": distance["sliced_wasserstein:floor"],
        }  # fmt: skip
        if self.source.shape == self.target.shape:
            inputs = replace(c, fake=self.examples(self.source.x[:n], self.source.name, real))
            before = measure(["sliced-wasserstein"], inputs, floor, strict=True)
            result["sliced_wasserstein:input"] = before["sliced_wasserstein"]
        names = [name for name in settings.metrics or TRANSLATION_METRICS[:1] if name != "sliced-wasserstein"]
        return result | measure(names, c, floor, strict=bool(settings.metrics))

    def errors(self) -> MetricValues:
        """Errors against the targets, which are right answers, and beside them those of leaving the input as it is."""
        features = target_features = input_features = None
        tag: MetricValues = {}
        if self.space is not None:
            features = self.examples(to_bytes(self.translations)).features
            target_features = self.examples(self.target.x, self.target.name).features
            tag = {"features": self.space.tag}
        y, target = self.translations, self.target
        result = paired_errors(y, target, features, target_features)
        result |= label_agreement(y, self.source, target, self.space, features) | angle_metrics(y, target) | tag
        if self.source.shape == target.shape:
            if self.space is not None:
                input_features = self.examples(self.source.x, self.source.name).features
            x = to_unit_range(self.source.x)
            result["identity_baseline"] = paired_errors(x, target, input_features, target_features) | tag
        return result


def evaluate_translator(
    trained: Trained, data: Sources | None, options: DataOptions | None, pairs: Sources | None, settings: Settings
) -> MetricValues:
    """All numbers of a translator."""
    model, progress = trained.model, settings.progress
    assert isinstance(model, Translator)
    domains, split = load_held_out(trained, data, options)
    a, b = (part.sample(settings.n or DEFAULT_SAMPLES, settings.seed, "examples", name)
            for part, name in zip(domains.datasets, "AB", strict=True))  # fmt: skip
    if min(len(a), len(b)) < 2:
        raise UserError(
            "translations are compared with half of their domain, and it with its other half: give 2 examples of each "
            "domain or more"
        )
    directions = make_directions(trained, a, b, settings)
    if "fid" in settings.metrics:
        for d in directions:
            assert d.space is not None
            check_sample_size(d.n_compared, d.space, settings.allow_few)
    aligned = None if pairs is None else load_aligned_pairs(trained, pairs, options)
    result: MetricValues = {
        "model": model_name(model), "step": trained.metadata.get("step"), "data": domains.name, "split": split,
        "seed": settings.seed, "examples": [len(a), len(b)],
    }  # fmt: skip
    progress("round trips")
    statistics = round_trip_statistics(trained, model, [a, b], settings.seed)
    result["cycle_statistics"] = dict(statistics)
    for d in directions:
        progress(f"translations to {d.to}")
        scores = result[f"to_{d.to.lower()}"] = d.cycle_error() | d.distances(settings)
        limit = MOVED_SHARE * scores.get("sliced_wasserstein:input", 9e9)
        statistics[f"accuracy_{d.to}"] = float(scores["sliced_wasserstein"] > limit)
    result["warnings"] = diagnose(model, {"game": statistics}, 200, 1)
    if aligned is not None:
        result["pairs"] = {"examples": len(aligned.a), "data": aligned.name}
        for d in make_directions(trained, aligned.a, aligned.b, settings, vectors=False):
            progress(f"errors of translations to {d.to}")
            result["pairs"][f"to_{d.to.lower()}"] = d.errors()
    return result


def make_directions(
    trained: Trained, a: Dataset, b: Dataset, settings: Settings, *, vectors: bool = True
) -> list[Direction]:
    """The ways that a translator goes, first to B; where `vectors` is false, these are not compared on features."""
    return [
        Direction(trained, to, source, target, make_feature_space(
            settings.features, target.shape, data_name=target.name, device=device_of(trained.nets),
            scaling=Scaling.fit(target.x),
        ) if vectors or target.has_images else None, settings.progress)
        for to, source, target in (("B", a, b), ("A", b, a)) if to in trained.directions
    ]  # fmt: skip


def check_options(trained: Trained, metrics: Sequence[str], few: bool, others: Mapping[str, object]) -> None:
    """UserError for options that a translator has no use for: metrics of other models, and `others` that were given."""
    name = model_name(trained.model)
    for metric in metrics:
        if metric not in TRANSLATION_METRICS:
            raise UserError(f"{metric} cannot be measured of this {name}: it has {', '.join(TRANSLATION_METRICS)}")
    given = [option for option, value in others.items() if value is not None]
    if given:
        raise UserError(f"this {name} translates, and has no use for {' and '.join(given)}: leave out {given[0]}")
    if few and "fid" not in metrics:
        raise UserError(
            "allow_few is about the Frechet distance, which is not measured: ask for the metric fid, or leave it out"
        )


def load_held_out(trained: Trained, data: Sources | None, view: DataOptions | None) -> tuple[DomainPair, str]:
    """The two domains to measure on: those given, or the test split of the run's own, or what it has learnt from.

    The last only where a domain has no test split: one that cannot be read is an error.
    """
    if data is not None:
        return load_domains(trained, data, without_holdout(view)), "custom"
    if (training_data := trained.training_data) is None:
        where = trained.folder or "the weights file"
        raise UserError(f"{where} does not say where the model's data are: give both domains")
    load = partial(load_domains, trained)
    test = training_data.load_test_split(load)
    return (training_data.load(load), "train") if test is None else (test, "test")


def load_domains(trained: Trained, sources: Sources, view: DataOptions) -> DomainPair:
    """Both domains, with the size and channels that the model was trained on; UserError where they are no such."""
    sources = resolve_domains(sources)
    if not isinstance(sources, tuple):
        raise UserError(f"this {model_name(trained.model)} has two domains: give both, A and B")
    parts = []
    for domain, (source, shape) in enumerate(zip(sources, trained.shape, strict=False)):
        asked = restore_range(source, view, trained.metadata, domain)
        if len(shape) == 3 and isinstance(source, str | Path):
            asked = replace(asked, size=f"{shape[1]}x{shape[2]}", channels=shape[0])
        parts.append(load(source, asked))
    pair = load_all(tuple(parts))
    assert isinstance(pair, DomainPair)
    if pair.shape != trained.shape:
        raise UserError(f"{pair.name} has examples of {pair.shape}, but this model was trained on {trained.shape}")
    return pair


def round_trip_statistics(trained: Trained, model: Translator, domains: list[Dataset], seed: int) -> dict[str, float]:
    """What `Translator.observe` sees on a few examples."""
    n = min(N_MONITORED, *map(len, domains))
    batch = PairBatch(*(Batch(trained.domain_scaling(i)(part.x[:n])) for i, part in enumerate(domains)))
    device = next(trained.nets.parameters()).device
    reseed(device, seed, "observe")
    return {k: v.item() for k, v in model.monitor(batch.to(device), **trained.nets).items()}


def load_aligned_pairs(trained: Trained, pairs: Sources, options: DataOptions | None) -> DomainPair:
    """Two domains in which example i of A belongs to example i of B; UserError where they cannot be such.

    Where nothing is said of them, they are the test split, if there is one.  None is held out by its content, which
    would part examples that belong together.
    """

    def load(view: DataOptions) -> DomainPair:
        return load_domains(trained, pairs, replace(view, holdout=0.0))

    try:
        pair = load(options or DataOptions(split="test"))
    except MissingSplitError:
        pair = load(options or DataOptions())
    if len(pair.a) != len(pair.b):
        raise UserError(
            f"pairs need as many examples in both domains, in one order: {pair.a.name} has {len(pair.a)}, "
            f"{pair.b.name} {len(pair.b)}"
        )
    return pair


def to_bytes(pixels: Tensor) -> Tensor:
    """Pixels from 0 to 1 as bytes."""
    return (pixels * 255).round().to(torch.uint8)


def paired_errors(
    y: Tensor, target: Dataset, features: Tensor | None = None, target_features: Tensor | None = None
) -> MetricValues:
    """L1, PSNR (of the mean square error of all pairs), SSIM, and the rank of the right answer among all targets.

    A rank of 1 is best, of half of the targets chance.  Ranks go by Euclidean distance of pixels or vectors and, of
    images, also of features, where those of translations and of targets are given.
    """
    y, truth = comparable_values(target, y, target.x)
    ranks = target_ranks(y, truth).double()
    result: MetricValues = {"l1": absolute_errors(y, truth).mean().item()}
    if target.has_images:
        result |= {"psnr_db": psnr(y[None], truth[None]).item(), "ssim": ssim(y, truth).mean().item()}
    result |= {"mean_rank": ranks.mean().item(), "median_rank": ranks.median().item()}
    result |= {"top1_accuracy": (ranks == 1).double().mean().item(), "n": len(truth)}
    if features is not None and target_features is not None:
        ranks = target_ranks(features, target_features).double()
        top1_accuracy = (ranks == 1).double().mean().item()
        result |= {"feature_mean_rank": ranks.mean().item(), "feature_top1_accuracy": top1_accuracy}
    return result


def label_agreement(
    y: Tensor, source: Dataset, target: Dataset, space: FeatureSpace | None, features: Tensor | None
) -> MetricValues:
    """Share of translations that have the label of their source, and who says so; nothing where there are no labels.

    A classifier, where the features are one's and know the labels; else the nearest target other than the right answer,
    if both domains have the same classes.
    """
    if space is not None and features is not None and space.head is not None:
        labels = classifier_labels(space.classes, source)
        if labels is not None:
            return {"label_agreement": label_accuracy(space.logits(features), labels), "label_source": space.tag}
    if source.labels is None or target.labels is None or source.classes != target.classes:
        return {}
    (y, truth), n_right = comparable_values(target, y, target.x), 0
    for start in (0, 1):  # judged by the half that does not hold the answer
        part, rest = slice(start, None, 2), slice(1 - start, None, 2)
        n_right += int((nearest_labels(y[part], truth[rest], target.labels[rest]) == source.labels[part]).sum())
    return {"label_agreement": n_right / len(y), "label_source": "nearest target"}


def angle_metrics(y: Tensor, target: Dataset) -> MetricValues:
    """Errors of angles, where the target's classes are named after such, and of real targets: the reader's own.

    The angle of an example is that of the nearest real target but its own right answer: RMSE in degrees, correlation.
    """
    by_class = None if target.labels is None else class_angles(target.classes)
    if by_class is None or target.labels is None:
        return {}
    y, truth = comparable_values(target, y, target.x)
    result: MetricValues = {}
    for name, x in (("", y), (":floor", truth)):
        rmse, correlation = angle_errors(x, truth, by_class[target.labels])
        result |= {f"angle_rmse{name}": rmse * 180 / pi, f"angle_correlation{name}": correlation}
    return result


def translate_examples(trained: Trained, x: Tensor, to: str, progress: Progress = lambda line: None) -> Tensor:
    """Translations of bytes or vectors, pixels from 0 to 1; where they take long, how long is left."""
    if x.ndim == 2:
        return trained.translate_vectors(x, to)
    report, chunks = report_remaining_time(f"translations to {to}", progress), []
    for start in range(0, len(x), IMAGES_PER_CHUNK):
        chunks.append(trained.translate_pixels(x[start : start + IMAGES_PER_CHUNK].float() / 255, to))
        report(min(start + IMAGES_PER_CHUNK, len(x)), len(x))
    return torch.cat(chunks)


def to_unit_range(x: Tensor) -> Tensor:
    """Examples of a collection, pixels from 0 to 1."""
    return x.float() / 255 if x.dtype == torch.uint8 else x


def comparable_values(domain: Dataset, *examples: Tensor) -> tuple[Tensor, ...]:
    """Examples of a domain as errors compare them: pixels from 0 to 1, with alpha on black and white, or deviations."""
    if domain.has_images:
        return tuple(composite_backgrounds(to_unit_range(x)) for x in examples)
    units = Scaling.fit(domain.x)
    return tuple(units(x) for x in examples)
