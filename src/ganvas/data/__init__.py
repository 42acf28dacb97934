"""Data: a source, by name, path or value, becomes a Dataset, and a Dataset an endless Stream of batches.

To read a new kind of file, write a function like `load_npy`, which gives the arrays of a path to `from_array` and
`split_dataset`, and add a row to `READERS`: a test of paths, and that function.  It must come before the folder reader,
whose test is true of every folder.  A data set with a name is a row of `BUILTIN`.
"""

import stat
from collections.abc import Callable, Iterable, Sequence, Sized
from contextlib import suppress
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from itertools import islice
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ..errors import UserError, did_you_mean, error_reason
from ..model import Model
from .array_files import is_idx, load_idx, load_npy, load_npz, split_key
from .arrays import from_array, validate_dataset
from .builtin import BUILTIN, PUBLISHED
from .containers import from_object
from .crop import background_note, crop_dataset, is_on_background, lay_on_background
from .dataset import CHANNELS, Dataset, chunks, class_counts, convert_channels, split_dataset
from .folder import MixedSizesError, load_folder
from .hub import find_hub_files, is_hub_name
from .label_tables import suggest_source
from .layout import find_domains
from .listing import is_ignored, may_hold_images, path_mode
from .memory import check_memory
from .options import DataOptions, MissingSplitError, Progress, no_progress
from .pair import DomainPair, PairStream, pair_warnings
from .quantization import normalize_range, read_bounds
from .scaling import Scaling, as_measured, hidden_colour_stats
from .science_files import (
    HDF5_SUFFIXES,
    has_suffix,
    is_dicom,
    is_nifti,
    is_zarr,
    load_dicom,
    load_nifti,
    load_zarr,
    open_hdf5,
)
from .shard_files import PARQUET, find_shards, is_shards
from .shard_stream import ShardStream
from .shards import StreamedDataset, build_dataset
from .stream import Stream
from .tables.read import check_table_options, is_table, load_table, names_table
from .tables.scaling import TableScaling
from .tables.sql import absolute_url, is_sql, load_sql
from .tables.table import Table
from .webdataset import open_tars

MAX_SIBLINGS = 10_000  # names that are compared with a wrong one, at most
HIDDEN_COLOUR_SHARE = 0.005  # share of pixels that is worth a note
Source = str | Path | Dataset | np.ndarray | Tensor | Sized | Iterable[Any]
Sources = Source | tuple[Source, ...]  # a source, or those of a translator's domains A and B
Data = Dataset | StreamedDataset | DomainPair
DataStream = Stream | ShardStream | PairStream
READERS: tuple[tuple[Callable[[Path], bool], Callable[[Path, str | None, DataOptions, Progress], Dataset]], ...] = (
    (is_table, load_table),
    (is_idx, load_idx),
    (lambda path: path.suffix.lower() == ".npz", load_npz),
    (lambda path: path.suffix.lower() == ".npy", load_npy),
    (lambda path: has_suffix(path, HDF5_SUFFIXES), partial(load_npz, open_file=open_hdf5)),
    (is_zarr, load_zarr),
    (is_nifti, load_nifti),
    (is_dicom, load_dicom),
    (may_hold_images, load_folder),
)
"""tests of paths, and what reads the split that options name, of an archive the arrays called KEY in PATH:KEY; the
first whose test a path passes reads it, and every folder passes the last"""


def load(source: Source, options: DataOptions | None = None, *, progress: Progress = no_progress) -> Dataset:
    """The dataset that a source names; of one that does not fit in memory a sample of it.

    A source is the name of a built-in data set (`BUILTIN`), a folder or a zip of images, an image, a .npy, .npz (or
    .npz:NAME for one of its arrays) or IDX file, WebDataset's shards or Parquet files (`find_shards`), hf:USER/NAME on
    the Hugging Face Hub, a table of a file (`tables/read.py`) or a database (`tables/sql.py`), an array, a tensor, a
    Dataset, or what `from_object` reads: lists of images, PyTorch's data sets and frames of pandas and Polars.
    `progress(n, total)` is called while images are read.  Raises UserError where the source cannot be used, with what
    to do about it.
    """
    return load_or_stream(source, options, progress=progress).in_memory


