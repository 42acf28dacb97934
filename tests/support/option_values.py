"""Values that an option may have."""

from collections.abc import Iterator
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

NUMBERS: dict[type, tuple[float, ...]] = {int: (3, 5, 2), float: (0.25, 0.5, 1.5)}


def leaves(hint: Any) -> Iterator[Any]:
    """The types of a union, without annotations."""
    if get_origin(hint) is Annotated:
        yield from leaves(get_args(hint)[0])
    elif get_args(hint) and get_origin(hint) not in (Literal, tuple):
        for part in get_args(hint):
            yield from leaves(part)
    else:
        yield hint


def candidates(hint: Any) -> Iterator[Any]:
    """Values that options of such a type might have."""
    for leaf in leaves(hint):
        if get_origin(leaf) is Literal:
            yield from get_args(leaf)
        elif get_origin(leaf) is tuple:
            first = list(candidates(get_args(leaf)[0]))
            yield from zip(first, first[1:] or first, strict=False)
        elif leaf is bool:
            yield from (True, False)
        elif leaf is NoneType:
            yield None
        elif leaf is str or leaf is Path:
            yield from ("48x64", "words", "0,1400", "black")
        else:
            yield from NUMBERS[leaf]
