"""How a run goes on: with what its folder holds, on its data, and with what the user wants to be otherwise."""

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from ..config import Plan
from ..data import Data, Sources, View, apart, load_all, recorded, streamed
from ..errors import UserError, did_you_mean
from ..inference.schema import check_fields
from ..inference.trained import LAST, WEIGHTS
from ..io.safetensors import header_of, opened
from ..model import Model, name_of, plain
from ..models import model_from
from ..nn.device import device_for
from . import checkpoint, run_folder
from .loop import State, begin
from .progress import Bar
from .record import Run, best_kept, checkpointed, kept

Notes = Callable[[Sequence[str]], None]
OF_PLAN = (
    "steps", "device", "batch", "every", "ema", "milestones", "drop", "decay", "max_norm", "patience", "precision",
    "balanced",
)  # fmt: skip
OF_MODEL = ("lr", "lr_d")
CHANGES = OF_PLAN + OF_MODEL
"""what may be otherwise from some step on: all that neither shapes the networks nor says what they have learnt"""


def continued(
    folder: Path, data: Sources | None, asked: dict[str, Any], changed_data: bool, bar: Bar
) -> tuple[Run, State]:
    """The run in `folder` and its state, with what is `asked` to be otherwise, which config.json then says too."""
    config = run_folder.read_config(folder)
    check_folder(folder, config)
    was = model_from(config["model"], config["fields"]), Plan(**config["plan"])
    check_normalization(folder, was[0])
    model, plan = changed(*was, asked, folder)
    data = data if data is None or model.domains == 1 else apart(data)
    source = again(config, data, folder, bar, changed_data=changed_data)
    model.check(source)
    run = Run(model, source, model.prepare(source), plan, folder)
    model.check_batch(plan.batch, run.data.shape)
    streamed(run.data, batch=plan.batch, seed=plan.seed, balanced=plan.balanced)  # refuses a batch that is too large
    state = restored(run, config, bar.notes, "device" in asked)
    check_steps(run, state, asked, bar)
    if "steps" in asked or "patience" in asked:
        if has_waited(was[1], state):  # it had ended early, and waits anew for better samples
            state.waited = 0
            checkpointed(run, state)
        config.pop("ended", None)
    write_changes(run, state, config, was, data, bar)
    bar.notes(of_divergence(folder))
    bar.notes(run_folder.unread(folder))
    run_folder.cut_log(folder, state.step)
    return run, state


def check_folder(folder: Path, config: dict[str, Any]) -> None:
    """UserError where the files of the run are those of another model than config.json says."""
    for name in (WEIGHTS, run_folder.STATE):
        if (folder / name).exists():
            check_fields(folder / name, header_of(folder / name), config)


def check_normalization(folder: Path, model: Model) -> None:
    """UserError for a run whose D has another normalisation beside spectral norm: of a version that allowed both."""
    file = folder / run_folder.STATE
    if getattr(model, "spectral_norm", False) and file.exists():
        with opened(file) as held:
            names = [name for name in held.keys() if name.startswith("nets/D.")]  # noqa: SIM118
        if any(name.endswith(".weight") for name in names):  # spectral norm keeps those of its own under other names
            raise UserError(
                f"{folder} cannot go on: its D has another normalisation, which undoes spectral norm, and now has none "
                f"beside it; its weights can be used; train anew: ganvas train {name_of(model)} DATA --spectral-norm"
            )


def changed(model: Model, plan: Plan, asked: dict[str, Any], folder: Path) -> tuple[Model, Plan]:
    """Model and plan with what is asked; UserError for what cannot be otherwise in the same run."""
    of_model, of_plan = ({f.name for f in fields(settings)} for settings in (model, plan))
    of_view = {f.name for f in fields(View)}
    for name, value in asked.items():
        if name in OF_PLAN or (name in OF_MODEL and name in of_model):
            continue
        if name == "epochs":
            raise UserError("epochs are counted from a run's beginning: say with `steps` up to which step it goes on")
        if name in of_model | of_plan | of_view:
            said = f"ganvas train {name_of(model)} DATA --from {folder}"
            raise UserError(
                f"{name}={value} cannot be changed in a run, which would be another one: train anew, and where its "
                f"weights fit, begin with them: {said}"
            )
        known = [known for known in CHANGES if known in of_plan | of_model]
        hint = did_you_mean(name, known) or f" It has {', '.join(known)}"
        raise UserError(f"resume has no {name!r}.{hint}")
    model = replace(model, **{name: value for name, value in asked.items() if name in OF_MODEL})
    return model, replace(plan, **{name: value for name, value in asked.items() if name in OF_PLAN})


