"""The numbers of a translator: round trips, distances to the other domain, and errors where pairs exist.

Pixels count from 0 to 1, those with alpha on black and on white, deep images by the scale of their domain; vectors in
deviations of their domain.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import pi

import torch
from torch import Tensor

from ..data import DataOptions, Dataset, Scaling, Sources
from ..data.scaling import composite_backgrounds, side_by_side, vector_scaling
from ..diagnostics import diagnose
from ..errors import UserError
from ..inference.trained import Trained
from ..metrics import METRICS, Comparison, Examples
from ..metrics.classes import classifier_labels, label_accuracy
from ..metrics.features import FeatureSpace, make_feature_space
from ..metrics.features.base import Progress, report_remaining_time, say_nothing
from ..metrics.fid import check_sample_size
from ..metrics.likelihood import mean_and_error
from ..metrics.pairs import absolute_errors, angle_errors, class_angles, nearest_labels, target_ranks
from ..metrics.similarity import psnr, ssim
from ..model import Batch, PairBatch, device_of, model_name
from ..models._translator import OTHER_DOMAIN, Translator
from ..randomness import reseed
from .held_out import load_aligned_pairs, load_domain_split
from .samples import DEFAULT_SAMPLES, MetricValues, Settings, measure

IMAGES_PER_CHUNK = 32
"""images that are translated at once"""
N_MONITORED = 64
"""examples of each domain whose round trips are measured with noise"""
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
    settings: Settings
    are_pairs: bool = False
    """whether example i of the source belongs to example i of the target"""

    @cached_property
    def space(self) -> FeatureSpace | None:
        """Where translations are compared with the target domain: None for pairs of vectors, compared as they are."""
        target, device, features = self.as_target(self.target.x[:1]), self.trained.device, self.settings.features
        if self.are_pairs and not target.has_images:
            return None
        scaling = vector_scaling(self.target)
        return make_feature_space(features, target.shape, data_name=target.name, device=device, scaling=scaling)

    @cached_property
    def translations(self) -> Tensor:
        return translate_examples(self.trained, self.source.x, self.to, self.settings.progress)

    @property
    def n_compared(self) -> int:
        """How many translations are compared with as many of the target domain, which is halved for the noise floor."""
        return min(len(self.target) // 2, len(self.source))

    def examples(self, x: Tensor, name: str = "translations", reference: Examples | None = None) -> Examples:
        """Translations, or inputs in place of them, as examples of the target domain."""
        assert self.space is not None
        data = replace(self.as_target(x), labels=None, files=(), name=name)
        return Examples(data, self.space, reference, progress=self.settings.progress)

    def as_target(self, x: Tensor) -> Dataset:
        """Examples of the target domain, pixels from 0 to 1 as bytes, signals and volumes as vectors."""
        if not self.target.has_images:
            return replace(self.target, x=x.flatten(1), source_dtype="")
        if x.is_floating_point():
            x = Scaling().from_unit(x)
        x = x if self.target.may_have_alpha else side_by_side(x)
        return replace(self.target, x=x, source_dtype="", alpha=False)

    def scores(self) -> MetricValues:
        """The error of the round trip, where there is a way back, and metrics against half of the target domain."""
        n, source, target, settings, values = self.n_compared, self.source, self.target, self.settings, MetricValues()
        y, back = self.translations, OTHER_DOMAIN[self.to]
        if back in self.trained.directions:
            x = translate_examples(self.trained, y, back, settings.progress)
            value, error = mean_and_error(absolute_errors(*comparable_values(source, x, source.x)))
            values = {"cycle_error": value, "cycle_error:error": error}
        real = self.examples(target.x[:n], target.name)
        floor, fake = self.examples(target.x[n : 2 * n], target.name, real), self.examples(y[:n], reference=real)
        c, strict = Comparison(real, fake, settings.seed, settings.allow_few), bool(settings.metrics)
        names = dict.fromkeys(["sliced-wasserstein", *(settings.metrics or TRANSLATION_METRICS[:1])])
        values |= {"features": real.space.tag, "n": n} | measure(list(names), c, floor, strict)
        if source.shape == target.shape:
            inputs = replace(c, fake=self.examples(source.x[:n], source.name, real))
            scores = measure(["sliced-wasserstein"], inputs, floor, strict)
            values["sliced_wasserstein:input"] = scores["sliced_wasserstein"]
        return values

    def errors(self) -> MetricValues:
        """Errors against the targets, which are right answers, and beside them those of leaving the input as it is."""
        y, source, target, space = self.translations, self.source, self.target, self.space

        def features(x: Tensor, name: str = "translations") -> Tensor | None:
            return None if space is None else self.examples(x, name).features

        y_features, target_features = features(y), features(target.x, target.name)
        tag = {} if space is None else {"features": space.tag}
        values = paired_errors(y, target, y_features, target_features)
        values |= self.label_agreement(y_features) | self.angle_errors() | tag
        if source.shape == target.shape:
            inputs = to_unit_range(source.x), target, features(source.x, source.name), target_features
            values["identity_baseline"] = paired_errors(*inputs) | tag
        return values

    def label_agreement(self, features: Tensor | None) -> MetricValues:
        """Share of translations that have the label of their source, and who says so; nothing without labels."""
        source, target, space = self.source, self.target, self.space
        if space is not None and features is not None and space.head is not None:
            labels = classifier_labels(space.classes, source)
            if labels is not None:
                return {"label_agreement": label_accuracy(space.logits(features), labels), "label_source": space.tag}
        if source.labels is None or target.labels is None or source.classes != target.classes:
            return {}
        (y, truth), n_right = comparable_values(target, self.translations, target.x), 0
        for start in (0, 1):  # judged by the nearest target of the half that does not hold the right answer
            part, rest = slice(start, None, 2), slice(1 - start, None, 2)
            n_right += int((nearest_labels(y[part], truth[rest], target.labels[rest]) == source.labels[part]).sum())
        return {"label_agreement": n_right / len(y), "label_source": "nearest target"}

    def angle_errors(self) -> MetricValues:
        """RMSE in degrees and correlation of angles that classes are named after, and those of real targets."""
        by_class, values = class_angles(self.target.classes), MetricValues()
        if by_class is None or self.target.labels is None:
            return values
        y, truth = comparable_values(self.target, self.translations, self.target.x)
        for suffix, x in (("", y), (":floor", truth)):
            rmse, correlation = angle_errors(x, truth, by_class[self.target.labels])
            values |= {f"angle_rmse{suffix}": rmse * 180 / pi, f"angle_correlation{suffix}": correlation}
        return values


def directions(trained: Trained, a: Dataset, b: Dataset, settings: Settings, pairs: bool = False) -> list[Direction]:
    """The ways that a translator goes, first to B."""
    ways = [Direction(trained, "B", a, b, settings, pairs), Direction(trained, "A", b, a, settings, pairs)]
    return [d for d in ways if d.to in trained.directions]


def evaluate_translator(
    trained: Trained, data: Sources | None, options: DataOptions | None, pairs: Sources | None, settings: Settings,
    others: Mapping[str, object],
) -> MetricValues:  # fmt: skip
    """All numbers of a translator; UserError if any of the `others` has a value, options that it has no use for."""
    model, nets, progress, seed = trained.model, trained.nets, settings.progress, settings.seed
    assert isinstance(model, Translator)
    if unused := [option for option, value in others.items() if value is not None]:
        no_use = f"this {model_name(model)} translates, and has no use for {' and '.join(unused)}"
        raise UserError(f"{no_use}: leave out {unused[0]}")
    if settings.allow_few and "fid" not in settings.metrics:
        problem = "allow_few is about the Frechet distance, which is not measured"
        raise UserError(f"{problem}: ask for the metric fid, or leave it out")
    domains, split = load_domain_split(trained, data, options)
    n = settings.n or DEFAULT_SAMPLES
    raw = [domain.sample(n, seed, "examples", name) for domain, name in ((domains.a, "A"), (domains.b, "B"))]
    a, b = in_unit_range(trained, *raw)
    if min(len(a), len(b)) < 2:
        halves = "translations are compared with half of their domain, and it with its other half"
        raise UserError(f"{halves}: give 2 examples of each domain or more")
    ways = directions(trained, a, b, settings)
    for d in ways:
        if d.space is not None and "fid" in settings.metrics:
            check_sample_size(d.n_compared, d.space, settings.allow_few)
    aligned = None if pairs is None else load_aligned_pairs(trained, pairs, options)
    progress("round trips")
    n_monitored, device = min(N_MONITORED, len(a), len(b)), device_of(nets)
    batch = PairBatch(*(Batch(trained.domain_scaling(i)(part.x[:n_monitored])) for i, part in enumerate(raw)))
    reseed(device, seed, "observe")
    statistics = {name: value.item() for name, value in model.monitor(batch.to(device), **nets).items()}
    values: MetricValues = {
        "model": model_name(model), "step": trained.metadata.get("step"), "data": domains.name, "split": split,
        "seed": seed, "examples": [len(a), len(b)], "cycle_statistics": dict(statistics),
    }  # fmt: skip
    for d in ways:
        progress(f"translations to {d.to}")
        scores = values[f"to_{d.to.lower()}"] = d.scores()
        limit = MOVED_SHARE * scores.get("sliced_wasserstein:input", 9e9)
        statistics[f"accuracy_{d.to}"] = float(scores["sliced_wasserstein"] > limit)
    values["warnings"] = diagnose(model, {"adversarial": statistics}, 200, 1)
    if aligned is not None:
        values["pairs"] = {"examples": len(aligned.a), "data": aligned.name}
        for d in directions(trained, *in_unit_range(trained, aligned.a, aligned.b), settings, pairs=True):
            progress(f"errors of translations to {d.to}")
            values["pairs"][f"to_{d.to.lower()}"] = d.errors()
    return values


def in_unit_range(trained: Trained, a: Dataset, b: Dataset) -> tuple[Dataset, Dataset]:
    """The examples of A and B; deep images with the numbers from 0 to 1 that the scale of their domain makes them."""
    first, second = (
        replace(part, x=trained.domain_scaling(i).to_unit(part.x)) if part.is_deep else part
        for i, part in enumerate((a, b))
    )
    return first, second


def paired_errors(
    y: Tensor, target: Dataset, features: Tensor | None = None, target_features: Tensor | None = None
) -> MetricValues:
    """L1, PSNR (of the mean square error of all pairs), SSIM, and the rank of the right answer among all targets.

    A rank of 1 is best, of half of the targets chance.  Ranks go by Euclidean distance of pixels or vectors and, of
    images, also of features, where the caller gives those of translations and of targets.
    """
    y, truth = comparable_values(target, y, target.x)
    ranks = target_ranks(y, truth).double()
    values: MetricValues = {"l1": absolute_errors(y, truth).mean().item()}
    if target.has_images:
        values |= {"psnr_db": psnr(y[None], truth[None]).item(), "ssim": ssim(y, truth).mean().item()}
    values |= {"mean_rank": ranks.mean().item(), "median_rank": ranks.median().item()}
    values |= {"top1_accuracy": (ranks == 1).double().mean().item(), "n": len(truth)}
    if features is not None and target_features is not None:
        ranks = target_ranks(features, target_features).double()
        values["feature_mean_rank"] = ranks.mean().item()
        values["feature_top1_accuracy"] = (ranks == 1).double().mean().item()
    return values


def translate_examples(trained: Trained, x: Tensor, to: str, progress: Progress = say_nothing) -> Tensor:
    """Translations of bytes or vectors, pixels from 0 to 1; where they take long, how long is left."""
    if x.ndim == 2:
        return trained.translate_batch(x, to)
    report, translations, done = report_remaining_time(f"translations to {to}", progress), [], 0
    for part in x.split(IMAGES_PER_CHUNK):
        translations.append(trained.translate_batch(to_unit_range(part), to))
        report(done := done + len(part), len(x))
    return torch.cat(translations)


def to_unit_range(x: Tensor) -> Tensor:
    """Examples of a dataset, pixels from 0 to 1."""
    return x.float() / 255 if x.dtype == torch.uint8 else x


def comparable_values(domain: Dataset, *examples: Tensor) -> tuple[Tensor, ...]:
    """Examples of a domain as errors compare them: pixels from 0 to 1, with alpha on black and white, or deviations."""
    if domain.has_images:
        pixels = tuple(to_unit_range(x) for x in examples)
        return tuple(map(composite_backgrounds, pixels)) if domain.may_have_alpha else pixels
    units = vector_scaling(domain)
    return tuple(units(x.flatten(1)) for x in examples)
