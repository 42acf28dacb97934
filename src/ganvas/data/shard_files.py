"""Which shards a source names, a file, a folder, a glob or a range such as data-{000..099}.tar; and their splits."""

import os
import re
import stat
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ..errors import UserError
from .cifar import find_version
from .layout import dataset_name, parse_split_name
from .listing import IMAGE_SUFFIXES, TAR, Stamp, file_stamp, is_ignored, join_names, list_files, path_mode, pluralize
from .tars import tar_members

PARQUET = ".parquet"
LABEL_SUFFIXES = (".cls", ".json")
"""what a label of WebDataset ends in"""
GLOB_PATTERN, RANGE_PATTERN = re.compile(r"[*?[]"), re.compile(r"\{(\d+)\.\.(\d+)\}")
"""wildcards, and numbers in braces, as WebDataset and shells write them: the first has as many digits as all"""
MAX_RANGE = 10**6  # shards that a range names, at most
NEW_SECONDS = 2.0  # after which a file that is written again has another stamp, whatever the clock of its disk
DATA_FOLDER = "data"
"""the folder in which data sets of the Hugging Face Hub have their Parquet files"""


@dataclass(frozen=True)
class ShardFiles:
    """The shards of one split, sorted by their paths, all tar or all Parquet."""

    name: str
    files: tuple[Path, ...]
    training: tuple[Path, ...] = ()  # of a test part the training shards, whose classes it has
    has_test_split: bool = False  # whether the source has a test part of its own
    notes: tuple[str, ...] = ()


def is_shards(source: str) -> bool:
    """Whether a source names shards; a folder does where it holds some, and no images."""
    path = Path(source).expanduser()
    mode = path_mode(path)
    if mode is None:
        return is_pattern(source) and (has_kind(path) or (not RANGE_PATTERN.search(source) and bool(expand(source))))
    if not stat.S_ISDIR(mode):
        return stat.S_ISREG(mode) and has_kind(path) and not holds_folders(path)
    return bool(folder_files(path)) and not list_files(path).images


def holds_folders(path: Path) -> bool:
    """Whether a file is a tar of images in several folders, none with a label NAME.cls or NAME.json, or of CIFAR."""
    if path.suffix.lower() != TAR:
        return False
    with suppress(OSError):
        status = path.stat()
        is_new = time.time() - status.st_mtime < NEW_SECONDS
        scan = headers_name_folders.__wrapped__ if is_new else headers_name_folders
        return scan(path.absolute(), file_stamp(status))
    return False


@lru_cache(64)
def headers_name_folders(path: Path, stamp: Stamp) -> bool:
    """The same of a tar with this stamp, whose headers are read once though several places ask."""
    images, labels, folders, files = set[str](), set[str](), set[str](), set[str]()
    with suppress(OSError, UserError), path.open("rb") as file:  # what is wrong is said when it is read
        for _, member in tar_members(path, file):
            folder, _, name = member.name.rpartition("/")
            key = f"{folder}/{name.partition('.')[0]}"
            if member.isdir() or any(map(is_ignored, Path(member.name).parts)):
                continue
            if Path(name).suffix.lower() in IMAGE_SUFFIXES:
                images.add(key)
                folders.add(folder)
            elif name.lower().endswith(LABEL_SUFFIXES):
                labels.add(key)
            else:
                files.add(name)
            if key in images and key in labels:
                return False
        return len(folders) > 1 or (not images and find_version(files) is not None)
    return False


def is_pattern(source: str) -> bool:
    return GLOB_PATTERN.search(source) is not None or RANGE_PATTERN.search(source) is not None


def has_kind(path: Path) -> bool:
    return path.suffix.lower() in (TAR, PARQUET)


def folder_files(folder: Path) -> list[Path]:
    """The shards in a folder, and in its sub-folders that are called like splits, or data."""
    files: list[Path] = []
    with suppress(OSError):
        for entry in os.scandir(folder):  # no file is looked at but for its name: there may be a million
            if entry.name.lower().endswith((TAR, PARQUET)):
                files += [folder / entry.name] if entry.is_file() and not is_ignored(entry.name) else []
            elif entry.is_dir() and (entry.name == DATA_FOLDER or parse_split_name(entry.name)):
                inner = map(Path, os.scandir(entry))
                files += [path for path in inner if has_kind(path) and not is_ignored(path.name) and path.is_file()]
    return files


def expand(source: str) -> list[Path]:
    """The files of a pattern; UserError where one that a range names is missing."""
    match = RANGE_PATTERN.search(source)
    if match is None:
        path = Path(source).expanduser()
        relative = path.relative_to(path.anchor) if path.anchor else path
        matches = Path(path.anchor).glob(str(relative))
        return [file for file in matches if has_kind(file) and not is_ignored(file.name) and file.is_file()]
    first, last = match.groups()
    if int(last) - int(first) >= MAX_RANGE:
        raise UserError(f"{source} names more than {MAX_RANGE:,} shards: give a folder, or a wildcard, *")
    numbers = [f"{i:0{len(first)}d}" for i in range(int(first), int(last) + 1)]
    names = [source[: match.start()] + i + source[match.end() :] for i in numbers]
    files = [path for name in names for path in (expand(name) if is_pattern(name) else [Path(name).expanduser()])]
    if missing := [path.name for path in files if not path.is_file()]:
        raise UserError(f"{source}: {pluralize(len(missing), 'shard')} missing, {join_names(missing)}: bring them back")
    return files


def find_shards(source: str, split: str) -> ShardFiles:
    """The shards of a split; UserError where there are none, or tar and Parquet files beside each other."""
    path = Path(source).expanduser()
    files = expand(source) if is_pattern(source) and not path.exists() else folder_files(path) or [path]
    if not files:
        raise UserError(f"{source} matches no shards: give {TAR} or {PARQUET} files")
    if len(kinds := {file.suffix.lower() for file in files}) > 1:
        raise UserError(f"{source} holds {' and '.join(sorted(kinds))} files: give one kind, e.g. {source}/*{TAR}")
    name = dataset_name(path if path.exists() else path.parent)
    return select_split(name, sorted(files, key=lambda file: file.parts), split)


def split_of(file: Path) -> str:
    """The split that the name of a shard, or of its folder, says that it is of: train of train-00000-of-00004."""
    for name in (*re.split(r"[-_.]", file.stem), file.parent.name):
        if (role := parse_split_name(name)) and not role[1]:
            return role[0]
    return ""


def select_split(name: str, files: Sequence[Path], split: str) -> ShardFiles:
    """The shards of a split: by their names where these say so of a training part and another, or else all."""
    parts: dict[str, list[Path]] = {}
    for file in files:
        parts.setdefault(split_of(file), []).append(file)
    test = parts.get("test") or parts.get("validation")
    if not ("train" in parts and test):
        return ShardFiles(name, tuple(files))
    notes = []
    if "test" in parts and "validation" in parts:
        notes.append(f"{pluralize(len(parts['validation']), 'shard')} for validation, used for nothing")
    elif "validation" in parts:
        notes.append(f"{pluralize(len(test), 'shard')} for validation, the test part, since there is no other")
    if "" in parts:
        notes.append(f"left out, shards of no split: {join_names(file.name for file in parts[''])}")
    is_test, training = split == "test", tuple(parts["train"])
    return ShardFiles(name, tuple(test) if is_test else training, training if is_test else (), True, tuple(notes))
