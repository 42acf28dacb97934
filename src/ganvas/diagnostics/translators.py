"""What is wrong with a translator between two domains."""

from math import pi

from ..model import model_name
from ..models._translator import FAINT, Translator
from .diagnosis import Diagnosis, Lines, as_option, is_early, latest
from .games import MIN_DIVERSITY, WON_ACCURACY, WON_LOGIT_GAP, check_speckle, is_settled

STILL, TOLD = 0.1, 0.75
"""how far an input is moved, as a share of what separates the domains, below which it is as good as repeated; and the
critic's accuracy from which such a repetition is told from the domain that it should be in"""
GAIN, TWICE = 3.0, 2.0
"""how much faint noise may grow on its way back, as a multiple of its own size and of the error without it"""


def check_translator(model: Translator, lines: Lines, steps: int) -> list[Diagnosis]:
    """What is wrong, by the names of `Translator.observe` and of its moves, and by the medians of the last lines."""
    game, done = latest(lines), lines[-1]["step"]
    if not game or is_early(done, steps):
        return []
    found, settled = [], is_settled(done, steps)
    for home, away in (("A", "B"), ("B", "A")):
        found += (
            identity_collapse(model, game, home, away)
            + steganography(model, game, home, away)
            + won(model, game, home, settled)
        )
        if settled:
            found += alike(model, game, home, away) + speckled(model, game, home, away)
    return found


def alike(model: Translator, game: dict[str, float], home: str, away: str) -> list[Diagnosis]:
    """A translator that draws the same whatever its input is."""
    share = game.get(f"diversity_{home}", 1.0)
    if share >= MIN_DIVERSITY:
        return []
    evidence = (
        f"two of them differ {share:.0%} as much as two examples of {home} or of {away} do, whichever differ less "
        f"(limit {MIN_DIVERSITY:.0%}), so they do not depend on what is translated"
    )
    return [
        Diagnosis(
            f"translations to {away} are all alike", evidence, share, MIN_DIVERSITY, tied(model), "translations alike"
        )
    ]


def speckled(model: Translator, game: dict[str, float], home: str, away: str) -> list[Diagnosis]:
    """Translations with noise that neither domain has."""
    made, real = game.get(f"detail_{home}", 0.0), game.get(f"detail_real_{home}", 0.0)
    return check_speckle(f"translations to {away}", made, real, ("more --steps", f"an --lr below {model.lr:g}"))


def identity_collapse(model: Translator, game: dict[str, float], home: str, away: str) -> list[Diagnosis]:
    """A translator that has become the identity, although the critic of its target can tell."""
    moved, told = game.get(f"moved_{home}", 1.0), game.get(f"accuracy_{away}", 0.0)
    if moved >= STILL or told < TOLD:
        return []
    evidence = (
        f"it changes its input by {moved:.0%} of what separates the domains (limit {STILL:.0%}), and the critic of "
        f"{away} is right {told:.0%} of the time"
    )
    name = f"the translator from {home} to {away} repeats its input"
    return [Diagnosis(name, evidence, moved, STILL, bolder(model), section="input repeated")]


def steganography(model: Translator, game: dict[str, float], home: str, away: str) -> list[Diagnosis]:
    """A way back that reads what the eye cannot see (Chu et al., arXiv:1712.02950)."""
    clean, noisy = game.get(f"cycle_{home}", 1.0), game.get(f"noisy_{home}", 0.0)
    gain = (noisy - clean) / (FAINT * (2 / pi) ** 0.5)  # E |noise| of a normal distribution
    if gain <= GAIN or noisy <= TWICE * clean:
        return []
    evidence = (
        f"the way back to {home} has an error of {clean:.3f}, but of {noisy:.3f} once noise of {FAINT:g}, which nobody "
        f"sees, is added: it grows {gain:.1f}-fold (limit {GAIN:g})"
    )
    name = f"translations to {away} hide their input"
    return [Diagnosis(name, evidence, gain, GAIN, looser(model), section="input hidden")]


def won(model: Translator, game: dict[str, float], domain: str, settled: bool) -> list[Diagnosis]:
    """A critic from which a translator learns nothing any more; that of logits may lead at first, and be caught up."""
    squares = model_name(model) == "cyclegan"
    limit = WON_LOGIT_GAP["least-squares" if squares else "non-saturating"]
    if not squares and not settled:
        return []
    accuracy, gap = game.get(f"accuracy_{domain}", 0.0), game.get(f"gap_{domain}", 0.0)
    if accuracy < WON_ACCURACY or gap < limit:
        return []
    evidence = (
        f"it is right {accuracy:.1%} of the time (limit {WON_ACCURACY:.0%}), its verdicts {gap:.2g} apart "
        f"(limit {limit:g}), "
        f"so the translator to {domain} learns nothing from it"
    )
    remedies = (*looser(model), f"an --lr below {model.lr:g}")
    return [
        Diagnosis(
            f"the critic of {domain} has won", evidence, gap, limit, remedies, section="critic of a domain has won"
        )
    ]


def tied(model: Translator) -> tuple[str, ...]:
    """What ties translations to their inputs, of what is in use."""
    back = [
        f"a --{as_option(name)} above {getattr(model, name):g}"
        for name in ("cycle_weight", "reconstruction_weight")
        if hasattr(model, name)
    ]
    return (
        *(back if getattr(model, "reconstruct", "both") == "both" else ["--reconstruct both"]),
        f"an --lr below {model.lr:g}",
    )


def bolder(model: Translator) -> tuple[str, ...]:
    """What keeps translators from repeating their input, of what is in use."""
    remedies = tuple(
        f"--{as_option(name)} below {getattr(model, name):g}"
        for name in ("identity_weight", "cycle_weight", "reconstruction_weight")
        if getattr(model, name, 0)
    )
    return (*(("--identity-weight 0",) if getattr(model, "identity_weight", 0) is None else ()), *remedies)


def looser(model: Translator) -> tuple[str, ...]:
    """What makes a way back, and so the way there, less exact."""
    return tuple(
        f"--{as_option(name)} below {getattr(model, name):g}"
        for name in ("cycle_weight", "reconstruction_weight")
        if getattr(model, name, 0)
    ) or ("more or other data",)
