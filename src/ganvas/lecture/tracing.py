"""The lines of a function as they run, in the very code that trains."""

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from ..model import Model

AtLine = Callable[[int, Any], None]
"""told the number of a line that runs next, or that has just yielded, and then what it yielded, else None"""


@contextmanager
def trace_lines(function: Any, at_line: AtLine) -> Iterator[None]:
    """A block in which `at_line` is told of each line of `function` before it runs, and again when it yields a value.

    Only this thread is watched, and only this function: what it calls runs at full speed.
    """

    code = inspect.unwrap(function).__code__

    def of_function(frame: FrameType, event: str, value: Any) -> Any:
        if event == "line":
            at_line(frame.f_lineno, None)
        elif event == "return" and value is not None:  # so Python calls it where a generator yields
            at_line(frame.f_lineno, value)
        return of_function

    before = sys.gettrace()
    sys.settrace(lambda frame, event, value: of_function if frame.f_code is code else None)
    try:
        yield
    finally:
        sys.settrace(before)


def step_source(cls: type[Model]) -> dict[str, Any]:
    """Where a model's step is written: its file below src/ganvas, the number of its first line, and its lines."""
    step = inspect.unwrap(cls.step)
    lines, first = inspect.getsourcelines(step)
    file = Path(inspect.getfile(step)).relative_to(Path(__file__).parents[1])
    return {"file": file.as_posix(), "first": first, "lines": [line.rstrip("\n") for line in lines]}
