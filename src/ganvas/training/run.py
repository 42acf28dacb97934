"""Runs: training that is written down as it goes, can be stopped, and goes on exactly where it stopped.

The run folder is the interface: config.json (what was asked), log.jsonl (a line a report), curves.png, previews/*.png,
weights.safetensors (the averaged weights, with all that using them takes) and state.ckpt (all that going on takes).
"""

import signal
import time
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch

from ..config import TrainConfig
from ..data import Data, DataOptions, Sources, load_all, make_stream, resolve_domains
from ..diagnostics import examine, recent_lines
from ..errors import DivergenceError, TrainingStopped, UserError, did_you_mean
from ..inference.trained import Trained
from ..inference.training_data import source_name
from ..io.run_folder import LAST_WEIGHTS_FILE, RunFolder
from ..io.safetensors import read_header
from ..model import Model, model_name, to_dict
from ..models import check_name
from ..nn.device import resolve_device
from . import run_folder, validation
from .loop import TrainState, initialize_state
from .loop import train as training
from .monitor import monitor_statistics
from .progress import ProgressBar, TrainingProgress
from .record import Run, SaveTimer, current_model, evaluate_samples, final_model, keeps_best, make_monitor_batch, save
from .resume import is_out_of_patience, restore_run
from .signals import catch_stop_signals
from .validation import SampleEvaluator
from .warm_start import initialize_from

LOG_LINES_PER_CHECKPOINT = 10
"""lines of the log between two checkpoints"""


@torch.random.fork_rng(devices=[])  # the caller's own random numbers on the CPU go on as if nothing had been
def train(
    model: Model,
    data: Sources,
    *,
    runs_dir: str | Path = "runs",
    folder: str | Path | None = None,
    init_from: Trained | str | Path | None = None,
    quiet: bool = False,
    **options: Any,
) -> Trained:
    """Train `model` on `data` and return it with its averaged weights.

    `data` is a source, for a translator two of them, (A, B), which need not be paired.
    `options` are the fields of `TrainConfig` (steps, epochs, batch, seed, ...) and of `DataOptions` (classes, size,
    ...).  The run
    is written to `folder`, which must be new or empty, or else to a new one in `out`; `quiet` shows no progress.
    With `start`, a run, a file of weights or a trained model, its networks are those that the run begins with.  Raises
    UserError for what the caller can put right, Diverged when the loss is no longer finite, and Stopped after
    Ctrl-C or SIGTERM; in the last two cases `resume` goes on from the last checkpoint.
    """
    if not isinstance(model, Model):
        raise UserError(f"train takes a model, such as ganvas.VAE(latent=16), not {model!r}")
    check_name(type(model))
    data = resolve_domains(data) if model.n_domains == 2 else data
    check_sources(model, data)
    train_config, data_options = split_options(options, model)
    if folder is not None:
        RunFolder(folder).check_new()
    bar = ProgressBar(quiet)
    with bar.track_images() as progress:
        dataset = load_all(data, data_options, progress=progress)
    model.validate_data(dataset)
    raw_data = dataset
    dataset = model.preprocess(dataset)
    default_batch_size = train_config.batch_size
    train_config = epochs_to_steps(
        limit_batch_size(train_config, dataset) if options.get("batch_size") is None else train_config, dataset
    )
    validation.check_patience(model, raw_data, train_config)
    device = resolve_device(train_config.device)
    model.validate_batch_size(train_config.batch_size, dataset.shape)
    make_stream(
        dataset, batch=train_config.batch_size, seed=train_config.seed, balanced=train_config.balanced
    )  # refuses a batch that is too large
    state = initialize_state(model, dataset.shape, train_config.seed, device, len(dataset.classes))
    initial_weights = {} if init_from is None else initialize_from(init_from, model, state, bar.print_notes)
    path = run_folder.create_run_folder(model, dataset, Path(runs_dir), None if folder is None else Path(folder))
    with RunFolder(path).lock(bar.print_notes):
        RunFolder(path).check_new()  # another process may have been faster
        run_folder.write_config(path, model, raw_data, train_config, data_options, source_name(data), initial_weights)
        bar.print_notes(dataset.notes)
        if train_config.batch_size < default_batch_size:
            bar.print_notes(
                [
                    f"{dataset.name} has {train_config.batch_size} examples, so batches have as many, and not "
                    f"{default_batch_size}"
                ]
            )
        return fit(Run(model, raw_data, dataset, train_config, path), state, bar)


@torch.random.fork_rng(devices=[])
def resume(
    folder: str | Path,
    data: Sources | None = None,
    *,
    steps: int | None = None,
    device: str | None = None,
    allow_changed_data: bool = False,
    quiet: bool = False,
    **changes: Any,
) -> Trained:
    """Go on with the run in `folder`, exactly as if it had not stopped, to its last step or to `steps`.

    The data are read again from where they came; where they have moved, and for a run on an array, `data` says where
    they are.  What else can change is `resume.CHANGEABLE_FIELDS` (lr, batch_size, ...), the `device`, and with
    `allow_changed_data` the data themselves: the run is then another one from here on, and config.json says since
    which step.  Networks of the user's own are given again, e.g. encoder=MyEncoder(): the folder has no code.  Raises
    UserError where the run, its checkpoint or its data are missing, damaged or not the same.
    """
    folder, bar = Path(folder), ProgressBar(quiet)
    run_folder.read_config(folder)
    with RunFolder(folder).lock(bar.print_notes):
        overrides = changes | {name: v for name, v in (("steps", steps), ("device", device)) if v is not None}
        run, state = restore_run(folder, data, overrides, allow_changed_data, bar)
        return fit(run, state, bar)


