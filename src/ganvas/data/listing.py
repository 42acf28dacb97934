"""The files below a folder, in a zip or in a tar: which are images, what is left out, and the notes."""

import json
import os
import re
import stat
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from gzip import BadGzipFile
from hashlib import blake2b, file_digest
from io import BytesIO, FileIO
from operator import attrgetter
from pathlib import Path
from zipfile import BadZipFile, ZipFile, ZipInfo

from ..errors import UserError, error_reason
from ..io.run_folder import CONFIG_FILE, LOG_FILE
from .tars import decompress, tar_members

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
HEIC_REMEDY = 'HEIC is read by pillow_heif: pip install "ganvas[heic]", or convert it to JPEG or PNG'
RECORD_FILE = ".ganvas.json"
"""in a folder of translations: the weights that they are by, their domain, and which files they are"""
SHEET_PATTERN = re.compile(r"-contact-sheet(-\d+)?\.png$")  # names of the contact sheets that `ganvas data` draws
SYSTEM_FILES = {"__macosx", "@eadir", "thumbs.db", "desktop.ini"}  # what systems add to files, in lower case
ZIP, TAR, TARS = ".zip", ".tar", (".tar", ".tar.gz", ".tgz")
ARCHIVES = {".tar", ".tgz", ".tbz2", ".txz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar"}
"""archives that must be unpacked first"""
MAX_FILE_BYTES = 2**27  # bytes of a file in an archive, at most: it is read into memory
READ_ERRORS = (OSError, ValueError, RuntimeError, EOFError, BadZipFile, zlib.error)  # of a file, and of one in a zip
WHOLE_FILE_BYTES = 2**20  # bytes of a file from which on Pillow reads it in parts
SMALL_FILE_BYTES, SMALL_FILES = 2**14, 16  # bytes of files below which a thread takes so many at a time
MAX_NAMES = 5  # names in a note, at most

Stamp = tuple[int, ...]
"""bytes of a file, and when its content and it itself were changed, in nanoseconds"""


@dataclass(frozen=True)
class File:
    """A file below a folder or in an archive."""

    parts: tuple[str, ...]  # its folders and its name, below the source
    location: str  # its path, or that of the archive that it is in; of a hundred thousand, `Path`s take a second
    archive: ZipFile | None = None
    member: ZipInfo | None = None
    stamp: Stamp = field(default=(), compare=False)  # of a file in a folder

    @property
    def path(self) -> Path:
        return Path(self.location)

    @property
    def name(self) -> str:
        return self.parts[-1]

    @property
    def suffix(self) -> str:
        stem, dot, suffix = self.name.rpartition(".")  # as pathlib has it, which takes four times as long
        return f".{suffix}".lower() if dot and suffix and stem.strip(".") else ""

    @property
    def n_bytes(self) -> int:
        """How large it is; 0 where that was not looked at."""
        return self.member.file_size if self.member else self.stamp[0] if self.stamp else 0

    def __str__(self) -> str:
        return "/".join(self.parts)

    def read(self, max_bytes: int) -> bytes:
        if self.member and self.member.flag_bits & 1:
            raise ValueError("it is encrypted: unzip it first")
        with self.archive.open(self.member) if self.archive and self.member else self.path.open("rb") as file:
            return file.read(max_bytes)

    def content(self) -> Path | BytesIO:
        """What Pillow opens: the path, or the bytes of a small file or of one in a zip; ValueError for too many."""
        if self.member is None and not 0 < self.n_bytes < WHOLE_FILE_BYTES:
            return self.path
        if self.member is None:
            with FileIO(self.location) as file:  # the fewest calls of the system: threads wait for each other at each
                content = file.read(self.n_bytes + 1)
            return BytesIO(content) if len(content) == self.n_bytes else self.path
        if self.member.file_size > MAX_FILE_BYTES:
            raise ValueError(f"it says that it has {self.member.file_size:,} bytes: unzip it first")
        return BytesIO(self.read(MAX_FILE_BYTES + 1))

    def digest(self) -> bytes | None:
        """BLAKE2b of its bytes, which are all that it depends on; None where they cannot be read."""
        with suppress(*READ_ERRORS):
            content = self.content()
            with content.open("rb") if isinstance(content, Path) else content as file:
                return file_digest(file, lambda: blake2b(digest_size=8)).digest()
        return None


