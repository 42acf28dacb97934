"""What is wrong with a run, said in a sentence with its evidence and the remedy that applies."""

from typing import Any

from torch import Tensor

from .model import Model, name_of
from .posteriors import ACTIVE

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
        if len(seen["kl"]) == report["dimensions"]:
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
    return of_codes(model, report.get("codes", {}), done, steps)


def of_codes(model: Model, report: dict[str, Any], done: int, steps: int) -> list[str]:
    """What is wrong with an encoder's codes."""
    found = []
    early = done < max(200, steps // 10) or done <= getattr(model, "warmup", 0)
    if "active" in report and report["active"] <= report["dimensions"] // 20 and not early:
        found.append(
            f"posterior collapse: {report['active']} of {report['dimensions']} latent dimensions are active (variance "
            f"of the posterior's mean above {ACTIVE}), KL {report['kl']:.2f} nats, so samples ignore the code; "
            f"remedies: {', '.join(against_collapse(model))}"
        )
    elif report.get("from_prior", 0) > FAR and done == steps and not early and fits_a_prior(model):
        low, high = report["std"]
        remedies = ["fit a prior to the codes (ganvas fit-prior, then sample --prior best)", *nearer(model)]
        found.append(
            f"the codes are far from N(0, I): their standard deviations go from {low:g} to {high:g} "
            f"({report['from_prior']:.2f} nats a dimension, limit {FAR}), so samples are worse than reconstructions; "
            f"remedies: {', or '.join(remedies)}"
        )
    return found


def fits_a_prior(model: Model) -> bool:
    """Whether the model samples from N(0, I) although its codes may lie elsewhere."""
    return model.normal or name_of(model) == "autoencoder"


def against_collapse(model: Model) -> list[str]:
    """What to change, of what goes with this model's other options and has not been changed yet."""
    has = {name: getattr(model, name, None) for name in ("beta", "warmup", "free_bits", "capacity", "geco", "prior")}
    if has["geco"] is not None:
        return [f"a --geco below {has['geco']:g}", "a smaller --lr"]
    if has["capacity"] is not None:
        return [f"a --capacity above {has['capacity']:g}", "a smaller --lr"]
    remedies = []
    if has["beta"] is not None and has["beta"] > 1:
        remedies.append(f"a --beta below {has['beta']:g}")
    if has["warmup"] == 0:
        remedies.append("a warm-up of the KL (--warmup, a third of the steps)")
    if has["free_bits"] == 0 and has["prior"] != "vamp":
        remedies.append("free bits (--free-bits 0.1)")
    if getattr(model, "likelihood", "") == "gaussian" and isinstance(getattr(model, "sigma", ""), float):
        remedies.append("a smaller --sigma")
    return [*remedies, "a smaller --lr"]


def nearer(model: Model) -> list[str]:
    """What brings the codes nearer to N(0, I), of what goes with this model's other options."""
    for name, words in (("geco", "a --geco above"), ("capacity", "a --capacity below"), ("beta", "a --beta above")):
        value = getattr(model, name, None)
        if value is not None:
            return [f"{words} {value:g}"]
    return []
