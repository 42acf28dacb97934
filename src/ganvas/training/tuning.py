"""Switches that are measured, not guessed: precision=auto and compile=auto, and what is to be said of the others.

Measured are steps of the model on its data, on a copy of the state: the run itself does not move.  The times are kept
in the machine's cache.  `resolve_switches` returns the configuration with which a run trains, and which it
stores, so that it goes on as it began.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import torch
from torch.nn.functional import conv2d

from ..config import TrainConfig
from ..data import Data
from ..errors import UserError, first_line
from ..io.text import format_duration, format_number, format_step_time
from ..model import Model, device_of, model_name, to_dict
from ..models._own import model_source
from ..nn.compilation import missing_compiler
from ..ranks import world_size
from .loop import TrainState, ensure_scaling, train
from .measurements import Key, Seconds, StepTimes, machine, recall, time_in_turns
from .progress import ProgressBar

TRIAL_STEP = 1001
"""step from which a trial goes on: past the first, in which some critics move 100 times"""
MIN_SPEEDUP = 1.05
"""times as fast as float32 that bfloat16 must be, since it loses digits"""
MAX_SLOWDOWN = 1.5
"""times as long as in float32 that a product alone takes in bfloat16, after which no step is tried"""
LEAST_COMPILE_SECONDS = 300.0
"""seconds of steps that must be left for a trial of compiling, which takes a minute and saves a fifth of them or so"""
DEFAULTS = {"precision": "float32", "compile": "off"}
"""what auto is where nothing can be measured"""
EARLIER = " (measured in an earlier run)"
Record = dict[str, dict[str, Any]]
"""what was asked of each switch that is not as was asked, and what was measured for it"""
TRIAL_ERRORS = (RuntimeError, AssertionError, UserError)
"""what ends a trial: an operation that is not there, too little memory, or what compiled code asserts of its inputs"""
Choice = tuple[str, str, Seconds]
"""what auto is, why, and what was measured"""


def resolve_switches(
    model: Model, data: Data, config: TrainConfig, state: TrainState, bar: ProgressBar, trials: Record
) -> tuple[TrainConfig, Record]:
    """The configuration without an "auto" of precision or compile, and with other `trials` the record for config.json.

    Raises UserError where compile=on and nothing can be compiled here.
    """
    device, record = device_of(state.nets), Record(trials)
    bar.print_notes(precision_notes(config, device))
    autos = [name for name in DEFAULTS if getattr(config, name) == "auto"]
    if autos and world_size() > 1:  # ranks that measure different times would do different things
        config, autos = replace(config, **dict[str, Any]({name: DEFAULTS[name] for name in autos})), []
        bar.print_notes([f"several ranks do not measure: precision={config.precision}, compile={config.compile}"])
    if autos or config.compile == "on":
        ensure_scaling(state, model, data)
    for name in autos:
        choose = choose_precision if name == "precision" else choose_compile
        try:
            value, why, seconds = choose(model, data, config, state, bar)
            record[name] = {"requested": "auto", "seconds": seconds}
        except TRIAL_ERRORS as error:
            value, why = DEFAULTS[name], first_line(error)
            record[name] = {"requested": "auto", "failure": why}
        bar.say(f"{name} {value}: {why}")
        config = replace(config, **dict[str, Any]({name: value}))
    if config.compile == "on" and "compile" not in autos and state.step < config.steps:
        try:
            check_compiler(device)
            if world_size() == 1:
                compile_first(model, data, config, state, bar)
        except TRIAL_ERRORS as error:
            advice = "use compile=off, in a run that goes on: ganvas resume RUN --compile off"
            raise UserError(f"the networks cannot be compiled here: {first_line(error)}; {advice}") from error
    return config, record


def choose_precision(model: Model, data: Data, config: TrainConfig, state: TrainState, bar: ProgressBar) -> Choice:
    """The faster precision, by the seconds of a step, or of products alone, in each."""
    device = device_of(state.nets)
    if device.type == "cuda" and (reason := missing_bfloat16(device)):
        raise UserError(reason)

    def measure() -> Seconds:
        seconds = product_seconds(device, has_images=data.has_images)
        if seconds["bfloat16"] > MAX_SLOWDOWN * seconds["float32"]:
            return seconds
        configs: dict[str, TrainConfig] = {name: replace(config, precision=name, compile="off") for name in names}
        return time_steps(model, data, configs, state).seconds

    names: tuple[Literal["float32", "bfloat16"], ...] = ("float32", "bfloat16")
    key = measurement_key(model, data, config, device, "precision")
    seconds, is_new = recall(key, names, measure, bar.print_notes)
    speedup = seconds["float32"] / seconds["bfloat16"]
    ratio = format_number(max(speedup, 1 / speedup), 2) + f" times as {'fast' if speedup >= 1 else 'slow'}"
    why = f"bfloat16 is {ratio} as float32 here" + ("" if is_new else EARLIER)
    return names[speedup >= MIN_SPEEDUP], why, seconds


def choose_compile(model: Model, data: Data, config: TrainConfig, state: TrainState, bar: ProgressBar) -> Choice:
    """Whether compiling saves time within the run, by the seconds of a step with and without, and of compiling."""
    device, budget = device_of(state.nets), None if state.step else config.budget
    check_compiler(device)

    def seconds_left(eager: float) -> float:
        return (config.steps - state.step) * eager if budget is None else budget

    def measure() -> Seconds:
        eager = time_steps(model, data, {"eager": replace(config, compile="off")}, state).seconds["eager"]
        if seconds_left(eager) < LEAST_COMPILE_SECONDS:
            return {"eager": eager}
        return {"eager": eager} | compile_first(model, data, replace(config, compile="on"), state, bar)

    key = measurement_key(model, data, config, device, f"compile {config.precision}")
    seconds, is_new = recall(key, ("eager", "compiled", "compile"), measure, bar.print_notes)
    if "compiled" not in seconds:
        left = format_duration(seconds_left(seconds["eager"]))
        return "off", f"{left} of steps are left, too few to try it", seconds
    compiling = 0.0 if is_new else seconds["compile"]  # what is compiled in a trial, the run uses
    saving = seconds_left(seconds["eager"]) * (1 - seconds["compiled"] / seconds["eager"]) - compiling
    compiled, eager = (format_step_time(seconds[name]) for name in ("compiled", "eager"))
    times = f"a step takes {compiled} compiled, {eager} as it is"
    times += "" if is_new else EARLIER
    if saving > 0:
        gain = "the run ends {} earlier" if budget is None else "steps are done that would take {} more"
        return "on", f"{times}, so {gain.format(format_duration(saving))}", seconds
    return "off", times if is_new else f"{times}, and compiling {format_duration(compiling)}", seconds


def compile_first(model: Model, data: Data, config: TrainConfig, state: TrainState, bar: ProgressBar) -> Seconds:
    """Compile the networks in a trial, whose code the run then uses: seconds of that, and of a step afterwards."""
    bar.say("compiling the networks, which can take a minute or two")
    with bar.show_work("compiling"):
        trial = time_steps(model, data, {"compiled": config}, state)
    duration = format_duration(trial.warm_up)
    bar.say(f"compiled in {duration}; a step takes {format_step_time(trial.seconds['compiled'])}")
    return trial.seconds | {"compile": trial.warm_up}


def check_compiler(device: torch.device) -> None:
    """UserError where there is nothing that compiles for the device."""
    if reason := missing_compiler(device):
        raise UserError(reason)


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
def product_seconds(device: torch.device, *, has_images: bool) -> Seconds:
    """Seconds of a matrix product, for images also of a convolution, in each precision.

    They take some milliseconds where a whole step in bfloat16 might take 20 seconds.
    """
    random, products = torch.Generator().manual_seed(0), dict[str, Callable[[], object]]()
    matrix, maps, kernel = (
        torch.randn(*size, generator=random).to(device) for size in ((256, 256), (4, 64, 16, 16), (64, 64, 3, 3))
    )
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        m, x, w = (t.to(dtype) for t in (matrix, maps, kernel))
        products[name] = partial(lambda m, x, w: (m @ m, conv2d(x, w) if has_images else None), m, x, w)
    return time_in_turns(products, device).seconds


def precision_notes(config: TrainConfig, device: torch.device) -> list[str]:
    """What a person should know who asks for bfloat16 on a device without units for it."""
    reason = missing_bfloat16(device) if config.precision == "bfloat16" else None
    return [f"{reason}, so steps in bfloat16 may take many times as long as in float32"] if reason else []


def missing_bfloat16(device: torch.device) -> str | None:
    """Why bfloat16 is slow on the device: it has no units for it."""
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return "this GPU has no units for bfloat16"
    has_onednn = torch.backends.mkldnn.is_available()
    if device.type == "cpu" and has_onednn and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
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
