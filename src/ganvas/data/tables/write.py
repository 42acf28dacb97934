"""A data frame as a file."""

from collections.abc import Callable
from typing import IO, Any


def write_csv(frame: Any, file: IO[bytes], delimiter: str = ",") -> None:
    """UTF-8 without a mark at its beginning; what is missing is an empty cell."""
    file.write(frame.to_csv(index=False, sep=delimiter, lineterminator="\n").encode())


TABLE_WRITERS: dict[str, Callable[[Any, IO[bytes]], None]] = {
    ".csv": write_csv,
    ".tsv": lambda frame, file: write_csv(frame, file, "\t"),
    ".parquet": lambda frame, file: frame.to_parquet(file, index=False),
    ".feather": lambda frame, file: frame.to_feather(file),
}
"""what writes a data frame into a file, by its suffix"""


def write_frame(frame: Any, file: IO[bytes], suffix: str) -> None:
    """Write a data frame as the kind of file that has this suffix, one of `TABLE_WRITERS`."""
    TABLE_WRITERS[suffix](frame, file)
