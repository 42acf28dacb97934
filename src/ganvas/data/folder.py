"""Images from a folder; its sub-folders, if it has any, are the classes."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import torch

from ..errors import UserError
from .collection import CHANNELS, Collection
from .holdout import parted
from .images import Images, Page, Picture, Progress, extremes, of_warnings, pages_of, read_all, unbounded
from .layout import Layout, classes_of, layout, named_after, sibling
from .levels import AUTO, Bounds, Seen, automatic, of_bytes, of_range, of_words
from .listing import SUFFIXES, ZIP, File, Listing, counted, listed
from .table import with_labels
from .view import View


def from_folder(folder: Path, view: View, progress: Progress = lambda done, total: None) -> Collection:
    """The images below `folder` of a split, in the order of their paths; see `layout` for what is which.

    They get the channels that most of them have, or those that the view asks for; alpha that hides nothing counts as
    none.  A file that cannot be read is skipped, and a note counts and names it.  Raises UserError for a
    folder without images, and MixedSizes for images of different sizes unless the view asks for one.
    """
    found, part = part_of(folder, view)
    part, table, names = with_labels(found, part)
    with unbounded() as said:
        images, good, bad, bounds = read_below(folder, [place.file for place in part.places], view, progress)
    if not good:
        page, why = next(iter(bad.items()))
        first = f"the first, {page}: {why}"
        raise UserError(f"{folder}: none of its {len(part.places)} images can be read; {first}")
    if len(images.sizes) > 1:
        raise MixedSizes(folder, images, list(good))
    notes = [skipped(bad)] if bad else []
    notes += [*of_numbers(list(good.values()), bounds), *of_pages(good, view), *of_warnings(said)]
    channels = view.channels or images.usual
    notes += of_channels(images, list(good.values()), channels)
    places = {place.file: place for place in part.places}
    read_well = replace(part, places=[places[page.file] for page in good])
    labels, classes = classes_of(read_well, notes) if table is None else table.labels(read_well.places, names)
    if len(good) == 1 and not folder.is_dir() and folder.suffix.lower() != ZIP:
        notes.append("a single image: a model can learn nothing but this one")
    notes += [*part.notes, *found.notes, *found.left_out([] if table is None else [table.file])]
    return Collection(
        x=images.stacked(channels), labels=None if labels is None else torch.tensor(labels), classes=classes,
        name=named_after(folder), notes=tuple(notes), range=bounds,
    )  # fmt: skip


def read_below(
    folder: Path, files: list[File], view: View, progress: Progress
) -> tuple[Images, dict[Page, Picture], dict[Page, str], Bounds | None]:
    """The images, what is to be said of each (not its pixels), why others could not be read, and black and white."""
    pages = pages_of(files) if view.pages == "all" else [Page(file) for file in files]
    asked = view.bounds
    twice = asked == AUTO
    if asked == AUTO:
        found = extremes(pages, progress)
        bounds = automatic(found, str(folder)) if found.numbers else None
    else:
        bounds = asked

    def second(done: int, total: int) -> None:
        progress(*((total + done, 2 * total) if twice else (done, total)))

    images, good, bad = Images(len(pages), str(folder)), dict[Page, Picture](), dict[Page, str]()
    for page, read in zip(pages, read_all(pages, view.pixels, bounds, view.channels == 4, second), strict=True):
        if isinstance(read, str):
            bad[page] = read
        else:
            images.add(read.x)
            good[page] = read.without_pixels()
    return images, good, bad, bounds


def of_numbers(good: list[Picture], bounds: Bounds | None) -> list[str]:
    """The notes on images whose numbers were rounded to bytes."""
    found = sum((picture.deep for picture in good if picture.deep), Seen())
    notes = []
    if found.numbers and bounds:
        notes.append(of_range(found, bounds))
    elif found.numbers:
        notes.append(of_words(found, max(picture.white for picture in good if picture.deep)))
    bytes_alone = sum(picture.deep is None for picture in good) if bounds else 0
    if bytes_alone:
        notes.append(of_bytes(bytes_alone))
    if lost := sum(picture.lost for picture in good):
        notes.append(f"of {lost} image{'s' if lost > 1 else ''} with 16 bits a channel, 8 bits were read")
    return notes


def of_pages(good: dict[Page, Picture], view: View) -> list[str]:
    """The note on files with several images."""
    several = [picture.pages for picture in good.values() if picture.pages > 1]
    if not several or view.pages == "all":
        return []
    are, each = ("file has", "it") if len(several) == 1 else ("files have", "each")
    return [
        f"{len(several)} {are} several pages, {sum(several)} in all, and the first of {each} was read: --pages all "
        "makes every page an example"
    ]


def part_of(folder: Path, view: View) -> tuple[Listing, Layout]:
    """What is below a folder, and which of the images are of a split.

    The test part may lie in the folder beside it, or else is held out.  Raises UserError where there are no images, and
    NoSplit where there are none of this split.
    """
    found = listed(folder)
    part = layout(found.images, view.split, str(folder))
    beside = None if part.split else sibling(folder)
    if beside and (other := listed(beside)).images:
        if view.split == "test":
            inner = layout(other.images, "train", str(beside))
            return other, replace(inner, training=tuple(part.places), split=True)
        part = replace(part, split=True, notes=[*part.notes, f"the test part is {beside.name}, beside it"])
    if not part.places:
        what = found.left_out() + found.notes
        raise UserError(f"{folder} holds no images{': ' + '; '.join(what) if what else ''} ({readable()})")
    return found, part if part.split else held_out(part, view, folder)


def held_out(part: Layout, view: View, folder: Path) -> Layout:
    """The images of a split, of a source without a test part; the classes are those of all its images."""

    def digests() -> list[bytes | None]:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(lambda place: place.file.digest(), part.places))

    kept, notes = parted(len(part.places), digests, view, str(folder))
    places = [part.places[i] for i in kept]
    return replace(part, places=places, training=tuple(part.places), notes=[*part.notes, *notes])


def readable() -> str:
    """The formats that are read, for people."""
    return f"Ganvas reads {', '.join(sorted(suffix[1:] for suffix in SUFFIXES))}"


class MixedSizes(UserError):
    """Images have different sizes, though none was asked for."""

    def __init__(self, folder: Path, images: Images, good: list[Page]) -> None:
        self.sizes = {f"{w} x {h}": n for (w, h), n in images.sizes.most_common()}
        """images of each width and height, the most common first"""
        self.channels = {CHANNELS[c]: n for c, n in images.channels.most_common()}
        """images with each kind of channels"""
        (w, h), *_ = (size for size, _ in images.sizes.most_common())
        self.size = f"{h}x{w}"
        """the most common, as `View` has it"""
        common = ", ".join(f"{n} of {size}" for size, n in list(self.sizes.items())[:3])
        example = good[images.each.index(images.sizes.most_common()[-1][0])]
        super().__init__(
            f"{folder} holds images of {len(self.sizes)} sizes ({common}; {example.name} differs from most): "
            "ask for one size, for example size=64 or size=48x64 (height x width)"
        )


def of_channels(images: Images, good: list[Picture], channels: int) -> list[str]:
    """The notes on images that have got other channels than they had."""
    notes = []
    if opaque := sum(picture.opaque for picture in good):
        notes.append(
            f"alpha that is opaque everywhere was dropped, of {counted(opaque, 'image')}: --channels 4 keeps it"
        )
    if len(images.channels) > 1:
        mixed = ", ".join(f"{n} {CHANNELS[c]}" for c, n in images.channels.most_common())
        most = max(images.channels)
        keeps = f": --channels {most} keeps {'alpha' if most == 4 else 'colours'}" if most > channels else ""
        notes.append(f"images with different channels ({mixed}) were all made {CHANNELS[channels]}{keeps}")
    return notes


def skipped(bad: dict[Page, str]) -> str:
    named = "; ".join(f"{page}: {why}" for page, why in list(bad.items())[:5])
    more = f"; and {len(bad) - 5} more" if len(bad) > 5 else ""
    return f"{len(bad)} file{'s' if len(bad) > 1 else ''} skipped ({named}{more})"
