"""What is typed, or stands in a file of options, as the values that a command's options can have.

Both are texts: `none` means no value where an option may have none, 34 is a number where numbers are to be chosen from,
and 0.5,0.9 are two values.
"""

from collections.abc import Sequence
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from cyclopts import App, ArgumentCollection, Token

from ..errors import UserError, did_you_mean, error_reason
from ..io.text import is_number
from ..renamed import fixed_message, new_name

NONE_WORDS, NULL_WORDS = ("none", "null", "~"), ("null", "~", "")
"""texts that mean no value, in lower case: on the command line, and in a file where they are not quoted"""
BOOLEAN_WORDS = ("true", "false", "yes", "no", "on", "off")
MAX_BRACKETS = 20
"""how many brackets may be open at once in a file of options: a value needs one"""
NO_OPTIONS_MESSAGE = "it holds no options: give one a line, e.g. `latent: 16`"


def value_types(hint: Any) -> list[Any]:
    """The types that a value may have, without annotations: of `int | None` int and None; a Literal is one type."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Literal, tuple, list) or not parts:
        return [hint]
    return [kind for part in parts[: 1 if origin is Annotated else None] for kind in value_types(part)]


def value_words(hint: Any) -> dict[str, Any]:
    """What words, in lower case, mean as values of this type other than text: None, and numbers to choose from."""
    kinds = value_types(hint)
    choices = [value for kind in kinds if get_origin(kind) is Literal for value in get_args(kind)]
    is_optional = NoneType in kinds and str not in kinds and "none" not in choices
    values = {str(value): value for value in choices if not isinstance(value, str)}
    return values | (dict.fromkeys(NONE_WORDS) if is_optional else {})


def convert_tokens(app: App, commands: Sequence[str], arguments: ArgumentCollection) -> None:
    """Give tokens the values that they stand for where text is not enough."""
    for argument in (argument for argument in arguments if argument.tokens):
        values = value_words(argument.field_info.annotation)
        argument.tokens = [
            token.evolve(value="", implicit_value=values[text]) if (text := token.value.lower()) in values else token
            for token in argument.tokens
        ]


def command_arguments(app: App) -> ArgumentCollection:
    """The arguments of a command; none of a group of commands."""
    return app.assemble_argument_collection(parse_docstring=False) if app.default_command else ArgumentCollection()


def option_names(arguments: ArgumentCollection) -> set[str]:
    """The names of options as they are typed, without the hyphens before them."""
    return {name[2:] for argument in arguments for name in argument.names if name.startswith("--")}


def prepare_tokens(app: App, tokens: Sequence[str]) -> list[str]:
    """The tokens, with `--betas 0.5,0.9` as `--betas 0.5 0.9` where an option takes so many numbers.

    `--range 0 1400` becomes `--range=0,1400`: it may be one word as well, and the parser takes as many for all.
    UserError for an option that has another name now, or that this model's paper fixes.
    """
    words, apps, _ = app.parse_commands(tokens)
    arguments, fixed = command_arguments(apps[-1]), getattr(apps[-1].default_command, "fixed_options", {})
    counts = {name: argument.token_count()[0] for argument in arguments for name in argument.names}
    known, result = option_names(arguments), list(tokens)
    for old in (token.partition("=")[0][2:] for token in tokens if token.startswith("--")):
        if (name := old.replace("-", "_")) in fixed:
            raise UserError(fixed_message(words[-1], name, fixed[name]))
        if known and (new := new_name(old, known)):
            raise UserError(f"--{old} is called --{new} now")
    for i in reversed(range(len(tokens))):
        name, equals, value = tokens[i].partition("=")
        parts = (value if equals else "".join(tokens[i + 1 : i + 2])).split(",")
        if tokens[i] == "--range" and i + 1 < len(tokens):
            bounds = tokens[i + 1 : i + 3] if all(map(is_number, tokens[i + 1 : i + 3])) else tokens[i + 1 : i + 2]
            result[i : i + 1 + len(bounds)] = [f"--range={','.join(bounds)}"]
        elif len(parts) > 1 and counts.get(name) == len(parts) and all(map(is_number, parts)):
            result[i : i + (1 if equals else 2)] = [name, *parts]
    return result


Options = dict[str, tuple[int, list[str | None]]]
"""the options in a file, by name: the line of each, and its values as they would be typed, None for null"""


def apply_options(
    path: str, options: Options, app: App, commands: Sequence[str], arguments: ArgumentCollection
) -> None:
    """Give a file's options to those of a command's arguments that were not typed."""
    known = option_names(arguments)
    for key, (line, values) in options.items():
        where = f"{path}, line {line}"
        if key not in known:
            raise UserError(f"{where}: {' '.join(commands)} has no option {key!r}.{did_you_mean(key, known)}")
        argument, _, _ = arguments.match(f"--{key}")
        count, many = argument.token_count()
        if key == "range":  # as `prepare_tokens` has it
            values = [",".join(map(str, values))]  # noqa: PLW2901
        elif count > 1 and len(values) == 1 and values[0]:  # "0.5,0.9", or "0.5 0.9"
            values = [*values[0].replace(",", " ").split()]  # noqa: PLW2901
        if count and not many and len(values) != count:
            raise UserError(f"{where}: {key} takes {count} value{'s' * (count > 1)}, not {len(values)}")
        if not count and (len(values) != 1 or str(values[0]).lower() not in BOOLEAN_WORDS):
            shown = ", ".join("null" if value is None else repr(value) for value in values) or "[]"
            raise UserError(f"{where}: {key} is true or false, not {shown}")
        if not argument.tokens:
            for i, value in enumerate(values):
                argument.append(Token(keyword=f"--{key}", value=value or "none", source=path, index=i))


def read_options(path: str) -> Options:
    """The options in a YAML file; UserError where it holds none, or anything else, with the line.

    Values are taken as they stand, as on the command line: `binarize: no` is the word and `lr: 1e-3` the number.
    """
    import yaml  # type: ignore[import-untyped]

    class Loader(yaml.BaseLoader):  # type: ignore[misc]
        def fetch_flow_collection_start(self, token: Any) -> None:  # each takes time for all that are open
            if self.flow_level == MAX_BRACKETS:
                raise RecursionError
            super().fetch_flow_collection_start(token)

    try:
        root = yaml.compose(Path(path).read_bytes().decode("utf-8-sig"), Loader) or yaml.MappingNode("", [])
    except OSError as error:
        raise UserError(f"{path}: {error_reason(error)}") from error
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f", line {error.problem_mark.line + 1}"
        raise UserError(f"{path}{line}: no valid YAML, {error.problem or error.context}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: no valid YAML, it is no plain text") from error
    except RecursionError:
        root = None
    except ValueError as error:
        raise UserError(f"{path}: no file can have this name") from error
    if not isinstance(root, yaml.MappingNode):
        raise UserError(f"{path}: {NO_OPTIONS_MESSAGE}")
    options: Options = {}
    for key, value in root.value:
        line = key.start_mark.line + 1
        items = value.value if isinstance(value, yaml.SequenceNode) else [value]
        if not isinstance(key, yaml.ScalarNode) or not key.value:
            raise UserError(f"{path}, line {line}: {NO_OPTIONS_MESSAGE}")
        if not all(isinstance(item, yaml.ScalarNode) for item in items):
            raise UserError(f"{path}, line {line}: {key.value} takes values or a list of them, nothing nested")
        if (name := key.value.replace("_", "-")) in options:
            raise UserError(f"{path}, line {line}: {key.value} is given twice, first in line {options[name][0]}")
        nulls = (item.style is None and item.value.lower() in NULL_WORDS for item in items)
        options[name] = line, [None if null else item.value for item, null in zip(items, nulls, strict=True)]
    return options
