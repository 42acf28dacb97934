"""Runs: training that is written down as it goes, can be stopped, and goes on exactly where it stopped.

The run folder is the interface: config.json (what was asked), log.jsonl (a line a report), curves.png, previews/*.png,
weights.safetensors (the averaged weights, with all that using them takes) and state.ckpt (all that going on takes).
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from ..config import TrainConfig
from ..data import Data, DataOptions, Sources, load_all, resolve_domains, resolve_stream
from ..data.stream import check_batches
from ..errors import UserError, did_you_mean
from ..inference.trained import Trained
from ..inference.training_data import source_name
from ..io.run_folder import RunFolder
from ..model import Model, model_name, to_dict
from ..models import check_name
from ..nn.device import resolve_device
from ..ranks import world_size
from . import run_records, validation
from .budget import fit_to_budget
from .defaults import choose_defaults, given_names, refuse_unused
from .distributed import check_fsdp, from_main, gather_texts, initial_device, is_main, join_ranks, shard, share_errors
from .fit import Run
from .loop import initialize_state, prepare_data
from .memory import choose_batch_size
from .progress import ProgressBar
from .resume import restore_run
from .tuning import Record, resolve_switches
from .warm_start import adopt_options, initialize_from, read_origin


@torch.random.fork_rng(devices=[])  # the caller's own random numbers on the CPU go on as if nothing had been
def train(
    model: Model, data: Sources, *, runs_dir: str | Path = "runs", folder: str | Path | None = None,
    init_from: Trained | str | Path | None = None, quiet: bool = False, **options: Any,
) -> Trained:  # fmt: skip
    """Train `model` on `data` and return it with its averaged weights.

    `data` is a source, for a translator two of them, (A, B), which need not be paired.  `options` are the fields of
    `TrainConfig` (steps, budget, batch_size, seed, ...) and of `DataOptions` (classes, size, ...).  The run is written
    to `folder`, which must be new or empty, or else to a new one in `runs_dir`; `quiet` shows no progress.  With
    `init_from`, a run (by its name in `runs_dir` too), a file of weights or a trained model, its networks are those
    that the run begins with.  Raises UserError for what the caller can put right, DivergenceError when the loss is no
    longer finite, and TrainingStopped after Ctrl-C or SIGTERM; in the last two cases `resume` goes on from the last
    checkpoint.
    """
    start_time, data = time.monotonic(), check_sources(model, data)
    config, data_options = split_options(options, model)
    folder = None if folder is None else Path(folder)
    join_ranks(config.device)
    bar = ProgressBar(quiet or not is_main())
    with share_errors():
        if folder is not None and is_main():
            RunFolder(folder).check_new()
            run_records.refuse_group_name(folder)
    raw_data, data_options = read_sources(data, data_options, bar)
    with share_errors():
        origin = None if init_from is None else read_origin(init_from, model, Path(runs_dir))
        own_fields, model = model.given, adopt_options(model, origin, bar.print_notes)
        given = sorted(own_fields | given_names(options))
        has_defaults = origin is not None and bool(origin.data_defaults)
        model, defaults = choose_defaults(model, raw_data, options, own_fields if has_defaults else None)
        config, _ = split_options(options, model, defaults.training)
        default_batch_size = config.examples_per_step
        training_data = prepare_data(model, raw_data)
        refuse_unused(model, config, set(given), training_data.shape)
        config, trials = fit_to_data(config, model, raw_data, training_data, options.get("batch_size"), bar)
        device = resolve_device(config.device)
        shape, n_classes = training_data.shape, len(training_data.classes)
        state = initialize_state(model, shape, config.seed, initial_device(config, device), n_classes)
        initial_weights = initialize_from(origin, model, training_data, state, bar.print_notes)
        shard(config, device, state.nets, state.ema_nets)
        config, trials = resolve_switches(model, training_data, config, state, bar, trials)
    check_same_data(raw_data)
    evaluator = None
    if config.budget is not None:
        every = None if options.get("checkpoint_every") is None else config.checkpoint_every
        config, evaluator = fit_to_budget(model, raw_data, training_data, config, every, start_time, bar)
    path = Path(from_main(lambda: str(run_records.create_run_folder(model, training_data, Path(runs_dir), folder))))
    with lock_run(path, bar):
        with share_errors():
            if not path.exists():
                raise UserError(f"this machine has no {path}: put runs in a folder that all see, with runs_dir")
            if is_main():
                RunFolder(path).check_new()  # another process may have been faster
                entries = {"init_from": initial_weights, "given": given, "chosen": defaults.values, "trials": trials}
                run_records.write_config(path, model, raw_data, config, data_options, source_name(data), entries)
        notes = batch_size_notes(training_data, config.examples_per_step, default_batch_size)
        bar.print_notes([*defaults.notes, *training_data.notes, *notes])
        return Run(model, raw_data, training_data, config, path, state, bar, evaluator=evaluator).fit()


def read_sources(data: Sources, options: DataOptions, bar: ProgressBar) -> tuple[Data, DataOptions]:
    """The data, and their options, with which all ranks stream or none."""
    with share_errors():
        with bar.track_images() as progress:
            raw_data = load_all(data, options, progress=progress)
        options = resolve_stream(data, options, raw_data)
    is_streamed = "always" in gather_texts(options.stream)
    with share_errors():
        if is_streamed and options.stream != "always":  # on a machine with less memory another rank streams
            options = replace(options, stream="always")
            raw_data = load_all(data, options)
    return raw_data, options


def fit_to_data(
    config: TrainConfig, model: Model, raw_data: Data, training_data: Data, batch_size: int | str | None,
    bar: ProgressBar, n_runs: int = 1,
) -> tuple[TrainConfig, Record]:  # fmt: skip
    """The configuration for these data, with steps in place of epochs, and the record of a batch that was measured.

    `batch_size` is what was asked, and `n_runs` are those of its group.  UserError where it does not go with the data.
    """
    trials = Record()
    resolve_device(config.device)
    if batch_size in (None, "auto"):
        most = max(1, min(map(len, training_data.datasets)) // world_size())
        config = replace(config, batch_size=min(config.examples_per_step, most))
    if (batch_size or model.default_training.batch_size) == "auto":
        config, trials = choose_batch_size(model, training_data, config, bar, n_runs)
    if config.epochs is not None:
        steps_per_epoch = len(training_data) // (config.examples_per_step * world_size())
        config = replace(config, epochs=None, steps=max(1, round(config.epochs * steps_per_epoch)))
    if config.patience is not None and (reason := validation.unsupported_reason(model, raw_data)):
        why = f"waits for better samples, but they are not measured: {reason}; leave it out"
        raise UserError(f"patience={config.patience} {why}")
    if config.fsdp and world_size() == 1:
        raise UserError("fsdp shards networks over several devices: give --devices, or leave it out")
    check_fsdp(config)
    model.validate_batch_size(config.examples_per_step, training_data.shape)
    check_batches(training_data.datasets, config.examples_per_step, config.balanced, world_size())
    return config, trials


def batch_size_notes(data: Data, batch_size: int, default: int) -> list[str]:
    """That the data have fewer examples than a batch has by default, where they do."""
    small = f"{data.name} has {batch_size} examples, so batches have as many, and not {default}"
    return [small] if batch_size == min(map(len, data.datasets)) // world_size() < default else []


@contextmanager
def lock_run(path: Path, bar: ProgressBar) -> Iterator[None]:
    """A block in which rank 0 has the lock of a run's folder."""
    with ExitStack() as stack:
        with share_errors():
            if is_main():
                stack.enter_context(RunFolder(path).lock(bar.print_notes))
        yield


