"""The command line: what to type, and how mistakes are reported."""

import gc
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from functools import cache, partial
from importlib import import_module
from inspect import BoundArguments
from io import TextIOWrapper
from re import Match
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Parameter

from .. import __version__
from ..errors import (
    DivergenceError,
    InvalidFileError,
    OutOfMemoryError,
    RankError,
    TrainingStopped,
    UserError,
    WriteError,
    error_reason,
)
from ..escape import escape_text
from ..io.text import escape_lines, replace_non_finite
from . import arguments
from .help import HelpFormatter

ARGUMENT_PATTERN = re.compile(
    r"`(?P<named>[a-z]\w*)`|(?<![\w./`'\"\-])(?P<name>[a-z]\w*)(?P<value>=(?:[^\s,;:]|[,:.](?=\S))+)"
)
"""an argument as Python has it: `name`, or name=value"""
FEWER = "ask for fewer examples, with a smaller -n"
MEMORY_REMEDIES = dict.fromkeys(("sample", "reconstruct", "evaluate", "compare"), FEWER) | {
    "score": "score fewer examples at once, with --limit, or with fewer --importance-samples where they are given",
    "translate": "translate smaller images, or fewer at once",
}
MEMORY_REMEDY = "ask for fewer or smaller examples, or a smaller model or batch"
"""what to do where memory runs out, by command, and in all others"""

formatter: HelpFormatter = HelpFormatter()
HELP = "Train VAEs and GANs on your data: `ganvas demo`, or `ganvas train vae FOLDER`."
app: App = App(
    name="ganvas", version=__version__, help=HELP, usage="",
    default_parameter=Parameter(negative_iterable=()), help_formatter=formatter, version_format="plaintext",
)  # fmt: skip
app["--version"].show = app["--help"].show = False  # the list of commands has to fit a screen
app.suppress_keyboard_interrupt = app.meta.suppress_keyboard_interrupt = False
COMMANDS = {
    "train": ("train:train_app", "Train a model on a folder of images, a file, or a data set."),
    "resume": ("train:resume", "Continue a stopped run exactly where it was."),
    "fit-prior": ("priors:fit_prior", "Fit a prior to an encoder's codes, to sample from."),
    "sample": ("sample:sample", "Generate new examples with a trained model."),
    "reconstruct": ("sample:reconstruct", "Encode and decode examples, and show both."),
    "translate": ("sample:translate", "Translate images with a CycleGAN, a DiscoGAN or CUT."),
    "evaluate": ("evaluate:evaluate", "Measure a trained model and its samples on held-out data."),
    "score": ("score:score", "Score how strange examples are, and mark anomalies."),
    "compare": ("compare:compare", "Compare runs by their samples, with intervals."),
    "doctor": ("inspect:doctor", "Say what is wrong with a run, with evidence and remedies."),
    "report": ("report:report", "Write one page on a run, or on several side by side."),
    "features": ("evaluate:features", "List features to compare samples on; fetch their weights."),
    "interpolate": ("explore:interpolate", "Walk through the latent space from one example to another."),
    "traverse": ("explore:traverse", "Change one latent dimension at a time, sorted by KL."),
    "manifold": ("explore:manifold", "Decode a plane of the latent space."),
    "arithmetic": ("explore:arithmetic", "Add the difference of two classes to examples."),
    "runs": ("inspect:runs", "List the runs, how far they are, and their last losses."),
    "data": ("inspect:data", "Report on a data source: duplicates, advice, pictures."),
    "cache": ("cache:cache", "List images that were decoded once, or remove them."),
    "bench": ("bench:bench_app", "Measure how fast models train here, and how fast they could."),
    "studio": ("ganvas.studio.command:studio", "Start, watch and explore runs on a web page."),
    "demo": ("demo:demo", "Train eight models in minutes; see them all on one page."),
    "lecture": ("lecture:lecture", "Show the lecture as pages that run, from recorded training."),
}
for _name, (_function, _summary) in COMMANDS.items():  # imported when used: --help does not wait for torch
    app.command(_function if "." in _function else f"ganvas.cli.{_function}", name=_name, help=_summary)


command_line: list[str] = []
"""the words of the command that runs"""


@app.meta.default
def launch(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    config: Annotated[str | None, Parameter(help="YAML file with options, e.g. `latent: 16`")] = None,
    model: Annotated[str | None, Parameter(help="FILE.py:CLASS, for a run of your own model")] = None,
    debug: Annotated[bool, Parameter(negative=(), help="show the traceback of an error")] = False,
) -> Any:
    command, bound = parse_command(tokens, config)
    if not gc.isenabled():
        keep_objects()
    return command(*bound.args, **bound.kwargs)


