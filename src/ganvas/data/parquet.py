"""Parquet files: a column of encoded images, as Hugging Face's data sets write them, or columns of numbers.

Images are {bytes, path} or plain bytes.  All columns of numbers together, but for the label, are vectors; so are lists
of numbers of one length.  A shard is a row group: what has to be read for one example.
"""

import json
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b, sha256
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import UserError, first_line
from .arrays import check_array, rounding_notes
from .containers import IMAGE_KEYS, LABEL_KEYS
from .label_tables import parse_class
from .listing import File, join_names
from .parquet_footer import RowGroup, read_row_groups
from .shards import MAX_READ_BYTES, NO_LABEL, Shards, check_shards, merge_labels, shard_error
from .webdataset import WINDOW

if TYPE_CHECKING:
    from pyarrow import Schema
    from pyarrow.parquet import ParquetFile

PANDAS_INDEX = "__index_level_"
"""how columns are called in which pandas keeps the names of rows"""
SAMPLE_SHARDS = 64
"""row groups from which a sample is taken, at most: each is read whole"""


@dataclass(frozen=True)
class Columns:
    """What the columns of a Parquet file are."""

    image: str | None
    label: str | None
    numbers: tuple[str, ...]
    label_names: tuple[str, ...] = ()  # of the integers in the label's column, where the file says them
    others: tuple[str, ...] = ()

    @property
    def content(self) -> tuple[object, ...]:
        """What files of one set have in common: the columns that are read, in any order."""
        return self.image, self.label, set(self.numbers), self.label_names

    @property
    def notes(self) -> list[str]:
        """Which columns are the labels, and which are not read."""
        notes = [f"labels are those of the column {self.label}"] if self.label else []
        return notes + ([f"columns left out: {join_names(self.others)}"] if self.others else [])


@dataclass
class GroupCache:
    """The row groups that were read last: encoded images, or vectors n x d."""

    max_bytes: int  # of all of them, unless there is only one
    groups: "OrderedDict[int, Any]" = field(default_factory=OrderedDict)
    width: int | None = None  # numbers in a vector
    lock: Lock = field(default_factory=Lock)
    file: "tuple[Path, ParquetFile] | None" = None  # the one that is open

    @property
    def nbytes(self) -> int:
        return sum(group.nbytes for group in self.groups.values())


@dataclass(frozen=True)
class RowImage(File):
    """The image in a row."""

    shards: "ParquetShards | None" = field(default=None, compare=False, repr=False)
    row: int = 0

    def read(self, max_bytes: int) -> bytes:
        assert self.shards is not None
        return self.shards.image_bytes(self.row)[:max_bytes]

    def content(self) -> BytesIO:
        assert self.shards is not None
        return BytesIO(self.shards.image_bytes(self.row))


