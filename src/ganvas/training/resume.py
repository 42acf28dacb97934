"""How a run goes on: with what its folder holds, on its data, and with what the user wants to be otherwise.

That it then equals a run that was never stopped is the loop's doing, see `training.loop`.
"""

from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from ..config import TrainConfig
from ..data import Data, DataOptions, Sources, load_all, resolve_domains
from ..data.stream import check_batches
from ..errors import UserError, did_you_mean
from ..inference.schema import check_fields, parse_model
from ..inference.training_data import TrainingData, describe_data, parse_training_data, source_name
from ..io.run_folder import RunFolder
from ..io.safetensors import open_safetensors, read_header
from ..model import Model, model_name, to_dict
from ..models._own import model_source, source_notes, with_own_networks
from ..nn.device import resolve_device
from . import checkpoint, run_records
from .fit import Run
from .loop import TrainState, initialize_state
from .progress import ProgressBar

CHANGEABLE_TRAIN_FIELDS = (
    "steps", "device", "batch_size", "checkpoint_every", "ema_decay", "lr_milestones", "lr_gamma", "lr_decay",
    "clip_grad_norm", "patience", "precision", "balanced",
)  # fmt: skip
CHANGEABLE_MODEL_FIELDS = ("lr", "lr_d")
CHANGEABLE_FIELDS = CHANGEABLE_TRAIN_FIELDS + CHANGEABLE_MODEL_FIELDS
"""what may be otherwise from some step on: all that neither shapes the networks nor says what they have learnt"""
HIDDEN_CHANGES = ("steps", "data", "model_source")
"""changes that other notes report"""


def restore_run(
    folder: Path, data: Sources | None, overrides: dict[str, Any], allow_changed_data: bool, bar: ProgressBar
) -> Run:
    """The run in `folder`, with what the `overrides` change, which config.json then says too."""
    config = run_records.read_config(folder)
    check_run_files(folder, config)
    model = parse_model(config, RunFolder(folder).config)
    networks = {name: value for name, value in overrides.items() if name in model.own_network_names}
    overrides = {name: value for name, value in overrides.items() if name not in networks}
    model = with_own_networks(model, config.get("own_networks", {}), networks, folder)
    previous = model, TrainConfig(**config["train_config"])
    for name, value in run_records.unsupported_fields(folder).items():
        raise UserError(
            f"{folder} was trained with {name}={value}, which {config['model']} no longer has: it can be sampled, but "
            f"not go on; start a new run with its weights: ganvas train MODEL DATA --init-from {folder}"
        )
    check_normalization(folder, model)
    model, train_config = apply_overrides(*previous, overrides, folder)
    data = data if data is None or model.n_domains == 1 else resolve_domains(data)
    training_data = parse_training_data(folder, config["data"])
    raw_data, description = reload_data(training_data, data, config["model"], bar, allow_changed_data)
    model.validate_data(raw_data)
    dataset = model.preprocess(raw_data)
    model.validate_batch_size(train_config.batch_size, dataset.shape)
    check_batches(dataset.datasets, train_config.batch_size, train_config.balanced)
    state = restore_state(folder, config, model, dataset, train_config, "device" in overrides)
    run = Run(model, raw_data, dataset, train_config, folder, state, bar)
    restore_missing_files(run)
    check_steps(run, overrides)
    if overrides.keys() & {"steps", "patience"}:
        # a run that had ended early waits anew for better samples
        if previous[1].is_out_of_patience(state.evaluations_since_best):
            state.evaluations_since_best = 0
            run.save_checkpoint()
        config.pop("end_step", None)
    write_changes(run, config, previous, data, description)
    bar.print_notes(source_notes(model, config.get("model_source")) + divergence_notes(folder))
    bar.print_notes(run_records.damaged_line_notes(folder))
    run_records.truncate_log(folder, state.step)
    return run


def check_run_files(folder: Path, config: dict[str, Any]) -> None:
    """UserError where the files of the run are those of another model than config.json says."""
    files = RunFolder(folder)
    for file in (files.weights, files.checkpoint):
        if file.exists():
            check_fields(file, read_header(file), config)


