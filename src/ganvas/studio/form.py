"""The form of a new run: its fields are the options of the command line, with their types, bounds and help."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from inspect import BoundArguments
from shlex import join
from threading import Lock
from typing import Any, Literal, get_args, get_origin

from cyclopts.help import HelpEntry
from rich.console import Console

from ..cli.app import app, explain_error, parse_command
from ..cli.arguments import command_arguments, value_types
from ..cli.help import HelpFormatter
from ..errors import UserError, did_you_mean
from ..fields import REPEATED
from ..models import MODELS
from ..training.defaults import refuse_unused

PANELS = ("Model", "Training", "Data")
HIDDEN = {"data_dir"}
"""options of paths: sources are chosen above the form"""
parsing: Lock = Lock()
"""the command line is one: its commands are parsed one at a time"""


@dataclass(frozen=True)
class FormField:
    """An option of a model, of training or of data."""

    name: str
    """as Python has it"""
    flag: str
    kind: str
    """choice, flag, text, or lines, one for each value"""
    choices: tuple[str, ...]
    default: str
    help: str
    has_numbers: bool = False
    """whether it takes several numbers, which people part by spaces too"""


@cache
def form_panels(model: str) -> dict[str, list[FormField]]:
    """The fields of a model's form, by panel."""
    words, formatter = ["train", model_of(model)], HelpFormatter()
    with parsing:
        formatter.describe_command(app, words)
        panels = {getattr(group, "name", ""): panel for group, panel in app._assemble_help_panels(words, "markdown")}
        hints = {a.field_info.name: a.field_info.annotation for a in command_arguments(formatter.command)}
        return {
            name: list(read_fields(formatter.visible_entries(panels[name].entries), hints)) for name in PANELS
        }  # fmt: skip


def model_of(name: str) -> str:
    """The name, if there is such a model; UserError where there is none."""
    if name not in MODELS:
        raise UserError(f"there is no model {name!r}.{did_you_mean(name, MODELS)}")
    return name


def read_fields(entries: Iterator[HelpEntry], hints: Mapping[str, Any]) -> Iterator[FormField]:
    """The fields that these entries of a help page describe."""
    for entry in entries:
        flag = entry.positive_names[0]
        name = flag[2:].replace("-", "_")
        kinds, default = value_types(hints.get(name)), entry.default or ""
        choices = tuple(str(value) for kind in kinds if get_origin(kind) is Literal for value in get_args(kind))
        is_closed = all(get_origin(kind) is Literal or kind is type(None) for kind in kinds)
        kind = (
            "lines" if name in REPEATED else "flag" if bool in kinds else "choice" if choices and is_closed else "text"
        )
        parts = [part for kind in kinds for hint in get_args(kind) for part in value_types(hint)]
        has_numbers = name == "range" or any(part in (int, float) for part in parts)
        if name not in HIDDEN:
            yield FormField(name, flag, kind, choices, default, plain_text(entry.description), has_numbers)


def plain_text(description: Any) -> str:
    """A description without colours, on one line."""
    console = Console(width=100_000)
    with console.capture() as captured:
        console.print(description or "", end="", markup=False, highlight=False)
    return " ".join(captured.get().split())


def command_words(model: str, sources: list[str], options: Mapping[str, str]) -> list[str]:
    """What is typed to train so, after `ganvas`; options that are left empty are not given."""
    fields = {field.name: field for panel in form_panels(model).values() for field in panel}
    words = ["train", model, *sources]
    for name, text in options.items():
        if name not in fields:
            raise UserError(f"{model} has no option {name!r}.{did_you_mean(name, fields)}")
        value = " ".join(str(text).split())
        if fields[name].kind == "lines":
            words += [f"{fields[name].flag}={line.strip()}" for line in str(text).splitlines() if line.strip()]
        elif value and fields[name].kind == "flag":
            if value not in ("true", "false"):
                raise UserError(f"{fields[name].flag} is true or false, not {value!r}")
            words.append(fields[name].flag if value == "true" else f"--no-{fields[name].flag[2:]}")
        elif value:
            words.append(f"{fields[name].flag}={value.replace(' ', ',') if fields[name].has_numbers else value}")
    return words


def command_text(words: list[str]) -> str:
    """The command as people type it; a value that begins with a hyphen stays in one word with its option."""
    phrases = [word.split("=", 1) if word.startswith("--") and "=-" not in word else [word] for word in words]
    return join(["ganvas", *(part for parts in phrases for part in parts)])


def check_command(words: list[str]) -> BoundArguments:
    """The arguments of the command; UserError, with the command line's own sentence, where it would be refused."""
    with parsing:
        try:
            _, bound = parse_command(words)
            bound.apply_defaults()
            values = bound.arguments
            refuse_unused(values["model"], values["train_config"], values["given"])
        except Exception as error:
            raise UserError(explain_error(error)[1]) from error
    return bound
