"""What the files of a run say of themselves: one schema each, checked as they are read.

What a file does not say has the meaning that it had before files said it; what is not known is left alone.
"""

import re
from collections.abc import Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, WrapValidator
from pydantic_core import ErrorDetails
from torch import Tensor, nn

from .. import __version__
from ..config import TrainConfig
from ..data.depth import DTYPES
from ..data.options import DataOptions, stored_options
from ..errors import InvalidFileError, UserError
from ..fields import describe_errors, mark_given
from ..io.run_folder import WEIGHTS_FILE, RunFolder
from ..model import KINDS, Model, model_name, optional_state_keys, to_dict
from ..models import MODELS, find_model_class
from ..nn.skeleton import make_skeleton
from ..renamed import with_new_names

T = TypeVar("T")
Count = Annotated[int, Field(ge=0, le=10**15)]
Size = Annotated[int, Field(gt=0, le=10**9)]
SingleShape = Annotated[list[Size], Field(min_length=1, max_length=max(KINDS))]
Shape = SingleShape | Annotated[list[SingleShape], Field(min_length=2, max_length=2)]
MAX_TEXT_LENGTH = 100_000
CHANGED = ": it was changed since it was written; put its own content back"
FORMAT_VERSION, DEEP_FORMAT_VERSION = 2, 3
"""versions of the header of weights, the second of models of deep images; a higher one is of a newer Ganvas"""
CONFIG_VERSION = STATE_VERSION = 1
"""versions of config.json and of the header of states; files that were written before have none"""
Dtypes = Annotated[list[Literal["", *DTYPES]], Field(min_length=1, max_length=2)]  # type: ignore[valid-type]


Number = float | Annotated[int, Field(ge=-(2**63), lt=2**63)] | None
Text = Annotated[str, Field(max_length=MAX_TEXT_LENGTH), WrapValidator(
    # pydantic itself would refuse names of files and classes that are no UTF-8
    lambda value, check: value if isinstance(value, str) and len(value) <= MAX_TEXT_LENGTH else check(value)
)]  # fmt: skip


class Schema(BaseModel):
    """Plain values by name, of which those that are named here have these types."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="allow", strict=True, allow_inf_nan=False, defer_build=True)


class WeightsHeader(Schema):
    """The header of a file of weights."""

    format: Annotated[int, Field(ge=0)] = 0
    ganvas: Text | None = None
    model: Text
    fields: dict[str, object]
    shape: Shape
    classes: list[Text] = []
    data: Text | None = None
    step: Count | None = None
    domains: list[dict[str, object]] | None = None
    range: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None
    premultiplied: list[bool] | None = None
    dtypes: Dtypes | None = None
    samples: dict[str, Number | Text] | None = None
    model_source: dict[str, Text | None] | None = None
    own_networks: dict[str, Text] = {}


class SelectionState(Schema):
    """How good samples were."""

    lowest_distance: float | None = None
    distance_error: Annotated[float, Field(ge=0)] = 0.0
    best_step: Count = 0
    evaluations_since_best: Count = 0
    metric: Text = ""


class OptimizerState(Schema):
    """What of an optimiser's state is no tensor."""

    plain: dict[str, Number] = {}


class CheckpointHeader(Schema):
    """The header of a checkpoint."""

    format: Annotated[int, Field(ge=0)] = 0
    ganvas: Text | None = None
    model: Text | None = None
    fields: dict[str, object] | None = None
    batch_size: Size | None = None
    world_size: Size = 1
    step: Count
    position: Count
    optimizers: dict[str, OptimizerState]
    pending_terms: dict[str, list[float]] = {}
    selection: SelectionState | None = None
    premultiplied: list[bool] | None = None
    dtypes: Dtypes | None = None
    shards: Annotated[str, Field(pattern=r"^shards-\d+(-\d+)?$")] | None = None
    rollbacks: Count = 0
    skipped: list[Count] = []
    skipped_in_row: Count = 0
    good: bool = True


class DataConfig(Schema):
    """What config.json says of the data."""

    source: Text | Annotated[list[Text], Field(min_length=2, max_length=2)]
    options: dict[str, object]
    name: Text
    fingerprint: Text
    examples: Count | list[Count]
    shape: Shape
    classes: list[Text]


class ConfigChange(Schema):
    """Since which step something is otherwise."""

    step: Count


