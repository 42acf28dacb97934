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
from ..io.run_folder import CONFIG_FILE, LOG_FILE

IMAGE_SUFFIXES = {
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".j2k", ".j2c", ".jpx", ".webp", ".avif", ".gif",
    ".bmp", ".dib", ".tga", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm",
}  # fmt: skip
SIGNATURES = (
    rb"\x89PNG\r\n\x1a\n", rb"\xff\xd8\xff", rb"GIF8[79]a", rb"RIFF....WEBP", rb"II\*\x00", rb"MM\x00\*",
    rb"BM....\x00\x00", rb"\x00\x00\x00\x0cjP  \r\n\x87\n", rb"....ftypavi[fs]", rb"P[1-6]\s",
)  # fmt: skip
"""what files of these formats begin with; a TGA has nothing of the kind"""
HEIC_SUFFIXES = {".heic", ".heif"}
RECORD_FILE = ".ganvas.json"
"""in a folder of translations: which weights made them, to which domain, and which files they are"""
SHEET_PATTERN = re.compile(r"-contact-sheet(-\d+)?\.png$")
"""how names of the contact sheets end that `ganvas data` draws"""
SYSTEM_FILES = {"__macosx", "@eadir", "thumbs.db", "desktop.ini"}
"""files and folders that systems add to others, in lower case"""
ZIP = ".zip"
ARCHIVES = {".tar", ".tgz", ".tbz2", ".txz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar"}
"""archives that must be unpacked first"""
MAX_FILE_BYTES = 2**27
"""bytes of a file in a zip, at most: it is read into memory"""
MAX_NAMES = 5
"""names in a note, at most"""


class ZipBytes(BytesIO):
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

    def content(self) -> Path | ZipBytes:
        """What Pillow opens: the path, or the bytes of a file in a zip.  Raises ValueError where they are too many."""
        if self.archive is None or self.member is None:
            return self.path
        if self.member.file_size > MAX_FILE_BYTES:
            raise ValueError(f"it says that it has {self.member.file_size:,} bytes: unzip it first")
        with self.archive.open(self.member) as file:
            content = file.read(MAX_FILE_BYTES + 1)
        return ZipBytes(self.name, content)

    def read(self, max_bytes: int) -> bytes:
        """Its first bytes."""
        if self.archive is None or self.member is None:
            with self.path.open("rb") as file:
                return file.read(max_bytes)
        with self.archive.open(self.member) as stream:
            return stream.read(max_bytes)

    def digest(self) -> bytes | None:
        """BLAKE2b of its bytes, which are all that it depends on; None where they cannot be read."""
        hasher = blake2b(digest_size=8)
        try:
            content = self.content()
            with content.open("rb") if isinstance(content, Path) else content as file:
                while part := file.read(2**20):
                    hasher.update(part)
        except (OSError, ValueError, RuntimeError, NotImplementedError, EOFError, BadZipFile):
            return None
        return hasher.digest()


@dataclass
class Listing:
    """The files of a source, by what they are."""

    root: Path
    images: list[File] = field(default_factory=list)
    others: list[File] = field(default_factory=list)
    """files that are no images"""
    notes: list[str] = field(default_factory=list)

    def excluded_notes(self, files_read: Sequence[File] = ()) -> list[str]:
        """A note of the files that are no images, by suffix, but for those that were read all the same."""
        rest = [file for file in self.others if file not in files_read]
        if not rest:
            return []
        kinds = Counter(file.suffix or "without suffix" for file in rest)
        note = f"{pluralize(len(rest), 'file')} left out: {', '.join(f'{n} {kind}' for kind, n in kinds.most_common())}"
        if HEIC_SUFFIXES & kinds.keys():
            note += "; convert HEIC to JPEG or PNG first, for example with heif-convert or ImageMagick"
        return [note]