def check_normalization(folder: Path, model: Model) -> None:
    """UserError for a run whose D has another normalisation beside spectral norm: of a version that allowed both."""
    file = RunFolder(folder).checkpoint
    if getattr(model, "spectral_norm", False) and file.exists():
        with open_safetensors(file) as state_file:
            names = [name for name in state_file.keys() if name.startswith("nets/D.")]  # noqa: SIM118
        if any(name.endswith(".weight") for name in names):  # spectral norm keeps those of its own under other names
            raise UserError(
                f"{folder} cannot go on: its D has another normalisation, which undoes spectral norm, and now has none "
                f"beside it; its weights can be used; retrain: ganvas train {model_name(model)} DATA --spectral-norm"
            )


def apply_overrides(
    model: Model, config: TrainConfig, overrides: dict[str, Any], folder: Path
) -> tuple[Model, TrainConfig]:
    """Model and configuration with these changes; UserError for what cannot change in the same run."""
    model_fields, train_fields, data_fields = ({f.name for f in fields(c)} for c in (model, config, DataOptions))
    changeable = [name for name in CHANGEABLE_FIELDS if name in train_fields | model_fields]
    for name, value in overrides.items():
        if name in changeable:
            continue
        if name == "epochs":
            raise UserError("epochs are counted from a run's beginning: say with `steps` up to which step it goes on")
        if name in model_fields | train_fields | data_fields:
            command = f"ganvas train {model_name(model)} DATA --init-from {folder}"
            raise UserError(
                f"{name}={value} cannot be changed in a run, which would be another one: start a new run, and where "
                f"its weights fit, begin with them: {command}"
            )
        hint = did_you_mean(name, changeable) or f" It has {', '.join(changeable)}"
        raise UserError(f"resume has no {name!r}.{hint}")
    model = replace(model, **{name: value for name, value in overrides.items() if name in CHANGEABLE_MODEL_FIELDS})
    return model, replace(config, **{k: value for k, value in overrides.items() if k in CHANGEABLE_TRAIN_FIELDS})


def check_steps(run: Run, overrides: dict[str, Any]) -> None:
    """UserError where no step is left though more is asked for; a note where nothing is."""
    step, steps = run.state.step, run.config.steps
    if step > steps or (step == steps and overrides.keys() - {"device"}):
        raise UserError(f"{run.folder} has already done {step} steps: ask for more `steps`")
    if "steps" in overrides:
        return
    if run.is_out_of_patience:
        ending = f"{run.folder} ended at step {step} of {steps}, its patience"
        run.bar.print_notes([f"{ending}: go on with --steps {steps}"])
    elif step == steps:
        run.bar.print_notes([f"{run.folder} has already done its {step} steps: ask for more with --steps"])


def write_changes(
    run: Run,
    config: dict[str, Any],
    previous: tuple[Model, TrainConfig],
    data: Sources | None,
    description: dict[str, Any],
) -> None:
    """Write down what changes from this step on, and where the data, of this description, are now."""
    state, source = run.state, "array" if data is None else source_name(data)
    data_config = config["data"] | ({} if "array" in source else {"source": source}) | description
    old = to_dict(previous[0]) | to_dict(previous[1]) | {"data": config["data"]["fingerprint"]}
    new = to_dict(run.model) | to_dict(run.config) | {"data": data_config["fingerprint"]}
    if code := model_source(type(run.model)):
        old, new = old | {"model_source": config.get("model_source")}, new | {"model_source": code}
    differences = {name: [old[name], new[name]] for name in old if old[name] != new[name]}
    config = config | {
        "fields": config["fields"] | {name: new[name] for name in CHANGEABLE_MODEL_FIELDS if name in differences},
        "train_config": config["train_config"] | {k: new[k] for k in CHANGEABLE_TRAIN_FIELDS if k in differences},
        "data": data_config if "data" in differences else config["data"] | {"source": data_config["source"]},
    }
    if "model_source" in new:
        config["model_source"] = new["model_source"]
    if differences:
        config["changes"] = [*config.get("changes", []), {"step": state.step} | differences]
    # the lowest distance from other data says nothing of these
    if "data" in differences and state.lowest_distance is not None:
        state.forget_lowest_distance()
        run.save_checkpoint()
    if config != run_records.read_config(run.folder):
        run.files.write_config(config)
    messages = [f"{name} {new[name]} in place of {old[name]}" for name in differences if name not in HIDDEN_CHANGES]
    messages += ["other data"] if "data" in differences else []
    if messages:
        changes = f"from step {state.step} on with {', '.join(messages)}"
        run.bar.print_notes([f"{changes}: not the run that was begun, as config.json says"])


