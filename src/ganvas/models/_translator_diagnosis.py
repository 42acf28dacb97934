"""What may go wrong with a translator between two domains, by the names of `Translator.monitor` and of its moves."""

from collections.abc import Callable, Iterator
from math import pi
from operator import ge, lt
from typing import TYPE_CHECKING, Literal

from ..objectives.adversarial import WON_LOGIT_GAP
from ..rules import Figures, Remedies, Remedy, Rule, above, below, general_rules, set_to
from ._gan_diagnosis import MIN_DIVERSITY, WON_ACCURACY, speckle_rule

if TYPE_CHECKING:
    from ..config import TrainConfig
    from ._translator import Translator

FAINT = 0.03
"""deviation of the noise that round trips are tried with: four of 255 grey levels"""
MIN_MOVED, MOVED_ACCURACY = 0.1, 0.75
"""how far an input is moved, as a share of what separates the domains, below which it is as good as repeated; and the
critic's accuracy from which such a repetition is told from the domain that it should be in"""
MAX_NOISE_GAIN, MAX_NOISY_ERROR = 3.0, 2.0
"""how much faint noise may grow on its way back, as a multiple of its own size and of the error without it"""
MAX_CHROMA_SHARE, MIN_CHROMA = 0.1, 0.02
"""chroma of a domain, as a share of the other's, below which its images do not show what those show, where the other's
is such that anyone sees it (clip art and emoji have 0.09 and more)"""
CONSISTENCY_OPTIONS = ("cycle_weight", "reconstruction_weight", "nce_weight")


def translator_rules(model: "Translator", config: "TrainConfig") -> Iterator[Rule]:
    """The same rules in both directions."""
    yield from general_rules(model, config, has_steady_loss=False)
    yield from direction_rules(model, config, "A", "B")
    yield from direction_rules(model, config, "B", "A")


def direction_rules(model: "Translator", config: "TrainConfig", source: str, target: str) -> Iterator[Rule]:
    """What may go wrong with translations from one domain, with the way back to it, and with its critic."""
    slower, other_data = below(model, "lr"), (Remedy("more or other data"),)
    has_way_back = len(model.translators) == 2 and model.net != "mlp"

    def or_cut(remedies: Remedies) -> Callable[[Figures], Remedies]:
        return lambda figures: (*(one_way(figures) if has_way_back else ()), *remedies)

    consistency = () if getattr(model, "reconstruct", "") == "none" else CONSISTENCY_OPTIONS
    looser = below(model, *consistency)
    undecided = (set_to(identity_weight=0),) if getattr(model, "identity_weight", 0) is None else ()
    bolder = (*undecided, *below(model, "identity_weight"), *looser)
    yield Rule(
        f"the translator from {source} to {target} repeats its input", f"input_change_{source}", MIN_MOVED,
        "it changes its input by {figure:.0%} of what separates the domains (limit {limit:.0%}), and the critic of "
        f"{target} is right {{accuracy_{target}:.0%}} of the time",
        bolder or other_data, "input repeated",
        passes=lt, given=lambda figures: figures[f"accuracy_{target}"] >= MOVED_ACCURACY,
    )  # fmt: skip
    clean, noisy = f"cycle_error_{source}", f"noisy_cycle_error_{source}"
    yield Rule(  # a way back that reads what the eye cannot see (Chu et al., arXiv:1712.02950)
        f"translations to {target} hide their input",
        lambda figures: (figures[noisy] - figures[clean]) / (FAINT * (2 / pi) ** 0.5),  # E |noise| of a normal variable
        MAX_NOISE_GAIN,
        f"the way back to {source} has an error of {{{clean}:.3f}}, but of {{{noisy}:.3f}} once noise of {FAINT:g}, "
        "which nobody sees, is added: it grows {figure:.1f}-fold (limit {limit:g})",
        or_cut(looser or other_data), "input hidden",
        given=lambda figures: figures[noisy] > MAX_NOISY_ERROR * figures[clean],
    )  # fmt: skip
    # a critic that returns logits may lead at first, and be caught up
    phase: Literal["early", "settled"] = "early" if model.critic_loss == "least-squares" else "settled"
    if (gap := WON_LOGIT_GAP[model.critic_loss]) is not None:
        yield Rule(
            f"the critic of {source} has won", f"logit_gap_{source}", gap,
            f"it is right {{accuracy_{source}:.1%}} of the time (limit {WON_ACCURACY:.0%}), its verdicts {{figure:.2g}}"
            f" apart (limit {{limit:g}}), so the translator to {source} learns nothing from it",
            or_cut((*looser, *slower)), "critic of a domain has won", passes=ge, phase=phase,
            given=lambda figures: figures[f"accuracy_{source}"] >= WON_ACCURACY,
        )  # fmt: skip
    is_tied = getattr(model, "reconstruct", "both") == "both"
    tied = above(model, *consistency) if is_tied else (set_to(reconstruct="both"),)
    yield Rule(
        f"translations to {target} are all alike", f"diversity_{source}", MIN_DIVERSITY,
        f"two of them differ {{figure:.0%}} as much as two examples of {source} or {target} do, whichever differ less "
        "(limit {limit:.0%}), so they do not depend on what is translated",
        or_cut((*tied, *slower)), "translations alike", passes=lt, phase="settled",
    )  # fmt: skip
    yield speckle_rule(f"translations to {target}", f"_{source}", (*above(config, "steps"), *slower))


def one_way(figures: Figures) -> Remedies:
    """The remedy of cut, which asks for no way back, where one domain lacks the colours of the other."""
    for rich, poor in (("A", "B"), ("B", "A")):
        colours = figures[f"chroma_{rich}"]
        if colours > MIN_CHROMA and figures[f"chroma_{poor}"] < MAX_CHROMA_SHARE * colours:
            text = f"cut from {rich} to {poor}, which does not ask {poor} for the colours of {rich}"
            return (Remedy(text, command="train cut", domains=rich + poor),)
    return ()
