"""`ganvas train` and `resume`.  Options of models, training and data are the fields of their own dataclasses."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter
from pydantic import Field
from pydantic.dataclasses import dataclass

from ..config import Plan
from ..data import View
from ..errors import UserError
from ..inference.trained import Trained
from ..model import STRICT, Model, a_name_of, plain
from ..models import MODELS
from ..training import run as running
from ..training import run_folder
from .app import tell
from .common import VIEW, Json, RunName, SourceName

train_app = App(name="train", help="Train a model on a folder of images, a file, or a named data set.")


def train_command(cls: type[Model]) -> Callable[..., None]:
    """The command that trains models of this class: its options are the class's fields, Plan's and View's."""

    own = plan_of(cls)

    def command(
        data: SourceName,
        /,
        *other: Annotated[str, Parameter(show=cls.domains == 2, help="the second one, to translate between the two")],
        model: Annotated[cls, Parameter(name="*", group="Model")] = cls(),  # type: ignore[valid-type]
        plan: Annotated[own, Parameter(name="*", group="Training")] = own(),  # type: ignore[valid-type]
        view: Annotated[View, Parameter(name="*", group="Data")] = VIEW,
        out: Annotated[Path, Parameter(help="where run folders are made")] = Path("runs"),
        folder: Annotated[Path | None, Parameter(help="the run's folder, which must be new or empty")] = None,
        start: Annotated[
            str | None, Parameter(name="--from", help="a run or a file of weights, whose networks the run begins with")
        ] = None,
        quiet: Annotated[bool, Parameter(negative=(), help="show no progress")] = False,
        json: Json = False,
    ) -> None:
        refuse_unused(cls, plain(model) | plain(plan), plain(cls()) | plain(own()))
        options = plain(plan) | plain(view)
        sources = (data, *other) if other else data
        finished(running.train(model, sources, out=out, folder=folder, start=start, quiet=quiet, **options), json)

    use = "ganvas sample last" if cls.domains == 1 else "ganvas translate last FROM TO"
    command.__doc__ = f"{cls.__doc__}\n\nWrites a run folder; then: `{use}`."
    vars(command)["unused"] = cls.unused
    return command


def refuse_unused(cls: type[Model], given: dict[str, Any], usual: dict[str, Any]) -> None:
    """UserError for an option that has no effect on models of this class."""
    for name in cls.unused:
        if given[name] != usual[name]:
            raise UserError(f"{name}={given[name]} has no effect on {a_name_of(cls())}: leave it out")


def plan_of(cls: type[Model]) -> type[Plan]:
    """Plan, with the defaults that are usual for this model; where it counts whether an option was given, None."""
    kinds = {name: Plan.__annotations__[name] for name in cls.usual}
    values = dict(cls.usual)
    for name in ("steps", "batch"):
        kinds[name] = Annotated[
            Annotated[int, Field(gt=0)] | None, Parameter(show_default=str(values.get(name, getattr(Plan, name))))
        ]
        values[name] = None
    decorate: Any = dataclass(frozen=True, kw_only=True, config=STRICT)
    own: type[Plan] = decorate(
        type("Plan", (Plan,), {"__annotations__": kinds, "__module__": Plan.__module__} | values)
    )
    return own


for _name, _cls in MODELS.items():
    train_app.command(train_command(_cls), name=_name)


def finished(trained: Trained, as_json: bool) -> None:
    assert trained.folder is not None
    tell([str(trained.folder)], run_folder.summary(trained.folder), as_json)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Changes:
    """What can be otherwise in a run that goes on."""

    lr: float | None = None
    """learning rate"""
    lr_d: float | None = None
    """of a GAN's discriminator"""
    batch: int | None = None
    """examples per step"""
    every: int | None = None
    """steps between checkpoints"""
    patience: int | None = None
    """measurements without a new lowest distance, after which the run stops"""
    max_norm: float | None = None
    """of the gradient of each network"""
    ema: float | None = None
    """decay of the averaged weights"""
    milestones: str | None = None
    """parts of the run, as 0.5,0.8, after which the learning rate is multiplied by drop"""
    drop: float | None = None
    """factor of the learning rate at each milestone"""
    decay: float | None = None
    """last part of the run, in which the learning rate falls to 0"""
    precision: Literal["float32", "bfloat16"] | None = None
    """of matrix products and convolutions"""
    balanced: bool | None = None
    """draw examples of every class equally often"""


NOTHING = Changes()


def resume(
    run: RunName,
    data: Annotated[str | None, Parameter(help="where its data are now, if they have moved")] = None,
    other: Annotated[str | None, Parameter(help="those of domain B, of a translator")] = None,
    /,
    *,
    steps: Annotated[int | None, Parameter(help="go on to this step, beyond the run's plan")] = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda", "mps"] | None, Parameter(help="where to compute from now on")
    ] = None,
    changed_data: Annotated[
        bool, Parameter(negative=(), help="go on though the data are not the same; config.json says since which step")
    ] = False,
    changes: Annotated[Changes, Parameter(name="*", group="Changes, from here on")] = NOTHING,
    quiet: Annotated[bool, Parameter(negative=(), help="show no progress")] = False,
    json: Json = False,
    **others: Annotated[str, Parameter(show=False)],
) -> None:
    """Go on with a run that was stopped or killed, exactly as if it had not been."""
    sources = data if data is None or other is None else (data, other)
    asked = {name: value for name, value in plain(changes).items() if value is not None} | others
    trained = running.resume(
        run_folder.find(run), sources, steps=steps, device=device, changed_data=changed_data, quiet=quiet, **asked
    )
    finished(trained, json)
