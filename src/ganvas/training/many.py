"""Many small runs in one process: seeds of one experiment, or values of one option.

Each is a run like any other, in a folder of its own.  All do a step, then the next one: stacked, as `batched` does it,
or one after the other where a model cannot be stacked or that is not faster.  A member equals the run of its seed
alone: up to rounding in the first case, bit for bit in the second.
"""

import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from copy import deepcopy
from itertools import count, product
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from ..data import Sources, load_all, resolve_stream
from ..errors import DivergenceError, TrainingStopped, UserError, check_positive, first_line
from ..inference.trained import Trained
from ..inference.training_data import source_name
from ..io.run_folder import RunFolder
from ..model import Model, model_name, to_dict
from ..models import check_name
from ..nn.device import resolve_device
from . import run_records
from .batched import BatchedPlayer, are_close
from .distributed import is_rank
from .fit import Run
from .loop import StepPlayer, TrainState, initialize_state, open_stream, prepare_data
from .progress import ProgressBar, TrainingProgress
from .resume import restore_run
from .run import check_sources, fit_to_data, split_options
from .signals import catch_stop_signals
from .tuning import precision_notes

Values = Mapping[str, Sequence[int | float]]
STACKABLE_DIFFERENCES = ("seed", "lr", "lr_d", "clip_grad_norm", "ema_decay")
"""what may differ between runs whose steps are stacked"""
GROUP_KEY = "group"
"""what config.json calls the group of a run"""


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
) -> list[Trained]:
    """Train a run for each of so many seeds, and of the values of an option in `sweep`, e.g. {"lr": [1e-4, 3e-4]}.

    Seeds are `seed`, 0 unless given, and those that follow.  The runs are NAME-seed0, NAME-seed1, ... (with a sweep
    NAME-lr0.0001-seed0, ...), where NAME is `folder`, or as that of a single run in `runs_dir`.  Otherwise as `train`,
    and so are errors; a run that diverges ends alone.  Raises DivergenceError where all do.
    """
    if not isinstance(model, Model):
        raise UserError(f"train_many takes a model, such as ganvas.VAE(latent=16), not {model!r}")
    check_name(type(model))
    refuse_ranks()
    check_sources(model, data)
    bar, members = ProgressBar(quiet), expand(model, options, check_positive(seeds, "seeds"), sweep or {})
    data_options = split_options(options, model)[1]
    with bar.track_images() as progress:
        raw_data = load_all(data, data_options, progress=progress)
    data_options = resolve_stream(data, data_options, raw_data)
    runs: list[Run] = []
    prepared = [prepare_member(member_model, raw_data, own) for _, member_model, own in members]
    stem = group_folder(Path(runs_dir) / run_records.run_name(model, raw_data), folder, [name for name, *_ in members])
    with ExitStack() as locks:
        for (name, member_model, _), (training_data, config, state) in zip(members, prepared, strict=True):
            path = stem.with_name(f"{stem.name}-{name}")
            RunFolder(path).check_new()
            run_records.create_run_folder(member_model, training_data, Path(runs_dir), path)
            locks.enter_context(RunFolder(path).lock(bar.print_notes))
            run_records.write_config(path, member_model, raw_data, config, data_options, source_name(data))
            runs.append(Run(member_model, raw_data, training_data, config, path, state, MemberBar(bar, name)))
        bar.print_notes([*precision_notes(runs[0].config, runs[0].device), *runs[0].data.notes])
        return fit_all(runs, stem, bar)


@torch.random.fork_rng(devices=[])
def resume_many(name: str | Path, *, quiet: bool = False, **changes: Any) -> list[Trained]:
    """Go on with all runs of the group NAME, as `resume` does with one; `changes` are those of `resume`."""
    refuse_ranks()
    folders, bar = find_group(name), ProgressBar(quiet)
    if not folders:
        raise UserError(f"no group of runs {str(name)!r}: it is the name of its runs without -seed0 at the end")
    allow_changed_data = changes.pop("allow_changed_data", False)
    runs: list[Run] = []
    with ExitStack() as locks:
        for folder in folders:
            locks.enter_context(RunFolder(folder).lock(bar.print_notes))
            member_bar = MemberBar(bar, folder.name.removeprefix(f"{Path(name).name}-"))
            run = restore_run(folder, None, dict(changes), allow_changed_data, member_bar)
            if runs and type(run.data) is type(runs[0].data):  # the data were found to be the same: one copy is enough
                run.raw_data, run.data = runs[0].raw_data, runs[0].data
            runs.append(run)
        return fit_all(runs, folders[0].with_name(Path(name).name), bar)


