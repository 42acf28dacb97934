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

from . import checkpoint, folders, selection
from .artifact import LAST, Trained
from .continuation import restored
from .data import Data, Sources, View, apart, load_all, recorded, streamed
from .doctor import examine, recent
from .errors import Diverged, Stopped, UserError, did_you_mean
from .model import Model, name_of
from .models import model_from
from .progress import Bar, Training
from .record import Run, Saved, best_kept, chosen, measured, save, to_observe
from .reports import reported
from .selection import Light
from .stopping import stoppable
from .training import Plan, State, begin, device_for
from .training import train as training

PER_CHECKPOINT = 10
"""lines of the log between two checkpoints"""


@torch.random.fork_rng(devices=[])  # the caller's own random numbers on the CPU go on as if nothing had been
def train(
    model: Model,
    data: Sources,
    *,
    out: str | Path = "runs",
    folder: str | Path | None = None,
    quiet: bool = False,
    **options: Any,
) -> Trained:
    """Train `model` on `data` and return it with its averaged weights.

    `data` is a source, for a translator two of them, (A, B), which need not be paired.
    `options` are the fields of `Plan` (steps, epochs, batch, seed, ...) and of `View` (classes, size, ...).  The run
    is written to `folder`, which must not exist, or else to a new one in `out`; `quiet` shows no progress.  Raises
    UserError for what the caller can put right, Diverged when the loss is no longer finite, and Stopped after
    Ctrl-C or SIGTERM; in the last two cases `resume` goes on from the last checkpoint.
    """
    if not isinstance(model, Model):
        raise UserError(f"train takes a model, such as ganvas.VAE(latent=16), not {model!r}")
    data = apart(data) if model.domains == 2 else data
    check_sources(model, data)
    plan, view = split_options(options, model)
    if folder is not None:
        folders.check_new(Path(folder))
    bar = Bar(quiet)
    with bar.reading() as progress:
        collection = load_all(data, view, progress=progress)
    model.check(collection)
    source = collection
    collection = model.prepare(collection)
    usual = plan.batch
    plan = settled(fitting(plan, collection) if options.get("batch") is None else plan, collection)
    selection.check_patience(model, source, plan)
    device = device_for(plan.device)
    model.check_batch(plan.batch, collection.shape)
    streamed(collection, batch=plan.batch, seed=plan.seed, balanced=plan.balanced)  # refuses a batch that is too large
    state = begin(model, collection.shape, plan.seed, device, len(collection.classes))
    place = folders.create(model, collection, Path(out), None if folder is None else Path(folder))
    with folders.alone(place, bar.notes):
        folders.check_new(place)  # another process may have been faster
        folders.write_config(place, model, source, plan, view, source_of(data))
        bar.notes(collection.notes)
        if plan.batch < usual:
            bar.notes([f"{collection.name} has {plan.batch} examples, so batches have as many, and not {usual}"])
        return go(Run(model, source, collection, plan, place), state, bar)


@torch.random.fork_rng(devices=[])
def resume(
    folder: str | Path, *, steps: int | None = None, data: Sources | None = None, quiet: bool = False
) -> Trained:
    """Go on with the run in `folder`, exactly as if it had not stopped, to its last step or to `steps`.

    The data are read again from where they came; a run on an array needs it passed as `data`.  Raises UserError
    where the run, its checkpoint or its data are missing, damaged or not the same.
    """
    folder, bar = Path(folder), Bar(quiet)
    folders.read_config(folder)
    with folders.alone(folder, bar.notes):
        return resumed(folder, steps, data, bar)


def resumed(folder: Path, steps: int | None, data: Sources | None, bar: Bar) -> Trained:
    """`resume`, once no other process is in the folder."""
    config = folders.read_config(folder)
    model = model_from(config["model"], config["fields"])
    plan = Plan(**config["plan"])
    plan = replace(plan, steps=plan.steps if steps is None else steps)
    source = again(config, data if data is None or model.domains == 1 else apart(data), folder, bar)
    collection = model.prepare(source)
    run = Run(model, source, collection, plan, folder)
    state = restored(run, bar.notes)
    if state.step > plan.steps or (state.step == plan.steps and steps is not None):
        raise UserError(f"{folder} has already done {state.step} steps: ask for more `steps`")
    if steps is not None:
        go_on(run, state, config)
    elif has_waited(plan, state):
        bar.notes(
            [f"{folder} ended at step {state.step} of {plan.steps}, its patience: go on with --steps {plan.steps}"]
        )
    elif state.step == plan.steps:
        bar.notes([f"{folder} has already done its {state.step} steps: ask for more with --steps"])
    bar.notes(of_divergence(folder))
    folders.cut_log(folder, state.step)
    return go(run, state, bar)


