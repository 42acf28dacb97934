"""What holds for every chapter of the lecture, whether or not its runs are recorded."""

import json
import re
from importlib.resources import files
from typing import Any

import pytest
import torch

from ganvas.lecture import CHAPTERS, load_chapter
from ganvas.lecture.page import locate
from ganvas.lecture.recordings import pack

CHAPTER_FILES = files("ganvas") / "lecture" / "chapters"


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_equation_is_linked_to_its_line(name: str) -> None:
    """The line stands in its file exactly once, and the page has a place for the equation."""
    body = (CHAPTER_FILES / f"{name}.html").read_text("utf-8")
    chapter = load_chapter(name)
    for key, equation in chapter.equations.items():
        located = locate(equation)
        assert equation.code in dict(located["lines"])[located["number"]]
        assert f'equation("{key}")' in body
    assert len(re.findall(r'equation\("', body)) == len(chapter.equations)


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_asks_a_question_with_one_right_answer(name: str) -> None:
    chapter = load_chapter(name)
    assert chapter.name == name
    assert len(set(chapter.question.answers)) == len(chapter.question.answers) > 1
    assert 0 <= chapter.question.right < len(chapter.question.answers)


@pytest.mark.parametrize("name", CHAPTERS)
def test_parameters_that_readers_can_choose_are_bounded_and_have_a_title(name: str) -> None:
    """A server trains with any that are within them."""
    for parameter, schema in load_chapter(name).schema.items():
        assert "title" in schema
        assert "enum" in schema or schema["type"] == "boolean" or bounds(schema), parameter


def bounds(schema: dict[str, Any]) -> bool:
    """Whether a JSON schema has a bound on either side."""
    return all(name in schema or f"exclusive{name.title()}" in schema for name in ("minimum", "maximum"))


def test_arrays_are_packed_as_pages_read_them() -> None:
    packed = pack({"half": torch.tensor([[1.0, -0.5]], dtype=torch.float16), "none": float("nan")})
    assert packed == {"half": {"dtype": "float16", "shape": [1, 2], "base64": "ADwAuA=="}, "none": None}
    assert json.dumps(packed, allow_nan=False)
    with pytest.raises(AssertionError, match="float64"):
        pack(torch.zeros(2, dtype=torch.float64))
