"""Data: a source, by name, path or value, becomes a Collection, and a Collection an endless Stream of batches."""

import stat
from collections.abc import Iterable, Sequence, Sized
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ..errors import UserError, did_you_mean
from ..model import Model
from .arrays import from_array
from .builtin import BUILTIN
from .collection import CHANNELS, Collection, checked, chunks, counts, fitted, with_channels
from .files import from_idx, idx_in
from .folder import MixedSizes, from_folder
from .holdout import rows_parted, with_test_part
from .images import Progress
from .layout import domains_in
from .levels import bounds_in, range_in, text_of
from .listing import ARCHIVES, File, holds_images, is_image, mode_of, reason
from .npz import from_npy, from_npz, has_test
from .objects import from_object
from .pair import DOMAINS, Pair, PairStream, domains_of, paired, warnings
from .scaling import Scaling, hidden
from .stream import Stream
from .table import TABLE
from .tabular import SUFFIXES as TABLES
from .tabular import of_table
from .view import NoSplit, View, names_in, recorded, whole

SOME = 0.005
"""share of pixels that is worth a note"""
Source = str | Path | Collection | np.ndarray | Tensor | Sized | Iterable[Any]
Sources = Source | tuple[Source, ...]
"""a source, or those of a translator's domains A and B"""
Data = Collection | Pair


def load(source: Source, view: View | None = None, *, progress: Progress = lambda done, total: None) -> Collection:
    """The collection that a source names.

    A source is the name of a built-in data set (`BUILTIN`), a folder or a zip of images, an image, a .npy, .npz (or
    .npz:NAME for one of its arrays) or IDX file, an array, a tensor, a collection, or what `from_object` reads: lists
    of images, PyTorch's data sets and tables of pandas.  `progress(done, total)` is
    called while images are read.  Raises UserError where the source cannot be used, with what to do about it.
    """
    view = view or View()
    if view.data_dir and not (isinstance(source, str) and source in ("mnist", "fashion-mnist")):
        raise UserError("data_dir is where mnist and fashion-mnist are looked for: leave it out for other data")
    if view.range and (isinstance(source, Collection) or is_builtin(source)):
        raise UserError("range is for images from files and arrays of numbers, and these are bytes: leave it out")
    if isinstance(source, str | Path):
        collection = named(str(source), view, progress)
    else:
        collection = checked(source) if isinstance(source, Collection) else from_object(source, view)
        collection = given(collection, view)
    if view.classes:
        collection = collection.only(view.classes)
    return with_hidden(prepared(collection, view))


def with_hidden(collection: Collection) -> Collection:
    """The collection, with a note where transparent pixels have colours, which nobody sees."""
    if collection.shape[0] != 4 or not collection.are_images:
        return collection
    _, coloured, _ = hidden(collection.x)
    note = f"{coloured:.0%} of the pixels are transparent and have colours, which nobody sees: they play no part"
    return collection if coloured < SOME or note in collection.notes else collection.noting([note])


def is_builtin(source: Source) -> bool:
    """Whether a source is the name of a built-in data set."""
    return isinstance(source, str) and source in BUILTIN


def with_range(source: Source, view: View, about: dict[str, Any], domain: int = 0) -> View:
    """The view with black and white as a run's data had them, if it says nothing of that and the source may be numbers.

    `about` is what the run's weights file says, `domain` the number of a translator's domain.
    """
    bounds = bounds_in(about, domain)
    if bounds is None or view.range or isinstance(source, Collection) or is_builtin(source):
        return view
    return replace(view, range=text_of(bounds))


def load_all(sources: Sources, view: View | None = None, *, progress: Progress = lambda done, total: None) -> Data:
    """The collection that a source names, or the pair of collections that two name, each as `load` has it."""
    if isinstance(sources, tuple):
        if len(sources) != 2:
            raise UserError(f"a translator learns from two sources, A and B, not from {len(sources)}")
        return paired([load(source, view, progress=progress) for source in sources])
    return load(sources, view, progress=progress)


def apart(sources: Sources) -> Sources:
    """The sources; of a folder with trainA and trainB, CycleGAN's own layout, these two."""
    if not isinstance(sources, str | Path) or str(sources) in BUILTIN:
        return sources
    return domains_in(Path(sources).expanduser()) or sources


def scaling_of(data: Data, model: Model) -> tuple[Scaling, ...]:
    """How the model is to see a collection, or both of a pair, which it has not learnt from yet."""
    return tuple(Scaling.of(part.x, model.span, standardized=model.standardized) for part in data.parts)


