"""The files below a folder or in a zip: which are images, what is left out, and what a reader should know of that."""

import json
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile, ZipInfo

from ..errors import UserError

SUFFIXES = {
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".j2k", ".j2c", ".jpx", ".webp", ".avif", ".gif",
    ".bmp", ".dib", ".tga", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm",
}  # fmt: skip
SIGNATURES = (
    rb"\x89PNG\r\n\x1a\n", rb"\xff\xd8\xff", rb"GIF8[79]a", rb"RIFF....WEBP", rb"II\*\x00", rb"MM\x00\*",
    rb"BM....\x00\x00", rb"\x00\x00\x00\x0cjP  \r\n\x87\n", rb"....ftypavi[fs]", rb"P[1-6]\s",
)  # fmt: skip
"""what files of these formats begin with; a TGA has nothing of the kind"""
CONVERT = {".heic", ".heif"}
RECORD = ".ganvas.json"
"""in a folder of translations: which weights made them, to which domain, and which files they are"""
SHEET = re.compile(r"-contact-sheet(-\d+)?\.png$")
"""how names of the contact sheets end that `ganvas data` draws"""
CLUTTER = {"__macosx", "@eadir", "thumbs.db", "desktop.ini"}
"""files and folders that systems add to others, in lower case"""
ZIP = ".zip"
ARCHIVES = {".tar", ".tgz", ".tbz2", ".txz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar"}
"""archives that must be unpacked first"""
LARGEST = 2**27
"""bytes of a file in a zip, at most: it is read into memory"""
NAMED = 5
"""names in a note, at most"""


class Packed(BytesIO):
    """The bytes of a file in a zip, under its name."""

    def __init__(self, name: str, content: bytes) -> None:
        super().__init__(content)
        self.name = name


@dataclass(frozen=True)
class File:
    """A file below a folder or in a zip."""

    parts: tuple[str, ...]
    """its folders and its name, below the source"""
    path: Path
    """where it lies, or the zip that it is in"""
    archive: ZipFile | None = None
    member: ZipInfo | None = None

    @property
    def name(self) -> str:
        return self.parts[-1]

    @property
    def suffix(self) -> str:
        return Path(self.name).suffix.lower()

    def __str__(self) -> str:
        return "/".join(self.parts)

    def content(self) -> Path | Packed:
        """What Pillow opens: the path, or the bytes of a file in a zip.  Raises ValueError where they are too many."""
        if self.archive is None or self.member is None:
            return self.path
        if self.member.file_size > LARGEST:
            raise ValueError(f"it says that it has {self.member.file_size:,} bytes: unzip it first")
        with self.archive.open(self.member) as file:
            content = file.read(LARGEST + 1)
        return Packed(self.name, content)

    def read(self, most: int) -> bytes:
        """Its first bytes."""
        if self.archive is None or self.member is None:
            with self.path.open("rb") as file:
                return file.read(most)
        with self.archive.open(self.member) as packed:
            return packed.read(most)

    def digest(self) -> bytes | None:
        """BLAKE2b of its bytes, which are all that it depends on; None where they cannot be read."""
        found = blake2b(digest_size=8)
        try:
            content = self.content()
            with content.open("rb") if isinstance(content, Path) else content as file:
                while part := file.read(2**20):
                    found.update(part)
        except (OSError, ValueError, RuntimeError, NotImplementedError, EOFError, BadZipFile):
            return None
        return found.digest()


@dataclass
class Listing:
    """What was found."""

    root: Path
    images: list[File] = field(default_factory=list)
    others: list[File] = field(default_factory=list)
    """files that are no images"""
    notes: list[str] = field(default_factory=list)

    def left_out(self, read: Sequence[File] = ()) -> list[str]:
        """A note of the files that are no images, by suffix, but for those that were read all the same."""
        rest = [file for file in self.others if file not in read]
        if not rest:
            return []
        kinds = Counter(file.suffix or "without suffix" for file in rest)
        said = f"{counted(len(rest), 'file')} left out: {', '.join(f'{n} {kind}' for kind, n in kinds.most_common())}"
        if CONVERT & kinds.keys():
            said += "; convert HEIC to JPEG or PNG first, for example with heif-convert or ImageMagick"
        return [said]


