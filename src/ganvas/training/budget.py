"""How many steps a run does whose time is given: `budget`, in place of steps.

A run that is thrown away shows what a step takes, a line of the log, a checkpoint and a measurement of samples.
"""

import time
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import replace
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from ..config import TrainConfig
from ..data import Data
from ..data.memory import is_out_of_memory
from ..io.text import format_duration, format_step_time
from ..model import Model, device_of
from ..nn.device import resolve_device
from .bench import FIRST_STEP, time_steps
from .distributed import agree, from_main, initial_device, is_main, shard
from .fit import SAVE_INTERVAL_SECONDS, Run
from .loop import initialize_state
from .memory import end_error, watch
from .progress import ProgressBar, TrainingProgress
from .validation import INTERVAL, SampleEvaluator, make_evaluator

PLANNED_SHARE, STEPS_SHARE = 0.95, 0.8
"""share of the time left that is planned, since no two steps take the same, and least share of that which steps take:
else there are fewer checkpoints, and lines of the log"""
TRIAL_SHARE, TRIAL_SECONDS = 0.05, 10.0
"""for how long steps are timed, at most: share of the budget, and seconds"""


class Costs(NamedTuple):
    """Seconds that each part of a run takes."""

    step: float
    line: float
    checkpoint: float
    samples: float
    """a measurement of samples, which there is at checkpoints only"""
    end: float
    """what is drawn, and fitted, at the end"""

    def total(self, steps: int, every: int) -> float:
        """Seconds of a run of so many steps, with a checkpoint after `every` of them."""
        lines, checkpoints = (ceil(steps / interval) for interval in (max(1, every // 10), every))
        samples = min(checkpoints, ceil(steps / INTERVAL)) * self.samples
        saves = 1 + checkpoints + steps * self.step / SAVE_INTERVAL_SECONDS
        return steps * self.step + lines * self.line + saves * self.checkpoint + samples + self.end

    def plan(self, seconds: float, every: int | None) -> tuple[int, int]:
        """Steps that end in so many seconds, to two digits, at least one; and `every`, or else a tenth of them."""

        def most_steps(n: int) -> int:
            return bisect_right(range(1, 10**12), seconds, key=lambda k: self.total(k, every or max(1, k // n)))

        for n in (10, 5, 2, 1):
            if (steps := most_steps(n)) * self.step > STEPS_SHARE * seconds:
                break
        steps = max(1, steps - steps % 10 ** max(0, len(str(steps)) - 2))
        return steps, every or max(1, steps // n)


def fit_to_budget(
    model: Model, raw_data: Data, data: Data, config: TrainConfig, every: int | None, start: float, bar: ProgressBar
) -> tuple[TrainConfig, SampleEvaluator | None]:
    """The configuration with the steps that end `budget` seconds after `start`, by the clock of rank 0.

    `every` are the steps between checkpoints, if the user gave them.  What measures samples is returned as well, since
    it then knows the data's features.
    """
    assert config.budget is not None
    device = resolve_device(config.device)
    state = initialize_state(model, data.shape, config.seed, initial_device(config, device), len(data.classes))
    shard(config, device, state.nets, state.ema_nets)
    has_schedule = model.schedule(0) != model.schedule(FIRST_STEP)  # whose steps a GPU plays one by one: the slowest
    state.step, endless = 0 if has_schedule else FIRST_STEP, replace(config, steps=10**12, checkpoint_every=INTERVAL)
    endless = replace(endless, lr_milestones=(1e-9,), lr_gamma=1e-30)  # a trial that learns nothing cannot diverge
    with TemporaryDirectory(prefix="ganvas-") as folder, bar.show_work("timing steps"):
        run = Run(model, raw_data, data, endless, Path(folder), state, ProgressBar(quiet=True))
        run.steps = watch(run.steps)
        try:
            costs = measure_costs(run, min(TRIAL_SECONDS, TRIAL_SHARE * config.budget))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise end_error([run], "", error) from error
    left = PLANNED_SHARE * (config.budget - (passed := time.monotonic() - start))
    steps, every = map(int, from_main(lambda: "{} {}".format(*costs.plan(left, every))).split())
    plan = f"{steps:,} step{'s' * (steps > 1)} with a checkpoint every {every:,}"
    bar.say(f"budget {format_duration(config.budget)}: {format_step_time(costs.step)} a step, so {plan}")
    if (least := costs.total(1, 1)) > left:
        spent = f"reading data and timing the parts of a run took {passed:.1f} s, and a step and its end take"
        bar.print_notes([f"the budget is too small: {spent} {least:.1f} s"])
    return replace(config, steps=steps, checkpoint_every=every), run.evaluator


def measure_costs(run: Run, trial_seconds: float) -> Costs:
    """What each part of a run takes, which is thrown away; its steps are timed for so many seconds."""
    state, device, n, step = run.state, device_of(run.state.nets), 1, 0.0
    for _ in range(3):  # all but the last to warm up
        step = time_steps(run.steps, n, state, device)
        n = agree(max(1, int(trial_seconds / 2 / step)))[0]
    run.start_time = run.curves_deadline = time.monotonic()
    progress = TrainingProgress(run.bar.console, run.bar.say, run.config.steps, lambda: state.step, 1)

    def seconds_of(work: Callable[[], object]) -> float:
        for _ in range(2):  # the first to warm up
            start = time.monotonic()
            work()
        return time.monotonic() - start

    def log(is_checkpoint: bool) -> None:
        next(run.steps)
        terms = state.meter.pop_means()
        run.gather()
        if is_main():
            run.log_step(terms, is_checkpoint, progress)

    def save() -> None:
        run.prior_step = None  # each step that is saved fits its prior anew
        run.save()

    line, last_line, checkpoint = seconds_of(lambda: log(False)), seconds_of(lambda: log(True)), seconds_of(save)
    run.evaluator = make_evaluator(run.model, run.raw_data, run.config, state) if is_main() else None
    evaluator, samples = run.evaluator, 0.0
    if evaluator is not None:
        samples = seconds_of(lambda: evaluator.measure(run.sampling_model()))
    end = seconds_of(lambda: run.draw_progress(is_end=True))
    if is_main() and run.fits_prior:
        end += seconds_of(lambda: run.fit_prior(run.current_model()))
    return Costs(step, max(0.0, line - step), checkpoint + max(0.0, last_line - line), samples, end)
