"""`ganvas train` and `resume`.  Options of models, training and data are the fields of their own dataclasses."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter
from pydantic import Field
from pydantic.dataclasses import dataclass

from ..config import TrainConfig
from ..data import DataOptions
from ..errors import UserError
from ..inference.trained import Trained
from ..model import STRICT, Model, model_name_with_article, to_dict
from ..models import MODELS
from ..models._own import load_model_class
from ..renamed import given_up
from ..training import run as running
from ..training import run_folder
from .app import print_result
from .common import DEFAULT_DATA_OPTIONS, Json, RunName, SourceName

train_app = App(name="train", help="Train a model on a folder of images, a file, or a named data set.")


def make_train_command(cls: type[Model]) -> Callable[..., None]:
    """The command that trains models of this class: its options are the class's fields, Plan's and View's."""

    config_class = train_config_class(cls)

    def command(
        data: SourceName,
        /,
        *data_b: Annotated[
            str, Parameter(show=cls.n_domains == 2, help="the second domain, to translate between the two")
        ],
        model: Annotated[cls, Parameter(name="*", group="Model")] = cls(),  # type: ignore[valid-type]
        train_config: Annotated[config_class, Parameter(name="*", group="Training")] = config_class(),  # type: ignore[valid-type]
        data_options: Annotated[DataOptions, Parameter(name="*", group="Data")] = DEFAULT_DATA_OPTIONS,
        runs_dir: Annotated[Path, Parameter(help="folder for run folders")] = Path("runs"),
        folder: Annotated[Path | None, Parameter(help="the run's folder, which must be new or empty")] = None,
        init_from: Annotated[
            str | None,
            Parameter(name="--init-from", help="run or file of weights to start from"),
        ] = None,
        quiet: Annotated[bool, Parameter(negative=(), help="show no progress")] = False,
        json: Json = False,
    ) -> None:
        reject_ignored_options(cls, to_dict(model) | to_dict(train_config), to_dict(cls()) | to_dict(config_class()))
        options = to_dict(train_config) | to_dict(data_options)
        sources = (data, *data_b) if data_b else data
        print_run(
            running.train(
                model, sources, runs_dir=runs_dir, folder=folder, init_from=init_from, quiet=quiet, **options
            ),
            json,
        )

    next_command = "ganvas sample last" if cls.n_domains == 1 else "ganvas translate last FROM TO"
    command.__doc__ = f"{cls.__doc__}\n\nWrites a run folder; then: `{next_command}`."
    vars(command)["unused"] = cls.ignored_options
    vars(command)["fixed_options"] = given_up(cls)
    return command


def reject_ignored_options(cls: type[Model], values: dict[str, Any], defaults: dict[str, Any]) -> None:
    """UserError for an option that has no effect on models of this class."""
    for name in cls.ignored_options:
        if values[name] != defaults[name]:
            raise UserError(f"{name}={values[name]} has no effect on {model_name_with_article(cls())}: leave it out")


def train_config_class(cls: type[Model]) -> type[TrainConfig]:
    """Plan, with the defaults that are usual for this model; where it counts whether an option was given, None."""
    annotations = {name: TrainConfig.__annotations__[name] for name in cls.default_training}
    defaults = dict(cls.default_training)
    for name in ("steps", "batch_size"):
        annotations[name] = Annotated[
            Annotated[int, Field(gt=0)] | None,
            Parameter(show_default=str(defaults.get(name, getattr(TrainConfig, name)))),
        ]
        defaults[name] = None
    decorate: Any = dataclass(frozen=True, kw_only=True, config=STRICT)
    config_class: type[TrainConfig] = decorate(
        type("Plan", (TrainConfig,), {"__annotations__": annotations, "__module__": TrainConfig.__module__} | defaults)
    )
    return config_class


for _name, _cls in MODELS.items():
    train_app.command(make_train_command(_cls), name=_name)


def add_own_model(reference: str) -> None:
    """Make a command of FILE.py:CLASS, which is run for that."""
    if reference in train_app:  # as the file was before, in the same process
        del train_app[reference]
    train_app.command(make_train_command(load_model_class(reference)), name=reference)


def print_run(trained: Trained, as_json: bool) -> None:
    assert trained.folder is not None
    print_result([str(trained.folder)], run_folder.summarize_run(trained.folder), as_json)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Changes:
    """What can be otherwise in a run that goes on."""

    lr: float | None = None
    """learning rate"""
    lr_d: float | None = None
    """learning rate of a GAN's discriminator"""
    batch_size: int | None = None
    """examples per step"""
    checkpoint_every: int | None = None
    """steps between checkpoints"""
    patience: int | None = None
    """stop after this many measurements of samples without improvement"""
    clip_grad_norm: float | None = None
    """clip the gradient norm of each network to this"""
    ema_decay: float | None = None
    """decay of the averaged weights"""
    lr_milestones: str | None = None
    """shares of the run, e.g. 0.5,0.8, after which the learning rate is multiplied by lr_gamma"""
    lr_gamma: float | None = None
    """factor of the learning rate at each milestone"""
    lr_decay: float | None = None
    """last share of the run, in which the learning rate falls linearly to 0"""
    precision: Literal["float32", "bfloat16"] | None = None
    """precision of matrix products and convolutions"""
    balanced: bool | None = None
    """draw examples of every class equally often"""


NO_CHANGES = Changes()


def resume(
    run: RunName,
    data: Annotated[str | None, Parameter(help="where its data are now, if they have moved")] = None,
    data_b: Annotated[str | None, Parameter(help="where a translator's domain B is")] = None,
    /,
    *,
    steps: Annotated[int | None, Parameter(help="train to this step, beyond the run's plan")] = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda", "mps"] | None, Parameter(help="where to compute from now on")
    ] = None,
    allow_changed_data: Annotated[
        bool, Parameter(negative=(), help="go on although the data have changed; config.json says since which step")
    ] = False,
    changes: Annotated[Changes, Parameter(name="*", group="Changes, from here on")] = NO_CHANGES,
    quiet: Annotated[bool, Parameter(negative=(), help="show no progress")] = False,
    json: Json = False,
    **unknown_options: Annotated[str, Parameter(show=False)],
) -> None:
    """Go on with a run that was stopped or killed, exactly as if it had not been."""
    sources = data if data is None or data_b is None else (data, data_b)
    overrides = {name: value for name, value in to_dict(changes).items() if value is not None} | unknown_options
    trained = running.resume(
        run_folder.find_run(run),
        sources,
        steps=steps,
        device=device,
        allow_changed_data=allow_changed_data,
        quiet=quiet,
        **overrides,
    )
    print_run(trained, json)
