"""Files and folders through a translator: every image under its own name, what is done already left alone."""

import json
import os
import stat
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..data import DOMAINS
from ..data.folder import readable
from ..data.images import Page, decoded, of_warnings, unbounded, unread
from ..data.levels import Bounds, bounds_in, covers
from ..data.listing import ARCHIVES, RECORD, SUFFIXES, ZIP, File, Listing, is_image, listed, mode_of
from ..errors import UserError
from ..io.atomic import written
from ..metrics.features.base import digest
from ..model import name_of
from .trained import Trained, at_once

AHEAD = 64
"""images that are read before the first of them is translated, so that those of one size go together"""
QUALITY = 95
"""of JPEG and WebP"""
Progress = Callable[[int, int], None]


@dataclass
class Summary:
    """What became of the images."""

    out: Path
    translated: int = 0
    there: int = 0
    """already in `out`, and left as they were"""
    skipped: dict[str, str] = field(default_factory=dict)
    """why, by name"""
    others: int = 0
    """files that are no images"""
    rounded: int = 0
    """images with more bits than 8, which their translations have"""
    animated: int = 0
    """files with several images, of which the first was translated"""
    notes: list[str] = field(default_factory=list)
    """what else is there that was not translated, in words"""
    resized: int = 0
    """images of another size than those that the model has learnt from"""
    learnt: str = ""
    """that size"""

    def plain(self) -> dict[str, Any]:
        return self.__dict__ | {"out": str(self.out)}

    def lines(self) -> list[str]:
        """For people."""
        said = [f"{self.translated} translated, in {self.out}"]
        if self.there:
            said.append(f"{self.there} were there already: --force makes them again")
        said += [f"skipped {name}: {why}" for name, why in self.skipped.items()]
        said += self.notes
        if self.rounded:
            now = "has" if self.rounded == 1 else "have"
            keep = "PNGs keep 16, and grey TIFFs all, where the model writes grey"
            said.append(f"{self.rounded} had more than 8 bits, and now {now} 8: {keep}")
        if self.resized:
            said.append(of_another_size(self.resized, self.learnt))
        if self.animated:
            are, which = ("is", "its first image") if self.animated == 1 else ("are", "the first image of each")
            have = "has" if self.animated == 1 else "have"
            said.append(f"{self.animated} {are} animated or {have} several pages: {which} was translated")
        return said


def of_another_size(n: int, learnt: str) -> str:
    """What is said of images that the model has not learnt the scale of."""
    return (
        f"{n} {'has' if n == 1 else 'have'} another size than the {learnt} pixels that the model was trained on, and "
        "what it does depends on the scale: resize them first where translations look wrong"
    )


def pixels_of(shape: Sequence[int]) -> str:
    """Width and height of images c x h x w."""
    return f"{shape[2]} x {shape[1]}"


@dataclass(frozen=True)
class Picture:
    """An image as it was read: c x h x w floats in [0, 1] with 1, 3 or 4 channels."""

    path: Path
    x: Tensor
    kind: np.dtype
    """of the numbers in the file"""
    lost: bool = False
    """whether its file has 16 bits, but eight were read"""
    moves: bool = False
    """whether it is the first of several in its file"""
    form: str = "PNG"
    """Pillow's name of its file's format"""


def translate_files(
    trained: Trained,
    source: Path,
    out: Path,
    to: str = "B",
    *,
    force: bool = False,
    progress: Progress = lambda done, total: None,
) -> Summary:
    """Translate an image to the file `out`, or every image below a folder to its own relative path below `out`.

    Images keep their size (unless the domains' sizes differ), format, alpha and, as PNG or where the translation is a
    grey TIFF, 16 bits; EXIF orientation is applied, and of an animation the first image is taken.  What exists in `out`
    is left alone unless `force`: a call that was stopped goes on where it was.  What cannot be read is skipped.  Raises
    UserError for a source without images, and for a folder that holds translations by other weights or to the other
    domain.
    """
    home, _ = trained.towards(to)  # refuses before anything is read
    if len(home) != 3:
        raise UserError(
            f"this {name_of(trained.model)} translates vectors of {home[0]} numbers, and {source} holds no such: give "
            "vectors n x d, a .npy or .npz file"
        )
    with unbounded() as said:
        summary = translate_all(trained, source, out, to, force, progress)
    summary.notes += of_warnings(said)
    return summary


