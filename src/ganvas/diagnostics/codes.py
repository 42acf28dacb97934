"""How an encoder's codes are used, in plain numbers for the log."""

from typing import Any

from torch import Tensor

from ..distributions.posteriors import ACTIVE_THRESHOLD

SHOWN = 256
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
            largest = kl.sort(descending=True).values[:SHOWN] if len(kl) > SHOWN else kl
            report["kl_per_dimension"] = [round(v, 4) for v in largest.tolist()]
    used = all_stds > 0 if mean_variance is None else mean_variance > ACTIVE_THRESHOLD
    mean, std = statistics["aggregate_mean"][used], all_stds[used].clamp_min(1e-6)
    if len(mean):
        distance = 0.5 * (mean.square() + std.square() - 1) - std.log()
        extremes = [round(std.min().item(), 3), round(std.max().item(), 3)]
        report |= {"kl_from_prior": round(distance.mean().item(), 4), "aggregate_std_range": extremes}
    return report
