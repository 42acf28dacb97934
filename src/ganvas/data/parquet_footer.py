"""What the end of a Parquet file says of its row groups, read here and not by pyarrow.

pyarrow's `metadata.row_group(i).column(j)` catches none of the exceptions of C++ that damaged metadata raise, as of a
column whose statistics are of another type, so these end the process.  Metadata are a struct of Thrift's compact
protocol (thrift/doc/specs/thrift-compact-protocol.md), whose fields have the numbers of parquet.thrift.
"""

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

KINDS = ("BOOLEAN", "INT32", "INT64", "INT96", "FLOAT", "DOUBLE", "BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY")
"""types of columns, in the order of their numbers"""


class Chunk(NamedTuple):
    """A column of a row group."""

    name: str  # with those of fields and lists within it, a.list.element
    kind: str
    values: int
    n_bytes: int  # before compression
    bounds: tuple[bytes, bytes] | None  # the lowest and the highest value


class RowGroup(NamedTuple):
    """A row group, and the columns in it, in the order of the file's schema."""

    rows: int
    n_bytes: int
    chunks: list[Chunk]


def read_row_groups(path: Path) -> list[RowGroup]:
    """The row groups of a file; ValueError where it is no Parquet file, or damaged."""
    with path.open("rb") as file:
        file.seek(-8, os.SEEK_END)
        size, mark = struct.unpack("<I4s", file.read(8))
        if mark != b"PAR1":
            raise ValueError("it does not end as Parquet files do")
        file.seek(-8 - size, os.SEEK_END)
        content = file.read(size)
    try:
        return [make_group(group) for group in Thrift(content).read_struct()[4]]
    except (LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError("its metadata are damaged") from error


def make_group(fields: dict[int, Any]) -> RowGroup:
    return RowGroup(int(fields[3]), int(fields[2]), [make_chunk(chunk[3]) for chunk in fields[1]])


def make_chunk(fields: dict[int, Any]) -> Chunk:
    statistics, kind = fields.get(12, {}), fields[1]
    low, high = (statistics.get(number, statistics.get(old)) for number, old in ((6, 2), (5, 1)))
    return Chunk(
        name=b".".join(fields[3]).decode(), kind=KINDS[kind] if 0 <= kind < len(KINDS) else "UNKNOWN",
        values=int(fields[5]), n_bytes=int(fields[6]), bounds=None if low is None or high is None else (low, high),
    )  # fmt: skip


@dataclass
class Thrift:
    """Values of the protocol, one after the other; LookupError at their end."""

    content: bytes
    at: int = 0

    def read_struct(self) -> dict[int, Any]:
        """The fields of a struct by their numbers."""
        fields, number = dict[int, Any](), 0
        while head := self.content[self.at]:
            self.at += 1
            number = number + (head >> 4) if head >> 4 else self.read_integer()
            fields[number] = head & 15 == 1 if head & 15 in (1, 2) else self.read_value(head & 15)
        self.at += 1
        return fields

    def read_value(self, kind: int) -> Any:
        """A value of one of the types; a number of floating point as its bytes."""
        match kind:
            case 4 | 5 | 6:
                return self.read_integer()
            case 8:
                return self.read_bytes(self.read_length())
            case 12:
                return self.read_struct()
            case 9 | 10:
                (head,) = self.read_bytes(1)
                n = head >> 4 if head >> 4 < 15 else self.read_length()
                return [self.read_value(head & 15) for _ in range(n)]
            case 11:
                n = self.read_length()
                (kinds,) = self.read_bytes(1) if n else (0,)
                return [(self.read_value(kinds >> 4), self.read_value(kinds & 15)) for _ in range(n)]
            case 1 | 2 | 3:  # a truth value in a list, or a byte
                return self.read_bytes(1)
            case 7:
                return self.read_bytes(8)
        raise ValueError(f"its metadata have a value of the unknown type {kind}")

    def read_length(self) -> int:
        """A number without a sign, in groups of seven bits, the lowest first."""
        number, shift = 0, 0
        while (byte := self.content[self.at]) >= 128:
            self.at, number, shift = self.at + 1, number | (byte & 127) << shift, shift + 7
        self.at += 1
        return number | byte << shift

    def read_integer(self) -> int:
        """A number with a sign, which is its lowest bit."""
        number = self.read_length()
        return number >> 1 ^ -(number & 1)

    def read_bytes(self, n: int) -> bytes:
        """The next n bytes."""
        if self.at + n > len(self.content):
            raise IndexError("there are fewer")
        self.at += n
        return self.content[self.at - n : self.at]