def load_or_stream(
    source: Source, options: DataOptions | None = None, *, progress: Progress = no_progress
) -> Dataset | StreamedDataset:
    """The dataset that a source names, as `load` has it, or what reads it as it is needed where it does not fit."""
    options = options or DataOptions()
    if options.data_dir and not (isinstance(source, str) and source in PUBLISHED):
        raise UserError(f"data_dir is where {', '.join(PUBLISHED)} are looked for: leave it out for other data")
    for option in ("range", "scale", "bits"):
        if getattr(options, option) not in (None, getattr(DataOptions, option), 8) and holds_bytes(source):
            raise UserError(f"{option} is for images from files and arrays of numbers: leave it out")
    check_crop(options)
    if options.stream == "always" and not (
        isinstance(source, str | Path) and (names_shards(str(source)) or is_table(Path(source).expanduser()))
    ):
        raise UserError("stream=always is for shards, Parquet files and tables in files: leave it out for other data")
    if isinstance(source, str | Path):
        named = load_named(str(source), options, progress)
        check_image_options(named, options)
        if isinstance(named, StreamedDataset):
            return named
        dataset = named
    else:
        dataset = validate_dataset(source) if isinstance(source, Dataset) else from_object(source, options)
        if options.holdout and options.holdout != "auto":
            dataset = split_dataset(dataset, options, reuse_memory=False)
        elif options.split != "train":
            how = "pass the examples that you mean, or holdout=0.1"
            raise MissingSplitError(f"an array has no split {options.split!r}: {how}")
        check_image_options(dataset, options)
    dataset = select_examples(dataset, options)
    if isinstance(dataset, Table):
        return dataset if dataset.encoding else dataset.with_own_encoding(options.constraint)
    if is_on_background(dataset.x, options, dataset.alpha):
        dataset = dataset.with_notes([background_note(len(dataset), options)])
    x = lay_on_background(dataset.x, options, dataset.alpha)
    x = convert_channels(x, options.channels, alpha=dataset.alpha) if options.channels else x
    if x is not dataset.x:
        dataset = replace(dataset, x=x, alpha=dataset.alpha and x.shape[1] == 4)
    dataset = crop_dataset(dataset, options)
    _, coloured, _ = hidden_colour_stats(dataset.x)  # none, of vectors and of images without alpha
    note = f"{coloured:.0%} of the pixels are transparent and have colours, which nobody sees: they play no part"
    return dataset if coloured < HIDDEN_COLOUR_SHARE or note in dataset.notes else dataset.with_notes([note])


def select_examples(dataset: Dataset, options: DataOptions) -> Dataset:
    """The examples of the classes that the options name, and no more than their limit."""
    if options.classes:
        dataset = dataset.filter_classes(options.classes)
    return dataset.limit(options.limit) if options.limit else dataset


def check_crop(options: DataOptions) -> None:
    """UserError for options that need another, that contradict each other, or that no memory can follow."""
    if options.crop not in (None, "center") and options.size is None:
        raise UserError(f"crop={options.crop} needs to know the size: give one, e.g. size=64")
    if options.background is not None and options.channels == 4:
        raise UserError("background makes images with alpha RGB, and channels=4 makes all RGBA: leave out one of them")
    if options.image_size:
        check_memory(prod(options.image_size) * 3 * 4, f"an image of size={options.size}", "ask for a smaller `size`")


def check_image_options(dataset: Dataset | StreamedDataset, options: DataOptions) -> None:
    """UserError for options of images where the examples are others, and for a kind that they are not."""
    name, kind = dataset.name, dataset.in_memory.kind
    check_table_options(dataset.in_memory, options)
    check_kind(name, kind, options)
    for option, value, what, has_any in (
        ("size", options.size, "size to change", dataset.has_images),
        ("channels", options.channels, "channels of colours", dataset.has_images),
        ("background", options.background, "alpha", dataset.has_images),
        ("range", options.range, "black and white", kind != "vector"),
        ("bits", "full" if options.bits == "full" else None, "levels", kind != "vector"),
    ):
        if value is not None and not has_any:
            raise UserError(f"{name} holds {kind}s, which have no {what}: leave out {option}")
    if options.scale == "range":
        return
    if not getattr(dataset, "is_deep", False):
        raise UserError(f"{name} holds no images of more than 8 bits, which have a scale: leave out scale")
    if options.range is not None:
        raise UserError(f"range={options.range} and scale={options.scale} both say how to scale numbers: give one")


def check_kind(name: str, kind: str, options: DataOptions) -> None:
    """UserError where examples are of this kind and the options name another."""
    if options.kind not in ("auto", kind):
        raise UserError(f"{name} holds {kind}s, no {options.kind}s: kind={options.kind} is for arrays of numbers")


def holds_bytes(source: Source) -> bool:
    """Whether a source is a built-in data set or a Dataset, which are bytes already or vectors."""
    return isinstance(source, Dataset) or (isinstance(source, str) and source in BUILTIN)


