"""What is wrong with a run, said in a sentence with its evidence and the remedy that applies."""

from typing import Any

from torch import Tensor

from .model import Model

ACTIVE = 0.01
"""variance over examples of the posterior's mean above which a latent dimension counts as active (arXiv:1509.00519)"""
FAR = 0.3
"""nats, mean over used dimensions, between N(mean, std^2) of all codes and N(0, 1) above which samples suffer"""
SHOWN = 256
"""latent dimensions whose KL the log keeps; of more, those with the largest"""


def latent_report(seen: dict[str, Tensor]) -> dict[str, Any]:
    """Plain numbers for the log, from what a model observed of its codes."""
    if not seen:
        return {}
    report: dict[str, Any] = {"dimensions": len(seen["aggregate_std"])}
    if "kl" in seen:
        largest = seen["kl"].sort(descending=True).values[:SHOWN] if len(seen["kl"]) > SHOWN else seen["kl"]
        report["active"] = int((seen["mean_variance"] > ACTIVE).sum())
        report["kl"] = round(seen["kl"].sum().item(), 4)
        report["kl_per_dimension"] = [round(v, 4) for v in largest.tolist()]
    used = seen["mean_variance"] > ACTIVE if "mean_variance" in seen else seen["aggregate_std"] > 0
    mean, std = seen["aggregate_mean"][used], seen["aggregate_std"][used].clamp_min(1e-6)
    if len(mean):
        far = 0.5 * (mean.square() + std.square() - 1) - std.log()
        report |= {
            "from_prior": round(far.mean().item(), 4),
            "std": [round(std.min().item(), 3), round(std.max().item(), 3)],
        }
    return report


def diagnose(model: Model, report: dict[str, Any], done: int, steps: int) -> list[str]:
    """What `report`, the latest of a run that has done so many of its steps, says is wrong."""
    found = []
    early = done < max(200, steps // 10) or done <= getattr(model, "warmup", 0)
    if "active" in report and report["active"] <= report["dimensions"] // 20 and not early:
        found.append(
            f"posterior collapse: {report['active']} of {report['dimensions']} latent dimensions are active (variance "
            f"of the posterior's mean above {ACTIVE}), KL {report['kl']:.2f} nats, so samples ignore the code; "
            f"remedies: {collapse_remedies(model)}"
        )
    elif report.get("from_prior", 0) > FAR and done == steps and getattr(model, "prior", "standard") == "standard":
        low, high = report["std"]
        found.append(
            f"the codes are far from N(0, I): their standard deviations go from {low:g} to {high:g} "
            f"({report['from_prior']:.2f} nats a dimension, limit {FAR}), so samples are worse than reconstructions; "
            f"remedy: fit a prior to the codes (ganvas fit-prior, then sample --prior best){larger_beta(model)}"
        )
    return found


def collapse_remedies(model: Model) -> str:
    """What to change, of what this model has not changed yet."""
    remedies = []
    if getattr(model, "beta", 0) > 1:
        remedies.append(f"a beta below {model.beta:g}")  # type: ignore[attr-defined]
    if getattr(model, "warmup", None) == 0:
        remedies.append("a warm-up of the KL (--warmup, a third of the steps)")
    if getattr(model, "free_bits", None) == 0:
        remedies.append("free bits (--free-bits 0.1)")
    if getattr(model, "likelihood", "") == "gaussian" and getattr(model, "sigma", "") not in ("learned", "optimal"):
        remedies.append("--sigma optimal")
    return ", ".join([*remedies, "a smaller --lr"])


def larger_beta(model: Model) -> str:
    return f", or train with a beta above {model.beta:g}" if hasattr(model, "beta") else ""
