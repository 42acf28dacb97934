"""What is typed, or stands in a file of options, as the values that a command's options can have.

Both are texts: `none` means no value where an option may have none, 34 is a number where numbers are to be chosen from,
and 0.5,0.9 are two values.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from re import Match
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from cyclopts import App, ArgumentCollection, Token

from ..errors import UserError, did_you_mean
from ..io.text import is_number
from ..renamed import fixed_message, new_name

NONE_WORDS = ("none", "null", "~")
"""texts that mean no value, in lower case"""
ARGUMENT_PATTERN = re.compile(
    r"`(?P<named>[a-z]\w*)`|(?<![\w./`'\"\-])(?P<name>[a-z]\w*)(?P<value>=(?:[^\s,;:]|[,:.](?=\S))+)"
)
"""an argument as Python has it: `name`, or name=value"""
NO_OPTIONS_MESSAGE = "it holds no options: give one a line, as `latent: 16`"


def value_types(hint: Any) -> Iterator[Any]:
    """The types that a value may have, without annotations: of `int | None` int and None, of a Literal its values."""
    origin = get_origin(hint)
    if origin is Annotated:
        yield from value_types(get_args(hint)[0])
    elif origin is Literal or origin in (tuple, list) or not get_args(hint):
        yield hint
    else:
        for part in get_args(hint):
            yield from value_types(part)


def convert_tokens(app: App, commands: Sequence[str], arguments: ArgumentCollection) -> None:
    """Give tokens the values that they stand for where text is not enough: None, and numbers to be chosen from."""
    for argument in arguments:
        if argument.tokens:
            value = token_reader(argument.field_info.annotation)
            argument.tokens = [value(token) if token.value else token for token in argument.tokens]


def token_reader(hint: Any) -> Callable[[Token], Token]:
    """How the tokens of an option of this type are read."""
    several = list(value_types(hint))
    choices = [value for kind in several if get_origin(kind) is Literal for value in get_args(kind)]
    numbers = {str(value): value for value in choices if not isinstance(value, str)}
    may_be_none = NoneType in several and str not in several and "none" not in choices

    def read(token: Token) -> Token:
        if token.value in numbers:
            return token.evolve(value="", implicit_value=numbers[token.value])
        if may_be_none and token.value.lower() in NONE_WORDS:
            return token.evolve(value="", implicit_value=None)
        return token

    return read


def refuse_old_names(app: App, tokens: Sequence[str]) -> None:
    """UserError for an option that has another name now."""
    *_, command = app.parse_commands(tokens)[1]
    if command.default_command is None:  # a group of commands, or a command that does not exist
        return
    known = {
        name[2:]
        for argument in command.assemble_argument_collection(parse_docstring=False)
        for name in argument.names
        if name.startswith("--")
    }
    for token in tokens:
        old = token.partition("=")[0].removeprefix("--")
        fixed = getattr(command.default_command, "fixed_options", {})
        if token.startswith("--") and (name := old.replace("-", "_")) in fixed:
            raise UserError(fixed_message(" ".join(app.parse_commands(tokens)[0][-1:]), name, fixed[name]))
        if token.startswith("--") and (new := new_name(old, known)):
            raise UserError(f"--{old} is called --{new} now")


def split_number_lists(app: App, tokens: Sequence[str]) -> list[str]:
    """The tokens, with `--betas 0.5,0.9` as `--betas 0.5 0.9` where an option takes so many numbers."""
    tokens = join_range(tokens)
    result = list(tokens)
    for i, (name, text) in reversed(list(enumerate(pair_tokens(tokens)))):
        parts = text.split(",")
        if (
            name.startswith("--")
            and len(parts) > 1
            and all(map(is_number, parts))
            and takes_count(app, tokens, name, parts)
        ):
            result[i : i + (1 if "=" in tokens[i] else 2)] = [name, *parts]
    return result


def join_range(tokens: Sequence[str]) -> list[str]:
    """The tokens, with `--range 0 1400` as `--range=0,1400`: it may be one word as well, and the parser takes as many
    whatever they are."""
    result = list(tokens)
    for i in reversed(range(len(result) - 1)):
        if result[i] == "--range":
            n = 1 + all(map(is_number, result[i + 1 : i + 3])) * (len(result) > i + 2)
            result[i : i + 1 + n] = [f"--range={','.join(result[i + 1 : i + 1 + n])}"]
    return result


def pair_tokens(tokens: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each token with the value that follows, as in `--name value` or `--name=value`."""
    for token, following in zip(tokens, [*tokens[1:], ""], strict=False):
        name, equals, value = token.partition("=")
        yield (name, value) if equals else (token, following)


def takes_count(app: App, tokens: Sequence[str], name: str, parts: list[str]) -> bool:
    """Whether the option of the command in these tokens takes as many values as there are parts."""
    *_, command = app.parse_commands(tokens)[1]
    try:
        argument, _, _ = command.assemble_argument_collection(parse_docstring=False).match(name)
    except ValueError:
        return False
    return bool(argument.token_count()[0] == len(parts))


