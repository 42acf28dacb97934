"""What may go wrong with a translator between two domains, by the names of `Translator.monitor` and of its moves."""

from collections.abc import Iterator
from math import pi
from operator import ge, lt
from typing import TYPE_CHECKING, Literal

from ..objectives.adversarial import WON_LOGIT_GAP
from ..rules import Rule, general_rules, slower
from ._gan_diagnosis import MIN_DIVERSITY, WON_ACCURACY, speckle_rule

if TYPE_CHECKING:
    from ._translator import Translator

FAINT = 0.03
"""deviation of the noise that round trips are tried with: four of 255 grey levels"""
MIN_MOVED, MOVED_ACCURACY = 0.1, 0.75
"""how far an input is moved, as a share of what separates the domains, below which it is as good as repeated; and the
critic's accuracy from which such a repetition is told from the domain that it should be in"""
MAX_NOISE_GAIN, MAX_NOISY_ERROR = 3.0, 2.0
"""how much faint noise may grow on its way back, as a multiple of its own size and of the error without it"""
CONSISTENCY_OPTIONS = ("cycle_weight", "reconstruction_weight", "nce_weight")


def translator_rules(model: "Translator") -> Iterator[Rule]:
    """The same rules in both directions."""
    yield from general_rules(model, has_steady_loss=False)
    yield from direction_rules(model, "A", "B")
    yield from direction_rules(model, "B", "A")


def direction_rules(model: "Translator", source: str, target: str) -> Iterator[Rule]:
    """What may go wrong with translations from one domain, with the way back to it, and with its critic."""
    looser = change_weights(model, "below", *CONSISTENCY_OPTIONS) or ("more or other data",)
    undecided = ("--identity-weight 0",) if getattr(model, "identity_weight", 0) is None else ()
    bolder = (*undecided, *change_weights(model, "below", "identity_weight", *CONSISTENCY_OPTIONS))
    yield Rule(
        f"the translator from {source} to {target} repeats its input", f"input_change_{source}", MIN_MOVED,
        "it changes its input by {figure:.0%} of what separates the domains (limit {limit:.0%}), and the critic of "
        f"{target} is right {{accuracy_{target}:.0%}} of the time",
        bolder or ("more or other data",), "input repeated",
        passes=lt, given=lambda figures: figures[f"accuracy_{target}"] >= MOVED_ACCURACY,
    )  # fmt: skip
    clean, noisy = f"cycle_error_{source}", f"noisy_cycle_error_{source}"
    yield Rule(  # a way back that reads what the eye cannot see (Chu et al., arXiv:1712.02950)
        f"translations to {target} hide their input",
        lambda figures: (figures[noisy] - figures[clean]) / (FAINT * (2 / pi) ** 0.5),  # E |noise| of a normal variable
        MAX_NOISE_GAIN,
        f"the way back to {source} has an error of {{{clean}:.3f}}, but of {{{noisy}:.3f}} once noise of {FAINT:g}, "
        "which nobody sees, is added: it grows {figure:.1f}-fold (limit {limit:g})",
        looser, "input hidden",
        given=lambda figures: figures[noisy] > MAX_NOISY_ERROR * figures[clean],
    )  # fmt: skip
    # a critic that returns logits may lead at first, and be caught up
    phase: Literal["early", "settled"] = "early" if model.critic_loss == "least-squares" else "settled"
    if (gap := WON_LOGIT_GAP[model.critic_loss]) is not None:
        yield Rule(
            f"the critic of {source} has won", f"logit_gap_{source}", gap,
            f"it is right {{accuracy_{source}:.1%}} of the time (limit {WON_ACCURACY:.0%}), its verdicts {{figure:.2g}}"
            f" apart (limit {{limit:g}}), so the translator to {source} learns nothing from it",
            (*looser, slower(model)), "critic of a domain has won", passes=ge, phase=phase,
            given=lambda figures: figures[f"accuracy_{source}"] >= WON_ACCURACY,
        )  # fmt: skip
    is_tied = getattr(model, "reconstruct", "both") == "both"
    tied = change_weights(model, "above", *CONSISTENCY_OPTIONS) if is_tied else ("--reconstruct both",)
    yield Rule(
        f"translations to {target} are all alike", f"diversity_{source}", MIN_DIVERSITY,
        f"two of them differ {{figure:.0%}} as much as two examples of {source} or {target} do, whichever differ less "
        "(limit {limit:.0%}), so they do not depend on what is translated",
        (*tied, slower(model)), "translations alike", passes=lt, phase="settled",
    )  # fmt: skip
    yield speckle_rule(f"translations to {target}", f"_{source}", ("more --steps", slower(model)))


def change_weights(model: "Translator", way: str, *names: str) -> tuple[str, ...]:
    """The remedies of larger or smaller weights of these terms of its loss; smaller ones only of terms in use."""
    values = {f"--{name.replace('_', '-')} {way}": getattr(model, name, None) for name in names}
    used = {text: value for text, value in values.items() if value or (value is not None and way == "above")}
    return tuple(f"{'a ' * (way == 'above')}{text} {value:g}" for text, value in used.items())
