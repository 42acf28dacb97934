"""What is wrong with an encoder's codes."""

from typing import Any

from torch import Tensor

from ..distributions.posteriors import ACTIVE_THRESHOLD
from ..model import Model, model_name
from .diagnosis import Diagnosis, is_early

MAX_PRIOR_KL = 0.3
"""nats, mean over used dimensions, between N(mean, std^2) of all codes and N(0, 1) above which samples suffer"""
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


def check_codes(model: Model, codes: dict[str, Any], done: int, steps: int) -> list[Diagnosis]:
    """What is wrong with an encoder's codes; nothing is said early, or during a warm-up of the KL."""
    if is_early(done, steps) or done <= getattr(model, "warmup", 0):
        return []
    if "active" in codes and codes["active"] <= codes["dimensions"] // 20:
        return [collapse(model, codes)]
    found = (
        [strange(model, codes)]
        if codes.get("from_prior", 0) > MAX_PRIOR_KL and done >= steps and fits_a_prior(model)
        else []
    )
    return found + (dead(model, codes) if done >= steps else [])


def collapse(model: Model, codes: dict[str, Any]) -> Diagnosis:
    """Posterior collapse: q(z|x) is the prior, whatever x is."""
    return Diagnosis(
        "posterior collapse",
        f"{codes['active']} of {codes['dimensions']} latent dimensions are active (variance of the posterior's mean "
        f"above {ACTIVE_THRESHOLD}), KL {codes['kl']:.2f} nats, so samples ignore the code",
        float(codes["active"]), float(codes["dimensions"] // 20), tuple(against_collapse(model)),
    )  # fmt: skip


def strange(model: Model, codes: dict[str, Any]) -> Diagnosis:
    """Codes that are not where samples are drawn."""
    low, high = codes["std"]
    return Diagnosis(
        "the codes are far from N(0, I)",
        f"their standard deviations go from {low:g} to {high:g} ({codes['from_prior']:.2f} nats a dimension, limit "
        f"{MAX_PRIOR_KL}), so samples are worse than reconstructions",
        codes["from_prior"], MAX_PRIOR_KL,
        ("fit a prior to the codes (ganvas fit-prior, then sample --fitted-prior best)", *nearer(model)),
        section="codes far from N(0, I)",
    )  # fmt: skip


def dead(model: Model, codes: dict[str, Any]) -> list[Diagnosis]:
    """Latent dimensions that say nothing.  A VAE that has more than it needs prunes them: that is no failure."""
    n = codes.get("dimensions", 0)
    alive = codes.get("active", n - codes.get("dead", 0))
    levels: tuple[int, ...] = getattr(model, "latents", ())
    empty = silent(levels, codes.get("kl_per_dimension", [])) if levels else []
    if not empty and 2 * alive >= n:
        return []
    which = f", and level {' and '.join(map(str, empty))} of the hierarchy says nothing" if empty else ""
    remedies = ("a --warmup of the KL", "--free-bits 0.1") if levels else (f"a --latent nearer to {max(1, alive)}",)
    what = "active" if "active" in codes else "used"
    return [
        Diagnosis(
            "dead latent", f"{alive} of {n} latent dimensions are {what} (limit a half){which}",
            float(alive), n / 2, remedies, is_alarm=False,
        )
    ]  # fmt: skip


def silent(levels: tuple[int, ...], kl: list[float]) -> list[int]:
    """Levels of a hierarchy, from 1, of which no dimension has a KL of 0.01 nats; `kl` is that of level 1 first."""
    if sum(levels) != len(kl):
        return []
    ends = [sum(levels[: i + 1]) for i in range(len(levels))]
    return [
        i + 1 for i, (end, n) in enumerate(zip(ends, levels, strict=True)) if max(kl[end - n : end]) < ACTIVE_THRESHOLD
    ]


def fits_a_prior(model: Model) -> bool:
    """Whether the model samples from N(0, I) although its codes may lie elsewhere."""
    return model.has_normal_prior or model_name(model) == "autoencoder"


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
