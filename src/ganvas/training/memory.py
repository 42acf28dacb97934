"""What fits in memory, as steps show that are thrown away: the batches of batch_size=auto, and of a run that ran out.

A trial makes networks of its own and trains them for two steps, since the first makes the optimisers' moments.  Its
peak is read from PyTorch on a GPU and from Linux for a processor, where a process that takes too much is killed before
any error: so no trial begins that could take more than is free, by what the one before took.  Elsewhere only an error
tells that memory has run out.
"""

import gc
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from ..config import TrainConfig
from ..data import Data, Scaling, fit_scaling
from ..data.memory import available_memory, format_bytes, is_out_of_memory, requested_memory
from ..errors import OutOfMemoryError, UserError
from ..model import Model
from ..nn.cpu import return_freed_memory
from ..nn.device import resolve_device, synchronize
from ..ranks import world_size
from .bench import total_bytes
from .loop import TrainState, initialize_state, train
from .progress import ProgressBar

if TYPE_CHECKING:
    from .fit import Run

TRIAL_STEP = 10_080
"""the number of a trial's last step: what is done only in every 16th step or so, such as a penalty, is done in it"""
USABLE_SHARE = 0.8
"""of the free memory that steps may take: the rest is for what is measured, drawn and saved between them"""
MAX_GROWTH = 8
"""how many times as large as the one before a trial's batch is, at most"""


class Trial(NamedTuple):
    """What steps with batches of some size took."""

    batch_size: int
    peak: int
    """bytes beyond what was held before; 0 where the system does not tell"""
    fixed: int
    """bytes of it that do not depend on the batch: networks, averages, gradients and moments"""

    def bound(self, batch_size: int) -> float:
        """Bytes that steps with larger batches take at most: all else grows in proportion, or less."""
        return self.fixed + max(0, self.peak - self.fixed) * batch_size / self.batch_size


def watch(steps: Iterator[int]) -> Iterator[int]:
    """The same steps; OutOfMemoryError, in PyTorch's words, where memory runs out in one."""
    try:
        yield from steps
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemoryError(str(error)) from error


