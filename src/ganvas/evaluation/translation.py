"""The numbers of a translator: round trips, distances to the other domain, and errors where pairs exist.

Pixels count from 0 to 1, those with alpha on black and on white; vectors in deviations of their domain.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
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
from ..diagnostics import check_translator
from ..errors import UserError
from ..inference.trained import Trained
from ..metrics.classes import label_accuracy as classified
from ..metrics.features import FeatureSpace, make_feature_space
from ..metrics.fidelity import psnr, ssim
from ..metrics.likelihood import mean_and_error
from ..metrics.pairs import absolute_errors, angle_errors, class_angles, nearest_labels, target_ranks
from ..model import Batch, PairBatch, device_of, model_name
from ..models._translator import Translator, other_domain
from ..randomness import reseed
from . import samples as generated
from .classes import classifier_labels
from .samples import UNREAD, MetricValues

TOGETHER = 32
"""images that are translated at once"""
TRIED = 64
"""examples of each domain whose round trips are tried with noise"""
OF_TRANSLATIONS = ("kid", "fid", "prdc", "two-sample", "duplicates", "ms-ssim", "sliced-wasserstein")
"""metrics of translations against their domain; the last is always there, of the others kid unless told otherwise"""
BETTER = 0.8
"""share of its input's distance to the target domain that a translation has to go below to count as moved"""
Progress = Callable[[str], None]


def evaluate_translator(
    trained: Trained,
    data: Sources | None,
    view: DataOptions | None,
    pairs: Sources | None,
    metrics: Sequence[str],
    n: int,
    features: str,
    few: bool,
    seed: int,
    progress: Progress,
) -> MetricValues:
    """All numbers of a translator; `n` examples of each domain at most, drawn by the seed."""
    model = trained.model
    assert isinstance(model, Translator)
    domains, split = load_held_out(trained, data, view)
    some = [part.sample(n, seed, "examples", home) for part, home in zip(domains.datasets, "AB", strict=True)]
    if min(map(len, some)) < 2:
        raise UserError(
            "translations are compared with half of their domain, and it with its other half: give 2 examples of each "
            "domain or more"
        )
    device = device_of(trained.nets)
    spaces = {
        to: make_feature_space(features, part.shape, data_name=part.name, device=device, scaling=Scaling.fit(part.x))
        for to, part in zip("AB", some, strict=True) if to in trained.directions
    }  # fmt: skip
    if "fid" in metrics:
        for to, space in spaces.items():
            generated.check_sample_size(comparison_size(some["BA".index(to)], some["AB".index(to)]), space, few)
    truth = None if pairs is None else load_aligned_pairs(trained, pairs, view)
    result: MetricValues = {
        "model": model_name(model), "step": trained.metadata.get("step"), "data": domains.name, "split": split,
        "seed": seed,
        "examples": [len(part) for part in some],
    }  # fmt: skip
    progress("round trips")
    seen = round_trip_statistics(trained, model, some, seed)
    for home, away in (("A", "B"), ("B", "A")):
        if away not in trained.directions:
            continue
        progress(f"translations to {away}")
        source, target = (some["AB".index(domain)] for domain in (home, away))
        s, found = evaluate_direction(trained, source, target, away, spaces[away], seed, progress)
        result[f"to {away}"] = found | translation_metrics(s, metrics, few, seed)
        seen |= {
            f"accuracy_{away}": float(
                result[f"to {away}"]["distance"] > BETTER * result[f"to {away}"].get("before", 9e9)
            )
        }
    result["round trip"] = {k: v for k, v in seen.items() if not k.startswith("accuracy")}
    result["signs"] = [found.sentence for found in check_translator(model, [{"step": 200, "game": seen}], 1)]
    if truth is not None:
        result["pairs"] = paired_metrics(trained, truth, features, progress)
    return result


def check_options(trained: Trained, metrics: Sequence[str], few: bool, others: dict[str, object]) -> None:
    """UserError for options that a translator has no use for: metrics of other models, and `others` that were given."""
    name = model_name(trained.model)
    for metric in metrics:
        if metric not in OF_TRANSLATIONS:
            raise UserError(f"{metric} cannot be measured of this {name}: it has {', '.join(OF_TRANSLATIONS)}")
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
        return load_domains(trained, data, without_holdout(view)), "given"
    origin = trained.training_sources()
    if origin is None:
        where = trained.folder or "the weights file"
        raise UserError(f"{where} does not say where the model's data are: give both domains")
    sources, own = origin
    try:
        if own.split == "test":
            raise MissingSplitError("the run was trained on the test split")
        return load_domains(trained, sources, replace(own, split="test")), "test"
    except MissingSplitError:
        return load_domains(trained, sources, own), "train"
    except UserError as error:
        raise UserError(f"{UNREAD}: {str(error).rstrip('.')}; or give other data") from error


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


