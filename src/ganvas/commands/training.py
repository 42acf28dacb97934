"""`ganvas train` and `resume`.  Options of models, training and data are the fields of their own dataclasses."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from .. import folders
from .. import runs as running
from ..artifact import Trained
from ..cli import tell
from ..data import View
from ..model import Model, plain
from ..models import MODELS
from ..training import Plan
from .common import VIEW, Json, RunName, SourceName

train_app = App(name="train", help="Train a model on a folder of images, a file, or a named data set.")


def train_command(cls: type[Model]) -> Callable[..., None]:
    """The command that trains models of this class: its options are the class's fields, Plan's and View's."""

    def command(
        *data: SourceName,
        model: Annotated[cls, Parameter(name="*", group="Model")] = cls(),  # type: ignore[valid-type]
        plan: Annotated[Plan, Parameter(name="*", group="Training")] = Plan(**cls.usual),
        view: Annotated[View, Parameter(name="*", group="Data")] = VIEW,
        out: Annotated[Path, Parameter(help="where run folders are made")] = Path("runs"),
        folder: Annotated[Path | None, Parameter(help="the run's folder, which must not exist")] = None,
        quiet: Annotated[bool, Parameter(negative=(), help="show no progress")] = False,
        json: Json = False,
    ) -> None:
        options = plain(plan) | plain(view)
        sources = data[0] if len(data) == 1 else data
        finished(running.train(model, sources, out=out, folder=folder, quiet=quiet, **options), json)

    use = "ganvas sample last" if cls.domains == 1 else "ganvas translate last FROM TO"
    command.__doc__ = f"{cls.__doc__}\n\nWrites a run folder; then: `{use}`."
    return command


for _name, _cls in MODELS.items():
    train_app.command(train_command(_cls), name=_name)


def finished(trained: Trained, as_json: bool) -> None:
    assert trained.folder is not None
    tell(str(trained.folder), folders.summary(trained.folder), as_json)


def resume(
    run: RunName,
    /,
    *,
    steps: Annotated[int | None, Parameter(help="go on to this step, beyond the run's plan")] = None,
    quiet: bool = False,
    json: Json = False,
) -> None:
    """Go on with a run that was stopped or killed, exactly as if it had not been."""
    finished(running.resume(folders.find(run), steps=steps, quiet=quiet), json)