def fit(run: Run, state: TrainState, bar: ProgressBar) -> Trained:
    """Train to the plan's end; log, previews, weights and checkpoint are written as it goes."""
    start_time = time.monotonic() - run_folder.logged_seconds(run.folder)
    if state.step == run.train_config.steps:
        return final_model(run, state)
    if is_out_of_patience(run.train_config, state):
        return finish_early(run, state)
    save_timer = SaveTimer(state.step)
    try:
        with catch_stop_signals(lambda: stop_request_message(run, state, save_timer)) as get_stop_signal:
            if state.step == 0:
                save(run, state)
            log_lines = run_folder.read_log(run.folder)
            evaluator = validation.make_evaluator(run.model, run.raw_data, run.data, run.train_config, state, log_lines)
            bar.print_notes(
                [*patience_notes(run.train_config, evaluator), *validation.metric_change_notes(log_lines, evaluator)]
            )
            with bar.track_training(
                run.train_config.steps, state.step, run.train_config.batch_size, str(run.folder)
            ) as progress:
                run_steps(run, state, evaluator, start_time, save_timer, get_stop_signal, progress)
    except DivergenceError as error:
        raise divergence_error(run, state, start_time, error) from error
    except TrainingStopped:
        raise
    except KeyboardInterrupt as error:
        message = (
            f"ended at once; {run.folder} keeps the checkpoint of step {save_timer.step} of {run.train_config.steps}"
        )
        raise TrainingStopped(f"{message}; go on with: ganvas resume {run.folder}", signal.SIGINT) from error
    if state.step < run.train_config.steps:
        bar.say(
            f"ended at step {state.step} of {run.train_config.steps}, after {state.waited} measurements of samples "
            f"without improvement; to go on all the same: ganvas resume {run.folder} --steps {run.train_config.steps}"
        )
    bar.print_notes(validation.time_share_notes(run_folder.read_log(run.folder)))
    bar.say(kept_weights_message(run, state))
    return finish_early(run, state) if state.step < run.train_config.steps else final_model(run, state)


