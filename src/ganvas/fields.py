"""Fields of models, plans and views: what is wrong with a value, in one sentence.

Errors name an argument as Python has it, `latent` or latent=16; the command line makes options of these.
"""

import re
from abc import ABCMeta
from collections.abc import Iterable, Sequence
from dataclasses import fields
from inspect import get_annotations
from shlex import quote
from typing import Annotated, TypeVar, dataclass_transform

from pydantic import ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass
from pydantic_core import ErrorDetails

from .errors import UserError, did_you_mean
from .renamed import fixed_message, given_up

T = TypeVar("T")
STRICT = ConfigDict(extra="forbid", allow_inf_nan=False, defer_build=True)
"""of dataclasses whose values are checked; what checks them is built for the first instance"""
Count = Annotated[int, Field(gt=0)]
Size = Annotated[int, Field(gt=0, le=65536)]
Steps = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]
ERROR_TEXTS = {
    **dict.fromkeys(("float_parsing", "float_type"), "must be a number"),
    **dict.fromkeys(("int_parsing", "int_type", "int_from_float", "int_parsing_size"), "must be a whole number"),
    **dict.fromkeys(("bool_parsing", "bool_type"), "must be true or false"),
    **dict.fromkeys(("tuple_type", "missing"), "must be several values"),
    "too_short": "must have {min_length} or more values",
    "too_long": "must have {max_length} values at most",
    "string_pattern_mismatch": "must be a size such as 64 or 48x64 (height x width)",  # the only text with such a form
}
"""what is wrong, by pydantic's kind of error"""


@dataclass_transform(kw_only_default=True, frozen_default=True)
class ValidatedMeta(ABCMeta):
    """Of a pydantic dataclass, whose constructor raises UserError, one sentence, for values that do not fit."""

    def __call__(cls: type[T], *values: object, **keywords: object) -> T:
        try:
            as_dataclass(cls)
            instance: T = super().__call__(*values, **keywords)  # type: ignore[misc]
        except ValidationError as error:
            raise UserError(format_errors(error, cls)) from error
        return mark_given(instance, keywords) if hasattr(cls, "given") else instance


def mark_given(instance: T, names: Iterable[str]) -> T:
    """The instance, whose `given` says which of its fields somebody gave a value, be it the default."""
    object.__setattr__(instance, "given", frozenset(names))  # no field: it is neither compared nor stored
    return instance


def as_dataclass(cls: type[T]) -> type[T]:
    """The class, made a pydantic dataclass unless it is one: a user's subclass needs no decorator.

    Its annotated attributes are fields, and a plain `lr = 1e-4` is a new default of the field that it inherits.
    """
    for part in reversed(cls.__mro__):
        if isinstance(part, ValidatedMeta) and "__dataclass_fields__" not in vars(part):
            inherited = {field.name: field.type for field in fields(part) if field.name in vars(part)}  # type: ignore[arg-type]
            part.__annotations__ = inherited | get_annotations(part)
            dataclass(frozen=True, kw_only=True, config=STRICT)(part)  # type: ignore[arg-type]
    return cls


def format_errors(error: ValidationError, cls: type | None = None) -> str:
    """pydantic's errors as a sentence, a part a field: where it may be of several kinds, what each of them must be."""
    errors_by_field: dict[str, list[ErrorDetails]] = {}
    for part in error.errors(include_url=False):
        errors_by_field.setdefault(str((*part["loc"], "value")[0]), []).append(part)
    return "; ".join(format_field_error(name, parts, cls) for name, parts in errors_by_field.items())


def format_field_error(name: str, errors: Sequence[ErrorDetails], cls: type | None) -> str:
    """What is wrong with a field, and its value."""
    kind, value = errors[0]["type"], errors[0]["input"]
    owner, known = ("it", []) if cls is None else (cls.__name__, [field.name for field in fields(cls)])
    if kind == "unexpected_keyword_argument":
        if cls is not None and name in (fixed := given_up(cls)):
            return fixed_message(owner, name, fixed[name])
        return f"{owner} has no {name!r}.{did_you_mean(name, known) or ' It has ' + ', '.join(sorted(known))}"
    if kind == "unexpected_positional_argument":
        return f"{owner} takes {value!r} by name, as in {', '.join(f'{field}=...' for field in known[:2])}"
    return f"`{name}` {describe_errors(errors)}, not {value!r}"


def describe_errors(errors: Iterable[ErrorDetails]) -> str:
    """pydantic's errors of one value in words: what it must be or, where it may be of several kinds, each of them."""
    first, *rest = dict.fromkeys(map(describe_error, errors))
    return " or ".join([first, *(more.removeprefix("must be ") for more in rest)])


def describe_error(error: ErrorDetails) -> str:
    """One of pydantic's errors in words."""
    if error["type"] in ERROR_TEXTS:
        return ERROR_TEXTS[error["type"]].format(**error.get("ctx", {}))
    message = str(error["msg"]).removeprefix("Value error, ").replace("Input should be", "must be")
    return f"{message[0].lower()}{message[1:]}"


def parse_duration(value: object) -> float:
    """Seconds of "30s", "10m", "1.5h" or a number; ValueError for anything else."""
    if not (parts := re.fullmatch(r"(\d*\.?\d+)([smh]?)", str(value))):
        raise ValueError("must be a time such as 30s, 10m or 1.5h")
    return float(parts[1]) * 60.0 ** "smh".index(parts[2] or "s")


REPEATED = frozenset({"column", "constraint"})
"""options of several texts that are typed once for each: a comma may be a part of one"""


def flag(name: str) -> str:
    """An option's name as it is typed."""
    return f"--{name.replace('_', '-')}"


def format_option(option: tuple[str, object]) -> str:
    """A name and its value as an option that is typed in a shell."""
    name, value = option
    if isinstance(value, bool):
        return flag(name if value else f"no_{name}")
    if isinstance(value, tuple) and value and all(isinstance(part, float) for part in value):
        return f"{flag(name)} {' '.join(map(str, value))}"
    if name in REPEATED and isinstance(value, tuple) and value:
        return " ".join(f"{flag(name)} {quote(part)}" for part in value)
    text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    text = "none" if value in (None, ()) else text
    return f"{flag(name)} {quote(text)}"


def split_commas(value: object) -> object:
    """The parts of "16,8", or of ("16,8", 4), no part of "none"; anything else as it is."""
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list | tuple):
        return value
    parts = tuple(part for item in values for part in (item.split(",") if isinstance(item, str) else [item]))
    return () if parts == ("none",) else parts
