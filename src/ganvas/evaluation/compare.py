"""`ganvas.compare`: several runs on the same held-out data, each number with its interval, and which is the best.

Intervals are those of resamples of the examples (Efron, Bootstrap Methods, 1979).  One with weights w has the number
value + mean of w_i psi_i over either set, to first order, psi the influence terms of a `Score`.  So features, distances
and decompositions are computed once, whatever the number of resamples, which have none of the bias that repeated
examples bring to distances and nearest neighbours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from math import isfinite
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float64
from torch import Tensor

from ..data import DataOptions, Source
from ..distributions.priors import STANDARD
from ..errors import UserError, check_positive, did_you_mean
from ..inference.loading import load_matching
from ..inference.trained import Trained, load_trained
from ..metrics import METRICS, NUMBERS, Number, Score
from ..metrics.features.base import Progress, say_nothing
from ..model import GenerativeModel, model_name, model_name_with_article
from ..nn.device import resolve_device
from ..randomness import make_generator
from ..training import run_records
from .held_out import EvaluationData, load_evaluation_data
from .samples import MetricValues, Settings, compute_entries, draw_comparisons, prepare_comparison

COMPARABLE_METRICS = tuple(name for name, metric in METRICS.items() if metric.numbers)
"""metrics whose numbers have intervals, as `evaluate` calls them"""
Run = Trained | str | Path | tuple[Trained, str | None]
"""a run to compare: itself, its name, NAME@PRIOR, or with the fitted prior that its codes are to be drawn from"""
RESAMPLES = 1000
RESAMPLES_PER_CHUNK = 50
"""resamples that are drawn at once"""
RULE_OF_THREE = 3.0
"""a share of n examples none of which has a property may be so many n-ths: at 95%, e^-3 = 0.05"""
LEVEL = 0.95
"""probability that an interval is to have"""


class ComparedRun(NamedTuple):
    """A run, its name in a table, and the prior that its codes are drawn from, if not its own."""

    name: str
    trained: Trained
    prior: str | None


def compare(
    *runs: Run,
    data: Source | None = None,
    options: DataOptions | None = None,
    metrics: Sequence[str] = (),
    n: int | None = None,
    features: str = "auto",
    allow_few: bool = False,
    seed: int = 0,
    progress: Progress = say_nothing,
) -> MetricValues:
    """Measure two or more runs of any kind on the same held-out examples, n samples (10,000) each, by the same seed.

    A run is a trained model, a folder or a name, or with a fitted prior "runs/ae@best" or (trained, "best").  The
    examples are those of `data`, or the test split that all runs have; `metrics` (some of `COMPARABLE_METRICS`),
    `features` and `allow_few` are those of `evaluate`.

    "runs" says of each its costs ("parameters" of the networks that generate, "step" of its weights, "seconds" of
    training) and its "numbers", {"value", "low", "high"}: the ends of a 95% interval from 1,000 resamples of the
    examples, held-out and generated.  "floor" has those of as many other real examples, and "best" for each number the
    index in "runs" of the one that is better than all others, where the interval of each difference excludes 0, or
    None.  Raises UserError for runs that cannot be compared, and as `evaluate` does.
    """
    entries = load_runs(runs)
    check_comparable(entries)
    for name in metrics:
        if name not in COMPARABLE_METRICS:
            hint = did_you_mean(name, COMPARABLE_METRICS)
            raise UserError(f"{name} is not compared: there are {', '.join(COMPARABLE_METRICS)}.{hint}")
    data_of_runs = load_common_data(entries, data, options)
    on, sources = data_of_runs[0], [(e.trained, e.prior, d.train) for e, d in zip(entries, data_of_runs, strict=True)]
    settings = Settings(metrics, n if n is None else check_positive(n, "n"), features, allow_few, seed, progress)
    real_data = prepare_comparison(sources, on, settings)
    progress(f"{real_data.n} samples of each, and their features{real_data.note}")
    comparisons = draw_comparisons(sources, real_data, settings)
    other_kind = "vectors" if on.held_out.has_images else "images"
    names = metrics or [name for name in COMPARABLE_METRICS if METRICS[name].needs != other_kind]
    scores, reasons, keys = [dict[str, Score]() for _ in comparisons], dict[str, str](), dict[str, str]()
    for name, key, values in compute_entries(names, comparisons, bool(metrics), progress, only_numbers=True):
        for side, entry in zip(scores, values, strict=True):
            if isinstance(entry, Score):
                side[name], keys[name] = entry, key
            else:
                reasons[name] = str(entry)
    resamples = [bootstrap(side, seed, i) for i, side in enumerate(scores)]
    *numbers, floor = (
        {keys[k]: confidence_interval(NUMBERS[k], score.value, drawn.get(k), real_data.n) for k, score in side.items()}
        for side, drawn in zip(scores, resamples, strict=True)
    )
    return {
        "data": on.held_out.name, "split": on.split, "seed": seed, **real_data.facts,
        "resamples": RESAMPLES, "level": LEVEL, "floor": floor,
        "best": {keys[k]: find_best(k, scores[:-1], resamples[:-1]) for k in scores[0]},
        "skip_reasons": reasons,
        "runs": [run_costs(e) | {"numbers": values} for e, values in zip(entries, numbers, strict=True)],
    }  # fmt: skip


def bootstrap(scores: Mapping[str, Score], seed: int, *key: int | str) -> dict[str, Float64[Tensor, " resamples"]]:
    """The scores of resamples of the examples, of either set with replacement; of those that have influence terms.

    The same seed gives the same resamples of the real ones, so that differences between two models measured on them
    are paired; those of generated examples also depend on the key.
    """
    with_terms = {name: s for name, s in scores.items() if s.influence is not None}
    if not with_terms:
        return {}
    values = torch.tensor([s.value for s in with_terms.values()], dtype=torch.float64)
    real, fake = (torch.stack([s.terms[i] for s in with_terms.values()], 1) for i in (0, 1))
    resamples = values + bootstrap_means(real, seed, "held out") + bootstrap_means(fake, seed, "made", *key)
    return dict(zip(with_terms, resamples.unbind(1), strict=True))


def bootstrap_means(terms: Float64[Tensor, "n scores"], *key: int | str) -> Float64[Tensor, "resamples scores"]:
    """The means of n examples' terms over resamples of the examples."""
    random, n, rows, means = make_generator(torch.device("cpu"), *key), len(terms), RESAMPLES_PER_CHUNK, []
    for _ in range(0, RESAMPLES, rows):
        indices = torch.randint(n, (rows, n), generator=random) + n * torch.arange(rows)[:, None]
        counts = indices.flatten().bincount(minlength=rows * n).view(rows, n)
        means.append(counts.double() @ terms / n)
    return torch.cat(means)


