"""`ganvas.evaluate`: the numbers of a trained model on held-out data, each with how it was taken."""

from collections.abc import Sequence
from pathlib import Path

import torch

from ..data import DataOptions, Source, Sources
from ..distributions.priors import STANDARD
from ..errors import UserError, check_positive, did_you_mean
from ..inference.trained import Trained
from ..io.text import replace_non_finite
from ..metrics import METRICS
from ..metrics.features.base import Progress, say_nothing
from ..model import EncoderModel, GenerativeModel, model_name
from ..models._variational import LikelihoodModel
from ..training.run_records import load_run
from . import codes
from .held_out import load_evaluation_data
from .samples import MetricValues, Settings, draw_comparisons, measure, prepare_comparison
from .tables.report import TableNumbers
from .tables.run import evaluate_run, learns_table
from .translation import TRANSLATION_METRICS, evaluate_translator

MAX_DRAWS = 1_000_000
"""samples an example of a bound, at most"""
TABLE_METRIC = "table"
"""the name under which rows of a table are measured"""
METRIC_NAMES = (*codes.CODE_METRICS, *METRICS, TABLE_METRIC)
IMPORTANCE_SAMPLES, DRAWS = 500, 10
"""samples of the importance weighted bound, and of the ELBO, of each example, unless options say otherwise"""


@torch.random.fork_rng(devices=[])
@torch.no_grad()
def evaluate(
    trained: Trained | str | Path,
    data: Sources | None = None,
    options: DataOptions | None = None,
    *,
    metrics: Sequence[str] = (),
    importance_samples: int | None = None,
    draws: int | None = None,
    n: int | None = None,
    features: str = "auto",
    allow_few: bool = False,
    fitted_prior: str | None = None,
    pairs: Sources | None = None,
    target: str | None = None,
    seed: int = 0,
    progress: Progress = say_nothing,
) -> MetricValues:
    """Measure a trained model on `data`, by default the test split of what the run was trained on.

    `metrics` are some of `METRIC_NAMES`, by default all that the model and the data have; docs/metrics.md defines each
    and gives its paper.  Of a model with an encoder they are of held-out examples, of which `n` are drawn, or all;
    values are in nats unless the name says otherwise, with `draws` (10) samples z an example for the ELBO and
    `importance_samples` (500) for the bound.  Others are of `n` (10,000) samples from `fitted_prior`, on `features`,
    whose name is part of the number's.  `..._error` is a standard error, `...:floor` the same number of real examples
    in place of samples.

    A translator is measured on `data` = (A, B), and with `pairs` = (A, B) of examples that belong together against the
    truth; `metrics` are of its translations, and the options of codes are refused.

    Of a model of tables `n` rows, by default as many as it learnt from, are measured as `evaluate_table` says, under
    "table", with the usefulness for predicting the column `target`.

    What cannot be computed is None.  Raises UserError for data that do not fit, and for what cannot be measured.
    """
    trained, counts = load_run(trained), {"importance_samples": importance_samples, "draws": draws, "n": n}
    for name, count in counts.items():
        if count is not None and check_positive(count, name) > MAX_DRAWS and name != "n":
            raise UserError(f"{name}={count}: {MAX_DRAWS:,} samples an example are the most, and take hours")
    names, settings = choose_metrics(trained, metrics), Settings(metrics, n, features, allow_few, seed, progress)
    if trained.model.n_domains == 2:
        unused = {"importance_samples": importance_samples, "draws": draws, "fitted_prior": fitted_prior}
        return evaluate_translator(trained, data, options, pairs, settings, unused)
    if target is not None and TABLE_METRIC not in names:
        raise UserError(f"target={target}: columns are predicted where rows of a table are measured: leave it out")
    if pairs is not None or isinstance(data, tuple):
        raise UserError(f"this {model_name(trained.model)} learns from one dataset: give one source, and no pairs")
    k, n_draws = importance_samples or IMPORTANCE_SAMPLES, draws or DRAWS
    values = evaluate_model(trained, data, options, fitted_prior, names, k, n_draws, settings)
    if TABLE_METRIC in names:
        table = evaluate_run(
            trained, data, options, target=target, n=n, fitted_prior=fitted_prior, seed=seed, progress=progress
        )
        values["table"] = TableNumbers(table)
    return values


def choose_metrics(trained: Trained, names: Sequence[str]) -> Sequence[str]:
    """The metrics asked for, or all that the model has; UserError for what there is not."""
    model, other_kind, available = trained.model, "vectors" if len(trained.shape) == 3 else "images", list[str]()
    chosen = list[str]()
    if model.n_domains == 2:
        available += TRANSLATION_METRICS
    if isinstance(model, LikelihoodModel):
        available += codes.CODE_METRICS
    elif isinstance(model, EncoderModel):
        available += codes.CODE_METRICS[-1:]
    if isinstance(model, GenerativeModel):
        available += [metric.name for metric in METRICS.values() if metric.needs != other_kind]
        if learns_table(trained):  # the others measure rows as the model sees them, where they are asked for
            chosen = [name for name in available if name in codes.CODE_METRICS] + [TABLE_METRIC]
            available.append(TABLE_METRIC)
    for name in names:
        if name not in METRIC_NAMES:
            hint = did_you_mean(name, METRIC_NAMES)
            raise UserError(f"there is no metric {name!r}.{hint} There are: {', '.join(METRIC_NAMES)}")
        if name not in available:
            raise UserError(f"{name} cannot be measured of this {model_name(model)}: it has {', '.join(available)}")
    return names or chosen or available


def evaluate_model(
    trained: Trained, data: Source | None, options: DataOptions | None, prior: str | None, names: Sequence[str],
    k: int, draws: int, settings: Settings,
) -> MetricValues:  # fmt: skip
    """All numbers of a model of one data set."""
    n, seed, progress = settings.n, settings.seed, settings.progress
    sample_names, code_names = ([name for name in names if name in table] for table in (METRICS, codes.CODE_METRICS))
    on = load_evaluation_data(trained, data, options, bool(sample_names))
    runs = [(trained, prior, on.train)]
    real_data = prepare_comparison(runs, on, settings) if sample_names else None  # before anything is computed
    values: MetricValues = {
        "model": model_name(trained.model), "step": trained.metadata.get("step"), "data": on.held_out.name,
        "split": on.split, "seed": seed,
    }  # fmt: skip
    if on.held_out.sampled_from is not None:
        values["sampled_from"] = on.held_out.sampled_from
    if code_names:
        examples = on.held_out if n is None else on.held_out.sample(n, seed, "examples")
        values |= replace_non_finite(codes.measure(trained, examples, code_names, k, draws, settings))
    if real_data is not None:
        progress(f"{real_data.n} samples and their features{real_data.note}")
        c, floor = draw_comparisons(runs, real_data, settings)
        values |= real_data.facts | measure(sample_names, c, floor.fake, bool(settings.metrics), progress)
        kind = prior or trained.default_prior
        values["protocol"] += "" if kind == STANDARD else f", codes from the prior {kind}"
    return values
