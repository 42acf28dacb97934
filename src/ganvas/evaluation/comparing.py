"""Several models' samples against the same held-out examples: numbers, intervals, and which is the best for certain."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite

import torch
from jaxtyping import Float64
from torch import Tensor

from ..data import Dataset
from ..errors import UserError, check_positive
from ..inference.trained import Trained
from ..metrics import jackknife
from ..metrics.jackknife import RESAMPLES, Score
from ..metrics.neighbours import NeighbourIndex, build_indexes, expected_copy_rate, nearest_distances
from . import EvaluationData
from .samples import (
    NO_TRAIN,
    Comparison,
    MetricValues,
    build_comparison,
    check_sample_size,
    extract_features,
    find_mixture,
    generate_like,
    prepare_comparison,
)

COMPARABLE_METRICS = (
    "fid", "kid", "prdc", "two-sample", "memorisation", "duplicates", "sliced-wasserstein", "classes", "distances",
    "modes",
)  # fmt: skip
"""metrics that are compared, as `evaluate` calls them"""
OF_VECTORS = ("distances", "modes")
METRIC_DIRECTIONS = {
    "fid": -1, "kid": -1, "precision": 1, "recall": 1, "density": 1, "coverage": 1, "two_sample": -1,
    "nearer_to_training": 0, "memorised": 0, "duplicates": 0, "sliced_wasserstein": -1, "classifier_score": 1,
    "energy": -1, "modes_captured": 1, "high_quality": 1, "reverse_kl": -1,
}  # fmt: skip
"""whether more is better, or less; 0 where a low number is no merit: blur neither copies nor repeats"""
OF_EXAMPLES = ("sliced_wasserstein", "energy", "modes_captured", "high_quality", "reverse_kl")
"""numbers that are taken on examples themselves, not on features"""
SHARES = (
    "precision", "recall", "coverage", "two_sample", "nearer_to_training", "memorised", "duplicates", "high_quality",
)  # fmt: skip
"""numbers from 0 to 1"""
LEAST = {"kid": -inf, "classifier_score": 1.0}
"""what a number cannot be less than, 0 unless it says otherwise here"""
NONE_SEEN = 3.0
"""a share of n examples none of which has a property may be so many n-ths: at 95%, e^-3 = 0.05"""
LEVEL = 0.95
"""probability that an interval is to have"""
DIRECTIONS = 1000
"""of the sliced Wasserstein distance"""


@dataclass(frozen=True, eq=False)
class ComparisonEntry:
    """A model to compare, with the prior that its codes are drawn from and what it has learnt from, where known."""

    trained: Trained
    prior: str | None
    train: Dataset | None


def compare_entries(
    entries: Sequence[ComparisonEntry],
    on: EvaluationData,
    chosen: Sequence[str],
    n: int,
    features: str,
    few: bool,
    seed: int,
    progress: Callable[[str], None],
) -> MetricValues:
    """The numbers of each entry and of other real examples, the floor, with intervals; see `ganvas.compare`."""
    for name in chosen:
        if name not in COMPARABLE_METRICS:
            raise UserError(f"{name} is not compared: there are {', '.join(COMPARABLE_METRICS)}")
    held_out, other = on.split_real(seed)
    first, *rest = entries
    n = check_positive(n, "n")
    *_, common = (prepare_comparison(e.trained, held_out, other, n, features, e.prior) for e in reversed(entries))
    n = common.n
    if "fid" in chosen:
        check_sample_size(n, common.space, few)
    progress(f"{n} samples of each, and their features{common.note}")
    start = build_comparison(first.trained, common, first.prior, seed, progress)
    made = [start.fake, *(generate_like(e.trained, common.other, n, e.prior, seed) for e in rest)]
    of_made = [start.fake_features, *(extract_features(x, start.space, progress) for x in made[1:])]
    asked = tuple(chosen) or tuple(m for m in COMPARABLE_METRICS if (m in OF_VECTORS) <= (not held_out.has_images))
    left_out: dict[str, str] = {}
    far = []
    if "memorisation" in asked and any(e.train is None for e in entries):
        if chosen:
            raise UserError(NO_TRAIN)
        left_out["memorisation"] = NO_TRAIN
    elif "memorisation" in asked:
        far = distances_to_training(start, entries, of_made, progress)
    real, *others = build_indexes(start.held_out_features, *of_made, start.other_features)
    found = []
    sides = zip((*made, start.other), (*of_made, start.other_features), others, strict=True)
    for i, (x, features_, space) in enumerate(sides):
        progress(f"numbers of {'the floor' if i == len(made) else f'model {i + 1} of {len(made)}'}")
        s = replace(start, fake=x, fake_features=features_)
        found.append(scores(s, real, space, far[i] if i < len(far) else None, asked, few, bool(chosen), left_out, seed))
    drawn = [
        dict(zip(each, jackknife.bootstrap(list(each.values()), seed, i).unbind(1), strict=True))
        for i, each in enumerate(found)
    ]
    tables = [
        {tagged(name, start): confidence_interval(name, s.value, resamples[name], n) for name, s in each.items()}
        for each, resamples in zip(found, drawn, strict=True)
    ]
    if far:  # by definition, so without an interval; of runs that have learnt from different data, the largest
        copy_rate = max(expected_copy_rate(usual) for usual, _ in far)
        for name, value in (("nearer_to_training", 0.5), ("memorised", copy_rate)):
            tables[-1][tagged(name, start)] = {"value": value, "low": None, "high": None}
    return {
        "samples": n, "features": start.space.tag, "floor_from": "halves" if on.train is None else "train",
        "protocol": f"{start.space.protocol}; averaged weights, no truncation",
        "resamples": RESAMPLES, "level": LEVEL, "numbers": tables[:-1], "floor": tables[-1],
        "best": {tagged(name, start): best(name, found[:-1], drawn[:-1]) for name in found[0]},
        "left_out": left_out,
    }  # fmt: skip


def tagged(name: str, s: Comparison) -> str:
    """The number's name with its features', if it is taken on them."""
    return name if name in OF_EXAMPLES else f"{name}:{s.space.tag}"


def distances_to_training(
    s: Comparison, entries: Sequence[ComparisonEntry], of_made: Sequence[Tensor], progress: Callable[[str], None]
) -> list[tuple[Tensor, Tensor]]:
    """How far held-out and each entry's generated examples are from what it has learnt, on features."""
    known: dict[str, tuple[Tensor, Tensor]] = {}
    found = []
    for entry, made in zip(entries, of_made, strict=True):
        assert entry.train is not None
        key = entry.train.fingerprint()
        if key not in known:
            seen = extract_features(entry.train, s.space, progress)
            reference, real = (p.x for p in build_indexes(seen, s.held_out_features))
            known[key] = seen, nearest_distances(real, reference)[0]
        seen, usual = known[key]
        reference, generated = (p.x for p in build_indexes(seen, made))
        found.append((usual, nearest_distances(generated, reference)[0]))
    return found


