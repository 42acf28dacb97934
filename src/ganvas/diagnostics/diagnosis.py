"""A diagnosis: what is wrong, the figure that shows it, the limit that it passes, and what to do."""

from dataclasses import dataclass
from typing import Any

DOCS_PAGE = "docs/doctor.md"
"""the page with a section for each condition"""


@dataclass(frozen=True)
class Diagnosis:
    """One thing that is wrong with a run, or, where it is no alarm, worth knowing."""

    name: str
    evidence: str
    """figure and limit, in words"""
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
