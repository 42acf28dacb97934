"""Parquet files: a column of encoded images, as Hugging Face's data sets write them, or columns of numbers.

Images are {bytes, path} or plain bytes.  All columns of numbers together, but for the label, are vectors; so are lists
of numbers of one length.  A shard is a row group: what has to be read for one example.
"""

import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b, sha256
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import UserError, first_line
from .arrays import check_array
from .containers import IMAGE_KEYS, LABEL_KEYS
from .listing import File, join_names
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
    def notes(self) -> list[str]:
        """Which columns are the labels, and which are not read."""
        notes = [f"labels are those of the column {self.label}"] if self.label else []
        return notes + ([f"columns left out: {join_names(self.others)}"] if self.others else [])


@dataclass
class GroupCache:
    """The row groups that were read last: encoded images, or vectors n x d."""

    size: int  # groups, at most
    groups: "OrderedDict[int, Any]" = field(default_factory=OrderedDict)
    lock: Lock = field(default_factory=Lock)
    file: "tuple[Path, ParquetFile] | None" = None  # the one that is open


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
        return RowImage((self.describe(i),), self.file_of(i), shards=self, row=i)

    def describe(self, i: int) -> str:
        group = int(self.shard_of(i))
        first = self.ends[self.first_groups[self.file_numbers[group]] - 1] if self.file_numbers[group] else 0
        return f"{self.file_of(i).name}, row {i - first}"

    def image_bytes(self, i: int) -> bytes:
        group = int(self.shard_of(i))
        value = self.read_group(group)[int(i - self.ends[group] + self.counts[group])].as_py()
        value = value["bytes"] if isinstance(value, dict) else value
        if value is None:
            raise ValueError("it holds no image")
        return bytes(value)

    def vectors(self, indices: np.ndarray) -> np.ndarray:
        groups = self.shard_of(indices)
        rows, parts = indices - (self.ends - self.counts)[groups], {}
        for group in dict.fromkeys(groups.tolist()):
            parts[group] = self.read_group(group)[rows[groups == group]]
        x = np.empty((len(indices), next(iter(parts.values())).shape[1]), np.float32)
        for group, part in parts.items():
            x[groups == group] = part
        return x

    def read_group(self, group: int) -> Any:
        """A row group's images, an Arrow column, or its vectors; from the cache where it is there."""
        cache = self.cache
        with cache.lock:
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
            cache.groups[group] = content
            while len(cache.groups) > cache.size:
                cache.groups.popitem(last=False)
            return content


def open_file(path: Path) -> "ParquetFile":
    """A Parquet file; UserError where it is damaged, or pyarrow is missing."""
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise UserError(f'{path} is read by pyarrow: pip install "ganvas[parquet]"') from error
    try:
        return ParquetFile(path)
    except OSError as error:
        if error.errno is None:  # of Arrow's own
            raise UserError(f"{path} is damaged or no Parquet file: {first_line(error)}") from error
        raise shard_error(path, error) from error
    except ArrowException as error:
        raise UserError(f"{path} is damaged or no Parquet file: {first_line(error)}") from error


def read_columns(file: "ParquetFile", path: Path, group: int, columns: Columns) -> Any:
    """The images in a row group as an Arrow column, or its numbers as vectors n x d; UserError where it is damaged."""
    from pyarrow import ArrowException

    where = f"{path}, row group {group},"
    try:
        if columns.image is not None:
            return file.read_row_group(group, columns=[columns.image]).column(columns.image)
        table = file.read_row_group(group, columns=list(columns.numbers))
        parts = [column_array(table.column(name).combine_chunks(), name, where) for name in columns.numbers]
    except (OSError, ArrowException) as error:
        raise UserError(f"{where} is damaged: {first_line(error)}") from error
    x = np.concatenate(parts, 1) if len(parts) > 1 else parts[0]
    check_array(x, where.rstrip(","))
    return x


def column_array(values: Any, name: str, where: str) -> np.ndarray:
    """A column of numbers, or of lists of them of one length, as n x d; UserError for gaps and for other lengths."""
    from pyarrow.types import is_nested

    if values.null_count:
        raise UserError(f"{where} has {values.null_count} empty fields in {name}: fill them")
    flat = values.flatten() if is_nested(values.type) else values
    x = np.asarray(flat.to_numpy(zero_copy_only=False), np.float32)
    if len(values) and len(x) % len(values):
        raise UserError(f"{where} has lists of different lengths in {name}: give them one length")
    return x.reshape(len(values), -1)