def round_trip_statistics(trained: Trained, model: Translator, some: list[Dataset], seed: int) -> dict[str, float]:
    """What `Translator.observe` sees on a few examples."""
    n = min(TRIED, *map(len, some))
    batch = PairBatch(*(Batch(trained.scale_inputs(part.x[:n], i)) for i, part in enumerate(some)))
    device = next(trained.nets.parameters()).device
    reseed(device, seed, "observe")
    return {k: v.item() for k, v in model.monitor(batch.to(device), **trained.nets).items()}


def comparison_size(source: Dataset, target: Dataset) -> int:
    """How many translations are compared with as many of the target domain, which is halved for the floor."""
    return min(len(target) // 2, len(source))


def evaluate_direction(
    trained: Trained, source: Dataset, target: Dataset, to: str, space: FeatureSpace, seed: int, progress: Progress
) -> tuple[generated.Comparison, MetricValues]:
    """Error of the round trip, and the distance from translations to half of the target domain beside its floor."""
    made = translate_examples(trained, source.x, to, progress)
    found: MetricValues = {}
    if other_domain(to) in trained.directions:
        back = translate_examples(trained, made * 255 if source.has_images else made, other_domain(to), progress)
        far = absolute_errors(*comparable_values(source, back, source.x))
        found["cycle_error"], found["cycle_error:error"] = mean_and_error(far)
    n = comparison_size(source, target)
    whole = to_bytes(made) if target.has_images else made
    half, rest, new = (
        target.select(slice(n)),
        target.select(slice(n, 2 * n)),
        replace(target.select(slice(n)), x=whole[:n], name="translations"),
    )
    s = generated.Comparison(
        half, rest, new, space, *(generated.extract_features(part, space, progress) for part in (half, rest, new))
    )
    found |= {"features": space.tag, "compared": n}
    sliced = generated.sliced_wasserstein_metric(s, seed)
    found |= {"distance": sliced["sliced_wasserstein"], "distance:floor": sliced["sliced_wasserstein:floor"]}
    if source.shape == target.shape:
        x = source.x[:n]
        as_is = replace(s, fake=replace(s.fake, x=x), fake_features=s.fake_features if source.has_images else space(x))
        found["before"] = generated.sliced_wasserstein_metric(as_is, seed)["sliced_wasserstein"]
    return s, found


def translation_metrics(s: generated.Comparison, metrics: Sequence[str], few: bool, seed: int) -> MetricValues:
    """The metrics asked for, or kid; "left_out" says why that is not there, unless it was asked for by name."""
    measures: dict[str, Callable[[], MetricValues]] = {
        "kid": lambda: generated.kid(s), "fid": lambda: generated.fid(s, few), "prdc": lambda: generated.prdc(s),
        "two-sample": lambda: generated.two_sample(s), "duplicates": lambda: generated.duplicate_metric(s),
        "ms-ssim": lambda: generated.ms_ssim_metric(s, seed), "sliced-wasserstein": dict,
    }  # fmt: skip
    return generated.run_metrics(measures, metrics or OF_TRANSLATIONS[:1], bool(metrics))


def load_aligned_pairs(trained: Trained, pairs: Sources, view: DataOptions | None) -> DomainPair:
    """Two domains in which example i of A belongs to example i of B; UserError where they cannot be such.

    Where nothing is said of them, they are the test split, if there is one.  None is held out by its content, which
    would part examples that belong together.
    """
    try:
        found = load_domains(trained, pairs, replace(view or DataOptions(split="test"), holdout=0.0))
    except MissingSplitError:
        found = load_domains(trained, pairs, replace(view or DataOptions(), holdout=0.0))
    if len(found.a) != len(found.b):
        raise UserError(
            f"pairs need as many examples in both domains, in one order: {found.a.name} has {len(found.a)}, "
            f"{found.b.name} {len(found.b)}"
        )
    return found


def paired_metrics(trained: Trained, pair: DomainPair, features: str, progress: Progress) -> MetricValues:
    """Errors against the right answers, each way, and beside them those of leaving the input as it is."""
    result: MetricValues = {"examples": len(pair.a), "data": pair.name}
    for away, source, target in (("B", pair.a, pair.b), ("A", pair.b, pair.a)):
        if away not in trained.directions:
            continue
        progress(f"errors of translations to {away}")
        made, space = translate_examples(trained, source.x, away, progress), None
        seen, known, tag = None, None, {}
        if target.has_images:
            space = make_feature_space(features, target.shape, data_name=target.name, device=device_of(trained.nets))
            each = (replace(target, x=to_bytes(made), name="translations"), target)
            seen, known = (generated.extract_features(part, space, progress) for part in each)
            tag = {"features": space.tag}
        result[f"to {away}"] = paired_errors(made, target, seen, known) | agreement(made, source, target, space, seen)
        result[f"to {away}"] |= angle_metrics(made, target) | tag
        if source.shape == target.shape:
            before = None if space is None else generated.extract_features(source, space, progress)
            result[f"to {away}"]["unchanged"] = paired_errors(to_unit_range(source.x), target, before, known) | tag
    return result


def to_bytes(made: Tensor) -> Tensor:
    """Pixels from 0 to 1 as bytes."""
    return (made * 255).round().to(torch.uint8)


def paired_errors(
    made: Tensor, target: Dataset, seen: Tensor | None = None, known: Tensor | None = None
) -> MetricValues:
    """L1, PSNR (of the mean square error of all pairs), SSIM, and the place of the right answer among all targets.

    A rank of 1 is best, of half of the targets chance.  Places go by Euclidean distance of pixels or vectors and, of
    images, also of features, where those of translations (`seen`) and of targets (`known`) are given.
    """
    made, truth = comparable_values(target, made, target.x)
    place = target_ranks(made, truth).double()
    found: MetricValues = {"l1": absolute_errors(made, truth).mean().item()}
    if target.has_images:
        found |= {"psnr_db": psnr(made[None], truth[None]).item(), "ssim": ssim(made, truth).mean().item()}
    found |= {"rank": place.mean().item(), "rank_median": place.median().item()}
    found |= {"first": (place == 1).double().mean().item(), "of": len(truth)}
    if seen is not None and known is not None:
        place = target_ranks(seen, known).double()
        found |= {"feature_rank": place.mean().item(), "feature_first": (place == 1).double().mean().item()}
    return found


def agreement(
    made: Tensor, source: Dataset, target: Dataset, space: FeatureSpace | None, seen: Tensor | None
) -> MetricValues:
    """Share of translations that have the label of their source, and who says so; nothing where there are no labels.

    A classifier, where the features are one's and know the labels; else the nearest target other than the right answer,
    if both domains have the same classes.
    """
    if space is not None and seen is not None:
        labels = classifier_labels(space.classes, source) if space.head is not None else None
        if labels is not None:
            return {"label_agreement": classified(space.logits(seen), labels), "labels_by": space.tag}
    if source.labels is None or target.labels is None or source.classes != target.classes:
        return {}
    (made, truth), right = comparable_values(target, made, target.x), 0
    for part in (slice(0, None, 2), slice(1, None, 2)):  # judged by the half that does not hold the answer
        rest = slice(1 - (part.start or 0), None, 2)
        found = nearest_labels(made[part], truth[rest], target.labels[rest])
        right += int((found == source.labels[part]).sum())
    return {"label_agreement": right / len(made), "labels_by": "nearest target"}


def angle_metrics(made: Tensor, target: Dataset) -> MetricValues:
    """Errors of angles, where the target's classes are named after such, and of real targets: the reader's own.

    The angle of an example is that of the nearest real target but its own right answer: RMSE in degrees, correlation.
    """
    by_class = None if target.labels is None else class_angles(target.classes)
    if by_class is None or target.labels is None:
        return {}
    made, truth = comparable_values(target, made, target.x)
    found: MetricValues = {}
    for name, x in (("", made), (":floor", truth)):
        rmse, correlation = angle_errors(x, truth, by_class[target.labels])
        found |= {f"angle_rmse{name}": rmse * 180 / pi, f"angle_correlation{name}": correlation}
    return found


def translate_examples(trained: Trained, x: Tensor, to: str, progress: Progress = lambda line: None) -> Tensor:
    """Translations of bytes or vectors, pixels from 0 to 1; where they take long, how long is left."""
    if x.ndim == 2:
        return trained.translate_vectors(x, to)
    tell, made = generated.report_remaining_time(f"translations to {to}", progress), []
    for start in range(0, len(x), TOGETHER):
        made.append(trained.translate_pixels(x[start : start + TOGETHER].float() / 255, to))
        tell(min(start + TOGETHER, len(x)), len(x))
    return torch.cat(made)


def to_unit_range(x: Tensor) -> Tensor:
    """Examples of a collection, pixels from 0 to 1."""
    return x.float() / 255 if x.dtype == torch.uint8 else x


def comparable_values(domain: Dataset, *examples: Tensor) -> tuple[Tensor, ...]:
    """Examples of a domain as errors compare them: pixels from 0 to 1, with alpha on black and white, or deviations."""
    if domain.has_images:
        return tuple(composite_backgrounds(to_unit_range(x)) for x in examples)
    units = Scaling.fit(domain.x)
    return tuple(units(x) for x in examples)
