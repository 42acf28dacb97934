"""How an encoder's codes are used, in plain numbers for the log."""

from typing import Any

from torch import Tensor

from ..distributions.posteriors import ACTIVE_THRESHOLD

SHOWN = 256
"""latent dimensions whose KL the log keeps; of more, those with the largest"""
DEAD_STD_RATIO = 0.01
"""standard deviation of an autoencoder's latent dimension, a share of the widest one's, below which it is dead"""


def latent_report(seen: dict[str, Tensor]) -> dict[str, Any]:
    """Plain numbers for the log, from what a model observed of its codes."""
    if not seen:
        return {}
    report: dict[str, Any] = {"dimensions": len(seen["aggregate_std"])}
    if "kl" in seen:
        largest = seen["kl"].sort(descending=True).values[:SHOWN] if len(seen["kl"]) > SHOWN else seen["kl"]
        report["active"] = int((seen["mean_variance"] > ACTIVE_THRESHOLD).sum())
        report["kl"] = round(seen["kl"].sum().item(), 4)
        if len(seen["kl"]) == report["dimensions"]:
            report["kl_per_dimension"] = [round(v, 4) for v in largest.tolist()]
    else:
        report["dead"] = int((seen["aggregate_std"] <= DEAD_STD_RATIO * seen["aggregate_std"].max()).sum())
    used = seen["mean_variance"] > ACTIVE_THRESHOLD if "mean_variance" in seen else seen["aggregate_std"] > 0
    mean, std = seen["aggregate_mean"][used], seen["aggregate_std"][used].clamp_min(1e-6)
    if len(mean):
        far = 0.5 * (mean.square() + std.square() - 1) - std.log()
        report |= {
            "from_prior": round(far.mean().item(), 4),
            "std": [round(std.min().item(), 3), round(std.max().item(), 3)],
        }
    return report
