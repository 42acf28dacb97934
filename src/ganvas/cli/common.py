"""What commands share: names of runs and sources, options that several have, where results go."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from pydantic.dataclasses import dataclass as data_options

from ..data import BUILTIN, DataOptions
from ..data.tables.scaling import TableScaling
from ..errors import UserError
from ..fields import STRICT
from ..inference.trained import Trained, load_trained
from ..io.atomic import refuse_existing, unused_path
from ..nn.device import resolve_device
from ..training import run_records
from ..training.progress import ProgressBar
from ..viz.images import Examples
from .app import print_result

NAMES = ", ".join(BUILTIN)
SOURCE_HELP = (
    f"a folder, a zip, an image, a .npy, .npz or IDX file, .tar shards, Parquet, hf:USER/NAME, or a name: {NAMES}"
)
PRIOR_HELP = (
    "standard, the model's own, or one fitted to its codes: best (the default where any is), gaussian, mixture, flow"
)
FLAG, FIELDS = Parameter(negative=()), Parameter(name="*")
"""an option without a --no- of its own, and options that are the fields of a dataclass"""
RUN_HELP = "a run folder, a name in runs/, a weights file, or: last"
RunName = Annotated[str, Parameter(help=RUN_HELP)]
SourceName = Annotated[str, Parameter(help=SOURCE_HELP)]
Json = Annotated[bool, FLAG, Parameter(name="--json", help="print the result as JSON")]
Quiet = Annotated[bool, FLAG, Parameter(help="show no progress")]
Force = Annotated[bool, FLAG, Parameter(help="overwrite what exists")]
Devices = Annotated[int, Parameter(help="processes on this machine that train together, one a GPU")]
Words = Annotated[tuple[str, ...], Parameter(parse=False)]
"""the whole command line, to run it again"""
Given = Annotated[frozenset[str], Parameter(parse=False)]
"""names of the options that were typed or stand in the file of options, which may have their default values there"""


@data_options(frozen=True, kw_only=True, config=STRICT)
class HeldOutOptions(DataOptions):
    """Which examples of DATA to measure runs on; without DATA those of the runs' own data."""

    split: Annotated[Literal["train", "test"], Parameter(show_default=False)] = "train"
    """part of DATA, train unless you say test; without DATA the test part of the run's own data, if there is one"""


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """Where examples go."""

    out: Path | None = None
    """a picture (.png), an array (.npz, .npy), a folder for single PNGs; of a table .csv, .tsv, .parquet or .feather"""
    force: Force = False
    json: Json = False


DataFlags = Annotated[DataOptions, FIELDS]
HeldOutFlags = Annotated[HeldOutOptions, FIELDS]
Output = Annotated[OutputOptions, FIELDS]


def require_data(data: str | None, given: frozenset[str], remedy: str) -> None:
    """UserError, with what to do, where options of data are given without data that they are of."""
    if data is None and given & {field.name for field in fields(DataOptions)}:
        raise UserError(f"options of data need {remedy}")


def load_run(run: str) -> Trained:
    """The run that the user means; on stderr which weights these are, where that may be a surprise."""
    trained = load_trained(run_records.find_run(run), resolve_device("auto"))
    ProgressBar().print_notes(run_records.weights_notes(trained))
    return trained


def save_examples(run: str, name: str, output: OutputOptions, generate: Callable[[Trained], Examples]) -> None:
    """Make examples with a run, write them where asked, and say where that is."""
    trained = load_run(run)
    suffix = ".csv" if isinstance(trained.domain_scaling(), TableScaling) else ".png"
    path = unused_path((trained.folder or Path()) / f"{name}{suffix}") if output.out is None else output.out
    refuse_existing(path, output.force)
    examples = generate(trained)
    ProgressBar().print_notes(examples.notes)
    examples.save(path)
    print_result([str(path)], {"out": str(path), "examples": len(examples)} | examples.metadata, output.json)
