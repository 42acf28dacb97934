"""The data that a run was trained on: what its config.json says of them, and the one way to read them again."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from ..data import BUILTIN, Data, DataOptions, MissingSplitError, Sources, absolute_url, is_hub_name, is_sql
from ..data.array_files import split_key
from ..data.options import stored_options
from ..errors import UserError

D = TypeVar("D")


@dataclass(frozen=True)
class TrainingData:
    """Where the training data of a run are, and with which options it read them."""

    folder: Path = field(compare=False)
    """the run"""
    source: str | tuple[str, ...]
    """a name, an absolute path, or "array"; of a translator those of both domains"""
    options: DataOptions
    description: dict[str, Any] = field(compare=False)
    """what `describe_data` said of the examples when the run was begun"""

    @property
    def has_arrays(self) -> bool:
        """Whether the data, or those of a domain, were arrays, which cannot be read again."""
        return "array" in (self.source if isinstance(self.source, tuple) else (self.source,))

    def load(self, read: Callable[[Any, DataOptions], D], **changes: Any) -> D:
        """The data, as `read` reads them with the run's options and these `changes`; UserError where it cannot."""
        try:
            return read(self.source, replace(self.options, **changes))
        except UserError as error:
            what, why = f"what {self.folder} was trained on", str(error).rstrip(".")
            advice = "if the data have moved, give their new place as DATA"
            kind = MissingSplitError if isinstance(error, MissingSplitError) else UserError
            raise kind(f"cannot read again {what}: {why}; {advice}") from error

    def load_test_split(self, read: Callable[[Any, DataOptions], D]) -> D | None:
        """The test split beside the training data; None where there is none, or where the run has learnt from it.

        UserError where there is one that cannot be read: the training data are never measured in its place.
        """
        try:
            return None if self.options.split == "test" else self.load(read, split="test")
        except MissingSplitError:
            return None

    def check_unchanged(self, description: dict[str, Any], advice: str = "") -> None:
        """UserError where data of this description are not those that the run was trained on, by their fingerprint."""
        if description["fingerprint"] == self.description["fingerprint"]:
            return
        before, now = self.description["examples"], description["examples"]
        counts = "" if before == now else f": {before} examples then, {now} now"
        raise UserError(
            f"{description['name']} has changed since {self.folder} was begun{counts}: bring back the same data{advice}"
        )

    def is_named_by(self, sources: str | tuple[str, ...], options: DataOptions) -> bool:
        """Whether these sources and options name the training data, as far as names say."""
        if options.holdout or options.split != self.options.split:
            return False
        a, b = ([s] if isinstance(s, str) else s for s in (self.source, sources))
        return [Path(s).expanduser().resolve() for s in a] == [Path(s).expanduser().resolve() for s in b]


def parse_training_data(folder: Path, data_config: dict[str, Any]) -> TrainingData:
    """What `data` of a run's config.json says."""
    source = data_config["source"]
    source = tuple(source) if isinstance(source, list) else source
    return TrainingData(folder, source, DataOptions(**stored_options(data_config)), data_config)


def describe_data(data: Data) -> dict[str, Any]:
    """What config.json says of the examples themselves, as plain values."""
    plain_values: dict[str, Any] = json.loads(json.dumps({
        "name": data.name, "fingerprint": data.fingerprint(),
        "examples": len(data) if len(data.datasets) == 1 else [len(part) for part in data.datasets],
        "shape": data.shape, "classes": data.classes,
    }))  # fmt: skip
    return plain_values


def source_name(data: Sources) -> str | list[str]:
    """What config.json calls a source: a name, an absolute path, or "array"; of a translator those of both domains."""
    if isinstance(data, tuple):
        return [str(source_name(source)) for source in data]
    return absolute_source(str(data)) if isinstance(data, str | Path) else "array"


def absolute_source(source: str) -> str:
    """A path made absolute, so that the run can be resumed from elsewhere; a name as it is."""
    if source in BUILTIN or is_hub_name(source):
        return source
    if is_sql(source):
        return absolute_url(source)
    file, key = split_key(source)
    return f"{Path(file).expanduser().resolve()}{f':{key}' if key else ''}"