def confidence_interval(number: Number, value: float, resamples: Tensor | None, n: int) -> dict[str, float | None]:
    """A number of n samples with the interval of the middle 95% of its b resamples, cut to what the number can be."""
    if not isfinite(value) or resamples is None:
        return {"value": number.show(value) if isfinite(value) else None, "low": None, "high": None}
    low, high = resamples.quantile(torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2]).double()).tolist()
    if (number.low, number.high) == (0.0, 1.0):  # of a share resamples say nothing where all examples are alike
        high = max(high, RULE_OF_THREE / n) if value == 0 else high
        low = min(low, 1 - RULE_OF_THREE / n) if value == 1 else low
    low, high = (min(max(number.show(x), number.low), number.high) for x in (low, high))
    return {"value": number.show(value), "low": low, "high": high}


def find_best(name: str, scores: list[dict[str, Score]], resamples: list[dict[str, Tensor]]) -> int | None:
    """The index of the run that is better than every other: None where an interval of a difference holds 0."""
    measured = [i for i, side in enumerate(scores) if name in side and isfinite(side[name].value)]
    if NUMBERS[name].higher_is_better is None or len(measured) < 2:
        return None
    sign = 1 if NUMBERS[name].higher_is_better else -1
    first = max(measured, key=lambda i: sign * scores[i][name].value)
    # paired: in each resample both models are measured against the same held-out examples
    differences = (sign * (resamples[first][name] - resamples[i][name]) for i in measured if i != first)
    return first if min(d.quantile((1 - LEVEL) / 2).item() for d in differences) > 0 else None


