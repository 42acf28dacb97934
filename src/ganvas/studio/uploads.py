"""Files that a visitor sends: where they go, and how much of them there may be."""

import re
import shutil
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO

from ..errors import UserError
from ..io.atomic import MAX_NAME_BYTES
from ..io.run_folder import RunFolder
from .runs import own_file, run_folders

MAX_FILES, MAX_TOTAL, MAX_DEPTH = 20_000, 2 * 2**30, 8
"""files of one upload, bytes of all, and names of a path"""
KEPT_SECONDS = 86_400
"""for how long an upload is kept on which nobody trains"""
MARK = ".keep"
"""the suffix of an empty file beside an upload that stays"""
SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".avif", ".heic", ".zip", ".tar",
    ".npy", ".npz", ".h5", ".hdf5", ".nc", ".nii", ".gz", ".dcm", ".csv", ".tsv", ".json", ".parquet",
    ".feather", ".bin",
)  # fmt: skip
UPLOAD = re.compile(r"[0-9a-f]{16}")
counts: dict[Path, tuple[int, int]] = {}
"""files and bytes of uploads, by their folders"""


def file_path(name: str) -> Path:
    """A relative path as files have it, its folders being classes; UserError for a kind of file that is not read."""
    parts = [plain_name(part) for part in re.split(r"[/\\]", name)]
    if not parts[-1].lower().endswith(SUFFIXES):
        raise UserError(f"{name}: send images, a .zip or .tar of them, .npy, .npz, .csv, .tsv, .parquet or .h5 files")
    return Path(*[part for part in parts if part][-MAX_DEPTH:])


def plain_name(name: str) -> str:
    """A name without what a file's cannot have; "" of one that leads to another folder."""
    plain = re.sub(r"[^\w.\- ]", "_", name)
    return plain.encode()[-MAX_NAME_BYTES:].decode(errors="ignore").strip(" .")


def upload_folder(root: Path, upload: str | None) -> Path:
    """The folder of an upload, a new one where none is named."""
    if upload is not None and not UPLOAD.fullmatch(upload):
        raise UserError(f"there is no upload {upload!r}")
    folder = root / (upload or token_hex(8))
    if upload is not None and not folder.is_dir():
        raise UserError(f"there is no upload {upload!r}")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def count(folder: Path) -> tuple[int, int]:
    """Files and bytes of an upload; they are looked up once."""
    if folder not in counts:
        sizes = [file.stat().st_size for file in folder.rglob("*") if file.is_file()]
        counts[folder] = len(sizes), sum(sizes)
    return counts[folder]


def remove_unused(root: Path, runs_dir: Path) -> None:
    """Remove the uploads of more than a day ago that nobody has seen a command for, and no run of the folder names."""
    latest = time.time() - KEPT_SECONDS
    old = [path for path in root.glob("*") if UPLOAD.fullmatch(path.name) and path.stat().st_mtime < latest]
    old = [path for path in old if not path.with_suffix(MARK).exists()]
    texts = [read_config(folder) for folder in run_folders(runs_dir)] if old else []
    for folder in old:
        if not any(folder.name.encode() in text for text in texts):
            shutil.rmtree(folder, ignore_errors=True)
            counts.pop(folder, None)


def keep(root: Path, words: Iterable[str]) -> None:
    """Never remove the uploads that a command names: whoever has seen it may train with it, in any folder."""
    root = root.resolve()
    for path in map(Path, words):
        if path.is_relative_to(root) and path != root:
            (root / path.relative_to(root).parts[0]).with_suffix(MARK).touch()


def read_config(folder: Path) -> bytes:
    """The text of a run's config.json; nothing where it cannot be read."""
    try:
        return own_file(RunFolder(folder).config).read_bytes()
    except (UserError, OSError):
        return b""


async def receive_file(root: Path, upload: str | None, name: str, parts: AsyncIterator[bytes]) -> Path:
    """Write what is sent as a file of an upload; returns its folder.  A part of a file is none: it is removed."""
    place = file_path(name)
    folder = upload_folder(root, upload)
    if count(folder)[0] >= MAX_FILES:
        raise UserError(f"these are more than {MAX_FILES} files: put them in a .zip, or name their folder")
    used, total = sum(count(other)[1] for other in root.iterdir() if other.is_dir()), 0
    file = open_unused(folder / place)
    path = Path(file.name)
    try:
        with file:
            async for part in parts:
                total += len(part)
                if used + total > MAX_TOTAL:
                    raise UserError(f"uploads take more than {MAX_TOTAL // 2**30} GB: remove some of {root}")
                file.write(part)
        if not total:
            raise UserError(f"{name} is empty: choose another file")
    except BaseException:
        path.unlink(missing_ok=True)
        with suppress(OSError):  # it holds other files
            for parent in (*path.relative_to(root).parents,)[:-1]:
                (root / parent).rmdir()
            counts.pop(folder, None)
        raise
    n, before = counts[folder]
    counts[folder] = n + 1, before + total
    return folder


def open_unused(path: Path) -> BinaryIO:
    """A new file of this name, with a number where there is one already."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for name in (path.name, *(f"{path.stem}-{i}{path.suffix}" for i in range(2, MAX_FILES + 2))):
        with suppress(FileExistsError):
            return path.with_name(name).open("xb")
    raise AssertionError("a folder has fewer files than names are tried")


def upload_source(folder: Path) -> Path:
    """What is trained on: the file or the folder of an upload, or the folder of several."""
    files = list(folder.iterdir())
    return files[0] if len(files) == 1 else folder
