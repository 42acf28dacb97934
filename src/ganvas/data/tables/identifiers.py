"""Identifiers, such as numbers of customers: what they look like, and new ones that look so.

They are never learnt: values of the source would come back.  Of numbers the greatest is stored, of texts that are alike
but for a number their parts and the greatest, of other texts shapes.  New numbers go on beyond the greatest, so none of
them is in the source; other texts are drawn by the shapes.
"""

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from .columns import PRESENT, Column

if TYPE_CHECKING:
    import pyarrow as pa

    from .kinds import Values

NUMBERED = r"^(?P<before>.*?)(?P<number>\d{1,15})(?P<after>\D*)$"
SHAPES, SHAPE_SAMPLE, MAX_SHAPE = 50, 1000, 200
"""shapes of texts that are stored, texts that they are taken from, and their longest, in characters"""
LETTERS = {"9": "0123456789", "x": "0123456789abcdef", "X": "0123456789ABCDEF", "a": "abcdefghijklmnopqrstuvwxyz"}
LETTERS["A"] = LETTERS["a"].upper()
"""what the characters of a shape stand for; others stand for themselves"""
HEX = re.compile("[0-9a-f]+|[0-9A-F]+")


def describe_numbers(values: "Values", numbers: np.ndarray) -> Column:
    """A column of numbers that are no quantities."""
    last = int(numbers.max()) if np.abs(numbers).max() < 2**53 else int(max(map(int, numbers.tolist())))
    return describe_values(values, "", last=last)


def describe_values(values: "Values", dtype: str, **details: Any) -> Column:
    """A column of identifiers of this type, or of that of the values, of which new ones are made by these details."""
    return values.column("identifier", dtype, details=details, categories=(PRESENT,) * (values.missing > 0))


def describe_names(values: "Values", texts: "pa.Array") -> Column:
    """A column of texts that are different in most rows."""
    import pyarrow.compute as pc

    dtype = values.dtype if not values.is_file else "str"
    if bool(pc.all(pc.match_substring_regex(texts, NUMBERED)).as_py()):
        parts = pc.extract_regex(texts, NUMBERED)
        before, after = (pc.unique(parts.field(i)).to_pylist() for i in (0, 2))
        if len(before) == len(after) == 1:
            digits = parts.field(1)
            widths = pc.unique(pc.utf8_length(digits)).to_pylist()
            last = pc.max(pc.cast(digits, "int64")).as_py()
            width = widths[0] if len(widths) == 1 else 0
            return describe_values(values, dtype, last=last, before=before[0], after=after[0], width=width)
    step = max(1, len(texts) // SHAPE_SAMPLE)
    sample = [texts[i].as_py() for i in range(0, len(texts), step)]
    shapes = Counter(find_shapes(sample)).most_common(SHAPES)
    counts = [count for _, count in shapes]
    return describe_values(values, dtype, shapes=[shape for shape, _ in shapes], weights=counts)


def find_shapes(texts: list[str]) -> list[str]:
    """The shape of each text: 9 for a digit, a and A for letters; x of numbers in base 16."""
    is_hex = all(HEX.fullmatch(re.sub(r"[\W_]", "", text)) for text in texts)
    if is_hex and any(re.search("[a-fA-F]", text) for text in texts):
        digit = "X" if any(re.search("[A-F]", text) for text in texts) else "x"
        return [re.sub(r"[0-9a-fA-F]", digit, text[:MAX_SHAPE]) for text in texts]
    return ["".join(map(shape_of, text[:MAX_SHAPE])) for text in texts]


def shape_of(character: str) -> str:
    """What stands for a character in a shape."""
    if character.isdigit():
        return "9"
    if character.isalpha():
        return "A" if character.isupper() else "a"
    return character


def new_identifiers(column: Column, n: int, random: np.random.Generator) -> list[Any]:
    """n identifiers, all different where there are so many of their shapes."""
    details = column.details
    if "last" in details:
        numbers = range(details["last"] + 1, details["last"] + 1 + n)
        if "before" not in details:
            return list(numbers)
        return [f"{details['before']}{i:0{details['width']}d}{details['after']}" for i in numbers]
    weights = np.array(details["weights"], float)
    shapes, unique = random.choice(len(weights), n, p=weights / weights.sum()), dict[str, None]()
    names = list[str]()
    for i in shapes:
        for _ in range(10):
            name = draw(details["shapes"][i], random)
            if name not in unique:
                break
        unique[name] = None
        names.append(name)
    return names


def draw(shape: str, random: np.random.Generator) -> str:
    """A text of a shape."""
    choices = [LETTERS.get(character, character) for character in shape]
    return "".join(some[int(u * len(some))] for some, u in zip(choices, random.random(len(shape)), strict=True))
