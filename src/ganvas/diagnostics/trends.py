"""What is wrong with a run that one line of its log does not show, and what goes wrong with models of every kind."""

from collections.abc import Sequence
from statistics import median
from typing import Any

from ..model import Model
from ..models._gan import Adversarial
from ..models._translator import Translator
from .diagnosis import Diagnosis, Lines, monitored_statistics
from .games import takes_r1

MIN_SWING, MIN_REVERSALS = 0.15, 2
"""how far the distance from samples to data goes up and down, in mean distances between two examples, and how often in
the last half of the log, where a game oscillates"""
MAX_WEIGHT_SCALE = 2.0
"""size of all of a network's weights, 0.6 to 1.4 at first, above which the learning rate has thrown them about"""
MAX_LOSS_RISE = 0.5
"""share of what a loss had fallen by that it may rise again"""
MANY_TIMES = 10.0
"""times what it had fallen from which on it no longer matters how many"""
MAX_EMA_LAG = 1.5
"""error of the averaged weights, as a multiple of the latest ones', above which the average is too slow"""
MAX_OUTSIDE_SHARE = 0.05
"""share of samples that may lie far outside of what the data span"""
MAX_COPY_SHARE = 0.1
"""share of samples nearer to a training example than 99% of these are to their nearest other, above which they are
copies"""
RECENT = 200
"""lines that are looked at, besides the first: what is older is past"""
AFTER = 0.1
"""part of the run that is no sign yet"""


def check_trends(model: Model, lines: Lines, steps: int) -> list[Diagnosis]:
    """What the last lines of a log say together."""
    done = lines[-1]["step"]
    if done < max(200, AFTER * steps):
        return []
    found = [*check_learning_rate(model, lines), *check_range(lines), *check_memorisation(lines)]
    if isinstance(model, Adversarial):
        found += check_oscillation(model, lines)
    return found + (check_ema(lines) if done >= steps else [])


def recent_lines(lines: Lines) -> Lines:
    """The first line, and the last ones."""
    return [*lines[:1], *lines[1:][-RECENT:]]


def values(lines: Lines, name: str) -> list[float]:
    """A number of each line that has it."""
    return [monitored_statistics(line)[name] for line in lines if name in monitored_statistics(line)]


def check_learning_rate(model: Model, lines: Lines) -> list[Diagnosis]:
    """A learning rate that is too high: weights far larger than they began, or a loss that rises again."""
    bounded = isinstance(model, Adversarial) and (
        model.objective.weight_clip is not None or model.objective.spectral_norm
    )
    scale = [] if bounded else values(lines, "scale")[-3:]
    remedies = [f"an --lr below {model.lr:g}"]
    if getattr(model, "lr_d", None) is not None:
        remedies.append(f"an --lr-d below {model.learning_rate('D'):g}")
    remedies.append("--clip-grad-norm 1")
    if scale and median(scale) > MAX_WEIGHT_SCALE:
        said = f"every layer's weights in a network are {median(scale):.2g} times as large as keeps signals as they are"
        return [
            too_high(
                f"{said}, or more (0.6 to 1.4 at first, limit {MAX_WEIGHT_SCALE:g})",
                median(scale),
                MAX_WEIGHT_SCALE,
                remedies,
            )
        ]
    losses = [] if isinstance(model, Adversarial | Translator) else totals(model, lines)
    if len(losses) < 10:
        return []
    first, lowest, last = losses[0], min(losses), median(losses[-5:])
    fallen, risen = first - lowest, last - lowest
    if risen <= MAX_LOSS_RISE * fallen:
        return []
    share = min(risen / fallen, MANY_TIMES) if fallen > 0 else MANY_TIMES
    of = "more than it had ever fallen" if share == MANY_TIMES else f"{share:.0%} of what it had fallen"
    said = f"the loss has risen from {lowest:.4g} to {last:.4g}, {of}"
    return [too_high(f"{said} (limit {MAX_LOSS_RISE:.0%})", share, MAX_LOSS_RISE, remedies)]


