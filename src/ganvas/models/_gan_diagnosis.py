"""What may go wrong with a game between G and D."""

from collections.abc import Iterator
from operator import ge, gt, lt
from typing import TYPE_CHECKING

from ..io.text import format_number
from ..objectives.adversarial import WON_LOGIT_GAP
from ..rules import MIN_SWING, Remedies, Remedy, Rule, above, below, general_rules, learning_rate_decay, set_to

if TYPE_CHECKING:
    from ..config import TrainConfig
    from ._gan import Adversarial

MIN_DIVERSITY = 0.3
"""diversity of samples, a share of the data's, below which modes are missing"""
WON_ACCURACY = 0.99
"""D's accuracy on real and on fake examples from which it may have won"""
MAX_DETAIL_RATIO, MAX_EXTRA_DETAIL = 2.5, 0.05
"""energy of the finest structures of samples, a multiple of the data's, and what it has more, a share of the data's
contrast, above which they are speckle"""
VANISHED_GRADIENT_RATIO, RELAXED_WON_ACCURACY = 0.1, 0.9
"""minimax gradient of G, a share of the non-saturating one, below which it has vanished: then D has won if it is mostly
right, since real examples where all samples are may be taken for samples; so has a relativistic D, which compares
pairs: the border half-way between the means of its logits is not its own"""
PENALIZED_SLOPE_RANGE, CLIPPED_SLOPE_RANGE = (0.5, 2.0), (1e-5, 10.0)
"""slopes of a critic between which its gradient penalty holds, and its clipped weights leave G something to follow"""
MIN_REVERSALS = 2
"""how often the distance from samples to data turns in the last half of the log, where a game oscillates"""
PAST_BEST_SHARE, PAST_BEST_ERRORS = 0.5, 5.0
"""how much farther than at their nearest samples are from the data, as a share of that distance and in standard errors
(a kernel distance may be 0 or less), above which a run is past its best"""


def gan_rules(model: "Adversarial", config: "TrainConfig") -> Iterator[Rule]:
    """Of a D that has won, and of a critic whose slope is not held, samples that are all alike are a consequence."""
    objective, wasserstein = model.objective, model.objective.loss == "wasserstein"
    bounds_weights = objective.weight_clip is not None or objective.spectral_norm
    yield from general_rules(model, config, bounds_weights=bounds_weights, has_steady_loss=False)
    slower, slower_d = below(model, "lr"), slower_discriminator(model)
    penalty = (Remedy("a penalty on D's gradient (--r1 1)", {"r1": 1.0}),) if takes_r1(model) else ()
    calmer = (set_to(betas=(0.5, 0.999)),) if model.betas[0] > 0.5 else ()
    yield Rule(
        "oscillation", "reversals", float(MIN_REVERSALS),
        f"in the last half of the log the distance from samples to data turned {{figure}} times by {MIN_SWING:g} mean "
        "distances between two examples or more (limit {limit:g} times), between {nearest:.2g} and {farthest:.2g}",
        (*slower, *calmer, *penalty, *learning_rate_decay(config)), passes=ge,
    )  # fmt: skip
    if (gap := WON_LOGIT_GAP[objective.loss]) is not None:
        yield from won_rules(model, gap, (*slower_d, *penalty))
    if wasserstein:
        yield from slope_rules(model)
    yield Rule(
        "mode collapse", "diversity", MIN_DIVERSITY,
        "two samples differ {figure:.0%} as much as two real examples do (limit {limit:.0%}), so G makes the same few "
        "things again and again", against_collapse(model, config), passes=lt, phase="settled",
        unless=("D has won", "critic's slope"),
    )  # fmt: skip
    not_won = () if wasserstein else slower_d
    yield speckle_rule("samples", "", (*above(config, "steps"), *not_won, *penalty))
    patience = (set_to(patience=5),) if config.patience is None else ()
    yield Rule(
        "the run is past its best", "samples_value",
        lambda f: f["samples_lowest_distance"]
        + max(PAST_BEST_ERRORS * f["samples_error"], PAST_BEST_SHARE * f["samples_lowest_distance"]),
        "its samples are now {figure:.3g} from the data, {samples_lowest_distance:.3g} at the nearest (limit "
        f"{PAST_BEST_SHARE:.0%} more, and {PAST_BEST_ERRORS:g} standard errors: {{limit:.3g}}); the best weights, "
        "which are kept unless the last were asked for, are those of step {samples_best_step}",
        (*below(config, "steps"), *patience, *learning_rate_decay(config), *slower), "past its best", phase="end",
    )  # fmt: skip


