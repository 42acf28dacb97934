"""The numbers of a translator: round trips, distances to the other domain, and errors where pairs exist.

Pixels count from 0 to 1, those with alpha on black and on white; vectors in deviations of their domain.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import pi
from pathlib import Path

import torch
from torch import Tensor

from ..data import Collection, NoSplit, Pair, Scaling, Sources, View, apart, load, load_all, whole, with_range
from ..data.scaling import backgrounds
from ..diagnostics import of_translator
from ..errors import UserError
from ..inference.trained import Trained
from ..metrics.classes import agreement as classified
from ..metrics.features import Features, features_for
from ..metrics.fidelity import psnr, ssim
from ..metrics.likelihood import mean_and_error
from ..metrics.pairs import absolute_errors, angle_errors, angles_of, nearest_labels, ranks
from ..model import Batch, PairBatch, device_of, name_of
from ..models._translator import Translator, other
from ..randomness import reseed
from . import samples as generated
from .classes import of_classifier
from .samples import UNREAD, Numbers

TOGETHER = 32
"""images that are translated at once"""
TRIED = 64
"""examples of each domain whose round trips are tried with noise"""
OF_TRANSLATIONS = ("kid", "fid", "prdc", "two-sample", "duplicates", "ms-ssim", "sliced-wasserstein")
"""metrics of translations against their domain; the last is always there, of the others kid unless told otherwise"""
BETTER = 0.8
"""share of its input's distance to the target domain that a translation has to go below to count as moved"""
Progress = Callable[[str], None]


def measured(
    trained: Trained,
    data: Sources | None,
    view: View | None,
    pairs: Sources | None,
    metrics: Sequence[str],
    n: int,
    features: str,
    few: bool,
    seed: int,
    progress: Progress,
) -> Numbers:
    """All numbers of a translator; `n` examples of each domain at most, drawn by the seed."""
    model = trained.model
    assert isinstance(model, Translator)
    domains, split = held_out(trained, data, view)
    some = [part.some(n, seed, "examples", home) for part, home in zip(domains.parts, "AB", strict=True)]
    if min(map(len, some)) < 2:
        raise UserError(
            "translations are compared with half of their domain, and it with its other half: give 2 examples of each "
            "domain or more"
        )
    device = device_of(trained.nets)
    spaces = {
        to: features_for(features, part.shape, data=part.name, device=device, units=Scaling.of(part.x))
        for to, part in zip("AB", some, strict=True) if to in trained.directions
    }  # fmt: skip
    if "fid" in metrics:
        for to, space in spaces.items():
            generated.enough(room(some["BA".index(to)], some["AB".index(to)]), space, few)
    truth = None if pairs is None else aligned(trained, pairs, view)
    result: Numbers = {
        "model": name_of(model), "step": trained.about.get("step"), "data": domains.name, "split": split, "seed": seed,
        "examples": [len(part) for part in some],
    }  # fmt: skip
    progress("round trips")
    seen = tried(trained, model, some, seed)
    for home, away in (("A", "B"), ("B", "A")):
        if away not in trained.directions:
            continue
        progress(f"translations to {away}")
        source, target = (some["AB".index(domain)] for domain in (home, away))
        s, found = one_way(trained, source, target, away, spaces[away], seed, progress)
        result[f"to {away}"] = found | of_translations(s, metrics, few, seed)
        seen |= {
            f"accuracy_{away}": float(
                result[f"to {away}"]["distance"] > BETTER * result[f"to {away}"].get("before", 9e9)
            )
        }
    result["round trip"] = {k: v for k, v in seen.items() if not k.startswith("accuracy")}
    result["signs"] = [found.sentence for found in of_translator(model, [{"step": 200, "game": seen}], 1)]
    if truth is not None:
        result["pairs"] = with_truth(trained, truth, features, progress)
    return result


def check(trained: Trained, metrics: Sequence[str], few: bool, others: dict[str, object]) -> None:
    """UserError for options that a translator has no use for: metrics of other models, and `others` that were given."""
    name = name_of(trained.model)
    for metric in metrics:
        if metric not in OF_TRANSLATIONS:
            raise UserError(f"{metric} cannot be measured of this {name}: it has {', '.join(OF_TRANSLATIONS)}")
    given = [option for option, value in others.items() if value is not None]
    if given:
        raise UserError(f"this {name} translates, and has no use for {' and '.join(given)}: leave out {given[0]}")
    if few and "fid" not in metrics:
        raise UserError(
            "few is about the Frechet distance, which is not measured: ask for the metric fid, or leave it out"
        )


def held_out(trained: Trained, data: Sources | None, view: View | None) -> tuple[Pair, str]:
    """The two domains to measure on: those given, or the test split of the run's own, or what it has learnt from.

    The last only where a domain has no test split: one that cannot be read is an error.
    """
    if data is not None:
        return fitting(trained, data, whole(view)), "given"
    origin = trained.origins()
    if origin is None:
        where = trained.folder or "the weights file"
        raise UserError(f"{where} does not say where the model's data are: give both domains")
    sources, own = origin
    try:
        if own.split == "test":
            raise NoSplit("the run was trained on the test split")
        return fitting(trained, sources, replace(own, split="test")), "test"
    except NoSplit:
        return fitting(trained, sources, own), "train"
    except UserError as error:
        raise UserError(f"{UNREAD}: {str(error).rstrip('.')}; or give other data") from error


