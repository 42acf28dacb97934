"""Images from a folder; its sub-folders, if it has any, are the classes."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from ..errors import UserError
from ..io.parallel import in_parallel
from .cifar import is_cifar, load_cifar
from .crop import background_note, tiles_note
from .dataset import CHANNELS, Dataset, hash_number, limit_indices, split_indices
from .decoded import Decoded, stamp
from .depth import depth_notes
from .images import SUPPORTED_FORMATS, ImageBuffer, OpenFile, read_images
from .label_tables import Labels, attach_labels
from .layout import Layout, dataset_name, find_layout, find_test_sibling, folder_labels
from .listing import File, Listing, file_stamp, group_size, is_archive, is_tar, list_files, pluralize
from .options import DataOptions, Progress
from .quantization import mapping_note, rounding_note, unmapped_note

MAX_FAILURES = 5  # files that could not be read, in a note, at most


def load_folder(folder: Path, key: str | None, options: DataOptions, progress: Progress) -> Dataset:
    """The images of a split below a folder or in an archive, in the order of their paths; or CIFAR's binary files.

    They get the channels that most of them have, or those that the options name; alpha that hides nothing counts as
    none.  Many are decoded once, see `decoded`.  UserError where no image can be read, MixedSizesError for several
    sizes unless the options name one.
    """
    listing = list_files(folder) if folder.is_dir() else None  # to list an archive may take as long as to decode it
    if listing and is_cifar(listing):
        return load_cifar(listing, options)
    decoded = Decoded(str(folder.resolve()), stamp_source(folder, listing), options)
    if dataset := decoded.find():
        return dataset
    listing = listing or list_files(folder)
    if is_cifar(listing):
        return load_cifar(listing, options)
    if is_tar(folder) and any(file.suffix == ".cls" for file in listing.others):
        raise UserError(f"{folder} holds WebDataset's labels, .cls: decompress it, for shards are plain .tar files")
    listing, part = find_split(listing, options)
    part, table = attach_labels(listing, part)
    if options.file_limit:
        part = limit_places(part, options.file_limit)
    read = partial(read_part, folder, listing, part, table, options, progress)
    return decoded.keep(read, len(part.places), sum(file.n_bytes for file in listing.images))


def stamp_source(folder: Path, listing: Listing | None) -> str:
    """What an archive was when it was changed last; of a folder its files, and those of the test part beside it."""
    if listing is None:
        return stamp(file_stamp(folder.stat()))
    sibling = find_test_sibling(folder)
    listings = [listing, list_files(sibling)] if sibling else [listing]
    files = [(file.parts, file.stamp) for part in listings for file in (*part.images, *part.others)]
    return stamp([files, *(part.notes for part in listings)])


def read_part(
    folder: Path, listing: Listing, part: Layout, table: Labels | None, options: DataOptions, progress: Progress,
    open_file: OpenFile | None,
) -> Dataset:  # fmt: skip
    """The images of a layout."""
    images = read_images([place.file for place in part.places], options, str(folder), progress, open_file)
    if not images.infos:
        page, why = next(iter(images.failures.items()))
        raise UserError(f"{folder}: none of its {len(part.places)} images can be read; the first, {page}: {why}")
    if len(images.sizes) > 1:
        raise MixedSizesError(folder, images)
    channels = options.channels or majority_channels(images)
    x = images.stack(channels)
    notes = list(image_notes(images, options, channels))
    place_of = {place.file: place for place in part.places}
    places = [place_of[page.file] for page in images.pages]
    labels, classes = folder_labels(places, part.training, notes) if table is None else table.encode(places)
    if len(classes) == 1:
        notes.append(f"there is one class only, {classes[0]}")
    if len(places) == 1 and not folder.is_dir() and not is_archive(folder):
        notes.append("a single image: a model can learn nothing but this one")
    notes += [*part.notes, *listing.notes, *listing.excluded_notes([] if table is None else [table.file])]
    return Dataset(
        x=x, labels=None if labels is None else torch.tensor(labels), classes=classes,
        name=dataset_name(folder), notes=tuple(notes), range=images.bounds, files=images.names,
        source_dtype=images.dtype, scale=options.scale, alpha=images.is_deep and channels == 4,
    )  # fmt: skip


def majority_channels(images: ImageBuffer) -> int:
    """The channels that most images have: alpha only where more than half have it, colours where half have them."""
    n, counts = len(images.infos), images.channel_counts
    return 4 if 2 * counts[4] > n else 3 if 2 * (counts[3] + counts[4]) >= n else 1


def image_notes(images: ImageBuffer, options: DataOptions, channels: int) -> Iterator[str]:
    """The notes on files that were not read, or not all of them, on rounded numbers, and on channels that changed.

    The images are stacked, and of deep ones the notes have the numbers of the result.
    """
    size = options.image_size
    failures, infos = [f"{page}: {why}" for page, why in images.failures.items()], list(images.infos.values())
    if failures:
        more = [f"and {len(failures) - MAX_FAILURES} more"] if len(failures) > MAX_FAILURES else []
        yield f"{pluralize(len(failures), 'file')} skipped ({'; '.join(failures[:MAX_FAILURES] + more)})"
    if options.crop == "tiles" and size:
        yield tiles_note([info.tiles for info in infos], [info.rest for info in infos], size)
    if n_on_background := sum(info.is_on_background for info in infos):
        yield background_note(n_on_background, options)
    stats = images.stats
    if images.is_deep:
        shape = (channels, *infos[0].shape[1:])
        yield from depth_notes(images.dtype, shape, stats, options.scale, images.bounds, channels == 4)
        if "32" in images.dtype and "int" in images.dtype and max(-stats.low, stats.high) > 2**24:
            yield f"integers beyond {2**24:,} were rounded, since numbers from files are float32 inside"
    elif stats.count:
        white = max(info.white for info in infos if info.stats)
        yield mapping_note(stats, images.bounds) if images.bounds else rounding_note(stats, white)
    if images.bounds and not images.is_deep and (n_unmapped := sum(info.stats is None for info in infos)):
        yield unmapped_note(n_unmapped)
    if n_lost := sum(info.has_more_bits for info in infos):
        yield f"of {pluralize(n_lost, 'image')} with more than 8 bits a channel, 8 were read"
    several = [info.pages for info in infos if info.pages > 1]
    if several and options.pages != "all":
        have, each = ("file has", "it") if len(several) == 1 else ("files have", "each")
        counts = f"{len(several)} {have} several pages, {sum(several)} in all"
        yield f"{counts}, and the first of {each} was read: --pages all makes every page an example"
    yield from images.decoder_notes
    n_opaque = sum(info.has_opaque_alpha for info in infos)
    if n_opaque and options.background is None and channels < 4:  # a background leaves no alpha in any case
        yield f"alpha that is opaque everywhere was dropped, of {pluralize(n_opaque, 'image')}: --channels 4 keeps it"
    if len(images.channel_counts) > 1:
        mixed = ", ".join(f"{n} {CHANNELS[c]}" for c, n in images.channel_counts.most_common())
        most = max(images.channel_counts)
        keeps = f": --channels {most} keeps {'alpha' if most == 4 else 'colours'}" if most > channels else ""
        yield f"images with different channels ({mixed}) were all made {CHANNELS[channels]}{keeps}"
    if channels < 4 and (n_white := images.channel_counts[4]):
        yield f"{pluralize(n_white, 'image')} with alpha laid on white: --background chooses another colour"


def find_split(listing: Listing, options: DataOptions) -> tuple[Listing, Layout]:
    """Which images below a folder are of a split, and the listing with them: the test split may lie beside it."""
    folder = listing.root
    part = find_layout(listing.images, options.split, str(folder))
    test_folder = None if part.has_test_split else find_test_sibling(folder)
    if test_folder and (test_listing := list_files(test_folder)).images:
        if options.split == "test":
            inner = find_layout(test_listing.images, "train", str(test_folder))
            return test_listing, replace(inner, training=tuple(part.places), has_test_split=True)
        notes = [*part.notes, f"the test part is {test_folder.name}, beside it"]
        part = replace(part, has_test_split=True, notes=notes)
    if not part.places:
        what = "; ".join(listing.excluded_notes() + listing.notes)
        raise UserError(f"{folder} holds no images{': ' * bool(what)}{what} ({SUPPORTED_FORMATS})")
    if part.has_test_split:
        return listing, part
    files = [place.file for place in part.places]
    hashes = map(
        hash_number, in_parallel(File.digest, files, group=4 * group_size(files))
    )  # a hash takes less than an image
    index, notes = split_indices(len(part.places), hashes, options, str(folder))
    places = [part.places[i] for i in index.tolist()]
    # classes are those of both splits
    return listing, replace(part, places=places, training=tuple(part.places), notes=[*part.notes, *notes])


def limit_places(part: Layout, limit: int) -> Layout:
    """At most so many of the images, as `limit_indices` draws them; the classes are those of all."""
    index, notes = limit_indices(len(part.places), limit)
    places = [part.places[i] for i in index.tolist()]
    return replace(part, places=places, training=part.training or tuple(part.places), notes=[*part.notes, *notes])


class MixedSizesError(UserError):
    """Images have different sizes, though none was asked for."""

    def __init__(self, folder: Path | str, images: ImageBuffer) -> None:
        sizes = images.sizes.most_common()
        (((w, h), _), *_, (rarest, _)) = sizes
        self.sizes: dict[str, int] = {f"{w} x {h}": n for (w, h), n in sizes}
        """images of each width and height, the most common first"""
        self.channels: dict[str, int] = {CHANNELS[c]: n for c, n in images.channel_counts.most_common()}
        """images with each kind of channels"""
        self.size: str = f"{h}x{w}"  # the most common, as `DataOptions` has it
        common = ", ".join(f"{n} of {size}" for size, n in list(self.sizes.items())[:3])
        pages = (page for page, info in images.infos.items() if info.shape[:0:-1] == rarest)
        example = str(next(pages)).rpartition("/")[2]
        most = f"the most common, size={self.size} (height x width)"
        is_typical = 2 * sizes[0][1] > images.sizes.total()
        how = f"ask for one size, such as {most}" if is_typical else f"ask for one size, for example size=64 or, {most}"
        if len({round(w / h, 2) for w, h in images.sizes}) > 1:
            how += ", with crop=pad to cut nothing off"
        super().__init__(f"{folder} holds images of {len(sizes)} sizes ({common}; {example} differs from most): {how}")