def divergence_notes(folder: Path) -> list[str]:
    """That a run ended because a number was no longer finite: its steps will be the same, and most likely their end."""
    (last,) = run_records.read_log(folder)[-1:] or [{}]
    if "diverged" not in last:
        return []
    return [
        f"the run diverged after step {last['step']} ({last['diverged']}), and will likely do so again: start a new "
        "run with a smaller --lr or another --seed"
    ]


def reload_data(
    training_data: TrainingData, data: Sources | None, model: str, bar: ProgressBar, allow_changed_data: bool
) -> tuple[Data, dict[str, Any]]:
    """The run's data, read again, and their description.

    UserError where they are not the same, unless others are wanted that fit the run.
    """
    folder = training_data.folder
    if data is None and training_data.has_arrays:
        raise UserError(f"{folder} was trained on an array: pass it again, ganvas.resume(folder, data=array)")
    with bar.track_images() as progress:
        load = partial(load_all, progress=progress)
        dataset = training_data.load(load) if data is None else load(data, training_data.options)
    description = describe_data(dataset)  # once: it reads all examples
    if not allow_changed_data:
        advice = f", or go on with these from here on: ganvas resume {folder} --allow-changed-data"
        training_data.check_unchanged(description, advice)
    for what in ("shape", "classes"):
        if description[what] != training_data.description[what]:
            raise UserError(
                f"{folder} cannot go on with these data: {what} {description[what]} in place of "
                f"{training_data.description[what]}; start a new run: ganvas train {model} DATA --init-from {folder}"
            )
    return dataset, description


def restore_state(
    folder: Path, run_config: dict[str, Any], model: Model, data: Data, config: TrainConfig, is_device_requested: bool
) -> TrainState:
    """The state with which a run goes on: that of its checkpoint, or the first where it has done no step yet.

    Raises UserError where there is no checkpoint though steps were done, where it is damaged, and where the device,
    be it requested now or of old, is not there.
    """
    try:
        device = resolve_device(config.device)
    except UserError as error:
        hint = "" if is_device_requested else f", or go on elsewhere: ganvas resume {folder} --device auto"
        raise UserError(f"{error}{hint}") from error
    file = RunFolder(folder).checkpoint
    if file.exists():
        checkpoint.check_checkpoint(file, model, data.shape, len(data.classes))
    else:
        check_untrained(folder, run_config)
    state = initialize_state(model, data.shape, config.seed, device, len(data.classes))
    if file.exists():
        header = checkpoint.restore(state, file, model)
        n_examples = state.position * header.get("batch_size", config.batch_size)
        state.position = n_examples // config.batch_size  # as many examples as were seen
    return state


def check_untrained(folder: Path, config: dict[str, Any]) -> None:
    """UserError where a run without a checkpoint has done steps: begun again it would overwrite what they made."""
    files = RunFolder(folder)
    has_trained = any(file.exists() and file.stat().st_size for file in (files.log, files.curves))
    has_trained |= any(path.stem.strip("0").isdigit() for path in files.previews())
    has_trained |= any(file.exists() and weights_step(file) != 0 for file in (files.weights, files.last_weights))
    if has_trained or "init_from" in config or "changes" in config:
        advice = "start a new run in another folder: what this one holds is left as it is"
        raise UserError(f"{files.checkpoint} is missing, so the run cannot go on; {advice}")


def weights_step(weights: Path) -> int | None:
    """The step of a file of weights; None where that cannot be told."""
    try:
        step = read_header(weights).get("step")
    except UserError:
        return None
    return step if isinstance(step, int) else None


def restore_missing_files(run: Run) -> None:
    """Write the checkpoint's weights in place of weights that are gone; if they were the best, these are so now."""
    state, files, notes = run.state, run.files, []
    if state.step >= run.config.checkpoint_every and not files.log.exists():
        notes.append(f"{files.log} is missing: the log begins anew after step {state.step}")
    if state.step and not files.weights.exists():
        run.current_model().save(files.weights)
        message = f"{files.weights} is missing: the averaged weights of step {state.step} take its place"
        if run.keeps_best and not run.is_best:
            message += f", though those of step {state.best_step} were the best"
        if run.keeps_best and state.lowest_distance is not None:
            state.lowest_distance, state.distance_error, state.best_step = None, 0.0, state.step
        notes.append(message)
    run.bar.print_notes(notes)
