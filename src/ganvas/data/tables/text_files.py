"""Files of texts as tables: .csv and .tsv, also with .gz, whose delimiter and encoding are found by their content.

What Arrow reads is not asked again but where it cannot: then the file is read once more, slowly, to say in which line.
"""

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from ...errors import UserError, error_reason, first_line
from ..listing import pluralize
from ..memory import check_memory
from .columns import DELIMITERS, FileFormat

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

TEXT_SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
HEAD_BYTES, HEAD_ROWS = 2**20, 100
"""bytes by which the encoding is found, and rows of them by which the delimiter is"""
BLOCK_BYTES, MAX_ROW_BYTES = 2**24, 2**29
"""bytes that are parsed at once, and those of a row at most"""
MAX_COLUMNS = 4096
MEMORY_RATIO = 5
"""bytes of memory that reading takes, for each of the file"""
OTHER_FILES = {
    b"PK\3\4": "it is a zip, as Excel's .xlsx are: save the sheet as .csv",
    b"\xd0\xcf\x11\xe0": "it is an Excel file: save the sheet as .csv",
    b"PAR1": "it is a Parquet file: end its name in .parquet",
    b"ARROW1": "it is a Feather file: end its name in .feather",
    b"SQLite format 3": "it is a database of SQLite: give sqlite:///FILE#TABLE",
    b"%PDF": "it is a PDF: save its table as .csv",
    b"<!DOCTYPE": "it is a web page: download the table itself",
    b"<html": "it is a web page: download the table itself",
}
"""how other files begin, and what to do with them"""
GZIP, GZIP_ERRORS = b"\x1f\x8b", (OSError, EOFError, zlib.error)
"""how such files begin, and what is raised where one is damaged"""
NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)*|[.,]\d+)([eE][+-]?\d+)?")
UNICODE_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}


class TextFile(NamedTuple):
    """A file of texts, and how it is written."""

    path: Path
    encoding: str
    delimiter: str
    is_zipped: bool

    @property
    def format(self) -> FileFormat:
        """How samples are written to a .csv file; tabs of a .tsv file are its suffix's, and not its own."""
        is_tsv = self.path.name.lower().endswith((".tsv", ".tsv.gz"))
        return FileFormat("," if is_tsv else self.delimiter, self.encoding)

    def open(self) -> IO[str]:
        """Its text."""
        opened: Any = gzip.open if self.is_zipped else open
        text: IO[str] = opened(self.path, "rt", encoding=self.encoding, errors="replace", newline="")
        return text

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """The rows, empty lines aside, each with the number of the line that it begins in."""
        with self.open() as file:
            reader, line = csv.reader(file, delimiter=self.delimiter), 1
            for row in reader:
                if row:
                    yield line, row
                line = reader.line_num + 1

    def line_of(self, row: int) -> int:
        """The line in which a row begins, 0 for the first one."""
        return next(line for i, (line, _) in enumerate(self.rows()) if i == row)


def read_texts(path: Path) -> "pd.DataFrame":
    """A file of texts as a frame all of whose columns are texts; UserError where it is no table."""
    import pandas as pd

    file, head = examine(path)
    with suppress(csv.Error):
        if len(head_row := next(parse(head, file.delimiter), [])) > MAX_COLUMNS:
            how = "save numbers of one kind as .npy, or choose columns"
            raise UserError(f"{path} has {len(head_row):,} columns, and tables have {MAX_COLUMNS:,} at most: {how}")
    file, table, notes = parse_file(file)
    names, has_names, more = name_columns([column[0].as_py() for column in table.columns])
    table, notes = table.slice(int(has_names)), [*notes, *more, *empty_line_notes(file, len(names))]
    if not table.num_rows:
        raise UserError(f"{path} has names of columns, but no rows: give one or more")
    check_quotes(file, table)
    frame = table.rename_columns(names).to_pandas(types_mapper=pd.ArrowDtype)
    frame.attrs = {
        "is_file": True, "notes": notes, "has_commas": file.delimiter != ",", "text_file": file,
        "first_row": int(has_names),
    }  # fmt: skip
    return frame


