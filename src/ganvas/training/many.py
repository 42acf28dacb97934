"""Many small runs in one process: seeds of one experiment, or values of one option.

Each is a run like any other, in a folder of its own.  All do a step, then the next one: stacked, as `batched` does it,
or one after the other where a model cannot be stacked or that is not faster.  A member equals the run of its seed
alone: up to rounding in the first case, bit for bit in the second.
"""

import signal
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, suppress
from copy import deepcopy
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..config import TrainConfig
from ..data import DataOptions, Sources, load_all, resolve_stream
from ..data.memory import is_out_of_memory
from ..errors import DivergenceError, TrainingStopped, UserError, check_positive, did_you_mean, first_line
from ..fields import mark_given
from ..inference.trained import Trained
from ..inference.training_data import source_name
from ..io.run_folder import RunFolder
from ..io.text import format_step_time
from ..model import Model, model_name, model_name_with_article, to_dict
from ..nn.device import resolve_device
from . import run_records
from .batched import BatchedPlayer
from .defaults import Defaults, choose_defaults, given_names, ineffective_options, refuse_unused, unused_options
from .distributed import is_rank
from .fit import Run
from .loop import StepPlayer, TrainState, initialize_state, make_player, open_stream, option_notes, prepare_data
from .measurements import time_in_turns
from .memory import end_error
from .progress import MemberBar, ProgressBar, TrainingProgress
from .resume import restore_run
from .run import batch_size_notes, check_sources, fit_to_data, split_options
from .run_records import GROUP_KEY, find_group, read_group
from .signals import StopRequest, catch_stop_signals
from .tuning import precision_notes

Values = Mapping[str, Sequence[int | float | str | None]]
STACKABLE_DIFFERENCES = ("seed", "lr", "lr_d", "clip_grad_norm", "ema_decay")
"""what may differ between runs whose steps are stacked"""


class TrainedGroup(list[Trained]):
    """The models of a group's runs, but for those that diverged."""

    divergences: Mapping[str, DivergenceError] = {}
    """why the others ended, by the names of their folders"""


@torch.random.fork_rng(devices=[])
def train_many(
    model: Model,
    data: Sources,
    *,
    seeds: int = 1,
    sweep: Values | None = None,
    runs_dir: str | Path = "runs",
    folder: str | Path | None = None,
    quiet: bool = False,
    **options: Any,
) -> TrainedGroup:
    """Train a run for each of so many seeds, and of the values of an option in `sweep`, e.g. {"lr": [1e-4, 3e-4]}.

    Seeds are `seed`, 0 unless given, and those that follow.  The runs are NAME-seed0, NAME-seed1, ... (with a sweep
    NAME-lr0.0001-seed0, ...), where NAME is `folder`, or as that of a single run in `runs_dir`.  Otherwise as `train`,
    and so are errors; a run that diverges ends alone, see `TrainedGroup`.  Raises DivergenceError where all do.
    """
    refuse_ranks()
    data = check_sources(model, data)
    bar, sweep = ProgressBar(quiet), sweep or {}
    expand(model, options, check_positive(seeds, "seeds"), sweep)  # errors come before data are read
    _, data_options = split_options(options, model)
    with bar.track_images() as progress:
        raw_data = load_all(data, data_options, progress=progress)
    data_options = resolve_stream(data, data_options, raw_data)
    runs, notes_shown = list[Run](), set[str]()
    given = model.given | given_names({**options, **sweep})
    members = list[tuple[str, Model, Defaults]]()
    prepared = list[tuple[Any, TrainConfig, TrainState]]()
    for i, (name, variant, own) in enumerate(expanded := expand(model, options, seeds, sweep)):
        member, defaults = choose_defaults(variant, raw_data, {**options, **sweep})  # as of the run alone
        members.append((name, member, defaults))
        own |= {"batch_size": prepared[-1][1].batch_size} if i % seeds else {}  # noqa: PLW2901  measured once
        prepared.append(prepare_member(member, raw_data, own, defaults.training, bar, len(expanded)))
    pairs = zip(members, prepared, strict=True)
    refuse_unused_by_all([(one, config, part.shape) for (_, one, _), (part, config, _) in pairs], given, bar)
    stem, names = Path(runs_dir) / run_records.run_name(model, raw_data), [name for name, *_ in members]
    stem = run_records.unused_name(stem, names) if folder is None else Path(folder)
    run_records.refuse_group_name(stem)
    paths = [stem.with_name(f"{stem.name}-{name}") for name, *_ in members]
    for path in paths:
        RunFolder(path).check_new()
    with ExitStack() as locks:
        for path, (name, member_model, defaults), parts in zip(paths, members, prepared, strict=True):
            training_data, config, state = parts
            run_records.create_run_folder(member_model, training_data, Path(runs_dir), path)
            locks.enter_context(RunFolder(path).lock(bar.print_notes))
            source, entries = source_name(data), {"given": sorted(given | {"seed"}), "chosen": defaults.values}
            run_records.write_config(path, member_model, raw_data, config, data_options, source, entries)
            member_bar = MemberBar(bar, name, notes_shown)
            runs.append(Run(member_model, raw_data, training_data, config, path, state, member_bar))
        first = runs[0]
        default_config = split_options(options, members[0][1], members[0][2].training)[0]
        notes = batch_size_notes(first.data, first.config.examples_per_step, default_config.examples_per_step)
        chosen_notes = dict.fromkeys(note for *_, defaults in members for note in defaults.notes)
        bar.print_notes([*chosen_notes, *precision_notes(first.config, first.device), *first.data.notes, *notes])
        return fit_all(runs, stem, bar)