def refuse_ranks() -> None:
    """UserError in a process that torchrun has started as one of several."""
    if is_rank():
        raise UserError("a group of runs is trained by one process: leave out devices, and torchrun")


def parse_sweep(text: str) -> Values:
    """The option and the values of NAME=VALUE,VALUE,..."""
    name, _, values = text.partition("=")
    try:
        numbers = [int(value) if value.strip().isdigit() else float(value) for value in values.split(",")]
    except ValueError as error:
        raise UserError(f"sweep of {name}: {values!r} has to be numbers, with commas between them") from error
    return {name.strip("- ").replace("-", "_"): numbers}


def expand(model: Model, options: dict[str, Any], seeds: int, sweep: Values) -> list[tuple[str, Model, dict[str, Any]]]:
    """The members of a group: name, model, and options."""
    if len(sweep) > 1:
        raise UserError(f"sweep varies one option at a time, not {' and '.join(sweep)}")
    for name, values in sweep.items():
        if not values or len(set(values)) < len(values):
            raise UserError(f"sweep {name}: give different values, e.g. {name}=1,2")
        if name == "seed":
            raise UserError("sweep varies another option than the seed: for seeds give seeds=8")
        if name in options and options[name] is not None:
            raise UserError(f"{name} is given twice: once alone, and once in sweep")
    first_seed, members = options.get("seed") or 0, []
    variants = product(*([(name, value) for value in values] for name, values in sweep.items()))
    for variant in variants:
        fields = to_dict(model)
        own_fields = {name: value for name, value in variant if name in fields}
        member = type(model)(**(fields | own_fields | dict(model.own_networks))) if own_fields else model
        own_options = options | {name: value for name, value in variant if name not in fields}
        prefix = "".join(f"{name}{value:g}-" for name, value in variant)
        members += [
            (f"{prefix}seed{s}", member, own_options | {"seed": s}) for s in range(first_seed, first_seed + seeds)
        ]
    return members


def prepare_member(model: Model, raw_data: Any, options: dict[str, Any]) -> tuple[Any, Any, TrainState]:
    """The data as a member learns them, its configuration and first state; UserError where they do not fit."""
    data, (config, _) = prepare_data(model, raw_data), split_options(options, model)
    if config.precision == "auto" or config.compile != "off":
        option = "precision=auto" if config.precision == "auto" else f"compile={config.compile}"
        raise UserError(f"{option} is measured for one run: leave it out for a group of runs")
    config = fit_to_data(config, model, raw_data, data, options.get("batch_size") is not None)
    device = resolve_device(config.device)
    return data, config, initialize_state(model, data.shape, config.seed, device, len(data.classes))


def group_folder(path: Path, folder: str | Path | None, names: Sequence[str]) -> Path:
    """What the folders of members begin with: `folder`, or the first of path, path-2, ... that no group has."""
    if folder is not None:
        return Path(folder)
    stems = (path if i == 1 else path.with_name(f"{path.name}-{i}") for i in count(1))
    return next(s for s in stems if not any(s.with_name(f"{s.name}-{name}").exists() for name in names))


def find_group(name: str | Path, runs_dir: Path = Path("runs")) -> list[Path]:
    """The folders of the runs of a group, in order: of a path, or a name in `runs_dir`; empty where there is none."""
    path = Path(name).expanduser()
    for stem in (path, runs_dir / path.name):
        candidates = sorted(stem.parent.glob(f"{stem.name}-*"), key=lambda f: (len(f.name), f))
        folders = [f for f in candidates if RunFolder(f).is_run and read_group(f).get("name") == stem.name]
        if folders and not RunFolder(stem).is_run:
            return folders
    return []


