"""What a run does that has diverged: go back to its last good checkpoint with half the learning rate, or end.

A checkpoint is good that was due, at a multiple of `checkpoint_every`, and whose last update was not skipped.  When a
run saves besides that depends on the clock; a good checkpoint is kept until the next, so what it goes back to does not.
"""

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..diagnostics import recent_lines
from ..errors import DivergenceError
from ..io.atomic import atomic_write
from ..io.run_folder import RunFolder
from ..io.safetensors import read_header
from . import checkpoint, run_records
from .distributed import agree, is_main
from .loop import Meter, check_finite
from .progress import TrainingProgress
from .report import write_end_report
from .signals import StopRequest

if TYPE_CHECKING:
    from .fit import Run

MAX_ROLLBACKS = 3
"""how often a run goes back, at most"""


def run_steps(
    run: "Run", lines: Sequence[dict[str, Any]], stop: StopRequest, progress: TrainingProgress
) -> Iterator[int]:
    """The steps of a run, as its own `run_steps`; it goes back where it diverges, as often as it may."""
    while True:
        try:
            yield from run.run_steps(recent_lines(lines), stop, progress)
            return
        except DivergenceError as error:
            lines = roll_back(run, error)


def is_good(run: "Run") -> bool:
    """Whether the state of a run is one to go back to."""
    is_due = run.state.step % run.config.checkpoint_every == 0 or run.state.step == run.config.steps
    return is_due and not run.state.meter.skipped_in_row


def save_checkpoint(run: "Run", metadata: dict[str, Any], rank_state: Any) -> None:
    """Write the state of a run; a good checkpoint that one which is not would replace is kept."""
    files, state_is_good = run.files, is_good(run)
    keeps_good = is_main() and run.config.on_divergence != "stop" and not state_is_good
    if keeps_good and files.checkpoint.exists() and read_header(files.checkpoint).get("good", True):
        with atomic_write(files.good_checkpoint) as temporary:
            try:
                temporary.unlink()
                os.link(files.checkpoint, temporary)  # costs neither time nor space
            except OSError:  # a file system without links
                shutil.copyfile(files.checkpoint, temporary)
    checkpoint.save(run.state, files.checkpoint, metadata | {"good": state_is_good}, rank_state)
    if is_main() and state_is_good:
        files.good_checkpoint.unlink(missing_ok=True)


def find_good_checkpoint(files: RunFolder) -> Path:
    """The last good checkpoint of a run; the last one where none is known to be good."""
    has_kept = files.good_checkpoint.exists() and not read_header(files.checkpoint).get("good", True)
    return files.good_checkpoint if has_kept else files.checkpoint


def check(run: "Run") -> None:
    """Raises DivergenceError where a weight is not finite, or the run has ended and its last update was skipped."""
    check_finite(run.state)
    if run.state.step == run.config.steps and (n := run.state.meter.skipped_in_row):
        raise DivergenceError(f"a gradient was NaN or infinite in the last {n} of {run.config.steps} steps")


def roll_back(run: "Run", error: DivergenceError) -> list[dict[str, Any]]:
    """Put a run back to its last good checkpoint, save that with half the learning rate, and return its log's lines.

    Raises the error again where the run is not to go back, or has done so as often as it may.  The best samples stay
    the best: their weights are kept.
    """
    state, files, seconds = run.state, run.files, round(time.monotonic() - run.start_time, 3)
    if run.config.on_divergence != "rollback" or state.rollbacks == MAX_ROLLBACKS:
        raise error
    selection, rollbacks = checkpoint.selection(state), state.rollbacks + 1
    path = find_good_checkpoint(files)
    agree()  # all have looked
    state.meter = Meter()
    state.optimizers.clear()
    checkpoint.restore_for_batches(state, path, run.model, len(run.data), run.config.examples_per_step)
    for name, value in selection.items():
        setattr(state, name, value)
    state.rollbacks, state.meter.skipped_in_row = rollbacks, 0
    run.whole_step = run.prior_step = None  # what was found of the state that was there
    run.steps, run.saved_step, run.n_notes_shown = run.open_steps(), state.step, len(state.notes)
    agree()  # all have read it
    factor = f"{0.5**rollbacks:g} times the learning rate"
    event = f"{error}: back to step {state.step}, on with {factor} (rollback {rollbacks} of {MAX_ROLLBACKS})"
    run.bar.say(event)
    lines = [line for line in run_records.read_log(run.folder) if line["step"] <= state.step]
    lines.append({"step": state.step, "seconds": seconds, "rollback": event})
    if is_main():
        files.write_log(lines)
    run.save()
    return lines


def end_error(run: "Run", error: DivergenceError) -> DivergenceError:
    """Note in the log that a run ends here, with its last good checkpoint; returns what is said then."""
    path = find_good_checkpoint(run.files)
    step = read_header(path)["step"]
    agree()  # all have looked
    if is_main():
        if path != run.files.checkpoint:
            path.replace(run.files.checkpoint)
        seconds = round(time.monotonic() - run.start_time, 3)
        run.files.append_log({"step": run.state.step, "seconds": seconds, "diverged": str(error)})
    write_end_report(run.folder, run.config, run.bar)
    advice = "Start a new run with a smaller learning rate (`lr`) or another `seed`"
    return DivergenceError(f"{error}: stopped; {run.folder} keeps the checkpoint of step {step}. {advice}")
