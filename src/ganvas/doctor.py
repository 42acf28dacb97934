"""What is wrong with a run, said in a sentence with its evidence and the remedy that applies."""

from typing import Any

from torch import Tensor

from .model import Model, name_of
from .models.adversarial import Adversarial
from .posteriors import ACTIVE

FAR = 0.3
"""nats, mean over used dimensions, between N(mean, std^2) of all codes and N(0, 1) above which samples suffer"""
SHOWN = 256
"""latent dimensions whose KL the log keeps; of more, those with the largest"""
FEW = 0.3
"""diversity of samples, a share of the data's, below which modes are missing"""
SURE, APART = 0.99, 10.0
"""D's accuracy on real and on fake examples, and the gap of its logits, above which it has won"""
VANISHED = 0.01
"""minimax gradient of G, a share of the non-saturating one, below which it has vanished"""
PENALIZED, CLIPPED = (0.5, 2.0), (1e-5, 10.0)
"""slopes of a critic between which its gradient penalty holds, and its clipped weights leave G something to follow"""
WORSE = 1.5
"""distance from samples to data, as a multiple of the lowest, above which a run is past its best"""


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
    if isinstance(model, Adversarial):
        return of_game(model, report.get("game", {}), done, steps) + of_samples(model, report, done, steps)
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


def of_game(model: Adversarial, game: dict[str, float], done: int, steps: int) -> list[str]:
    """What is wrong with a game.  Its first steps are no sign; averaged weights, whose samples count, lag behind."""
    if not game or done < max(200, steps // 10):
        return []
    found = of_slope(model, game["slope"])
    won = has_won(model, game, settled=done >= min(steps, max(1000, steps // 4)))
    if won:
        found.append(f"{won}; remedies: {', '.join(against_winning(model))}")
    elif game["diversity"] < FEW and done >= min(steps, max(1000, steps // 4)):
        found.append(
            f"mode collapse: two samples differ {game['diversity']:.0%} as much as two real examples do (limit "
            f"{FEW:.0%}), so G makes the same few things again and again; remedies: {', '.join(against_few(model))}"
        )
    return found


def has_won(model: Adversarial, game: dict[str, float], settled: bool) -> str:
    """That D has won, with the evidence; nothing where it has not."""
    real, fake, gap = game["accuracy_real"], game["accuracy_fake"], game["gap"]
    if min(real, fake) < SURE or model.loss == "wasserstein":  # whose critic is meant to be as good as it can
        return ""
    said = f"D has won: it knows {real:.1%} of real and {fake:.1%} of fake examples (limit {SURE:.0%})"
    if model.loss == "minimax" and game["minimax"] < VANISHED * game["nonsaturating"]:
        share = game["minimax"] / game["nonsaturating"]
        return f"{said}, and the gradient that G gets is {share:.1g} of the non-saturating loss's (limit {VANISHED:g})"
    return f"{said}, its logits {gap:.1f} apart (limit {APART:g}), whatever G does" if settled and gap > APART else ""


def against_winning(model: Adversarial) -> list[str]:
    """What makes D weaker or G's gradient stronger, of what goes with this model's other options."""
    remedies = ["--loss non-saturating"] if model.loss == "minimax" else []
    if model.k > 1:
        remedies.append(f"a --k below {model.k}")
    remedies.append(f"an --lr-d below {model.rate('D'):g}")
    if takes_r1(model):
        remedies.append("a penalty on D's gradient (--r1 1)")
    return remedies


def against_few(model: Adversarial) -> list[str]:
    """What keeps modes from going missing, of what goes with this model's other options."""
    remedies = []
    if model.lr > model.rate("D"):
        remedies.append(f"an --lr no higher than D's, {model.rate('D'):g}")
    if model.pack == 1 and not model.labelled:
        remedies.append("D's seeing two examples at once (--pack 2)")
    if model.loss not in ("relativistic", "wasserstein"):
        remedies.append("--loss relativistic")
    if takes_r1(model):
        remedies.append("a penalty on D's gradient (--r1 0.1)")
    if model.top_k < 1:
        remedies.append("--top-k 1")
    return [*remedies, f"an --lr below {model.lr:g}"]


def takes_r1(model: Adversarial) -> bool:
    """Whether a penalty on D's gradient at real examples could be added."""
    return not (model.r1 or model.gp or model.clip or model.spectral_norm) and model.norm_d != "batch"


def of_slope(model: Adversarial, slope: float) -> list[str]:
    """A critic whose slope its penalty or its clipped weights do not hold."""
    if model.loss != "wasserstein" or not (model.gp or model.clip):
        return []
    low, high = PENALIZED if model.gp else CLIPPED
    if low <= slope <= high:
        return []
    evidence = (
        f"between real and fake examples the critic's gradient has norm {slope:.2g} (limits {low:g} and {high:g})"
    )
    if model.gp:
        lazy = ["--lazy 1"] if model.lazy > 1 else []
        remedies = ", ".join([f"a --gp above {model.gp:g}", *lazy, f"an --lr below {model.lr:g}"])
        return [f"the gradient penalty does not hold: {evidence}, where it should be 1; remedies: {remedies}"]
    bound = f"a --clip {'above' if slope < low else 'below'} {model.clip:g}"
    what, so = ("vanishes", "G learns nothing") if slope < low else ("explodes", "G is thrown about")
    return [f"the critic's slope {what}: {evidence}, so {so}; remedies: {bound}, or train wgangp"]


def of_samples(model: Adversarial, report: dict[str, Any], done: int, steps: int) -> list[str]:
    """Samples that are worse at the end than they were."""
    if done < max(200, steps) or report.get("distance", 0.0) <= WORSE * report.get("lowest", 0.0):
        return []
    return [
        f"the run is past its best: its samples are now {report['distance']:.3g} from the data, "
        f"{report['lowest']:.3g} at the nearest (limit {WORSE:g} times as far); the weights kept are those of step "
        f"{report['kept']}; "
        f"remedies: fewer --steps, --decay 0.5, an --lr below {model.lr:g}"
    ]