def list_files(source: Path, exclude: Path | None = None) -> Listing:
    """The files of a folder or a zip, sorted by their paths, or a single file.

    Those below the folder `exclude` are not looked at.  Links to folders are followed, but each folder is read once.
    Hidden files are left alone, and so are runs and translations by Ganvas, unless `source` is one.  Raises UserError
    where the source cannot be read.
    """
    walk = FileWalker(source, exclude)
    if source.is_dir():
        walk.walk_folders()
    elif source.suffix.lower() == ZIP:
        walk.read_archive()
    else:
        walk.files.append(File((source.name,), source))
    return classify_files(source, sorted(walk.files, key=lambda file: file.parts), walk.notes())


class FileWalker:
    """All regular files of a folder or a zip, and what else is there."""

    def __init__(self, root: Path, exclude: Path | None) -> None:
        self.root = root
        self.files: list[File] = []
        self.excluded: dict[str, list[str]] = {}
        """names of what is left out, by what it is"""
        self.excluded_id = None if exclude is None else folder_id(exclude)
        self.links: list[tuple[Path, tuple[str, ...]]] = []
        self.ancestors = {folder_id(folder) for folder in self.root.resolve().parents}
        self.visited: set[tuple[int, int]] = set()

    def notes(self) -> list[str]:
        return [f"left out, {what}: {join_names(sorted(names))}" for what, names in sorted(self.excluded.items())]

    def exclude(self, what: str, parts: tuple[str, ...]) -> None:
        self.excluded.setdefault(what, []).append("/".join(parts))

    def walk_folders(self) -> None:
        """Walk through folders, then links to folders: one that is there by both is read under its own name."""
        queue: list[tuple[Path, tuple[str, ...]]] = [(self.root, ())]
        while queue or self.links:
            if not queue:
                self.links.sort(key=lambda link: (len(link[1]), link[1]), reverse=True)  # the highest comes first
            folder, parts = queue.pop() if queue else self.links.pop()
            if (key := folder_id(folder)) is not None:
                if key in self.ancestors:
                    self.exclude("links to a folder that holds them", parts)
                elif key in self.visited:
                    self.exclude("links to a folder that is read already", parts)
                if key in self.ancestors or key in self.visited or key == self.excluded_id:
                    continue
                self.visited.add(key)
            try:
                with os.scandir(folder) as entries:
                    children = list(entries)
            except OSError as error:
                if not parts:
                    raise UserError(f"{self.root} cannot be read ({error_reason(error)})") from error
                self.exclude(f"folders that cannot be read ({error_reason(error)})", parts)
                continue
            queue += [below for entry in children if (below := self.add_entry(folder, parts, entry))]

    def add_entry(
        self, folder: Path, parts: tuple[str, ...], entry: "os.DirEntry[str]"
    ) -> tuple[Path, tuple[str, ...]] | None:
        """Put down what a name in a folder is; returns a folder that is none by a link."""
        below, path = (*parts, entry.name), folder / entry.name
        if is_ignored(entry.name):
            return None
        try:
            mode = entry.stat().st_mode
        except OSError as error:
            unreadable = f"files that cannot be read ({error_reason(error)})"
            self.exclude("links that lead nowhere" if entry.is_symlink() else unreadable, below)
            return None
        if stat.S_ISDIR(mode):
            if not entry.is_symlink():
                return path, below
            self.links.append((path, below))
        elif stat.S_ISREG(mode):
            self.files.append(File(below, path))
        else:
            self.exclude("pipes, sockets or devices", below)
        return None

    def read_archive(self) -> None:
        """Put down what a zip holds; UserError where it is damaged."""
        try:
            archive = ZipFile(self.root)
        except (BadZipFile, ValueError, NotImplementedError, EOFError) as error:
            raise UserError(f"{self.root} is damaged or no zip: {error}") from error
        except OSError as error:
            raise UserError(f"{self.root} cannot be read ({error_reason(error)})") from error
        for member in archive.infolist():
            parts = tuple(part for part in member.filename.replace("\\", "/").split("/") if part)
            if member.is_dir() or not parts or any(map(is_ignored, parts)):
                continue
            if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
                self.exclude("links and the like in a zip", parts)
            else:
                self.files.append(File(parts, self.root, archive, member))


