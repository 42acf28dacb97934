"""The numbers of generated examples: each is taken on `n` of them against as many held-out ones, and has a floor.

The floor of a number is the same number for real examples in place of generated ones, as many and none of them among
those that both are compared with.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from time import monotonic
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..data import Dataset, Scaling
from ..data.builtin import MIXTURES
from ..data.scaling import composite_backgrounds
from ..distributions.priors import STANDARD
from ..errors import UserError
from ..inference.trained import Trained
from ..metrics import energy_distance, kernel_distance, mode_coverage, sliced_wasserstein
from ..metrics.distances import (
    can_extrapolate,
    correlation_difference,
    frechet_distances,
    marginal_distances,
    too_few_message,
    wasserstein,
)
from ..metrics.features import FeatureSpace, make_feature_space
from ..metrics.fidelity import ms_ssim, n_scales
from ..metrics.jackknife import frechet_infinity_error
from ..metrics.likelihood import mean_and_error
from ..metrics.neighbours import (
    NeighbourIndex,
    build_indexes,
    duplicate_rate,
    memorisation_test,
    one_nn_accuracy,
    prdc_terms,
)
from ..model import device_of
from ..randomness import make_generator

DEFAULT_SAMPLES = 10_000
"""samples that are compared with as many examples, at most, unless n says otherwise"""
FEWEST = 2
"""examples of each side that are compared, at least"""
PAIRS = 1000
"""pairs of examples whose similarity is looked at"""
TRANSPORTED = 2000
"""examples between which optimal transport is computed, at most"""
OWN = 0.9
"""share of a mixture's own points that lie within three deviations of a centre, at least: in the plane 0.989"""
SILENT = 10.0
"""seconds between two lines about long work"""
NO_TRAIN = "memorisation needs held-out examples besides the training data: train on data with a test split"
UNREAD = "cannot read the test split of what the run was trained on"
MetricValues = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Comparison:
    """The examples to compare, with their features: `n` held-out, as many others that are real, as many generated."""

    held_out: Dataset
    other: Dataset
    fake: Dataset
    space: FeatureSpace
    held_out_features: Tensor
    other_features: Tensor
    fake_features: Tensor

    @cached_property
    def indexes(self) -> list[NeighbourIndex]:
        """The features of held-out, generated and other real examples, with their neighbours."""
        return build_indexes(self.held_out_features, self.fake_features, self.other_features)

    @property
    def raw_values(self) -> tuple[Tensor, Tensor, Tensor]:
        """The numbers of held-out, generated and other real examples themselves, for distances between these.

        Bytes of images, those with alpha on black and on white; vectors in deviations of the held-out examples, their
        features, so that a column in large units does not drown the others.
        """
        if not self.held_out.has_images:
            return self.held_out_features, self.fake_features, self.other_features
        real, made, other = (composite_backgrounds(part.x) for part in (self.held_out, self.fake, self.other))
        return real, made, other


class ComparisonSetup(NamedTuple):
    """What samples are compared with, on which features, and how many of each side."""

    held_out: Dataset
    other: Dataset
    space: FeatureSpace
    n: int
    note: str = ""
    """where the data allow fewer than were asked for, that and why"""


def prepare_comparison(
    trained: Trained, held_out: Dataset, other: Dataset, n: int, features: str, prior: str | None
) -> ComparisonSetup:
    """Everything but the samples; UserError for what would else be found out after they were computed."""
    if prior not in (None, STANDARD):
        trained.get_fitted_prior(str(prior))
    asked, n = n, min(n, len(held_out), len(other))
    if n < FEWEST:
        raise UserError(
            f"samples are compared with as many held-out examples, {FEWEST} at least, and here is {n}: give more data, "
            "or a higher n"
        )
    space = make_feature_space(
        features,
        trained.shape,
        data_name=held_out.name,
        device=device_of(trained.nets),
        scaling=Scaling.fit(held_out.x),
    )
    there = f"{len(held_out)} examples to compare with, and {len(other)} others for the floor"
    said = f" ({asked} asked for, but the data allow {n}: there are {there})" if n < asked != DEFAULT_SAMPLES else ""
    return ComparisonSetup(held_out, other, space, n, said)


def build_comparison(
    trained: Trained, real: ComparisonSetup, prior: str | None, seed: int, progress: Callable[[str], None]
) -> Comparison:
    """The examples of each side, all as many."""
    held_out, other, space, n, _ = real
    made = generate_like(trained, other, n, prior, seed)
    held_out, other = held_out.sample(n, seed, "held out"), other.sample(n, seed, "other")
    seen = (extract_features(part, space, progress) for part in (held_out, other, made))
    return Comparison(held_out, other, made, space, *seen)


