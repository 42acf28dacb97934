"""Recordings of runs: made once, kept in the cache, and small enough for a page."""

import json
import os
import shutil
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..io.atomic import atomic_write
from ..io.download import cache_dir
from ..io.text import replace_non_finite
from ..randomness import generators
from .chapter import Chapter, Parameters

DTYPES = ("uint8", "float16", "float32")
"""the types of arrays that a page can read"""
KEPT_SECONDS = 7 * 86_400
"""for how long recordings of another version are kept that does not ask for them"""


def pack(value: Any) -> Any:
    """The value for JSON: tensors and arrays become their type, shape and bytes, little-endian, in base64."""
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray):
        assert value.dtype.name in DTYPES, f"a page reads {', '.join(DTYPES)}, and not {value.dtype}"
        content = np.ascontiguousarray(value, value.dtype.newbyteorder("<")).tobytes()
        return {"dtype": value.dtype.name, "shape": list(value.shape), "base64": b64encode(content).decode()}
    if isinstance(value, dict):
        return {name: pack(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [pack(part) for part in value]
    return replace_non_finite(value)


def record(chapter: Chapter, parameters: Parameters) -> dict[str, Any]:
    """A run of a chapter with these parameters, ready for JSON.  One at a time; the caller's random numbers go on."""
    with generators, torch.random.fork_rng(devices=[]):
        recorded = pack(chapter.record(parameters))
    assert recorded["command"].startswith("ganvas train ") or "\nganvas train " in recorded["command"]
    return {"parameters": pack(asdict(parameters)), **recorded}


def recordings(chapter: Chapter, say: Callable[[str], None] = lambda text: None) -> list[dict[str, Any]]:
    """The runs that a chapter's page holds, those from the cache that are there; `say` is told which is being made."""
    return list(iterate_recordings(chapter, say))


def iterate_recordings(chapter: Chapter, say: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    for i, (title, parameters) in enumerate(chapter.recordings.items(), 1):
        path = recording_file(chapter, parameters)
        if not path.exists():
            say(f"{chapter.title}: recording run {i} of {len(chapter.recordings)}, {title}")
            recorded = record(chapter, parameters)
            with atomic_write(path) as temporary:
                temporary.write_text(json.dumps(recorded, allow_nan=False), encoding="utf-8")
        yield {"title": title, **json.loads(path.read_text(encoding="utf-8"))}


def missing_recordings(chapter: Chapter) -> int:
    """How many of a chapter's runs are still to be made."""
    return sum(not recording_file(chapter, parameters).exists() for parameters in chapter.recordings.values())


def recording_file(chapter: Chapter, parameters: Parameters) -> Path:
    """Where a recording is kept: of other code there is another."""
    digest = blake2b(repr(parameters).encode(), digest_size=8).hexdigest()
    return cache_dir() / "lecture" / code_version() / f"{chapter.name}-{digest}.json"


@cache
def code_version() -> str:
    """A digest of the package's Python files, and of the version of torch: either may change what is recorded."""
    digest = blake2b(torch.__version__.encode(), digest_size=8)
    for file in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def remove_old_recordings() -> None:
    """Remove what other versions of the code have recorded that none has asked for lately, by calling this."""
    own = cache_dir() / "lecture" / code_version()
    with suppress(OSError):
        own.mkdir(parents=True, exist_ok=True)
        os.utime(own)
    for folder in own.parent.glob("*"):
        with suppress(OSError):
            if folder != own and time.time() - folder.stat().st_mtime > KEPT_SECONDS:
                shutil.rmtree(folder)
