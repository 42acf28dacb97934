"""A diagnosis: what is wrong, the figure that shows it, the limit that it passes, and what to do."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

Lines = Sequence[dict[str, Any]]
DOCS_PAGE = "docs/doctor.md"
"""the page with a section for each disease"""
LAST = 5
"""lines of which medians are taken"""


def as_option(name: str) -> str:
    """A field as the command line has it, without its hyphens in front."""
    return name.replace("_", "-")


def is_early(done: int, steps: int) -> bool:
    """Whether the steps done are too few to be a sign of anything."""
    return done < max(200, steps // 10)


def monitored_statistics(line: dict[str, Any]) -> dict[str, Any]:
    """How the game stands, or the codes are used, in a line."""
    found: dict[str, Any] = line.get("game") or line.get("codes") or {}
    return found


def latest(lines: Lines) -> dict[str, float]:
    """What the last line says of the game, each number as the median of those that the last lines have."""
    games = [monitored_statistics(line) for line in lines[-LAST:]]
    return {name: median(game[name] for game in games if name in game) for name in games[-1]}


@dataclass(frozen=True)
class Diagnosis:
    """One thing that is wrong with a run, or, where it is no alarm, worth knowing."""

    name: str
    evidence: str
    """what was seen, with figure and limit, in words"""
    value: float
    limit: float
    remedies: tuple[str, ...]
    """what to change, of what goes with the model's other options"""
    section: str = ""
    """title of its section of the page, where that is not the name"""
    is_alarm: bool = True

    @property
    def sentence(self) -> str:
        """All of it."""
        return f"{self.name}: {self.evidence}; remedies: {', '.join(self.remedies)}"

    @property
    def condition(self) -> str:
        """The title of its section of the page."""
        return self.section or self.name

    @property
    def page(self) -> str:
        """Where the page explains it."""
        title = self.condition.lower()
        return f"{DOCS_PAGE}#{''.join(c for c in title if c.isalnum() or c in ' -').replace(' ', '-')}"

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "name": self.name, "alarm": self.is_alarm, "evidence": self.evidence, "figure": self.value,
            "limit": self.limit, "remedies": list(self.remedies), "page": self.page,
        }  # fmt: skip
