"""The numbers of a translator: round trips, distances to the other domain, and errors where pairs exist.

Pixels count from 0 to 1, vectors in their own units.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ..artifact import Trained
from ..data import Collection, Pair, Sources, View, load, load_all
from ..doctor import of_translator
from ..errors import UserError
from ..features import features_for
from ..metrics.classes import agreement as classified
from ..metrics.fidelity import psnr, ssim
from ..metrics.likelihood import mean_and_error
from ..metrics.pairs import absolute_errors, nearest_labels, ranks
from ..model import Batch, PairBatch, device_of, name_of
from ..models.translation import Translator, other
from ..randomness import reseed
from . import samples as generated
from .classes import of_classifier
from .samples import Numbers

TRIED = 64
"""examples of each domain whose round trips are tried with noise"""
BETTER = 0.8
"""share of its input's distance to the target domain that a translation has to go below to count as moved"""
Progress = Callable[[str], None]


def measured(
    trained: Trained,
    data: Sources | None,
    view: View | None,
    pairs: Sources | None,
    n: int,
    features: str,
    seed: int,
    progress: Progress,
) -> Numbers:
    """All numbers of a translator; `n` examples of each domain at most, drawn by the seed."""
    model = trained.model
    assert isinstance(model, Translator)
    domains, split = held_out(trained, data, view)
    some = [part.some(n, seed, "examples", home) for part, home in zip(domains.parts, "AB", strict=True)]
    result: Numbers = {
        "model": name_of(model), "step": trained.about.get("step"), "data": domains.name, "split": split, "seed": seed,
        "examples": [len(part) for part in some],
    }  # fmt: skip
    seen = tried(trained, model, some, seed)
    for home, away in (("A", "B"), ("B", "A")):
        if away not in trained.directions:
            continue
        progress(f"translations to {away}")
        source, target = (some["AB".index(domain)] for domain in (home, away))
        result[f"to {away}"] = one_way(trained, source, target, away, features, seed)
        seen |= {
            f"accuracy_{away}": float(
                result[f"to {away}"]["distance"] > BETTER * result[f"to {away}"].get("before", 9e9)
            )
        }
    result["round trip"] = {k: v for k, v in seen.items() if not k.startswith("accuracy")}
    result["signs"] = [found.sentence for found in of_translator(model, seen, 200, 1)]
    if pairs is not None:
        result["pairs"] = with_truth(trained, aligned(trained, pairs, view), features, progress)
    return result


def held_out(trained: Trained, data: Sources | None, view: View | None) -> tuple[Pair, str]:
    """The two domains to measure on: those given, or the test split of the run's own, or what it has learnt from."""
    if data is not None:
        return fitting(trained, data, view or View()), "given"
    origin = trained.origins()
    if origin is None:
        where = trained.folder or "the weights file"
        raise UserError(f"{where} does not say where the model's data are: give both domains")
    sources, own = origin
    try:
        return fitting(trained, sources, replace(own, split="test")), "test"
    except UserError:
        return fitting(trained, sources, own), "train"


def fitting(trained: Trained, sources: Sources, view: View) -> Pair:
    """Both domains, with the size and channels that the model was trained on; UserError where they are no such."""
    if not isinstance(sources, tuple):
        raise UserError(f"this {name_of(trained.model)} has two domains: give both, A and B")
    parts = []
    for source, shape in zip(sources, trained.shape, strict=False):
        asked = view
        if len(shape) == 3 and isinstance(source, str | Path):
            asked = replace(view, size=f"{shape[1]}x{shape[2]}", channels=shape[0])
        parts.append(load(source, asked))
    pair = load_all(tuple(parts))
    assert isinstance(pair, Pair)
    if pair.shape != trained.shape:
        raise UserError(f"{pair.name} has examples of {pair.shape}, but this model was trained on {trained.shape}")
    return pair


def tried(trained: Trained, model: Translator, some: list[Collection], seed: int) -> dict[str, float]:
    """What `Translator.observe` sees on a few examples."""
    n = min(TRIED, *map(len, some))
    batch = PairBatch(*(Batch(trained.inputs(part.x[:n])) for part in some))
    device = next(trained.nets.parameters()).device
    reseed(device, seed, "observe")
    return {k: v.item() for k, v in model.observe(batch.to(device), **trained.nets).items()}