def listed(source: Path, without: Path | None = None) -> Listing:
    """The files of a folder or a zip, sorted by their paths, or a single file.

    Those below the folder `without` are not looked at.  Links to folders are followed, but each folder is read once.
    Hidden files are left alone, and so are runs and translations by Ganvas, unless `source` is one.  Raises UserError
    where the source cannot be read.
    """
    walk = Walk(source, without)
    if source.is_dir():
        walk.folders()
    elif source.suffix.lower() == ZIP:
        walk.archive()
    else:
        walk.found.append(File((source.name,), source))
    return sorted_out(source, sorted(walk.found, key=lambda file: file.parts), walk.notes())


class Walk:
    """All regular files of a folder or a zip, and what else is there."""

    def __init__(self, root: Path, without: Path | None) -> None:
        self.root = root
        self.found: list[File] = []
        self.odd: dict[str, list[str]] = {}
        """names of what is left out, by what it is"""
        self.without = None if without is None else identity(without)
        self.links: list[tuple[Path, tuple[str, ...]]] = []
        self.above = {identity(folder) for folder in self.root.resolve().parents}
        self.seen: set[tuple[int, int]] = set()

    def notes(self) -> list[str]:
        return [f"left out, {what}: {some(sorted(names))}" for what, names in sorted(self.odd.items())]

    def leave(self, what: str, parts: tuple[str, ...]) -> None:
        self.odd.setdefault(what, []).append("/".join(parts))

    def folders(self) -> None:
        """Walk through folders, then links to folders: one that is there by both is read under its own name."""
        waiting: list[tuple[Path, tuple[str, ...]]] = [(self.root, ())]
        while waiting or self.links:
            if not waiting:
                self.links.sort(key=lambda link: (len(link[1]), link[1]), reverse=True)  # the highest comes first
            folder, parts = waiting.pop() if waiting else self.links.pop()
            if (key := identity(folder)) is not None:
                if key in self.above:
                    self.leave("links to a folder that holds them", parts)
                elif key in self.seen:
                    self.leave("links to a folder that is read already", parts)
                if key in self.above or key in self.seen or key == self.without:
                    continue
                self.seen.add(key)
            try:
                with os.scandir(folder) as entries:
                    inside = list(entries)
            except OSError as error:
                if not parts:
                    raise UserError(f"{self.root} cannot be read ({reason(error)})") from error
                self.leave(f"folders that cannot be read ({reason(error)})", parts)
                continue
            waiting += [below for entry in inside if (below := self.entry(folder, parts, entry))]

    def entry(
        self, folder: Path, parts: tuple[str, ...], entry: "os.DirEntry[str]"
    ) -> tuple[Path, tuple[str, ...]] | None:
        """Put down what a name in a folder is; returns a folder that is none by a link."""
        below, path = (*parts, entry.name), folder / entry.name
        if ignored(entry.name):
            return None
        try:
            mode = entry.stat().st_mode
        except OSError as error:
            broken = entry.is_symlink()
            self.leave("links that lead nowhere" if broken else f"files that cannot be read ({reason(error)})", below)
            return None
        if stat.S_ISDIR(mode):
            if not entry.is_symlink():
                return path, below
            self.links.append((path, below))
        elif stat.S_ISREG(mode):
            self.found.append(File(below, path))
        else:
            self.leave("pipes, sockets or devices", below)
        return None

    def archive(self) -> None:
        """Put down what a zip holds; UserError where it is damaged."""
        try:
            archive = ZipFile(self.root)
        except (BadZipFile, ValueError, NotImplementedError, EOFError) as error:
            raise UserError(f"{self.root} is damaged or no zip: {error}") from error
        except OSError as error:
            raise UserError(f"{self.root} cannot be read ({reason(error)})") from error
        for member in archive.infolist():
            parts = tuple(part for part in member.filename.replace("\\", "/").split("/") if part)
            if member.is_dir() or not parts or any(map(ignored, parts)):
                continue
            if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
                self.leave("links and the like in a zip", parts)
            else:
                self.found.append(File(parts, self.root, archive, member))


