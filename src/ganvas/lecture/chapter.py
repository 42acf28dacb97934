"""What a chapter is, and where the lines stand that compute its equations."""

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, NamedTuple

from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass as checked_dataclass

from ..fields import STRICT, ValidatedMeta

PACKAGE = files("ganvas")
CONTEXT_LINES = 6
"""lines that are shown on either side of one that is in no function"""


@checked_dataclass(frozen=True, kw_only=True, config=STRICT)
class Parameters(metaclass=ValidatedMeta):
    """What a reader can choose of a chapter's run: fields with bounds, whose `title` labels their controls.

    A subclass has only fields, such as `seed: Annotated[int, Field(ge=0, le=9, title="seed")] = 0`; a value out of
    bounds is a UserError.
    """


class Question(NamedTuple):
    """What a reader is asked to predict before looking."""

    text: str
    answers: tuple[str, ...]
    right: int
    """index of the right answer"""
    explanation: str
    """shown once an answer was chosen"""


class Equation(NamedTuple):
    """An equation, and the line of the package that computes it."""

    tex: str
    """in the notation of KaTeX"""
    file: str
    """below src/ganvas, such as "objectives/kl.py" """
    code: str
    """the line, or what of it is its own: it stands in the file exactly once"""
    caption: str = ""

    def locate(self) -> tuple[int, list[tuple[int, str]]]:
        """The line's number, and with their numbers the lines of the function around it; ValueError where it is gone.

        Of a line in no function, those within `CONTEXT_LINES` of it.
        """
        text = (PACKAGE / self.file).read_text(encoding="utf-8")
        lines = text.splitlines()
        found = [i for i, line in enumerate(lines, 1) if self.code in line]
        if len(found) != 1:
            raise ValueError(f"{self.code!r} stands {len(found)} times in {self.file}, and not once")
        spans = [(max(1, found[0] - CONTEXT_LINES), min(len(lines), found[0] + CONTEXT_LINES))]
        spans += [
            (node.lineno, node.end_lineno or node.lineno) for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.FunctionDef) and node.lineno <= found[0] <= (node.end_lineno or 0)
        ]  # fmt: skip
        first, last = spans[-1]
        return found[0], [(i, lines[i - 1]) for i in range(first, last + 1)]


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """A chapter of the lecture: what it asks and shows, and how its runs are recorded."""

    name: str
    """of its files, and of its page"""
    title: str
    summary: str
    """a sentence, which the list of chapters shows too"""
    question: Question
    equations: Mapping[str, Equation]
    recordings: Mapping[str, Parameters]
    """the runs that its page holds: their titles, and their parameters, all of one class"""
    record: Callable[[Any], dict[str, Any]]
    """what the page shows of a run with these parameters; "command" is in it"""

    @property
    def parameters(self) -> type[Parameters]:
        """The class of its parameters."""
        return type(next(iter(self.recordings.values())))

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON schema of each parameter, with its title, its bounds and its default."""
        properties: dict[str, Any] = TypeAdapter(self.parameters).json_schema().get("properties", {})
        return properties