def read_group(folder: Path) -> dict[str, Any]:
    """What config.json says of the group of a run; nothing where it is of none."""
    try:
        group = run_records.read_config(folder).get(GROUP_KEY)
    except UserError:  # a folder that cannot be read is no member
        return {}
    return group if isinstance(group, dict) else {}


def fit_all(runs: Sequence[Run], stem: Path, bar: ProgressBar) -> list[Trained]:
    """Train the runs, a step of each in turn or of all at once, and return the models of those that did not diverge."""
    group = read_group(runs[0].folder)
    active = [run for run in runs if run.state.step < run.config.steps]
    reason = "" if group.get("batched") else group.get("reason") or reason_against(active)
    for run in runs:
        entry = {"name": stem.name, "batched": not reason} | ({"reason": reason} if reason else {})
        run.files.write_config(run_records.read_config(run.folder) | {GROUP_KEY: entry})
    if len(active) > 1:
        how = f"one after the other within a step: {reason}" if reason else "at once, their networks stacked"
        bar.print_notes([f"{len(active)} runs are trained {how}"])
    if not reason and len(active) > 1:
        share_steps(active)
    divergences: dict[str, DivergenceError] = {}
    state = (active or runs)[0].state
    with catch_stop_signals(lambda: "stopping: the step under way is finished, then all runs are saved") as stop:
        for run in runs:
            run.stop = stop
        try:
            with track(runs, stem, bar) as progress:
                advance_all([(run, run.advance()) for run in runs], divergences, progress)
        except TrainingStopped as error:
            message = f"{len(runs)} runs stopped at step {state.step} of {runs[0].config.steps}"
            raise TrainingStopped(f"{message}; go on with: ganvas resume {stem}", error.signal) from error
        except KeyboardInterrupt as error:
            message = f"ended at once; the runs keep their checkpoints; go on with: ganvas resume {stem}"
            raise TrainingStopped(message, signal.SIGINT) from error
    if len(divergences) == len(runs):
        raise DivergenceError(f"all {len(runs)} runs diverged: {next(iter(divergences.values()))}")
    return [run.finish() for run in runs if run.folder.name not in divergences]


def advance_all(
    steps: list[tuple[Run, Iterator[int]]], divergences: dict[str, DivergenceError], progress: TrainingProgress
) -> None:
    """Let each run do a step in turn until all have ended; those that diverge end alone, as `divergences` notes.

    Once all have been asked to stop, and have saved what they are, TrainingStopped is raised.
    """
    stopped: TrainingStopped | None = None
    while steps:
        for run, iterator in list(steps):
            try:
                next(iterator)
                continue
            except StopIteration:
                pass
            except DivergenceError as error:
                divergences[run.folder.name] = error
                run.bar.say(str(error))
            except TrainingStopped as error:
                if isinstance(error.__cause__, KeyboardInterrupt):  # at once
                    raise
                stopped = error
            steps[:] = [pair for pair in steps if pair[1] is not iterator]
        if steps:
            first = steps[0][0]
            assert isinstance(first.bar, MemberBar)
            progress.losses_text = f"{first.bar.name}: {first.bar.losses_text}"
            if first.state.step and first.state.step % first.config.checkpoint_every == 0:
                progress.show_save()
    if stopped:
        raise stopped


def share_steps(runs: Sequence[Run]) -> None:
    """Let the first run that goes on do the step of all those that have not ended."""
    players = {id(run): make_player(run) for run in runs}
    together: list[BatchedPlayer] = []

    def steps_of(run: Run) -> Iterator[int]:
        state, player = run.state, players[id(run)]
        try:
            while state.step < run.config.steps:
                if id(run) not in waiting:
                    if not together or len(together[0].players) != len(players):
                        together[:] = [BatchedPlayer(list(players.values()))]
                    together[0].play()
                    waiting.update(players)
                waiting.discard(id(run))
                player.count_step()
                yield state.step
        finally:
            players.pop(id(run), None)

    waiting: set[int] = set()  # runs whose step is done, but not counted
    for run in runs:
        run.steps = steps_of(run)