class RunConfig(Schema):
    """config.json."""

    format: Annotated[int, Field(ge=0)] = 0
    model: Text
    fields: dict[str, object]
    train_config: dict[str, object]
    data: DataConfig
    versions: dict[str, object] = {}
    created_at: Text = ""
    model_source: dict[str, Text | None] | None = None
    own_networks: dict[str, Text] = {}
    end_step: Count = 0
    world_size: Size = 1
    changes: list[ConfigChange] = []
    given: list[Text] = []
    chosen: dict[str, object] = {}
    group: dict[str, object] = {}
    init_from: dict[str, object] = {}


class SampleRecord(Schema):
    """What a line of the log says of samples."""

    metric: Text
    value: float | None
    best_step: Count
    lowest_distance: float | None = None
    memorised: float | None = None


class CodeFigures(Schema):
    """How a model's codes are used, in a line of log.jsonl."""

    __pydantic_extra__: dict[str, Number]
    kl_per_dimension: list[Number] = []
    aggregate_std_range: Annotated[list[Number], Field(min_length=2)] = []


class LogLine(Schema):
    """A line of log.jsonl, with the means of loss terms besides."""

    __pydantic_extra__: dict[str, Number]
    step: Count
    seconds: Annotated[float, Field(ge=0)]
    latent: Annotated[CodeFigures, Field(default={})]
    adversarial: dict[str, Number] = {}
    schedule: dict[str, Number] = {}
    samples: SampleRecord | None = None
    diverged: Text | None = None
    skipped: Count = 0
    rollback: Text | None = None
    notes: list[Text] = []


def parse(cls: type[T], values: object, header: object, file: Path, part: str = "") -> T:
    """What a file's header, or a part of it, describes; InvalidFileError where it is not of this class."""
    try:
        instance: T = adapter(cls).validate_python(values)  # type: ignore[arg-type]  # classes are hashable
    except (TypeError, ValueError, RecursionError, OverflowError) as error:
        problem = describe(error, part) if isinstance(error, ValidationError) else f": {part} {error}"
        raise InvalidFileError(f"{file}{problem}{remedy(header)}") from error
    return instance


@lru_cache(64)
def adapter(cls: type[T]) -> Any:
    """The `TypeAdapter` that checks values against a class: making it takes a hundred times as long as using it."""
    return TypeAdapter(cls)


def describe(error: ValidationError, part: str) -> str:
    """What is wrong with a header, or a part of it, and in which field."""

    def place(e: ErrorDetails) -> str:
        if part:
            return f"{part}.{e['loc'][0]}" if e["loc"] else part
        # pydantic's own names of kinds are no words
        return ".".join(str(name) for name in e["loc"] if isinstance(name, int) or not re.search(r"\W", name))

    errors = error.errors(include_url=False)
    kind, where = errors[0]["type"], place(errors[0])
    if kind == "unexpected_keyword_argument":
        return f" has {where}, which this version does not know"
    if kind == "missing" and not part:
        return f": {where or 'its header'} is missing"
    wrong = describe_errors(e for e in errors if place(e) == where)
    return f": {where or 'its header'} {wrong}, not {errors[0]['input']!r:.80}"


def remedy(header: object, unless_newer: str = CHANGED) -> str:
    """What to do about a file that says what cannot be, written by another version of Ganvas or not."""
    version = header.get("ganvas") or header.get("versions") if isinstance(header, dict) else None
    version = version.get("ganvas") if isinstance(version, dict) else version
    if not isinstance(version, str) or version in ("", __version__):
        return unless_newer
    return f": it was written by Ganvas {version}, and this is {__version__}; update with pip install -U ganvas"


def parse_weights(header: dict[str, Any], file: Path) -> Model:
    """The model that a file of weights is of; UserError unless its header is that of such a file."""
    if not {"model", "fields", "shape"} <= header.keys():
        raise UserError(f"{file} holds no model's weights: give a run folder, or its {WEIGHTS_FILE}")
    check_format(header, DEEP_FORMAT_VERSION, file)
    parse(WeightsHeader, header, header, file)
    if header["model"] == "gan" and header["fields"].get("net") in ("auto", "conv") and len(header["shape"]) > 1:
        why = "gan had convolutions when it was written, as dcgan has now"
        raise InvalidFileError(f"{file} is too old for this version: {why}; train one: ganvas train dcgan DATA")
    return parse_model(header, file)


def parse_state(header: dict[str, Any], file: Path) -> None:
    """InvalidFileError unless the header is that of a state."""
    check_format(header, STATE_VERSION, file)
    parse(CheckpointHeader, header, header, file)