@dataclass(frozen=True)
class TarMember(File):
    """A file in a tar: so many bytes from an offset on."""

    offset: int = 0
    size: int = 0
    buffer: bytes | None = field(default=None, compare=False, repr=False)  # a gzipped tar, decompressed

    @property
    def n_bytes(self) -> int:
        return self.size

    def read(self, max_bytes: int) -> bytes:
        n = min(self.size, max_bytes)
        if self.buffer is not None:
            return self.buffer[self.offset : self.offset + n]
        with self.path.open("rb") as file:
            file.seek(self.offset)
            return file.read(n)

    def content(self) -> BytesIO:
        if self.size > MAX_FILE_BYTES:
            raise ValueError(f"it has {self.size:,} bytes, and {MAX_FILE_BYTES:,} are the most")
        return BytesIO(self.read(self.size))


@dataclass
class Listing:
    """The files of a source, by what they are."""

    root: Path
    images: list[File] = field(default_factory=list)
    others: list[File] = field(default_factory=list)  # files that are no images
    notes: list[str] = field(default_factory=list)

    def excluded_notes(self, files_read: Sequence[File] = ()) -> list[str]:
        """A note of the files that are no images, by suffix, but for those that were read all the same."""
        kinds = Counter(file.suffix or "without suffix" for file in self.others if file not in files_read)
        what = ", ".join(f"{n} {kind}" for kind, n in kinds.most_common())
        note = f"{pluralize(kinds.total(), 'file')} left out: {what}"
        if HEIC_SUFFIXES & kinds.keys():
            note += f"; {HEIC_REMEDY}"
        return [note] if kinds else []


def list_files(source: Path, exclude: Path | None = None) -> Listing:
    """The files of a folder, a zip or a tar, sorted by their paths, or a single file.

    Those below `exclude` are not looked at.  Links to folders are followed, but each folder is read once.  Hidden files
    are left alone, and so are runs and translations by Ganvas, unless `source` is one.  UserError if unreadable.
    """
    excluded: dict[str, list[str]] = defaultdict(list)
    if source.is_dir():
        files = walk_folders(source, exclude, excluded)
    elif source.suffix.lower() == ZIP:
        files = read_archive(source, excluded)
    elif is_tar(source):
        files = read_tar(source, excluded)
    else:
        files = [File((source.name,), str(source))]
    notes = [f"left out, {what}: {join_names(sorted(names))}" for what, names in sorted(excluded.items())]
    return classify_files(source, sorted(files, key=attrgetter("parts")), notes)


def walk_folders(root: Path, exclude: Path | None, excluded: dict[str, list[str]]) -> list[File]:
    """The regular files below a folder; `excluded` gets the names of what is left out, by what it is."""
    files, folders, links = list[File](), [root], list[Path]()
    excluded_id = folder_id(exclude) if exclude else None
    reasons = {folder_id(folder): "holds them" for folder in root.resolve().parents}
    while folders or links:
        if not folders:  # the highest link comes first, but a folder that is there by its own name before it
            links.sort(key=lambda link: (len(link.parts), link.parts), reverse=True)
        folder = folders.pop() if folders else links.pop()
        parts = folder.relative_to(root).parts
        if key := folder_id(folder):
            if why := reasons.get(key):
                excluded[f"links to a folder that {why}"].append("/".join(parts))
            if why or key == excluded_id:
                continue
            reasons[key] = "is read already"
        try:
            entries = [entry for entry in os.scandir(folder) if not is_ignored(entry.name)]
        except OSError as error:
            if not parts:
                raise UserError(f"{root} cannot be read ({error_reason(error)})") from error
            excluded[f"folders that cannot be read ({error_reason(error)})"].append("/".join(parts))
            continue
        prefix = str(folder / "x")[:-1]
        for entry in entries:
            mode, what = 0, "pipes, sockets or devices"
            try:
                status = entry.stat()
                mode = status.st_mode
            except OSError as error:
                is_link = entry.is_symlink()
                what = "links that lead nowhere" if is_link else f"files that cannot be read ({error_reason(error)})"
            if stat.S_ISREG(mode):
                files.append(File((*parts, entry.name), prefix + entry.name, stamp=file_stamp(status)))
            elif stat.S_ISDIR(mode):
                (links if entry.is_symlink() else folders).append(folder / entry.name)
            else:
                excluded[what].append("/".join((*parts, entry.name)))
    return files


