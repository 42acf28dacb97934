"""How a run goes on: the state that its folder holds, and what is done where files are missing."""

from collections.abc import Callable, Sequence
from pathlib import Path

from . import checkpoint, folders
from .artifact import LAST, WEIGHTS
from .checkpoint import header_of
from .errors import UserError
from .record import Run, best_kept, kept
from .training import State, begin, device_for

Notes = Callable[[Sequence[str]], None]


def restored(run: Run, notes: Notes) -> State:
    """The state with which a run goes on: that of its checkpoint, or the first where it has done no step yet.

    Raises UserError where there is no checkpoint though steps were done, or where it is damaged.
    """
    state = begin(run.model, run.data.shape, run.plan.seed, device_for(run.plan.device), len(run.data.classes))
    file = run.folder / folders.STATE
    if not file.exists():
        check_untrained(run.folder)
        return state
    checkpoint.restore(state, file, run.model)
    if state.step >= run.plan.every and not (run.folder / folders.LOG).exists():
        notes([f"{run.folder / folders.LOG} is missing: the log begins anew after step {state.step}"])
    if state.step and not (run.folder / WEIGHTS).exists():
        replace_weights(run, state, notes)
    return state


def check_untrained(folder: Path) -> None:
    """UserError where a run without a checkpoint has done steps: begun again it would overwrite what they made."""
    for sign in (folders.LOG, folders.CURVES):
        if (folder / sign).exists() and (folder / sign).stat().st_size:
            raise lost(folder)
    if any(int(path.stem) for path in (folder / folders.PREVIEWS).glob("*.png") if path.stem.isdigit()):
        raise lost(folder)
    for name in (WEIGHTS, LAST):
        if (folder / name).exists() and step_of(folder / name) != 0:
            raise lost(folder)


def lost(folder: Path) -> UserError:
    return UserError(
        f"{folder / folders.STATE} is missing, so the run cannot go on; train anew into another folder: what this one "
        "holds is left as it is"
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
