"""Switches that are measured, not guessed: precision=auto and compile=auto, and what is to be said of the others.

Measured are steps of the model on its data, on a copy of the state: the run itself does not move.  The times are kept
in the machine's cache.  `resolve_switches` returns the configuration with which a run trains, and which it
stores, so that it goes on as it began.
"""

import time
from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch
from torch.nn.functional import conv2d

from ..config import TrainConfig
from ..data import Data
from ..errors import UserError, first_line
from ..model import Model, device_of, model_name, to_dict
from ..models._own import model_source
from ..nn.compilation import missing_compiler
from ..ranks import world_size
from .loop import TrainState, ensure_scaling, train
from .measurements import Key, StepTimes, machine, read_measurement, time_in_turns, write_measurement
from .progress import ProgressBar

TRIAL_STEP = 1001
"""step from which a trial goes on: past the first, in which some critics move 100 times"""
WORTHWHILE = 1.05
"""times as fast as float32 that bfloat16 must be, since it loses digits"""
HOPELESS = 1.5
"""times as long as in float32 that a product alone takes in bfloat16, after which no step is tried"""
LEAST_COMPILE_SECONDS = 300.0
"""seconds of steps that must be left for a trial of compiling, which takes a minute and saves a fifth of them or so"""
Record = dict[str, dict[str, Any]]
"""what was asked of each switch that is not as was asked, and what was measured for it"""


def resolve_switches(
    model: Model, data: Data, config: TrainConfig, state: TrainState, bar: ProgressBar
) -> tuple[TrainConfig, Record]:
    """The configuration without an "auto" of precision or compile, and the record for config.json.

    Raises UserError where compile=on and nothing can be compiled here.
    """
    device, record = device_of(state.nets), Record()
    bar.print_notes(precision_notes(config, device))
    if world_size() > 1:  # ranks that measure different times would do different things
        precision = "float32" if config.precision == "auto" else config.precision
        compile_ = "off" if config.compile == "auto" else config.compile
        if (precision, compile_) != (config.precision, config.compile):
            bar.print_notes([f"several ranks do not measure: precision={precision}, compile={compile_}"])
        if compile_ == "on" and (reason := missing_compiler(device)):
            raise compile_error(reason)
        return replace(config, precision=precision, compile=compile_), record
    if "auto" in (config.precision, config.compile) or config.compile == "on":
        ensure_scaling(state, model, data)
    if config.precision == "auto":
        config, record["precision"] = resolve_precision(model, data, config, state, bar)
    if config.compile == "auto":
        config, record["compile"] = resolve_compile(model, data, config, state, bar)
    elif config.compile == "on" and state.step < config.steps:
        compile_first(model, data, config, state, bar)
    return config, record


def resolve_precision(
    model: Model, data: Data, config: TrainConfig, state: TrainState, bar: ProgressBar
) -> tuple[TrainConfig, dict[str, Any]]:
    """The configuration with the faster precision, and the seconds of a step, or of products, in each."""
    device = device_of(state.nets)
    if device.type == "cuda" and (reason := missing_bfloat16(device)):
        bar.say(f"precision float32: {reason}")
        return configs_with(config, precision="float32"), {"requested": "auto", "failure": reason}
    configs = {name: replace(config, precision=name, compile="off") for name in ("float32", "bfloat16")}
    key = measurement_key(model, data, config, device, "precision")
    figures = None if key is None else read_measurement(key, tuple(configs), bar.print_notes)
    try:
        if figures is None:
            figures = product_seconds(device, has_images=data.has_images)
            if figures["bfloat16"] < HOPELESS * figures["float32"]:
                figures = time_steps(model, data, configs, state).seconds
            if key is not None:
                write_measurement(key, figures, bar.print_notes)
    except RuntimeError as error:  # torch's, of an operation that is not there, or of memory
        bar.say(f"precision float32: bfloat16 cannot be tried here ({first_line(error)})")
        return configs_with(config, precision="float32"), {"requested": "auto", "failure": first_line(error)}
    speedup = figures["float32"] / figures["bfloat16"]
    precision = "bfloat16" if speedup >= WORTHWHILE else "float32"
    ratio = f"{speedup:.2g} times as fast" if speedup >= 1 else f"{1 / speedup:.2g} times as slow"
    bar.say(f"precision {precision}: bfloat16 is {ratio} as float32 here")
    return configs_with(config, precision=precision), {"requested": "auto", "seconds": figures}