@torch.random.fork_rng(devices=[])
def resume_many(
    name: str | Path,
    data: Sources | None = None,
    *,
    allow_changed_data: bool = False,
    quiet: bool = False,
    **changes: Any,
) -> TrainedGroup:
    """Go on with all runs of the group NAME, as `resume` does with one; all else is that of `resume`."""
    refuse_ranks()
    refuse_trials(changes.get("precision"), changes.get("compile"), batch=changes.get("batch_size"))
    folders, bar = find_group(name), ProgressBar(quiet)
    if not folders:
        raise UserError(f"no group of runs {str(name)!r}: it is the name of its runs without -seed0 at the end")
    runs, notes_shown = list[Run](), set[str]()
    with ExitStack() as locks:
        for folder in folders:
            locks.enter_context(RunFolder(folder).lock(bar.print_notes))
            member_bar = MemberBar(bar, folder.name.removeprefix(f"{Path(name).name}-"), notes_shown)
            run = restore_run(folder, data, dict(changes), allow_changed_data, member_bar)
            if runs and type(run.data) is type(runs[0].data):  # the data were found to be the same: one copy is enough
                run.raw_data, run.data = runs[0].raw_data, runs[0].data
            runs.append(run)
        return fit_all(runs, folders[0].with_name(Path(name).name), bar)


def refuse_ranks() -> None:
    """UserError in a process that torchrun has started as one of several."""
    if is_rank():
        raise UserError("a group of runs is trained by one process: leave out devices, and torchrun")


def refuse_trials(precision: str | None, compile_: str | None, budget: float | None = None, batch: Any = None) -> None:
    """UserError for what is measured or compiled in a trial of a single run."""
    trials = {"precision=auto": precision == "auto", f"compile={compile_}": compile_ in ("auto", "on")}
    trials |= {"batch_size=auto": batch == "auto", f"budget={budget}": bool(budget)}
    for option in (name for name, is_asked in trials.items() if is_asked):
        raise UserError(f"{option} begins with a trial of one run: leave it out for a group of runs")


def parse_sweep(text: str) -> Values:
    """The option and the values of NAME=VALUE,VALUE,..."""
    name, _, values = text.partition("=")
    if not values:
        raise UserError(f"sweep {text}: give an option and its values, with commas between them, e.g. lr=1e-4,3e-4")
    return {name.strip("- ").replace("-", "_"): [parse_value(value.strip()) for value in values.split(",")]}


def parse_value(text: str) -> int | float | str:
    """The number that a text is, or else the word."""
    try:
        return int(text) if text.isdigit() else float(text)
    except ValueError:
        return text


def expand(model: Model, options: dict[str, Any], seeds: int, sweep: Values) -> list[tuple[str, Model, dict[str, Any]]]:
    """The members of a group: name, model, and options."""
    if len(sweep) > 1:
        raise UserError(f"sweep varies one option at a time, not {' and '.join(sweep)}")
    first_seed, members = options.get("seed") or 0, []
    variants = [("", model, options)]
    for name, values in sweep.items():
        if not values or len(set(values)) < len(values):
            raise UserError(f"sweep {name}: give different values, e.g. {name}=1,2")
        if name == "seed":
            raise UserError("sweep varies another option than the seed: for seeds give seeds=8")
        if name in {field.name for field in fields(DataOptions)}:
            raise UserError(f"{name} is an option of data, and all runs have the same: sweep one of model or training")
        known = to_dict(model).keys() | {field.name for field in fields(TrainConfig)}
        if name not in known:
            hint = did_you_mean(name, known)
            raise UserError(f"neither {model_name_with_article(model)} nor training has an option {name!r}.{hint}")
        if name in model.ignored_options:
            raise UserError(f"{name} has no effect on {model_name_with_article(model)}: sweep another option")
        if options.get(name) is not None:
            raise UserError(f"{name} is given twice: once alone, and once in sweep")
        is_field, prefixes = name in to_dict(model), [f"{name}{'none' if v is None else v}-" for v in values]
        variants = [
            (prefix, mark_given(replace(model, **dict[str, Any]({name: v})), {*model.given, name}), options)
            if is_field
            else (prefix, model, options | {name: v}) for prefix, v in zip(prefixes, values, strict=True)
        ]  # fmt: skip
    for prefix, member, own in variants:
        seed_range = range(first_seed, first_seed + seeds)
        members += [(f"{prefix}seed{seed}", member, own | {"seed": seed}) for seed in seed_range]
    return members