def check_same_data(data: Data) -> None:
    """UserError where a rank has read other examples than rank 0, as of a file that is damaged on its machine."""
    if world_size() == 1:
        return
    count, fingerprint = sum(map(len, data.datasets)), data.fingerprint()
    first, *others = (text.split() for text in gather_texts(f"{count} {fingerprint}"))
    for number, other in enumerate(others, 1):
        if other != first:
            counts = "" if other[0] == first[0] else f", {other[0]} examples in place of {first[0]}"
            advice = "give all machines the same files, none of them damaged"
            raise UserError(f"rank {number} has read other data than rank 0{counts}: {advice}")


@torch.random.fork_rng(devices=[])
def resume(
    folder: str | Path, data: Sources | None = None, *, steps: int | None = None, device: str | None = None,
    allow_changed_data: bool = False, quiet: bool = False, **changes: Any,
) -> Trained:  # fmt: skip
    """Go on with the run in `folder`, exactly as if it had not stopped, to its last step or to `steps`.

    The data are read again from where they came; where they have moved, and for a run on an array, `data` says where
    they are.  What else can change is `resume.CHANGEABLE_FIELDS` (lr, batch_size, ...), the `device`, and with
    `allow_changed_data` the data themselves: the run is then another one from here on, and config.json says since
    which step.  Networks of the user's own are given again, e.g. encoder=MyEncoder(): the folder has no code.  Raises
    UserError where the run, its checkpoint or its data are missing, damaged or not the same.
    """
    folder = Path(folder)
    config = run_records.read_config(folder)
    join_ranks(device or config["train_config"].get("device", "auto"))
    bar = ProgressBar(quiet or not is_main())
    if (group := config.get("group", {})).get("batched"):
        alone = f"was trained at once with the runs of {group['name']}, and goes on alone: the same up to rounding"
        bar.print_notes([f"{folder} {alone}; all go on with: ganvas resume {group['name']}"])
    with lock_run(folder, bar):
        overrides = changes | {name: v for name, v in (("steps", steps), ("device", device)) if v is not None}
        with share_errors():
            run = restore_run(folder, data, overrides, allow_changed_data, bar)
        if allow_changed_data:
            check_same_data(run.raw_data)
        return run.fit()