def check_steps(run: Run, state: State, asked: dict[str, Any], bar: Bar) -> None:
    """UserError where no step is left though more is asked for; a note where nothing is."""
    if state.step > run.plan.steps or (state.step == run.plan.steps and asked.keys() - {"device"}):
        raise UserError(f"{run.folder} has already done {state.step} steps: ask for more `steps`")
    if "steps" in asked:
        return
    if has_waited(run.plan, state):
        bar.notes(
            [
                f"{run.folder} ended at step {state.step} of {run.plan.steps}, its patience: "
                f"go on with --steps {run.plan.steps}"
            ]
        )
    elif state.step == run.plan.steps:
        bar.notes([f"{run.folder} has already done its {state.step} steps: ask for more with --steps"])


def write_changes(
    run: Run, state: State, config: dict[str, Any], was: tuple[Model, Plan], data: Sources | None, bar: Bar
) -> None:
    """Write down what is otherwise from this step on, and where the data are now."""
    source = source_of(data) if data is not None else "array"
    of_data = config["data"] | ({} if "array" in source else {"source": source}) | run_folder.facts(run.source)
    old = plain(was[0]) | plain(was[1]) | {"data": config["data"]["fingerprint"]}
    new = plain(run.model) | plain(run.plan) | {"data": of_data["fingerprint"]}
    other = {name: [old[name], new[name]] for name in old if old[name] != new[name]}
    config = config | {
        "fields": config["fields"] | {name: new[name] for name in OF_MODEL if name in other},
        "plan": config["plan"] | {name: new[name] for name in OF_PLAN if name in other},
        "data": of_data if "data" in other else config["data"] | {"source": of_data["source"]},
    }
    if other:
        config["changed"] = [*config.get("changed", []), {"step": state.step} | other]
    if "data" in other and state.lowest is not None:  # the lowest distance from other data says nothing of these
        state.lowest, state.error, state.waited = None, 0.0, 0
        checkpointed(run, state)
    if config != run_folder.read_config(run.folder):
        run_folder.rewrite_config(run.folder, config)
    said = [f"{name} {new[name]} in place of {old[name]}" for name in other if name not in ("steps", "data")]
    said += ["other data"] if "data" in other else []
    if said:
        bar.notes(
            [f"from step {state.step} on with {', '.join(said)}: not the run that was begun, as config.json says"]
        )


def has_waited(plan: Plan, state: State) -> bool:
    """Whether the run has ended since its samples get no better."""
    return plan.patience is not None and state.waited >= plan.patience


def of_divergence(folder: Path) -> list[str]:
    """That a run ended because a number was no longer finite: its steps will be the same, and most likely their end."""
    (last,) = run_folder.read_log(folder)[-1:] or [{}]
    if "diverged" not in last:
        return []
    return [
        f"the last try ended after step {last['step']} ({last['diverged']}), and unless the machine was to blame this "
        "one will too: rather train anew, with a smaller --lr or another --seed"
    ]


def source_of(data: Sources) -> str | list[str]:
    """What config.json calls a source: a name, an absolute path, or "array"; of a translator those of both domains."""
    if isinstance(data, tuple):
        return [str(source_of(source)) for source in data]
    if not isinstance(data, str | Path):
        return "array"
    return run_folder.absolute(str(data))