def of_divergence(folder: Path) -> list[str]:
    """That a run ended because a number was no longer finite: its steps will be the same, and most likely their end."""
    (last,) = folders.read_log(folder)[-1:] or [{}]
    if "diverged" not in last:
        return []
    return [
        f"the last try ended after step {last['step']} ({last['diverged']}), and unless the machine was to blame this "
        "one will too: rather train anew, with a smaller --lr or another --seed"
    ]


def go_on(run: Run, state: State, config: dict[str, Any]) -> None:
    """Write down that the run goes on to the plan's steps; one that had ended early waits anew for better samples."""
    config = {name: value for name, value in config.items() if name != "ended"}
    folders.rewrite_config(run.folder, config | {"plan": config["plan"] | {"steps": run.plan.steps}})
    if has_waited(run.plan, state):
        state.waited = 0
        checkpoint.save(state, run.folder / folders.STATE, {"model": name_of(run.model)})


def has_waited(plan: Plan, state: State) -> bool:
    """Whether the run has ended since its samples get no better."""
    return plan.patience is not None and state.waited >= plan.patience


def go(run: Run, state: State, bar: Bar) -> Trained:
    """Train to the plan's end; log, previews, weights and checkpoint are written as it goes."""
    started = time.monotonic() - folders.seconds_logged(run.folder)
    if state.step == run.plan.steps:
        return chosen(run, state)
    if has_waited(run.plan, state):
        return ended(run, state)
    saved = Saved(state.step)
    try:
        with stoppable(lambda: on_request(run, state, saved)) as asked:
            if state.step == 0:
                save(run, state)
            light = selection.begin(run.model, run.source, run.data, run.plan, state)
            bar.notes(of_patience(run.plan, light))
            with bar.training(run.plan.steps, state.step, run.plan.batch, str(run.folder)) as shown:
                played(run, state, light, started, saved, asked, shown)
    except Diverged as error:
        raise diverged(run, state, started, error) from error
    except Stopped:
        raise
    except KeyboardInterrupt as error:
        said = f"ended at once; {run.folder} keeps the checkpoint of step {saved.step} of {run.plan.steps}"
        raise Stopped(f"{said}; go on with: ganvas resume {run.folder}", signal.SIGINT) from error
    if state.step < run.plan.steps:
        bar.say(
            f"ended at step {state.step} of {run.plan.steps}: {state.waited} measurements, one after the other, found "
            f"samples no nearer to the data; go on all the same: ganvas resume {run.folder} --steps {run.plan.steps}"
        )
    bar.say(of_weights(run, state))
    return ended(run, state) if state.step < run.plan.steps else chosen(run, state)