def translate_all(trained: Trained, source: Path, out: Path, to: str, force: bool, progress: Progress) -> Summary:
    """The same, while Pillow's own limits and warnings are put off."""
    away = DOMAINS.index(to)
    before, after = (bounds_in(trained.about, domain) for domain in (1 - away, away))
    pairs, found = planned(source, out)
    learnt = pixels_of(trained.towards(to)[0])
    summary = Summary(out, others=len(found.others), learnt=learnt, notes=found.notes + found.left_out())
    record = record_of(trained, to) if source.is_dir() else None
    earlier = check_record(out, record, force) if record else None
    todo = [(path, target) for path, target in pairs if force or not target.exists()]
    summary.there = len(pairs) - len(todo)
    done = summary.there
    folder, unwritten = out, record and with_files(record, earlier, [target.relative_to(out) for _, target in todo])
    if (
        not record and todo and (folder := todo[0][1].parent).resolve() == source.parent.resolve()
    ):  # beside its original
        known = recorded_in(folder)
        unwritten = with_files(known, known, [Path(todo[0][1].name)])
    for group in read_ahead(todo, before):
        progress(done, len(pairs))
        for pictures in alike([picture for _, picture in group if isinstance(picture, Picture)], trained):
            made = trained.pixels(torch.stack([p.x for p in pictures]), to)
            if unwritten:
                write_record(folder, unwritten)
                unwritten = None
            for picture, x in zip(pictures, made, strict=True):
                target = next(target for (path, target), read in group if read is picture)
                summary.rounded += write(target, x, picture, after) or picture.lost
                summary.animated += picture.moves
                summary.resized += pixels_of(picture.x.shape) != summary.learnt
                summary.translated += 1
        for (path, _), read in group:
            if isinstance(read, str):
                summary.skipped[name_below(path, source)] = read
        done += len(group)
    progress(done, len(pairs))
    if pairs and not summary.translated + summary.there:
        first = next(iter(summary.skipped.items()))
        raise UserError(f"{source}: none of its {len(pairs)} images can be read; the first, {first[0]}: {first[1]}")
    return summary


def record_of(trained: Trained, to: str) -> dict[str, Any]:
    """What `RECORD` says of translations: a digest of the weights, the domain, and for people run and step."""
    weights = digest({name: tensor.cpu() for name, tensor in trained.nets.state_dict().items()})
    run = name_of(trained.model) if trained.folder is None else trained.folder.resolve().name
    return {"weights": weights, "to": to, "run": run, "step": trained.about.get("step")}


