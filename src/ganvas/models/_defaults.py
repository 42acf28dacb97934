"""What models share that choose values for options that nobody gave."""

from collections.abc import Set
from typing import Any

FEW_EXAMPLES = 20000
"""examples below which models for images see them changed, lest they learn them by heart"""


def fit_schedule(values: dict[str, Any], given: Set[str]) -> dict[str, Any]:
    """The values, without steps or a decay of the learning rate where these are given in another way."""
    others = {"steps": {"epochs", "budget"}, "lr_decay": {"lr_milestones", "burn_in"}}
    return {name: value for name, value in values.items() if not others.get(name, set()) & given}
