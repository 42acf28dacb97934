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

NONE = ("none", "null", "~")
"""texts that mean no value, in lower case"""
ARGUMENT = re.compile(r"`(?P<named>[a-z]\w*)`|(?<![\w./`'\"\-])(?P<name>[a-z]\w*)(?P<value>=(?:[^\s,;:]|[,:.](?=\S))+)")
"""an argument as Python has it: `name`, or name=value"""
FILE = "it holds no options: give one a line, as `latent: 16`"


def kinds(hint: Any) -> Iterator[Any]:
    """The types that a value may have, without annotations: of `int | None` int and None, of a Literal its values."""
    origin = get_origin(hint)
    if origin is Annotated:
        yield from kinds(get_args(hint)[0])
    elif origin is Literal or origin in (tuple, list) or not get_args(hint):
        yield hint
    else:
        for part in get_args(hint):
            yield from kinds(part)


def meant(app: App, commands: Sequence[str], arguments: ArgumentCollection) -> None:
    """Give tokens the values that they stand for where text is not enough: None, and numbers to be chosen from."""
    for argument in arguments:
        if argument.tokens:
            value = reader(argument.field_info.annotation)
            argument.tokens = [value(token) if token.value else token for token in argument.tokens]


def reader(hint: Any) -> Callable[[Token], Token]:
    """How the tokens of an option of this type are read."""
    several = list(kinds(hint))
    chosen = [value for kind in several if get_origin(kind) is Literal for value in get_args(kind)]
    numbers = {str(value): value for value in chosen if not isinstance(value, str)}
    may_be_none = NoneType in several and str not in several and "none" not in chosen

    def read(token: Token) -> Token:
        if token.value in numbers:
            return token.evolve(value="", implicit_value=numbers[token.value])
        if may_be_none and token.value.lower() in NONE:
            return token.evolve(value="", implicit_value=None)
        return token

    return read


def apart(app: App, tokens: Sequence[str]) -> list[str]:
    """The tokens, with `--betas 0.5,0.9` as `--betas 0.5 0.9` where an option takes so many numbers."""
    tokens = joined(tokens)
    made = list(tokens)
    for i, (name, text) in reversed(list(enumerate(named(tokens)))):
        parts = text.split(",")
        if name.startswith("--") and len(parts) > 1 and all(map(is_number, parts)) and takes(app, tokens, name, parts):
            made[i : i + (1 if "=" in tokens[i] else 2)] = [name, *parts]
    return made


def joined(tokens: Sequence[str]) -> list[str]:
    """The tokens, with `--range 0 1400` as `--range=0,1400`: it may be one word as well, and the parser takes as many
    whatever they are."""
    made = list(tokens)
    for i in reversed(range(len(made) - 1)):
        if made[i] == "--range":
            n = 1 + all(map(is_number, made[i + 1 : i + 3])) * (len(made) > i + 2)
            made[i : i + 1 + n] = [f"--range={','.join(made[i + 1 : i + 1 + n])}"]
    return made


