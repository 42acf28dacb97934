"""`ganvas.evaluate`: the numbers of a trained model on held-out data, each with how it was taken."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path

import torch

from ..data import Collection, NoSplit, Source, Sources, View, load
from ..errors import UserError, at_least_one, did_you_mean
from ..inference.trained import Trained
from ..model import Encodes, Samples, name_of
from ..models._variational import WithLikelihood
from ..training.run_folder import opened
from . import codes, translation
from . import samples as generated
from .classes import classes
from .samples import UNREAD, N, Numbers

MOST_DRAWS = 1_000_000
"""samples an example of a bound, at most"""
OF_CODES = ("elbo", "bound", "codes", "reconstruction")
OF_SAMPLES = ("fid", "kid", "prdc", "two-sample", "memorisation", "duplicates", "sliced-wasserstein", "classes")
OF_IMAGES, OF_VECTORS = ("ms-ssim",), ("distances", "modes")
METRICS = (*OF_CODES, *OF_SAMPLES, *OF_IMAGES, *OF_VECTORS)
K, DRAWS = 500, 10
"""samples of the importance weighted bound, and of the ELBO, of each example, unless k and draws say otherwise"""


@dataclass(frozen=True)
class Measured:
    """What a model is measured on."""

    held_out: Collection
    train: Collection | None
    """what the model has learnt from, where that is known, needed, and not what it is measured on"""
    split: str

    def parts(self, seed: int) -> tuple[Collection, Collection]:
        """Held-out examples to compare samples with, and other real ones: two halves, where there is nothing else."""
        if self.train is not None:
            return self.held_out, self.train
        mixed = self.held_out.some(len(self.held_out), seed, "halves")
        half = len(mixed) // 2
        return mixed.at(slice(half)), mixed.at(slice(half, 2 * half))


@torch.random.fork_rng(devices=[])
@torch.no_grad()
def evaluate(
    trained: Trained | str | Path,
    data: Sources | None = None,
    view: View | None = None,
    *,
    metrics: Sequence[str] = (),
    k: int | None = None,
    draws: int | None = None,
    n: int | None = None,
    features: str = "auto",
    few: bool = False,
    prior: str | None = None,
    pairs: Sources | None = None,
    seed: int = 0,
    progress: Callable[[str], None] = lambda line: None,
) -> Numbers:
    """Measure a trained model on `data`, by default the test split of what the run was trained on ("split" says which).

    `metrics` are those of `METRICS`, or all that the model and the data have.  Of a model with an encoder, on held-out
    examples, in nats unless the name says otherwise: "elbo" (with its two terms, mean of `draws` (10) samples z
    an example; beta plays no part), "bound" (the importance weighted bound L_k with exactly `k` (500), Burda et al.,
    arXiv:1509.00519), "codes" (active units, KL a dimension, mutual information, aggregate posterior) and
    "reconstruction" (PSNR, SSIM).  `..._error` is a standard error over examples.

    Of samples, `n` (10,000) from `prior`, on `features` (see `features_for`), whose name and digest are part of the
    number's name: "fid" (no paper's: those are of 50,000 samples and all training images) and the same for infinitely
    many, "kid", "prdc" (precision, recall, density, coverage), "two-sample", "memorisation", "duplicates",
    "sliced-wasserstein", "classes" (score of a classifier, where features are one's; of conditional models label
    agreement and the kernel distance of each class), "ms-ssim" and, of vectors, "distances" and "modes" (of mixtures).
    `...:floor` is the same number of as many real examples in place of samples, of "memorisation" what follows from
    its definition; "protocol" says the rest.

    A translator is measured as `evaluation.translation` says, on `data` = (A, B), and with `pairs` = (A, B) of examples
    that belong together against the truth; `metrics` are of its translations ("kid"), and k, draws, prior are refused.

    `n` of the examples are drawn, or all.  What cannot be computed is None; the same seed gives the same numbers.
    Raises UserError for data that do not fit, and for what cannot be measured.
    """
    trained = opened(trained)
    check_counts(k, draws, n)
    if trained.model.domains == 2:
        translation.check(trained, metrics, few, {"k": k, "draws": draws, "prior": prior})
        return translation.measured(trained, data, view, pairs, metrics, n or N, features, few, seed, progress)
    if pairs is not None or isinstance(data, tuple):
        raise UserError(f"this {name_of(trained.model)} learns from one collection: give one source, and no pairs")
    chosen = which(trained, metrics)
    samples = any(name not in OF_CODES for name in chosen)
    on = measured(trained, data, view, samples)
    real = prepared(trained, on, n or N, features, prior, few, metrics, seed) if samples else None
    result: Numbers = {
        "model": name_of(trained.model), "step": trained.about.get("step"), "data": on.held_out.name,
        "split": on.split, "seed": seed,
    }  # fmt: skip
    if any(name in OF_CODES for name in chosen):
        some = on.held_out if n is None else on.held_out.some(n, seed, "examples")
        result |= codes.measured(trained, some, chosen, k or K, draws or DRAWS, seed, progress)
    if real is not None:
        s, about = compared(trained, on, real, prior, seed, progress)
        result |= about | of_samples(s, on.train, chosen, few, bool(metrics), seed, progress)
    return {name: None if isinstance(v, float) and not isfinite(v) else v for name, v in result.items()}


def prepared(
    trained: Trained, on: Measured, n: int, features: str, prior: str | None, few: bool, asked: Sequence[str], seed: int
) -> generated.Ready:
    """What samples are compared with; UserError for what would else fail after long computations."""
    real = generated.ready(trained, *on.parts(seed), n, features, prior)
    if "fid" in asked:
        generated.enough(real.n, real.features, few)
    if "memorisation" in asked and on.train is None:
        raise UserError(generated.NO_TRAIN)
    return real


def compared(
    trained: Trained, on: Measured, real: generated.Ready, prior: str | None, seed: int, progress: Callable[[str], None]
) -> tuple[generated.Sides, Numbers]:
    """The examples to compare, and how they were come by."""
    progress(f"{real.n} samples and their features{real.said}")
    s = generated.sides(trained, real, prior, seed, progress)
    drawn = "" if prior is None else f", codes from the prior {prior}"
    return s, {
        "samples": len(s.made), "features": s.features.tag, "floor_from": "halves" if on.train is None else "train",
        "protocol": f"{s.features.protocol}; averaged weights, no truncation{drawn}",
    }  # fmt: skip


def of_samples(
    s: generated.Sides,
    train: Collection | None,
    chosen: Sequence[str],
    few: bool,
    asked: bool,
    seed: int,
    progress: Callable[[str], None],
) -> Numbers:
    """The chosen numbers of samples; "left_out" says why one is not there, unless it was asked for by name."""
    measures: dict[str, Callable[[], Numbers]] = {
        "fid": lambda: generated.fid(s, few), "kid": lambda: generated.kid(s), "prdc": lambda: generated.prdc(s),
        "two-sample": lambda: generated.two_sample(s), "duplicates": lambda: generated.repeated(s),
        "memorisation": lambda: generated.memorisation(s, train, progress),
        "sliced-wasserstein": lambda: generated.sliced(s, seed),
        "ms-ssim": lambda: generated.diversity(s, seed), "distances": lambda: generated.vectors(s),
        "modes": lambda: generated.modes_found(s), "classes": lambda: classes(s),
    }  # fmt: skip

    return generated.chosen_of(measures, [name for name in chosen if name in measures], asked, progress)


def check_counts(k: int | None, draws: int | None, n: int | None) -> None:
    """UserError for numbers of samples that are none, or would take hours."""
    for name, value in (("k", k), ("draws", draws), ("n", n)):
        if at_least_one(1 if value is None else value, name) > MOST_DRAWS and name != "n":
            raise UserError(f"{name}={value}: {MOST_DRAWS:,} samples an example are the most, and take hours")


def which(trained: Trained, metrics: Sequence[str]) -> Sequence[str]:
    """The metrics asked for, or all that the model has; UserError for what there is not."""
    there: tuple[str, ...] = ()
    if isinstance(trained.model, WithLikelihood):
        there += OF_CODES
    elif isinstance(trained.model, Encodes):
        there += OF_CODES[-1:]
    if isinstance(trained.model, Samples):
        images = len(trained.shape) == 3
        there += (*OF_SAMPLES, *(OF_IMAGES if images else OF_VECTORS))
    for name in metrics:
        if name not in METRICS:
            raise UserError(
                f"there is no metric {name!r}.{did_you_mean(name, METRICS)} There are: {', '.join(METRICS)}"
            )
        if name not in there:
            raise UserError(f"{name} cannot be measured of this {name_of(trained.model)}: it has {', '.join(there)}")
    return metrics or there


def measured(trained: Trained, data: Source | None, view: View | None, samples: bool) -> Measured:
    """What to measure a model, and perhaps its samples, on; UserError where neither the caller nor the run says.

    Only where there is no test split these are the training data: one that cannot be read is an error.  Besides a test
    split the training data are read only if `samples` are to be compared with them.
    """
    if data is not None:
        return Measured(trained.matching(data, view), None, "given")
    origin = trained.origin()
    if origin is None:
        where = trained.folder or "the weights file"
        raise UserError(f"{where} does not say where the model's data are: give held-out ones")
    source, own = origin
    try:
        held_out = trained.matching(test_part(source, own), View())
    except NoSplit:
        return Measured(trained.matching(source, own), None, "train")
    except UserError as error:
        raise UserError(f"{UNREAD}: {str(error).rstrip('.')}; or give other data") from error
    return Measured(held_out, trained.matching(source, own) if samples else None, "test")


def test_part(source: str, own: View) -> Collection:
    """The test split of a run's data; NoSplit where there is none, or it is what the run was trained on."""
    if own.split == "test":
        raise NoSplit(f"the run was trained on the test split of {source}")
    return load(source, replace(own, split="test"))


__all__ = ["METRICS", "Measured", "N", "evaluate", "measured", "of_samples", "which"]
