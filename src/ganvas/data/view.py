"""What of a source is meant, and how it is prepared: the options of data."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass

from ..errors import UserError
from ..fields import Checked
from ..model import STRICT


class NoSplit(UserError):
    """The source has no examples of the split that was asked for."""


SIZE = r"^[1-9]\d{0,4}(x[1-9]\d{0,4})?$"


def names_in(value: str | Sequence[str]) -> tuple[str, ...]:
    """Names from "a,b", ("a", "b") or ("a,b", "c")."""
    listed = [value] if isinstance(value, str) else value
    return tuple(name.strip() for item in listed for name in str(item).split(",") if name.strip())


def int_of(value: object) -> object:
    """The number in a text, as the command line and files pass it; anything else as it is."""
    return int(value) if isinstance(value, str) and value.isdigit() else value


@dataclass(frozen=True, kw_only=True, config=STRICT)
class View(metaclass=Checked):
    """Which part of a source is meant, and how its images are to be prepared."""

    split: Literal["train", "test"] = "train"
    """part of the data"""
    classes: Annotated[tuple[str, ...], BeforeValidator(names_in)] = ()
    """only these classes, by name: smileys,animals"""
    size: Annotated[str, BeforeValidator(str), Field(pattern=SIZE)] | None = None
    """resize and centre-crop images: 64, or 48x64 (height x width)"""
    channels: Annotated[Literal[1, 3, 4], BeforeValidator(int_of)] | None = None
    """make images grey (1), RGB (3) or RGBA (4)"""
    data_dir: str | None = None
    """folder in which to look for a named data set"""

    @property
    def pixels(self) -> tuple[int, int] | None:
        """`size` as (height, width)."""
        if self.size is None:
            return None
        height, _, width = self.size.partition("x")
        return int(height), int(width or height)