def empty_line_notes(file: TextFile, n_columns: int) -> list[str]:
    """What to say of a file of one column with empty lines, which could be missing values."""
    if n_columns > 1:
        return []
    with file.open() as lines:
        n = sum(not line.strip("\r\n") for line in lines)
    what = f'{pluralize(n, "empty line")} of {file.path.name} left out: write a missing value of one column as ""'
    return [what] if n else []


def damage_error(path: Path, error: Exception) -> UserError:
    """What to say of a file that cannot be read: errors of the system have a number, those of damage none."""
    if isinstance(error, OSError) and error.errno is not None:
        return UserError(f"{path} cannot be read ({error_reason(error)})")
    return UserError(f"{path} is damaged: {first_line(error)}")


def name_columns(first: list[str]) -> tuple[list[str], bool, list[str]]:
    """The names of columns by the first line, whether it has them, and notes."""
    if not all(map(NUMBER.fullmatch, first)):
        return [name.strip() or f"Unnamed: {i}" for i, name in enumerate(first)], True, []
    names = [f"column_{i}" for i in range(1, len(first) + 1)]
    shown = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
    return names, False, [f"the first line has numbers only, so it is a row: the columns are called {shown}"]


def examine(path: Path, *, is_whole: bool = True) -> tuple[TextFile, str]:
    """How a file is written, and the beginning of its text; UserError where it has none.

    `is_whole` says that all of it is to be in memory: then UserError where there is no room for it.
    """
    with path.open("rb") as binary:
        raw = binary.read(HEAD_BYTES)
    if is_zipped := raw.startswith(GZIP):
        try:
            with gzip.open(path) as file:
                raw = file.read(HEAD_BYTES)
        except GZIP_ERRORS as error:
            raise damage_error(path, error) from error
    if not raw.strip():
        raise UserError(f"{path} is empty: give a table, with names of columns in its first line")
    if found := next((what for start, what in OTHER_FILES.items() if raw.startswith(start)), ""):
        raise UserError(f"{path} is no table of texts: {found}")
    if is_whole:
        check_memory(memory_need(path), f"reading {path}", "give fewer rows or columns of it")
    encoding = next((name for mark, name in UNICODE_MARKS.items() if raw.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in raw:
        raise UserError(f"{path} is no table of texts, but binary: save it as .csv in UTF-8")
    text = decode(raw, encoding)
    if text is None:
        encoding, text = "cp1252", raw.decode("cp1252", "replace")
    text = text.lstrip("\r\n")
    is_tabbed = path.name.lower().endswith((".tsv", ".tsv.gz")) and "\t" in text
    return TextFile(path, encoding, "\t" if is_tabbed else find_delimiter(text), is_zipped), text


def memory_need(path: Path) -> int:
    """Bytes of memory that reading a whole file takes, about."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(2) == GZIP:
            file.seek(-4, 2)
            size = max(size, int.from_bytes(file.read(4), "little"))
    return MEMORY_RATIO * size


def decode(raw: bytes, encoding: str) -> str | None:
    """The text of bytes that may end within a character; None where they are none in this encoding."""
    for cut in range(4):
        with suppress(UnicodeDecodeError):
            return raw[: len(raw) - cut].decode(encoding)
    return None


def parse(text: str, delimiter: str) -> Iterator[list[str]]:
    """The rows of a text, empty lines aside."""
    return filter(None, csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))


def find_delimiter(head: str) -> str:
    """What separates columns: that which makes as many fields in each row as in the first, or else most in that."""
    counts = {}
    for delimiter in DELIMITERS:
        lengths = list[int]()
        with suppress(csv.Error):
            lengths.extend(len(row) for row, _ in zip(parse(head, delimiter), range(HEAD_ROWS), strict=False))
        lengths = lengths[:-1] if len(lengths) > 2 and len(head) >= HEAD_BYTES // 4 else lengths  # which may be cut
        counts[delimiter] = (lengths or [1])[0]
        if counts[delimiter] > 1 and len(set(lengths)) == 1:
            return delimiter
    return max(counts, key=lambda delimiter: (counts[delimiter], delimiter == ","))


def parse_file(file: TextFile) -> tuple[TextFile, "pa.Table", list[str]]:
    """All rows, the first among them, and notes; UserError where they are ragged."""
    notes: list[str] = []
    for encoding in dict.fromkeys((file.encoding, "cp1252", "latin-1")):
        file = file._replace(encoding=encoding)
        try:
            table = parse_as(file)
        except UnicodeDecodeError:
            continue
        if encoding in ("cp1252", "latin-1"):
            notes = [f"{file.path.name} is not in UTF-8: it was read as {encoding}, of Western Europe"]
        return file, table, notes
    raise AssertionError("latin-1 has a character for each byte")


def parse_as(file: TextFile) -> "pa.Table":
    """The same, in the file's encoding; UnicodeDecodeError where it has another."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    block = BLOCK_BYTES
    while True:
        try:
            return arrow_csv.read_csv(*arrow_arguments(file, block))
        except pa.ArrowInvalid as error:
            if "invalid UTF8" in str(error):
                raise UnicodeDecodeError("utf-8", b"", 0, 0, "invalid") from error
            if "straddling" in str(error) and block < MAX_ROW_BYTES:
                block *= 32
                continue
            raise UserError(explain(file, error)) from error


def arrow_arguments(file: TextFile, block: int) -> tuple[Any, ...]:
    """What Arrow is told of a file, of which it parses so many bytes at once: all columns are texts."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    types = {f"f{i}": pa.string() for i in range(MAX_COLUMNS)}
    encoding = "utf-8" if file.encoding == "utf-8-sig" else file.encoding
    return (
        # Python's gzip, since Arrow's takes zeros after the end, with which some programs fill blocks, as damage
        pa.PythonFile(gzip.open(file.path), "r") if file.is_zipped else pa.input_stream(file.path, compression=None),
        arrow_csv.ReadOptions(autogenerate_column_names=True, block_size=block, encoding=encoding),
        arrow_csv.ParseOptions(delimiter=file.delimiter, newlines_in_values=True),
        arrow_csv.ConvertOptions(column_types=types, strings_can_be_null=False),
    )


def text_parts(file: TextFile, block: int = BLOCK_BYTES) -> "Iterator[pa.Table]":
    """The rows, a part of them at a time, the first among them; raises as `parse_as` does."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    try:
        with arrow_csv.open_csv(*arrow_arguments(file, block)) as reader:
            for batch in reader:
                yield pa.Table.from_batches([batch])
    except GZIP_ERRORS as error:
        raise damage_error(file.path, error) from error
    except pa.ArrowInvalid as error:
        if "invalid UTF8" in str(error):
            raise UnicodeDecodeError("utf-8", b"", 0, 0, "invalid") from error
        raise UserError(explain(file, error)) from error


def explain(file: TextFile, error: Exception) -> str:
    """Why Arrow could not read a table: the first line that has more or fewer fields than the first."""
    expected, begin, path = 0, 0, file.path
    with suppress(csv.Error):
        for line, row in file.rows():
            expected, begin = expected or len(row), line
            if len(row) != expected:
                have = f"has {pluralize(len(row), 'field')}, but the first line {expected}"
                if any("\n" in field for field in row):
                    return f"{path}, line {line}: a quote that opens here is not closed: close it, or double it"
                quote = f", and quote fields that hold {file.delimiter!r}" if len(row) > expected else ""
                return f"{path}, line {line} {have}: give each row as many{quote}"
        begin = 0
    if begin or "straddling" in str(error):
        return f"{path}, line {begin or 1}: a field is too long, or a quote is not closed: close it, or double it"
    return f"{path} is no table: {first_line(error)}"


def check_quotes(file: TextFile, table: "pa.Table") -> None:
    """UserError where the last field takes in lines that end without a quote: one was opened, and not closed."""
    fields = [column[-1].as_py() for column in table.columns]
    if not any("\n" in field for field in fields):
        return
    rows = list(file.rows()) if table.num_rows < HEAD_ROWS else []
    line = rows[-1][0] if rows else file.line_of(table.num_rows - 1)
    with file.open() as text:
        last = text.read().rstrip() if rows else fields[-1]
    if not last.endswith('"') and "\n" in fields[-1]:
        raise UserError(f"{file.path}, line {line}: a quote that opens here is not closed: close it, or double it")