def recorded_in(out: Path) -> dict[str, Any]:
    """What `out` says of translations in it; that there are none, where it says nothing that can be read."""
    try:
        found: Any = json.loads((out / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {"files": []}


def check_record(out: Path, record: dict[str, Any], force: bool) -> dict[str, Any]:
    """What `out` says of translations in it; UserError where it holds others, unless they are to be made anew."""
    found = recorded_in(out)
    try:
        same = all(found[key] == record[key] for key in ("weights", "to"))
        holds = f"to {found['to']} of {found['run']}" + ("" if found["step"] is None else f" step {found['step']}")
    except (KeyError, TypeError):  # names alone, of single images that were translated beside their originals
        return {"files": found.get("files", [])}
    if not same and not force:
        raise UserError(f"{out} holds translations {holds}: give another folder, or `force` to make them anew")
    return found


def with_files(record: dict[str, Any], earlier: dict[str, Any] | None, made: list[Path]) -> dict[str, Any]:
    """The record with the names of the translations, so that nobody takes them for data, nor data for them.

    One that was written before names were, stands for all files in its folder.
    """
    known = (earlier or {}).get("files")
    if not isinstance(known, list):
        return record
    names = {name for name in known if isinstance(name, str)}
    return record | {"files": sorted({*names, *(path.as_posix() for path in made)})}


def write_record(out: Path, record: dict[str, Any]) -> None:
    """Say in `out` what its translations are."""
    with written(out / RECORD) as temporary:
        temporary.write_text(json.dumps(record) + "\n", encoding="utf-8")


def planned(source: Path, out: Path) -> tuple[list[tuple[Path, Path]], Listing]:
    """Each image with the file that its translation goes to, and what else there is."""
    mode = mode_of(source)
    if mode is None:
        raise UserError(f"{source} does not exist: give an image or a folder of images")
    if stat.S_ISDIR(mode):
        return planned_tree(source, out)
    if not stat.S_ISREG(mode) or not is_image(File((source.name,), source)):
        unpack = ", or unpack the archive first" if source.suffix.lower() in {ZIP, *ARCHIVES} else ""
        raise UserError(f"{source} is no image: {readable()}{unpack}")
    target = out / source.name if out.is_dir() else out
    if target.suffix.lower() not in SUFFIXES and (target.suffix or source.suffix):
        raise UserError(f"cannot write {target}: end its name as an image's, in {source.suffix or '.png'} for example")
    if target.resolve() == source.resolve():
        raise UserError(f"{target} is the source itself: give another place for the translation")
    return [(source, target)], Listing(source)


def planned_tree(source: Path, out: Path) -> tuple[list[tuple[Path, Path]], Listing]:
    """Those of a folder; what lies in `out` is no source, should that be within the folder."""
    if out.resolve() == source.resolve():
        raise UserError(f"{out} is the source itself: give another folder for the translations")
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file: give a folder for the translations of {source}")
    found = listed(source, out)
    if not found.images:
        raise UserError(f"{source} holds no images ({readable()})")
    return [(file.path, out.joinpath(*file.parts)) for file in found.images], found


def read_ahead(
    todo: list[tuple[Path, Path]], bounds: Bounds | None
) -> Iterator[list[tuple[tuple[Path, Path], Picture | str]]]:
    """The images in groups, decoded in parallel, one group ahead of what is asked for."""
    parts = [todo[i : i + AHEAD] for i in range(0, len(todo), AHEAD)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        waiting = [pool.map(partial(read, bounds=bounds), [path for path, _ in part]) for part in parts[:1]]
        for i, part in enumerate(parts):
            if i + 1 < len(parts):
                waiting.append(pool.map(partial(read, bounds=bounds), [path for path, _ in parts[i + 1]]))
            yield list(zip(part, waiting.pop(0), strict=True))


def read(path: Path, bounds: Bounds | None = None) -> Picture | str:
    """An image, upright as its EXIF orientation says, or why it cannot be read; black and white as `bounds` say."""
    file = File((path.name,), path)
    try:
        pixels, pages, form = decoded(Page(file))
        values, kind = pixels.values, pixels.values.dtype
        if bounds is None and pixels.white is None:
            return f"{pixels.kind} have no black and white of their own, and the model was trained without `range`"
        white = float(pixels.white or 1)
        low, high = bounds if bounds and covers(kind, bounds) else (0.0, white)
        x = torch.from_numpy(values.transpose(2, 0, 1).astype(np.float32))
        if not x.isfinite().all():
            return "holds NaN or infinity: replace these"
        x[:3] = ((x[:3] - low) / (high - low)).clamp(0, 1)
        x[3:] /= white
        return Picture(path, x, kind, pixels.lost, pages > 1, form)
    except Exception as error:  # a damaged file can raise anything: struct.error, RuntimeError, ...
        return unread(error, file)


def alike(pictures: list[Picture], trained: Trained) -> Iterator[list[Picture]]:
    """The pictures in batches of one shape each, small enough for the networks."""
    groups: dict[tuple[int, ...], list[Picture]] = {}
    for picture in pictures:
        groups.setdefault(tuple(picture.x.shape), []).append(picture)
    for shape, group in groups.items():
        size = at_once(shape)
        for i in range(0, len(group), size):
            yield group[i : i + size]


def write(target: Path, x: Tensor, picture: Picture, bounds: Bounds | None = None) -> bool:
    """Write the translation of a picture, atomically; returns whether it has fewer bits than that.

    Its format is the one that its name says, or else the picture's.  Numbers are those of the picture's kind where the
    format can hold them, black and white as `bounds` say.
    """
    form = Image.registered_extensions().get(target.suffix.lower(), "JPEG" if picture.form == "MPO" else picture.form)
    array = numbers_of(x, picture.kind, bounds, form)
    keep = array.dtype != np.uint8
    if keep and len(x) > 1:
        with written(target) as temporary:
            temporary.write_bytes(png_of(array))
        return False
    drawn = Image.fromarray(array[:, :, 0] if len(x) == 1 else array)
    if form == "JPEG" and drawn.mode == "RGBA":
        white = Image.new("RGB", drawn.size, "white")
        white.paste(drawn, mask=drawn.getchannel("A"))
        drawn = white
    with written(target) as temporary:
        drawn.save(temporary, form, **({"quality": QUALITY} if form in ("JPEG", "WEBP") else {}))
    return picture.kind != np.uint8 and not keep


def numbers_of(x: Tensor, kind: np.dtype, bounds: Bounds | None, form: str) -> np.ndarray:
    """A translation with pixels in [0, 1] as h x w x c numbers: of this kind where the format holds them, else bytes.

    16 bits go into PNGs, and with one channel into TIFFs and PNMs; other kinds into TIFFs with one channel, if `bounds`
    say what is black and white.
    """
    low, high = bounds or (0.0, 65535.0)
    words = kind == np.uint16 and low >= 0 and high <= 65535
    grey = len(x) == 1
    holds = (words and (form == "PNG" or (grey and form in ("TIFF", "PPM")))) or (grey and bounds and form == "TIFF")
    if kind == np.uint8 or not holds:
        return (x * 255).round().clamp(0, 255).movedim(0, -1).cpu().numpy().astype(np.uint8)
    x = x.double().clamp(0, 1)
    x = torch.cat([x[:3] * (high - low) + low, x[3:] * 65535])
    number = kind if words else np.dtype(np.float32) if kind.kind == "f" else np.dtype(np.int32)
    return (x if number.kind == "f" else x.round()).movedim(0, -1).cpu().numpy().astype(number)


def png_of(array: np.ndarray) -> bytes:
    """A PNG with 16 bits of each colour of h x w x 3 or 4 numbers, which Pillow cannot write.

    PNG specification (ISO/IEC 15948), sections 5 and 11.2: rows of big-endian numbers, each after filter type 0.
    """
    h, w, c = array.shape

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    rows = b"".join(b"\0" + row.tobytes() for row in array.astype(">u2"))
    header = struct.pack(">IIBBBBB", w, h, 16, {3: 2, 4: 6}[c], 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def name_below(path: Path, source: Path) -> str:
    return str(path.relative_to(source)) if source.is_dir() else path.name
