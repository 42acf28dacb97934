"""What models share that choose values for options that nobody gave."""

from collections.abc import Set
from typing import Any


def without_steps(values: dict[str, Any], given: Set[str]) -> dict[str, Any]:
    """The values, without steps where it is given in another way how long to train."""
    return {name: value for name, value in values.items() if name != "steps" or not given & {"epochs", "budget"}}
