"""Files of tables as frames of pandas: .csv and .tsv, also with .gz, as texts; Parquet and Feather with their types.

Texts stay texts here, since `kinds.py` decides what they are: `attrs` of the frame say that they are of a file.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import UserError, first_line
from ..containers import is_frame
from ..dataset import Dataset, split_dataset
from ..label_tables import lies_beside_images
from ..layout import dataset_name
from ..memory import check_memory
from ..options import DataOptions, Progress
from ..parquet import find_columns, holds_images, open_file, wrap_read_errors
from ..parquet_footer import read_row_groups
from ..shard_files import PARQUET
from .text_files import GZIP_ERRORS, MEMORY_RATIO, TEXT_SUFFIXES, damage_error, read_texts

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

FEATHER_SUFFIXES = (".feather", ".arrow")


def is_table(path: Path) -> bool:
    """Whether a path names a table in a file of texts or of Feather."""
    return path.name.lower().endswith((*TEXT_SUFFIXES, *FEATHER_SUFFIXES, PARQUET)) and path.is_file()


def names_table(source: object) -> bool:
    """Whether a source is a table that used to be vectors: a frame, or a Parquet file without images or lists."""
    if not isinstance(source, str | Path):
        return is_frame(source)
    path = Path(source).expanduser()
    return path.suffix.lower() == PARQUET and path.is_file() and holds_table(path)


def holds_table(path: Path) -> bool:
    """Whether a Parquet file has columns of single values, or others than images and vectors have."""
    try:
        with open_file(path) as file:
            schema = file.schema_arrow
    except UserError:  # which is said where it is read
        return False
    from pyarrow.types import is_fixed_size_list, is_large_list, is_list

    if any(holds_images(kind) for kind in schema.types):
        return False
    if any(is_list(kind) or is_large_list(kind) or is_fixed_size_list(kind) for kind in schema.types):
        try:
            find_columns(schema, path)
        except UserError:  # lists that lie beside texts: --drop leaves them out
            return True
        return False
    return bool(schema.types)


def check_table_options(dataset: Dataset, options: DataOptions) -> None:
    """UserError for options of tables where the examples are others."""
    for name in ("column", "drop"):
        if getattr(options, name) and not hasattr(dataset, "columns"):
            raise UserError(f"{dataset.name} is no table, which has columns: leave out {name}")


def load_table(path: Path, key: str | None, options: DataOptions, progress: Progress) -> Dataset:
    """The rows of the split of a table that the options name; of one larger than memory from the cache."""
    check_installed(path)
    from .frame import from_frame
    from .large import is_large, load_large

    name = dataset_name(path.with_suffix("") if path.suffix.lower() == ".gz" else path)
    if is_large(path, options):
        table: Dataset = load_large(path, options, name)
    else:
        table = split_dataset(from_frame(read_frame(path), options, name=name, file=str(path)), options)
    if lies_beside_images(path):
        table = table.with_notes([f"it lies beside images: if it holds their labels, give their folder, {path.parent}"])
    return table


def check_installed(path: Path) -> None:
    """UserError where what reads tables is not installed."""
    try:
        import pandas  # noqa: F401
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise UserError(f'{path} is a table, read by {error.name}: pip install "ganvas[tables]"') from error


def read_frame(path: Path) -> "pd.DataFrame":
    """A table as a frame; UserError where it is damaged, or what reads it is not installed."""
    check_installed(path)
    try:
        if path.name.lower().endswith(TEXT_SUFFIXES):
            return read_texts(path)
        return read_typed(path)
    except GZIP_ERRORS as error:
        raise damage_error(path, error) from error


def read_typed(path: Path) -> "pd.DataFrame":
    """A Parquet or Feather file; UserError where it is damaged."""
    is_parquet = path.suffix.lower() == PARQUET
    try:
        with wrap_read_errors(path, kind="Parquet" if is_parquet else "Feather"):
            table = read_parquet(path) if is_parquet else read_feather(path)
            table.validate(full=True)  # or else a damaged text would be what lies beside it in memory
            frame: pd.DataFrame = table.to_pandas()
            return frame
    except MemoryError as error:
        raise UserError(f"{path} is damaged, or memory is too short for it: {first_line(error)}") from error


def read_parquet(path: Path) -> "pa.Table":
    """All columns of a Parquet file; UserError where memory is too short."""
    with open_file(path) as file:
        need = MEMORY_RATIO * sum(group.n_bytes for group in read_row_groups(path))
        check_memory(need, f"reading {path}", "give fewer rows or columns of it")
        return file.read()


def read_feather(path: Path) -> "pa.Table":
    """All columns of a Feather file."""
    from pyarrow.feather import read_table

    return read_table(path, memory_map=False)
