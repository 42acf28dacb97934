"""`ganvas train` and `resume`.  Options of models, training and data are the fields of their own dataclasses."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from cyclopts import App, Parameter

from ..config import TrainConfig
from ..data import DataOptions
from ..errors import DivergenceError, UserError, check_positive
from ..fields import mark_given
from ..inference.table_part import learns_table
from ..inference.trained import Trained
from ..io.run_folder import RunFolder
from ..model import Model, chooses_defaults, to_dict
from ..models import MODELS
from ..models._own import load_model_class
from ..renamed import given_up
from ..training import many, run_records
from ..training import run as running
from ..training.defaults import refuse_unused
from ..training.distributed import is_main, is_rank
from ..training.launch import start_ranks
from ..training.progress import ProgressBar
from ..training.resume import CHANGEABLE_TRAIN_FIELDS
from .app import print_result
from .arguments import value_words
from .common import Devices, Given, Json, Quiet, RunName, SourceName, Words

CHANGES = "Changes, from here on"
DATA_B_HELP = "the second domain, to translate between the two"
CHANGED_DATA_HELP = "go on although the data have changed; config.json notes at which step"
SEEDS_HELP = "train so many runs at once, with the seeds seed, seed + 1, ..."
SWEEP_HELP = "train a run for each value of an option, e.g. lr=1e-4,3e-4,1e-3"
train_app: App = App(name="train", help="Train a model on a folder of images, a file, or a named data set.")


def read_sweep(text: str, cls: type[Model]) -> many.Values:
    """The option and its values, of NAME=VALUE,VALUE,...; `none` is no value where the option may have none."""
    hints = get_type_hints(cls, include_extras=True) | get_type_hints(TrainConfig, include_extras=True)
    return {
        name: [value_words(hints.get(name)).get(str(value).lower(), value) for value in values]
        for name, values in many.parse_sweep(text).items()
    }


def make_train_command(cls: type[Model]) -> Callable[..., int]:
    """The command that trains models of this class: its options are the fields of the class and of both configs."""

    def command(
        data: SourceName,
        /,
        *data_b: Annotated[str, Parameter(show=cls.n_domains == 2, help=DATA_B_HELP)],
        model: Annotated[cls, Parameter(name="*", group="Model")] = cls(),  # type: ignore[valid-type]
        train_config: Annotated[TrainConfig, Parameter(name="*", group="Training")] = TrainConfig(),
        data_options: Annotated[DataOptions, Parameter(name="*", group="Data")] = DataOptions(),
        runs_dir: Annotated[Path, Parameter(help="folder for run folders")] = Path("runs"),
        folder: Annotated[Path | None, Parameter(help="the run's folder, which must be new or empty")] = None,
        init_from: Annotated[str | None, Parameter(help="run or file of weights to start from")] = None,
        devices: Devices = 1,
        seeds: Annotated[int, Parameter(help=SEEDS_HELP)] = 1,
        sweep: Annotated[str | None, Parameter(help=SWEEP_HELP)] = None,
        quiet: Quiet = False,
        json: Json = False,
        given: Given = frozenset(),
        words: Words = (),
    ) -> int:
        refuse_unused(model, train_config, given)
        check_positive(devices, "devices")
        if devices > 1 and given & {"seeds", "sweep"}:
            raise UserError(f"a group of runs is trained by one process: leave out devices={devices}")
        if devices > 1 and not is_rank():
            return start_ranks(devices, words, train_config.device)
        values = to_dict(train_config) | to_dict(data_options)
        options: dict[str, Any] = {name: value for name, value in values.items() if name in given}
        options |= {"runs_dir": runs_dir, "folder": folder, "init_from": init_from, "quiet": quiet}
        sources, model = (data, *data_b) if data_b else data, mark_given(model, given & to_dict(model).keys())
        if not given & {"seeds", "sweep"}:
            return print_run(running.train(model, sources, **options), quiet, json)
        if options.pop("init_from") is not None:
            raise UserError("`init_from` is for one run: leave out `seeds` and `sweep`")
        values_of = None if sweep is None else read_sweep(sweep, cls)
        for name in values_of or ():
            if name in given:
                raise UserError(f"{name} is given twice: once alone, and once in sweep")
        return print_runs(many.train_many(model, sources, seeds=seeds, sweep=values_of, **options), json)

    next_command = "ganvas sample last" if cls.n_domains == 1 else "ganvas translate last FROM TO"
    command.__doc__ = f"{cls.__doc__}\n\nWrites a run folder; then: `{next_command}`."
    fixed, defaults = given_up(cls), to_dict(cls.default_training)
    chosen = cls.chosen_options if chooses_defaults(cls) else ()
    vars(command).update(hidden=cls.ignored_options, fixed_options=fixed, defaults=defaults, chosen=chosen)
    return command


for _name, _cls in MODELS.items():
    train_app.command(make_train_command(_cls), name=_name)


def add_own_model(reference: str) -> None:
    """Make a command of FILE.py:CLASS, whose file is run for that."""
    add_own_command(train_app, make_train_command, reference)


def add_own_command(
    group: App, make_command: Callable[[type[Model]], Callable[..., int | None]], reference: str
) -> None:
    """Make a command of FILE.py:CLASS in a group that has one for each model."""
    if reference in group:  # as the file was before, in the same process
        del group[reference]
    group.command(make_command(load_model_class(reference)), name=reference)


def add_verdict(folder: Path, quiet: bool) -> None:
    """Put a verdict on rows of a table on the page that a run has left, if it has."""
    files = RunFolder(folder)
    if files.report.exists() and learns_table(files):
        from .report import write_verdict  # all that measures takes its time to import

        write_verdict(folder, ProgressBar(quiet))


def print_run(trained: Trained, quiet: bool, as_json: bool) -> int:
    """Judge the rows of a table, print where the run is, and return the exit code."""
    assert trained.folder is not None
    if is_main():
        add_verdict(trained.folder, quiet)
        print_result([str(trained.folder)], run_records.summarize_run(trained.folder), as_json)
    return 0


def print_runs(trained: many.TrainedGroup, as_json: bool) -> int:
    """Print where the runs of a group are, and return the exit code; DivergenceError, at last, where some diverged."""
    folders = [run.folder for run in trained if run.folder is not None]
    print_result([str(folder) for folder in folders], [run_records.summarize_run(f) for f in folders], as_json)
    if names := list(trained.divergences):
        what = f"{len(names)} of {len(names) + len(folders)} runs diverged, {', '.join(names)}"
        raise DivergenceError(f"{what}; {trained.divergences[names[0]]}")
    return 0


def resume(
    run: RunName,
    data: Annotated[str | None, Parameter(help="where the run's data are now, if they have moved")] = None,
    data_b: Annotated[str | None, Parameter(help="where a translator's domain B is now")] = None,
    /,
    *,
    allow_changed_data: Annotated[bool, Parameter(negative=(), help=CHANGED_DATA_HELP)] = False,
    lr: Annotated[float | None, Parameter(group=CHANGES, help="learning rate")] = None,
    lr_d: Annotated[float | None, Parameter(group=CHANGES, help="learning rate of a GAN's discriminator")] = None,
    train_config: Annotated[TrainConfig, Parameter(name="*", group=CHANGES)] = TrainConfig(),
    devices: Devices = 1,
    quiet: Quiet = False,
    json: Json = False,
    given: Given = frozenset(),
    words: Words = (),
    **unknown_options: Annotated[str, Parameter(show=False)],
) -> int:
    """Continue a run that was stopped or killed, exactly as if it had not been stopped."""
    is_group = bool(run_records.find_group(run))
    if check_positive(devices, "devices") > 1 and is_group:
        raise UserError(f"a group of runs is trained by one process: leave out devices={devices}")
    if devices > 1 and not is_rank():
        config = run_records.read_config(run_records.find_run(run))["train_config"]
        device = train_config.device if "device" in given else config.get("device", "auto")
        return start_ranks(devices, words, device)
    sources = data if data is None or data_b is None else (data, data_b)
    values = {"lr": lr, "lr_d": lr_d} | to_dict(train_config)
    options: dict[str, Any] = {name: value for name, value in values.items() if name in given} | unknown_options
    options |= {"allow_changed_data": allow_changed_data, "quiet": quiet}
    if is_group:
        return print_runs(many.resume_many(run, sources, **options), json)
    return print_run(running.resume(run_records.find_run(run), sources, **options), quiet, json)


_TRAIN_FIELDS = to_dict(TrainConfig())
vars(resume).update(hidden=_TRAIN_FIELDS.keys() - CHANGEABLE_TRAIN_FIELDS, defaults=dict.fromkeys(_TRAIN_FIELDS))
