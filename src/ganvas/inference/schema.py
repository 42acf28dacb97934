"""What the files of a run say of themselves: one schema each, checked as they are read.

What a file does not say has the meaning that it had before files said it; what is not known is left alone.
"""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, WrapValidator
from torch import Tensor

from .. import __version__
from ..config import Plan
from ..data import recorded
from ..errors import BadFile, UserError
from ..fields import in_words, what_is_wrong
from ..model import Model, filled, name_of, plain
from ..models import MODELS

T = TypeVar("T")
Count = Annotated[int, Field(ge=0, le=10**15)]
Size = Annotated[int, Field(gt=0, le=10**9)]
One = Annotated[list[Size], Field(min_length=1, max_length=3)]
Shape = One | Annotated[list[One], Field(min_length=2, max_length=2)]
LONGEST = 100_000


def text(value: Any, otherwise: Callable[[Any], Any]) -> Any:
    """A text as it is: pydantic itself would refuse names of files and classes that are no UTF-8."""
    return value if isinstance(value, str) and len(value) <= LONGEST else otherwise(value)


Text = Annotated[str, Field(max_length=LONGEST), WrapValidator(text)]
Number = float | int | None


class Said(BaseModel):
    """Plain values by name, of which those that are named here have these types."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


class OfWeights(Said):
    """The header of a file of weights."""

    format: Count = 0
    ganvas: Text | None = None
    model: Text
    fields: dict[str, Any]
    shape: Shape
    classes: list[Text] = []
    data: Text | None = None
    step: Count | None = None
    domains: list[dict[str, Any]] | None = None
    range: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None
    premultiplied: list[bool] | None = None
    samples: dict[str, Number | Text] | None = None


class OfOptimizer(Said):
    """What of an optimiser's state is no tensor."""

    plain: dict[str, Number] = {}


class OfSamples(Said):
    """How good samples were."""

    lowest: float | None = None
    error: Annotated[float, Field(ge=0)] = 0.0
    best: Count = 0
    waited: Count = 0
    metric: Text = ""


class OfState(Said):
    """The header of a checkpoint."""

    ganvas: Text | None = None
    model: Text | None = None
    fields: dict[str, Any] | None = None
    batch: Size | None = None
    step: Count
    position: Count
    optimizers: dict[str, OfOptimizer]
    terms: dict[str, list[float]]
    samples: OfSamples | None = None
    premultiplied: list[bool] | None = None


class OfData(Said):
    """What config.json says of the data."""

    source: Text | Annotated[list[Text], Field(min_length=2, max_length=2)]
    view: dict[str, Any]
    name: Text
    fingerprint: Text
    examples: Count | list[Count]
    shape: Shape
    classes: list[Text]


class Change(Said):
    """Since which step something was otherwise."""

    step: Count


class OfRun(Said):
    """config.json."""

    model: Text
    fields: dict[str, Any]
    plan: dict[str, Any]
    data: OfData
    versions: dict[str, Any] = {}
    created: Text = ""
    ended: Count | None = None
    changed: list[Change] = []


class Measured(Said):
    """What a line of the log says of samples."""

    metric: Text
    value: float | None
    best: Count
    lowest: float | None = None
    memorised: float | None = None


class Line(Said):
    """A line of log.jsonl, with the means of loss terms besides."""

    __pydantic_extra__: dict[str, Number]
    step: Count
    seconds: Annotated[float, Field(ge=0)]
    codes: dict[str, Number | list[Number]] = {}
    game: dict[str, Number | list[Number]] = {}
    samples: Measured | None = None
    diverged: Text | None = None


LINE = TypeAdapter(Line)


def check(schema: type[Said], said: Any, file: Path) -> None:
    """BadFile unless what a file says of itself has the types that it must have."""
    try:
        TypeAdapter(schema).validate_python(said)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"] if not (isinstance(part, str) and re.search(r"\W", part)))
        what = "is missing" if first["type"] == "missing" else f"{what_is_wrong(first)}, not {short(first['input'])}"
        raise BadFile(f"{file}: {where or 'its header'} {what}{written_by(version_in(said))}") from error


def short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 80 else f"{text[:76]} ..."


def version_in(said: Any) -> str | None:
    """The version of Ganvas that has written a file, as it says."""
    found = said.get("ganvas") or said.get("versions") if isinstance(said, dict) else None
    found = found.get("ganvas") if isinstance(found, dict) else found
    return found if isinstance(found, str) else None


def written_by(version: str | None) -> str:
    """What to do about a file that another version has written."""
    if version in (None, "", __version__):
        by = f" by Ganvas {version}, as this one is" if version else ""
        return f": it was changed since it was written{by}; put its own content back"
    return f": it was written by Ganvas {version}, and this is {__version__}; update with pip install -U ganvas"


