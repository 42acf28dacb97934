"""The figures of a log: what it holds of an encoder's codes, how these or the game stand, and how they came about."""

from collections.abc import Sequence
from statistics import median
from typing import Any

from torch import Tensor

from ..distributions.posteriors import ACTIVE_THRESHOLD
from ..rules import MANY_TIMES, MIN_SWING, Figures

Lines = Sequence[dict[str, Any]]
RECENT = 200
"""lines that are looked at, besides the first: what is older is past"""
LAST_OF_GAME, LAST_OF_TRENDS = 5, 3
"""lines of which medians are taken, since each line is of few steps: of how a game stands, and of what all runs have"""
MAX_LOGGED_DIMENSIONS = 256
"""latent dimensions whose KL the log keeps; of more, those with the largest"""
DEAD_STD_RATIO = 0.01
"""standard deviation of an autoencoder's latent dimension, a share of the widest one's, below which it is dead"""


def latent_report(statistics: dict[str, Tensor]) -> dict[str, Any]:
    """Plain numbers for the log, from what a model observed of its codes."""
    if not statistics:
        return {}
    kl, mean_variance, all_stds = statistics.get("kl"), statistics.get("mean_variance"), statistics["aggregate_std"]
    report: dict[str, Any] = {"dimensions": len(all_stds)}
    if kl is None:
        report["dead_units"] = int((all_stds <= DEAD_STD_RATIO * all_stds.max()).sum())
    else:
        report["active_units"] = int((statistics["mean_variance"] > ACTIVE_THRESHOLD).sum())
        report["kl"] = round(kl.sum().item(), 4)
        if len(kl) == len(all_stds):
            largest = kl.sort(descending=True).values[:MAX_LOGGED_DIMENSIONS] if len(kl) > MAX_LOGGED_DIMENSIONS else kl
            report["kl_per_dimension"] = [round(v, 4) for v in largest.tolist()]
    used = all_stds > 0 if mean_variance is None else mean_variance > ACTIVE_THRESHOLD
    mean, std = statistics["aggregate_mean"][used], all_stds[used].clamp_min(1e-6)
    if len(mean):
        distance = 0.5 * (mean.square() + std.square() - 1) - std.log()
        extremes = [round(std.min().item(), 3), round(std.max().item(), 3)]
        report |= {"kl_from_prior": round(distance.mean().item(), 4), "aggregate_std_range": extremes}
    return report


def recent_lines(lines: Lines) -> Lines:
    """The first line, and the last ones."""
    return [*lines[:1], *lines[1:][-RECENT:]]


def monitored_statistics(line: dict[str, Any]) -> dict[str, Any]:
    """How the game stands, or the codes are used, in a line."""
    statistics: dict[str, Any] = line.get("adversarial") or line.get("latent") or {}
    return statistics


def log_figures(lines: Lines) -> Figures:
    """What rules may name: the statistics of the last line, and what the lines say together."""
    figures = Figures(monitored_statistics(lines[-1]))
    if "adversarial" in lines[-1]:
        figures |= {name: median(values(lines[-LAST_OF_GAME:], name)) for name in figures}
    for name in ("weight_scale", "outside_fraction", "ema_lag"):
        if recent := values(lines, name)[-LAST_OF_TRENDS:]:
            figures[name] = median(recent)
    if copies := [line["samples"]["memorised"] for line in lines if "memorised" in line.get("samples", {})]:
        figures["memorised"] = copies[-1]
    samples = lines[-1].get("samples", {})
    figures |= {f"samples_{name}": value for name, value in samples.items() if value is not None}
    if distances := values(lines[len(lines) // 2 :], "distance_to_data"):
        figures["reversals"] = count_reversals(distances, MIN_SWING)
        figures |= {"nearest": min(distances), "farthest": max(distances)}
    losses = [sum((v for k, v in line.items() if isinstance(v, float) and k != "seconds"), 0.0) for line in lines]
    if len(losses) >= 10:  # how far the loss, the sum of its terms, has risen again, as a share of its fall
        lowest, last = min(losses), median(losses[-5:])
        fallen, risen = losses[0] - lowest, last - lowest
        share = min(risen / fallen, MANY_TIMES) if fallen > 0 else MANY_TIMES if risen > 0 else 0.0
        figures |= {"lowest_loss": lowest, "last_loss": last, "loss_rise": share}
    return figures


def values(lines: Lines, name: str) -> list[float]:
    """A statistic of each line that has it."""
    return [monitored_statistics(line)[name] for line in lines if name in monitored_statistics(line)]


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