def again(
    config: dict[str, Any],
    data: Sources | None,
    folder: Path,
    bar: Bar,
    command: str = "ganvas resume",
    changed_data: bool = False,
) -> Data:
    """The run's data, read again; UserError where they are not the same, unless others are wanted that fit the run.

    `command` is what takes the data where they have moved.
    """
    said = config["data"]
    source = data if data is not None else said["source"]
    source = tuple(source) if data is None and isinstance(source, list) else source
    if data is None and "array" in (source if isinstance(source, tuple) else (source,)):
        raise UserError(f"{folder} was trained on an array: pass it again, ganvas.resume(folder, data=array)")
    try:
        with bar.reading() as progress:
            collection = load_all(source, recorded(said), progress=progress)
    except UserError as error:
        moved = f"; if the data of {folder} have moved, say where they are: {command} {folder} DATA"
        raise UserError(str(error).rstrip(".") + (moved if data is None else "")) from error
    facts = run_folder.facts(collection)
    if facts["fingerprint"] == said["fingerprint"]:
        return collection
    if not changed_data:
        then, now = said["examples"], facts["examples"]
        counts = "" if then == now else f": {then} examples then, {now} now"
        ways = f", or go on with these from here on: {command} {folder} --changed-data" if "resume" in command else ""
        name = said["source"] if data is None else source_of(source)
        raise UserError(f"{name} has changed since {folder} was begun{counts}: bring back the same data{ways}")
    for what in ("shape", "classes"):
        if facts[what] != said[what]:
            raise UserError(
                f"{folder} cannot go on with these data: {what} {facts[what]} in place of {said[what]}; "
                f"train anew: ganvas train {config['model']} DATA --from {folder}"
            )
    return collection


def restored(run: Run, config: dict[str, Any], notes: Notes, asked: bool = False) -> State:
    """The state with which a run goes on: that of its checkpoint, or the first where it has done no step yet.

    Raises UserError where there is no checkpoint though steps were done, where it is damaged, and where the plan's
    device, be it `asked` for now or of old, is not there.
    """
    try:
        device = device_for(run.plan.device)
    except UserError as error:
        elsewhere = "" if asked else f", or go on elsewhere: ganvas resume {run.folder} --device auto"
        raise UserError(f"{error}{elsewhere}") from error
    file = run.folder / run_folder.STATE
    if not file.exists():
        check_untrained(run.folder, config)
    else:
        checkpoint.check_file(file, run.model, run.data.shape, len(run.data.classes))
    state = begin(run.model, run.data.shape, run.plan.seed, device, len(run.data.classes))
    if not file.exists():
        return state
    header = checkpoint.restore(state, file, run.model)
    state.position = state.position * header.get("batch", run.plan.batch) // run.plan.batch  # as many examples
    if state.step >= run.plan.every and not (run.folder / run_folder.LOG).exists():
        notes([f"{run.folder / run_folder.LOG} is missing: the log begins anew after step {state.step}"])
    if state.step and not (run.folder / WEIGHTS).exists():
        replace_weights(run, state, notes)
    return state


def check_untrained(folder: Path, config: dict[str, Any]) -> None:
    """UserError where a run without a checkpoint has done steps: begun again it would overwrite what they made."""
    signs = [folder / name for name in (run_folder.LOG, run_folder.CURVES)]
    done = any(sign.exists() and sign.stat().st_size for sign in signs)
    done |= any(path.stem.strip("0").isdigit() for path in (folder / run_folder.PREVIEWS).glob("*.png"))
    done |= any((folder / name).exists() and step_of(folder / name) != 0 for name in (WEIGHTS, LAST))
    if done or "from" in config or "changed" in config:
        raise UserError(
            f"{folder / run_folder.STATE} is missing, so the run cannot go on; train anew into another folder: what "
            "this one holds is left as it is"
        )


def step_of(weights: Path) -> int | None:
    """The step of a file of weights; None where that cannot be told."""
    try:
        step = header_of(weights).get("step")
    except UserError:
        return None
    return step if isinstance(step, int) else None


def replace_weights(run: Run, state: State, notes: Notes) -> None:
    """Write those of the checkpoint in place of weights that are gone; if they were the best, these are so now."""
    kept(run, state).save(run.folder / WEIGHTS)
    said = f"{run.folder / WEIGHTS} is missing: the averaged weights of step {state.step} take its place"
    if best_kept(run) and state.lowest is not None:
        if state.best != state.step:
            said += f", though those of step {state.best} were the best"
        state.lowest, state.error, state.best = None, 0.0, state.step
    notes([said])
