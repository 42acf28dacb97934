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

from ..config import Plan
from ..data import Data, Sources, View, apart, load_all, streamed
from ..diagnostics import examine, recent
from ..errors import Diverged, Stopped, UserError, did_you_mean
from ..inference.trained import LAST, Trained, load_trained
from ..model import Model, name_of
from ..models import MODELS
from ..nn.device import device_for
from . import run_folder, validation
from .loop import State, begin
from .loop import train as training
from .monitor import reported
from .progress import Bar, Training
from .record import Run, Saved, best_kept, chosen, kept, measured, save, to_observe
from .resume import continued, has_waited, source_of
from .signals import stoppable
from .validation import Light
from .warm_start import begin_with

PER_CHECKPOINT = 10
"""lines of the log between two checkpoints"""


@torch.random.fork_rng(devices=[])  # the caller's own random numbers on the CPU go on as if nothing had been
def train(
    model: Model,
    data: Sources,
    *,
    out: str | Path = "runs",
    folder: str | Path | None = None,
    start: Trained | str | Path | None = None,
    quiet: bool = False,
    **options: Any,
) -> Trained:
    """Train `model` on `data` and return it with its averaged weights.

    `data` is a source, for a translator two of them, (A, B), which need not be paired.
    `options` are the fields of `Plan` (steps, epochs, batch, seed, ...) and of `View` (classes, size, ...).  The run
    is written to `folder`, which must be new or empty, or else to a new one in `out`; `quiet` shows no progress.
    With `start`, a run, a file of weights or a trained model, its networks are those that the run begins with.  Raises
    UserError for what the caller can put right, Diverged when the loss is no longer finite, and Stopped after
    Ctrl-C or SIGTERM; in the last two cases `resume` goes on from the last checkpoint.
    """
    if not isinstance(model, Model):
        raise UserError(f"train takes a model, such as ganvas.VAE(latent=16), not {model!r}")
    check_known(model)
    data = apart(data) if model.domains == 2 else data
    check_sources(model, data)
    plan, view = split_options(options, model)
    if folder is not None:
        run_folder.check_new(Path(folder))
    bar = Bar(quiet)
    with bar.reading() as progress:
        collection = load_all(data, view, progress=progress)
    model.check(collection)
    source = collection
    collection = model.prepare(collection)
    usual = plan.batch
    plan = settled(fitting(plan, collection) if options.get("batch") is None else plan, collection)
    validation.check_patience(model, source, plan)
    device = device_for(plan.device)
    model.check_batch(plan.batch, collection.shape)
    streamed(collection, batch=plan.batch, seed=plan.seed, balanced=plan.balanced)  # refuses a batch that is too large
    state = begin(model, collection.shape, plan.seed, device, len(collection.classes))
    begun = {} if start is None else begin_with(start, model, state, bar.notes)
    place = run_folder.create(model, collection, Path(out), None if folder is None else Path(folder))
    with run_folder.alone(place, bar.notes):
        run_folder.check_new(place)  # another process may have been faster
        run_folder.write_config(place, model, source, plan, view, source_of(data), begun)
        bar.notes(collection.notes)
        if plan.batch < usual:
            bar.notes([f"{collection.name} has {plan.batch} examples, so batches have as many, and not {usual}"])
        return go(Run(model, source, collection, plan, place), state, bar)


@torch.random.fork_rng(devices=[])
def resume(
    folder: str | Path,
    data: Sources | None = None,
    *,
    steps: int | None = None,
    device: str | None = None,
    changed_data: bool = False,
    quiet: bool = False,
    **changes: Any,
) -> Trained:
    """Go on with the run in `folder`, exactly as if it had not stopped, to its last step or to `steps`.

    The data are read again from where they came; where they have moved, and for a run on an array, `data` says where
    they are.  What else can change is `continuation.CHANGES` (lr, batch, every, ...), the `device`, and with
    `changed_data` the data themselves: the run is then another one from here on, and config.json says since which
    step.  Raises UserError where the run, its checkpoint or its data are missing, damaged or not the same.
    """
    folder, bar = Path(folder), Bar(quiet)
    run_folder.read_config(folder)
    with run_folder.alone(folder, bar.notes):
        asked = changes | {name: v for name, v in (("steps", steps), ("device", device)) if v is not None}
        run, state = continued(folder, data, asked, changed_data, bar)
        return go(run, state, bar)