def scores(
    s: Comparison, real: NeighbourIndex, made: NeighbourIndex, far: tuple[Tensor, Tensor] | None,
    chosen: Sequence[str], few: bool,
    asked: bool, left_out: dict[str, str], seed: int,
) -> dict[str, Score]:  # fmt: skip
    """The chosen numbers of one side; `excluded_notes` says why one is not there, unless it was asked for by name."""
    n = len(s.held_out_features)

    def fid() -> Score:
        check_sample_size(n, s.space, few)
        return jackknife.frechet_score(s.held_out_features, s.fake_features)

    def memorisation() -> dict[str, Score]:
        return {} if far is None else jackknife.memorisation_scores(*far)

    def sliced() -> Score:
        a, b, _ = (x / s.held_out.value_scale for x in s.raw_values)
        return jackknife.sliced_score(a, b, DIRECTIONS, seed)

    def classes() -> Score:
        if s.space.head is None:
            raise UserError(f"a classifier's score needs features that classify, which {s.space.name} do not")
        return jackknife.classifier_scores(s.space.logits(s.fake_features), n)

    def modes() -> dict[str, Score]:
        centres, sigma = find_mixture(s.held_out)
        return jackknife.mode_scores(s.fake.x, centres, sigma, n)

    measures: dict[str, Callable[[], Score | dict[str, Score]]] = {
        "fid": fid, "kid": lambda: jackknife.kernel_score(s.held_out_features, s.fake_features),
        "prdc": lambda: jackknife.prdc_scores(real, made),
        "two-sample": lambda: jackknife.two_sample_score(real, made),
        "memorisation": memorisation, "duplicates": lambda: jackknife.duplicates_score(real, made),
        "sliced-wasserstein": sliced, "classes": classes, "modes": modes,
        "distances": lambda: jackknife.energy_score(*s.raw_values[:2]),
    }  # fmt: skip
    names = {"classes": "classifier_score", "distances": "energy"}
    result: dict[str, Score] = {}
    for name in chosen:
        try:
            found = measures[name]()
            result |= found if isinstance(found, dict) else {names.get(name, name.replace("-", "_")): found}
        except UserError as error:
            if asked:
                raise
            left_out[name] = str(error)
    return result


def confidence_interval(name: str, value: float, resamples: Float64[Tensor, " b"], n: int) -> MetricValues:
    """A number of n samples with the interval in which the middle 95% of its resamples lie, as far as it can go.

    Where no example differs from any other, resamples say nothing: the rule of three has the interval of a share of 0.
    """
    if not isfinite(value):
        return {"value": None, "low": None, "high": None}
    low, high = resamples.quantile(torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2]).double()).tolist()
    if name == "energy":  # its square was resampled
        value, low, high = (max(0.0, x) ** 0.5 for x in (value, low, high))
    if name in SHARES:
        high = max(high, NONE_SEEN / n) if value == 0 else high
        low = min(low, 1 - NONE_SEEN / n) if value == 1 else low
    least, most = LEAST.get(name, 0.0), 1.0 if name in SHARES else inf
    return {"value": value, "low": min(max(low, least), most), "high": min(max(high, least), most)}


def best(name: str, found: Sequence[dict[str, Score]], drawn: Sequence[dict[str, Tensor]]) -> int | None:
    """The number of the model that is better than every other: None where an interval of a difference holds 0.

    Differences are paired: in each resample both models are measured against the same held-out examples.
    """
    better = METRIC_DIRECTIONS[name]
    there = [i for i, each in enumerate(found) if name in each and isfinite(each[name].value)]
    if not better or len(there) < 2:
        return None
    first = max(there, key=lambda i: better * found[i][name].value)
    worst = min((better * (drawn[first][name] - drawn[i][name])).quantile((1 - LEVEL) / 2).item()
                for i in there if i != first)  # fmt: skip
    return first if worst > 0 else None


__all__ = ["COMPARABLE_METRICS", "ComparisonEntry", "compare_entries"]