def run_steps(
    run: Run,
    state: TrainState,
    evaluator: SampleEvaluator | None,
    start_time: float,
    save_timer: SaveTimer,
    get_stop_signal: Callable[[], int],
    progress: TrainingProgress,
) -> None:
    """Play the steps that are left; raises Stopped, once the state is saved, where that is `asked`."""
    log_every = max(1, run.train_config.checkpoint_every // LOG_LINES_PER_CHECKPOINT)
    monitor_batch = make_monitor_batch(run, state)
    log_lines = recent_lines(run_folder.read_log(run.folder))
    for step in training(run.model, run.data, run.train_config, state):
        is_last = step == run.train_config.steps
        is_checkpoint = is_last or step % run.train_config.checkpoint_every == 0
        if is_checkpoint or step % log_every == 0:
            terms = state.meter.pop_means()
            report = monitor_statistics(run.model, state, run.train_config, monitor_batch, terms, is_checkpoint)
            line = {"step": step, "seconds": round(time.monotonic() - start_time, 3)} | terms
            if evaluator and (is_last or step % evaluator.interval == 0):
                report |= evaluate_samples(run, state, evaluator)
            is_last = is_last or is_out_of_patience(run.train_config, state)
            line |= run.model.estimates(terms) | report
            RunFolder(run.folder).append_log(line)
            progress.show_terms(step, terms, report)
            log_lines = recent_lines([*log_lines, line])
            end_step = step if is_last else run.train_config.steps
            progress.warn([d.sentence for d in examine(run.model, end_step, log_lines) if d.is_alarm])
        progress.update(step)
        if is_checkpoint or get_stop_signal() or save_timer.is_due():
            state.meter.fetch()  # nothing is saved that was not finite
            save(run, state)
            save_timer.draw_if_due(run, always=is_last or bool(get_stop_signal()))
            save_timer.restart(step)
            progress.show_save(step)
        if is_last:
            break
        if get_stop_signal():
            message = f"stopped at step {step} of {run.train_config.steps}; go on with: ganvas resume {run.folder}"
            raise TrainingStopped(message + stop_details(run, state, evaluator), get_stop_signal())


def stop_details(run: Run, state: TrainState, evaluator: SampleEvaluator | None) -> str:
    """Which weights a stopped run keeps, where they are not its last, and how the samples of both compare.

    The measurement is for the reader alone: counted in the state, it would make the resumed run another one.
    """
    if evaluator is None or not keeps_best(run) or state.lowest is None or state.best == state.step:
        return ""
    current = evaluator.measure(current_model(run, state))
    metric_name = current["metric"].partition(":")[0]
    best_value = read_header(RunFolder(run.folder).weights).get("samples", {}).get("value")
    formatted_values = ["none" if value is None else f"{value:.3g}" for value in (current["value"], best_value)]
    values = f"{formatted_values[0]} now, {formatted_values[1]} of those kept"
    return f" ({kept_weights_message(run, state)}; {metric_name} {values})"


def stop_request_message(run: Run, state: TrainState, save_timer: SaveTimer) -> str:
    """What is said at once to who asks a run to stop."""
    lost_steps = state.step - save_timer.step
    cost = (
        f"{lost_steps} step{'' if lost_steps == 1 else 's'}, back to step {save_timer.step}"
        if lost_steps
        else "that step"
    )
    return f"stopping: the step under way is finished, then all is saved; a second Ctrl-C ends at once and loses {cost}"


def patience_notes(train_config: TrainConfig, evaluator: SampleEvaluator | None) -> list[str]:
    """How often a run that may end early is measured; nothing of others."""
    if evaluator is None or train_config.patience is None:
        return []
    n_evaluations = -(-train_config.steps // evaluator.interval)
    return [
        f"samples are measured every {evaluator.interval} steps, {n_evaluations} times in all: "
        f"patience={train_config.patience} ends the "
        "run after as many that find none better"
    ]


def kept_weights_message(run: Run, state: TrainState) -> str:
    """Which weights the run has kept."""
    if not keeps_best(run) or state.lowest is None or state.best == state.step:
        return f"weights kept: step {state.step}"
    last = f"those of step {state.step} are in {LAST_WEIGHTS_FILE}"
    return f"weights kept: step {state.best}, whose samples are the best; {last}"


def finish_early(run: Run, state: TrainState) -> Trained:
    """What a run has made that ends before its last step, as its config.json then says."""
    RunFolder(run.folder).write_config(run_folder.read_config(run.folder) | {"ended": state.step})
    return final_model(run, state)


def divergence_error(run: Run, state: TrainState, start_time: float, error: DivergenceError) -> DivergenceError:
    """What is raised where the loss is no longer finite, which the log is told as well."""
    seconds = round(time.monotonic() - start_time, 3)
    RunFolder(run.folder).append_log({"step": state.step, "seconds": seconds, "diverged": str(error)})
    checkpoint_step = run_folder.checkpoint_step(run.folder)
    return DivergenceError(
        f"{error}: stopped; {run.folder} keeps the checkpoint of step {checkpoint_step}. "
        "Start a new run with a smaller learning rate (`lr`) or another `seed`"
    )


def check_sources(model: Model, data: Sources) -> None:
    """UserError unless there are as many sources as the model learns from."""
    name = model_name(model)
    if model.n_domains == 2 and not isinstance(data, tuple):
        raise UserError(f"{name} translates between two collections: give both, as (A, B) or ganvas train {name} A B")
    if model.n_domains == 1 and isinstance(data, tuple):
        raise UserError(
            f"{name} learns from one collection, not from {len(data)}: give one source; images with labels are "
            "ganvas.from_array(images, labels)"
        )


def limit_batch_size(train_config: TrainConfig, data: Data) -> TrainConfig:
    """The plan, with smaller batches where the data have fewer examples."""
    return replace(train_config, batch_size=min(train_config.batch_size, *map(len, data.datasets)))


def epochs_to_steps(train_config: TrainConfig, data: Data) -> TrainConfig:
    """The plan with epochs turned into steps."""
    if train_config.epochs is None:
        return train_config
    return replace(
        train_config, epochs=None, steps=max(1, round(train_config.epochs * (len(data) // train_config.batch_size)))
    )


def split_options(options: dict[str, Any], model: Model | None = None) -> tuple[TrainConfig, DataOptions]:
    """Keyword arguments as a Plan and a View, None for what is usual; UserError for those that make no such."""
    field_names = {cls: {f.name for f in fields(cls)} for cls in (TrainConfig, DataOptions)}
    all_names = sorted(set().union(*field_names.values()))
    for name in options:
        if name not in all_names:
            hint = did_you_mean(name, all_names) or f" It has {', '.join(all_names)}"
            advice = (
                f" {type(model).__name__} has: {type(model).__name__}({name}=...)." if hasattr(model, name) else hint
            )
            raise UserError(f"train has no option {name!r}.{advice}")
    explicit_values = {name: value for name, value in options.items() if value is not None}
    values = explicit_values if model is None else to_dict(model.default_training) | explicit_values
    train_values, data_values = (
        {k: v for k, v in values.items() if k in field_names[cls]} for cls in (TrainConfig, DataOptions)
    )
    train_config = TrainConfig(**train_values)
    if {"steps", "epochs"} <= explicit_values.keys():
        raise UserError(
            f"steps={train_config.steps} and epochs={train_config.epochs:g} both say how long to train: give "
            "one of them"
        )
    return train_config, DataOptions(**data_values)