def sorted_out(root: Path, files: Sequence[File], notes: list[str]) -> Listing:
    """The files, by what they are: images, others, and those that Ganvas itself has written."""
    there = {file.parts for file in files}
    runs = {p[:-1] for p in there if p[-1] == "config.json" and (*p[:-1], "log.jsonl") in there and len(p) > 1}
    records = {file.parts[:-1]: made_in(file) for file in files if file.name == RECORD}
    painted = {folder for folder, made in records.items() if made is None and folder}
    single = {(*folder, *name) for folder, made in records.items() for name in made or ()}

    def within(file: File, folders: set[tuple[str, ...]]) -> tuple[str, ...] | None:
        return next((file.parts[:i] for i in range(len(file.parts)) if file.parts[:i] in folders), None)

    listing = Listing(root, notes=notes)
    left: dict[str, Counter[str]] = {"runs": Counter(), "translations": Counter()}
    sheets, mine = 0, list[File]()
    for file in (file for file in files if file.name != RECORD):
        if (run := within(file, runs)) is not None:
            left["runs"]["/".join(run)] += 1
        elif (out := within(file, painted)) is not None:
            left["translations"]["/".join(out)] += 1
        elif not is_image(file):
            listing.others.append(file)
        elif SHEET.search(file.name):
            sheets += 1
        elif file.parts in single:
            mine.append(file)
        else:
            listing.images.append(file)
    if mine and not listing.images:  # translations are what was asked for
        listing.images, mine = mine, []
    for file in mine:
        left["translations"]["/".join(next(f for f in parents(file) if f in records)) or "."] += 1
    for what, folders in left.items():
        if folders:
            listing.notes.append(f"{what} by ganvas are no data: left out {some(folders)}")
    if sheets:
        listing.notes.append(f"{counted(sheets, 'contact sheet')} by ganvas left out")
    return listing


def holds_images(path: Path) -> bool:
    """Whether a source is a folder, a zip, or a single image."""
    mode = mode_of(path)
    if mode is None or not stat.S_ISREG(mode):
        return mode is not None and stat.S_ISDIR(mode)
    return path.suffix.lower() == ZIP or is_image(File((path.name,), path))


def parents(file: File) -> list[tuple[str, ...]]:
    """The folders that a file is in, the nearest first."""
    return [file.parts[:i] for i in reversed(range(len(file.parts)))]


def made_in(record: File) -> set[tuple[str, ...]] | None:
    """The files that a record of translations names; None, all in its folder, where it names none."""
    try:
        said: Any = json.loads(record.read(LARGEST))
        return {tuple(name.split("/")) for name in said["files"]}
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def is_image(file: File) -> bool:
    """Whether a file is an image by its suffix; one without any by how it begins."""
    if file.suffix:
        return file.suffix in SUFFIXES
    try:
        begins = file.read(16)
    except (OSError, ValueError, RuntimeError, NotImplementedError, EOFError):
        return False
    return any(re.match(signature, begins, re.DOTALL) for signature in SIGNATURES)


def ignored(name: str) -> bool:
    """Whether a file or folder is hidden, or one that systems add to others."""
    return (name.startswith(".") and name != RECORD) or name.lower() in CLUTTER


def identity(folder: Path) -> tuple[int, int] | None:
    """What tells folders apart whatever the path to them; None where it cannot be had."""
    try:
        found = folder.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if found.st_ino else None


def mode_of(path: Path) -> int | None:
    """What a path leads to, as `stat` says; None where it leads nowhere.  Raises UserError where that is hidden."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({reason(error)})") from error
    except ValueError:  # a NUL in it
        return None


def reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def some(names: Iterable[str]) -> str:
    """The first of the names, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - NAMED} more" if len(listed) > NAMED else ""
    return ", ".join(listed[:NAMED]) + more


def counted(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