def classify_files(root: Path, files: Sequence[File], notes: list[str]) -> Listing:
    """The files, by what they are: images, others, and those that Ganvas itself has written."""
    paths = {file.parts for file in files}
    runs = {p[:-1] for p in paths if p[-1] == CONFIG_FILE and (*p[:-1], LOG_FILE) in paths and len(p) > 1}
    records = {file.parts[:-1]: recorded_files(file) for file in files if file.name == RECORD_FILE}
    translated_folders = {folder for folder, file_names in records.items() if file_names is None and folder}
    translated_files = {(*folder, *name) for folder, made in records.items() for name in made or ()}

    def within(file: File, folders: set[tuple[str, ...]]) -> tuple[str, ...] | None:
        return next((file.parts[:i] for i in range(len(file.parts)) if file.parts[:i] in folders), None)

    listing = Listing(root, notes=notes)
    excluded: dict[str, Counter[str]] = {"runs": Counter(), "translations": Counter()}
    sheets, translations = 0, list[File]()
    for file in (file for file in files if file.name != RECORD_FILE):
        if (run := within(file, runs)) is not None:
            excluded["runs"]["/".join(run)] += 1
        elif (out := within(file, translated_folders)) is not None:
            excluded["translations"]["/".join(out)] += 1
        elif not is_image(file):
            listing.others.append(file)
        elif SHEET_PATTERN.search(file.name):
            sheets += 1
        elif file.parts in translated_files:
            translations.append(file)
        else:
            listing.images.append(file)
    if translations and not listing.images:  # translations are what was asked for
        listing.images, translations = translations, []
    for file in translations:
        excluded["translations"]["/".join(next(f for f in parent_folders(file) if f in records)) or "."] += 1
    for what, folders in excluded.items():
        if folders:
            listing.notes.append(f"{what} by ganvas are not data: left out {join_names(folders)}")
    if sheets:
        listing.notes.append(f"{pluralize(sheets, 'contact sheet')} by ganvas left out")
    return listing


def holds_images(path: Path) -> bool:
    """Whether a source is a folder, a zip, or a single image."""
    mode = path_mode(path)
    if mode is None or not stat.S_ISREG(mode):
        return mode is not None and stat.S_ISDIR(mode)
    return path.suffix.lower() == ZIP or is_image(File((path.name,), path))


def parent_folders(file: File) -> list[tuple[str, ...]]:
    """The folders that a file is in, the nearest first."""
    return [file.parts[:i] for i in reversed(range(len(file.parts)))]


def recorded_files(record: File) -> set[tuple[str, ...]] | None:
    """The files that a record of translations names; None, all in its folder, where it names none."""
    try:
        content: Any = json.loads(record.read(MAX_FILE_BYTES))
        return {tuple(name.split("/")) for name in content["files"]}
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def is_image(file: File) -> bool:
    """Whether a file is an image by its suffix; one without any by how it begins."""
    if file.suffix:
        return file.suffix in IMAGE_SUFFIXES
    try:
        begins = file.read(16)
    except (OSError, ValueError, RuntimeError, NotImplementedError, EOFError):
        return False
    return any(re.match(signature, begins, re.DOTALL) for signature in SIGNATURES)


def is_ignored(name: str) -> bool:
    """Whether a file or folder is hidden, or one that systems add to others."""
    return (name.startswith(".") and name != RECORD_FILE) or name.lower() in SYSTEM_FILES


def folder_id(folder: Path) -> tuple[int, int] | None:
    """What tells folders apart whatever the path to them; None where it cannot be had."""
    try:
        status = folder.stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if status.st_ino else None


def path_mode(path: Path) -> int | None:
    """What a path leads to, as `stat` says; None where it leads nowhere.  Raises UserError where that is hidden."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error_reason(error)})") from error
    except ValueError:  # a NUL in it
        return None


def error_reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def join_names(names: Iterable[str], most: int = MAX_NAMES) -> str:
    """The first of the names, and how many more there are."""
    all_names = list(names)
    more = f" and {len(all_names) - most} more" if len(all_names) > most else ""
    return ", ".join(all_names[:most]) + more


def pluralize(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
