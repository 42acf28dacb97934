"""How a run goes on: with what its folder holds, on its data, and with what the user wants to be otherwise."""

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
from ..ranks import world_size
from ..renamed import given_up
from . import checkpoint, run_records
from .defaults import refuse_unused
from .distributed import check_fsdp, initial_device, is_main, shard
from .fit import Run
from .loop import TrainState, initialize_state, prepare_data
from .memory import choose_batch_size
from .progress import ProgressBar
from .signals import StopRequest
from .tuning import Record, resolve_switches

CHANGEABLE_TRAIN_FIELDS = (
    "steps", "device", "batch_size", "checkpoint_every", "ema_decay", "lr_milestones", "lr_gamma", "lr_decay",
    "clip_grad_norm", "on_divergence", "patience", "precision", "compile", "tf32", "graph", "balanced",
    "report",
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
    config, files = run_records.read_config(folder), RunFolder(folder)
    model = parse_model(config, files.config)
    networks = {name: overrides.pop(name) for name in model.own_network_names if name in overrides}
    model = with_own_networks(model, config.get("own_networks", {}), networks, folder)
    old_config = TrainConfig(**config["train_config"])
    old = to_dict(model) | to_dict(old_config) | {"data": config["data"]["fingerprint"]}
    old["world_size"] = config.get("world_size", 1)
    check_files(files, config, model)
    model, train_config = apply_overrides(model, old_config, overrides, folder)
    data = data if data is None or model.n_domains == 1 else resolve_domains(data)
    training_data = parse_training_data(folder, config["data"])
    raw_data, description = reload_data(training_data, data, config["model"], bar, allow_changed_data)
    dataset = prepare_data(model, raw_data)
    refuse_unused(model, train_config, overrides.keys(), dataset.shape)
    train_config, trials = fit_batches(model, dataset, train_config, old_config, bar)
    check_fsdp(train_config)
    if train_config.fsdp and world_size() == 1:
        bar.print_notes(["fsdp has no effect here: one process has nobody to share its networks with"])
    state = restore_state(files, config, model, dataset, train_config, "device" in overrides)
    train_config, trials = resolve_switches(model, dataset, train_config, state, bar, trials)
    run = Run(model, raw_data, dataset, train_config, folder, state, bar)
    if is_main():
        restore_missing_files(run)
    step, steps = state.step, train_config.steps
    if step > steps or (step == steps and overrides.keys() - {"device"}):
        raise UserError(f"{folder} has already done {step} steps: ask for more `steps`")
    if train_config.is_out_of_patience(state.evaluations_since_best) and "steps" not in overrides:
        bar.print_notes([f"{folder} ended at step {step} of {steps}, its patience: go on with --steps {steps}"])
    elif step == steps:
        bar.print_notes([f"{folder} has already done its {step} steps: ask for more with --steps"])
    if overrides.keys() & {"steps", "patience"}:
        # a run that had ended early waits anew for better samples
        if old_config.is_out_of_patience(state.evaluations_since_best):
            state.evaluations_since_best = 0
            if is_main():
                checkpoint.save_selection(state, files.checkpoint)
        config.pop("end_step", None)
    source = "array" if data is None else source_name(data)
    is_place = "array" not in ([source] if isinstance(source, str) else source)
    write_changes(run, config, old, description, {"source": source} if is_place else {})
    run_records.add_trials(folder, trials)
    bar.print_notes(source_notes(model, config.get("model_source")))
    lines = run_records.read_log(folder, bar.print_notes)
    if lines and "diverged" in lines[-1]:
        end = f"after step {lines[-1]['step']} ({lines[-1]['diverged']}), and will likely do so again"
        bar.print_notes([f"{folder} diverged {end}: start a new run with a smaller --lr or another --seed"])
    run.log_lines = [line for line in lines if line["step"] <= step]  # a killed run has logged more
    if is_main():
        files.write_log(run.log_lines)
    return run


def fit_batches(
    model: Model, data: Data, config: TrainConfig, old_config: TrainConfig, bar: ProgressBar
) -> tuple[TrainConfig, Record]:
    """The configuration with a number of examples a step, and the record of its trial, if there was one.

    UserError where model or data do not allow such batches.
    """
    trials = Record()
    if config.batch_size == "auto":
        config = replace(config, batch_size=old_config.batch_size)
        config, trials = choose_batch_size(model, data, config, bar)
    model.validate_batch_size(config.examples_per_step, data.shape)
    check_batches(data.datasets, config.examples_per_step, config.balanced, world_size())
    return config, trials


def check_files(files: RunFolder, config: dict[str, Any], model: Model) -> None:
    """UserError where the files are of another model than config.json says, or of one that cannot be trained now."""
    for file in (files.weights, files.checkpoint):
        if file.exists():
            check_fields(file, read_header(file), config)
    fixed = given_up(type(model))
    for name, value in files.read_config()["fields"].items():
        if name in fixed and value != fixed[name][0]:
            advice = f"start a new run with its weights: ganvas train MODEL DATA --init-from {files.path}"
            what = f"{files.path} was trained with {name}={value}, which {config['model']} no longer has"
            raise UserError(f"{what}: it can be sampled, but not go on; {advice}")
    if getattr(model, "spectral_norm", False) and files.checkpoint.exists():
        with open_safetensors(files.checkpoint) as file:
            names = [name for name in file.keys() if name.startswith("nets/D.")]  # noqa: SIM118
        if any(name.endswith(".weight") for name in names):  # spectral norm keeps those of its own under other names
            command = f"ganvas train {model_name(model)} DATA --spectral-norm"
            why = "its D has another normalisation, which undoes spectral norm, and now has none beside it"
            raise UserError(f"{files.path} cannot go on: {why}; its weights can be used; retrain: {command}")


def apply_overrides(
    model: Model, config: TrainConfig, overrides: dict[str, Any], folder: Path
) -> tuple[Model, TrainConfig]:
    """Model and configuration with these changes; UserError for what cannot change in the same run."""
    model_fields, train_fields, data_fields = ({f.name for f in fields(c)} for c in (model, config, DataOptions))
    changeable = [name for name in CHANGEABLE_FIELDS if name in train_fields | model_fields]
    for name in [name for name in overrides if name not in changeable]:
        if name in ("epochs", "budget"):
            raise UserError(f"`{name}` counts from a run's beginning: say with `steps` up to which step it goes on")
        if name in model_fields | train_fields | data_fields:
            advice = f"begin with them: ganvas train {model_name(model)} DATA --init-from {folder}"
            what = f"{name}={overrides[name]} cannot be changed in a run, which would be another one"
            raise UserError(f"{what}: start a new run, and where its weights fit, {advice}")
        hint = did_you_mean(name, changeable) or f" It has {', '.join(changeable)}"
        raise UserError(f"resume has no {name!r}.{hint}")
    model = replace(model, **{name: value for name, value in overrides.items() if name in CHANGEABLE_MODEL_FIELDS})
    config = replace(config, **{k: value for k, value in overrides.items() if k in CHANGEABLE_TRAIN_FIELDS})
    refuse_unused(model, config, overrides.keys())
    return model, config


def write_changes(
    run: Run, config: dict[str, Any], old: dict[str, Any], description: dict[str, Any], source: dict[str, Any]
) -> None:
    """Write down what is otherwise than `old` from this step on, and where the data, of this description, are now."""
    state, old["model_source"] = run.state, config.get("model_source")
    new = to_dict(run.model) | to_dict(run.config) | {"data": description["fingerprint"]}
    new["world_size"] = world_size() if state.step < run.config.steps else old["world_size"]
    new["model_source"] = model_source(type(run.model)) or old["model_source"]
    differences = {name: [old[name], new[name]] for name in old if old[name] != new[name]}
    config = config | {
        "fields": config["fields"] | {name: new[name] for name in CHANGEABLE_MODEL_FIELDS if name in differences},
        "train_config": config["train_config"] | {k: new[k] for k in CHANGEABLE_TRAIN_FIELDS if k in differences},
        "data": config["data"] | source,
    }
    if differences:
        config["changes"] = [*config.get("changes", []), {"step": state.step} | differences]
    for name in {"model_source", "world_size"} & differences.keys():
        config[name] = new[name]
    messages = [f"{name} {new[name]} in place of {old[name]}" for name in differences if name not in HIDDEN_CHANGES]
    if "data" in differences:
        config["data"] |= description
        messages.append("other data")
        # the lowest distance from other data says nothing of these
        if state.lowest_distance is not None:
            state.forget_lowest_distance()
            if is_main():
                checkpoint.save_selection(state, run.files.checkpoint)
    if is_main() and config != run_records.read_config(run.folder):
        run.files.write_config(config)
    if messages:
        changes = f"from step {state.step} on with {', '.join(messages)}"
        run.bar.print_notes([f"{changes}: not the run that was begun, as config.json says"])


def reload_data(
    training_data: TrainingData, data: Sources | None, model: str, bar: ProgressBar, allow_changed_data: bool
) -> tuple[Data, dict[str, Any]]:
    """The run's data, read again, and their description; UserError for others that are not allowed, or do not fit."""
    folder = training_data.folder
    if data is None and training_data.has_arrays:
        raise UserError(f"{folder} was trained on an array: pass it again, ganvas.resume(folder, data=array)")
    with bar.track_images() as progress:
        is_alone = world_size() == 1  # of several ranks, one cannot end without the others
        load = partial(load_all, progress=StopRequest().watch(folder, progress) if is_alone else progress)
        dataset = training_data.load(load) if data is None else load(data, training_data.options)
    description = describe_data(dataset)  # once: it reads all examples
    if not allow_changed_data:
        advice = f", or go on with these from here on: ganvas resume {folder} --allow-changed-data"
        training_data.check_unchanged(description, advice)
    for what in ("shape", "classes"):
        if description[what] != training_data.description[what]:
            why = f"{what} {description[what]} in place of {training_data.description[what]}"
            command = f"ganvas train {model} DATA --init-from {folder}"
            raise UserError(f"{folder} cannot go on with these data: {why}; start a new run: {command}")
    return dataset, description


def restore_state(
    files: RunFolder, run_config: dict[str, Any], model: Model, data: Data, config: TrainConfig, has_device: bool
) -> TrainState:
    """The state with which a run goes on: that of its checkpoint, or the first where it has done no step yet.

    Raises UserError where there is no checkpoint though steps were done, where it is damaged, and where the device is
    not there, be it requested now (`has_device`) or of old.
    """
    try:
        device = resolve_device(config.device)
    except UserError as error:
        hint = "" if has_device else f", or go on elsewhere: ganvas resume {files.path} --device auto"
        raise UserError(f"{error}{hint}") from error
    if not files.checkpoint.exists():
        # begun again, a run that has done steps would overwrite what they made
        has_trained = any(file.exists() and file.stat().st_size for file in (files.log, files.curves))
        has_trained |= any(path.stem.strip("0").isdigit() for path in files.previews())
        for file in (files.weights, files.last_weights):
            try:
                has_trained |= file.exists() and read_header(file).get("step") != 0
            except UserError:  # damaged: nobody knows
                has_trained = True
        if has_trained or "init_from" in run_config or "changes" in run_config:
            advice = "start a new run in another folder: what this one holds is left as it is"
            raise UserError(f"{files.checkpoint} is missing, so the run cannot go on; {advice}")
    else:
        checkpoint.check_checkpoint(files.checkpoint, model, data.shape, len(data.classes))
    state = initialize_state(model, data.shape, config.seed, initial_device(config, device), len(data.classes))
    shard(config, device, state.nets, state.ema_nets)
    if not files.checkpoint.exists():
        return state
    checkpoint.restore_for_batches(state, files.checkpoint, model, len(data), config.examples_per_step)
    return state


def restore_missing_files(run: Run) -> None:
    """Write the checkpoint's weights in place of weights that are gone; if they were the best, these are so now."""
    state, files = run.state, run.files
    if state.step >= run.config.checkpoint_every and not files.log.exists():
        run.bar.print_notes([f"{files.log} is missing: the log begins anew after step {state.step}"])
    if state.step and not files.weights.exists():
        if run.is_sharded:
            checkpoint.restore_networks(run.whole, files.checkpoint)
        run.current_model().save(files.weights)
        message = f"{files.weights} is missing: the averaged weights of step {state.step} take its place"
        if run.keeps_best and not run.is_best:
            message += f", though those of step {state.best_step} were the best"
        if run.keeps_best and state.lowest_distance is not None:
            state.lowest_distance, state.distance_error, state.best_step = None, 0.0, state.step
        run.bar.print_notes([message])