def made(cls: type[T], values: dict[str, Any], file: Path, part: str, version: str | None) -> T:
    """The model or plan that a part of a file describes; BadFile where there is none."""
    try:
        found: T = TypeAdapter(cls).validate_python(values)
    except ValidationError as error:
        for each in error.errors(include_url=False):
            if each["type"] == "unexpected_keyword_argument":
                unknown = f"{part}.{each['loc'][0]}, which this version does not know"
                raise BadFile(f"{file} has {unknown}{written_by(version)}") from error
        said = re.sub(r"`(\w+)`", rf"{part}.\1", in_words(error, cls))
        raise BadFile(f"{file}: {said}{written_by(version)}") from error
    except (TypeError, ValueError, RecursionError, OverflowError) as error:
        raise BadFile(f"{file}: {part} {error}{written_by(version)}") from error
    return found


def model_in(said: dict[str, Any], file: Path) -> Model:
    """The model that a file says it is of; BadFile where this version has none such."""
    version = version_in(said)
    check_name(said, file)
    return made(MODELS[said["model"]], said["fields"], file, "fields", version)


def check_name(said: dict[str, Any], file: Path) -> None:
    """BadFile where this version has no model of the name that a file says."""
    version = version_in(said)
    if isinstance(said["model"], str) and said["model"] not in MODELS:
        raise BadFile(
            f"{file}: there is no model {said['model']!r}: this Ganvas knows {', '.join(MODELS)}"
            + (written_by(version) if version not in (None, "", __version__) else "")
        )


def check_run(config: dict[str, Any], file: Path) -> None:
    """BadFile unless config.json describes a run."""
    check_name(config, file)
    check(OfRun, config, file)
    model_in(config, file)
    made(Plan, config["plan"], file, "plan", version_in(config))
    try:
        recorded(config["data"])
    except (ValueError, TypeError, RecursionError, OverflowError) as error:
        said = re.sub(r"`(\w+)`", r"data.view.\1", str(error))
        raise BadFile(f"{file}: {said}{written_by(version_in(config))}") from error


def check_networks(
    model: Model, shape: Any, classes: int, there: Mapping[str, Tensor], whole: bool, complaint: str
) -> None:
    """BadFile unless the tensors are those of the model's networks, of all or of those that are kept.

    The networks are not made for that, which would take as much memory as a file may claim, but thought of.
    """
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            networks = model.networks(shape, classes)
    except Exception as error:  # of numbers that no network was ever asked to have
        raise BadFile(f"{complaint}: no {name_of(model)} for examples of {shape} can be made ({error})") from error
    own = {
        f"{name}.{key}": tensor
        for name, net in networks.items()
        if whole or name not in model.scaffolding
        for key, tensor in net.state_dict().items()
    }
    left = filled(networks) - there.keys()
    own = {name: tensor for name, tensor in own.items() if name not in left}
    for name in [*own, *there]:
        ours, theirs = described(own.get(name)), described(there.get(name))
        if ours != theirs:
            raise BadFile(f"{complaint}: {name} is {theirs}, and should be {ours}")


def described(tensor: Tensor | None) -> str:
    """Shape and type of a tensor."""
    if tensor is None:
        return "missing"
    return f"{'x'.join(map(str, tensor.shape)) or 'a number'} of {str(tensor.dtype).removeprefix('torch.')}"


def check_config(file: Path, header: dict[str, Any]) -> None:
    """UserError where a run folder's weights are those of another model than its config.json says."""
    try:
        config = json.loads((file.parent / "config.json").read_text(encoding="utf-8"))
        check_run(config, file.parent / "config.json")
    except (OSError, ValueError, RecursionError):  # the weights say themselves what they are of
        return
    check_fields(file, header, config)


def check_fields(file: Path, header: dict[str, Any], config: dict[str, Any]) -> None:
    """UserError where a file of a run holds another model than its config.json says, but for what was changed since."""
    name = header.get("model") or config["model"]
    if name != config["model"]:
        raise UserError(
            f"{file} holds another model ({name}) than the run's config.json says ({config['model']}): "
            "put the run's own file back, or move this one elsewhere"
        )
    if not header.get("fields"):
        return
    here, there = plain(model_in(config, file.parent / "config.json")), plain(model_in(header | {"model": name}, file))
    since = {field for entry in config.get("changed", []) for field in entry}
    for field in there:
        if there[field] != here[field] and field not in since:
            ways = f", or change it so: ganvas resume {file.parent} --lr ..." if field == "lr" else ""
            raise UserError(
                f"{file} holds a {name} with {field}={there[field]}, but config.json says {field}={here[field]}: "
                f"put its own value back into config.json{ways}"
            )