def prepare_member(
    model: Model, raw_data: Any, options: dict[str, Any], defaults: dict[str, Any], bar: ProgressBar, n_runs: int
) -> tuple[Any, Any, TrainState]:
    """The data as a member learns them, its configuration and first state; UserError where they do not fit."""
    data, (config, _) = prepare_data(model, raw_data), split_options(options, model, defaults)
    refuse_trials(config.precision, config.compile, config.budget)
    config, _ = fit_to_data(config, model, raw_data, data, options.get("batch_size"), bar, n_runs)
    device = resolve_device(config.device)
    return data, config, initialize_state(model, data.shape, config.seed, device, len(data.classes))


def refuse_unused_by_all(members: Sequence[tuple[Model, TrainConfig, Any]], given: Set[str], bar: ProgressBar) -> None:
    """UserError for a given option that has no effect on any member: its model, configuration and shape of examples.

    Those that have one on some only, since the sweep varies what they depend on, are noted.
    """
    common = set[str].intersection(*({*ineffective_options(*member)} for member in members))
    for member in members:
        refuse_unused(member[0], member[1], given & common, member[2])
    notes = [unused_options(model, config, given - common, shape) for model, config, shape in members]
    for name, where in {name: where for unused in notes for name, where in unused.items()}.items():
        n = sum(name in unused for unused in notes)
        bar.print_notes([f"{name} has no effect {where}, on {n} of {len(members)} runs"])


def fit_all(runs: Sequence[Run], stem: Path, bar: ProgressBar) -> TrainedGroup:
    """Train the runs, a step of each in turn or of all at once, and return the models of those that did not diverge."""
    group = read_group(runs[0].folder) | {"name": stem.name}
    active = [run for run in runs if run.has_steps_left]
    if len(active) > 1:
        was_stacked = group.get("batched")  # as the runs began, so that they go on as they would have
        reason = obstacle(active) or ("as before" if was_stacked is False else "" if was_stacked else trial(active))
        if was_stacked is None or reason != "as before":
            group = {"name": stem.name, "batched": not reason} | ({"reason": reason} if reason else {})
        stacked = "their networks stacked" + (", without CUDA graphs" if active[0].device.type == "cuda" else "")
        how = f"one after the other within a step: {reason}" if reason else f"at once, {stacked}"
        bar.print_notes([f"{len(active)} runs are trained {how}"])
        if not reason:
            share_steps(active)
    for run in runs:
        run.files.write_config(run_records.read_config(run.folder) | {GROUP_KEY: group})
    divergences: dict[str, DivergenceError] = {}
    steps, batch = max(run.config.steps for run in runs), sum(run.config.examples_per_step for run in active)
    go_on = f"go on with: ganvas resume {stem}"
    with catch_stop_signals(lambda: "stopping: the step under way is finished, then all runs are saved") as stop:
        try:
            with bar.track_training(steps, lambda: max(run.state.step for run in runs), batch, f"{stem}-*") as progress:
                stopped = advance_all(active, stop, divergences, progress)
        except KeyboardInterrupt as error:
            message = f"ended at once; the runs keep their checkpoints; {go_on}"
            raise TrainingStopped(message, signal.SIGINT) from error
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise end_error(runs, str(stem), error) from error
    if stopped:
        step = max(run.state.step for run in runs)
        raise TrainingStopped(f"{len(runs)} runs stopped at step {step} of {steps}; {go_on}", stopped)
    if len(divergences) == len(runs):
        raise DivergenceError(f"all {len(runs)} runs diverged: {next(iter(divergences.values()))}")
    trained = TrainedGroup(run.finish() for run in runs if run.folder.name not in divergences)
    trained.divergences = divergences
    return trained