def streamed(data: Data, scaling: Sequence[Scaling] | None = None, **options: Any) -> Stream | PairStream:
    """Endless batches of a collection, or of both of a pair, with the `scaling` of each; options as `Stream` has."""
    each = (Scaling(),) * len(data.parts) if scaling is None else scaling
    if isinstance(data, Pair):
        return PairStream(data, scaling=each, **options)
    return Stream(data, scaling=each[0], **options)


def given(collection: Collection, view: View) -> Collection:
    """Examples from Python, which are taken whole unless the view says what share to hold out."""
    if view.holdout and view.holdout != "auto":
        return rows_parted(collection, view, owned=False)
    if view.split != "train":
        raise NoSplit(f"an array has no split {view.split!r}: pass the examples that you mean, or holdout=0.1")
    return collection


def named(source: str, view: View, progress: Progress) -> Collection:
    """The collection behind a name or a path."""
    if source in BUILTIN:
        return with_test_part(BUILTIN[source](view.split, view.data_dir), view)
    if not source.strip():
        raise UserError(f"the data source is empty: give a path, or one of {', '.join(BUILTIN)}")
    file, _, key = source.partition(".npz:")
    path = Path(f"{file}.npz" if key else source).expanduser()
    mode = mode_of(path)
    if mode is None:
        hint = did_you_mean(source, BUILTIN)
        raise UserError(f"no data {source!r}: neither a path nor one of {', '.join(BUILTIN)}.{hint}")
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        raise UserError(f"{path} is no regular file (a pipe, a socket or a device): give a folder or a file")
    try:
        return found_at(path, key or None, view, progress)
    except PermissionError as error:
        raise UserError(f"{error.filename or path} cannot be read ({reason(error)})") from error


def found_at(path: Path, key: str | None, view: View, progress: Progress) -> Collection:
    """The collection in a file or a folder."""
    folder = path.is_dir()
    if folder or "ubyte" in path.name or path.suffix == ".idx":
        inside = path if folder else path.parent
        train, test = idx_in(inside, "train"), idx_in(inside, "test")
        idx = train if folder else path
        if test is not None and view.split == "test" and (folder or path == train):
            return with_test_part(from_idx(test, view.range), view)
        if idx is not None and test is not None and idx == train:
            return with_test_part(from_idx(idx, view.range), view)
        if idx is not None:
            return rows_parted(from_idx(idx, view.range), view)
    if path.suffix == ".npz":
        if has_test(path, key):
            return with_test_part(from_npz(path, view, key), view)
        return rows_parted(from_npz(path, replace(view, split="train"), key), view)
    if path.suffix == ".npy":
        return rows_parted(from_npy(path, view), view)
    if holds_images(path):
        return from_folder(path, view, progress)
    raise UserError(f"{path} is no data source: {instead(path)}")


def instead(path: Path) -> str:
    """What to give in place of a file that cannot be read."""
    if path.suffix.lower() in ARCHIVES:
        return "unpack it first, and give the folder, or make a zip of it"
    if TABLE.fullmatch(path.name) and any(is_image(File((p.name,), p)) for p in path.parent.iterdir() if p.is_file()):
        return f"it lies beside images, whose labels it may hold: give the folder, {path.parent}"
    if path.suffix.lower() in (".json", ".jsonl"):
        return f"if it holds labels of images, give the folder that has both, as {path.parent}"
    if path.suffix.lower() in TABLES:
        return of_table(path)
    return "give a folder or a zip of images, an image, a .npy, .npz or IDX file, or a name"


def prepared(collection: Collection, view: View) -> Collection:
    """Images with the size and the channels that were asked for."""
    if not (view.size or view.channels):
        return collection
    if not collection.are_images:
        asked = "size" if view.size else "channels"
        raise UserError(f"{collection.name} holds vectors, which have no {asked}: leave out {asked}")
    x = collection.x if view.channels is None else with_channels(collection.x, view.channels)
    return replace(collection, x=x if view.pixels is None else fitted(x, view.pixels))


__all__ = [
    "BUILTIN", "CHANNELS", "DOMAINS", "Collection", "Data", "MixedSizes", "NoSplit", "Pair", "PairStream",
    "Progress", "Scaling", "Source", "Sources", "Stream", "View", "apart", "chunks", "counts", "domains_of",
    "from_array", "holds_images", "load", "load_all", "names_in", "paired", "range_in", "recorded", "scaling_of",
    "streamed", "warnings", "whole", "with_range",
]  # fmt: skip