@dataclass(frozen=True, kw_only=True, eq=False)
class ParquetShards(Shards):
    """The examples in Parquet files."""

    columns: Columns
    first_groups: np.ndarray  # the number of the first row group of each file, of all
    cache: GroupCache

    def image(self, i: int) -> RowImage:
        return RowImage((self.describe(i),), str(self.file_of(i)), shards=self, row=i)

    def describe(self, i: int) -> str:
        group = int(self.shard_of(i))
        first = self.ends[self.first_groups[self.file_numbers[group]] - 1] if self.file_numbers[group] else 0
        return f"{self.file_of(i).name}, row {i - first}"

    def image_bytes(self, i: int) -> bytes:
        group = int(self.shard_of(i))
        value = self.read_group(group)[int(i - self.ends[group] + self.counts[group])].as_py()
        content = value["bytes"] if isinstance(value, dict) else value
        if content is None:
            raise ValueError("it has the path of an image, not its bytes" if value else "it holds no image")
        return bytes(content)

    def vectors(self, indices: np.ndarray) -> np.ndarray:
        groups = self.shard_of(indices)
        rows, x = indices - (self.ends - self.counts)[groups], np.empty((0, 0), np.float32)
        for group in dict.fromkeys(groups.tolist()):
            vectors = self.read_group(group)
            if not x.size:
                x = np.empty((len(indices), vectors.shape[1]), np.float32)
            x[groups == group] = vectors[rows[groups == group]]
        return x

    def read_group(self, group: int) -> Any:
        """A row group's images, an Arrow column, or its vectors; from the cache where it is there."""
        with (cache := self.cache).lock:
            if group in cache.groups:
                cache.groups.move_to_end(group)
                return cache.groups[group]
            number = int(self.file_numbers[group])
            path = self.files[number]
            if cache.file is None or cache.file[0] != path:
                if cache.file is not None:
                    cache.file[1].close()
                cache.file = path, open_file(path)
            content = read_columns(cache.file[1], path, group - int(self.first_groups[number]), self.columns)
            if isinstance(content, np.ndarray):
                width = cache.width = cache.width or content.shape[1]
                if content.shape[1] != width:
                    what = f"{path} has vectors of {content.shape[1]} numbers, and others {width}"
                    raise UserError(f"{what}: give all one length")
            cache.groups[group] = content
            while len(cache.groups) > 1 and cache.nbytes > cache.max_bytes:
                cache.groups.popitem(last=False)
            return content


@contextmanager
def wrap_read_errors(path: Path, where: str = "", kind: str = "Parquet") -> Iterator[None]:
    """UserError for whatever reading a file that is damaged, or gone, raises."""
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:  # none of Arrow's own
            raise shard_error(path, error) from error
        raise UserError(f"{path}{where} is damaged or no {kind} file: {first_line(error)}") from error


def open_file(path: Path) -> "ParquetFile":
    """A Parquet file; UserError where it is damaged, or pyarrow is missing."""
    try:
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise UserError(f'{path} is read by pyarrow: pip install "ganvas[parquet]"') from error
    with wrap_read_errors(path):
        return ParquetFile(path)


def read_columns(file: "ParquetFile", path: Path, group: int, columns: Columns) -> Any:
    """The images in a row group as an Arrow column, or its numbers as vectors n x d; UserError where it is damaged."""
    where = f", row group {group},"
    with wrap_read_errors(path, where):
        if columns.image is not None:
            return file.read_row_group(group, columns=[columns.image]).column(columns.image)
        table = file.read_row_group(group, columns=list(columns.numbers))
        x = np.concatenate([column_array(table.column(name), name, f"{path}{where}") for name in columns.numbers], 1)
        check_array(x, f"{path}{where}".rstrip(","))
        return x.astype(np.float32, copy=False)


def column_array(column: Any, name: str, where: str) -> np.ndarray:
    """A column of numbers, or of lists of them of one length, as n x d; UserError for gaps and for other lengths."""
    from pyarrow.compute import list_value_length
    from pyarrow.types import is_nested

    values = column.combine_chunks()
    while not values.null_count and is_nested(values.type):
        if len(list_value_length(values).unique()) > 1:
            raise UserError(f"{where} has lists of different lengths in {name}: give them one length")
        values = values.flatten()
    if values.null_count:
        raise UserError(f"{where} has {values.null_count} empty fields in {name}: fill them")
    return np.asarray(values.to_numpy(zero_copy_only=False)).reshape(len(column), -1)


