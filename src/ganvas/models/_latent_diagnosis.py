"""What may go wrong with the codes of a model that has an encoder."""

from collections.abc import Iterator
from math import nan
from operator import le, lt
from typing import TYPE_CHECKING

from ..distributions.posteriors import ACTIVE_THRESHOLD
from ..rules import Figures, Rule, general_rules

if TYPE_CHECKING:
    from ._variational import LikelihoodModel

MAX_PRIOR_KL = 0.3
"""nats, mean over used dimensions, between N(mean, std^2) of all codes and N(0, 1) above which samples suffer"""
FEWER_DIMENSIONS = "a --latent nearer to {figure:.0f}"
AGAINST_SILENCE = ("a --warmup of the KL", "--free-bits 0.1")


def prior_rule(nearer: tuple[str, ...] = (), after: int = 0) -> Rule:
    """Codes that are not where samples are drawn."""
    return Rule(
        "the codes are far from N(0, I)", "kl_from_prior", MAX_PRIOR_KL,
        "their standard deviations go from {aggregate_std_range[0]:g} to {aggregate_std_range[1]:g} ({figure:.2f} nats "
        "a dimension, limit {limit:g}), so samples from that are worse than reconstructions",
        ("fit a prior to the codes (ganvas fit-prior; most runs of a VAE end with one)", *nearer),
        "codes far from N(0, I)", phase="end", after=after, unless=("posterior collapse",),
        given=lambda figures: figures["fits_prior"] != 1,  # then samples come from a prior fitted to the codes
    )  # fmt: skip


def used_rule(what: str, remedies: tuple[str, ...], after: int = 0) -> Rule:
    """Latent dimensions that say nothing.  A VAE that has more than it needs prunes them: that is no failure."""
    return Rule(
        "dead latent",
        "active_units" if what == "active" else lambda figures: figures["dimensions"] - figures["dead_units"],
        lambda figures: figures["dimensions"] / 2, f"{{figure:.0f}} of {{dimensions}} latent dimensions are {what} "
        "(limit a half)", remedies, passes=lt, phase="end", after=after, unless=("posterior collapse",), is_alarm=False,
    )  # fmt: skip


def latent_rules(model: "LikelihoodModel") -> Iterator[Rule]:
    """Of a variational model; nothing is said of its codes during a warm-up of the KL."""
    warmup: int = getattr(model, "warmup", 0)
    targets = [getattr(model, name, None) for name in ("geco", "capacity")]
    yield from general_rules(model, has_steady_loss=not warmup and targets == [None, None])
    yield Rule(
        "posterior collapse", "active_units", lambda figures: figures["dimensions"] // 20,  # q(z|x) is the prior
        "{active_units} of {dimensions} latent dimensions are active (variance of the posterior's mean above "
        f"{ACTIVE_THRESHOLD}), KL {{kl:.2f}} nats, so samples ignore the code",
        against_collapse(model), passes=le, after=warmup,
    )  # fmt: skip
    if model.has_normal_prior:
        yield prior_rule(nearer(model), warmup)
    fewer = (FEWER_DIMENSIONS,) if "latent" in model.__dataclass_fields__ else AGAINST_SILENCE
    yield used_rule("active", fewer, warmup)


def level_rules(levels: tuple[int, ...], after: int) -> Iterator[Rule]:
    """Levels of a hierarchy that say nothing; the log has the KL of level 1 first."""
    for i, n in enumerate(levels):
        end = sum(levels[: i + 1])

        def largest_kl(figures: Figures, start: int = end - n, end: int = end) -> float:
            kl = figures["kl_per_dimension"]
            return max(kl[start:end]) if isinstance(kl, list) and len(kl) == sum(levels) else nan

        yield Rule(
            "dead latent", largest_kl, ACTIVE_THRESHOLD,
            f"level {i + 1} of the hierarchy says nothing: no dimension has a KL of {{limit:g}} nats",
            AGAINST_SILENCE, passes=lt, phase="end", after=after, unless=("posterior collapse",), is_alarm=False,
        )  # fmt: skip


def against_collapse(model: "LikelihoodModel") -> tuple[str, ...]:
    """What to change, of what goes with this model's other options and has not been changed yet."""
    has = {name: getattr(model, name, None) for name in ("beta", "warmup", "free_bits", "capacity", "geco", "prior")}
    rest = ("a smaller --lr",)
    for name, way in (("geco", "below"), ("capacity", "above")):
        if has[name] is not None:
            return (f"a --{name} {way} {has[name]:g}", *rest)
    remedies = {
        f"a --beta below {has['beta'] or 0:g}": (has["beta"] or 0) > 1,
        "a warm-up of the KL (--warmup, a third of the steps)": has["warmup"] == 0,
        "free bits (--free-bits 0.1)": has["free_bits"] == 0 and has["prior"] != "vamp",
        "a smaller --sigma": model.likelihood == "gaussian" and model.sigma not in ("learned", "optimal"),
    }
    return (*(remedy for remedy, applies in remedies.items() if applies), *rest)


def nearer(model: "LikelihoodModel") -> tuple[str, ...]:
    """What brings the codes nearer to N(0, I), of what goes with this model's other options."""
    beta = getattr(model, "kl_weight", getattr(model, "beta", None))
    ways = (("geco above", getattr(model, "geco", None)), ("capacity below", getattr(model, "capacity", None)))
    return next(((f"a --{way} {value:g}",) for way, value in (*ways, ("beta above", beta)) if value is not None), ())