def make_player(run: Run, state: TrainState | None = None) -> StepPlayer:
    """What plays the steps of a run, or of a copy of its state, alone."""
    state = run.state if state is None else state
    return StepPlayer(run.model, open_stream(run.model, run.data, run.config, state), run.config, state)


def reason_against(runs: Sequence[Run]) -> str:
    """Why the steps of runs are not stacked, in a clause; nothing where they are.  Does two steps on copies to know."""
    if len(runs) < 2:
        return "there is but one"
    first = runs[0]
    settings = [to_dict(run.model) | to_dict(run.config) | {"step": run.state.step} for run in runs]
    differences = {name for s in settings for name in s if s[name] != settings[0][name]} - {*STACKABLE_DIFFERENCES}
    if differences:
        return f"they differ in {' and '.join(sorted(differences))}"
    if first.model.n_domains > 1:
        return "translators are not stacked"
    if first.data is not first.data.in_memory:
        return "streamed data are not stacked"
    if first.config.precision != "float32":
        return f"precision={first.config.precision} is not stacked"
    alone, copies = ([make_player(run, deepcopy(run.state)) for run in runs] for _ in range(2))
    try:
        stacked = BatchedPlayer(copies)
        stacked_seconds = play_twice([stacked.play], copies)
    except (RuntimeError, NotImplementedError, TypeError, ValueError, AttributeError) as error:
        return f"{model_name(first.model)} cannot be stacked ({first_line(error).partition('. ')[0]})"
    seconds = play_twice([player.play for player in alone], alone)
    terms = [[player.state.meter.values for player in players] for players in (alone, copies)]
    if not are_close(*terms):
        return "stacked, they would not be what they are alone"
    if stacked_seconds > seconds:
        times = f"{1000 * seconds:.3g} ms a step of all against {1000 * stacked_seconds:.3g} ms stacked"
        return f"that is faster here, {times}"
    return ""


def play_twice(plays: Sequence[Any], players: Sequence[StepPlayer]) -> float:
    """Play two steps of all players; seconds of the second."""
    seconds = 0.0
    for _ in range(2):
        start = time.perf_counter()
        for play in plays:
            play()
        for player in players:
            player.count_step()
            with suppress(DivergenceError):  # the run itself will say so
                player.state.meter.fetch()  # a GPU is then done
        seconds = time.perf_counter() - start
    return seconds


@contextmanager
def track(runs: Sequence[Run], stem: Path, bar: ProgressBar) -> Iterator[TrainingProgress]:
    """Shows how far the runs are, all at once."""
    config = runs[0].config

    def last_step() -> int:
        return max(run.state.step for run in runs)

    with bar.track_training(config.steps, last_step, len(runs) * config.batch_size, f"{stem}-*") as progress:
        yield progress


class MemberBar(ProgressBar):
    """What a member says in the place where its group's progress is: lines begin with its name."""

    def __init__(self, group: ProgressBar, name: str) -> None:
        self.console: Console = group.console
        self.name: str = name
        self.progress: TrainingProgress | None = None

    @property
    def losses_text(self) -> str:
        """Its latest losses."""
        return self.progress.losses_text if self.progress else ""

    def say(self, line: str) -> None:
        super().say(f"{self.name}: {line}")

    @contextmanager
    def track_training(self, steps: int, get_step: Any, batch: int, folder: str) -> Iterator[TrainingProgress]:
        """Shows nothing but warnings: the group has a line for all."""
        self.progress = MemberProgress(self.console, steps, get_step, batch)
        self.progress.name = self.name
        yield self.progress


class MemberProgress(TrainingProgress):
    """Collects what a group shows of its member, and says its warnings."""

    name: str = ""

    def warn(self, sentences: Sequence[str]) -> None:
        """What is wrong; each kind of thing is said once."""
        for sentence in sentences:
            kind = sentence.partition(":")[0]
            if kind not in self.warned_kinds:
                self.warned_kinds.add(kind)
                self.console.print(f"{self.name}: warning: {sentence}", markup=False)

    def show_save(self) -> None:
        """The group says it."""
