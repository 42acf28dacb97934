"""`ganvas bench`: how fast models train on this machine, and how fast it could be."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import torch
from cyclopts import App, Parameter
from pydantic import Field
from pydantic.dataclasses import dataclass as options_dataclass

from ..config import TrainConfig
from ..data import Data
from ..data.stream import check_batches
from ..errors import UserError, did_you_mean
from ..fields import STRICT, Size, mark_given
from ..io.text import format_number
from ..model import Model, chooses_defaults, model_name, to_dict
from ..models import MODELS
from ..nn.device import resolve_device
from ..renamed import given_up
from ..training.bench import Rates, Speed, bench_images, bench_vectors, measure_speed
from ..training.defaults import choose_defaults, refuse_unused
from ..training.loop import prepare_data
from ..training.progress import ProgressBar
from ..training.tuning import check_compiler, precision_notes
from .app import print_result, spell_options
from .common import FIELDS, Given, Json, Quiet
from .train import add_own_command

UNUSED_OPTIONS = (
    "steps", "epochs", "budget", "checkpoint_every", "lr_milestones", "lr_gamma", "lr_decay", "keep", "patience",
)  # fmt: skip
"""options of training that change no step's time"""
HEADS = ("", "step, ms", "examples/s", "GFLOP", "MB", "floor, ms", "share", "parameters")
bench_app: App = App(name="bench", help="Measure how fast models train on this machine, and how fast they could.")


@options_dataclass(frozen=True, kw_only=True, config=STRICT)
class Inputs:
    """What models are measured on."""

    size: Annotated[int, Field(ge=4, le=4096)] = 32
    """height and width of images"""
    channels: Literal[1, 3, 4] = 3
    """grey (1), RGB (3) or RGBA (4) images"""
    dimensions: Size | None = None
    """measure on vectors of so many numbers, in place of images"""

    def __str__(self) -> str:
        if self.dimensions is not None:
            return f"vectors of {self.dimensions} numbers"
        return f"{self.channels} x {self.size} x {self.size} images"


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """How models are trained while they are measured, on what, and what is said of it."""

    training: Annotated[TrainConfig, Parameter(name="*", group="Training")] = TrainConfig()  # noqa: RUF009  frozen
    inputs: Annotated[Inputs, Parameter(name="*", group="Inputs")] = Inputs()  # noqa: RUF009
    quiet: Quiet = False
    json: Json = False


BenchFlags = Annotated[BenchOptions, FIELDS]


def make_bench_command(cls: type[Model]) -> Callable[..., None]:
    """The command that measures models of this class."""

    def command(
        *,
        model: Annotated[cls, Parameter(name="*", group="Model")] = cls(),  # type: ignore[valid-type]
        options: BenchFlags = BenchOptions(),
        given: Given = frozenset(),
    ) -> None:
        refuse_unused(model, options.training, given)
        mark_given(model, given & to_dict(model).keys())
        bench([model], options, given)

    command.__doc__ = f"{cls.__doc__}\n\nMeasures how fast it trains on this machine, and how fast it could."
    hidden = (*cls.ignored_options, *UNUSED_OPTIONS)
    fixed, defaults = given_up(cls), to_dict(cls.default_training)
    chosen = cls.chosen_options if chooses_defaults(cls) else ()
    vars(command).update(hidden=hidden, fixed_options=fixed, defaults=defaults, chosen=chosen)
    return command


@bench_app.default
def bench_all(
    *unknown: Annotated[str, Parameter(show=False)],
    options: BenchFlags = BenchOptions(),
    given: Given = frozenset(),
) -> None:
    """Measure how fast every model, with its default options, trains on this machine, and how fast it could.

    `ganvas bench MODEL` measures one, with the options that it has in training.
    """
    if unknown:
        hint = did_you_mean(unknown[0], MODELS)
        raise UserError(f"there is no model {unknown[0]!r}: use {', '.join(MODELS)}, or FILE.py:CLASS.{hint}")
    bench([cls() for cls in MODELS.values()], options, given)


vars(bench_all).update(hidden=UNUSED_OPTIONS)
for _name, _cls in MODELS.items():
    bench_app.command(make_bench_command(_cls), name=_name)


def add_own_model(reference: str) -> None:
    """Make a command of FILE.py:CLASS, whose file is run for that."""
    add_own_command(bench_app, make_bench_command, reference)