def restore_numbers(
    source: Source, options: DataOptions, header: dict[str, Any], scaling: Scaling, domain: int = 0
) -> DataOptions:
    """The options that read numbers as a run did, by what its header and its scaling say of a domain.

    Its depth, and of images with 256 levels its range, unless the options have one or the source is read already.
    """
    if isinstance(scaling, TableScaling):
        return replace(options, column=options.column or scaling.kinds)
    if holds_bytes(source):
        return options
    if options.bits == "auto":
        options = replace(options, bits="full" if scaling.is_deep else 8)
    bounds = None if scaling.is_deep else read_bounds(header, domain)
    options = replace(options, scale="range")  # the model has its own
    return options if bounds is None or options.range else replace(options, range=str(normalize_range(bounds)))


def check_depth(dataset: Dataset, scaling: Scaling) -> Dataset:
    """The images, or vectors; UserError where they have 256 levels and those of a model more, or the reverse."""
    kind = dataset.kind
    if isinstance(scaling, TableScaling) != isinstance(dataset, Table):
        have, learnt = ("a table", "none") if isinstance(dataset, Table) else ("no table", "one")
        raise UserError(f"{dataset.name} is {have}, but this model was trained on {learnt}: give such")
    if isinstance(scaling, TableScaling) and isinstance(dataset, Table):
        return (
            dataset if dataset.encoding is scaling.encoding else dataset.with_columns(scaling.columns, scaling.encoding)
        )
    if kind != "vector" and dataset.is_deep != scaling.is_deep:
        bits, numbers = "8 bits", f"numbers of {scaling.dtype or dataset.source_dtype}"
        have, learnt = (bits, numbers) if scaling.is_deep else (numbers, bits)
        raise UserError(f"{dataset.name} has {kind}s of {have}, but this model was trained on {learnt}: give such")
    if kind != "vector" and scaling.low is not None and dataset.shape[0] != len(scaling.low):
        have = f"{dataset.name} has {kind}s of {dataset.shape[0]} channels"
        raise UserError(f"{have}, but this model was trained on {len(scaling.low)}: give such")
    if dataset.is_deep and dataset.alpha != scaling.premultiplied:
        have, learnt = ("alpha", "none") if dataset.alpha else ("no alpha", "alpha, such as PNGs of 16 bits have")
        raise UserError(f"{dataset.name} has images with {have}, but this model was trained on {learnt}: give such")
    return dataset


def load_all(sources: Sources, options: DataOptions | None = None, *, progress: Progress = no_progress) -> Data:
    """The dataset that a source names, or the pair of datasets that two name, each as `load` has it."""
    if isinstance(sources, tuple):
        if len(sources) != 2:
            raise UserError(f"a translator learns from two sources, A and B, not from {len(sources)}")
        return DomainPair(*(load_domain(source, options, progress) for source in sources))
    return load_or_stream(sources, options, progress=progress)


def load_domain(source: Source, options: DataOptions | None, progress: Progress) -> Dataset:
    """The dataset of a translator's domain; UserError where it does not fit in memory."""
    dataset = load_or_stream(source, options, progress=progress)
    if isinstance(dataset, StreamedDataset):
        what = f"{dataset.name} would be streamed, but a translator has both of its domains in memory"
        raise UserError(f"{what}: ask for a smaller size, or give fewer shards")
    return dataset


def resolve_stream(source: Sources, options: DataOptions, data: Data) -> DataOptions:
    """The options with what `stream` has come to, so that a run goes on in the same way on any machine."""
    if isinstance(data, StreamedDataset) or getattr(data, "is_mapped", False):
        return replace(options, stream="always")
    if options.stream == "auto" and isinstance(source, str | Path) and names_shards(str(source)):
        return replace(options, stream="never")
    return options


def resolve_domains(sources: Sources) -> Sources:
    """The sources; of a folder with trainA and trainB, CycleGAN's own layout, these two."""
    if not isinstance(sources, str | Path) or str(sources) in BUILTIN:
        return sources
    return find_domains(Path(sources).expanduser()) or sources


def fit_scaling(data: Data, model: Model) -> tuple[Scaling, ...]:
    """How the model is to see a dataset, or both of a pair, which it has not learnt from yet."""
    parts = [part.in_memory for part in data.datasets]
    if isinstance(table := parts[0], Table) and table.encoding is not None:
        return (
            TableScaling(
                model.pixel_range, columns=table.columns, encoding=table.encoding, file_format=table.file_format
            ),
        )
    return tuple(Scaling.fit_dataset(d, model.pixel_range, standardize=model.uses_standardization) for d in parts)


