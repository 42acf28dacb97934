"""Which examples of a source to use, and how to prepare them: the options of data."""

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from ..errors import UserError
from ..fields import STRICT, Fraction, ValidatedMeta
from .depth import KindName, ScaleName
from .quantization import AUTO, Bounds, normalize_range

CHANNEL_CHOICES = (1, 3, 4)
"""channels that images can be given"""
COLOURS = {"white": (255, 255, 255), "black": (0, 0, 0), "grey": (128, 128, 128)}
"""colours with a name, as red, green and blue"""
Progress = Callable[[int, int], None]  # called with the numbers of examples read, and of all, while they are read


class MissingSplitError(UserError):
    """The source has no examples of the split that was asked for."""


def no_progress(n: int, total: int) -> None:
    """A `Progress` that nobody watches."""


def parse_number(value: object) -> object:
    """The number that a text is, for choices of which some are numbers; else what is given."""
    return int(str(value)) if str(value).isdigit() else value


def normalize_colour(value: object) -> str:
    """A colour that has a name, or #rrggbb, in small letters."""
    text = str(value).strip().lower()
    if text not in COLOURS and not re.fullmatch("#[0-9a-f]{6}", text):
        raise PydanticCustomError("colour", "must be white, black, grey or a colour such as '#ff8000' (in quotes)")
    return text


def split_names(value: object) -> tuple[str, ...]:
    """Names from "a,b", ("a", "b"), ("a,b", "c") or 3."""
    items = value if isinstance(value, Iterable) and not isinstance(value, str) else [value]
    return tuple(name.strip() for item in items for name in str(item).split(",") if name.strip())


def as_texts(value: object) -> tuple[str, ...]:
    """Texts from one or several, as they are: a comma may be a part of them."""
    return tuple(map(str, value)) if isinstance(value, Iterable) and not isinstance(value, str) else (str(value),)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DataOptions(metaclass=ValidatedMeta):
    """Which examples of a source to use, and how to prepare its images."""

    split: Literal["train", "test"] = "train"
    """part of the data"""
    holdout: Literal["auto"] | Fraction | None = None
    """share of the examples to hold out for tests if the source has no test part; auto, the default in training, is 0.1
    of a folder or a file with 100 examples or more"""
    classes: Annotated[tuple[str, ...], BeforeValidator(split_names)] = ()
    """only these classes, by name: smileys,animals"""
    limit: Annotated[int, Field(gt=0)] | None = None
    """at most so many examples, drawn at random, always the same ones; of the test part as many"""
    size: Annotated[str, BeforeValidator(str), Field(pattern=r"^[1-9]\d{0,4}(x[1-9]\d{0,4})?$")] | None = None
    """resize and centre-crop images: 64, or 48x64 (height x width)"""
    crop: Literal["center", "random", "pad", "tiles"] | None = None
    """how images get the size: center, the default, resizes them and cuts off what is beyond; pad resizes whole images
    and pads them; without resizing, random takes one part of each, always the same, and tiles cuts each into parts"""
    channels: Annotated[Literal[1, 3, 4], BeforeValidator(parse_number)] | None = None
    """make images grey (1), RGB (3) or RGBA (4)"""
    background: Annotated[str, BeforeValidator(normalize_colour)] | None = None
    """lay images with alpha on a colour, which makes them RGB: white, black, grey or '#rrggbb'"""
    range: Annotated[str, BeforeValidator(normalize_range)] | None = None
    """numbers that are black and white, e.g. 0 1400, or auto: the lowest and the highest in the data"""
    bits: Annotated[Literal["auto", "full", 8], BeforeValidator(parse_number)] = "auto"
    """levels of images: auto keeps numbers that are no bytes as they are; full also those that bytes could hold; 8
    rounds to 256 levels"""
    scale: ScaleName = "range"
    """how models see numbers that are no bytes, each channel by its range, by mean-std (three deviations around its
    mean) or by percentile (from 1% to 99%)"""
    pages: Literal["first", "all"] = "first"
    """pages of a TIFF or frames of an animation: only the first, or each as an example"""
    stream: Literal["auto", "always", "never"] = "auto"
    """read shards, Parquet files and tables as they are needed; auto where they take over half of the free memory"""
    kind: KindName = "auto"
    """what examples of an array are: auto tells images and vectors by the axes; vector, n x d, also of Parquet or
    frames of numbers, which else are tables; signal, n x length or n x channels x length; volume, n x depth x height
    x width or n x channels x depth x height x width"""
    column: Annotated[tuple[str, ...], BeforeValidator(as_texts)] = ()
    """kind of a column of a table, once for each: age:integer, zip:category, size:ordered=S<M<L, born:date=%d.%m.%Y"""
    drop: Annotated[tuple[str, ...], BeforeValidator(split_names)] = ()
    """columns of a table to leave out: id,name"""
    constraint: Annotated[tuple[str, ...], BeforeValidator(as_texts)] = ()
    """what holds in every row of a table, once for each: 'end >= start', 'net + tax = total', 'unique name, day'"""
    data_dir: str | None = None
    """folder to search for a named data set"""

    @property
    def file_limit(self) -> int | None:
        """`limit` where each file is an example, so that those that are left out need not be decoded."""
        is_example = not self.classes and self.crop != "tiles" and self.pages == "first"
        return self.limit if is_example else None

    @property
    def image_size(self) -> tuple[int, int] | None:
        """`size` as (height, width)."""
        if self.size is None:
            return None
        height, _, width = self.size.partition("x")
        return int(height), int(width or height)

    @property
    def background_colour(self) -> tuple[int, ...]:
        """`background`, white if there is none, as red, green and blue."""
        name = self.background or "white"
        return COLOURS[name] if name in COLOURS else tuple(bytes.fromhex(name[1:]))

    @property
    def bounds(self) -> Bounds | Literal["auto"] | None:
        """`range` as (black, white), or "auto"."""
        if self.range is None or self.range == AUTO:
            return None if self.range is None else "auto"
        low, high = map(float, self.range.split(","))
        return low, high


def number_options(options: DataOptions) -> dict[str, Any]:
    """What `from_array` is told of images' numbers."""
    return {"range": options.range, "bits": options.bits, "scale": options.scale}


def without_holdout(options: DataOptions | None) -> DataOptions:
    """Options for all examples, unless they say what is held out: for using a model, which does not learn then."""
    options = options or DataOptions()
    return replace(options, holdout=0.0) if options.holdout is None and options.split == "train" else options


def stored_options(data_config: dict[str, Any]) -> dict[str, Any]:
    """The `DataOptions` in a run's config.json, with its channels.

    An old run without `holdout` has learnt from all examples, one without `bits` from 256 levels.
    """
    values: dict[str, Any] = {"holdout": 0.0, "channels": None, "bits": 8} | data_config["options"]
    if "column" not in data_config["options"] and len(data_config.get("shape", [])) == 1:
        values["kind"] = "vector"  # frames and Parquet files were no tables
    channels, *size = data_config.get("shape", [None])
    if len(size) == 2 and channels in CHANNEL_CHOICES:
        values["channels"] = values["channels"] or channels
    return values | {"holdout": "auto" if values["holdout"] is None else values["holdout"]}
