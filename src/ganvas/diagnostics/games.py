"""What is wrong with a game between G and D."""

from typing import Any

from ..models._gan import Adversarial
from ..objectives import Loss
from .diagnosis import Diagnosis, Lines, is_early, latest

MIN_DIVERSITY = 0.3
"""diversity of samples, a share of the data's, below which modes are missing"""
WON_ACCURACY = 0.99
"""D's accuracy on real and on fake examples from which it may have won"""
WON_LOGIT_GAP: dict[Loss, float] = {
    "minimax": 6.0, "non-saturating": 6.0, "least-squares": 0.9, "hinge": 3.0, "relativistic": 4.0,
}  # fmt: skip
"""and the gap of its logits from which it has: squares have goals 0 and 1, and no hinge gains from a gap above 2"""
MAX_DETAIL_RATIO, MAX_EXTRA_DETAIL = 2.5, 0.05
"""energy of the finest structures of samples, a multiple of the data's, and what it has more, a share of the data's
contrast, above which they are speckle"""
VANISHED_GRADIENT_RATIO, RELAXED_WON_ACCURACY = 0.1, 0.9
"""minimax gradient of G, a share of the non-saturating one, below which it has vanished: then D has won if it is mostly
right, since real examples that are where all samples are may well be taken for samples; so has a relativistic D, which
compares pairs, so that the border half-way between the means of its logits is not its own"""
PENALIZED_SLOPE_RANGE, CLIPPED_SLOPE_RANGE = (0.5, 2.0), (1e-5, 10.0)
"""slopes of a critic between which its gradient penalty holds, and its clipped weights leave G something to follow"""
PAST_BEST_SHARE, PAST_BEST_ERRORS = 0.5, 5.0
"""how much farther than at their nearest samples are from the data, as a share of that distance and in standard errors
(a kernel distance may be 0 or less), above which a run is past its best"""


def check_game(model: Adversarial, lines: Lines, steps: int) -> list[Diagnosis]:
    """What is wrong with a game, by the medians of its last lines, since each line is of few steps.

    Its first steps are no sign; averaged weights, whose samples count, lag behind.  Of a D that has won, and of a
    critic whose slope is not held, samples that are all alike are a consequence.
    """
    game, done = latest(lines), lines[-1]["step"]
    if not game or is_early(done, steps):
        return []
    settled = is_settled(done, steps)
    found = check_critic_slope(model, game["slope"]) or check_discriminator_won(model, game, settled)
    if not settled:
        return found
    grain = check_speckle("samples", game.get("detail", 0.0), game.get("detail_real", 0.0), smoother(model))
    if found or game.get("diversity", 1.0) >= MIN_DIVERSITY:
        return found + grain
    return [
        Diagnosis(
            "mode collapse",
            f"two samples differ {game['diversity']:.0%} as much as two real examples do (limit "
            f"{MIN_DIVERSITY:.0%}), so G makes "
            "the same few things again and again",
            game["diversity"], MIN_DIVERSITY, tuple(against_few(model)),
        ), *grain,
    ]  # fmt: skip


