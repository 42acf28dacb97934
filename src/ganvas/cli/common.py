"""What commands share: names of runs and sources, where results go."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from .. import data as data_sources
from ..data import View
from ..inference.trained import Trained, load_trained
from ..io.atomic import refuse_existing, unused
from ..nn.device import device_for
from ..training import run_folder
from ..training.progress import Bar
from ..viz.images import Examples
from .app import tell

Flat = Parameter(name="*")
Json = Annotated[bool, Parameter(name="--json", negative=(), help="print the result as JSON")]
Force = Annotated[bool, Parameter(negative=(), help="overwrite what exists")]
RunName = Annotated[str, Parameter(help="a run folder, a name in runs/, a weights file, or: last")]
SourceName = Annotated[
    str,
    Parameter(
        help="a folder, a zip, an image, a .npy, .npz or IDX file, or a name: " + ", ".join(data_sources.BUILTIN)
    ),
]
VIEW = View()


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where examples go."""

    out: Path | None = None
    """a picture (.png), an array (.npz, .npy), or a folder for single PNGs"""
    force: Annotated[bool, Parameter(negative=())] = False
    """overwrite what exists"""
    json: Annotated[bool, Parameter(negative=())] = False
    """print the result as JSON"""


TARGET = Target()


def opened(run: str) -> Trained:
    """The run that the user means; on stderr which weights these are, where that may be a surprise."""
    trained = load_trained(run_folder.find(run), device_for("auto"))
    Bar().notes(run_folder.of_weights(trained))
    return trained


def deliver(make: Callable[[], Examples], trained: Trained, name: str, to: Target) -> None:
    """Make examples, write them where asked, and say where that is."""
    path = unused((trained.folder or Path()) / f"{name}.png") if to.out is None else to.out
    refuse_existing(path, to.force)
    examples = make()
    examples.save(path)
    tell([str(path)], {"out": str(path), "examples": len(examples)} | examples.about, to.json)
