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

from ..data import Collection, Scaling
from ..data.builtin import MIXTURES
from ..data.scaling import backgrounds
from ..distributions.priors import STANDARD
from ..errors import UserError
from ..inference.trained import Trained
from ..metrics import energy_distance, kernel_distance, modes, sliced_wasserstein
from ..metrics.distances import correlations, extrapolates, frechets, marginals, too_few, wasserstein
from ..metrics.features import Features, features_for
from ..metrics.fidelity import ms_ssim, scales
from ..metrics.jackknife import infinity_error
from ..metrics.likelihood import mean_and_error
from ..metrics.neighbours import Points, copying, coverage, doubles, points, told_apart
from ..model import device_of
from ..randomness import generator

N = 10_000
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
Numbers = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Sides:
    """The examples to compare, with their features: `n` held-out, as many others that are real, as many generated."""

    held_out: Collection
    other: Collection
    made: Collection
    features: Features
    of_held_out: Tensor
    of_other: Tensor
    of_made: Tensor

    @cached_property
    def points(self) -> list[Points]:
        """The features of held-out, generated and other real examples, with their neighbours."""
        return points(self.of_held_out, self.of_made, self.of_other)

    @property
    def numbers(self) -> tuple[Tensor, Tensor, Tensor]:
        """The numbers of held-out, generated and other real examples themselves, for distances between these.

        Bytes of images, those with alpha on black and on white; vectors in deviations of the held-out examples, their
        features, so that a column in large units does not drown the others.
        """
        if not self.held_out.are_images:
            return self.of_held_out, self.of_made, self.of_other
        real, made, other = (backgrounds(part.x) for part in (self.held_out, self.made, self.other))
        return real, made, other


class Ready(NamedTuple):
    """What samples are compared with, on which features, and how many of each side."""

    held_out: Collection
    other: Collection
    features: Features
    n: int
    said: str = ""
    """where the data allow fewer than were asked for, that and why"""


def ready(trained: Trained, held_out: Collection, other: Collection, n: int, features: str, prior: str | None) -> Ready:
    """Everything but the samples; UserError for what would else be found out after they were computed."""
    if prior not in (None, STANDARD):
        trained.fitted(str(prior))
    asked, n = n, min(n, len(held_out), len(other))
    if n < FEWEST:
        raise UserError(
            f"samples are compared with as many held-out examples, {FEWEST} at least, and here is {n}: give more data, "
            "or a higher n"
        )
    space = features_for(
        features, trained.shape, data=held_out.name, device=device_of(trained.nets), units=Scaling.of(held_out.x)
    )
    there = f"{len(held_out)} examples to compare with, and {len(other)} others for the floor"
    said = f" ({asked} asked for, but the data allow {n}: there are {there})" if n < asked != N else ""
    return Ready(held_out, other, space, n, said)


def sides(trained: Trained, real: Ready, prior: str | None, seed: int, progress: Callable[[str], None]) -> Sides:
    """The examples of each side, all as many."""
    held_out, other, space, n, _ = real
    made = made_by(trained, other, n, prior, seed)
    held_out, other = held_out.some(n, seed, "held out"), other.some(n, seed, "other")
    seen = (features_of(part, space, progress) for part in (held_out, other, made))
    return Sides(held_out, other, made, space, *seen)


def made_by(trained: Trained, other: Collection, n: int, prior: str | None, seed: int) -> Collection:
    """n generated examples, by a conditional model of labels that are drawn from those of the other real examples.

    Not of the labels of the held-out ones: samples would then share those with what they are compared with, and come
    out nearer to it than real examples do (a kernel distance of perfect ones is then below 0).
    """
    labels = other.some(n, seed, "labels").labels if trained.model.labelled else None
    x = trained.decode(trained.drawn(n, seed, prior), labels).x
    return replace(other, x=x, labels=labels, name="generated")


