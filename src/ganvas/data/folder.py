"""Images from a folder; its sub-folders, if it has any, are the classes."""

import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import UserError
from .collection import CHANNELS, Collection, fitted, with_channels
from .depth import pixels_of
from .files import only_train

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".avif"}
Progress = Callable[[int, int], None]
Read = tuple[Tensor, bool] | str
"""an image c x h x w with whether it had 16 bits, or why it could not be read"""


def from_folder(
    folder: Path,
    split: str,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    progress: Progress = lambda done, total: None,
) -> Collection:
    """Every image below `folder`, in the order of their paths.

    Sub-folders `train` and `test` are splits.  If all images lie in sub-folders, the first level of these is the
    class.  Grey, colour and alpha are kept: the collection has the fewest channels that hold every image, or
    `channels`.  A file that cannot be read is skipped, and a note counts and names it.  Raises UserError for a
    folder without images, and for images of different sizes unless a `size` = (height, width) is asked for.
    """
    if (folder / split).is_dir() and (folder / "train").is_dir():
        folder = folder / split
    else:
        only_train(folder, split)
    paths = images_below(folder)
    if not paths:
        raise UserError(f"{folder} holds no images ({', '.join(sorted(s[1:] for s in SUFFIXES))})")
    read = read_all(paths, size, progress)
    bad = {p: r for p, r in zip(paths, read, strict=True) if isinstance(r, str)}
    good = [(p, *r) for p, r in zip(paths, read, strict=True) if not isinstance(r, str)]
    notes = [skipped(bad, folder)] if bad else []
    if not good:
        raise UserError(f"{folder}: none of its {len(paths)} images can be read; the first: {notes[0]}")
    one_size(good, folder)
    if any(deep for *_, deep in good):
        notes.append("16-bit images were rounded to 8 bits")
    have = Counter(x.shape[0] for _, x, _ in good)
    channels = channels or max(have)
    if len(have) > 1:
        mixed = ", ".join(f"{n} {CHANNELS[c]}" for c, n in sorted(have.items()))
        notes.append(f"images with different channels ({mixed}) were all made {CHANNELS[channels]}")
    x = torch.stack([with_channels(x[None], channels)[0] for _, x, _ in good])
    labels, classes = classes_of([p for p, *_ in good], folder, notes)
    return Collection(x=x, labels=labels, classes=classes, name=folder.resolve().name, notes=tuple(notes))


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
            "ask for one size, for example --size 64 or --size 48x64 (height x width)"
        )


def classes_of(paths: list[Path], folder: Path, notes: list[str]) -> tuple[Tensor | None, tuple[str, ...]]:
    """Labels from the first level of sub-folders, when every image lies in one."""
    parts = [p.relative_to(folder).parts for p in paths]
    loose = sum(len(p) == 1 for p in parts)
    if loose == len(parts):
        return None, ()
    if loose:
        notes.append(f"no labels: {loose} images lie beside the class folders")
        return None, ()
    classes = tuple(sorted({p[0] for p in parts}))
    return torch.tensor([classes.index(p[0]) for p in parts]), classes


def skipped(bad: dict[Path, str], folder: Path) -> str:
    named = "; ".join(f"{p.relative_to(folder)}: {why}" for p, why in list(bad.items())[:5])
    more = f"; and {len(bad) - 5} more" if len(bad) > 5 else ""
    return f"{len(bad)} file{'s' if len(bad) > 1 else ''} skipped ({named}{more})"


def images_below(folder: Path) -> list[Path]:
    """Image files, sorted; not hidden ones, and not those in the folder of a run, whose previews are no data."""
    runs = {p.parent for p in folder.rglob("config.json") if (p.parent / "log.jsonl").exists()} - {folder}
    found = (p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and not runs.intersection(p.parents))
    return sorted(p for p in found if not any(part.startswith(".") for part in p.relative_to(folder).parts))