def bench(models: Sequence[Model], options: BenchOptions, given: frozenset[str]) -> None:
    """Measure the models, one after the other; of several, those that such data do not fit are left out."""
    values, inputs = to_dict(options.training), options.inputs
    for name in given.intersection(UNUSED_OPTIONS):
        raise UserError(f"{name}={values[name]} has no effect on the time of a step: leave it out")
    for name in ("precision", "compile", "batch_size"):
        if values[name] == "auto":
            raise UserError(f"{name}=auto is decided where a run begins: give what is to be measured")
    if inputs.dimensions is not None and (names := sorted(given.intersection(("size", "channels")))):
        raise UserError(f"`{names[0]}` is of images, and dimensions={inputs.dimensions} of vectors: give one of them")
    bar, device, rates = ProgressBar(options.quiet), resolve_device(options.training.device), Rates({}, 0.0)
    bar.print_notes(precision_notes(options.training, device))
    if options.training.compile == "on":
        check_compiler(device)
    results: dict[str, dict[str, Any]] = {}
    skip_reasons: dict[str, str] = {}
    for model in models:
        name, own = model_name(model), {key: value for key, value in values.items() if key in given}
        try:
            data = make_data(model, inputs, replace(model.default_training, **own).examples_per_step)
            model, defaults = choose_defaults(model, data, own)  # noqa: PLW2901
            config = replace(model.default_training, **defaults.training | own)
            bar.say(f"{name}: {inputs}, batches of {config.examples_per_step}")
            speed = measure(model, config, data, device, given)
            bar.print_notes(speed.notes)
        except UserError as error:
            if len(models) == 1:
                raise
            skip_reasons[name] = str(error)
            bar.print_notes([f"{name} left out: {spell_options(str(error))}"])
            continue
        results[name], rates = result(config, speed), rates.best(speed.rates)
    if not results:
        raise UserError(next(iter(skip_reasons.values())))
    report = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(), "torch": torch.__version__, "rates": rates_by_name(rates),
        "inputs": str(inputs), "models": results, "skip_reasons": skip_reasons,
    }  # fmt: skip
    print_result(format_report(report), report, options.json)


def make_data(model: Model, inputs: Inputs, batch_size: int) -> Data:
    """Such inputs for the model."""
    if inputs.dimensions is None:
        return bench_images(model, inputs.size, inputs.channels, batch_size)
    return bench_vectors(model, inputs.dimensions, batch_size)


def measure(model: Model, config: TrainConfig, data: Data, device: torch.device, given: frozenset[str]) -> Speed:
    """How fast the model trains on the data; UserError where it cannot, or a given option has no effect."""
    data = prepare_data(model, data)
    refuse_unused(model, config, given, data.shape)
    model.validate_batch_size(config.examples_per_step, data.shape)
    check_batches(data.datasets, config.examples_per_step, config.balanced)
    return measure_speed(model, data, config, device)


def rates_by_name(rates: Rates) -> dict[str, float]:
    """Rates a second by name, "matmul float32" in floating-point operations and "memory" in bytes."""
    flops = {f"{kind} {str(dtype).removeprefix('torch.')}": rate for (kind, dtype), rate in rates.flops.items()}
    return dict(sorted(flops.items(), reverse=True)) | {"memory": rates.memory}


def result(config: TrainConfig, speed: Speed) -> dict[str, Any]:
    """What is said of a model: times in seconds, operations and bytes a step."""
    flops = {kind: speed.work.flops(kind) for kind in ("matmul", "convolution")}
    return {
        "step": speed.step, "batch_size": (n := config.examples_per_step), "examples_per_second": n / speed.step,
        "flops": flops, "bytes": speed.work.bytes, "floor": speed.floor, "share": speed.share,
        "parameters": speed.parameters, "rates": rates_by_name(speed.rates),
    }  # fmt: skip


def figure(x: float) -> str:
    """A number of three digits or more."""
    return f"{x:,.0f}" if x >= 100 else format_number(x)


def format_report(report: dict[str, Any]) -> list[str]:
    """The machine's rates, and a line a model."""
    flops = [f"{name.replace('matmul', 'matrix products')} {figure(rate / 1e9)} GFLOP/s"
             for name, rate in report["rates"].items() if name != "memory"]  # fmt: skip
    rows = [
        (
            name, figure(r["step"] * 1e3), figure(r["examples_per_second"]), figure(sum(r["flops"].values()) / 1e9),
            figure(r["bytes"] / 1e6), figure(r["floor"] * 1e3), f"{r['share']:.0%}", f"{r['parameters']:,}",
        )
        for name, r in report["models"].items()
    ]  # fmt: skip
    widths = [max(map(len, column)) for column in zip(HEADS, *rows, strict=True)]
    lines = [
        f"{name:<{widths[0]}}" + "".join(f"{cell:>{width + 2}}" for cell, width in zip(cells, widths[1:], strict=True))
        for name, *cells in (HEADS, *rows)
    ]
    return [
        f"{report['device']}, {report['threads']} threads, torch {report['torch']}; {report['inputs']}",
        f"at best: {', '.join(flops)}, memory {figure(report['rates']['memory'] / 1e9)} GB/s",
        "", *lines, "",
        "floor: the least time in which this machine can do a step's operations and move its bytes",
    ]  # fmt: skip