def advance_all(
    active: list[Run], stop: StopRequest, divergences: dict[str, DivergenceError], progress: TrainingProgress
) -> int:
    """Let each run do a step in turn until none is `active`; those that diverge end alone, as `divergences` notes.

    Runs that are behind the others, because the process was killed while it saved them, catch up first.  A request to
    stop counts from the next round on, so that all stop after the same step; returned is its signal, or 0.
    """
    request, stopped = StopRequest(next_look=float("inf")), 0  # it is told of files between rounds
    for run in active:
        run.stop = request
    iterators = {id(run): run.advance() for run in active}
    due = list(active)
    while due:
        request.signal = stop.look([run.folder for run in active])
        for run in due:
            try:
                next(iterators[id(run)])
                continue
            except StopIteration:
                pass
            except DivergenceError as error:
                divergences[run.folder.name] = error
                run.bar.say(str(error))
            except TrainingStopped as error:
                if isinstance(error.__cause__, KeyboardInterrupt):  # at once
                    raise
                stopped = error.signal
            active[:] = [other for other in active if other is not run]
        if active:
            first = active[0]
            assert isinstance(first.bar, MemberBar)
            progress.losses_text = f"{first.bar.name}: {first.bar.losses_text}"
            if first.state.step and first.state.step % first.config.checkpoint_every == 0:
                progress.show_save()
        lowest = min((run.state.step for run in active), default=0)
        due = [run for run in active if run.state.step == lowest]
    return stopped


def share_steps(active: list[Run]) -> None:
    """Stack the steps of runs: one of them plays each step, for all that are then still `active` and as far as it."""
    players = {id(run): StepPlayer(run.model, open_batches(run), run.config, run.state) for run in active}
    played = set[int]()  # runs whose step is done, but not counted
    stack: list[BatchedPlayer] = []  # the latest

    def steps_of(run: Run) -> Iterator[int]:
        state = run.state
        state.notes += option_notes(run.model, run.config, run.device)
        while state.step < run.config.steps:
            if id(run) not in played:
                members = [players[id(other)] for other in active if other.state.step == state.step]
                if not stack or list(map(id, stack[0].players)) != list(map(id, members)):
                    stack[:] = [BatchedPlayer(members)]
                stack[0].play()
                played.update(id(other) for other in active if other.state.step == state.step)
            played.discard(id(run))
            players[id(run)].count_step()
            yield state.step

    def reopen(run: Run) -> Iterator[int]:
        players[id(run)] = StepPlayer(run.model, open_batches(run), run.config, run.state)
        played.discard(id(run))
        stack.clear()  # its optimisers have other moments
        return steps_of(run)

    for run in active:
        run.open_steps, run.steps = partial(reopen, run), steps_of(run)


def open_batches(run: Run, state: TrainState | None = None) -> Any:
    """The batches of a run, or of a copy of its state."""
    return open_stream(run.model, run.data, run.config, state or run.state)


def obstacle(runs: Sequence[Run]) -> str:
    """Why the steps of runs can never be stacked, in a clause; nothing where they may be."""
    first = runs[0]
    settings = [to_dict(run.model) | to_dict(run.config) for run in runs]
    differences = {name for s in settings for name in s if s[name] != settings[0][name]} - {*STACKABLE_DIFFERENCES}
    if differences:
        return f"they differ in {' and '.join(sorted(differences))}"
    if first.model.n_domains > 1:
        return "translators are not stacked"
    if first.data is not first.data.in_memory:
        return "streamed data are not stacked"
    if first.config.precision != "float32":
        return f"precision={first.config.precision} is not stacked"
    if first.config.compile != "off":
        return f"compile={first.config.compile} is not stacked"
    return "graph=on is not stacked" if first.device.type == "cuda" and first.config.graph == "on" else ""


def trial(runs: Sequence[Run]) -> str:
    """Why the steps of runs had better not be stacked, in a clause: what some steps on copies of their states show."""
    copies = [[deepcopy(run.state) for run in runs] for _ in range(2)]
    kinds: tuple[Callable[..., StepPlayer], ...] = (make_player, StepPlayer)
    players = [
        [make(run.model, open_batches(run, state), run.config, state) for run, state in zip(runs, states, strict=True)]
        for make, states in zip(kinds, copies, strict=True)
    ]

    def step_alone() -> None:
        for player in players[0]:
            player.play()
            player.count_step()

    def step_stacked() -> None:
        stack.play()
        for player in players[1]:
            player.count_step()

    try:
        stack = BatchedPlayer(players[1])
        seconds = time_in_turns({"alone": step_alone, "stacked": step_stacked}, runs[0].device).seconds
    except (RuntimeError, NotImplementedError, TypeError, ValueError, AttributeError) as error:
        return f"{model_name(runs[0].model)} cannot be stacked ({first_line(error).partition('. ')[0]})"
    for state in [*copies[0], *copies[1]]:
        with suppress(DivergenceError):  # the run itself will say so
            state.meter.fetch()
    for one, other in zip(*copies, strict=True):
        for name, values in one.meter.values.items():  # the first two: later ones let rounding grow
            if not np.allclose(values[:2], other.meter.values[name][:2], rtol=1e-2, atol=1e-2, equal_nan=True):
                return "stacked, they would not be what they are alone"
    if seconds["stacked"] > seconds["alone"]:
        alone, stacked = (format_step_time(seconds[name]) for name in ("alone", "stacked"))
        return f"that is faster here, {alone} a step of all against {stacked} stacked"
    return ""
