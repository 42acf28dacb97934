"""A data frame as a file."""

import io
from collections.abc import Callable, Sequence
from typing import Any

from .columns import PLAIN_TEXT, Column, FileFormat

Writer = Callable[[Any, Sequence[Column], FileFormat], bytes]


def encode_csv(frame: Any, columns: Sequence[Column], file_format: FileFormat = PLAIN_TEXT) -> bytes:
    """In this format; numbers, dates and what is missing as the source writes them."""
    from .frame import as_written

    texts: str = as_written(columns, frame).to_csv(index=False, sep=file_format.delimiter, lineterminator="\n")
    return texts.encode(file_format.encoding)


def encode_with(method: str, **options: Any) -> Writer:
    """What a data frame's own method writes."""

    def encode(frame: Any, columns: Sequence[Column], file_format: FileFormat) -> bytes:
        content = io.BytesIO()
        getattr(frame, method)(content, **options)
        return content.getvalue()

    return encode


TABLE_WRITERS: dict[str, Writer] = {
    ".csv": encode_csv,
    ".tsv": lambda frame, columns, file_format: encode_csv(frame, columns, file_format._replace(delimiter="\t")),
    ".parquet": encode_with("to_parquet", index=False),
    ".feather": encode_with("to_feather"),
}
"""the content of the file that has a data frame with these columns, by its suffix; of texts as the source is"""