def totals(model: Model, lines: Lines) -> list[float]:
    """The loss of each line; nothing where the weights of its terms change."""
    changing = [getattr(model, name, None) for name in ("warmup", "geco", "capacity")]
    if changing[0] or any(rule is not None for rule in changing[1:]):
        return []
    return [sum((v for k, v in line.items() if isinstance(v, float) and k != "seconds"), 0.0) for line in lines]


def too_high(said: str, figure: float, limit: float, remedies: Sequence[str]) -> Diagnosis:
    """The diagnosis of a learning rate."""
    return Diagnosis("the learning rate is too high", said, figure, limit, tuple(remedies), section="learning rate")


def check_divergence(line: dict[str, Any], model: Model) -> Diagnosis:
    """A run that ended because its loss was no longer finite."""
    return too_high(line["diverged"], float(line["step"]), 0.0, [f"an --lr below {model.lr:g}", "--clip-grad-norm 1"])


def check_range(lines: Lines) -> list[Diagnosis]:
    """Samples of vectors that leave the range of the data."""
    outside = values(lines, "outside")[-3:]
    if not outside or median(outside) <= MAX_OUTSIDE_SHARE:
        return []
    limit = f"(limit {MAX_OUTSIDE_SHARE:.0%})"
    said = f"{median(outside):.0%} of samples lie outside of the box of the data, made twice as wide {limit}"
    remedies = ("more --steps", "a smaller --lr", "data scaled to deviation 1")
    return [Diagnosis("leakage of range", said, median(outside), MAX_OUTSIDE_SHARE, remedies)]


def check_memorisation(lines: Lines) -> list[Diagnosis]:
    """Samples that are copies of training examples."""
    found = [line["samples"]["memorised"] for line in lines if "memorised" in line.get("samples", {})]
    if not found or found[-1] <= MAX_COPY_SHARE:
        return []
    said = (
        f"{found[-1]:.0%} of samples are nearer to a training example than 99% of training examples are to the nearest "
        f"other (limit {MAX_COPY_SHARE:.0%}, about 1% without copying)"
    )
    return [
        Diagnosis("memorisation", said, found[-1], MAX_COPY_SHARE, ("more data", "fewer --steps", "a smaller --width"))
    ]


def check_oscillation(model: Adversarial, lines: Lines) -> list[Diagnosis]:
    """A game that goes round: samples come near to the data and leave again, over and over."""
    distances = values(lines[len(lines) // 2 :], "away")
    times = count_reversals(distances, MIN_SWING) if distances else 0
    if times < MIN_REVERSALS:
        return []
    low, high = min(distances), max(distances)
    said = (
        f"in the last half of the log the distance from samples to data turned {times} times by {MIN_SWING:g} mean "
        f"distances between two examples or more (limit {MIN_REVERSALS} times), between {low:.2g} and {high:.2g}"
    )
    remedies = [f"an --lr below {model.lr:g}"]
    if model.betas[0] > 0.5:
        remedies.append("--betas 0.5 0.999")
    if takes_r1(model):
        remedies.append("a penalty on D's gradient (--r1 1)")
    return [Diagnosis("oscillation", said, float(times), float(MIN_REVERSALS), (*remedies, "--lr-decay 0.5"))]


def count_reversals(numbers: Sequence[float], least: float) -> int:
    """How often numbers that went one way by `least` or more go the other way by as much."""
    low = high = numbers[0]
    way, count = 0, 0
    for value in numbers:
        low, high = min(low, value), max(high, value)
        if way >= 0 and value <= high - least:
            way, low, count = -1, value, count + 1
        elif way <= 0 and value >= low + least:
            way, high, count = 1, value, count + 1
    return max(0, count - 1)


def check_ema(lines: Lines) -> list[Diagnosis]:
    """Averaged weights that are far behind the latest."""
    lags = values(lines, "lag")[-3:]
    if not lags or median(lags) <= MAX_EMA_LAG:
        return []
    said = f"the averaged weights, which are kept, are {median(lags):.2g} times as far from the data as the latest ones"
    remedies = ("a smaller --ema-decay", "more --steps")
    return [
        Diagnosis(
            "the average is too slow",
            f"{said} (limit {MAX_EMA_LAG:g})",
            median(lags),
            MAX_EMA_LAG,
            remedies,
            "EMA too slow",
        )
    ]