def features_of(data: Collection, space: Features, progress: Callable[[str], None]) -> Float[Tensor, "n size"]:
    """The features of examples; where they take long, how long is left."""
    return space(data.x, timed(f"{space.name} of {data.name}", progress))


def timed(what: str, progress: Callable[[str], None]) -> Callable[[int, int], None]:
    """A function of (done, total) that says now and then how long is left, and nothing of what is done at once."""
    began = last = monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal last
        now = monotonic()
        if now - last > SILENT and done < total:
            last, left = now, (now - began) * (total / done - 1)
            progress(f"{what}: {done} of {total}, {left:.0f} s left")

    return tell


def fid(s: Sides, few: bool) -> Numbers:
    """The Frechet distance, and with its standard error that of infinitely many; UserError where there are too few.

    Where there are too few for the latter alone, "left_out" says so.
    """
    n = len(s.of_made)
    enough(n, s.features, few)
    (value, infinite), (floor, infinite_floor) = frechets(s.of_held_out, s.of_made, s.of_other)
    found = named(s, "fid", value, floor)
    if not extrapolates(n, s.features.size):
        return found | {"left_out": {"fid_infinity": too_few(n, s.features.size)}}
    return found | named(s, "fid_infinity", infinite, infinite_floor, infinity_error(s.of_held_out, s.of_made))


def chosen_of(
    measures: dict[str, Callable[[], Numbers]],
    names: Sequence[str],
    asked: bool,
    progress: Callable[[str], None] = lambda line: None,
) -> Numbers:
    """The numbers of these metrics; "left_out" says why one is not there, which is an error if it was asked for."""
    result: Numbers = {"left_out": {}}
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


def enough(n: int, space: Features, few: bool) -> None:
    """UserError where there are fewer examples than features, and nobody asked for a number nevertheless."""
    if n <= space.size and not few:
        raise UserError(
            f"a Frechet distance of {n} examples on {space.size} features is mostly bias: use more examples, the "
            "metric kid, or few=true to have it nevertheless"
        )


def kid(s: Sides) -> Numbers:
    """The kernel distance with its standard error."""
    (value, error), (floor, _) = (mean_and_error(kernel_distance(s.of_held_out, x)) for x in (s.of_made, s.of_other))
    return named(s, "kid", value, floor, error)


def prdc(s: Sides) -> Numbers:
    """Precision, recall, density and coverage."""
    real, *others = s.points
    pairs = zip(*(coverage(real, x)._asdict().items() for x in others), strict=True)
    found: Numbers = {}
    for (name, terms), (_, of_floor) in pairs:
        found |= named(s, name, terms.double().mean().item(), of_floor.double().mean().item())
    return found


def two_sample(s: Sides) -> Numbers:
    """The accuracy of nearest neighbours in telling generated from held-out examples, and on each of the two."""
    real, *others = s.points
    found, floor = (told_apart(real, x) for x in others)
    names = ("two_sample_real", "two_sample_generated")
    result = named(s, "two_sample", sum(found) / 2, sum(floor) / 2)
    for name, value, least in zip(names, found, floor, strict=True):
        result |= named(s, name, value, least)
    return result


def memorisation(s: Sides, train: Collection | None, progress: Callable[[str], None]) -> Numbers:
    """How near samples are to the training data; UserError where these are what the samples are compared with."""
    if train is None:
        raise UserError(NO_TRAIN)
    reference = features_of(train, s.features, progress)
    found = copying(reference, s.of_held_out, s.of_made)
    return named(s, "nearer_to_training", found.nearer, 0.5) | named(s, "memorised", found.memorised, found.expected)


def repeated(s: Sides) -> Numbers:
    """The share of samples that have another just like them."""
    real, made, other = s.points
    return named(s, "duplicates", doubles(real, made), doubles(real, other))


def sliced(s: Sides, seed: int) -> Numbers:
    """The sliced Wasserstein distance of pixels in [0, 1], or of vectors in deviations."""
    real, *others = s.numbers
    value, floor = (sliced_wasserstein(real, x, seed=seed) / s.held_out.unit for x in others)
    return {"sliced_wasserstein": value, "sliced_wasserstein:floor": floor}