def to_option_names(text: str, arguments: Callable[[], set[str]]) -> str:
    """A sentence that names arguments as Python has them, `lr` or lr=0.1, with options in their place."""

    def option(match: Match[str]) -> str:
        name, value = match["name"] or match["named"], match["value"]
        if name not in known:
            return match[0]
        flag = f"-{name}" if name == "n" else f"--{name.replace('_', '-')}"
        if value in ("=false", "=False"):
            return f"--no{flag[1:]}"
        return flag if value in (None, "=true", "=True") else f"{flag} {value[1:].replace('LOW,HIGH', 'LOW HIGH')}"

    if not ARGUMENT_PATTERN.search(text):
        return text
    known = arguments()
    return ARGUMENT_PATTERN.sub(option, text)


def argument_names(app: App) -> set[str]:
    """The names of arguments of all commands, as Python has them."""
    names: set[str] = set()
    for name in app:
        command = app[name]
        if isinstance(command, App) and not name.startswith("-"):
            names |= argument_names(command)
    if app.default_command is not None:
        arguments = app.assemble_argument_collection(parse_docstring=False)
        names |= {argument.field_info.name for argument in arguments if argument.name.startswith("--")}
    return names


@dataclass(frozen=True)
class OptionsFile:
    """The options in a YAML file, by name: the line of each, and its values as they would be typed."""

    path: str
    options: dict[str, tuple[int, list[str | None]]]

    def __call__(self, app: App, commands: Sequence[str], arguments: ArgumentCollection) -> None:
        """Give the values to those of a command's arguments that were not typed."""
        known = {name[2:] for argument in arguments for name in argument.names if name.startswith("--")}
        for key, (line, values) in self.options.items():
            where = f"{self.path}, line {line}"
            if key not in known:
                raise UserError(f"{where}: {' '.join(commands)} has no option {key!r}.{did_you_mean(key, known)}")
            argument, _, _ = arguments.match(f"--{key}")
            count, many = argument.token_count()
            texts = split_values(values) if count > 1 else values
            if key == "range":  # as `joined` has it
                texts = [",".join(map(str, values))]
            if count and not many and len(texts) != count:
                raise UserError(f"{where}: {key} takes {count} value{'s' * (count > 1)}, not {len(texts)}")
            if not count and (len(values) != 1 or not is_boolean(values[0])):
                raise UserError(f"{where}: {key} is true or false, not {format_values(values)}")
            if not argument.tokens:
                for i, value in enumerate(texts):
                    argument.append(Token(keyword=f"--{key}", value=value or "none", source=self.path, index=i))


def split_values(values: list[str | None]) -> list[str | None]:
    """The parts of "0.5,0.9", or of "0.5 0.9"; several values as they are."""
    return [*values[0].replace(",", " ").split()] if len(values) == 1 and values[0] else values


def format_values(values: list[str | None]) -> str:
    """The values of a file, for people."""
    return ", ".join("null" if value is None else repr(value) for value in values) or "[]"


def is_boolean(text: str | None) -> bool:
    return str(text).lower() in ("true", "false", "yes", "no", "on", "off")


def read_options(path: str) -> OptionsFile:
    """The options in a YAML file; UserError where it holds none, or anything else, with the line.

    Values are taken as they stand, as on the command line: `binarize: no` is the word and `lr: 1e-3` the number.
    """
    import yaml  # type: ignore[import-untyped]

    try:
        root = yaml.compose(read_text(path), yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f", line {error.problem_mark.line + 1}"
        raise UserError(f"{path}{line}: no valid YAML, {error.problem or error.context}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: no valid YAML, it is no plain text") from error
    except RecursionError as error:
        raise UserError(f"{path}: {NO_OPTIONS_MESSAGE}") from error
    if root is None:
        return OptionsFile(path, {})
    if not isinstance(root, yaml.MappingNode):
        raise UserError(f"{path}: {NO_OPTIONS_MESSAGE}")
    options: dict[str, tuple[int, list[str | None]]] = {}
    for key, value in root.value:
        where = f"{path}, line {key.start_mark.line + 1}"
        if not isinstance(key, yaml.ScalarNode) or not key.value:
            raise UserError(f"{where}: {NO_OPTIONS_MESSAGE}")
        name = key.value.replace("_", "-")
        items = value.value if isinstance(value, yaml.SequenceNode) else [value]
        if not all(isinstance(item, yaml.ScalarNode) for item in items):
            raise UserError(f"{where}: {key.value} takes values or a list of them, nothing nested")
        if name in options:
            raise UserError(f"{where}: {key.value} is given twice, first in line {options[name][0]}")
        options[name] = key.start_mark.line + 1, [node_text(item) for item in items]
    return OptionsFile(path, options)


def read_text(path: str) -> str:
    """The text in a file; UserError where there is no such file, or it cannot be read."""
    try:
        return Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    except ValueError as error:
        if isinstance(error, UnicodeDecodeError):
            raise
        raise UserError(f"{path}: no file can have this name") from error


def node_text(node: Any) -> str | None:
    """What stands in the file; None for null."""
    return None if node.style is None and node.value.lower() in ("", "~", "null") else str(node.value)
