"""What to give in place of a path that is no data source."""

import csv
from itertools import islice
from pathlib import Path

from ..io.text import is_number
from .label_tables import TABLE_PATTERN
from .listing import ARCHIVES, File, is_image, join_names

TABLE_SEPARATORS = {".csv": ",", ".tsv": "\t"}
MAX_ROWS, MAX_NAMES = 1000, 8
"""rows of a table that are read, and columns that are named"""


def suggest_source(path: Path) -> str:
    """What to give in place of a file that cannot be read."""
    suffix = path.suffix.lower()
    if suffix in ARCHIVES:
        return "unpack it first, and give the folder, or make a zip of it"
    siblings = path.parent.iterdir() if TABLE_PATTERN.fullmatch(path.name) else ()
    if any(is_image(File((p.name,), p)) for p in siblings if p.is_file()):
        return f"it lies beside images, whose labels it may hold: give the folder, {path.parent}"
    if suffix in (".json", ".jsonl"):
        return f"if it holds labels of images, give the folder that has both, e.g. {path.parent}"
    if suffix in TABLE_SEPARATORS:
        return table_hint(path)
    return "give a folder or a zip of images, an image, a .npy, .npz or IDX file, or a name"


def table_hint(path: Path) -> str:
    """How to make an array of a table, and which of its columns hold text or nothing."""
    separator = TABLE_SEPARATORS[path.suffix.lower()]
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
            lines = [line for line in islice(csv.reader(file, delimiter=separator), MAX_ROWS) if line]
    except csv.Error as error:
        return f"it is a damaged table ({error})"
    has_head = bool(lines) and not any(map(is_number, lines[0]))
    names = lines[0] if has_head else [f"column {i}" for i in range(len(lines[0]) if lines else 0)]
    columns = list(zip(*[line for line in lines[has_head:] if len(line) == len(names)], strict=True))
    text = [i for i, column in enumerate(columns) if any(field.strip() and not is_number(field) for field in column)]
    gaps = [names[i] for i, column in enumerate(columns) if i not in text and not all(f.strip() for f in column)]
    options = [f"'{path.name}'", f"delimiter={separator!r}", *(["skip_header=1"] if has_head else [])]
    if text:
        options.append(f"usecols={[i for i in range(len(names)) if i not in text]}")
    command = f"import numpy as np; np.save('{path.stem}.npy', np.genfromtxt({', '.join(options)}))"
    message = f'it is a table, and Ganvas reads arrays: save its numbers, python -c "{command}"'
    if text:
        message += f"; {join_names((names[i] for i in text), MAX_NAMES)} {'holds' if len(text) == 1 else 'hold'} text"
    if gaps:
        have = "has" if len(gaps) == 1 else "have"
        message += f"; {join_names(gaps, MAX_NAMES)} {have} empty fields, which become NaN: fill them"
    return message
