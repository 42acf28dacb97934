"""A data frame as a file."""

import io
from collections.abc import Callable, Sequence
from typing import Any

from .columns import Column


def encode_csv(frame: Any, columns: Sequence[Column], delimiter: str = ",") -> bytes:
    """UTF-8 without a mark at its beginning; numbers, dates and what is missing as the source writes them."""
    from .frame import as_written

    texts: str = as_written(columns, frame).to_csv(index=False, sep=delimiter, lineterminator="\n")
    return texts.encode()


def encode_with(method: str, **options: Any) -> Callable[[Any, Sequence[Column]], bytes]:
    """What a data frame's own method writes."""

    def encode(frame: Any, columns: Sequence[Column]) -> bytes:
        content = io.BytesIO()
        getattr(frame, method)(content, **options)
        return content.getvalue()

    return encode


TABLE_WRITERS: dict[str, Callable[[Any, Sequence[Column]], bytes]] = {
    ".csv": encode_csv,
    ".tsv": lambda frame, columns: encode_csv(frame, columns, "\t"),
    ".parquet": encode_with("to_parquet", index=False),
    ".feather": encode_with("to_feather"),
}
"""the content of the file that has a data frame with these columns, by its suffix"""
