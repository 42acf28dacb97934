"""Examples for a trained model: prepared as its own were, and refused where they are of another kind."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..data import (
    CHANNELS,
    DataOptions,
    Dataset,
    Scaling,
    Source,
    check_depth,
    load,
    may_hold_images,
    names_shards,
    names_table,
    restore_numbers,
)
from ..data.options import without_holdout
from ..errors import UserError
from ..model import Shape, kind_of, model_name

MAX_CLIPPED_SHARE = 0.03
"""share of numbers beyond a model's scale that is worth saying: scales by percentiles leave 0.02 of their own"""

if TYPE_CHECKING:
    from .trained import Trained


def load_preprocessed(trained: "Trained", data: Source, options: DataOptions | None = None) -> Dataset:
    """The examples that a source names, as the model learns them; UserError unless they are of its kind."""
    dataset: Dataset = trained.model.preprocess(load_matching(trained, data, options), deterministic=True)
    return dataset


def load_domain(trained: "Trained", source: Source, options: DataOptions | None, domain: int) -> Dataset:
    """The examples of a translator's domain, 0 (A) or 1 (B), images with its size and channels, if they are files."""
    scaling, shape = trained.domain_scaling(domain), trained.shape[domain]
    own = restore_numbers(source, restore_kind(source, options, shape, scaling), trained.metadata, scaling, domain)
    if len(shape) == 3 and isinstance(source, str | Path):
        is_fixed = shape[0] not in CHANNELS or (shape[0] == 4 and not scaling.may_have_alpha)
        own = replace(own, size=f"{shape[1]}x{shape[2]}", channels=own.channels if is_fixed else shape[0])
        own = with_stored_crop(own, trained)
    return check_depth(load(source, own), scaling)


def restore_kind(source: Source, options: DataOptions | None, shape: Shape, scaling: Scaling) -> DataOptions:
    """Options for all examples of a source, whose arrays hold signals or volumes where a model has such a shape.

    Columns of numbers are vectors where a model has vectors that are no rows of a table.
    """
    options = without_holdout(options)
    if len(shape) == 1 and not hasattr(scaling, "columns") and options.kind == "auto" and names_table(source):
        return replace(options, kind="vector")
    has_kind = len(shape) in (2, 4) and options.kind == "auto" and not isinstance(source, Dataset)
    return replace(options, kind="signal" if len(shape) == 2 else "volume") if has_kind else options


def with_stored_crop(options: DataOptions, trained: "Trained") -> DataOptions:
    """The options with the run's own crop and background, unless they have some."""
    stored = DataOptions() if trained.training_data is None else trained.training_data.options
    return replace(options, crop=options.crop or stored.crop, background=options.background or stored.background)


def check_domain(dataset: Dataset, shape: Shape, to: str, any_size: bool = False) -> None:
    """UserError unless a translator's domain has examples of this shape; with `any_size`, vectors of it or images."""
    is_image = len(shape) == 3
    if dataset.kind != kind_of(shape) or (dataset.shape != shape and not (is_image and any_size)):
        actual, expected = ("x".join(map(str, s)) for s in (dataset.shape, shape))
        mismatch = f"{dataset.name} has examples of {actual}, but this model translates those of"
        raise UserError(f"{mismatch} {expected} to {to}")


def check_whole(dataset: Dataset, data: Source) -> Dataset:
    """The dataset; UserError where it is a sample of a source that the caller means all of."""
    if dataset.sampled_from is not None and not isinstance(data, Dataset):
        many = f"{dataset.name} has {dataset.sampled_from:,} examples, which are not in memory at once"
        raise UserError(f"{many}: give some of its shards, one after the other")
    return dataset


def load_matching(trained: "Trained", data: Source, options: DataOptions | None = None) -> Dataset:
    """The examples that a source names, as they are; UserError unless they are of the model's kind."""
    shape, classes = trained.shape, trained.metadata.get("classes", [])
    if trained.model.n_domains == 2:
        raise UserError(f"{model_name(trained.model)} has two domains, and no encoder: use `ganvas translate`")
    scaling = trained.domain_scaling()
    options = restore_numbers(data, restore_kind(data, options, shape, scaling), trained.metadata, scaling)
    stored = trained.training_data if len(shape) == 3 and isinstance(data, str | Path) else None
    if stored is None or not isinstance(data, str | Path):
        dataset = load(data, options)
    else:  # images by name or path get the run's own size, channels, crop and background, unless `options` say
        size, channels = options.size or stored.options.size, options.channels or stored.options.channels
        fitted = with_stored_crop(replace(options, size=size, channels=channels), trained)
        may_differ = may_hold_images(Path(data).expanduser()) or names_shards(str(data))  # they are resized one by one
        plain = replace(options, size=None, channels=None, crop=None, background=None)
        dataset = load(data, fitted if may_differ else plain)
        if dataset.has_images and not may_differ:
            own = DataOptions(size=size, channels=channels, crop=fitted.crop, background=fitted.background)
            dataset = load(dataset, own)
    dataset = check_depth(dataset, trained.domain_scaling())
    if dataset.shape != shape:
        actual, expected = ("x".join(map(str, s)) for s in (dataset.shape, shape))
        hint = ""
        if len(shape) == 3 and dataset.has_images:
            c, h, w = shape
            hint = f": ask for them, size={h if h == w else f'{h}x{w}'} channels={c}"
        raise UserError(f"{dataset.name} has examples of {actual}, but this model was trained on {expected}{hint}")
    if trained.model.is_conditional and list(dataset.classes) != classes:
        raise UserError(
            f"{dataset.name} has the classes {', '.join(dataset.classes[:20]) or '(none)'}, but this model "
            f"was trained on {', '.join(classes[:20])}: give data with the same classes"
        )
    trained.model.validate_data(dataset)
    share = trained.domain_scaling().clipped_share(dataset.x)
    note = f"{share:.0%} of the numbers are beyond those that the model's scale goes to: they are clipped"
    return dataset.with_notes([note]) if share > MAX_CLIPPED_SHARE and note not in dataset.notes else dataset
