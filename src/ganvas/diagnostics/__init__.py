"""The training doctor: what is wrong with a run, from what its log holds, each with evidence and a remedy that applies.

`examine` is all of it: what a run warns of while it trains, and what `ganvas doctor` prints.  It walks the rules that a
model declares (`Model.rules`) with the figures of the log.  docs/doctor.md has a section for each condition, and says
where the limits come from.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..config import TrainConfig
from ..io.text import fill_in
from ..model import Model
from ..rules import Figures, Remedies, Rule, slower_learning
from .figures import Lines, latent_report, log_figures, monitored_statistics, recent_lines

DOCS_PAGE = "docs/doctor.md"
"""the page with a section for each condition"""
DOMAIN_STATISTICS = (
    "accuracy", "logit_gap", "cycle_error", "noisy_cycle_error", "input_change", "diversity", "detail", "detail_real",
)  # fmt: skip
REPORT_FIGURES = (
    "active_units", "dimensions", "dead_units", "kl", "kl_from_prior", "accuracy_real", "accuracy_fake", "logit_gap",
    "diversity", "detail", "detail_real", "input_gradient", "distance_to_data", "ema_lag", "weight_scale",
    "outside_fraction", *(f"{name}_{domain}" for domain in "AB" for name in DOMAIN_STATISTICS),
)  # fmt: skip
"""the figures that a report names"""

__all__ = ["diagnose", "examine", "is_early", "latent_report", "latest_statistics", "recent_lines"]


@dataclass(frozen=True)
class Diagnosis:
    """One thing that is wrong with a run, or, where it is no alarm, worth knowing."""

    name: str
    evidence: str
    """the figure that shows it and the limit that it passes, in words"""
    value: float
    limit: float
    remedies: Remedies
    """what to change, of what goes with the model's and training's other options"""
    section: str = ""
    """title of its section of the page, where that is not the name"""
    is_alarm: bool = True

    @property
    def sentence(self) -> str:
        return f"{self.name}: {self.evidence}; remedies: {', '.join(self.texts)}"

    @property
    def texts(self) -> list[str]:
        """The remedies in words."""
        return [remedy.text for remedy in self.remedies]

    @property
    def condition(self) -> str:
        """The title of its section of the page."""
        return self.section or self.name

    @property
    def page(self) -> str:
        title = self.condition.lower().replace(" ", "-")
        return f"{DOCS_PAGE}#{''.join(c for c in title if c.isalnum() or c == '-')}"

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name, "alarm": self.is_alarm, "evidence": self.evidence, "figure": self.value,
            "limit": self.limit, "remedies": self.texts, "page": self.page,
        }  # fmt: skip


def examine(model: Model, steps: int, lines: Lines, config: TrainConfig | None = None) -> list[Diagnosis]:
    """What the log of a run that was to have so many steps says is wrong: its last lines, and how they came about.

    Remedies are for training as in `config`, or else as the model is trained by default.
    """
    config = config or model.default_training
    diagnoses = divergences(lines, slower_learning(model, config))
    lines = [line for line in recent_lines(lines) if monitored_statistics(line)]
    if not lines:
        return diagnoses
    return diagnoses + check_rules(model.rules(config), log_figures(lines), lines[-1]["step"], steps)


def divergences(lines: Lines, remedies: Remedies) -> list[Diagnosis]:
    """That a number was NaN or infinite: the run ended, or went back to a checkpoint, or updates were skipped."""
    diagnoses = list[Diagnosis]()
    if events := [line for line in lines if "rollback" in line] + [line for line in lines[-1:] if "diverged" in line]:
        last, name = events[-1], "the learning rate is too high"
        evidence = last.get("diverged") or last["rollback"]
        diagnoses.append(Diagnosis(name, evidence, float(last["step"]), 0.0, remedies, "learning rate"))
    if skips := [line for line in lines if line.get("skipped")]:
        n, step = sum(line["skipped"] for line in skips), skips[-1]["step"]
        evidence = f"a gradient was NaN or infinite in {n} step{'s' * (n > 1)}, the last before the line of step {step}"
        diagnoses.append(Diagnosis("skipped updates", evidence, float(n), 0.0, remedies))
    return diagnoses


def check_rules(rules: Iterable[Rule], figures: Figures, step: int, steps: int) -> list[Diagnosis]:
    """The rules that the figures break after so many of the steps; what follows from another is not said as well."""
    phases = {"early": True, "settled": step >= min(steps, max(1000, steps // 4)), "end": step >= steps}
    diagnoses: list[Diagnosis] = []
    for rule in [] if is_early(step, steps) else rules:
        follows = any(diagnosis.condition in rule.unless for diagnosis in diagnoses)
        if follows or step <= rule.after or not phases[rule.phase] or not rule.given(figures):
            continue
        figure = figures[rule.figure] if isinstance(rule.figure, str) else rule.figure(figures)
        limit = rule.limit(figures) if callable(rule.limit) else rule.limit
        if rule.passes(figure, limit):
            values = Figures(figures | {"figure": figure, "limit": limit})
            remedies = rule.remedies(values) if callable(rule.remedies) else rule.remedies
            sign = fill_in(rule.evidence, values), float(figure), float(limit), remedies
            diagnoses.append(Diagnosis(rule.name, *sign, rule.section, rule.is_alarm))
    return diagnoses


def is_early(step: int, steps: int) -> bool:
    """Whether the steps done are too few to be a sign of anything."""
    return step < max(200, steps // 10)


def diagnose(model: Model, report: dict[str, Any], step: int, steps: int) -> list[str]:
    """What one line of the log, the latest of a run that has done so many of its steps, says is wrong, in sentences."""
    return [diagnosis.sentence for diagnosis in examine(model, steps, [report | {"step": step}])]


def latest_statistics(lines: Lines) -> dict[str, float]:
    """What the doctor looks at, in the last line that has it."""
    latest = {name: value for line in lines for name, value in monitored_statistics(line).items()}
    statistics = {name: latest[name] for name in REPORT_FIGURES if name in latest}
    for samples in [line["samples"] for line in lines if "samples" in line][-1:]:
        statistics[samples["metric"]] = samples["value"]
        statistics["memorised"] = samples.get("memorised")
    return {name: float(value) for name, value in statistics.items() if value is not None}
