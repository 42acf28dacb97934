"""What of a source is meant, and how it is prepared: the options of data."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass

from ..errors import UserError
from ..fields import Checked
from ..model import STRICT, Shape
from .levels import Bounds, bounds_of, range_text


class NoSplit(UserError):
    """The source has no examples of the split that was asked for."""


SIZE = r"^[1-9]\d{0,4}(x[1-9]\d{0,4})?$"


def names_in(value: str | Sequence[str]) -> tuple[str, ...]:
    """Names from "a,b", ("a", "b") or ("a,b", "c")."""
    listed = [value] if isinstance(value, str) else value
    return tuple(name.strip() for item in listed for name in str(item).split(",") if name.strip())


def share_of(value: object) -> object:
    """The number in a text, as the command line and files pass it; anything else as it is."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def int_of(value: object) -> object:
    """The number in a text, as the command line and files pass it; anything else as it is."""
    return int(value) if isinstance(value, str) and value.isdigit() else value


Share = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class View(metaclass=Checked):
    """Which part of a source is meant, and how its images are to be prepared."""

    split: Literal["train", "test"] = "train"
    """part of the data"""
    holdout: Annotated[Literal["auto"] | Share | None, BeforeValidator(share_of)] = None
    """share of the examples to hold out for tests, by their content, of a source without a test part; auto, as training
    has it, is 0.1 of 100 examples or more in a folder or a file"""
    classes: Annotated[tuple[str, ...], BeforeValidator(names_in)] = ()
    """only these classes, by name: smileys,animals"""
    size: Annotated[str, BeforeValidator(str), Field(pattern=SIZE)] | None = None
    """resize and centre-crop images: 64, or 48x64 (height x width)"""
    channels: Annotated[Literal[1, 3, 4], BeforeValidator(int_of)] | None = None
    """make images grey (1), RGB (3) or RGBA (4)"""
    range: Annotated[str, BeforeValidator(range_text)] | None = None
    """numbers that are black and white, as 0 1400, or auto: the lowest and the highest in the data"""
    pages: Literal["first", "all"] = "first"
    """of a TIFF or an animation: the first alone, or each as an example"""
    data_dir: str | None = None
    """folder in which to look for a named data set"""

    @property
    def pixels(self) -> tuple[int, int] | None:
        """`size` as (height, width)."""
        if self.size is None:
            return None
        height, _, width = self.size.partition("x")
        return int(height), int(width or height)

    @property
    def bounds(self) -> Bounds | Literal["auto"] | None:
        """`range` as (black, white), or "auto"."""
        return bounds_of(self.range)


def whole(view: View | None) -> View:
    """A view of all examples, unless it says what is held out: for the use of a model, which does not learn."""
    view = view or View()
    return replace(view, holdout=0.0) if view.holdout is None and view.split == "train" else view


def recorded(said: dict[str, Any]) -> View:
    """The view of a run's data, as its config.json has them, with the channels that the run's images have.

    A run that says nothing of `holdout` was begun before there was any, and has learnt from all examples.
    """
    asked = {"holdout": 0.0, "channels": None} | said["view"]
    channels, *size = said.get("shape", [None])
    if size and isinstance(channels, int):
        asked["channels"] = asked["channels"] or channels
    return View(**asked | {"holdout": "auto" if asked["holdout"] is None else asked["holdout"]})


def asked(shape: Shape) -> str:
    """The options that make images of this shape."""
    c, h, w = shape
    return f"size={h if h == w else f'{h}x{w}'} channels={c}"