def fitting(trained: Trained, sources: Sources, view: View) -> Pair:
    """Both domains, with the size and channels that the model was trained on; UserError where they are no such."""
    sources = apart(sources)
    if not isinstance(sources, tuple):
        raise UserError(f"this {name_of(trained.model)} has two domains: give both, A and B")
    parts = []
    for domain, (source, shape) in enumerate(zip(sources, trained.shape, strict=False)):
        asked = with_range(source, view, trained.about, domain)
        if len(shape) == 3 and isinstance(source, str | Path):
            asked = replace(asked, size=f"{shape[1]}x{shape[2]}", channels=shape[0])
        parts.append(load(source, asked))
    pair = load_all(tuple(parts))
    assert isinstance(pair, Pair)
    if pair.shape != trained.shape:
        raise UserError(f"{pair.name} has examples of {pair.shape}, but this model was trained on {trained.shape}")
    return pair


def tried(trained: Trained, model: Translator, some: list[Collection], seed: int) -> dict[str, float]:
    """What `Translator.observe` sees on a few examples."""
    n = min(TRIED, *map(len, some))
    batch = PairBatch(*(Batch(trained.inputs(part.x[:n], i)) for i, part in enumerate(some)))
    device = next(trained.nets.parameters()).device
    reseed(device, seed, "observe")
    return {k: v.item() for k, v in model.observe(batch.to(device), **trained.nets).items()}


