"""The training doctor: what is wrong with a run, from what its log holds, each with evidence and a remedy that applies.

`examine` is all of it: what a run warns of while it trains, and what `ganvas doctor` prints.  docs/doctor.md has a
section for each disease, and says where the limits come from.
"""

from typing import Any

from ..model import Model
from ..models._gan import Adversarial
from ..models._translator import Translator
from .codes import DEAD_STD_RATIO, MAX_PRIOR_KL, check_codes, latent_report
from .diagnosis import DOCS_PAGE, Diagnosis, Lines, is_early, monitored_statistics
from .games import (
    CLIPPED_SLOPE_RANGE,
    MAX_DETAIL_RATIO,
    MAX_EXTRA_DETAIL,
    MIN_DIVERSITY,
    PAST_BEST_ERRORS,
    PAST_BEST_SHARE,
    PENALIZED_SLOPE_RANGE,
    RELAXED_WON_ACCURACY,
    VANISHED_GRADIENT_RATIO,
    WON_ACCURACY,
    WON_LOGIT_GAP,
    check_game,
    check_past_best,
)
from .translators import check_translator
from .trends import (
    MAX_COPY_SHARE,
    MAX_EMA_LAG,
    MAX_LOSS_RISE,
    MAX_OUTSIDE_SHARE,
    MAX_WEIGHT_SCALE,
    MIN_REVERSALS,
    MIN_SWING,
    check_divergence,
    check_trends,
    recent_lines,
)

DOMAIN_STATISTICS = ("accuracy", "gap", "cycle", "noisy", "moved", "diversity", "detail", "detail_real")
"""what is looked at in each domain of a translator"""

__all__ = [
    "CLIPPED_SLOPE_RANGE",
    "DEAD_STD_RATIO",
    "DOCS_PAGE",
    "MAX_COPY_SHARE",
    "MAX_DETAIL_RATIO",
    "MAX_EMA_LAG",
    "MAX_EXTRA_DETAIL",
    "MAX_LOSS_RISE",
    "MAX_OUTSIDE_SHARE",
    "MAX_PRIOR_KL",
    "MAX_WEIGHT_SCALE",
    "MIN_DIVERSITY",
    "MIN_REVERSALS",
    "MIN_SWING",
    "PAST_BEST_ERRORS",
    "PAST_BEST_SHARE",
    "PENALIZED_SLOPE_RANGE",
    "RELAXED_WON_ACCURACY",
    "VANISHED_GRADIENT_RATIO",
    "WON_ACCURACY",
    "WON_LOGIT_GAP",
    "Diagnosis",
    "check_translator",
    "diagnose",
    "examine",
    "is_early",
    "latent_report",
    "latest_statistics",
    "recent_lines",
]  # fmt: skip


def examine(model: Model, steps: int, lines: Lines) -> list[Diagnosis]:
    """What the log of a run that was to have so many steps says is wrong: its last lines, and how they came about."""
    ended = [check_divergence(line, model) for line in lines[-1:] if "diverged" in line]
    lines = [line for line in recent_lines(lines) if monitored_statistics(line)]
    if not lines:
        return ended
    last, done = lines[-1], lines[-1]["step"]
    if isinstance(model, Adversarial):
        found = check_game(model, lines, steps) + check_past_best(model, last, done, steps)
    elif isinstance(model, Translator):
        found = check_translator(model, lines, steps)
    else:
        found = check_codes(model, last.get("codes", {}), done, steps)
    return [*ended, *check_trends(model, lines, steps), *found]


def diagnose(model: Model, report: dict[str, Any], done: int, steps: int) -> list[str]:
    """What one line of the log, the latest of a run that has done so many of its steps, says is wrong, in sentences."""
    return [found.sentence for found in examine(model, steps, [report | {"step": done}])]


def latest_statistics(lines: Lines) -> dict[str, float]:
    """What the doctor looks at, in the last line that has it."""
    names = (
        "active", "dimensions", "dead", "kl", "from_prior", "accuracy_real", "accuracy_fake", "gap", "diversity",
        "detail", "detail_real", "slope", "away", "lag", "scale", "outside",
        *(f"{name}_{domain}" for domain in "AB" for name in DOMAIN_STATISTICS),
    )  # fmt: skip
    latest = {name: value for line in lines for name, value in monitored_statistics(line).items()}
    samples: dict[str, Any] = next((line["samples"] for line in reversed(lines) if "samples" in line), {})
    seen = {samples["metric"]: samples["value"]} if samples else {}
    seen |= {name: samples[name] for name in ("memorised",) if name in samples}
    found = {name: latest[name] for name in names if name in latest} | seen
    return {name: float(value) for name, value in found.items() if value is not None}