def named(tokens: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each token with the value that follows, as in `--name value` or `--name=value`."""
    for token, following in zip(tokens, [*tokens[1:], ""], strict=False):
        name, equals, value = token.partition("=")
        yield (name, value) if equals else (token, following)


def takes(app: App, tokens: Sequence[str], name: str, parts: list[str]) -> bool:
    """Whether the option of the command in these tokens takes as many values as there are parts."""
    *_, command = app.parse_commands(tokens)[1]
    try:
        argument, _, _ = command.assemble_argument_collection(parse_docstring=False).match(name)
    except ValueError:
        return False
    return bool(argument.token_count()[0] == len(parts))


def as_options(text: str, arguments: Callable[[], set[str]]) -> str:
    """A sentence that names arguments as Python has them, `lr` or lr=0.1, with options in their place."""

    def option(match: Match[str]) -> str:
        name, value = match["name"] or match["named"], match["value"]
        if name not in known:
            return match[0]
        said = f"-{name}" if name == "n" else f"--{name.replace('_', '-')}"
        if value in ("=false", "=False"):
            return f"--no{said[1:]}"
        return said if value in (None, "=true", "=True") else f"{said} {value[1:].replace('LOW,HIGH', 'LOW HIGH')}"

    if not ARGUMENT.search(text):
        return text
    known = arguments()
    return ARGUMENT.sub(option, text)


def arguments_of(app: App) -> set[str]:
    """The names of arguments of all commands, as Python has them."""
    found: set[str] = set()
    for name in app:
        command = app[name]
        if isinstance(command, App) and not name.startswith("-"):
            found |= arguments_of(command)
    if app.default_command is not None:
        arguments = app.assemble_argument_collection(parse_docstring=False)
        found |= {argument.field_info.name for argument in arguments if argument.name.startswith("--")}
    return found


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
            each = split(values) if count > 1 else values
            if key == "range":  # as `joined` has it
                each = [",".join(map(str, values))]
            if count and not many and len(each) != count:
                raise UserError(f"{where}: {key} takes {count} value{'s' * (count > 1)}, not {len(each)}")
            if not count and (len(values) != 1 or not is_truth(values[0])):
                raise UserError(f"{where}: {key} is true or false, not {shown(values)}")
            if not argument.tokens:
                for i, value in enumerate(each):
                    argument.append(Token(keyword=f"--{key}", value=value or "none", source=self.path, index=i))


def split(values: list[str | None]) -> list[str | None]:
    """The parts of "0.5,0.9", or of "0.5 0.9"; several values as they are."""
    return [*values[0].replace(",", " ").split()] if len(values) == 1 and values[0] else values


def shown(values: list[str | None]) -> str:
    """The values of a file, for people."""
    return ", ".join("null" if value is None else repr(value) for value in values) or "[]"


def is_truth(text: str | None) -> bool:
    return str(text).lower() in ("true", "false", "yes", "no", "on", "off")


def options_in(path: str) -> OptionsFile:
    """The options in a YAML file; UserError where it holds none, or anything else, with the line.

    Values are taken as they stand, as on the command line: `binarize: no` is the word and `lr: 1e-3` the number.
    """
    import yaml  # type: ignore[import-untyped]

    try:
        root = yaml.compose(read(path), yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f", line {error.problem_mark.line + 1}"
        raise UserError(f"{path}{line}: no valid YAML, {error.problem or error.context}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: no valid YAML, it is no plain text") from error
    except RecursionError as error:
        raise UserError(f"{path}: {FILE}") from error
    if root is None:
        return OptionsFile(path, {})
    if not isinstance(root, yaml.MappingNode):
        raise UserError(f"{path}: {FILE}")
    found: dict[str, tuple[int, list[str | None]]] = {}
    for key, value in root.value:
        where = f"{path}, line {key.start_mark.line + 1}"
        if not isinstance(key, yaml.ScalarNode) or not key.value:
            raise UserError(f"{where}: {FILE}")
        name = key.value.replace("_", "-")
        items = value.value if isinstance(value, yaml.SequenceNode) else [value]
        if not all(isinstance(item, yaml.ScalarNode) for item in items):
            raise UserError(f"{where}: {key.value} takes values or a list of them, nothing nested")
        if name in found:
            raise UserError(f"{where}: {key.value} stands there twice, first in line {found[name][0]}")
        found[name] = key.start_mark.line + 1, [text_of(item) for item in items]
    return OptionsFile(path, found)


def read(path: str) -> str:
    """The text in a file; UserError where there is no such file, or it cannot be read."""
    try:
        return Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    except ValueError as error:
        if isinstance(error, UnicodeDecodeError):
            raise
        raise UserError(f"{path}: no file can have this name") from error


def text_of(node: Any) -> str | None:
    """What stands in the file; None for null."""
    return None if node.style is None and node.value.lower() in ("", "~", "null") else str(node.value)