def generate_like(trained: Trained, other: Dataset, n: int, prior: str | None, seed: int) -> Dataset:
    """n generated examples, by a conditional model of labels that are drawn from those of the other real examples.

    Not of the labels of the held-out ones: samples would then share those with what they are compared with, and come
    out nearer to it than real examples do (a kernel distance of perfect ones is then below 0).
    """
    labels = other.sample(n, seed, "labels").labels if trained.model.is_conditional else None
    x = trained.decode(trained.sample_codes(n, seed, prior), labels).x
    return replace(other, x=x, labels=labels, name="generated")


def extract_features(data: Dataset, space: FeatureSpace, progress: Callable[[str], None]) -> Float[Tensor, "n size"]:
    """The features of examples; where they take long, how long is left."""
    return space(data.x, report_remaining_time(f"{space.name} of {data.name}", progress))


def report_remaining_time(what: str, progress: Callable[[str], None]) -> Callable[[int, int], None]:
    """A function of (done, total) that says now and then how long is left, and nothing of what is done at once."""
    began = last = monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal last
        now = monotonic()
        if now - last > SILENT and done < total:
            last, left = now, (now - began) * (total / done - 1)
            progress(f"{what}: {done} of {total}, {left:.0f} s left")

    return tell


def fid(s: Comparison, few: bool) -> MetricValues:
    """The Frechet distance, and with its standard error that of infinitely many; UserError where there are too few.

    Where there are too few for the latter alone, "left_out" says so.
    """
    n = len(s.fake_features)
    check_sample_size(n, s.space, few)
    (value, infinite), (floor, infinite_floor) = frechet_distances(
        s.held_out_features, s.fake_features, s.other_features
    )
    found = metric_entry(s, "fid", value, floor)
    if not can_extrapolate(n, s.space.n_features):
        return found | {"left_out": {"fid_infinity": too_few_message(n, s.space.n_features)}}
    return found | metric_entry(
        s, "fid_infinity", infinite, infinite_floor, frechet_infinity_error(s.held_out_features, s.fake_features)
    )


def run_metrics(
    measures: dict[str, Callable[[], MetricValues]],
    names: Sequence[str],
    asked: bool,
    progress: Callable[[str], None] = lambda line: None,
) -> MetricValues:
    """The numbers of these metrics; "left_out" says why one is not there, which is an error if it was asked for."""
    result: MetricValues = {"left_out": {}}
    for name in names:
        progress(name)
        try:
            found = measures[name]()
        except UserError as error:
            if asked:
                raise
            found = {"left_out": {name: str(error)}}
        result |= found | {"left_out": result["left_out"] | found.get("left_out", {})}
    return result


def check_sample_size(n: int, space: FeatureSpace, allow_few: bool) -> None:
    """UserError where there are fewer examples than features, and nobody asked for a number nevertheless."""
    if n <= space.n_features and not allow_few:
        raise UserError(
            f"a Frechet distance of {n} examples on {space.n_features} features is mostly bias: use more examples, the "
            "metric kid, or allow_few=true to have it nevertheless"
        )


def kid(s: Comparison) -> MetricValues:
    """The kernel distance with its standard error."""
    (value, error), (floor, _) = (
        mean_and_error(kernel_distance(s.held_out_features, x)) for x in (s.fake_features, s.other_features)
    )
    return metric_entry(s, "kid", value, floor, error)


def prdc(s: Comparison) -> MetricValues:
    """Precision, recall, density and coverage."""
    real, *others = s.indexes
    pairs = zip(*(prdc_terms(real, x)._asdict().items() for x in others), strict=True)
    found: MetricValues = {}
    for (name, terms), (_, of_floor) in pairs:
        found |= metric_entry(s, name, terms.double().mean().item(), of_floor.double().mean().item())
    return found


def two_sample(s: Comparison) -> MetricValues:
    """The accuracy of nearest neighbours in telling generated from held-out examples, and on each of the two."""
    real, *others = s.indexes
    found, floor = (one_nn_accuracy(real, x) for x in others)
    names = ("two_sample_real", "two_sample_generated")
    result = metric_entry(s, "two_sample", sum(found) / 2, sum(floor) / 2)
    for name, value, least in zip(names, found, floor, strict=True):
        result |= metric_entry(s, name, value, least)
    return result


def memorisation(s: Comparison, train: Dataset | None, progress: Callable[[str], None]) -> MetricValues:
    """How near samples are to the training data; UserError where these are what the samples are compared with."""
    if train is None:
        raise UserError(NO_TRAIN)
    reference = extract_features(train, s.space, progress)
    found = memorisation_test(reference, s.held_out_features, s.fake_features)
    return metric_entry(s, "nearer_to_training", found.nearer_share, 0.5) | metric_entry(
        s, "memorised", found.memorised_share, found.expected_share
    )