def holds_images(kind: Any) -> bool:
    """Whether a column of this type has encoded images."""
    from pyarrow import types

    if types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and holds_images(kind.field("bytes").type)
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def find_columns(schema: "Schema", path: Path) -> Columns:
    """What the columns of a file are; UserError where they hold neither images nor numbers."""
    from pyarrow import types

    def is_number(kind: Any) -> bool:
        if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
            return is_number(kind.value_type)
        return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind))

    def holds_fractions(kind: Any) -> bool:  # as the y of points does, which is no class
        return bool(types.is_floating(kind) or types.is_decimal(kind))

    if twice := [name for name, n in Counter(schema.names).items() if n > 1]:
        raise UserError(f"{path} has several columns called {join_names(twice)}: give each a name of its own")
    names = {column.name: column.type for column in schema if not column.name.startswith(PANDAS_INDEX)}
    by_key = {name.lower(): name for name in names}
    label = next((by_key[key] for key in LABEL_KEYS if key in by_key and not holds_fractions(names[by_key[key]])), None)
    images = [name for name, kind in names.items() if holds_images(kind)]
    if images:
        image = next((by_key[key] for key in IMAGE_KEYS if by_key.get(key) in images), images[0])
        if len(images) > 1 and image.lower() not in IMAGE_KEYS:
            raise UserError(f"{path} has several columns of images, {join_names(images)}: call one of them image")
        others = tuple(name for name in names if name not in (image, label))
        return Columns(image, label, (), label_names(schema, label), others)
    numbers = tuple(name for name, kind in names.items() if is_number(kind) and name != label)
    texts = [name for name in names if name not in (*numbers, label)]
    if not numbers or texts:
        what = f"{join_names(texts)} {'holds' if len(texts) == 1 else 'hold'} neither" if texts else "there is none"
        need = "a column of encoded images, or columns of numbers"
        raise UserError(f"{path} needs {need}, and {what}: drop or change it")
    return Columns(None, label, numbers, label_names(schema, label))


def label_names(schema: "Schema", label: str | None) -> tuple[str, ...]:
    """What Hugging Face's own entry in the file calls the classes; nothing where there is none."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return tuple(map(str, features[label]["names"]))
    except (KeyError, ValueError, TypeError):
        return ()


class FileIndex(NamedTuple):
    """What is known of a Parquet file before its examples are read."""

    columns: Columns
    rows: list[int]  # of each row group
    sizes: list[int]  # bytes of each row group
    largest: tuple[int, str]  # integer of all columns, its sign aside, and which column has it
    labels: np.ndarray  # which of `texts`, or NO_LABEL
    texts: list[str | None]


def read_index(path: Path) -> FileIndex:
    """The index of a file, which is closed again: there may be thousands."""
    with open_file(path) as file, wrap_read_errors(path):
        columns = find_columns(file.schema_arrow, path)
        groups = read_row_groups(path)
        check_types(groups, file.schema)
        names = (columns.image,) if columns.image else columns.numbers
        sizes = [group_bytes(group, names) for group in groups]
        rows, largest = [group.rows for group in groups], largest_integer(groups, columns.numbers, file.schema)
        return FileIndex(columns, rows, sizes, largest, *read_labels(file, path, columns))


def open_parquet(files: Sequence[Path], training: Sequence[Path] = ()) -> ParquetShards:
    """The examples in these files; their classes are first those of the `training` files."""
    indexes = [read_index(path) for path in files]
    columns = indexes[0].columns
    for path, index in zip(files, indexes, strict=True):
        if index.columns.content != columns.content:
            raise UserError(f"{path} has other columns than {files[0].name}: give files with the same")
    parts, training_parts = ([index[-2:] for index in part] for part in (indexes, map(read_index, training)))
    labels, classes, label_notes = merge_labels(parts, training_parts, columns.label_names)
    digest, hashes, file_bytes = sha256(), list[np.ndarray](), tuple(path.stat().st_size for path in files)
    for path, size, index in zip(files, file_bytes, indexes, strict=True):
        digest.update(str((path.name, size, index.rows)).encode())
        hashes.append(row_hashes(path.name, sum(index.rows)))
    digest.update(b"" if labels is None else labels.tobytes())
    counts = np.array([n for index in indexes for n in index.rows], np.int64)
    rounded = rounding_notes(*max(index.largest for index in indexes))
    sizes = [size for index in indexes for size in index.sizes]
    groups = [len(index.rows) for index in indexes]
    mean, largest = max(1, sum(sizes) // max(1, int(counts.sum()))), max(sizes, default=0)
    window = max(1, min(WINDOW, MAX_READ_BYTES // mean))  # its row groups are in memory
    shards = ParquetShards(
        files=tuple(files), file_bytes=file_bytes, counts=counts,
        file_numbers=np.repeat(np.arange(len(files)), groups), hashes=np.concatenate(hashes),
        labels=labels, classes=classes, digest=digest.hexdigest(), notes=(*columns.notes, *label_notes, *rounded),
        window=window, mean_bytes=mean, read_bytes=largest, has_images=columns.image is not None, columns=columns,
        # two windows follow each other, and begin and end within a row group
        first_groups=np.cumsum([0, *groups]), cache=GroupCache(2 * (window * mean + largest)),
        max_sample_shards=SAMPLE_SHARDS,
    )  # fmt: skip
    check_shards(shards, "has no rows", "give every row one, or none")
    return shards


def check_types(groups: Sequence[RowGroup], schema: Any) -> None:
    """ValueError where a column of a row group is of another type than the file's, which Arrow does not look for."""
    types = [schema.column(i).physical_type for i in range(len(schema))]
    for i, group in enumerate(groups):
        if (found := [chunk.kind for chunk in group.chunks]) != types:
            raise ValueError(f"row group {i} has columns of the types {', '.join(found)}, not {', '.join(types)}")