def find_columns(schema: "Schema", path: Path) -> Columns:
    """What the columns of a file are; UserError where they hold neither images nor numbers."""
    from pyarrow import types

    def holds_images(kind: Any) -> bool:
        if types.is_struct(kind):
            return kind.get_field_index("bytes") >= 0 and holds_images(kind.field("bytes").type)
        return bool(types.is_binary(kind) or types.is_large_binary(kind))

    def is_number(kind: Any) -> bool:
        if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
            return is_number(kind.value_type)
        return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind))

    def holds_fractions(kind: Any) -> bool:  # as the y of points does, which is no class
        return bool(types.is_floating(kind) or types.is_decimal(kind))

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
        raise UserError(
            f"{path} needs a column of encoded images, or columns of numbers, and {what}: drop or change it"
        )
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
    labels: np.ndarray  # which of `texts`, or NO_LABEL
    texts: np.ndarray  # of str


def read_index(path: Path) -> FileIndex:
    """The index of a file, which is closed again: there may be thousands."""
    with open_file(path) as file:
        columns = find_columns(file.schema_arrow, path)
        groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
        names = (columns.image,) if columns.image else columns.numbers
        sizes = [group_bytes(group, names) for group in groups]
        return FileIndex(columns, [group.num_rows for group in groups], sizes, *read_labels(file, columns))


def open_parquet(files: Sequence[Path], training: Sequence[Path] = ()) -> ParquetShards:
    """The examples in these files; their classes are first those of the `training` files."""
    indexes = [read_index(path) for path in files]
    columns = indexes[0].columns
    for path, index in zip(files, indexes, strict=True):
        if index.columns != columns:
            raise UserError(f"{path} has other columns than {files[0].name}: give files with the same")
    parts = [(index.labels, index.texts) for index in indexes]
    labels, classes = merge_labels(parts, [read_index(path).texts for path in training], columns.label_names)
    digest, hashes, file_bytes = sha256(), list[bytes](), tuple(path.stat().st_size for path in files)
    for path, size, index in zip(files, file_bytes, indexes, strict=True):
        digest.update(str((path.name, size, index.rows)).encode())
        names = (f"{path.name}/{row}".encode() for row in range(sum(index.rows)))
        hashes += [blake2b(name, digest_size=8).digest() for name in names]
    digest.update(b"" if labels is None else labels.tobytes())
    counts = np.array([n for index in indexes for n in index.rows], np.int64)
    sizes = [size for index in indexes for size in index.sizes]
    groups = [len(index.rows) for index in indexes]
    shards = ParquetShards(
        files=tuple(files), file_bytes=file_bytes, counts=counts,
        file_numbers=np.repeat(np.arange(len(files)), groups), hashes=np.frombuffer(b"".join(hashes), ">u8"),
        labels=labels, classes=classes, digest=digest.hexdigest(), notes=tuple(columns.notes),
        window=window_size(counts, sizes), mean_bytes=sum(sizes) // max(1, int(counts.sum())),
        read_bytes=max(sizes, default=0), has_images=columns.image is not None, columns=columns,
        first_groups=np.cumsum([0, *groups]), cache=GroupCache(cache_size(counts, sizes)),
        max_sample_shards=SAMPLE_SHARDS,
    )  # fmt: skip
    check_shards(shards, "has no rows", "give every row one, or none")
    return shards


def group_bytes(group: Any, columns: Sequence[str]) -> int:
    """Bytes of these columns of a row group, as its metadata says, before compression."""
    chunks = [group.column(i) for i in range(group.num_columns)]
    return sum(c.total_uncompressed_size for c in chunks if c.path_in_schema.split(".")[0] in columns)


def window_size(counts: np.ndarray, sizes: Sequence[int]) -> int:
    """Examples that are shuffled together: as many as `MAX_READ_BYTES` hold, since their row groups are in memory."""
    mean = max(1, sum(sizes) // max(1, int(counts.sum())))
    return int(max(1, min(WINDOW, MAX_READ_BYTES // mean)))


def cache_size(counts: np.ndarray, sizes: Sequence[int]) -> int:
    """Row groups in memory at once: those of a window, and of the next, which begins before the first has ended."""
    per_group = max(1, int(counts.sum()) // max(1, len(counts)))
    return int(2 * (window_size(counts, sizes) // per_group + 2))


def read_labels(file: "ParquetFile", columns: Columns) -> tuple[np.ndarray, np.ndarray]:
    """The labels of a file, as `merge_labels` has them."""
    n = file.metadata.num_rows
    if columns.label is None:
        return np.full(n, NO_LABEL), np.array([], np.str_)
    values = file.read(columns=[columns.label]).column(columns.label)
    names = columns.label_names
    texts = [label_text(value, names) for value in values.to_pylist()]
    classes = sorted({text for text in texts if text is not None})
    number = {text: i for i, text in enumerate(classes)}
    return np.array([NO_LABEL if text is None else number[text] for text in texts]), np.array(classes, np.str_)


def label_text(value: Any, names: tuple[str, ...]) -> str | None:
    """The class that a value of the label's column means; -1 is none where the classes have names."""
    if value is None or (names and value == NO_LABEL):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return names[value] if names and isinstance(value, int) and value < len(names) else str(value)
