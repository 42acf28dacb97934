"""Tables as text, which are not read: what they hold, and how their numbers become an array."""

import csv
from itertools import islice
from pathlib import Path

from ..io.text import is_number

SUFFIXES = {".csv": ",", ".tsv": "\t"}
"""of tables, with what stands between their fields"""
ROWS = 1000
"""rows that are looked at"""
NAMED = 8
"""columns that are named"""


def of_table(path: Path) -> str:
    """How to make an array of a table, and which of its columns hold text or nothing."""
    between = SUFFIXES[path.suffix.lower()]
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
            lines = [line for line in islice(csv.reader(file, delimiter=between), ROWS) if line]
    except csv.Error as error:
        return f"it is a damaged table ({error})"
    head = bool(lines) and not any(map(is_number, lines[0]))
    names = lines[0] if head else [f"column {i}" for i in range(len(lines[0]) if lines else 0)]
    columns = list(zip(*[line for line in lines[head:] if len(line) == len(names)], strict=True))
    text = [i for i, column in enumerate(columns) if any(field.strip() and not is_number(field) for field in column)]
    gaps = [names[i] for i, column in enumerate(columns) if i not in text and not all(f.strip() for f in column)]
    made = one_line(path, between, head, names, text)
    said = f'it is a table, and Ganvas reads arrays: save its numbers, python -c "{made}"'
    if text:
        said += f"; {listed([names[i] for i in text])} {'holds' if len(text) == 1 else 'hold'} text"
    if gaps:
        said += f"; {listed(gaps)} {'has' if len(gaps) == 1 else 'have'} empty fields, which become NaN: fill them"
    return said


def one_line(path: Path, between: str, head: bool, names: list[str], text: list[int]) -> str:
    """What makes an array of the columns of numbers."""
    options = [f"delimiter={between!r}", *(["skip_header=1"] if head else [])]
    if text:
        options.append(f"usecols={[i for i in range(len(names)) if i not in text]}")
    return f"import numpy as np; np.save('{path.stem}.npy', np.genfromtxt('{path.name}', {', '.join(options)}))"


def listed(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
