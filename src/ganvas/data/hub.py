"""Data sets of the Hugging Face Hub by name, hf:USER/NAME: their Parquet files, fetched by the Hub's own client.

The Hub makes Parquet files of most data sets (refs/convert/parquet, CONFIGURATION/SPLIT/NUMBER.parquet); else those
that a data set has itself are taken.  Only the files of a split are fetched, into the Hub's cache, and no code is run.
(https://huggingface.co/docs/dataset-viewer/parquet)
"""

import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import file_digest
from pathlib import Path
from typing import Any

from ..errors import UserError, did_you_mean, first_line
from ..io.atomic import atomic_write
from ..io.download import cache_dir
from .layout import parse_split_name
from .listing import join_names
from .shard_files import DATA_FOLDER, PARQUET, ShardFiles, select_split

PREFIX, REVISIONS = "hf:", ("refs/convert/parquet", "main")
NAME_PATTERN = re.compile(r"hf:(?P<repo>(?:[\w.-]+/)?[\w.-]+)(?::(?P<configuration>[^:]+))?")
PARTIAL = "partial-"
"""how splits are called of which the Hub has converted the first gigabytes only"""


@dataclass(frozen=True)
class HubFiles:
    """The Parquet files of a data set in one of its versions."""

    repo: str
    commit: str
    digests: dict[str, str | None]
    """SHA-256 of each, by its path, as far as the Hub says it"""

    def fetch(self, source: str, path: str) -> Path:
        """A file in the Hub's cache, downloaded if it is not there; UserError where it is not what the Hub says."""
        hub = import_client(source)
        how = {"repo_id": self.repo, "filename": path, "repo_type": "dataset", "revision": self.commit}
        if isinstance(known := hub.try_to_load_from_cache(**how), str):
            return Path(known)
        print(f"downloading {source}, {path}", file=sys.stderr)
        with explain_errors(source, self.repo):
            file = Path(hub.hf_hub_download(**how))
        with file.open("rb") as content:
            if self.digests[path] not in (None, file_digest(content, "sha256").hexdigest()):
                file.resolve().unlink()  # the link's target: else the client would take it as fetched
                raise UserError(f"{source}: {path} was damaged on its way (wrong checksum): try again")
        return file


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
        found = list_hub_files(source, match["repo"])
        paths, notes = select_configuration(source, sorted(map(Path, found.digests)), match["configuration"])
        files = select_split(match["repo"].rpartition("/")[2], paths, split)
        here, training = (tuple(found.fetch(source, str(p)) for p in part) for part in (files.files, files.training))
    except ConnectionError as error:
        raise UserError(f"{source} cannot be fetched ({error}): go online, or give a folder of its files") from error
    return replace(files, files=here, training=training, notes=(*notes, *files.notes))


def list_hub_files(source: str, repo: str) -> HubFiles:
    """The Parquet files of a data set, as the Hub says, or as it last said where there is no network."""
    client, record = import_client(source), cache_dir() / "hub" / f"{repo.replace('/', '--')}.json"
    try:
        for revision in REVISIONS:
            with explain_errors(source, repo):
                try:
                    info = client.HfApi().dataset_info(repo, revision=revision, files_metadata=True)
                except client.errors.RevisionNotFoundError:
                    continue
            files = {file.rfilename: file for file in info.siblings or () if file.rfilename.lower().endswith(PARQUET)}
            if files and not any(Path(path).parent.name.startswith(PARTIAL) for path in files):
                found = HubFiles(repo, info.sha, {path: file.lfs and file.lfs.sha256 for path, file in files.items()})
                break
        else:
            how = "download it, and give a folder of its images"
            raise UserError(f"{source} has no Parquet files, or is so large that the Hub has made some only: {how}")
    except ConnectionError:
        if not record.is_file():
            raise
        return HubFiles(**json.loads(record.read_text(encoding="utf-8")))
    with atomic_write(record) as temporary:
        temporary.write_text(json.dumps(vars(found)), encoding="utf-8")
    return found


@contextmanager
def explain_errors(source: str, repo: str) -> Iterator[None]:
    """UserError for what the Hub refuses, ConnectionError for anything else that keeps it from answering."""
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
    except Exception as error:  # the client's library for HTTP has changed, and with it what it raises
        raise ConnectionError(first_line(error)) from error


def select_configuration(source: str, paths: Sequence[Path], name: str | None) -> tuple[list[Path], list[str]]:
    """The files of one configuration, the highest folder that is none of a split, and notes; UserError for several."""
    parts: dict[str, list[Path]] = {}
    for path in paths:
        folder = path.parts[0] if len(path.parts) > 1 else ""
        parts.setdefault("" if folder == DATA_FOLDER or parse_split_name(folder) else folder, []).append(path)
    chosen = name or (next(iter(parts)) if len(parts) == 1 else "default")
    if chosen in parts:
        others = [other for other in parts if other != chosen]
        notes = [f"configuration {chosen}, of {len(parts)}: {source}:NAME takes another"] if others and not name else []
        return parts[chosen], notes
    names = list(filter(None, parts))
    if name:
        hint = did_you_mean(name, names)
        raise UserError(f"{source} has no configuration {name!r}, only {join_names(names) or 'one'}.{hint}")
    raise UserError(f"{source} has {len(parts)} configurations, {join_names(names)}: choose as {source}:{names[0]}")
