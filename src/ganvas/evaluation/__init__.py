"""`ganvas.evaluate`: the numbers of a trained model on held-out data, each with how it was taken."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path

import torch

from ..data import DataOptions, Dataset, MissingSplitError, Source, Sources, load
from ..errors import UserError, check_positive, did_you_mean
from ..inference.trained import Trained
from ..model import EncoderModel, GenerativeModel, model_name
from ..models._variational import LikelihoodModel
from ..training.run_folder import load_run
from . import codes, translation
from . import samples as generated
from .classes import classes
from .samples import DEFAULT_SAMPLES, UNREAD, MetricValues

MOST_DRAWS = 1_000_000
"""samples an example of a bound, at most"""
OF_CODES = ("elbo", "bound", "codes", "reconstruction")
OF_SAMPLES = ("fid", "kid", "prdc", "two-sample", "memorisation", "duplicates", "sliced-wasserstein", "classes")
OF_IMAGES, OF_VECTORS = ("ms-ssim",), ("distances", "modes")
METRICS = (*OF_CODES, *OF_SAMPLES, *OF_IMAGES, *OF_VECTORS)
K, DRAWS = 500, 10
"""samples of the importance weighted bound, and of the ELBO, of each example, unless k and draws say otherwise"""


@dataclass(frozen=True)
class EvaluationData:
    """What a model is measured on."""

    held_out: Dataset
    train: Dataset | None
    """what the model has learnt from, where that is known, needed, and not what it is measured on"""
    split: str

    def split_real(self, seed: int) -> tuple[Dataset, Dataset]:
        """Held-out examples to compare samples with, and other real ones: two halves, where there is nothing else."""
        if self.train is not None:
            return self.held_out, self.train
        shuffled = self.held_out.sample(len(self.held_out), seed, "halves")
        half = len(shuffled) // 2
        return shuffled.select(slice(half)), shuffled.select(slice(half, 2 * half))


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
    seed: int = 0,
    progress: Callable[[str], None] = lambda line: None,
) -> MetricValues:
    """Measure a trained model on `data`, by default the test split of what the run was trained on.

    `metrics` are those of `METRICS`, or all that the model and the data have; docs/metrics.md defines each and gives
    its paper.  Of a model with an encoder they are of held-out examples, of which `n` are drawn, or all; values are in
    nats unless the name says otherwise, with `draws` (10) samples z an example for the ELBO and `importance_samples`
    (500) for the bound.  Others are of `n` (10,000) samples from `fitted_prior`, on `features`, whose name is part of
    the number's.  `..._error` is a standard error, `...:floor` the same number of real examples in place of samples.

    A translator is measured on `data` = (A, B), and with `pairs` = (A, B) of examples that belong together against the
    truth; `metrics` are of its translations, and the options of codes are refused.

    What cannot be computed is None.  Raises UserError for data that do not fit, and for what cannot be measured.
    """
    trained = load_run(trained)
    check_counts(importance_samples, draws, n)
    if trained.model.n_domains == 2:
        unused: dict[str, object] = {
            "importance_samples": importance_samples,
            "draws": draws,
            "fitted_prior": fitted_prior,
        }
        translation.check_options(trained, metrics, allow_few, unused)
        return translation.evaluate_translator(
            trained, data, options, pairs, metrics, n or DEFAULT_SAMPLES, features, allow_few, seed, progress
        )
    if pairs is not None or isinstance(data, tuple):
        raise UserError(f"this {model_name(trained.model)} learns from one collection: give one source, and no pairs")
    chosen = which(trained, metrics)
    samples = any(name not in OF_CODES for name in chosen)
    on = load_evaluation_data(trained, data, options, samples)
    real = None
    if samples:
        real = prepared(trained, on, n or DEFAULT_SAMPLES, features, fitted_prior, allow_few, metrics, seed)
    result: MetricValues = {
        "model": model_name(trained.model), "step": trained.metadata.get("step"), "data": on.held_out.name,
        "split": on.split, "seed": seed,
    }  # fmt: skip
    if any(name in OF_CODES for name in chosen):
        some = on.held_out if n is None else on.held_out.sample(n, seed, "examples")
        result |= codes.measured(trained, some, chosen, importance_samples or K, draws or DRAWS, seed, progress)
    if real is not None:
        s, about = compared(trained, on, real, fitted_prior, seed, progress)
        result |= about | sample_metrics(s, on.train, chosen, allow_few, bool(metrics), seed, progress)
    return {name: None if isinstance(v, float) and not isfinite(v) else v for name, v in result.items()}


def prepared(
    trained: Trained,
    on: EvaluationData,
    n: int,
    features: str,
    prior: str | None,
    few: bool,
    asked: Sequence[str],
    seed: int,
) -> generated.ComparisonSetup:
    """What samples are compared with; UserError for what would else fail after long computations."""
    real = generated.prepare_comparison(trained, *on.split_real(seed), n, features, prior)
    if "fid" in asked:
        generated.check_sample_size(real.n, real.space, few)
    if "memorisation" in asked and on.train is None:
        raise UserError(generated.NO_TRAIN)
    return real


def compared(
    trained: Trained,
    on: EvaluationData,
    real: generated.ComparisonSetup,
    prior: str | None,
    seed: int,
    progress: Callable[[str], None],
) -> tuple[generated.Comparison, MetricValues]:
    """The examples to compare, and how they were come by."""
    progress(f"{real.n} samples and their features{real.note}")
    s = generated.build_comparison(trained, real, prior, seed, progress)
    drawn = "" if prior is None else f", codes from the prior {prior}"
    return s, {
        "samples": len(s.fake), "features": s.space.tag, "floor_from": "halves" if on.train is None else "train",
        "protocol": f"{s.space.protocol}; averaged weights, no truncation{drawn}",
    }  # fmt: skip


def sample_metrics(
    s: generated.Comparison,
    train: Dataset | None,
    chosen: Sequence[str],
    few: bool,
    asked: bool,
    seed: int,
    progress: Callable[[str], None],
) -> MetricValues:
    """The chosen numbers of samples; "left_out" says why one is not there, unless it was asked for by name."""
    measures: dict[str, Callable[[], MetricValues]] = {
        "fid": lambda: generated.fid(s, few), "kid": lambda: generated.kid(s), "prdc": lambda: generated.prdc(s),
        "two-sample": lambda: generated.two_sample(s), "duplicates": lambda: generated.duplicate_metric(s),
        "memorisation": lambda: generated.memorisation(s, train, progress),
        "sliced-wasserstein": lambda: generated.sliced_wasserstein_metric(s, seed),
        "ms-ssim": lambda: generated.ms_ssim_metric(s, seed), "distances": lambda: generated.vector_metrics(s),
        "modes": lambda: generated.mode_metrics(s), "classes": lambda: classes(s),
    }  # fmt: skip

    return generated.run_metrics(measures, [name for name in chosen if name in measures], asked, progress)


def check_counts(k: int | None, draws: int | None, n: int | None) -> None:
    """UserError for numbers of samples that are none, or would take hours."""
    for name, value in (("importance_samples", k), ("draws", draws), ("n", n)):
        if check_positive(1 if value is None else value, name) > MOST_DRAWS and name != "n":
            raise UserError(f"{name}={value}: {MOST_DRAWS:,} samples an example are the most, and take hours")


def which(trained: Trained, metrics: Sequence[str]) -> Sequence[str]:
    """The metrics asked for, or all that the model has; UserError for what there is not."""
    there: tuple[str, ...] = ()
    if isinstance(trained.model, LikelihoodModel):
        there += OF_CODES
    elif isinstance(trained.model, EncoderModel):
        there += OF_CODES[-1:]
    if isinstance(trained.model, GenerativeModel):
        images = len(trained.shape) == 3
        there += (*OF_SAMPLES, *(OF_IMAGES if images else OF_VECTORS))
    for name in metrics:
        if name not in METRICS:
            raise UserError(
                f"there is no metric {name!r}.{did_you_mean(name, METRICS)} There are: {', '.join(METRICS)}"
            )
        if name not in there:
            raise UserError(f"{name} cannot be measured of this {model_name(trained.model)}: it has {', '.join(there)}")
    return metrics or there


def load_evaluation_data(
    trained: Trained, data: Source | None, view: DataOptions | None, samples: bool
) -> EvaluationData:
    """What to measure a model, and perhaps its samples, on; UserError where neither the caller nor the run says.

    Only where there is no test split these are the training data: one that cannot be read is an error.  Besides a test
    split the training data are read only if `samples` are to be compared with them.
    """
    if data is not None:
        return EvaluationData(trained.load_matching(data, view), None, "given")
    origin = trained.training_source()
    if origin is None:
        where = trained.folder or "the weights file"
        raise UserError(f"{where} does not say where the model's data are: give held-out ones")
    source, own = origin
    try:
        held_out = trained.load_matching(test_part(source, own), DataOptions())
    except MissingSplitError:
        return EvaluationData(trained.load_matching(source, own), None, "train")
    except UserError as error:
        raise UserError(f"{UNREAD}: {str(error).rstrip('.')}; or give other data") from error
    return EvaluationData(held_out, trained.load_matching(source, own) if samples else None, "test")


def test_part(source: str, own: DataOptions) -> Dataset:
    """The test split of a run's data; NoSplit where there is none, or it is what the run was trained on."""
    if own.split == "test":
        raise MissingSplitError(f"the run was trained on the test split of {source}")
    return load(source, replace(own, split="test"))


__all__ = [
    "DEFAULT_SAMPLES",
    "METRICS",
    "EvaluationData",
    "evaluate",
    "load_evaluation_data",
    "sample_metrics",
    "which",
]
