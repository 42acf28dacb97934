"""Images from a folder; its sub-folders, if it has any, are the classes."""

import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import UserError
from .collection import CHANNELS, Collection, fitted, with_channels
from .depth import pixels_of
from .holdout import parted
from .layout import Layout, classes_of, layout, named_after, sibling
from .listing import SUFFIXES, File, Listing, listed, reason
from .view import View

Progress = Callable[[int, int], None]
Read = tuple[Tensor, bool] | str
"""an image c x h x w with whether it had 16 bits, or why it could not be read"""


def from_folder(folder: Path, view: View, progress: Progress = lambda done, total: None) -> Collection:
    """The images below `folder` of a split, in the order of their paths; see `layout` for what is which.

    Grey, colour and alpha are kept: the collection has the fewest channels that hold every image, or those that the
    view asks for.  A file that cannot be read is skipped, and a note counts and names it.  Raises UserError for a
    folder without images, and for images of different sizes unless the view asks for one size.
    """
    found, part = part_of(folder, view)
    files = [place.file for place in part.places]
    paths, size = [file.path for file in files], view.pixels
    read = read_all(paths, size, progress)
    bad = {p: r for p, r in zip(paths, read, strict=True) if isinstance(r, str)}
    good = [(p, *r) for p, r in zip(paths, read, strict=True) if not isinstance(r, str)]
    notes = [skipped({place.file: why for place in part.places if (why := bad.get(place.file.path))})] if bad else []
    if not good:
        raise UserError(f"{folder}: none of its {len(paths)} images can be read; the first: {notes[0]}")
    one_size(good, folder)
    if any(deep for *_, deep in good):
        notes.append("16-bit images were rounded to 8 bits")
    have = Counter(x.shape[0] for _, x, _ in good)
    channels = view.channels or max(have)
    if len(have) > 1:
        mixed = ", ".join(f"{n} {CHANNELS[c]}" for c, n in sorted(have.items()))
        notes.append(f"images with different channels ({mixed}) were all made {CHANNELS[channels]}")
    x = torch.stack([with_channels(x[None], channels)[0] for _, x, _ in good])
    read_well = replace(part, places=[place for place in part.places if place.file.path not in bad])
    labels, classes = classes_of(read_well, notes)
    notes += [*part.notes, *found.notes, *found.left_out()]
    return Collection(
        x=x, labels=None if labels is None else torch.tensor(labels), classes=classes, name=named_after(folder),
        notes=tuple(notes),
    )  # fmt: skip


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


def read_all(paths: list[Path], size: tuple[int, int] | None, progress: Progress) -> list[Read]:
    """Decode in parallel: Pillow lets other threads run while it does."""
    results: list[Read] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for result in pool.map(lambda path: read_image(path, size), paths):
            results.append(result)
            progress(len(results), len(paths))
    return results


def read_image(path: Path, size: tuple[int, int] | None) -> Read:
    """One image, upright as its EXIF orientation says, in its own channels."""
    try:
        with Image.open(path) as image:
            if size:  # a JPEG decodes straight to a half, a quarter or an eighth, still above the size asked for
                image.draft(None, (size[1] * 2, size[0] * 2))
            pixels, deep = pixels_of(path, image)
    except PermissionError as error:
        return f"cannot be read ({reason(error)})"
    except Exception as error:  # a damaged file can raise anything: struct.error, RuntimeError, ...
        return str(error).replace(str(path), path.name) or type(error).__name__
    if pixels.dtype != np.uint8:
        pixels = np.round(pixels / 257).astype(np.uint8)
    x = torch.from_numpy(pixels.transpose(2, 0, 1).copy())
    return (fitted(x[None], size)[0] if size else x), deep


def one_size(good: list[tuple[Path, Tensor, bool]], folder: Path) -> None:
    """UserError unless all images have the same height and width."""
    sizes = Counter((x.shape[2], x.shape[1]) for _, x, _ in good)
    if len(sizes) > 1:
        common = ", ".join(f"{n} of {w} x {h}" for (w, h), n in sizes.most_common(3))
        example = next(p.name for p, x, _ in good if (x.shape[2], x.shape[1]) != sizes.most_common(1)[0][0])
        raise UserError(
            f"{folder} holds images of {len(sizes)} sizes ({common}; {example} differs from most): "
            "ask for one size, for example size=64 or size=48x64 (height x width)"
        )


def skipped(bad: dict[File, str]) -> str:
    named = "; ".join(f"{file}: {why}" for file, why in list(bad.items())[:5])
    more = f"; and {len(bad) - 5} more" if len(bad) > 5 else ""
    return f"{len(bad)} file{'s' if len(bad) > 1 else ''} skipped ({named}{more})"
