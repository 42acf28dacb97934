"""Data sets of the Hugging Face Hub by name, hf:USER/NAME: their Parquet files, fetched by the Hub's own client.

The Hub makes Parquet files of most data sets (refs/convert/parquet, CONFIGURATION/SPLIT/NUMBER.parquet); else those
that a data set has itself are taken.  Only the files of a split are fetched, into the Hub's cache, and no code is run.
(https://huggingface.co/docs/dataset-viewer/parquet)
"""

import errno
import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from hashlib import file_digest, sha1
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from ..errors import UserError, did_you_mean, first_line, write_error
from ..io.atomic import atomic_write
from ..io.download import cache_dir
from .layout import parse_split_name
from .listing import join_names
from .shard_files import DATA_FOLDER, PARQUET, ShardFiles, select_split, split_of

CONVERTED = "refs/convert/parquet"
PREFIX, REVISIONS = "hf:", (CONVERTED, "main")
NAME_PATTERN = re.compile(r"hf:(?P<repo>(?:[\w.-]+/)?[\w.-]+)(?::(?P<configuration>[^:]+))?")
PARTIAL = "partial-"
"""how splits are called of which the Hub has converted the first gigabytes only"""
TIMEOUT = 10  # seconds in which the Hub is to answer
WRITE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)
PROGRAM_ERRORS = (AssertionError, AttributeError, ImportError, LookupError, NameError, TypeError)
"""what no network raises, but a fault in the client or here"""


@dataclass(frozen=True)
class HubFiles:
    """The Parquet files of a data set in one of its versions."""

    repo: str
    commit: str
    is_converted: bool
    """whether the Hub has made them, as CONFIGURATION/SPLIT/NUMBER.parquet"""
    digests: dict[str, str | None]
    """SHA-256 of each, by its path; of one outside of LFS git's SHA-1; None where the Hub does not say"""

    def fetch(self, source: str, path: str) -> Path:
        """A file in the Hub's cache, downloaded and checked if it is not there; UserError where it is another."""
        hub = import_client(source)
        how = {"repo_id": self.repo, "filename": path, "repo_type": "dataset", "revision": self.commit}
        if isinstance(cache_path := hub.try_to_load_from_cache(**how), str):
            return Path(cache_path)
        print(f"downloading {source}, {path}", file=sys.stderr)
        with explain_errors(source, self.repo):
            file = Path(hub.hf_hub_download(**how))
        try:
            if not has_digest(file, self.digests[path]):
                raise UserError(f"{source}: {path} was damaged on its way (wrong checksum): try again")
        except BaseException:  # also Ctrl-C: what was not checked would be taken for fetched the next time
            file.resolve().unlink(missing_ok=True)  # the link's target
            raise
        return file


def has_digest(file: Path, digest: str | None) -> bool:
    """Whether a file has this SHA-256 or, if it is as short, git's SHA-1 of a blob; None is true of all."""
    if digest is None:
        return True
    git = partial(sha1, b"blob %d\0" % file.stat().st_size, usedforsecurity=False)
    with file.open("rb") as content:
        return file_digest(content, git if len(digest) == git().digest_size * 2 else "sha256").hexdigest() == digest


def is_hub_name(source: str) -> bool:
    return source.startswith(PREFIX)


def import_client(source: str) -> Any:
    """The Hub's own client; UserError where it is not installed."""
    try:
        import huggingface_hub.errors
    except ImportError as error:
        raise UserError(f'{source} is fetched by huggingface_hub: pip install "ganvas[hub]"') from error
    return huggingface_hub


def find_hub_files(source: str, split: str) -> ShardFiles:
    """The Parquet files of a split, in the cache; UserError where they cannot be had."""
    match = NAME_PATTERN.fullmatch(source)
    if match is None:
        how = "give hf:USER/NAME, or hf:USER/NAME:CONFIGURATION"
        raise UserError(f"{source} is no name of a data set on the Hugging Face Hub: {how}")
    try:
        files, notes = list_hub_files(source, match["repo"])
        paths, more_notes = select_configuration(source, files, match["configuration"])
        shards = select_hub_split(source, files, paths, split)
        local, training = (
            tuple(files.fetch(source, path.as_posix()) for path in part) for part in (shards.files, shards.training)
        )
    except ConnectionError as error:
        raise UserError(f"{source} cannot be fetched ({error}): go online, or give a folder of its files") from error
    return replace(shards, files=local, training=training, notes=(*notes, *more_notes, *shards.notes))


def list_hub_files(source: str, repo: str) -> tuple[HubFiles, list[str]]:
    """The Parquet files of a data set, as the Hub says; where it does not answer as it last said, with a note."""
    record = cache_dir() / "hub" / f"{repo.replace('/', '--')}.json"
    try:
        files = ask_hub(source, repo)
    except ConnectionError:
        with suppress(OSError, ValueError):  # a damaged record is none
            files = TypeAdapter(HubFiles).validate_json(record.read_bytes())
            return files, [f"the Hub did not answer: version {files.commit} of before is used"]
        raise
    with suppress(OSError, UserError), atomic_write(record) as temporary:  # only a start without network needs it
        temporary.write_text(json.dumps(vars(files)), encoding="utf-8")
    return files, []