def played(
    run: Run, state: State, light: Light | None, started: float, saved: Saved, asked: Callable[[], int], shown: Training
) -> None:
    """Play the steps that are left; raises Stopped, once the state is saved, where that is `asked`."""
    every = max(1, run.plan.every // PER_CHECKPOINT)
    examples = to_observe(run, state)
    lines = recent(folders.read_log(run.folder))
    for step in training(run.model, run.data, run.plan, state):
        last = step == run.plan.steps
        due = last or step % run.plan.every == 0
        if due or step % every == 0:
            terms = state.meter.read()
            report = reported(run.model, state, run.plan, examples, terms, due)
            line = {"step": step, "seconds": round(time.monotonic() - started, 3)} | terms
            if light and (last or step % light.when.every == 0):
                report |= measured(run, state, light)
            last = last or has_waited(run.plan, state)
            line |= run.model.estimates(terms) | report
            folders.log(run.folder, line)
            shown.terms(step, terms, report)
            lines = recent([*lines, line])
            steps = step if last else run.plan.steps
            shown.warn([d.sentence for d in examine(run.model, steps, lines) if d.alarm])
        shown.step(step)
        if due or asked() or saved.late():
            state.meter.look()  # nothing is saved that was not finite
            save(run, state)
            saved.at(step)
            shown.saved(step)
        if last:
            break
        if asked():
            older = best_kept(run) and state.lowest is not None and state.best != step
            raise Stopped(
                f"stopped at step {step} of {run.plan.steps}; go on with: ganvas resume {run.folder}"
                + (f" ({of_weights(run, state)})" if older else ""),
                asked(),
            )


def on_request(run: Run, state: State, saved: Saved) -> str:
    """What is said at once to who asks a run to stop."""
    lost = state.step - saved.step
    costs = f"{lost} step{'' if lost == 1 else 's'}, back to step {saved.step}" if lost else "that step"
    return (
        f"stopping: the step under way is finished, then all is saved; a second Ctrl-C ends at once and loses {costs}"
    )


def of_patience(plan: Plan, light: Light | None) -> list[str]:
    """How often a run that may end early is measured; nothing of others."""
    if light is None or plan.patience is None:
        return []
    times = -(-plan.steps // light.when.every)
    return [
        f"samples are measured every {light.when.every} steps, {times} times in all: patience={plan.patience} ends the "
        "run after as many that find none better"
    ]


def of_weights(run: Run, state: State) -> str:
    """Which weights the run has kept."""
    if not best_kept(run) or state.lowest is None or state.best == state.step:
        return f"weights kept: step {state.step}"
    return f"weights kept: step {state.best}, whose samples are the best; those of step {state.step} are in {LAST}"


def ended(run: Run, state: State) -> Trained:
    """What a run has made that ends before its last step, as its config.json then says."""
    folders.rewrite_config(run.folder, folders.read_config(run.folder) | {"ended": state.step})
    return chosen(run, state)


def diverged(run: Run, state: State, started: float, error: Diverged) -> Diverged:
    """What is raised where the loss is no longer finite, which the log is told as well."""
    seconds = round(time.monotonic() - started, 3)
    folders.log(run.folder, {"step": state.step, "seconds": seconds, "diverged": str(error)})
    good = folders.saved_step(run.folder)
    return Diverged(
        f"{error}: stopped; {run.folder} keeps the checkpoint of step {good}. "
        "Train anew with a smaller learning rate (`lr`) or another `seed`"
    )


def check_sources(model: Model, data: Sources) -> None:
    """UserError unless there are as many sources as the model learns from."""
    name = name_of(model)
    if model.domains == 2 and not isinstance(data, tuple):
        raise UserError(f"{name} translates between two collections: give both, as (A, B) or ganvas train {name} A B")
    if model.domains == 1 and isinstance(data, tuple):
        raise UserError(f"{name} learns from one collection, not from {len(data)}: give one source")


def fitting(plan: Plan, data: Data) -> Plan:
    """The plan, with smaller batches where the data have fewer examples."""
    return replace(plan, batch=min(plan.batch, *map(len, data.parts)))


def settled(plan: Plan, data: Data) -> Plan:
    """The plan with epochs turned into steps."""
    if plan.epochs is None:
        return plan
    return replace(plan, epochs=None, steps=max(1, round(plan.epochs * (len(data) // plan.batch))))


def split_options(options: dict[str, Any], model: Model | None = None) -> tuple[Plan, View]:
    """Keyword arguments as a Plan and a View, None for what is usual; UserError for those that make no such."""
    known = {cls: {f.name for f in fields(cls)} for cls in (Plan, View)}
    every = sorted(set().union(*known.values()))
    for name in options:
        if name not in every:
            hint = did_you_mean(name, every) or f" It has {', '.join(every)}"
            own = f" {type(model).__name__} has: {type(model).__name__}({name}=...)." if hasattr(model, name) else hint
            raise UserError(f"train has no option {name!r}.{own}")
    given = {name: value for name, value in options.items() if value is not None}
    values = given if model is None else model.usual | given
    ours, theirs = ({k: v for k, v in values.items() if k in known[cls]} for cls in (Plan, View))
    plan = Plan(**ours)
    if {"steps", "epochs"} <= given.keys():
        raise UserError(f"steps={plan.steps} and epochs={plan.epochs:g} both say how long to train: give one of them")
    return plan, View(**theirs)


def source_of(data: Sources) -> str | list[str]:
    """What config.json calls a source: a name, an absolute path, or "array"; of a translator those of both domains."""
    if isinstance(data, tuple):
        return [str(source_of(source)) for source in data]
    if not isinstance(data, str | Path):
        return "array"
    return folders.absolute(str(data))


def again(config: dict[str, Any], data: Sources | None, folder: Path, bar: Bar) -> Data:
    """The run's data, read again; UserError where they are not the same."""
    source = data if data is not None else config["data"]["source"]
    source = tuple(source) if isinstance(source, list) else source
    if data is None and "array" in (source if isinstance(source, tuple) else (source,)):
        raise UserError(f"{folder} was trained on an array: pass it again, ganvas.resume(folder, data=array)")
    with bar.reading() as progress:
        collection = load_all(source, recorded(config["data"]), progress=progress)
    if collection.fingerprint() != config["data"]["fingerprint"]:
        raise UserError(f"{config['data']['source']} has changed since {folder} was begun: bring back the same data")
    return collection
