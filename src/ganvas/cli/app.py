"""The command line: what to type, and how mistakes are reported."""

import json
import os
import sys
from collections.abc import Sequence
from functools import cache
from io import TextIOWrapper
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Parameter

from .. import __version__
from ..errors import BadFile, CannotWrite, Diverged, Stopped, UserError
from ..io.text import finite, on_lines, printable
from .arguments import apart, arguments_of, as_options, meant, options_in
from .help import Formatter

HELP = "Train autoencoders, VAEs and GANs on your data; see what they generate."
EPILOGUE = "Start with `ganvas demo`, or `ganvas train vae FOLDER`, then `ganvas sample last`."

shown = Formatter()
app = App(
    name="ganvas", help=HELP, help_epilogue=EPILOGUE, version=__version__,
    default_parameter=Parameter(negative_iterable=()), help_formatter=shown,
)  # fmt: skip
app["--version"].show = False  # the list of commands has to fit a screen
app.suppress_keyboard_interrupt = app.meta.suppress_keyboard_interrupt = False
COMMANDS = {
    "train": ("train:train_app", "Train a model on a folder of images, a file, or a data set."),
    "resume": ("train:resume", "Go on with a run that was stopped, exactly where it was."),
    "fit-prior": ("priors:fit_prior", "Fit a prior to an encoder's codes, to sample from."),
    "sample": ("sample:sample", "Generate new examples with a trained model."),
    "reconstruct": ("sample:reconstruct", "Encode and decode examples, and show both."),
    "translate": ("translate:translate", "Translate images with a CycleGAN or a DiscoGAN."),
    "evaluate": ("evaluate:evaluate", "Measure a trained model and its samples on held-out data."),
    "compare": ("compare:compare", "Compare runs by their samples, with intervals."),
    "doctor": ("inspect:doctor", "Say what is wrong with a run, with evidence and remedies."),
    "features": ("evaluate:features", "List what samples are compared on; fetch published weights."),
    "interpolate": ("explore:interpolate", "Walk through the latent space from one example to another."),
    "traverse": ("explore:traverse", "Change one latent dimension at a time, sorted by KL."),
    "manifold": ("explore:manifold", "Decode a plane of the latent space."),
    "arithmetic": ("explore:arithmetic", "Add the difference of two classes to examples."),
    "runs": ("inspect:runs", "List the runs, how far they are, and their last losses."),
    "data": ("inspect:data", "Report on a data source, with a contact sheet."),
    "demo": ("inspect:demo", "Train three models in minutes; compare them on one page."),
}
for name, (function, summary) in COMMANDS.items():  # imported when used: --help does not wait for torch
    app.command(f"ganvas.cli.{function}", name=name, help=summary)


@app.meta.default
def launch(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    config: Annotated[str | None, Parameter(help="YAML file with options, as `latent: 16`")] = None,
    debug: Annotated[bool, Parameter(negative=(), help="show the traceback of an error")] = False,
) -> Any:
    app.config = (*(() if config is None else (options_in(config),)), meant)
    tokens = tuple(apart(app, tokens))
    return app(tokens, exit_on_error=False, print_error=False, result_action="return_value")


def main(words: list[str] | None = None) -> int:
    """Run a command; returns its exit code: 0, 2 for the user's mistakes, 1 for failures, 128 + a signal's number."""
    os.environ.setdefault("PYDANTIC_ERRORS_INCLUDE_URL", "0")
    words = sys.argv[1:] if words is None else words
    app.config = ()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # characters that its encoding lacks are escaped
            stream.reconfigure(errors="backslashreplace")
    try:
        with shown.of(app, words):
            app.meta(words, exit_on_error=False, print_error=False, result_action="return_value")
    except BaseException as error:
        if "--debug" in words and not isinstance(error, SystemExit | Stopped):
            raise
        code, message = explained(error)
        if message:
            print(f"ganvas: {printable(message)}", file=sys.stderr)
        return code
    return 0


@cache
def arguments() -> set[str]:
    """The names of all arguments; found once, where a sentence needs them."""
    return arguments_of(app)


def explained(error: BaseException) -> tuple[int, str]:
    """The exit code and the sentence for an error."""
    from pydantic import ValidationError

    from ..fields import in_words

    cause = error.__cause__ if isinstance(error, CycloptsError) else error
    match cause or error:
        case ValidationError() as invalid:
            return 2, as_options(in_words(invalid), arguments)
        case BadFile():
            return 2, str(error)
        case UserError():
            return 2, as_options(str(error), arguments)
        case FileNotFoundError() | IsADirectoryError() | NotADirectoryError() as missing:
            return 2, f"{missing.filename}: {(missing.strerror or 'not found').lower()}"
        case Stopped() as stopped:
            return 128 + stopped.signal, str(stopped)
        case KeyboardInterrupt():
            return 130, "stopped"
        case SystemExit() as leaving:
            return int(leaving.code or 0), ""
        case BrokenPipeError():
            return 0, ""
        case Diverged() | CannotWrite():
            return 1, as_options(str(error), arguments)
        case OSError() as failed:
            where = f"{failed.filename}: " if failed.filename else ""
            return 1, f"{where}{(failed.strerror or str(failed)).lower()}; what was written before is kept"
    from ..data.memory import ran_out

    if ran_out(error):
        return 1, "there is not enough memory: ask for fewer or smaller examples, or a smaller model or batch"
    if isinstance(error, CycloptsError):
        return 2, " ".join(str(error).split())
    return 1, f"failed with {type(error).__name__}: {error} (--debug shows where)"


def tell(lines: str | Sequence[str], value: Any, as_json: bool) -> None:
    """A result, on stdout: for people in lines, which are those of a text, or for programs as JSON."""
    print(json.dumps(finite(value), allow_nan=False) if as_json else on_lines(lines))
