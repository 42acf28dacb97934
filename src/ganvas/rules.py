"""Rules of diagnosis: which figures of a run's log are signs of failure, their limits, and what to change then.

A model declares its rules (`Model.rules`); `ganvas.diagnostics` walks them with the figures of a log.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import nan
from operator import gt
from typing import TYPE_CHECKING, Any, Literal

from .config import TrainConfig
from .fields import flag, format_option

if TYPE_CHECKING:
    from .model import Model

MIN_SWING = 0.15
"""how far the distance from samples to data goes up or down, in mean distances between two examples, at a turn"""
MANY_TIMES = 10.0
"""times what a loss had fallen from which on it no longer matters how many it has risen by"""
MAX_WEIGHT_SCALE, MAX_LOSS_RISE, MAX_EMA_LAG, MAX_OUTSIDE_SHARE, MAX_COPY_SHARE = 2.0, 0.5, 1.5, 0.05, 0.1
"""limits of the figures that `general_rules` explains"""


class Figures(dict[str, Any]):
    """The figures of a log by name; one that it does not have is not a number, and so passes no limit."""

    def __missing__(self, name: str) -> float:
        return nan


@dataclass(frozen=True)
class Remedy:
    """What to change: in words and, where a command does it, as that."""

    text: str
    options: dict[str, Any] = field(default_factory=dict)
    """new values of options, of the model or of training"""
    command: str = ""
    """another command than the run's own: "train MODEL", of another model on its data, or "fit-prior"; else empty"""
    domains: str = "AB"
    """the order in which another model's command names the data of a translator"""


Remedies = tuple[Remedy, ...]


@dataclass(frozen=True)
class Rule:
    """One thing that may go wrong: a figure that passes its limit."""

    name: str
    figure: str | Callable[[Figures], float]
    """its name in the log, or how it follows from others"""
    limit: float | Callable[[Figures], float]
    evidence: str
    """in words, a format of the figures, of `figure` and `limit`"""
    remedies: Remedies | Callable[[Figures], Remedies]
    """what to change, of what goes with the model's and training's other options; or how that follows from figures"""
    section: str = ""
    """title of its section of docs/doctor.md, where that is not the name"""
    passes: Callable[[float, float], bool] = gt
    """whether the figure, first, passes the limit"""
    given: Callable[[Figures], bool] = lambda _: True
    """what else must hold"""
    phase: Literal["early", "settled", "end"] = "early"
    """when it is a sign: after the first steps, once the game has settled, or at the end"""
    after: int = 0
    """and after so many steps"""
    unless: tuple[str, ...] = ()
    """sections of what it follows from: where one of them is said, this is not"""
    is_alarm: bool = True
    """whether it is a failure, or just worth knowing"""


def below(settings: object, *names: str) -> Remedies:
    """Half of each of these numbers, of a model or of training, where it has them and they can be less."""
    values = {name: getattr(settings, name, None) for name in names}
    numbers = {k: v for k, v in values.items() if isinstance(v, int | float) and v > (1 if isinstance(v, int) else 0)}
    return tuple(Remedy(f"{flag(k)} below {v:.15g}", {k: type(v)(v / 2)}) for k, v in numbers.items())


def above(settings: object, *names: str) -> Remedies:
    """Twice each of these numbers, where a model or training has them; of 0 the default, or else 1."""
    values = {name: getattr(settings, name, None) for name in names}
    numbers = {k: v for k, v in values.items() if isinstance(v, int | float)}
    raised = {k: 2 * v or getattr(type(settings), k) or 1 for k, v in numbers.items()}
    return tuple(Remedy(f"{flag(k)} above {v:.15g}", {k: raised[k]}) for k, v in numbers.items())


def set_to(**options: Any) -> Remedy:
    """These values of options."""
    return Remedy(" ".join(map(format_option, options.items())), options)


def gradient_clipping(config: TrainConfig) -> Remedies:
    """The remedy of clipping gradients, for training that does not clip them."""
    return (set_to(clip_grad_norm=1),) if config.clip_grad_norm is None else ()


def learning_rate_decay(config: TrainConfig) -> Remedies:
    """The remedy of a learning rate that falls, for training in which it does not."""
    return () if config.lr_decay or config.lr_milestones else (set_to(lr_decay=0.5),)


def slower_learning(model: "Model", config: TrainConfig) -> Remedies:
    """What to change where the learning rate is too high."""
    return (*below(model, "lr", "lr_d"), *gradient_clipping(config))


def general_rules(
    model: "Model", config: TrainConfig, *, bounds_weights: bool = False, has_steady_loss: bool = True
) -> Iterator[Rule]:
    """What may go wrong with any model; of weights that cannot grow, and of a changing loss, some is no sign."""
    remedies, title = slower_learning(model, config), "the learning rate is too high"
    if not bounds_weights:
        yield Rule(
            title, "weight_scale", MAX_WEIGHT_SCALE,
            "every layer's weights in a network are {figure:.2g} times as large as keeps signals as they are, or more "
            "(0.6 to 1.4 at first, limit {limit:g})", remedies, "learning rate",
        )  # fmt: skip
    if has_steady_loss:
        rise = "the loss has risen from {lowest_loss:.4g} to {last_loss:.4g}, "
        yield Rule(
            title, "loss_rise", MAX_LOSS_RISE, rise + "more than it had ever fallen (limit {limit:.0%})", remedies,
            "learning rate", given=lambda figures: figures["loss_rise"] >= MANY_TIMES, unless=("learning rate",),
        )  # fmt: skip
        yield Rule(
            title, "loss_rise", MAX_LOSS_RISE, rise + "{figure:.0%} of what it had fallen (limit {limit:.0%})",
            remedies, "learning rate", unless=("learning rate",),
        )  # fmt: skip
    yield Rule(
        "leakage of range", "outside_fraction", MAX_OUTSIDE_SHARE,
        "{figure:.0%} of samples lie outside of the box of the data, made twice as wide (limit {limit:.0%})",
        (*above(config, "steps"), *below(model, "lr")),
    )  # fmt: skip
    yield Rule(
        "memorisation", "memorised", MAX_COPY_SHARE,
        "{figure:.0%} of samples are nearer to a training example than 99% of training examples are to the nearest "
        "other (limit {limit:.0%}, about 1% without copying)",
        (Remedy("more data"), *below(config, "steps"), *below(model, "width")),
    )  # fmt: skip
    yield Rule(
        "the average is too slow", "ema_lag", MAX_EMA_LAG,
        "the averaged weights, which are kept, are {figure:.2g} times as far from the data as the latest ones (limit "
        "{limit:g})", (*faster_average(config), *above(config, "steps")), "EMA too slow", phase="end",
    )  # fmt: skip


def faster_average(config: TrainConfig) -> Remedies:
    """The remedy of an average over half as many steps; few steps, too, say over how many (`training.ema`)."""
    decay = min(config.ema_decay, (1 + config.steps) / (10 + config.steps))
    return (Remedy(f"--ema-decay below {decay:.4g}", {"ema_decay": round(decay**2, 4)}),) if decay else ()