def ask_hub(source: str, repo: str) -> HubFiles:
    """The Parquet files of a data set; UserError where it has none, ConnectionError where the Hub does not answer."""
    client = import_client(source)
    for revision in REVISIONS:
        with explain_errors(source, repo):
            try:
                info = client.HfApi().dataset_info(repo, revision=revision, timeout=TIMEOUT, files_metadata=True)
            except client.errors.RevisionNotFoundError:
                continue
        files = [file for file in info.siblings or () if file.rfilename.lower().endswith(PARQUET)]
        if files and not any(Path(file.rfilename).parent.name.startswith(PARTIAL) for file in files):
            digests = {file.rfilename: file.lfs.sha256 if file.lfs else file.blob_id for file in files}
            return HubFiles(repo, info.sha, revision == CONVERTED, digests)
    how = "download it, and give a folder of its images"
    raise UserError(f"{source} has no Parquet files, or is so large that the Hub has made some only: {how}")


@contextmanager
def explain_errors(source: str, repo: str) -> Iterator[None]:
    """UserError for what the Hub refuses, WriteError for a full or protected disk, else ConnectionError."""
    errors, address = import_client(source).errors, f"https://huggingface.co/datasets/{repo}"
    try:
        yield
    except errors.RevisionNotFoundError:
        raise
    except errors.GatedRepoError as error:
        how = f"agree to its terms at {address}, then log in: hf auth login"
        raise UserError(f"{source} is for those only who have agreed to its terms: {how}") from error
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        how = "see to its name, or log in for a private one: hf auth login"
        raise UserError(f"the Hugging Face Hub has no data set {repo}: {how}") from error
    except PROGRAM_ERRORS:
        raise
    except Exception as error:  # the client's library for HTTP has changed, and with it what it raises
        if isinstance(error, OSError) and error.errno in WRITE_ERRORS:
            raise write_error(Path(error.filename or "the Hub's cache"), error) from error
        raise ConnectionError(first_line(error)) from error


def select_configuration(source: str, files: HubFiles, name: str | None) -> tuple[list[Path], list[str]]:
    """The files of one configuration, their highest folder, and notes; UserError for several.

    Of files that the Hub has not made, folders of splits are no configurations.
    """
    parts: dict[str, list[Path]] = {}
    for path in sorted(map(Path, files.digests)):
        folder = path.parts[0] if len(path.parts) > 1 else ""
        is_split = not files.is_converted and (folder == DATA_FOLDER or parse_split_name(folder))
        parts.setdefault("" if is_split else folder, []).append(path)
    configuration = name or (next(iter(parts)) if len(parts) == 1 else "default")
    if configuration in parts:
        notes = [f"configuration {configuration}, of {len(parts)}: {source}:NAME takes another"]
        return parts[configuration], notes if len(parts) > 1 and not name else []
    names = list(filter(None, parts))
    if name:
        hint = did_you_mean(name, names)
        raise UserError(f"{source} has no configuration {name!r}, only {join_names(names) or 'one'}.{hint}")
    raise UserError(f"{source} has {len(parts)} configurations, {join_names(names)}: choose as {source}:{names[0]}")


def select_hub_split(source: str, files: HubFiles, paths: Sequence[Path], split: str) -> ShardFiles:
    """The shards of a split: all of a single one that is called otherwise, else those of training or of tests.

    Others are left out with a note.  UserError where there are several and none for training.
    """
    name, splits, roles = files.repo.rpartition("/")[2], dict[str, list[Path]](), dict[str, str]()
    for path in paths:
        part = path.parts[1] if files.is_converted and len(path.parts) > 2 else split_of(path)
        splits.setdefault(part, []).append(path)
        if (role := parse_split_name(part)) and not role[1]:
            roles.setdefault(role[0], part)
    test = roles.get("test") or roles.get("validation")
    used = list(roles.values()) if "train" in roles else [test] if test and split == "test" else []
    if not used and not test and len(splits) == 1:
        return ShardFiles(name, tuple(paths))
    if not used:
        how = f"{'ask for split=test, or ' if test else ''}download the files that you mean, and give their folder"
        raise UserError(f"{source} has no part for training, only {join_names(filter(None, splits))}: {how}")
    rest = [part for part in splits if part not in used]
    names = [name for part in rest for name in ([part] if part else [path.name for path in splits[part]])]
    notes = (f"left out, neither for training nor for tests: {join_names(names)}",) if names else ()
    selected = [path for part in used for path in splits[part]]
    if "train" not in roles:
        return ShardFiles(name, tuple(selected), has_test_split=True, notes=notes)
    shards = select_split(name, selected, split)
    return replace(shards, notes=(*notes, *shards.notes))