def diversity(s: Sides, seed: int) -> Numbers:
    """Mean MS-SSIM of pairs of samples: higher than that of real pairs where samples are too much alike."""

    def mean(x: Tensor) -> float:
        random = generator(torch.device("cpu"), seed, "pairs")
        first = torch.randint(len(x), (min(PAIRS, len(x)),), generator=random)
        second = (first + torch.randint(1, len(x), first.shape, generator=random)) % len(x)  # never itself
        a, b = (backgrounds(x[index]).float() / 255 for index in (first, second))
        return ms_ssim(a, b).mean().item()

    return {
        "ms_ssim": mean(s.made.x), "ms_ssim:floor": mean(s.other.x), "ms_ssim_scales": scales(s.made.shape),
    }  # fmt: skip


def vectors(s: Sides) -> Numbers:
    """Distances of vectors: energy, Wasserstein (where POT is installed), of each dimension, and of correlations.

    All are in deviations of the held-out examples, but for `marginals`, which are in the units of each column.
    """
    a, b, c = s.numbers
    found: Numbers = {"energy": energy_distance(a, b), "energy:floor": energy_distance(a, c)}
    try:
        few = [x[:TRANSPORTED] for x in (a, b, c)]
        found |= {"wasserstein": wasserstein(few[0], few[1]), "wasserstein:floor": wasserstein(few[0], few[2])}
        found["wasserstein_n"] = len(few[0])
    except UserError as missing:
        found["wasserstein_missing"] = str(missing)
    units = Scaling.of(s.held_out.x).unit
    for name, x in (("", b), (":floor", c)):
        areas, steps = marginals(a, x)
        found[f"marginals{name}"] = (areas * units).tolist()
        found[f"marginal_wasserstein{name}"] = areas.max().item()
        found[f"marginal_kolmogorov{name}"] = steps.max().item()
        if a.shape[1] > 1:
            found[f"correlations{name}"] = correlations(a, x)
    return found


def mixture_of(held_out: Collection) -> tuple[Tensor, float]:
    """Centres and deviation of the mixture that vectors are points of; UserError where they are of none known."""
    known = MIXTURES.get(held_out.name)
    if known is None or held_out.shape != known.centres.shape[1:]:
        raise UserError(f"modes are known of {' and '.join(MIXTURES)} only, and these are {held_out.name}")
    centres = torch.from_numpy(known.centres)
    if modes(held_out.x, centres, known.sigma).high_quality < OWN:
        raise UserError(f"{held_out.name} is named like a mixture, but its points are not that one's: rename it")
    return centres, known.sigma


def modes_found(s: Sides) -> Numbers:
    """Modes captured, share of high quality, and reverse KL, of samples of a mixture."""
    centres, sigma = mixture_of(s.held_out)
    found: Numbers = {"modes": len(centres)}
    for name, x in (("", s.made), (":floor", s.other)):
        captured, good, kl = modes(x.x, centres, sigma)
        found |= {f"modes_captured{name}": captured, f"high_quality{name}": good, f"reverse_kl{name}": kl}
    return found


def named(s: Sides, name: str, value: Any, floor: Any, error: Any = None) -> Numbers:
    """A number, or one a class, its floor and perhaps its error, under a name that says on whose features it is."""
    of = f"{name}:{s.features.tag}"
    return {of: value, f"{of}:floor": floor} | ({} if error is None else {f"{of}:error": error})


__all__ = [
    "N", "Numbers", "Ready", "Sides", "chosen_of", "diversity", "enough", "features_of", "fid", "kid", "made_by",
    "memorisation", "mixture_of", "modes_found", "named", "prdc", "ready", "repeated", "sides", "sliced", "timed",
    "two_sample", "vectors",
]  # fmt: skip
