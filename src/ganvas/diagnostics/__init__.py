"""The training doctor: what is wrong with a run, from what its log holds, each with evidence and a remedy that applies.

`examine` is all of it: what a run warns of while it trains, and what `ganvas doctor` prints.  docs/doctor.md has a
section for each disease, and says where the limits come from.
"""

from typing import Any

from ..model import Model
from ..models._gan import Adversarial
from ..models._translator import Translator
from .codes import DEAD, FAR, latent_report, of_codes
from .diagnosis import PAGE, Diagnosis, Lines, is_early, stands
from .games import (
    APART,
    BEYOND,
    CLIPPED,
    FEW,
    FINER,
    GRAIN,
    MOSTLY,
    PENALIZED,
    SURE,
    VANISHED,
    WORSE,
    of_game,
    of_samples,
)
from .translators import of_translator
from .trends import COPIED, GROWN, LAG, OUTSIDE, RISEN, SWING, TURNS, of_end, of_trends, recent

OF_DOMAINS = ("accuracy", "gap", "cycle", "noisy", "moved", "diversity", "detail", "detail_real")
"""what is looked at in each domain of a translator"""

__all__ = [
    "APART", "BEYOND", "CLIPPED", "COPIED", "DEAD", "FAR", "FEW", "FINER", "GRAIN", "GROWN", "LAG", "MOSTLY", "OUTSIDE",
    "PAGE", "PENALIZED", "RISEN", "SURE", "SWING", "TURNS", "VANISHED", "WORSE", "Diagnosis", "diagnose", "examine",
    "figures", "is_early", "latent_report", "of_translator", "recent",
]  # fmt: skip


def examine(model: Model, steps: int, lines: Lines) -> list[Diagnosis]:
    """What the log of a run that was to have so many steps says is wrong: its last lines, and how they came about."""
    ended = [of_end(line, model) for line in lines[-1:] if "diverged" in line]
    lines = [line for line in recent(lines) if stands(line)]
    if not lines:
        return ended
    last, done = lines[-1], lines[-1]["step"]
    if isinstance(model, Adversarial):
        found = of_game(model, lines, steps) + of_samples(model, last, done, steps)
    elif isinstance(model, Translator):
        found = of_translator(model, lines, steps)
    else:
        found = of_codes(model, last.get("codes", {}), done, steps)
    return [*ended, *of_trends(model, lines, steps), *found]


def diagnose(model: Model, report: dict[str, Any], done: int, steps: int) -> list[str]:
    """What one line of the log, the latest of a run that has done so many of its steps, says is wrong, in sentences."""
    return [found.sentence for found in examine(model, steps, [report | {"step": done}])]


def figures(lines: Lines) -> dict[str, float]:
    """What the doctor looks at, in the last line that has it."""
    names = (
        "active", "dimensions", "dead", "kl", "from_prior", "accuracy_real", "accuracy_fake", "gap", "diversity",
        "detail", "detail_real", "slope", "away", "lag", "scale", "outside",
        *(f"{name}_{domain}" for domain in "AB" for name in OF_DOMAINS),
    )  # fmt: skip
    latest = {name: value for line in lines for name, value in stands(line).items()}
    samples: dict[str, Any] = next((line["samples"] for line in reversed(lines) if "samples" in line), {})
    seen = {samples["metric"]: samples["value"]} if samples else {}
    seen |= {name: samples[name] for name in ("memorised",) if name in samples}
    found = {name: latest[name] for name in names if name in latest} | seen
    return {name: float(value) for name, value in found.items() if value is not None}
