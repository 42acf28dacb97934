"""What `--help` shows: of each command what it does, and its options with their bounds, but none that do nothing."""

from collections.abc import Iterator, Sequence
from inspect import cleandoc
from typing import Any, Literal, get_args, get_origin

from cyclopts import App
from cyclopts.help import HelpEntry, HelpPanel
from cyclopts.help.formatters import DefaultFormatter
from cyclopts.help.inline_text import InlineText
from rich.console import Console, ConsoleOptions
from rich.text import Text

from .arguments import command_arguments

HELP_FLAGS = {"--help", "-h"}
BOUND_WORDS = (("gt", "more than"), ("ge", "at least"), ("lt", "less than"), ("le", "at most"))
"""pydantic's names of bounds, and ours"""
FORMATS = {
    "background STR": "COLOUR", "budget FLOAT": "DURATION", "config STR": "PATH", "data_dir STR": "PATH",
    "init_from STR": "RUN", "range STR": "LOW HIGH", "size STR": "SIZE", "sweep STR": "NAME=VALUES",
}  # fmt: skip
"""what stands for the value of an option, where its type in Python says too little"""


class HelpFormatter(DefaultFormatter):
    """Shows an option by one name, with its bounds; its negation only where that is of use; not what has no effect."""

    command: App = App()

    def describe_command(self, app: App, words: Sequence[str]) -> None:
        """Take the command in these words; where they ask for help, its description is its docstring, not one line."""
        self.command = app.parse_commands([word for word in words if word not in HELP_FLAGS])[1][-1]
        function = self.command.default_command
        if function and function.__doc__ and not HELP_FLAGS.isdisjoint(words):
            self.command.help = cleandoc(function.__doc__)

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        if panel.format == "parameter":
            panel = panel.copy(entries=list(self.visible_entries(panel.entries)))
        super().__call__(console, options, panel)

    def visible_entries(self, all_entries: Sequence[HelpEntry]) -> Iterator[HelpEntry]:
        """The entries of options that have an effect, each with one name, and its bounds before its default."""
        hints = {a.field_info.name: a.field_info.annotation for a in command_arguments(self.command) if not a.children}
        function = self.command.default_command
        hidden, defaults = getattr(function, "hidden", ()), getattr(function, "defaults", {})
        for entry in all_entries:
            names, default, description = entry.positive_names, entry.default or "", entry.description
            option = names[0][2:].replace("-", "_") if names else ""
            if option in hidden or (get_origin(entry.type) is Literal and len(get_args(entry.type)) == 1):
                continue
            if option in defaults:
                default = "" if defaults[option] is None else str(defaults[option])
            if entry.positive_shorts and all(len(name) == len("--n") for name in names):
                names = ()
            if default.startswith("("):
                default = default.strip("(,)").replace(", ", " ")
            if limits := describe_limits(hints.get(option)):
                text = getattr(entry.description, "primary_renderable", None) or Text(str(entry.description or ""))
                description = InlineText(text)
                description.append(Text(f"[{limits}]", "dim"))
            if option in getattr(function, "chosen", ()):
                default = ", or ".join(filter(None, (default, "by the data")))
            negatives = entry.negative_names if default == "True" and entry.type is bool else ()
            yield entry.copy(
                positive_names=names, negative_names=negatives, description=description,
                default=None if default in ("", "False") else default,
                metavar=FORMATS.get(f"{option} {entry.metavar}", entry.metavar),
            )  # fmt: skip


def describe_limits(hint: Any) -> str:
    """The bounds in a type, or in what a union or a tuple is made of."""
    limits = [
        f"{word} {getattr(limit, name):g}"
        for part in getattr(hint, "__metadata__", ()) for limit in getattr(part, "metadata", [part])
        for name, word in BOUND_WORDS if hasattr(limit, name)
    ]  # fmt: skip
    return ", ".join(limits) or next(filter(None, map(describe_limits, get_args(hint))), "")
