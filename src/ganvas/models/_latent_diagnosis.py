"""What may go wrong with the codes of a model that has an encoder."""

from collections.abc import Callable, Iterator
from math import nan
from operator import le, lt
from typing import TYPE_CHECKING

from ..distributions.posteriors import ACTIVE_THRESHOLD
from ..rules import Figures, Remedies, Remedy, Rule, above, below, general_rules, set_to

if TYPE_CHECKING:
    from ..config import TrainConfig
    from ..model import Model
    from ._variational import LikelihoodModel
    from .laddervae import LadderVAE

MAX_PRIOR_KL = 0.3
"""nats, mean over used dimensions, between N(mean, std^2) of all codes and N(0, 1) above which samples suffer"""
FIT_PRIOR = Remedy("fit a prior to the codes (ganvas fit-prior; most runs of a VAE end with one)", command="fit-prior")


def prior_rule(nearer: Remedies = (), after: int = 0) -> Rule:
    """Codes that are not where samples are drawn."""
    return Rule(
        "the codes are far from N(0, I)", "kl_from_prior", MAX_PRIOR_KL,
        "their standard deviations go from {aggregate_std_range[0]:g} to {aggregate_std_range[1]:g} ({figure:.2f} nats "
        "a dimension, limit {limit:g}), so samples from that are worse than reconstructions",
        (FIT_PRIOR, *nearer),
        "codes far from N(0, I)", phase="end", after=after, unless=("posterior collapse",),
        given=lambda figures: figures["fits_prior"] != 1,  # then samples come from a prior fitted to the codes
    )  # fmt: skip


def used_rule(what: str, remedies: Remedies | Callable[[Figures], Remedies], after: int = 0) -> Rule:
    """Latent dimensions that say nothing.  A VAE that has more than it needs prunes them: that is no failure."""
    return Rule(
        "dead latent",
        "active_units" if what == "active" else lambda figures: figures["dimensions"] - figures["dead_units"],
        lambda figures: figures["dimensions"] / 2, f"{{figure:.0f}} of {{dimensions}} latent dimensions are {what} "
        "(limit a half)", remedies, passes=lt, phase="end", after=after, unless=("posterior collapse",), is_alarm=False,
    )  # fmt: skip


def fewer_dimensions(figures: Figures) -> Remedies:
    """The remedy of as many dimensions as are used."""
    return (Remedy(f"--latent nearer to {figures['figure']:.0f}", {"latent": max(2, round(figures["figure"]))}),)


def latent_rules(model: "LikelihoodModel", config: "TrainConfig") -> Iterator[Rule]:
    """Of a variational model; nothing is said of its codes during a warm-up of the KL."""
    warmup: int = getattr(model, "warmup", 0)
    targets = [getattr(model, name, None) for name in ("geco", "capacity")]
    yield from general_rules(model, config, has_steady_loss=not warmup and targets == [None, None])
    yield Rule(
        "posterior collapse", "active_units", lambda figures: figures["dimensions"] // 20,  # q(z|x) is the prior
        "{active_units} of {dimensions} latent dimensions are active (variance of the posterior's mean above "
        f"{ACTIVE_THRESHOLD}), KL {{kl:.2f}} nats, so samples ignore the code",
        against_collapse(model, config), passes=le, after=warmup,
    )  # fmt: skip
    if model.has_normal_prior:
        yield prior_rule(nearer(model), warmup)
    has_latent = "latent" in model.__dataclass_fields__
    yield used_rule("active", fewer_dimensions if has_latent else against_silence(model, config), warmup)


def level_rules(model: "LadderVAE", config: "TrainConfig") -> Iterator[Rule]:
    """Levels of a hierarchy that say nothing; the log has the KL of level 1 first."""
    levels, remedies = model.latents, against_silence(model, config)
    for i, n in enumerate(levels):
        end = sum(levels[: i + 1])

        def largest_kl(figures: Figures, start: int = end - n, end: int = end) -> float:
            kl = figures["kl_per_dimension"]
            return max(kl[start:end]) if isinstance(kl, list) and len(kl) == sum(levels) else nan

        yield Rule(
            "dead latent", largest_kl, ACTIVE_THRESHOLD,
            f"level {i + 1} of the hierarchy says nothing: no dimension has a KL of {{limit:g}} nats",
            remedies, passes=lt, phase="end", after=model.warmup, unless=("posterior collapse",), is_alarm=False,
        )  # fmt: skip


def against_silence(model: "Model", config: "TrainConfig") -> Remedies:
    """What lets the codes speak, of what this model has and has not been tried: a warm-up of the KL, and free bits."""
    warm = getattr(model, "warmup", None) == 0 and config.steps >= 3
    warmup = (Remedy("a --warmup of a third of the steps", {"warmup": config.steps // 3}),) if warm else ()
    free = getattr(model, "free_bits", None) == 0
    return (*warmup, *((set_to(free_bits=0.1),) if free else above(model, "free_bits")))


def against_collapse(model: "LikelihoodModel", config: "TrainConfig") -> Remedies:
    """What to change, of what goes with this model's other options and has not been changed yet."""
    slower = below(model, "lr")
    for name, change in (("geco", below), ("capacity", above)):
        if remedies := change(model, name):
            return (*remedies, *slower)
    beta = getattr(model, "beta", None) or 0
    silence = against_silence(model, config)
    if getattr(model, "prior", None) == "vamp":  # which has no KL a dimension
        silence = tuple(remedy for remedy in silence if "free_bits" not in remedy.options)
    has_sigma = model.likelihood == "gaussian" and model.sigma not in ("learned", "optimal")
    sigma = (below(model, "sigma") or (Remedy("--sigma below 0.4", {"sigma": 0.2}),)) if has_sigma else ()
    return (*(below(model, "beta") if beta > 1 else ()), *silence, *sigma, *slower)


def nearer(model: "LikelihoodModel") -> Remedies:
    """What brings the codes nearer to N(0, I), of what goes with this model's other options."""
    if remedies := above(model, "geco") or below(model, "capacity"):
        return remedies
    beta = getattr(model, "kl_weight", getattr(model, "beta", None))
    return () if beta is None else (Remedy(f"--beta above {beta:g}", {"beta": 2 * beta or 1.0}),)