def load_runs(runs: Sequence[Run]) -> list[ComparedRun]:
    """The runs, each under a name of its own."""
    entries: list[ComparedRun] = []
    for run in runs:
        trained, prior = run if isinstance(run, tuple) else (run, None)
        if not isinstance(trained, Trained):
            path, at, prior = str(trained).rpartition("@")
            path, prior = (path, prior or None) if at and not Path(trained).exists() else (str(trained), None)
            trained = load_trained(run_records.find_run(path), resolve_device("auto"))
        name = trained.folder.name if trained.folder else model_name(trained.model)
        name += f"@{prior}" if prior else ""
        n_same_name = sum(other.name == name or other.name.startswith(f"{name} (") for other in entries)
        entries.append(ComparedRun(f"{name} ({n_same_name + 1})" if n_same_name else name, trained, prior))
    return entries


def check_comparable(entries: Sequence[ComparedRun]) -> None:
    """UserError unless there are two runs or more that generate examples, of one shape, and none is there twice."""
    if len(entries) < 2:
        raise UserError("one run has nothing to be compared with: give two or more, or use ganvas evaluate")
    for name, trained, _ in entries:
        if trained.model.n_domains == 2 or not isinstance(trained.model, GenerativeModel):
            kind = model_name_with_article(trained.model)
            raise UserError(f"{name} is {kind}, which draws no samples: use ganvas evaluate")
    shapes = {"x".join(map(str, e.trained.shape)): e.name for e in reversed(entries)}
    if len(shapes) > 1:
        shapes_text = ", ".join(f"{shape} ({name})" for shape, name in shapes.items())
        raise UserError(f"the runs generate examples of different shapes, {shapes_text}: compare runs of one shape")
    for a, b in combinations(entries, 2):
        if (
            len({prior or trained.default_prior for _, trained, prior in (a, b)}) > 1
            or a.trained.model != b.trained.model
        ):
            continue
        x, y = (run.trained.nets.state_dict() for run in (a, b))
        if x.keys() == y.keys() and all(torch.equal(t.cpu(), y[key].cpu()) for key, t in x.items()):
            same = "have the same weights, so all their numbers are equal: name it once"
            raise UserError(f"{a.name} and {b.name} {same}")


def load_common_data(
    entries: Sequence[ComparedRun], data: Source | None, options: DataOptions | None
) -> list[EvaluationData]:
    """What each run is measured on, of which the held-out examples are the same; UserError where they differ."""
    first = load_evaluation_data(entries[0].trained, data, options, True)
    results, training_data, on = [first], entries[0].trained.training_data, first.held_out
    for name, trained, _ in entries[1:]:
        if data is not None or (training_data and trained.training_data == training_data):  # loaded already
            results.append(replace(first, held_out=load_matching(trained, on, DataOptions())))
            continue
        other = load_evaluation_data(trained, None, None, True)
        if other.held_out.fingerprint() != on.fingerprint():
            different = f"have different held-out examples, of {on.name} and {other.held_out.name}"
            raise UserError(f"{entries[0].name} and {name} {different}: give the same for all, as `data`")
        results.append(other)
    return results


def run_costs(run: ComparedRun) -> MetricValues:
    """What a run is, and what it has cost."""
    name, trained, prior = run
    folder, generating = trained.folder, (net for key, net in trained.nets.items() if key != "encoder")
    log = run_records.read_log(folder) if folder else []
    return {
        "run": name, "folder": folder and str(folder), "model": model_name(trained.model),
        "prior": prior or (None if trained.default_prior == STANDARD else trained.default_prior),
        "parameters": sum(p.numel() for net in generating for p in net.parameters()),
        "step": trained.metadata.get("step"), "seconds": folder and float(log[-1]["seconds"] if log else 0),
    }  # fmt: skip