def duplicate_metric(s: Comparison) -> MetricValues:
    """The share of samples that have another just like them."""
    real, made, other = s.indexes
    return metric_entry(s, "duplicates", duplicate_rate(real, made), duplicate_rate(real, other))


def sliced_wasserstein_metric(s: Comparison, seed: int) -> MetricValues:
    """The sliced Wasserstein distance of pixels in [0, 1], or of vectors in deviations."""
    real, *others = s.raw_values
    value, floor = (sliced_wasserstein(real, x, seed=seed) / s.held_out.value_scale for x in others)
    return {"sliced_wasserstein": value, "sliced_wasserstein:floor": floor}


def ms_ssim_metric(s: Comparison, seed: int) -> MetricValues:
    """Mean MS-SSIM of pairs of samples: higher than that of real pairs where samples are too much alike."""

    def mean(x: Tensor) -> float:
        random = make_generator(torch.device("cpu"), seed, "pairs")
        first = torch.randint(len(x), (min(PAIRS, len(x)),), generator=random)
        second = (first + torch.randint(1, len(x), first.shape, generator=random)) % len(x)  # never itself
        a, b = (composite_backgrounds(x[index]).float() / 255 for index in (first, second))
        return ms_ssim(a, b).mean().item()

    return {
        "ms_ssim": mean(s.fake.x), "ms_ssim:floor": mean(s.other.x), "ms_ssim_scales": n_scales(s.fake.shape),
    }  # fmt: skip


def vector_metrics(s: Comparison) -> MetricValues:
    """Distances of vectors: energy, Wasserstein (where POT is installed), of each dimension, and of correlations.

    All are in deviations of the held-out examples, but for `marginals`, which are in the units of each column.
    """
    a, b, c = s.raw_values
    found: MetricValues = {"energy": energy_distance(a, b), "energy:floor": energy_distance(a, c)}
    try:
        few = [x[:TRANSPORTED] for x in (a, b, c)]
        found |= {"wasserstein": wasserstein(few[0], few[1]), "wasserstein:floor": wasserstein(few[0], few[2])}
        found["wasserstein_n"] = len(few[0])
    except UserError as missing:
        found["wasserstein_missing"] = str(missing)
    units = Scaling.fit(s.held_out.x).scale
    for name, x in (("", b), (":floor", c)):
        areas, steps = marginal_distances(a, x)
        found[f"marginals{name}"] = (areas * units).tolist()
        found[f"marginal_wasserstein{name}"] = areas.max().item()
        found[f"marginal_kolmogorov{name}"] = steps.max().item()
        if a.shape[1] > 1:
            found[f"correlations{name}"] = correlation_difference(a, x)
    return found


def find_mixture(held_out: Dataset) -> tuple[Tensor, float]:
    """Centres and deviation of the mixture that vectors are points of; UserError where they are of none known."""
    known = MIXTURES.get(held_out.name)
    if known is None or held_out.shape != known.centres.shape[1:]:
        raise UserError(f"modes are known of {' and '.join(MIXTURES)} only, and these are {held_out.name}")
    centres = torch.from_numpy(known.centres)
    if mode_coverage(held_out.x, centres, known.sigma).high_quality < OWN:
        raise UserError(f"{held_out.name} is named like a mixture, but its points are not that one's: rename it")
    return centres, known.sigma


def mode_metrics(s: Comparison) -> MetricValues:
    """Modes captured, share of high quality, and reverse KL, of samples of a mixture."""
    centres, sigma = find_mixture(s.held_out)
    found: MetricValues = {"modes": len(centres)}
    for name, x in (("", s.fake), (":floor", s.other)):
        captured, good, kl = mode_coverage(x.x, centres, sigma)
        found |= {f"modes_captured{name}": captured, f"high_quality{name}": good, f"reverse_kl{name}": kl}
    return found


def metric_entry(s: Comparison, name: str, value: Any, floor: Any, error: Any = None) -> MetricValues:
    """A number, or one a class, its floor and perhaps its error, under a name that says on whose features it is."""
    of = f"{name}:{s.space.tag}"
    return {of: value, f"{of}:floor": floor} | ({} if error is None else {f"{of}:error": error})


__all__ = [
    "DEFAULT_SAMPLES",
    "Comparison",
    "ComparisonSetup",
    "MetricValues",
    "build_comparison",
    "check_sample_size",
    "duplicate_metric",
    "extract_features",
    "fid",
    "find_mixture",
    "generate_like",
    "kid",
    "memorisation",
    "metric_entry",
    "mode_metrics",
    "ms_ssim_metric",
    "prdc",
    "prepare_comparison",
    "report_remaining_time",
    "run_metrics",
    "sliced_wasserstein_metric",
    "two_sample",
    "vector_metrics",
]  # fmt: skip