def check_sources(model: Model, data: Sources) -> Sources:
    """The sources, as many as the model learns from; UserError where there are others, or it is no model."""
    if not isinstance(model, Model):
        raise UserError(f"train a model, such as ganvas.VAE(latent=16), not {model!r}")
    check_name(type(model))
    name, data = model_name(model), resolve_domains(data) if model.n_domains == 2 else data
    if model.n_domains == 2 and not isinstance(data, tuple):
        raise UserError(f"{name} translates between two datasets: give both, as (A, B) or ganvas train {name} A B")
    if model.n_domains == 1 and isinstance(data, tuple):
        advice = "give one source; images with labels are ganvas.from_array(images, labels)"
        raise UserError(f"{name} learns from one dataset, not from {len(data)}: {advice}")
    return data


def split_options(
    options: dict[str, Any], model: Model, defaults: Mapping[str, Any] = MappingProxyType({})
) -> tuple[TrainConfig, DataOptions]:
    """Keyword arguments as a TrainConfig and DataOptions, None for the default; UserError for others."""
    train_names, data_names = ({field.name for field in fields(cls)} for cls in (TrainConfig, DataOptions))
    known = sorted(train_names | data_names)
    for name in [name for name in options if name not in known]:
        of_model = f" {type(model).__name__} has: {type(model).__name__}({name}=...)." if hasattr(model, name) else ""
        hint = of_model or did_you_mean(name, known) or f" It has {', '.join(known)}"
        raise UserError(f"train has no option {name!r}.{hint}")
    given = {name: value for name, value in options.items() if value is not None}
    standard = to_dict(model.default_training) | dict(defaults)
    if standard["batch_size"] == "auto":
        standard["batch_size"] = TrainConfig.batch_size
    if (values := standard | given)["batch_size"] == "auto":  # which is measured from the default on
        values["batch_size"] = standard["batch_size"]
    config = TrainConfig(**{name: values[name] for name in values.keys() & train_names})
    lengths = [f"{name}={getattr(config, name):.15g}" for name in ("steps", "epochs", "budget") if name in given]
    if len(lengths) > 1:
        raise UserError(f"{lengths[0]} and {lengths[1]} both say how long to train: give one")
    return config, DataOptions(**{name: values[name] for name in values.keys() & data_names})
