"""Rules of diagnosis: which figures of a run's log are signs of failure, their limits, and what to change then.

A model declares its rules (`Model.rules`); `ganvas.diagnostics` walks them with the figures of a log.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import nan
from operator import gt
from typing import TYPE_CHECKING, Any, Literal

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
class Rule:
    """One thing that may go wrong: a figure that passes its limit."""

    name: str
    figure: str | Callable[[Figures], float]
    """its name in the log, or how it follows from others"""
    limit: float | Callable[[Figures], float]
    evidence: str
    """in words, a format of the figures, of `figure` and `limit`"""
    remedies: tuple[str, ...]
    """what to change, of what goes with the model's other options; formats as the evidence is"""
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


def slower(model: "Model") -> str:
    """The remedy of smaller steps."""
    return f"an --lr below {model.lr:g}"


def general_rules(model: "Model", *, bounds_weights: bool = False, has_steady_loss: bool = True) -> Iterator[Rule]:
    """What may go wrong with any model; of weights that cannot grow, and of a changing loss, some is no sign."""
    lr_d = (f"an --lr-d below {model.learning_rate('D'):g}",) if getattr(model, "lr_d", None) is not None else ()
    remedies, title = (slower(model), *lr_d, "--clip-grad-norm 1"), "the learning rate is too high"
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
        ("more --steps", "a smaller --lr", "data scaled to deviation 1"),
    )  # fmt: skip
    yield Rule(
        "memorisation", "memorised", MAX_COPY_SHARE,
        "{figure:.0%} of samples are nearer to a training example than 99% of training examples are to the nearest "
        "other (limit {limit:.0%}, about 1% without copying)", ("more data", "fewer --steps", "a smaller --width"),
    )  # fmt: skip
    yield Rule(
        "the average is too slow", "ema_lag", MAX_EMA_LAG,
        "the averaged weights, which are kept, are {figure:.2g} times as far from the data as the latest ones (limit "
        "{limit:g})", ("a smaller --ema-decay", "more --steps"), "EMA too slow", phase="end",
    )  # fmt: skip