def parse_command(tokens: Sequence[str], config: str | None = None) -> tuple[Callable[..., Any], BoundArguments]:
    """The function of the command that is typed, and its arguments, with the options of a file; errors as they come."""
    given = set[str]()
    file_options = () if config is None else (partial(arguments.apply_options, config, arguments.read_options(config)),)
    app.config = (
        *file_options, arguments.convert_tokens,
        lambda app, commands, parsed: given.update(argument.field_info.name for argument in parsed if argument.tokens),
    )  # fmt: skip
    words = arguments.prepare_tokens(app, tokens)
    command, bound, others = app.parse_args(words, exit_on_error=False, print_error=False)
    for name, value in (("given", frozenset(given)), ("words", tuple(command_line))):
        if name in others:
            bound.arguments[name] = value
    return command, bound


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns its exit code: 0, 2 for the user's mistakes, 1 for failures, 128 + a signal's number."""
    os.environ.setdefault("PYDANTIC_ERRORS_INCLUDE_URL", "0")
    if is_process := argv is None:  # importing makes many objects, and no garbage to look for among them
        gc.disable()
    command_line[:] = argv = sys.argv[1:] if argv is None else argv
    app.config = ()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # characters that its encoding lacks are escaped
            stream.reconfigure(errors="backslashreplace")
    try:
        general, words = split_words(argv)
        formatter.describe_command(app, words)
        code = app.meta([*general, *words], exit_on_error=False, print_error=False, result_action="return_value")
    except BaseException as error:
        if "--debug" in argv and not isinstance(error, SystemExit | TrainingStopped):
            raise
        code, message = explain_error(error)
        if message and (sender := rank_prefix(error)) is not None:
            print(f"ganvas: {sender}{escape_text(message)}", file=sys.stderr)
    finally:
        if is_process:
            keep_objects()
    code = code if isinstance(code, int) else 0
    if is_process:
        end_rank(code)
    return code


def end_rank(code: int) -> None:
    """End a process that has joined other ranks at once, without the interpreter's own end.

    A thread of gloo may not have let go of the tensors of its last collective yet; if the interpreter ends before, the
    process aborts (pytorch/pytorch#179291), and a run that is complete looks like one that failed.
    """
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def keep_objects() -> None:
    """Look for garbage from now on, but not among the objects of now: those of torch alone take tenths of a second."""
    gc.freeze()
    gc.enable()


def rank_prefix(error: BaseException) -> str | None:
    """What a sentence begins with: nothing, or the number of a rank; None where another rank says the same."""
    if os.environ.get("RANK", "0") == "0":
        return ""
    from ..ranks import has_group

    is_shared = isinstance(error, UserError | DivergenceError | RankError | TrainingStopped | SystemExit)
    is_shared = is_shared and not (isinstance(error, UserError) and error.is_of_rank)
    if is_shared and (has_group() or os.environ.get("LOCAL_RANK") != "0"):
        return None
    return f"rank {os.environ['RANK']}: "


def split_words(argv: list[str]) -> tuple[list[str], list[str]]:
    """The options that every command has, and the other words; a class that --model, train or bench names is loaded.

    Only here does code of a user's file run: of one that stands on the command line.
    """
    words, general, rest = iter(argv), list[str](), list[str]()
    for word in words:
        name, equals, text = word.partition("=")
        value = text if equals else next(words, "") if name in ("--config", "--model") else ""
        if name == "--model":
            from ..models._own import load_model_class

            load_model_class(value)
        elif name == "--debug" or (name == "--config" and value):  # in front, or `resume` would take them as its own
            general += [name, value] if value else [word]
        else:
            rest.append(word)
    if rest[:1] in (["train"], ["bench"]) and ".py" in "".join(rest[1:2]):
        import_module(f".{rest[0]}", __package__).add_own_model(rest[1])
        known_arguments.cache_clear()
    return general, rest


@cache
def known_arguments() -> set[str]:
    """The names of the arguments of all commands, as Python has them; found once, where a sentence needs them."""
    names, apps = set[str](), [app]
    while apps:
        group = apps.pop()
        names |= {a.field_info.name for a in arguments.command_arguments(group) if a.name.startswith("--")}
        apps += [group[name] for name in group if not name.startswith("-")]
    return names


def spell_options(sentence: str) -> str:
    """The sentence with options, --lr or --lr 0.1, in place of arguments as Python has them, `lr` or lr=0.1."""
    from ..fields import flag, format_option

    def option(match: Match[str]) -> str:
        name, value = match["name"] or match["named"], match["value"]
        if name not in known_arguments():
            return match[0]
        if value in ("=false", "=False"):
            return format_option((name, False))
        typed = "-n" if name == "n" else flag(name)
        return typed if value in (None, "=true", "=True") else f"{typed} {value[1:].replace('LOW,HIGH', 'LOW HIGH')}"

    return ARGUMENT_PATTERN.sub(option, sentence)


def explain_error(error: BaseException) -> tuple[int, str]:
    """The exit code and the sentence for an error."""
    from pydantic import ValidationError

    from ..fields import format_errors

    match (error.__cause__ if isinstance(error, CycloptsError) else None) or error:
        case ValidationError() as invalid:
            return 2, spell_options(format_errors(invalid))
        case InvalidFileError():
            return 2, str(error)
        case UserError() | DivergenceError() | RankError() | WriteError() | OutOfMemoryError() as failure:
            return 2 if isinstance(failure, UserError) else 1, spell_options(str(error))
        case FileNotFoundError() | IsADirectoryError() | NotADirectoryError() as missing:
            return 2, f"{missing.filename}: {(missing.strerror or 'not found').lower()}"
        case TrainingStopped() as stopped:
            return 128 + stopped.signal, str(stopped)
        case KeyboardInterrupt():
            return 130, "stopped"
        case SystemExit() as leaving:
            return int(leaving.code or 0), ""
        case BrokenPipeError():
            return 0, ""
        case OSError() as failed:
            location = f"{failed.filename}: " if failed.filename else ""
            return 1, f"{location}{error_reason(failed)}; what was written before is kept"
    from ..data.memory import is_out_of_memory, requested_memory

    if is_out_of_memory(error):
        remedy = MEMORY_REMEDIES.get("".join(command_line[:1]), MEMORY_REMEDY)
        return 1, f"there is not enough memory{requested_memory(error)}: {remedy}"
    if isinstance(error, CycloptsError):
        return 2, " ".join(str(error).split())
    return 1, f"failed with {type(error).__name__}: {error} (--debug shows where)"


def print_result(lines: str | Sequence[str], value: Any, as_json: bool) -> None:
    """A result, on stdout: for people in lines, which are those of a text, or for programs as JSON."""
    print(json.dumps(replace_non_finite(value), allow_nan=False) if as_json else escape_lines(lines))
