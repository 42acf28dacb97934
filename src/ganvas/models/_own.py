"""Models of the user's own: classes in a file that the user names, or that the user's program has defined.

A run of such a model records the file, its SHA-256 and the class, and keeps a copy of the file.  Nothing runs the copy:
code runs only if the user names its file.
"""

import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..fields import as_dataclass
from ..model import Model, model_name


def own_model_classes() -> Iterator[type[Model]]:
    """Models that the user has defined in this process, the latest first."""

    def subclasses(cls: type[Model]) -> Iterator[type[Model]]:
        for sub in reversed(cls.__subclasses__()):
            yield from subclasses(sub)
            yield sub

    return (as_dataclass(cls) for cls in subclasses(Model) if is_own(cls))


def is_own(cls: type[Model]) -> bool:
    """Whether a model is the user's own, and not one of ours."""
    return cls.__module__.partition(".")[0] != "ganvas"


def load_model_class(reference: str) -> type[Model]:
    """The model class that "my_file.py:MyGAN" names.  This runs the file, so only ever pass what the user has typed."""
    file, _, name = reference.rpartition(":") if ".py:" in reference else (reference, "", "")
    path = Path(file).expanduser()
    if not path.is_file():
        raise UserError(f"{file}: no such file: name a file of yours and a model in it, e.g. my_model.py:MyModel")
    spec = importlib.util.spec_from_file_location(f"_own_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UserError(f"{file} is no Python file: its name has to end in .py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.resolve().parent))  # as for `python my_file.py`: it may import its neighbours
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UserError(f"{file} cannot be imported: {type(error).__name__}: {error}") from error
    classes = {
        n: c for n, c in vars(module).items()
        if inspect.isclass(c) and issubclass(c, Model) and c.__module__ == spec.name
    }  # fmt: skip
    if name not in classes:
        known = ", ".join(f"{file}:{n}" for n in classes) or "no subclass of ganvas.Model"
        raise UserError(f"{reference} names no model: {file} has {known}")
    cls = as_dataclass(classes[name])
    if inspect.isabstract(cls):
        raise UserError(f"{reference} is not finished: it lacks {', '.join(sorted(cls.__abstractmethods__))}")
    if bare := [f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING]:
        raise UserError(f"{reference}: every option needs a default value, but {', '.join(bare)} has none")
    return cls


@cache
def model_source(cls: type[Model]) -> dict[str, str | None] | None:
    """Where a user's own model comes from, for the record: its file's name, SHA-256, and class; None for ours."""
    if not is_own(cls):
        return None
    path = source_file(cls)
    digest = None if path is None else hashlib.sha256(path.read_bytes()).hexdigest()
    return {"file": None if path is None else path.name, "class": cls.__name__, "sha256": digest}


def source_file(cls: type[Model]) -> Path | None:
    """The file that defines a class; None where it was typed at a prompt."""
    try:
        path = Path(inspect.getfile(cls))
    except (OSError, TypeError):
        return None
    return path if path.is_file() else None


def source_notes(model: Model, source: Mapping[str, Any] | None) -> list[str]:
    """That the file of a user's own model has changed since it was recorded as this source."""
    current = model_source(type(model))
    if not source or not current or source.get("sha256") == current["sha256"]:
        return []
    return [f"the file of {model_name(model)} has changed since this run was written: {current['file']}"]