def room(source: Collection, target: Collection) -> int:
    """How many translations are compared with as many of the target domain, which is halved for the floor."""
    return min(len(target) // 2, len(source))


def one_way(
    trained: Trained, source: Collection, target: Collection, to: str, space: Features, seed: int, progress: Progress
) -> tuple[generated.Sides, Numbers]:
    """Error of the round trip, and the distance from translations to half of the target domain beside its floor."""
    made = values(trained, source.x, to, progress)
    found: Numbers = {}
    if other(to) in trained.directions:
        back = values(trained, made * 255 if source.are_images else made, other(to), progress)
        far = absolute_errors(*seen_as(source, back, source.x))
        found["cycle_error"], found["cycle_error:error"] = mean_and_error(far)
    n = room(source, target)
    whole = bytes_of(made) if target.are_images else made
    half, rest, new = (
        target.at(slice(n)),
        target.at(slice(n, 2 * n)),
        replace(target.at(slice(n)), x=whole[:n], name="translations"),
    )
    s = generated.Sides(
        half, rest, new, space, *(generated.features_of(part, space, progress) for part in (half, rest, new))
    )
    found |= {"features": space.tag, "compared": n}
    sliced = generated.sliced(s, seed)
    found |= {"distance": sliced["sliced_wasserstein"], "distance:floor": sliced["sliced_wasserstein:floor"]}
    if source.shape == target.shape:
        x = source.x[:n]
        as_is = replace(s, made=replace(s.made, x=x), of_made=s.of_made if source.are_images else space(x))
        found["before"] = generated.sliced(as_is, seed)["sliced_wasserstein"]
    return s, found


def of_translations(s: generated.Sides, metrics: Sequence[str], few: bool, seed: int) -> Numbers:
    """The metrics asked for, or kid; "left_out" says why that is not there, unless it was asked for by name."""
    measures: dict[str, Callable[[], Numbers]] = {
        "kid": lambda: generated.kid(s), "fid": lambda: generated.fid(s, few), "prdc": lambda: generated.prdc(s),
        "two-sample": lambda: generated.two_sample(s), "duplicates": lambda: generated.repeated(s),
        "ms-ssim": lambda: generated.diversity(s, seed), "sliced-wasserstein": dict,
    }  # fmt: skip
    return generated.chosen_of(measures, metrics or OF_TRANSLATIONS[:1], bool(metrics))


def aligned(trained: Trained, pairs: Sources, view: View | None) -> Pair:
    """Two domains in which example i of A belongs to example i of B; UserError where they cannot be such.

    Where nothing is said of them, they are the test split, if there is one.  None is held out by its content, which
    would part examples that belong together.
    """
    try:
        found = fitting(trained, pairs, replace(view or View(split="test"), holdout=0.0))
    except NoSplit:
        found = fitting(trained, pairs, replace(view or View(), holdout=0.0))
    if len(found.a) != len(found.b):
        raise UserError(
            f"pairs need as many examples in both domains, in one order: {found.a.name} has {len(found.a)}, "
            f"{found.b.name} {len(found.b)}"
        )
    return found


def with_truth(trained: Trained, pair: Pair, features: str, progress: Progress) -> Numbers:
    """Errors against the right answers, each way, and beside them those of leaving the input as it is."""
    result: Numbers = {"examples": len(pair.a), "data": pair.name}
    for away, source, target in (("B", pair.a, pair.b), ("A", pair.b, pair.a)):
        if away not in trained.directions:
            continue
        progress(f"errors of translations to {away}")
        made, space = values(trained, source.x, away, progress), None
        seen, known, tag = None, None, {}
        if target.are_images:
            space = features_for(features, target.shape, data=target.name, device=device_of(trained.nets))
            each = (replace(target, x=bytes_of(made), name="translations"), target)
            seen, known = (generated.features_of(part, space, progress) for part in each)
            tag = {"features": space.tag}
        result[f"to {away}"] = errors(made, target, seen, known) | agreement(made, source, target, space, seen)
        result[f"to {away}"] |= angles(made, target) | tag
        if source.shape == target.shape:
            before = None if space is None else generated.features_of(source, space, progress)
            result[f"to {away}"]["unchanged"] = errors(pixels(source.x), target, before, known) | tag
    return result


def bytes_of(made: Tensor) -> Tensor:
    """Pixels from 0 to 1 as bytes."""
    return (made * 255).round().to(torch.uint8)


def errors(made: Tensor, target: Collection, seen: Tensor | None = None, known: Tensor | None = None) -> Numbers:
    """L1, PSNR (of the mean square error of all pairs), SSIM, and the place of the right answer among all targets.

    A rank of 1 is best, of half of the targets chance.  Places go by Euclidean distance of pixels or vectors and, of
    images, also of features, where those of translations (`seen`) and of targets (`known`) are given.
    """
    made, truth = seen_as(target, made, target.x)
    place = ranks(made, truth).double()
    found: Numbers = {"l1": absolute_errors(made, truth).mean().item()}
    if target.are_images:
        found |= {"psnr_db": psnr(made[None], truth[None]).item(), "ssim": ssim(made, truth).mean().item()}
    found |= {"rank": place.mean().item(), "rank_median": place.median().item()}
    found |= {"first": (place == 1).double().mean().item(), "of": len(truth)}
    if seen is not None and known is not None:
        place = ranks(seen, known).double()
        found |= {"feature_rank": place.mean().item(), "feature_first": (place == 1).double().mean().item()}
    return found


def agreement(
    made: Tensor, source: Collection, target: Collection, space: Features | None, seen: Tensor | None
) -> Numbers:
    """Share of translations that have the label of their source, and who says so; nothing where there are no labels.

    A classifier, where the features are one's and know the labels; else the nearest target other than the right answer,
    if both domains have the same classes.
    """
    if space is not None and seen is not None:
        labels = of_classifier(space.classes, source) if space.head is not None else None
        if labels is not None:
            return {"label_agreement": classified(space.logits(seen), labels), "labels_by": space.tag}
    if source.labels is None or target.labels is None or source.classes != target.classes:
        return {}
    (made, truth), right = seen_as(target, made, target.x), 0
    for part in (slice(0, None, 2), slice(1, None, 2)):  # judged by the half that does not hold the answer
        rest = slice(1 - (part.start or 0), None, 2)
        found = nearest_labels(made[part], truth[rest], target.labels[rest])
        right += int((found == source.labels[part]).sum())
    return {"label_agreement": right / len(made), "labels_by": "nearest target"}


def angles(made: Tensor, target: Collection) -> Numbers:
    """Errors of angles, where the target's classes are named after such, and of real targets: the reader's own.

    The angle of an example is that of the nearest real target but its own right answer: RMSE in degrees, correlation.
    """
    by_class = None if target.labels is None else angles_of(target.classes)
    if by_class is None or target.labels is None:
        return {}
    made, truth = seen_as(target, made, target.x)
    found: Numbers = {}
    for name, x in (("", made), (":floor", truth)):
        rmse, correlation = angle_errors(x, truth, by_class[target.labels])
        found |= {f"angle_rmse{name}": rmse * 180 / pi, f"angle_correlation{name}": correlation}
    return found


def values(trained: Trained, x: Tensor, to: str, progress: Progress = lambda line: None) -> Tensor:
    """Translations of bytes or vectors, pixels from 0 to 1; where they take long, how long is left."""
    if x.ndim == 2:
        return trained.vectors(x, to)
    tell, made = generated.timed(f"translations to {to}", progress), []
    for start in range(0, len(x), TOGETHER):
        made.append(trained.pixels(x[start : start + TOGETHER].float() / 255, to))
        tell(min(start + TOGETHER, len(x)), len(x))
    return torch.cat(made)


def pixels(x: Tensor) -> Tensor:
    """Examples of a collection, pixels from 0 to 1."""
    return x.float() / 255 if x.dtype == torch.uint8 else x


def seen_as(domain: Collection, *examples: Tensor) -> tuple[Tensor, ...]:
    """Examples of a domain as errors compare them: pixels from 0 to 1, with alpha on black and white, or deviations."""
    if domain.are_images:
        return tuple(backgrounds(pixels(x)) for x in examples)
    units = Scaling.of(domain.x)
    return tuple(units(x) for x in examples)