def group_bytes(group: RowGroup, columns: Sequence[str]) -> int:
    """Bytes of these columns of a row group, as its metadata says, before compression, and as float32."""
    prefixes = tuple(f"{name}." for name in columns)  # of the fields of a struct, or of the items of a list
    own = [chunk for chunk in group.chunks if chunk.name in columns or chunk.name.startswith(prefixes)]
    return sum(max(chunk.n_bytes, 4 * chunk.values) for chunk in own)


def largest_integer(groups: Sequence[RowGroup], columns: Sequence[str], schema: Any) -> tuple[int, str]:
    """The largest integer of these columns, its sign aside, and the column: by the metadata, where they say it."""
    largest = (0, "")
    for j in range(len(schema)):
        name, signed = schema.column(j).path.partition(".list.")[0], "UINT" not in schema.column(j).converted_type
        known = [group.chunks[j].bounds for group in groups if group.chunks[j].kind in ("INT32", "INT64")]
        for bound in (bound for bounds in known if bounds and name in columns for bound in bounds):
            largest = max(largest, (abs(int.from_bytes(bound, "little", signed=signed)), f"the column {name}"))
    return largest


def row_hashes(name: str, n: int) -> np.ndarray:
    """A random number for each row of a file, uint64, which depends on the file's name and the row alone."""
    key = int.from_bytes(blake2b(name.encode("utf-8", "surrogateescape"), digest_size=16).digest())
    return np.random.Philox(key=key).random_raw(n)


def read_labels(file: "ParquetFile", path: Path, columns: Columns) -> tuple[np.ndarray, list[str | None]]:
    """The labels of a file, as `merge_labels` has them."""
    if columns.label is None:
        return np.full(file.metadata.num_rows, NO_LABEL), []
    from pyarrow.types import is_dictionary, is_nested

    column = file.read(columns=[columns.label]).column(columns.label).combine_chunks()
    if is_nested(column.type):
        raise UserError(f"{path} has lists or structures in its column {columns.label}: give one class a row")
    column = (column.dictionary_decode() if is_dictionary(column.type) else column).dictionary_encode()
    try:
        texts = [class_of(value, columns.label_names) for value in column.dictionary.to_pylist()]
    except ValueError as error:
        raise UserError(f"{path}, column {columns.label}: {error}") from error
    return column.indices.fill_null(NO_LABEL).to_numpy(), texts


def class_of(value: Any, names: tuple[str, ...]) -> str | None:
    """The class that a value of the label's column means; -1 is none where the classes have names."""
    if not (names and isinstance(value, int)):
        return parse_class(value)
    if value == NO_LABEL:
        return None
    if not 0 <= value < len(names):
        raise ValueError(f"{value} is none of its {len(names)} classes, 0 to {len(names) - 1}")
    return names[value]
