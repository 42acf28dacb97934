"""Every option of every other command, with a value that is not its default: what the command calls receives it."""

import inspect
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace, UnionType
from typing import Any, get_args, get_origin
from unittest.mock import DEFAULT, MagicMock, Mock

import pytest
import torch
from cyclopts import App
from pydantic import TypeAdapter, ValidationError

from ganvas.cli import app as cli
from ganvas.cli.app import COMMANDS, app, main
from tests.support.option_values import candidates

OTHERS = [name for name in COMMANDS if name not in ("train", "bench", "studio")]
"""those that have the same options for every model; tests/studio/test_command.py has the studio's"""
TEXTS = {
    "column": "age:integer",
    "drop": "id",
    "constraint": "end >= start",
    "sample where": "income=rich",
    "metrics": "kid",
    "kinds": "flow",
    "features": "pixels",
    "classes": "cat",
    "range": "0,1400",
    "report out": "other.html",
}
"""options whose text is not free, some of one command"""
NEEDED = {key: ["other"] for key in ("evaluate", "fit-prior", "interpolate")}
ALONE = {"machine", "port"}
"""options that stand alone"""
NEEDED |= {"report": ["--out", "page.html"], "lecture": ["--out", "pages"]}
NEEDED |= {"doctor": ["needed"], "compare": ["--data", "other", "--html", "page"]}
"""what other options go with"""
LATE_IMPORTS = {
    "translate": {"inference.translation": ["format_size", "size_warning", "holds_files", "translate_files"]},
}
"""functions that a command imports when it is called"""


def stand_in(world: MagicMock, name: str, function: Any) -> Mock:
    """In place of a function: notes what it is called with, and returns something of the right type.

    That is made at the first call, since most functions are not called, and takes a millisecond a field.
    """
    made = Mock(name=name)

    def first_call(*arguments: Any, **options: Any) -> Any:
        made.side_effect, made.return_value = None, something(inspect.signature(function).return_annotation)
        return DEFAULT

    made.side_effect = first_call
    world.attach_mock(made, name)
    return made


def something(hint: Any) -> Any:
    """A value that passes for one of this type."""
    kind = get_origin(hint) or hint
    if kind is UnionType:
        first = get_args(hint)[0]
        return None if inspect.isclass(first) and issubclass(first, BaseException) else something(first)
    if kind in (list, tuple):
        return kind(something(part) for part in get_args(hint) if part is not ...)
    if kind in (str, int, float, bool, Path, torch.device):
        return Path("made") if kind is Path else torch.device("cpu") if kind is torch.device else kind()
    bare = kind in (inspect.Signature.empty, Iterator) or not inspect.isclass(kind)
    made = MagicMock() if bare else MagicMock(spec=kind)
    made.about = {"classes": MagicMock()}
    for name in getattr(kind, "__dataclass_fields__", ()):
        setattr(made, name, MagicMock())
    made.name, made.parts = "made", [made]
    if kind is dict:
        made.__getitem__.return_value = Some()
        made.__or__.return_value = made.__ror__.return_value = made
    return made


class Some(float):
    """What stands in a dictionary."""

    def items(self) -> list[Any]:
        return []

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def get(self, key: str, default: Any = None) -> Any:
        return default


def flat(value: Any) -> Iterator[Any]:
    """What calls were given, one after the other."""
    if isinstance(value, Mock):
        return
    if isinstance(value, partial):
        yield from flat((value.args, value.keywords))
    elif isinstance(value, dict):
        yield from flat(list(value.items()))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from flat(part)
    elif hasattr(value, "__dataclass_fields__"):
        yield from flat(vars(value))
    else:
        yield value


def arguments_of(command: str) -> list[Any]:
    found = app[command]
    assert isinstance(found, App)
    return list(found.assemble_argument_collection(parse_docstring=False))


def options_of(command: str) -> Iterator[tuple[str, list[str]]]:
    """By the name of an option, the words that give it another value than its default."""
    for argument in arguments_of(command):
        info = argument.field_info
        if argument.children or not argument.name.startswith("--") or argument.index is not None or not argument.parse:
            continue
        name = argument.name
        if text := TEXTS.get(f"{command} {name[2:]}", TEXTS.get(name[2:])):
            yield name, [name, text]
            continue
        possible = (v for v in candidates(info.annotation) if v not in (None, info.default))
        value = next(v for v in possible if can_be(info.annotation, v))
        if isinstance(value, bool):
            yield name, [name if value else f"--no{name[1:]}"]
        else:
            yield name, [name, *map(str, value if isinstance(value, tuple) else [value])]


def can_be(hint: Any, value: Any) -> bool:
    try:
        TypeAdapter(hint).validate_python(value)
    except ValidationError:
        return False
    return True


def required(command: str) -> list[str]:
    """The words without which a command does nothing."""
    words = []
    for argument in arguments_of(command):
        if argument.required or argument.field_info.kind is argument.field_info.VAR_POSITIONAL:
            named = argument.index is None and argument.name.startswith("--")
            words += [argument.name, "needed"] if named else ["needed"]
    return words


def calls(command: str, words: list[str], monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What a command gives to what it calls, all functions but itself standing in."""
    world, (file, _, itself) = MagicMock(), COMMANDS[command][0].partition(":")
    module = import_module(f"ganvas.cli.{file}")

    def deliver(run: str, name: str, output: Any, generate: Any) -> None:
        world.delivered(run, name, output, generate(world.trained))

    with monkeypatch.context() as patch:
        for name, value in list(vars(module).items()):
            if inspect.isfunction(value) and value.__module__.startswith("ganvas") and name != itself:
                patch.setattr(module, name, deliver if name == "save_examples" else stand_in(world, name, value))
            elif inspect.ismodule(value) and value.__name__.startswith("ganvas."):
                inside = {key: stand_in(world, key, f) for key, f in vars(value).items() if inspect.isfunction(f)}
                patch.setattr(module, name, SimpleNamespace(**vars(value) | inside))
            elif name in ("ProgressBar", "Examples", "Table", "Console"):
                patch.setattr(module, name, MagicMock())
                world.attach_mock(getattr(module, name), name)
        for path, names in LATE_IMPORTS.get(command, {}).items():
            for name in names:
                patch.setattr(
                    f"ganvas.{path}.{name}", stand_in(world, name, getattr(import_module(f"ganvas.{path}"), name))
                )
        patch.setattr(cli, "explain_error", raised)
        assert main([command, *words]) in (0, 1)  # 1 of a machine with problems
    return [x for name, given, named in world.mock_calls for x in flat((name, given, named)) if not callable(x)]


def raised(error: BaseException) -> Any:
    raise error


@pytest.mark.parametrize("command", OTHERS)
def test_options_arrive(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found, needs = dict(options_of(command)), required(command) + NEEDED.get(command, [])
    plain = calls(command, needs, monkeypatch)
    for name, words in found.items():
        at = needs.index(name) if name in needs else len(needs)
        before, after = ([], []) if name[2:] in ALONE else (needs[:at], needs[at + 2 :])
        given = calls(command, [*before, *words, *after], monkeypatch)
        assert given != plain, f"{command} drops {name}"
        for word in words[1:]:
            assert any(word == str(x) for x in given), f"{command} drops {' '.join(words)}"
