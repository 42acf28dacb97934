"""What commands share: names of runs and sources, where results go."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from pydantic.dataclasses import dataclass as data_options

from .. import data as data_sources
from ..data import DataOptions
from ..fields import STRICT
from ..inference.trained import Trained, load_trained
from ..io.atomic import refuse_existing, unused_path
from ..metrics.features import FEATURE_NAMES
from ..nn.device import resolve_device
from ..training import run_folder
from ..training.progress import ProgressBar
from ..viz.images import Examples
from .app import print_result

FLATTEN = Parameter(name="*")
DataFlags = Annotated[DataOptions, FLATTEN]
Json = Annotated[bool, Parameter(name="--json", negative=(), help="print the result as JSON")]
Quiet = Annotated[bool, Parameter(negative=(), help="show no progress")]
Force = Annotated[bool, Parameter(negative=(), help="overwrite what exists")]
Given = Annotated[frozenset[str], Parameter(parse=False)]
"""names of the options that were typed or stand in the file of options, which may have their default values there"""
RunName = Annotated[str, Parameter(help="a run folder, a name in runs/, a weights file, or: last")]
SOURCE_HELP = "a folder, a zip, an image, a .npy, .npz or IDX file, or a name: " + ", ".join(data_sources.BUILTIN)
SourceName = Annotated[str, Parameter(help=SOURCE_HELP)]
FEATURES_HELP = "what samples are compared on: " + ", ".join(("auto", *FEATURE_NAMES))
Features = Annotated[str, Parameter(help=FEATURES_HELP)]
AllowFew = Annotated[bool, Parameter(negative=(), help="report FID even with fewer samples than features")]
SampleSeed = Annotated[int, Parameter(help="seed of the samples")]
DEFAULT_DATA_OPTIONS = DataOptions()
DATA_OPTION_NAMES = {field.name for field in fields(DataOptions)}


@data_options(frozen=True, kw_only=True, config=STRICT)
class HeldOutOptions(DataOptions):
    """Which examples of DATA to measure runs on; without DATA those of the runs' own data."""

    split: Annotated[Literal["train", "test"], Parameter(show_default=False)] = "train"
    """part of DATA, train unless you say test; without DATA the test part of the run's own data, if there is one"""


HeldOutFlags = Annotated[HeldOutOptions, FLATTEN]
DEFAULT_HELD_OUT = HeldOutOptions()


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """Where examples go."""

    out: Path | None = None
    """a picture (.png), an array (.npz, .npy), or a folder for single PNGs"""
    force: Annotated[bool, Parameter(negative=())] = False
    """overwrite what exists"""
    json: Annotated[bool, Parameter(negative=())] = False
    """print the result as JSON"""


OutputFlags = Annotated[OutputOptions, FLATTEN]
DEFAULT_OUTPUT = OutputOptions()


def load_run(run: str) -> Trained:
    """The run that the user means; on stderr which weights these are, where that may be a surprise."""
    trained = load_trained(run_folder.find_run(run), resolve_device("auto"))
    ProgressBar().print_notes(run_folder.weights_notes(trained))
    return trained


def save_examples(generate: Callable[[], Examples], trained: Trained, name: str, output: OutputOptions) -> None:
    """Make examples, write them where asked, and say where that is."""
    path = unused_path((trained.folder or Path()) / f"{name}.png") if output.out is None else output.out
    refuse_existing(path, output.force)
    examples = generate()
    examples.save(path)
    print_result([str(path)], {"out": str(path), "examples": len(examples)} | examples.metadata, output.json)
