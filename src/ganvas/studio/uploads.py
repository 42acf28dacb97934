"""Files that a visitor sends: where they go, and how much of them there may be."""

import re
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from secrets import token_hex

from ..errors import UserError
from ..io.atomic import MAX_NAME_BYTES

MAX_FILES, MAX_TOTAL = 20_000, 2 * 2**30
"""files of one upload, and bytes of all"""
SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".avif", ".heic", ".zip", ".tar",
    ".npy", ".npz", ".h5", ".hdf5", ".nc", ".nii", ".gz", ".dcm", ".csv", ".tsv", ".json", ".parquet",
    ".feather", ".bin",
)  # fmt: skip
UPLOAD = re.compile(r"[0-9a-f]{16}")


def file_name(name: str) -> str:
    """The last part of a name, as a file can have it; UserError for a kind of file that is not read."""
    plain = re.sub(r"[^\w.\- ]", "_", re.split(r"[/\\]", name)[-1])
    plain = plain.encode()[-MAX_NAME_BYTES:].decode(errors="ignore").strip(" .")
    if not plain.lower().endswith(SUFFIXES):
        raise UserError(f"{name}: send images, a .zip or .tar of them, .npy, .npz, .csv, .tsv, .parquet or .h5 files")
    return plain


def upload_folder(root: Path, upload: str | None) -> Path:
    """The folder of an upload, a new one where none is named."""
    if upload is not None and not UPLOAD.fullmatch(upload):
        raise UserError(f"there is no upload {upload!r}")
    folder = root / (upload or token_hex(8))
    if upload is not None and not folder.is_dir():
        raise UserError(f"there is no upload {upload!r}")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


async def receive_file(root: Path, upload: str | None, name: str, parts: AsyncIterator[bytes]) -> Path:
    """Write what is sent as a file of an upload; returns its folder.  A part of a file is none: it is removed."""
    name = file_name(name)
    folder = upload_folder(root, upload)
    if sum(1 for _ in folder.iterdir()) >= MAX_FILES:
        raise UserError(f"these are more than {MAX_FILES} files: put them in a .zip, or name their folder")
    used = sum(file.stat().st_size for file in root.glob("*/*"))
    path, total = folder / unused(folder, name), 0
    try:
        with path.open("xb") as file:
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
            folder.rmdir()
        raise
    return folder


def unused(folder: Path, name: str) -> str:
    """The name, with a number where the folder has it already."""
    stem, suffix = Path(name).stem, Path(name).suffix
    taken = {file.name for file in folder.iterdir()}
    return next(n for n in (name, *(f"{stem}-{i}{suffix}" for i in range(2, MAX_FILES + 2))) if n not in taken)


def upload_source(folder: Path) -> Path:
    """What is trained on: the file of an upload, or its folder where there are several."""
    files = list(folder.iterdir())
    return files[0] if len(files) == 1 else folder