def one_way(trained: Trained, source: Collection, target: Collection, to: str, features: str, seed: int) -> Numbers:
    """Error of the round trip, and the distance from translations to half of the target domain beside its floor."""
    made = values(trained, source.x, to)
    found: Numbers = {}
    if other(to) in trained.directions:
        back = values(trained, made * 255 if source.are_images else made, other(to))
        found["cycle_error"], found["cycle_error:error"] = mean_and_error(absolute_errors(back, unit(source.x)))
    n = min(len(target) // 2, len(made))
    bytes_of = (made * 255).round().to(torch.uint8) if target.are_images else made
    space = features_for(features, target.shape, data=target.name, device=device_of(trained.nets))
    half, rest, new = target.at(slice(n)), target.at(slice(n, 2 * n)), replace(target.at(slice(n)), x=bytes_of[:n])
    s = generated.Sides(half, rest, new, space, *(space(part.x) for part in (half, rest, new)))
    found |= {"features": space.tag, "compared": n} | generated.kid(s)
    sliced = generated.sliced(s, seed)
    found |= {"distance": sliced["sliced_wasserstein"], "distance:floor": sliced["sliced_wasserstein:floor"]}
    if source.shape == target.shape:
        as_is = replace(s, made=replace(target.at(slice(n)), x=source.x[:n]))
        found["before"] = generated.sliced(as_is, seed)["sliced_wasserstein"]
    return found


def aligned(trained: Trained, pairs: Sources, view: View | None) -> Pair:
    """Two domains in which example i of A belongs to example i of B; UserError where they cannot be such.

    Where nothing is said of them, they are the test split, if there is one.
    """
    try:
        found = fitting(trained, pairs, view or View(split="test"))
    except UserError:
        found = fitting(trained, pairs, view or View())
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
        made = values(trained, source.x, away)
        result[f"to {away}"] = errors(made, target) | agreement(trained, made, source, target, features)
        if source.shape == target.shape:
            result[f"to {away}"]["unchanged"] = errors(unit(source.x), target)
    return result


def errors(made: Tensor, target: Collection) -> Numbers:
    """L1, PSNR (of the mean square error of all pairs), SSIM, and the place of the right answer among all targets.

    A rank of 1 is best, of half of the targets chance.
    """
    truth = unit(target.x)
    place = ranks(made, truth)
    found: Numbers = {"l1": absolute_errors(made, truth).mean().item()}
    if target.are_images:
        found |= {"psnr_db": psnr(made[None], truth[None]).item(), "ssim": ssim(made, truth).mean().item()}
    found |= {"rank": place.double().mean().item(), "rank_median": place.double().median().item()}
    return found | {"first": (place == 1).double().mean().item(), "of": len(truth)}


def agreement(trained: Trained, made: Tensor, source: Collection, target: Collection, features: str) -> Numbers:
    """Share of translations that have the label of their source, and who says so; nothing where there are no labels.

    A classifier, where the features are one's and know the labels; else the nearest target other than the right answer,
    if both domains have the same classes.
    """
    if target.are_images:
        space = features_for(features, target.shape, data=target.name, device=device_of(trained.nets))
        labels = of_classifier(space.classes, source) if space.head is not None else None
        if labels is not None:
            logits = space.logits(space((made * 255).round().to(torch.uint8)))
            return {"label_agreement": classified(logits, labels), "labels_by": space.tag}
    if source.labels is None or target.labels is None or source.classes != target.classes:
        return {}
    truth, right = unit(target.x), 0
    for part in (slice(0, None, 2), slice(1, None, 2)):  # judged by the half that does not hold the answer
        rest = slice(1 - (part.start or 0), None, 2)
        found = nearest_labels(made[part], truth[rest], target.labels[rest])
        right += int((found == source.labels[part]).sum())
    return {"label_agreement": right / len(made), "labels_by": "nearest target"}


def values(trained: Trained, x: Tensor, to: str) -> Tensor:
    """Translations of bytes or vectors, pixels from 0 to 1."""
    if x.ndim == 2:
        return trained.mapped(to, x)
    return torch.cat([trained.pixels(part.float() / 255, to) for part in x.split(256)])


def unit(x: Tensor) -> Tensor:
    """Examples of a collection, pixels from 0 to 1."""
    return x.float() / 255 if x.dtype == torch.uint8 else x