def speckle_rule(what: str, suffix: str, remedies: Remedies) -> Rule:
    """Samples, or translations to a domain, that are covered with noise that the data do not have."""
    sample_detail, real = f"detail{suffix}", f"detail_real{suffix}"
    return Rule(
        f"{what} are speckled", sample_detail,
        lambda figures: max(MAX_DETAIL_RATIO * figures[real], figures[real] + MAX_EXTRA_DETAIL),
        f"the finest structures of {what}, of a pixel, have {{figure:.0%}} of the energy of the data's contrast, those "
        f"of the data {{{real}:.1%}} (limits {MAX_DETAIL_RATIO:g} times as much, and {MAX_EXTRA_DETAIL:.0%} more)",
        remedies, "speckle", phase="settled",
    )  # fmt: skip


def won_rules(model: "Adversarial", gap: float, weaker: Remedies) -> Iterator[Rule]:
    """D has won: it is right, and G's gradient has vanished, or no other will make it wrong."""
    loss = model.objective.loss
    saturates = (set_to(loss="non-saturating"),) if loss == "minimax" else ()
    remedies = (*saturates, *below(model, "n_critic"), *weaker)
    knows = "it knows {{accuracy_real:.1%}} of real and {{accuracy_fake:.1%}} of fake examples (limit {:.0%})"
    if loss == "minimax":
        yield Rule(
            "D has won",
            lambda f: f["minimax_gradient"] / f["non_saturating_gradient"] if f["non_saturating_gradient"] else 1.0,
            VANISHED_GRADIENT_RATIO,
            knows.format(RELAXED_WON_ACCURACY) + ", and the gradient that G gets is {figure:.2g} of the non-saturating "
            "loss's (limit {limit:g})", remedies, passes=lt,
            given=lambda f: min(f["accuracy_real"], f["accuracy_fake"]) >= RELAXED_WON_ACCURACY,
        )  # fmt: skip
    least = RELAXED_WON_ACCURACY if loss == "relativistic" else WON_ACCURACY
    yield Rule(
        "D has won", "logit_gap", gap,
        knows.format(least) + ", its logits {figure:.2g} apart (limit {limit:g}), whatever G does",
        remedies, passes=ge, given=lambda f: min(f["accuracy_real"], f["accuracy_fake"]) >= least, phase="settled",
        unless=("D has won",),
    )  # fmt: skip


def slope_rules(model: "Adversarial") -> Iterator[Rule]:
    """A critic whose slope its penalty or its clipped weights do not hold."""
    gp, clip = model.objective.gp, model.objective.weight_clip
    if not (gp or clip):
        return
    low, high = PENALIZED_SLOPE_RANGE if gp else CLIPPED_SLOPE_RANGE
    evidence = "between real and fake examples the critic's gradient has norm {figure:.2g} "
    evidence += f"(limits {format_number(low)} and {format_number(high)}), "
    lazy = (set_to(penalty_interval=1),) if getattr(model, "penalty_interval", 1) > 1 else ()
    vanishes = (low, lt, "vanishes", "so G learns nothing", above)
    for limit, passes, way, so, change in (vanishes, (high, gt, "explodes", "so G is thrown about", below)):
        if gp:
            title, meaning = "the gradient penalty does not hold", "where it should be 1"
            remedies: Remedies = (*above(model, "gp"), *lazy, *below(model, "lr"))
        else:
            title, meaning = f"the critic's slope {way}", so
            remedies = (*change(model, "weight_clip"), Remedy("or train wgangp", command="train wgangp"))
        yield Rule(title, "input_gradient", limit, evidence + meaning, remedies, "critic's slope", passes=passes)


def slower_discriminator(model: "Adversarial") -> Remedies:
    """The remedy of smaller steps of D."""
    lr_d = model.learning_rate("D")
    return (Remedy(f"--lr-d below {lr_d:g}", {"lr_d": lr_d / 2}),)


def against_collapse(model: "Adversarial", config: "TrainConfig") -> Remedies:
    """What keeps modes from going missing, of what goes with the model's and training's other options."""
    lr_d, has = model.learning_rate("D"), model.__dataclass_fields__
    packs = model.pack == 1 and not model.is_conditional and config.batch_size % 2 == 0
    compares = "loss" in has and model.objective.loss not in ("relativistic", "wasserstein")
    remedies = (
        (Remedy(f"--lr no higher than D's, {lr_d:g}", {"lr": lr_d}), model.lr > lr_d),
        (Remedy("D's seeing two examples at once (--pack 2)", {"pack": 2}), packs),
        (set_to(loss="relativistic"), compares),
        (Remedy("a penalty on D's gradient (--r1 0.1)", {"r1": 0.1}), takes_r1(model)),
        (set_to(top_k=1), getattr(model, "top_k", 1.0) < 1),
    )
    return (*(remedy for remedy, applies in remedies if applies), *below(model, "lr"))


def takes_r1(model: "Adversarial") -> bool:
    """Whether a penalty on D's gradient at real examples could be added."""
    held = model.objective.penalties or model.objective.weight_clip or model.objective.spectral_norm
    return "r1" in model.__dataclass_fields__ and not held and model.norm_d != "batch"