def read_archive(root: Path, excluded: dict[str, list[str]]) -> list[File]:
    """The files in a zip, of a name's several the last; `excluded` gets what is left out.  UserError if damaged."""
    try:
        archive = ZipFile(root)
    except OSError as error:
        raise UserError(f"{root} cannot be read ({error_reason(error)})") from error
    except READ_ERRORS as error:
        raise UserError(f"{root} is damaged or no zip: {error}") from error
    files = dict[tuple[str, ...], File]()
    for member in archive.infolist():
        parts = member_parts(member.filename, excluded)
        if not parts or member.is_dir():
            continue
        if stat.S_IFMT(member.external_attr >> 16) in (0, stat.S_IFREG):
            files[parts] = File(parts, str(root), archive, member)
        else:
            excluded["links and the like in a zip"].append("/".join(parts))
    return list(files.values())


def read_tar(root: Path, excluded: dict[str, list[str]]) -> list[File]:
    """The files in a tar, of a name's several the last, as `tar` has it; `excluded` gets the names of what is left out.

    UserError where it is damaged, or too large to decompress in memory.
    """
    files = dict[tuple[str, ...], File]()
    try:
        buffer = None if root.suffix.lower() == TAR else decompress(root)
        with root.open("rb") if buffer is None else BytesIO(buffer) as file:
            for _, member in tar_members(root, file):
                if member.isdir() or not (parts := member_parts(member.name, excluded)):
                    continue
                if member.isreg() and not member.issparse():
                    files[parts] = TarMember(
                        parts, str(root), offset=member.offset_data, size=member.size, buffer=buffer
                    )
                else:
                    excluded["links and the like in a tar"].append("/".join(parts))
    except (BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{root} is damaged or not gzipped: {error}") from error
    except OSError as error:
        raise UserError(f"{root} cannot be read ({error_reason(error)})") from error
    return list(files.values())


def member_parts(name: str, excluded: dict[str, list[str]]) -> tuple[str, ...]:
    """The folders and the name of a file in an archive; none of what is ignored, or lies outside by its name."""
    parts = tuple(part for part in name.replace("\\", "/").split("/") if part not in ("", "."))
    if ".." in parts:
        excluded["names that lead out of the archive"].append(name)
    return () if any(map(is_ignored, parts)) else parts


def classify_files(root: Path, files: Sequence[File], notes: list[str]) -> Listing:
    """The files, by what they are: images, others, and those that Ganvas itself has written."""
    configs, logs = ({f.parts[:-1] for f in files if f.parts[-1] == name} for name in (CONFIG_FILE, LOG_FILE))
    runs = (configs & logs) - {()}
    records = {file.parts[:-1]: recorded_files(file) for file in files if file.parts[-1] == RECORD_FILE}
    translated_folders = {folder for folder, names in records.items() if names is None and folder}
    translated_files = {(*folder, *name) for folder, names in records.items() for name in names or ()}
    listing, n_sheets, translations = Listing(root, notes=notes), 0, list[File]()
    excluded: dict[str, list[tuple[str, ...]]] = {"runs": [], "translations": []}
    for file in files:
        if file.parts[-1] == RECORD_FILE:
            continue
        above = parent_folders(file) if runs or translated_folders else []
        by_ganvas = next((f for own in (runs, translated_folders) for f in above if f in own), None) if above else None
        if by_ganvas:
            excluded["runs" if by_ganvas in runs else "translations"].append(by_ganvas)
        elif not is_image(file):
            listing.others.append(file)
        elif SHEET_PATTERN.search(file.name):
            n_sheets += 1
        else:
            (translations if file.parts in translated_files else listing.images).append(file)
    if translations and not listing.images:  # translations are what was asked for
        listing.images, translations = translations, []
    for file in translations:
        excluded["translations"].append(next(folder for folder in reversed(parent_folders(file)) if folder in records))
    for what, folders in excluded.items():
        if names := dict.fromkeys("/".join(folder) or "." for folder in folders):
            notes.append(f"{what} by ganvas are not data: left out {join_names(names)}")
    if n_sheets:
        notes.append(f"{pluralize(n_sheets, 'contact sheet')} by ganvas left out")
    return listing


def may_hold_images(path: Path) -> bool:
    """Whether a source is a folder, of whatever kind, an archive, or a single image."""
    mode = path_mode(path) or 0
    is_file = stat.S_ISREG(mode)
    return stat.S_ISDIR(mode) or (is_file and (is_archive(path) or is_image(File((path.name,), str(path)))))


def is_tar(path: Path) -> bool:
    return path.name.lower().endswith(TARS)


def is_archive(path: Path) -> bool:
    """Whether a path is called like a zip or a tar."""
    return path.suffix.lower() == ZIP or is_tar(path)


def parent_folders(file: File) -> list[tuple[str, ...]]:
    return [file.parts[:i] for i in range(len(file.parts))]


def recorded_files(record: File) -> set[tuple[str, ...]] | None:
    """The files that a record of translations names; None, all in its folder, where it names none."""
    with suppress(*READ_ERRORS, KeyError, TypeError, AttributeError):
        return {tuple(name.split("/")) for name in json.loads(record.read(MAX_FILE_BYTES))["files"]}
    return None


def is_image(file: File) -> bool:
    """Whether a file is an image by its suffix; one without any by how it begins."""
    if suffix := file.suffix:
        return suffix in IMAGE_SUFFIXES or (suffix in HEIC_SUFFIXES and register_heic())
    with suppress(*READ_ERRORS):
        begins = file.read(16)
        return any(re.match(signature, begins, re.DOTALL) for signature in SIGNATURES)
    return False


@cache
def register_heic() -> bool:
    """Whether Pillow reads HEIC, which it is told here by a library of its own, if that is installed."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True


def is_ignored(name: str) -> bool:
    """Whether a file or folder is hidden, or one that systems add to others."""
    return (name.startswith(".") and name != RECORD_FILE) or name.lower() in SYSTEM_FILES


def folder_id(folder: Path) -> tuple[int, int] | None:
    """What tells folders apart whatever the path to them; None where it cannot be had."""
    with suppress(OSError):
        status = folder.stat()
        return (status.st_dev, status.st_ino) if status.st_ino else None
    return None


def group_size(files: Sequence[File]) -> int:
    """How many of these files a thread is to take at a time, see `in_parallel`."""
    return SMALL_FILES if sum(file.n_bytes for file in files) < SMALL_FILE_BYTES * len(files) else 1


def file_stamp(status: os.stat_result) -> Stamp:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


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


def join_names(names: Iterable[str], most: int = MAX_NAMES) -> str:
    """The first of the names, and how many more there are."""
    all_names = list(names)
    more = f" and {len(all_names) - most} more" if len(all_names) > most else ""
    return ", ".join(all_names[:most]) + more


def pluralize(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