def is_settled(done: int, steps: int) -> bool:
    """Whether samples of averaged weights say something about how a game goes."""
    return done >= min(steps, max(1000, steps // 4))


def check_speckle(what: str, made: float, real: float, remedies: tuple[str, ...]) -> list[Diagnosis]:
    """Samples, or translations to a domain, that are covered with noise that the data do not have."""
    if made <= MAX_DETAIL_RATIO * real or made - real <= MAX_EXTRA_DETAIL:
        return []
    said = (
        f"the finest structures of {what}, of a pixel, have {made:.0%} of the energy of the data's contrast, those of "
        f"the data {real:.1%} (limits {MAX_DETAIL_RATIO:g} times as much, and {MAX_EXTRA_DETAIL:.0%} more)"
    )
    return [
        Diagnosis(
            f"{what} are speckled",
            said,
            made,
            max(MAX_DETAIL_RATIO * real, real + MAX_EXTRA_DETAIL),
            remedies,
            section="speckle",
        )
    ]


def smoother(model: Adversarial) -> tuple[str, ...]:
    """What takes noise from samples, of what goes with this model's other options."""
    slower = [f"an --lr-d below {model.learning_rate('D'):g}"] if model.objective.loss != "wasserstein" else []
    penalty = ["a penalty on D's gradient (--r1 1)"] if takes_r1(model) else []
    return ("more --steps", *slower, *penalty)


def check_discriminator_won(model: Adversarial, game: dict[str, float], settled: bool) -> list[Diagnosis]:
    """That D has won, with the evidence; nothing where it has not."""
    if model.objective.loss == "wasserstein":  # whose critic is meant to be as good as it can
        return []
    real, fake, gap = game["accuracy_real"], game["accuracy_fake"], game["gap"]
    vanished = model.objective.loss == "minimax" and game["minimax"] < VANISHED_GRADIENT_RATIO * game["nonsaturating"]
    limit, apart = (
        RELAXED_WON_ACCURACY if vanished or model.objective.loss == "relativistic" else WON_ACCURACY,
        WON_LOGIT_GAP[model.objective.loss],
    )
    if min(real, fake) < limit:
        return []
    said = f"it knows {real:.1%} of real and {fake:.1%} of fake examples (limit {limit:.0%})"
    remedies = tuple(against_winning(model))
    if vanished:
        share = game["minimax"] / game["nonsaturating"]
        said += f", and the gradient that G gets is {share:.2g} of the non-saturating loss's"
        said += f" (limit {VANISHED_GRADIENT_RATIO:g})"
        return [Diagnosis("D has won", said, share, VANISHED_GRADIENT_RATIO, remedies)]
    if not settled or gap < apart:
        return []
    said += f", its logits {gap:.2g} apart (limit {apart:g}), whatever G does"
    return [Diagnosis("D has won", said, gap, apart, remedies)]


def against_winning(model: Adversarial) -> list[str]:
    """What makes D weaker or G's gradient stronger, of what goes with this model's other options."""
    remedies = ["--loss non-saturating"] if model.objective.loss == "minimax" else []
    if (n_critic := getattr(model, "n_critic", 1)) > 1:
        remedies.append(f"a --n-critic below {n_critic}")
    remedies.append(f"an --lr-d below {model.learning_rate('D'):g}")
    if takes_r1(model):
        remedies.append("a penalty on D's gradient (--r1 1)")
    return remedies


def against_few(model: Adversarial) -> list[str]:
    """What keeps modes from going missing, of what goes with this model's other options."""
    remedies = []
    if model.lr > model.learning_rate("D"):
        remedies.append(f"an --lr no higher than D's, {model.learning_rate('D'):g}")
    if model.pack == 1 and not model.is_conditional:
        remedies.append("D's seeing two examples at once (--pack 2)")
    if hasattr(model, "loss") and model.objective.loss not in ("relativistic", "wasserstein"):
        remedies.append("--loss relativistic")
    if takes_r1(model):
        remedies.append("a penalty on D's gradient (--r1 0.1)")
    if getattr(model, "top_k", 1.0) < 1:
        remedies.append("--top-k 1")
    return [*remedies, f"an --lr below {model.lr:g}"]


def takes_r1(model: Adversarial) -> bool:
    """Whether a penalty on D's gradient at real examples could be added."""
    held = model.objective.penalties or model.objective.weight_clip or model.objective.spectral_norm
    return hasattr(model, "r1") and not held and model.norm_d != "batch"


def check_critic_slope(model: Adversarial, slope: float) -> list[Diagnosis]:
    """A critic whose slope its penalty or its clipped weights do not hold."""
    if model.objective.loss != "wasserstein" or not (model.objective.gp or model.objective.weight_clip):
        return []
    low, high = PENALIZED_SLOPE_RANGE if model.objective.gp else CLIPPED_SLOPE_RANGE
    if low <= slope <= high:
        return []
    limit = low if slope < low else high
    evidence = (
        f"between real and fake examples the critic's gradient has norm {slope:.2g} (limits {low:g} and {high:g})"
    )
    if model.objective.gp:
        lazy = ("--penalty-interval 1",) if getattr(model, "penalty_interval", 1) > 1 else ()
        title, so = "the gradient penalty does not hold", "where it should be 1"
        remedies = (f"a --gp above {model.objective.gp:g}", *lazy, f"an --lr below {model.lr:g}")
    else:
        way, so = ("vanishes", "so G learns nothing") if slope < low else ("explodes", "so G is thrown about")
        title = f"the critic's slope {way}"
        remedies = (
            f"a --weight-clip {'above' if slope < low else 'below'} {model.objective.weight_clip:g}",
            "or train wgangp",
        )
    return [Diagnosis(title, f"{evidence}, {so}", slope, limit, remedies, section="critic's slope")]


def check_past_best(model: Adversarial, line: dict[str, Any], done: int, steps: int) -> list[Diagnosis]:
    """Samples that are worse at the end than they were."""
    found = line.get("samples", {})
    if done < max(200, steps) or None in (found.get("value"), found.get("lowest"), found.get("error")):
        return []
    value, lowest = found["value"], found["lowest"]
    limit = max(PAST_BEST_SHARE * lowest, PAST_BEST_ERRORS * found["error"])
    if value - lowest <= limit:
        return []
    return [
        Diagnosis(
            "the run is past its best",
            f"its samples are now {value:.3g} from the data, {lowest:.3g} at the nearest (limit "
            f"{PAST_BEST_SHARE:.0%} more, and "
            f"{PAST_BEST_ERRORS:g} standard errors: {lowest + limit:.3g}); the best weights, which are kept "
            "unless the last were "
            f"asked for, are those of step {found['best']}",
            value, lowest + limit,
            ("fewer --steps", "--patience 5", "--lr-decay 0.5", f"an --lr below {model.lr:g}"), section="past its best",
        )
    ]  # fmt: skip