def resolve_compile(
    model: Model, data: Data, config: TrainConfig, state: TrainState, bar: ProgressBar
) -> tuple[TrainConfig, dict[str, Any]]:
    """The configuration that compiles where this saves time within the run, and the seconds that were measured."""
    device, off = device_of(state.nets), configs_with(config, compile="off")
    if reason := missing_compiler(device):
        bar.say(f"compile off: {reason}")
        return off, {"requested": "auto", "failure": reason}
    on, steps_left = configs_with(config, compile="on"), config.steps - state.step
    key = measurement_key(model, data, config, device, f"compile {config.precision}")
    names, warm_up = ("eager", "compiled", "compile"), 0.0
    figures = None if key is None else read_measurement(key, names, bar.print_notes)
    try:
        if figures is None:
            figures = time_steps(model, data, {"eager": off}, state).seconds
            left = steps_left * figures["eager"]
            if left < LEAST_COMPILE_SECONDS:
                bar.say(f"compile off: {duration(left)} of steps are left, too few to try it")
                return off, {"requested": "auto", "seconds": figures}
            figures |= compile_first(model, data, on, state, bar)
            if key is not None:
                write_measurement(key, figures, bar.print_notes)
        else:
            warm_up = figures["compile"]
    except (RuntimeError, UserError) as error:
        bar.say(f"compile off: {first_line(error)}")
        return off, {"requested": "auto", "failure": first_line(error)}
    saving = steps_left * (figures["eager"] - figures["compiled"]) - warm_up
    times = f"a step takes {1000 * figures['compiled']:.3g} ms compiled, {1000 * figures['eager']:.3g} ms as it is"
    if saving <= 0:
        bar.say(f"compile off: {times}" + (f", and compiling {duration(warm_up)}" if warm_up else ""))
        return off, {"requested": "auto", "seconds": figures}
    bar.say(f"compile on: {times}, so the run ends {duration(saving)} earlier")
    return on, {"requested": "auto", "seconds": figures}


def compile_first(
    model: Model, data: Data, config: TrainConfig, state: TrainState, bar: ProgressBar
) -> dict[str, float]:
    """Compile the networks in a trial, whose code the run then uses: seconds of that, and of a step afterwards.

    Raises UserError where nothing can be compiled.
    """
    if reason := missing_compiler(device_of(state.nets)):
        raise compile_error(reason)
    bar.say("compiling the networks, which can take a minute or two")
    try:
        with bar.show_work("compiling"):
            trial = time_steps(model, data, {"compiled": config}, state)
    except (RuntimeError, UserError) as error:
        raise compile_error(first_line(error)) from error
    bar.say(f"compiled in {duration(trial.warm_up)}; a step takes {1000 * trial.seconds['compiled']:.3g} ms")
    return trial.seconds | {"compile": trial.warm_up}


def compile_error(reason: str) -> UserError:
    """What is raised where networks are to be compiled and cannot be."""
    advice = "use compile=off, in a run that goes on: ganvas resume RUN --compile off"
    return UserError(f"the networks cannot be compiled here: {reason}; {advice}")


def time_steps(model: Model, data: Data, configs: dict[str, TrainConfig], state: TrainState) -> StepTimes:
    """Times of training steps with each configuration, on a copy of the state."""
    copy = deepcopy(state)
    copy.step = max(copy.step, TRIAL_STEP)
    loops = {
        name: train(model, data.in_memory, replace(config, steps=copy.step + 10**6), copy)
        for name, config in configs.items()
    }  # fmt: skip
    return time_in_turns({name: loop.__next__ for name, loop in loops.items()}, device_of(state.nets))


@torch.no_grad()
def product_seconds(device: torch.device, *, has_images: bool) -> dict[str, float]:
    """Seconds of a matrix product, for images also of a convolution, in each precision.

    They take some milliseconds where a whole step in bfloat16 might take 20 seconds.
    """
    random, figures = torch.Generator().manual_seed(0), {}
    matrix, maps, kernel = (
        torch.randn(*size, generator=random).to(device) for size in ((256, 256), (4, 64, 16, 16), (64, 64, 3, 3))
    )
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        m, x, w = (t.to(dtype) for t in (matrix, maps, kernel))
        times = []
        for _ in range(5):
            start = time.perf_counter()
            total = (m @ m).sum() + (conv2d(x, w).sum() if has_images else 0)
            total.item()
            times.append(time.perf_counter() - start)
        figures[name] = min(times)
    return figures


def precision_notes(config: TrainConfig, device: torch.device) -> list[str]:
    """What a person should know who asks for bfloat16 on a device without units for it."""
    reason = missing_bfloat16(device) if config.precision == "bfloat16" else None
    return [f"{reason}, so steps in bfloat16 may take many times as long as in float32"] if reason else []


def missing_bfloat16(device: torch.device) -> str | None:
    """Why bfloat16 is slow on the device: it has no units for it."""
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return "this GPU has no units for bfloat16"
    if device.type == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return "this processor has no units for bfloat16"
    return None


def measurement_key(model: Model, data: Data, config: TrainConfig, device: torch.device, switch: str) -> Key | None:
    """What the times of a switch depend on; None of a user's own model or networks, which say nothing of their code."""
    if model.own_networks or model_source(type(model)):
        return None
    options = {name: getattr(config, name) for name in ("batch_size", "tf32", "graph", "clip_grad_norm")}
    return machine(device) | options | {
        "switch": switch, "model": model_name(model), "fields": to_dict(model),
        "shape": data.shape, "classes": len(data.classes),
    }  # fmt: skip


def configs_with(config: TrainConfig, **values: str) -> TrainConfig:
    """The configuration with these values."""
    return replace(config, **values)  # type: ignore[arg-type]


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 120:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
