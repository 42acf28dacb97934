"""How good the averaged weights are while a run trains: their samples against its data, again and again.

By that number the best weights of a GAN are kept, which is at its best long before its end, or never settles:
StudioGAN's own logs show DCGAN on CIFAR-10 best after a fifth of its steps, its FID then three times as large.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from ..config import Plan
from ..data import Collection, Data, Scaling
from ..data.scaling import multiplied
from ..errors import UserError
from ..inference.trained import Trained
from ..metrics import kernel_distance
from ..metrics.distances import BLOCKS
from ..metrics.features import AS_IS, CPU, NAMES, Features, chosen, features_for, where
from ..metrics.features.efficientnet import LITE0, SMALL
from ..metrics.features.untrained import RANDOM
from ..metrics.jackknife import sliced_score
from ..metrics.likelihood import mean_and_error
from ..metrics.neighbours import nearest, points, rare
from ..model import Encodes, Model, Samples, Shape, a_name_of, device_of
from ..models._variational import WithLikelihood
from ..randomness import generator
from .loop import State, scale
from .schedule import Schedule, of_step, operations, schedule

DIRECTIONS = 100
"""random projections of vectors"""
SORTED = 5000
"""operations that the projection and the sorting of a vector, in one direction, count for"""
PASSES = 16
"""operations that looking at a distance between two examples counts for, besides its product"""
FEW = 2000
"""training examples up to which copies of them are looked for"""
OFTEN = 5
"""times that an example occurs in the data, at most, so that samples can be copies of it"""
SELDOM = 1000
"""steps between two measurements, and between checkpoints, above which cheaper features are used"""
LEAST = 2 * BLOCKS
"""examples below which nothing is measured"""


def why_not(model: Model, data: Data) -> str:
    """Why samples of a model of these data are not measured while it trains, in a clause; nothing where they are."""
    if model.domains == 2 or not isinstance(model, Samples):
        return f"{a_name_of(model)} makes nothing from noise"
    encodes, has_prior = isinstance(model, Encodes), isinstance(model, WithLikelihood)
    if encodes and not has_prior:
        return f"{a_name_of(model)} has no distribution of codes to draw samples from"
    if len(data) < LEAST:
        return f"{data.name} has {len(data)} examples, and {LEAST} are needed"
    return ""


def check_patience(model: Model, data: Data, plan: Plan) -> None:
    """UserError where a run is to stop by a number that it does not have."""
    if plan.patience is not None and (reason := why_not(model, data)):
        raise UserError(
            f"patience={plan.patience} waits for better samples, but they are not measured: {reason}; leave it out"
        )


def begin(
    model: Model, data: Data, learnt: Data, plan: Plan, state: State, lines: Sequence[dict[str, Any]] = ()
) -> "Light | None":
    """How samples are measured against `data`, which the model sees as `learnt`; None where they are not.

    A run that goes on, whose log has `lines`, is measured on the features that it began with, since numbers on others
    do not compare; where those cannot be had, or the run is of a version that measured otherwise, it begins to look for
    its best weights anew.
    """
    if why_not(model, data):
        return None
    assert isinstance(data, Collection)
    began = time.monotonic()
    device = device_of(state.nets)
    was = metric_of(lines) or state.metric
    trained = Trained(model, data.shape, state.average, scaling=scale(state, model, learnt))
    step = of_step(model, learnt, plan, state)

    def due(space: Features) -> Schedule:
        return schedule(step, cost(trained, data, space), plan.every, len(data))

    space = again(was, data.shape, device)
    if space is None:
        space = space_of(data.shape, data.name, device, Scaling.of(data.x))
        if space.name == SMALL.name and due(space).every > max(plan.every, SELDOM):
            space = features_for(RANDOM, data.shape, device=device)
    light = Light(data, space, plan.seed, due(space), time.monotonic() - began)
    same = light.metric == (state.metric or was) and bool(state.metric or as_before(model, data))
    if state.lowest is not None and not same:
        state.lowest, state.error, state.waited, light.anew = None, 0.0, 0, True
    state.metric = light.metric
    return light


def as_before(model: Model, data: Collection) -> bool:
    """Whether samples are measured as they were by versions whose checkpoints do not name the metric.

    These compared vectors in their own units, images with the colours that alpha hides, and samples of a conditional
    model that had the labels of the examples, which made them nearer.
    """
    return data.are_images and data.shape[0] < 4 and not model.labelled


def metric_of(lines: Sequence[dict[str, Any]]) -> str:
    """What the last measurement in a log is called; nothing where there is none."""
    return next((str(line["samples"]["metric"]) for line in reversed(lines) if "samples" in line), "")


def of_features(lines: Sequence[dict[str, Any]], light: "Light | None") -> list[str]:
    """That a run that goes on is measured otherwise than before, and what colour is seen by on a CPU, in a sentence."""
    if light is None:
        return []
    was = metric_of(lines)
    if not light.anew:
        return [] if was else of_colour(light)
    before = f"{was} before" if was not in ("", light.metric) else "otherwise than before"
    return [f"samples are measured by {light.metric} from here on, {before}: the best weights are looked for anew"]


def of_colour(light: "Light") -> list[str]:
    """Which features compare images in colour where those of `ganvas evaluate` take too long; nothing elsewhere."""
    shape, name = light.data.shape, light.space.name
    if len(shape) == 1 or shape[0] == 1 or light.space.device != CPU or name not in (SMALL.name, RANDOM):
        return []
    found, remedy = where(SMALL.name)
    if not found:
        return [f"samples are measured on {name}, which see less than EfficientNet does: {remedy}"]
    why = f": {SMALL.name} would take too long beside so small a model" if name == RANDOM else ""
    return [f"samples are measured on {name}{why}"]


def again(metric: str, shape: Shape, device: torch.device) -> Features | None:
    """The features of a number of this name, where they are there and the same."""
    name, _, _ = metric.removeprefix("kid:").partition("@")
    slow = name == LITE0.name and device == CPU
    if not metric.startswith("kid:") or name not in NAMES or not where(name)[0] or slow:
        return None
    space = features_for(name, shape, device=device)
    return space if metric == f"kid:{space.tag}" else None


def space_of(shape: Shape, data: str, device: torch.device, units: Scaling = AS_IS) -> Features:
    """What `ganvas evaluate` compares such examples on; but on a CPU EfficientNet has small images, for time."""
    name = chosen(shape, data)
    name = SMALL.name if name == LITE0.name and device == CPU else name
    return features_for(name, shape, device=device, units=units)


def cost(trained: Trained, data: Collection, space: Features) -> Callable[[int], float]:
    """The operations of a measurement of n samples, in which the examples' features count anew each time.

    Those in float64 count twice.
    """
    two = data.at(slice(2))
    sample = operations(trained.decode, noise(trained, 2, 0), two.labels) / 2
    known, images, d = known_of(len(data)), data.are_images, space.size
    feature = space.slow * operations(space, two.x) / 2

    def of(n: int) -> float:
        compared = 12 * d * n / BLOCKS if images else SORTED * DIRECTIONS
        copies = 8 * (d + PASSES) * n * known
        return n * (sample + 2 * feature + compared) + known * feature + copies

    return of


def known_of(examples: int) -> int:
    """Examples of which copies are looked for: all, or none."""
    return examples if examples <= FEW else 0


def noise(trained: Trained, n: int, seed: int) -> Tensor:
    """n codes, the same at every checkpoint."""
    return trained.noise(n, generator(CPU, seed, "compared"))


@dataclass(eq=False)
class Light:
    """A measurement that is the same each time: the same examples and, for samples, the same noise and labels."""

    data: Collection
    space: Features
    seed: int
    when: Schedule
    spent: float = 0.0
    """seconds that it has taken and that no line of the log has yet"""
    anew: bool = False
    """whether what a run has measured before does not compare"""

    @cached_property
    def some(self) -> Collection:
        """The examples that samples are compared with."""
        return self.data.some(self.when.n, self.seed, "compared")

    @cached_property
    def labels(self) -> Tensor | None:
        """Of samples, drawn from those of all the data: not those of the examples that samples are compared with."""
        if self.data.labels is None:
            return None
        random = generator(CPU, self.seed, "labels")
        return self.data.labels[torch.randint(len(self.data), (len(self.some),), generator=random)]

    @cached_property
    def real(self) -> Tensor:
        """Their features, n x d."""
        return self.space(self.some.x)

    @cached_property
    def known(self) -> tuple[Tensor, Tensor] | None:
        """Where they are few, the features of all that differ, and the 1% quantile of distances to the nearest other.

        Of examples that are exactly alike one counts: the others have not been copied, they are data.  What occurs
        more than `OFTEN` times, as empty images may, is a kind of thing to learn, and none of it counts.
        """
        if not known_of(len(self.data)):
            return None
        x, times = multiplied(self.data.x).unique(dim=0, return_counts=True)
        features = self.space(x[times <= OFTEN]) if (times <= OFTEN).any() else self.real[:0]
        if len(features) < LEAST:
            return None
        apart = points(features, k=1)[0].radii(1)
        return (features, rare(apart)) if (apart > 0).any() else None

    def measure(self, trained: Trained) -> dict[str, Any]:
        """What the log says of the samples: metric, value, standard error, number of samples; copies, where known."""
        began = time.monotonic()
        made = trained.decode(noise(trained, len(self.some), self.seed), self.labels).x
        of_made = self.space(made)
        name, (value, error) = self.metric, self.distance(of_made)
        found: dict[str, Any] = {"metric": name, "value": shown(value), "error": shown(error), "n": len(made)}
        if self.known is not None:
            found["memorised"] = round(copied(of_made, *self.known), 4)
        self.spent += time.monotonic() - began
        return found

    @property
    def metric(self) -> str:
        """The number's name, as `ganvas evaluate` has it."""
        return f"kid:{self.space.tag}" if self.data.are_images else "sliced_wasserstein"

    def distance(self, of_made: Tensor) -> tuple[float, float]:
        """The distance from samples to examples, of vectors in their deviations, and its standard error."""
        if self.data.are_images:
            return mean_and_error(kernel_distance(self.real, of_made))
        value, *terms = sliced_score(self.real, of_made, DIRECTIONS, self.seed)
        return value, sum(t.var().item() / len(t) for t in terms) ** 0.5

    def seconds(self) -> float:
        """What has been `spent`; none is left."""
        spent, self.spent = self.spent, 0.0
        return round(spent, 4)


def copied(made: Tensor, known: Tensor, limit: Tensor) -> float:
    """The share of samples that are nearer to one of the known examples than the limit."""
    reference, fake = points(known, made)
    return (nearest(fake.x, reference.x)[0] < limit).double().mean().item()


def shown(value: float) -> float | None:
    """A number for the log, to seven digits; None where there is none."""
    return float(f"{value:.7g}") if isfinite(value) else None


def note(state: State, value: float | None, error: float | None) -> bool:
    """Keep count of the lowest number; returns whether the present weights are the best.

    They are if the number is within a standard error of the lowest, that of the lowest itself: of equally good weights
    the later ones are the best (Breiman et al., Classification and Regression Trees, 1984, section 3.4.3).
    """
    best = state.lowest is None or (value is not None and value <= state.lowest + state.error)
    state.best = state.step if best else state.best
    state.waited += 1
    if value is not None and (state.lowest is None or value < state.lowest):
        state.lowest, state.error, state.waited = value, error or 0.0, 0
    return best