def batch_sizes(model: Model, data: Data, most: int) -> list[int]:
    """`most`, its halves and the powers of two below it, of which model and data allow batches; the smallest first."""
    most, sizes = min(most, *map(len, data.in_memory.datasets)), list[int]()
    powers = [2**i for i in range(most.bit_length())]
    for size in sorted({*powers, *(most // n for n in powers if most % n == 0)}):
        try:
            model.validate_batch_size(size, data.shape)
        except UserError:
            continue
        sizes += [size]
    return sizes


def largest_batch(
    model: Model, data: Data, scaling: tuple[Scaling, ...], config: TrainConfig, sizes: Sequence[int], usable: int
) -> Trial | None:
    """The trial of the largest of the ascending sizes whose steps take at most so many bytes; None where none does."""
    device, best = resolve_device(config.device), None
    config = replace(config, steps=10**9, epochs=None, budget=None, compile="off", graph="off")

    def play(batch_size: int) -> int:
        state = initialize_state(model, data.shape, config.seed, device, len(data.classes))
        state.scaling, state.step = scaling, TRIAL_STEP - 1
        steps = train(model, data.in_memory, replace(config, batch_size=batch_size), state)
        for _ in range(2):
            next(steps)
        synchronize(device)
        return fixed_bytes(state)

    for size in sizes[:1]:  # to warm up: PyTorch loads parts of itself in its first step, tens of MiB
        try_batch(size, partial(play, size), device)
    while sizes:
        limit = sizes[0] if best is None else max(sizes[0], MAX_GROWTH * best.batch_size)
        tried = [n for n in sizes if n <= limit and (best is None or best.bound(n) <= usable)]
        if not tried:
            break
        trial = try_batch(tried[-1], partial(play, tried[-1]), device)
        if trial is None or trial.peak > usable:
            sizes = tried[:-1]
        else:
            best, sizes = trial, [n for n in sizes if n > trial.batch_size]
    return best


def try_batch(batch_size: int, play: Callable[[], int], device: torch.device) -> Trial | None:
    """What it takes to play steps, which return their fixed bytes; None where memory does not suffice."""
    before = held_bytes(device, "VmRSS")
    try:
        fixed = play()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)
        return None
    is_told = before > 0 or device.type == "cuda"  # else the peak may be that of the process's whole life
    return Trial(batch_size, max(0, held_bytes(device, "VmHWM") - before) if is_told else 0, fixed)


def fixed_bytes(state: TrainState) -> int:
    """Bytes of networks, averages, gradients and moments."""
    tensors = [t for nets in (state.nets, state.ema_nets) for t in (*nets.parameters(), *nets.buffers())]
    moments = [list(optimizer.state.values()) for optimizer in state.optimizers.values()]
    return total_bytes([tensors, [p.grad for p in state.nets.parameters()], moments])


def free_bytes(device: torch.device) -> int:
    """Bytes that are free for steps on the device, once what nobody uses is given back."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        return torch.cuda.mem_get_info(device)[0]
    return_freed_memory()
    return available_memory()


def held_bytes(device: torch.device, what: str) -> int:
    """Bytes that the process holds now, "VmRSS", which begins to count anew, or held at its peak since then, "VmHWM".

    Always 0 where the system does not say.  Source: proc(5), clear_refs and status.
    """
    if device.type == "cuda":
        if what == "VmHWM":
            return torch.cuda.max_memory_reserved(device)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_reserved(device)
    try:
        if what == "VmRSS":
            return_freed_memory()
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return 1024 * int(dict(line.split(":", 1) for line in lines)[what].split()[0])
    except (OSError, ValueError, KeyError):
        return 0


def choose_batch_size(
    model: Model, data: Data, config: TrainConfig, bar: ProgressBar, n_runs: int = 1
) -> tuple[TrainConfig, dict[str, Any]]:
    """The configuration with its own batch or, where steps of that do not fit in memory, the largest below that do.

    Returned is also the record for config.json.  Each of several runs of a group gets its share of memory.  Raises
    OutOfMemoryError where no batch fits.
    """
    default = config.examples_per_step
    if world_size() > 1:  # a rank whose memory runs out would leave the others waiting
        bar.print_notes([f"several ranks do not measure: batch_size={default}"])
        return config, {}
    free = free_bytes(resolve_device(config.device))
    usable, sizes = int(USABLE_SHARE * free / n_runs), batch_sizes(model, data, default) or [default]
    with bar.show_work("trying batches"):
        trial = largest_batch(model, data, fit_scaling(data, model), config, sizes, usable)
    of_free = f"{format_bytes(free)} free" + (f", for {n_runs} runs" if n_runs > 1 else "")
    if trial is None:
        what = f"not even steps with batches of {sizes[0]} fit in {USABLE_SHARE:.0%} of {of_free}"
        raise OutOfMemoryError(f"batch_size=auto: {what}: choose a smaller model or smaller examples")
    takes = f"steps take {format_bytes(trial.peak)} of {of_free}" if trial.peak else "steps of it fit in memory"
    less = f"; {default}, the default, does not fit in {USABLE_SHARE:.0%} of that"
    bar.say(f"batch_size {trial.batch_size}: {takes}{less if trial.batch_size < default else ', as by default'}")
    record = {"batch_size": {"requested": "auto", "bytes": trial.peak, "free": free}}
    return replace(config, batch_size=trial.batch_size), record


def end_error(runs: Sequence["Run"], name: str, error: BaseException) -> OutOfMemoryError:
    """What is said where memory ran out in runs, which resume by this name: when, and which batches would fit.

    That is measured in the memory that the runs hold, so they are of no use any more.  Without a name they were trials.
    """
    run, ranks = max(runs, key=lambda run: run.state.step), world_size()
    step, batch_size, more = run.state.step, run.config.examples_per_step, requested_memory(error)
    keeps = f"{name} keeps the checkpoint of step {run.saved_step} of {run.config.steps}; "
    keeps = "" if not name else keeps if len(runs) == 1 else "the runs keep their checkpoints; "
    where, resume = f"out of memory on {run.device.type}", f"{keeps}go on with: ganvas resume {name}"
    if not isinstance(error, OutOfMemoryError):
        what = f"{where} after step {step}{more}, where runs measure, log and save, whatever the batch: free some"
        return OutOfMemoryError(f"{what}; {resume}" if name else what)
    what = f"{where} in step {step + 1}" if name else where
    what += f" with batches of {batch_size}" + (f" on each of {ranks} ranks" if ranks > 1 else "") + more
    smaller = f"{keeps}start a new run with a smaller model or smaller examples"
    if not (sizes := [n for n in batch_sizes(run.model, run.data, batch_size) if n < batch_size]):
        return OutOfMemoryError(f"{what}, the smallest that it can be: {smaller}")
    if ranks > 1:  # a trial would leave the others waiting
        fitting, measured = sizes[-1], "several ranks do not measure what fits: try less"
    else:
        free_memory(runs, error)
        with run.bar.show_work("trying smaller batches"):
            usable = int(USABLE_SHARE * free_bytes(run.device) / len(runs))
            trial = largest_batch(run.model, run.data, run.state.scaling, run.config, sizes, usable)
        if trial is None:
            return OutOfMemoryError(f"{what}, and not even {sizes[0]} fit: {smaller}")
        fitting, measured = trial.batch_size, f"batches of {trial.batch_size} fit, as steps with them show"
    advice = f"{resume} --batch-size {fitting}" if name else f"give batch_size={fitting}"
    return OutOfMemoryError(f"{what}: {measured}; {advice}")


def free_memory(runs: Sequence["Run"], error: BaseException | None) -> None:
    """Let go of what runs hold: their networks, optimisers and samples, and what the step that failed had computed."""
    for run in runs:
        run.steps, run.open_steps, run.evaluator = iter(()), lambda: iter(()), None
        run.state.optimizers.clear()
        for nets in (run.state.nets, run.state.ema_nets):
            nets.to("meta")
    seen = list[BaseException]()
    while error is not None and error not in seen:
        traceback.clear_frames(error.__traceback__)
        seen.append(error)
        error = error.__cause__ or error.__context__