def make_stream(data: Data, scaling: Sequence[Scaling] | None = None, **options: Any) -> DataStream:
    """Endless batches of a dataset, or of both of a pair, with the `scaling` of each; options as `Stream` has."""
    scalings = scaling or (Scaling(),) * len(data.datasets)
    if isinstance(data, DomainPair):
        return PairStream(data, scaling=scalings, **options)
    if isinstance(data, StreamedDataset):
        options.pop("device_bytes", None)  # its batches come from the host in any case
        return ShardStream(data, scaling=scalings[0], **options)
    return Stream(data, scaling=scalings[0], **options)


def names_shards(source: str) -> bool:
    """Whether a source names WebDataset's shards or Parquet files, also those of a data set on the Hub."""
    return source not in BUILTIN and not is_sql(source) and (is_hub_name(source) or is_shards(source))


def load_named(source: str, options: DataOptions, progress: Progress) -> Dataset | StreamedDataset:
    """The dataset behind a name or a path."""
    if source in BUILTIN:
        return split_dataset(BUILTIN[source](source, options.split, options.data_dir), options, has_test_split=True)
    if not source.strip():
        raise UserError(f"the data source is empty: give a path, or one of {', '.join(BUILTIN)}")
    if names_shards(source) and not (names_table(source) and options.kind == "auto"):
        return load_shards(source, options, progress)
    if is_sql(source):
        return load_sql(source, options)
    file, key = split_key(source)
    path = Path(file).expanduser()
    mode = path_mode(path)
    if mode is None:
        raise missing_source(source, path)
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        raise UserError(f"{path} is no regular file (a pipe, a socket or a device): give a folder or a file")
    try:
        for is_kind, reader in READERS:
            if is_kind(path):
                if reader is load_folder:
                    check_kind(str(path), "image", options)  # before thousands are decoded
                return reader(path, key, options, progress)
        raise UserError(f"{path} is no data source: {suggest_source(path)}")
    except PermissionError as error:
        raise UserError(f"{error.filename or path} cannot be read ({error_reason(error)})") from error


def missing_source(source: str, path: Path) -> UserError:
    """What to say of a source that is not there."""
    if "://" in source:
        is_of_hub = "huggingface.co/datasets/" in source
        how = "give hf:USER/NAME" if is_of_hub else "download it, and give the file or a folder"
        return UserError(f"{source} is an address, and data are read from this machine: {how}")
    if path.is_symlink():
        return UserError(f"{path} is a link that leads nowhere: give a folder or a file")
    hint = did_you_mean(source, BUILTIN) or near_path(path)
    return UserError(f"no data {source!r}: neither a path nor one of {', '.join(BUILTIN)}.{hint}")


def near_path(path: Path) -> str:
    """' Did you mean "photos"?', of what lies beside a path that is not there; '' where nothing is called alike."""
    with suppress(OSError, ValueError):
        names = [entry.name for entry in islice(path.parent.iterdir(), MAX_SIBLINGS) if not is_ignored(entry.name)]
        for name in get_close_matches(path.name, names, n=1):
            return f' Did you mean "{path.with_name(name)}"?'
    return ""


def load_shards(source: str, options: DataOptions, progress: Progress) -> Dataset | StreamedDataset:
    """The examples of a split of WebDataset's shards or Parquet files."""
    if options.crop == "tiles":
        raise UserError(f"{source}: each image in shards and Parquet files is one example: leave out crop=tiles")
    files = (find_hub_files if is_hub_name(source) else find_shards)(source, options.split)
    if files.files[0].suffix.lower() == PARQUET:
        from .parquet import open_parquet

        return build_dataset(source, files, open_parquet(files.files, files.training), options, progress)
    return build_dataset(source, files, open_tars(files.files, files.training, progress), options, progress)


__all__ = [
    "BUILTIN", "CHANNELS", "Data", "DataOptions", "DataStream", "Dataset", "DomainPair", "MissingSplitError",
    "MixedSizesError", "PairStream", "Progress", "Scaling", "ShardStream", "Source", "Sources", "Stream",
    "StreamedDataset", "Table", "absolute_url", "as_measured", "check_depth", "chunks", "class_counts", "fit_scaling",
    "from_array", "is_hub_name", "is_sql", "load", "load_all", "load_or_stream", "make_stream", "may_hold_images",
    "names_shards", "names_table", "pair_warnings", "resolve_domains", "resolve_stream", "restore_numbers",
]  # fmt: skip