def check_format(header: dict[str, Any], newest: int, file: Path) -> None:
    """InvalidFileError where a file's format is newer than the newest that is known."""
    if isinstance(version := header.get("format"), int) and version > newest:
        why = f"has format {version}, which is newer than this version reads ({newest})"
        raise InvalidFileError(f"{file} {why}{remedy(header, ': update with pip install -U ganvas')}")


def parse_train_config(header: dict[str, Any]) -> TrainConfig:
    """How a run is trained, by its config.json, which was checked when it was read."""
    return TrainConfig(**header["train_config"])


def parse_model(header: dict[str, Any], file: Path) -> Model:
    """The model that a file says it is of, all of whose fields are given; InvalidFileError where there is none such."""
    cls = MODELS.get(header["model"]) or get_own_model_class(header, file)
    model = parse(cls, with_new_names(header["fields"], cls), header, file, "fields")
    return mark_given(model, to_dict(model))


def get_own_model_class(header: dict[str, Any], file: Path) -> type[Model]:
    """The user's own model that a file is of; InvalidFileError where this process does not know it."""
    if cls := find_model_class(header["model"]):
        return cls
    if not isinstance(source := header.get("model_source"), dict):
        known = f"this Ganvas knows {', '.join(MODELS)}"
        raise InvalidFileError(f"{file}: there is no model {header['model']!r}: {known}{remedy(header, '')}")
    path, name = source.get("file") or "FILE.py", source.get("class")
    raise InvalidFileError(
        f"{file}: its model is not part of Ganvas but {name} of {path}, whose code runs only if you name it: "
        f"import that file first, or on the command line add --model {path}:{name}"
    )


def check_run(config: dict[str, Any], file: Path) -> None:
    """InvalidFileError unless config.json describes a run."""
    check_format(config, CONFIG_VERSION, file)
    if isinstance(config.get("model"), str) and "model_source" not in config:
        get_own_model_class(config, file)
    parse(RunConfig, config, config, file)
    if find_model_class(config["model"]):  # else a user's own, which can be listed without its class
        parse_model(config, file)
    parse(TrainConfig, with_new_names(config["train_config"], TrainConfig), config, file, "train_config")
    parse(DataOptions, stored_options(config["data"]), config, file, "data.options")


def check_config(file: Path, header: dict[str, Any], config: dict[str, Any]) -> None:
    """UserError where a run's weights are those of another model than its config.json says, if that can be told."""
    try:
        check_run(config, RunFolder(file.parent).config)
    except InvalidFileError:  # the weights say themselves what they are of
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
    of_config = to_dict(parse_model(config, RunFolder(file.parent).config))
    changed = {field for entry in config.get("changes", []) for field in entry}
    for field, value in to_dict(parse_model(header | {"model": name}, file)).items():
        if value != of_config[field] and field not in changed:
            hint = f", or change it so: ganvas resume {file.parent} --lr ..." if field == "lr" else ""
            raise UserError(
                f"{file} holds a {name} with {field}={value}, but config.json says {field}={of_config[field]}: "
                f"put its own value back into config.json{hint}"
            )


def check_networks(
    model: Model, shape: tuple[Any, ...], classes: int, tensors: Mapping[str, Tensor], training: bool, message: str
) -> nn.ModuleDict:
    """The model's networks in `training`, or those that are kept; InvalidFileError unless the tensors are theirs.

    They are made on no device: made on one, they would take as much memory as a file may claim.
    """
    try:
        networks = make_skeleton(partial(model.networks, shape, classes))
    except Exception as error:  # of numbers that no network was ever asked to have
        why = f"no {model_name(model)} for examples of {shape} can be made ({error})"
        raise InvalidFileError(f"{message}: {why}") from error
    nets = nn.ModuleDict({name: net for name, net in networks.items() if training or name not in model.training_only})
    expected = nets.state_dict()
    for name in [*expected, *tensors]:
        ours, theirs = describe_tensor(expected.get(name)), describe_tensor(tensors.get(name))
        if ours != theirs and (name in tensors or name not in optional_state_keys(networks)):
            raise InvalidFileError(f"{message}: {name} is {theirs}, and should be {ours}")
    return nets


def describe_tensor(tensor: Tensor | None) -> str:
    """Shape and type of a tensor."""
    shape = "missing" if tensor is None else "x".join(map(str, tensor.shape)) or "a number"
    return shape if tensor is None else f"{shape} of {str(tensor.dtype).removeprefix('torch.')}"