def go(run: Run, state: State, bar: Bar) -> Trained:
    """Train to the plan's end; log, previews, weights and checkpoint are written as it goes."""
    started = time.monotonic() - run_folder.seconds_logged(run.folder)
    if state.step == run.plan.steps:
        return chosen(run, state)
    if has_waited(run.plan, state):
        return ended(run, state)
    saved = Saved(state.step)
    try:
        with stoppable(lambda: on_request(run, state, saved)) as asked:
            if state.step == 0:
                save(run, state)
            lines = run_folder.read_log(run.folder)
            light = validation.begin(run.model, run.source, run.data, run.plan, state, lines)
            bar.notes([*of_patience(run.plan, light), *validation.of_features(lines, light)])
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
    lines = recent(run_folder.read_log(run.folder))
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
            run_folder.log(run.folder, line)
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
            said = f"stopped at step {step} of {run.plan.steps}; go on with: ganvas resume {run.folder}"
            raise Stopped(said + of_stop(run, state, light), asked())


def of_stop(run: Run, state: State, light: Light | None) -> str:
    """Which weights a stopped run keeps, where they are not its last, and how the samples of both compare.

    The measurement is for the reader alone: counted in the state, it would make the resumed run another one.
    """
    if light is None or not best_kept(run) or state.lowest is None or state.best == state.step:
        return ""
    now = light.measure(kept(run, state))
    name = now["metric"].partition(":")[0]
    best = load_trained(run.folder).about.get("samples", {}).get("value")
    told = ["none" if value is None else f"{value:.3g}" for value in (now["value"], best)]
    return f" ({of_weights(run, state)}; {name} {told[0]} now, {told[1]} of those kept)"


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
    run_folder.rewrite_config(run.folder, run_folder.read_config(run.folder) | {"ended": state.step})
    return chosen(run, state)


def diverged(run: Run, state: State, started: float, error: Diverged) -> Diverged:
    """What is raised where the loss is no longer finite, which the log is told as well."""
    seconds = round(time.monotonic() - started, 3)
    run_folder.log(run.folder, {"step": state.step, "seconds": seconds, "diverged": str(error)})
    good = run_folder.saved_step(run.folder)
    return Diverged(
        f"{error}: stopped; {run.folder} keeps the checkpoint of step {good}. "
        "Train anew with a smaller learning rate (`lr`) or another `seed`"
    )


def check_known(model: Model) -> None:
    """UserError for a model whose run could later be neither loaded nor resumed, since its name is nobody's."""
    cls, name = type(model), name_of(model)
    if MODELS.get(name) is not cls:
        raise UserError(
            f"{cls.__name__} is none of the models that runs are loaded by: set ganvas.models.MODELS[{name!r}] = "
            f"{cls.__name__} first, here and wherever its runs are loaded"
            if name not in MODELS
            else f"{cls.__name__} has the name of another model, by which its runs would be loaded: give it another one"
        )


def check_sources(model: Model, data: Sources) -> None:
    """UserError unless there are as many sources as the model learns from."""
    name = name_of(model)
    if model.domains == 2 and not isinstance(data, tuple):
        raise UserError(f"{name} translates between two collections: give both, as (A, B) or ganvas train {name} A B")
    if model.domains == 1 and isinstance(data, tuple):
        raise UserError(
            f"{name} learns from one collection, not from {len(data)}: give one source; images with labels are "
            "ganvas.from_array(images, labels)"
        )


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
